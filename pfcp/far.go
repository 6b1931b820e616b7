package pfcp

import "github.com/wmnsk/go-pfcp/ie"

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
