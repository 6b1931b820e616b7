package upf

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// TestSteeringModes: what each mode takes out of a MAR, under MPTCP and under ATSSS-LL.
func TestSteeringModes(t *testing.T) {
	both := steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP)
	rtt, plr := &pfcp.Thresholds{RTT: p(uint16(40))}, &pfcp.Thresholds{PLR: p(uint8(0))}
	for _, tc := range []struct {
		name string
		mar  func(*rulesSpec)
		want steer.Policy
	}{
		{"Active-Standby", func(r *rulesSpec) { steered(r, 0, 1, 0) }, steer.Policy{
			Mode: steer.ActiveStandby, Priority: [2]steer.Priority{steer.Standby, steer.Active}, Usable: both,
		}},
		{"Active-Standby, no standby", func(r *rulesSpec) { steered(r, 0, 0, 2) }, steer.Policy{
			Mode: steer.ActiveStandby, Priority: [2]steer.Priority{steer.Active, steer.NoStandby}, Usable: both,
		}},
		{"Active-Standby, the active access alone", func(r *rulesSpec) { steered(r, 0, 0).Access[1] = nil }, steer.Policy{
			Mode: steer.ActiveStandby, Priority: [2]steer.Priority{steer.Active, steer.NoStandby}, Usable: steer.SetOf(steer.Access3GPP),
		}},
		{"Active-Standby, the standby access alone", func(r *rulesSpec) { steered(r, 0, 0, 1).Access[0] = nil }, steer.Policy{
			Mode: steer.ActiveStandby, Priority: [2]steer.Priority{steer.NoStandby, steer.Standby}, Usable: steer.SetOf(steer.AccessNon3GPP),
		}},
		{"thresholds and an indicator that say nothing", func(r *rulesSpec) {
			m := steered(r, 0)
			m.Thresholds, m.Indicator = &pfcp.Thresholds{}, p(uint8(0))
		}, steer.Policy{Mode: steer.ActiveStandby, Priority: [2]steer.Priority{steer.Active, steer.Standby}, Usable: both}},
		{"Smallest Delay", func(r *rulesSpec) { steered(r, 1) }, steer.Policy{Mode: steer.SmallestDelay, Priority: none, Usable: both}},
		{"Load-Balancing", func(r *rulesSpec) { steered(r, 2) }, steer.Policy{
			Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{50, 50}, Usable: both,
		}},
		{"Load-Balancing of 0 and 100", func(r *rulesSpec) {
			m := steered(r, 2)
			m.Access[0].Weight, m.Access[1].Weight = p(uint8(101)), p(uint8(100)) // above 100 counts as 0
		}, steer.Policy{Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{0, 100}, Usable: both}},
		{"Load-Balancing of one access", func(r *rulesSpec) { steered(r, 2).Access[1] = nil }, steer.Policy{
			Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{100, 0}, Usable: steer.SetOf(steer.Access3GPP),
		}},
		{"Load-Balancing with thresholds", func(r *rulesSpec) {
			steered(r, 2).Thresholds = &pfcp.Thresholds{RTT: p(uint16(65535)), PLR: p(uint8(3))}
		}, steer.Policy{
			Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{50, 50}, Usable: both, Thresholds: steer.Thresholds{RTT: 65_535_000, PLR: 3, HasPLR: true},
		}},
		{"Load-Balancing, autonomous", func(r *rulesSpec) { steered(r, 2).Indicator = p(uint8(1)) }, steer.Policy{
			Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{50, 50}, Usable: both, Indicator: steer.Autonomous,
		}},
		{"Load-Balancing, autonomous without weights", func(r *rulesSpec) {
			m := steered(r, 2)
			m.Indicator, m.Access[0].Weight, m.Access[1].Weight = p(uint8(1)), nil, nil
		}, steer.Policy{Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{50, 50}, Usable: both, Indicator: steer.Autonomous}},
		{"Load-Balancing with UE assistance", func(r *rulesSpec) {
			m := steered(r, 2)
			m.Indicator, m.Access[0].Weight, m.Access[1].Weight = p(uint8(2)), p(uint8(20)), p(uint8(80))
		}, steer.Policy{Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{20, 80}, Usable: both, Indicator: steer.UEAssistance}},
		{"Priority-based", func(r *rulesSpec) { steered(r, 3, 4, 3).Thresholds = rtt }, steer.Policy{
			Mode: steer.PriorityBased, Priority: [2]steer.Priority{steer.Low, steer.High}, Usable: both, Thresholds: steer.Thresholds{RTT: 40_000},
		}},
		{"Priority-based of one access", func(r *rulesSpec) { steered(r, 3, 4).Access[1] = nil }, steer.Policy{
			Mode: steer.PriorityBased, Priority: [2]steer.Priority{steer.Low, steer.NoStandby}, Usable: steer.SetOf(steer.Access3GPP),
		}},
		{"Redundant", func(r *rulesSpec) { steered(r, 4, 0xff, 0xff) }, steer.Policy{Mode: steer.Redundant, Priority: none, Usable: both}},
		{"Redundant with a primary access and a threshold", func(r *rulesSpec) { steered(r, 4, 6, 5).Thresholds = plr }, steer.Policy{
			Mode: steer.Redundant, Priority: [2]steer.Priority{steer.Secondary, steer.Primary}, Usable: both, Thresholds: steer.Thresholds{HasPLR: true},
		}},
	} {
		for _, f := range []steer.Functionality{steer.ATSSSLL, steer.MPTCP} {
			b := newBench(t)
			b.associate()
			r := maSession()
			tc.mar(r)
			r.mars[0].Functionality = p(uint8(f))
			seid, _ := b.established(1, r)
			tc.want.Functionality = f
			if diff := cmp.Diff(tc.want, b.plane.of(seid).Downlink[0].MAR.Policy); diff != "" {
				t.Errorf("%s, functionality %d: %s", tc.name, f, diff)
			}
		}
	}
}

// TestMARChanges takes a session's MAR through changes at run time: of the mode, back
// again, an access gone and another there, its URRs.
func TestMARChanges(t *testing.T) {
	b := newBench(t)
	b.associate()
	r := maSession()
	r.urrs = []*pfcp.URR{volumeURR(1, 0), volumeURR(2, 0)}
	steered(r, 3, 3, 4).Thresholds = &pfcp.Thresholds{RTT: p(uint16(40))}
	seid, _ := b.established(1, r)
	both := steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP)
	change := func(a *pfcp.AccessForwarding) *pfcp.AccessForwarding {
		a.Update = true
		return a
	}
	for _, tc := range []struct {
		name string
		up   pfcp.MAR
		want steer.Policy
		fars [2]uint32 // 0 = none
		urrs [2]int
	}{
		{
			"to Load-Balancing: the weights were there, the thresholds are gone",
			pfcp.MAR{Mode: p(uint8(2))},
			steer.Policy{Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{50, 50}, Usable: both},
			[2]uint32{2, 3},
			[2]int{},
		},
		{
			"UE assistance",
			pfcp.MAR{Indicator: p(uint8(2))},
			steer.Policy{Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{50, 50}, Indicator: steer.UEAssistance, Usable: both},
			[2]uint32{2, 3},
			[2]int{},
		},
		{
			"no assistance",
			pfcp.MAR{Indicator: p(uint8(0))},
			steer.Policy{Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{50, 50}, Usable: both},
			[2]uint32{2, 3},
			[2]int{},
		},
		{
			"non-3GPP access is gone",
			pfcp.MAR{Access: [2]*pfcp.AccessForwarding{nil, change(&pfcp.AccessForwarding{Removed: true})}},
			steer.Policy{Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{100, 0}, Usable: steer.SetOf(steer.Access3GPP)},
			[2]uint32{2, 0},
			[2]int{},
		},
		{
			"and back",
			pfcp.MAR{Access: [2]*pfcp.AccessForwarding{nil, {FARID: p(uint32(3)), Weight: p(uint8(50)), URRIDs: []uint32{2}}}},
			steer.Policy{Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{50, 50}, Usable: both},
			[2]uint32{2, 3},
			[2]int{0, 1},
		},
		{
			"URRs of 3GPP access",
			pfcp.MAR{Access: [2]*pfcp.AccessForwarding{change(&pfcp.AccessForwarding{URRIDs: []uint32{1, 2}})}},
			steer.Policy{Mode: steer.LoadBalancing, Priority: none, Weight: [2]uint8{50, 50}, Usable: both},
			[2]uint32{2, 3},
			[2]int{2, 1},
		},
		{
			"to Redundant, whose priorities may be absent",
			pfcp.MAR{Mode: p(uint8(4))},
			steer.Policy{Mode: steer.Redundant, Priority: none, Usable: both},
			[2]uint32{2, 3},
			[2]int{2, 1},
		},
		{"to Active-Standby over the other access", pfcp.MAR{Mode: p(uint8(0)), Access: [2]*pfcp.AccessForwarding{
			change(&pfcp.AccessForwarding{Priority: p(uint8(1))}), change(&pfcp.AccessForwarding{Priority: p(uint8(0)), FARID: p(uint32(2))}),
		}}, steer.Policy{Mode: steer.ActiveStandby, Priority: [2]steer.Priority{steer.Standby, steer.Active}, Usable: both}, [2]uint32{2, 2}, [2]int{2, 1}},
	} {
		tc.up.ID, tc.want.Functionality = 1, steer.MPTCP
		b.modified(seid, tc.up.IE(ie.UpdateMAR))
		mar := b.plane.of(seid).Downlink[0].MAR
		if diff := cmp.Diff(tc.want, mar.Policy); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
		for a, want := range tc.fars {
			if far := mar.FAR[a]; (far == nil) != (want == 0) || far != nil && far.ID != want {
				t.Errorf("%s: access %d has FAR %+v, want %d", tc.name, a, far, want)
			}
			if got := len(mar.URRs[a]); got != tc.urrs[a] {
				t.Errorf("%s: access %d has %d URRs, want %d", tc.name, a, got, tc.urrs[a])
			}
		}
	}
}

// TestAccessUnavailable: an access that the SMF knows to be unavailable carries nothing,
// until the SMF says otherwise or it is measured to be available.
func TestAccessUnavailable(t *testing.T) {
	b := newReportBench(t, "")
	var seid uint64
	for _, i := range b.accepted(b.ask(establishment(1, maSession()))) {
		if i.Type == ie.FSEID {
			f, err := pfcp.ParseFSEID(i)
			if err != nil {
				t.Fatal(err)
			}
			seid = f.SEID
		}
	}
	usable := func(when string, want ...steer.Access) {
		t.Helper()
		if got := b.plane.of(seid).Downlink[0].MAR.Policy.Usable; got != steer.SetOf(want...) {
			t.Errorf("%s: usable %02b, want %02b", when, got, steer.SetOf(want...))
		}
	}
	said := func(access uint8, available bool) *ie.IE {
		return pfcp.AccessAvailability{Access: access, Available: available}.IE()
	}
	event := func(a steer.Access, available bool) {
		b.s.rep.noticed(dataplane.Event{Kind: dataplane.AccessChanged, SEID: seid, Access: a, Available: available})
		b.step()
	}
	usable("at first", steer.Access3GPP, steer.AccessNon3GPP)
	b.modify(seid, said(1, false))
	usable("non-3GPP is unavailable", steer.Access3GPP)
	b.modify(seid, (&pfcp.QER{ID: 1, QFI: p(uint8(8))}).IE(ie.UpdateQER))
	usable("after another modification", steer.Access3GPP)
	b.modify(seid, said(0, false), said(1, true))
	usable("it is the other one now", steer.AccessNon3GPP)
	event(steer.AccessNon3GPP, true)
	event(steer.Access3GPP, false)
	usable("what is measured of it says nothing new", steer.AccessNon3GPP)
	event(steer.Access3GPP, true)
	usable("it is measured to be available", steer.Access3GPP, steer.AccessNon3GPP)
	if n := len(b.take()); n != 0 {
		t.Errorf("%d reports, and no SRR asks for them", n)
	}
}
