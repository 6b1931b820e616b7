package steer

import "time"

// State is what is known of the accesses of a session at one time; see [Monitor.State].
type State struct {
	Now    time.Duration // monotonic
	Access [NumAccesses]AccessState

	// Uplink is the share of its uplink, in percent, that the UE says it sends over 3GPP
	// access (UE assistance data, TS 24.193 §5.4); valid if HasUplink.
	Uplink    uint8
	HasUplink bool
}

// AccessState is the quality of one access, towards the UE and back. It joins what the
// proxied connections show with what the PMF measured.
type AccessState struct {
	// Available: nobody has said that it is not, neither the UE by PMFP nor the proxy,
	// which has asked in vain. It says nothing of the FAR, which is [Policy.Usable]'s.
	Available bool

	// RTT is the smoothed round-trip time from the UPF to the UE, what waits in queues
	// included, and BaseRTT the shortest lately, without them; 0 = not measured in
	// [staleAfter]. RTT is that of connections if it was measured within [freshFor], else
	// whichever is the younger of theirs and the PMF's.
	RTT, BaseRTT time.Duration
	MeasuredAt   time.Duration // when RTT was measured last; valid if RTT is

	// PLR is the share of packets that are lost, in 1/10000: the greater of what the PMF
	// counted and of the bytes that connections sent again. Valid if HasPLR.
	PLR    uint16
	HasPLR bool

	Rate   int64 // bytes a second that proxied connections were acknowledged lately
	Flows  int   // connections of which these were
	Window int64 // bytes acknowledged in a round trip: what the access holds; 0 = not known

	// Congested: packets wait in a queue for longer than [queueBound] or half the BaseRTT,
	// whichever is more, or more than [lossBound] are lost; until both are at less than
	// half of it.
	Congested bool
}

// past says whether a is known to be past t: no mode wants more than t allows.
func (t Thresholds) past(a *AccessState) bool { return t.beyond(a, 8) }

// back says whether a, which was past t, is well within it again: an eighth below it.
func (t Thresholds) back(a *AccessState) bool { return !t.beyond(a, 7) }

// beyond says whether a is past so many eighths of t.
func (t Thresholds) beyond(a *AccessState, eighths int) bool {
	return t.RTT > 0 && a.RTT > time.Duration(t.RTT)*time.Microsecond*time.Duration(eighths)/8 ||
		t.HasPLR && a.HasPLR && int(a.PLR) > int(t.PLR)*100*eighths/8
}
