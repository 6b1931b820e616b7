package upf

import (
	"fmt"
	"maps"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

func (s *Server) sessionEstablishment(m *message.SessionEstablishmentRequest) message.Message {
	sess, c, err := s.newSession(m)
	if err != nil {
		return s.reject(m.MessageType(), sess.cp.SEID, err)
	}
	if err := s.install(sess, c); err != nil {
		return s.reject(m.MessageType(), sess.cp.SEID, err)
	}
	s.sessions[sess.seid] = sess
	s.byCP[sess.cpSession()] = sess
	s.log.Info("session established", "seid", seidText(sess.seid), "cpSEID", seidText(sess.cp.SEID), "node", sess.node,
		"pdrs", len(sess.rules.pdrs), "mars", len(sess.rules.mars), "ue", c.rules.UEAddrs)

	up := s.fseid
	up.SEID = sess.seid
	ies := []*ie.IE{s.nodeID(), ie.NewCause(ie.CauseRequestAccepted), up.IE()}
	for _, t := range c.made {
		ies = append(ies, t.ie(ie.CreatedPDR))
	}
	return message.NewSessionEstablishmentResponse(0, 0, sess.cp.SEID, 0, 0, ies...)
}

// newSession builds and compiles what a request asks for. The session that it
// returns along with an error holds the CP F-SEID as far as it is known.
func (s *Server) newSession(m *message.SessionEstablishmentRequest) (*session, *compiled, *pfcp.Error) {
	sess := &session{rules: newRuleSet()}
	var err *pfcp.Error
	if m.CPFSEID != nil {
		if sess.cp, err = pfcp.ParseFSEID(m.CPFSEID); err != nil {
			return sess, nil, err
		}
	}
	n, err := s.associated(m.NodeID)
	switch {
	case err != nil:
		return sess, nil, err
	case m.CPFSEID == nil:
		return sess, nil, &pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: ie.FSEID, Text: "no CP F-SEID"}
	}
	sess.node = n.id
	if err := sess.rules.establish(m); err != nil {
		return sess, nil, err
	}
	// A CP F-SEID names one session of its CP function: if we have it, the CP
	// function has given that session up, for want of our answer.
	if old := s.byCP[sess.cpSession()]; old != nil {
		s.log.Warn("session established anew", "seid", seidText(old.seid), "cpSEID", seidText(old.cp.SEID), "node", old.node)
		s.remove(old)
	}
	sess.seid = s.newSEID()
	c, err := s.compile(sess.seid, sess.rules, chosen{})
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
// registry. On an error all is as before.
func (s *Server) install(sess *session, c *compiled) *pfcp.Error {
	if _, err := s.plane.Install(c.rules); err != nil {
		return &pfcp.Error{Cause: ie.CauseSystemFailure, Text: fmt.Sprintf("session %#x: install: %v", sess.seid, err)}
	}
	s.registry.replace(sess.seid, sess.holds, c.holds)
	sess.rules, sess.holds, sess.chosen = c.set, c.holds, c.chosen
	return nil
}

func (s *Server) sessionModification(m *message.SessionModificationRequest) message.Message {
	sess := s.sessions[m.SEID()]
	if sess == nil {
		return s.reject(m.MessageType(), 0, noSession(m.SEID()))
	}
	cp := sess.cp
	if m.CPFSEID != nil {
		var err *pfcp.Error
		if cp, err = pfcp.ParseFSEID(m.CPFSEID); err != nil {
			return s.reject(m.MessageType(), sess.cp.SEID, err)
		}
		if other := s.byCP[cpSession{sess.node, cp}]; other != nil && other != sess {
			return s.reject(m.MessageType(), sess.cp.SEID, &pfcp.Error{
				Cause: ie.CauseRequestRejected, Offending: ie.FSEID, Text: "CP F-SEID belongs to session " + seidText(other.seid),
			})
		}
	}
	before := sess.rules
	set := before.clone()
	moved, err := set.modify(m)
	if err != nil {
		return s.reject(m.MessageType(), sess.cp.SEID, err)
	}
	c, err := s.compile(sess.seid, set, sess.chosen)
	if err == nil {
		c.rules.EndMarkers = endMarkers(&before, &c.set, moved)
		err = s.install(sess, c)
	}
	if err != nil {
		return s.reject(m.MessageType(), sess.cp.SEID, err)
	}
	delete(s.byCP, sess.cpSession())
	sess.cp = cp
	s.byCP[sess.cpSession()] = sess
	s.log.Info("session modified", "seid", seidText(sess.seid), "cpSEID", seidText(cp.SEID),
		"pdrs", len(sess.rules.pdrs), "fars", len(sess.rules.fars), "mars", len(sess.rules.mars))

	ies := []*ie.IE{ie.NewCause(ie.CauseRequestAccepted)}
	for _, t := range c.made {
		typ := ie.CreatedPDR
		if before.pdrs.get(t.pdr) != nil {
			typ = ie.UpdatedPDR
		}
		ies = append(ies, t.ie(typ))
	}
	return message.NewSessionModificationResponse(0, 0, cp.SEID, 0, 0, ies...)
}

func (s *Server) sessionDeletion(m *message.SessionDeletionRequest) message.Message {
	sess := s.sessions[m.SEID()]
	if sess == nil {
		return s.reject(m.MessageType(), 0, noSession(m.SEID()))
	}
	s.remove(sess)
	s.log.Info("session deleted", "seid", seidText(sess.seid), "cpSEID", seidText(sess.cp.SEID))
	return message.NewSessionDeletionResponse(0, 0, sess.cp.SEID, 0, 0, ie.NewCause(ie.CauseRequestAccepted))
}

// remove deletes a session here and in the plane. If the plane fails to, the
// session is gone for the CP function all the same; what it held stays taken, so
// that nobody else gets its packets.
func (s *Server) remove(sess *session) {
	delete(s.sessions, sess.seid)
	delete(s.byCP, sess.cpSession())
	if _, err := s.plane.Remove(sess.seid); err != nil {
		s.log.Error("session not removed from the plane", "seid", seidText(sess.seid), "err", err)
		return
	}
	s.registry.replace(sess.seid, sess.holds, identity{})
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
		count[n.node]++
	}
	return count
}
