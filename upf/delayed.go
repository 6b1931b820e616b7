package upf

import (
	"slices"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// delayedData is downlink data whose report waits for the Downlink Data Notification
// Delay of a BAR (TS 29.244 §5.2.8, §8.2.28). It is forgotten if the PDR's FAR buffers
// no more before: the UE was about to come back by itself.
type delayedData struct {
	at   stamp // when it is reported
	data pfcp.DownlinkData
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
	d := pfcp.DownlinkData{PDR: e.PDR, QFI: e.QFI, PPI: &dscp}
	if e.After <= 0 {
		su.out.waiting().addData(d)
		s.enqueue(su)
		return
	}
	if !sess.rules.buffers(e.PDR) {
		return // a modification was quicker
	}
	if su.idle == nil {
		su.idle = &idleness{}
	}
	if len(su.idle.data) < maxOther {
		su.idle.data = append(su.idle.data, delayedData{s.rep.tick + stamp(e.After), d})
		s.schedule(su)
	}
}

// reportDelayed reports the downlink data whose delay is over.
func (s *Server) reportDelayed(su *sessionUsage) {
	if su.idle == nil {
		return
	}
	su.idle.data = slices.DeleteFunc(su.idle.data, func(d delayedData) bool {
		due := d.at <= s.rep.tick
		if due {
			su.out.waiting().addData(d.data)
		}
		return due
	})
	s.enqueue(su)
}

// forgetDelayed forgets the downlink data of PDRs that buffer no more by the session's
// rules, or, with all, all of it.
func (s *Server) forgetDelayed(sess *session, all bool) {
	su := sess.usage
	if su == nil || su.idle == nil || len(su.idle.data) == 0 {
		return
	}
	su.idle.data = slices.DeleteFunc(su.idle.data, func(d delayedData) bool { return all || !sess.rules.buffers(d.data.PDR) })
	s.schedule(su)
}

// buffers says whether a FAR of the PDR buffers: its own, or one of its MAR's.
func (r ruleSet) buffers(pdr uint16) bool {
	p := r.pdrs.get(pdr)
	if p == nil {
		return false
	}
	var ids []*uint32
	if ids = append(ids, p.FARID); p.MARID != nil {
		if m := r.mars.get(*p.MARID); m != nil {
			for _, a := range m.Access {
				if a != nil {
					ids = append(ids, a.FARID)
				}
			}
		}
	}
	return slices.ContainsFunc(ids, func(id *uint32) bool {
		if id == nil {
			return false
		}
		f := r.fars.get(*id)
		return f != nil && *f.ApplyAction&pfcp.ActionBUFF != 0
	})
}
