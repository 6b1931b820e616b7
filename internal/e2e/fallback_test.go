package e2e

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

// A thousand connections over two accesses that lose and reorder packets: all bytes
// arrive, and not one connection becomes plain TCP. Three witnesses say so: each
// connection's own socket, the UE's counters and the UPF's.
func TestNoFallback(t *testing.T) {
	const connections, atOnce, size = 1000, 50, 20_000
	f := begin(t, mpRstTx) // a join that comes through when its connection has just ended
	bad := lab.Impairment{Delay: 3 * time.Millisecond, Loss: 0.01, Reorder: 0.01}
	f.link(tgpp, bad)
	f.link(nonTGPP, bad)
	b := pattern(size)
	addr := f.serve(func(c *net.TCPConn) error { return exchange(c, b) })
	before := f.translator()
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for range connections / atOnce {
				if err := f.exchangeOver(addr, b); err != nil {
					f.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for name, want := range map[string]uint64{"MPCapableSYNACKRX": connections, "MPCapableFallbackACK": 0, "InfiniteMapTx": 0, "SimultConnectFallback": 0} {
		if got := f.rose("MPTcpExt" + name); got != want {
			t.Errorf("%s rose by %d, want %d", name, got, want)
		}
	}
	after := f.translator()
	for _, name := range []string{"connections", "established"} {
		if got := after["proxy_"+name] - before["proxy_"+name]; got != connections {
			t.Errorf("the UPF counts %d %s, want %d", got, name, connections)
		}
	}
	var lost, reordered uint64
	for a := range steer.Access(steer.NumAccesses) {
		was, now := f.begun[a], f.stats(a)
		for _, d := range []lab.Direction{lab.DirectionUp, lab.DirectionDown} {
			lost += now.Of(d).Lost - was.Of(d).Lost
			reordered += now.Of(d).Reordered - was.Of(d).Reordered
		}
	}
	t.Logf("%d packets lost, %d reordered, %d joins", lost, reordered, f.rose("MPTcpExtMPJoinSynAckRx"))
	if lost < connections/10 || reordered < connections/10 {
		t.Error("that is too few to tell anything")
	}
}

// exchangeOver moves b both ways over a connection of its own, which must be MPTCP to
// the end.
func (f *fixture) exchangeOver(addr string, b []byte) error {
	c, err := f.client.Dial(f.ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(transferTime)); err != nil {
		return err
	}
	half := len(b) / 2
	if _, err := c.Write(b[:half]); err != nil {
		return err
	}
	if err := expect(c, b); err != nil {
		return err
	}
	info, err := mptcpclient.Inspect(c)
	if err != nil {
		return err
	}
	if !info.MPTCP {
		return fmt.Errorf("%v has become plain TCP", c.LocalAddr())
	}
	if _, err := c.Write(b[half:]); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	return expectEOF(c)
}
