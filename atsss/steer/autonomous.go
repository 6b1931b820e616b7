package steer

import "time"

const (
	// An access is much slower than the other if its round trip is longer by so much than
	// the other's would be without a queue, and at least twice as long; until it is longer by
	// half as much only. By two thirds of this it must be longer than the other's is.
	slowBy = 75 * time.Millisecond
	// leastStep is the least part of the line that leaves it at once.
	leastStep = Points / 32
	// boldStep is the part of the line that moves to an access with room to spare, and
	// fineStep where both are full.
	boldStep = Points / 16
	fineStep = Points / 32
	// reverseAfter is the least time before a step undoes the last.
	reverseAfter = 2 * time.Second
)

// Filled is what is known of an access that looked much slower than it was: flows had filled
// its queue.
type Filled struct {
	RTT   time.Duration // as long it may be for that reason
	Until time.Duration // when this is forgotten; 0 = nothing is known
	Left  time.Duration // longest round trip while flows are leaving
}

const (
	// ownQueue is how soon after flows have left an access its round trip is short again if
	// only they made it long.
	ownQueue = 3 * time.Second
	// filledFor is how long that is remembered.
	filledFor = time.Minute
)

// autonomous is Load-Balancing where the UPF chooses the weights (TS 29.244 §8.2.197,
// ALBI), for the most throughput: it begins with halves and shifts flows from an access that
// is congested to one that is not, and where both are, to the one on which a connection gets
// more, so that in the end each gets the same. Where neither is congested the ends, not
// the accesses, bound the throughput, and nothing moves.
//
// An access that has become much slower than the other is left, by half of its flows with
// each step (FlexCP §5.4: 100 ms more, and all leave). If that makes it fast it was their own
// queue, and is no reason to leave it for a while.
func autonomous(p *Policy, s *State, last Split) Split {
	if !last.Decided {
		last.Cut = Points / 2
	}
	last.leaveSlow(s)
	from, to, step, ok := p.shift(s, &last)
	waited := s.Now - last.Moved
	if !ok || waited < s.pace() || to != last.Gained && last.Shunned == 0 && waited < reverseAfter {
		return last
	}
	if n := last.on(from); n > 0 {
		last.give(from, n-min(n, step))
		last.Gained = to
	}
	return last
}

// leaveSlow brings d.Shunned up to date: the access that is much slower than the other.
func (d *Split) leaveSlow(s *State) {
	for a := range Access(NumAccesses) {
		rtt := s.Access[a].RTT
		slow, was := d.slow(s, a), d.Shunned.Has(a)
		switch {
		case slow && !was:
			d.Shunned, d.Filled[a].Left = SetOf(a), rtt
		case slow:
			d.Filled[a].Left = max(d.Filled[a].Left, rtt)
		case was:
			d.Shunned = 0
			if rtt > 0 && s.Now-d.Moved < ownQueue {
				d.Filled[a] = Filled{RTT: d.Filled[a].Left, Until: s.Now + filledFor}
			}
		}
	}
}

// slow says whether a is much slower than the other access, for another reason than a queue
// that it was filled with.
func (d *Split) slow(s *State, a Access) bool {
	here, other := s.Access[a].RTT, &s.Access[a.Other()]
	bound, longer := max(slowBy, other.BaseRTT), here-other.BaseRTT
	if d.Shunned.Has(a) {
		return other.RTT > 0 && longer > bound/2
	}
	own := s.Now < d.Filled[a].Until && here < d.Filled[a].RTT+slowBy
	return other.RTT > 0 && longer > bound && here-other.RTT > bound*2/3 && !own
}

// shift says how many flows should leave which access for which; ok is false if none.
func (p *Policy) shift(s *State, last *Split) (from, to Access, step uint32, ok bool) {
	gpp, non := &s.Access[Access3GPP], &s.Access[AccessNon3GPP]
	switch {
	case last.Shunned != 0:
		if from = Access3GPP; last.Shunned.Has(AccessNon3GPP) {
			from = AccessNon3GPP
		}
		step = max(last.on(from)/2, leastStep)
	case gpp.Congested && non.Congested:
		from, step = Access3GPP, fineStep
		if non.perFlow() < gpp.perFlow() {
			from = AccessNon3GPP
		}
		if low, high := s.Access[from].perFlow(), s.Access[from.Other()].perFlow(); low == 0 || high-low < low/4 {
			return 0, 0, 0, false
		}
	case gpp.Congested || non.Congested:
		if from, step = Access3GPP, boldStep; non.Congested {
			from = AccessNon3GPP
		}
		if a := &s.Access[from]; a.RTT-a.BaseRTT < queueBound/2 && a.perFlow() > s.Access[from.Other()].perFlow() {
			return 0, 0, 0, false // something was lost, and yet connections get more there
		}
	default:
		return 0, 0, 0, false
	}
	to = from.Other()
	// Of an access without a round trip nobody knows that it can be reached.
	return from, to, step, p.Usable.Has(to) && s.Access[to].Available && s.Access[to].RTT > 0
}

// perFlow is what a connection gets on the access, in bytes a second; 0 = not known.
func (a *AccessState) perFlow() int64 {
	if a.Flows == 0 {
		return 0
	}
	return a.Rate / int64(a.Flows)
}
