package upf

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

func TestAssociationSetup(t *testing.T) {
	b := newBench(t)
	resp := b.ask(message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)))
	m, ok := resp.(*message.AssociationSetupResponse)
	if !ok {
		t.Fatalf("answer is %T", resp)
	}
	if id, err := pfcp.ParseNodeID(m.NodeID); err != nil || id != "10.100.4.2" {
		t.Errorf("Node ID %q, %v, want the configured one", id, err)
	}
	if got := m.Cause.Payload; !bytes.Equal(got, []byte{ie.CauseRequestAccepted}) {
		t.Errorf("cause %v", got)
	}
	if got := m.RecoveryTimeStamp.Payload; !bytes.Equal(got, pfcp.RecoveryTimeStampIE(b.s.started).Payload) {
		t.Errorf("time stamp %x", got)
	}
	if len(m.UEIPAddressPoolInformation) != 1 {
		t.Errorf("%d UE address pools, want that of dnnList", len(m.UEIPAddressPoolInformation))
	}
}

// TestAssociationEnds: sessions of a node go with its association, in each way
// that an association can end, and those of others stay.
func TestAssociationEnds(t *testing.T) {
	later := pfcp.RecoveryTimeStampIE(cpStarted.Add(time.Hour))
	tests := []struct {
		name string
		req  message.Message
		gone bool
	}{
		{"set up anew", message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), later), true},
		{"release", message.NewAssociationReleaseRequest(0, pfcp.NodeIDIE(cpNode)), true},
		{"update", message.NewAssociationUpdateRequest(0, pfcp.NodeIDIE(cpNode)), false},
		{"heartbeat", message.NewHeartbeatRequest(0, pfcp.RecoveryTimeStampIE(cpStarted), nil), false},
		{"heartbeat of a restarted peer", message.NewHeartbeatRequest(0, later, nil), true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.associate()
			seid, _ := b.established(1, plainSession(0x10, "10.60.0.10"))
			b.s.mu.Lock()
			foreign := &session{seid: 7, cp: cpSessionOf("another", pfcp.FSEID{})}
			b.s.sessions[7] = foreign
			b.s.mu.Unlock()
			if got := refusalOf(t, b.ask(tc.req)); got.cause > ie.CauseRequestAccepted {
				t.Fatalf("%+v", got)
			}
			if gone := b.plane.of(seid) == nil; gone != tc.gone {
				t.Errorf("session gone: %v, want %v", gone, tc.gone)
			}
			if diff := cmp.Diff(1, b.s.Sessions()["another"]); diff != "" {
				t.Error("the other node's session:", diff)
			}
		})
	}
}

func TestHeartbeatAnswered(t *testing.T) {
	b := newBench(t)
	resp := b.ask(message.NewHeartbeatRequest(0, pfcp.RecoveryTimeStampIE(cpStarted), nil))
	m, ok := resp.(*message.HeartbeatResponse)
	if !ok || m.RecoveryTimeStamp == nil {
		t.Fatalf("answer is %T", resp)
	}
}

// TestHeartbeatSent: a peer that answers with a later time stamp has restarted.
func TestHeartbeatSent(t *testing.T) {
	b := newBenchWith(t, testConfig+"braid: {heartbeat: 20ms}\n")
	b.associate()
	for i := range 2 {
		m, err := message.Parse(b.read())
		if err != nil {
			t.Fatal(err)
		}
		req, ok := m.(*message.HeartbeatRequest)
		if !ok {
			t.Fatalf("got %T", m)
		}
		stamp := cpStarted.Add(time.Duration(i) * time.Minute)
		resp := message.NewHeartbeatResponse(req.Sequence(), pfcp.RecoveryTimeStampIE(stamp))
		d := make([]byte, resp.MarshalLen())
		if err := resp.MarshalTo(d); err != nil {
			t.Fatal(err)
		}
		if _, err := b.conn.WriteToUDPAddrPort(d, b.s.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		b.s.mu.Lock()
		n := len(b.s.nodes)
		b.s.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the association of the restarted peer is still there")
		}
	}
}

// createdPDRs are the F-TEIDs that an answer tells of, by PDR.
func createdPDRs(t *testing.T, m message.Message, typ uint16) map[uint16]pfcp.FTEID {
	t.Helper()
	return created(t, m, typ, ie.FTEID, pfcp.ParseFTEID)
}

// created are the IEs of type chosen in an answer's IEs of type typ, by PDR or endpoint ID.
func created[T any](t *testing.T, m message.Message, typ, chosen uint16, parse func(*ie.IE) (T, *pfcp.Error)) map[uint16]T {
	t.Helper()
	out := map[uint16]T{}
	for _, i := range iesOf(t, m) {
		if i.Type != typ {
			continue
		}
		var id uint16
		for _, c := range i.ChildIEs {
			switch c.Type {
			case ie.PDRID:
				id = uint16(c.Payload[0])<<8 | uint16(c.Payload[1])
			case ie.TrafficEndpointID:
				id = uint16(c.Payload[0])
			case chosen:
				v, err := parse(c)
				if err != nil {
					t.Fatal(err)
				}
				out[id] = v
			}
		}
	}
	return out
}

// TestMultiAccessSession follows a session with a MAR from the request to what the
// worker gets.
func TestMultiAccessSession(t *testing.T) {
	b := newBench(t)
	b.associate()
	seid, resp := b.established(0x11, maSession())
	created := createdPDRs(t, resp, ie.CreatedPDR)
	if len(created) != 2 {
		t.Fatalf("created PDRs %v, want those of PDR 1 and 2", created)
	}
	one, two := created[1], created[2]
	for id, f := range created {
		if f.IPv4 != addr("10.100.3.1") || f.IPv6.IsValid() || f.Choose {
			t.Errorf("PDR %d: F-TEID %+v", id, f)
		}
		if f.TEID>>20 != uint32(seid&0xfff) || f.TEID&0xfffff == 0 {
			t.Errorf("PDR %d: TEID %#x does not imply slot %#x", id, f.TEID, seid&0xfff)
		}
	}
	if one.TEID == two.TEID {
		t.Error("both tunnels have one TEID")
	}
	prefix := func(a string) netip.Prefix { return netip.MustParsePrefix(a) }
	far1 := &dataplane.FAR{ID: 1, Action: dataplane.Forward}
	far2 := &dataplane.FAR{ID: 2, Action: dataplane.Forward, To: dataplane.ToAccess, OuterHeader: &dataplane.OuterHeader{TEID: 0x101, Peer: netip.MustParseAddrPort("10.100.1.2:2152")}}
	far3 := &dataplane.FAR{ID: 3, Action: dataplane.Forward, To: dataplane.ToAccess, OuterHeader: &dataplane.OuterHeader{TEID: 0x201, Peer: netip.MustParseAddrPort("10.100.2.2:2152")}}
	qers := []*dataplane.QER{{ID: 1, QFI: 9}}
	mar := &dataplane.MAR{ID: 1, FAR: [2]*dataplane.FAR{far2, far3}, Policy: steer.Policy{
		Functionality: steer.MPTCP, Mode: steer.ActiveStandby, Priority: [2]steer.Priority{steer.Active, steer.Standby},
		Usable: steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP),
	}}
	both := []netip.Prefix{prefix("10.60.0.1/32"), prefix("10.60.0.2/32")}
	want := &dataplane.Rules{
		SEID: seid,
		Uplink: []dataplane.PDR{
			{ID: 1, Precedence: 255, Access: steer.Access3GPP, TEID: one.TEID, LocalAddr: one.IPv4, UEAddrs: both, FAR: far1, QERs: qers},
			{ID: 2, Precedence: 255, Access: steer.AccessNon3GPP, TEID: two.TEID, LocalAddr: one.IPv4, UEAddrs: both, FAR: far1, QERs: qers},
		},
		Downlink: []dataplane.PDR{
			{ID: 3, Precedence: 255, UEAddrs: both[:1], MAR: mar, QERs: qers},
			{ID: 4, Precedence: 255, UEAddrs: both[1:], MAR: mar, QERs: qers},
		},
		UEAddrs: both,
	}
	if diff := cmp.Diff(want, b.plane.of(seid), cmpRules); diff != "" {
		t.Fatalf("installed rules: %s", diff)
	}

	// Load-Balancing 30:70, then Redundant, then the second access's FAR is dropped,
	// then one access is all that is left.
	mar.Policy.Mode, mar.Policy.Weight = steer.LoadBalancing, [2]uint8{30, 70}
	mar.Policy.Priority = [2]steer.Priority{steer.NoStandby, steer.NoStandby}
	b.modified(seid, (&pfcp.MAR{ID: 1, Mode: p(uint8(2)), Access: [2]*pfcp.AccessForwarding{
		{Update: true, Weight: p(uint8(30))}, {Update: true, Weight: p(uint8(70))},
	}}).IE(ie.UpdateMAR))
	if diff := cmp.Diff(want, b.plane.of(seid), cmpRules); diff != "" {
		t.Errorf("after Update MAR: %s", diff)
	}
	// Redundant, with the priorities that are left over, then with a primary access.
	mar.Policy.Mode, mar.Policy.Weight = steer.Redundant, [2]uint8{}
	b.modified(seid, (&pfcp.MAR{ID: 1, Mode: p(uint8(4))}).IE(ie.UpdateMAR))
	if diff := cmp.Diff(want, b.plane.of(seid), cmpRules); diff != "" {
		t.Errorf("after Update MAR to Redundant: %s", diff)
	}
	mar.Policy.Priority = [2]steer.Priority{steer.Secondary, steer.Primary}
	b.modified(seid, (&pfcp.MAR{ID: 1, Access: [2]*pfcp.AccessForwarding{
		{Update: true, Priority: p(uint8(6))}, {Update: true, Priority: p(uint8(5))},
	}}).IE(ie.UpdateMAR))
	if diff := cmp.Diff(want, b.plane.of(seid), cmpRules); diff != "" {
		t.Errorf("after the priorities of Redundant: %s", diff)
	}
	far3.Action, mar.Policy.Usable = dataplane.Drop, steer.SetOf(steer.Access3GPP)
	b.modified(seid, (&pfcp.FAR{ID: 3, ApplyAction: p(pfcp.ActionDROP)}).IE(ie.UpdateFAR))
	if diff := cmp.Diff(want, b.plane.of(seid), cmpRules); diff != "" {
		t.Errorf("after Update FAR: %s", diff)
	}
	b.modified(seid, ie.NewRemoveMAR(ie.NewMARID(1)),
		(&pfcp.PDR{ID: 3, FARID: p(uint32(2))}).IE(ie.UpdatePDR), ie.NewRemovePDR(ie.NewPDRID(4)),
		ie.NewRemoveFAR(ie.NewFARID(3)), ie.NewRemoveQER(ie.NewQERID(1)))
	for i := range want.Uplink {
		want.Uplink[i].QERs = nil
	}
	want.Downlink = []dataplane.PDR{{ID: 3, Precedence: 255, UEAddrs: both[:1], FAR: far2}}
	if diff := cmp.Diff(want, b.plane.of(seid), cmpRules); diff != "" {
		t.Errorf("after removals: %s", diff)
	}
}

// modified modifies a session, which must succeed.
func (b *bench) modified(seid uint64, ies ...*ie.IE) message.Message {
	b.t.Helper()
	resp := b.ask(message.NewSessionModificationRequest(0, 0, seid, 0, 0, ies...))
	if got := refusalOf(b.t, resp); got.cause != ie.CauseRequestAccepted {
		b.t.Fatalf("session modification: %+v", got)
	}
	return resp
}

// TestChooseID: PDRs of a session with the same CHOOSE ID share an F-TEID, in
// later requests too; with V4 and V6 asked for, what we have is given.
func TestChooseID(t *testing.T) {
	b := newBench(t)
	b.associate()
	r := maSession()
	choose := &pfcp.FTEID{Choose: true, ChooseV4: true, ChooseV6: true, HasChooseID: true, ChooseID: 5}
	r.pdrs[0].PDI.FTEID, r.pdrs[1].PDI.FTEID = choose, choose
	seid, resp := b.established(1, r)
	created := createdPDRs(t, resp, ie.CreatedPDR)
	if created[1] != created[2] || created[1].TEID == 0 {
		t.Errorf("created %v", created)
	}
	third := *r.pdrs[0]
	third.ID = 9
	again := createdPDRs(t, b.modified(seid, third.IE(ie.CreatePDR)), ie.CreatedPDR)
	if again[9] != created[1] {
		t.Errorf("created %v, want the F-TEID of before, %v", again, created[1])
	}
	updated := createdPDRs(t, b.modified(seid, r.pdrs[0].IE(ie.UpdatePDR)), ie.UpdatedPDR)
	if updated[1] != created[1] {
		t.Errorf("updated %v, want the F-TEID of before, %v", updated, created[1])
	}
}

// TestChooseIDForgotten: a CHOOSE ID whose PDRs are all gone names nothing, and
// its TEID can be another session's.
func TestChooseIDForgotten(t *testing.T) {
	b := newBench(t)
	b.associate()
	r := maSession()
	r.pdrs[1].PDI.FTEID = &pfcp.FTEID{Choose: true, ChooseV4: true, HasChooseID: true, ChooseID: 5}
	seid, resp := b.established(1, r)
	teid := createdPDRs(t, resp, ie.CreatedPDR)[2].TEID
	b.modified(seid, ie.NewRemovePDR(ie.NewPDRID(2)))
	b.established(2, plainSession(teid, "10.60.0.50"))
	again := createdPDRs(t, b.modified(seid, r.pdrs[1].IE(ie.CreatePDR)), ie.CreatedPDR)
	if got := again[2].TEID; got == 0 || got == teid {
		t.Errorf("TEID %#x, want a new one", got)
	}
}

// TestCPFunctionRules: Open5GS's SMF has router solicitations sent to itself and
// answers them through the UPF, in tunnels that share the uplink's F-TEID.
func TestCPFunctionRules(t *testing.T) {
	b := newBench(t)
	b.associate()
	r := plainSession(0x60, "10.60.0.60")
	solicit, err := pfcp.ParseFlowDescription("permit out 58 from ff02::2/128 to assigned")
	if err != nil {
		t.Fatal(err)
	}
	up := ftei(r.pdrs[0], &pfcp.FTEID{Choose: true, ChooseV4: true, ChooseV6: true, HasChooseID: true, ChooseID: 5})
	up.ID, up.FARID, up.Precedence = 10, p(uint32(10)), p(uint32(1))
	up.PDI.Filters = []pfcp.SDFFilter{{HasDescription: true, Description: solicit}}
	down := ftei(up, up.PDI.FTEID)
	down.ID, down.FARID = 11, p(uint32(2))
	down.PDI.SourceInterface, down.PDI.Filters = pfcp.InterfaceCPFunction, nil
	r.pdrs = append(r.pdrs, up, down)
	r.fars = append(r.fars, &pfcp.FAR{ID: 10, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{
		Destination: p(pfcp.InterfaceCPFunction), OuterHeader: r.fars[1].Forwarding.OuterHeader,
	}})
	seid, resp := b.established(1, r)
	if created := createdPDRs(t, resp, ie.CreatedPDR); len(created) != 2 || created[10] != created[11] {
		t.Errorf("created %v", created)
	}
	rules := b.plane.of(seid)
	if len(rules.Uplink) != 2 || rules.Uplink[0].ID != 10 || rules.Uplink[0].FAR.To != dataplane.ToCP || rules.Uplink[0].FAR.OuterHeader == nil {
		t.Errorf("uplink %+v", rules.Uplink)
	}
	if len(rules.Downlink) != 2 || rules.Downlink[0].ID != 11 || rules.Downlink[0].TEID != rules.Uplink[0].TEID || rules.Downlink[0].FAR.To != dataplane.ToAccess {
		t.Errorf("downlink %+v", rules.Downlink)
	}
}

// TestHeldFAR: towards an access nothing is sent bare.
func TestHeldFAR(t *testing.T) {
	b := newBench(t)
	b.associate()
	tests := []struct {
		name   string
		fault  func(*pfcp.FAR)
		action dataplane.Action
		notify bool
	}{
		{"no outer header", func(f *pfcp.FAR) { f.Forwarding.OuterHeader = nil }, dataplane.Buffer, false},
		{"no outer header, FORW and NOCP", func(f *pfcp.FAR) {
			f.ApplyAction, f.Forwarding.OuterHeader = p(pfcp.ActionFORW|pfcp.ActionNOCP), nil
		}, dataplane.Buffer, false},
		{"outer header to nowhere", func(f *pfcp.FAR) { f.Forwarding.OuterHeader.IPv4 = addr("0.0.0.0") }, dataplane.Buffer, false},
		{"BUFF and NOCP", func(f *pfcp.FAR) { f.ApplyAction = p(pfcp.ActionBUFF | pfcp.ActionNOCP) }, dataplane.Buffer, true},
		{"BUFF and NOCP, no parameters", func(f *pfcp.FAR) {
			f.ApplyAction, f.Forwarding = p(pfcp.ActionBUFF|pfcp.ActionNOCP), nil
		}, dataplane.Buffer, true},
		{"DROP", func(f *pfcp.FAR) { f.ApplyAction = p(pfcp.ActionDROP) }, dataplane.Drop, false},
		{"DROP and NOCP", func(f *pfcp.FAR) { f.ApplyAction = p(pfcp.ActionDROP | pfcp.ActionNOCP) }, dataplane.Drop, true},
		{"FORW and NOCP", func(f *pfcp.FAR) { f.ApplyAction = p(pfcp.ActionFORW | pfcp.ActionNOCP) }, dataplane.Forward, true},
	}
	for i, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := plainSession(uint32(i+1), netip.AddrFrom4([4]byte{10, 60, 1, byte(i)}).String())
			tc.fault(r.fars[1])
			seid, _ := b.established(uint64(i+1), r)
			if f := b.plane.of(seid).Downlink[0].FAR; f.Action != tc.action || f.Notify != tc.notify || f.BAR != nil {
				t.Errorf("FAR %+v, want action %d, notification %v", f, tc.action, tc.notify)
			}
		})
	}
	// Given the outer header later, it forwards; buffering keeps the header.
	r := plainSession(0x99, "10.60.2.1")
	header := r.fars[1].Forwarding.OuterHeader
	r.fars[1].Forwarding.OuterHeader = nil
	seid, _ := b.established(99, r)
	forward := &pfcp.FAR{ID: 2, Forwarding: &pfcp.Forwarding{OuterHeader: header}}
	b.modified(seid, forward.IE(ie.UpdateFAR))
	if f := b.plane.of(seid).Downlink[0].FAR; f.Action != dataplane.Forward || f.OuterHeader == nil || f.OuterHeader.TEID != header.TEID {
		t.Errorf("FAR %+v does not forward", f)
	}
	b.modified(seid, (&pfcp.FAR{ID: 2, ApplyAction: p(pfcp.ActionBUFF | pfcp.ActionNOCP)}).IE(ie.UpdateFAR))
	b.modified(seid, (&pfcp.FAR{ID: 2, ApplyAction: p(pfcp.ActionFORW)}).IE(ie.UpdateFAR))
	if f := b.plane.of(seid).Downlink[0].FAR; f.Action != dataplane.Forward || f.OuterHeader == nil {
		t.Errorf("FAR %+v has lost its outer header", f)
	}
}

// TestAccessOfTunnel: what is said by the 3GPP Interface Type, and what is taken
// where nothing is said.
func TestAccessOfTunnel(t *testing.T) {
	tests := []struct {
		name     string
		one, two *uint8
		mar      bool
		want     [2]steer.Access
	}{
		{"said", p(pfcp.N3TrustedNon3GPP), p(pfcp.N33GPP), true, [2]steer.Access{1, 0}},
		{"nothing said", nil, nil, true, [2]steer.Access{0, 1}},
		{"one said", nil, p(pfcp.N33GPP), true, [2]steer.Access{1, 0}},
		{"nothing said, no MAR", nil, nil, false, [2]steer.Access{0, 0}},
		{"said, no MAR", p(pfcp.N33GPP), p(pfcp.N3UntrustedNon3GPP), false, [2]steer.Access{0, 1}},
	}
	b := newBench(t)
	b.associate()
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := maSession()
			r.pdrs[0].PDI.InterfaceType, r.pdrs[1].PDI.InterfaceType = tc.one, tc.two
			if !tc.mar {
				r.mars, r.pdrs[2].MARID, r.pdrs[3].MARID = nil, nil, nil
				r.pdrs[2].FARID, r.pdrs[3].FARID = p(uint32(2)), p(uint32(3))
			}
			seid, _ := b.established(1, r) // the same CP F-SEID: takes the place of the one before
			up := b.plane.of(seid).Uplink
			if got := [2]steer.Access{up[0].Access, up[1].Access}; got != tc.want {
				t.Errorf("accesses %v, want %v", got, tc.want)
			}
			if n := b.plane.count(); n != 1 {
				t.Errorf("%d sessions in the plane", n)
			}
		})
	}
}

// TestFilters: both conventions of the uplink's flow description, precedence, QFIs.
func TestFilters(t *testing.T) {
	b := newBench(t)
	b.associate()
	filter := func(text string) []pfcp.SDFFilter {
		fd, err := pfcp.ParseFlowDescription(text)
		if err != nil {
			t.Fatal(err)
		}
		return []pfcp.SDFFilter{{HasDescription: true, Description: fd, HasID: true, ID: 7}}
	}
	same := dataplane.Filter{
		Protocol: 6, Remote: netip.MustParsePrefix("10.100.6.2/32"),
		RemotePorts: []dataplane.PortRange{{First: 80, Last: 80}},
	}
	for i, text := range []string{
		"permit out 6 from 10.100.6.2 80 to assigned",
		"permit out 6 from assigned to 10.100.6.2/32 80",
		"permit out tcp from any to 10.100.6.2/32 80-80",
		"permit in 6 from assigned to 10.100.6.2/32 80",
	} {
		r := plainSession(0x20, "10.60.0.20")
		r.pdrs[0].PDI.Filters = filter(text)
		r.pdrs[0].PDI.QFIs = []uint8{1, 2}
		r.pdrs[1].PDI.Filters = []pfcp.SDFFilter{{HasID: true, ID: 7}}
		low := *r.pdrs[0]
		low.ID, low.Precedence = 7, p(uint32(3))
		r.pdrs = append(r.pdrs, &low)
		seid, _ := b.established(1, r)
		rules := b.plane.of(seid)
		for _, pdrs := range [][]dataplane.PDR{rules.Uplink, rules.Downlink} {
			for _, d := range pdrs {
				if diff := cmp.Diff([]dataplane.Filter{same}, d.Filters, cmpRules); diff != "" {
					t.Errorf("%d: %q, PDR %d: %s", i, text, d.ID, diff)
				}
			}
		}
		var order [][2]uint64
		for _, d := range rules.Uplink {
			order = append(order, [2]uint64{uint64(d.Precedence), d.QFIs})
		}
		if diff := cmp.Diff([][2]uint64{{3, 1<<1 | 1<<2}, {255, 1<<1 | 1<<2}}, order); diff != "" {
			t.Errorf("precedence and QFIs of the uplink: %s", diff)
		}
	}
}

// TestInstallFails: the CP function hears of it, and the session is as before.
func TestInstallFails(t *testing.T) {
	b := newBench(t)
	b.associate()
	seid, _ := b.established(1, plainSession(0x30, "10.60.0.30"))
	before := b.plane.of(seid)
	b.plane.setFail(true)
	drop := (&pfcp.FAR{ID: 2, ApplyAction: p(pfcp.ActionDROP)}).IE(ie.UpdateFAR)
	for _, req := range []message.Message{
		message.NewSessionModificationRequest(0, 0, seid, 0, 0, drop), establishment(2, plainSession(0x31, "10.60.0.31")),
	} {
		if got := refusalOf(t, b.ask(req)); got.cause != ie.CauseSystemFailure {
			t.Errorf("%s: %+v", req.MessageTypeName(), got)
		}
	}
	b.plane.setFail(false)
	b.modified(seid)
	if diff := cmp.Diff(before, b.plane.of(seid), cmpRules); diff != "" {
		t.Error(diff)
	}
	b.established(2, plainSession(0x31, "10.60.0.31"))
}

// TestDeletion: what the session had is free again, the session is gone.
func TestDeletion(t *testing.T) {
	b := newBench(t)
	b.associate()
	for cp := uint64(1); cp < 4; cp++ {
		seid, _ := b.established(cp, plainSession(0x40, "10.60.0.40"))
		resp := b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0))
		if got := refusalOf(t, resp); got.cause != ie.CauseRequestAccepted || resp.SEID() != cp {
			t.Fatalf("deletion: %+v, SEID %#x", got, resp.SEID())
		}
		if got := refusalOf(t, b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0))); got.cause != ie.CauseSessionContextNotFound {
			t.Fatalf("second deletion: %+v", got)
		}
	}
	if got := b.registry(); got != nothingHeld {
		t.Errorf("registry has %s", got)
	}
}

// TestRetransmission: the same request gets the same octets, and is carried out
// once.
func TestRetransmission(t *testing.T) {
	b := newBench(t)
	b.associate()
	req := establishment(1, maSession())
	req.SetSequenceNumber(4711)
	d := make([]byte, req.MarshalLen())
	if err := req.MarshalTo(d); err != nil {
		t.Fatal(err)
	}
	first := append([]byte(nil), b.exchange(d)...)
	if second := b.exchange(d); !bytes.Equal(first, second) {
		t.Errorf("first answer %x, second %x", first, second)
	}
	if n := b.plane.count(); n != 1 {
		t.Errorf("%d sessions", n)
	}
	// Another request under that number is not a retransmission.
	d[len(d)-1] ^= 1
	if third := b.exchange(d); bytes.Equal(first, third) {
		t.Error("another request got the old answer")
	}
}

// TestAnswersDecode has tshark read our answers.
func TestAnswersDecode(t *testing.T) {
	b := newBench(t)
	b.associate()
	var answers []message.Message
	ask := func(m message.Message) { answers = append(answers, b.ask(m)) }
	ask(message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)))
	seid, established := b.established(0x11, maSession())
	answers = append(answers, established)
	refused := maSession()
	refused.mars[0].Mode = p(uint8(5))
	ask(establishment(2, refused))
	ask(message.NewSessionModificationRequest(0, 0, seid, 0, 0, maSession().pdrs[0].IE(ie.UpdatePDR)))
	ask(message.NewHeartbeatRequest(0, pfcp.RecoveryTimeStampIE(cpStarted), nil))
	ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0))

	var datagrams [][]byte
	for _, a := range answers {
		datagrams = append(datagrams, encoded(t, a))
	}
	text := tshark(t, datagrams, "-V")
	for _, want := range []string{
		"MPTCP: Supported", "ATSSS-LL: Supported", "FTUP: Supported", "Cause : Request accepted(success)",
		"Rule creation / modification Failure", "Type of the offending IE: Unknown (172)", "Created PDR", "IPv4 10.100.3.1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("tshark does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
