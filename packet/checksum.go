package packet

import (
	"encoding/binary"
	"math/bits"
)

// Sum is the ones-complement sum of b taken as 16-bit big-endian words (RFC 1071),
// an odd last byte padded with zero. Sums may be added as integers before [Fold].
func Sum(b []byte) uint64 {
	var s, c uint64
	for len(b) >= 64 {
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[8:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[16:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[24:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[32:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[40:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[48:]), c)
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b[56:]), c)
		b = b[64:]
	}
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.BigEndian.Uint64(b), c)
		b = b[8:]
	}
	s, c = bits.Add64(s, 0, c)
	s += c
	s = s>>32 + s&0xffffffff
	if len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

// Fold reduces a sum to 16 bits with end-around carry. The checksum field is its
// complement.
func Fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff // at most 33 bits
	s = s>>16 + s&0xffff     // at most 18
	s = s>>16 + s&0xffff     // at most 17
	return uint16(s>>16 + s&0xffff)
}

// PseudoSum is the sum of the pseudo header of a transport segment of n bytes
// (RFC 9293 §3.1, RFC 8200 §8.1). The IPv4-mapped prefix of an IPv4 address adds
// ffff once for each address, which is zero in ones-complement arithmetic.
func PseudoSum(src, dst *Addr, proto uint8, n int) uint64 {
	return pair(src) + pair(dst) + uint64(proto) + uint64(n)
}

func pair(a *Addr) uint64 {
	hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	return hi>>32 + hi&0xffffffff + lo>>32 + lo&0xffffffff
}
