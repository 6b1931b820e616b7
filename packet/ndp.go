package packet

import "encoding/binary"

// Neighbour Discovery (RFC 4861): types of messages and options, and the hop limit
// that says that no router forwarded the message.
const (
	ndpRouterSolicitation  = 133
	ndpRouterAdvertisement = 134
	ndpSourceLinkAddress   = 1
	ndpPrefixInformation   = 3
	ndpMTU                 = 5
	ndpHopLimit            = 255
)

// AllNodes is ff02::1, the link-local multicast address of all nodes.
var AllNodes = Addr{0: 0xff, 1: 2, 15: 1}

// IsRouterSolicitation says whether packet b, which Parse described in p, is a Router
// Solicitation, valid or not.
func IsRouterSolicitation(b []byte, p *Info) bool {
	return p.Version == 6 && p.Proto == ProtoICMPv6 && (!p.Fragment || p.FirstFragment) &&
		p.End > p.L4 && b[p.L4] == ndpRouterSolicitation
}

// IsRouterAdvertisement says whether packet b, which Parse described in p, is a Router
// Advertisement, valid or not.
func IsRouterAdvertisement(b []byte, p *Info) bool {
	return p.Version == 6 && p.Proto == ProtoICMPv6 && (!p.Fragment || p.FirstFragment) &&
		p.End > p.L4 && b[p.L4] == ndpRouterAdvertisement
}

// ValidRouterSolicitation says whether the Router Solicitation b is to be heard
// (RFC 4861 §6.1.1; fragments are not, RFC 6980 §5).
func ValidRouterSolicitation(b []byte, p *Info) bool {
	m := b[p.L4:p.End]
	if p.Fragment || b[7] != ndpHopLimit || len(m) < 8 || m[1] != 0 ||
		Fold(PseudoSum(&p.Src, &p.Dst, ProtoICMPv6, len(m))+Sum(m)) != 0xffff {
		return false
	}
	for opts := m[8:]; len(opts) > 0; {
		if len(opts) < 2 || opts[1] == 0 || int(opts[1])*8 > len(opts) {
			return false
		}
		if opts[0] == ndpSourceLinkAddress && p.Src == (Addr{}) {
			return false
		}
		opts = opts[int(opts[1])*8:]
	}
	return true
}

// RouterAdvertisement is what [PutRouterAdvertisement] writes (RFC 4861 §4.2).
//
// A UE's link has no neighbour but the UPF: the UE makes its address of the prefix
// (A = 1), which is not on-link (L = 0), and link-layer addresses do not exist
// (RFC 6459 §5.2).
type RouterAdvertisement struct {
	Src Addr // the router's, link-local
	Dst Addr // see [AdvertisementDst]

	Managed, Other bool   // M and O flags: DHCPv6 has addresses, has other information
	RouterLifetime uint16 // of the default route, in seconds; 0 = none

	Prefix    Addr // bits behind PrefixLen are zero
	PrefixLen uint8
	Valid     uint32 // lifetimes of the prefix in seconds; [Infinite]
	Preferred uint32 // at most Valid

	MTU uint32 // of the link, at least [MinMTU6]; 0 = not said
}

// Infinite is a lifetime without end (RFC 4861 §4.6.2).
const Infinite = 0xffffffff

// MaxRouterAdvertisement is the length of the longest packet that
// PutRouterAdvertisement writes.
const MaxRouterAdvertisement = 40 + 16 + 32 + 8

// AdvertisementDst is where the answer to a solicitation of src goes: back to a
// link-local address, else to all nodes (RFC 4861 §6.2.6).
func AdvertisementDst(src *Addr) Addr {
	if src[0] == 0xfe && src[1]&0xc0 == 0x80 {
		return *src
	}
	return AllNodes
}

// PutRouterAdvertisement writes the packet into b and returns its length, at most
// [MaxRouterAdvertisement].
func PutRouterAdvertisement(b []byte, a *RouterAdvertisement) int {
	n := MaxRouterAdvertisement
	if a.MTU == 0 {
		n -= 8
	}
	PutIPHeader(b, true, &a.Src, &a.Dst, ProtoICMPv6, 0, ndpHopLimit, n)
	m := b[40:n]
	clear(m)
	m[0] = ndpRouterAdvertisement
	m[4] = 64 // hop limit for the UE's packets
	if a.Managed {
		m[5] |= 0x80
	}
	if a.Other {
		m[5] |= 0x40
	}
	binary.BigEndian.PutUint16(m[6:], a.RouterLifetime)

	const autonomous = 0x40
	o := m[16:]
	o[0], o[1], o[2], o[3] = ndpPrefixInformation, 4, a.PrefixLen, autonomous
	binary.BigEndian.PutUint32(o[4:], a.Valid)
	binary.BigEndian.PutUint32(o[8:], a.Preferred)
	copy(o[16:], a.Prefix[:])

	if a.MTU != 0 {
		o = o[32:]
		o[0], o[1] = ndpMTU, 1
		binary.BigEndian.PutUint32(o[4:], a.MTU)
	}
	putICMPv6Checksum(m, &a.Src, &a.Dst)
	return n
}
