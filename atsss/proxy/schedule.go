package proxy

import "github.com/braid-upf/braid/atsss/steer"

// Scheduler is a steering policy that the proxy's user writes for a connection
// ([Proxy.SetScheduler]).
//
// It is asked at events, never for a packet: when a subflow appears, disappears or is
// suspected to be silent, and when a round trip was measured, then once per round trip and
// [TickInterval] at most. Its answer holds until it is asked again. Until that access is of
// no use, new data go there; what was sent before stays where it is.
type Scheduler interface {
	// Schedule decides where new data of a connection go. c is valid during the call
	// alone. It must not call the proxy.
	Schedule(c *ConnStatus) steer.Decision
}

// steering is what the user has set for a connection.
type steering struct {
	base      *steer.Policy // of the MAR; nil = none
	given     *steer.Policy // by SetPolicy; nil = none
	scheduler Scheduler     // by SetScheduler; nil = none
	policy    steer.Policy  // in force: conn.rule.Policy

	changed  bool // a subflow's state did
	measured bool // a round trip was
	asked    stamp
}

// Policy is the steering policy that c follows: the one of its MAR unless the user has set
// another. It is not to be changed; nil = none.
func (c *Conn) Policy() *steer.Policy { return c.rule.Policy }

// SetPolicy makes new data of c follow policy in place of its MAR's, from the next packet
// on; nil gives the MAR back its place. An access whose FAR does not forward stays out of
// use. policy must not change while it is set. What the UE is to be told (MP_PRIO) is put
// into out.
func (p *Proxy) SetPolicy(now Time, c *Conn, policy *steer.Policy, out *Out) {
	p.now, p.out = now, out
	p.unsteer(c)
	if policy != nil {
		p.steer(c, &steering{given: policy})
	}
	if c.state == stateEstablished {
		p.nudge(c)
	}
}

// SetScheduler makes s decide where new data of c go; nil gives the MAR back its place.
func (p *Proxy) SetScheduler(now Time, c *Conn, s Scheduler, out *Out) {
	p.now, p.out = now, out
	p.unsteer(c)
	if s != nil {
		p.steer(c, &steering{scheduler: s, changed: true})
		p.consult(c)
	}
	if c.state == stateEstablished {
		p.nudge(c)
	}
}

// steer puts o in the place of c's MAR.
func (p *Proxy) steer(c *Conn, o *steering) {
	if p.steered == nil {
		p.steered = make(map[*Conn]*steering)
	}
	p.steered[c] = o
	c.steered = true
	o.base = c.rule.Policy
	c.rule.Policy = &o.policy
	if o.given != nil {
		o.follow(*o.given)
	} else {
		o.follow(steer.Policy{})
	}
	p.draw(c, o.base)
}

// unsteer gives the MAR of c back its place.
func (p *Proxy) unsteer(c *Conn) {
	if o := p.steered[c]; c.steered {
		c.rule.Policy, c.steered = o.base, false
		delete(p.steered, c)
	}
}

// follow makes policy the one in force, on the accesses that the MAR can use.
func (o *steering) follow(policy steer.Policy) {
	if o.given == nil {
		policy.Usable = steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP)
	}
	if o.base != nil {
		policy.Functionality = o.base.Functionality
		policy.Usable &= o.base.Usable
	}
	policy.Split = steer.Split{}
	o.policy = policy
}

// obey makes r the rule of c, whose policy the user may have set.
func (p *Proxy) obey(c *Conn, r Rule) {
	if !c.steered {
		old := c.rule.Policy
		c.rule = r
		p.draw(c, old)
		return
	}
	o := p.steered[c]
	if r.Policy != o.base {
		o.base, o.changed = r.Policy, true
		if o.given != nil {
			o.follow(*o.given)
		} else {
			o.policy.Usable = steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP)
			o.follow(o.policy)
		}
	}
	c.rule = Rule{PDR: r.PDR, Group: r.Group, Policy: &o.policy}
}

// consult asks the scheduler of c if there is one and reason to.
func (p *Proxy) consult(c *Conn) {
	o := p.steered[c]
	if o.scheduler == nil || !o.changed && (!o.measured || p.now.since(o.asked) < p.askEvery(c)) {
		return
	}
	o.asked, o.changed, o.measured = p.now.stamp(), false, false
	c.Status(&p.status)
	d := o.scheduler.Schedule(&p.status)
	policy := steer.Policy{Mode: steer.ActiveStandby}
	if d.Redundant {
		policy.Mode = steer.Redundant
	}
	policy.Priority = d.Priorities()
	o.follow(policy)
}

// askEvery is how long the answer of a scheduler holds at least.
func (p *Proxy) askEvery(c *Conn) Time {
	every := Time(TickInterval)
	for _, s := range c.subflows {
		if s.live() {
			every = max(every, s.path.rtt())
		}
	}
	return every
}
