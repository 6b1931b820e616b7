package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// slowSum is RFC 1071 §1 as it stands: 16-bit words, end-around carry at each.
func slowSum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// same says whether two sums are equal in ones-complement arithmetic, where 0 and
// ffff are one number.
func same(a, b uint16) bool { return a == b || a%0xffff == 0 && b%0xffff == 0 }

func TestSum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	check := func(what string, b []byte) {
		t.Helper()
		if got, want := Fold(Sum(b)), slowSum(b); !same(got, want) {
			t.Fatalf("%s, %d bytes: %04x, want %04x", what, len(b), got, want)
		}
	}
	store := make([]byte, 3000)
	for i := range store {
		store[i] = byte(r.Uint32())
	}
	for n := range 300 {
		for off := range 8 {
			check("random", store[off:off+n])
		}
		check("all ones", bytes.Repeat([]byte{0xff}, n)) // every addition carries
		check("zeros", make([]byte, n))
	}
	for range 2000 {
		off := r.IntN(1000)
		check("random", store[off:off+r.IntN(2000)])
	}
	// RFC 1071 §3's example.
	if got := Fold(Sum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7})); got != 0xddf2 {
		t.Errorf("RFC 1071 example: %04x, want ddf2", got)
	}
}

// TestSumInPieces: sums of pieces of even length add up.
func TestSumInPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	b := make([]byte, 500)
	for range 1000 {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		cut := r.IntN(len(b)/2) * 2
		if got, want := Fold(Sum(b[:cut])+Sum(b[cut:])), slowSum(b); !same(got, want) {
			t.Fatalf("cut at %d: %04x, want %04x", cut, got, want)
		}
	}
}

func TestFold(t *testing.T) {
	for _, s := range []uint64{0, 1, 0xffff, 0x10000, 0xfffffffe, 0xffffffff, 0x1_0000_0000, 0xffff_ffff_ffff, 1<<63 + 5, ^uint64(0), ^uint64(0) - 1} {
		if got := Fold(s); uint64(got)%0xffff != s%0xffff || (s != 0 && got == 0) {
			t.Errorf("Fold(%#x) = %#x", s, got)
		}
	}
}

func TestPseudoSum(t *testing.T) {
	for _, tc := range []struct{ src, dst string }{
		{"10.60.0.1", "10.100.6.2"},
		{"255.255.255.255", "255.255.255.254"},
		{"0.0.0.0", "0.0.0.1"},
		{"fd00:60::1", "2001:db8::2"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff::"},
	} {
		src, dst := netip.MustParseAddr(tc.src), netip.MustParseAddr(tc.dst)
		// RFC 9293 §3.1 and RFC 8200 §8.1, spelled out.
		b := append(src.AsSlice(), dst.AsSlice()...)
		if src.Is4() {
			b = append(b, 0, ProtoTCP)
			b = binary.BigEndian.AppendUint16(b, 1234)
		} else {
			b = binary.BigEndian.AppendUint32(b, 1234)
			b = append(b, 0, 0, 0, ProtoTCP)
		}
		s, d := AddrFrom(src), AddrFrom(dst)
		if got, want := Fold(PseudoSum(&s, &d, ProtoTCP, 1234)), slowSum(b); !same(got, want) {
			t.Errorf("%v to %v: %04x, want %04x", src, dst, got, want)
		}
	}
}

// TestUpdateChecksum: mending a header's checksum gives a right one.
func TestUpdateChecksum(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 20_000 {
		b := make([]byte, 20+r.IntN(200))
		for i := range 20 {
			b[i] = byte(r.Uint32())
		}
		b[0] = 0x45
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], ^slowSum(b[:20]))
		SetIPLength(b)
		if got := binary.BigEndian.Uint16(b[2:]); int(got) != len(b) {
			t.Fatalf("length %d, want %d", got, len(b))
		}
		if s := slowSum(b[:20]); s != 0xffff {
			t.Fatalf("after SetIPLength: header %x sums to %04x", b[:20], s)
		}
		ttl := b[8]
		lives := DecrementTTL(b)
		if lives != (ttl > 1) || lives && b[8] != ttl-1 || !lives && b[8] != ttl {
			t.Fatalf("TTL %d became %d, %v", ttl, b[8], lives)
		}
		if s := slowSum(b[:20]); s != 0xffff {
			t.Fatalf("after DecrementTTL: header %x sums to %04x", b[:20], s)
		}
	}
	b := make([]byte, 60)
	b[0], b[7] = 0x60, 2
	SetIPLength(b)
	if binary.BigEndian.Uint16(b[4:]) != 20 {
		t.Errorf("IPv6 payload length %d, want 20", binary.BigEndian.Uint16(b[4:]))
	}
	if !DecrementTTL(b) || b[7] != 1 || DecrementTTL(b) || b[7] != 1 {
		t.Errorf("hop limit ends at %d, want 1", b[7])
	}
}

func BenchmarkSum1400(b *testing.B) {
	p := make([]byte, 1400)
	b.SetBytes(1400)
	b.ReportAllocs()
	for b.Loop() {
		Sum(p)
	}
}

// TestSumWords compares the sum of a header with that of any bytes.
func TestSumWords(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for n := 0; n <= 60; n += 4 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32() | r.Uint32())
		}
		if got, want := Fold(SumWords(b)), Fold(Sum(b)); got != want {
			t.Errorf("%d bytes: %#x, want %#x", n, got, want)
		}
	}
}

// TestSumBlocks compares the vector and the plain form of the sum over blocks.
func TestSumBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := 64; n <= 4096; n += 64 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32() | r.Uint32()) // many ones: carries
		}
		if got, want := Fold(sumBlocks(b)), Fold(sumBlocksGeneric(b)); got != want {
			t.Fatalf("%d bytes: sum %#x, generic %#x", n, got, want)
		}
	}
}
