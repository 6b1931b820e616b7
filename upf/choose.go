package upf

import (
	"net/netip"
	"slices"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// chosen is what the UPF chose for a session and may be asked for again. Nil is
// nothing.
type chosen struct {
	tunnels  []chosenTunnel // those with a CHOOSE ID, as long as a PDR has them
	ue4, ue6 netip.Prefix   // UE addresses: all PDRs of the session that ask get the same; zero = none
	links    links          // UE link-specific addresses, while the session lives and asks for MPTCP
}

type chosenTunnel struct {
	id    uint8 // CHOOSE ID
	fteid pfcp.FTEID
}

// held is ch without what the session does not hold any more, all its PDRs being
// gone: it may be another session's by now.
func (ch *chosen) held(g *registry, seid uint64) *chosen {
	out := &chosen{}
	if ch == nil {
		return out
	}
	out.links = ch.links
	for _, t := range ch.tunnels {
		if g.has(seid, t.fteid.TEID) {
			out.tunnels = append(out.tunnels, t)
		}
	}
	if g.hasPrefix(seid, ch.ue4) {
		out.ue4 = ch.ue4
	}
	if g.hasPrefix(seid, ch.ue6) {
		out.ue6 = ch.ue6
	}
	return out
}

// kept is what a session keeps of ch: most have nothing chosen.
func (ch *chosen) kept() *chosen {
	if ch == nil || len(ch.tunnels) == 0 && !ch.ue4.IsValid() && !ch.ue6.IsValid() && ch.links == (links{}) {
		return nil
	}
	return ch
}

// made is what was chosen for a PDR or a traffic endpoint: what the response says.
type made struct {
	pdr      uint16
	endpoint *uint8 // a traffic endpoint; pdr is nothing then
	fteid    *pfcp.FTEID
	ues      []pfcp.UEIPAddress
}

// ie is the Created PDR or Updated PDR that tells the CP function of m, or for a
// traffic endpoint the Created Traffic Endpoint (TS 29.244 Tables 7.5.3.2-1,
// 7.5.3.5-1).
func (m *made) ie(pdrType uint16) *ie.IE {
	typ, g := pdrType, []*ie.IE{ie.NewPDRID(m.pdr)}
	if m.endpoint != nil {
		typ, g = ie.CreatedTrafficEndpoint, []*ie.IE{ie.New(ie.TrafficEndpointID, []byte{*m.endpoint})}
	}
	if m.fteid != nil {
		g = append(g, m.fteid.IE())
	}
	for _, u := range m.ues {
		g = append(g, u.IE())
	}
	return ie.NewGroupedIE(typ, g...)
}

// asks says that something of d is to be chosen.
func asks(d *pfcp.PDI) bool {
	return d.FTEID != nil && d.FTEID.Choose ||
		slices.ContainsFunc(d.UEAddresses, func(u pfcp.UEIPAddress) bool { return u.ChooseV4 || u.ChooseV6 })
}

// addresses chooses UE addresses for the session where a PDR or a traffic endpoint
// asks for one (TS 29.244 §5.21). The pool is that of the network instance that is
// said with the request, or else of one that another PDI of the session says: the
// uplink's may be the access network.
func (c *compiler) addresses() *pfcp.Error {
	var names []string // of network instances, the askers' first
	var v4, v6 bool
	var asker pfcp.RuleID
	look := func(d *pfcp.PDI, rule pfcp.RuleID) {
		at := len(names)
		for _, u := range d.UEAddresses {
			v4, v6 = v4 || u.ChooseV4, v6 || u.ChooseV6
			if u.ChooseV4 || u.ChooseV6 {
				asker, at = rule, 0
			}
		}
		if d.NetworkInstance != "" {
			names = slices.Insert(names, at, d.NetworkInstance)
		}
	}
	for _, p := range c.set.pdrs {
		look(p.PDI, pfcp.RuleID{Kind: pfcp.RulePDR, ID: uint32(p.ID)})
	}
	for _, t := range c.set.endpoints {
		look(&t.PDI, pfcp.RuleID{})
	}
	for _, family := range []struct {
		wanted, is4 bool
		dst         *netip.Prefix
	}{{v4, true, &c.chosen.ue4}, {v6, false, &c.chosen.ue6}} {
		if !family.wanted || family.dst.IsValid() {
			continue
		}
		at := slices.IndexFunc(names, func(n string) bool { return len(c.registry.pools.of(n, family.is4)) > 0 })
		dnn := ""
		if at >= 0 {
			dnn = names[at]
		} else if len(names) > 0 {
			return absent(ie.CauseRuleCreationModificationFailure, asker.Kind, asker.ID, ie.NetworkInstance, "no addresses of that family in the dnnList for this network instance")
		}
		q, ok := c.registry.ueAddress(c.rules.SEID, dnn, family.is4)
		if !ok {
			return absent(pfcp.CauseAllDynamicAddressesOccupied, asker.Kind, asker.ID, ie.UEIPAddress, "every address of the pool is taken")
		}
		*family.dst = q
	}
	return nil
}

// tunnels puts what is chosen in the place of CHOOSE: for the traffic endpoints, then
// for the PDRs; and joins the two.
func (c *compiler) tunnels() *pfcp.Error {
	given := func(d *pfcp.PDI) {
		if f := d.FTEID; f != nil && !f.Choose && !slices.Contains(c.holds.teids, f.TEID) {
			c.holds.teids = append(c.holds.teids, f.TEID)
		}
	}
	for _, t := range c.set.endpoints {
		given(&t.PDI)
	}
	for _, p := range c.set.pdrs {
		given(p.PDI)
	}
	for n, t := range c.set.endpoints {
		if !asks(&t.PDI) {
			continue
		}
		d, m, err := c.choose(c.endpointSource(t.ID), &t.PDI, pfcp.RuleID{})
		if err != nil {
			return err
		}
		with := *t
		with.PDI, m.endpoint = *d, &with.ID
		c.set.endpoints[n] = &with
		c.made = append(c.made, m)
	}
	c.pdis = make([]*pfcp.PDI, len(c.set.pdrs))
	for n, p := range c.set.pdrs {
		d := p.PDI
		if asks(d) {
			chose, m, err := c.choose(d.SourceInterface, d, pfcp.RuleID{Kind: pfcp.RulePDR, ID: uint32(p.ID)})
			if err != nil {
				return err
			}
			with := *p
			with.PDI, m.pdr, d = chose, p.ID, chose
			c.set.pdrs[n] = &with
			c.made = append(c.made, m)
		}
		if d.Endpoint != nil {
			t := c.set.endpoints.get(*d.Endpoint)
			if t == nil {
				return ruleError(pfcp.RulePDR, uint32(p.ID), ie.TrafficEndpointID, "traffic endpoint not found")
			}
			d = t.Join(d)
		}
		c.pdis[n] = d
	}
	return nil
}

// endpointSource is the source interface of a PDR that refers to the traffic
// endpoint: the endpoint does not say on which interface it is.
func (c *compiler) endpointSource(id uint8) uint8 {
	for _, p := range c.set.pdrs {
		if d := p.PDI; d.Endpoint != nil && *d.Endpoint == id {
			return d.SourceInterface
		}
	}
	return pfcp.InterfaceAccess
}

// choose is d with what it asks for.
func (c *compiler) choose(source uint8, d *pfcp.PDI, rule pfcp.RuleID) (*pfcp.PDI, made, *pfcp.Error) {
	out, m := *d, made{}
	if d.FTEID != nil && d.FTEID.Choose {
		f, err := c.tunnel(source, d, rule)
		if err != nil {
			return nil, m, err
		}
		out.FTEID, m.fteid = &f, &f
	}
	out.UEAddresses = slices.Clone(d.UEAddresses)
	for n := range out.UEAddresses {
		u := &out.UEAddresses[n]
		if !u.ChooseV4 && !u.ChooseV6 {
			continue
		}
		if u.ChooseV4 {
			u.IPv4 = c.chosen.ue4.Addr()
		}
		if u.ChooseV6 {
			if u.Delegated != 0 || u.PrefixLen != 0 && u.PrefixLen != 64 {
				return nil, m, absent(ie.CauseRuleCreationModificationFailure, rule.Kind, rule.ID, ie.UEIPAddress, "a chosen IPv6 prefix has 64 bits")
			}
			u.IPv6 = c.chosen.ue6.Addr()
		}
		u.ChooseV4, u.ChooseV6 = false, false
		m.ues = append(m.ues, *u)
	}
	return &out, m, nil
}

// tunnel gives the F-TEID that d asks for: that of its CHOOSE ID, or a new one with
// our first address of each family that is asked for. To ask for none, which the
// standard does not allow (TS 29.244 §8.2.3), is to ask for any: Open5GS did so once.
func (c *compiler) tunnel(source uint8, d *pfcp.PDI, rule pfcp.RuleID) (pfcp.FTEID, *pfcp.Error) {
	ask := d.FTEID
	if ask.HasChooseID {
		for _, t := range c.chosen.tunnels {
			if t.id == ask.ChooseID {
				return t.fteid, nil
			}
		}
	}
	var f pfcp.FTEID
	anyFamily := !ask.ChooseV4 && !ask.ChooseV6
	for _, i := range c.interfaces(source, d) {
		a := i.Addr
		if i.Advertise.IsValid() {
			a = i.Advertise
		}
		switch {
		case a.Is4() && (ask.ChooseV4 || anyFamily) && !f.IPv4.IsValid():
			f.IPv4 = a
		case a.Is6() && (ask.ChooseV6 || anyFamily) && !f.IPv6.IsValid():
			f.IPv6 = a
		}
	}
	if !f.IPv4.IsValid() && !f.IPv6.IsValid() {
		return f, absent(ie.CauseInvalidFTEIDAllocationOption, rule.Kind, rule.ID, ie.FTEID, "no address of the family that CHOOSE asks for")
	}
	var ok bool
	if f.TEID, ok = c.registry.teid(c.rules.Slot(), c.holds.teids); !ok {
		return f, absent(ie.CauseNoResourcesAvailable, rule.Kind, rule.ID, ie.FTEID, "no TEID left")
	}
	c.holds.teids = append(c.holds.teids, f.TEID)
	if ask.HasChooseID {
		c.chosen.tunnels = append(c.chosen.tunnels, chosenTunnel{ask.ChooseID, f})
	}
	return f, nil
}

// interfaces are those that an F-TEID of d may be at: N9's if the packets come from
// the core or the CP function says N9, else N3's; the other's if there are none of
// them. Those named as the network instance go before the rest.
func (c *compiler) interfaces(source uint8, d *pfcp.PDI) []Interface {
	typ := "N3"
	if source == pfcp.InterfaceCore || d.InterfaceType != nil && (*d.InterfaceType == pfcp.N9 || *d.InterfaceType == pfcp.N9Roaming) {
		typ = "N9"
	}
	all := c.cfg.GTPU.Interfaces
	if slices.ContainsFunc(all, func(i Interface) bool { return i.Type == typ }) {
		all = slices.DeleteFunc(slices.Clone(all), func(i Interface) bool { return i.Type != typ })
	}
	named := func(i Interface) bool { return d.NetworkInstance != "" && i.Name == d.NetworkInstance }
	if slices.ContainsFunc(all, named) {
		return slices.DeleteFunc(slices.Clone(all), func(i Interface) bool { return !named(i) })
	}
	return all
}

// localAddr is our own address of an F-TEID, whose address may be one that we
// advertise in its place.
func (c *compiler) localAddr(f *pfcp.FTEID) netip.Addr {
	a := f.IPv4
	if !a.IsValid() {
		a = f.IPv6
	}
	for _, i := range c.cfg.GTPU.Interfaces {
		if i.Advertise == a {
			return i.Addr
		}
	}
	return a
}
