package upf

import (
	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// accessNews is what a session has to report of its accesses (TS 29.244 §5.20.4.2): of
// each whose availability has changed, what it is now.
type accessNews struct{ changed, available steer.Set }

// put notes that a has become available, or unavailable.
func (n *accessNews) put(a steer.Access, available bool) {
	n.changed |= steer.SetOf(a)
	if n.available |= steer.SetOf(a); !available {
		n.available &^= steer.SetOf(a)
	}
}

// putBack returns what has been sent and not answered; what has come meanwhile counts.
func (n *accessNews) putBack(sent accessNews) {
	old := sent.changed &^ n.changed
	n.available |= sent.available & old
	n.changed |= old
}

// reports are the Session Reports of n, one for each SRR that asks for it (Table
// 7.5.8.6-1).
func (n accessNews) reports(r ruleSet) []*ie.IE {
	var changes []pfcp.AccessAvailability
	for a := range steer.Access(steer.NumAccesses) {
		if n.changed.Has(a) {
			changes = append(changes, pfcp.AccessAvailability{Access: uint8(a), Available: n.available.Has(a)})
		}
	}
	var ies []*ie.IE
	for _, s := range r.srrs {
		if s.Reports(pfcp.RRCA) {
			ies = append(ies, (&pfcp.SessionReport{SRR: s.ID, Availability: changes}).IE())
		}
	}
	return ies
}

// accessChanged reports that an access of a session has become available or unavailable,
// if an SRR asks for it. What the CP function has said of an access holds until it is
// measured to be available again (TS 29.244 §5.20.5).
func (s *Server) accessChanged(e *dataplane.Event) {
	sess := s.sessions[e.SEID]
	if sess == nil || e.Access >= steer.NumAccesses {
		return
	}
	s.log.Debug("access changed", "seid", seidText(sess.seid), "access", e.Access, "available", e.Available)
	if sess.rules.reportsAccess() {
		su := s.usageOf(sess)
		su.out.waiting().access.put(e.Access, e.Available)
		s.enqueue(su)
	}
	if e.Available && sess.rules.unavailable.Has(e.Access) {
		s.rep.back = append(s.rep.back, accessBack{sess, e.Access})
		s.rep.signal()
	}
}

// accessBack is an access that is available again, against what its CP function has said.
type accessBack struct {
	sess   *session
	access steer.Access
}

// useAgain lets the sessions use the accesses that are available again.
func (s *Server) useAgain() {
	for _, b := range s.rep.back {
		if s.sessions[b.sess.seid] != b.sess {
			continue
		}
		set := b.sess.rules.clone()
		set.unavailable &^= steer.SetOf(b.access)
		if err := s.reinstall(b.sess, set); err != nil {
			s.log.Error("access not used again", "seid", seidText(b.sess.seid), "access", b.access, "err", err)
		}
	}
	clear(s.rep.back)
	s.rep.back = s.rep.back[:0]
}
