package pfcp

import "github.com/wmnsk/go-pfcp/ie"

// TrafficEndpoint is a Create, Update or Remove Traffic Endpoint (§5.23, Tables
// 7.5.2.7-1, 7.5.4.13-1, 7.5.4.14-1): what several PDIs have in common.
type TrafficEndpoint struct {
	ID uint8

	// PDI has the members that a traffic endpoint and a PDI both know: F-TEID, network
	// instance, UE addresses, framed routes, QFIs, interface type.
	PDI PDI
}

// ParseTrafficEndpoint reads a Create, Update or Remove Traffic Endpoint.
func ParseTrafficEndpoint(i *ie.IE) (*TrafficEndpoint, *Error) {
	t := &TrafficEndpoint{}
	found := false
	err := children(i, func(c *ie.IE) *Error {
		if c.Type == ie.TrafficEndpointID {
			var err *Error
			t.ID, err = u8(c)
			found = true
			return err
		}
		return t.PDI.endpointMember(c)
	})
	if err == nil && !found {
		err = missing("Traffic Endpoint", ie.TrafficEndpointID)
	}
	return t, err
}

// Apply puts into t what an Update Traffic Endpoint u carries; lists are replaced as
// a whole.
func (t *TrafficEndpoint) Apply(u *TrafficEndpoint) {
	d, e := &t.PDI, &u.PDI
	override(&d.FTEID, e.FTEID)
	override(&d.InterfaceType, e.InterfaceType)
	if e.NetworkInstance != "" {
		d.NetworkInstance = e.NetworkInstance
	}
	if e.UEAddresses != nil {
		d.UEAddresses = e.UEAddresses
	}
	if e.FramedRoutes != nil {
		d.FramedRoutes = e.FramedRoutes
	}
	if e.QFIs != nil {
		d.QFIs = e.QFIs
	}
	if e.Unsupported != 0 {
		d.Unsupported = e.Unsupported
	}
}

// Join is the PDI d of a PDR with what its traffic endpoint says.
func (t *TrafficEndpoint) Join(d *PDI) *PDI {
	j := *d
	if j.FTEID == nil {
		j.FTEID = t.PDI.FTEID
	}
	if j.InterfaceType == nil {
		j.InterfaceType = t.PDI.InterfaceType
	}
	if j.NetworkInstance == "" {
		j.NetworkInstance = t.PDI.NetworkInstance
	}
	if j.UEAddresses == nil {
		j.UEAddresses = t.PDI.UEAddresses
	}
	if j.FramedRoutes == nil {
		j.FramedRoutes = t.PDI.FramedRoutes
	}
	if j.QFIs == nil {
		j.QFIs = t.PDI.QFIs
	}
	if j.Unsupported == 0 {
		j.Unsupported = t.PDI.Unsupported
	}
	return &j
}

// IE encodes t as an IE of type typ: ie.CreateTrafficEndpoint,
// ie.UpdateTrafficEndpoint or ie.RemoveTrafficEndpoint.
func (t *TrafficEndpoint) IE(typ uint16) *ie.IE {
	g := []*ie.IE{ie.New(ie.TrafficEndpointID, []byte{t.ID})}
	return ie.NewGroupedIE(typ, append(g, t.PDI.endpointIEs()...)...)
}
