package lab

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	ip "github.com/braid-upf/braid/packet"
)

// tcpPacket is a TCP segment of IPv4 or IPv6 with an MPTCP option between two others.
func tcpPacket(v6 bool, tos, flags uint8) []byte {
	src, dst := ip.AddrFrom(netip.MustParseAddr("10.60.0.1")), ip.AddrFrom(netip.MustParseAddr("10.100.6.2"))
	if v6 {
		src, dst = ip.AddrFrom(netip.MustParseAddr("fd00:60::1")), ip.AddrFrom(netip.MustParseAddr("fd00:6::2"))
	}
	options := append([]byte{ip.OptNOP, ip.OptNOP, ip.OptTimestamps, 10, 1, 2, 3, 4, 5, 6, 7, 8}, mptcp.AppendFastClose(nil, 7)...)
	options = append(options, ip.OptMSS, 4, 5, 6)
	b := make([]byte, 40+20+len(options)+11)
	n := ip.PutIPHeader(b, v6, &src, &dst, ip.ProtoTCP, tos, 64, len(b)-40+ipLen(v6))
	b = b[:n+len(b)-40]
	t := b[n:]
	ip.PutTCPHeader(t, 1, 2, 3, 4, 20+len(options), flags, 5)
	copy(t[20:], options)
	copy(t[20+len(options):], "odd payload")
	sum := ^ip.Fold(ip.PseudoSum(&src, &dst, ip.ProtoTCP, len(t)) + ip.Sum(t))
	t[16], t[17] = byte(sum>>8), byte(sum)
	return b
}

func ipLen(v6 bool) int {
	if v6 {
		return 40
	}
	return 20
}

// valid checks both checksums of a packet and gives its description.
func valid(t *testing.T, b []byte) (in ip.Info, seg ip.TCP) {
	t.Helper()
	if r := ip.Parse(b, &in); r != ip.OK {
		t.Fatalf("packet does not parse: %v", r)
	}
	if in.Version == 4 && ip.Fold(ip.Sum(b[:20])) != 0xffff {
		t.Error("wrong checksum of the IPv4 header")
	}
	seg, _ = ip.ParseTCP(b, &in)
	if ip.Fold(ip.PseudoSum(&in.Src, &in.Dst, ip.ProtoTCP, len(seg))+ip.Sum(seg)) != 0xffff {
		t.Error("wrong TCP checksum")
	}
	return in, seg
}

func TestMarkCE(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for ecn := range uint8(4) {
			const dscp = 0xb8
			b := tcpPacket(v6, dscp|ecn, ip.ACK)
			marked := markCE(b)
			in, _ := valid(t, b)
			want := uint8(dscp | 3)
			if ecn == 0 {
				want = dscp
			}
			if in.TOS != want || marked != (ecn != 0) {
				t.Errorf("IPv6 %v, ECN %d: traffic class %#x, marked %v", v6, ecn, in.TOS, marked)
			}
		}
	}
}

func TestStripMPTCP(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		b := tcpPacket(v6, 0, ip.ACK)
		_, before := valid(t, bytes.Clone(b))
		if !stripMPTCP(b) {
			t.Error("nothing found")
		}
		_, after := valid(t, b)
		want := bytes.Clone(before.Options())
		for i := 12; i < 24; i++ {
			want[i] = ip.OptNOP
		}
		if !bytes.Equal(after.Options(), want) || !bytes.Equal(after.Payload(), before.Payload()) {
			t.Errorf("IPv6 %v: options % x, want % x", v6, after.Options(), want)
		}
		if syn := tcpPacket(v6, 0, ip.SYN); stripMPTCP(syn) || stripMPTCP(b) {
			t.Error("stripped a SYN, or twice")
		}
	}
}
