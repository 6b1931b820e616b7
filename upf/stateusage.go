package upf

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// What a session has counted, and not reported or not had acknowledged, goes over a
// restart with it: the meters are read when N4 has ended, and stand in the session's
// record behind what was chosen for it,
//
//	count of meters, 2 octets, then each as appendMeter has it
//	count of usage reports, 2 octets, then of each: sent already, 1 octet; length, 2
//	octets; Usage Report IE
//
// What passes from that reading until the plane ends is not counted. Nor is the time
// in between time of use.

// carryMeters reads all meters, for the last time.
func (s *Server) carryMeters() {
	s.rep.refresh()
	s.takeEvents()
	var list []reading
	for _, sess := range s.sessions {
		if sess.usage == nil {
			continue
		}
		for i := range sess.usage.meters {
			list = append(list, reading{sess.usage, sess.usage.meters[i].urr})
		}
	}
	s.read(list, true, func(r reading, usage *dataplane.Usage, _ time.Time) {
		m := r.su.meter(r.urr)
		t := s.take(m, r.su.rule(m), usage)
		if m.carry != nil {
			t.add(m.carry)
		}
		if more := m.more; more != nil && more.before != nil && more.beforeIn {
			more.before, more.beforeIn = t.cut(more.before), false
		}
		m.carry = t
	})
}

// appendUsage appends the session's usage.
func (s *Server) appendUsage(b []byte, sess *session) []byte {
	su := sess.usage
	if su == nil {
		return append(b, 0, 0, 0, 0)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(su.meters)))
	for i := range su.meters {
		b = s.appendMeter(b, &su.meters[i], su.rule(&su.meters[i]))
	}
	var reports []queuedReport
	for _, p := range []*parcel{su.out.flight, su.out.next} {
		if p != nil {
			reports = append(reports, p.usage...)
		}
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(reports)))
	for i := range reports {
		p := reports[i].IE(ie.UsageReportWithinSessionReportRequest)
		octets, err := p.Marshal()
		if err != nil { // IEs that fit a message are no longer than an IE can be
			octets = nil
		}
		b = append(b, octetOf(reports[i].sent))
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(octets))), octets...)
	}
	return b
}

func octetOf(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// Flags of a meter in the file.
const (
	meterTimed   = 1 << iota // time of use was running
	meterFlowing             // between the start and the stop of traffic
	meterSpent               // the URR's quota, other than that of volume, has run out
	meterBefore              // a tally up to the Monitoring Time follows
)

// appendMeter appends m, in times of the clock on the wall.
func (s *Server) appendMeter(b []byte, m *meter, u *pfcp.URR) []byte {
	more := m.rare()
	flags := octetOf(m.timed != 0)*meterTimed | octetOf(m.flowing)*meterFlowing | octetOf(u.Spent)*meterSpent | octetOf(more.before != nil)*meterBefore
	b = binary.BigEndian.AppendUint32(append(b, flags), m.urr)
	for _, v := range []uint32{m.sequence, more.events, more.quotaUsed} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	for _, t := range []stamp{m.start, m.last, m.periodic, more.validity, more.granted, more.beforeAt} {
		b = s.appendStamp(b, t)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(more.used))
	carry := m.carry
	if carry == nil {
		carry = &tally{}
	}
	b = appendTally(b, carry)
	if more.before != nil {
		b = appendTally(b, more.before)
	}
	return b
}

// appendStamp appends t as nanoseconds of Unix time; 0 = none.
func (s *Server) appendStamp(b []byte, t stamp) []byte {
	if t == 0 {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return appendWall(b, s.rep.wall(t))
}

func appendWall(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

func appendTally(b []byte, t *tally) []byte {
	for _, v := range []uint64{t.Uplink.Packets, t.Uplink.Octets, t.Downlink.Packets, t.Downlink.Octets, uint64(t.duration)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return appendWall(appendWall(b, t.First), t.Last)
}

// savedUsage is a session's usage out of the file.
type savedUsage struct {
	meters  []savedMeter
	reports []queuedReport
}

// savedMeter is a meter out of the file.
type savedMeter struct {
	flags                       byte
	urr                         uint32
	sequence, events, quotaUsed uint32

	start, last, periodic, validity, granted, beforeAt time.Time

	used          time.Duration
	carry, before tally
}

// usage reads what appendUsage has written.
func (r *stateReader) usage() (u savedUsage) {
	for range r.u16() {
		if r.err != nil {
			return u
		}
		u.meters = append(u.meters, r.meter())
	}
	for range r.u16() {
		sent := r.u8() != 0
		ies, err := pfcp.ParseIEs(r.octets(int(r.u16())))
		r.check(err)
		if r.err != nil {
			return u
		}
		for _, i := range ies {
			report, err := pfcp.ParseUsageReport(i)
			r.check(err)
			u.reports = append(u.reports, queuedReport{UsageReport: *report, sent: sent})
		}
	}
	return u
}

func (r *stateReader) meter() (m savedMeter) {
	m.flags, m.urr = r.u8(), r.u32()
	m.sequence, m.events, m.quotaUsed = r.u32(), r.u32(), r.u32()
	for _, t := range []*time.Time{&m.start, &m.last, &m.periodic, &m.validity, &m.granted, &m.beforeAt} {
		*t = r.wall()
	}
	m.used = time.Duration(r.u64())
	m.carry = r.tally()
	if m.flags&meterBefore != 0 {
		m.before = r.tally()
	}
	return m
}

func (r *stateReader) wall() time.Time {
	if ns := r.u64(); ns != 0 {
		return time.Unix(0, int64(ns))
	}
	return time.Time{}
}

func (r *stateReader) tally() (t tally) {
	for _, v := range []*uint64{&t.Uplink.Packets, &t.Uplink.Octets, &t.Downlink.Packets, &t.Downlink.Octets} {
		*v = r.u64()
	}
	t.duration = time.Duration(r.u64())
	t.First, t.Last = r.wall(), r.wall()
	return t
}

// spent marks those URRs of set whose quota had run out.
func (u *savedUsage) spent(set *ruleSet) {
	for i := range u.meters {
		if rule := set.urrs.get(u.meters[i].urr); rule != nil && u.meters[i].flags&meterSpent != 0 {
			rule.Spent = true // nobody else has it yet
		}
	}
}

// restoreUsage has the session's meters, which are new, go on from where they were.
func (s *Server) restoreUsage(sess *session, saved *savedUsage) {
	if len(saved.meters)+len(saved.reports) == 0 {
		return
	}
	su := s.usageOf(sess)
	for i := range saved.meters {
		if m := su.meter(saved.meters[i].urr); m != nil {
			s.restoreMeter(m, &saved.meters[i])
		}
	}
	if len(saved.reports) > 0 {
		su.out.waiting().usage = slices.Clone(saved.reports)
		su.out.retry = s.rep.tick
	}
	s.schedule(su)
}

func (s *Server) restoreMeter(m *meter, saved *savedMeter) {
	at := func(t time.Time) stamp {
		if t.IsZero() {
			return 0
		}
		return max(1, s.rep.stamp(t))
	}
	now := s.rep.tick
	m.sequence, m.start, m.last = saved.sequence, min(now, at(saved.start)), min(now, at(saved.last))
	if m.periodic != 0 && !saved.periodic.IsZero() {
		m.periodic = min(m.periodic, at(saved.periodic))
	}
	m.flowing = saved.flags&meterFlowing != 0
	if saved.flags&meterTimed != 0 {
		m.timed = now
	}
	m.carry = &saved.carry
	if m.flowing {
		m.check = now
	}
	more := m.more
	if saved.flags&meterBefore != 0 {
		more = s.moreOf(m) // the rule has no Monitoring Time any more
	}
	if more == nil {
		return
	}
	more.events, more.quotaUsed, more.used = saved.events, saved.quotaUsed, saved.used
	more.granted = min(now, at(saved.granted))
	if more.validity != 0 {
		more.validity = at(saved.validity)
	}
	if saved.flags&meterBefore != 0 {
		more.before, more.beforeAt = &saved.before, min(now, at(saved.beforeAt))
	}
}

// beginVolume notes what the meters have counted that have been given a volume quota:
// none of it is of that.
func (s *Server) beginVolume(su *sessionUsage) {
	if s.cfg.Braid.State == "" {
		return
	}
	var list []reading
	for i := range su.meters {
		m := &su.meters[i]
		if u := su.rule(m); m.more != nil && u.Limits.VolumeQuota != nil && m.more.volumeGrant != u.VolumeGrant {
			m.more.volumeGrant = u.VolumeGrant
			list = append(list, reading{su, m.urr})
		}
	}
	s.read(list, false, func(r reading, usage *dataplane.Usage, _ time.Time) {
		r.su.meter(r.urr).more.volume = [2]int64{-int64(usage.Uplink.Octets), -int64(usage.Downlink.Octets)}
	})
}

// remaining is u with what is left of its volume quota.
func (su *sessionUsage) remaining(u *pfcp.URR) *pfcp.URR {
	q := u.Limits.VolumeQuota
	if q == nil || su == nil {
		return u
	}
	m := su.meter(u.ID)
	if m == nil || m.more == nil {
		return u
	}
	left := func(of *uint64, used int64) *uint64 {
		if of == nil {
			return nil
		}
		rest := *of - min(*of, uint64(max(0, used)))
		return &rest
	}
	up, down := m.more.volume[0], m.more.volume[1]
	with := *u
	with.Limits.VolumeQuota = &pfcp.Volumes{Total: left(q.Total, up+down), Uplink: left(q.Uplink, up), Downlink: left(q.Downlink, down)}
	return &with
}
