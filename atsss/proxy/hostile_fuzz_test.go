package proxy

import (
	"encoding/binary"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// FuzzInjection lets a conversation run and puts changed copies of its own packets into it.
// What the proxy sends must keep the rules that hold whatever comes (witness).
//
// The input is a list of injections, 8 bytes each:
//
//	0 after which step   1 which of the packets so far   2 1 = the copy goes on to the other end's side
//	3 offset from the IP header on   4-5 value to be XORed there   6-7 the same, 20 bytes further on
func FuzzInjection(f *testing.F) {
	f.Add([]byte{4, 3, 0, 24, 0, 1, 0, 0})
	f.Add([]byte{4, 9, 0, 28, 0xff, 0, 0, 0, 9, 9, 0, 33, 4, 0, 0, 0})
	f.Add([]byte{10, 12, 0, 46, 0, 16, 0, 8, 12, 5, 0, 24, 1, 0, 0, 0, 20, 2, 1, 33, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		k := newTalk(t)
		w := &witness{talk: k}
		k.tap, k.look = w.given, w.check
		for i, s := range conversation {
			s.do(k)
			for j := 0; j+8 <= len(in) && j < 8*32; j += 8 {
				if x := in[j:]; int(x[0])%len(conversation) == i && len(w.packets) > 0 {
					w.inject(x)
				}
			}
		}
		if n := k.lost(); n != 0 {
			t.Errorf("%d buffers are lost", n)
		}
	})
}

// sighting is a packet as it came to the proxy.
type sighting struct {
	fromUE bool
	bytes  []byte
}

// witness watches what the proxy gets and sends.
type witness struct {
	*talk
	packets []sighting

	hasAck       bool
	serverAck    uint32          // of the last packet to the server
	hasDataAck   bool            // a DATA_ACK was sent to the UE
	dataAck      uint32          // the last
	sent         map[int64]int64 // subflow and SSN of a byte of new data to its position
	watchingConn *Conn
}

// given notes a packet for the proxy.
func (w *witness) given(fromUE bool, buf *packet.Buffer) {
	if len(w.packets) < 256 {
		w.packets = append(w.packets, sighting{fromUE, append([]byte(nil), buf.Bytes()...)})
	}
}

// inject puts in the changed copy that x describes.
func (w *witness) inject(x []byte) {
	p := w.packets[int(x[1])%len(w.packets)]
	b := append([]byte(nil), p.bytes...)
	at := int(x[3]) % len(b)
	for i, v := range x[4:8] {
		if j := at + i%2 + i/2*20; j < len(b) {
			b[j] ^= v
		}
	}
	fixChecksum(b)
	buf := w.pool.Get()
	buf.SetLen(copy(buf.Room(), b))
	w.offer(p.fromUE != (x[2] == 1), 0, buf)
	w.check()
	w.recycle()
}

// fixChecksum makes the TCP checksum of an IPv4 packet right, as far as its lengths let it.
func fixChecksum(b []byte) {
	var in packet.Info
	if packet.Parse(b, &in) != packet.OK || in.End-in.L4 < packet.TCPHeaderLen {
		return
	}
	t := b[in.L4:in.End]
	t[16], t[17] = 0, 0
	sum := packet.PseudoSum(&in.Src, &in.Dst, packet.ProtoTCP, len(t)) + packet.Sum(t)
	binary.BigEndian.PutUint16(t[16:], ^packet.Fold(sum))
}

// check checks what the proxy sent: what the server is acknowledged and the UE's DATA_ACK do
// not go back; a UE that speaks MPTCP gets a DATA_ACK with each packet; an SSN carries one
// position for ever, but for filler, which lies below what the UE acknowledged.
func (w *witness) check() {
	t := w.t
	c := w.conn()
	if c == nil || c != w.watchingConn {
		w.hasAck, w.hasDataAck, w.sent, w.watchingConn = false, false, make(map[int64]int64), c
	}
	for _, b := range w.out.ToN6 {
		g := w.segment(b)
		if g.opt.mp.Present != 0 && (c == nil || c.state != stateRelay) {
			t.Errorf("MPTCP options %b to the server", g.opt.mp.Present)
		}
		if c == nil || c.state != stateEstablished || g.flags&(packet.SYN|packet.RST) != 0 {
			continue
		}
		if ack := g.tcp.AckSN(); w.hasAck && int32(ack-w.serverAck) < 0 {
			t.Errorf("the ACK to the server goes back by %d", w.serverAck-ack)
		} else {
			w.hasAck, w.serverAck = true, ack
		}
	}
	for _, x := range w.out.ToUE {
		g := w.segmentUE(x.Buf)
		o := &g.opt.mp
		if c == nil || c.state != stateEstablished || g.flags&(packet.SYN|packet.RST) != 0 {
			continue
		}
		if o.Present&mptcp.DSS == 0 || !o.HasDataAck {
			if o.Present&(mptcp.AddAddr|mptcp.FastClose) == 0 { // which leave no room for it
				t.Errorf("a packet to the UE without DATA_ACK, options %b", o.Present)
			}
			continue
		}
		if ack := uint32(o.DataAck); w.hasDataAck && int32(ack-w.dataAck) < 0 {
			t.Errorf("the DATA_ACK to the UE goes back by %d", w.dataAck-ack)
		} else {
			w.hasDataAck, w.dataAck = true, ack
		}
		w.mapped(c, &g)
	}
}

// mapped checks the mapping of g, which is for the UE.
func (w *witness) mapped(c *Conn, g *segment) {
	o := &g.opt.mp
	if !o.HasMapping || len(g.payload) == 0 {
		return
	}
	if int(o.DataLen) != len(g.payload) {
		w.t.Errorf("a mapping of %d bytes for %d", o.DataLen, len(g.payload))
	}
	d := expand(c.down.acked, uint32(o.DSN)-uint32(c.local.IDSN)-1)
	for i := range int64(len(g.payload)) {
		if d+i < c.down.acked {
			continue
		}
		key := int64(g.in.DstPort)<<32 | int64(o.SSN) + i
		if was, ok := w.sent[key]; ok && was != d+i {
			w.t.Errorf("SSN %d carried position %d and now %d", int64(o.SSN)+i, was, d+i)
			return
		}
		w.sent[key] = d + i
	}
}
