package upf

import (
	"sync"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// eventInbox holds the workers' events until the reporter's next step: who brings them
// never waits for the server's lock.
//
// While there is an [reporter.eventLoop], it alone takes events off the plane's channel.
// Who wants all that have been emitted asks for them by flush: the loop accepts that with
// no event in its hands, and empties the channel first.
type eventInbox struct {
	mu     sync.Mutex
	events []dataplane.Event
	flush  chan chan<- struct{} // nil = there is no loop
}

// maxEvents bounds what the inbox holds of events that bear no usage: those can be
// lost, usage cannot.
const maxEvents = 1 << 14

// put adds e. It does not block.
func (in *eventInbox) put(e dataplane.Event) {
	in.mu.Lock()
	if e.Kind == dataplane.UsageReached || len(in.events) < maxEvents {
		in.events = append(in.events, e)
	}
	in.mu.Unlock()
}

// noticed takes what a worker has noticed for the next step.
func (r *reporter) noticed(e dataplane.Event) {
	r.inbox.put(e)
	r.signal()
}

// drain puts all that is in ch into the inbox.
func (in *eventInbox) drain(ch <-chan dataplane.Event) {
	for {
		select {
		case e := <-ch:
			in.put(e)
		default:
			return
		}
	}
}

// eventLoop brings events into the inbox until stop is closed.
func (r *reporter) eventLoop(events <-chan dataplane.Event, flush <-chan chan<- struct{}, stop <-chan struct{}) {
	in := &r.inbox
	for {
		select {
		case <-stop:
			return
		case e := <-events:
			r.noticed(e)
			in.drain(events)
		case done := <-flush:
			in.drain(events)
			close(done)
		}
	}
}

// eventReader is the goroutine of the event loop.
type eventReader struct {
	stop chan struct{}
	done sync.WaitGroup
}

// startEvents starts the event loop; the server's lock is held.
func (s *Server) startEvents() {
	flush, stop, events := make(chan chan<- struct{}), make(chan struct{}), s.plane.Events()
	s.rep.inbox.flush, s.events.stop = flush, stop
	s.events.done.Go(func() { s.rep.eventLoop(events, flush, stop) })
}

// endEvents ends the event loop; the server's lock is held, so that nobody asks it for
// anything. What is emitted from now on is taken off the channel by who wants it.
func (s *Server) endEvents() {
	if s.rep.inbox.flush == nil {
		return // Close has been called before
	}
	close(s.events.stop)
	s.events.done.Wait()
	s.rep.inbox.flush = nil
}

// emitted are all events that workers have emitted until now and nobody has taken.
func (s *Server) emitted() []dataplane.Event {
	in := &s.rep.inbox
	if in.flush == nil {
		in.drain(s.plane.Events())
	} else {
		done := make(chan struct{})
		in.flush <- done
		<-done
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	events := in.events
	in.events = nil
	return events
}

// takeEvents carries out the events that have been emitted.
func (s *Server) takeEvents() { s.takeEventsBut(0) }

// takeEventsBut does so while the session seid has new rules in the plane, and those of
// before here: what a URR has to tell that is in the new ones only waits for the next
// time.
func (s *Server) takeEventsBut(seid uint64) {
	events := s.emitted()
	for i := range events {
		e := &events[i]
		if e.SEID == seid && seid != 0 && !s.knows(e) {
			s.rep.noticed(*e)
			continue
		}
		s.event(e)
	}
	s.collect() // the URRs that are linked to those which have reported
}

// knows says whether what e tells of is there.
func (s *Server) knows(e *dataplane.Event) bool {
	if e.Kind == dataplane.UsageReached || e.Kind == dataplane.TrafficStarted {
		_, m, _ := s.measured(e)
		return m != nil
	}
	return s.sessions[e.SEID] != nil
}

func (s *Server) event(e *dataplane.Event) {
	switch e.Kind {
	case dataplane.UsageReached:
		s.usageReached(e)
	case dataplane.TrafficStarted:
		s.trafficStarted(e)
	case dataplane.DownlinkData:
		s.downlinkData(e)
	case dataplane.ErrorIndicationReceived:
		s.errorIndication(e)
	case dataplane.EchoAnswered:
		s.echoAnswered(e.From.Addr().Unmap(), s.rep.now)
	case dataplane.AccessChanged:
		s.accessChanged(e)
	}
}

// measured is the meter that an event tells of, and its rule; nil if there is none any
// more.
func (s *Server) measured(e *dataplane.Event) (*sessionUsage, *meter, *pfcp.URR) {
	sess := s.sessions[e.SEID]
	if sess == nil || sess.usage == nil {
		return nil, nil, nil
	}
	m := sess.usage.meter(e.Usage.URR)
	if m == nil {
		return nil, nil, nil
	}
	return sess.usage, m, sess.usage.rule(m)
}

// usageReached reports a URR that has reached a limit of volume (TS 29.244
// §5.2.2.3.1). What the CP function does not want to hear of now goes with the next
// report.
func (s *Server) usageReached(e *dataplane.Event) {
	su, m, u := s.measured(e)
	if m == nil {
		s.rep.counts.lateUsage++
		return
	}
	t := s.take(m, u, &e.Usage)
	var why pfcp.UsageTrigger
	if e.Usage.Threshold {
		why |= pfcp.ReportVOLTH
	}
	if e.Usage.Quota {
		why |= pfcp.ReportVOLQU
		if u.Spent { // what ran out is told already
			why &^= pfcp.ReportVOLQU
		}
	}
	if why &= asked(u); why == 0 {
		m.carryOver(t)
		return
	}
	s.post(su, s.report(m, u, t, why))
	s.wantsLinked(su, m.urr)
}

// trafficStarted reports the start of traffic, and counts it as the URR's event. The
// limits of events are held against it (TS 29.244 §5.2.2.2.1).
func (s *Server) trafficStarted(e *dataplane.Event) {
	su, m, u := s.measured(e)
	if m == nil {
		return
	}
	if !e.Usage.Last.IsZero() {
		m.last = max(m.last, s.rep.stamp(e.Usage.Last))
	} else {
		m.last = s.rep.tick
	}
	if u.Triggered(pfcp.TriggerSTOPT) {
		m.flowing = true
		m.check = sooner(m.check, s.rep.tick+stamp(quiet(u)))
		s.schedule(su)
	}
	if u.Triggered(pfcp.TriggerSTART) {
		s.post(su, []pfcp.UsageReport{s.bare(su, m.urr, pfcp.ReportSTART)})
	}
	var why pfcp.UsageTrigger
	more := s.moreOf(m)
	more.events++
	if n := u.Limits.EventThreshold; n != 0 && more.events >= n {
		why |= pfcp.ReportEVETH
		more.events = 0
	}
	more.quotaUsed++
	out := u.Limits.EventQuota != nil && more.quotaUsed >= *u.Limits.EventQuota && !u.Spent
	if out {
		why |= pfcp.ReportEVEQU
	}
	if why &= asked(u); why != 0 {
		s.wants(su, m.urr, why)
	}
	if out {
		s.rep.spent = append(s.rep.spent, reading{su, m.urr})
	}
}

// errorIndication reports a peer that has no tunnel that a session sends to (TS 29.244
// §5.2.5 and Table 7.5.8.4-1), once: until the session's rules name the tunnel anew,
// more of them name nothing. One that no session sends to is counted and no more:
// anybody can send it.
func (s *Server) errorIndication(e *dataplane.Event) {
	peer := e.Peer.Unmap()
	sess := s.sessions[s.rep.tunnels.take(peer, e.TEID)]
	if sess == nil || !sess.rules.sendsTo(peer, e.TEID) {
		s.rep.counts.unmatchedErrors++
		return
	}
	f := pfcp.FTEID{TEID: e.TEID}
	if peer.Is4() {
		f.IPv4 = peer
	} else {
		f.IPv6 = peer
	}
	su := s.usageOf(sess)
	su.out.waiting().addError(f)
	s.enqueue(su)
	s.log.Info("error indication", "seid", seidText(sess.seid), "peer", peer, "teid", seidText(uint64(e.TEID)))
}
