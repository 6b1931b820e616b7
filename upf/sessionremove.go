package upf

import (
	"slices"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// remove takes rules away. One that is not there is as the CP function wants it.
// QERs and URRs go out of the PDRs that name them, and a BAR out of its FARs; a
// FAR or a MAR that a rule still names is found by compile.
func (r *ruleSet) remove(m *message.SessionModificationRequest) *pfcp.Error {
	steps := []struct {
		list []*ie.IE
		kind pfcp.RuleKind
		drop func(id uint32)
	}{
		{m.RemovePDR, pfcp.RulePDR, func(id uint32) { r.pdrs.delete(uint16(id)) }},
		{m.RemoveFAR, pfcp.RuleFAR, func(id uint32) { r.fars.delete(id) }},
		{m.RemoveURR, pfcp.RuleURR, r.removeURR},
		{m.RemoveQER, pfcp.RuleQER, r.removeQER},
		{m.RemoveMAR, pfcp.RuleMAR, func(id uint32) { r.mars.delete(uint16(id)) }},
		{atMostOne(m.RemoveBAR), pfcp.RuleBAR, r.removeBAR},
		{m.RemoveSRR, pfcp.RuleSRR, func(id uint32) { r.srrs.delete(uint8(id)) }},
	}
	for _, s := range steps {
		err := each(s.list, func(i *ie.IE) *pfcp.Error {
			id, err := pfcp.ParseRuleID(i, s.kind)
			if err == nil {
				s.drop(id)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return each(m.RemoveTrafficEndpoint, r.removeEndpoint)
}

func (r *ruleSet) removeQER(id uint32) {
	r.qers.delete(id)
	r.unname(id, func(p *pfcp.PDR) *[]uint32 { return &p.QERIDs })
}

func (r *ruleSet) removeURR(id uint32) {
	r.urrs.delete(id)
	r.unname(id, func(p *pfcp.PDR) *[]uint32 { return &p.URRIDs })
	for k, m := range r.mars {
		n := *m
		for i, a := range m.Access {
			if a != nil && slices.Contains(a.URRIDs, id) {
				b := *a
				b.URRIDs = without(a.URRIDs, id)
				n.Access[i] = &b
			}
		}
		if n.Access != m.Access {
			r.mars[k] = &n
		}
	}
}

// unname takes id out of that list of every PDR.
func (r *ruleSet) unname(id uint32, list func(*pfcp.PDR) *[]uint32) {
	for k, p := range r.pdrs {
		if ids := *list(p); slices.Contains(ids, id) {
			q := *p
			*list(&q) = without(ids, id)
			r.pdrs[k] = &q
		}
	}
}

func without(ids []uint32, id uint32) []uint32 {
	var out []uint32
	for _, v := range ids {
		if v != id {
			out = append(out, v)
		}
	}
	return out
}
