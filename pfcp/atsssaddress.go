package pfcp

import (
	"encoding/binary"
	"net/netip"

	"github.com/wmnsk/go-pfcp/ie"
)

// TransportConverter is the MPTCP proxy type of a transport converter (RFC 8803), the
// only one that there is (TS 24.193 §6.1.4).
const TransportConverter uint8 = 1

// MPTCPAddress is MPTCP Address Information (TS 29.244 §8.2.157).
type MPTCPAddress struct {
	Type uint8 // [TransportConverter]
	Port uint16
	IPv4 netip.Addr // valid, or the zero Addr
	IPv6 netip.Addr // valid, or the zero Addr
}

// ParseMPTCPAddress reads MPTCP Address Information.
func ParseMPTCPAddress(i *ie.IE) (MPTCPAddress, *Error) {
	b, err := octets(i, 4)
	if err != nil {
		return MPTCPAddress{}, err
	}
	if b[0]&3 == 0 {
		return MPTCPAddress{}, malformed(i, "neither V4 nor V6")
	}
	m := MPTCPAddress{Type: b[1], Port: binary.BigEndian.Uint16(b[2:])}
	if m.IPv4, m.IPv6, _, err = addresses(i, b[4:], b[0]&1 != 0, b[0]&2 != 0); err != nil {
		return MPTCPAddress{}, err
	}
	return m, nil
}

// IE encodes m.
func (m MPTCPAddress) IE() *ie.IE {
	b := []byte{bit(m.IPv4.IsValid(), 1) | bit(m.IPv6.IsValid(), 2), m.Type}
	b = binary.BigEndian.AppendUint16(b, m.Port)
	b = append(b, m.IPv4.AsSlice()...)
	return ie.New(ie.MPTCPAddressInformation, append(b, m.IPv6.AsSlice()...))
}

// LinkSpecific is a UE Link-Specific IP Address (§8.2.158): the UE's own address for
// the subflows of each access. The indices are 0 = 3GPP, 1 = non-3GPP.
type LinkSpecific struct {
	IPv4 [2]netip.Addr // each valid, or the zero Addr
	IPv6 [2]netip.Addr // each valid, or the zero Addr
}

// ParseLinkSpecific reads a UE Link-Specific IP Address.
func ParseLinkSpecific(i *ie.IE) (LinkSpecific, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return LinkSpecific{}, err
	}
	flags := b[0]
	if flags&0x0f == 0 {
		return LinkSpecific{}, malformed(i, "no address")
	}
	var l LinkSpecific
	b = b[1:]
	for a := range l.IPv4 {
		if l.IPv4[a], l.IPv6[a], b, err = addresses(i, b, flags&1 != 0, flags&2 != 0); err != nil {
			return LinkSpecific{}, err
		}
		flags >>= 2
	}
	return l, nil
}

// IE encodes l.
func (l LinkSpecific) IE() *ie.IE {
	b := []byte{0}
	for a := range l.IPv4 {
		b[0] |= (bit(l.IPv4[a].IsValid(), 1) | bit(l.IPv6[a].IsValid(), 2)) << (2 * a)
		b = append(b, l.IPv4[a].AsSlice()...)
		b = append(b, l.IPv6[a].AsSlice()...)
	}
	return ie.New(ie.UELinkSpecificIPAddress, b)
}

// PMFAddress is PMF Address Information (§8.2.159). The indices of ports and MAC
// addresses are 0 = 3GPP, 1 = non-3GPP.
type PMFAddress struct {
	IPv4 netip.Addr // valid, or the zero Addr
	IPv6 netip.Addr // valid, or the zero Addr
	Port [2]uint16  // UDP; valid with an IP address
	MAC  *[2][6]byte
}

// ParsePMFAddress reads PMF Address Information.
func ParsePMFAddress(i *ie.IE) (PMFAddress, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return PMFAddress{}, err
	}
	flags := b[0]
	if flags&7 == 0 {
		return PMFAddress{}, malformed(i, "no address")
	}
	var p PMFAddress
	if p.IPv4, p.IPv6, b, err = addresses(i, b[1:], flags&1 != 0, flags&2 != 0); err != nil {
		return PMFAddress{}, err
	}
	if flags&3 != 0 {
		if len(b) < 4 {
			return PMFAddress{}, malformed(i, "no ports")
		}
		p.Port[0], p.Port[1], b = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[4:]
	}
	if flags&4 != 0 {
		if len(b) < 12 {
			return PMFAddress{}, malformed(i, "no MAC addresses")
		}
		p.MAC = &[2][6]byte{[6]byte(b), [6]byte(b[6:])}
	}
	return p, nil
}

// IE encodes p.
func (p PMFAddress) IE() *ie.IE {
	ip := p.IPv4.IsValid() || p.IPv6.IsValid()
	b := []byte{bit(p.IPv4.IsValid(), 1) | bit(p.IPv6.IsValid(), 2) | bit(p.MAC != nil, 4)}
	b = append(b, p.IPv4.AsSlice()...)
	b = append(b, p.IPv6.AsSlice()...)
	if ip {
		b = binary.BigEndian.AppendUint16(b, p.Port[0])
		b = binary.BigEndian.AppendUint16(b, p.Port[1])
	}
	if p.MAC != nil {
		b = append(b, p.MAC[0][:]...)
		b = append(b, p.MAC[1][:]...)
	}
	return ie.New(ie.PMFAddressInformation, b)
}
