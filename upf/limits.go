package upf

import (
	"fmt"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// Bounds of a session's rules, so that the time that any message may take is bounded,
// however many messages have made the session: a modification compiles all of them
// anew. Sessions of real SMFs stay far below.
const (
	maxPDRs  = 256
	maxRules = 512  // of each other kind
	maxParts = 1024 // filters, port ranges, addresses and names of other rules in all PDRs and MARs
)

// bounded refuses a rule set that is too large, where the applications are these.
func (r ruleSet) bounded(apps applications) *pfcp.Error {
	tooMany := func(offending uint16, n, limit int) *pfcp.Error {
		return &pfcp.Error{Cause: ie.CauseNoResourcesAvailable, Offending: offending, Text: fmt.Sprintf("%d in the session, allowed are %d", n, limit)}
	}
	if n := len(r.pdrs); n > maxPDRs {
		return tooMany(ie.CreatePDR, n, maxPDRs)
	}
	for _, kind := range []struct {
		typ uint16
		n   int
	}{
		{ie.CreateFAR, len(r.fars)},
		{ie.CreateQER, len(r.qers)},
		{ie.CreateURR, len(r.urrs)},
		{ie.CreateMAR, len(r.mars)},
		{ie.CreateBAR, len(r.bars)},
		{ie.CreateTrafficEndpoint, len(r.endpoints)},
	} {
		if kind.n > maxRules {
			return tooMany(kind.typ, kind.n, maxRules)
		}
	}
	parts := 0
	for _, p := range r.pdrs {
		parts += len(p.QERIDs) + len(p.URRIDs)
		if p.PDI == nil {
			continue
		}
		parts += len(apps.apps[p.PDI.ApplicationID]) + len(p.PDI.Filters) + len(p.PDI.UEAddresses) + len(p.PDI.FramedRoutes) + len(p.PDI.QFIs)
		for i := range p.PDI.Filters {
			d := &p.PDI.Filters[i].Description
			parts += len(d.From.Ports) + len(d.To.Ports)
		}
	}
	for _, m := range r.mars {
		for _, a := range m.Access {
			if a != nil {
				parts += len(a.URRIDs)
			}
		}
	}
	if parts > maxParts {
		return tooMany(ie.PDI, parts, maxParts)
	}
	return nil
}
