package e2e

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/smf"
)

// byConverter gives the session the addresses of 3GPP access alone, and an MPTCP proxy: the
// UE has link-specific addresses for its subflows (TS 23.501 §5.32.6.2.1). Connections go by
// way of the proxy, over IPv4 or IPv6. The policy is put back before the session's
// connections are looked for.
func (f *fixture) byConverter(v6 bool) *smf.MPTCPParameters {
	f.Helper()
	before, err := f.lab.Policy()
	f.check(err)
	p := before.Clone()
	s := &p.Sessions[0]
	s.UE = slices.DeleteFunc(s.UE, func(a netip.Addr) bool { return a != lab.UEAddr[tgpp] && a != lab.UEAddr6[tgpp] })
	s.ATSSS = smf.ATSSS{MPTCP: true, ATSSSLL: true, PMF: &smf.PMF{}}
	f.check(f.lab.SetPolicy(*p))
	f.Cleanup(func() {
		f.await("the end of the connections", eventTime, func() bool { return len(f.live()) == 0 })
		f.check(f.lab.SetPolicy(*before))
	})
	st, err := f.lab.SMFState()
	f.check(err)
	m := st.Sessions[0].ATSSS.MPTCP
	of := func(a netip.Addr) bool { return a.Is6() == v6 }
	at := slices.IndexFunc(m.Proxy, func(p netip.AddrPort) bool { return of(p.Addr()) })
	own := slices.IndexFunc(m.LinkSpecific.TGPP, of)
	f.client.Converter, f.client.Local = m.Proxy[at], m.LinkSpecific.TGPP[own]
	if v6 {
		f.server = lab.DNAddr6
	}
	return m
}

// TestConverterJoins: a download by way of the MPTCP proxy has a subflow from the
// link-specific address of each access; the server sees the session's own address. Its access
// dies, and it goes on over the other.
func TestConverterJoins(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "IPv4", true: "IPv6"}[v6], func(t *testing.T) {
			f := begin(t)
			m := f.byConverter(v6)
			seen := make(chan netip.Addr, 1)
			addr := f.serve(func(c *net.TCPConn) error {
				seen <- c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
				return expectEOF(c)
			})
			f.check(f.dial(addr).CloseWrite())
			want := map[bool]netip.Addr{false: lab.UEAddr[tgpp], true: lab.UEAddr6[tgpp]}[v6]
			if got := <-seen; got != want {
				t.Errorf("the server sees %v, want %v", got, want)
			}

			normal := f.slowLinks()
			g := f.file(slowFile)
			tr := f.get(g)
			f.awaitSubflows(tr.Inspect)
			info, err := tr.Inspect()
			f.check(err)
			for i := range info.Subflows {
				s := &info.Subflows[i]
				local := s.Local.Addr().Unmap()
				if !slices.Contains(slices.Concat(m.LinkSpecific.TGPP, m.LinkSpecific.NonTGPP), local) || !slices.Contains(m.Proxy, netip.AddrPortFrom(s.Remote.Addr().Unmap(), s.Remote.Port())) {
					t.Errorf("a subflow from %v to %v", s.Local, s.Remote)
				}
			}
			f.awaitBytes(tr, slowFile/4)
			f.kill(tgpp)
			dead := f.carried(lab.DirectionDown)
			f.await("the other access carries on", eventTime, func() bool {
				return f.carried(lab.DirectionDown)[nonTGPP] > dead[nonTGPP]+2_000_000
			})
			f.link(tgpp, normal)
			f.downloaded(tr, g)
			f.mptcp(tr.Inspect, 1)
			tr.Close()
			for a := range steer.Access(steer.NumAccesses) {
				f.link(a, lab.Impairment{}) // what is left may end
			}
		})
	}
}
