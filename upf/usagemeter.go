package upf

import (
	"time"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// meter is what is known of a URR beyond its rule.
type meter struct {
	urr      uint32
	sequence uint32 // UR-SEQN of the next report
	start    stamp  // of what is not reported yet
	timed    stamp  // time of use runs from here on; 0 = from the next packet on
	last     stamp  // of the last packet, as far as a reading has told; 0 = none
	carry    *tally // read and not reported

	wanted pfcp.UsageTrigger // the reading that [Server.collect] is to make is reported for this; 0 = none
	period uint32            // Measurement Period by which periodic was set

	// Deadlines. check is the earliest time at which a limit of time can be reached.
	periodic, check stamp

	more    *meterMore // nil = none of it
	paused  bool
	flowing bool // between the start and the stop of traffic
}

// meterMore is what the meters of a URR with a quota, events or a Monitoring Time need.
type meterMore struct {
	before   *tally // up to the Monitoring Time, not reported
	beforeIn bool   // before is in the worker's meter still
	beforeAt stamp  // the Monitoring Time that before goes up to

	validity, monitoring stamp // deadlines

	used      time.Duration // of the time quota, by readings that have been taken
	events    uint32        // starts of traffic since the last report of them
	quotaUsed uint32        // of the event quota
	granted   stamp         // when a quota was last given: the Quota Holding Time runs from there

	// volume is what was counted of the volume quota, uplink and downlink, by readings
	// that have been taken; it begins below 0 by what the meter had when it was granted.
	// For the state file alone: the worker counts for itself.
	volume [2]int64

	// What the rule said when the above was set.
	volumeGrant, timeGrant, eventGrant, grants, valid uint32
}

// rare is m.more, an empty one to be read if there is none.
func (m *meter) rare() *meterMore {
	if m.more == nil {
		return &meterMore{}
	}
	return m.more
}

// moreOf is m.more, which is made if it is not there.
func (s *Server) moreOf(m *meter) *meterMore {
	if m.more == nil {
		m.more = &meterMore{granted: s.rep.tick}
	}
	return m.more
}

// needsMore says whether the meter of u must have a meterMore.
func needsMore(u *pfcp.URR) bool {
	return u.HasQuota() || u.Limits.EventThreshold != 0 || watchesTraffic(u) || !u.Rare().Monitoring.IsZero()
}

// tally is usage and the time that it took.
type tally struct {
	dataplane.Usage
	duration time.Duration
}

func (t *tally) add(o *tally) {
	t.Uplink.Packets += o.Uplink.Packets
	t.Uplink.Octets += o.Uplink.Octets
	t.Downlink.Packets += o.Downlink.Packets
	t.Downlink.Octets += o.Downlink.Octets
	t.duration += o.duration
	t.First = earlier(t.First, o.First)
	t.Last = later(t.Last, o.Last)
}

// cut takes from t what o holds, as far as t has it, and returns that.
func (t *tally) cut(o *tally) *tally {
	c := *o
	for _, p := range [][2]*uint64{
		{&t.Uplink.Packets, &c.Uplink.Packets},
		{&t.Uplink.Octets, &c.Uplink.Octets},
		{&t.Downlink.Packets, &c.Downlink.Packets},
		{&t.Downlink.Octets, &c.Downlink.Octets},
	} {
		*p[1] = min(*p[0], *p[1])
		*p[0] -= *p[1]
	}
	c.duration = min(t.duration, c.duration)
	t.duration -= c.duration
	if !t.Last.After(c.Last) {
		t.First, t.Last = time.Time{}, time.Time{}
	} else {
		t.First = later(t.First, c.Last)
	}
	return &c
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// armMore sets what a meter with limits beyond a threshold waits for.
func (s *Server) armMore(m *meterMore, u *pfcp.URR) {
	now := s.rep.tick
	if m.timeGrant != u.TimeGrant {
		m.timeGrant, m.used = u.TimeGrant, 0
	}
	if m.eventGrant != u.EventGrant {
		m.eventGrant, m.quotaUsed = u.EventGrant, 0
	}
	granted := m.grants != u.VolumeGrant+u.TimeGrant+u.EventGrant
	if granted {
		m.grants, m.granted = u.VolumeGrant+u.TimeGrant+u.EventGrant, now
	}
	switch {
	case u.QuotaValidity == 0 || !u.HasQuota() || !u.Triggered(pfcp.TriggerQUVTI):
		m.validity, m.valid = 0, 0
	case granted || m.valid != u.QuotaValidity:
		m.validity, m.valid = now+seconds(u.QuotaValidity), u.QuotaValidity
	}
	m.monitoring = 0
	if at := u.Rare().Monitoring; !at.IsZero() && at.After(s.rep.now) {
		m.monitoring = now + stamp(at.Sub(s.rep.now))
	}
}

// use counts time of use against the time quota, if there is one.
func (m *meter) use(d time.Duration) {
	if m.more != nil {
		m.more.used += d
	}
}
