package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// ModesFromSeed draws the scenario of FromSeed with all steering modes among its policies,
// and what the PMF and the UE say of the accesses.
func ModesFromSeed(seed uint64) Config {
	cfg, g := FromSeed(seed), generator{rand.New(rand.NewPCG(seed, 0x30de5))}
	cfg.Policy = g.anyMode()
	for i, e := range cfg.Events {
		if e.What == policyEvent && g.chance(0.8) {
			cfg.Events[i] = setPolicy(e.At, g.anyMode())
		}
	}
	if g.chance(0.3) {
		at := g.between(0, time.Second)
		for range 1 + g.IntN(5) {
			d := g.between(50*time.Millisecond, 2*time.Second)
			cfg.Events = append(cfg.Events, reported(at, d, steer.Access(g.IntN(2)))...)
			at += g.between(0, 2*d)
		}
		for i := range cfg.Conns {
			cfg.Conns[i].ServeTCP.mayRenege = true // what is on its way there is SACKed after it was sent again elsewhere
		}
	}
	for range g.IntN(8) {
		cfg.Events = append(cfg.Events, g.hearsay())
	}
	return cfg
}

// anyMode draws a policy of any mode.
func (g generator) anyMode() steer.Policy {
	p := steer.Policy{Functionality: steer.MPTCP, Usable: bothUsable}
	first := steer.Access(g.IntN(2))
	set := func(one, other steer.Priority) { p.Priority[first], p.Priority[first.Other()] = one, other }
	if g.chance(0.4) {
		p.Thresholds.RTT = uint32(g.IntN(200_000))
	}
	if g.chance(0.3) {
		p.Thresholds.PLR, p.Thresholds.HasPLR = uint8(g.IntN(10)), true
	}
	switch g.IntN(8) {
	case 0:
		set(steer.Active, steer.Standby)
	case 1:
		set(steer.Active, steer.NoStandby)
	case 2:
		p.Mode = steer.SmallestDelay
	case 3:
		p.Mode, p.Indicator = steer.LoadBalancing, steer.Indicator(g.IntN(3))
		p.Weight[first] = uint8(g.IntN(101))
		p.Weight[first.Other()] = 100 - p.Weight[first]
	case 4:
		p.Mode = steer.PriorityBased
		set(steer.High, steer.Low)
	case 5:
		p.Mode = steer.Redundant
		set(steer.Primary, steer.Secondary)
	case 6:
		p.Mode = steer.Random
	case 7:
		p.Mode = steer.SmallestRTTFirst
	}
	return p
}

// tell is an event of which the session's monitor hears.
func tell(at time.Duration, what string, do func(m *steer.Monitor, now time.Duration)) Event {
	return Event{at, what, func(w *world) {
		if t, ok := w.middle.(*translator); ok {
			do(&t.session.Monitor, time.Duration(t.now()))
		}
	}}
}

// reported has the UE say that it cannot use an access for some time, though it works.
func reported(at, d time.Duration, a steer.Access) []Event {
	say := func(available bool) func(*steer.Monitor, time.Duration) {
		return func(m *steer.Monitor, _ time.Duration) { m.SetAvailable(a, available) }
	}
	return []Event{
		tell(at, fmt.Sprintf("UE reports %v unavailable", a), say(false)),
		tell(at+d, fmt.Sprintf("UE reports %v available", a), say(true)),
	}
}

// hearsay is a measurement of the PMF, true or not, or the UE's assistance.
func (g generator) hearsay() Event {
	at, a := g.between(0, 3*time.Second), steer.Access(g.IntN(2))
	rtt, loss, split := g.between(time.Millisecond, 300*time.Millisecond), uint16(g.IntN(2000)), uint8(g.IntN(101))
	switch g.IntN(3) {
	case 0:
		return tell(at, fmt.Sprintf("PMF: %v takes %v", a, rtt), func(m *steer.Monitor, now time.Duration) { m.PMFRTT(now, a, rtt) })
	case 1:
		return tell(at, fmt.Sprintf("PMF: %v loses %d/10000", a, loss), func(m *steer.Monitor, now time.Duration) { m.PMFLoss(now, a, loss) })
	}
	return tell(at, fmt.Sprintf("UE sends %d %% over 3GPP", split), func(m *steer.Monitor, _ time.Duration) { m.UplinkSplit(split) })
}
