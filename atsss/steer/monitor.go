package steer

import "time"

// How long measurements hold, and what is called congestion.
const (
	// freshFor is how long the round trips of connections are preferred to the PMF's.
	freshFor = time.Second
	// staleAfter is the age at which a measurement says nothing any more.
	staleAfter = 10 * time.Second
	// baseWindow is half of the time whose shortest round trip is BaseRTT. It is long,
	// since a queue that is never empty would become the base otherwise; the price is that
	// a path that has become longer looks congested for so long.
	baseWindow = 5 * time.Minute
	// interval is what rates and losses are taken over at least, or two round trips, up to
	// mostInterval.
	interval     = 200 * time.Millisecond
	mostInterval = 2 * time.Second
	// askAfter is the age at which the round trip of an access that carries nothing is to
	// be measured again.
	askAfter = time.Second

	// queueBound is the least time in a queue that is congestion: more than the jitter of
	// a radio access, less than what the queue of a full one holds.
	queueBound = 20 * time.Millisecond
	// lossBound is the share of lost packets that is congestion, in 1/10000.
	lossBound = 200
	// lossEvidence is how many bytes it takes to tell a share of losses: one segment of
	// them is less than lossBound.
	lossEvidence = 128 << 10
)

// Monitor gathers what is known of the accesses of one multi-access session, from whoever
// measures: the proxy its connections, the PMF all packets. The zero value knows nothing,
// takes both accesses for available and two words; the rest comes with the first
// measurement. It belongs to one goroutine. Times are those of one monotonic clock.
type Monitor struct {
	reported Set // unavailable by SetAvailable
	silent   Set // unavailable by SetSilent
	news     uint32
	m        *measures
}

// measures are what a Monitor has measured.
type measures struct {
	access    [NumAccesses]measure
	uplink    uint8
	hasUplink bool
	state     State // what State gives
}

// measure is what was measured on one access.
type measure struct {
	traffic, pmf smoothed
	asked        time.Duration    // when Ask last said so
	base         [2]time.Duration // shortest round trip in this window and the last; 0 = none
	baseFrom     time.Duration    // when this window began

	pmfLoss   uint16
	pmfLossAt time.Duration
	hasLoss   bool // pmfLoss is valid

	// Of the interval that goes on.
	from              time.Duration
	delivered, resent int64
	counted           int
	epoch             uint8 // changes with each interval; never 0 in one

	// Of those before.
	rate       int64
	flows      int
	sent, lost int64 // fading: an eighth less with each interval

	congested bool
}

// smoothed is a round-trip time as RFC 6298 §2 smooths it; 0 = not measured.
type smoothed struct{ rtt, last, at time.Duration }

// take takes a round trip. Where the last is stale it begins anew.
func (s *smoothed) take(now, rtt time.Duration) {
	if s.rtt == 0 || now-s.at > freshFor {
		s.rtt = rtt
	}
	s.rtt += (rtt - s.rtt) / 8
	s.last, s.at = rtt, now
}

// know makes room for measurements.
func (m *Monitor) know() *measures {
	if m.m == nil {
		m.m = &measures{}
	}
	return m.m
}

// TrafficRTT takes a round trip of a packet and its acknowledgment on a connection.
func (m *Monitor) TrafficRTT(now time.Duration, a Access, rtt time.Duration) {
	q := &m.know().access[a]
	q.roll(now)
	q.traffic.take(now, rtt)
	q.shortest(now, rtt)
	m.news++
}

// PMFRTT takes a round trip that the PMF measured.
func (m *Monitor) PMFRTT(now time.Duration, a Access, rtt time.Duration) {
	q := &m.know().access[a]
	q.pmf.take(now, rtt)
	q.shortest(now, rtt)
	m.news++
}

// Delivered notes bytes that the UE acknowledged on a connection, which is counted once an
// interval: seen is what the last call for it gave, 0 at first. What comes before the first
// round trip is forgotten.
func (m *Monitor) Delivered(a Access, octets int64, seen uint8) uint8 {
	if m.m == nil {
		return 0
	}
	q := &m.m.access[a]
	q.delivered += octets
	if q.epoch != seen {
		q.counted++
	}
	return q.epoch
}

// Resent notes bytes that were sent to the UE again.
func (m *Monitor) Resent(a Access, octets int64) {
	if m.m != nil {
		m.m.access[a].resent += octets
	}
}

// Ask says whether the round trip of a is so old that it is worth a packet to measure it,
// and takes it that one is sent.
func (m *Monitor) Ask(now time.Duration, a Access) bool {
	q := &m.know().access[a]
	if now-max(q.traffic.at, q.pmf.at, q.asked) < askAfter {
		return false
	}
	q.asked = now
	return true
}

// PMFLoss takes the share of downlink packets that the UE did not get, in 1/10000.
func (m *Monitor) PMFLoss(now time.Duration, a Access, permyriad uint16) {
	q := &m.know().access[a]
	q.pmfLoss, q.pmfLossAt, q.hasLoss = permyriad, now, true
	m.news++
}

// SetAvailable takes the UE's word, or the PMF's, that a can or cannot be used.
func (m *Monitor) SetAvailable(a Access, available bool) {
	m.set(&m.reported, a, !available)
}

// SetSilent notes that the UE does not answer over a, or does again.
func (m *Monitor) SetSilent(a Access, silent bool) { m.set(&m.silent, a, silent) }

// set changes whether a is in s, the accesses unavailable for one of the reasons. What was
// lost on an access while it was unavailable says nothing of it once it is back.
func (m *Monitor) set(s *Set, a Access, on bool) {
	if s.Has(a) == on {
		return
	}
	*s ^= SetOf(a)
	m.news++
	if m.m != nil && m.Available().Has(a) {
		q := &m.m.access[a]
		q.sent, q.lost, q.resent, q.hasLoss, q.congested = 0, 0, 0, false, false
	}
}

// UplinkSplit takes the share of its uplink, in percent, that the UE sends over 3GPP
// access: UE assistance data.
func (m *Monitor) UplinkSplit(percent3GPP uint8) {
	k := m.know()
	k.uplink, k.hasUplink = min(percent3GPP, 100), true
	m.news++
}

// Available is the set of accesses that nobody has said to be unavailable.
func (m *Monitor) Available() Set {
	return SetOf(Access3GPP, AccessNon3GPP) &^ (m.reported | m.silent)
}

// Reported is the set of accesses that SetAvailable has said to be unavailable.
func (m *Monitor) Reported() Set { return m.reported }

// News changes whenever State may give another answer for another reason than time.
func (m *Monitor) News() uint32 { return m.news }

// State says what is known now. It is valid until the next call.
func (m *Monitor) State(now time.Duration) *State {
	k := m.know()
	s := &k.state
	s.Now, s.Uplink, s.HasUplink = now, k.uplink, k.hasUplink
	available := m.Available()
	for a := range s.Access {
		k.access[a].state(now, &s.Access[a])
		s.Access[a].Available = available.Has(Access(a))
	}
	return s
}

// shortest keeps the shortest round trip of the last two windows.
func (q *measure) shortest(now, rtt time.Duration) {
	q.turn(now)
	if q.base[0] == 0 || rtt < q.base[0] {
		q.base[0] = rtt
	}
}

// turn begins the window of now.
func (q *measure) turn(now time.Duration) {
	switch age := now - q.baseFrom; {
	case q.base[0] == 0 || age >= 2*baseWindow:
		q.base, q.baseFrom = [2]time.Duration{}, now
	case age >= baseWindow:
		q.base, q.baseFrom = [2]time.Duration{0, q.base[0]}, now
	}
}

// roll ends the interval if it is over.
func (q *measure) roll(now time.Duration) {
	if q.epoch == 0 || now-q.from >= min(max(interval, 2*q.traffic.rtt), mostInterval) {
		q.end(now)
	}
}

func (q *measure) end(now time.Duration) {
	age := now - q.from
	q.rate, q.flows = 0, 0
	if q.epoch != 0 {
		q.rate, q.flows = int64(float64(q.delivered)/age.Seconds()), q.counted
		q.sent += q.delivered + q.resent
		q.lost += q.resent
	}
	for n := min(age/interval, 64); n > 0; n-- {
		q.sent -= q.sent / 8
		q.lost -= q.lost / 8
	}
	q.from, q.delivered, q.resent, q.counted = now, 0, 0, 0
	q.epoch = max(1, q.epoch+1) // 0 is none
}

// state puts into s what is known of the access.
func (q *measure) state(now time.Duration, s *AccessState) {
	q.roll(now)
	*s = AccessState{Rate: q.rate, Flows: q.flows}
	r := q.traffic
	if now-r.at > freshFor && q.pmf.at > r.at {
		r = q.pmf
	}
	if r.rtt > 0 && now-r.at < staleAfter {
		s.RTT, s.MeasuredAt = r.rtt, r.at
		s.BaseRTT = q.base[0]
		if q.base[1] > 0 && (q.base[0] == 0 || q.base[1] < q.base[0]) {
			s.BaseRTT = q.base[1]
		}
		s.Window = int64(float64(s.Rate) * s.RTT.Seconds())
	}
	s.PLR, s.HasPLR = q.loss(now)
	q.congested = s.congested(q.congested, r.last)
	s.Congested = q.congested
}

// loss is the share of packets lost, in 1/10000, if it is known.
func (q *measure) loss(now time.Duration) (permyriad uint16, ok bool) {
	if q.hasLoss && now-q.pmfLossAt < staleAfter {
		permyriad, ok = q.pmfLoss, true
	}
	if q.sent >= lossEvidence {
		permyriad, ok = max(permyriad, uint16(q.lost*10000/q.sent)), true
	}
	return permyriad, ok
}

// congested says whether an access is congested that was so before, where last is the round
// trip measured last: it alone shows that a path has become shorter, for which the mean and
// the new base are as far apart as for a queue.
func (s *AccessState) congested(before bool, last time.Duration) bool {
	rtt, queue, loss := min(s.RTT, last), max(queueBound, s.BaseRTT/2), uint16(lossBound)
	if before {
		rtt, queue, loss = s.RTT, queue/2, loss/2
	}
	return rtt-s.BaseRTT > queue || s.HasPLR && s.PLR > loss
}
