package upf

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// steered has the MAR of r be of that mode, with these priorities; 0xff = none.
func steered(r *rulesSpec, mode uint8, priorities ...uint8) *pfcp.MAR {
	m := r.mars[0]
	m.Mode = p(mode)
	for i, v := range priorities {
		if m.Access[i].Priority = p(v); v == 0xff {
			m.Access[i].Priority = nil
		}
	}
	return m
}

// refusedMARs are faults of MARs.
var refusedMARs = []fault{
	{"MAR twice", func(r *rulesSpec) { r.mars = append(r.mars, r.mars[0]) }, refusal{failure, ie.MARID, "050001"}},
	{"MAR without functionality", func(r *rulesSpec) { r.mars[0].Functionality = nil }, refusal{missingM, ie.SteeringFunctionality, ""}},
	{"MAR without mode", func(r *rulesSpec) { r.mars[0].Mode = nil }, refusal{missingM, ie.SteeringMode, ""}},
	{"MAR without accesses", func(r *rulesSpec) { r.mars[0].Access = [2]*pfcp.AccessForwarding{} }, refusal{missingC, ie.TGPPAccessForwardingActionInformation, ""}},
	{"MAR with MPQUIC", func(r *rulesSpec) { r.mars[0].Functionality = p(uint8(2)) }, refusal{failure, ie.SteeringFunctionality, "050001"}},
	{"MAR with mode 5", func(r *rulesSpec) { r.mars[0].Mode = p(uint8(5)) }, refusal{failure, ie.SteeringMode, "050001"}},
	{"MAR with mode 15", func(r *rulesSpec) { r.mars[0].Mode = p(uint8(15)) }, refusal{failure, ie.SteeringMode, "050001"}},
	{"MAR names no FAR", func(r *rulesSpec) { r.mars[0].Access[1].FARID = p(uint32(77)) }, refusal{failure, ie.FARID, "050001"}},
	{"MAR without FAR ID", func(r *rulesSpec) { r.mars[0].Access[1].FARID = nil }, refusal{missingM, ie.FARID, ""}},
	{"MAR names a FAR to the core", func(r *rulesSpec) { r.mars[0].Access[1].FARID = p(uint32(1)) }, refusal{failure, ie.FARID, "050001"}},
	{"Active-Standby without priority", func(r *rulesSpec) { r.mars[0].Access[0].Priority = nil }, refusal{missingC, ie.Priority, ""}},
	{"Active-Standby with High", func(r *rulesSpec) { r.mars[0].Access[0].Priority = p(uint8(3)) }, refusal{failure, ie.Priority, "050001"}},
	{"two active accesses", func(r *rulesSpec) { r.mars[0].Access[1].Priority = p(uint8(0)) }, refusal{failure, ie.Priority, "050001"}},
	{"no active access", func(r *rulesSpec) { r.mars[0].Access[0].Priority = p(uint8(2)) }, refusal{failure, ie.Priority, "050001"}},
	{"Load-Balancing without weight", func(r *rulesSpec) { r.mars[0].Mode, r.mars[0].Access[1].Weight = p(uint8(2)), nil }, refusal{missingC, ie.Weight, ""}},
	{"Load-Balancing sums to 99", func(r *rulesSpec) { r.mars[0].Mode, r.mars[0].Access[1].Weight = p(uint8(2)), p(uint8(49)) }, refusal{failure, ie.Weight, "050001"}},
	{"Load-Balancing wraps to 100", func(r *rulesSpec) {
		r.mars[0].Mode, r.mars[0].Access[0].Weight, r.mars[0].Access[1].Weight = p(uint8(2)), p(uint8(178)), p(uint8(178))
	}, refusal{failure, ie.Weight, "050001"}},
	{"Redundant with priority 7", func(r *rulesSpec) { r.mars[0].Mode, r.mars[0].Access[0].Priority = p(uint8(4)), p(uint8(7)) }, refusal{failure, ie.Priority, "050001"}},
	{"two primary accesses", func(r *rulesSpec) {
		r.mars[0].Mode, r.mars[0].Access[0].Priority, r.mars[0].Access[1].Priority = p(uint8(4)), p(uint8(5)), p(uint8(5))
	}, refusal{failure, ie.Priority, "050001"}},
	{"Active-Standby with one access, no standby", func(r *rulesSpec) { steered(r, 0, 2).Access[1] = nil }, refusal{failure, ie.Priority, "050001"}},
	{"Active-Standby with thresholds", func(r *rulesSpec) { r.mars[0].Thresholds = &pfcp.Thresholds{RTT: p(uint16(40))} }, refusal{failure, pfcp.TypeThresholds, "050001"}},
	{"Active-Standby with an indicator", func(r *rulesSpec) { r.mars[0].Indicator = p(uint8(1)) }, refusal{failure, pfcp.TypeSteeringModeIndicator, "050001"}},
	{"Smallest Delay with thresholds", func(r *rulesSpec) { steered(r, 1).Thresholds = &pfcp.Thresholds{PLR: p(uint8(4))} }, refusal{failure, pfcp.TypeThresholds, "050001"}},
	{"Smallest Delay with an indicator", func(r *rulesSpec) { steered(r, 1).Indicator = p(uint8(2)) }, refusal{failure, pfcp.TypeSteeringModeIndicator, "050001"}},
	{"both indicators", func(r *rulesSpec) { steered(r, 2).Indicator = p(uint8(3)) }, refusal{failure, pfcp.TypeSteeringModeIndicator, "050001"}},
	{"an indicator and thresholds", func(r *rulesSpec) {
		m := steered(r, 2)
		m.Indicator, m.Thresholds = p(uint8(2)), &pfcp.Thresholds{RTT: p(uint16(40))}
	}, refusal{failure, pfcp.TypeThresholds, "050001"}},
	{"UE assistance without weights", func(r *rulesSpec) {
		m := steered(r, 2)
		m.Indicator, m.Access[0].Weight, m.Access[1].Weight = p(uint8(2)), nil, nil
	}, refusal{missingC, ie.Weight, ""}},
	{"autonomous with one weight", func(r *rulesSpec) {
		m := steered(r, 2)
		m.Indicator, m.Access[1].Weight = p(uint8(1)), nil
	}, refusal{missingC, ie.Weight, ""}},
	{"autonomous with weights of 99", func(r *rulesSpec) {
		m := steered(r, 2)
		m.Indicator, m.Access[1].Weight = p(uint8(1)), p(uint8(49))
	}, refusal{failure, ie.Weight, "050001"}},
	{"Priority-based without priorities", func(r *rulesSpec) { steered(r, 3, 0xff, 0xff) }, refusal{missingC, ie.Priority, ""}},
	{"Priority-based with Active", func(r *rulesSpec) { steered(r, 3) }, refusal{failure, ie.Priority, "050001"}},
	{"Priority-based with Primary", func(r *rulesSpec) { steered(r, 3, 3, 5) }, refusal{failure, ie.Priority, "050001"}},
	{"Priority-based with High twice", func(r *rulesSpec) { steered(r, 3, 3, 3) }, refusal{failure, ie.Priority, "050001"}},
	{"Priority-based with an indicator", func(r *rulesSpec) { steered(r, 3, 3, 4).Indicator = p(uint8(1)) }, refusal{failure, pfcp.TypeSteeringModeIndicator, "050001"}},
	{"Redundant with Active", func(r *rulesSpec) { steered(r, 4, 0, 0xff) }, refusal{failure, ie.Priority, "050001"}},
	{"Redundant with High", func(r *rulesSpec) { steered(r, 4, 3, 0xff) }, refusal{failure, ie.Priority, "050001"}},
	{"Redundant with both thresholds", func(r *rulesSpec) {
		steered(r, 4, 5, 6).Thresholds = &pfcp.Thresholds{RTT: p(uint16(40)), PLR: p(uint8(4))}
	}, refusal{failure, pfcp.TypeThresholds, "050001"}},
	{"MAR names no URR", func(r *rulesSpec) { r.mars[0].Access[0].URRIDs = []uint32{77} }, refusal{failure, ie.URRID, "050001"}},
	{"a URR too often", func(r *rulesSpec) {
		r.urrs = []*pfcp.URR{volumeURR(1, 0)}
		r.mars[0].Access[0].URRIDs = slices.Repeat([]uint32{1}, maxParts)
	}, refusal{ie.CauseNoResourcesAvailable, ie.PDI, ""}},
	{"MPTCP where ATSSS-LL alone is asked for", func(r *rulesSpec) { r.atsss = &pfcp.ATSSSControl{ATSSSLL: true} }, refusal{failure, ie.SteeringFunctionality, "050001"}},
	{"ATSSS-LL where MPTCP alone is asked for", func(r *rulesSpec) {
		r.mars[0].Functionality, r.atsss = p(uint8(0)), &pfcp.ATSSSControl{MPTCP: true}
	}, refusal{failure, ie.SteeringFunctionality, "050001"}},
	{"MPTCP where nothing is asked for", func(r *rulesSpec) { r.atsss = &pfcp.ATSSSControl{} }, refusal{failure, ie.SteeringFunctionality, "050001"}},
	{"MPQUIC, asked for", func(r *rulesSpec) {
		r.mars[0].Functionality, r.atsss = p(uint8(2)), &pfcp.ATSSSControl{MPQUIC: pfcp.MPQUICUDP}
	}, refusal{failure, ie.SteeringFunctionality, "050001"}},
	{"SRR twice", func(r *rulesSpec) { r.srrs = []*pfcp.SRR{{ID: 3}, {ID: 3}} }, refusal{failure, ie.SRRID, "0603"}},
	{"UE address out of the link-specific ones", func(r *rulesSpec) { r.pdrs[2].PDI.UEAddresses = ue(true, "100.64.7.7") }, refusal{failure, ie.UEIPAddress, "000003"}},
	{"UE address of the converter", func(r *rulesSpec) { r.pdrs[2].PDI.UEAddresses = ue(true, "10.200.0.1") }, refusal{failure, ie.UEIPAddress, "000003"}},
	{"framed route over the PMF", func(r *rulesSpec) {
		r.pdrs[2].PDI.FramedRoutes = []netip.Prefix{netip.MustParsePrefix("10.200.0.0/16")}
	}, refusal{failure, ie.FramedRoute, "000003"}},
}

// TestMARChangeRefused changes the MAR of a session with ATSSS control information, at run
// time: what is wrong is refused, and the MAR of before steers on.
func TestMARChangeRefused(t *testing.T) {
	b := newBenchWith(t, atsssConfig)
	b.associate()
	r := maSession()
	r.atsss = &pfcp.ATSSSControl{MPTCP: true}
	seid, _ := b.established(0x11, r)
	before := b.plane.of(seid)
	update := func(m pfcp.MAR) *ie.IE {
		m.ID = 1
		return m.IE(ie.UpdateMAR)
	}
	for _, tc := range []struct {
		name string
		ies  []*ie.IE
		want refusal
	}{
		{"to ATSSS-LL, which nobody asked for", []*ie.IE{update(pfcp.MAR{Functionality: p(uint8(0))})}, refusal{failure, ie.SteeringFunctionality, "050001"}},
		{"MPTCP is asked for no more", []*ie.IE{(&pfcp.ATSSSControl{ATSSSLL: true}).IE()}, refusal{failure, ie.SteeringFunctionality, "050001"}},
		{"to MPQUIC", []*ie.IE{update(pfcp.MAR{Functionality: p(uint8(2))})}, refusal{failure, ie.SteeringFunctionality, "050001"}},
		{"to an unknown mode", []*ie.IE{update(pfcp.MAR{Mode: p(uint8(9))})}, refusal{failure, ie.SteeringMode, "050001"}},
		{"to weights of 90", []*ie.IE{update(pfcp.MAR{Mode: p(uint8(2)), Access: [2]*pfcp.AccessForwarding{{Update: true, Weight: p(uint8(40))}}})}, refusal{failure, ie.Weight, "050001"}},
		{"to Redundant with thresholds", []*ie.IE{update(pfcp.MAR{Mode: p(uint8(4)), Thresholds: &pfcp.Thresholds{RTT: p(uint16(1)), PLR: p(uint8(1))}})}, refusal{failure, pfcp.TypeThresholds, "050001"}},
		{"thresholds", []*ie.IE{update(pfcp.MAR{Thresholds: &pfcp.Thresholds{RTT: p(uint16(1))}})}, refusal{failure, pfcp.TypeThresholds, "050001"}},
		{"both indicators", []*ie.IE{update(pfcp.MAR{Mode: p(uint8(2)), Indicator: p(uint8(3))})}, refusal{failure, pfcp.TypeSteeringModeIndicator, "050001"}},
		{"High", []*ie.IE{update(pfcp.MAR{Access: [2]*pfcp.AccessForwarding{{Update: true, Priority: p(uint8(3))}}})}, refusal{failure, ie.Priority, "050001"}},
		{"a FAR that is not there", []*ie.IE{update(pfcp.MAR{Access: [2]*pfcp.AccessForwarding{{Update: true, FARID: p(uint32(99))}}})}, refusal{failure, ie.FARID, "050001"}},
		{"a URR that is not there", []*ie.IE{update(pfcp.MAR{Access: [2]*pfcp.AccessForwarding{{Update: true, URRIDs: []uint32{99}}}})}, refusal{failure, ie.URRID, "050001"}},
		{"no access is left", []*ie.IE{update(pfcp.MAR{Access: [2]*pfcp.AccessForwarding{{Update: true, Removed: true}, {Update: true, Removed: true}}})}, refusal{missingC, ie.TGPPAccessForwardingActionInformation, ""}},
		{"a PDR to a MAR that is not there", []*ie.IE{(&pfcp.PDR{ID: 3, MARID: p(uint16(9))}).IE(ie.UpdatePDR)}, refusal{failure, ie.MARID, "000003"}},
		{"the MAR is removed", []*ie.IE{ie.NewRemoveMAR(ie.NewMARID(1))}, refusal{failure, ie.MARID, "000003"}},
		{"an SRR that is not there", []*ie.IE{(&pfcp.SRR{ID: 3}).IE(ie.UpdateSRR)}, refusal{failure, ie.SRRID, "0603"}},
		{"a third access", []*ie.IE{ie.New(ie.AccessAvailabilityInformation, []byte{2})}, refusal{wrong, ie.AccessAvailabilityInformation, ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := refusalOf(t, b.ask(message.NewSessionModificationRequest(0, 0, seid, 0, 0, tc.ies...)))
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(refusal{})); diff != "" {
				t.Error(diff)
			}
			if b.plane.of(seid) != before {
				t.Error("the rules have changed")
			}
		})
	}
	b.modified(seid, (&pfcp.QER{ID: 1, QFI: p(uint8(9))}).IE(ie.UpdateQER)) // a change to the same
	if diff := cmp.Diff(before, b.plane.of(seid), cmpRules); diff != "" {
		t.Errorf("the rules have changed: %s", diff)
	}
}
