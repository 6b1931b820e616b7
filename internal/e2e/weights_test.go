package e2e

import (
	"math"
	"net"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/smf"
)

// How many connections and packet flows the weights are tested with, and by how many points
// an access's share may be off. Connections take turns; where a packet flow goes is in its
// addresses and ports alone, so that chance has its part: of 10,000 flows two points are
// four standard deviations.
const (
	weighedConnections = 1000
	weighedFlows       = 10_000
	deviation          = 2
)

// weights are those of 3GPP in percent.
var weights = []uint8{50, 70, 20}

func checkWeight(t *testing.T, weight uint8, n [steer.NumAccesses]int, of int) {
	t.Helper()
	got := 100 * float64(n[tgpp]) / float64(of)
	if n[tgpp]+n[nonTGPP] != of || math.Abs(got-float64(weight)) > deviation {
		t.Errorf("weight %d%%: %d on 3GPP, %d on non-3GPP, want %d%% of %d within %d points", weight, n[tgpp], n[nonTGPP], weight, of, deviation)
	}
	t.Logf("weight %d%%: %.1f%% on 3GPP", weight, got)
}

// TestWeights: of many connections or packet flows each access gets its weight within two
// points, and a change of the weights moves those that live.
func TestWeights(t *testing.T) {
	t.Run("MPTCP", func(t *testing.T) {
		f := begin(t)
		f.setPolicy(balance(weights[0]))
		const size, batch = 20_000, 100
		addr := f.serveOnDemand(size)
		var count [3][steer.NumAccesses]int
		for range weighedConnections / batch {
			s := &streams{fixture: f}
			for range batch {
				c := f.dial(addr)
				f.check(c.SetDeadline(time.Now().Add(streamTime)))
				s.conns = append(s.conns, c)
			}
			for _, c := range s.conns {
				f.awaitSubflows(inspector(c))
			}
			for i, weight := range weights {
				f.setPolicy(balance(weight))
				for a, n := range s.preferred(func() { f.demand(s.conns, size) }) {
					count[i][a] += n
				}
			}
			for _, c := range s.conns {
				f.check(c.CloseWrite())
				f.check(expectEOF(c))
				f.check(c.Close())
			}
		}
		for i, weight := range weights {
			checkWeight(t, weight, count[i], weighedConnections)
		}
	})
	t.Run("ATSSS-LL", func(t *testing.T) {
		f := begin(t)
		by := func(weight uint8) func(*smf.Session) {
			return func(s *smf.Session) {
				s.Other = &smf.Other{Steering: smf.Steering{Mode: steer.LoadBalancing}, Shares: [2]*smf.Share{{Weight: weight}, {Weight: 100 - weight}}}
			}
		}
		f.setPolicy(by(weights[0]))
		u := f.udpFlows(weighedFlows)
		for _, weight := range weights {
			f.setPolicy(by(weight))
			before := [steer.NumAccesses]lab.Stats{f.stats(tgpp), f.stats(nonTGPP)}
			u.round(time.Second)
			var n [steer.NumAccesses]int
			f.await("a packet of each flow", eventTime, func() bool {
				for a := range n {
					now := f.stats(steer.Access(a))
					n[a] = int(now.Down.Packets - before[a].Down.Packets)
				}
				return n[tgpp]+n[nonTGPP] >= weighedFlows
			})
			checkWeight(t, weight, n, weighedFlows)
		}
		f.await("all packets", eventTime, func() bool { return u.delivery().lost() == 0 })
	})
}

// serveOnDemand sends so many bytes for each byte that comes.
func (f *fixture) serveOnDemand(size int) (addr string) {
	b := pattern(size)
	return f.serve(func(c *net.TCPConn) error {
		if err := c.SetDeadline(time.Now().Add(streamTime)); err != nil {
			return err
		}
		one := make([]byte, 1)
		for {
			if n, _ := c.Read(one); n == 0 {
				return nil // the client has closed it
			}
			if _, err := c.Write(b); err != nil {
				return err
			}
		}
	})
}

// demand gets so many bytes over each connection.
func (f *fixture) demand(conns []*net.TCPConn, size int) {
	f.Helper()
	b := pattern(size)
	answers := make(chan error, len(conns))
	for _, c := range conns {
		go func() {
			_, err := c.Write([]byte{'?'})
			if err == nil {
				err = expect(c, b)
			}
			answers <- err
		}()
	}
	for range conns {
		f.check(<-answers)
	}
}
