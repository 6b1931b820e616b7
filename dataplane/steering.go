package dataplane

import (
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// steer sends a packet of ordinary traffic over the access, or both, that the MAR of d gives
// the packet flow that it is of (ATSSS-LL, TS 23.501 §5.32.6.3.1).
func (w *worker) steer(r *ruleSet, d *pdr, b *packet.Buffer) {
	m := d.mar()
	p := m.policy
	if a, ok := m.holds(); ok {
		w.over(r, d, b, a)
		return
	}
	monitor := &r.session.proxy.Monitor
	if now := time.Duration(w.now); p.Due(now, monitor) {
		p.Decide(now, monitor)
	}
	available := monitor.Available() & p.Usable
	if available == 0 {
		// Silence is a guess: rather try an access than drop.
		available = p.Usable
	}
	a, ok := p.Choose(available, w.flow.point())
	if !ok {
		w.drop(b, dropNoAccess)
		return
	}
	if p.Split.Copies && available.Has(a.Other()) {
		w.count.n[redundantCopies]++
		w.over(r, d, b.Clone(w.pool), a.Other())
	}
	w.over(r, d, b, a)
}

// holds is the access of m whose FAR holds packets, where none forwards.
func (m *mar) holds() (steer.Access, bool) {
	if m.policy.Usable == 0 {
		for a, f := range m.fars {
			if f != nil && f.action == actionHold {
				return steer.Access(a), true
			}
		}
	}
	return 0, false
}

// policy is the one that steers what d detected; nil if none does.
func (d *pdr) policy() *steer.Policy {
	switch {
	case d.more == nil:
		return nil
	case d.more.mar != nil:
		return d.more.mar.policy
	}
	return d.more.rule.Policy
}

// goOn has the policies of r go on where those of old are, the session's rule set of before,
// if they are of the same mode: flows keep their accesses.
func (r *ruleSet) goOn(old *ruleSet, now time.Duration) {
	for i := range r.downlink.pdrs {
		d := &r.downlink.pdrs[i]
		p := d.policy()
		if p == nil || p.Split.Decided {
			continue
		}
		o := old.downlinkByID(d.id)
		if o == nil {
			continue
		}
		if q := o.policy(); q != nil && q.Mode == p.Mode && q.Indicator == p.Indicator {
			p.Split = q.Split
			p.Decide(now, &r.session.proxy.Monitor)
		}
	}
}
