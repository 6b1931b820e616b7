package packet

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var bothFamilies = [][2]string{{"10.60.0.1", "10.100.6.2"}, {"fd00:60::1", "2001:db8::2"}}

// tcpPacket is an IP packet of a TCP segment with a right checksum. opts are padded.
func tcpPacket(ends [2]string, flags uint8, opts, payload []byte) []byte {
	for len(opts)%4 != 0 {
		opts = append(bytes.Clone(opts), OptEnd)
	}
	src, dst := addr(ends[0]), addr(ends[1])
	b := make([]byte, 60, 200)
	size := TCPHeaderLen + len(opts) + len(payload)
	n := PutIPHeader(b, src.Netip().Is6(), &src, &dst, ProtoTCP, 0, 64, 0)
	PutTCPHeader(b[n:], 1000, 80, 1, 0, TCPHeaderLen+len(opts), flags, 0xffff)
	b = append(append(b[:n+TCPHeaderLen], opts...), payload...)
	SetIPLength(b)
	binary.BigEndian.PutUint16(b[n+16:], ^Fold(PseudoSum(&src, &dst, ProtoTCP, size)+Sum(b[n:])))
	return b
}

// checkTransportChecksum has the transport checksum of b verified.
func checkTransportChecksum(t *testing.T, b []byte, in *Info) {
	t.Helper()
	l4 := b[in.L4:in.End]
	if s := Fold(PseudoSum(&in.Src, &in.Dst, in.Proto, len(l4)) + uint64(slowSum(l4))); s != 0xffff {
		t.Fatalf("transport checksum wrong: %x sums to %04x", b, s)
	}
}

func TestClampMSS(t *testing.T) {
	for _, tc := range []struct {
		name       string
		flags      uint8
		opts, want string // want "" = unchanged
	}{
		{"SYN", SYN, "020405b4", "02040550"},
		{"SYN/ACK", SYN | ACK, "020405b4 01 030307", "02040550 01 030307"},
		{"at an odd offset", SYN, "01 020405b4", "01 02040550"},
		{"behind others", SYN, "0402 080a0000000100000000 01 020405b4", "0402 080a0000000100000000 01 02040550"},
		{"largest", SYN, "0204ffff", "02040550"},
		{"twice", SYN, "020405b4 01 020405dc", "02040550 01 02040550"},
		{"equal", SYN, "02040550", ""},
		{"below", SYN, "02040218", ""},
		{"zero", SYN, "02040000", ""},
		{"no option", SYN, "", ""},
		{"no SYN", ACK, "020405b4", ""},
		{"behind the end of options", SYN, "00 020405b4", ""},
		{"MSS of 3 bytes", SYN, "0203ff 01", ""},
		{"MSS of 3 bytes, then one of 4", SYN, "0203ff 020405b4", "0203ff 02040550"},
		{"length 0", SYN, "0300 020405b4", ""},
		{"length 1", SYN, "0301 020405b4", ""},
		{"past the end", SYN, "0309 020405b4", ""},
		{"cut at its kind", SYN, "010101 02", ""},
		{"cut at its value", SYN, "01 020405", ""},
	} {
		for _, ends := range bothFamilies {
			for _, payload := range []string{"", "data!"} {
				b := tcpPacket(ends, tc.flags, bytesOf(t, tc.opts), []byte(payload))
				want := bytes.Clone(b)
				if tc.want != "" {
					want = tcpPacket(ends, tc.flags, bytesOf(t, tc.want), []byte(payload))
				}
				var in Info
				if r := Parse(b, &in); r != OK {
					t.Fatal(r)
				}
				if got := ClampMSS(b, &in, 0x550); got != (tc.want != "") {
					t.Errorf("%s, %s: changed: %v", tc.name, ends[0], got)
				}
				if !bytes.Equal(b, want) {
					t.Errorf("%s, %s:\n%x, want\n%x", tc.name, ends[0], b, want)
				}
				checkTransportChecksum(t, b, &in)
			}
		}
	}
}

// TestClampMSSOracle has gopacket read the option.
func TestClampMSSOracle(t *testing.T) {
	b := tcpPacket(bothFamilies[0], SYN, bytesOf(t, "01 020405b4"), nil)
	var in Info
	if r := Parse(b, &in); r != OK {
		t.Fatal(r)
	}
	ClampMSS(b, &in, 1200)
	tcp, ok := gopacket.NewPacket(b, layers.LayerTypeIPv4, gopacket.Default).TransportLayer().(*layers.TCP)
	if !ok || len(tcp.Options) < 2 || tcp.Options[1].OptionType != layers.TCPOptionKindMSS ||
		binary.BigEndian.Uint16(tcp.Options[1].OptionData) != 1200 {
		t.Errorf("oracle reads %v", tcp)
	}
}

// TestClampMSSFragment: a first fragment is clamped, another is not looked at.
func TestClampMSSFragment(t *testing.T) {
	for offset, want := range []bool{true, false} {
		b := tcpPacket(bothFamilies[0], SYN, bytesOf(t, "020405b4"), make([]byte, 8))
		binary.BigEndian.PutUint16(b[6:], flagMF|uint16(offset))
		var in Info
		if r := Parse(b, &in); r != OK {
			t.Fatal(r)
		}
		before := bytes.Clone(b)
		if got := ClampMSS(b, &in, 1200); got != want || bytes.Equal(b, before) == want {
			t.Errorf("offset %d: changed: %v", offset, got)
		}
	}
}

// FuzzClampMSS: nothing panics, no MSS grows, the checksum stays as right or wrong as
// it was, and it is done once.
func FuzzClampMSS(f *testing.F) {
	for _, s := range []string{"020405b4", "01 020405b4", "0204ffff 0300", "0402 080a0000000100000000 01 020405b4"} {
		f.Add(tcpPacket(bothFamilies[0], SYN, bytesOf(f, s), []byte("data")), uint16(1200))
		f.Add(tcpPacket(bothFamilies[1], SYN|ACK, bytesOf(f, s), nil), uint16(1200))
	}
	f.Fuzz(func(t *testing.T, b []byte, limit uint16) {
		var in Info
		if Parse(b, &in) != OK || in.Proto != ProtoTCP {
			return
		}
		before := bytes.Clone(b)
		sum := func(b []byte) uint16 { return slowSum(b[in.L4:in.End]) % 0xffff }
		changed := ClampMSS(b, &in, limit)
		if bytes.Equal(b, before) == changed {
			t.Fatalf("changed %v: %x became %x", changed, before, b)
		}
		if sum(b) != sum(before) {
			t.Fatalf("%x became %x: sum %04x, was %04x", before, b, sum(b), sum(before))
		}
		if ClampMSS(b, &in, limit) {
			t.Fatal("clamped twice")
		}
	})
}

func BenchmarkClampMSS(b *testing.B) {
	for name, flags := range map[string]uint8{"SYN": SYN, "data": ACK} {
		b.Run(name, func(b *testing.B) {
			p := tcpPacket(bothFamilies[0], flags, bytesOf(b, "0402 080a0000000100000000 01 020405b4"), nil)
			var in Info
			Parse(p, &in)
			b.ReportAllocs()
			for b.Loop() {
				p[in.L4+TCPHeaderLen+15] = 0xb4
				ClampMSS(p, &in, 0x550)
			}
		})
	}
}
