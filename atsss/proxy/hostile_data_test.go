package proxy

import (
	"bytes"
	"testing"

	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// ackOf is a DSS with a DATA_ACK of d, in 4 or 8 bytes.
func (h *harness) ackOf(d int64, wide bool) []byte {
	return mptcp.AppendDSS(nil, &mptcp.Options{HasDataAck: true, DataAck64: wide, DataAck: uint64(h.idsnB) + 1 + uint64(d)})
}

// A DATA_ACK of what was never sent, or of what is long past, is not believed, nor is the
// window beside it.
func TestForgedDataACK(t *testing.T) {
	for _, d := range []int64{1001, 1 << 20, 1<<31 - 1, -1 << 24, -1 << 31} {
		for _, wide := range []bool{false, true} {
			h := newHarness(t)
			h.connect()
			h.serverData(0, 1000)
			h.recycle()
			edge := h.conn().down.rightEdge
			h.up(0, h.fromUE(0, packet.ACK, 0, h.ackOf(d, wide), 1, nil))
			h.want()
			if n := h.p.count.BadDataACK; n != 1 || h.conn().down.acked != 0 || h.conn().down.rightEdge != edge {
				t.Errorf("DATA_ACK %d: bad_data_ack %d, DATA_ACK taken %d, window up to %d, before %d", d, n, h.conn().down.acked, h.conn().down.rightEdge, edge)
			}
			h.up(0, h.fromUE(0, packet.ACK, 0, h.ackOf(1000, wide), 1001, nil))
			h.want("srv u=0 ack=1000")
		}
	}
}

// Mappings that lead far away, cover nothing or not the payload, or are another than the one
// declared before, are not taken; what follows is.
func TestForgedMappings(t *testing.T) {
	mapped := func(c *Counters) uint64 { return c.DropBadMapping }
	unmapped := func(c *Counters) uint64 { return c.DropNoMapping }
	for _, tc := range []struct {
		name    string
		m       mapping // of a segment at SSN 1 with 100 bytes
		counter func(*Counters) uint64
	}{
		{"DSN beyond the window", mapping{1, 1 << 25, 100}, mapped},
		{"DSN far below it", mapping{1, -1 << 31, 100}, mapped},
		{"another DSN than declared", mapping{1, 5000, 100}, mapped},
		{"SSN beyond the segment", mapping{2, 0, 100}, unmapped},
		{"SSN far away", mapping{1 << 30, 0, 100}, unmapped},
		{"length of 1", mapping{1, 0, 1}, unmapped},
		{"length of one byte too little", mapping{1, 0, 99}, unmapped},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			h.connect()
			h.down(h.fromServer(packet.ACK, 0, 0, nil))
			m := mapping{1, 0, 100}
			if tc.name == "another DSN than declared" {
				h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&m, 0), 1, make([]byte, 100)))
			}
			h.recycle()
			h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&tc.m, 0), 1, make([]byte, 100)))
			h.want()
			if got := tc.counter(&h.p.count); got != 1 {
				t.Errorf("counted %d times where it should be", got)
			}
			h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&m, 0), 1, make([]byte, 100)))
			h.want("srv u=0+100 ack=0")
			h.down(h.fromServer(packet.ACK, 0, 100, nil))
			h.want("ue0 ssn=1 ack=101 dack=100")
		})
	}
}

// The longest mapping there is serves every segment in it.
func TestLongestMapping(t *testing.T) {
	h := newHarness(t)
	h.connect()
	m := &mapping{ssn: 1, u: 0, n: 65535}
	h.up(0, h.fromUE(0, packet.ACK, 60_000, h.dss(m, 0), 1, make([]byte, 1000)))
	h.want("srv u=60000+1000 ack=0")
	h.up(0, h.fromUE(0, packet.ACK, 65_000, nil, 1, make([]byte, 535))) // without a mapping of its own
	h.want("srv u=65000+535 ack=0")
	h.up(0, h.fromUE(0, packet.ACK, 65_000, h.dss(m, 0), 1, make([]byte, 536)))
	h.want()
}

// Data sent again with other bytes go to the server as they are: which of them it keeps is
// its to say, as with plain TCP, and no number changes.
func TestInconsistentRetransmission(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	first, second := bytes.Repeat([]byte{1}, 100), bytes.Repeat([]byte{2}, 100)
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&mapping{1, 0, 100}, 0), 1, first))
	h.want("srv u=0+100 ack=0")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&mapping{1, 0, 100}, 0), 1, second))
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(&mapping{1, 50, 100}, 0), 2, second))
	if g := h.segment(h.out.ToN6[0]); !bytes.Equal(g.payload, second) {
		t.Error("the second copy was changed on its way")
	}
	h.want("srv u=0+100 ack=0", "srv u=50+100 ack=0")
	h.down(h.fromServer(packet.ACK, 0, 150, nil))
	h.want("ue0 ssn=1 ack=101 dack=150", "ue1 ssn=2 ack=101 dack=150")
}

// One byte may go where the server's window ends, as a probe; none beyond, where it would
// move the SN of every ACK out of the server's window.
func TestByteBeyondServersWindow(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.serverData(0, 100)
	h.recycle()
	edge := h.conn().up.rightEdge
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&mapping{1, edge + 1, 1}, 0), 1, make([]byte, 1)))
	h.want("ue0 ssn=101 ack=2 dack=0") // void: the UE sends it again, under another SSN
	h.up(0, h.fromUE(0, packet.ACK, 1, h.dss(&mapping{2, edge, 1}, 0), 1, make([]byte, 1)))
	if n := len(h.out.ToN6); n != 1 {
		t.Fatalf("%d packets to the server, want the probe", n)
	}
	h.recycle()
	h.up(0, h.fromUE(0, packet.ACK, 2, h.dss(nil, 100), 101, nil))
	if sn := h.segment(h.out.ToN6[0]).tcp.SN() - h.ueISN - 1; int64(sn) > edge {
		t.Errorf("ACK to the server at %d, beyond its window, which ends at %d", sn, edge)
	}
}

// A DATA_FIN far from the end of the data does not become it.
func TestForgedDataFIN(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&mapping{1, 0, 100}, 0), 1, make([]byte, 100)))
	h.recycle()
	fin := func(u int64) []byte {
		o := mptcp.Options{HasMapping: true, DSN64: true, DSN: uint64(h.idsnA) + 1 + uint64(u), DataLen: 1, DataFIN: true}
		return mptcp.AppendDSS(nil, &o)
	}
	for _, u := range []int64{1 << 25, 1 << 30, 99, 0, -1 << 25} {
		h.up(0, h.fromUE(0, packet.ACK, 100, fin(u), 1, nil))
		h.want()
	}
	if got := h.p.count.DropBadMapping; got != 5 {
		t.Errorf("drop_bad_mapping = %d, want 5", got)
	}
	h.up(0, h.fromUE(0, packet.ACK, 100, fin(100), 1, nil))
	h.want("srv FIN u=100 ack=0")
}

// SACK blocks that are inverted, beyond what was sent or below what was acknowledged say
// nothing.
func TestForgedSACK(t *testing.T) {
	h := newHarness(t)
	h.connect()
	for i := range int64(4) {
		h.serverData(1000*i, 1000)
	}
	h.recycle()
	for _, b := range [][2]int64{{3001, 2001}, {2001, 2001}, {3001, 4002}, {4001, 5001}, {1, 1001}, {-999, 1}, {1 << 30, 1<<30 + 10}, {2001, 2001 - 1<<31}} {
		var o options
		o.dataAck(uint32(h.idsnB) + 1)
		o.sack([]dsm.Range{{From: b[0], To: b[1]}}, h.isns[0][1])
		h.up(0, h.build(shape{
			src: &h.ue, dst: &h.srv, srcPort: 40000, dstPort: 80, sn: h.ueISN + 1, ack: h.isns[0][1] + 1, flags: packet.ACK, window: 65535,
		}, wordBytes(&o), nil))
		h.want()
	}
	for _, b := range [][2]int64{{100, 50}, {0, 100}, {1000, 2000}} { // nothing was sent to the server
		h.down(h.fromServerSACK(0, b[0], b[1]))
		h.recycle()
		if n := h.conn().up.sacked.Len(); n != 0 {
			t.Errorf("%d ranges after a SACK of %v", n, b)
		}
	}
}

// A FIN ends the server's data: what comes beyond it does not move it.
func TestDataBeyondServersFIN(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.down(h.fromServer(packet.ACK|packet.FIN, 0, 0, make([]byte, 100)))
	h.recycle()
	h.serverData(100, 100)
	h.serverData(50, 100)
	h.want()
	if got := h.p.count.DropAfterFIN; got != 2 {
		t.Errorf("drop_after_fin = %d, want 2", got)
	}
	h.serverData(0, 100)
	h.want("ue0 ssn=1+100 ack=1 dack=0 map=0@1+100")
}

// A packet whose headers lie about lengths or whose checksum is wrong touches nothing.
func TestLyingHeaders(t *testing.T) {
	for at := range conversation {
		same := unharmed(conversation, at)
		for _, tc := range []struct {
			name string
			lie  func(b []byte, ip int) // b is an IPv4 packet with a TCP header at ip
		}{
			{"checksum", func(b []byte, ip int) { b[ip+16] ^= 1 }},
			{"data offset of 0", func(b []byte, ip int) { b[ip+12] &= 0xf }},
			{"data offset of 4", func(b []byte, ip int) { b[ip+12] = 4 << 4 }},
			{"data offset beyond the end", func(b []byte, ip int) { b[ip+12] = 15 << 4 }},
			{"total length of a header", func(b []byte, _ int) { b[2], b[3] = 0, 20 }},
			{"total length of 10 bytes less", func(b []byte, _ int) { b[3] -= 10 }},
			{"total length beyond the end", func(b []byte, _ int) { b[2] = 0xff }},
			{"total length of 0", func(b []byte, _ int) { b[2], b[3] = 0, 0 }},
			{"IP header of 60 bytes", func(b []byte, _ int) { b[0] = 0x4f }},
		} {
			for _, fromUE := range []bool{true, false} {
				same(t, tc.name, func(k *talk) {
					var buf *packet.Buffer
					if s := k.subflow(0); fromUE {
						buf = k.fromUE(0, packet.ACK, s.rcvNext-1, nil, s.acked, nil)
					} else {
						buf = k.fromServer(packet.ACK, 0, 0, nil)
					}
					tc.lie(buf.Bytes(), 20)
					k.offer(fromUE, 0, buf)
					k.recycle()
				})
			}
		}
	}
}
