package upf

import (
	"net/netip"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// atsss makes ready what the CP function's ATSSS control information asks for, as far as
// the config has it, for the IP versions that the session's UE has (TS 29.244 §5.20.2.2,
// §5.20.3.1). What is not there is not told of: the answer is without it (Table
// 7.5.3.7-1).
func (c *compiler) atsss() *pfcp.Error {
	ask := c.set.atsss
	if ask == nil {
		c.chosen.links = links{}
		return nil
	}
	if err := c.linkSpecific(ask); err != nil {
		return err
	}
	a := &dataplane.ATSSS{}
	told := &pfcp.ATSSSParameters{ATSSSLL: ask.ATSSSLL}
	if c.chosen.links != (links{}) {
		told.MPTCP = c.converter(a)
	}
	if p := ask.PMF; p != nil && p.Required {
		told.PMF = c.pmf(p, a)
	}
	if told.MPTCP == nil && told.PMF == nil && !told.ATSSSLL {
		return nil
	}
	c.rules.ATSSS = a
	if c.set.asking {
		c.told = told
	}
	return nil
}

// linkSpecific gives the session a pair of link-specific addresses of each IP version of
// its UE that the converter has. It keeps those that it has got; only in answer to ATSSS
// control information does it get others, or none.
func (c *compiler) linkSpecific(ask *pfcp.ATSSSControl) *pfcp.Error {
	if !c.set.asking {
		return nil
	}
	before := c.chosen.links
	c.chosen.links = links{}
	if !ask.MPTCP {
		return nil
	}
	for _, proxy := range c.cfg.Braid.ATSSS.Converter {
		is4 := proxy.Addr().Is4()
		if !c.speaks(is4) {
			continue
		}
		pair := before.of(is4)
		if !pair.IsValid() {
			var ok bool
			if pair, ok = c.registry.links.of("", is4).choose(); !ok {
				return &pfcp.Error{Cause: pfcp.CauseAllDynamicAddressesOccupied, Offending: ie.MPTCPControlInformation, Text: "every link-specific address of the pool is taken"}
			}
		}
		c.chosen.links[family(is4)] = pair
	}
	return nil
}

// speaks says whether the session's UE has an address of that IP version.
func (c *compiler) speaks(is4 bool) bool {
	for _, p := range c.rules.UEAddrs {
		if p.Addr().Is4() == is4 {
			return true
		}
	}
	return false
}

// converter puts the converter, and the link-specific addresses that the session has,
// into a, and returns what tells of them.
func (c *compiler) converter(a *dataplane.ATSSS) *pfcp.MPTCPParameters {
	m := &pfcp.MPTCPParameters{Proxy: pfcp.MPTCPAddress{Type: pfcp.TransportConverter}}
	for _, proxy := range c.cfg.Braid.ATSSS.Converter {
		is4 := proxy.Addr().Is4()
		pair := c.chosen.links.of(is4)
		if !pair.IsValid() {
			continue
		}
		at, own := &m.Proxy.IPv6, &m.LinkSpecific.IPv6
		if is4 {
			at, own = &m.Proxy.IPv4, &m.LinkSpecific.IPv4
		}
		*at, *own, m.Proxy.Port = proxy.Addr(), addressesOf(pair), proxy.Port()
		a.Converter = append(a.Converter, proxy)
		for access, link := range *own {
			a.LinkSpecific[access] = append(a.LinkSpecific[access], link)
		}
	}
	if len(a.Converter) == 0 {
		return nil // the config has none any more
	}
	return m
}

// pmf puts the performance measurement function into a, and returns what tells of it: the
// default QoS flow's ports, and those of each QoS flow that is measured for itself.
func (c *compiler) pmf(ask *pfcp.PMFControl, a *dataplane.ATSSS) []pfcp.PMFParameters {
	cfg := c.cfg.Braid.ATSSS.PMF
	if cfg == nil {
		return nil
	}
	p := &dataplane.PMF{Port: cfg.Port, NoRTT: ask.NoRTT}
	var at pfcp.PMFAddress
	for _, addr := range cfg.Addrs {
		if !c.speaks(addr.Is4()) {
			continue
		}
		p.Addrs = append(p.Addrs, addr)
		if addr.Is4() {
			at.IPv4 = addr
		} else {
			at.IPv6 = addr
		}
	}
	if len(p.Addrs) == 0 {
		return nil
	}
	a.PMF = p
	flow := func(qfi uint8) pfcp.PMFAddress {
		at.Port = [steer.NumAccesses]uint16{p.FlowPort(steer.Access3GPP, qfi), p.FlowPort(steer.AccessNon3GPP, qfi)}
		return at
	}
	told := []pfcp.PMFParameters{{Address: flow(0)}}
	if !ask.PerFlow {
		return told
	}
	var seen uint64
	for _, qfi := range ask.QFIs {
		if qfi == 0 || seen>>qfi&1 != 0 {
			continue
		}
		seen |= 1 << qfi
		p.QFIs = append(p.QFIs, qfi)
		told = append(told, pfcp.PMFParameters{Address: flow(qfi), QFI: &qfi})
	}
	return told
}

// links are the UE link-specific addresses of a session, a pair of each IP version: the
// zero Prefix, or the two neighbours that differ in its last bit.
type links [2]netip.Prefix

// family is the index of an IP version.
func family(is4 bool) int {
	if is4 {
		return 0
	}
	return 1
}

func (l links) of(is4 bool) netip.Prefix { return l[family(is4)] }

// addressesOf are the addresses of a pair: that for 3GPP access, and that for non-3GPP
// access behind it.
func addressesOf(pair netip.Prefix) [steer.NumAccesses]netip.Addr {
	return [steer.NumAccesses]netip.Addr{steer.Access3GPP: pair.Addr(), steer.AccessNon3GPP: pair.Addr().Next()}
}

// pairOf is the pair whose first address is a; the zero Prefix if a is none.
func pairOf(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen()-1).Masked()
}
