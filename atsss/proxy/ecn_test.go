package proxy

import (
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

const ect0 = 2

// ecn sets the ECN field of the packet in buf.
func ecn(field uint8, buf *packet.Buffer) *packet.Buffer {
	buf.Bytes()[1] |= field
	return buf
}

// connectECN runs the handshake with the ECN flags of the UE's SYN and the server's
// SYN/ACK, which goes to the UE with those of want.
func (h *harness) connectECN(syn, synACK, want uint8) {
	h.t.Helper()
	h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
	h.up(0, h.syn(syn, capableSYN, nil))
	if g := h.segment(h.out.ToN6[0]); g.flags != packet.SYN|syn {
		h.t.Errorf("SYN to the server with flags %02x, want %02x", g.flags, packet.SYN|syn)
	}
	h.recycle()
	h.down(h.synACK(synACK, 0, nil, nil))
	if g := h.segmentUE(h.out.ToUE[0].Buf); g.flags != packet.SYN|packet.ACK|want {
		h.t.Errorf("SYN/ACK to the UE with flags %02x, want %02x", g.flags, packet.SYN|packet.ACK|want)
	}
	h.thirdACK(0, nil)
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 0), 1, nil))
	h.recycle()
}

// ueSends is 100 bytes of the UE at u on a subflow, from SSN 1+at on.
func (h *harness) ueSends(sub int, flags, field uint8, u, at int64) {
	h.t.Helper()
	m := &mapping{ssn: 1 + at, u: u, n: 100}
	ack := int64(1)
	if sub > 0 {
		ack = 2
	}
	h.up(0, ecn(field, h.fromUE(sub, packet.ACK|flags, at, h.dss(m, 0), ack, make([]byte, 100))))
}

func TestECNNegotiation(t *testing.T) {
	for _, tc := range []struct {
		name              string
		syn, synACK, want uint8
		on                bool
	}{
		{"granted", ecnSYN, packet.ECE, packet.ECE, true},
		{"refused", ecnSYN, 0, 0, false},
		{"server echoes both flags", ecnSYN, ecnSYN, 0, false},
		{"not asked for", 0, packet.ECE, 0, false},
		{"half asked for", packet.ECE, packet.ECE, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			h.connectECN(tc.syn, tc.synACK, tc.want)
			h.join() // which does not ask for ECN
			h.ueSends(0, 0, ect0, 0, 0)
			h.down(ecn(ect0, h.fromServer(packet.ACK, 0, 0, make([]byte, 100))))
			if tc.on {
				h.want("srv u=0+100 ecn=2 ack=0", "ue0 ssn=1+100 ecn=2 ack=1 dack=0 map=0@1+100")
			} else {
				h.want("srv u=0+100 ack=0", "ue0 ssn=1+100 ack=1 dack=0 map=0@1+100")
			}
			h.rule = h.otherRule()
			h.down(ecn(ect0, h.fromServer(packet.ACK, 100, 0, make([]byte, 100))))
			h.want("ue1 ssn=2+100 ack=1 dack=0 map=100@2+100") // the join's UE would not echo a mark
		})
	}
}

// joinECN opens a second subflow that asks for ECN.
func (h *harness) joinECN() {
	h.t.Helper()
	h.join()
	h.conn().subflows[1].ecn = ecnGranted // as TestJoinIsGrantedECN has it
}

func TestJoinIsGrantedECN(t *testing.T) {
	for _, granted := range []bool{true, false} {
		h := newHarness(t)
		want := packet.SYN | packet.ACK
		if granted {
			h.connectECN(ecnSYN, packet.ECE, packet.ECE)
			want |= packet.ECE
		} else {
			h.connectECN(ecnSYN, 0, 0)
		}
		token, _ := h.keyB.Derive()
		opt := mptcp.AppendJoinSYN(negotiation(h.tsUE, 0), false, 2, token, 1)
		h.up(1, h.build(shape{src: &h.ue, dst: &h.srv, srcPort: 40001, dstPort: 80, sn: 0x1000, flags: packet.SYN | ecnSYN, window: 65535}, opt, nil))
		if g := h.segmentUE(h.out.ToUE[0].Buf); g.flags != want {
			t.Errorf("SYN/ACK of the join with flags %02x, want %02x", g.flags, want)
		}
		if on := h.conn().subflows[1].ecn&ecnGranted != 0; on != granted {
			t.Errorf("ECN on the join: %v, want %v", on, granted)
		}
	}
}

// A mark on downlink data: the UE echoes it on that subflow until CWR comes there. The
// server answers with CWR once, on data that may go another way.
func TestECNDownlink(t *testing.T) {
	h := newHarness(t)
	h.connectECN(ecnSYN, packet.ECE, packet.ECE)
	h.joinECN()
	for i := range int64(2) {
		h.down(ecn(ecnCE, h.fromServer(packet.ACK, 100*i, 0, make([]byte, 100)))) // marked on N6
	}
	h.want("ue0 ssn=1+100 ecn=3 ack=1 dack=0 map=0@1+100", "ue0 ssn=101+100 ecn=3 ack=1 dack=0 map=100@101+100")
	h.up(0, h.fromUE(0, packet.ACK|packet.ECE, 0, h.dss(nil, 100), 101, nil))
	h.want("srv ECE u=0 ack=100")
	h.up(0, h.fromUE(0, packet.ACK|packet.ECE, 0, h.dss(nil, 200), 201, nil))
	h.want("srv ECE u=0 ack=200")
	policy := h.rule
	h.rule = h.otherRule()
	h.down(ecn(ect0, h.fromServer(packet.ACK|packet.CWR, 200, 0, make([]byte, 100))))
	h.want("ue1 ssn=2+100 ecn=2 ack=1 dack=0 map=200@2+100") // no mark was echoed there
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(nil, 300), 102, nil))
	h.want("srv u=0 ack=300")
	// The first subflow still echoes, since it has no CWR: the server knows.
	h.up(0, h.fromUE(0, packet.ACK|packet.ECE, 0, h.dss(nil, 300), 201, nil))
	h.want()
	h.rule = policy
	h.down(ecn(ect0, h.fromServer(packet.ACK, 300, 0, make([]byte, 100))))
	h.want("ue0 CWR ssn=201+100 ecn=2 ack=1 dack=0 map=300@201+100")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 400), 301, nil))
	h.want("srv u=0 ack=400")
	h.up(0, h.fromUE(0, packet.ACK|packet.ECE, 0, h.dss(nil, 400), 301, nil)) // a new mark
	h.want("srv ECE u=0 ack=400")
}

// A mark on uplink data: the server's echo goes to the subflow that brought it, or to all
// if it was made on N6; the UE's CWR goes to the server.
func TestECNUplink(t *testing.T) {
	for _, tc := range []struct {
		name   string
		field  uint8
		second string
	}{
		{"marked on an access", ecnCE, "ue1 ssn=2 ack=101 dack=200"},
		{"marked on N6", ect0, "ue1 ECE ssn=2 ack=101 dack=200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			h.connectECN(ecnSYN, packet.ECE, packet.ECE)
			h.joinECN()
			h.ueSends(0, 0, tc.field, 0, 0)
			h.ueSends(1, 0, ect0, 100, 0)
			h.recycle()
			h.down(h.fromServer(packet.ACK|packet.ECE, 0, 200, nil))
			h.want("ue0 ECE ssn=1 ack=101 dack=200", tc.second)
			h.ueSends(0, packet.CWR, ect0, 200, 100)
			h.want("srv CWR u=200+100 ecn=2 ack=0")
			h.down(h.fromServer(packet.ACK, 0, 300, nil))
			h.want("ue0 ssn=1 ack=201 dack=300")
		})
	}
}
