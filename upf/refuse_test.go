package upf

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

const (
	missingM = ie.CauseMandatoryIEMissing
	missingC = ie.CauseConditionalIEMissing
	wrong    = ie.CauseMandatoryIEIncorrect
	failure  = ie.CauseRuleCreationModificationFailure
)

// fault is a session that differs from maSession in one fault.
type fault struct {
	name  string
	fault func(*rulesSpec)
	want  refusal
}

// refusedRules are those of rules other than MARs.
var refusedRules = []fault{
	{"no PDR", func(r *rulesSpec) { r.pdrs = nil }, refusal{missingM, ie.CreatePDR, ""}},
	{"no FAR", func(r *rulesSpec) { r.fars = nil }, refusal{missingM, ie.CreateFAR, ""}},
	{"PDR twice", func(r *rulesSpec) { r.pdrs[1].ID = 1 }, refusal{failure, ie.PDRID, "000001"}},
	{"PDR without Precedence", func(r *rulesSpec) { r.pdrs[0].Precedence = nil }, refusal{missingM, ie.Precedence, ""}},
	{"PDR without PDI", func(r *rulesSpec) { r.pdrs[0].PDI = nil }, refusal{missingM, ie.PDI, ""}},
	{"PDR without FAR and MAR", func(r *rulesSpec) { r.pdrs[0].FARID = nil }, refusal{missingC, ie.FARID, ""}},
	{"PDR with FAR and MAR", func(r *rulesSpec) { r.pdrs[2].FARID = p(uint32(1)) }, refusal{failure, ie.MARID, "000003"}},
	{"PDR names no FAR", func(r *rulesSpec) { r.pdrs[0].FARID = p(uint32(77)) }, refusal{failure, ie.FARID, "000001"}},
	{"PDR names no MAR", func(r *rulesSpec) { r.pdrs[2].MARID = p(uint16(77)) }, refusal{failure, ie.MARID, "000003"}},
	{"PDR names no QER", func(r *rulesSpec) { r.pdrs[0].QERIDs = []uint32{77} }, refusal{failure, ie.QERID, "000001"}},
	{"PDR names no URR", func(r *rulesSpec) { r.pdrs[0].URRIDs = []uint32{77} }, refusal{failure, ie.URRID, "000001"}},
	{"MAR in the uplink", func(r *rulesSpec) { r.pdrs[0].FARID, r.pdrs[0].MARID = nil, p(uint16(1)) }, refusal{failure, ie.MARID, "000001"}},
	{"source interface unknown", func(r *rulesSpec) { r.pdrs[0].PDI.SourceInterface = 5 }, refusal{failure, ie.SourceInterface, "000001"}},
	{"uplink without F-TEID", func(r *rulesSpec) { r.pdrs[0].PDI.FTEID = nil }, refusal{missingC, ie.FTEID, ""}},
	{"TEID 0", func(r *rulesSpec) { r.pdrs[0].PDI.FTEID = &pfcp.FTEID{IPv4: addr("10.100.3.1")} }, refusal{failure, ie.FTEID, "000001"}},
	{"CHOOSE IPv6 of an IPv4 UPF", func(r *rulesSpec) { r.pdrs[0].PDI.FTEID = &pfcp.FTEID{Choose: true, ChooseV6: true} }, refusal{ie.CauseInvalidFTEIDAllocationOption, ie.FTEID, ""}},
	{"uplink without header removal", func(r *rulesSpec) { r.pdrs[0].OuterHeaderRemoval = nil }, refusal{missingC, ie.OuterHeaderRemoval, ""}},
	{"header removal unknown", func(r *rulesSpec) { r.pdrs[0].OuterHeaderRemoval = p(uint8(7)) }, refusal{failure, ie.OuterHeaderRemoval, "000001"}},
	{"N6 with F-TEID", func(r *rulesSpec) {
		r.pdrs[2].PDI.SourceInterface = pfcp.InterfaceN6LAN
		r.pdrs[2].PDI.FTEID = &pfcp.FTEID{TEID: 5, IPv4: addr("10.100.3.1")}
	}, refusal{failure, ie.FTEID, "000003"}},
	{"CP function without F-TEID", func(r *rulesSpec) { r.pdrs[2].PDI.SourceInterface = pfcp.InterfaceCPFunction }, refusal{missingC, ie.FTEID, ""}},
	{"application unknown", func(r *rulesSpec) { r.pdrs[2].PDI.ApplicationID = "video" }, refusal{pfcp.CauseUnknownApplicationID, ie.ApplicationID, ""}},
	{"traffic endpoint that is not there", func(r *rulesSpec) { r.pdrs[2].PDI.Endpoint = p(uint8(9)) }, refusal{failure, ie.TrafficEndpointID, "000003"}},
	{"SPI 0", func(r *rulesSpec) { r.pdrs[2].PDI.Filters = []pfcp.SDFFilter{{HasSPI: true}} }, refusal{failure, ie.SDFFilter, "000003"}},
	{"downlink with header removal", func(r *rulesSpec) { r.pdrs[2].OuterHeaderRemoval = p(uint8(0)) }, refusal{failure, ie.OuterHeaderRemoval, "000003"}},
	{"downlink without UE address", func(r *rulesSpec) { r.pdrs[2].PDI.UEAddresses = nil }, refusal{missingC, ie.UEIPAddress, ""}},
	{"UE address to choose of an unknown network", func(r *rulesSpec) {
		for _, x := range r.pdrs {
			x.PDI.NetworkInstance = "ims"
		}
		r.pdrs[2].PDI.UEAddresses = []pfcp.UEIPAddress{{ChooseV4: true}}
	}, refusal{failure, ie.NetworkInstance, "000003"}},
	{"SDF filter without description", func(r *rulesSpec) { r.pdrs[2].PDI.Filters = []pfcp.SDFFilter{{ID: 3, HasID: true}} }, refusal{failure, ie.SDFFilter, "000003"}},
	{"SDF filter empty", func(r *rulesSpec) { r.pdrs[2].PDI.Filters = []pfcp.SDFFilter{{}} }, refusal{failure, ie.SDFFilter, "000003"}},

	{"FAR twice", func(r *rulesSpec) { r.fars[1].ID = 1 }, refusal{failure, ie.FARID, "0100000001"}},
	{"FAR without Apply Action", func(r *rulesSpec) { r.fars[0].ApplyAction = nil }, refusal{missingM, ie.ApplyAction, ""}},
	{"Apply Action 0", func(r *rulesSpec) { r.fars[0].ApplyAction = p(uint16(0)) }, refusal{failure, ie.ApplyAction, "0100000001"}},
	{"DROP and FORW", func(r *rulesSpec) { r.fars[0].ApplyAction = p(pfcp.ActionDROP | pfcp.ActionFORW) }, refusal{failure, ie.ApplyAction, "0100000001"}},
	{"FORW without parameters", func(r *rulesSpec) { r.fars[0].Forwarding = nil }, refusal{missingC, ie.ForwardingParameters, ""}},
	{"no destination interface", func(r *rulesSpec) { r.fars[0].Forwarding.Destination = nil }, refusal{missingM, ie.DestinationInterface, ""}},
	{"destination interface unknown", func(r *rulesSpec) { r.fars[0].Forwarding.Destination = p(uint8(4)) }, refusal{failure, ie.DestinationInterface, "0100000001"}},
	{"5G VN Internal in a tunnel", func(r *rulesSpec) {
		r.fars[1].Forwarding.Destination = p(pfcp.DestVNInternal)
	}, refusal{failure, ie.OuterHeaderCreation, "0100000002"}},
	{"IP multicast", func(r *rulesSpec) { r.fars[0].ApplyAction = p(uint16(1 << 5)) }, refusal{failure, ie.ApplyAction, "0100000001"}},
	{"FORW and BDPN", func(r *rulesSpec) { r.fars[0].ApplyAction = p(pfcp.ActionFORW | 1<<9) }, refusal{failure, ie.ApplyAction, "0100000001"}},
	{"DUPL without parameters", func(r *rulesSpec) { r.fars[0].ApplyAction = p(pfcp.ActionFORW | pfcp.ActionDUPL) }, refusal{missingC, ie.DuplicatingParameters, ""}},
	{"DUPL without a tunnel", func(r *rulesSpec) {
		r.fars[0].ApplyAction = p(pfcp.ActionFORW | pfcp.ActionDUPL)
		r.fars[0].Duplicates = []pfcp.Forwarding{{Destination: p(pfcp.InterfaceCore)}}
	}, refusal{failure, ie.DuplicatingParameters, "0100000001"}},
	{"DUPL without destination", func(r *rulesSpec) {
		r.fars[0].ApplyAction = p(pfcp.ActionFORW | pfcp.ActionDUPL)
		r.fars[0].Duplicates = []pfcp.Forwarding{{OuterHeader: r.fars[1].Forwarding.OuterHeader}}
	}, refusal{missingM, ie.DestinationInterface, ""}},
	{"FAR names no BAR", func(r *rulesSpec) { r.fars[1].BARID = p(uint8(7)) }, refusal{failure, ie.BARID, "0100000002"}},
	{"outer header of a family that we have not", func(r *rulesSpec) {
		r.fars[1].Forwarding.OuterHeader = &pfcp.OuterHeaderCreation{Description: pfcp.GTPUIPv6, TEID: 1, IPv6: addr("2001:db8::1")}
	}, refusal{failure, ie.OuterHeaderCreation, "0100000002"}},
	{"outer header that is not GTP-U", func(r *rulesSpec) { r.fars[1].Forwarding.OuterHeader.Description = pfcp.UDPIPv4 }, refusal{failure, ie.OuterHeaderCreation, "0100000002"}},
	{"outer header to a group", func(r *rulesSpec) { r.fars[1].Forwarding.OuterHeader.IPv4 = addr("224.0.0.1") }, refusal{failure, ie.OuterHeaderCreation, "0100000002"}},

	{"QER twice", func(r *rulesSpec) { r.qers = append(r.qers, r.qers[0]) }, refusal{failure, ie.QERID, "0200000001"}},
	{"QER without gate", func(r *rulesSpec) { r.qers[0].Gate = nil }, refusal{missingM, ie.GateStatus, ""}},
}

func TestEstablishmentRefused(t *testing.T) {
	b := newBenchWith(t, atsssConfig)
	b.associate()
	for _, tc := range slices.Concat(refusedRules, refusedMARs) {
		t.Run(tc.name, func(t *testing.T) {
			r := maSession()
			tc.fault(r)
			resp := b.ask(establishment(0x11, r))
			if diff := cmp.Diff(tc.want, refusalOf(t, resp), cmp.AllowUnexported(refusal{})); diff != "" {
				t.Error(diff)
			}
			if resp.SEID() != 0x11 {
				t.Errorf("header has SEID %#x, want the CP function's", resp.SEID())
			}
			if n := b.plane.count(); n != 0 {
				t.Errorf("plane has %d sessions", n)
			}
		})
	}
	b.established(0x11, maSession()) // nothing of the refused ones is left to be in the way
}

// TestModificationRefused makes the same faults in a session that is there, and
// more; the rules of before stay in force, whole.
func TestModificationRefused(t *testing.T) {
	b := newBench(t)
	b.associate()
	seid, _ := b.established(0x11, maSession())
	other, _ := b.established(0x12, plainSession(0x77, "10.60.9.9"))
	before := b.plane.of(seid)
	spec := maSession()
	removeFAR := func(id uint32) *ie.IE { return ie.NewRemoveFAR(ie.NewFARID(id)) }
	tests := []struct {
		name string
		ies  []*ie.IE
		want refusal
	}{
		{"create a PDR that is there", []*ie.IE{spec.pdrs[0].IE(ie.CreatePDR)}, refusal{failure, ie.PDRID, "000001"}},
		{"create a FAR that is there", []*ie.IE{spec.fars[0].IE(ie.CreateFAR)}, refusal{failure, ie.FARID, "0100000001"}},
		{"update a PDR that is not there", []*ie.IE{(&pfcp.PDR{ID: 99}).IE(ie.UpdatePDR)}, refusal{failure, ie.PDRID, "000063"}},
		{"update a FAR that is not there", []*ie.IE{(&pfcp.FAR{ID: 99}).IE(ie.UpdateFAR)}, refusal{failure, ie.FARID, "0100000063"}},
		{"update a QER that is not there", []*ie.IE{(&pfcp.QER{ID: 99}).IE(ie.UpdateQER)}, refusal{failure, ie.QERID, "0200000063"}},
		{"update a URR that is not there", []*ie.IE{ie.NewUpdateURR(ie.NewURRID(99))}, refusal{failure, ie.URRID, "0300000063"}},
		{"update a MAR that is not there", []*ie.IE{(&pfcp.MAR{ID: 99}).IE(ie.UpdateMAR)}, refusal{failure, ie.MARID, "050063"}},
		{"remove a FAR that a PDR names", []*ie.IE{removeFAR(1)}, refusal{failure, ie.FARID, "000001"}},
		{"remove a FAR that a MAR names", []*ie.IE{removeFAR(3)}, refusal{failure, ie.FARID, "050001"}},
		{"remove a MAR that a PDR names", []*ie.IE{ie.NewRemoveMAR(ie.NewMARID(1))}, refusal{failure, ie.MARID, "000003"}},
		{"remove a FAR without saying which", []*ie.IE{ie.NewGroupedIE(ie.RemoveFAR)}, refusal{missingM, ie.FARID, ""}},
		{"update a MAR to a FAR that is not there", []*ie.IE{(&pfcp.MAR{ID: 1, Access: [2]*pfcp.AccessForwarding{nil, {Update: true, FARID: p(uint32(77))}}}).IE(ie.UpdateMAR)}, refusal{failure, ie.FARID, "050001"}},
		{"update a MAR to weights of 110", []*ie.IE{(&pfcp.MAR{ID: 1, Mode: p(uint8(2)), Access: [2]*pfcp.AccessForwarding{{Update: true, Weight: p(uint8(60))}, nil}}).IE(ie.UpdateMAR)}, refusal{failure, ie.Weight, "050001"}},
		{"update a MAR to Priority-based, without priorities", []*ie.IE{(&pfcp.MAR{ID: 1, Mode: p(uint8(3))}).IE(ie.UpdateMAR)}, refusal{missingC, ie.Priority, ""}},
		{"take another session's TEID", []*ie.IE{ftei(spec.pdrs[0], &pfcp.FTEID{TEID: 0x77, IPv4: addr("10.100.3.1")}).IE(ie.UpdatePDR)}, refusal{failure, ie.FTEID, "000001"}},
		{"take another session's UE address", []*ie.IE{ueOf(spec.pdrs[2], "10.60.9.9").IE(ie.UpdatePDR)}, refusal{failure, ie.UEIPAddress, "000003"}},
		{"take another session's CP F-SEID", []*ie.IE{pfcp.FSEID{SEID: 0x12, IPv4: addr(cpNode)}.IE()}, refusal{ie.CauseRequestRejected, ie.FSEID, ""}},
		{"good and bad together", []*ie.IE{
			(&pfcp.QER{ID: 1, Gate: p(uint8(5))}).IE(ie.UpdateQER), (&pfcp.MAR{ID: 1, Mode: p(uint8(5))}).IE(ie.UpdateMAR),
		}, refusal{failure, ie.SteeringMode, "050001"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			resp := b.ask(message.NewSessionModificationRequest(0, 0, seid, 0, 0, tc.ies...))
			if diff := cmp.Diff(tc.want, refusalOf(t, resp), cmp.AllowUnexported(refusal{})); diff != "" {
				t.Error(diff)
			}
			if resp.SEID() != 0x11 {
				t.Errorf("header has SEID %#x, want the CP function's", resp.SEID())
			}
			if b.plane.of(seid) != before {
				t.Error("the rules have changed")
			}
		})
	}
	if b.plane.of(other) == nil {
		t.Error("the other session is gone")
	}
	// None of the refused changes may have stayed behind in the rule set either.
	resp := b.ask(message.NewSessionModificationRequest(0, 0, seid, 0, 0, (&pfcp.QER{ID: 1, QFI: p(uint8(9))}).IE(ie.UpdateQER)))
	if got := refusalOf(t, resp); got.cause != ie.CauseRequestAccepted {
		t.Fatalf("a change to the same: %+v", got)
	}
	if diff := cmp.Diff(before, b.plane.of(seid), cmpRules); diff != "" {
		t.Errorf("rules have changed: %s", diff)
	}
}

// ftei is a copy of r with that F-TEID, ueOf one with that UE address.
func ftei(r *pfcp.PDR, f *pfcp.FTEID) *pfcp.PDR {
	c, d := *r, *r.PDI
	d.FTEID, c.PDI = f, &d
	return &c
}

func ueOf(r *pfcp.PDR, a string) *pfcp.PDR {
	c, d := *r, *r.PDI
	d.UEAddresses, c.PDI = ue(true, a), &d
	return &c
}

func TestConflictsRefused(t *testing.T) {
	b := newBench(t)
	b.associate()
	b.established(1, plainSession(0x500, "10.60.0.7"))
	tests := []struct {
		name string
		r    *rulesSpec
		want refusal
	}{
		{"TEID", plainSession(0x500, "10.60.0.8"), refusal{failure, ie.FTEID, "000002"}},
		{"UE address", plainSession(0x501, "10.60.0.7"), refusal{failure, ie.UEIPAddress, "000002"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got := refusalOf(t, b.ask(establishment(2, tc.r)))
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(refusal{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRequestsRefused has requests that do not get as far as rules.
func TestRequestsRefused(t *testing.T) {
	node, fseid := pfcp.NodeIDIE(cpNode), pfcp.FSEID{SEID: 9, IPv4: addr(cpNode)}.IE()
	establish := func(ies ...*ie.IE) message.Message {
		return message.NewSessionEstablishmentRequest(0, 0, 0, 0, 0, append(ies, maSession().creates()...)...)
	}
	broken := func(i *ie.IE, octets ...byte) *ie.IE { return ie.New(i.Type, octets) }
	tests := []struct {
		name string
		req  message.Message
		want refusal
	}{
		{"association without Node ID", message.NewAssociationSetupRequest(0, pfcp.RecoveryTimeStampIE(cpStarted)), refusal{cause: missingM, offending: 0}},
		{"association without time stamp", message.NewAssociationSetupRequest(0, node), refusal{cause: missingM}},
		{"association with a broken Node ID", message.NewAssociationSetupRequest(0, broken(node, 0, 10), pfcp.RecoveryTimeStampIE(cpStarted)), refusal{cause: wrong}},
		{"update of no association", message.NewAssociationUpdateRequest(0, pfcp.NodeIDIE("10.9.9.9")), refusal{cause: ie.CauseNoEstablishedPFCPAssociation}},
		{"release of no association", message.NewAssociationReleaseRequest(0, pfcp.NodeIDIE("10.9.9.9")), refusal{cause: ie.CauseNoEstablishedPFCPAssociation}},
		{"session without Node ID", establish(fseid), refusal{missingM, ie.NodeID, ""}},
		{"session without F-SEID", establish(node), refusal{missingM, ie.FSEID, ""}},
		{"session with a short F-SEID", establish(node, broken(fseid, 2, 0, 0)), refusal{wrong, ie.FSEID, ""}},
		{"session without association", establish(pfcp.NodeIDIE("smf.example"), fseid), refusal{cause: ie.CauseNoEstablishedPFCPAssociation}},
		{"session with an SRR of QoS monitoring", establish(node, fseid, ie.NewCreateSRR(ie.NewSRRID(1), ie.NewQoSMonitoringPerQoSFlowControlInformation(ie.NewQFI(9)))), refusal{ie.CauseServiceNotSupported, ie.QoSMonitoringPerQoSFlowControlInformation, ""}},
		{"modification of no session", message.NewSessionModificationRequest(0, 0, 99, 0, 0), refusal{cause: ie.CauseSessionContextNotFound}},
		{"deletion of no session", message.NewSessionDeletionRequest(0, 0, 99, 0, 0), refusal{cause: ie.CauseSessionContextNotFound}},
		{"deletion of a session set of no FQ-CSID", message.NewSessionSetDeletionRequest(0, node, nil), refusal{ie.CauseConditionalIEMissing, ie.FQCSID, ""}},
		{"deletion of a session set of no association", message.NewSessionSetDeletionRequest(0, pfcp.NodeIDIE("10.9.9.9"), nil), refusal{cause: ie.CauseNoEstablishedPFCPAssociation}},
		{"modification of no session set", message.NewGenericWithoutSEID(pfcp.MsgSessionSetModificationRequest, 0, node), refusal{missingM, pfcp.TypeSessionChangeInfo, ""}},
		{"modification of a session set without a new address", message.NewGenericWithoutSEID(pfcp.MsgSessionSetModificationRequest, 0, node, ie.New(pfcp.TypeSessionChangeInfo, nil)), refusal{missingM, ie.AlternativeSMFIPAddress, ""}},
		{"PFDs of no application", message.NewPFDManagementRequest(0, ie.NewGroupedIE(ie.ApplicationIDsPFDs)), refusal{missingM, ie.ApplicationID, ""}},
	}
	b := newBench(t)
	b.associate()
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, refusalOf(t, b.ask(tc.req)), cmp.AllowUnexported(refusal{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMalformedIEs has establishment requests with one IE that is cut off or lies.
func TestMalformedIEs(t *testing.T) {
	pdr := func(members ...*ie.IE) *ie.IE {
		return ie.NewCreatePDR(append([]*ie.IE{ie.NewPDRID(1), ie.NewPrecedence(1), ie.NewFARID(1)}, members...)...)
	}
	pdi := func(members ...*ie.IE) *ie.IE {
		return pdr(ie.NewPDI(append([]*ie.IE{ie.NewSourceInterface(0)}, members...)...))
	}
	sdf := func(text string) *ie.IE {
		return pdi(ie.New(ie.SDFFilter, append([]byte{1, 0, 0, byte(len(text))}, text...)))
	}
	far := func(members ...*ie.IE) *ie.IE {
		return ie.NewCreateFAR(append([]*ie.IE{ie.NewFARID(1), ie.NewApplyAction(2)}, members...)...)
	}
	tests := []struct {
		name      string
		i         *ie.IE
		offending uint16
	}{
		{"PDR ID of one octet", ie.NewCreatePDR(ie.New(ie.PDRID, []byte{1})), ie.PDRID},
		{"Precedence of no octet", pdr(ie.New(ie.Precedence, nil)), ie.Precedence},
		{"F-TEID cut off", pdi(ie.New(ie.FTEID, []byte{1, 0, 0, 0, 5, 10})), ie.FTEID},
		{"F-TEID without address", pdi(ie.New(ie.FTEID, []byte{0, 0, 0, 0, 5})), ie.FTEID},
		{"UE address cut off", pdi(ie.New(ie.UEIPAddress, []byte{2, 10, 60})), ie.UEIPAddress},
		{"SDF filter cut off", pdi(ie.New(ie.SDFFilter, []byte{1, 0, 0, 40, 'p'})), ie.SDFFilter},
		{"flow description deny", sdf("deny out ip from any to any"), ie.SDFFilter},
		{"flow description protocol", sdf("permit out 256 from any to any"), ie.SDFFilter},
		{"flow description ports", sdf("permit out 6 from any 9-8 to any"), ie.SDFFilter},
		{"outer header cut off", far(ie.NewForwardingParameters(ie.NewDestinationInterface(0), ie.New(ie.OuterHeaderCreation, []byte{1, 0, 0, 0, 0, 1, 10}))), ie.OuterHeaderCreation},
		{"Apply Action of no octet", ie.NewCreateFAR(ie.NewFARID(1), ie.New(ie.ApplyAction, nil)), ie.ApplyAction},
		{"MBR cut off", ie.NewCreateQER(ie.NewQERID(1), ie.New(ie.MBR, []byte{1})), ie.MBR},
	}
	b := newBench(t)
	b.associate()
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			ies := []*ie.IE{pfcp.NodeIDIE(cpNode), pfcp.FSEID{SEID: 9, IPv4: addr(cpNode)}.IE(), tc.i}
			if tc.i.Type != ie.CreatePDR {
				ies = append(ies, maSession().pdrs[0].IE(ie.CreatePDR))
			}
			if tc.i.Type != ie.CreateFAR {
				ies = append(ies, maSession().fars[0].IE(ie.CreateFAR))
			}
			got := refusalOf(t, b.ask(message.NewSessionEstablishmentRequest(0, 0, 0, 0, 0, ies...)))
			if got.cause != wrong || got.offending != tc.offending {
				t.Errorf("got %+v, want cause %d, offending IE %d", got, wrong, tc.offending)
			}
		})
	}
}
