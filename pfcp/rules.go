package pfcp

import (
	"encoding/binary"

	"github.com/wmnsk/go-pfcp/ie"
)

// PDR is a Create PDR or an Update PDR (TS 29.244 Tables 7.5.2.2-1, 7.5.4.2-1).
// A nil pointer or slice is an IE that is not there.
type PDR struct {
	ID                 uint16
	Precedence         *uint32 // lower goes first
	PDI                *PDI
	OuterHeaderRemoval *uint8 // description, TS 29.244 Table 8.2.64-1
	FARID              *uint32
	MARID              *uint16
	QERIDs             []uint32
	URRIDs             []uint32

	// Unsupported is the type of an IE that changes what the rule does and that
	// Braid has not: predefined rules, and so on; 0 = none.
	Unsupported uint16
}

// PDI is the packet detection information of a PDR (Table 7.5.2.2-2).
type PDI struct {
	SourceInterface uint8  // [InterfaceAccess] and so on
	InterfaceType   *uint8 // 3GPP Interface Type of the source interface, [N33GPP] and so on
	FTEID           *FTEID
	NetworkInstance string // decoded if it came as an FQDN
	UEAddresses     []UEIPAddress
	Filters         []SDFFilter
	QFIs            []uint8
	Unsupported     uint16 // as in [PDR]: application ID, traffic endpoint, Ethernet
}

// Values of Source Interface and Destination Interface (§8.2.2, §8.2.24).
const (
	InterfaceAccess     uint8 = 0
	InterfaceCore       uint8 = 1
	InterfaceN6LAN      uint8 = 2
	InterfaceCPFunction uint8 = 3
)

// Values of 3GPP Interface Type (§8.2.118) that tell the accesses apart.
const (
	N33GPP             uint8 = 11
	N3TrustedNon3GPP   uint8 = 12
	N3UntrustedNon3GPP uint8 = 13
)

// ParsePDR reads a Create PDR or an Update PDR. What the first needs and the
// second does not is checked by the caller, who knows the rule as it was.
func ParsePDR(i *ie.IE) (*PDR, *Error) {
	p := &PDR{}
	var id *uint16
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.PDRID:
			v, err := u16(c)
			return set(&id, v, err)
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
		case ie.ActivatePredefinedRules, ie.DeactivatePredefinedRules, ie.ActivationTime, ie.DeactivationTime:
			p.Unsupported = c.Type
		}
		return nil
	})
	if id != nil {
		p.ID = *id
	}
	if err == nil && id == nil {
		err = missing("PDR", ie.PDRID)
	}
	return p, of(err, RulePDR, uint32(p.ID))
}

func parsePDI(i *ie.IE) (PDI, *Error) {
	var d PDI
	var source *uint8
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.SourceInterface:
			v, err := u8(c)
			return set(&source, v&0x0f, err)
		case ie.TGPPInterfaceType:
			v, err := u8(c)
			return set(&d.InterfaceType, v&0x3f, err)
		case ie.FTEID:
			v, err := ParseFTEID(c)
			return set(&d.FTEID, v, err)
		case ie.NetworkInstance:
			var err *Error
			d.NetworkInstance, err = networkInstance(c)
			return err
		case ie.UEIPAddress:
			v, err := ParseUEIPAddress(c)
			return add(&d.UEAddresses, v, err)
		case ie.SDFFilter:
			v, err := ParseSDFFilter(c)
			return add(&d.Filters, v, err)
		case ie.QFI:
			v, err := u8(c)
			return add(&d.QFIs, v&0x3f, err)
		case ie.ApplicationID, ie.TrafficEndpointID, ie.EthernetPacketFilter, ie.EthernetPDUSessionInformation,
			ie.RedundantTransmissionParameters, ie.IPMulticastAddressingInfo:
			d.Unsupported = c.Type
		}
		return nil
	})
	if err == nil && source == nil {
		err = missing("PDI", ie.SourceInterface)
	}
	if source != nil {
		d.SourceInterface = *source
	}
	return d, err
}

// of says for which rule err is, if it is not said yet.
func of(err *Error, kind RuleKind, id uint32) *Error {
	if err != nil && err.Rule.Kind == 0 {
		err.Rule = RuleID{kind, id}
	}
	return err
}

// Apply puts into p what an Update PDR u carries. An update that names a FAR takes
// the MAR's place, and the other way round.
func (p *PDR) Apply(u *PDR) {
	override(&p.Precedence, u.Precedence)
	override(&p.PDI, u.PDI)
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
	if u.Unsupported != 0 {
		p.Unsupported = u.Unsupported
	}
}

func override[T any](dst **T, v *T) {
	if v != nil {
		*dst = v
	}
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
	return ie.NewGroupedIE(typ, g...)
}

func (d *PDI) ie() *ie.IE {
	g := []*ie.IE{ie.NewSourceInterface(d.SourceInterface)}
	if d.FTEID != nil {
		g = append(g, d.FTEID.IE())
	}
	if d.NetworkInstance != "" {
		g = append(g, ie.NewNetworkInstance(d.NetworkInstance))
	}
	for _, u := range d.UEAddresses {
		g = append(g, u.IE())
	}
	for _, f := range d.Filters {
		g = append(g, f.IE())
	}
	for _, q := range d.QFIs {
		g = append(g, ie.NewQFI(q))
	}
	if d.InterfaceType != nil {
		g = append(g, ie.NewTGPPInterfaceType(*d.InterfaceType))
	}
	return ie.NewGroupedIE(ie.PDI, g...)
}

// FAR is a Create FAR or an Update FAR (Tables 7.5.2.3-1, 7.5.4.3-1).
type FAR struct {
	ID          uint32
	ApplyAction *uint16 // flags: octet 5 low, octet 6 high; [ActionFORW] and so on
	Forwarding  *Forwarding
}

// Flags of the Apply Action IE (§8.2.26).
const (
	ActionDROP uint16 = 1 << 0
	ActionFORW uint16 = 1 << 1
	ActionBUFF uint16 = 1 << 2
	ActionNOCP uint16 = 1 << 3
)

// Forwarding is Forwarding Parameters or Update Forwarding Parameters.
type Forwarding struct {
	Destination     *uint8 // [InterfaceAccess] and so on
	InterfaceType   *uint8 // 3GPP Interface Type of the destination interface
	NetworkInstance string
	OuterHeader     *OuterHeaderCreation
	Unsupported     uint16 // redirect, proxying, traffic endpoint
}

// ParseFAR reads a Create FAR or an Update FAR.
func ParseFAR(i *ie.IE) (*FAR, *Error) {
	f := &FAR{}
	var id *uint32
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.FARID:
			v, err := u32(c)
			return set(&id, v, err)
		case ie.ApplyAction:
			b, err := octets(c, 1)
			if err != nil {
				return err
			}
			v := uint16(b[0])
			if len(b) > 1 {
				v |= uint16(b[1]) << 8
			}
			f.ApplyAction = &v
		case ie.ForwardingParameters, ie.UpdateForwardingParameters:
			v, err := parseForwarding(c)
			return set(&f.Forwarding, v, err)
		}
		return nil
	})
	if id != nil {
		f.ID = *id
	}
	if err == nil && id == nil {
		err = missing("FAR", ie.FARID)
	}
	return f, of(err, RuleFAR, f.ID)
}

func parseForwarding(i *ie.IE) (Forwarding, *Error) {
	var f Forwarding
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.DestinationInterface:
			v, err := u8(c)
			return set(&f.Destination, v&0x0f, err)
		case ie.TGPPInterfaceType:
			v, err := u8(c)
			return set(&f.InterfaceType, v&0x3f, err)
		case ie.NetworkInstance:
			var err *Error
			f.NetworkInstance, err = networkInstance(c)
			return err
		case ie.OuterHeaderCreation:
			v, err := ParseOuterHeaderCreation(c)
			return set(&f.OuterHeader, v, err)
		case ie.RedirectInformation, ie.ForwardingPolicy, ie.TrafficEndpointID:
			f.Unsupported = c.Type
		}
		return nil
	})
	return f, err
}

// Apply puts into f what an Update FAR u carries. An Outer Header Creation that
// is not there stays as it was.
func (f *FAR) Apply(u *FAR) {
	override(&f.ApplyAction, u.ApplyAction)
	if u.Forwarding == nil {
		return
	}
	var w Forwarding
	if f.Forwarding != nil {
		w = *f.Forwarding
	}
	override(&w.Destination, u.Forwarding.Destination)
	override(&w.InterfaceType, u.Forwarding.InterfaceType)
	override(&w.OuterHeader, u.Forwarding.OuterHeader)
	if u.Forwarding.NetworkInstance != "" {
		w.NetworkInstance = u.Forwarding.NetworkInstance
	}
	if u.Forwarding.Unsupported != 0 {
		w.Unsupported = u.Forwarding.Unsupported
	}
	f.Forwarding = &w
}

// IE encodes f as an IE of type typ: ie.CreateFAR or ie.UpdateFAR.
func (f *FAR) IE(typ uint16) *ie.IE {
	g := []*ie.IE{ie.NewFARID(f.ID)}
	if f.ApplyAction != nil {
		b := []byte{uint8(*f.ApplyAction)}
		if *f.ApplyAction > 0xff {
			b = append(b, uint8(*f.ApplyAction>>8))
		}
		g = append(g, ie.New(ie.ApplyAction, b))
	}
	if w := f.Forwarding; w != nil {
		var p []*ie.IE
		if w.Destination != nil {
			p = append(p, ie.NewDestinationInterface(*w.Destination))
		}
		if w.NetworkInstance != "" {
			p = append(p, ie.NewNetworkInstance(w.NetworkInstance))
		}
		if w.OuterHeader != nil {
			p = append(p, w.OuterHeader.IE())
		}
		if w.InterfaceType != nil {
			p = append(p, ie.NewTGPPInterfaceType(*w.InterfaceType))
		}
		group := ie.ForwardingParameters
		if typ == ie.UpdateFAR {
			group = ie.UpdateForwardingParameters
		}
		g = append(g, ie.NewGroupedIE(group, p...))
	}
	return ie.NewGroupedIE(typ, g...)
}

// QER is a Create QER or an Update QER (Tables 7.5.2.5-1, 7.5.4.5-1).
type QER struct {
	ID   uint32
	Gate *uint8   // Gate Status octet: bits 3-4 uplink, 1-2 downlink; 0 = open
	MBR  *BitRate // parsed, not enforced yet
	QFI  *uint8
	RQI  *uint8 // bit 1: reflective QoS
}

// BitRate is an MBR IE (§8.2.8), in kbit/s.
type BitRate struct{ Uplink, Downlink uint64 }

// ParseQER reads a Create QER or an Update QER.
func ParseQER(i *ie.IE) (*QER, *Error) {
	q := &QER{}
	var id *uint32
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.QERID:
			v, err := u32(c)
			return set(&id, v, err)
		case ie.GateStatus:
			v, err := u8(c)
			return set(&q.Gate, v&0x0f, err)
		case ie.MBR:
			b, err := octets(c, 10)
			if err != nil {
				return err
			}
			q.MBR = &BitRate{uint40(b), uint40(b[5:])}
		case ie.QFI:
			v, err := u8(c)
			return set(&q.QFI, v&0x3f, err)
		case ie.RQI:
			v, err := u8(c)
			return set(&q.RQI, v&1, err)
		}
		return nil
	})
	if id != nil {
		q.ID = *id
	}
	if err == nil && id == nil {
		err = missing("QER", ie.QERID)
	}
	return q, of(err, RuleQER, q.ID)
}

func uint40(b []byte) uint64 { return uint64(b[0])<<32 | uint64(binary.BigEndian.Uint32(b[1:])) }

// Apply puts into q what an Update QER u carries.
func (q *QER) Apply(u *QER) {
	override(&q.Gate, u.Gate)
	override(&q.MBR, u.MBR)
	override(&q.QFI, u.QFI)
	override(&q.RQI, u.RQI)
}

// IE encodes q as an IE of type typ: ie.CreateQER or ie.UpdateQER.
func (q *QER) IE(typ uint16) *ie.IE {
	g := []*ie.IE{ie.NewQERID(q.ID)}
	if q.Gate != nil {
		g = append(g, ie.New(ie.GateStatus, []byte{*q.Gate}))
	}
	if q.MBR != nil {
		var b []byte
		for _, r := range []uint64{q.MBR.Uplink, q.MBR.Downlink} {
			b = append(b, uint8(r>>32))
			b = binary.BigEndian.AppendUint32(b, uint32(r))
		}
		g = append(g, ie.New(ie.MBR, b))
	}
	if q.QFI != nil {
		g = append(g, ie.NewQFI(*q.QFI))
	}
	if q.RQI != nil {
		g = append(g, ie.New(ie.RQI, []byte{*q.RQI}))
	}
	return ie.NewGroupedIE(typ, g...)
}

// ParseRuleID reads the ID out of a group that carries little else that matters:
// a Remove PDR, FAR, QER, URR or MAR, a Create URR or an Update URR.
func ParseRuleID(i *ie.IE, kind RuleKind) (uint32, *Error) {
	want := idTypes[kind]
	var id *uint32
	err := children(i, func(c *ie.IE) *Error {
		if c.Type != want {
			return nil
		}
		if kind == RulePDR || kind == RuleMAR {
			v, err := u16(c)
			return set(&id, uint32(v), err)
		}
		v, err := u32(c)
		return set(&id, v, err)
	})
	if err != nil {
		return 0, err
	}
	if id == nil {
		return 0, missing(ruleNames[kind], want)
	}
	return *id, nil
}

var idTypes = map[RuleKind]uint16{
	RulePDR: ie.PDRID, RuleFAR: ie.FARID, RuleQER: ie.QERID, RuleURR: ie.URRID, RuleMAR: ie.MARID,
}

// ParseCreateURR reads a Create URR (Table 7.5.2.4-1): its ID; the two other
// mandatory IEs must be there.
func ParseCreateURR(i *ie.IE) (uint32, *Error) {
	id, err := ParseRuleID(i, RuleURR)
	if err != nil {
		return 0, err
	}
	for _, want := range []struct {
		typ    uint16
		octets int
	}{{ie.MeasurementMethod, 1}, {ie.ReportingTriggers, 2}} {
		found := false
		err := children(i, func(c *ie.IE) *Error {
			if c.Type != want.typ {
				return nil
			}
			found = true
			_, err := octets(c, want.octets)
			return err
		})
		if err == nil && !found {
			err = missing("URR", want.typ)
		}
		if err != nil {
			return 0, of(err, RuleURR, id)
		}
	}
	return id, nil
}
