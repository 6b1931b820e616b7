package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

var (
	ueLinkLocal = netip.MustParseAddr("fe80::1234")
	allRouters  = netip.MustParseAddr("ff02::2")
	smf         = netip.MustParseAddrPort("10.100.4.1:2152")
)

// solicitation is a Router Solicitation of src.
func solicitation(src netip.Addr) []byte {
	b := transport(src, allRouters, packet.ProtoICMPv6, 8)
	b[7] = 255
	m := b[40:]
	m[0] = 133
	s, d := packet.AddrFrom(src), packet.AddrFrom(allRouters)
	binary.BigEndian.PutUint16(m[2:], ^packet.Fold(packet.PseudoSum(&s, &d, packet.ProtoICMPv6, len(m))+packet.Sum(m)))
	return b
}

// TestRouterSolicitation is answered with the session's prefix, through the UE's tunnel.
func TestRouterSolicitation(t *testing.T) {
	r := awake(gnbTEID)
	r.Advertise = true
	f := newFixture(t, 2, r)
	for _, src := range []netip.Addr{ueLinkLocal, netip.IPv6Unspecified()} {
		f.n3(gnb, gpdu(teid3GPP, 9, solicitation(src)))
		m := f.oneN3()
		var h gtpu.Header
		gtpu.Parse(m.Bytes, &h)
		if m.Peer != gnb || h.TEID != gnbTEID {
			t.Errorf("to %v, TEID %#x", m.Peer, h.TEID)
		}
		p := gopacket.NewPacket(m.Bytes[h.Payload:h.End], layers.LayerTypeIPv6, gopacket.Default)
		ip, _ := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
		adv, _ := p.Layer(layers.LayerTypeICMPv6RouterAdvertisement).(*layers.ICMPv6RouterAdvertisement)
		if ip == nil || adv == nil {
			t.Fatalf("%v is no router advertisement", p)
		}
		dst := map[bool]string{true: "ff02::1", false: ueLinkLocal.String()}[src.IsUnspecified()]
		if ip.DstIP.String() != dst || ip.HopLimit != 255 || adv.RouterLifetime == 0 {
			t.Errorf("to %v, hop limit %d, lifetime %d", ip.DstIP, ip.HopLimit, adv.RouterLifetime)
		}
		var prefix []byte
		for _, o := range adv.Options {
			if o.Type == layers.ICMPv6OptPrefixInfo {
				prefix = o.Data
			}
		}
		want := append([]byte{64, 0x40}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)
		want = append(want, netip.MustParseAddr("fd00:60::").AsSlice()...)
		if d := cmp.Diff(want, prefix); d != "" {
			t.Errorf("prefix option (-want +got):\n%s", d)
		}
	}
}

// TestLinkLocal: what else a UE sends from its link-local address does not leave.
func TestLinkLocal(t *testing.T) {
	bad := solicitation(ueLinkLocal)
	bad[7] = 64
	for name, in := range map[string][]byte{
		"to a server":                     udp(ueLinkLocal, upf6, 1, 2, 0),
		"solicitation through a router":   bad,
		"multicast":                       udp(ueLinkLocal, netip.MustParseAddr("ff02::fb"), 1, 2, 0),
		"from a multicast address":        udp(allRouters, upf6, 1, 2, 0),
		"an advertisement of its own":     rogueAdvertisement(),
		"from the unspecified, to a host": udp(netip.IPv6Unspecified(), upf6, 1, 2, 0),
	} {
		t.Run(name, func(t *testing.T) {
			r := awake(gnbTEID)
			r.Advertise = true
			f := newFixture(t, 1, r)
			f.n3(gnb, gpdu(teid3GPP, 9, in))
			f.nothing()
			f.counted(map[string]uint64{"drop_link_local": 1})
		})
	}
	t.Run("session without IPv6", func(t *testing.T) {
		r := awake(gnbTEID)
		r.UEAddrs = r.UEAddrs[:2]
		r.Advertise = true
		f := newFixture(t, 1, r)
		f.n3(gnb, gpdu(teid3GPP, 9, solicitation(ueLinkLocal)))
		f.nothing()
		f.counted(map[string]uint64{"drop_spoofed_source": 1})
	})
	t.Run("not to be answered here", func(t *testing.T) {
		f := newFixture(t, 1, awake(gnbTEID))
		f.n3(gnb, gpdu(teid3GPP, 9, solicitation(ueLinkLocal)))
		f.nothing()
		f.counted(map[string]uint64{"drop_link_local": 1})
	})
}

func rogueAdvertisement() []byte {
	b := make([]byte, packet.MaxRouterAdvertisement)
	return b[:packet.PutRouterAdvertisement(b, &packet.RouterAdvertisement{Src: packet.AddrFrom(ueLinkLocal), Dst: packet.AllNodes})]
}

// TestCPFunction: solicitations go to the SMF where its rules say so, and what it
// answers goes to the UE, out of a tunnel of its own or of the one that the UE's packets
// come out of (Open5GS).
func TestCPFunction(t *testing.T) {
	for name, fromCP := range map[string]uint32{"tunnel of its own": 0x2a0000cc, "the UE's tunnel": teid3GPP} {
		t.Run(name, func(t *testing.T) { testCPFunction(t, fromCP) })
	}
}

func testCPFunction(t *testing.T, fromCP uint32) {
	const toCP = 0xcc
	r := awake(gnbTEID)
	r.Advertise = true
	r.Uplink = append([]PDR{{
		ID: 20, TEID: teid3GPP, LocalAddr: upf4, UEAddrs: r.UEAddrs,
		Filters: []Filter{{Protocol: packet.ProtoICMPv6, Remote: netip.PrefixFrom(allRouters, 128)}},
		FAR:     &FAR{ID: 20, Action: Forward, To: ToCP, OuterHeader: &OuterHeader{TEID: toCP, Peer: smf}},
	}}, r.Uplink...)
	r.Downlink = append(r.Downlink, PDR{ID: 21, TEID: fromCP, UEAddrs: r.UEAddrs, FAR: r.Downlink[0].FAR})
	f := newFixture(t, 1, r)
	f.n3(gnb, gpdu(teid3GPP, 9, solicitation(ueLinkLocal)))
	m := f.oneN3()
	h, in := inner(t, m.Bytes)
	if m.Peer != smf || h.TEID != toCP || in.Src != packet.AddrFrom(ueLinkLocal) {
		t.Errorf("to %v, TEID %#x, from %v", m.Peer, h.TEID, in.Src.Netip())
	}
	adv := rogueAdvertisement()
	g := make([]byte, gtpu.GPDULen)
	gtpu.PutGPDU(g, fromCP, len(adv), 0, false)
	f.n3(smf, append(g, adv...))
	m = f.oneN3()
	h, in = inner(t, m.Bytes)
	if m.Peer != gnb || h.TEID != gnbTEID || in.Dst != packet.AllNodes {
		t.Errorf("to %v, TEID %#x, for %v", m.Peer, h.TEID, in.Dst.Netip())
	}
	f.n3(gnb, gpdu(teid3GPP, 9, udp(ue1, server, 1, 2, 0))) // the UE's other packets
	f.oneN6()
}
