package pfcp

import "github.com/wmnsk/go-pfcp/ie"

// FAR is a Create FAR or an Update FAR (Tables 7.5.2.3-1, 7.5.4.3-1).
type FAR struct {
	ID          uint32
	ApplyAction *uint16 // flags: octet 5 low, octet 6 high; [ActionFORW] and so on
	Forwarding  *Forwarding
	Duplicates  []Forwarding // Duplicating Parameters, or updates of them: one for each, in order
	BARID       *uint8
	Unsupported uint16 // redundant transmission, MBS
}

// Flags of the Apply Action IE (§8.2.26).
const (
	ActionDROP uint16 = 1 << 0
	ActionFORW uint16 = 1 << 1
	ActionBUFF uint16 = 1 << 2
	ActionNOCP uint16 = 1 << 3
	ActionDUPL uint16 = 1 << 4
)

// Forwarding is Forwarding Parameters, Duplicating Parameters, or an update of one
// of them.
type Forwarding struct {
	Destination     *uint8 // [InterfaceAccess] and so on
	InterfaceType   *uint8 // 3GPP Interface Type of the destination interface
	NetworkInstance string
	OuterHeader     *OuterHeaderCreation
	TOS             *uint8 // Transport Level Marking: TOS or traffic class of the outer header, less what its mask leaves out
	EndMarker       bool   // SNDEM of an update's PFCPSMReq-Flags; not a part of the rule
	Unsupported     uint16 // redirection, header enrichment, proxying, forwarding policy, replaced addresses
}

// flagSNDEM is SNDEM of the PFCPSMReq-Flags IE (§8.2.35): send End Markers.
const flagSNDEM = 1 << 1

// EndMarkers says whether the PFCPSMReq-Flags IE of a Session Modification Request,
// which may be nil, has SNDEM.
func EndMarkers(i *ie.IE) (bool, *Error) {
	if i == nil {
		return false, nil
	}
	v, err := u8(i)
	return v&flagSNDEM != 0, err
}

// ParseFAR reads a Create FAR or an Update FAR.
func ParseFAR(i *ie.IE) (*FAR, *Error) {
	f := &FAR{}
	found := false
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.FARID:
			var err *Error
			f.ID, err = u32(c)
			found = true
			return err
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
		case ie.DuplicatingParameters, ie.UpdateDuplicatingParameters:
			v, err := parseForwarding(c)
			return add(&f.Duplicates, v, err)
		case ie.BARID:
			v, err := u8(c)
			return set(&f.BARID, v, err)
		case ie.RedundantTransmissionForwardingParameters, typeMBSMulticastParameters, typeAddMBSUnicastParameters:
			f.Unsupported = c.Type
		}
		return nil
	})
	if err == nil && !found {
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
			f.NetworkInstance = networkInstance(c)
		case ie.OuterHeaderCreation:
			v, err := ParseOuterHeaderCreation(c)
			return set(&f.OuterHeader, v, err)
		case ie.TransportLevelMarking:
			b, err := octets(c, 2)
			if err != nil {
				return err
			}
			return set(&f.TOS, b[0]&b[1], nil)
		case ie.PFCPSMReqFlags:
			v, err := u8(c)
			f.EndMarker = v&flagSNDEM != 0
			return err
		case ie.RedirectInformation, ie.ForwardingPolicy, ie.HeaderEnrichment, ie.Proxying, typeAddressReplacement:
			f.Unsupported = c.Type
		}
		return nil
	})
	return f, err
}

// Apply puts into f what an Update FAR u carries. An Outer Header Creation that
// is not there stays as it was. The nth Update Duplicating Parameters change the
// nth Duplicating Parameters, or are one more.
func (f *FAR) Apply(u *FAR) {
	override(&f.ApplyAction, u.ApplyAction)
	override(&f.BARID, u.BARID)
	if u.Unsupported != 0 {
		f.Unsupported = u.Unsupported
	}
	if u.Forwarding != nil {
		var w Forwarding
		if f.Forwarding != nil {
			w = *f.Forwarding
		}
		w.apply(u.Forwarding)
		f.Forwarding = &w
	}
	if len(u.Duplicates) > 0 {
		ds := make([]Forwarding, max(len(f.Duplicates), len(u.Duplicates)))
		copy(ds, f.Duplicates)
		for i := range u.Duplicates {
			ds[i].apply(&u.Duplicates[i])
		}
		f.Duplicates = ds
	}
}

// apply puts into w what its update u carries.
func (w *Forwarding) apply(u *Forwarding) {
	override(&w.Destination, u.Destination)
	override(&w.InterfaceType, u.InterfaceType)
	override(&w.OuterHeader, u.OuterHeader)
	override(&w.TOS, u.TOS)
	if u.NetworkInstance != "" {
		w.NetworkInstance = u.NetworkInstance
	}
	if u.Unsupported != 0 {
		w.Unsupported = u.Unsupported
	}
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
	forwarding, duplicating := ie.ForwardingParameters, ie.DuplicatingParameters
	if typ == ie.UpdateFAR {
		forwarding, duplicating = ie.UpdateForwardingParameters, ie.UpdateDuplicatingParameters
	}
	if f.Forwarding != nil {
		g = append(g, f.Forwarding.ie(forwarding))
	}
	for i := range f.Duplicates {
		g = append(g, f.Duplicates[i].ie(duplicating))
	}
	if f.BARID != nil {
		g = append(g, ie.NewBARID(*f.BARID))
	}
	return ie.NewGroupedIE(typ, g...)
}

func (w *Forwarding) ie(typ uint16) *ie.IE {
	var g []*ie.IE
	if w.Destination != nil {
		g = append(g, ie.NewDestinationInterface(*w.Destination))
	}
	if w.NetworkInstance != "" {
		g = append(g, ie.NewNetworkInstance(w.NetworkInstance))
	}
	if w.OuterHeader != nil {
		g = append(g, w.OuterHeader.IE())
	}
	if w.TOS != nil {
		g = append(g, ie.New(ie.TransportLevelMarking, []byte{*w.TOS, 0xff}))
	}
	if w.EndMarker {
		g = append(g, ie.New(ie.PFCPSMReqFlags, []byte{flagSNDEM}))
	}
	if w.InterfaceType != nil {
		g = append(g, ie.NewTGPPInterfaceType(*w.InterfaceType))
	}
	return ie.NewGroupedIE(typ, g...)
}
