package packet

import "encoding/binary"

// ICMPError is what an ICMP error message says of a packet.
type ICMPError uint8

// ICMP errors: type and code in ICMPv4 (RFC 792, RFC 1812 §5.2.7.1) and in ICMPv6
// (RFC 4443 §3.1, §3.2).
const (
	PacketTooBig    ICMPError = iota // 3/4, fragmentation needed and DF set (RFC 1191 §4); 2/0
	NoRoute                          // 3/0, net unreachable; 1/0
	HostUnreachable                  // 3/1; 1/3, address unreachable
	AdminProhibited                  // 3/13, communication administratively prohibited; 1/1
)

// icmpErrors has type<<8 | code of each, in ICMPv4 and ICMPv6.
var icmpErrors = [...][2]uint16{
	PacketTooBig:    {3<<8 | 4, 2 << 8},
	NoRoute:         {3 << 8, 1 << 8},
	HostUnreachable: {3<<8 | 1, 1<<8 | 3},
	AdminProhibited: {3<<8 | 13, 1<<8 | 1},
}

// MinMTU6 is the least MTU of an IPv6 link (RFC 8200 §5).
const MinMTU6 = 1280

// MinMTU4 is the least MTU of an IPv4 link (RFC 791 §3.2).
const MinMTU4 = 68

// Longest ICMP error messages, IP header included (RFC 1812 §4.3.2.3, RFC 4443
// §2.4 (c)).
const (
	maxICMPError4 = 576
	MaxICMPError  = MinMTU6
)

const (
	icmpHeaderLen = 8
	icmpTTL       = 64

	// icmpTOS is the precedence of internetwork control (RFC 1812 §4.3.2.5).
	icmpTOS = 0xc0
)

// PutICMPError writes into d, at least [MaxICMPError] bytes long, the message of src to
// the sender of packet b that says e of it, and returns its length. Parse described b
// in p; b is the packet as its sender sent it, and does not overlap d. src is of b's IP
// version. mtu is that of the hop that b was too big for, its tunnel taken off; it
// counts for PacketTooBig only, and not below [MinMTU6] in IPv6: a path that is
// narrower has to fragment underneath.
//
// [MayAnswer] says whether the message may be sent.
func PutICMPError(d []byte, e ICMPError, src *Addr, mtu int, b []byte, p *Info) int {
	if p.Version == 4 {
		return putICMPError4(d, e, src, mtu, b[:p.End], p)
	}
	quoted := min(p.End, MaxICMPError-40-icmpHeaderLen)
	n := 40 + icmpHeaderLen + quoted
	m := d[PutIPHeader(d, true, src, &p.Src, ProtoICMPv6, 0, icmpTTL, n):n]
	rest := 0
	if e == PacketTooBig {
		rest = max(mtu, MinMTU6)
	}
	putICMPHeader(m, icmpErrors[e][1], uint32(rest))
	copy(m[icmpHeaderLen:], b[:quoted])
	putICMPv6Checksum(m, src, &p.Src)
	return n
}

func putICMPError4(d []byte, e ICMPError, src *Addr, mtu int, b []byte, p *Info) int {
	quoted := min(len(b), maxICMPError4-20-icmpHeaderLen)
	n := 20 + icmpHeaderLen + quoted
	m := d[PutIPHeader(d, false, src, &p.Src, ProtoICMP, icmpTOS, icmpTTL, n):n]
	rest := 0
	if e == PacketTooBig {
		rest = min(mtu, 0xffff)
	}
	putICMPHeader(m, icmpErrors[e][0], uint32(rest))
	copy(m[icmpHeaderLen:], b[:quoted])
	binary.BigEndian.PutUint16(m[2:], ^Fold(Sum(m)))
	return n
}

// putICMPHeader writes the header with a zero checksum.
func putICMPHeader(m []byte, typeCode uint16, rest uint32) {
	binary.BigEndian.PutUint32(m, uint32(typeCode)<<16)
	binary.BigEndian.PutUint32(m[4:], rest)
}

// putICMPv6Checksum writes the checksum of message m, whose field is zero
// (RFC 4443 §2.3).
func putICMPv6Checksum(m []byte, src, dst *Addr) {
	binary.BigEndian.PutUint16(m[2:], ^Fold(PseudoSum(src, dst, ProtoICMPv6, len(m))+Sum(m)))
}

// MayAnswer says whether an ICMP error message may be sent about packet b, which Parse
// described in p: not about an ICMP error or what might be one, nor to what is no
// single host's address, nor about what went to many or was said before about the
// first fragment (RFC 1812 §4.3.2.7, RFC 4443 §2.4 (e)). A limit of their rate is the
// caller's.
func MayAnswer(b []byte, p *Info, e ICMPError) bool {
	if p.Version == 4 {
		return mayAnswer4(b, p)
	}
	if !isHost6(&p.Src) || p.Dst[0] == 0xff && e != PacketTooBig {
		return false
	}
	if p.Fragment && !p.FirstFragment {
		// Later fragments are not excepted: one alone may be too big. But what is
		// behind an extension header is not known.
		switch p.Proto {
		case ProtoICMPv6, 0, 43, 44, 60:
			return false
		}
		return true
	}
	if p.Proto != ProtoICMPv6 {
		return true
	}
	// Errors have the types below 128; a redirect (137) counts as one.
	return p.End > p.L4 && b[p.L4] >= 128 && b[p.L4] != 137
}

func mayAnswer4(b []byte, p *Info) bool {
	if p.Fragment && !p.FirstFragment || !isHost4(p.Src[12:]) || p.Dst[12] >= 224 {
		return false
	}
	if p.Proto != ProtoICMP {
		return true
	}
	if p.End == p.L4 {
		return false
	}
	switch b[p.L4] {
	case 0, 8, 9, 10, 13, 14, 15, 16, 17, 18: // queries and their answers (RFC 1122 §3.2.2)
		return true
	}
	return false
}

// isHost4 says whether a can be the address of one host: not of this network, loopback,
// multicast, class E or limited broadcast (RFC 1812 §5.3.7).
func isHost4(a []byte) bool { return a[0] != 0 && a[0] != 127 && a[0] < 224 }

// isHost6 says whether a can be the address of one host: not unspecified, loopback,
// multicast or IPv4-mapped (RFC 4291 §2.5, §2.7).
func isHost6(a *Addr) bool {
	if binary.BigEndian.Uint64(a[:8]) == 0 {
		lo := binary.BigEndian.Uint64(a[8:])
		return lo > 1 && lo>>32 != 0xffff
	}
	return a[0] != 0xff
}
