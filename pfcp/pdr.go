package pfcp

import (
	"net/netip"

	"github.com/wmnsk/go-pfcp/ie"
)

// PDR is a Create PDR or an Update PDR (TS 29.244 Tables 7.5.2.2-1, 7.5.4.2-1).
// A nil pointer or slice is an IE that is not there.
type PDR struct {
	ID uint16

	// Unsupported is the type of an IE that changes what the rule does and that
	// Braid has not: predefined rules, activation by time, IP multicast, transport
	// delay reports; 0 = none.
	Unsupported uint16

	// Multipath is the MPTCP Applicable Indication (§8.2.181): [MTAI], [MQAI]; 0 = none.
	Multipath uint8

	Precedence         *uint32 // lower goes first
	PDI                *PDI
	OuterHeaderRemoval *uint8 // description, TS 29.244 Table 8.2.64-1
	FARID              *uint32
	MARID              *uint16
	QERIDs             []uint32
	URRIDs             []uint32
}

// Flags of the MPTCP Applicable Indication, which Rel-18 calls Multipath Applicable
// Indication: of what the traffic is that the PDR detects.
const (
	MTAI uint8 = 1 << 0 // MPTCP
	MQAI uint8 = 1 << 1 // MPQUIC
)

// PDI is the packet detection information of a PDR (Table 7.5.2.2-2).
type PDI struct {
	SourceInterface uint8  // [InterfaceAccess] and so on
	Unsupported     uint16 // as in [PDR]: Ethernet, redundant transmission, MBS, DNS
	InterfaceType   *uint8 // 3GPP Interface Type of the source interface, [N33GPP] and so on
	FTEID           *FTEID
	NetworkInstance string // decoded if it came as an FQDN
	UEAddresses     []UEIPAddress
	FramedRoutes    []netip.Prefix // Framed-Route and Framed-IPv6-Route: addresses behind the UE
	Filters         []SDFFilter
	ApplicationID   string // "" = none
	QFIs            []uint8
	Endpoint        *uint8 // Traffic Endpoint ID
}

// Values of Source Interface and Destination Interface (§8.2.2, §8.2.24). The last
// two have one meaning and two values.
const (
	InterfaceAccess     uint8 = 0
	InterfaceCore       uint8 = 1
	InterfaceN6LAN      uint8 = 2
	InterfaceCPFunction uint8 = 3
	SourceVNInternal    uint8 = 4 // 5G VN Internal
	DestVNInternal      uint8 = 5 // 5G VN Internal
)

// Values of 3GPP Interface Type (§8.2.118) that tell the accesses apart, and N3
// from N9.
const (
	N33GPP             uint8 = 11
	N3TrustedNon3GPP   uint8 = 12
	N3UntrustedNon3GPP uint8 = 13
	N9                 uint8 = 15
	N9Roaming          uint8 = 21
)

// ParsePDR reads a Create PDR or an Update PDR. What the first needs and the
// second does not is checked by the caller, who knows the rule as it was.
func ParsePDR(i *ie.IE) (*PDR, *Error) {
	p := &PDR{}
	found := false
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.PDRID:
			var err *Error
			p.ID, err = u16(c)
			found = true
			return err
		case ie.Precedence:
			v, err := u32(c)
			return set(&p.Precedence, v, err)
		case ie.PDI:
			v, err := parsePDI(c)
			return set(&p.PDI, v, err)
		case ie.OuterHeaderRemoval:
			v, err := u8(c)
			return set(&p.OuterHeaderRemoval, v, err)
		case ie.FARID:
			v, err := u32(c)
			return set(&p.FARID, v, err)
		case ie.MARID:
			v, err := u16(c)
			return set(&p.MARID, v, err)
		case ie.QERID:
			v, err := u32(c)
			return add(&p.QERIDs, v, err)
		case ie.URRID:
			v, err := u32(c)
			return add(&p.URRIDs, v, err)
		case ie.MPTCPApplicableIndication:
			v, err := u8(c)
			p.Multipath = v & (MTAI | MQAI)
			return err
		case ie.ActivatePredefinedRules, ie.DeactivatePredefinedRules, ie.ActivationTime, ie.DeactivationTime,
			ie.IPMulticastAddressingInfo, ie.TransportDelayReporting:
			p.Unsupported = c.Type
		}
		return nil
	})
	if err == nil && !found {
		err = missing("PDR", ie.PDRID)
	}
	return p, of(err, RulePDR, uint32(p.ID))
}

func parsePDI(i *ie.IE) (PDI, *Error) {
	var d PDI
	found := false
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.SourceInterface:
			v, err := u8(c)
			d.SourceInterface, found = v&0x0f, true
			return err
		case ie.SDFFilter:
			v, err := ParseSDFFilter(c)
			return add(&d.Filters, v, err)
		case ie.ApplicationID:
			b, err := octets(c, 1)
			d.ApplicationID = string(b)
			return err
		case ie.TrafficEndpointID:
			v, err := u8(c)
			return set(&d.Endpoint, v, err)
		case ie.EthernetPacketFilter, ie.RedundantTransmissionParameters, typeDNSQueryFilter, typeMBSSessionIdentifier, typeLocalIngressTunnel:
			d.Unsupported = c.Type
			return nil
		}
		return d.endpointMember(c)
	})
	if err == nil && !found {
		err = missing("PDI", ie.SourceInterface)
	}
	return d, err
}

// endpointMember reads a member that a traffic endpoint can have too.
func (d *PDI) endpointMember(c *ie.IE) *Error {
	switch c.Type {
	case ie.TGPPInterfaceType:
		v, err := u8(c)
		return set(&d.InterfaceType, v&0x3f, err)
	case ie.FTEID:
		v, err := ParseFTEID(c)
		return set(&d.FTEID, v, err)
	case ie.NetworkInstance:
		d.NetworkInstance = networkInstance(c)
	case ie.UEIPAddress:
		v, err := ParseUEIPAddress(c)
		return add(&d.UEAddresses, v, err)
	case ie.FramedRoute, ie.FramedIPv6Route:
		v, err := framedRoute(c)
		return add(&d.FramedRoutes, v, err)
	case ie.QFI:
		v, err := u8(c)
		return add(&d.QFIs, v&0x3f, err)
	case ie.EthernetPDUSessionInformation:
		d.Unsupported = c.Type
	}
	return nil
}

// Apply puts into p what an Update PDR u carries. An update that names a FAR takes
// the MAR's place, and the other way round.
func (p *PDR) Apply(u *PDR) {
	override(&p.Precedence, u.Precedence)
	if u.PDI != nil {
		p.PDI = u.PDI.inPlaceOf(p.PDI)
	}
	override(&p.OuterHeaderRemoval, u.OuterHeaderRemoval)
	switch {
	case u.FARID != nil:
		p.FARID, p.MARID = u.FARID, nil
	case u.MARID != nil:
		p.FARID, p.MARID = nil, u.MARID
	}
	if u.QERIDs != nil {
		p.QERIDs = u.QERIDs
	}
	if u.URRIDs != nil {
		p.URRIDs = u.URRIDs
	}
	if u.Multipath != 0 {
		p.Multipath = u.Multipath
	}
	if u.Unsupported != 0 {
		p.Unsupported = u.Unsupported
	}
}

// inPlaceOf is d, of an Update PDR, as the PDI that takes the place of old. It does so
// whole (TS 29.244 Table 7.5.4.2-1), unless it says nothing of a tunnel nor of the UE's
// addresses: as it stands it could match no packet. Open5GS's SMF changes the filters of
// a QoS flow so; the rest stays.
func (d *PDI) inPlaceOf(old *PDI) *PDI {
	if old == nil || d.SourceInterface != old.SourceInterface ||
		d.FTEID != nil || d.Endpoint != nil || len(d.UEAddresses) > 0 || len(d.FramedRoutes) > 0 {
		return d
	}
	with := *d
	with.FTEID, with.Endpoint, with.UEAddresses, with.FramedRoutes = old.FTEID, old.Endpoint, old.UEAddresses, old.FramedRoutes
	if with.NetworkInstance == "" {
		with.NetworkInstance = old.NetworkInstance
	}
	if with.QFIs == nil {
		with.QFIs = old.QFIs
	}
	if with.InterfaceType == nil {
		with.InterfaceType = old.InterfaceType
	}
	return &with
}

// IE encodes p as an IE of type typ: ie.CreatePDR or ie.UpdatePDR.
func (p *PDR) IE(typ uint16) *ie.IE {
	g := []*ie.IE{ie.NewPDRID(p.ID)}
	if p.Precedence != nil {
		g = append(g, ie.NewPrecedence(*p.Precedence))
	}
	if p.PDI != nil {
		g = append(g, p.PDI.ie())
	}
	if p.OuterHeaderRemoval != nil {
		g = append(g, ie.New(ie.OuterHeaderRemoval, []byte{*p.OuterHeaderRemoval}))
	}
	if p.FARID != nil {
		g = append(g, ie.NewFARID(*p.FARID))
	}
	for _, id := range p.URRIDs {
		g = append(g, ie.NewURRID(id))
	}
	for _, id := range p.QERIDs {
		g = append(g, ie.NewQERID(id))
	}
	if p.MARID != nil {
		g = append(g, ie.NewMARID(*p.MARID))
	}
	if p.Multipath != 0 {
		g = append(g, ie.New(ie.MPTCPApplicableIndication, []byte{p.Multipath}))
	}
	return ie.NewGroupedIE(typ, g...)
}

func (d *PDI) ie() *ie.IE {
	g := []*ie.IE{ie.NewSourceInterface(d.SourceInterface)}
	if d.Endpoint != nil {
		g = append(g, ie.New(ie.TrafficEndpointID, []byte{*d.Endpoint}))
	}
	for _, f := range d.Filters {
		g = append(g, f.IE())
	}
	if d.ApplicationID != "" {
		g = append(g, ie.New(ie.ApplicationID, []byte(d.ApplicationID)))
	}
	return ie.NewGroupedIE(ie.PDI, append(g, d.endpointIEs()...)...)
}

// endpointIEs are the members that a traffic endpoint can have too.
func (d *PDI) endpointIEs() []*ie.IE {
	var g []*ie.IE
	if d.FTEID != nil {
		g = append(g, d.FTEID.IE())
	}
	if d.NetworkInstance != "" {
		g = append(g, ie.NewNetworkInstance(d.NetworkInstance))
	}
	for _, u := range d.UEAddresses {
		g = append(g, u.IE())
	}
	for _, r := range d.FramedRoutes {
		g = append(g, framedRouteIE(r))
	}
	for _, q := range d.QFIs {
		g = append(g, ie.NewQFI(q))
	}
	if d.InterfaceType != nil {
		g = append(g, ie.NewTGPPInterfaceType(*d.InterfaceType))
	}
	return g
}
