package upf

import (
	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/pfcp"
)

// This file has what a CP function says of a multi-access session beside its MARs: ATSSS
// control information, session reporting rules, and which access it knows to be
// unavailable.

// provide takes ATSSS control information, which is nil if the request has none. What was
// said before gives way to it, whole (TS 29.244 Table 7.5.4.1-1).
func (r *ruleSet) provide(i *ie.IE) *pfcp.Error {
	if i == nil {
		return nil
	}
	c, err := pfcp.ParseATSSSControl(i)
	r.atsss, r.asking = c, true
	return err
}

func (r *ruleSet) createSRR(i *ie.IE) *pfcp.Error {
	s, err := pfcp.ParseSRR(i)
	switch {
	case err != nil:
		return err
	case r.srrs.get(s.ID) != nil:
		return ruleError(pfcp.RuleSRR, uint32(s.ID), ie.SRRID, twice)
	case s.Unsupported != 0:
		return unsupported(pfcp.RuleSRR, uint32(s.ID), s.Unsupported)
	}
	r.srrs.put(s)
	return nil
}

func (r *ruleSet) updateSRR(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseSRR(i)
	switch {
	case err != nil:
	case !amend(&r.srrs, u):
		err = ruleError(pfcp.RuleSRR, uint32(u.ID), ie.SRRID, unknown)
	case u.Unsupported != 0:
		err = unsupported(pfcp.RuleSRR, uint32(u.ID), u.Unsupported)
	}
	return err
}

// availability takes Access Availability Information of the CP function: an access that
// it says to be unavailable carries nothing until it, or what is measured, says otherwise
// (TS 29.244 §5.20.5).
func (r *ruleSet) availability(list []*ie.IE) *pfcp.Error {
	return each(list, func(i *ie.IE) *pfcp.Error {
		a, err := pfcp.ParseAccessAvailability(i)
		if err != nil {
			return err
		}
		of := steer.SetOf(steer.Access(a.Access))
		if r.unavailable |= of; a.Available {
			r.unavailable &^= of
		}
		return nil
	})
}

// availabilityIEs say which accesses the CP function knows to be unavailable.
func (r ruleSet) availabilityIEs() []*ie.IE {
	var ies []*ie.IE
	for a := range steer.Access(steer.NumAccesses) {
		if r.unavailable.Has(a) {
			ies = append(ies, pfcp.AccessAvailability{Access: uint8(a)}.IE())
		}
	}
	return ies
}

// reportsAccess says whether an SRR asks for changes of an access's availability.
func (r ruleSet) reportsAccess() bool {
	for _, s := range r.srrs {
		if s.Reports(pfcp.RRCA) {
			return true
		}
	}
	return false
}
