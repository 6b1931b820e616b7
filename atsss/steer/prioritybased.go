package steer

import "time"

const (
	// spillStep is the part of the line that moves at once to the low priority access, and
	// backStep that comes back at once.
	spillStep = Points / 16
	backStep  = Points / 8
	// calm is how long the high priority access must have done without congestion before
	// flows come back to it, step by step.
	calm = time.Second
)

// priorityBased leaves everything on the access of high priority until that is congested, or
// past a threshold; then it spills flows to the other, a step each [State.pace], while that
// is neither, and takes them back once the high one has room (TS 23.501 §5.32.8). As long as
// congestion alone makes them go, some flows stay: the high one is to be full, not empty. A
// threshold makes all of them go, by halves of those that are left. While the high one is
// unavailable nothing is decided: everything is on the other, and goes back at once.
func priorityBased(p *Policy, s *State, last Split) Split {
	high := p.first(High)
	low := high.Other()
	if !last.Decided {
		last.Cut = all(high)
	}
	p.shun(s, &last)
	pressed := func(a Access) bool { return s.Access[a].Congested || last.Shunned.Has(a) }
	spilled, waited := last.on(low), s.Now-last.Moved
	step, most := uint32(spillStep), uint32(Points-spillStep)
	if last.Shunned.Has(high) {
		step, most = max(step, last.on(high)/2), Points
	}
	switch {
	case waited < s.pace(), !s.Access[high].Available:
	case pressed(high) && !pressed(low):
		if p.Usable.Has(low) && s.Access[low].Available && spilled < most {
			last.give(low, min(spilled+step, most))
		}
	case !pressed(high) && (waited >= calm || pressed(low)):
		last.give(low, spilled-min(spilled, backStep))
	}
	return last
}
