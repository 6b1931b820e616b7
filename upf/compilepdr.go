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

func (c *compiler) compilePDRs() *pfcp.Error {
	access := c.accesses()
	err := inOrder(c.set.pdrs, func(p *pfcp.PDR) *pfcp.Error { return c.compilePDR(p, access) })
	if err != nil {
		return err
	}
	byPrecedence := func(a, b dataplane.PDR) int { return cmp.Compare(a.Precedence, b.Precedence) }
	slices.SortStableFunc(c.rules.Uplink, byPrecedence)
	slices.SortStableFunc(c.rules.Downlink, byPrecedence)
	c.rules.UEAddrs = slices.SortedFunc(maps.Keys(c.holds.prefixes), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return nil
}

// accesses says to which access each of the session's uplink tunnels belongs: as
// the 3GPP Interface Type says; where there is none, to 3GPP, except that in a
// session with a MAR a tunnel goes to non-3GPP if another one has 3GPP already.
func (c *compiler) accesses() map[uint32]steer.Access {
	access := map[uint32]steer.Access{}
	var silent []uint32 // tunnels of which nothing is said, lowest PDR ID first
	for _, id := range slices.Sorted(maps.Keys(c.set.pdrs)) {
		d := c.set.pdrs[id].PDI
		if d.SourceInterface != pfcp.InterfaceAccess || d.FTEID == nil {
			continue
		}
		switch t := d.InterfaceType; {
		case t != nil && *t == pfcp.N33GPP:
			access[d.FTEID.TEID] = steer.Access3GPP
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
		taken := slices.Contains(slices.Collect(maps.Values(access)), steer.Access3GPP)
		access[teid] = steer.Access3GPP
		if taken && len(c.set.mars) > 0 {
			access[teid] = steer.AccessNon3GPP
		}
	}
	return access
}

func (c *compiler) compilePDR(p *pfcp.PDR, access map[uint32]steer.Access) *pfcp.Error {
	id := uint32(p.ID)
	d := p.PDI
	switch {
	case p.Unsupported != 0:
		return ruleError(pfcp.RulePDR, id, p.Unsupported, "is not supported")
	case d.Unsupported != 0:
		return ruleError(pfcp.RulePDR, id, d.Unsupported, "is not supported")
	}
	out := dataplane.PDR{ID: p.ID, Precedence: *p.Precedence}
	if err := c.actions(p, &out); err != nil {
		return err
	}
	for _, u := range d.UEAddresses {
		if u.Choose {
			return ruleError(pfcp.RulePDR, id, ie.UEIPAddress, "UE addresses are not chosen here")
		}
		out.UEAddrs = append(out.UEAddrs, u.Prefixes()...)
	}
	for _, prefix := range out.UEAddrs {
		c.holds.prefixes[prefix] = true
	}
	if err := c.filters(p, &out); err != nil {
		return err
	}
	switch d.SourceInterface {
	case pfcp.InterfaceAccess:
		if err := uplink(p, &out); err != nil {
			return err
		}
		out.Access = access[out.TEID]
		for _, q := range d.QFIs {
			out.QFIs |= 1 << q
		}
		c.rules.Uplink = append(c.rules.Uplink, out)
	case pfcp.InterfaceCore, pfcp.InterfaceN6LAN:
		if err := downlink(p, &out); err != nil {
			return err
		}
		c.rules.Downlink = append(c.rules.Downlink, out)
	case pfcp.InterfaceCPFunction: // accepted; nothing comes from there yet
	default:
		return ruleError(pfcp.RulePDR, id, ie.SourceInterface, fmt.Sprintf("source interface %d", d.SourceInterface))
	}
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
	for _, u := range p.URRIDs {
		if !c.set.urrs[u] {
			return ruleError(pfcp.RulePDR, id, ie.URRID, fmt.Sprintf("URR %d not found", u))
		}
	}
	return nil
}

// uplink fills in what a PDR from an access needs: a tunnel, and the removal of
// its header (TS 29.244 Table 8.2.64-1).
func uplink(p *pfcp.PDR, out *dataplane.PDR) *pfcp.Error {
	id := uint32(p.ID)
	switch f := p.PDI.FTEID; {
	case f == nil:
		return absent(ie.CauseConditionalIEMissing, pfcp.RulePDR, id, ie.FTEID, "from an access without an F-TEID")
	case f.TEID == 0:
		return ruleError(pfcp.RulePDR, id, ie.FTEID, "TEID 0")
	case p.MARID != nil:
		return ruleError(pfcp.RulePDR, id, ie.MARID, "a MAR is for the downlink")
	default:
		out.TEID, out.LocalAddr = f.TEID, f.IPv4
		if !f.IPv4.IsValid() {
			out.LocalAddr = f.IPv6
		}
	}
	const gtpuUDPIPv4, gtpuUDPIPv6, gtpuUDPIP = 0, 1, 6
	switch r := p.OuterHeaderRemoval; {
	case r != nil && *r != gtpuUDPIPv4 && *r != gtpuUDPIPv6 && *r != gtpuUDPIP:
		return ruleError(pfcp.RulePDR, id, ie.OuterHeaderRemoval, fmt.Sprintf("outer header removal %d, known is GTP-U/UDP/IP (0, 1, 6)", *r))
	case r == nil && out.FAR.Action == dataplane.Forward:
		return absent(ie.CauseConditionalIEMissing, pfcp.RulePDR, id, ie.OuterHeaderRemoval, "from a tunnel without Outer Header Removal")
	}
	return nil
}

// downlink checks what a PDR from the data network needs: a UE address, and no
// tunnel.
func downlink(p *pfcp.PDR, out *dataplane.PDR) *pfcp.Error {
	id := uint32(p.ID)
	switch {
	case p.PDI.FTEID != nil:
		return ruleError(pfcp.RulePDR, id, ie.FTEID, "there is no N9")
	case p.OuterHeaderRemoval != nil:
		return ruleError(pfcp.RulePDR, id, ie.OuterHeaderRemoval, "packets of N6 have no outer header")
	case len(out.UEAddrs) == 0:
		return absent(ie.CauseConditionalIEMissing, pfcp.RulePDR, id, ie.UEIPAddress, "from the data network without a UE address")
	}
	return nil
}

// filters compiles the SDF filters of p. One that has only an ID stands for the
// filter of that ID elsewhere in the session (TS 29.244 §8.2.5).
func (c *compiler) filters(p *pfcp.PDR, out *dataplane.PDR) *pfcp.Error {
	for _, f := range p.PDI.Filters {
		if f.HasID && !f.HasDescription && !f.Narrowing {
			twin, ok := c.filterByID(f.ID)
			if !ok {
				return ruleError(pfcp.RulePDR, uint32(p.ID), ie.SDFFilter, fmt.Sprintf("SDF filter %d has no flow description", f.ID))
			}
			f = twin
		}
		if f.Narrowing || !f.HasDescription {
			return ruleError(pfcp.RulePDR, uint32(p.ID), ie.SDFFilter, "SDF filter with more or less than a flow description")
		}
		remote, local := f.Description.Orient(out.UEAddrs)
		out.Filters = append(out.Filters, dataplane.Filter{
			Protocol: f.Description.Protocol,
			Remote:   remote.Prefix, Local: local.Prefix,
			RemotePorts: ports(remote.Ports), LocalPorts: ports(local.Ports),
		})
	}
	return nil
}

func (c *compiler) filterByID(id uint32) (twin pfcp.SDFFilter, found bool) {
	lowest := 0 // the twin's PDR
	for k, p := range c.set.pdrs {
		if found && int(k) > lowest {
			continue
		}
		at := slices.IndexFunc(p.PDI.Filters, func(f pfcp.SDFFilter) bool { return f.HasID && f.ID == id && f.HasDescription })
		if at >= 0 {
			twin, found, lowest = p.PDI.Filters[at], true, int(k)
		}
	}
	return twin, found
}

func ports(rs []pfcp.PortRange) []dataplane.PortRange {
	var out []dataplane.PortRange
	for _, r := range rs {
		out = append(out, dataplane.PortRange(r))
	}
	return out
}
