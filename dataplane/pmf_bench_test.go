package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/pmf"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// handsets is a driver with the phones of many sessions behind it: what the PMF sends them
// comes back as their answers.
type handsets struct {
	plane   *Plane
	peer    driver.Peer
	answers []driver.N3Packet
	asked   []int // echo requests to each session, over either access
	sent    int
}

func (c *handsets) Receive(rx *driver.Burst, _ *packet.Pool, _ time.Duration) error {
	rx.Reset()
	rx.N3, c.answers = append(rx.N3, c.answers...), c.answers[:0]
	return nil
}

func (c *handsets) Send(tx *driver.Burst, pool *packet.Pool) {
	for _, p := range tx.N3 {
		c.sent++
		if c.answer(p.Buf) {
			c.answers = append(c.answers, driver.N3Packet{Buf: p.Buf, Peer: &c.peer})
		} else {
			pool.Put(p.Buf)
		}
	}
	for _, b := range tx.N6 {
		pool.Put(b)
	}
	tx.Reset()
}

// answer makes the G-PDU b of an echo request that of its answer.
func (c *handsets) answer(b *packet.Buffer) bool {
	g := b.Bytes()
	ip := g[gtpu.GPDUContainerLen:]
	udp := ip[20:]
	if udp[8] != byte(pmf.EchoRequest) {
		return false
	}
	ue, fn := packet.AddrFrom(netip.AddrFrom4([4]byte(ip[16:]))), packet.AddrFrom(pmf4)
	n := binary.BigEndian.Uint32(ip[16:]) & 0xffffff
	c.asked[n]++
	port := binary.BigEndian.Uint16(udp)
	access := uint32(port - pmfPorts[0])
	gtpu.PutGPDU(g, 2*n+access+1, len(ip), 9, false)
	g[13] |= byte(gtpu.ULPDUSessionInformation) << 4
	packet.PutIPHeader(ip, false, &ue, &fn, packet.ProtoUDP, 0, 64, len(ip))
	udp[8] = byte(pmf.EchoResponse)
	packet.PutUDPHeader(udp, &ue, &fn, uePort, port)
	return true
}

func (c *handsets) Wake()                                {}
func (c *handsets) Counters(func(name string, v uint64)) {}

// handsetRules is the n-th session of many.
func handsetRules(n int) *Rules {
	r := pmfTestRules()
	addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	r.SEID = uint64(n + 1)
	r.UEAddrs = prefixesOf(addr)
	r.Downlink = r.Downlink[:1]
	r.Downlink[0].UEAddrs = r.UEAddrs
	for a := range r.Uplink {
		r.Uplink[a].UEAddrs = r.UEAddrs
		r.Uplink[a].TEID = uint32(2*n + a + 1)
	}
	return r
}

// newHandsets is a worker with n sessions that are measured and never rest.
func newHandsets(tb testing.TB, n int) (*worker, *handsets) {
	tb.Helper()
	w := benchWorker(tb, &generator{}, 0)
	if _, err := w.plane.Remove(testSEID); err != nil {
		tb.Fatal(err)
	}
	w.pmfConfig.Idle = 0
	for i := range n {
		r := handsetRules(i)
		if _, err := w.plane.Install(r); err != nil {
			tb.Fatal(err)
		}
		s := w.bySEID[r.SEID]
		for a := range steer.Access(steer.NumAccesses) {
			l := pmf.Leg{Access: a}
			*s.pmf.leg(l) = pmfLeg{ue: packet.AddrFrom(r.UEAddrs[0].Addr()), ours: packet.AddrFrom(pmf4), port: uePort, ourPort: pmfPorts[a], qfi: 9}
			m := pmf.Message{Type: pmf.EchoRequest, EPTI: uint16(i)}
			s.pmf.net.Receive(1, l, &m, &w.pmfOut)
		}
		w.pmfOut.Reset()
		w.wakePMF(s, true)
	}
	c := &handsets{plane: w.plane, asked: make([]int, n), peer: driver.MakePeer(gnb)}
	w.drv = c
	return w, c
}

// tick lets a tick of time pass at w.
func tick(tb testing.TB, w *worker) {
	w.plane.epoch = w.plane.epoch.Add(-time.Duration(pmfTick))
	step(tb, w)
}

// TestPMFBudget: a worker with more sessions than it can measure in their time works on no
// more than its budget in a tick; all have their turn, less often; none is taken for dead.
func TestPMFBudget(t *testing.T) {
	const n = 40 * pmfBudget // an interval is 25 ticks
	w, c := newHandsets(t, n)
	for range 120 {
		c.sent = 0
		tick(t, w)
		if c.sent > 2*pmfBudget {
			t.Fatalf("%d messages in a tick", c.sent)
		}
	}
	if behind := w.count.n[pmfBehind]; behind < 115 {
		t.Errorf("behind in %d ticks of 120", behind)
	}
	least, most := n, 0
	for _, asked := range c.asked {
		least, most = min(least, asked), max(most, asked)
	}
	if least < 4 || most > 2*least {
		t.Errorf("sessions were asked %d to %d times", least, most)
	}
	if w.pmfWheel.n != n || w.count.n[pmfLost] != 0 {
		t.Errorf("%d are measured, want %d; %d accesses lost", w.pmfWheel.n, n, w.count.n[pmfLost])
	}
}

// BenchmarkPMFTick is what a worker needs in 10 ms for 10,000 sessions whose accesses are
// both idle: each is asked every 250 ms and answers.
func BenchmarkPMFTick(b *testing.B) {
	w, c := newHandsets(b, 10_000)
	for range 200 {
		tick(b, w)
	}
	c.sent = 0
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		tick(b, w)
	}
	b.ReportMetric(float64(c.sent)/float64(b.N), "messages/op")
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(pmfTick)*100, "%core")
}

// TestMeasuredDoesNotAllocate: neither the packets of a session that is measured nor its
// messages cost memory.
func TestMeasuredDoesNotAllocate(t *testing.T) {
	for name, g := range map[string]generator{
		"uplink":   {n3: gpdu(teid3GPP, 9, udp(ue1, server, 1000, 53, 100))},
		"downlink": {n6: udp(server, ue1, 53, 1000, 100)},
		"echo":     {n3: toPMF(steer.AccessNon3GPP, 9, pmf.Message{Type: pmf.EchoRequest, EPTI: 1})},
	} {
		w := measuredWorker(t, &g, true)
		for range 100 {
			tick(t, w)
		}
		if n := testing.AllocsPerRun(200, func() { tick(t, w) }); n != 0 {
			t.Errorf("%s: %v allocations a burst", name, n)
		}
	}
	w, _ := newHandsets(t, 100)
	for range 200 {
		tick(t, w)
	}
	if n := testing.AllocsPerRun(200, func() { tick(t, w) }); n != 0 {
		t.Errorf("many sessions: %v allocations a tick", n)
	}
}

// measuredWorker is a worker with the test session, measured or not.
func measuredWorker(tb testing.TB, g *generator, measured bool) *worker {
	w := benchWorker(tb, g, 0)
	if !measured {
		return w
	}
	if _, err := w.plane.Install(pmfTestRules()); err != nil {
		tb.Fatal(err)
	}
	m := pmf.Message{Type: pmf.EchoRequest}
	w.bySEID[testSEID].pmf.net.Receive(1, pmf.Leg{}, &m, &w.pmfOut)
	w.pmfOut.Reset()
	return w
}

// BenchmarkMeasured is what being measured adds to a packet.
func BenchmarkMeasured(b *testing.B) {
	for _, measured := range []bool{false, true} {
		for name, g := range map[string]generator{
			"uplink":   {n3: gpdu(teid3GPP, 9, udp(ue1, server, 1000, 53, 100))},
			"downlink": {n6: udp(server, ue1, 53, 1000, 100)},
		} {
			b.Run(name+map[bool]string{true: "/measured", false: "/not"}[measured], func(b *testing.B) {
				w := measuredWorker(b, &g, measured)
				b.ReportAllocs()
				b.ResetTimer()
				for n := 0; n < b.N; n += driver.MaxBurst {
					step(b, w)
				}
			})
		}
	}
}
