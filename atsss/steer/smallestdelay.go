package steer

import "time"

const (
	// leastGain is how much shorter the round trip of the other access must be, with
	// Smallest Delay, and at least a gainShare-th part of the present one.
	leastGain = 5 * time.Millisecond
	gainShare = 4
)

// nearest leaves what does not decide for itself on the access with the shorter round trip,
// beginning with 3GPP.
func nearest(p *Policy, s *State, last Split) Split {
	on := Access3GPP
	if last.Decided && last.Cut == 0 {
		on = AccessNon3GPP
	}
	rtt := [NumAccesses]time.Duration{s.Access[Access3GPP].RTT, s.Access[AccessNon3GPP].RTT}
	last.Cut = all(p.Closer(on, rtt, s.Now-last.Moved))
	last.Own = true
	return last
}

// Closer is the access for what has stayed on a for so long, where the round trips are those
// of rtt, 0 = not known. Smallest Delay moves only for a gain that is worth it and that is no
// chance; [SmallestRTTFirst] for any. What is not known is no reason to move.
func (p *Policy) Closer(a Access, rtt [NumAccesses]time.Duration, stayed time.Duration) Access {
	here, there := rtt[a], rtt[a.Other()]
	if here == 0 || there == 0 || here <= there {
		return a
	}
	if p.Mode != SmallestRTTFirst && (stayed < leastStay || here-there < max(leastGain, here/gainShare)) {
		return a
	}
	return a.Other()
}
