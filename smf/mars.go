package smf

import (
	"time"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/pfcp"
)

// The MARs of a session.
const (
	mainMAR  = 0 // of TCP where there is another one, of all traffic otherwise
	otherMAR = 1 // of the rest
	numMARs  = 2
)

// marIDs are the numbers of a session's MARs on the UPF; 0 = there is none.
type marIDs [numMARs]uint16

// firstMARID is the number of a new MAR. A MAR cannot lose one of its two accesses by an
// update: the session then changes over to the MAR's alternate number, or back.
func firstMARID(which int) uint16 { return 1 + 2*uint16(which) }

func alternate(id uint16) uint16 { return (id - 1) ^ 1 + 1 }

// mar is a MAR as the policy means it.
type mar struct {
	Steering
	shares [steer.NumAccesses]*Share // nil where the session has no such access
}

// mar is one of the session's MARs; nil if it has no such one.
func (s *Session) mar(which int) *mar {
	if which == otherMAR && s.Other == nil {
		return nil
	}
	m := &mar{Steering: s.Steering}
	if which == otherMAR {
		m.Steering = s.Other.Steering
	}
	for a, acc := range s.Accesses {
		switch {
		case acc == nil:
		case which == otherMAR && s.Other.Shares[a] != nil:
			m.shares[a] = s.Other.Shares[a]
		default:
			m.shares[a] = acc.share()
		}
	}
	return m
}

func (a *Access) share() *Share { return &Share{a.Weight, a.Priority} }

// firstMARs are the numbers of a new session's MARs.
func firstMARs(s *Session) (ids marIDs) {
	for which := range ids {
		if s.mar(which) != nil {
			ids[which] = firstMARID(which)
		}
	}
	return ids
}

func (m *mar) create(id uint16) *ie.IE {
	r := pfcp.MAR{ID: id, Functionality: octet(m.Functionality), Mode: octet(m.Mode)}
	for a, share := range m.shares {
		if share != nil {
			r.Access[a] = m.forwarding(steer.Access(a), false)
		}
	}
	if m.Thresholds != (steer.Thresholds{}) {
		r.Thresholds = thresholds(m.Thresholds)
	}
	if m.Indicator != 0 {
		r.Indicator = octet(m.Indicator)
	}
	return r.IE(ie.CreateMAR)
}

// update is what turns have, of number id, into m; nil if nothing differs. No access of
// have is missing in m. A new mode begins without thresholds and indicator; otherwise IEs
// without a flag take back those that m has no more.
func (m *mar) update(have *mar, id uint16) *ie.IE {
	r, changed := pfcp.MAR{ID: id}, false
	had := have.Steering
	if have.Functionality != m.Functionality {
		r.Functionality, changed = octet(m.Functionality), true
	}
	if have.Mode != m.Mode {
		r.Mode, changed = octet(m.Mode), true
		had.Thresholds, had.Indicator = steer.Thresholds{}, 0
	}
	for a, share := range m.shares {
		h := have.shares[a]
		switch {
		case share == nil:
		case h == nil:
			r.Access[a], changed = m.forwarding(steer.Access(a), false), true
		case ranked(m.Mode) && (have.Mode != m.Mode || !sameShare(h, share, m.Mode)):
			r.Access[a], changed = m.forwarding(steer.Access(a), true), true
		}
	}
	if had.Thresholds != m.Thresholds {
		r.Thresholds, changed = thresholds(m.Thresholds), true
	}
	if had.Indicator != m.Indicator {
		r.Indicator, changed = octet(m.Indicator), true
	}
	if !changed {
		return nil
	}
	return r.IE(ie.UpdateMAR)
}

// forwarding is the access forwarding action information of one access, or an update of
// it.
func (m *mar) forwarding(a steer.Access, update bool) *pfcp.AccessForwarding {
	f := &pfcp.AccessForwarding{Update: update}
	if !update {
		id := accessFAR(a)
		f.FARID = &id
	}
	switch share := m.shares[a]; {
	case m.Mode == steer.LoadBalancing:
		f.Weight = &share.Weight
	case ranked(m.Mode):
		f.Priority = octet(rank(share, m.Mode))
	}
	return f
}

// ranked says whether a mode has weights or priorities.
func ranked(mode steer.Mode) bool { return mode != steer.SmallestDelay }

// rank is the priority of a share under a mode that has them: under Priority-based an
// access is high or low, under Redundant primary or secondary.
func rank(s *Share, mode steer.Mode) steer.Priority {
	switch {
	case mode == steer.PriorityBased && s.Priority != steer.High:
		return steer.Low
	case mode == steer.Redundant && s.Priority != steer.Primary:
		return steer.Secondary
	}
	return s.Priority
}

// sameShare says whether two shares rank the same under a mode.
func sameShare(h, w *Share, mode steer.Mode) bool {
	if mode == steer.LoadBalancing {
		return h.Weight == w.Weight
	}
	return rank(h, mode) == rank(w, mode)
}

func thresholds(t steer.Thresholds) *pfcp.Thresholds {
	p := &pfcp.Thresholds{}
	if t.RTT != 0 {
		ms := uint16(time.Duration(t.RTT) * time.Microsecond / time.Millisecond)
		p.RTT = &ms
	}
	if t.HasPLR {
		p.PLR = &t.PLR
	}
	return p
}

func octet[T ~uint8](v T) *uint8 {
	b := uint8(v)
	return &b
}
