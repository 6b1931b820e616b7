package dataplane

import (
	"fmt"
	"math/bits"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/packet"
)

var sessionCounts = []int{100, 10_000, 100_000, 1_000_000}

// crowd is n sessions as free5GC makes them, a PDR each way, in all tables.
type crowd struct {
	n        uint64
	goTEIDs  map[uint32]*tunnel
	teids    teidTable
	ues      ueTable
	random   uint64
	teid     [driver.MaxBurst]uint32
	addr     [driver.MaxBurst]packet.Addr
	tunnels  [driver.MaxBurst]*tunnel
	sessions [driver.MaxBurst]*session
}

func newCrowd(tb testing.TB, n int) *crowd {
	c := &crowd{n: uint64(n), random: 1, goTEIDs: map[uint32]*tunnel{}}
	c.teids.init()
	c.ues.init()
	plane := newFixtureWith4(tb)
	for i := range n {
		addrs := []netip.Prefix{netip.PrefixFrom(benchUE(i, false), 32)}
		qers := []*QER{{ID: 1, QFI: 9}}
		rs, err := plane.compile(&Rules{
			SEID: uint64(i + 1),
			Uplink: []PDR{
				{ID: 1, TEID: benchTEID(i), LocalAddr: upf4, UEAddrs: addrs, FAR: &FAR{ID: 1, Action: Forward}, QERs: qers},
			},
			Downlink: []PDR{
				{ID: 2, UEAddrs: addrs, QERs: qers, FAR: &FAR{
					ID: 2, Action: Forward, To: ToAccess, OuterHeader: &OuterHeader{TEID: uint32(i + 1), Peer: gnb},
				}},
			},
			UEAddrs: addrs,
		})
		if err != nil {
			tb.Fatal(err)
		}
		s := &session{seid: uint64(i + 1), rules: rs}
		rs.tunnels[0].session = s
		c.goTEIDs[benchTEID(i)] = &rs.tunnels[0]
		c.teids.put(benchTEID(i), &rs.tunnels[0])
		c.ues.put(rs.ues[0], s)
	}
	return c
}

func benchTEID(i int) uint32 { return uint32(i+1) * 2654435761 }

// draw is a session number, all as likely.
func (c *crowd) draw() int {
	c.random ^= c.random << 13
	c.random ^= c.random >> 7
	c.random ^= c.random << 17
	hi, _ := bits.Mul64(c.random, c.n)
	return int(hi)
}

// burst draws the packets of a burst.
func (c *crowd) burst() {
	for i := range c.teid {
		n := c.draw()
		c.teid[i] = benchTEID(n)
		c.addr[i] = packet.Addr{10: 0xff, 11: 0xff, 12: 10, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}
	}
}

// BenchmarkSessionLookup: ns a packet from a random TEID or UE address to what to do
// with it, by the number of sessions. draw is the cost of drawing the packets, which
// all others contain; one asks the table a packet at a time, burst for all at once;
// table stops at the tunnel's or session's address, pdr matches its PDR and reads what
// its FAR does.
func BenchmarkSessionLookup(b *testing.B) {
	for _, n := range sessionCounts {
		c := newCrowd(b, n)
		var flow tuple
		sum := uint64(0)
		uplink := func(b *testing.B, i int, u *tunnel) {
			flow.local = c.addr[i]
			d, _ := u.match(&flow, 9)
			if d == nil || d.closed || d.far.action != actionN6 || u.session.proxied {
				b.Fatal("not forwarded")
			}
			sum += u.session.seid
		}
		downlink := func(b *testing.B, i int, s *session) {
			flow.local = c.addr[i]
			d := s.rules.matchDownlink(&flow)
			if d == nil || d.closed || d.far.action != actionTunnel || s.proxied {
				b.Fatal("not forwarded")
			}
			sum += uint64(d.far.out.teid)
		}
		run := func(name string, work func(b *testing.B)) {
			b.Run(fmt.Sprintf("%s/sessions=%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; i < b.N; i += driver.MaxBurst {
					c.burst()
					work(b)
				}
			})
		}
		run("draw", func(*testing.B) {})
		run("uplink/map/table", func(*testing.B) {
			for _, id := range c.teid {
				if c.goTEIDs[id] == nil {
					sum++
				}
			}
		})
		run("uplink/one/table", func(*testing.B) {
			for _, id := range c.teid {
				if c.teids.lookup(id) == nil {
					sum++
				}
			}
		})
		run("uplink/map/pdr", func(b *testing.B) {
			for i, id := range c.teid {
				uplink(b, i, c.goTEIDs[id])
			}
		})
		run("uplink/one/pdr", func(b *testing.B) {
			for i, id := range c.teid {
				uplink(b, i, c.teids.lookup(id))
			}
		})
		run("uplink/burst/pdr", func(b *testing.B) {
			c.teids.lookupBurst(c.teid[:], c.tunnels[:])
			for i, u := range c.tunnels {
				uplink(b, i, u)
			}
		})
		run("downlink/one/pdr", func(b *testing.B) {
			for i := range c.addr {
				downlink(b, i, c.ues.lookup(&c.addr[i]))
			}
		})
		run("downlink/burst/pdr", func(b *testing.B) {
			c.ues.lookupBurst(c.addr[:], c.sessions[:])
			for i, s := range c.sessions {
				downlink(b, i, s)
			}
		})
		if sum == 1 {
			b.Log(sum)
		}
	}
}

func TestLookupAllocs(t *testing.T) {
	c := newCrowd(t, 1000)
	c.burst()
	if n := testing.AllocsPerRun(100, func() {
		c.teids.lookupBurst(c.teid[:], c.tunnels[:])
		c.ues.lookupBurst(c.addr[:], c.sessions[:])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for i := range c.tunnels {
		if c.tunnels[i] == nil || c.tunnels[i].session != c.sessions[i] {
			t.Fatalf("packet %d: %+v, %+v", i, c.tunnels[i], c.sessions[i])
		}
	}
}

// BenchmarkTablePut: ns and bytes an entry of a table that is filled from empty, and
// the longest single put.
func BenchmarkTablePut(b *testing.B) {
	u := &tunnel{}
	for _, n := range sessionCounts {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			heap := func() float64 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return float64(m.HeapAlloc)
			}
			before := heap()
			longest := time.Hour
			var table teidTable
			for b.Loop() {
				table.init()
				slowest := time.Duration(0)
				for i := range n {
					start := time.Now()
					table.put(benchTEID(i), u)
					slowest = max(slowest, time.Since(start))
				}
				longest = min(longest, slowest)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
			b.ReportMetric((heap()-before)/float64(n), "B/entry")
			b.ReportMetric(float64(longest.Nanoseconds())/1000, "µs-longest")
			runtime.KeepAlive(&table)
		})
	}
}
