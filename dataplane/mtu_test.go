package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// narrow makes the path to the gNB carry IP packets of so many octets.
func (f *fixture) narrow(mtu uint32) { f.plane.paths.of(gnb.Addr()).mtu.Store(mtu) }

// mss is the MSS that the SYN in IP packet b names.
func mss(t *testing.T, b []byte) uint16 {
	t.Helper()
	var in packet.Info
	if r := packet.Parse(b, &in); r != packet.OK {
		t.Fatal(r)
	}
	l4 := b[in.L4:in.End]
	s, d := in.Src, in.Dst
	if packet.Fold(packet.Sum(l4)+packet.PseudoSum(&s, &d, packet.ProtoTCP, len(l4))) != 0xffff {
		t.Errorf("the checksum of %x is wrong", b)
	}
	return binary.BigEndian.Uint16(l4[22:])
}

// TestMSS: the ends of a connection hear in the SYNs what fits the tunnels, and a
// smaller value of their own stays.
func TestMSS(t *testing.T) {
	option := func(v uint16) []byte { return []byte{2, 4, byte(v >> 8), byte(v)} }
	for _, tc := range []struct {
		mtu     uint32
		in, out uint16
	}{
		{1456, 1460, 1416}, {1300, 1460, 1260}, {1300, 1260, 1260}, {1300, 536, 536}, {9000, 1460, 1416},
	} {
		f := newFixture(t, 1, awake(gnbTEID))
		f.narrow(tc.mtu)
		f.n3(gnb, gpdu(teid3GPP, 9, tcp(ue1, server, 1000, 80, packet.SYN, option(tc.in)...)))
		if got := mss(t, f.oneN6()); got != tc.out {
			t.Errorf("MTU %d: the UE's %d became %d, want %d", tc.mtu, tc.in, got, tc.out)
		}
		f.n6(tcp(server, ue1, 80, 1000, packet.SYN|packet.ACK, option(tc.in)...))
		m := f.oneN3()
		var h gtpu.Header
		gtpu.Parse(m.Bytes, &h)
		if got := mss(t, m.Bytes[h.Payload:h.End]); got != tc.out {
			t.Errorf("MTU %d: the server's %d became %d, want %d", tc.mtu, tc.in, got, tc.out)
		}
	}
	f := newFixture(t, 1, awake(gnbTEID))
	v6 := tcp(ue6, upf6, 1000, 80, packet.SYN, option(1460)...)
	f.n3(gnb, gpdu(teid3GPP, 9, v6))
	if got := mss(t, f.oneN6()); got != 1396 {
		t.Errorf("IPv6: 1460 became %d, want 1396", got)
	}
}

// TestTooLong: packets that do not fit the path are fragmented if they may be; else
// their sender hears of it.
func TestTooLong(t *testing.T) {
	const mtu = 1300
	f := newFixture(t, 1, awake(gnbTEID))
	f.narrow(mtu)

	big := udp(server, ue1, 2, 1, 1372)
	binary.BigEndian.PutUint16(big[6:], 0) // DF off
	binary.BigEndian.PutUint16(big[10:], 0)
	binary.BigEndian.PutUint16(big[10:], ^packet.Fold(packet.Sum(big[:20])))
	f.n6(big)
	n3, n6 := f.sent()
	if len(n3) != 2 || len(n6) != 0 {
		t.Fatalf("%d packets to N3, %d to N6; want two fragments", len(n3), len(n6))
	}
	total := 0
	for _, m := range n3 {
		h, in := inner(t, m.Bytes)
		if !in.Fragment || in.End > mtu || h.TEID != gnbTEID {
			t.Errorf("fragment of %d octets, TEID %#x", in.End, h.TEID)
		}
		total += in.End - in.L4
	}
	if total != 1380 {
		t.Errorf("%d octets behind the IP headers, want 1380", total)
	}

	f.n6(udp(server, ue1, 2, 1, 1372)) // DF
	answer := f.oneN6()
	var in packet.Info
	packet.Parse(answer, &in)
	if in.Dst != packet.AddrFrom(server) || in.Src != packet.AddrFrom(ue1) || answer[20] != 3 || answer[21] != 4 ||
		binary.BigEndian.Uint16(answer[26:]) != mtu {
		t.Errorf("answer %x, want fragmentation needed, MTU %d", answer, mtu)
	}

	r := n9Rules() // the UE's packets through N9
	f = newFixture(t, 1, r)
	f.plane.paths.of(psa.Addr()).mtu.Store(mtu)
	r.Downlink = append(r.Downlink, PDR{ID: 8, UEAddrs: prefixesOf(ue1), FAR: r.Downlink[0].FAR})
	f.install(r)
	f.n3(gnb, gpdu(teid3GPP, 9, udp(ue1, server, 2, 1, 1372)))
	m := f.oneN3()
	_, in = inner(t, m.Bytes)
	if m.Peer != gnb || in.Dst != packet.AddrFrom(ue1) || in.Proto != packet.ProtoICMP {
		t.Errorf("to %v: %+v; want an ICMP error to the UE", m.Peer, in)
	}
}

// TestTooBigIsLimited: a flood of packets that do not fit does not become one of errors.
func TestTooBigIsLimited(t *testing.T) {
	f := newFixture(t, 1, awake(gnbTEID))
	f.narrow(1280)
	for range 10 * notifyBurst {
		f.n6(udp(server, ue1, 2, 1, 1372))
	}
	n3, n6 := f.sent()
	if len(n3) != 0 || len(n6) < notifyBurst || len(n6) > 2*notifyBurst {
		t.Errorf("%d packets to N3, %d errors", len(n3), len(n6))
	}
}

// TestPathMTUFollows: what the kernel learns of a path counts from then on, for sessions
// that are there and for later ones, and never makes more of it than N3 has.
func TestPathMTUFollows(t *testing.T) {
	f := newFixture(t, 1, awake(gnbTEID))
	for _, tc := range []struct{ kernel, want int }{{1400, 1356}, {9000, 1456}, {10, packet.MinMTU4}, {1500, 1456}} {
		f.set.SetPathMTU(gnb.Addr(), tc.kernel)
		f.plane.lookAtPaths()
		if got := f.plane.workers[0].sessions[0].rules.pathMTU(); got != tc.want {
			t.Errorf("path of %d: %d octets for the UE's packets, want %d", tc.kernel, got, tc.want)
		}
	}
}

// TestFragmentsOfDatagram: a datagram that comes in pieces goes by one PDR, whatever filter of
// ports that has, if its first piece comes first; another datagram's pieces do not.
func TestFragmentsOfDatagram(t *testing.T) {
	const id = 77
	pieces := func(src, dst netip.Addr, port uint16) (first, later []byte) {
		first, later = udp(src, dst, port, port, 72), udp(src, dst, 0, 0, 72)
		for _, b := range [][]byte{first, later} {
			binary.BigEndian.PutUint16(b[4:], id)
		}
		return fragment(first, 0, true), fragment(later, 80, false)
	}
	r := awake(gnbTEID)
	dns := []Filter{{Protocol: packet.ProtoUDP, RemotePorts: []PortRange{{53, 53}}}}
	r.Uplink[0].Filters, r.Downlink[0].Filters = dns, dns
	f := newFixture(t, 1, r)

	first, later := pieces(ue1, server, 53)
	f.n3(gnb, gpdu(teid3GPP, 9, later))
	f.nothing()
	f.n3(gnb, gpdu(teid3GPP, 9, first))
	f.oneN6()
	f.n3(gnb, gpdu(teid3GPP, 9, later))
	f.oneN6()

	first, later = pieces(server, ue1, 53)
	f.n6(first)
	f.oneN3()
	f.n6(later)
	f.oneN3()

	first, later = pieces(ue1, server, 54)
	f.n3(gnb, gpdu(teid3GPP, 9, first))
	f.n3(gnb, gpdu(teid3GPP, 9, later))
	f.nothing()
}
