package e2e

import (
	"net"
	"slices"
	"testing"

	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

func TestIPv6(t *testing.T) {
	f := begin(t)
	f.v6()
	b := pattern(5_000_000)
	addr := f.serve(func(c *net.TCPConn) error { return exchange(c, b) })
	c := f.dial(addr)
	f.awaitSubflows(inspector(c))
	info, err := mptcpclient.Inspect(c)
	f.check(err)
	for _, want := range lab.UEAddr6 {
		if !slices.ContainsFunc(info.Subflows, func(s mptcpclient.Subflow) bool { return s.Local.Addr() == want }) {
			t.Errorf("subflows %v: none from %v", info.Subflows, want)
		}
	}
	f.check(exchange(c, b))
}
