package packet

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestSetDSCP(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	for _, ends := range [][2]string{{"10.60.0.1", "10.100.6.2"}, {"fd00:60::1", "2001:db8::2"}} {
		src, dst := addr(ends[0]), addr(ends[1])
		for range 2000 {
			b := make([]byte, 60)
			old, tos := uint8(r.Uint32()), uint8(r.Uint32())
			n := PutIPHeader(b, src.Netip().Is6(), &src, &dst, ProtoUDP, old, 64, len(b))
			if n == 40 {
				b[1] |= 0xa // a flow label
			}
			want := bytes.Clone(b)
			SetDSCP(b, tos)
			var in Info
			if Parse(b, &in) != OK || in.TOS != tos&0xfc|old&3 {
				t.Fatalf("%#02x over %#02x gives %#02x", tos, old, in.TOS)
			}
			if n == 20 && slowSum(b[:20]) != 0xffff {
				t.Fatalf("%#02x over %#02x: header sums to %04x", tos, old, slowSum(b[:20]))
			}
			// Nothing else is different.
			SetDSCP(want, tos)
			if n == 40 && b[1]&0xf != 0xa || b[0]>>4 != want[0]>>4 || !bytes.Equal(b[12:], want[12:]) {
				t.Fatalf("header %x", b[:n])
			}
		}
	}
}

func BenchmarkSetDSCP(b *testing.B) {
	p := bytesOf(b, "45b8 0018"+head4+"03e80050")
	b.ReportAllocs()
	for b.Loop() {
		SetDSCP(p, 0x28)
	}
}
