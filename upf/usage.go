package upf

import (
	"cmp"
	"slices"
	"time"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// Usage reporting (TS 29.244 §5.2.2.2, §5.2.2.3). A worker counts volumes and says when
// a limit of volume is reached; whatever goes by the clock happens here. One goroutine
// ([Server.reportLoop]) does it all in steps, each under the server's lock:
//
//	events of workers ─┐                     ┌─ paced by peer
//	                   ├─> meters ─> outbox ─┴─> Session Report Request
//	deadlines (a heap)─┘    (one request under way a session)
//
// What a meter has counted is always in one place of: the worker's meter, an event
// under way, the meter's carry, the outbox, a request under way.

// stamp is a point in time on the monotonic clock, in nanoseconds since the
// reporter's epoch; 0 = none.
type stamp int64

// sessionUsage is what the session's usage reporting keeps beyond the rules.
type sessionUsage struct {
	sess   *session
	meters []meter   // of every URR of the session, rising ID
	idle   *idleness // nil = none of it

	deadline stamp // the earliest of all; 0 = none
	index    int32 // in the heap; valid if deadline is
	gone     bool  // the session is deleted

	out outbox
}

// meter is that of the URR; nil if there is none.
func (su *sessionUsage) meter(urr uint32) *meter {
	i, ok := slices.BinarySearchFunc(su.meters, urr, func(m meter, id uint32) int { return cmp.Compare(m.urr, id) })
	if !ok {
		return nil
	}
	return &su.meters[i]
}

// rule is the URR that m measures for.
func (su *sessionUsage) rule(m *meter) *pfcp.URR { return su.sess.rules.urrs.get(m.urr) }

// usageOf is the session's usage reporting, which is made if it is not there.
func (s *Server) usageOf(sess *session) *sessionUsage {
	if sess.usage == nil {
		sess.usage = &sessionUsage{sess: sess}
	}
	return sess.usage
}

// usageInstalled brings the meters in line with the rules that have been installed.
// Meters of URRs that are gone go; the caller has their last readings.
func (s *Server) usageInstalled(sess *session) {
	if sess.usage == nil && len(sess.rules.urrs) == 0 {
		return
	}
	su := s.usageOf(sess)
	su.meters = slices.DeleteFunc(su.meters, func(m meter) bool { return su.rule(&m) == nil })
	var made []meter
	for _, u := range sess.rules.urrs {
		id := u.ID
		if su.meter(id) == nil {
			m := meter{urr: id, start: s.rep.tick}
			if u.Informed(pfcp.InfoISTM) {
				m.timed = s.rep.tick
			}
			made = append(made, m)
		}
	}
	su.meters = append(su.meters, made...)
	slices.SortFunc(su.meters, func(a, b meter) int { return cmp.Compare(a.urr, b.urr) })
	for i := range su.meters {
		s.arm(&su.meters[i], su.rule(&su.meters[i]))
	}
	s.beginVolume(su)
	s.schedule(su)
}

// arm sets what m waits for after u has been made or changed.
func (s *Server) arm(m *meter, u *pfcp.URR) {
	now := s.rep.tick
	if m.more != nil || needsMore(u) {
		s.armMore(s.moreOf(m), u)
	}
	switch {
	case !u.Triggered(pfcp.TriggerPERIO) || u.Period == 0:
		m.periodic, m.period = 0, 0
	case m.period != u.Period:
		m.periodic, m.period = now+seconds(u.Period), u.Period
	}
	if paused := u.Informed(pfcp.InfoINAM); paused != m.paused {
		if m.timed != 0 && paused {
			t := &tally{duration: time.Duration(now - m.timed)}
			m.use(t.duration)
			m.carryOver(t)
			m.timed = 0
		} else if !paused && u.Informed(pfcp.InfoISTM) {
			m.timed = now
		}
		m.paused = paused
	}
	m.check = 0
	if checked(m, u) {
		m.check = now // the first look says when the next one is due
	}
}

// checked says whether u has a limit that a reading must be held against.
func checked(m *meter, u *pfcp.URR) bool {
	return u.Limits.TimeThreshold != 0 && u.Triggered(pfcp.TriggerTIMTH) ||
		u.Limits.TimeQuota != nil && !u.Spent ||
		u.QuotaHolding != 0 && u.HasQuota() && !u.Spent ||
		m.flowing
}

func seconds(n uint32) stamp { return stamp(time.Duration(n) * time.Second) }

func (m *meter) carryOver(t *tally) {
	if m.carry == nil {
		m.carry = &tally{}
	}
	m.carry.add(t)
}

// duration is the time of use of a reading (TS 29.244 §5.2.2.2.1): from the first
// packet, or from the start with ISTM; with an Inactivity Detection Time the gaps do
// not count.
func (s *Server) duration(m *meter, u *pfcp.URR, usage *dataplane.Usage) time.Duration {
	switch {
	case u.Inactivity != 0:
		return usage.Active
	case m.timed != 0:
		return time.Duration(s.rep.tick - m.timed)
	case !usage.First.IsZero() && !m.paused:
		return time.Duration(s.rep.tick - s.rep.stamp(usage.First))
	}
	return 0
}

// take takes a reading of a worker's meter that starts again.
func (s *Server) take(m *meter, u *pfcp.URR, usage *dataplane.Usage) *tally {
	t := &tally{*usage, s.duration(m, u, usage)}
	if m.timed != 0 || !usage.First.IsZero() && !m.paused {
		m.timed = s.rep.tick
	}
	if !usage.Last.IsZero() {
		m.last = max(m.last, s.rep.stamp(usage.Last))
	}
	m.use(t.duration)
	if m.more != nil {
		m.more.volume[0] += int64(t.Uplink.Octets)
		m.more.volume[1] += int64(t.Downlink.Octets)
	}
	return t
}

// report makes the reports of what m has counted: all that is carried and reading,
// which has been taken from the worker's meter; u is its rule. There are two if the Monitoring Time
// has passed: usage before it and after it.
func (s *Server) report(m *meter, u *pfcp.URR, reading *tally, why pfcp.UsageTrigger) (to []pfcp.UsageReport) {
	t := *reading
	if m.carry != nil {
		t.add(m.carry)
		m.carry = nil
	}
	var info pfcp.UsageInformation
	start := m.start
	if b := m.rare().before; b != nil {
		if m.more.beforeIn {
			b = t.cut(b)
		}
		to = append(to, s.usageReport(u, b, pfcp.ReportMONIT, pfcp.UsageBeforeMonitoring, start, m.more.beforeAt))
		start = m.more.beforeAt
		info = pfcp.UsageAfterMonitoring
		m.more.before, m.more.beforeIn = nil, false
	}
	m.start = s.rep.tick
	return append(to, s.usageReport(u, &t, why, info, start, s.rep.tick))
}

// usageReport is one report. That the usage is before QoS enforcement, which the rule has
// asked for, is not said again (TS 29.244 §8.2.73): free5GC's SMF cannot read the IE.
func (s *Server) usageReport(u *pfcp.URR, t *tally, why pfcp.UsageTrigger, info pfcp.UsageInformation, start, end stamp) pfcp.UsageReport {
	r := pfcp.UsageReport{
		URR: u.ID, Trigger: why, Usage: info, Start: s.rep.wall(start), End: s.rep.wall(end), First: t.First, Last: t.Last,
	}
	if u.Method&pfcp.MethodVolume != 0 {
		r.Volume = &pfcp.VolumeMeasurement{
			Uplink: t.Uplink.Octets, Downlink: t.Downlink.Octets, HasPackets: u.Informed(pfcp.InfoMNOP),
			UplinkPackets: t.Uplink.Packets, DownlinkPackets: t.Downlink.Packets,
		}
	}
	if u.Method&pfcp.MethodDuration != 0 {
		r.Duration = &t.duration
	}
	return r
}

// bare is a report of an event, which has no measurement (TS 29.244 Table 7.5.8.3-1). If
// a PDR of the URR detects an application, the event is the application's (§5.4.11).
func (s *Server) bare(su *sessionUsage, urr uint32, why pfcp.UsageTrigger) pfcp.UsageReport {
	r := pfcp.UsageReport{URR: urr, Trigger: why, Events: []time.Time{s.rep.now}}
	known := false // a UE address that the CP function did not give is news to it
	for _, p := range su.sess.rules.pdrs {
		if !slices.Contains(p.URRIDs, urr) {
			continue
		}
		known = known || len(p.PDI.UEAddresses) > 0
		if r.Application == "" {
			r.Application = p.PDI.ApplicationID
		}
	}
	if known {
		return r
	}
	if held := su.sess.holds.prefixes; len(held) > 0 {
		r.UE = &pfcp.UEIPAddress{}
		if a := held[0].Addr(); a.Is4() {
			r.UE.IPv4 = a
		} else {
			r.UE.IPv6 = a
		}
	}
	return r
}

// inactivityTimer takes the User Plane Inactivity Timer of a request (TS 29.244
// §5.11.3): 0 ends it.
func (s *Server) inactivityTimer(sess *session, i *ie.IE) {
	if i == nil {
		return
	}
	v, err := pfcp.ParseSeconds(i)
	if err != nil || v == 0 && sess.usage == nil {
		return
	}
	su := s.usageOf(sess)
	if su.idle == nil {
		su.idle = &idleness{}
	}
	su.idle.timer, su.idle.base, su.idle.check = time.Duration(v)*time.Second, s.rep.tick, 0
	if v != 0 {
		su.idle.check = s.rep.tick + seconds(v)
	}
	s.schedule(su)
}
