package upf

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/wmnsk/go-pfcp/ie"

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

	told *pfcp.ATSSSParameters // what the answer tells of ATSSS; nil = nothing
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
		c.compileBARs, c.compileFARs, c.compileURRs, c.compileMARs, c.compileQERs, c.addresses, c.tunnels, c.claims, c.compilePDRs, c.localRules, c.atsss,
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
		if own, ok := c.cfg.Braid.ATSSS.overlaps(prefix); ok {
			return ruleError(rule.Kind, rule.ID, typ, fmt.Sprintf("%v has addresses of %v, which are the UPF's for ATSSS", prefix, own))
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
