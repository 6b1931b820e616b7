package upf

import (
	"time"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// leastWait is the least time until a meter is looked at again: limits of time are
// whole seconds.
const leastWait = stamp(200 * time.Millisecond)

// limits holds a reading against the limits of time: it says what has been reached,
// whether the quota has run out, and sets the meter's next check to the earliest time
// at which something else can be.
func (s *Server) limits(m *meter, u *pfcp.URR, usage *dataplane.Usage) (why pfcp.UsageTrigger, spent bool) {
	now := s.rep.tick
	m.check = 0
	wait := func(left stamp) { m.check = sooner(m.check, now+max(left, leastWait)) }
	used := s.duration(m, u, usage)
	if m.carry != nil {
		used += m.carry.duration
	}
	if limit := seconds(u.Limits.TimeThreshold); limit != 0 && u.Triggered(pfcp.TriggerTIMTH) {
		left := limit - stamp(used)
		if left <= 0 {
			why |= pfcp.ReportTIMTH
			left = limit
		}
		wait(left)
	}
	if q := u.Limits.TimeQuota; q != nil && !u.Spent {
		if left := seconds(*q) - stamp(m.rare().used+s.duration(m, u, usage)); left > 0 {
			wait(left)
		} else {
			why, spent = why|pfcp.ReportTIMQU, true
		}
	}
	last := m.last
	if !usage.Last.IsZero() {
		last = max(last, s.rep.stamp(usage.Last))
	}
	if u.QuotaHolding != 0 && u.HasQuota() && !u.Spent {
		if left := max(last, m.rare().granted) + seconds(u.QuotaHolding) - now; left > 0 {
			wait(left)
		} else {
			why, spent = why|pfcp.ReportQUHTI, true
		}
	}
	if m.flowing {
		if left := last + stamp(quiet(u)) - now; left > 0 {
			wait(left)
		} else {
			m.flowing = false
			why |= pfcp.ReportSTOPT
		}
	}
	return why & asked(u), spent
}

// asked are the reports that u's Reporting Triggers ask for, of those that limits
// gives.
func asked(u *pfcp.URR) (to pfcp.UsageTrigger) {
	for _, t := range [...]struct {
		rule   pfcp.Triggers
		report pfcp.UsageTrigger
	}{
		{pfcp.TriggerVOLTH, pfcp.ReportVOLTH},
		{pfcp.TriggerVOLQU, pfcp.ReportVOLQU},
		{pfcp.TriggerTIMTH, pfcp.ReportTIMTH},
		{pfcp.TriggerTIMQU, pfcp.ReportTIMQU},
		{pfcp.TriggerQUHTI, pfcp.ReportQUHTI},
		{pfcp.TriggerSTART, pfcp.ReportSTART},
		{pfcp.TriggerSTOPT, pfcp.ReportSTOPT},
		{pfcp.TriggerEVETH, pfcp.ReportEVETH},
		{pfcp.TriggerEVEQU, pfcp.ReportEVEQU},
	} {
		if u.Triggered(t.rule) {
			to |= t.report
		}
	}
	return to
}

// lookIdle reports a session that has had no packet for its User Plane Inactivity
// Timer (TS 29.244 §5.11.3), once for each time that it falls idle.
func (s *Server) lookIdle(su *sessionUsage, last time.Time) {
	i := su.idle
	if i == nil || i.timer == 0 {
		return
	}
	base := i.base
	told := int64(1) // no packet at all
	if !last.IsZero() {
		base, told = max(base, s.rep.stamp(last)), last.UnixNano()
	}
	i.check = base + stamp(i.timer)
	if i.check > s.rep.tick {
		return
	}
	i.check = s.rep.tick + stamp(i.timer)
	if i.told != told {
		i.told = told
		su.out.waiting().idle = true
		s.enqueue(su)
	}
}
