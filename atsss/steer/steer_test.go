package steer

import (
	"fmt"
	"math"
	"testing"
)

// only lists the answers of a table row by the accesses that are both usable and
// available: none, 3GPP alone, non-3GPP alone, both. "-" is none.
type only [4]string

// sets are all sets of accesses; their values index an [only].
var sets = [4]Set{0, SetOf(Access3GPP), SetOf(AccessNon3GPP), SetOf(Access3GPP, AccessNon3GPP)}

// answer is what p chooses, as in an [only].
func answer(p *Policy, available Set, point uint32) string {
	if a, ok := p.Choose(available, point); ok {
		return a.String()
	}
	return "-"
}

// checkSets asks p with all 16 pairs of usable and available accesses.
func checkSets(t *testing.T, name string, p Policy, point uint32, want only) {
	t.Helper()
	for _, p.Usable = range sets {
		for _, available := range sets {
			if got, want := answer(&p, available, point), want[p.Usable&available]; got != want {
				t.Errorf("%s: usable %02b, available %02b, point %d: %s, want %s", name, p.Usable, available, point, got, want)
			}
		}
	}
}

func TestActiveStandby(t *testing.T) {
	const a3, an = "3gpp", "non-3gpp"
	for _, tc := range []struct {
		name     string
		gpp, non Priority
		want     only
	}{
		{"3GPP active, non-3GPP standby", Active, Standby, only{"-", a3, an, a3}},
		{"3GPP standby, non-3GPP active", Standby, Active, only{"-", a3, an, an}},
		{"3GPP active, no standby", Active, NoStandby, only{"-", a3, "-", a3}},
		{"non-3GPP active, no standby", NoStandby, Active, only{"-", "-", an, an}},
		{"both active", Active, Active, only{"-", a3, an, a3}},
	} {
		p := Policy{Functionality: MPTCP, Mode: ActiveStandby, Priority: [NumAccesses]Priority{tc.gpp, tc.non}}
		for _, point := range []uint32{0, Points / 2, Points - 1} { // of no concern here
			checkSets(t, tc.name, p, point, tc.want)
		}
	}
}

func TestLoadBalancing(t *testing.T) {
	const a3, an = "3gpp", "non-3gpp"
	to3 := only{"-", a3, an, a3}   // 3GPP while it is there
	toNon := only{"-", a3, an, an} // non-3GPP while it is there
	for _, tc := range []struct {
		weight uint8 // of 3GPP
		point  uint32
		want   only
	}{
		{100, 0, to3},
		{100, Points - 1, to3},
		{0, 0, toNon},
		{0, Points - 1, toNon},
		{50, 0, to3},
		{50, Points/2 - 1, to3},
		{50, Points / 2, toNon},
		{50, Points - 1, toNon},
		{1, 0, to3},
		{1, 654, to3},
		{1, 656, toNon},
		{99, 64879, to3},
		{99, 64881, toNon},
	} {
		p := Policy{Functionality: MPTCP, Mode: LoadBalancing, Weight: [NumAccesses]uint8{tc.weight, 100 - tc.weight}}
		checkSets(t, fmt.Sprintf("weight %d", tc.weight), p, tc.point, tc.want)
	}
}

// TestRedundant: the first access of two, and what is left.
func TestRedundant(t *testing.T) {
	const a3, an = "3gpp", "non-3gpp"
	for _, tc := range []struct {
		name     string
		gpp, non Priority
		want     only
	}{
		{"no primary access", NoStandby, NoStandby, only{"-", a3, an, a3}},
		{"3GPP primary", Primary, Secondary, only{"-", a3, an, a3}},
		{"non-3GPP primary", Secondary, Primary, only{"-", a3, an, an}},
	} {
		p := Policy{Functionality: MPTCP, Mode: Redundant, Priority: [NumAccesses]Priority{tc.gpp, tc.non}}
		for _, point := range []uint32{0, Points / 2, Points - 1} { // of no concern here
			checkSets(t, tc.name, p, point, tc.want)
		}
	}
}

// TestLoadBalancingKnowsNoPriority: No-Standby is Active-Standby's; a weight of 0
// still takes what the other access cannot.
func TestLoadBalancingKnowsNoPriority(t *testing.T) {
	p := Policy{
		Mode: LoadBalancing, Weight: [NumAccesses]uint8{100, 0},
		Priority: [NumAccesses]Priority{Active, NoStandby},
	}
	checkSets(t, "weight 100, priorities left over", p, 0, only{"-", "3gpp", "non-3gpp", "3gpp"})
}

// both is a Load-Balancing policy with both accesses usable.
func both(weight3GPP uint8) *Policy {
	return &Policy{Mode: LoadBalancing, Weight: [NumAccesses]uint8{weight3GPP, 100 - weight3GPP}, Usable: sets[3]}
}

// goldenStep is the distance of successive connections, as in atsss/proxy.
const goldenStep = 40503

// connections is the number of connections in the tests of weights.
const connections = 1000

// TestWeightsHold: of the connections that a session opens one after the other, each
// access gets its weight within 2 points, whatever the weight and wherever on the
// line the first one was.
func TestWeightsHold(t *testing.T) {
	for weight := range uint8(101) {
		p := both(weight)
		for _, first := range []uint32{0, 1, Points / 3, Points - 1} {
			n := 0
			for i := range uint32(connections) {
				if a, ok := p.Choose(p.Usable, (first+i*goldenStep)%Points); !ok {
					t.Fatal("no access")
				} else if a == Access3GPP {
					n++
				}
			}
			if got := 100 * float64(n) / connections; math.Abs(got-float64(weight)) > 2 {
				t.Errorf("weight %d, first at %d: 3GPP got %.1f%%", weight, first, got)
			}
		}
	}
}

// TestWeightChangeMovesOnlyBetweenCuts changes the weight and asks for every point:
// those that move are the difference of the weights, lie side by side, and all move
// to the access that gained.
func TestWeightChangeMovesOnlyBetweenCuts(t *testing.T) {
	for _, tc := range []struct{ from, to uint8 }{
		{50, 50}, {50, 51}, {50, 20}, {20, 50}, {0, 100}, {100, 0}, {0, 1}, {99, 100}, {33, 67},
	} {
		before, after := both(tc.from), both(tc.to)
		gained := Access3GPP
		if tc.to < tc.from {
			gained = AccessNon3GPP
		}
		moved, lowest, highest := 0, 0, 0
		for point := range Points {
			a, _ := before.Choose(before.Usable, uint32(point))
			b, _ := after.Choose(after.Usable, uint32(point))
			if a == b {
				continue
			}
			if b != gained {
				t.Fatalf("%d%% to %d%%: point %d moved to %v", tc.from, tc.to, point, b)
			}
			if moved == 0 {
				lowest = point
			}
			highest = point
			moved++
		}
		share := math.Abs(float64(tc.to)-float64(tc.from)) / 100 * Points
		if math.Abs(float64(moved)-share) > 1 {
			t.Errorf("%d%% to %d%%: %d points moved, want %.0f", tc.from, tc.to, moved, share)
		}
		if moved > 0 && highest-lowest+1 != moved {
			t.Errorf("%d%% to %d%%: %d points moved, spread over [%d,%d]", tc.from, tc.to, moved, lowest, highest)
		}
	}
}

// TestFlowComesBack: a flow leaves its access while that is gone, and no other flow
// moves.
func TestFlowComesBack(t *testing.T) {
	p := both(50)
	for point := uint32(0); point < Points; point += 1021 {
		home, _ := p.Choose(p.Usable, point)
		if a, ok := p.Choose(SetOf(home.Other()), point); !ok || a != home.Other() {
			t.Errorf("point %d: %v, %v while %v is gone", point, a, ok, home)
		}
		if a, ok := p.Choose(SetOf(home), point); !ok || a != home {
			t.Errorf("point %d: %v, %v while %v is gone", point, a, ok, home.Other())
		}
		if a, ok := p.Choose(p.Usable, point); !ok || a != home {
			t.Errorf("point %d: %v, %v with both back, was on %v", point, a, ok, home)
		}
	}
}

func TestAccess(t *testing.T) {
	for a, want := range map[Access]string{Access3GPP: "3gpp", AccessNon3GPP: "non-3gpp"} {
		if a.String() != want {
			t.Errorf("access %d is called %q, want %q", uint8(a), a, want)
		}
		if a.Other() == a || a.Other().Other() != a {
			t.Errorf("the other of %v is %v, its other %v", a, a.Other(), a.Other().Other())
		}
		if s := SetOf(a); !s.Has(a) || s.Has(a.Other()) || s != 1<<a {
			t.Errorf("the set of %v is %02b", a, s)
		}
	}
	if s := SetOf(); s != 0 {
		t.Errorf("the empty set is %02b", s)
	}
}

func TestChooseDoesNotAllocate(t *testing.T) {
	p := both(50)
	if n := testing.AllocsPerRun(1000, func() { p.Choose(p.Usable, 1234) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkChoose(b *testing.B) {
	p := both(50)
	point, n := uint32(0), uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		a, _ := p.Choose(p.Usable, point)
		n += uint32(a)
		point = (point + goldenStep) % Points
	}
	_ = n
}
