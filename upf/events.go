package upf

import (
	"sync"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// eventInbox holds the workers' events until the reporter's next step: who brings them
// never waits for the server's lock.
type eventInbox struct {
	mu     sync.Mutex
	events []dataplane.Event
}

// maxEvents bounds what the inbox holds of events that bear no usage: those can be
// lost, usage cannot.
const maxEvents = 1 << 14

// HandleEvent takes what a worker has to tell. It does not block.
func (s *Server) HandleEvent(e dataplane.Event) {
	in := &s.rep.inbox
	in.mu.Lock()
	if e.Kind == dataplane.UsageReached || len(in.events) < maxEvents {
		in.events = append(in.events, e)
	}
	in.mu.Unlock()
	s.rep.signal()
}

// takeEvents carries out the events that have come.
func (s *Server) takeEvents() {
	in := &s.rep.inbox
	in.mu.Lock()
	events := in.events
	in.events = nil
	in.mu.Unlock()
	for i := range events {
		s.event(&events[i])
	}
	s.collect() // the URRs that are linked to those which have reported
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

// downlinkData reports downlink data for a UE that is idle (TS 29.244 §5.2.3.1, Table
// 7.5.8.2-1): the worker tells of it once for each time of buffering.
func (s *Server) downlinkData(e *dataplane.Event) {
	sess := s.sessions[e.SEID]
	if sess == nil {
		return
	}
	su := s.usageOf(sess)
	dscp := e.TOS >> 2
	su.out.waiting().addData(pfcp.DownlinkData{PDR: e.PDR, QFI: e.QFI, PPI: &dscp})
	s.enqueue(su)
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
