package pfcp

import "github.com/wmnsk/go-pfcp/ie"

// SRR is a Create SRR or an Update SRR (TS 29.244 Tables 7.5.2.9-1, 7.5.4.20-1).
type SRR struct {
	ID uint8

	// Availability is the Requested Access Availability Information (§8.2.152), [RRCA];
	// nil = its group is not there. 0 asks for nothing: a group of null length, with
	// which an update ends the reports (§5.2.8.2.1).
	Availability *uint8

	// Unsupported is the type of an IE that asks for reports that Braid has not: QoS
	// monitoring, traffic parameters, reports to others than the CP function; 0 = none.
	Unsupported uint16
}

// RRCA asks for a report each time that an access becomes available or unavailable.
const RRCA uint8 = 1 << 0

// ParseSRR reads a Create SRR or an Update SRR.
func ParseSRR(i *ie.IE) (*SRR, *Error) {
	s := &SRR{}
	found := false
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.SRRID:
			var err *Error
			s.ID, err = u8(c)
			found = true
			return err
		case ie.AccessAvailabilityControlInformation:
			v, err := parseAvailabilityControl(c)
			return set(&s.Availability, v, err)
		case ie.QoSMonitoringPerQoSFlowControlInformation, typeDirectReportingInformation,
			typeTrafficParameterControl, typeReportingControlInformation:
			if len(c.Payload) > 0 { // one of null length asks for nothing
				s.Unsupported = c.Type
			}
		}
		return nil
	})
	if err == nil && !found {
		err = missing("SRR", ie.SRRID)
	}
	return s, of(err, RuleSRR, uint32(s.ID))
}

// parseAvailabilityControl reads Access Availability Control Information (Table
// 7.5.2.9-2); of null length it is 0.
func parseAvailabilityControl(i *ie.IE) (uint8, *Error) {
	var v *uint8
	err := children(i, func(c *ie.IE) *Error {
		if c.Type != ie.RequestedAccessAvailabilityInformation {
			return nil
		}
		flags, err := u8(c)
		return set(&v, flags&RRCA, err)
	})
	switch {
	case err != nil:
		return 0, err
	case v != nil:
		return *v, nil
	case len(i.ChildIEs) > 0:
		return 0, missing("Access Availability Control Information", ie.RequestedAccessAvailabilityInformation)
	}
	return 0, nil
}

// Apply puts into s what an Update SRR u carries.
func (s *SRR) Apply(u *SRR) {
	override(&s.Availability, u.Availability)
	if u.Unsupported != 0 {
		s.Unsupported = u.Unsupported
	}
}

// Reports says whether s asks for reports of the flag f.
func (s *SRR) Reports(f uint8) bool { return s.Availability != nil && *s.Availability&f != 0 }

// IE encodes s as an IE of type typ: ie.CreateSRR or ie.UpdateSRR.
func (s *SRR) IE(typ uint16) *ie.IE {
	g := []*ie.IE{ie.New(ie.SRRID, []byte{s.ID})}
	if s.Availability != nil {
		var members []*ie.IE
		if *s.Availability != 0 {
			members = append(members, ie.New(ie.RequestedAccessAvailabilityInformation, []byte{*s.Availability}))
		}
		g = append(g, ie.NewGroupedIE(ie.AccessAvailabilityControlInformation, members...))
	}
	return ie.NewGroupedIE(typ, g...)
}

// AccessAvailability is Access Availability Information (§8.2.153).
type AccessAvailability struct {
	Access    uint8 // 0 = 3GPP, 1 = non-3GPP
	Available bool  // it has become so, or unavailable
}

// ParseAccessAvailability reads Access Availability Information.
func ParseAccessAvailability(i *ie.IE) (AccessAvailability, *Error) {
	v, err := u8(i)
	if err != nil {
		return AccessAvailability{}, err
	}
	access, status := v&3, v>>2&3
	if access > 1 || status > 1 {
		return AccessAvailability{}, malformed(i, "access type %d, availability status %d, known are 0 and 1", access, status)
	}
	return AccessAvailability{Access: access, Available: status == 1}, nil
}

// IE encodes a.
func (a AccessAvailability) IE() *ie.IE {
	return ie.New(ie.AccessAvailabilityInformation, []byte{a.Access&3 | bit(a.Available, 1<<2)})
}

// SessionReport is a Session Report of a Session Report Request (Table 7.5.8.6-1).
type SessionReport struct {
	SRR          uint8
	Availability []AccessAvailability // Access Availability Report: one or two; empty = it is not there
}

// ParseSessionReport reads a Session Report.
func ParseSessionReport(i *ie.IE) (*SessionReport, *Error) {
	r := &SessionReport{}
	found := false
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.SRRID:
			var err *Error
			r.SRR, err = u8(c)
			found = true
			return err
		case ie.AccessAvailabilityReport:
			return children(c, func(m *ie.IE) *Error {
				if m.Type != ie.AccessAvailabilityInformation {
					return nil
				}
				v, err := ParseAccessAvailability(m)
				return add(&r.Availability, v, err)
			})
		}
		return nil
	})
	if err == nil && !found {
		err = missing("Session Report", ie.SRRID)
	}
	return r, of(err, RuleSRR, uint32(r.SRR))
}

// IE encodes r.
func (r *SessionReport) IE() *ie.IE {
	g := []*ie.IE{ie.New(ie.SRRID, []byte{r.SRR})}
	if len(r.Availability) > 0 {
		var members []*ie.IE
		for _, a := range r.Availability {
			members = append(members, a.IE())
		}
		g = append(g, ie.NewGroupedIE(ie.AccessAvailabilityReport, members...))
	}
	return ie.NewGroupedIE(ie.SessionReport, g...)
}
