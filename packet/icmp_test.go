package packet

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// parsed is Parse of a packet that must be right.
func parsed(t testing.TB, b []byte) *Info {
	t.Helper()
	var in Info
	if r := Parse(b, &in); r != OK {
		t.Fatalf("%x: %v", b, r)
	}
	return &in
}

// TestPutICMPErrorOracle has gopacket read the messages.
func TestPutICMPErrorOracle(t *testing.T) {
	v4, v6 := bothFamilies[0], bothFamilies[1]
	data := func(ends [2]string, n int) []byte { return tcpPacket(ends, ACK, nil, bytes.Repeat([]byte{0xab}, n)) }
	for _, tc := range []struct {
		name, src string
		e         ICMPError
		mtu       int
		about     []byte
		code      string // as gopacket has it
		rest      uint32 // second word of the message
		size      int
	}{
		{"fragmentation needed", "10.60.0.254", PacketTooBig, 1400, data(v4, 1460), "DestinationUnreachable(FragmentationNeeded)", 1400, 576},
		{"MTU beyond 16 bits", "10.60.0.254", PacketTooBig, 1 << 16, data(v4, 1460), "DestinationUnreachable(FragmentationNeeded)", 0xffff, 576},
		{"short packet, whole", "10.60.0.254", AdminProhibited, 1400, data(v4, 10), "DestinationUnreachable(CommAdminProhibited)", 0, 28 + 50},
		{"net unreachable", "10.60.0.254", NoRoute, 0, data(v4, 508), "DestinationUnreachable(Net)", 0, 576},
		{"host unreachable", "10.60.0.254", HostUnreachable, 0, data(v4, 507), "DestinationUnreachable(Host)", 0, 575},
		{"packet too big", "fd00::fe", PacketTooBig, 1400, data(v6, 1440), "PacketTooBig", 1400, 1280},
		{"MTU below the least", "fd00::fe", PacketTooBig, 1279, data(v6, 1440), "PacketTooBig", 1280, 1280},
		{"IPv6 short packet, whole", "fd00::fe", AdminProhibited, 1400, data(v6, 9), "DestinationUnreachable(AdminProhibited)", 0, 48 + 69},
		{"no route", "fd00::fe", NoRoute, 0, data(v6, 1172), "DestinationUnreachable(NoRouteToDst)", 0, 1280},
		{"address unreachable", "fd00::fe", HostUnreachable, 0, data(v6, 1171), "DestinationUnreachable(AddressUnreachable)", 0, 1279},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := addr(tc.src)
			d := bytes.Repeat([]byte{0xee}, MaxICMPError)
			in := parsed(t, tc.about)
			about := append(bytes.Clone(tc.about), 0xff) // what is behind the packet is not of it
			n := PutICMPError(d, tc.e, &src, tc.mtu, about, in)
			if n != tc.size || bytes.Count(d[n:], []byte{0xee}) != len(d)-n {
				t.Fatalf("%d bytes, want %d", n, tc.size)
			}
			m := parsed(t, d[:n])
			if m.End != n || m.Src != src || m.Dst != in.Src {
				t.Errorf("%+v", m)
			}
			first := layers.LayerTypeIPv4
			if m.Version == 6 {
				first = layers.LayerTypeIPv6
			}
			p := gopacket.NewPacket(d[:n], first, gopacket.Default)
			var code string
			if l, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
				code = l.TypeCode.String()
				if slowSum(d[:20]) != 0xffff || slowSum(d[20:n]) != 0xffff {
					t.Error("checksums wrong")
				}
			} else if l, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); ok {
				code = l.TypeCode.String()
				checkTransportChecksum(t, d[:n], m)
			}
			if strings.TrimSuffix(code, "(0)") != tc.code {
				t.Errorf("oracle reads %q, want %q", code, tc.code)
			}
			if rest := binary.BigEndian.Uint32(d[m.L4+4:]); rest != tc.rest {
				t.Errorf("second word %d, want %d", rest, tc.rest)
			}
			if quote := d[m.L4+8 : n]; !bytes.HasPrefix(tc.about, quote) || len(quote) < m.L4+8 {
				t.Errorf("%x is no quotation of %x", quote, tc.about)
			}
			if MayAnswer(d, m, tc.e) {
				t.Error("an error about the error may be sent")
			}
		})
	}
}

func TestMayAnswer(t *testing.T) {
	const (
		srcUE4, dst4 = "0a3c0001", "0a640602"
		srcUE6       = "fd000060000000000000000000000001"
		dst6         = "20010db8000000000000000000000002"
	)
	icmp4 := func(payload string) string {
		return "4500 00" + []string{"14", "1c"}[min(len(payload), 1)] + "0000 0000 4001 0000" + srcUE4 + dst4 + payload
	}
	udp4 := func(word, src, dst string) string {
		return "4500 001c 0000" + word + "4011 0000" + src + dst + "03e80050 00080000"
	}
	icmp6 := func(payload string) string {
		return "6000 0000 00" + []string{"00", "08"}[min(len(payload), 1)] + "3a40" + srcUE6 + dst6 + payload
	}
	udp6 := func(src, dst string) string { return "6000 0000 0008 1140" + src + dst + "03e80050 00080000" }
	fragment6 := func(next, offset string) string {
		return "6000 0000 0010 2c40" + srcUE6 + dst6 + next + "00" + offset + "00000007 80000000 00000000"
	}
	for _, tc := range []struct {
		name, in string
		tooBig   bool // PacketTooBig may be sent
		other    bool
	}{
		{"UDP", udp4("0000", srcUE4, dst4), true, true},
		{"first fragment", udp4("2000", srcUE4, dst4), true, true},
		{"later fragment", udp4("0001", srcUE4, dst4), false, false},
		{"from 0.0.0.0", udp4("0000", "00000000", dst4), false, false},
		{"from loopback", udp4("0000", "7f000001", dst4), false, false},
		{"from multicast", udp4("0000", "e0000001", dst4), false, false},
		{"from class E", udp4("0000", "f0000001", dst4), false, false},
		{"from broadcast", udp4("0000", "ffffffff", dst4), false, false},
		{"highest unicast", udp4("0000", "dfffffff", dst4), true, true},
		{"to multicast", udp4("0000", srcUE4, "e0000001"), false, false},
		{"to broadcast", udp4("0000", srcUE4, "ffffffff"), false, false},
		{"echo request", icmp4("08000000 00000000"), true, true},
		{"echo reply", icmp4("00000000 00000000"), true, true},
		{"timestamp", icmp4("0d000000 00000000"), true, true},
		{"destination unreachable", icmp4("03000000 00000000"), false, false},
		{"source quench", icmp4("04000000 00000000"), false, false},
		{"redirect", icmp4("05000000 00000000"), false, false},
		{"time exceeded", icmp4("0b000000 00000000"), false, false},
		{"parameter problem", icmp4("0c000000 00000000"), false, false},
		{"ICMP of a type not known", icmp4("40000000 00000000"), false, false},
		{"ICMP without a type", icmp4(""), false, false},

		{"IPv6 UDP", udp6(srcUE6, dst6), true, true},
		{"from ::", udp6(strings.Repeat("00", 16), dst6), false, false},
		{"from ::1", udp6(strings.Repeat("00", 15)+"01", dst6), false, false},
		{"from ::ffff:10.60.0.1", udp6(strings.Repeat("00", 10)+"ffff"+srcUE4, dst6), false, false},
		{"from IPv6 multicast", udp6("ff020000000000000000000000000001", dst6), false, false},
		{"to IPv6 multicast", udp6(srcUE6, "ff020000000000000000000000000001"), true, false},
		{"IPv6 echo request", icmp6("80000000 00000000"), true, true},
		{"router solicitation", icmp6("85000000 00000000"), true, true},
		{"IPv6 redirect", icmp6("89000000 00000000"), false, false},
		{"IPv6 unreachable", icmp6("01000000 00000000"), false, false},
		{"IPv6 error of a type not known", icmp6("7f000000 00000000"), false, false},
		{"ICMPv6 without a type", icmp6(""), false, false},
		{"IPv6 first fragment of an echo", fragment6("3a", "0001"), true, true},
		{"IPv6 later fragment of UDP", fragment6("11", "0009"), true, true},
		{"IPv6 later fragment of ICMPv6", fragment6("3a", "0009"), false, false},
		{"IPv6 later fragment of options", fragment6("3c", "0009"), false, false},
	} {
		b := bytesOf(t, tc.in)
		in := parsed(t, b)
		if got := MayAnswer(b, in, PacketTooBig); got != tc.tooBig {
			t.Errorf("%s: too big: %v, want %v", tc.name, got, tc.tooBig)
		}
		if got := MayAnswer(b, in, AdminProhibited); got != tc.other {
			t.Errorf("%s: prohibited: %v, want %v", tc.name, got, tc.other)
		}
	}
}

// FuzzICMPError: every message about anything that may be answered is a right packet
// that quotes it and that is itself not answered.
func FuzzICMPError(f *testing.F) {
	f.Add(tcpPacket(bothFamilies[0], ACK, nil, make([]byte, 60)), uint8(0), uint32(1400))
	f.Add(tcpPacket(bothFamilies[1], ACK, nil, make([]byte, 60)), uint8(3), uint32(0))
	f.Add(bytesOf(f, "4500 001c 0000 0000 4001 0000 0a3c0001 0a640602 08000000 00000000"), uint8(1), uint32(0))
	d := make([]byte, MaxICMPError)
	f.Fuzz(func(t *testing.T, b []byte, kind uint8, mtu uint32) {
		var in Info
		e := ICMPError(kind) % ICMPError(len(icmpErrors))
		if Parse(b, &in) != OK || !MayAnswer(b, &in, e) {
			return
		}
		n := PutICMPError(d, e, &in.Dst, int(mtu), b, &in)
		m := parsed(t, d[:n])
		if m.End != n || m.Dst != in.Src || m.Fragment || MayAnswer(d, m, e) {
			t.Fatalf("%x about %x", d[:n], b)
		}
		if m.Version == 4 && (slowSum(d[:20]) != 0xffff || slowSum(d[20:n]) != 0xffff) {
			t.Fatalf("checksum of %x", d[:n])
		}
		if m.Version == 6 {
			checkTransportChecksum(t, d[:n], m)
		}
		if !bytes.HasPrefix(b, d[m.L4+8:n]) {
			t.Fatalf("%x does not quote %x", d[:n], b)
		}
	})
}

func BenchmarkPutICMPError(b *testing.B) {
	for i, name := range []string{"IPv4", "IPv6"} {
		b.Run(name, func(b *testing.B) {
			p := tcpPacket(bothFamilies[i], ACK, nil, make([]byte, 1400))
			in := parsed(b, p)
			d := make([]byte, MaxICMPError)
			b.ReportAllocs()
			for b.Loop() {
				if MayAnswer(p, in, PacketTooBig) {
					PutICMPError(d, PacketTooBig, &in.Dst, 1400, p, in)
				}
			}
		})
	}
}

// What our own errors quote is found in them again, and nothing in one that is cut short.
func TestParseQuote(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		src, dst := Addr{10: 0xff, 11: 0xff, 12: 10, 15: 1}, Addr{10: 0xff, 11: 0xff, 12: 10, 15: 2}
		ip := 20
		if v6 {
			src, dst, ip = Addr{0: 0xfd, 15: 1}, Addr{0: 0xfd, 15: 2}, 40
		}
		b := make([]byte, ip+TCPHeaderLen)
		PutIPHeader(b, v6, &src, &dst, ProtoTCP, 0, 64, len(b))
		PutTCPHeader(b[ip:], 40000, 443, 0x12345678, 0, TCPHeaderLen, SYN, 100)
		var in Info
		Parse(b, &in)
		for e, want := range map[ICMPError]Quote{
			NoRoute:         {Unreachable: true},
			HostUnreachable: {Unreachable: true, Code: map[bool]uint8{false: 1, true: 3}[v6]},
			PacketTooBig:    {Unreachable: !v6, Code: map[bool]uint8{false: 4}[v6]},
		} {
			want.Src, want.Dst, want.SrcPort, want.DstPort, want.SN = src, dst, 40000, 443, 0x12345678
			d := make([]byte, MaxICMPError)
			d = d[:PutICMPError(d, e, &dst, 1400, b, &in)]
			var out Info
			var q Quote
			if r := Parse(d, &out); r != OK || !ParseQuote(d, &out, &q) || q != want {
				t.Errorf("IPv6 %v, error %d: %v, %+v, want %+v", v6, e, r, q, want)
			}
			for out.End -= TCPHeaderLen - 7; out.End >= out.L4; out.End-- {
				if ParseQuote(d, &out, &q) {
					t.Errorf("IPv6 %v: quoted in %d bytes", v6, out.End)
				}
			}
		}
	}
}
