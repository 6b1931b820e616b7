package upf

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// Sessions of SMFs that know no MAR. The config gives them one: the PDU sessions of a UE
// in one data network, one over each access, then share MPTCP connections, and the rule
// says which of the sessions carries what.

// joinGroup names the sessions whose connections may be joined from one another: those of
// a local rule in one data network.
type joinGroup struct {
	rule int // index in BraidConfig.Rules
	dnn  string
}

// joinGroups are the groups that there have been, each with its number.
type joinGroups struct{ groups map[joinGroup]uint16 }

// number gives g's number; 0, so no group, if there are too many.
func (s *joinGroups) number(g joinGroup) uint16 {
	n, ok := s.groups[g]
	if !ok && len(s.groups) < math.MaxUint16 {
		if s.groups == nil {
			s.groups = map[joinGroup]uint16{}
		}
		n = uint16(len(s.groups) + 1)
		s.groups[g] = n
	}
	return n
}

// localRules has a session without MARs use the access that its peers tell, and gives it
// the MAR of the first local rule that fits.
func (c *compiler) localRules() *pfcp.Error {
	if len(c.set.mars) > 0 {
		return nil
	}
	if c.reachedOverNonGPP() {
		for i := range c.rules.Uplink {
			c.rules.Uplink[i].Access = steer.AccessNon3GPP
		}
	}
	dnns := c.dnns()
	for i := range c.cfg.Braid.Rules {
		rule := &c.cfg.Braid.Rules[i]
		if dnn, ok := rule.fits(dnns, &c.set.network); ok {
			c.giveMAR(&dataplane.MAR{Policy: rule.Policy, Group: c.groups.number(joinGroup{i, dnn})})
			return nil
		}
	}
	return nil
}

// giveMAR puts m beside the FAR of each PDR that brings packets of N6 to an access.
func (c *compiler) giveMAR(m *dataplane.MAR) {
	for i := range c.rules.Downlink {
		if d := &c.rules.Downlink[i]; d.TEID == 0 && toAccess(d) {
			d.MAR = m
		}
	}
}

func toAccess(d *dataplane.PDR) bool { return d.FAR != nil && d.FAR.To == dataplane.ToAccess }

// reachedOverNonGPP says whether the session's packets go to an N3IWF or a TNGF. Before
// N2 has told where they go, nothing says so; then the rules are compiled anew.
func (c *compiler) reachedOverNonGPP() bool {
	return slices.ContainsFunc(c.rules.Downlink, func(d dataplane.PDR) bool {
		if !toAccess(&d) || d.FAR.OuterHeader == nil {
			return false
		}
		peer := d.FAR.OuterHeader.Peer.Addr()
		return slices.ContainsFunc(c.cfg.Braid.NonGPP, func(p netip.Prefix) bool { return p.Contains(peer) })
	})
}

// dnns are the names of the session's data network: the DNN if the SMF gave it, else
// every Network Instance of its PDRs, the data network's side first.
func (c *compiler) dnns() []string {
	if n := &c.set.network; n.DNN != "" {
		return []string{n.DNN}
	}
	var core, access []string
	for _, d := range c.pdis {
		switch {
		case d.NetworkInstance == "":
		case d.SourceInterface == pfcp.InterfaceAccess:
			access = append(access, d.NetworkInstance)
		default:
			core = append(core, d.NetworkInstance)
		}
	}
	return append(core, access...)
}

// fits says whether r is for a session with these names of its data network and this
// slice, and gives the name that counts. DNNs are compared without regard to case
// (TS 23.003 §9.1).
func (r *LocalRule) fits(dnns []string, n *pfcp.Network) (dnn string, ok bool) {
	if r.SST != 0 && (!n.HasSlice || r.SST != n.SST || r.SD != "" && r.SD != n.SD) {
		return "", false
	}
	if r.DNN == "" {
		if len(dnns) > 0 {
			dnn = strings.ToLower(dnns[0])
		}
		return dnn, true
	}
	i := slices.IndexFunc(dnns, func(s string) bool { return strings.EqualFold(s, r.DNN) })
	return strings.ToLower(r.DNN), i >= 0
}
