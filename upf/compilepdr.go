package upf

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

func (c *compiler) compilePDRs() *pfcp.Error {
	access := c.accesses()
	for n, p := range c.set.pdrs {
		if err := c.compilePDR(p, c.pdis[n], access); err != nil {
			return err
		}
	}
	byPrecedence := func(a, b dataplane.PDR) int { return cmp.Compare(a.Precedence, b.Precedence) }
	slices.SortStableFunc(c.rules.Uplink, byPrecedence)
	slices.SortStableFunc(c.rules.Downlink, byPrecedence)
	c.rules.Advertise = c.advertises()
	return nil
}

// advertises says that the worker answers Router Solicitations: as the config has
// it, for a session with an IPv6 prefix whose SMF has not asked for them.
func (c *compiler) advertises() bool {
	toCP := func(d dataplane.PDR) bool { return d.FAR != nil && d.FAR.To == dataplane.ToCP }
	return c.cfg.Braid.RA && !slices.ContainsFunc(c.rules.Uplink, toCP) &&
		slices.ContainsFunc(c.rules.UEAddrs, func(p netip.Prefix) bool { return p.Addr().Is6() && p.Bits() <= 64 })
}

// accesses says to which access each of the session's uplink tunnels belongs: as
// the 3GPP Interface Type says; where there is none, to 3GPP, except that in a
// session with a MAR a tunnel goes to non-3GPP if another one has 3GPP already.
func (c *compiler) accesses() map[uint32]steer.Access {
	access := map[uint32]steer.Access{}
	var silent []uint32 // tunnels of which nothing is said, lowest PDR ID first
	taken := false      // 3GPP has a tunnel
	for n, d := range c.pdis {
		if d.SourceInterface != pfcp.InterfaceAccess || d.FTEID == nil || c.between(c.set.pdrs[n]) {
			continue
		}
		switch t := d.InterfaceType; {
		case t != nil && *t == pfcp.N33GPP:
			access[d.FTEID.TEID], taken = steer.Access3GPP, true
		case t != nil && (*t == pfcp.N3TrustedNon3GPP || *t == pfcp.N3UntrustedNon3GPP):
			access[d.FTEID.TEID] = steer.AccessNon3GPP
		default:
			silent = append(silent, d.FTEID.TEID)
		}
	}
	for _, teid := range silent {
		if _, said := access[teid]; said {
			continue
		}
		access[teid] = steer.Access3GPP
		if taken && len(c.set.mars) > 0 {
			access[teid] = steer.AccessNon3GPP
		}
		taken = true
	}
	return access
}

// between says that p carries packets from access to access: indirect forwarding
// between gNBs in a handover (TS 23.502 §4.9.1.3).
func (c *compiler) between(p *pfcp.PDR) bool {
	if p.FARID == nil {
		return false
	}
	f := c.fars[*p.FARID]
	return f != nil && f.To == dataplane.ToAccess
}

func (c *compiler) compilePDR(p *pfcp.PDR, d *pfcp.PDI, access map[uint32]steer.Access) *pfcp.Error {
	id := uint32(p.ID)
	switch {
	case p.Unsupported != 0:
		return unsupported(pfcp.RulePDR, id, p.Unsupported)
	case d.Unsupported != 0:
		return unsupported(pfcp.RulePDR, id, d.Unsupported)
	}
	out := dataplane.PDR{ID: p.ID, Precedence: *p.Precedence}
	if err := c.actions(p, &out); err != nil {
		return err
	}
	for _, u := range d.UEAddresses {
		out.UEAddrs = append(out.UEAddrs, u.Prefixes()...)
	}
	out.UEAddrs = append(out.UEAddrs, d.FramedRoutes...)
	if err := c.filters(p, d, &out); err != nil {
		return err
	}
	switch d.SourceInterface {
	case pfcp.InterfaceAccess:
		if err := c.fromTunnel(p, d, &out); err != nil {
			return err
		}
		if c.between(p) {
			c.rules.Downlink = append(c.rules.Downlink, out)
			return nil
		}
		if p.MARID != nil {
			return ruleError(pfcp.RulePDR, id, ie.MARID, "a MAR is for the downlink")
		}
		out.Access = access[out.TEID]
		c.rules.Uplink = append(c.rules.Uplink, out)
		return nil
	case pfcp.InterfaceCPFunction:
		if err := c.fromTunnel(p, d, &out); err != nil {
			return err
		}
	case pfcp.InterfaceCore, pfcp.InterfaceN6LAN, pfcp.SourceVNInternal:
		fromDN := c.fromN6
		if d.SourceInterface == pfcp.InterfaceCore && d.FTEID != nil {
			fromDN = c.fromTunnel
		}
		if err := fromDN(p, d, &out); err != nil {
			return err
		}
	default:
		return ruleError(pfcp.RulePDR, id, ie.SourceInterface, fmt.Sprintf("source interface %d, known are 0 to 4", d.SourceInterface))
	}
	c.rules.Downlink = append(c.rules.Downlink, out)
	return nil
}

// actions resolves the rules that p names.
func (c *compiler) actions(p *pfcp.PDR, out *dataplane.PDR) *pfcp.Error {
	id := uint32(p.ID)
	switch {
	case p.FARID != nil && p.MARID != nil:
		return ruleError(pfcp.RulePDR, id, ie.MARID, "names both a FAR and a MAR")
	case p.FARID != nil:
		if out.FAR = c.fars[*p.FARID]; out.FAR == nil {
			return ruleError(pfcp.RulePDR, id, ie.FARID, fmt.Sprintf("FAR %d not found", *p.FARID))
		}
	case p.MARID != nil:
		if out.MAR = c.mars[*p.MARID]; out.MAR == nil {
			return ruleError(pfcp.RulePDR, id, ie.MARID, fmt.Sprintf("MAR %d not found", *p.MARID))
		}
	default:
		return absent(ie.CauseConditionalIEMissing, pfcp.RulePDR, id, ie.FARID, "names neither a FAR nor a MAR")
	}
	for _, q := range p.QERIDs {
		qer := c.qers[q]
		if qer == nil {
			return ruleError(pfcp.RulePDR, id, ie.QERID, fmt.Sprintf("QER %d not found", q))
		}
		out.QERs = append(out.QERs, qer)
	}
	var err *pfcp.Error
	out.URRs, err = c.urrsOf(p.URRIDs, pfcp.RulePDR, id)
	return err
}

// fromTunnel fills in what a PDR of packets out of a tunnel needs: an F-TEID, and
// the removal of its header (TS 29.244 Table 8.2.64-1).
func (c *compiler) fromTunnel(p *pfcp.PDR, d *pfcp.PDI, out *dataplane.PDR) *pfcp.Error {
	id := uint32(p.ID)
	switch f := d.FTEID; {
	case f == nil:
		return absent(ie.CauseConditionalIEMissing, pfcp.RulePDR, id, ie.FTEID, "from an access or the CP function without an F-TEID")
	case f.TEID == 0:
		return ruleError(pfcp.RulePDR, id, ie.FTEID, "TEID 0")
	default:
		out.TEID, out.LocalAddr = f.TEID, c.localAddr(f)
	}
	for _, q := range d.QFIs {
		out.QFIs |= 1 << q
	}
	const gtpuUDPIPv4, gtpuUDPIPv6, gtpuUDPIP = 0, 1, 6
	switch r := p.OuterHeaderRemoval; {
	case r != nil && *r != gtpuUDPIPv4 && *r != gtpuUDPIPv6 && *r != gtpuUDPIP:
		return ruleError(pfcp.RulePDR, id, ie.OuterHeaderRemoval, fmt.Sprintf("outer header removal %d, known is GTP-U/UDP/IP (0, 1, 6)", *r))
	case r == nil && out.FAR != nil && out.FAR.Action == dataplane.Forward:
		return absent(ie.CauseConditionalIEMissing, pfcp.RulePDR, id, ie.OuterHeaderRemoval, "from a tunnel without Outer Header Removal")
	}
	return nil
}

// fromN6 checks what a PDR from the data network, or from other UEs, needs: a UE
// address, and no tunnel.
func (c *compiler) fromN6(p *pfcp.PDR, d *pfcp.PDI, out *dataplane.PDR) *pfcp.Error {
	id := uint32(p.ID)
	switch {
	case d.FTEID != nil:
		return ruleError(pfcp.RulePDR, id, ie.FTEID, fmt.Sprintf("source interface %d has no tunnels", d.SourceInterface))
	case p.OuterHeaderRemoval != nil:
		return ruleError(pfcp.RulePDR, id, ie.OuterHeaderRemoval, "packets of N6 have no outer header")
	case len(out.UEAddrs) == 0:
		return absent(ie.CauseConditionalIEMissing, pfcp.RulePDR, id, ie.UEIPAddress, "from the data network without a UE address")
	}
	return nil
}

// filters compiles the SDF filters of p, or the flows of its application. A filter
// that has only an ID stands for the filter of that ID elsewhere in the session
// (TS 29.244 §8.2.5).
func (c *compiler) filters(p *pfcp.PDR, d *pfcp.PDI, out *dataplane.PDR) *pfcp.Error {
	fail := func(format string, args ...any) *pfcp.Error {
		return ruleError(pfcp.RulePDR, uint32(p.ID), ie.SDFFilter, fmt.Sprintf(format, args...))
	}
	ue := out.UEAddrs
	if len(ue) == 0 { // an uplink PDR that leaves them to its tunnel
		ue = c.rules.UEAddrs
	}
	for _, f := range d.Filters {
		narrows := f.HasDescription || f.HasTOS || f.HasSPI || f.HasLabel
		if f.HasID && !narrows {
			twin, ok := c.filterByID(f.ID)
			if !ok {
				return fail("SDF filter %d says nothing, here nor elsewhere in the session", f.ID)
			}
			f, narrows = twin, true
		}
		switch {
		case !narrows:
			return fail("SDF filter that says nothing")
		case f.HasSPI && f.SPI == 0:
			return fail("SPI 0 is in no packet (RFC 4303 §2.1)")
		}
		filter := oriented(f.Description, ue)
		filter.TOS, filter.TOSMask = f.TOS, f.TOSMask
		filter.SPI, filter.FlowLabel, filter.HasLabel = f.SPI, f.FlowLabel, f.HasLabel
		out.Filters = append(out.Filters, filter)
	}
	if d.ApplicationID == "" {
		return nil
	}
	flows, ok := c.apps.apps[d.ApplicationID]
	switch {
	case !ok:
		return absent(pfcp.CauseUnknownApplicationID, pfcp.RulePDR, uint32(p.ID), ie.ApplicationID, fmt.Sprintf("application %q", d.ApplicationID))
	case len(d.Filters) > 0:
		return ruleError(pfcp.RulePDR, uint32(p.ID), ie.ApplicationID, "an application and SDF filters in one PDI")
	case len(flows) == 0:
		return ruleError(pfcp.RulePDR, uint32(p.ID), ie.ApplicationID, fmt.Sprintf("application %q has no flow description to tell its packets by", d.ApplicationID))
	}
	for _, fd := range flows {
		out.Filters = append(out.Filters, oriented(fd, ue))
	}
	return nil
}

// oriented is the filter of a flow description for a PDR with those UE addresses.
func oriented(fd pfcp.FlowDescription, ue []netip.Prefix) dataplane.Filter {
	remote, local := fd.Orient(ue)
	return dataplane.Filter{
		Protocol: fd.Protocol,
		Remote:   remote.Prefix, Local: local.Prefix,
		RemotePorts: ports(remote.Ports), LocalPorts: ports(local.Ports),
	}
}

func (c *compiler) filterByID(id uint32) (pfcp.SDFFilter, bool) {
	for _, d := range c.pdis {
		for _, f := range d.Filters {
			if f.HasID && f.ID == id && (f.HasDescription || f.HasTOS || f.HasSPI || f.HasLabel) {
				return f, true
			}
		}
	}
	return pfcp.SDFFilter{}, false
}

func ports(rs []pfcp.PortRange) []dataplane.PortRange {
	var out []dataplane.PortRange
	for _, r := range rs {
		out = append(out, dataplane.PortRange(r))
	}
	return out
}
