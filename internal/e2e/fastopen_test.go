package e2e

import (
	"io"
	"net"
	"testing"

	"github.com/braid-upf/braid/internal/lab"
)

// Values of net.ipv4.tcp_fastopen: both sides without cookies.
const (
	fastOpenClient = "5"    // client; payload without a cookie
	fastOpenServer = "1538" // 0x602: server; payload without a cookie; on every listener
)

// The request travels in the SYN and the connection is MPTCP with two subflows all the
// same, if the server takes it; if not it is plain TCP, since Linux sends no key then.
func TestFastOpen(t *testing.T) {
	for _, tc := range []struct {
		name, server string
		taken        uint64
		allow        []string
	}{
		{"taken", fastOpenServer, 1, nil},
		{"not taken", "0", 0, []string{"MPTcpExtMPCapableFallbackSYNACK", "fallback_syn_data"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := begin(t, tc.allow...)
			f.sysctl("net/ipv4/tcp_fastopen", fastOpenClient)
			f.sysctlIn(lab.DN, "net/ipv4/tcp_fastopen", tc.server)
			request, answer := pattern(700), pattern(3_000_000)
			addr := f.serve(func(c *net.TCPConn) error {
				if err := expect(c, request); err != nil {
					return err
				}
				_, err := c.Write(answer)
				return err
			})
			f.client.FastOpen = true
			c := f.dial(addr)
			_, err := c.Write(request)
			f.check(err)
			got := make([]byte, 1)
			_, err = io.ReadFull(c, got)
			f.check(err)
			if got[0] != answer[0] {
				t.Errorf("first byte %x, want %x", got[0], answer[0])
			}
			if tc.taken == 1 {
				f.awaitSubflows(inspector(c))
			}
			f.check(expect(c, answer[1:]))
			f.check(expectEOF(c))
			if n := f.mib(lab.DN)["TcpExtTCPFastOpenPassive"] - f.dn["TcpExtTCPFastOpenPassive"]; n != tc.taken {
				t.Errorf("the server took %d SYNs with data, want %d", n, tc.taken)
			}
			n, info, err := established(inspector(c))
			f.check(err)
			if want := tc.taken == 1; info.MPTCP != want {
				t.Errorf("MPTCP is %v with %d subflows, want %v", info.MPTCP, n, want)
			}
		})
	}
}
