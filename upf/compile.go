package upf

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// compiled is a session's rules, ready to be installed, and what they take.
type compiled struct {
	rules  *dataplane.Rules
	set    ruleSet // with what was chosen in the place of CHOOSE
	holds  identity
	chosen *chosen
	made   []made // what was chosen in this compilation
}

// compiler turns a rule set into a [compiled]. It changes nothing outside itself
// but the counters that TEIDs and UE addresses come from.
type compiler struct {
	registry *registry
	cfg      *Config
	apps     *applications
	groups   *joinGroups
	compiled
	pdis     []*pfcp.PDI // of set.pdrs, in that order, each with its traffic endpoint
	prefixes map[netip.Prefix]bool
	fars     map[uint32]*dataplane.FAR
	qers     map[uint32]*dataplane.QER
	mars     map[uint16]*dataplane.MAR
	bars     map[uint8]*dataplane.BAR
	urrs     map[uint32]*dataplane.URR
}

// compile compiles set for the session seid, unless it is too large; before holds what
// was chosen for it already.
func (s *Server) compile(seid uint64, set ruleSet, before *chosen) (*compiled, *pfcp.Error) {
	if err := set.bounded(s.applications); err != nil {
		return nil, err
	}
	c := &compiler{
		registry: s.registry, cfg: s.cfg, apps: &s.applications, groups: &s.joinGroups,
		compiled: compiled{
			rules: &dataplane.Rules{SEID: seid, Advertise: s.cfg.Braid.RA}, set: set.clone(), chosen: before.held(s.registry, seid),
		},
		prefixes: map[netip.Prefix]bool{},
		fars:     map[uint32]*dataplane.FAR{}, qers: map[uint32]*dataplane.QER{}, mars: map[uint16]*dataplane.MAR{}, bars: map[uint8]*dataplane.BAR{},
	}
	steps := []func() *pfcp.Error{
		c.compileBARs, c.compileFARs, c.compileURRs, c.compileMARs, c.compileQERs, c.addresses, c.tunnels, c.claims, c.compilePDRs, c.localRules,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &c.compiled, nil
}

// inOrder calls f with each rule, lowest ID first: the same request gets the same
// answer every time.
func inOrder[K cmp.Ordered, R keyed[K]](rules byID[K, R], f func(R) *pfcp.Error) *pfcp.Error {
	for _, e := range rules {
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

func (c *compiler) compileMARs() *pfcp.Error {
	return inOrder(c.set.mars, func(m *pfcp.MAR) *pfcp.Error {
		mar, err := c.compileMAR(m)
		c.mars[m.ID] = mar
		return err
	})
}

// compileMAR compiles m (TS 29.244 §5.20).
func (c *compiler) compileMAR(m *pfcp.MAR) (*dataplane.MAR, *pfcp.Error) {
	fail := func(offending uint16, format string, args ...any) (*dataplane.MAR, *pfcp.Error) {
		return nil, ruleError(pfcp.RuleMAR, uint32(m.ID), offending, fmt.Sprintf(format, args...))
	}
	mar := &dataplane.MAR{ID: m.ID, Policy: steer.Policy{
		Functionality: steer.Functionality(*m.Functionality),
		Mode:          steer.Mode(*m.Mode),
		Priority:      [steer.NumAccesses]steer.Priority{steer.NoStandby, steer.NoStandby},
	}}
	if f := mar.Policy.Functionality; f != steer.ATSSSLL && f != steer.MPTCP {
		return fail(ie.SteeringFunctionality, "steering functionality %d, known are ATSSS-LL (0) and MPTCP (1)", f)
	}
	for i, a := range m.Access {
		if a == nil {
			continue
		}
		if a.FARID == nil {
			return nil, absent(ie.CauseMandatoryIEMissing, pfcp.RuleMAR, uint32(m.ID), ie.FARID, "no FAR ID for an access that had none")
		}
		far := c.fars[*a.FARID]
		switch {
		case far == nil:
			return fail(ie.FARID, "FAR %d not found", *a.FARID)
		case far.Action == dataplane.Forward && far.To != dataplane.ToAccess:
			return fail(ie.FARID, "FAR %d does not lead to an access", *a.FARID)
		}
		mar.FAR[i] = far
		var err *pfcp.Error
		if mar.URRs[i], err = c.urrsOf(a.URRIDs, pfcp.RuleMAR, uint32(m.ID)); err != nil {
			return nil, err
		}
		if far.Action == dataplane.Forward {
			mar.Policy.Usable |= steer.SetOf(steer.Access(i))
		}
	}
	var err *pfcp.Error
	switch mar.Policy.Mode {
	case steer.ActiveStandby:
		err = priorities(m, &mar.Policy)
	case steer.LoadBalancing:
		err = weights(m, &mar.Policy)
	case steer.Redundant:
		if mar.Policy.Functionality != steer.MPTCP {
			return fail(ie.SteeringMode, "Redundant needs MPTCP: without it nothing drops what comes twice")
		}
		err = ranks(m, &mar.Policy)
	default:
		return fail(ie.SteeringMode, "steering mode %d, known are Active-Standby (0), Load-Balancing (2) and Redundant (4)", mar.Policy.Mode)
	}
	return mar, err
}

// priorities takes the priorities of Active-Standby: one access is active, the
// other, if there is one, is standby or no standby.
func priorities(m *pfcp.MAR, p *steer.Policy) *pfcp.Error {
	active := 0
	for i, a := range m.Access {
		if a == nil {
			continue
		}
		if a.Priority == nil {
			return absent(ie.CauseConditionalIEMissing, pfcp.RuleMAR, uint32(m.ID), ie.Priority, "Active-Standby without a Priority")
		}
		p.Priority[i] = steer.Priority(*a.Priority)
		if p.Priority[i] > steer.NoStandby {
			return ruleError(pfcp.RuleMAR, uint32(m.ID), ie.Priority, fmt.Sprintf("priority %d, Active-Standby knows 0 to 2", *a.Priority))
		}
		if p.Priority[i] == steer.Active {
			active++
		}
	}
	if active != 1 {
		return ruleError(pfcp.RuleMAR, uint32(m.ID), ie.Priority, fmt.Sprintf("Active-Standby with %d active accesses, needs one", active))
	}
	return nil
}

// ranks takes the priorities of Redundant: there may be a primary access, and then the
// other is secondary. Left over priorities of another mode mean nothing.
func ranks(m *pfcp.MAR, p *steer.Policy) *pfcp.Error {
	primary := 0
	for i, a := range m.Access {
		if a == nil || a.Priority == nil {
			continue
		}
		switch r := steer.Priority(*a.Priority); {
		case r == steer.Primary:
			primary++
			p.Priority[i] = r
		case r == steer.Secondary:
			p.Priority[i] = r
		case r > steer.Secondary:
			return ruleError(pfcp.RuleMAR, uint32(m.ID), ie.Priority, fmt.Sprintf("priority %d, Redundant knows 5 and 6", r))
		}
	}
	if primary > 1 {
		return ruleError(pfcp.RuleMAR, uint32(m.ID), ie.Priority, "Redundant with two primary accesses, may have one")
	}
	return nil
}

// weights takes the weights of Load-Balancing, which sum to 100.
func weights(m *pfcp.MAR, p *steer.Policy) *pfcp.Error {
	sum := 0
	for i, a := range m.Access {
		if a == nil {
			continue
		}
		if a.Weight == nil {
			return absent(ie.CauseConditionalIEMissing, pfcp.RuleMAR, uint32(m.ID), ie.Weight, "Load-Balancing without a Weight")
		}
		p.Weight[i] = *a.Weight
		sum += int(*a.Weight)
	}
	if sum != 100 {
		return ruleError(pfcp.RuleMAR, uint32(m.ID), ie.Weight, fmt.Sprintf("weights sum to %d, not to 100", sum))
	}
	return nil
}

// claims refuses what another session has: a TEID, whatever its address (the
// worker's table knows TEIDs only), or an address; what nobody has is the session's.
func (c *compiler) claims() *pfcp.Error {
	for _, t := range c.set.endpoints {
		if err := c.claim(&t.PDI, pfcp.RuleID{}); err != nil {
			return err
		}
	}
	for n, p := range c.set.pdrs {
		if err := c.claim(c.pdis[n], pfcp.RuleID{Kind: pfcp.RulePDR, ID: uint32(p.ID)}); err != nil {
			return err
		}
	}
	c.holds.prefixes = slices.SortedFunc(maps.Keys(c.prefixes), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	c.rules.UEAddrs = c.holds.prefixes
	return nil
}

func (c *compiler) claim(d *pfcp.PDI, rule pfcp.RuleID) *pfcp.Error {
	if f := d.FTEID; f != nil {
		if other, ok := c.registry.teidConflict(c.rules.SEID, f.TEID); ok {
			return ruleError(rule.Kind, rule.ID, ie.FTEID, fmt.Sprintf("TEID %#x belongs to session %#x", f.TEID, other))
		}
	}
	claim := func(prefix netip.Prefix, typ uint16) *pfcp.Error {
		if c.prefixes[prefix] {
			return nil
		}
		c.prefixes[prefix] = true
		if other, ok := c.registry.prefixConflict(c.rules.SEID, prefix); ok {
			return ruleError(rule.Kind, rule.ID, typ, fmt.Sprintf("%v belongs to session %#x", prefix, other))
		}
		return nil
	}
	for _, u := range d.UEAddresses {
		for _, prefix := range u.Prefixes() {
			if err := claim(prefix, ie.UEIPAddress); err != nil {
				return err
			}
		}
	}
	for _, prefix := range d.FramedRoutes {
		if err := claim(prefix, ie.FramedRoute); err != nil {
			return err
		}
	}
	return nil
}
