package smf

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
	"pgregory.net/rapid"

	"github.com/braid-upf/braid/atsss/steer"
)

// testSession is the session of the sample policy.
func testSession() *Session {
	return &Session{
		Name: "ue1", UE: []netip.Addr{netip.MustParseAddr("10.60.0.1"), netip.MustParseAddr("10.60.0.2")},
		DNN: "internet", QFI: 9,
		Steering: Steering{Functionality: steer.MPTCP, Mode: steer.ActiveStandby},
		Accesses: Accesses{
			{Peer: netip.MustParseAddr("10.100.1.2"), TEID: 0x101, Weight: 70, Priority: steer.Active},
			{Peer: netip.MustParseAddr("10.100.2.2"), TEID: 0x201, Weight: 30, Priority: steer.Standby},
		},
	}
}

// render writes IEs as type numbers and bytes, groups indented.
func render(ies []*ie.IE) string {
	var b strings.Builder
	var walk func(ies []*ie.IE, indent string)
	walk = func(ies []*ie.IE, indent string) {
		for _, i := range ies {
			if i.IsGrouped() {
				fmt.Fprintf(&b, "%s%s\n", indent, ieNames[i.Type])
				walk(i.ChildIEs, indent+"  ")
				continue
			}
			fmt.Fprintf(&b, "%s%s %x\n", indent, ieNames[i.Type], i.Payload)
		}
	}
	walk(ies, "")
	return b.String()
}

// The bytes are those of TS 29.244 §8.2, written by hand.
const wantEstablishment = `Create PDR
  PDR ID 0001
  Precedence 000000ff
  PDI
    Source Interface 00
    F-TEID 05
    Network Instance 696e7465726e6574
    UE IP Address 020a3c0001
    UE IP Address 020a3c0002
    3GPP Interface Type 0b
  Outer Header Removal 00
  FAR ID 00000001
  QER ID 00000001
Create PDR
  PDR ID 0002
  Precedence 000000ff
  PDI
    Source Interface 00
    F-TEID 05
    Network Instance 696e7465726e6574
    UE IP Address 020a3c0001
    UE IP Address 020a3c0002
    3GPP Interface Type 0d
  Outer Header Removal 00
  FAR ID 00000001
  QER ID 00000001
Create PDR
  PDR ID 0003
  Precedence 000000ff
  PDI
    Source Interface 01
    Network Instance 696e7465726e6574
    UE IP Address 060a3c0001
  QER ID 00000001
  MAR ID 0001
Create PDR
  PDR ID 0004
  Precedence 000000ff
  PDI
    Source Interface 01
    Network Instance 696e7465726e6574
    UE IP Address 060a3c0002
  QER ID 00000001
  MAR ID 0001
Create FAR
  FAR ID 00000001
  Apply Action 02
  Forwarding Parameters
    Destination Interface 01
    Network Instance 696e7465726e6574
Create FAR
  FAR ID 00000002
  Apply Action 02
  Forwarding Parameters
    Destination Interface 00
    Outer Header Creation 0100000001010a640102
Create FAR
  FAR ID 00000003
  Apply Action 02
  Forwarding Parameters
    Destination Interface 00
    Outer Header Creation 0100000002010a640202
Create QER
  QER ID 00000001
  Gate Status 00
  QFI 09
Create MAR
  MAR ID 0001
  Steering Functionality 01
  Steering Mode 00
  3GPP Access Forwarding Action Information
    FAR ID 00000002
    Priority 00
  Non-3GPP Access Forwarding Action Information
    FAR ID 00000003
    Priority 01
PDN Type 01
`

func TestEstablishmentRules(t *testing.T) {
	got := render(parsed(t, establishmentRules(testSession())))
	if d := cmp.Diff(wantEstablishment, got); d != "" {
		t.Errorf("rules (-want +got):\n%s", d)
	}
}

func TestEstablishmentRulesIPv6(t *testing.T) {
	s := testSession()
	s.UE = []netip.Addr{netip.MustParseAddr("10.60.0.1"), netip.MustParseAddr("fd00:60::1")}
	s.Accesses[steer.Access3GPP].Peer = netip.MustParseAddr("fd00:1::2")
	got := render(parsed(t, establishmentRules(s)))
	for _, want := range []string{
		"F-TEID 06\n", // CHOOSE, V6
		"F-TEID 05\n", // the other tunnel
		"Outer Header Removal 01\n",
		"UE IP Address 01fd000060000000000000000000000001\n",
		"UE IP Address 05fd000060000000000000000000000001\n",
		"Outer Header Creation 020000000101fd000001000000000000000000000002\n",
		"PDN Type 03\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}

func TestModificationRules(t *testing.T) {
	tests := []struct {
		name   string
		change func(s *Session)
		want   string
	}{
		{"nothing", func(*Session) {}, ""},
		{"weights under active-standby", func(s *Session) {
			s.Accesses[0].Weight, s.Accesses[1].Weight = 10, 90
		}, ""},
		{"mode", func(s *Session) { s.Steering.Mode = steer.LoadBalancing }, `Update MAR
  MAR ID 0001
  Steering Mode 02
  Update 3GPP Access Forwarding Action Information
    Weight 46
  Update Non-3GPP Access Forwarding Action Information
    Weight 1e
`},
		{"redundant", func(s *Session) { s.Steering.Mode = steer.Redundant }, `Update MAR
  MAR ID 0001
  Steering Mode 04
  Update 3GPP Access Forwarding Action Information
    Priority 06
  Update Non-3GPP Access Forwarding Action Information
    Priority 06
`},
		{"redundant with a primary access", func(s *Session) {
			s.Steering.Mode, s.Accesses[0].Priority, s.Accesses[1].Priority = steer.Redundant, steer.Secondary, steer.Primary
		}, `Update MAR
  MAR ID 0001
  Steering Mode 04
  Update 3GPP Access Forwarding Action Information
    Priority 06
  Update Non-3GPP Access Forwarding Action Information
    Priority 05
`},
		{"functionality", func(s *Session) { s.Steering.Functionality = steer.ATSSSLL }, `Update MAR
  MAR ID 0001
  Steering Functionality 00
`},
		{"priorities", func(s *Session) {
			s.Accesses[0].Priority, s.Accesses[1].Priority = steer.Standby, steer.Active
		}, `Update MAR
  MAR ID 0001
  Update 3GPP Access Forwarding Action Information
    Priority 01
  Update Non-3GPP Access Forwarding Action Information
    Priority 00
`},
		{"one priority", func(s *Session) { s.Accesses[1].Priority = steer.NoStandby }, `Update MAR
  MAR ID 0001
  Update Non-3GPP Access Forwarding Action Information
    Priority 02
`},
		{"down", func(s *Session) { s.Accesses[0].Down = true }, `Update FAR
  FAR ID 00000002
  Apply Action 01
`},
		{"peer", func(s *Session) { s.Accesses[1].Peer = netip.MustParseAddr("10.100.2.3") }, `Update FAR
  FAR ID 00000003
  Update Forwarding Parameters
    Destination Interface 00
    Outer Header Creation 0100000002010a640203
`},
		{"TEID", func(s *Session) { s.Accesses[0].TEID = 0x999 }, `Update FAR
  FAR ID 00000002
  Update Forwarding Parameters
    Destination Interface 00
    Outer Header Creation 0100000009990a640102
`},
		{"QFI", func(s *Session) { s.QFI = 5 }, `Update QER
  QER ID 00000001
  QFI 05
`},
		{"an access leaves", func(s *Session) { s.Accesses[1] = nil }, `Remove PDR
  PDR ID 0002
Remove FAR
  FAR ID 00000003
Remove MAR
  MAR ID 0001
Create MAR
  MAR ID 0002
  Steering Functionality 01
  Steering Mode 00
  3GPP Access Forwarding Action Information
    FAR ID 00000002
    Priority 00
Update PDR
  PDR ID 0003
  MAR ID 0002
Update PDR
  PDR ID 0004
  MAR ID 0002
`},
		{"priority-based with thresholds", func(s *Session) {
			s.Steering.Mode, s.Accesses[1].Priority = steer.PriorityBased, steer.High
			s.Steering.Thresholds = steer.Thresholds{RTT: 100_000, PLR: 5, HasPLR: true}
		}, `Update MAR
  MAR ID 0001
  Steering Mode 03
  Update 3GPP Access Forwarding Action Information
    Priority 04
  Update Non-3GPP Access Forwarding Action Information
    Priority 03
  Thresholds 03006405
`},
		{"smallest-delay", func(s *Session) { s.Steering.Mode = steer.SmallestDelay }, `Update MAR
  MAR ID 0001
  Steering Mode 01
`},
		{"autonomous", func(s *Session) {
			s.Steering.Mode, s.Steering.Indicator = steer.LoadBalancing, steer.Autonomous
		}, `Update MAR
  MAR ID 0001
  Steering Mode 02
  Update 3GPP Access Forwarding Action Information
    Weight 46
  Update Non-3GPP Access Forwarding Action Information
    Weight 1e
  Steering Mode Indicator 01
`},
		{"other traffic", func(s *Session) {
			s.Other = &Other{Steering: Steering{Functionality: steer.ATSSSLL, Mode: steer.LoadBalancing, Indicator: steer.UEAssistance}}
		}, `Create MAR
  MAR ID 0003
  Steering Functionality 00
  Steering Mode 02
  3GPP Access Forwarding Action Information
    FAR ID 00000002
    Weight 46
  Non-3GPP Access Forwarding Action Information
    FAR ID 00000003
    Weight 1e
  Steering Mode Indicator 02
Update PDR
  PDR ID 0003
  MAR ID 0003
Update PDR
  PDR ID 0004
  MAR ID 0003
Create PDR
  PDR ID 0005
  Precedence 00000080
  PDI
    Source Interface 01
    Network Instance 696e7465726e6574
    UE IP Address 060a3c0001
    SDF Filter 010000217065726d6974206f757420362066726f6d20616e7920746f2061737369676e6564
  QER ID 00000001
  MAR ID 0001
  MPTCP Applicable Indication 01
Create PDR
  PDR ID 0006
  Precedence 00000080
  PDI
    Source Interface 01
    Network Instance 696e7465726e6574
    UE IP Address 060a3c0002
    SDF Filter 010000217065726d6974206f757420362066726f6d20616e7920746f2061737369676e6564
  QER ID 00000001
  MAR ID 0001
  MPTCP Applicable Indication 01
`},
		{"reports", func(s *Session) { s.Reports.AccessAvailability = true }, `Create SRR
  SRR ID 01
  Access Availability Control Information
    Requested Access Availability Information 01
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := testSession()
			tt.change(want)
			ies, _ := modificationRules(testSession(), want, firstMARs(testSession()))
			if d := cmp.Diff(tt.want, render(parsed(t, ies))); d != "" {
				t.Errorf("rules (-want +got):\n%s", d)
			}
		})
	}
}

// TestProvide: what the UPF is asked to provide, as TS 29.244 §8.2.154 to §8.2.156 have it.
func TestProvide(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    ATSSS
		want string
	}{
		{"nothing", ATSSS{}, ""},
		{"all", ATSSS{MPTCP: true, ATSSSLL: true, PMF: &PMF{}}, `Provide ATSSS Control Information
  MPTCP Control Information 01
  ATSSS-LL Control Information 01
  PMF Control Information 0100
`},
		{"PMF of QoS flows, round trips without it", ATSSS{PMF: &PMF{NoRTT: true, QFIs: []uint8{9, 5}}}, `Provide ATSSS Control Information
  PMF Control Information 07020905
`},
	} {
		if d := cmp.Diff(tt.want, render(parsed(t, tt.a.provide()))); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func TestModificationRulesBack(t *testing.T) {
	one, two, down := testSession(), testSession(), testSession()
	one.Accesses[1] = nil
	down.Accesses[0].Down = true
	down.Accesses[0].TEID = 0x777
	three := testSession()
	three.Other, three.Reports.AccessAvailability = &Other{Steering: Steering{Mode: steer.SmallestDelay}}, true
	three.Steering.Thresholds = steer.Thresholds{RTT: 1000}
	ies, mars := modificationRules(three, two, marIDs{1, 4})
	want := `Update MAR
  MAR ID 0001
  Thresholds 00
Remove MAR
  MAR ID 0004
Update PDR
  PDR ID 0003
  MAR ID 0001
Update PDR
  PDR ID 0004
  MAR ID 0001
Remove PDR
  PDR ID 0005
Remove PDR
  PDR ID 0006
Remove SRR
  SRR ID 01
`
	if d := cmp.Diff(want, render(parsed(t, ies))); d != "" || mars != (marIDs{1}) {
		t.Errorf("no other steering any more: MARs %v, rules (-want +got):\n%s", mars, d)
	}
	ies, mars = modificationRules(one, two, marIDs{2})
	want = `Create PDR
  PDR ID 0002
  Precedence 000000ff
  PDI
    Source Interface 00
    F-TEID 05
    Network Instance 696e7465726e6574
    UE IP Address 020a3c0001
    UE IP Address 020a3c0002
    3GPP Interface Type 0d
  Outer Header Removal 00
  FAR ID 00000001
  QER ID 00000001
Create FAR
  FAR ID 00000003
  Apply Action 02
  Forwarding Parameters
    Destination Interface 00
    Outer Header Creation 0100000002010a640202
Update MAR
  MAR ID 0002
  Non-3GPP Access Forwarding Action Information
    FAR ID 00000003
    Priority 01
`
	if d := cmp.Diff(want, render(parsed(t, ies))); d != "" || mars != (marIDs{2}) {
		t.Errorf("an access joins: MARs %v, rules (-want +got):\n%s", mars, d)
	}
	ies, _ = modificationRules(down, two, marIDs{1})
	want = `Update FAR
  FAR ID 00000002
  Apply Action 02
  Update Forwarding Parameters
    Destination Interface 00
    Outer Header Creation 0100000001010a640102
`
	if d := cmp.Diff(want, render(parsed(t, ies))); d != "" {
		t.Errorf("an access is up again (-want +got):\n%s", d)
	}
}

// TestModificationRulesRandom: modifying a UPF's session step by step leaves it
// with the same effect as establishing it anew.
func TestModificationRulesRandom(t *testing.T) {
	modified := 0
	rapid.Check(t, func(t *rapid.T) {
		have := randomSession(t)
		mars := firstMARs(&have)
		store := &ruleStore{}
		if err := store.apply(parsed(t, establishmentRules(&have))); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 5).Draw(t, "steps") {
			want := randomSession(t)
			want.UE, want.DNN, want.ATSSS = have.UE, have.DNN, have.ATSSS
			if mustReplace(&have, &want) {
				t.Fatal("nothing asks for a replacement")
			}
			var ies []*ie.IE
			ies, mars = modificationRules(&have, &want, mars)
			if err := store.apply(parsed(t, ies)); err != nil {
				t.Fatalf("%v; rules:\n%s", err, render(ies))
			}
			fresh := &ruleStore{}
			if err := fresh.apply(parsed(t, establishmentRules(&want))); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(fresh.effect(), store.effect()); d != "" {
				t.Fatalf("effect (-new session +modified session):\n%s\nrules:\n%s", d, render(ies))
			}
			have = want.clone()
			modified++
		}
	})
	if modified == 0 {
		t.Error("no step was taken")
	}
}

func TestMustReplace(t *testing.T) {
	for name, change := range map[string]func(s *Session){
		"UE address": func(s *Session) { s.UE[1] = netip.MustParseAddr("10.60.0.3") },
		"UE count":   func(s *Session) { s.UE = s.UE[:1] },
		"DNN":        func(s *Session) { s.DNN = "ims" },
		"IP version": func(s *Session) { s.Accesses[0].Peer = netip.MustParseAddr("fd00::1") },
		"ATSSS":      func(s *Session) { s.ATSSS.ATSSSLL = true },
		"PMF":        func(s *Session) { s.ATSSS.PMF = &PMF{} },
	} {
		want := testSession()
		change(want)
		if !mustReplace(testSession(), want) {
			t.Errorf("%s: not replaced", name)
		}
	}
	other := testSession()
	other.Steering.Mode, other.Accesses[1], other.QFI = steer.LoadBalancing, nil, 1
	if mustReplace(testSession(), other) {
		t.Error("what a modification can do: replaced")
	}
}
