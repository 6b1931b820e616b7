package steer

import "time"

// redundant sends everything over both accesses, and calls the primary one the first. With
// thresholds (Release 18), which bound what one access must be like to do alone, copies are
// sent only while none is known to be well within them.
//
// What TS 23.501 §5.32.8 says of the thresholds of this mode was not to be had: this is our
// reading of what they are for.
func redundant(p *Policy, s *State, last Split) Split {
	first := p.first(Primary)
	last.Cut, last.Copies = all(first), true
	if p.Thresholds == (Thresholds{}) {
		return last
	}
	was := last.Shunned
	last.Shunned = 0
	for a := range Access(NumAccesses) {
		if !p.Thresholds.met(&s.Access[a]) || was.Has(a) && !p.Thresholds.back(&s.Access[a]) {
			last.Shunned |= SetOf(a)
		}
	}
	for _, a := range [NumAccesses]Access{first.Other(), first} {
		if !last.Shunned.Has(a) {
			last.Cut, last.Copies = all(a), false
		}
	}
	return last
}

// met says whether a is known to be within t.
func (t Thresholds) met(a *AccessState) bool {
	return a.Available && (t.RTT == 0 || a.RTT > 0 && a.RTT <= time.Duration(t.RTT)*time.Microsecond) &&
		(!t.HasPLR || a.HasPLR && int(a.PLR) <= int(t.PLR)*100)
}
