package pfcp

import (
	"encoding/binary"
	"net/netip"

	"github.com/wmnsk/go-pfcp/ie"
)

// FTEID is an F-TEID IE (TS 29.244 §8.2.3).
type FTEID struct {
	TEID uint32     // valid if !Choose
	IPv4 netip.Addr // valid, or the zero Addr
	IPv6 netip.Addr // valid, or the zero Addr

	Choose      bool  // the UP function is to choose TEID and addresses
	ChooseV4    bool  // with Choose: an IPv4 address is wanted
	ChooseV6    bool  // with Choose: an IPv6 address is wanted
	HasChooseID bool  // with Choose: ChooseID is valid
	ChooseID    uint8 // PDRs with the same one share an F-TEID
}

// Flags of the F-TEID IE.
const (
	fteidV4   = 1 << 0
	fteidV6   = 1 << 1
	fteidCH   = 1 << 2
	fteidCHID = 1 << 3
)

// ParseFTEID reads an F-TEID IE.
func ParseFTEID(i *ie.IE) (FTEID, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return FTEID{}, err
	}
	flags, b := b[0], b[1:]
	if flags&fteidCH != 0 {
		f := FTEID{Choose: true, ChooseV4: flags&fteidV4 != 0, ChooseV6: flags&fteidV6 != 0, HasChooseID: flags&fteidCHID != 0}
		if f.HasChooseID {
			if len(b) < 1 {
				return FTEID{}, malformed(i, "no CHOOSE ID")
			}
			f.ChooseID = b[0]
		}
		return f, nil
	}
	if len(b) < 4 {
		return FTEID{}, malformed(i, "no TEID")
	}
	f := FTEID{TEID: binary.BigEndian.Uint32(b)}
	if f.IPv4, f.IPv6, _, err = addresses(i, b[4:], flags&fteidV4 != 0, flags&fteidV6 != 0); err != nil {
		return FTEID{}, err
	}
	if flags&(fteidV4|fteidV6) == 0 {
		return FTEID{}, malformed(i, "neither V4 nor V6")
	}
	return f, nil
}

// IE encodes f.
func (f FTEID) IE() *ie.IE {
	if f.Choose {
		b := []byte{fteidCH | bit(f.ChooseV4, fteidV4) | bit(f.ChooseV6, fteidV6) | bit(f.HasChooseID, fteidCHID)}
		if f.HasChooseID {
			b = append(b, f.ChooseID)
		}
		return ie.New(ie.FTEID, b)
	}
	b := []byte{bit(f.IPv4.IsValid(), fteidV4) | bit(f.IPv6.IsValid(), fteidV6)}
	b = binary.BigEndian.AppendUint32(b, f.TEID)
	b = append(b, f.IPv4.AsSlice()...)
	return ie.New(ie.FTEID, append(b, f.IPv6.AsSlice()...))
}

// FSEID is an F-SEID IE (TS 29.244 §8.2.37).
type FSEID struct {
	SEID uint64
	IPv4 netip.Addr // valid, or the zero Addr
	IPv6 netip.Addr // valid, or the zero Addr
}

// ParseFSEID reads an F-SEID IE.
func ParseFSEID(i *ie.IE) (FSEID, *Error) {
	b, err := octets(i, 9)
	if err != nil {
		return FSEID{}, err
	}
	f := FSEID{SEID: binary.BigEndian.Uint64(b[1:])}
	if b[0]&3 == 0 {
		return FSEID{}, malformed(i, "neither V4 nor V6")
	}
	if f.IPv4, f.IPv6, _, err = addresses(i, b[9:], b[0]&2 != 0, b[0]&1 != 0); err != nil {
		return FSEID{}, err
	}
	return f, nil
}

// IE encodes f.
func (f FSEID) IE() *ie.IE {
	b := []byte{bit(f.IPv4.IsValid(), 2) | bit(f.IPv6.IsValid(), 1)}
	b = binary.BigEndian.AppendUint64(b, f.SEID)
	b = append(b, f.IPv4.AsSlice()...)
	return ie.New(ie.FSEID, append(b, f.IPv6.AsSlice()...))
}

// UEIPAddress is a UE IP Address IE (TS 29.244 §8.2.62).
type UEIPAddress struct {
	IPv4        netip.Addr // valid, or the zero Addr
	IPv6        netip.Addr // valid, or the zero Addr
	Destination bool       // S/D: the destination address is the UE's
	ChooseV4    bool       // CHV4: the UP function is to choose an IPv4 address
	ChooseV6    bool       // CHV6: the UP function is to choose an IPv6 prefix
	Delegated   uint8      // IPv6D: how many bits the prefix is shorter than 64
	PrefixLen   uint8      // IP6PL: length of the prefix; 0 = not given
}

// Flags of the UE IP Address IE.
const (
	ueV6    = 1 << 0
	ueV4    = 1 << 1
	ueSD    = 1 << 2
	ueIPv6D = 1 << 3
	ueCHV4  = 1 << 4
	ueCHV6  = 1 << 5
	ueIP6PL = 1 << 6
)

// ParseUEIPAddress reads a UE IP Address IE.
func ParseUEIPAddress(i *ie.IE) (UEIPAddress, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return UEIPAddress{}, err
	}
	flags := b[0]
	u := UEIPAddress{Destination: flags&ueSD != 0, ChooseV4: flags&ueCHV4 != 0, ChooseV6: flags&ueCHV6 != 0}
	switch {
	case flags&ueV4 != 0 && u.ChooseV4, flags&ueV6 != 0 && u.ChooseV6:
		return UEIPAddress{}, malformed(i, "flags %#02x: an address both given and to be chosen", flags)
	case flags&(ueV4|ueV6|ueCHV4|ueCHV6) == 0:
		return UEIPAddress{}, malformed(i, "flags %#02x: no address", flags)
	}
	if u.IPv4, u.IPv6, b, err = addresses(i, b[1:], flags&ueV4 != 0, flags&ueV6 != 0); err != nil {
		return UEIPAddress{}, err
	}
	if flags&ueIPv6D != 0 {
		if len(b) < 1 || b[0] > 64 {
			return UEIPAddress{}, malformed(i, "prefix delegation bits")
		}
		u.Delegated, b = b[0], b[1:]
	}
	if flags&ueIP6PL != 0 {
		if len(b) < 1 || b[0] == 0 || b[0] > 128 {
			return UEIPAddress{}, malformed(i, "prefix length")
		}
		u.PrefixLen = b[0]
	}
	return u, nil
}

// IE encodes u.
func (u UEIPAddress) IE() *ie.IE {
	b := []byte{bit(u.IPv6.IsValid(), ueV6) | bit(u.IPv4.IsValid(), ueV4) | bit(u.Destination, ueSD) |
		bit(u.Delegated != 0, ueIPv6D) | bit(u.ChooseV4, ueCHV4) | bit(u.ChooseV6, ueCHV6) | bit(u.PrefixLen != 0, ueIP6PL)}
	b = append(b, u.IPv4.AsSlice()...)
	b = append(b, u.IPv6.AsSlice()...)
	if u.Delegated != 0 {
		b = append(b, u.Delegated)
	}
	if u.PrefixLen != 0 {
		b = append(b, u.PrefixLen)
	}
	return ie.New(ie.UEIPAddress, b)
}

// Prefixes are the addresses of u as prefixes: an IPv4 address is a /32, an IPv6
// address a /64 unless u says otherwise.
func (u UEIPAddress) Prefixes() []netip.Prefix {
	var ps []netip.Prefix
	if u.IPv4.IsValid() {
		ps = append(ps, netip.PrefixFrom(u.IPv4, 32))
	}
	if u.IPv6.IsValid() {
		bits := 64 - int(u.Delegated)
		if u.PrefixLen != 0 {
			bits = int(u.PrefixLen)
		}
		ps = append(ps, netip.PrefixFrom(u.IPv6, bits).Masked())
	}
	return ps
}

// OuterHeaderCreation is an Outer Header Creation IE (TS 29.244 §8.2.56).
type OuterHeaderCreation struct {
	Description uint16     // the flags of octets 5 and 6, [GTPUIPv4] and so on
	TEID        uint32     // valid with a GTP-U flag
	IPv4        netip.Addr // valid with an IPv4 flag
	IPv6        netip.Addr // valid with an IPv6 flag
	Port        uint16     // valid with a UDP flag; GTP-U has its own port
}

// Flags of the Outer Header Creation IE that we know.
const (
	GTPUIPv4 uint16 = 1 << 8
	GTPUIPv6 uint16 = 1 << 9
	UDPIPv4  uint16 = 1 << 10
	UDPIPv6  uint16 = 1 << 11
	RawIPv4  uint16 = 1 << 12
	RawIPv6  uint16 = 1 << 13
)

// ParseOuterHeaderCreation reads an Outer Header Creation IE. C-TAG and S-TAG
// are not read.
func ParseOuterHeaderCreation(i *ie.IE) (OuterHeaderCreation, *Error) {
	b, err := octets(i, 2)
	if err != nil {
		return OuterHeaderCreation{}, err
	}
	o := OuterHeaderCreation{Description: binary.BigEndian.Uint16(b)}
	b = b[2:]
	if o.Description&(GTPUIPv4|GTPUIPv6) != 0 {
		if len(b) < 4 {
			return OuterHeaderCreation{}, malformed(i, "no TEID")
		}
		o.TEID, b = binary.BigEndian.Uint32(b), b[4:]
	}
	v4 := o.Description&(GTPUIPv4|UDPIPv4|RawIPv4) != 0
	v6 := o.Description&(GTPUIPv6|UDPIPv6|RawIPv6) != 0
	if o.IPv4, o.IPv6, b, err = addresses(i, b, v4, v6); err != nil {
		return OuterHeaderCreation{}, err
	}
	if o.Description&(UDPIPv4|UDPIPv6) != 0 {
		if len(b) < 2 {
			return OuterHeaderCreation{}, malformed(i, "no port")
		}
		o.Port = binary.BigEndian.Uint16(b)
	}
	return o, nil
}

// IE encodes o.
func (o OuterHeaderCreation) IE() *ie.IE {
	b := binary.BigEndian.AppendUint16(nil, o.Description)
	if o.Description&(GTPUIPv4|GTPUIPv6) != 0 {
		b = binary.BigEndian.AppendUint32(b, o.TEID)
	}
	b = append(b, o.IPv4.AsSlice()...)
	b = append(b, o.IPv6.AsSlice()...)
	if o.Description&(UDPIPv4|UDPIPv6) != 0 {
		b = binary.BigEndian.AppendUint16(b, o.Port)
	}
	return ie.New(ie.OuterHeaderCreation, b)
}

// addresses reads an IPv4 and an IPv6 address, each if it is there, and returns
// what follows them.
func addresses(i *ie.IE, b []byte, v4, v6 bool) (a4, a6 netip.Addr, rest []byte, err *Error) {
	if v4 {
		if len(b) < 4 {
			return a4, a6, nil, malformed(i, "no IPv4 address")
		}
		a4, b = netip.AddrFrom4([4]byte(b)), b[4:]
	}
	if v6 {
		if len(b) < 16 {
			return a4, a6, nil, malformed(i, "no IPv6 address")
		}
		a6, b = netip.AddrFrom16([16]byte(b)), b[16:]
	}
	return a4, a6, b, nil
}

func bit(on bool, b byte) byte {
	if on {
		return b
	}
	return 0
}
