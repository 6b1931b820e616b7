package upftest

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A router between the UPF and the gNB has an MTU that a full packet of the UE does not
// pass in its tunnel. TCP finds its way both ways; UDP that may be fragmented arrives;
// who sends with Don't Fragment is told what fits.
//
//	ue == gnb3 10.100.8.2 -- 1400 -- router -- upf
func TestNarrowPath(t *testing.T) {
	const narrow = 1400 // of the link to the gNB
	w := begin(t, "")
	router, gnbHost := newHost(t, "router"), newHost(t, "gnb3")
	cable(w.upf.host, "n3-r", router, "n3")
	cable(router, "ran", gnbHost, "n3")
	w.upf.addr("n3-r", "10.100.7.1/24")
	router.addr("n3", "10.100.7.2/24")
	router.addr("ran", "10.100.8.1/24")
	gnbHost.addr("n3", "10.100.8.2/24")
	router.forward()
	router.setMTU("ran", narrow)
	gnbHost.setMTU("n3", narrow)
	router.route("10.100.1.1/32", "10.100.7.1", "n3")
	gnbHost.route("10.100.1.1/32", "10.100.8.1", "n3")
	w.upf.route("10.100.8.0/24", "10.100.7.2", "n3-r")
	far := newGNB(gnbHost, addr("10.100.8.2"))
	site := serveWeb(w.dn)

	for i, c := range []struct {
		ue     string
		server netip.Addr
	}{{"10.60.0.1", dnAddr}, {"fd00:60:0:1::1", dnAddr6}} {
		t.Run(fmt.Sprintf("IPv%d", 4+2*i), func(t *testing.T) {
			g := w.arrive(nil, c.ue)
			g.bearer = g.attach(far, g.up, g.down)
			g.session.modify(g.toGNB(far))
			site.transfer(g.host, c.server, 4<<20)

			sink := g.newSink(netip.AddrPortFrom(g.addrs[0], 0))
			if c.server.Is4() {
				s := w.dn.open(netip.AddrPortFrom(c.server, 0), sink.local(), tunMTU)
				s.setDF(t, false)
				s.send(20)
				await(t, "datagrams that are fragmented", eventTime, func() bool { return sink.count() == 20 })
			}
			s := w.dn.open(netip.AddrPortFrom(c.server, 0), sink.local(), tunMTU)
			s.setDF(t, true)
			mtu := 0
			await(t, "a path MTU at the server", eventTime, func() bool {
				s.send(1)
				mtu = s.pathMTU(t)
				return mtu < tunMTU
			})
			if fits := narrow - 20 - 8 - 16; mtu != fits {
				t.Errorf("the server is told of an MTU of %d, want %d", mtu, fits)
			}
			before := sink.count()
			exact := w.dn.open(netip.AddrPortFrom(c.server, 0), sink.local(), mtu)
			exact.setDF(t, true)
			exact.send(5)
			await(t, "datagrams that just fit", eventTime, func() bool { return sink.count() == before+5 })

			server := w.dn.newSink(netip.AddrPortFrom(c.server, 0))
			up := g.open(netip.AddrPortFrom(g.addrs[0], 0), server.local(), tunMTU)
			up.send(20)
			await(t, "datagrams to the server", eventTime, func() bool { return server.count() == 20 })
		})
	}
}

// sockopt reads (set < 0) or sets an option of the stream's socket; the IP version chooses.
func (s *stream) sockopt(t *testing.T, v4, v6, set int) (v int) {
	t.Helper()
	raw, err := s.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	level, opt := unix.IPPROTO_IP, v4
	if a := s.local().Addr(); a.Is6() {
		level, opt = unix.IPPROTO_IPV6, v6
	}
	var serr error
	err = raw.Control(func(fd uintptr) {
		if set >= 0 {
			serr = unix.SetsockoptInt(int(fd), level, opt, set)
		} else {
			v, serr = unix.GetsockoptInt(int(fd), level, opt)
		}
	})
	if err = errors.Join(err, serr); err != nil {
		t.Fatal(err)
	}
	return v
}

// setDF says whether the stream's packets have Don't Fragment.
func (s *stream) setDF(t *testing.T, df bool) {
	t.Helper()
	how := unix.IP_PMTUDISC_DONT
	if df {
		how = unix.IP_PMTUDISC_DO
	}
	s.sockopt(t, unix.IP_MTU_DISCOVER, unix.IPV6_MTU_DISCOVER, how)
}

// pathMTU is what the sender's kernel knows of the path.
func (s *stream) pathMTU(t *testing.T) int {
	t.Helper()
	return s.sockopt(t, unix.IP_MTU, unix.IPV6_MTU, -1)
}
