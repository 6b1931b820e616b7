package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/convert"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
	"github.com/braid-upf/braid/smf"
)

// convert has the client use the session's transport converter, from its link-specific
// addresses, the 3GPP access's first; edit is what else the policy is to say.
func (f *fixture) convert(v6 bool, edit func(*smf.Session)) (link [steer.NumAccesses]netip.Addr) {
	f.Helper()
	f.sysctl("net/ipv4/tcp_fastopen", fastOpenClient)
	f.setPolicy(func(s *smf.Session) {
		s.ATSSS = smf.ATSSS{MPTCP: true}
		if edit != nil {
			edit(s)
		}
	})
	of := func(addrs []netip.Addr) netip.Addr {
		i := slices.IndexFunc(addrs, func(a netip.Addr) bool { return a.Is6() == v6 })
		if i < 0 {
			return netip.Addr{}
		}
		return addrs[i]
	}
	f.await("link-specific addresses", eventTime, func() bool {
		st, err := f.lab.UEStats()
		for a := range link {
			link[a] = of(st.LinkSpecific[a])
		}
		return err == nil && link[tgpp].IsValid() && link[nonTGPP].IsValid()
	})
	st, err := f.lab.SMFState()
	f.check(err)
	proxies := st.Sessions[0].ATSSS.MPTCP.Proxy
	i := slices.IndexFunc(proxies, func(p netip.AddrPort) bool { return p.Addr().Is6() == v6 })
	f.client.Converter, f.client.Local = proxies[i], link[tgpp]
	f.endpoints(link[nonTGPP].String() + " dev ue1 subflow")
	return link
}

// Downloads and uploads of a kernel's MPTCP by way of the converter: byte for byte, over
// both accesses, with subflows from the link-specific addresses, and seen by the server as
// the session's.
func TestConverter(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, d := range directions {
			t.Run(fmt.Sprintf("%s/ipv6=%v", d.name, v6), func(t *testing.T) {
				f := begin(t)
				if v6 {
					f.v6()
				}
				link := f.convert(v6, balance(50))
				g := f.file(30_000_000)
				tr := d.start(f, g)
				f.awaitSubflows(tr.Inspect)
				for _, a := range []steer.Access{nonTGPP, tgpp, nonTGPP} {
					n := tr.Bytes()
					f.awaitBytes(tr, min(n+3_000_000, int64(g.size)))
					f.setPolicy(func(s *smf.Session) {
						s.ATSSS = smf.ATSSS{MPTCP: true}
						prefer(a)(s)
					})
				}
				d.end(f, tr, g)
				f.mptcp(tr.Inspect, 2)
				info, err := tr.Inspect()
				f.check(err)
				for _, s := range info.Subflows {
					if !slices.Contains(link[:], s.Local.Addr()) || s.Remote != f.client.Converter {
						t.Errorf("subflow from %v to %v", s.Local, s.Remote)
					}
				}
				if d.way == lab.DirectionDown {
					for a, n := range f.carried(d.way) {
						if n < 1_000_000 {
							t.Errorf("the %v access carried %d bytes", steer.Access(a), n)
						}
					}
				}
				for _, s := range f.serverConnections() {
					if !strings.Contains(s, lab.UEAddress(tgpp, 0, v6).String()) {
						t.Errorf("the server sees %s", s)
					}
				}
				tr.Close()
				f.translated(map[string]uint64{"conversions": 1, "convert_errors": 0, "convert_early": 0, "subflows": 1})
			})
		}
	}
}

// The converter's answers to a kernel's MPTCP and plain TCP: to what it does not do, and
// to what is not there.
func TestConverterErrors(t *testing.T) {
	info := convert.AppendInfo(convert.Start(nil))
	convert.Finish(info, 0)
	closed := netip.AddrPortFrom(lab.DNAddr, 9)
	for _, tc := range []struct {
		name    string
		message []byte
		code    convert.Code
	}{
		{"refused", mptcpclient.ConnectMessage(closed), convert.ConnectionReset},
		{"no route", mptcpclient.ConnectMessage(netip.MustParseAddrPort("192.0.2.1:80")), convert.DestinationUnreachable},
		{"loopback", mptcpclient.ConnectMessage(netip.MustParseAddrPort("127.0.0.1:80")), convert.Malformed},
		{"option", mptcpclient.ConnectMessage(netip.AddrPortFrom(lab.DNAddr, 80), 19, 2), convert.UnsupportedTCPOption},
		{"version", []byte{2, 1, 0x22, 0x63}, convert.UnsupportedVersion},
	} {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/plain=%v", tc.name, plain), func(t *testing.T) {
				f := begin(t, "MPTcpExtMPRstTx") // the client resets on an error
				f.convert(false, nil)
				f.client.Plain = plain
				_, _, err := f.client.Convert(f.ctx, tc.message)
				var answer *mptcpclient.ConvertError
				if !errors.As(err, &answer) || answer.Code != tc.code {
					t.Errorf("answer %v, want error %d", err, tc.code)
				}
			})
		}
	}
	t.Run("info", func(t *testing.T) {
		f := begin(t)
		f.convert(false, nil)
		c, r, err := f.client.Convert(f.ctx, info)
		f.check(err)
		defer c.Close()
		if !bytes.Contains(r.Supported, []byte{30}) {
			t.Errorf("the converter supports % x", r.Supported)
		}
		f.check(expectEOF(c))
	})
}

// User data behind the message in the SYN; options of the server's in the reply; a client
// that speaks plain TCP; one whose SYNs carry nothing.
func TestConverterClients(t *testing.T) {
	for _, tc := range []struct {
		name     string
		plain    bool
		fastOpen string
		early    uint64
	}{
		{"mptcp", false, fastOpenClient, 0},
		{"plain", true, fastOpenClient, 0},
		{"mptcp without Fast Open", false, "0", 1},
		{"plain without Fast Open", true, "0", 1},
		{"mptcp with cookies of Fast Open", false, "1", 1},
		{"plain with cookies of Fast Open", true, "1", 1},
	} {
		for _, data := range []int{0, 600} {
			t.Run(fmt.Sprintf("%s/%d", tc.name, data), func(t *testing.T) {
				f := begin(t)
				f.convert(false, nil)
				f.sysctl("net/ipv4/tcp_fastopen", tc.fastOpen)
				f.client.Plain = tc.plain
				request, answer := pattern(100_000), pattern(300_000)
				addr := f.serve(func(c *net.TCPConn) error {
					if err := expect(c, request); err != nil {
						return err
					}
					_, err := c.Write(answer)
					return err
				})
				server := netip.MustParseAddrPort(addr)
				c, r, err := f.client.Convert(f.ctx, append(mptcpclient.ConnectMessage(server, 4, 2), request[:data]...))
				f.check(err)
				defer c.Close()
				if !r.HasExtended || len(r.Extended) < 4 || r.Extended[0] != 2 {
					t.Errorf("options of the server: % x", r.Extended)
				}
				_, err = c.Write(request[data:])
				f.check(err)
				f.check(expect(c, answer))
				f.check(expectEOF(c))
				if !tc.plain {
					f.mptcp(inspector(c), 1)
				}
				c.Close()
				f.translated(map[string]uint64{"conversions": 1, "convert_early": tc.early})
			})
		}
	}
}

// Many connections at once over accesses that lose packets: lost SYNs, which Linux repeats
// without the message, third ACKs and replies.
func TestConverterUnderLoss(t *testing.T) {
	const connections = 60
	f := begin(t, "MPTcpExtMPCapableSYNTXDrop") // with its fourth SYN Linux gives MPTCP up
	f.convert(false, balance(50))
	for a := range steer.Access(steer.NumAccesses) {
		f.link(a, lab.Impairment{Rate: 100e6, Delay: 10 * time.Millisecond, Loss: 0.05})
	}
	g := f.file(200_000)
	var all []*mptcpclient.Transfer
	for range connections {
		all = append(all, f.get(g))
	}
	plain := 0
	for _, tr := range all {
		f.downloaded(tr, g)
		info, err := tr.Inspect()
		f.check(err)
		if !info.MPTCP {
			plain++
		}
	}
	if plain > connections/10 {
		t.Errorf("%d of %d connections are not MPTCP", plain, connections)
	}
	now := f.translator()
	if n := now["proxy_convert_early"] - f.upf["proxy_convert_early"]; n == 0 {
		t.Errorf("no SYN of %d was lost before it came to the UPF", connections)
	}
	f.translated(map[string]uint64{"conversions": connections, "convert_errors": 0})
}

// A server that speaks first gets no round trip more than without a converter, and the
// client nothing but its data behind the reply.
func TestConverterServerFirst(t *testing.T) {
	f := begin(t)
	f.convert(false, nil)
	greeting := pattern(5000)
	c := f.dial(f.serve(func(c *net.TCPConn) error {
		_, err := c.Write(greeting)
		return err
	}))
	f.check(expect(c, greeting))
	f.check(expectEOF(c))
}

// translated fails the test unless counters of the UPF's translator have risen by so much.
func (f *fixture) translated(want map[string]uint64) {
	f.Helper()
	now := f.translator()
	for name, n := range want {
		if got := now["proxy_"+name] - f.upf["proxy_"+name]; got != n {
			f.Errorf("the UPF's %s rose by %d, want %d", name, got, n)
		}
	}
}
