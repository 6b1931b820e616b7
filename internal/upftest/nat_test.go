package upftest

import (
	"net/netip"
	"testing"
)

// With natifname the data network knows no UE: it sees the UPF's own address.
func TestNAT(t *testing.T) {
	w := beginWith(t, configOf(n4Addr, n3Addr, "{dnn: "+dnn+", cidr: 10.60.0.0/16, natifname: n6}", ""))
	w.dn.unroute("10.60.0.0/16")
	site := serveWeb(w.dn)
	one, two := w.join(nil, "10.60.0.1"), w.join(nil, "10.60.0.2")
	for _, g := range []*guest{one, two} {
		g.ping(g.addrs[0], dnAddr, 10, 84)
		site.transfer(g.host, dnAddr, 4<<20)
		if a := whoAmI(g.host, dnAddr); a != addr("10.100.6.1") {
			t.Errorf("the server sees %v, want the UPF", a)
		}
	}
}

// A host behind the UE has an address of a framed route: the data network reaches it, and
// it the data network.
func TestFramedRoute(t *testing.T) {
	w := begin(t, "")
	w.dn.route("192.168.77.0/24", "10.100.6.1", "n6")
	g := w.join(func(r *rules) {
		for _, pdr := range r.pdrs {
			pdr.PDI.FramedRoutes = append(pdr.PDI.FramedRoutes, netip.MustParsePrefix("192.168.77.0/24"))
		}
	}, "10.60.0.1")
	behind := newHost(t, "behind")
	cable(g.host, "lan", behind, "lan")
	g.addr("lan", "192.168.77.1/24")
	behind.addr("lan", "192.168.77.2/24")
	behind.route("0.0.0.0/0", "192.168.77.1", "lan")
	g.forward()

	behind.ping(addr("192.168.77.2"), dnAddr, 10, 84)
	w.dn.ping(dnAddr, addr("192.168.77.2"), 10, 84)
	g.ping(g.addrs[0], dnAddr, 10, 84)
	site := serveWeb(behind)
	site.transfer(w.dn, addr("192.168.77.2"), 4<<20)
	if a := whoAmI(w.dn, addr("192.168.77.2")); a != dnAddr {
		t.Errorf("the host behind the UE sees %v, want %v", a, dnAddr)
	}
}
