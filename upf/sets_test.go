package upf

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

const smfA, smfB, smfSet = "a.smf.example", "b.smf.example", "set.smf.example"

// newSet is a server with two SMFs of one set, and one session, of the first.
func newSet(t *testing.T) (a, b *bench, seid uint64) {
	a = newBench(t)
	b = a.at("127.0.0.2")
	a.setup(smfA, pfcp.SMFSetIDIE(smfSet), pfcp.CPMPAS.IE())
	b.setup(smfB, pfcp.SMFSetIDIE("Set.SMF.example"), pfcp.CPMPAS.IE())
	return a, b, a.establish(smfA, pfcp.FSEID{SEID: 1, IPv4: addr("127.0.0.1")}, plainSession(0x10, "10.60.0.10"))
}

// TestTakeover: another SMF of the set controls a session, and takes it over with a
// new CP F-SEID and its Node ID (TS 29.244 §5.22.3); one that has the association of
// the whole set (§5.22.2) with the F-SEID alone.
func TestTakeover(t *testing.T) {
	a, b, seid := newSet(t)
	if got := b.cause(modify(seid)); got != ie.CauseRequestAccepted {
		t.Fatalf("modification by another SMF: cause %d", got)
	}
	if sess := a.session(seid); sess.cp.node() != smfA {
		t.Errorf("that has taken the session over: %q", sess.cp.node())
	}
	next := pfcp.FSEID{SEID: 0x77, IPv4: addr("127.0.0.2")}
	resp := b.ask(modify(seid, pfcp.NodeIDIE(smfB), next.IE()))
	if got := refusalOf(t, resp); got.cause != ie.CauseRequestAccepted || resp.SEID() != 0x77 {
		t.Fatalf("%+v, header SEID %#x", got, resp.SEID())
	}
	sess := a.session(seid)
	if sess.cp.node() != smfB || sess.cp.fseid() != next {
		t.Errorf("node %q, CP F-SEID %+v", sess.cp.node(), sess.cp.fseid())
	}
	a.s.mu.Lock()
	to := reportsTo(a.s, sess)
	a.s.mu.Unlock()
	if to != addr("127.0.0.2") {
		t.Errorf("reports go to %v", to)
	}
	if got := a.cause(message.NewAssociationReleaseRequest(0, pfcp.NodeIDIE(smfA))); got != ie.CauseRequestAccepted {
		t.Fatalf("release: cause %d", got)
	}
	if got := b.cause(modify(seid)); got != ie.CauseRequestAccepted {
		t.Errorf("after the first has gone: cause %d", got)
	}

	t.Run("one association", func(t *testing.T) {
		a := newBench(t)
		a.setup(smfSet, pfcp.CPSSET.IE(), pfcp.CPAddressIE(ie.AlternativeSMFIPAddress, addr("127.0.0.2")))
		seid := a.establish(smfSet, pfcp.FSEID{SEID: 1, IPv4: addr("127.0.0.1")}, plainSession(0x10, "10.60.0.10"))
		if got := refusalOf(t, a.at("127.0.0.2").ask(modify(seid, next.IE()))); got.cause != ie.CauseRequestAccepted {
			t.Fatalf("%+v", got)
		}
		if sess := a.session(seid); sess.cp.node() != smfSet || sess.cp.fseid() != next {
			t.Errorf("node %q, CP F-SEID %+v", sess.cp.node(), sess.cp.fseid())
		}
	})
}

// TestTakeoverRefused: nobody of another set, and no F-SEID that is taken.
func TestTakeoverRefused(t *testing.T) {
	a, b, seid := newSet(t)
	c := a.at("127.0.0.3")
	c.setup("c.smf.example", pfcp.SMFSetIDIE("other.smf.example"))
	theirs := pfcp.FSEID{SEID: 5, IPv4: addr("127.0.0.2")}
	b.establish(smfB, theirs, plainSession(0x11, "10.60.0.11"))
	tests := []struct {
		name string
		from *bench
		ies  []*ie.IE
		want refusal
	}{
		{"of another set", c, nil, refusal{cause: ie.CauseNoEstablishedPFCPAssociation}},
		{"to another set", a, []*ie.IE{pfcp.NodeIDIE("c.smf.example")}, refusal{ie.CauseRequestRejected, ie.NodeID, ""}},
		{"to nobody", a, []*ie.IE{pfcp.NodeIDIE("d.smf.example")}, refusal{cause: ie.CauseNoEstablishedPFCPAssociation}},
		{"a taken F-SEID", b, []*ie.IE{pfcp.NodeIDIE(smfB), theirs.IE()}, refusal{ie.CauseRequestRejected, ie.FSEID, ""}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := refusalOf(t, tc.from.ask(modify(seid, tc.ies...))); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
	if sess := a.session(seid); sess.cp.node() != smfA || sess.cp.seid != 1 {
		t.Errorf("node %q, CP F-SEID %+v", sess.cp.node(), sess.cp.fseid())
	}
}

// TestSetMemberEnds: in each way in which an SMF can end, its sessions stay with
// another one of its set, and go with the last.
func TestSetMemberEnds(t *testing.T) {
	later := pfcp.RecoveryTimeStampIE(cpStarted.Add(time.Hour))
	end := func(node string) map[string]message.Message {
		return map[string]message.Message{
			"release": message.NewAssociationReleaseRequest(0, pfcp.NodeIDIE(node)),
			"restart": message.NewHeartbeatRequest(0, later, nil),
			"set up":  message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(node), later),
		}
	}
	for _, name := range []string{"release", "restart", "set up"} {
		t.Run(name, func(t *testing.T) {
			a, b, seid := newSet(t)
			a.ask(end(smfA)[name])
			if sess := a.session(seid); sess == nil || sess.cp.node() != smfB || a.plane.of(seid) == nil {
				t.Fatalf("session %+v", sess)
			}
			if got := b.cause(modify(seid)); got != ie.CauseRequestAccepted {
				t.Errorf("the heir's modification: cause %d", got)
			}
			// smfA is back, or not: if it is, it is in no set.
			b.ask(end(smfB)[name])
			if a.session(seid) != nil || a.plane.count() != 0 || a.registry() != nothingHeld {
				t.Errorf("the session is left: %d in the plane, %s", a.plane.count(), a.registry())
			}
		})
	}
	t.Run("the heir has the same CP F-SEID", func(t *testing.T) {
		a, b, seid := newSet(t)
		b.establish(smfB, pfcp.FSEID{SEID: 1, IPv4: addr("127.0.0.1")}, plainSession(0x11, "10.60.0.11"))
		a.ask(end(smfA)["release"])
		if a.session(seid) != nil || a.plane.count() != 1 {
			t.Errorf("%d sessions, want the heir's own", a.plane.count())
		}
	})
}

// TestSessionSetDeletion: the sessions of the FQ-CSIDs go, all others stay, and those
// of another node.
func TestSessionSetDeletion(t *testing.T) {
	b := newBench(t)
	other := b.at("127.0.0.2")
	b.associate()
	other.setup("smf.example")
	csid := func(a string, ids ...uint16) *ie.IE { return ie.NewFQCSID(a, ids...) }
	var seids []uint64
	for i, sets := range [][]*ie.IE{
		{csid("10.0.0.1", 7)},
		{csid("10.0.0.1", 8), csid("fd00::1", 1, 2)},
		{csid("10.0.0.2", 7)},
		nil,
	} {
		cp := pfcp.FSEID{SEID: uint64(i + 1), IPv4: addr(cpNode)}
		seids = append(seids, b.establish(cpNode, cp, plainSession(uint32(0x10+i), fmt.Sprintf("10.60.0.1%d", i)), sets...))
	}
	seids = append(seids, other.establish("smf.example", pfcp.FSEID{SEID: 1, IPv4: addr("10.0.0.9")}, plainSession(0x20, "10.60.0.20"), csid("10.0.0.1", 7)))
	b.modified(seids[3], csid("10.0.0.3", 3)) // its set comes later

	left := func() (there []int) {
		for i, seid := range seids {
			if b.plane.of(seid) != nil {
				there = append(there, i)
			}
		}
		return there
	}
	for _, step := range []struct {
		req  []*ie.IE
		left []int
	}{
		{[]*ie.IE{csid("10.0.0.1", 9), csid("10.0.0.1", 1)}, []int{0, 1, 2, 3, 4}},
		{[]*ie.IE{csid("10.0.0.1", 9, 7)}, []int{1, 2, 3, 4}},
		{[]*ie.IE{csid("fd00::1", 2), csid("10.0.0.3", 3)}, []int{2, 4}},
	} {
		req := message.NewSessionSetDeletionRequest(0, pfcp.NodeIDIE(cpNode), step.req[0], step.req[1:]...)
		if got := b.cause(req); got != ie.CauseRequestAccepted {
			t.Fatalf("cause %d", got)
		}
		if got := left(); !slices.Equal(got, step.left) {
			t.Fatalf("left are %v, want %v", got, step.left)
		}
	}
}

// TestSessionSetModification: the reports of the sets that a change names go
// elsewhere.
func TestSessionSetModification(t *testing.T) {
	b := newBench(t)
	b.associate()
	group := func(s string) *ie.IE { return ie.New(pfcp.TypeGroupID, []byte(s)) }
	sessions := []struct {
		cp  string
		ies []*ie.IE
	}{
		{"10.0.0.1", []*ie.IE{ie.NewFQCSID("10.0.0.1", 7)}},
		{"10.0.0.1", []*ie.IE{group("green")}},
		{"10.0.0.2", nil},
		{"10.0.0.1", nil},
	}
	var seids []uint64
	for i, s := range sessions {
		cp := pfcp.FSEID{SEID: uint64(i + 1), IPv4: addr(s.cp)}
		seids = append(seids, b.establish(cpNode, cp, plainSession(uint32(0x10+i), fmt.Sprintf("10.60.0.1%d", i)), s.ies...))
	}
	change := func(to string, selectors ...*ie.IE) *ie.IE {
		var body []byte
		for _, i := range append(selectors, pfcp.Alternative{Addrs: []netip.Addr{addr(to)}, Preferred: true}.IE()) {
			d, err := i.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			body = append(body, d...)
		}
		return ie.New(pfcp.TypeSessionChangeInfo, body)
	}
	req := message.NewGenericWithoutSEID(pfcp.MsgSessionSetModificationRequest, 0, pfcp.NodeIDIE(cpNode),
		change("10.9.0.1", ie.NewFQCSID("10.0.0.1", 6, 7), group("green")),
		change("fd00::9", pfcp.CPAddressIE(pfcp.TypeCPIPAddress, addr("10.0.0.2"))))
	resp := b.ask(req)
	if got := refusalOf(t, resp); got.cause != ie.CauseRequestAccepted || resp.MessageType() != pfcp.MsgSessionSetModificationResponse {
		t.Fatalf("message %d, %+v", resp.MessageType(), got)
	}
	tshark(t, [][]byte{encoded(t, req), encoded(t, resp)}, "-V")
	for i, want := range []string{"10.9.0.1", "10.9.0.1", "fd00::9", "10.0.0.1"} {
		sess := b.session(seids[i])
		b.s.mu.Lock()
		got := reportsTo(b.s, sess)
		b.s.mu.Unlock()
		if got != addr(want) {
			t.Errorf("session %d: reports go to %v, want %s", i, got, want)
		}
	}
}

// TestReportPeerOfDownNode: reports do not go where nobody listens.
func TestReportPeerOfDownNode(t *testing.T) {
	a, _, seid := newSet(t)
	sess := a.session(seid)
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	n := a.s.nodes[smfA]
	peer := func() netip.Addr { return reportsTo(a.s, sess) }
	if got := peer(); got != addr("127.0.0.1") {
		t.Errorf("up: %v", got)
	}
	n.health.down = true
	if got := peer(); got != addr("127.0.0.2") {
		t.Errorf("down: %v, want the other SMF of the set", got)
	}
	n.alternatives = []pfcp.Alternative{{Addrs: []netip.Addr{addr("10.0.0.1")}}, {Addrs: []netip.Addr{addr("10.0.0.2")}, Preferred: true}, {Addrs: []netip.Addr{addr("fd00::3")}}}
	if got := peer(); got != addr("10.0.0.2") {
		t.Errorf("down, with other addresses: %v, want the preferred one", got)
	}
}

// TestRestoration: with RESTI a CP function establishes a session of an earlier life
// of the UPF with the F-TEID that the UPF had chosen (TS 23.527 §4.3.2).
func TestRestoration(t *testing.T) {
	b := newBench(t)
	b.associate()
	resp := b.ask(establishment(1, maSession()))
	before := createdPDRs(t, resp, ie.CreatedPDR)

	b = newBench(t)
	b.associate()
	r := maSession()
	for i, id := range []uint16{1, 2} {
		f := before[id]
		r.pdrs[i].PDI.FTEID = &f
	}
	seid := b.establish(cpNode, pfcp.FSEID{SEID: 1, IPv4: addr(cpNode)}, r, ie.NewPFCPSEReqFlags(1))
	for i, d := range b.plane.of(seid).Uplink {
		if f := before[uint16(i+1)]; d.TEID != f.TEID || d.LocalAddr != f.IPv4 {
			t.Errorf("PDR %d has TEID %#x, want %#x", d.ID, d.TEID, f.TEID)
		}
	}
}

// reportsTo is where the reports of sess go; s.mu is held.
func reportsTo(s *Server, sess *session) netip.Addr {
	a, _ := s.reportAddr(sess)
	return a
}
