package proxy

import (
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
)

const (
	microsecond Time = 1e3
	millisecond Time = 1e6
)

const (
	// initialRTO stands for a subflow's retransmission time until its RTT is known
	// (RFC 6298 §2 says 1 s for a sender; here it only delays a probe).
	initialRTO = 200 * millisecond
	// minRTO is the least time without an answer before a path is asked: a common
	// delayed ACK (40 ms in Linux) is not worth a probe.
	minRTO = 40 * millisecond
	// probeInterval is how often a silent access is asked whether it answers again,
	// and a probe of either end is passed on.
	probeInterval = 200 * millisecond
	// maxRepeats is how often a server may repeat the data that a subflow's UE waits
	// for, without progress there, before the subflow is avoided: its access may
	// answer and yet not carry data (RFC 9293 §3.8.3 R1 is 3).
	maxRepeats = 3
	// maxRTT is the longest round trip that is told from longer ones, in microseconds.
	maxRTT = 1 << 30
	// maxBackoff is how often the RTO, and the time between probes of an access, double.
	maxBackoff = 5
	// maxFINs is how often our FIN is sent to a UE that does not answer (Linux sends its own
	// as often, tcp_orphan_retries).
	maxFINs = 8
)

// accessState is what is known of one access of a session.
type accessState struct {
	heard  Time // when a packet of the UE last came over it
	silent Time // since when data are outstanding and probes are not answered; 0 = not so
}

// path is what is measured on one subflow, downlink.
type path struct {
	srtt, rttvar uint32 // in microseconds (RFC 6298); 0 = not measured
	timedAt      uint32 // when the byte before timedSSN was sent, in microseconds, low half; 0 = none is timed
	timedSSN     uint32 // low half
	waiting      stamp  // since when data are outstanding without progress; 0 = none are
	probed       stamp  // when the last probe was sent; 0 = none since the last progress
	repeated     stamp  // when the last of repeats was counted
	repeats      uint8  // of the byte at acked by the server, since the last progress
	backoff      uint8  // of probes, since the last progress
	doubled      uint8  // times that the RTO is doubled, since the last sample
	provoked     uint8  // packets sent that the UE answers with a duplicate ACK

	recovering bool   // new data stay away until recoverTo is acknowledged
	recoverTo  uint32 // low half of an SSN
	fillNext   uint32 // low half of the SSN from which filling goes on
	filled     stamp  // when the last round of filling began
	moved      stamp  // when acked last moved on
	window     uint32 // most bytes in flight, lately
	plugged    stamp  // when a hole was last plugged
	fillLeft   int16  // segments that may still be filled in this round
	fillSize   int16  // segments of the last round
}

// stalled says that the server repeated data maxRepeats times in vain.
func (t *path) stalled() bool { return t.repeats >= maxRepeats }

// rtt is the smoothed round-trip time; 0 = not measured.
func (t *path) rtt() Time { return microsecond * Time(t.srtt) }

// patience is the time after which an answer is worth asking for.
func (t *path) patience() Time { return t.await(2) }

// rto is the time within which an answer is certain to come if any does. A timeout doubles
// it until the round trip is measured again (RFC 6298 §5.5, §5.7): what was sent twice gives
// no sample, and where the access has become slower than this all would be sent twice.
func (t *path) rto() Time { return t.await(4) }

// await is the round trip and so many deviations.
func (t *path) await(deviations Time) Time {
	d := initialRTO
	if t.srtt != 0 {
		d = max(minRTO, t.rtt()+deviations*microsecond*Time(t.rttvar))
	}
	return d << t.doubled
}

// backedOff is the time between two attempts at getting an answer.
func (t *path) backedOff() Time { return t.rto() << min(t.backoff, maxBackoff-t.doubled) }

// time starts the measurement of a round trip with the bytes up to ssn, sent now,
// unless one is under way.
func (t *path) time(ssn int64, now Time) {
	if t.timedAt == 0 {
		t.timedSSN, t.timedAt = uint32(ssn), max(1, uint32(now/microsecond))
	}
}

// untime gives the measurement up: what is timed may be sent twice (Karn's rule,
// RFC 6298 §3).
func (t *path) untime() { t.timedAt = 0 }

// progress takes an acknowledgment up to ack, above f.acked.
func (t *path) progress(f *Subflow, ack int64, now Time) {
	if t.timedAt != 0 && int32(uint32(ack)-t.timedSSN) >= 0 {
		rtt := microsecond * Time(uint32(now/microsecond)-t.timedAt)
		t.sample(rtt)
		t.timedAt = 0
		t.window = max(t.window-t.window/4, uint32(f.next-f.acked))
		f.conn.session.proxy.measured(f, ack, rtt)
	}
	t.heard(f, now)
	if ack >= f.next {
		t.waiting = 0
	}
	t.moved = now.stamp()
	t.fillLeft = min(t.fillLeft+2, maxFill)
	if t.recovering && int32(uint32(ack)-t.recoverTo) >= 0 {
		t.recovering, t.fillSize = false, 0
		f.conn.refresh()
	}
}

// heard notes an acknowledgment, cumulative or selective, of new data.
func (t *path) heard(f *Subflow, now Time) {
	stalled := t.stalled()
	t.waiting, t.probed, t.backoff, t.repeats = now.stamp(), 0, 0, 0
	if stalled {
		f.conn.refresh()
	}
}

// repeated notes that the server sends the data of ssn again.
func (s *Subflow) repeated(ssn int64, now Time) {
	t := &s.path
	if ssn != s.acked || now.since(t.repeated) < t.rto() {
		return
	}
	t.repeated = now.stamp()
	if !t.stalled() {
		if t.repeats++; t.stalled() {
			s.conn.refresh()
		}
	}
}

// sample takes a round trip (RFC 6298 §2).
func (t *path) sample(rtt Time) {
	us := min(rtt/microsecond, maxRTT)
	t.doubled = 0
	if t.srtt == 0 {
		t.srtt, t.rttvar = uint32(us), uint32(us/2)
		return
	}
	srtt, rttvar := Time(t.srtt), Time(t.rttvar)
	rttvar += (max(srtt-us, us-srtt) - rttvar) / 4
	srtt += (us - srtt) / 8
	t.srtt, t.rttvar = uint32(srtt), uint32(rttvar)
}

// Answers says whether access a is not known to be silent, nor said to be unavailable.
func (s *Session) Answers(a steer.Access) bool {
	return s.access[a].silent == 0 && !s.Monitor.Reported().Has(a)
}

// Heard notes a packet of the UE over access a of s: it answers. Uplink does so itself.
func (p *Proxy) Heard(now Time, s *Session, a steer.Access) {
	t := &s.access[a]
	t.heard = now
	if t.silent != 0 {
		t.silent = 0
		s.Monitor.SetSilent(a, false)
		p.count.PathReturned++
	}
}

// Unavailable notes that access a of s carries nothing, as somebody else has found out or
// the UE has said: connections leave it as if they had asked in vain themselves.
func (p *Proxy) Unavailable(now Time, s *Session, a steer.Access) {
	if t := &s.access[a]; t.silent == 0 {
		t.silent = max(1, now-longSilent)
		s.Monitor.SetSilent(a, true)
		p.count.PathSilent++
	}
}

// longSilent is a silence after which what the UE SACKed on an access is taken for lost.
const longSilent = 1000 * millisecond

// refresh works out anew which subflow of c serves each access.
func (c *Conn) refresh() {
	if c.steered {
		c.session.proxy.steered[c].changed = true
	}
	c.usable = [steer.NumAccesses]uint8{nowhere, nowhere}
	for _, s := range c.subflows {
		if s.confirmed() && !s.path.stalled() && !s.path.recovering && c.usable[s.access] == nowhere {
			c.usable[s.access] = s.index
		}
	}
	c.lonely = 0
	if c.state == stateEstablished && !c.anyLive() {
		p := c.session.proxy
		c.lonely = p.now.stamp()
		p.arm(c, p.now+rejoinLife)
	}
}

// anyLive says whether a subflow is left.
func (c *Conn) anyLive() bool { return c.otherLive(nil) }

// available is the set of accesses that can take new data of c.
func (c *Conn) available() steer.Set {
	var set steer.Set
	for a := range steer.NumAccesses {
		if c.takes(steer.Access(a)) {
			set |= 1 << a
		}
	}
	return set
}

// takes says whether access a can take new data of c.
func (c *Conn) takes(a steer.Access) bool {
	i := c.usable[a]
	if i == nowhere {
		return false
	}
	s := c.subflows[i]
	return s.session.Answers(a) && (s.path.probed == 0 || !c.session.proxy.suspect(s))
}

// carries says whether s can carry data now.
func (c *Conn) carries(s *Subflow) bool {
	return s.confirmed() && !s.path.stalled() && s.session.Answers(s.access) &&
		(c.rule.Policy == nil || c.rule.Policy.Usable.Has(s.access))
}

// suspect says whether s owes an answer to a probe for a round trip: reason enough to
// send new data another way for now. What the server repeats waits until the access is
// held silent: moved too early it would take back what the UE has SACKed.
func (p *Proxy) suspect(s *Subflow) bool {
	t := &s.path
	return t.probed != 0 && p.now.since(t.probed) < p.now-s.session.access[s.access].heard && p.now.since(t.probed) > max(t.rtt(), minRTO/2)
}

// goneAfter is the least time for which an access is held silent, probed all the while,
// before what the UE SACKed there is taken for lost.
const goneAfter = 200 * millisecond

// gone says whether s carries nothing any more, so that what the UE has not passed on
// from it must be sent again. An access that only became slow, or lost a probe, may be
// held silent, too, but answers in this time.
func (p *Proxy) gone(s *Subflow) bool {
	since := s.session.access[s.access].silent
	return !s.live() || since != 0 && p.now-since > max(goneAfter, s.path.rto())
}

// pick gives the subflow for new data; nil if none is live.
func (c *Conn) pick(p *Proxy) *Subflow {
	s := c.choose()
	if s != nil && s.index != c.current {
		if c.current != nowhere {
			p.count.Switched++
		}
		c.current = s.index
	}
	return s
}

func (c *Conn) choose() *Subflow {
	if !c.dssSeen {
		// Until the UE has sent a DSS it drops data out of DSN order: one subflow.
		if s := c.subflows[0]; s.live() {
			return s
		}
	}
	if c.steered {
		c.session.proxy.consult(c)
	}
	if r := c.rule.Policy; r != nil {
		a := c.preferred(r)
		if r.Usable.Has(a) && c.takes(a) { // nearly always
			return c.subflows[c.usable[a]]
		}
		if a, ok := r.OrOther(c.available(), a); ok {
			return c.subflows[c.usable[a]]
		}
	}
	return c.anySubflow()
}

// anySubflow is a live subflow where steering gives none: the one in use before, one
// that answers, or any.
func (c *Conn) anySubflow() *Subflow {
	if c.current != nowhere && c.carries(c.subflows[c.current]) {
		return c.subflows[c.current]
	}
	var any *Subflow
	for _, s := range c.subflows {
		if c.carries(s) {
			return s
		}
		if any == nil && s.live() {
			any = s
		}
	}
	return any
}

// active is the subflow that carries what belongs to no subflow in particular.
func (c *Conn) active() *Subflow { return c.choose() }

// wantsBackup says whether policy would have the UE use f only if nothing else is left.
func (c *Conn) wantsBackup(f *Subflow) bool {
	r := c.rule.Policy
	if r == nil || r.Mode != steer.ActiveStandby {
		return false
	}
	a, _ := r.Choose(steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP), uint32(c.point))
	return a != f.access
}

// nudge tells the UE, by MP_PRIO, which subflows the policy wants it to use; the
// uplink is the UE's to steer (TS 23.501 §5.32.8).
func (p *Proxy) nudge(c *Conn) {
	for _, f := range c.subflows {
		if want := c.wantsBackup(f); f.confirmed() && f.backup != want {
			f.backup = want
			p.prio(f)
		}
	}
}

// prio tells the UE by MP_PRIO whether f is backup.
func (p *Proxy) prio(f *Subflow) {
	f.nudged = p.now.tick()
	p.withOption(f, mptcp.AppendPrio(p.scratch[:0], f.backup), 0)
}

// stray takes note that data came over f, which the UE is to use only if nothing else is
// left. Where there is something else, it may not have heard, since nothing acknowledges
// an MP_PRIO (RFC 8684 §3.3.8): it is told again once in a second.
func (p *Proxy) stray(f *Subflow) {
	c := f.conn
	if p.now.tick()-f.nudged < 2 || !c.hasRegular() {
		return
	}
	for _, s := range c.subflows {
		if s.confirmed() {
			p.prio(s)
		}
	}
}

// hasRegular says whether c has a subflow that is not backup and can carry data.
func (c *Conn) hasRegular() bool {
	for _, s := range c.subflows {
		if s.confirmed() && !s.backup && c.carries(s) {
			return true
		}
	}
	return false
}

// AccessRules is called after the rules of s changed: what policy now wants of the
// UE's uplink is sent to it. r gives the new rule of a connection's PDR.
func (p *Proxy) AccessRules(now Time, s *Session, r func(pdr uint16) Rule, out *Out) {
	p.now, p.out = now, out
	for c := s.conns; c != nil; c = c.inSession.next {
		if n := r(c.rule.PDR); n.Policy != nil {
			p.obey(c, n)
		}
		if c.state == stateEstablished {
			p.nudge(c)
		}
	}
}
