package dataplane

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/dataplane/driver/memory"
	"github.com/braid-upf/braid/packet"
)

// generator is a driver that receives the same packet again and again, MaxBurst a
// burst, and sends into nothing: what is left to measure is the worker.
type generator struct {
	n3, n6 []byte // the one that is not nil comes
	peer   driver.Peer
	sent   int
}

func (g *generator) Receive(rx *driver.Burst, pool *packet.Pool, _ time.Duration) error {
	rx.Reset()
	for range driver.MaxBurst {
		b := pool.Get()
		if g.n3 != nil {
			b.SetLen(copy(b.Room(), g.n3))
			rx.N3 = append(rx.N3, driver.N3Packet{Buf: b, Peer: &g.peer})
		} else {
			b.SetLen(copy(b.Room(), g.n6))
			rx.N6 = append(rx.N6, b)
		}
	}
	return nil
}

func (g *generator) Send(tx *driver.Burst, pool *packet.Pool) {
	g.sent += len(tx.N3) + len(tx.N6)
	for _, p := range tx.N3 {
		pool.Put(p.Buf)
	}
	for _, b := range tx.N6 {
		pool.Put(b)
	}
	tx.Reset()
}

func (g *generator) Wake()                                {}
func (g *generator) Counters(func(name string, v uint64)) {}

// cases are packets of ordinary traffic, and a dropped one.
func cases() map[string]generator {
	n := 1400 - 28
	return map[string]generator{
		"uplink/UDP":             {n3: gpdu(teid3GPP, 9, udp(ue1, server, 1000, 53, n))},
		"uplink/TCP":             {n3: gpdu(teid3GPP, 9, append(tcp(ue1, server, 1000, 80, packet.ACK), make([]byte, 8)...))},
		"uplink/IPv6":            {n3: gpdu(teid3GPP, 9, udp(ue6, netip.MustParseAddr("2001:db8::1"), 1000, 53, n-20))},
		"downlink/UDP":           {n6: udp(server, ue1, 53, 1000, n)},
		"downlink/TCP":           {n6: tcp(server, ue1, 80, 1000, packet.ACK)},
		"downlink/IPv6":          {n6: udp(netip.MustParseAddr("2001:db8::1"), ue6, 53, 1000, n-20)},
		"dropped/unknown TEID":   {n3: gpdu(0x77, 9, udp(ue1, server, 1000, 53, n))},
		"dropped/unknown UE":     {n6: udp(server, netip.MustParseAddr("10.60.0.9"), 53, 1000, n)},
		"dropped/spoofed source": {n3: gpdu(teid3GPP, 9, udp(server, server, 1000, 53, n))},
	}
}

// benchWorker is a worker with the test session and others.
func benchWorker(tb testing.TB, g *generator, others int) *worker {
	tb.Helper()
	plane, err := New(Config{Set: memory.New(1, upf4), Buffers: 512, Keys: 1})
	if err != nil {
		tb.Fatal(err)
	}
	r := testRules()
	r.Downlink[0].MAR.Policy.Mode = steer.LoadBalancing
	r.Downlink[0].MAR.Policy.Weight = [2]uint8{50, 50}
	if _, err := plane.Install(r); err != nil {
		tb.Fatal(err)
	}
	for n := range others {
		if _, err := plane.Install(otherRules(n + 1)); err != nil {
			tb.Fatal(err)
		}
	}
	w := plane.workers[0]
	for !w.proxy.Idle() {
		w.proxy.Tick(plane.clock(), &w.out)
	}
	g.peer = driver.MakePeer(gnb)
	w.drv = g
	return w
}

func step(tb testing.TB, w *worker) {
	if err := w.drv.Receive(&w.rx, w.pool, 0); err != nil {
		tb.Fatal(err)
	}
	w.burst()
}

func TestAllocs(t *testing.T) {
	for name, g := range cases() {
		w := benchWorker(t, &g, 100)
		step(t, w) // slices find their size
		if n := testing.AllocsPerRun(100, func() { step(t, w) }); n != 0 {
			t.Errorf("%s: %v allocations a burst", name, n)
		}
		// Of an unknown TEID some are answered.
		want := !strings.HasPrefix(name, "dropped/") || name == "dropped/unknown TEID"
		if got := g.sent > 0; got != want {
			t.Errorf("%s: %d packets went out", name, g.sent)
		}
	}
}

func BenchmarkForward(b *testing.B) {
	for name, g := range cases() {
		b.Run(name, func(b *testing.B) {
			w := benchWorker(b, &g, 10_000)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += driver.MaxBurst {
				step(b, w)
			}
		})
	}
}
