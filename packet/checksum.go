package packet

import (
	"encoding/binary"
	"math/bits"
)

// Sum is the ones-complement sum of b taken as 16-bit big-endian words (RFC 1071), an
// odd last byte padded with zero, folded to 16 bits. Sums of pieces of even length may
// be added as integers before [Fold].
//
// It adds in the byte order of the machine's loads and swaps once at the end
// (RFC 1071 §2 (B)).
func Sum(b []byte) uint64 {
	var s uint64
	if n := len(b) &^ 63; n > 0 {
		s = sumBlocks(b[:n])
		b = b[n:]
	}
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		s += w>>32 + w&0xffffffff
		b = b[8:]
	}
	if len(b) >= 4 {
		s += uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.LittleEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0])
	}
	return uint64(bits.ReverseBytes16(Fold(s)))
}

// SumWords is the sum of b, whose length is a multiple of 4 and at most that of a header,
// to be added to others before [Fold]: cheaper than [Sum] for so little.
func SumWords(b []byte) uint64 {
	var s uint64
	for len(b) >= 8 {
		w := binary.BigEndian.Uint64(b)
		s += w>>32 + w&0xffffffff
		b = b[8:]
	}
	if len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
	}
	return s
}

// sumBlocksGeneric is sumBlocks in Go.
func sumBlocksGeneric(b []byte) uint64 {
	var s, c uint64
	for ; len(b) >= 64; b = b[64:] {
		w := (*[64]byte)(b)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[0:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[24:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[32:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[40:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[48:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[56:]), c)
	}
	s, c = bits.Add64(s, 0, c)
	s += c
	return s>>32 + s&0xffffffff
}

// Fold reduces a sum to 16 bits with end-around carry. The checksum field is its
// complement.
//
// The halves of a number are added by adding it to itself with the halves exchanged: the
// carry out of the lower half goes into the upper one, which is the result.
func Fold(s uint64) uint16 {
	s += bits.RotateLeft64(s, 32)
	w := uint32(s >> 32)
	w += bits.RotateLeft32(w, 16)
	return uint16(w >> 16)
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
