package proxy

import (
	"fmt"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// TCP as it is used seldom: what each behaviour of an end becomes at the other.

// Urgent data go in line, without the flag and the pointer (RFC 8684 §3.3.1).
func TestUrgentData(t *testing.T) {
	h := newHarness(t)
	h.connect()
	urgent := func(buf *packet.Buffer) *packet.Buffer {
		packet.Parse(buf.Bytes(), &h.info)
		tcp := buf.Bytes()[h.info.L4:]
		tcp[13] |= packet.URG
		tcp[19] = 5
		tcp[16], tcp[17] = 0, 0
		sum := ^packet.Fold(packet.PseudoSum(&h.info.Src, &h.info.Dst, packet.ProtoTCP, len(tcp)) + packet.Sum(tcp))
		tcp[16], tcp[17] = byte(sum>>8), byte(sum)
		return buf
	}
	h.up(0, urgent(h.fromUE(0, packet.ACK, 0, h.dss(&mapping{1, 0, 10}, 0), 1, make([]byte, 10))))
	h.down(urgent(h.fromServer(packet.ACK, 0, 0, make([]byte, 20))))
	for _, b := range []*packet.Buffer{h.out.ToN6[0], h.out.ToUE[0].Buf} {
		if g := h.segment(b); g.flags&packet.URG != 0 || g.tcp.Urgent() != 0 {
			t.Errorf("flags %02x, urgent pointer %d", g.flags, g.tcp.Urgent())
		}
	}
	h.want("srv u=0+10 ack=0", "ue0 ssn=1+20 ack=1 dack=0 map=0@1+20")
}

// A keep-alive is an old SN, with a byte of rubbish in some TCPs.
func TestKeepAlives(t *testing.T) {
	for _, n := range []int{0, 1} {
		h := newHarness(t)
		h.connect()
		h.serverData(0, 100)
		h.ueAck(100)
		// The server's becomes one that the UE answers, and the answer is the server's.
		h.down(h.fromServer(packet.ACK, 99, 0, make([]byte, n)))
		h.want("ue0 ssn=100+1 ack=1 dack=0 map=99@100+1")
		h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 100), 101, nil))
		h.want("srv u=0 ack=100")
		// The UE's goes to the server, whose answer goes back.
		h.now += probeInterval
		h.up(0, h.fromUE(0, packet.ACK, -1, h.dss(nil, 100), 101, nil))
		h.want("srv u=-1 ack=100")
		h.down(h.fromServer(packet.ACK, 100, 0, nil))
		h.want("ue0 ssn=101 ack=1 dack=0")
	}
}

// The window that the server shut is probed by the UE and opened by its answer.
func TestWindowProbeOfUE(t *testing.T) {
	h := newHarness(t)
	h.connect()
	c := h.conn()
	edge := c.up.rightEdge
	h.startAt(h.idsnA, h.idsnB, edge, 0)
	c.up.rightEdge = edge // shut
	h.now += probeInterval
	h.up(0, h.fromUE(0, packet.ACK, edge-1, h.dss(nil, 0), 1, nil)) // as Linux does
	h.want(fmt.Sprintf("srv u=%d ack=0", edge-1))
	h.up(0, h.fromUE(0, packet.ACK, edge, h.dss(&mapping{edge + 1, edge, 1}, 0), 1, make([]byte, 1))) // as BSD does
	h.want(fmt.Sprintf("srv u=%d+1 ack=0", edge))
	h.down(h.fromServer(packet.ACK, 0, edge+1, nil))
	h.want(fmt.Sprintf("ue0 ssn=1 ack=%d dack=%d", edge+2, edge+1))
}

// A server that never answers the SYN costs its place for a minute.
func TestServerSilentAtSYN(t *testing.T) {
	h := newHarness(t)
	for range 4 {
		h.up(0, h.syn(0, capableSYN, nil))
		h.want("srv SYN u=-1 ack=-2147483633")
		h.idle(1000 * millisecond)
	}
	h.idle(handshakeLife)
	if n := h.p.Connections(); n != 0 {
		t.Errorf("%d connections a minute after the last SYN, want 0", n)
	}
}

// A connection without a packet from either end is forgotten after two hours, as is one
// that the UE never finished to open.
func TestIdle(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.idle(idleLife - 1000*millisecond)
	if n := h.p.Connections(); n != 1 {
		t.Fatalf("%d connections before the idle time, want 1", n)
	}
	h.idle(2000 * millisecond)
	if n := h.p.Connections(); n != 0 {
		t.Errorf("%d connections after the idle time, want 0", n)
	}
	h.recycle()
	h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
	h.connectSYN()
	h.connectSYNACK()
	h.recycle()
	h.idle(2 * handshakeLife)
	if n := h.p.Connections(); n != 0 {
		t.Errorf("%d connections a minute after a SYN/ACK without third ACK, want 0", n)
	}
}

// A 4-tuple is used again: a SYN with another ISN begins a new connection once the old one
// is over, and is challenged before.
func TestFourTupleAgain(t *testing.T) {
	h := newHarness(t)
	h.connect()
	first := h.conn()
	h.ueISN += 100_000
	h.connectSYN()
	h.ueISN -= 100_000
	h.want("ue0 ssn=1 ack=1 dack=0") // the old connection lives
	h.down(h.fromServer(packet.RST|packet.ACK, 0, 0, nil))
	h.recycle()
	h.ueISN += 100_000
	h.connect()
	if c := h.conn(); c == nil || c == first || h.p.Connections() != 1 {
		t.Errorf("%d connections, the new one %p, the old one %p", h.p.Connections(), c, first)
	}
	h.serverData(0, 100)
	h.want("ue0 ssn=1+100 ack=1 dack=0 map=0@1+100")
}

// Both ends close at the same time: the FIN and the DATA_FIN cross.
func TestSimultaneousClose(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.down(h.fromServer(packet.ACK|packet.FIN, 0, 0, nil))
	h.want("ue0 ssn=1 ack=1 dack=0 fin=0")
	fin := mptcp.Options{HasDataAck: true, DataAck: uint64(uint32(h.idsnB) + 1), HasMapping: true, DSN64: true, DSN: uint64(h.idsnA) + 1, DataLen: 1, DataFIN: true}
	h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendDSS(nil, &fin), 1, nil))
	h.want("srv FIN u=0 ack=0")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 1), 1, nil))
	h.want("srv u=1 ack=1")
	h.down(h.fromServer(packet.ACK, 1, 1, nil))
	h.want("ue0 ssn=1 ack=1 dack=1")
	if !h.conn().ended() {
		t.Error("the connection has not ended")
	}
}

// The server's clock of PAWS (RFC 7323 §5): what it gets never goes back, though each
// subflow has a clock of its own and Linux repeats a DATA_FIN with the TSval of its first
// sending.
func TestPAWSAcrossSubflows(t *testing.T) {
	h := newHarness(t)
	h.connect()
	first := h.tsUE
	h.tsUE = 0xfffffff0 // the join's clock, about to wrap
	h.join()
	last := h.conn().up.tsval
	send := func(sub int, tsval uint32, what string) {
		t.Helper()
		h.tsUE = tsval
		u := h.conn().up.next
		ssn := u + 1
		if sub == 1 {
			ssn = h.conn().subflows[1].rcvNext
		}
		ack := int64(1 + sub)
		h.up(0, h.fromUE(sub, packet.ACK, ssn-1, h.dss(&mapping{ssn, u, 10}, 0), ack, make([]byte, 10)))
		g := h.segment(h.out.ToN6[0])
		if int32(g.opt.tsval-last) < 0 {
			t.Errorf("%s: TSval %d after %d", what, g.opt.tsval, last)
		}
		if int32(g.opt.tsval-last) > 60_000 {
			t.Errorf("%s: TSval jumps from %d to %d", what, last, g.opt.tsval)
		}
		last = g.opt.tsval
		h.recycle()
		h.down(h.fromServer(packet.ACK, 0, u+10, nil))
		h.recycle()
	}
	send(0, first+5, "first subflow")
	send(1, 0xfffffff8, "join")
	send(1, 3, "join, its clock wrapped")
	send(0, first+6, "first subflow again, its clock behind")
	send(1, 0xfffffff0, "join, a stale TSval")
	send(0, first+1000, "a second later")
}

// A reset of the only subflow is one of the connection at once, though the UE might join
