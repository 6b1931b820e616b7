package upf

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// reportPeer is where Session Report Requests go: a CP function's address, and the
// sessions that have something for it. A bucket of tokens, one a message, sets the
// pace.
type reportPeer struct {
	urgent, usage []*sessionUsage
	tokens        float64
	filled        stamp // when tokens was right
}

// retryAfter is how long unanswered reports wait for the session's next report before
// they are sent without one.
const retryAfter = stamp(30 * time.Second)

// burst is how many requests may go to a peer at once after a pause: a tenth of a
// second's.
func (r *reporter) burst() float64 { return max(1, r.rate/10) }

// enqueue has the session's outbox sent when its turn comes, unless it is empty or a
// request is under way: its answer comes back here.
func (s *Server) enqueue(su *sessionUsage) {
	o := &su.out
	urgent := o.next.urgent()
	if o.flight != nil || o.next.empty() || o.queued && (o.urgent || !urgent) {
		return
	}
	a, ok := s.reportAddr(su.sess)
	if !ok {
		return
	}
	p := s.rep.peers[a]
	if p == nil {
		p = &reportPeer{tokens: s.rep.burst(), filled: s.rep.tick}
		s.rep.peers[a] = p
	}
	o.queued = true
	if urgent {
		o.urgent = true
		p.urgent = append(p.urgent, su)
	} else {
		p.usage = append(p.usage, su)
	}
	s.rep.signal()
}

// pump sends what the peers' pace allows, downlink data and errors ahead of usage. It
// returns when there will be a token for what is left; 0 = nothing is.
func (s *Server) pump() (next stamp) {
	for a, p := range s.rep.peers {
		p.tokens = min(s.rep.burst(), p.tokens+time.Duration(s.rep.tick-p.filled).Seconds()*s.rep.rate)
		p.filled = s.rep.tick
		for sent := 0; p.tokens >= 1 && sent < maxBatch; {
			su := p.pop()
			if su == nil {
				break
			}
			if s.sendReport(su, a) {
				p.tokens--
				sent++
			}
		}
		switch {
		case len(p.urgent)+len(p.usage) > 0:
			wait := max(0, (1-p.tokens)/s.rep.rate)
			next = sooner(next, s.rep.tick+stamp(wait*float64(time.Second))+1)
		case p.tokens >= s.rep.burst():
			delete(s.rep.peers, a)
		}
	}
	return next
}

// pop takes the next session out of the queues; nil if there is none.
func (p *reportPeer) pop() *sessionUsage {
	for _, queue := range []*[]*sessionUsage{&p.urgent, &p.usage} {
		for len(*queue) > 0 {
			su := (*queue)[0]
			(*queue)[0] = nil
			if *queue = (*queue)[1:]; len(*queue) == 0 {
				*queue = nil
			}
			if su.out.queued { // else it went with the urgent ones
				su.out.queued, su.out.urgent = false, false
				return su
			}
		}
	}
	return nil
}

// sendReport sends what the session has to report, if a is where that goes, and says
// whether it did.
func (s *Server) sendReport(su *sessionUsage, a netip.Addr) bool {
	to, ok := s.reportAddr(su.sess)
	if n := su.out.next; n != nil && !su.gone && !su.sess.rules.reportsAccess() {
		n.access = accessNews{} // nobody asks for it any more
	}
	if !ok || su.out.flight != nil || su.out.next.empty() {
		return false
	}
	if to != a { // taken over while it waited
		s.enqueue(su)
		return false
	}
	flight, ies := su.pack(maxMessage - sessionHeader)
	su.out.flight, su.out.retry = flight, 0
	s.rep.counts.sent++
	m := message.NewSessionReportRequest(0, 0, su.sess.cp.seid, 0, 0, ies...)
	err := s.rep.send(netip.AddrPortFrom(a, s.peerPort), m, func(resp message.Message, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.rep.refresh()
		if err == nil {
			s.heard(a)
		}
		s.answered(su, resp, err)
	})
	if err != nil {
		s.unanswered(su, err)
	}
	return true
}

// answered takes the answer to a Session Report Request (TS 29.244 §6.3.5, Table
// 7.5.9.1-1).
func (s *Server) answered(su *sessionUsage, resp message.Message, err error) {
	if err != nil {
		s.unanswered(su, err)
		return
	}
	su.out.flight = nil
	m, ok := resp.(*message.SessionReportResponse)
	cause := ie.CauseRequestRejected
	if ok {
		cause = pfcp.ParseCause(m.Cause)
	}
	switch {
	case su.gone:
	case cause == ie.CauseRequestAccepted:
		s.flags(su.sess, m.PFCPSRRspFlags)
		s.updateBAR(su.sess, m.UpdateBAR)
	case cause == ie.CauseSessionContextNotFound:
		s.log.Warn("session unknown to its CP function, deleted", "seid", seidText(su.sess.seid), "cpSEID", seidText(su.sess.cp.seid), "node", su.sess.cp.node())
		s.remove(su.sess)
	default:
		s.rep.counts.rejected++
		s.log.Warn("report rejected", "seid", seidText(su.sess.seid), "node", su.sess.cp.node(), "cause", cause)
	}
	s.enqueue(su)
}

// unanswered keeps what has found no answer for the session's next report.
func (s *Server) unanswered(su *sessionUsage, err error) {
	s.rep.counts.unanswered++
	if n := s.nodes[su.sess.cp.node()]; errors.Is(err, pfcp.ErrTimeout) && n != nil {
		s.silent(n, err)
	} else if !errors.Is(err, net.ErrClosed) {
		s.log.Warn("report", "seid", seidText(su.sess.seid), "node", su.sess.cp.node(), "err", err)
	}
	flight := su.out.flight
	su.out.flight = nil
	more := !su.out.next.empty()
	if !su.gone {
		su.out.waiting().putBack(flight)
		su.out.retry = s.rep.tick + retryAfter
		s.schedule(su)
	}
	if more {
		s.enqueue(su)
	}
}

// flags does what the PFCPSRRsp-Flags of an answer or the PFCPSMReq-Flags of a request
// ask for at once (TS 29.244 §8.2.33, §8.2.35).
func (s *Server) flags(sess *session, i *ie.IE) {
	if i == nil {
		return
	}
	if f, err := pfcp.ParseFlags(i); err == nil && f&pfcp.FlagDROBU != 0 {
		s.dropBuffered(sess)
	}
}

// updateBAR changes the BAR that an answer names, if it names one (Table 7.5.9.2-1).
func (s *Server) updateBAR(sess *session, i *ie.IE) {
	if i == nil {
		return
	}
	set := sess.rules.clone()
	err := set.updateBAR(i)
	if err == nil {
		err = s.reinstall(sess, set)
	}
	if err != nil {
		s.log.Error("BAR not changed", "seid", seidText(sess.seid), "err", err)
		return
	}
	if b, err := pfcp.ParseBAR(i); err == nil && b.Duration != nil {
		s.bufferFor(sess, *b.Duration)
	}
}

// dropBuffered has the worker drop what it buffers for the session (DROBU, TS 29.244
// §8.2.33): its rules are installed with drop in the place of buffer, and then as they
// are.
func (s *Server) dropBuffered(sess *session) {
	for _, drop := range []bool{true, false} {
		c, err := s.compile(sess.seid, sess.rules, sess.rare().chosen)
		if err == nil {
			if drop && !dropping(c.rules) {
				return
			}
			s.forgetDelayed(sess, true)
			_, err = s.install(sess, c)
		}
		if err != nil {
			s.log.Error("buffered packets not dropped", "seid", seidText(sess.seid), "err", err)
			return
		}
	}
}

// dropping turns the buffering of r into dropping, and says whether there was any.
func dropping(r *dataplane.Rules) bool {
	found := false
	drop := func(f *dataplane.FAR) {
		if f != nil && f.Action == dataplane.Buffer {
			f.Action, f.Notify, found = dataplane.Drop, false, true
		}
	}
	for i := range r.Downlink {
		drop(r.Downlink[i].FAR)
		if m := r.Downlink[i].MAR; m != nil {
			for _, f := range m.FAR {
				drop(f)
			}
		}
	}
	return found
}
