package dataplane

import (
	"math"
	"time"

	"github.com/braid-upf/braid/atsss/proxy"
)

// meter is a URR as its worker keeps it: what it has counted since the last reset, and
// the limits.
type meter struct {
	id     uint32
	paused bool
	before bool // counts what QERs then drop, too
	start  bool // an event tells of the first packet
	moved  bool // that event is sent

	up, down    Volume
	first, last proxy.Time // of the packets counted; valid if any are
	active      proxy.Time // time of use up to last
	inactive    proxy.Time // longest gap that counts as use; 0 = any

	threshold limit
	quota     *quota // nil = none
}

// quota is what a URR's quota is and how much of it is used.
type quota struct {
	limit    limit
	up, down uint64 // octets used
	grant    uint32 // QuotaGrant
	spent    bool   // it is reached
	told     bool   // the event is sent
	instead  *far   // what becomes of packets then; nil = drop
}

// use counts n octets.
func (q *quota) use(n int, down bool) {
	if down {
		q.down += uint64(n)
	} else {
		q.up += uint64(n)
	}
	q.spent = q.limit.reached(q.up, q.down)
}

// limit is a Limit compiled: no bound is the highest number.
type limit struct{ total, up, down uint64 }

func makeLimit(l Limit) limit {
	of := func(v *uint64) uint64 {
		if v == nil {
			return math.MaxUint64
		}
		return *v
	}
	return limit{of(l.Total), of(l.Uplink), of(l.Downlink)}
}

func (l *limit) reached(up, down uint64) bool {
	return up >= l.up || down >= l.down || up+down >= l.total
}

func makeMeter(u *URR) meter {
	m := meter{
		id: u.ID, paused: u.Paused, before: u.BeforeQER, start: u.Start, inactive: proxy.Time(u.Inactive),
		threshold: makeLimit(u.Threshold),
	}
	if u.Quota != (Limit{}) {
		m.quota = &quota{limit: makeLimit(u.Quota), grant: u.QuotaGrant}
		m.quota.use(0, false)
	}
	return m
}

// carryOver goes on with what old, of the same URR, has counted.
func (m *meter) carryOver(old *meter) {
	m.up, m.down, m.first, m.last, m.active, m.moved = old.up, old.down, old.first, old.last, old.active, old.moved
	if q := m.quota; q != nil && old.quota != nil && q.grant == old.quota.grant {
		q.up, q.down, q.told = old.quota.up, old.quota.down, old.quota.told
		q.use(0, false)
	}
}

// packets is the number of packets counted since the last reset.
func (m *meter) packets() uint64 { return m.up.Packets + m.down.Packets }

// add counts a packet of n octets and says whether there is something to tell.
func (m *meter) add(now proxy.Time, n int, down bool) (tell bool) {
	if m.packets() == 0 {
		m.first, m.last = now, now
	}
	if gap := now - m.last; m.inactive == 0 || gap <= m.inactive {
		m.active += gap
	}
	m.last = now
	if down {
		m.down.Packets++
		m.down.Octets += uint64(n)
	} else {
		m.up.Packets++
		m.up.Octets += uint64(n)
	}
	if m.quota != nil {
		m.quota.use(n, down)
	}
	return m.start && !m.moved || m.spent() && !m.quota.told || m.threshold.reached(m.up.Octets, m.down.Octets)
}

// spent says whether the quota is reached.
func (m *meter) spent() bool { return m.quota != nil && m.quota.spent }

// reset starts the count anew. The quota's goes on.
func (m *meter) reset() {
	m.up, m.down, m.active = Volume{}, Volume{}, 0
}

// usage is what m says; wall turns its clock into the world's.
func (m *meter) usage(wall func(proxy.Time) time.Time) Usage {
	u := Usage{URR: m.id, Uplink: m.up, Downlink: m.down, Active: time.Duration(m.active)}
	if m.packets() > 0 {
		u.First, u.Last = wall(m.first), wall(m.last)
	}
	return u
}

// meter counts the packet in hand for the URRs of one PDR, those of ms that count
// before or behind its QERs. It reports the FAR that a spent quota puts in the place
// of the PDR's, and whether one does.
func (w *worker) meter(r *ruleSet, ms []*meter, n int, down, before bool) (instead *far, spent bool) {
	for _, m := range ms {
		if m.before != before || m.paused {
			continue
		}
		tell := false
		if m.spent() {
			instead, spent = m.quota.instead, true
			tell = !m.quota.told
		} else {
			tell = m.add(w.now, n, down)
		}
		if tell {
			w.tell(r, m)
		}
	}
	return instead, spent
}

// usage answers q.
func (w *worker) usage(q *UsageQuery) (a UsageAnswer) {
	s := w.bySEID[q.SEID]
	if s == nil {
		return a
	}
	if t := s.rules.lastPacket; t != 0 {
		a.LastPacket = w.plane.wall(t)
	}
	read := func(m *meter) {
		a.Usages = append(a.Usages, m.usage(w.plane.wall))
		if q.Reset {
			m.reset()
		}
	}
	for _, id := range q.URRs {
		if m := s.rules.meter(id); m != nil {
			read(m)
		}
	}
	if len(q.URRs) == 0 {
		for i := range s.rules.meters {
			read(&s.rules.meters[i])
		}
	}
	return a
}

// readings are what those meters of r say that which picks.
func (w *worker) readings(r *ruleSet, which func(*meter) bool) []Usage {
	var us []Usage
	for i := range r.meters {
		if m := &r.meters[i]; which(m) {
			us = append(us, m.usage(w.plane.wall))
		}
	}
	return us
}

// tell sends what is to be told of m. What the control side does not take in time is
// told with a later packet: nothing that was counted is lost.
func (w *worker) tell(r *ruleSet, m *meter) {
	if m.start && !m.moved {
		m.moved = w.event(&Event{Kind: TrafficStarted, SEID: r.session.seid, Usage: m.usage(w.plane.wall)})
	}
	e := Event{Kind: UsageReached, SEID: r.session.seid, Usage: m.usage(w.plane.wall)}
	e.Usage.Threshold = m.threshold.reached(m.up.Octets, m.down.Octets)
	e.Usage.Quota = m.spent() && !m.quota.told
	if (e.Usage.Threshold || e.Usage.Quota) && w.event(&e) {
		if e.Usage.Quota {
			m.quota.told = true
		}
		m.reset()
	}
}
