package upf

import (
	"slices"
	"time"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// idleness is about a UE that sends nothing: the session's User Plane Inactivity Timer,
// and downlink data for it that is not reported yet.
type idleness struct {
	timer time.Duration // 0 = none
	check stamp         // when to look whether it has run out; 0 = never
	base  stamp         // no packet yet: it runs from here
	told  int64         // last packet of the idleness that was reported, Unix nanoseconds

	data []delayedData
	drop stamp // when what is buffered is dropped; 0 = never
}

// due is when to look whether the timer has run out; 0 = never.
func (i *idleness) due() stamp {
	if i == nil {
		return 0
	}
	return i.check
}

// dataDue is when the next downlink data is to be reported, or what is buffered dropped;
// 0 = never.
func (i *idleness) dataDue() (at stamp) {
	if i != nil {
		at = i.drop
		for _, d := range i.data {
			at = sooner(at, d.at)
		}
	}
	return at
}

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

// bufferFor has what the session buffers dropped after d (DL Buffering Duration, TS 29.244
// §5.2.8, §8.2.29), unless it is sent or dropped before.
func (s *Server) bufferFor(sess *session, d time.Duration) {
	su := s.usageOf(sess)
	if su.idle == nil {
		su.idle = &idleness{}
	}
	if su.idle.drop = 0; d != pfcp.Forever {
		su.idle.drop = max(1, s.rep.tick+stamp(d))
	}
	s.schedule(su)
}

// expireDelayed reports the downlink data whose delay is over, and drops what has been
// buffered for long enough.
func (s *Server) expireDelayed(su *sessionUsage) {
	if su.idle.drop != 0 && su.idle.drop <= s.rep.tick {
		s.dropBuffered(su.sess)
		su.idle.drop = 0 // there was nothing to drop
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
// rules, or, with all, all of it: nothing is buffered any more.
func (s *Server) forgetDelayed(sess *session, all bool) {
	su := sess.usage
	if su == nil || su.idle == nil || su.idle.dataDue() == 0 {
		return
	}
	if all || !slices.ContainsFunc(sess.rules.pdrs, func(p *pfcp.PDR) bool { return sess.rules.buffers(p.ID) }) {
		su.idle.drop = 0
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
