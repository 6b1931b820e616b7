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

// gtpuPort is the UDP port of GTP-U (TS 29.281 §4.4.2.0).
const gtpuPort = 2152

// compiled is a session's rules, ready to be installed, and what they take.
type compiled struct {
	rules  *dataplane.Rules
	set    ruleSet // with the chosen F-TEIDs in the place of CHOOSE
	holds  identity
	chosen map[uint8]pfcp.FTEID
	made   []chosenTunnel // the F-TEIDs chosen in this compilation, by PDR ID
}

// chosenTunnel is an F-TEID that the UPF chose for a PDR.
type chosenTunnel struct {
	pdr   uint16
	fteid pfcp.FTEID
}

// compiler turns a rule set into a [compiled]. It changes nothing outside itself
// but the counter that TEIDs come from.
type compiler struct {
	registry *registry
	n3       []netip.Addr // our N3 addresses, in the config's order
	compiled
	fars map[uint32]*dataplane.FAR
	qers map[uint32]*dataplane.QER
	mars map[uint16]*dataplane.MAR
	urrs map[uint32]*dataplane.URR
}

// compile compiles set for the session seid; chosen holds the F-TEIDs that have a
// CHOOSE ID already. One that the session does not hold any more, all its PDRs
// being gone, is forgotten: it may be another session's by now.
func compile(g *registry, n3 []netip.Addr, seid uint64, set ruleSet, chosen map[uint8]pfcp.FTEID) (*compiled, *pfcp.Error) {
	c := &compiler{
		registry: g, n3: n3,
		compiled: compiled{
			rules: &dataplane.Rules{SEID: seid}, set: set.clone(), chosen: maps.Clone(chosen),
			holds: identity{map[uint32]bool{}, map[netip.Prefix]bool{}},
		},
		fars: map[uint32]*dataplane.FAR{}, qers: map[uint32]*dataplane.QER{}, mars: map[uint16]*dataplane.MAR{},
	}
	if c.chosen == nil {
		c.chosen = map[uint8]pfcp.FTEID{}
	}
	maps.DeleteFunc(c.chosen, func(_ uint8, f pfcp.FTEID) bool { return !g.has(seid, f.TEID) })
	steps := []func() *pfcp.Error{c.compileFARs, c.compileURRs, c.compileMARs, c.compileQERs, c.tunnels, c.compilePDRs, c.conflicts}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &c.compiled, nil
}

// inOrder calls f with each rule, lowest ID first: the same request gets the same
// answer every time.
func inOrder[K cmp.Ordered, R any](rules map[K]R, f func(R) *pfcp.Error) *pfcp.Error {
	for _, id := range slices.Sorted(maps.Keys(rules)) {
		if err := f(rules[id]); err != nil {
			return err
		}
	}
	return nil
}

func (c *compiler) compileFARs() *pfcp.Error {
	return inOrder(c.set.fars, func(f *pfcp.FAR) *pfcp.Error {
		far, err := c.compileFAR(f)
		c.fars[f.ID] = far
		return err
	})
}

// compileFAR compiles f. Buffering is a drop for now, and so is forwarding to the
// CP function.
func (c *compiler) compileFAR(f *pfcp.FAR) (*dataplane.FAR, *pfcp.Error) {
	fail := func(offending uint16, text string) (*dataplane.FAR, *pfcp.Error) {
		return nil, ruleError(pfcp.RuleFAR, f.ID, offending, text)
	}
	far := &dataplane.FAR{ID: f.ID}
	switch action := *f.ApplyAction &^ pfcp.ActionNOCP; {
	case action == pfcp.ActionFORW:
		if f.Forwarding == nil {
			return nil, absent(ie.CauseConditionalIEMissing, pfcp.RuleFAR, f.ID, ie.ForwardingParameters, "FORW without Forwarding Parameters")
		}
		far.Action = dataplane.Forward
	case action == pfcp.ActionBUFF, action == pfcp.ActionDROP:
	default:
		return fail(ie.ApplyAction, fmt.Sprintf("Apply Action %#x, known are one of DROP, FORW and BUFF, with or without NOCP", *f.ApplyAction))
	}
	if f.Forwarding == nil {
		return far, nil
	}
	w := f.Forwarding
	switch {
	case w.Destination == nil:
		return nil, absent(ie.CauseMandatoryIEMissing, pfcp.RuleFAR, f.ID, ie.DestinationInterface, "no Destination Interface")
	case w.Unsupported == ie.ForwardingPolicy:
		return nil, absent(ie.CauseInvalidForwardingPolicy, pfcp.RuleFAR, f.ID, w.Unsupported, "there are no forwarding policies")
	case w.Unsupported != 0:
		return fail(w.Unsupported, "is not supported")
	}
	switch *w.Destination {
	case pfcp.InterfaceAccess:
		far.To = dataplane.ToAccess
		if w.OuterHeader == nil {
			far.Action = dataplane.Drop // never bare: held until the CP function knows the access's tunnel
			return far, nil
		}
		var ok bool
		if far.OuterHeader, ok = outerHeader(w.OuterHeader); !ok {
			return fail(ie.OuterHeaderCreation, fmt.Sprintf("outer header %#04x, known is GTP-U/UDP/IP to a unicast address", w.OuterHeader.Description))
		}
		if far.OuterHeader == nil {
			far.Action = dataplane.Drop
			return far, nil
		}
		if peer := far.OuterHeader.Peer.Addr(); !c.reaches(peer) {
			return fail(ie.OuterHeaderCreation, fmt.Sprintf("no N3 address to reach %v from", peer))
		}
	case pfcp.InterfaceCore, pfcp.InterfaceN6LAN:
		if w.OuterHeader != nil {
			return fail(ie.OuterHeaderCreation, "there is no N9")
		}
	case pfcp.InterfaceCPFunction:
		far.Action = dataplane.Drop
	default:
		return fail(ie.DestinationInterface, fmt.Sprintf("destination interface %d", *w.Destination))
	}
	return far, nil
}

// reaches says whether we have an N3 address of the peer's family.
func (c *compiler) reaches(peer netip.Addr) bool {
	return slices.ContainsFunc(c.n3, func(a netip.Addr) bool { return a.Is4() == peer.Is4() })
}

// outerHeader compiles GTP-U outer header creation: IPv4 where both are offered.
// A header to the unspecified address is nil: held like one that is not there.
func outerHeader(o *pfcp.OuterHeaderCreation) (h *dataplane.OuterHeader, ok bool) {
	if o.Description&^(pfcp.GTPUIPv4|pfcp.GTPUIPv6) != 0 || o.Description == 0 {
		return nil, false
	}
	peer := o.IPv4
	if !peer.IsValid() || peer.IsUnspecified() {
		peer = o.IPv6.Unmap()
	}
	switch {
	case !peer.IsValid() || peer.IsUnspecified():
		return nil, true
	case peer.IsMulticast():
		return nil, false
	}
	return &dataplane.OuterHeader{TEID: o.TEID, Peer: netip.AddrPortFrom(peer, gtpuPort)}, true
}

func (c *compiler) compileQERs() *pfcp.Error {
	return inOrder(c.set.qers, func(q *pfcp.QER) *pfcp.Error {
		out := &dataplane.QER{ID: q.ID}
		// Gate Status (TS 29.244 §8.2.7): 0 = open, 1 = closed; other values are
		// for future use and read as closed.
		out.GateULClosed = *q.Gate>>2&3 != 0
		out.GateDLClosed = *q.Gate&3 != 0
		if q.QFI != nil {
			out.QFI = *q.QFI
		}
		out.ReflectiveQoS = q.RQI != nil && *q.RQI != 0
		c.qers[q.ID] = out
		return nil
	})
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

// tunnels chooses F-TEIDs where the CP function asks for it.
func (c *compiler) tunnels() *pfcp.Error {
	for _, p := range c.set.pdrs {
		if f := p.PDI.FTEID; f != nil && !f.Choose {
			c.holds.teids[f.TEID] = true
		}
	}
	return inOrder(c.set.pdrs, func(p *pfcp.PDR) *pfcp.Error {
		if p.PDI.FTEID == nil || !p.PDI.FTEID.Choose {
			return nil
		}
		f, err := c.choose(p)
		if err != nil {
			return err
		}
		q, d := *p, *p.PDI
		d.FTEID, q.PDI = &f, &d
		c.set.pdrs[p.ID] = &q
		c.made = append(c.made, chosenTunnel{p.ID, f})
		return nil
	})
}

// choose gives the F-TEID for a PDR with CHOOSE: that of its CHOOSE ID, or a new
// one with our first N3 address of each family that is asked for.
func (c *compiler) choose(p *pfcp.PDR) (pfcp.FTEID, *pfcp.Error) {
	ask := p.PDI.FTEID
	if f, ok := c.chosen[ask.ChooseID]; ok && ask.HasChooseID {
		return f, nil
	}
	var f pfcp.FTEID
	for _, a := range c.n3 {
		switch {
		case a.Is4() && ask.ChooseV4 && !f.IPv4.IsValid():
			f.IPv4 = a
		case a.Is6() && ask.ChooseV6 && !f.IPv6.IsValid():
			f.IPv6 = a
		}
	}
	if !f.IPv4.IsValid() && !f.IPv6.IsValid() {
		return f, absent(ie.CauseInvalidFTEIDAllocationOption, pfcp.RulePDR, uint32(p.ID), ie.FTEID, "no N3 address of the family that CHOOSE asks for")
	}
	var ok bool
	if f.TEID, ok = c.registry.teid(c.rules.Slot(), c.holds.teids); !ok {
		return f, absent(ie.CauseNoResourcesAvailable, pfcp.RulePDR, uint32(p.ID), ie.FTEID, "no TEID left")
	}
	c.holds.teids[f.TEID] = true
	if ask.HasChooseID {
		c.chosen[ask.ChooseID] = f
	}
	return f, nil
}

// conflicts refuses what another session has: a TEID, whatever its address (the
// worker's table knows TEIDs only), or a UE address.
func (c *compiler) conflicts() *pfcp.Error {
	return inOrder(c.set.pdrs, func(p *pfcp.PDR) *pfcp.Error {
		if f := p.PDI.FTEID; f != nil {
			if other, ok := c.registry.teidConflict(c.rules.SEID, f.TEID); ok {
				return ruleError(pfcp.RulePDR, uint32(p.ID), ie.FTEID, fmt.Sprintf("TEID %#x belongs to session %#x", f.TEID, other))
			}
		}
		for _, u := range p.PDI.UEAddresses {
			for _, prefix := range u.Prefixes() {
				if other, ok := c.registry.prefixConflict(c.rules.SEID, prefix); ok {
					return ruleError(pfcp.RulePDR, uint32(p.ID), ie.UEIPAddress, fmt.Sprintf("UE address %v belongs to session %#x", prefix, other))
				}
			}
		}
		return nil
	})
}
