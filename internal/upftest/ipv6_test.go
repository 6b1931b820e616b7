package upftest

import (
	"net"
	"net/netip"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
	"golang.org/x/sys/unix"
)

// A UE that knows nothing but its link asks for routers, as its kernel does, and has
// address, default route and MTU from our advertisement; then TCP over IPv6 passes.
func TestRouterAdvertisement(t *testing.T) {
	w := begin(t, "")
	site := serveWeb(w.dn)
	const prefix = "fd00:60:0:7::"
	u := newUE(t, "ue")
	sess := w.smf.establish(n4Addr, free5GCSession(n3Addr, 0x1001, addr(prefix)).creates()...)
	u.attach(w.gnb[0], tunnel{teid: 0x1001, peer: n3Addr, qfi: defaultQFI}, 0x2001)
	sess.modify(toGNB(farDown, gnbAddr[0], 0x2001).IE(ie.UpdateFAR))

	u.check(u.nl.LinkSetDown(u.link(tunDevice)))
	u.check(u.nl.LinkSetIP6AddrGenMode(u.link(tunDevice), 0)) // as any link has it
	u.sysctl("net/ipv6/conf/ue0/accept_ra", "1")
	u.sysctl("net/ipv6/conf/ue0/router_solicitation_delay", "0")
	u.linkUp(tunDevice)

	var own netip.Addr
	await(t, "an address of the UE out of its prefix", eventTime, func() bool {
		addrs, err := u.nl.AddrList(u.link(tunDevice), unix.AF_INET6)
		u.check(err)
		for _, a := range addrs {
			if got, _ := netip.AddrFromSlice(a.IP); netip.PrefixFrom(addr(prefix), 64).Contains(got) && a.Flags&unix.IFA_F_TENTATIVE == 0 {
				own = got
			}
		}
		return own.IsValid()
	})
	routes, err := u.nl.RouteGet(net.IP(dnAddr6.AsSlice()))
	u.check(err)
	t.Logf("the UE is %v, its route: %v", own, routes)
	u.ping(own, dnAddr6, 10, 84)
	u.ping(own, dnAddr6, 2, tunMTU)
	w.dn.ping(dnAddr6, own, 10, 84)
	site.transfer(u.host, dnAddr6, 8<<20)
	if a := whoAmI(u.host, dnAddr6); a != own {
		t.Errorf("the server sees %v, want %v", a, own)
	}
	if n := w.upf.counters()["router_advertisements_sent"]; n == 0 {
		t.Error("no router advertisement was counted")
	}
}
