package upf

import (
	"net/netip"
	"strings"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// ATSSSConfig is the section braid.atsss: what SMFs that ask for it are told for a
// multi-access session (TS 29.244 §5.20). What is not configured is not told.
type ATSSSConfig struct {
	// Converter is the MPTCP proxy of type transport converter (RFC 8803), an address of
	// each IP version that it has; empty = none.
	Converter []netip.AddrPort

	// Cookies: the converter asks UEs for a cookie (RFC 8803 §6.2.7).
	Cookies bool

	// LinkSpecific are the ranges that the UEs' own addresses for subflows come from, two
	// a session of each IP version of Converter.
	LinkSpecific []netip.Prefix

	PMF *PMFConfig // nil = no performance measurement
}

// PMFConfig is the section braid.atsss.pmf (TS 23.501 §5.32.5).
type PMFConfig struct {
	Addrs []netip.Addr // one of each IP version

	// Port tells the access; those of the QoS flows that are measured each for itself
	// follow, see dataplane.PMF.
	Port [steer.NumAccesses]uint16

	Interval time.Duration // between two measurements of an access that is in use
	Idle     time.Duration // without traffic, after which a session is measured no more; 0 = always measured
}

// maxFlowPort is how far the port of the last QoS flow lies behind that of the default
// one: two for each QFI.
const maxFlowPort = 2 * 63

func (r *reader) atsss(s *section, dnns []DNN) ATSSSConfig {
	s.only("converter", "linkSpecific", "pmf")
	c := ATSSSConfig{LinkSpecific: s.prefixes("linkSpecific")}
	if s.keys["converter"] != nil {
		c.Converter, c.Cookies = r.converter(s.sub("converter"))
	}
	if s.keys["pmf"] != nil {
		c.PMF = r.pmf(s.sub("pmf"))
	}
	r.linkSpecific(s, &c)
	r.apart(s, &c, dnns)
	return c
}

func (r *reader) converter(s *section) (proxies []netip.AddrPort, cookies bool) {
	s.only("addrs", "port", "cookies")
	port := uint16(s.number("port", 5124, 1, 65535))
	for _, a := range r.versions(s) {
		proxies = append(proxies, netip.AddrPortFrom(a, port))
	}
	return proxies, s.boolean("cookies", false)
}

func (r *reader) pmf(s *section) *PMFConfig {
	names := [steer.NumAccesses]string{steer.Access3GPP.String(), steer.AccessNon3GPP.String()}
	s.only("addrs", names[0], names[1], "interval", "idle")
	p := &PMFConfig{
		Addrs:    r.versions(s),
		Interval: s.duration("interval", 250*time.Millisecond, 10*time.Millisecond, time.Minute),
		Idle:     s.duration("idle", 10*time.Second, 0, time.Hour),
	}
	for a, name := range names {
		p.Port[a] = uint16(s.number(name, 10500+a, 1, 65535-maxFlowPort))
	}
	if apart := int(p.Port[1]) - int(p.Port[0]); apart%2 == 0 && apart >= -maxFlowPort && apart <= maxFlowPort {
		r.fail(s.line, strings.TrimSuffix(s.path, "."), "ports %d and %d, allowed: two that lie an odd number apart, or more than %d: those of QoS flows follow in steps of two",
			p.Port[0], p.Port[1], maxFlowPort)
	}
	return p
}

// versions are the addresses under the key addrs: one, or one of each IP version.
func (r *reader) versions(s *section) []netip.Addr {
	const allowed = "a list of one address such as 10.200.0.1, or of one of each IP version"
	if s.keys["addrs"] == nil {
		r.fail(s.line, s.path+"addrs", "is not there, allowed: %s", allowed)
		return nil
	}
	var as []netip.Addr
	for _, p := range s.prefixes("addrs") {
		as = append(as, p.Addr())
		if !p.IsSingleIP() || p.Addr().IsUnspecified() || p.Addr().IsMulticast() || p.Addr().IsLoopback() ||
			len(as) > 2 || len(as) == 2 && as[0].Is4() == as[1].Is4() {
			r.fail(s.keys["addrs"].Line, s.path+"addrs", "%v, allowed: %s", p, allowed)
			return nil
		}
	}
	return as
}

// linkSpecific sees to it that the converter and the link-specific addresses go together.
func (r *reader) linkSpecific(s *section, c *ATSSSConfig) {
	line := s.line
	if n := s.keys["linkSpecific"]; n != nil {
		line = n.Line
	}
	has := map[bool]bool{}
	for _, p := range c.LinkSpecific {
		has[p.Addr().Is4()] = true
		if p.IsSingleIP() {
			r.fail(line, s.path+"linkSpecific", "%v, allowed: ranges of two addresses and more", p)
		}
	}
	for _, proxy := range c.Converter {
		if !has[proxy.Addr().Is4()] {
			r.fail(line, s.path+"linkSpecific", "has none of the IP version of the converter's address %v, allowed: ranges of each of its IP versions", proxy.Addr())
		}
	}
	if len(c.LinkSpecific) > 0 && s.keys["converter"] == nil {
		r.fail(line, s.path+"linkSpecific", "without a converter, allowed: both or neither")
	}
}

// apart sees to it that no address has two meanings.
func (r *reader) apart(s *section, c *ATSSSConfig, dnns []DNN) {
	fail := func(p netip.Prefix, what string) {
		r.fail(s.line, strings.TrimSuffix(s.path, "."), "%v is in %s, allowed: addresses that mean nothing else", p, what)
	}
	for i, p := range c.ranges() {
		for _, d := range dnns {
			if p.Overlaps(d.CIDR) {
				fail(p, "the dnnList's "+d.CIDR.String())
			}
		}
		for _, q := range c.LinkSpecific[:min(i, len(c.LinkSpecific))] {
			if p.Overlaps(q) {
				fail(p, "the link-specific "+q.String())
			}
		}
	}
}

// ranges are all addresses of c, the link-specific ones first.
func (c *ATSSSConfig) ranges() []netip.Prefix {
	ps := append([]netip.Prefix(nil), c.LinkSpecific...)
	alone := func(a netip.Addr) { ps = append(ps, netip.PrefixFrom(a, a.BitLen())) }
	for _, proxy := range c.Converter {
		alone(proxy.Addr())
	}
	if c.PMF != nil {
		for _, a := range c.PMF.Addrs {
			alone(a)
		}
	}
	return ps
}

// overlaps gives the range of c that has an address of p, if one has.
func (c *ATSSSConfig) overlaps(p netip.Prefix) (own netip.Prefix, ok bool) {
	for _, own := range c.LinkSpecific {
		if own.Overlaps(p) {
			return own, true
		}
	}
	for _, proxy := range c.Converter {
		if p.Contains(proxy.Addr()) {
			return netip.PrefixFrom(proxy.Addr(), proxy.Addr().BitLen()), true
		}
	}
	if c.PMF != nil {
		for _, a := range c.PMF.Addrs {
			if p.Contains(a) {
				return netip.PrefixFrom(a, a.BitLen()), true
			}
		}
	}
	return netip.Prefix{}, false
}
