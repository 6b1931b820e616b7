// Package steer decides which access carries the downlink traffic of a
// multi-access PDU session: the steering modes of TS 23.501 §5.32.8 over the
// state of the two accesses.
//
// It knows no packets: a [Policy] is compiled from a multi-access rule (MAR,
// TS 29.244 §5.20), and a [Monitor] gathers what others measure of the accesses. A mode is
// one function from the [State] of the accesses, and what held before, to a [Split]. It
// decides at events, never for a packet: a packet's access is a comparison of its flow's
// point with the split in force ([Policy.Choose]).
//
// docs/STEERING.md has a table of what each mode does when an access appears, disappears,
// becomes slow or becomes lossy; a test generates it.
package steer

// Access is one of the two accesses of a multi-access PDU session
// (TS 29.244 §8.2.219, access type).
type Access uint8

// The accesses; the values index arrays of length [NumAccesses].
const (
	Access3GPP    Access = 0
	AccessNon3GPP Access = 1
	NumAccesses          = 2
)

// String gives the name that the lab, the API and the logs use.
func (a Access) String() string {
	if a == AccessNon3GPP {
		return "non-3gpp"
	}
	return "3gpp"
}

// Other is the access that a is not.
func (a Access) Other() Access { return a ^ 1 }

// Functionality is the steering functionality of a MAR (TS 29.244 §8.2.124).
type Functionality uint8

// Steering functionalities.
const (
	ATSSSLL Functionality = 0
	MPTCP   Functionality = 1
)

// Mode is the steering mode of a MAR (TS 29.244 §8.2.125).
type Mode uint8

// Steering modes of the standard.
const (
	ActiveStandby Mode = 0
	SmallestDelay Mode = 1
	LoadBalancing Mode = 2
	PriorityBased Mode = 3
	Redundant     Mode = 4 // Release 18
)

// FlexCP's own policies (§4.3 of the paper), which no SMF can ask for.
const (
	Random           Mode = 0x80 // each connection stays on an access that chance gives it
	SmallestRTTFirst Mode = 0x81 // each connection on the access whose round trip is the shortest now
)

// Priority is the priority of an access in a MAR (TS 29.244 §8.2.127).
type Priority uint8

// Priorities for Active-Standby.
const (
	Active    Priority = 0
	Standby   Priority = 1
	NoStandby Priority = 2
)

// Priorities for Priority-based.
const (
	High Priority = 3
	Low  Priority = 4
)

// Priorities for Redundant (Release 18).
const (
	Primary   Priority = 5
	Secondary Priority = 6
)

// Indicator is the steering mode indicator of a MAR with Load-Balancing (TS 29.244
// §8.2.197): at most one of the bits.
type Indicator uint8

// Steering mode indicators.
const (
	Autonomous   Indicator = 1 << 0 // ALBI: the weights are the UPF's to choose
	UEAssistance Indicator = 1 << 1 // UEAI: the UE says how it splits its uplink
)

// Thresholds bound what an access may be like before a mode leaves it (TS 29.244 §8.2.196).
type Thresholds struct {
	RTT    uint32 // longest round trip, in microseconds; 0 = no bound
	PLR    uint8  // most packets lost, in percent; valid if HasPLR
	HasPLR bool
}

// Set is a set of accesses, bit 1<<Access.
type Set uint8

// SetOf is the set with the given accesses.
func SetOf(as ...Access) Set {
	var s Set
	for _, a := range as {
		s |= 1 << a
	}
	return s
}

// Has says whether a is in s.
func (s Set) Has(a Access) bool { return s>>a&1 != 0 }

// Points is the number of points that connections or packet flows are spread
// over; see [Policy.Choose].
const Points = 1 << 16

// Policy is a MAR compiled for the packet path. But for Split it is immutable once in use.
type Policy struct {
	Functionality Functionality
	Mode          Mode
	Weight        [NumAccesses]uint8    // percent, LoadBalancing; sums to 100
	Priority      [NumAccesses]Priority // ActiveStandby, PriorityBased, Redundant
	Indicator     Indicator             // LoadBalancing
	Thresholds    Thresholds            // LoadBalancing without indicator, PriorityBased, Redundant
	Usable        Set                   // accesses whose FAR is there and forwards

	// Split is what the mode has decided. It changes in use, by the one goroutine that
	// carries the policy out, for one session. A new policy has the zero value, also one
	// that was copied from another.
	Split Split
}

// Choose names the access for new data of a connection or packet flow; with Split.Copies
// the first of two: copies go on the other.
//
// available holds the accesses that the flow can use now (it has a subflow there,
// the access answers); accesses outside p.Usable are never chosen. point, in
// [0, Points), is the flow's fixed place on the line that [Split] cuts: a flow moves only
// when its access goes or the cut passes over it.
// ok is false when no access can be used.
func (p *Policy) Choose(available Set, point uint32) (a Access, ok bool) {
	return p.OrOther(available, p.Preferred(point))
}

// OrOther is a, or where a cannot be used the other access if it may be: what [Policy.Choose]
// makes of the access that a flow prefers.
func (p *Policy) OrOther(available Set, a Access) (Access, bool) {
	available &= p.Usable
	if available.Has(a) {
		return a, true
	}
	if p.Mode == ActiveStandby && p.Priority[a.Other()] == NoStandby {
		return a, false
	}
	return a.Other(), available.Has(a.Other())
}

// Preferred is the access that [Policy.Choose] names where every access can be used.
func (p *Policy) Preferred(point uint32) Access {
	if !p.Split.Decided {
		p.Split = p.decide(&unknown)
	}
	if point < p.Split.Cut {
		return Access3GPP
	}
	return AccessNon3GPP
}

// Decision is the answer of a steering policy that a program gives for one connection.
type Decision struct {
	Access    Access // for new data, while it is of use
	Redundant bool   // copies go on the other access
}

// Priorities are those of the mode that carries d out: Redundant, or Active-Standby.
func (d Decision) Priorities() (p [NumAccesses]Priority) {
	first, second := Active, Standby
	if d.Redundant {
		first, second = Primary, Secondary
	}
	p[d.Access], p[d.Access.Other()] = first, second
	return p
}
