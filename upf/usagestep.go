package upf

import (
	"net/netip"
	"slices"
	"time"

	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// reporter is the part of the [Server] that reports to CP functions. All but inbox and
// wake is guarded by the server's lock.
type reporter struct {
	clock func() time.Time
	epoch time.Time // long before the start, so that no stamp is 0, nor one of the life before
	send  func(peer netip.AddrPort, m message.Message, done func(message.Message, error)) error
	rate  float64 // Session Report Requests a second to one peer

	now  time.Time // of the step or request that is being served
	tick stamp     // the same

	timers  timerHeap
	due     []*sessionUsage // of expire
	reads   []reading       // of collect
	spent   []reading       // URRs whose quota has run out by time or events
	back    []accessBack
	peers   map[netip.Addr]*reportPeer
	tunnels tunnelIndex
	counts  reportCounts

	inbox eventInbox
	wake  chan struct{} // room for one
}

// reportCounts counts reports, and what is not reported.
type reportCounts struct {
	sent            uint64 // Session Report Requests, without their retransmissions
	unanswered      uint64 // of them without an answer
	rejected        uint64 // and with one that rejects
	unmatchedErrors uint64 // Error Indications for a tunnel that no session sends to
	lateUsage       uint64 // readings for a session or URR that was gone when they came
}

// ReportCounters are the counters of reports to CP functions, by name.
func (s *Server) ReportCounters() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.rep.counts
	return map[string]uint64{
		"reports_sent": c.sent, "reports_unanswered": c.unanswered, "reports_rejected": c.rejected,
		"error_indications_unmatched": c.unmatchedErrors, "usage_late": c.lateUsage,
	}
}

// defaultReportRate is the rate where the config gives none.
const defaultReportRate = 1000

func newReporter(cfg *Config) *reporter {
	r := &reporter{
		clock: time.Now, rate: float64(cfg.Braid.ReportRate),
		peers: map[netip.Addr]*reportPeer{}, tunnels: newTunnelIndex(), wake: make(chan struct{}, 1),
	}
	if r.rate <= 0 {
		r.rate = defaultReportRate
	}
	r.refresh()
	return r
}

// epochAge is how far the epoch lies before the start.
const epochAge = 20 * 365 * 24 * time.Hour

// refresh looks at the clock.
func (r *reporter) refresh() {
	r.now = r.clock()
	if r.epoch.IsZero() {
		r.epoch = r.now.Add(-epochAge)
	}
	r.tick = stamp(r.now.Sub(r.epoch))
}

// stamp is t, which a worker has seen, on the monotonic clock.
func (r *reporter) stamp(t time.Time) stamp { return r.tick - stamp(r.now.Sub(t)) }

// wall is t as the clock on the wall now tells it: a step of that does not part a
// report's times from now.
func (r *reporter) wall(t stamp) time.Time { return r.now.Add(time.Duration(t - r.tick)) }

// signal has the loop take its next step.
func (r *reporter) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// reportLoop takes steps until stop is closed.
func (s *Server) reportLoop(stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-s.rep.wake:
		case <-timer.C:
		}
		s.mu.Lock()
		wait, more := s.step()
		s.mu.Unlock()
		if more {
			timer.Reset(wait)
		}
	}
}

// step takes the workers' events, does what is due, and sends what the peers' pace
// allows. more says that something is left to wait for, and wait for how long.
func (s *Server) step() (wait time.Duration, more bool) {
	s.rep.refresh()
	s.takeEvents()
	s.expire()
	s.spend()
	s.useAgain()
	next := s.pump()
	if len(s.rep.timers) > 0 {
		next = sooner(next, s.rep.timers[0].deadline)
	}
	return max(0, time.Duration(next-s.rep.tick)), next != 0
}

// reading is a meter that is to be read: of the session's URR, or, with urr 0, when
// the session's last packet was.
type reading struct {
	su  *sessionUsage
	urr uint32
}

// wants has the meter of urr read, and what it has counted reported for why. URRs that
// are linked to it report too (TS 29.244 §5.2.2.4).
func (s *Server) wants(su *sessionUsage, urr uint32, why pfcp.UsageTrigger) {
	m := su.meter(urr)
	if m == nil {
		return
	}
	first := m.wanted == 0
	m.wanted |= why
	if first {
		s.rep.reads = append(s.rep.reads, reading{su, urr})
		s.wantsLinked(su, urr)
	}
}

// wantsLinked has the URRs read that are to report when urr does.
func (s *Server) wantsLinked(su *sessionUsage, urr uint32) {
	for i := range su.meters {
		m := &su.meters[i]
		u := su.rule(m)
		if m.urr != urr && m.wanted == 0 && u.Triggered(pfcp.TriggerLIUSA) && slices.Contains(u.Rare().Linked, urr) {
			s.wants(su, m.urr, pfcp.ReportLIUSA)
		}
	}
}

// queries are those for the first meters of list, as many as go to the plane at once,
// and how many of list they are.
func queries(list []reading, reset bool) (q []dataplane.UsageQuery, n int) {
	for n < len(list) {
		if len(q) > 0 && q[len(q)-1].SEID == list[n].su.sess.seid && list[n].urr != 0 && len(q[len(q)-1].URRs) > 0 {
			q[len(q)-1].URRs = append(q[len(q)-1].URRs, list[n].urr)
			n++
			continue
		}
		if len(q) == maxBatch {
			break
		}
		x := dataplane.UsageQuery{SEID: list[n].su.sess.seid, Reset: reset}
		if list[n].urr != 0 {
			x.URRs = []uint32{list[n].urr}
		}
		q = append(q, x)
		n++
	}
	return q, n
}

// read reads the meters of list and calls each with each of them; one that the worker
// does not have, no PDR naming it, has counted nothing.
func (s *Server) read(list []reading, reset bool, each func(r reading, usage *dataplane.Usage, last time.Time)) {
	for len(list) > 0 {
		q, n := queries(list, reset)
		answers, err := s.plane.Usage(q)
		if err != nil || len(answers) != len(q) {
			s.log.Error("meters not read", "sessions", len(q), "err", err)
			answers = make([]dataplane.UsageAnswer, len(q))
		}
		at, urrs := 0, 0
		for _, r := range list[:n] {
			if urrs > 0 && urrs == max(1, len(q[at].URRs)) {
				at, urrs = at+1, 0
			}
			urrs++
			each(r, usageIn(&answers[at], r.urr), answers[at].LastPacket)
		}
		list = list[n:]
	}
}

// collect reads the meters that are wanted, starts them again, and puts the reports
// into the outboxes.
func (s *Server) collect() {
	s.read(s.rep.reads, true, func(r reading, usage *dataplane.Usage, _ time.Time) {
		if m := r.su.meter(r.urr); m != nil {
			u := r.su.rule(m)
			s.post(r.su, s.report(m, u, s.take(m, u, usage), m.wanted))
			m.wanted = 0
		}
	})
	clear(s.rep.reads)
	s.rep.reads = s.rep.reads[:0]
}

// look reads the meters of list as they go on, and has those report that have reached
// a limit of time.
func (s *Server) look(list []reading) {
	s.read(list, false, func(r reading, usage *dataplane.Usage, last time.Time) {
		if r.urr == 0 {
			s.lookIdle(r.su, last)
			return
		}
		m := r.su.meter(r.urr)
		u := r.su.rule(m)
		why, out := s.limits(m, u, usage)
		if why&pfcp.ReportSTOPT != 0 {
			why &^= pfcp.ReportSTOPT
			s.post(r.su, []pfcp.UsageReport{s.bare(r.su, m.urr, pfcp.ReportSTOPT)})
		}
		if why != 0 {
			s.wants(r.su, m.urr, why)
		}
		if out {
			s.rep.spent = append(s.rep.spent, r)
		}
	})
}

// monitored puts the subsequent limits of URRs in force whose Monitoring Time has come,
// and divides what their meters count there.
func (s *Server) monitored(list []reading) {
	for _, r := range list {
		m := r.su.meter(r.urr)
		s.divide(r.su, m, r.su.rule(m))
	}
	s.change(list, (*pfcp.URR).Monitored)
}

// divide divides what m counts at the Monitoring Time (TS 29.244 §5.2.2.2.2). With
// subsequent limits the meter starts again under them; without, it goes on, so that
// the thresholds hold for all of it.
func (s *Server) divide(su *sessionUsage, m *meter, u *pfcp.URR) {
	m.more.monitoring = 0
	reset := u.Rare().Subsequent != nil
	s.read([]reading{{su, m.urr}}, reset, func(_ reading, usage *dataplane.Usage, _ time.Time) {
		t := &tally{*usage, s.duration(m, u, usage)}
		if reset {
			t = s.take(m, u, usage)
		}
		if m.carry != nil && reset {
			t.add(m.carry)
			m.carry = nil
		}
		m.more.before, m.more.beforeIn, m.more.beforeAt = t, !reset, s.rep.tick
	})
}

// spend takes what is left of the quotas that have run out by time or events.
func (s *Server) spend() {
	s.change(s.rep.spent, func(u *pfcp.URR) { u.Spent = true })
	clear(s.rep.spent)
	s.rep.spent = s.rep.spent[:0]
}

// change installs the sessions' rules with the URRs of list changed. Those of a session
// stand together in list.
func (s *Server) change(list []reading, f func(*pfcp.URR)) {
	for len(list) > 0 {
		su := list[0].su
		n := slices.IndexFunc(list, func(r reading) bool { return r.su != su })
		if n < 0 {
			n = len(list)
		}
		if !su.gone {
			s.changeSession(su, list[:n], f)
		}
		list = list[n:]
	}
}

func (s *Server) changeSession(su *sessionUsage, list []reading, f func(*pfcp.URR)) {
	sess := su.sess
	set := sess.rules.clone()
	for _, r := range list {
		if old := set.urrs.get(r.urr); old != nil {
			u := *old
			f(&u)
			set.urrs.put(&u)
		}
	}
	if err := s.reinstall(sess, set); err != nil {
		s.log.Error("URRs not changed", "seid", seidText(sess.seid), "urrs", len(list), "err", err)
		return
	}
	s.usageInstalled(sess)
}

// usageIn is the URR's reading in an answer.
func usageIn(a *dataplane.UsageAnswer, urr uint32) *dataplane.Usage {
	for i := range a.Usages {
		if a.Usages[i].URR == urr {
			return &a.Usages[i]
		}
	}
	return &dataplane.Usage{URR: urr}
}
