package upf

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// sameSet says whether a and b are one node or SMFs of one set that each have an
// association (TS 29.244 §5.22.3).
func sameSet(a, b *node) bool { return a == b || a.set != "" && a.set == b.set }

// reaches says whether peer is an address of n or of an SMF of its set.
func (s *Server) reaches(n *node, peer netip.Addr) bool {
	switch {
	case n == nil:
		return false
	case n.has(peer):
		return true
	case n.set == "":
		return false
	}
	for _, other := range s.nodes {
		if sameSet(n, other) && other.has(peer) {
			return true
		}
	}
	return false
}

// heir is the SMF of n's set that takes its sessions over: one that answers before
// one that does not, then the lowest Node ID; nil if there is none.
func (s *Server) heir(n *node) *node {
	var best *node
	for _, other := range s.nodes {
		if other == n || !sameSet(n, other) {
			continue
		}
		if best == nil || best.health.down && !other.health.down || best.health.down == other.health.down && other.id < best.id {
			best = other
		}
	}
	return best
}

// orphan deals with a session whose node n has gone: it stays with another SMF of
// the set (TS 23.527 §4.3), else it is deleted.
func (s *Server) orphan(sess *session, n *node) {
	heir := s.heir(n)
	if heir == nil {
		s.remove(sess)
		return
	}
	next := cpSessionOf(heir.id, sess.cp.fseid())
	if s.byCP[next] != nil {
		s.remove(sess)
		return
	}
	s.rename(sess, next)
}

// rename has a session be next, which is no other session's name, from now on.
func (s *Server) rename(sess *session, next cpSession) {
	delete(s.byCP, sess.cp)
	s.paths.hand(sess.rules.farEnds(), sess.cp.node(), next.node())
	sess.cp = next
	s.byCP[next] = sess
}

// hand has another CP function, or the same under another CP F-SEID, control the
// session: it says anew where reports go.
func (s *Server) hand(sess *session, next cpSession) {
	s.rename(sess, next)
	more := sess.rare()
	more.reportTo = netip.Addr{}
	sess.setRare(more)
}

// successor is who controls sess after a modification: its node, or the SMF of the
// set that the request names (TS 29.244 Table 7.5.4.1-1, Node ID), and under which
// CP F-SEID.
func (s *Server) successor(sess *session, m *message.SessionModificationRequest) (cpSession, *pfcp.Error) {
	next := sess.cp
	node, f := next.node(), next.fseid()
	if m.NodeID != nil {
		n, err := s.associated(m.NodeID)
		if err != nil {
			return next, err
		}
		if current := s.nodes[sess.cp.node()]; current == nil || !sameSet(current, n) {
			return next, &pfcp.Error{
				Cause: ie.CauseRequestRejected, Offending: ie.NodeID,
				Text: fmt.Sprintf("node %s is not of the set of node %s", n.id, sess.cp.node()),
			}
		}
		node = n.id
	}
	if m.CPFSEID != nil {
		var err *pfcp.Error
		if f, err = pfcp.ParseFSEID(m.CPFSEID); err != nil {
			return next, err
		}
	}
	next = cpSessionOf(node, f)
	if other := s.byCP[next]; other != nil && other != sess {
		return next, &pfcp.Error{
			Cause: ie.CauseRequestRejected, Offending: ie.FSEID, Text: "CP F-SEID belongs to session " + seidText(other.seid),
		}
	}
	return next, nil
}

// reportAddr is where the reports of sess go: to the address that a Session Set
// Modification has named, else to that of the CP F-SEID, of the family that N4 has
// (TS 29.244 §5.22.2: a session can be taken over by another CP function of an SMF
// set), else to its node. If the node is down they go to an alternative address of it,
// a preferred one first, or to another SMF of the set. ok is false if there is nobody.
func (s *Server) reportAddr(sess *session) (a netip.Addr, ok bool) {
	f := sess.cp.fseid()
	a = f.IPv4
	if s.fseid.IPv6.IsValid() {
		a = f.IPv6
	}
	n := s.nodes[sess.cp.node()]
	switch {
	case sess.rare().reportTo.IsValid():
		a = sess.rare().reportTo
	case a.IsValid() && !a.IsUnspecified() && !a.IsMulticast():
	case n == nil:
		return netip.Addr{}, false
	default:
		a = n.addr
	}
	if n != nil && n.health.down && (a == n.addr || n.id == a.String()) {
		if other := n.alternative(a); other.IsValid() {
			a = other
		} else if heir := s.heir(n); heir != nil && !heir.health.down {
			a = heir.addr
		}
	}
	return a, true
}

// alternative is another address of n than a, a preferred one first; invalid if n
// has told of none.
func (n *node) alternative(a netip.Addr) netip.Addr {
	var best netip.Addr
	for _, alt := range n.alternatives {
		for _, b := range alt.Addrs {
			if b.Is4() == a.Is4() && b != a && (!best.IsValid() || alt.Preferred) {
				best = b
			}
		}
	}
	return best
}

// sessionSetDeletion deletes the sessions that belong to one of the PDN connection
// sets (TS 29.244 Table 7.4.6.1-1), as far as the node or its set has them.
func (s *Server) sessionSetDeletion(m *message.SessionSetDeletionRequest) message.Message {
	n, err := s.associated(m.NodeID)
	var set pfcp.SessionSet
	if err == nil {
		set, _, err = pfcp.ParseSessionSet(m.Payload)
	}
	if err == nil && len(set.CSIDs) == 0 {
		err = &pfcp.Error{Cause: ie.CauseConditionalIEMissing, Offending: ie.FQCSID, Text: "no FQ-CSID"}
	}
	if err != nil {
		return s.reject(m.MessageType(), 0, err)
	}
	deleted := 0
	for sess := range s.setOf(n) {
		if its := sess.rare().set; its != nil && slices.ContainsFunc(its.CSIDs, func(c pfcp.CSID) bool { return slices.Contains(set.CSIDs, c) }) {
			s.remove(sess)
			deleted++
		}
	}
	s.log.Info("session set deleted", "node", n.id, "sessions", deleted)
	return message.NewSessionSetDeletionResponse(0, s.nodeID(), ie.NewCause(ie.CauseRequestAccepted), nil)
}

// setOf yields the sessions that n or an SMF of its set controls.
func (s *Server) setOf(n *node) func(yield func(*session) bool) {
	return func(yield func(*session) bool) {
		for _, sess := range s.sessions {
			if owner := s.nodes[sess.cp.node()]; owner != nil && sameSet(n, owner) && !yield(sess) {
				return
			}
		}
	}
}

// sessionSetModification has the reports of sets of sessions go elsewhere (TS 29.244
// Table 7.4.7.1-1). All of it is read before any of it is done.
func (s *Server) sessionSetModification(m *message.Generic) message.Message {
	n, err := s.associated(first(m.IEs, ie.NodeID))
	infos := all(m.IEs, pfcp.TypeSessionChangeInfo)
	if err == nil && len(infos) == 0 {
		err = &pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: pfcp.TypeSessionChangeInfo, Text: "no PFCP Session Change Info"}
	}
	var changes []*pfcp.SessionChange
	for _, i := range infos {
		if err == nil {
			var c *pfcp.SessionChange
			c, err = pfcp.ParseSessionChange(i)
			changes = append(changes, c)
		}
	}
	if err == nil && len(changes) > maxSetChanges {
		err = &pfcp.Error{
			Cause: ie.CauseNoResourcesAvailable, Offending: pfcp.TypeSessionChangeInfo,
			Text: fmt.Sprintf("%d changes, taken are %d", len(changes), maxSetChanges),
		}
	}
	if err != nil {
		return s.reject(m.MessageType(), 0, err)
	}
	changed := 0
	for sess := range s.setOf(n) {
		for _, c := range changes {
			if sess.in(c) {
				more := sess.rare()
				more.reportTo = c.Alternative.Addrs[0]
				sess.setRare(more)
				changed++
				break
			}
		}
	}
	s.log.Info("session sets modified", "node", n.id, "sessions", changed)
	return message.NewGenericWithoutSEID(pfcp.MsgSessionSetModificationResponse, 0, s.nodeID(), ie.NewCause(ie.CauseRequestAccepted))
}

// maxSetChanges is how many Session Change Infos one request may carry.
const maxSetChanges = 16

// in says whether c is about the session.
func (s *session) in(c *pfcp.SessionChange) bool {
	f := s.cp.fseid()
	if slices.ContainsFunc(c.CPAddrs, func(a netip.Addr) bool { return a == f.IPv4 || a == f.IPv6 }) {
		return true
	}
	set := s.rare().set
	if set == nil {
		return false
	}
	return set.Group != "" && slices.Contains(c.Groups, set.Group) ||
		slices.ContainsFunc(set.CSIDs, func(id pfcp.CSID) bool { return slices.Contains(c.CSIDs, id) })
}

// sessionSet is what a message's payload says of the sets that a session belongs to;
// before, if it says nothing.
func sessionSet(payload []byte, before *pfcp.SessionSet) (*pfcp.SessionSet, *pfcp.Error) {
	set, ok, err := pfcp.ParseSessionSet(payload)
	if err != nil || !ok {
		return before, err
	}
	return &set, nil
}
