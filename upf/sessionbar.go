package upf

import (
	"slices"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// This file has the rules that few sessions have: BARs and traffic endpoints.

func (r *ruleSet) createBAR(i *ie.IE) *pfcp.Error {
	b, err := pfcp.ParseBAR(i)
	if err != nil {
		return err
	}
	if r.bars.get(b.ID) != nil {
		return ruleError(pfcp.RuleBAR, uint32(b.ID), ie.BARID, twice)
	}
	r.bars.put(b)
	return nil
}

func (r *ruleSet) updateBAR(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseBAR(i)
	if err == nil && !amend(&r.bars, u) {
		err = ruleError(pfcp.RuleBAR, uint32(u.ID), ie.BARID, unknown)
	}
	return err
}

func (r *ruleSet) removeBAR(id uint32) {
	r.bars.delete(uint8(id))
	for k, was := range r.fars {
		if b := was.BARID; b != nil && uint32(*b) == id {
			f := *was
			f.BARID = nil
			r.fars[k] = &f
		}
	}
}

// endpointError refuses what is said of a traffic endpoint, which the Failed Rule ID
// cannot name.
func endpointError(text string) *pfcp.Error {
	return &pfcp.Error{Cause: ie.CauseRuleCreationModificationFailure, Offending: ie.TrafficEndpointID, Text: "traffic endpoint " + text}
}

func (r *ruleSet) createEndpoint(i *ie.IE) *pfcp.Error {
	t, err := pfcp.ParseTrafficEndpoint(i)
	if err != nil {
		return err
	}
	if r.endpoints.get(t.ID) != nil {
		return endpointError(twice)
	}
	r.endpoints.put(t)
	return nil
}

func (r *ruleSet) updateEndpoint(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseTrafficEndpoint(i)
	if err == nil && !amend(&r.endpoints, u) {
		err = endpointError(unknown)
	}
	return err
}

// removeEndpoint takes a traffic endpoint away, and the PDRs that refer to it
// (TS 29.244 Table 7.5.4.1-1).
func (r *ruleSet) removeEndpoint(i *ie.IE) *pfcp.Error {
	t, err := pfcp.ParseTrafficEndpoint(i)
	if err != nil {
		return err
	}
	r.endpoints.delete(t.ID)
	r.pdrs = slices.DeleteFunc(r.pdrs, func(p *pfcp.PDR) bool {
		d := p.PDI
		return d.Endpoint != nil && *d.Endpoint == t.ID
	})
	return nil
}
