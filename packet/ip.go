package packet

import (
	"encoding/binary"
	"net/netip"
)

// IP protocol numbers.
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
)

// Addr is an IPv6 address, or an IPv4 address in its IPv4-mapped form
// (RFC 4291 §2.5.5.2): comparable and usable in map keys.
type Addr [16]byte

// AddrFrom is a as an Addr.
func AddrFrom(a netip.Addr) Addr { return a.As16() }

// Netip is a as a netip.Addr, IPv4-mapped addresses unmapped.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// setAddr4 sets a to the mapped form of the IPv4 address in front of b.
func setAddr4(a *Addr, b []byte) {
	binary.BigEndian.PutUint64(a[:8], 0)
	binary.BigEndian.PutUint64(a[8:], 0xffff<<32|uint64(binary.BigEndian.Uint32(b)))
}

// Reason says why a packet was refused; its values index counters.
type Reason uint8

// Reasons of [Parse] and [ParseTCP].
const (
	OK          Reason = iota
	TooShort           // ends before its headers do
	BadVersion         // neither IPv4 nor IPv6
	BadLength          // a length field contradicts the bytes received or another field
	BadHeader          // IPv6 extension headers that never end
	BadOffset          // TCP data offset outside the segment
	BadChecksum        // transport checksum wrong
	NumReasons         // the number of reasons
)

var reasonNames = [NumReasons]string{"ok", "too_short", "bad_version", "bad_length", "bad_header", "bad_offset", "bad_checksum"}

// String is the reason's name in counters.
func (r Reason) String() string { return reasonNames[r] }

// Info is what Parse found in an IP packet. It holds offsets and copies, no
// pointers into the packet.
type Info struct {
	Src, Dst Addr
	SrcPort  uint16 // TCP and UDP, first fragment or whole; else 0
	DstPort  uint16
	L4       int // offset of the transport header
	End      int // offset of the byte after the IP packet; <= len of the bytes parsed
	Version  uint8
	Proto    uint8 // of the transport header, IPv6 extension headers passed
	TOS      uint8 // IPv4 TOS or IPv6 traffic class
	Fragment bool  // any fragment; ports are 0 unless it is the first

	// FirstFragment: a fragment at offset 0. In IPv6, Proto of any other is the
	// first header of the fragmentable part, which may be an extension header
	// (RFC 8200 §4.5).
	FirstFragment bool
	ID            uint32 // identification, 16 bits in IPv4; valid iff Fragment
}

// Parse reads the IP header and the ports. On any result but OK, p is undefined.
// Bytes after the IP packet's own length are allowed and ignored (p.End).
func Parse(b []byte, p *Info) Reason {
	if len(b) < 1 {
		return TooShort
	}
	var first bool
	var r Reason
	switch b[0] >> 4 {
	case 4:
		first, r = parse4(b, p)
	case 6:
		first, r = parse6(b, p)
	default:
		return BadVersion
	}
	if r != OK {
		return r
	}
	p.SrcPort, p.DstPort = 0, 0
	if first && (p.Proto == ProtoTCP || p.Proto == ProtoUDP) {
		if p.End-p.L4 < 4 {
			return TooShort
		}
		p.SrcPort = binary.BigEndian.Uint16(b[p.L4:])
		p.DstPort = binary.BigEndian.Uint16(b[p.L4+2:])
	}
	return OK
}

// Destination sets a to the destination address of the IP packet b, to the zero Addr if b
// is too short or of no IP version. It looks at nothing else.
func Destination(b []byte, a *Addr) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		setAddr4(a, b[16:])
	case len(b) >= 40 && b[0]>>4 == 6:
		copy(a[:], b[24:40])
	default:
		*a = Addr{}
	}
}

func parse4(b []byte, p *Info) (first bool, r Reason) {
	if len(b) < 20 {
		return false, TooShort
	}
	ihl := int(b[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if ihl < 20 || total < ihl || total > len(b) {
		return false, BadLength
	}
	p.Version = 4
	p.TOS = b[1]
	p.Proto = b[9]
	setAddr4(&p.Src, b[12:])
	setAddr4(&p.Dst, b[16:])
	p.L4, p.End = ihl, total
	frag := binary.BigEndian.Uint16(b[6:])
	first = frag&0x1fff == 0
	p.Fragment = frag&0x3fff != 0
	p.FirstFragment = first && p.Fragment
	p.ID = uint32(binary.BigEndian.Uint16(b[4:]))
	return first, OK
}

// Most IPv6 extension headers that a packet may carry before we give up.
const maxExtensionHeaders = 8

func parse6(b []byte, p *Info) (first bool, r Reason) {
	if len(b) < 40 {
		return false, TooShort
	}
	end := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if end > len(b) {
		return false, BadLength
	}
	p.Version = 6
	p.TOS = b[0]<<4 | b[1]>>4
	copy(p.Src[:], b[8:24])
	copy(p.Dst[:], b[24:40])
	p.Fragment, p.FirstFragment = false, false
	next, off := b[6], 40
	first = true
	for range maxExtensionHeaders {
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if end-off < 8 {
				return false, TooShort
			}
			next, off = b[off], off+8+int(b[off+1])*8
		case 44: // fragment
			if end-off < 8 {
				return false, TooShort
			}
			h := binary.BigEndian.Uint64(b[off:])
			first = h>>32&0xfff8 == 0
			p.Fragment, p.FirstFragment, p.ID = true, first, uint32(h)
			next, off = uint8(h>>56), off+8
		default:
			p.Proto, p.L4, p.End = next, off, end
			return first, OK
		}
		if off > end {
			return false, BadLength
		}
		if !first {
			p.Proto, p.L4, p.End = next, off, end
			return false, OK
		}
	}
	return false, BadHeader
}

// SetIPLength writes the length field of the IP packet b (IPv4 or IPv6 without
// extension headers' lengths changing) to len(b), and mends the IPv4 header
// checksum.
func SetIPLength(b []byte) {
	if b[0]>>4 == 6 {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		return
	}
	old := binary.BigEndian.Uint16(b[2:])
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	updateChecksum(b[10:], old, uint16(len(b)))
}

// DecrementTTL lowers the TTL or hop limit by one and mends the IPv4 header
// checksum; it reports false, changing nothing, if the packet's life ends here.
func DecrementTTL(b []byte) bool {
	if b[0]>>4 == 6 {
		if b[7] <= 1 {
			return false
		}
		b[7]--
		return true
	}
	if b[8] <= 1 {
		return false
	}
	old := binary.BigEndian.Uint16(b[8:])
	b[8]--
	updateChecksum(b[10:], old, binary.BigEndian.Uint16(b[8:]))
	return true
}

// updateChecksum mends the checksum at c after a 16-bit word went from old to
// new (RFC 1624 equation 3).
func updateChecksum(c []byte, old, new uint16) {
	s := uint32(^binary.BigEndian.Uint16(c)) + uint32(^old) + uint32(new)
	s = s&0xffff + s>>16
	s = s&0xffff + s>>16
	binary.BigEndian.PutUint16(c, ^uint16(s))
}

// PutIPHeader writes an IP header without options for a transport payload to
// follow into b and returns its length, 20 or 40. src and dst are both IPv4-mapped
// or both IPv6. total is the length of the whole packet, header included.
func PutIPHeader(b []byte, v6 bool, src, dst *Addr, proto, tos, ttl uint8, total int) int {
	if v6 {
		h := (*[40]byte)(b)
		first := uint64(6<<4|tos>>4)<<56 | uint64(tos<<4)<<48 | uint64(uint16(total-40))<<16
		binary.BigEndian.PutUint64(h[:], first|uint64(proto)<<8|uint64(ttl))
		*(*Addr)(h[8:]) = *src
		*(*Addr)(h[24:]) = *dst
		return 40
	}
	const idDF = 0x4000 // ID 0, DF (RFC 6864 §4.1: atomic datagram)
	first := uint32(4<<4|5)<<24 | uint32(tos)<<16 | uint32(total)
	third := uint32(ttl)<<24 | uint32(proto)<<16
	s, d := binary.BigEndian.Uint32(src[12:]), binary.BigEndian.Uint32(dst[12:])
	b = b[:20]
	binary.BigEndian.PutUint32(b[0:], first)
	binary.BigEndian.PutUint32(b[4:], idDF)
	binary.BigEndian.PutUint32(b[8:], third|uint32(^Fold(uint64(first)+idDF+uint64(third)+uint64(s)+uint64(d))))
	binary.BigEndian.PutUint32(b[12:], s)
	binary.BigEndian.PutUint32(b[16:], d)
	return 20
}
