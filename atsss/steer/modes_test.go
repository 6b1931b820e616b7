package steer

import (
	"testing"
	"time"
)

func TestCloser(t *testing.T) {
	for _, tc := range []struct {
		name         string
		here, there  time.Duration
		stayed       time.Duration
		delay, first bool // Smallest Delay moves, smallest RTT first does
	}{
		{"shorter", 20 * ms, 30 * ms, time.Minute, false, false},
		{"as long", 20 * ms, 20 * ms, time.Minute, false, false},
		{"longer", 100 * ms, 30 * ms, time.Minute, true, true},
		{"longer, too soon", 100 * ms, 30 * ms, leastStay - 1, false, true},
		{"longer, soon enough", 100 * ms, 30 * ms, leastStay, true, true},
		{"longer by less than a quarter", 100 * ms, 76 * ms, time.Minute, false, true},
		{"longer by a quarter", 100 * ms, 75 * ms, time.Minute, true, true},
		{"longer by less than 5 ms", 8 * ms, 4 * ms, time.Minute, false, true},
		{"longer by 5 ms", 9 * ms, 4 * ms, time.Minute, true, true},
		{"not known", 0, 30 * ms, time.Minute, false, false},
		{"the other not known", 100 * ms, 0, time.Minute, false, false},
	} {
		for a := range Access(NumAccesses) {
			var rtt [NumAccesses]time.Duration
			rtt[a], rtt[a.Other()] = tc.here, tc.there
			for mode, moves := range map[Mode]bool{SmallestDelay: tc.delay, SmallestRTTFirst: tc.first} {
				p := Policy{Mode: mode}
				if got := p.Closer(a, rtt, tc.stayed); (got != a) != moves {
					t.Errorf("%s, mode %d, on %v: %v", tc.name, mode, a, got)
				}
			}
		}
	}
}

// TestThresholdsHaveHysteresis: an access that is past a threshold is left until it is well
// within it, and for a second.
func TestThresholdsHaveHysteresis(t *testing.T) {
	b := &bench{policy: Policy{Mode: LoadBalancing, Weight: [2]uint8{70, 30}, Thresholds: bounds, Usable: sets[3]}, now: start}
	for i, step := range []struct {
		rtt    time.Duration
		lasts  time.Duration
		spread string
	}{
		{59 * ms, 5 * time.Second, "70/30"},
		{61 * ms, 5 * time.Second, "0/100"},
		{59 * ms, 5 * time.Second, "0/100"}, // not well within
		{50 * ms, 5 * time.Second, "70/30"},
		{90 * ms, 300 * ms, "0/100"},
		{1 * ms, 600 * ms, "0/100"}, // not for long
		{1 * ms, 600 * ms, "70/30"},
	} {
		b.run([NumAccesses]link{{rtt: step.rtt}, {rtt: 30 * ms}}, step.lasts)
		if got := b.told(); got != step.spread {
			t.Errorf("step %d: round trip of %v: %s, want %s", i, step.rtt, got, step.spread)
		}
	}
}

// TestIndicatorKnowsNoThresholds: they are of fixed weights alone.
func TestIndicatorKnowsNoThresholds(t *testing.T) {
	b := &bench{policy: Policy{Mode: LoadBalancing, Indicator: UEAssistance, Thresholds: bounds, Usable: sets[3]}, now: start}
	b.monitor.UplinkSplit(40)
	b.run([NumAccesses]link{{rtt: 200 * ms}, {rtt: 30 * ms}}, time.Second)
	if got := b.told(); got != "40/60" {
		t.Errorf("%s, want 40/60", got)
	}
}

// TestFlowsGoWhereTheyCan: flows are not shifted to an access whose FAR does not forward, nor,
// if that was not asked for, to one that nothing is known of.
func TestFlowsGoWhereTheyCan(t *testing.T) {
	for _, tc := range []struct {
		name   string
		mode   Mode
		usable Set
		other  link
		cut    uint32
	}{
		{"autonomous, all is well", LoadBalancing, sets[3], link{rtt: 30 * ms}, 0},
		{"autonomous, not measured", LoadBalancing, sets[3], link{gone: true}, Points / 2},
		{"autonomous, not usable", LoadBalancing, SetOf(Access3GPP), link{rtt: 30 * ms}, Points / 2},
		{"priority, all is well", PriorityBased, sets[3], link{rtt: 30 * ms}, spillStep},
		{"priority, not measured", PriorityBased, sets[3], link{gone: true}, spillStep},
		{"priority, not usable", PriorityBased, SetOf(Access3GPP), link{rtt: 30 * ms}, Points},
	} {
		b := &bench{policy: Policy{Mode: tc.mode, Indicator: Autonomous, Priority: [2]Priority{High, Low}, Usable: tc.usable}, now: start}
		b.run([NumAccesses]link{{rtt: 20 * ms}, tc.other}, time.Second)
		for range 200 {
			b.run([NumAccesses]link{{rtt: 20 * ms, full: true}, tc.other}, tick)
			b.monitor.SetAvailable(AccessNon3GPP, true) // nobody has said that it is not
			b.policy.Decide(b.now, &b.monitor)
		}
		if b.policy.Split.Cut != tc.cut {
			t.Errorf("%s: the cut is at %d of %d, want %d", tc.name, b.policy.Split.Cut, Points, tc.cut)
		}
	}
}

// TestOutageIsNoLoss: what was lost while an access was dead does not keep flows away once it
// is back.
func TestOutageIsNoLoss(t *testing.T) {
	for _, p := range []Policy{
		{Mode: PriorityBased, Priority: [2]Priority{High, Low}},
		{Mode: PriorityBased, Priority: [2]Priority{High, Low}, Thresholds: Thresholds{PLR: 5, HasPLR: true}},
		{Mode: LoadBalancing, Weight: [2]uint8{100, 0}, Thresholds: Thresholds{PLR: 5, HasPLR: true}},
	} {
		p.Usable = SetOf(Access3GPP, AccessNon3GPP)
		var m Monitor
		now := start
		pass := func(d time.Duration, each func()) {
			for end := now + d; now < end; now += 50 * ms {
				each()
				if p.Due(now, &m) {
					p.Decide(now, &m)
				}
			}
		}
		var seen [2]uint8
		carry := func(a Access) {
			m.TrafficRTT(now, a, 20*ms)
			seen[a] = m.Delivered(a, 500_000, seen[a])
		}
		pass(5*time.Second, func() { carry(Access3GPP) })
		m.SetSilent(Access3GPP, true)
		pass(5*time.Second, func() {
			carry(AccessNon3GPP)
			m.Resent(Access3GPP, 100_000)
		})
		m.SetSilent(Access3GPP, false)
		pass(500*ms, func() {
			if a, _ := p.Choose(m.Available(), Points/2); a != Access3GPP {
				t.Fatalf("mode %d, thresholds %+v: the flow is on %v, %v after its access is back", p.Mode, p.Thresholds, a, now-start)
			}
			carry(Access3GPP)
		})
	}
}
