package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// datagram is an IP packet with a datagram of PutUDPHeader.
func datagram(src, dst netip.Addr, payload []byte) ([]byte, *Info) {
	hdr := 20
	if src.Is6() {
		hdr = 40
	}
	b := make([]byte, hdr+UDPHeaderLen+len(payload))
	s, d := AddrFrom(src), AddrFrom(dst)
	PutIPHeader(b, src.Is6(), &s, &d, ProtoUDP, 0, 64, len(b))
	copy(b[hdr+UDPHeaderLen:], payload)
	PutUDPHeader(b[hdr:], &s, &d, 1000, 2000)
	var in Info
	if r := Parse(b, &in); r != OK {
		panic(r)
	}
	return b, &in
}

var udpEnds = [][2]netip.Addr{
	{netip.MustParseAddr("10.60.0.1"), netip.MustParseAddr("10.60.255.254")},
	{netip.MustParseAddr("fd00:60::1"), netip.MustParseAddr("fd00:60:ffff::1")},
}

// TestUDPAgainstGopacket: gopacket makes the same datagrams.
func TestUDPAgainstGopacket(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		ends := udpEnds[i%2]
		payload := make([]byte, random.IntN(40))
		for j := range payload {
			payload[j] = byte(random.Uint32())
		}
		b, in := datagram(ends[0], ends[1], payload)
		got, r := ParseUDP(b, in)
		if r != OK || !bytes.Equal(got, payload) {
			t.Fatalf("%x: %v, %x, want %x", b, r, got, payload)
		}
		u := &layers.UDP{SrcPort: 1000, DstPort: 2000}
		var network gopacket.NetworkLayer = &layers.IPv4{SrcIP: ends[0].AsSlice(), DstIP: ends[1].AsSlice(), Protocol: ProtoUDP}
		if ends[0].Is6() {
			network = &layers.IPv6{SrcIP: ends[0].AsSlice(), DstIP: ends[1].AsSlice(), NextHeader: ProtoUDP}
		}
		if err := u.SetNetworkLayerForChecksum(network); err != nil {
			t.Fatal(err)
		}
		s := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(s, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, u, gopacket.Payload(payload)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b[in.L4:], s.Bytes()) {
			t.Fatalf("%x, gopacket %x", b[in.L4:], s.Bytes())
		}
	}
}

func TestUDPRefused(t *testing.T) {
	for _, ends := range udpEnds {
		for _, tc := range []struct {
			name  string
			spoil func(b []byte, in *Info)
			want  Reason
		}{
			{"as it is", func([]byte, *Info) {}, OK},
			{"no room for the header", func(_ []byte, in *Info) { in.End = in.L4 + 7 }, TooShort},
			{"length below the header's", func(b []byte, in *Info) { binary.BigEndian.PutUint16(b[in.L4+4:], 7) }, BadLength},
			{"length beyond the packet", func(b []byte, in *Info) { binary.BigEndian.PutUint16(b[in.L4+4:], 13) }, BadLength},
			{"payload", func(b []byte, in *Info) { b[in.L4+9] ^= 1 }, BadChecksum},
			{"port", func(b []byte, in *Info) { b[in.L4] ^= 1 }, BadChecksum},
			{"address", func(_ []byte, in *Info) { in.Src[15] ^= 1 }, BadChecksum},
			{
				"no checksum", func(b []byte, in *Info) { b[in.L4+6], b[in.L4+7] = 0, 0 },
				map[bool]Reason{true: BadChecksum, false: OK}[ends[0].Is6()],
			},
		} {
			b, in := datagram(ends[0], ends[1], []byte{1, 2, 3, 4})
			tc.spoil(b, in)
			if _, r := ParseUDP(b, in); r != tc.want {
				t.Errorf("%v, %s: %v, want %v", ends[0], tc.name, r, tc.want)
			}
		}
	}
}

// TestUDPChecksumZero: a checksum that comes out as 0 is sent as ffff, for 0 says that there
// is none.
func TestUDPChecksumZero(t *testing.T) {
	for _, ends := range udpEnds {
		found := false
		for v := range 1 << 16 {
			b, in := datagram(ends[0], ends[1], []byte{byte(v >> 8), byte(v)})
			sum := binary.BigEndian.Uint16(b[in.L4+6:])
			if sum == 0 {
				t.Fatalf("%x has no checksum", b)
			}
			if _, r := ParseUDP(b, in); r != OK {
				t.Fatalf("%x: %v", b, r)
			}
			found = found || sum == 0xffff
		}
		if !found {
			t.Errorf("%v: no payload has the checksum ffff", ends[0])
		}
	}
}

// TestUDPPadding: octets of the IP packet behind the datagram are none of its payload.
func TestUDPPadding(t *testing.T) {
	b, in := datagram(udpEnds[0][0], udpEnds[0][1], []byte{1, 2, 3})
	in.End += 2
	if got, r := ParseUDP(append(b, 9, 9), in); r != OK || !bytes.Equal(got, []byte{1, 2, 3}) {
		t.Errorf("%v, %x", r, got)
	}
}
