package packet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/braid-upf/braid/internal/testenv"
)

// icmp6Packet is an IPv6 packet of the ICMPv6 message m with a right checksum.
func icmp6Packet(src, dst Addr, hops uint8, m []byte) []byte {
	b := make([]byte, 40, 100)
	PutIPHeader(b, true, &src, &dst, ProtoICMPv6, 0, hops, 40+len(m))
	b = append(b, m...)
	if len(m) >= 4 {
		clear(b[42:44])
		putICMPv6Checksum(b[40:], &src, &dst)
	}
	return b
}

func TestRouterSolicitation(t *testing.T) {
	ue, none := addr("fe80::2:1:c731:f114"), Addr{}
	routers := addr("ff02::2")
	for _, tc := range []struct {
		name, in  string
		src       Addr
		hops      uint8
		is, valid bool
	}{
		{"plain", "85000000 00000000", ue, 255, true, true},
		{"of no address", "85000000 00000000", none, 255, true, true},
		{"reserved bits set", "85000000 ffffffff", ue, 255, true, true},
		{"source link-layer address", "85000000 00000000 0101020304050607", ue, 255, true, true},
		{"option of an unknown type", "85000000 00000000 0e02000000000000 0000000000000000", ue, 255, true, true},
		{"two options", "85000000 00000000 0e01000000000000 0101000000000000", ue, 255, true, true},

		{"advertisement", "86000000 00000000 0000000000000000", ue, 255, false, false},
		{"no bytes", "", ue, 255, false, false},
		{"hop limit", "85000000 00000000", ue, 254, true, false},
		{"code", "85010000 00000000", ue, 255, true, false},
		{"cut", "85000000 000000", ue, 255, true, false},
		{"link-layer address of no address", "85000000 00000000 0101020304050607", none, 255, true, false},
		{"option of length 0", "85000000 00000000 0100020304050607", ue, 255, true, false},
		{"option past the end", "85000000 00000000 0102020304050607", ue, 255, true, false},
		{"option cut at its type", "85000000 00000000 01", ue, 255, true, false},
	} {
		b := icmp6Packet(tc.src, routers, tc.hops, bytesOf(t, tc.in))
		in := parsed(t, b)
		is := IsRouterSolicitation(b, in)
		if is != tc.is || is && ValidRouterSolicitation(b, in) != tc.valid {
			t.Errorf("%s: a solicitation: %v, want %v; valid must be %v", tc.name, is, tc.is, tc.valid)
		}
		if !tc.valid {
			continue
		}
		b[42] ^= 1
		if ValidRouterSolicitation(b, in) {
			t.Errorf("%s: wrong checksum is valid", tc.name)
		}
	}
	for _, s := range []string{
		"4500 001c 0000 0000 ff01 0000 0a3c0001 0a640602 85000000 00000000", // ICMPv4
		"6000 0000 0008 11ff" + ends6 + "85000000 00080000",                 // UDP
		"6000 0000 0010 2cff" + ends6 + "3a00 0009 00000007 85000000 00000000",
	} {
		b := bytesOf(t, s)
		if IsRouterSolicitation(b, parsed(t, b)) {
			t.Errorf("%s is a solicitation", s)
		}
	}
	// A first fragment is one, but is not heard.
	b := bytesOf(t, "6000 0000 0010 2cff"+ends6+"3a00 0001 00000007 85000000 00000000")
	in := parsed(t, b)
	putICMPv6Checksum(b[48:], &in.Src, &in.Dst)
	if !IsRouterSolicitation(b, in) || ValidRouterSolicitation(b, in) {
		t.Error("a solicitation in fragments is heard, or is none")
	}
}

func TestAdvertisementDst(t *testing.T) {
	for src, want := range map[string]string{
		"fe80::1": "fe80::1", "febf::1": "febf::1", "::": "ff02::1", "fec0::1": "ff02::1", "fd00::1": "ff02::1", "2001:db8::1": "ff02::1",
	} {
		a := addr(src)
		if got := AdvertisementDst(&a); got != addr(want) {
			t.Errorf("%s: %v, want %s", src, got.Netip(), want)
		}
	}
}

var advertisement = RouterAdvertisement{
	Src: addr("fe80::1"), Dst: addr("fe80::2"), Other: true, RouterLifetime: 9000,
	Prefix: addr("fd00:60::"), PrefixLen: 64, Valid: Infinite, Preferred: 0x01020304, MTU: 1400,
}

// TestRouterAdvertisementOracle has gopacket read advertisements.
func TestRouterAdvertisementOracle(t *testing.T) {
	for _, mtu := range []uint32{0, 1400} {
		for _, flags := range []uint8{0, 0x40, 0x80, 0xc0} {
			a := advertisement
			a.MTU, a.Managed, a.Other = mtu, flags&0x80 != 0, flags&0x40 != 0
			b := bytes.Repeat([]byte{0xee}, MaxRouterAdvertisement+1)
			n := PutRouterAdvertisement(b, &a)
			if n > MaxRouterAdvertisement || b[n] != 0xee {
				t.Fatalf("%d bytes", n)
			}
			in := parsed(t, b[:n])
			checkTransportChecksum(t, b, in)
			if in.End != n || in.Src != a.Src || in.Dst != a.Dst || b[7] != 255 {
				t.Fatalf("%+v", in)
			}
			p := gopacket.NewPacket(b[:n], layers.LayerTypeIPv6, gopacket.Default)
			ra, ok := p.Layer(layers.LayerTypeICMPv6RouterAdvertisement).(*layers.ICMPv6RouterAdvertisement)
			if !ok {
				t.Fatalf("oracle reads %v", p)
			}
			if ra.HopLimit != 64 || ra.Flags != flags || ra.RouterLifetime != 9000 || ra.ReachableTime != 0 || ra.RetransTimer != 0 {
				t.Errorf("%+v", ra)
			}
			want := []layers.ICMPv6Option{{
				Type: layers.ICMPv6OptPrefixInfo,
				Data: bytesOf(t, "40 40 ffffffff 01020304 00000000 fd00 0060 000000000000000000000000"),
			}}
			if mtu != 0 {
				want = append(want, layers.ICMPv6Option{Type: layers.ICMPv6OptMTU, Data: bytesOf(t, "0000 00000578")})
			}
			if len(ra.Options) != len(want) {
				t.Fatalf("options %v", ra.Options)
			}
			for i, o := range ra.Options {
				if o.Type != want[i].Type || !bytes.Equal(o.Data, want[i].Data) {
					t.Errorf("option %v, want %v", o, want[i])
				}
			}
		}
	}
}

// TestRouterAdvertisementTshark has tshark read one: nothing malformed, the checksum
// good.
func TestRouterAdvertisementTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		testenv.Lacks(t, "tshark is missing (Debian package tshark)")
	}
	b := make([]byte, MaxRouterAdvertisement)
	n := PutRouterAdvertisement(b, &advertisement)
	// A pcap file of one packet, link type raw IP.
	file := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	file = append(file, bytesOf(t, "0200 0400 00000000 00000000 ffff0000 65000000 00000000 00000000")...)
	file = binary.LittleEndian.AppendUint32(file, uint32(n))
	file = binary.LittleEndian.AppendUint32(file, uint32(n))
	file = append(file, b[:n]...)
	cmd := exec.CommandContext(t.Context(), tshark, "-r", "-", "-T", "fields", "-E", "separator=|",
		"-e", "icmpv6.checksum.status", "-e", "_ws.expert.message", "-e", "icmpv6.nd.ra.cur_hop_limit", "-e", "icmpv6.nd.ra.router_lifetime",
		"-e", "icmpv6.opt.prefix", "-e", "icmpv6.opt.prefix.flag.l", "-e", "icmpv6.opt.prefix.flag.a",
		"-e", "icmpv6.opt.prefix.valid_lifetime", "-e", "icmpv6.opt.mtu")
	cmd.Stdin = bytes.NewReader(file)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark of %s: %v", hex.EncodeToString(file), err)
	}
	// Releases print booleans as 1 or True.
	got := strings.NewReplacer("True", "1", "False", "0").Replace(strings.TrimSpace(string(out)))
	if want := "1||64|9000|fd00:60::|0|1|4294967295|1400"; got != want {
		t.Errorf("tshark reads %q, want %q", got, want)
	}
}

// FuzzRouterSolicitation: nothing panics, and what is heard is what RFC 4861 wants.
func FuzzRouterSolicitation(f *testing.F) {
	for _, s := range []string{"85000000 00000000", "85000000 00000000 0101020304050607", "85000000 00000000 0100", "86000000 00000000"} {
		f.Add(icmp6Packet(addr("fe80::1"), addr("ff02::2"), 255, bytesOf(f, s)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var in Info
		if Parse(b, &in) != OK || !IsRouterSolicitation(b, &in) {
			return
		}
		// Hostile bytes with a right checksum come further.
		if m := b[in.L4:in.End]; len(m) >= 4 {
			clear(m[2:4])
			putICMPv6Checksum(m, &in.Src, &in.Dst)
		}
		if ValidRouterSolicitation(b, &in) && (b[7] != 255 || b[in.L4+1] != 0 || (in.End-in.L4)%8 != 0 || in.Fragment) {
			t.Fatalf("%x is heard", b)
		}
	})
}

func BenchmarkRouterSolicitation(b *testing.B) {
	p := icmp6Packet(addr("fe80::1"), addr("ff02::2"), 255, bytesOf(b, "85000000 00000000 0101020304050607"))
	in := parsed(b, p)
	b.ReportAllocs()
	for b.Loop() {
		if !IsRouterSolicitation(p, in) || !ValidRouterSolicitation(p, in) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkPutRouterAdvertisement(b *testing.B) {
	d := make([]byte, MaxRouterAdvertisement)
	b.ReportAllocs()
	for b.Loop() {
		PutRouterAdvertisement(d, &advertisement)
	}
}

// TestPutAllocs covers what the benchmarks of this package's writers show.
func TestPutAllocs(t *testing.T) {
	syn := tcpPacket(bothFamilies[1], SYN, bytesOf(t, "020405b4"), nil)
	in := parsed(t, syn)
	rs := icmp6Packet(addr("fe80::1"), addr("ff02::2"), 255, bytesOf(t, "85000000 00000000 0101020304050607"))
	rsInfo := parsed(t, rs)
	d := make([]byte, MaxICMPError)
	for name, f := range map[string]func(){
		"ClampMSS":                func() { ClampMSS(syn, in, 1200) },
		"SetDSCP":                 func() { SetDSCP(syn, 0x28) },
		"MayAnswer":               func() { MayAnswer(syn, in, PacketTooBig) },
		"PutICMPError":            func() { PutICMPError(d, PacketTooBig, &in.Dst, 1400, syn, in) },
		"ValidRouterSolicitation": func() { ValidRouterSolicitation(rs, rsInfo) },
		"PutRouterAdvertisement":  func() { PutRouterAdvertisement(d, &advertisement) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
