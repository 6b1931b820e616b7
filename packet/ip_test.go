package packet

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

func bytesOf(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func addr(s string) Addr { return AddrFrom(netip.MustParseAddr(s)) }

const (
	head4 = "0000 4000 4006 0000 0a3c0001 0a640602" // IPv4 from the ID on, TCP
	ends6 = "fd000060000000000000000000000001 20010db8000000000000000000000002"
)

func TestParse(t *testing.T) {
	src4, dst4 := addr("10.60.0.1"), addr("10.100.6.2")
	src6, dst6 := addr("fd00:60::1"), addr("2001:db8::2")
	for _, tc := range []struct {
		name, in string
		want     Info
		reason   Reason
	}{
		{
			name: "IPv4 TCP", in: "45b8 0018" + head4 + "03e80050",
			want: Info{Src: src4, Dst: dst4, SrcPort: 1000, DstPort: 80, L4: 20, End: 24, Version: 4, Proto: ProtoTCP, TOS: 0xb8},
		},
		{
			name: "IPv4 options and trailing bytes", in: "4600 001c" + head4 + "01010101 03e80050 ffff",
			want: Info{Src: src4, Dst: dst4, SrcPort: 1000, DstPort: 80, L4: 24, End: 28, Version: 4, Proto: ProtoTCP},
		},
		{
			name: "IPv4 first fragment", in: "4500 0018 8123 2000 4011 0000 0a3c0001 0a640602 03e80050",
			want: Info{Src: src4, Dst: dst4, SrcPort: 1000, DstPort: 80, L4: 20, End: 24, Version: 4, Proto: ProtoUDP, Fragment: true, FirstFragment: true, ID: 0x8123},
		},
		{
			name: "IPv4 last fragment", in: "4500 0016 8123 0001 4011 0000 0a3c0001 0a640602 0350",
			want: Info{Src: src4, Dst: dst4, L4: 20, End: 22, Version: 4, Proto: ProtoUDP, Fragment: true, ID: 0x8123},
		},
		{
			name: "ICMP has no ports", in: "4500 0018 0000 0000 4001 0000 0a3c0001 0a640602 08000000",
			want: Info{Src: src4, Dst: dst4, L4: 20, End: 24, Version: 4, Proto: ProtoICMP},
		},
		{
			name: "IPv6 TCP", in: "6b80 0000 0004 0640" + ends6 + "03e80050",
			want: Info{Src: src6, Dst: dst6, SrcPort: 1000, DstPort: 80, L4: 40, End: 44, Version: 6, Proto: ProtoTCP, TOS: 0xb8},
		},
		{
			name: "IPv6 three extension headers", in: "6000 0000 0024 0040" + ends6 +
				"2b00 010400000000 3c01 00000000000000000000 00000000 1100 010400000000 03e80035",
			want: Info{Src: src6, Dst: dst6, SrcPort: 1000, DstPort: 53, L4: 72, End: 76, Version: 6, Proto: ProtoUDP},
		},
		{
			name: "IPv6 first fragment", in: "6000 0000 000c 2c40" + ends6 + "0600 0001 80000007 03e80050",
			want: Info{Src: src6, Dst: dst6, SrcPort: 1000, DstPort: 80, L4: 48, End: 52, Version: 6, Proto: ProtoTCP, Fragment: true, FirstFragment: true, ID: 0x80000007},
		},
		{
			name: "IPv6 later fragment", in: "6000 0000 000c 2c40" + ends6 + "0600 0009 80000007 03e80050",
			want: Info{Src: src6, Dst: dst6, L4: 48, End: 52, Version: 6, Proto: ProtoTCP, Fragment: true, ID: 0x80000007},
		},
		{
			name: "IPv6 no next header", in: "6000 0000 0000 3b40" + ends6,
			want: Info{Src: src6, Dst: dst6, L4: 40, End: 40, Version: 6, Proto: 59},
		},

		{name: "nothing", in: "", reason: TooShort},
		{name: "version 5", in: "55", reason: BadVersion},
		{name: "IPv4 cut", in: "4500 0018" + head4[:28], reason: TooShort},
		{name: "IPv4 header length 4", in: "4400 0018" + head4 + "03e80050", reason: BadLength},
		{name: "IPv4 total length inside the header", in: "4500 0013" + head4, reason: BadLength},
		{name: "IPv4 total length past the end", in: "4500 0019" + head4 + "03e80050", reason: BadLength},
		{name: "IPv4 options past the end", in: "4f00 0018" + head4 + "03e80050", reason: BadLength},
		{name: "IPv4 without ports", in: "4500 0017" + head4 + "03e800", reason: TooShort},
		{name: "IPv6 cut", in: "6000 0000 0000 3b40" + ends6[:59], reason: TooShort},
		{name: "IPv6 payload past the end", in: "6000 0000 0005 0640" + ends6 + "03e80050", reason: BadLength},
		{name: "IPv6 without ports", in: "6000 0000 0003 0640" + ends6 + "03e800", reason: TooShort},
		{name: "IPv6 extension cut", in: "6000 0000 0007 0040" + ends6 + "06000104000000", reason: TooShort},
		{name: "IPv6 fragment header cut", in: "6000 0000 0007 2c40" + ends6 + "06000001000000", reason: TooShort},
		{name: "IPv6 extension past the end", in: "6000 0000 0008 0040" + ends6 + "0601 010400000000", reason: BadLength},
		{
			name: "IPv6 extensions without end", in: "6000 0000 0048 0040" + ends6 + strings.Repeat("0000 010400000000", 9),
			reason: BadHeader,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Info{SrcPort: 0xffff, DstPort: 0xffff, Fragment: true, FirstFragment: true, TOS: 0xff} // of the packet before
			if r := Parse(bytesOf(t, tc.in), &got); r != tc.reason {
				t.Fatalf("reason %v, want %v", r, tc.reason)
			}
			if tc.reason != OK {
				return
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseTCP(t *testing.T) {
	for _, tc := range []struct {
		name, segment string
		reason        Reason
	}{
		{"no options", "03e80050 00000001 00000002 5018 0102 0304 0506", OK},
		{"options and payload", "03e80050 00000001 00000002 6018 0102 0304 0506 01010101 ff", OK},
		{"cut", "03e80050 00000001 00000002 5018 0102 0304 05", TooShort},
		{"offset 4", "03e80050 00000001 00000002 4018 0102 0304 0506", BadOffset},
		{"offset past the end", "03e80050 00000001 00000002 6018 0102 0304 0506 010101", BadOffset},
	} {
		t.Run(tc.name, func(t *testing.T) {
			segment := bytesOf(t, tc.segment)
			b := make([]byte, 20, 80)
			src, dst := addr("10.60.0.1"), addr("10.100.6.2")
			PutIPHeader(b, false, &src, &dst, ProtoTCP, 0, 64, 20+len(segment))
			b = append(append(b, segment...), 0xee) // a byte behind the packet
			var in Info
			if r := Parse(b, &in); r != OK {
				t.Fatal(r)
			}
			s, r := ParseTCP(b, &in)
			if r != tc.reason {
				t.Fatalf("reason %v, want %v", r, tc.reason)
			}
			if r != OK {
				return
			}
			if !bytes.Equal(s, segment) {
				t.Errorf("segment %x, want %x", s, segment)
			}
			if s.SrcPort() != 1000 || s.DstPort() != 80 || s.SN() != 1 || s.AckSN() != 2 || s.Flags() != ACK|PSH ||
				s.Window() != 0x102 || s.ChecksumField() != 0x304 || s.Urgent() != 0x506 {
				t.Errorf("fields of %x are read wrong", s)
			}
			if n := s.HeaderLen(); len(s.Options()) != n-TCPHeaderLen || len(s.Payload()) != len(segment)-n {
				t.Errorf("header %d, options %x, payload %x", n, s.Options(), s.Payload())
			}
		})
	}
}

// TestPutOracle has gopacket read headers that we write.
func TestPutOracle(t *testing.T) {
	for _, ends := range [][2]string{{"10.60.0.1", "10.100.6.2"}, {"fd00:60::1", "2001:db8::2"}} {
		src, dst := addr(ends[0]), addr(ends[1])
		v6 := src.Netip().Is6()
		b := bytes.Repeat([]byte{0xee}, 128)
		n := PutIPHeader(b, v6, &src, &dst, ProtoTCP, 0xb9, 63, len(b))
		PutTCPHeader(b[n:], 1000, 80, 0x01020304, 0x05060708, 24, SYN|ECE, 0x1234)
		copy(b[n+20:], []byte{OptMSS, 4, 5, 0xb4})
		first := layers.LayerTypeIPv4
		if v6 {
			first = layers.LayerTypeIPv6
		}
		p := gopacket.NewPacket(b, first, gopacket.Default)
		if e := p.ErrorLayer(); e != nil {
			t.Fatal(e.Error())
		}
		net := p.NetworkLayer().NetworkFlow()
		if net.Src().String() != ends[0] || net.Dst().String() != ends[1] {
			t.Errorf("addresses %v", net)
		}
		switch ip := p.NetworkLayer().(type) {
		case *layers.IPv4:
			if ip.TOS != 0xb9 || ip.TTL != 63 || int(ip.Length) != len(b) || ip.Flags != layers.IPv4DontFragment || slowSum(b[:20]) != 0xffff {
				t.Errorf("IPv4 header %x", b[:20])
			}
		case *layers.IPv6:
			if ip.TrafficClass != 0xb9 || ip.HopLimit != 63 || int(ip.Length) != len(b)-40 || ip.FlowLabel != 0 {
				t.Errorf("IPv6 header %x", b[:40])
			}
		}
		tcp, ok := p.TransportLayer().(*layers.TCP)
		if !ok || tcp.SrcPort != 1000 || tcp.DstPort != 80 || tcp.Seq != 0x01020304 || tcp.Ack != 0x05060708 || tcp.DataOffset != 6 ||
			!tcp.SYN || !tcp.ECE || tcp.ACK || tcp.Window != 0x1234 || tcp.Checksum != 0 || tcp.Urgent != 0 || len(tcp.Options) != 1 {
			t.Errorf("TCP header %x", b[n:n+24])
		}
	}
}

func TestAddr(t *testing.T) {
	for _, s := range []string{"10.60.0.1", "0.0.0.0", "fd00::1", "::"} {
		a := netip.MustParseAddr(s)
		if got := AddrFrom(a).Netip(); got != a {
			t.Errorf("%v became %v", a, got)
		}
	}
	b := addr("fd00::1")
	setAddr4(&b, []byte{10, 60, 0, 1})
	if a := addr("10.60.0.1"); a != b {
		t.Error("an IPv4 address has two forms")
	}
}

func TestReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for r := OK; r < NumReasons; r++ {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("reason %d has the name %q", r, r.String())
		}
		seen[r.String()] = true
	}
}

// FuzzParse: nothing panics, offsets lie inside, and where gopacket decodes an IP
// packet with ports it finds the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"45b8 0028" + head4 + "03e80050 00000001 00000002 5018 0102 0304 0506",
		"4600 001c" + head4 + "01010101 03e80050",
		"4500 0016 0000 0001 4011 0000 0a3c0001 0a640602 0350",
		"6000 0000 0004 0640" + ends6 + "03e80050",
		"6000 0000 0024 0040" + ends6 + "2b00 010400000000 3c01 00000000000000000000 00000000 1100 010400000000 03e80035",
		"6000 0000 000c 2c40" + ends6 + "0600 0009 00000007 03e80050",
	} {
		f.Add(bytesOf(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var in Info
		r := Parse(b, &in)
		if !bytes.Equal(b, before) {
			t.Fatal("Parse changed its input")
		}
		if r >= NumReasons {
			t.Fatalf("reason %d does not exist", r)
		}
		if r != OK {
			return
		}
		if in.L4 < 20 || in.L4 > in.End || in.End > len(b) {
			t.Fatalf("transport [%d:%d] of %d bytes", in.L4, in.End, len(b))
		}
		if in.Proto == ProtoTCP && !in.Fragment {
			if s, r := ParseTCP(b, &in); r == OK && len(s.Options())+len(s.Payload())+TCPHeaderLen != in.End-in.L4 {
				t.Fatalf("segment of %d bytes: options %d, payload %d", in.End-in.L4, len(s.Options()), len(s.Payload()))
			}
		}
		compare(t, b, &in)
	})
}

// compare checks in against gopacket.
func compare(t *testing.T, b []byte, in *Info) {
	first := layers.LayerTypeIPv4
	if in.Version == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(b[:in.End], first, gopacket.DecodeOptions{NoCopy: true})
	nl := p.NetworkLayer()
	if nl == nil || p.ErrorLayer() != nil {
		return // the oracle wants whole headers, options and extensions that we do not look at
	}
	if src, dst := nl.NetworkFlow().Endpoints(); src.String() != in.Src.Netip().String() || dst.String() != in.Dst.Netip().String() {
		if in.Src.Netip().Is6() == (in.Version == 6) && in.Dst.Netip().Is6() == (in.Version == 6) {
			t.Fatalf("%v to %v, oracle %v to %v", in.Src.Netip(), in.Dst.Netip(), src, dst)
		}
	}
	var src, dst uint16
	switch l := p.TransportLayer().(type) {
	case *layers.TCP:
		src, dst = uint16(l.SrcPort), uint16(l.DstPort)
	case *layers.UDP:
		src, dst = uint16(l.SrcPort), uint16(l.DstPort)
	default:
		return
	}
	if src != in.SrcPort || dst != in.DstPort {
		t.Fatalf("ports %d to %d, oracle %d to %d", in.SrcPort, in.DstPort, src, dst)
	}
}

func BenchmarkParse(b *testing.B) {
	for name, s := range map[string]string{
		"IPv4": "45b8 0028" + head4 + "03e80050 00000001 00000002 5018 0102 0304 0506",
		"IPv6": "6000 0000 0004 0640" + ends6 + "03e80050",
	} {
		b.Run(name, func(b *testing.B) {
			p := bytesOf(b, s)
			b.ReportAllocs()
			var in Info
			for b.Loop() {
				if Parse(p, &in) != OK {
					b.Fatal("refused")
				}
			}
		})
	}
}
