package proxy

import (
	"runtime"
	"testing"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// TestMemoryPerConnection bounds what an established connection with two subflows takes
// of the heap, everything counted: structures with the rounding of the allocator, maps
// with their free room, stores, timers. Each connection has carried data both ways on
// both subflows, out of order, too, and all of them are acknowledged.
func TestMemoryPerConnection(t *testing.T) {
	const connections, limit = 10000, 1024
	h := newHarness(t)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // what the first one found finalizers for
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	h.exchange(9998)
	h.p.EndSession(&h.session) // scratch space has its size now
	before := heap()
	for i := range connections {
		h.exchange(uint16(10000 + 2*i))
	}
	took := float64(heap()-before) / connections
	if n := h.p.Connections(); n != connections {
		t.Fatalf("the proxy holds %d connections, want %d", n, connections)
	}
	t.Logf("%.0f bytes per connection", took)
	if took > limit {
		t.Errorf("a connection with two subflows takes %.0f bytes, want at most %d", took, limit)
	}
}

// exchange makes a connection with two subflows from the given port of the UE and has
// both ends send on both subflows, with a packet lost each way, until all is
// acknowledged.
func (h *harness) exchange(port uint16) {
	h.p.keys.Fill(1)
	h.connectFrom(port)
	h.join()
	first := h.rule
	h.serverData(0, 1000)
	h.rule = h.otherRule()
	h.serverData(1000, 1000)
	h.serverData(3000, 1000) // after a hole
	h.up(steer.AccessNon3GPP, h.fromUE(1, packet.ACK, 0, h.dss(nil, 1000), 2, nil))
	h.up(steer.AccessNon3GPP, h.fromUE(1, packet.ACK, 0, sackOption(h.isns[1][1]+2002, h.isns[1][1]+3002), 1002, nil))
	h.serverData(2000, 1000)
	h.rule = first
	h.up(steer.Access3GPP, h.fromUE(0, packet.ACK, 0, h.dss(nil, 4000), 1001, nil))
	h.up(steer.AccessNon3GPP, h.fromUE(1, packet.ACK, 0, h.dss(nil, 4000), 3002, nil))

	payload := make([]byte, 500)
	h.up(steer.Access3GPP, h.fromUE(0, packet.ACK, 0, h.dss(&mapping{ssn: 1, u: 0, n: 500}, 4000), 1001, payload))
	h.up(steer.AccessNon3GPP, h.fromUE(1, packet.ACK, 0, h.dss(&mapping{ssn: 1, u: 500, n: 500}, 4000), 3002, payload))
	h.down(h.fromServerSACK(0, 500, 1000))
	h.down(h.fromServer(packet.ACK, 4000, 1000, nil))
	h.recycle()

	c := h.p.tokens[tokenOf(h.keyB)]
	if c == nil || c.up.acked != 1000 || c.down.acked != 4000 || !c.down.runs.Empty() {
		h.t.Fatal("the exchange did not end with everything acknowledged")
	}
	for _, s := range c.subflows {
		if s.acked != s.next || s.rcvNext != 501 || !s.down.Empty() || !s.up.Empty() || s.sacked.Len() > 0 {
			h.t.Fatalf("subflow %d is left with something unacknowledged", s.index)
		}
	}
}

// sackOption is a SACK option of one block.
func sackOption(from, to uint32) []byte {
	o := options{}
	o.add(packet.OptNOP<<24 | packet.OptNOP<<16 | packet.OptSACK<<8 | 10)
	o.add(from)
	o.add(to)
	return wordBytes(&o)
}
