package steer

import "time"

// Split is what a steering mode has decided. Each connection or packet flow has a fixed
// point on a line that a cut divides:
//
//	0                    Cut                        Points
//	|---- 3GPP access ----|----- non-3GPP access ------|
//
// A flow moves only when the cut passes over its point, so that a mode which shifts the cut
// by a 16th moves a 16th of the flows, always the same ones, and no other. The zero value
// stands for a decision yet to be made.
type Split struct {
	Cut     uint32 // in [0, Points]: flows whose point is below it go over 3GPP access
	Copies  bool   // each packet goes over the other access as well
	Own     bool   // a connection whose round trips are known decides for itself, by [Policy.Closer]
	Decided bool

	// What the mode remembers.
	Shunned Set                 // accesses that are past a bound, until they are well within it
	Gained  Access              // that the cut was last moved for
	Moved   time.Duration       // when the flows of the line last changed places
	Filled  [NumAccesses]Filled // of LoadBalancing, autonomous
	At      time.Duration       // of the decision
	News    uint32              // [Monitor.News] that it took into account
}

const (
	// decideEvery is the least time between two decisions.
	decideEvery = 100 * time.Millisecond
	// leastStay is the least time for which a flow stays where one of the modes with
	// hysteresis has put it.
	leastStay = time.Second
)

// Due says whether something is known in m that the last decision did not know, and that
// is long enough ago. It costs two comparisons: it may be asked for each packet.
func (p *Policy) Due(now time.Duration, m *Monitor) bool {
	return p.Split.News != m.News() && (now-p.Split.At >= decideEvery || p.Split.At == 0)
}

// Decide has the mode decide anew by what m knows. The packet path reads the outcome in
// p.Split, which belongs to the goroutine that carries p out.
func (p *Policy) Decide(now time.Duration, m *Monitor) {
	p.Split = p.decide(m.State(now))
	p.Split.At, p.Split.News = now, m.News()
}

// unknown is the state of a session of which nothing is known.
var unknown = State{Access: [NumAccesses]AccessState{{Available: true}, {Available: true}}}

// decide is what the mode decides in state s, after p.Split.
func (p *Policy) decide(s *State) Split {
	next := p.mode()(p, s, p.Split)
	if next.Cut != p.Split.Cut && p.Split.Decided {
		next.Moved = s.Now
	}
	next.Decided = true
	return next
}

// mode is the decision function of p's steering mode: what holds in state s, after last.
func (p *Policy) mode() func(p *Policy, s *State, last Split) Split {
	switch {
	case p.Mode == SmallestDelay || p.Mode == SmallestRTTFirst:
		return nearest
	case p.Mode == LoadBalancing && p.Indicator == Autonomous:
		return autonomous
	case p.Mode == LoadBalancing:
		return loadBalancing
	case p.Mode == PriorityBased:
		return priorityBased
	case p.Mode == Redundant:
		return redundant
	case p.Mode == Random:
		return random
	}
	return activeStandby
}

// Measures says whether p reads the quality of accesses: then those are to be measured
// that carry nothing, too.
func (p *Policy) Measures() bool {
	switch p.Mode {
	case SmallestDelay, SmallestRTTFirst, PriorityBased:
		return true
	case LoadBalancing:
		return p.Indicator == Autonomous || p.Indicator == 0 && p.Thresholds != Thresholds{}
	case Redundant:
		return p.Thresholds != Thresholds{}
	case ActiveStandby, Random:
	}
	return false
}

// all is the cut that leaves everything on a.
func all(a Access) uint32 {
	if a == Access3GPP {
		return Points
	}
	return 0
}

// share is the cut that gives 3GPP access so many percent.
func share(percent3GPP uint8) uint32 { return uint32(percent3GPP) * Points / 100 }

// on is how many points are a's.
func (s *Split) on(a Access) uint32 {
	if a == Access3GPP {
		return s.Cut
	}
	return Points - s.Cut
}

// give moves the cut so that n points are a's.
func (s *Split) give(a Access, n uint32) {
	if s.Cut = n; a == AccessNon3GPP {
		s.Cut = Points - n
	}
}

// first is the access that has priority of the two; 3GPP if both have it, or none.
func (p *Policy) first(priority Priority) Access {
	if p.Priority[AccessNon3GPP] == priority && p.Priority[Access3GPP] != priority {
		return AccessNon3GPP
	}
	return Access3GPP
}

// shun brings s.Shunned up to date with the thresholds of p: an access that is past one is
// shunned until it is well within them, for [leastStay] at least. What is measured of one that
// is unavailable is no reason.
func (p *Policy) shun(st *State, s *Split) {
	before := s.Shunned
	for a := range Access(NumAccesses) {
		q := &st.Access[a]
		switch {
		case !q.Available:
		case !s.Shunned.Has(a) && p.Thresholds.past(q):
			s.Shunned |= SetOf(a)
		case s.Shunned.Has(a) && p.Thresholds.back(q) && st.Now-s.Moved >= leastStay:
			s.Shunned &^= SetOf(a)
		}
	}
	if s.Shunned != before {
		s.Moved = st.Now
	}
}

// pace is the least time between two steps of a cut that moves by steps: two round trips,
// so that the next step sees what the last has brought about.
func (s *State) pace() time.Duration {
	return max(interval, 2*max(s.Access[Access3GPP].RTT, s.Access[AccessNon3GPP].RTT))
}
