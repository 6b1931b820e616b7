package dataplane

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"runtime"
	"testing"
	"time"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/dataplane/driver/memory"
	"github.com/braid-upf/braid/packet"
)

var sessionCounts = []int{100, 10_000, 100_000, 1_000_000}

func benchTEID(i int) uint32 { return uint32(i+1) * 2654435761 }

// crowd is a worker with n sessions as free5GC's SMF makes them, and a driver that brings
// packets of random ones, all as likely.
type crowd struct {
	*worker
	n      uint64
	random uint64
	n3, n6 []byte
	up     bool // packets of UEs; else for them
	peer   driver.Peer
}

func newCrowd(tb testing.TB, n int) *crowd {
	tb.Helper()
	plane, err := New(Config{Set: memory.New(1, upf4), Buffers: 512, Keys: 1})
	if err != nil {
		tb.Fatal(err)
	}
	w := plane.workers[0]
	for i := range n {
		r := freeRules(i)
		r.Uplink[0].TEID = benchTEID(i)
		rs, err := plane.compile(r)
		if err != nil {
			tb.Fatal(err)
		}
		w.install(r.SEID, rs)
	}
	c := &crowd{worker: w, n: uint64(n), random: 1, peer: driver.MakePeer(gnb)}
	ue := freeRules(0).UEAddrs[0].Addr()
	c.n3 = gpdu(0, 1, udp(ue, server, 1000, 53, 72))
	c.n6 = udp(server, ue, 53, 1000, 72)
	w.drv = c
	return c
}

// draw is a session number.
func (c *crowd) draw() int {
	c.random ^= c.random << 13
	c.random ^= c.random >> 7
	c.random ^= c.random << 17
	hi, _ := bits.Mul64(c.random, c.n)
	return int(hi)
}

// Receive brings a burst.
func (c *crowd) Receive(rx *driver.Burst, pool *packet.Pool, _ time.Duration) error {
	rx.Reset()
	for range driver.MaxBurst {
		n := c.draw()
		b := pool.Get()
		var ue []byte
		if c.up {
			b.SetLen(copy(b.Room(), c.n3))
			binary.BigEndian.PutUint32(b.Bytes()[4:], benchTEID(n))
			ue = b.Bytes()[len(c.n3)-len(c.n6)+12:]
			rx.N3 = append(rx.N3, driver.N3Packet{Buf: b, Peer: &c.peer})
		} else {
			b.SetLen(copy(b.Room(), c.n6))
			ue = b.Bytes()[16:]
			rx.N6 = append(rx.N6, b)
		}
		binary.BigEndian.PutUint32(ue, 10<<24|uint32(n))
	}
	return nil
}

// Send takes packets out of the way.
func (c *crowd) Send(tx *driver.Burst, pool *packet.Pool) {
	for _, p := range tx.N3 {
		pool.Put(p.Buf)
	}
	for _, b := range tx.N6 {
		pool.Put(b)
	}
	tx.Reset()
}

// Wake does nothing.
func (c *crowd) Wake() {}

// Counters tells of none.
func (c *crowd) Counters(func(string, uint64)) {}

// burst is one turn of the worker's loop.
func (c *crowd) turn(tb testing.TB) {
	if err := c.drv.Receive(&c.rx, c.pool, 0); err != nil {
		tb.Fatal(err)
	}
	c.burst()
}

// BenchmarkSessions: ns a packet of a random session, by the number of sessions. path is
// the whole way of a packet through the worker, with two QERs and two URRs, the bringing
// of the packet included; one looks each packet up for itself, burst as the worker does,
// up to the PDR.
func BenchmarkSessions(b *testing.B) {
	for _, n := range sessionCounts {
		c := newCrowd(b, n)
		for _, up := range []bool{true, false} {
			c.up = up
			name := map[bool]string{true: "uplink", false: "downlink"}[up]
			run := func(kind string, f func()) {
				b.Run(fmt.Sprintf("%s/%s/sessions=%d", kind, name, n), func(b *testing.B) {
					b.ReportAllocs()
					for i := 0; i < b.N; i += driver.MaxBurst {
						f()
					}
				})
			}
			run("path", func() { c.turn(b) })
			run("draw", func() { c.keysOf() })
			run("burst", func() {
				c.keysOf()
				c.teids.lookupBurst(c.keys.teids[:], c.keys.tunnels[:])
				for i, t := range c.keys.tunnels {
					c.flow.local = c.keys.addrs[i]
					if d, _ := t.up.lookup(&c.flow, 1, nil); d == nil || d.far.action != actionN6 {
						b.Fatal("no PDR")
					}
				}
			})
		}
	}
}

// keysOf draws the keys of a burst.
func (c *crowd) keysOf() {
	for i := range c.keys.teids {
		n := c.draw()
		c.keys.teids[i] = benchTEID(n)
		c.keys.addrs[i] = packet.Addr{10: 0xff, 11: 0xff, 12: 10, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}
	}
}

// TestCrowd: every packet of the benchmark's is forwarded, and nothing allocated.
func TestCrowd(t *testing.T) {
	c := newCrowd(t, 1000)
	for _, up := range []bool{true, false} {
		c.up = up
		if n := testing.AllocsPerRun(100, func() { c.turn(t) }); n != 0 {
			t.Errorf("uplink %v: %v allocations a burst", up, n)
		}
	}
	const turns = 101 // AllocsPerRun runs once more
	want := uint64(turns * driver.MaxBurst)
	if n := &c.count.n; n[n6Sent] != want || n[n3Sent] != want {
		t.Errorf("%d packets to N6, %d to N3; want %d each", n[n6Sent], n[n3Sent], want)
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
