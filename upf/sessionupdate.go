package upf

import (
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

const unknown = "is not there"

func (r *ruleSet) update(m *message.SessionModificationRequest) (moved []uint32, err *pfcp.Error) {
	all, err := pfcp.EndMarkers(m.PFCPSMReqFlags)
	if err != nil {
		return nil, err
	}
	updateFAR := func(i *ie.IE) *pfcp.Error {
		u, err := r.updateFAR(i)
		if err == nil && (all || u.Forwarding != nil && u.Forwarding.EndMarker) {
			moved = append(moved, u.ID)
		}
		return err
	}
	steps := []struct {
		list   []*ie.IE
		change func(*ie.IE) *pfcp.Error
	}{
		{m.UpdatePDR, r.updatePDR},
		{m.UpdateFAR, updateFAR},
		{m.UpdateQER, r.updateQER},
		{m.UpdateURR, r.updateURR},
		{m.UpdateMAR, r.updateMAR},
		{atMostOne(m.UpdateBAR), r.updateBAR},
		{m.UpdateTrafficEndpoint, r.updateEndpoint},
		{m.UpdateSRR, r.updateSRR},
	}
	for _, s := range steps {
		if err := each(s.list, s.change); err != nil {
			return nil, err
		}
	}
	return moved, nil
}

func (r *ruleSet) updatePDR(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParsePDR(i)
	if err == nil && !amend(&r.pdrs, u) {
		err = ruleError(pfcp.RulePDR, uint32(u.ID), ie.PDRID, unknown)
	}
	return err
}

func (r *ruleSet) updateFAR(i *ie.IE) (*pfcp.FAR, *pfcp.Error) {
	u, err := pfcp.ParseFAR(i)
	if err == nil && !amend(&r.fars, u) {
		err = ruleError(pfcp.RuleFAR, u.ID, ie.FARID, unknown)
	}
	return u, err
}

func (r *ruleSet) updateQER(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseQER(i)
	if err == nil && !amend(&r.qers, u) {
		err = ruleError(pfcp.RuleQER, u.ID, ie.QERID, unknown)
	}
	return err
}

func (r *ruleSet) updateURR(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseURR(i)
	switch {
	case err != nil:
	case !amend(&r.urrs, u):
		err = ruleError(pfcp.RuleURR, u.ID, ie.URRID, unknown)
	case u.Unsupported != 0:
		err = ruleError(pfcp.RuleURR, u.ID, u.Unsupported, "is not supported")
	}
	return err
}

func (r *ruleSet) updateMAR(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseMAR(i)
	if err == nil && !amend(&r.mars, u) {
		err = ruleError(pfcp.RuleMAR, uint32(u.ID), ie.MARID, unknown)
	}
	return err
}
