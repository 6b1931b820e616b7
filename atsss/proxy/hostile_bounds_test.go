package proxy

import (
	"flag"
	"runtime"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/testenv"
	"github.com/braid-upf/braid/packet"
)

var hostilePackets = flag.Int("hostile.packets", 40_000, "packets of each kind that are to exhaust the proxy")

// attack is an end, or both, that would have the proxy keep or do more and more.
type attack struct {
	name string
	step func(h *harness, i int64)
}

// swap has new data go over the accesses by turns.
func (h *harness) swap(i int64) {
	policy := *h.rule.Policy
	policy.Split = steer.Split{}
	policy.Priority[i&1], policy.Priority[1-i&1] = steer.Standby, steer.Active
	h.rule.Policy = &policy
}

// sackFrom is an ACK of the UE on sub with n SACK blocks that begin at SSN at, every second
// byte.
func (h *harness) sackFrom(sub int, ack, at int64, n int, option []byte) *packet.Buffer {
	var o options
	o.bytes(option)
	var blocks []dsm.Range
	for i := range int64(n) {
		blocks = append(blocks, dsm.Range{From: at + 2*i, To: at + 2*i + 1})
	}
	o.sack(blocks, h.isns[sub][1])
	return h.build(shape{
		src: &h.ue, dst: &h.srv, srcPort: h.uePorts[sub], dstPort: 80, sn: h.isns[sub][0] + 1, ack: h.isns[sub][1] + uint32(ack),
		flags: packet.ACK, window: 65535,
	}, wordBytes(&o), nil)
}

var attacks = []attack{
	{"uplink bytes with a hole after each", func(h *harness, i int64) {
		m := mapping{ssn: 2 + 2*(i%1_000_000), u: 2 * (i % 1_000_000), n: 1}
		h.up(0, h.fromUE(0, packet.ACK, m.ssn-1, h.dss(&m, 0), 1, make([]byte, 1)))
	}},
	{"uplink bytes in order of SSN, not of DSN", func(h *harness, i int64) {
		m := mapping{ssn: 1 + i%1_000_000, u: (i * 7919) % 1_000_000, n: 1}
		h.up(0, h.fromUE(0, packet.ACK, m.ssn-1, h.dss(&m, 0), 1, make([]byte, 1)))
	}},
	{"the same, and the server SACKs every second byte", func(h *harness, i int64) {
		m := mapping{ssn: 2 + i%1_000_000, u: (i * 7919) % 1_000_000, n: 1}
		h.up(0, h.fromUE(0, packet.ACK, m.ssn-1, h.dss(&m, 0), 1, make([]byte, 1)))
		h.down(h.fromServerSACK(0, m.u, m.u+1))
	}},
	{"downlink bytes by turns on two subflows", func(h *harness, i int64) {
		h.swap(i)
		h.serverData(i, 1)
	}},
	{"the same, acknowledged on the subflows alone", func(h *harness, i int64) {
		h.swap(i)
		h.serverData(i, 1)
		sub := int(1 - i&1)
		f := h.conn().subflows[sub]
		h.up(0, h.fromUE(sub, packet.ACK, 0, h.dss(nil, 0), f.next, nil))
	}},
	{"the same, acknowledged at data level alone, with SACK of every second byte", func(h *harness, i int64) {
		h.swap(i)
		h.serverData(i, 1)
		sub := int(1 - i&1)
		h.up(0, h.sackFrom(sub, 1, 3+i%1000, 1, h.dss(nil, i)))
	}},
	{"a server that repeats bytes in any order while subflows stall", func(h *harness, i int64) {
		if i == 0 {
			h.serverData(0, 1400)
		}
		h.conn().subflows[i&1].path.repeats = maxRepeats
		h.conn().subflows[1-i&1].path.repeats = 0
		h.serverData(i*37%1399, 1)
	}},
	{"downlink bytes that leave all of the window out", func(h *harness, i int64) {
		h.swap(i)
		h.serverData((i*104_729)%(65535<<7), 1)
	}},
	{"SACK blocks of the UE, each time others", func(h *harness, i int64) {
		if i < 100 {
			h.serverData(1400*i, 1400)
		}
		h.up(0, h.sackFrom(0, 1, 2+i*31%130_000, 2, h.dss(nil, 0)))
	}},
	{"SACK blocks of the server, each time others", func(h *harness, i int64) {
		if i < 100 {
			m := mapping{ssn: 1 + 1400*i, u: 1400 * i, n: 1400}
			h.up(0, h.fromUE(0, packet.ACK, m.ssn-1, h.dss(&m, 0), 1, make([]byte, 1400)))
		}
		h.down(h.fromServerSACK(0, 1+i*31%139_000, 2+i*31%139_000))
	}},
	{"joins", func(h *harness, i int64) {
		h.up(1, h.joinSYN(uint16(20000+i%40000), 80, uint32(i), tokenOf(h.keyB), uint32(i)))
	}},
	{"RSTs that are not exact, over uplink data in pieces", func(h *harness, i int64) {
		if i < maxRuns {
			m := mapping{ssn: 1 + i, u: (i * 7919) % 1_000_000, n: 1}
			h.up(0, h.fromUE(0, packet.ACK, i, h.dss(&m, 0), 1, make([]byte, 1)))
		}
		h.up(0, h.fromUE(0, packet.RST|packet.ACK, 50_000, nil, 1, nil))
	}},
	{"ADD_ADDR and REMOVE_ADDR", func(h *harness, i int64) {
		h.up(0, h.fromUE(0, packet.ACK, 0, h.announce(uint8(i), 0, true), 1, nil))
		h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendRemoveAddr(nil, uint8(i)|4), 1, nil))
	}},
	{"DATA_FINs and FINs", func(h *harness, i int64) {
		o := mptcp.Options{HasMapping: true, DSN64: true, DSN: uint64(h.idsnA) + 1 + uint64(i%5000), DataLen: 1, DataFIN: true}
		h.up(0, h.fromUE(0, packet.ACK|packet.FIN, 1+i%60_000, mptcp.AppendDSS(nil, &o), 1, nil))
		h.down(h.fromServer(packet.ACK|packet.FIN, 1+i%60_000, 0, nil))
	}},
}

// TestExhaustion: whatever the ends do, a packet takes bounded time, few packets come of it
// and a connection keeps bounded memory.
func TestExhaustion(t *testing.T) {
	const (
		keeps = 4 << 20                // bytes of the heap, the growth of the pool included
		takes = 100 * time.Microsecond // for a packet, undisturbed
		sends = maxFill + 64           // packets for one: a round of filling, or an ACK on each subflow
	)
	packets := *hostilePackets
	if testenv.RaceDetector { // each takes ten times as long
		packets /= 5
	}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			h := newHarness(t)
			h.connect()
			h.join()
			h.down(h.fromServer(packet.ACK, 0, 0, nil)) // shows the server's scaled window
			before, fastest, most := heapInUse(), time.Hour, 0
			const batch = 500
			for i := 0; i < packets; i += batch {
				start := time.Now()
				for j := range batch {
					a.step(h, int64(i+j))
					most = max(most, len(h.out.ToN6)+len(h.out.ToUE))
					h.recycle()
				}
				if took := time.Since(start) / batch; i > packets/2 { // with all that it keeps by now
					fastest = min(fastest, took)
				}
				h.idle(TickIntervalTime)
				most = max(most, len(h.out.ToN6)+len(h.out.ToUE))
				h.recycle()
			}
			kept := int64(heapInUse()) - int64(before)
			t.Logf("%v for a packet, %d KiB kept, at most %d packets for one", fastest, kept>>10, most)
			if testenv.RaceDetector { // what it adds says nothing
				fastest = 0
			}
			if fastest > takes || kept > keeps || most > sends {
				t.Errorf("want at most %v, %d KiB, %d packets", takes, keeps>>10, sends)
			}
			if c := h.conn(); c != nil {
				c.bounded(t)
			}
		})
	}
}

// TickIntervalTime is TickInterval in the proxy's time.
const TickIntervalTime = Time(TickInterval)

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// bounded checks what a connection holds against the bounds that the package states.
func (c *Conn) bounded(t *testing.T) {
	pieces := c.down.runs.Len()
	if pieces > maxRuns+2 {
		t.Errorf("%d pieces of the downlink's mapping", pieces)
	}
	for _, s := range c.subflows {
		pieces += s.up.Len() + s.down.Len()
		if n := s.sacked.Len(); n > dsm.MaxRanges {
			t.Errorf("%d ranges SACKed on a subflow", n)
		}
		if n := s.next - s.acked; n > maxAhead {
			t.Errorf("%d SSNs outstanding", n)
		}
	}
	if pieces > 3*maxRuns {
		t.Errorf("%d pieces of mappings", pieces)
	}
	if len(c.subflows) > maxSubflows || c.up.sacked.Len() > dsm.MaxRanges {
		t.Errorf("%d subflows, %d ranges SACKed by the server", len(c.subflows), c.up.sacked.Len())
	}
}
