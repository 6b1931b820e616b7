package proxy

import (
	"math"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// What the connections show of the accesses goes to their session's monitor; what the
// steering modes make of it is worked out here, once in a round trip at most. Packets only
// find the outcome: the split of their policy, or where their connection's own round trips
// have put it.

// longAgo is more ticks than any mode has a connection stay.
const longAgo = 8

// preferred is the access that policy r gives c where every access can be used.
func (c *Conn) preferred(r *steer.Policy) steer.Access {
	a := r.Preferred(uint32(c.point))
	if r.Split.Own {
		return c.own
	}
	return a
}

// measured takes a round trip of f, which ended when the UE acknowledged ack, and has the
// modes that read round trips decide.
func (p *Proxy) measured(f *Subflow, ack int64, rtt Time) {
	c := f.conn
	m, now := &c.session.Monitor, p.now.duration()
	m.TrafficRTT(now, f.access, max(1, rtt.duration()))
	if n := uint32(ack) - f.noted; n > 1 { // one alone is no traffic, but was sent to measure
		c.counted = m.Delivered(f.access, int64(n), c.counted)
	}
	f.noted = uint32(ack)
	if c.steered {
		p.steered[c].measured = true
	}
	r := c.rule.Policy
	if r == nil || c.state != stateEstablished {
		return
	}
	if r.Due(now, m) {
		r.Decide(now, m)
	}
	if !r.Measures() {
		return
	}
	s := m.State(now)
	if r.Split.Own {
		p.decideOwn(c, r, s)
	}
	p.measureIdle(c, s)
}

// decideOwn works out which access c's own round trips would have it on.
func (p *Proxy) decideOwn(c *Conn, r *steer.Policy, s *steer.State) {
	stayed := time.Duration(p.now.tick()-c.moved) << 29
	rtt := [steer.NumAccesses]time.Duration{p.roundTrip(c, 0, s), p.roundTrip(c, 1, s)}
	if a := r.Closer(c.own, rtt, stayed); a != c.own {
		c.own, c.moved = a, p.now.tick()
	}
}

// ownFor is how long the round trip of a connection's subflow is preferred to the access's.
const ownFor = 1000 * millisecond

// roundTrip is the round-trip time of c over access a: of its own subflow, if that carries
// its data, else of the access, since a subflow that is only measured now and then has a mean
// of times long past; 0 = not known, or of no use.
func (p *Proxy) roundTrip(c *Conn, a steer.Access, s *steer.State) time.Duration {
	i := c.usable[a]
	if i == nowhere {
		return 0
	}
	t := &c.subflows[i].path
	if a == c.own && t.srtt != 0 && p.now.since(t.moved) < ownFor || s.Access[a].RTT == 0 {
		return t.rtt().duration()
	}
	return s.Access[a].RTT
}

// measureIdle has the accesses measured that carry nothing: c sends a byte there that the
// UE drops at data level, as a join begins with, and at once an old one, for which the UE
// does not delay its acknowledgment.
func (p *Proxy) measureIdle(c *Conn, s *steer.State) {
	for a := range steer.Access(steer.NumAccesses) {
		i := c.usable[a]
		if i == nowhere || c.down.fin != none || !c.dssSeen {
			continue
		}
		if f := c.subflows[i]; f.acked == f.next && !f.finSent && f.spare(1) && c.session.Monitor.Ask(s.Now, a) {
			p.confirm(f)
			p.solicit(f)
			f.path.provoked-- // its answer acknowledges the first byte, and is no duplicate
		}
	}
}

// draw gives c a place on the line by chance, if its policy, which was old until now, is
// Random.
func (p *Proxy) draw(c *Conn, old *steer.Policy) {
	if r := c.rule.Policy; r != nil && r.Mode == steer.Random && (old == nil || old.Mode != steer.Random) {
		c.point = uint16(p.rand() & math.MaxUint16)
	}
}
