package pfcp

import (
	"encoding/binary"
	"slices"

	"github.com/wmnsk/go-pfcp/ie"
)

// MAR is a Create MAR or an Update MAR (TS 29.244 Tables 7.5.2.8-1, 7.5.4.16-1).
type MAR struct {
	ID            uint16
	Functionality *uint8               // steering functionality, §8.2.124
	Mode          *uint8               // steering mode, §8.2.125
	Access        [2]*AccessForwarding // 3GPP, non-3GPP access forwarding action information
	Thresholds    *Thresholds
	Indicator     *uint8 // steering mode indicator, §8.2.197: bit 1 ALBI, bit 2 UEAI
	TransportMode *uint8 // §8.2.227, of MPQUIC
}

// AccessForwarding is 3GPP or Non-3GPP Access Forwarding Action Information, or
// an update of one (Tables 7.5.2.8-2, 7.5.2.8-3).
type AccessForwarding struct {
	Update   bool // an Update (Non-)3GPP Access Forwarding Action Information: what is not there stays
	Removed  bool // an update of null length: the MAR has this access no more
	FARID    *uint32
	Weight   *uint8 // percent
	Priority *uint8 // §8.2.127
	URRIDs   []uint32
}

// Thresholds is a Thresholds IE (§8.2.196, type 288); one without a bound ends those of
// before.
type Thresholds struct {
	RTT *uint16 // milliseconds
	PLR *uint8  // packet loss rate, percent; what is above 100 counts as 0
}

// ParseMAR reads a Create MAR or an Update MAR.
func ParseMAR(i *ie.IE) (*MAR, *Error) {
	m := &MAR{}
	found := false
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.MARID:
			var err *Error
			m.ID, err = u16(c)
			found = true
			return err
		case ie.SteeringFunctionality:
			v, err := u8(c)
			return set(&m.Functionality, v&0x0f, err)
		case ie.SteeringMode:
			v, err := u8(c)
			return set(&m.Mode, v&0x0f, err)
		case ie.TGPPAccessForwardingActionInformation, ie.UpdateTGPPAccessForwardingActionInformation:
			return m.access(0, c)
		case ie.NonTGPPAccessForwardingActionInformation, ie.UpdateNonTGPPAccessForwardingActionInformation:
			return m.access(1, c)
		case TypeThresholds:
			v, err := parseThresholds(c)
			return set(&m.Thresholds, v, err)
		case TypeSteeringModeIndicator:
			v, err := u8(c)
			return set(&m.Indicator, v&3, err)
		case typeTransportMode:
			v, err := u8(c)
			return set(&m.TransportMode, v&0x0f, err)
		}
		return nil
	})
	if err == nil && !found {
		err = missing("MAR", ie.MARID)
	}
	return m, of(err, RuleMAR, uint32(m.ID))
}

// access reads forwarding action information of the access with that index. An update
// of it that says nothing that we know changes nothing.
func (m *MAR) access(n int, i *ie.IE) *Error {
	a, err := parseAccessForwarding(i)
	if err != nil || a.Update && !a.Removed && a.FARID == nil && a.Weight == nil && a.Priority == nil && a.URRIDs == nil {
		return err
	}
	m.Access[n] = &a
	return nil
}

func parseAccessForwarding(i *ie.IE) (AccessForwarding, *Error) {
	a := AccessForwarding{Update: i.Type == ie.UpdateTGPPAccessForwardingActionInformation || i.Type == ie.UpdateNonTGPPAccessForwardingActionInformation}
	a.Removed = a.Update && len(i.ChildIEs) == 0
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.FARID:
			v, err := u32(c)
			return set(&a.FARID, v, err)
		case ie.Weight:
			v, err := u8(c)
			return set(&a.Weight, percent(v), err)
		case ie.Priority:
			v, err := u8(c)
			return set(&a.Priority, v&0x0f, err)
		case ie.URRID:
			v, err := u32(c)
			return add(&a.URRIDs, v, err)
		}
		return nil
	})
	if err == nil && a.FARID == nil && !a.Update {
		err = missing("access forwarding action information", ie.FARID)
	}
	return a, err
}

func parseThresholds(i *ie.IE) (Thresholds, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return Thresholds{}, err
	}
	var t Thresholds
	flags, b := b[0], b[1:]
	if flags&1 != 0 {
		if len(b) < 2 {
			return Thresholds{}, malformed(i, "no RTT")
		}
		rtt := binary.BigEndian.Uint16(b)
		t.RTT, b = &rtt, b[2:]
	}
	if flags&2 != 0 {
		if len(b) < 1 {
			return Thresholds{}, malformed(i, "no packet loss rate")
		}
		plr := percent(b[0])
		t.PLR = &plr
	}
	return t, nil
}

// percent is what an octet of percents says: values above 100 count as 0 (§8.2.126,
// §8.2.196).
func percent(v uint8) uint8 {
	if v > 100 {
		return 0
	}
	return v
}

// Apply puts into m what an Update MAR u carries: access forwarding action
// information as a whole, an update of it member by member.
func (m *MAR) Apply(u *MAR) {
	if u.Mode != nil && m.Mode != nil && *u.Mode != *m.Mode {
		m.forget(*u.Mode)
	}
	override(&m.Functionality, u.Functionality)
	override(&m.Mode, u.Mode)
	override(&m.Thresholds, u.Thresholds)
	override(&m.Indicator, u.Indicator)
	override(&m.TransportMode, u.TransportMode)
	for i, ua := range u.Access {
		switch {
		case ua == nil:
		case ua.Removed:
			m.Access[i] = nil
		case m.Access[i] == nil || !ua.Update:
			m.Access[i] = ua
		default:
			w := *m.Access[i]
			override(&w.FARID, ua.FARID)
			override(&w.Weight, ua.Weight)
			override(&w.Priority, ua.Priority)
			if ua.URRIDs != nil {
				w.URRIDs = ua.URRIDs
			}
			m.Access[i] = &w
		}
	}
}

// priorityModes are the steering modes that know a priority (Table 8.2.127-1).
var priorityModes = [...]uint8{0, 0, 0, 3, 3, 4, 4}

// forget takes away what another steering mode than the one to come has: no IE could.
// Weights, which one mode alone knows, stay for its return, and so do priorities if the
// mode to come has none.
func (m *MAR) forget(mode uint8) {
	m.Thresholds, m.Indicator = nil, nil
	if !slices.Contains(priorityModes[:], mode) {
		return
	}
	for i, a := range m.Access {
		if a == nil || a.Priority == nil || int(*a.Priority) < len(priorityModes) && priorityModes[*a.Priority] == mode {
			continue
		}
		w := *a
		w.Priority = nil
		m.Access[i] = &w
	}
}

// IE encodes m as an IE of type typ: ie.CreateMAR or ie.UpdateMAR.
func (m *MAR) IE(typ uint16) *ie.IE {
	g := []*ie.IE{ie.NewMARID(m.ID)}
	if m.Functionality != nil {
		g = append(g, ie.New(ie.SteeringFunctionality, []byte{*m.Functionality}))
	}
	if m.Mode != nil {
		g = append(g, ie.New(ie.SteeringMode, []byte{*m.Mode}))
	}
	for i, a := range m.Access {
		if a != nil {
			g = append(g, a.ie(i))
		}
	}
	if m.Thresholds != nil {
		g = append(g, m.Thresholds.ie())
	}
	if m.Indicator != nil {
		g = append(g, ie.New(TypeSteeringModeIndicator, []byte{*m.Indicator}))
	}
	if m.TransportMode != nil {
		g = append(g, ie.New(typeTransportMode, []byte{*m.TransportMode}))
	}
	return ie.NewGroupedIE(typ, g...)
}

// ie encodes a for the access with that index: 0 = 3GPP, 1 = non-3GPP.
func (a *AccessForwarding) ie(access int) *ie.IE {
	var g []*ie.IE
	if a.FARID != nil {
		g = append(g, ie.NewFARID(*a.FARID))
	}
	if a.Weight != nil {
		g = append(g, ie.New(ie.Weight, []byte{*a.Weight}))
	}
	if a.Priority != nil {
		g = append(g, ie.New(ie.Priority, []byte{*a.Priority}))
	}
	for _, id := range a.URRIDs {
		g = append(g, ie.NewURRID(id))
	}
	types := [2][2]uint16{
		{ie.TGPPAccessForwardingActionInformation, ie.UpdateTGPPAccessForwardingActionInformation},
		{ie.NonTGPPAccessForwardingActionInformation, ie.UpdateNonTGPPAccessForwardingActionInformation},
	}
	typ := types[access][0]
	if a.Update {
		typ = types[access][1]
	}
	return ie.NewGroupedIE(typ, g...)
}

func (t *Thresholds) ie() *ie.IE {
	b := []byte{bit(t.RTT != nil, 1) | bit(t.PLR != nil, 2)}
	if t.RTT != nil {
		b = binary.BigEndian.AppendUint16(b, *t.RTT)
	}
	if t.PLR != nil {
		b = append(b, *t.PLR)
	}
	return ie.New(TypeThresholds, b)
}
