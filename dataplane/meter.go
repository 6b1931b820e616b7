package dataplane

import (
	"math"
	"time"

	"github.com/braid-upf/braid/atsss/proxy"
)

// meter is a URR as its worker keeps it: what it has counted since the last reset. It
// fills one line of the caches.
type meter struct {
	up, down Volume
	total    uint64  // threshold of octets both ways; the highest number = none
	limits   *limits // what few URRs have; nil = nothing

	first, last stamp // of the packets counted; valid if any are. last outlives a reset

	id     uint32
	paused bool
	before bool // counts what QERs then drop, too
	start  bool // an event tells of the first packet
	moved  bool // that event is sent
}

// stamp is a time in milliseconds, modulo 2^32: ages up to 49 days can be told from it, to
// within stampUnit. 0 = never.
type stamp uint32

// stampUnit is how far apart stamps are that differ: the lowest bit is always set.
const stampUnit proxy.Time = 2e6

func stampOf(t proxy.Time) stamp { return stamp(t/1e6) | 1 }

// age is the time from s to t.
func (s stamp) age(t proxy.Time) proxy.Time { return proxy.Time(stampOf(t)-s) * 1e6 }

// limits are those of a URR beside the volume both ways.
type limits struct {
	up, down uint64     // thresholds of octets one way
	inactive proxy.Time // longest gap that counts as use; 0 = any
	active   proxy.Time // time of use up to the last packet, since the last reset
	quota    *quota     // nil = none
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
	threshold := makeLimit(u.Threshold)
	m := meter{id: u.ID, paused: u.Paused, before: u.BeforeQER, start: u.Start, total: threshold.total}
	if u.Threshold.Uplink == nil && u.Threshold.Downlink == nil && u.Inactive == 0 && u.Quota == (Limit{}) {
		return m
	}
	m.limits = &limits{up: threshold.up, down: threshold.down, inactive: proxy.Time(u.Inactive)}
	if u.Quota != (Limit{}) {
		m.limits.quota = &quota{limit: makeLimit(u.Quota), grant: u.QuotaGrant}
		m.limits.quota.use(0, false)
	}
	return m
}

// carryOver goes on with what old, of the same URR, has counted.
func (m *meter) carryOver(old *meter) {
	m.up, m.down, m.first, m.last, m.moved = old.up, old.down, old.first, old.last, old.moved
	if m.limits != nil && old.limits != nil {
		m.limits.active = old.limits.active
	}
	if q, o := m.quota(), old.quota(); q != nil && o != nil && q.grant == o.grant {
		q.up, q.down, q.told = o.up, o.down, o.told
		q.use(0, false)
	}
}

// packets is the number of packets counted since the last reset.
func (m *meter) packets() uint64 { return m.up.Packets + m.down.Packets }

// add counts a packet of n octets and says whether there is something to tell.
func (m *meter) add(now proxy.Time, n int, down bool) (tell bool) {
	at := stampOf(now)
	if m.packets() == 0 {
		m.first = at
	}
	if m.limits != nil {
		m.use(now, n, down)
	}
	m.last = at
	if down {
		m.down.Packets++
		m.down.Octets += uint64(n)
	} else {
		m.up.Packets++
		m.up.Octets += uint64(n)
	}
	return m.start && !m.moved || m.reached() || m.spent() && !m.limits.quota.told
}

// use is add's part of a URR with limits.
func (m *meter) use(now proxy.Time, n int, down bool) {
	l := m.limits
	if m.last != 0 {
		gap := m.last.age(now)
		if l.inactive == 0 || gap <= l.inactive {
			l.active += gap
		} else {
			m.moved = false // traffic had stopped
		}
	}
	if l.quota != nil {
		l.quota.use(n, down)
	}
}

// reached says whether a threshold is.
func (m *meter) reached() bool {
	return m.up.Octets+m.down.Octets >= m.total ||
		m.limits != nil && (m.up.Octets >= m.limits.up || m.down.Octets >= m.limits.down)
}

func (m *meter) quota() *quota {
	if m.limits == nil {
		return nil
	}
	return m.limits.quota
}

// spent says whether the quota is reached.
func (m *meter) spent() bool { return m.limits != nil && m.limits.quota != nil && m.limits.quota.spent }

// reset starts the count anew. The quota's goes on.
func (m *meter) reset() {
	m.up, m.down = Volume{}, Volume{}
	if m.limits != nil {
		m.limits.active = 0
	}
}

// usage is what m says now.
func (m *meter) usage(p *Plane, now proxy.Time) Usage {
	u := Usage{URR: m.id, Uplink: m.up, Downlink: m.down}
	if m.packets() == 0 {
		return u
	}
	first, last := m.first.age(now), m.last.age(now)
	u.First, u.Last = p.wall(now-first), p.wall(now-last)
	u.Active = time.Duration(first - last)
	if m.limits != nil {
		u.Active = time.Duration(m.limits.active)
	}
	return u
}

// meter counts the packet in hand, of n octets, for the URRs of its PDR that count before
// its QERs, or behind them. It reports the FAR that a spent quota puts in the place of the
// PDR's, and whether one does.
func (w *worker) meter(r *ruleSet, d *pdr, n int, before bool) (instead *far, spent bool) {
	for _, m := range d.meters {
		if m == nil {
			return instead, spent
		}
		if f, s := w.meterOne(r, m, n, d.down(), before); s {
			instead, spent = f, true
		}
	}
	if d.more != nil {
		if f, s := w.meterAll(r, d.more.meters, n, d.down(), before); s {
			instead, spent = f, true
		}
	}
	return instead, spent
}

// meterAll is meter for a list of meters.
func (w *worker) meterAll(r *ruleSet, ms []*meter, n int, down, before bool) (instead *far, spent bool) {
	for _, m := range ms {
		if f, s := w.meterOne(r, m, n, down, before); s {
			instead, spent = f, true
		}
	}
	return instead, spent
}

func (w *worker) meterOne(r *ruleSet, m *meter, n int, down, before bool) (instead *far, spent bool) {
	switch {
	case m.before != before || m.paused:
	case m.spent():
		if !m.limits.quota.told {
			w.tell(r, m)
		}
		return m.limits.quota.instead, true
	case m.add(w.now, n, down):
		w.tell(r, m)
	}
	return nil, false
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
		a.Usages = append(a.Usages, m.usage(w.plane, w.now))
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
			us = append(us, m.usage(w.plane, w.now))
		}
	}
	return us
}

// tell sends what is to be told of m. What the control side does not take in time is
// told with a later packet: nothing that was counted is lost.
func (w *worker) tell(r *ruleSet, m *meter) {
	if m.start && !m.moved {
		m.moved = w.event(&Event{Kind: TrafficStarted, SEID: r.session.seid, Usage: m.usage(w.plane, w.now)})
	}
	e := Event{Kind: UsageReached, SEID: r.session.seid, Usage: m.usage(w.plane, w.now)}
	e.Usage.Threshold = m.reached()
	e.Usage.Quota = m.spent() && !m.limits.quota.told
	if (e.Usage.Threshold || e.Usage.Quota) && w.event(&e) {
		if e.Usage.Quota {
			m.limits.quota.told = true
		}
		m.reset()
	}
}
