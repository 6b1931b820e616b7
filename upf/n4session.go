package upf

import (
	"fmt"
	"maps"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

func (s *Server) sessionEstablishment(m *message.SessionEstablishmentRequest) message.Message {
	sess, c, err := s.newSession(m)
	if err != nil {
		return s.reject(m.MessageType(), sess.cp.seid, err)
	}
	if _, err := s.install(sess, c); err != nil {
		return s.reject(m.MessageType(), sess.cp.seid, err)
	}
	s.sessions[sess.seid] = sess
	s.byCP[sess.cp] = sess
	s.usageInstalled(sess)
	s.inactivityTimer(sess, m.UserPlaneInactivityTimer)
	s.log.Info("session established", "seid", seidText(sess.seid), "cpSEID", seidText(sess.cp.seid), "node", sess.cp.node(),
		"pdrs", len(sess.rules.pdrs), "mars", len(sess.rules.mars), "ue", c.rules.UEAddrs)

	up := s.fseid
	up.SEID = sess.seid
	ies := []*ie.IE{s.nodeID(), ie.NewCause(ie.CauseRequestAccepted), up.IE()}
	if c.told != nil {
		ies = append(ies, c.told.IE())
	}
	for _, t := range c.made {
		ies = append(ies, t.ie(ie.CreatedPDR))
	}
	return message.NewSessionEstablishmentResponse(0, 0, sess.cp.seid, 0, 0, ies...)
}

// newSession builds and compiles what a request asks for. The session that it
// returns along with an error holds the CP function's SEID as far as it is known.
func (s *Server) newSession(m *message.SessionEstablishmentRequest) (*session, *compiled, *pfcp.Error) {
	sess := &session{}
	var cp pfcp.FSEID
	var err *pfcp.Error
	if m.CPFSEID != nil {
		if cp, err = pfcp.ParseFSEID(m.CPFSEID); err != nil {
			return sess, nil, err
		}
		sess.cp.seid = cp.SEID
	}
	n, err := s.associated(m.NodeID)
	switch {
	case err != nil:
		return sess, nil, err
	case m.CPFSEID == nil:
		return sess, nil, &pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: ie.FSEID, Text: "no CP F-SEID"}
	}
	sess.cp = cpSessionOf(n.id, cp)
	var more sessionMore
	if more.set, err = sessionSet(m.Payload, nil); err != nil {
		return sess, nil, err
	}
	sess.setRare(more)
	set := newRuleSet()
	if err := set.establish(m); err != nil {
		return sess, nil, err
	}
	// A CP F-SEID names one session of its CP function: if we have it, the CP
	// function has given that session up, for want of our answer.
	if old := s.byCP[sess.cp]; old != nil {
		s.log.Warn("session established anew", "seid", seidText(old.seid), "cpSEID", seidText(old.cp.seid), "node", n.id)
		s.remove(old)
	}
	sess.seid = s.newSEID()
	c, err := s.compile(sess.seid, set, nil)
	return sess, c, err
}

func (s *Server) newSEID() uint64 {
	for {
		seid := s.registry.seid()
		if _, taken := s.sessions[seid]; !taken && seid != 0 {
			return seid
		}
	}
}

// install gives c to the plane and, if that has taken it, to sess and the
// registry. On an error all is as before. It returns the last readings of the URRs that
// c has no more. What workers have told until then is told of the rules of before.
func (s *Server) install(sess *session, c *compiled) ([]dataplane.Usage, *pfcp.Error) {
	last, err := s.plane.Install(c.rules)
	if err != nil {
		return nil, &pfcp.Error{Cause: ie.CauseSystemFailure, Text: fmt.Sprintf("session %#x: install: %v", sess.seid, err)}
	}
	s.takeEventsBut(sess.seid)
	old, had := sess.rules, sess.links()
	if s.sessions[sess.seid] != sess { // it is being established
		old, had = ruleSet{}, links{}
	}
	s.rep.tunnels.replace(sess.seid, old, c.set)
	s.registry.replace(sess.seid, sess.holds, c.holds)
	s.registry.relink(had, c.chosen.links)
	set := c.set.kept()
	s.paths.replace(sess.cp.node(), old.farEnds(), set.farEnds(), time.Now())
	sess.rules, sess.holds = set, c.holds
	more := sess.rare()
	more.chosen = c.chosen.kept()
	sess.setRare(more)
	s.forgetDelayed(sess, false)
	return last, nil
}

// reinstall compiles set for the session and installs it in the place of its rules. On an
// error those are in force.
func (s *Server) reinstall(sess *session, set ruleSet) *pfcp.Error {
	c, err := s.compile(sess.seid, set, sess.rare().chosen)
	if err == nil {
		_, err = s.install(sess, c)
	}
	return err
}

func (s *Server) sessionModification(m *message.SessionModificationRequest) message.Message {
	sess := s.sessions[m.SEID()]
	if sess == nil {
		return s.reject(m.MessageType(), 0, noSession(m.SEID()))
	}
	next, err := s.successor(sess, m)
	if err != nil {
		return s.reject(m.MessageType(), sess.cp.seid, err)
	}
	sets, err := sessionSet(m.Payload, sess.rare().set)
	if err != nil {
		return s.reject(m.MessageType(), sess.cp.seid, err)
	}
	before := sess.rules
	set := before.clone()
	moved, err := set.modify(m)
	if err != nil {
		return s.reject(m.MessageType(), sess.cp.seid, err)
	}
	c, err := s.compile(sess.seid, set, sess.rare().chosen)
	var last []dataplane.Usage
	if err == nil {
		s.flags(sess, m.PFCPSMReqFlags) // what is dropped is not sent by the new rules
		c.rules.EndMarkers = endMarkers(&before, &c.set, moved)
		last, err = s.install(sess, c)
	}
	if err != nil {
		return s.reject(m.MessageType(), sess.cp.seid, err)
	}
	if next != sess.cp {
		s.hand(sess, next)
	}
	more := sess.rare()
	more.set = sets
	sess.setRare(more)
	s.log.Info("session modified", "seid", seidText(sess.seid), "cpSEID", seidText(sess.cp.seid),
		"pdrs", len(sess.rules.pdrs), "fars", len(sess.rules.fars), "mars", len(sess.rules.mars))

	ies := []*ie.IE{ie.NewCause(ie.CauseRequestAccepted)}
	if c.told != nil {
		ies = append(ies, c.told.IE())
	}
	for _, t := range c.made {
		typ := ie.CreatedPDR
		if before.pdrs.get(t.pdr) != nil {
			typ = ie.UpdatedPDR
		}
		ies = append(ies, t.ie(typ))
	}
	ies = append(ies, s.usageModified(sess, before, m, last, maxMessage-sessionHeader-size(ies))...)
	s.inactivityTimer(sess, m.UserPlaneInactivityTimer)
	return message.NewSessionModificationResponse(0, 0, sess.cp.seid, 0, 0, ies...)
}

func (s *Server) sessionDeletion(m *message.SessionDeletionRequest) message.Message {
	sess := s.sessions[m.SEID()]
	if sess == nil {
		return s.reject(m.MessageType(), 0, noSession(m.SEID()))
	}
	ies := []*ie.IE{ie.NewCause(ie.CauseRequestAccepted)}
	last := s.takeAway(sess)
	ies = append(ies, s.usageDeleted(sess, last, maxMessage-sessionHeader-size(ies))...)
	s.log.Info("session deleted", "seid", seidText(sess.seid), "cpSEID", seidText(sess.cp.seid))
	return message.NewSessionDeletionResponse(0, 0, sess.cp.seid, 0, 0, ies...)
}

// remove deletes a session. Its usage is not reported: who is told of that deletes it
// otherwise.
func (s *Server) remove(sess *session) {
	s.takeAway(sess)
	if su := sess.usage; su != nil {
		su.out.next = nil
	}
}

// takeAway deletes a session here and in the plane, and returns the last readings of
// its URRs. If the plane fails to, the
// session is gone for the CP function all the same; what it held stays taken, so
// that nobody else gets its packets.
func (s *Server) takeAway(sess *session) []dataplane.Usage {
	last, err := s.plane.Remove(sess.seid)
	s.takeEvents()
	delete(s.sessions, sess.seid)
	delete(s.byCP, sess.cp)
	s.paths.replace(sess.cp.node(), sess.rules.farEnds(), nil, time.Now())
	s.rep.tunnels.replace(sess.seid, sess.rules, ruleSet{})
	if su := sess.usage; su != nil {
		su.gone = true
		s.schedule(su)
	}
	if err != nil {
		s.log.Error("session not removed from the plane", "seid", seidText(sess.seid), "err", err)
		return nil
	}
	s.registry.replace(sess.seid, sess.holds, identity{})
	s.registry.relink(sess.links(), links{})
	return last
}

func noSession(seid uint64) *pfcp.Error {
	return &pfcp.Error{Cause: ie.CauseSessionContextNotFound, Text: "no session " + seidText(seid)}
}

func seidText(seid uint64) string { return fmt.Sprintf("%#x", seid) }

// Sessions is the number of sessions that there are, by node.
func (s *Server) Sessions() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := map[string]int{}
	for n := range maps.Values(s.sessions) {
		count[n.cp.node()]++
	}
	return count
}
