package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/ip4defrag"
	"github.com/gopacket/gopacket/layers"
)

// datagram4 is an IPv4 packet with a right header checksum; opts are a multiple of 4.
func datagram4(opts []byte, word uint16, payload []byte) []byte {
	src, dst := addr("10.60.0.1"), addr("10.100.6.2")
	b := make([]byte, 20)
	PutIPHeader(b, false, &src, &dst, ProtoUDP, 0xb9, 63, 0)
	b = append(append(b, opts...), payload...)
	head := b[:20+len(opts)]
	head[0] = 4<<4 | uint8(len(head)/4)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], 0x8123)
	binary.BigEndian.PutUint16(b[6:], word)
	binary.BigEndian.PutUint16(b[10:], 0)
	binary.BigEndian.PutUint16(b[10:], ^slowSum(head))
	return b
}

// fragments cuts b and puts the fragments' bytes into a slice of their own.
func fragments(t *testing.T, b []byte, mtu int) [][]byte {
	t.Helper()
	var in Info
	if r := Parse(b, &in); r != OK {
		t.Fatal(r)
	}
	before := bytes.Clone(b)
	fs, ok := Fragment4(nil, NewPool(4, 0), b, &in, mtu)
	if !ok || len(fs) == 0 {
		t.Fatalf("%d bytes, MTU %d: refused", len(b), mtu)
	}
	if !bytes.Equal(b, before) {
		t.Fatal("the packet was changed")
	}
	var out [][]byte
	for _, f := range fs {
		if f.Headroom() != Headroom {
			t.Fatalf("headroom %d", f.Headroom())
		}
		out = append(out, f.Bytes())
	}
	return out
}

// TestFragment4 puts fragments together again, by offset and by gopacket.
func TestFragment4(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 1))
	for range 2000 {
		opts := make([]byte, r.IntN(11)*4)
		for i := range opts {
			opts[i] = OptNOP
		}
		payload := make([]byte, 8+r.IntN(4000))
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		mtu := 68 + r.IntN(1500)
		b := datagram4(opts, 0, payload)
		fs := fragments(t, b, mtu)
		defrag := ip4defrag.NewIPv4Defragmenter()
		whole := make([]byte, len(payload))
		filled := 0
		for i, f := range fs {
			var in Info
			if r := Parse(f, &in); r != OK || in.End != len(f) || len(f) > mtu {
				t.Fatalf("fragment %d of %d bytes, MTU %d: %v", i, len(f), mtu, r)
			}
			if slowSum(f[:in.L4]) != 0xffff {
				t.Fatalf("fragment %d: header checksum wrong", i)
			}
			if in.TOS != 0xb9 || f[8] != 63 || in.Proto != ProtoUDP || in.ID != 0x8123 || in.FirstFragment != (i == 0) {
				if len(fs) > 1 {
					t.Fatalf("fragment %d: %+v", i, in)
				}
			}
			word := binary.BigEndian.Uint16(f[6:])
			if more := word&flagMF != 0; more != (i < len(fs)-1) || more && len(f) < mtu-7-20 {
				t.Fatalf("fragment %d of %d: MF %v, %d bytes", i, len(fs), more, len(f))
			}
			filled += copy(whole[int(word&offsetMask)*8:], f[in.L4:])
			if len(fs) == 1 || len(opts) > 0 {
				continue // the oracle copies the first header
			}
			var ip layers.IPv4
			if err := ip.DecodeFromBytes(f, gopacket.NilDecodeFeedback); err != nil {
				t.Fatal(err)
			}
			got, err := defrag.DefragIPv4(&ip)
			if err != nil {
				t.Fatal(err)
			}
			if (got != nil) != (i == len(fs)-1) || got != nil && !bytes.Equal(got.Payload, payload) {
				t.Fatalf("fragment %d of %d: the oracle has %v", i, len(fs), got)
			}
		}
		if filled != len(payload) || !bytes.Equal(whole, payload) {
			t.Fatalf("%d of %d bytes, or others", filled, len(payload))
		}
	}
}

// TestFragment4OfFragment cuts the pieces again: they are those of the whole.
func TestFragment4OfFragment(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789"), 300)
	whole := make([]byte, 0, len(payload))
	var words []uint16
	for _, f := range fragments(t, datagram4(nil, 0, payload), 1500) {
		for _, g := range fragments(t, f, 580) {
			word := binary.BigEndian.Uint16(g[6:])
			if int(word&offsetMask)*8 != len(whole) {
				t.Fatalf("fragment at %d, want %d", int(word&offsetMask)*8, len(whole))
			}
			whole = append(whole, g[20:]...)
			words = append(words, word)
		}
	}
	if !bytes.Equal(whole, payload) {
		t.Error("payload is another")
	}
	for i, w := range words {
		if more := w&flagMF != 0; more != (i < len(words)-1) {
			t.Errorf("fragment %d of %d: MF %v", i, len(words), more)
		}
	}
}

// TestFragment4Options: only options with the copied flag stand in later fragments.
func TestFragment4Options(t *testing.T) {
	for _, tc := range []struct{ name, opts, later string }{
		{"record route is not copied", "07070400000000 00", ""},
		{"router alert is", "94040000", "94040000"},
		{"both", "01 0707040a000001 94040000", "94040000"},
		{"padded", "8b0504aabb 010101", "8b0504aabb 000000"},
		{"behind the end of options", "00 94040000 000000", ""},
		{"length 0", "9400 0000 94040000", ""},
		{"length past the end", "9409 0000", ""},
		{"cut at its type", "01010194", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opts, later := bytesOf(t, tc.opts), bytesOf(t, tc.later)
			for i, f := range fragments(t, datagram4(opts, 0, make([]byte, 300)), 148) {
				want := later
				if i == 0 {
					want = opts
				}
				var in Info
				if r := Parse(f, &in); r != OK || !bytes.Equal(f[20:in.L4], want) || slowSum(f[:in.L4]) != 0xffff {
					t.Errorf("fragment %d: %v, options %x, want %x", i, r, f[20:in.L4], want)
				}
			}
		})
	}
}

func TestFragment4Refuses(t *testing.T) {
	v6 := tcpPacket(bothFamilies[1], ACK, nil, make([]byte, 100))
	for _, tc := range []struct {
		name string
		b    []byte
		mtu  int
		ok   bool
	}{
		{"can be", datagram4(nil, 0, make([]byte, 100)), 28, true},
		{"no room behind the header", datagram4(nil, 0, make([]byte, 100)), 27, false},
		{"no room behind the options", datagram4(make([]byte, 40), 0, make([]byte, 100)), 67, false},
		{"DF", datagram4(nil, flagDF, make([]byte, 100)), 68, false},
		{"IPv6", v6, 68, false},
		{"to the last byte of a datagram", datagram4(nil, offsetMask-12, make([]byte, 103)), 68, true},
		{"beyond it", datagram4(nil, offsetMask-12, make([]byte, 104)), 68, false},
	} {
		var in Info
		if r := Parse(tc.b, &in); r != OK {
			t.Fatal(r)
		}
		out := make([]*Buffer, 1)
		got, ok := Fragment4(out, NewPool(4, 0), tc.b, &in, tc.mtu)
		if ok != tc.ok || (len(got) > 1) != tc.ok {
			t.Errorf("%s: %v, %d fragments", tc.name, ok, len(got)-1)
		}
	}
}

// FuzzFragment4: whatever is cut holds the same bytes at the same offsets.
func FuzzFragment4(f *testing.F) {
	f.Add(datagram4(nil, 0, make([]byte, 300)), uint16(100))
	f.Add(datagram4(bytes.Repeat([]byte{0x94, 4, 0, 0}, 10), flagMF|3, make([]byte, 300)), uint16(76))
	f.Add(datagram4(bytesOf(f, "0707040a00000194"), 0, make([]byte, 300)), uint16(76))
	pool := NewPool(16, 0)
	f.Fuzz(func(t *testing.T, b []byte, mtu uint16) {
		var in Info
		if Parse(b, &in) != OK {
			return
		}
		fs, ok := Fragment4(nil, pool, b, &in, min(int(mtu), MaxPacket))
		if !ok {
			return
		}
		whole := b[in.L4:in.End]
		for i, f := range fs {
			var part Info
			if r := Parse(f.Bytes(), &part); r != OK {
				t.Fatalf("fragment %d: %v", i, r)
			}
			data := f.Bytes()[part.L4:part.End]
			if !bytes.HasPrefix(whole, data) || slowSum(f.Bytes()[:part.L4]) != 0xffff {
				t.Fatalf("fragment %d: %x, want %x", i, f.Bytes(), whole)
			}
			whole = whole[len(data):]
			pool.Put(f)
		}
		if len(whole) != 0 {
			t.Fatalf("%d bytes are left over", len(whole))
		}
	})
}

func TestFragment4Allocs(t *testing.T) {
	b := datagram4(bytesOf(t, "94040000"), 0, make([]byte, 3000))
	var in Info
	Parse(b, &in)
	pool := NewPool(4, 0)
	out := make([]*Buffer, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		fs, _ := Fragment4(out, pool, b, &in, 1400)
		for _, f := range fs {
			pool.Put(f)
		}
	}); n != 0 {
		t.Errorf("Fragment4 allocates %v times", n)
	}
}

// BenchmarkFragment4 cuts 3,000 bytes into three.
func BenchmarkFragment4(b *testing.B) {
	p := datagram4(nil, 0, make([]byte, 2980))
	var in Info
	Parse(p, &in)
	pool := NewPool(4, 0)
	out := make([]*Buffer, 0, 8)
	b.ReportAllocs()
	for b.Loop() {
		fs, _ := Fragment4(out, pool, p, &in, 1400)
		for _, f := range fs {
			pool.Put(f)
		}
	}
}
