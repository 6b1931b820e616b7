package proxy

import (
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// visitor is a second session of the harness's UE, with an address, an MTU and a PDR of
// its own.
type visitor struct {
	*harness
	session Session
	rule    Rule
	ue      packet.Addr
}

const visitorGroup = 5

func newVisitor(h *harness) *visitor {
	v := &visitor{harness: h, session: Session{ID: 8, MTU: 1300}, rule: Rule{PDR: 9, Group: visitorGroup, Policy: h.rule.Policy}, ue: h.ue}
	v.ue[15] = 2
	return v
}

// up is the harness's from the visitor's address over its session's non-3GPP access.
func (v *visitor) up(make func() *packet.Buffer) {
	v.t.Helper()
	home := v.harness.ue
	v.harness.ue = v.ue
	buf := make()
	v.harness.ue = home
	if r := packet.Parse(buf.Bytes(), &v.info); r != packet.OK {
		v.t.Fatalf("test packet does not parse: %v", r)
	}
	if got := v.p.Uplink(v.now, &v.session, steer.AccessNon3GPP, v.rule, buf, &v.info, &v.out); got != Taken {
		v.t.Fatal("uplink packet not taken")
	}
}

// addressed checks that all packets for the UE go over the visitor's session, by its PDR,
// and fit its MTU.
func (v *visitor) addressed() {
	v.t.Helper()
	if len(v.out.ToUE) == 0 {
		v.t.Fatal("nothing for the UE")
	}
	for _, o := range v.out.ToUE {
		if o.Session != &v.session || o.PDR != v.rule.PDR || o.Access != steer.AccessNon3GPP || o.Buf.Len() > int(v.session.MTU) {
			v.t.Errorf("%d bytes for session %d, PDR %d, %v; want session %d, PDR %d, non-3gpp, at most %d bytes",
				o.Buf.Len(), o.Session.ID, o.PDR, o.Access, v.session.ID, v.rule.PDR, v.session.MTU)
		}
	}
}

// joined is a connection of the harness with a second subflow over v.
func joined(t *testing.T) *visitor {
	h := newHarness(t)
	h.rule.Group = visitorGroup
	h.connect()
	v := newVisitor(h)
	h.uePorts, h.isns = append(h.uePorts, 41000), append(h.isns, [2]uint32{41000, 0})
	v.up(func() *packet.Buffer { return h.joinSYN(41000, 80, 41000, tokenOf(h.keyB), 7) })
	g := h.segment(h.out.ToUE[0].Buf)
	if g.flags != packet.SYN|packet.ACK || g.opt.mss > v.session.MTU-40 {
		t.Fatalf("join is answered with flags %08b, MSS %d", g.flags, g.opt.mss)
	}
	v.addressed()
	h.isns[1][1] = g.tcp.SN()
	nonce := g.opt.mp.JoinNonce
	h.recycle()
	v.up(func() *packet.Buffer { return h.fromUE(1, packet.ACK, 0, h.joinACK(7, nonce), 1, nil) })
	v.addressed()
	h.recycle()
	v.up(func() *packet.Buffer { return h.fromUE(1, packet.ACK, 0, h.dss(nil, 0), 2, nil) })
	h.recycle()
	return v
}

func TestGuest(t *testing.T) {
	v := joined(t)
	h := v.harness
	h.rule = h.otherRule()
	h.rule.Group = visitorGroup
	h.serverData(0, 1400) // longer than what the second session carries
	v.addressed()
	h.want("ue1 ssn=2+1228 ack=1 dack=0 map=0@2+1228", "ue1 ssn=1230+172 ack=1 dack=0 map=1228@1230+172")
	v.up(func() *packet.Buffer {
		return h.fromUE(1, packet.ACK, 0, h.dss(&mapping{ssn: 1, u: 0, n: 700}, 1400), 1402, make([]byte, 700))
	})
	h.want("srv u=0+700 ack=1400")

	// The second session ends: what is new goes by the first.
	h.p.EndSession(&v.session)
	h.recycle()
	h.serverData(1400, 100)
	h.want("ue0 ssn=1+100 ack=1 dack=0 map=1400@1+100")
	if len(v.session.guests) != 0 || len(h.p.flows.byHash) != 1 {
		t.Errorf("%d guests and %d flows are left, want none and one", len(v.session.guests), len(h.p.flows.byHash))
	}
}

// TestGuestOutlived: the connection's session ends before the guest's.
func TestGuestOutlived(t *testing.T) {
	v := joined(t)
	v.session.access[steer.AccessNon3GPP].silent = v.now
	v.p.EndSession(&v.harness.session)
	if len(v.session.guests) != 0 || len(v.p.flows.byHash) != 0 || v.p.Connections() != 0 {
		t.Errorf("%d guests, %d flows and %d connections are left", len(v.session.guests), len(v.p.flows.byHash), v.p.Connections())
	}
	if !v.session.Answers(steer.AccessNon3GPP) {
		t.Error("the access is silent with nothing left to ask it")
	}
}

// TestJoinOfStrangers: a session whose rule is of another group, or of none, may not join,
// though it has the token; nor may what waits for its third ACK when its session ends.
func TestJoinOfStrangers(t *testing.T) {
	for _, tc := range []struct {
		name                string
		connection, visitor uint16
	}{{"other group", visitorGroup, visitorGroup + 1}, {"visitor without group", visitorGroup, 0}, {"no groups", 0, 0}} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			h.rule.Group = tc.connection
			h.connect()
			v := newVisitor(h)
			v.rule.Group = tc.visitor
			h.uePorts, h.isns = append(h.uePorts, 41000), append(h.isns, [2]uint32{41000, 0})
			v.up(func() *packet.Buffer { return h.joinSYN(41000, 80, 41000, tokenOf(h.keyB), 7) })
			v.addressed()
			h.want("ue1 RST ssn=0 ack=1 mp_tcprst")
		})
	}
	t.Run("ended before the third ACK", func(t *testing.T) {
		h := newHarness(t)
		h.rule.Group = visitorGroup
		h.connect()
		v := newVisitor(h)
		v.up(func() *packet.Buffer { return h.joinSYN(41000, 80, 41000, tokenOf(h.keyB), 7) })
		h.recycle()
		h.p.EndSession(&v.session)
		if len(h.p.joins) != 0 || len(h.p.flows.byHash) != 1 {
			t.Errorf("%d joins and %d flows are left, want none and one", len(h.p.joins), len(h.p.flows.byHash))
		}
	})
}

func TestJoinToken(t *testing.T) {
	h := newHarness(t)
	const token = 0x12345678
	for _, tc := range []struct {
		name string
		buf  *packet.Buffer
		ok   bool
	}{
		{"join", h.joinSYN(41000, 80, 1, token, 7), true},
		{"capable", h.build(shape{src: &h.ue, dst: &h.srv, flags: packet.SYN}, mptcp.AppendCapableSYN(nil, mptcp.FlagHMACSHA256), nil), false},
		{"plain", h.build(shape{src: &h.ue, dst: &h.srv, flags: packet.SYN}, nil, nil), false},
		{"SYN/ACK", h.build(shape{src: &h.ue, dst: &h.srv, flags: packet.SYN | packet.ACK}, mptcp.AppendJoinSYN(nil, false, 2, token, 7), nil), false},
		{"no SYN", h.build(shape{src: &h.ue, dst: &h.srv, flags: packet.ACK}, mptcp.AppendJoinSYN(nil, false, 2, token, 7), nil), false},
	} {
		if r := packet.Parse(tc.buf.Bytes(), &h.info); r != packet.OK {
			t.Fatal(r)
		}
		if got, ok := JoinToken(tc.buf, &h.info); ok != tc.ok || ok && got != token {
			t.Errorf("%s: token %#x, %v", tc.name, got, ok)
		}
	}
	buf := h.joinSYN(41000, 80, 1, token, 7)
	packet.Parse(buf.Bytes(), &h.info)
	if n := testing.AllocsPerRun(10, func() { JoinToken(buf, &h.info) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	// A data offset beyond the packet, and ones that cut the options.
	for _, words := range []byte{15, 4, 6} {
		buf.Bytes()[h.info.L4+12] = words << 4
		if got, ok := JoinToken(buf, &h.info); ok {
			t.Errorf("data offset of %d words: token %#x", words, got)
		}
	}
}
