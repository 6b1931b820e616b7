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
	if err != nil {
		return err
	}
	old := r.pdrs.get(u.ID)
	if old == nil {
		return ruleError(pfcp.RulePDR, uint32(u.ID), ie.PDRID, unknown)
	}
	p := *old
	p.Apply(u)
	r.pdrs.put(&p)
	return nil
}

func (r *ruleSet) updateFAR(i *ie.IE) (*pfcp.FAR, *pfcp.Error) {
	u, err := pfcp.ParseFAR(i)
	if err != nil {
		return nil, err
	}
	old := r.fars.get(u.ID)
	if old == nil {
		return nil, ruleError(pfcp.RuleFAR, u.ID, ie.FARID, unknown)
	}
	f := *old
	f.Apply(u)
	r.fars.put(&f)
	return u, nil
}

func (r *ruleSet) updateQER(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseQER(i)
	if err != nil {
		return err
	}
	old := r.qers.get(u.ID)
	if old == nil {
		return ruleError(pfcp.RuleQER, u.ID, ie.QERID, unknown)
	}
	q := *old
	q.Apply(u)
	r.qers.put(&q)
	return nil
}

func (r *ruleSet) updateURR(i *ie.IE) *pfcp.Error {
	up, err := pfcp.ParseURR(i)
	if err != nil {
		return err
	}
	old := r.urrs.get(up.ID)
	switch {
	case old == nil:
		return ruleError(pfcp.RuleURR, up.ID, ie.URRID, unknown)
	case up.Unsupported != 0:
		return ruleError(pfcp.RuleURR, up.ID, up.Unsupported, "is not supported")
	}
	u := *old
	u.Apply(up)
	r.urrs.put(&u)
	return nil
}

func (r *ruleSet) updateMAR(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseMAR(i)
	if err != nil {
		return err
	}
	old := r.mars.get(u.ID)
	if old == nil {
		return ruleError(pfcp.RuleMAR, uint32(u.ID), ie.MARID, unknown)
	}
	m := *old
	m.Apply(u)
	r.mars.put(&m)
	return nil
}
