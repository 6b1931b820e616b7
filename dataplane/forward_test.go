package dataplane

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane/driver/memory"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

func TestUplink(t *testing.T) {
	plain := udp(ue1, server, 1000, 53, 100)
	n6 := func(access string, n int) map[string]uint64 {
		return map[string]uint64{
			"n6_sent_packets": 1, "n6_sent_bytes": uint64(n),
			"uplink_" + access + "_packets": 1, "uplink_" + access + "_bytes": uint64(n),
		}
	}
	dns := []Filter{{Protocol: packet.ProtoUDP, RemotePorts: []PortRange{{50, 60}}}}
	for _, tc := range []struct {
		name  string
		rules func(r *Rules)
		in    []byte
		out   []byte // nil = dropped
		count map[string]uint64
	}{
		{name: "3GPP", in: gpdu(teid3GPP, 9, plain), out: plain, count: n6("3gpp", 128)},
		{name: "non-3GPP", in: gpdu(teidNon3GPP, 9, plain), out: plain, count: n6("non_3gpp", 128)},
		{name: "without container", in: gpdu(teid3GPP, 0, plain), out: plain, count: n6("3gpp", 128)},
		{
			name: "bytes behind the IP packet are dropped", in: gpdu(teid3GPP, 9, append(bytes.Clone(plain), 0, 0, 0)),
			out: plain, count: n6("3gpp", 128),
		},
		{
			name: "IPv6", in: gpdu(teid3GPP, 9, udp(ue6, netip.MustParseAddr("2001:db8::1"), 1, 2, 10)),
			out: udp(ue6, netip.MustParseAddr("2001:db8::1"), 1, 2, 10), count: n6("3gpp", 58),
		},
		{
			name: "another address of the UE's prefix", in: gpdu(teid3GPP, 9, udp(netip.MustParseAddr("fd00:60::9"), upf6, 1, 2, 10)),
			out: udp(netip.MustParseAddr("fd00:60::9"), upf6, 1, 2, 10), count: n6("3gpp", 58),
		},
		{
			name: "plain TCP SYN", in: gpdu(teid3GPP, 9, tcp(ue1, server, 1000, 80, packet.SYN)),
			out: tcp(ue1, server, 1000, 80, packet.SYN), count: n6("3gpp", 40),
		},
		{
			name: "fragment", in: gpdu(teid3GPP, 9, fragment(udp(ue1, server, 1, 2, 92), 800, true)),
			out: fragment(udp(ue1, server, 1, 2, 92), 800, true), count: n6("3gpp", 120),
		},
		{
			name: "source of another UE", in: gpdu(teid3GPP, 9, udp(netip.MustParseAddr("10.60.0.9"), server, 1, 2, 0)),
			count: map[string]uint64{"drop_spoofed_source": 1},
		},
		{
			name:  "source of another UE, PDRs without address",
			rules: func(r *Rules) { r.Uplink[0].UEAddrs = nil },
			in:    gpdu(teid3GPP, 9, udp(netip.MustParseAddr("10.60.0.9"), server, 1, 2, 0)),
			count: map[string]uint64{"drop_spoofed_source": 1},
		},
		{
			name:  "QFI that the PDR wants",
			rules: func(r *Rules) { r.Uplink[0].QFIs = 1 << 9 },
			in:    gpdu(teid3GPP, 9, plain), out: plain, count: n6("3gpp", 128),
		},
		{
			name:  "another QFI",
			rules: func(r *Rules) { r.Uplink[0].QFIs = 1 << 9 },
			in:    gpdu(teid3GPP, 8, plain), count: map[string]uint64{"drop_no_pdr_uplink": 1},
		},
		{
			name:  "no QFI where the PDR wants one",
			rules: func(r *Rules) { r.Uplink[0].QFIs = 1 << 9 },
			in:    gpdu(teid3GPP, 0, plain), count: map[string]uint64{"drop_no_pdr_uplink": 1},
		},
		{
			name:  "SDF filter matches",
			rules: func(r *Rules) { r.Uplink[0].Filters = dns },
			in:    gpdu(teid3GPP, 9, plain), out: plain, count: n6("3gpp", 128),
		},
		{
			name:  "SDF filter does not match: no Error Indication",
			rules: func(r *Rules) { r.Uplink[0].Filters = dns },
			in:    gpdu(teid3GPP, 9, udp(ue1, server, 1, 99, 0)), count: map[string]uint64{"drop_no_pdr_uplink": 1},
		},
		{
			name: "first of two PDRs on one tunnel drops",
			rules: func(r *Rules) {
				strict := r.Uplink[0]
				strict.ID, strict.Filters, strict.FAR = 9, dns, &FAR{ID: 9}
				r.Uplink = append([]PDR{strict}, r.Uplink...)
			},
			in: gpdu(teid3GPP, 9, plain), count: map[string]uint64{"drop_far_uplink": 1},
		},
		{
			name: "second of two PDRs on one tunnel",
			rules: func(r *Rules) {
				strict := r.Uplink[0]
				strict.ID, strict.Filters, strict.FAR = 9, dns, &FAR{ID: 9}
				r.Uplink = append([]PDR{strict}, r.Uplink...)
			},
			in: gpdu(teid3GPP, 9, udp(ue1, server, 1, 99, 0)), out: udp(ue1, server, 1, 99, 0), count: n6("3gpp", 28),
		},
		{
			name:  "gate closed by the second QER",
			rules: func(r *Rules) { r.Uplink[0].QERs = append(r.Uplink[0].QERs, &QER{ID: 2, GateULClosed: true}) },
			in:    gpdu(teid3GPP, 9, plain), count: map[string]uint64{"drop_gate_uplink": 1},
		},
		{
			name:  "downlink gate does not matter",
			rules: func(r *Rules) { r.Uplink[0].QERs[0].GateDLClosed = true },
			in:    gpdu(teid3GPP, 9, plain), out: plain, count: n6("3gpp", 128),
		},
		{
			name:  "FAR drops",
			rules: func(r *Rules) { r.Uplink[0].FAR.Action = Drop },
			in:    gpdu(teid3GPP, 9, plain), count: map[string]uint64{"drop_far_uplink": 1},
		},
		{
			name:  "no FAR",
			rules: func(r *Rules) { r.Uplink[0].FAR = nil },
			in:    gpdu(teid3GPP, 9, plain), count: map[string]uint64{"drop_far_uplink": 1},
		},
		{name: "cut GTP-U", in: gpdu(teid3GPP, 9, plain)[:20], count: map[string]uint64{"drop_n3_gtpu_bad_length": 1}},
		{name: "GTP version 2", in: []byte{0x50, 1, 0, 0, 0, 0, 0, 0}, count: map[string]uint64{"drop_n3_gtpu_bad_version": 1}},
		{name: "no IP packet", in: gpdu(teid3GPP, 9, nil), count: map[string]uint64{"drop_n3_ip_too_short": 1}},
		{name: "lying IP length", in: gpdu(teid3GPP, 9, plain[:100]), count: map[string]uint64{"drop_n3_ip_bad_length": 1}},
		{name: "Ethernet", in: gpdu(teid3GPP, 9, make([]byte, 60)), count: map[string]uint64{"drop_n3_ip_bad_version": 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := testRules()
			if tc.rules != nil {
				tc.rules(r)
			}
			f := newFixture(t, 2, r)
			f.n3(gnb, tc.in)
			if tc.out == nil {
				f.nothing()
			} else if got := f.oneN6(); !bytes.Equal(got, tc.out) {
				t.Errorf("got  %x\nwant %x", got, tc.out)
			}
			f.counted(tc.count)
		})
	}
}

func TestDownlink(t *testing.T) {
	plain := udp(server, ue1, 53, 1000, 100)
	const overhead = gtpu.GPDUContainerLen
	n3 := func(access string, n, overhead int) map[string]uint64 {
		return map[string]uint64{
			"n3_sent_packets": 1, "n3_sent_bytes": uint64(n + overhead),
			"downlink_" + access + "_packets": 1, "downlink_" + access + "_bytes": uint64(n),
		}
	}
	header := func(teid uint32, n int, qfi uint8, rqi bool) []byte {
		b := make([]byte, gtpu.GPDUHeaderLen(qfi))
		gtpu.PutGPDU(b, teid, n, qfi, rqi)
		return b
	}
	out := func(peer netip.AddrPort, teid uint32, qfi uint8, inner []byte) *memory.Message {
		return &memory.Message{Bytes: append(header(teid, len(inner), qfi, false), inner...), Peer: peer, Local: upf4}
	}
	mar := func(r *Rules) *MAR { return r.Downlink[0].MAR }
	for _, tc := range []struct {
		name  string
		rules func(r *Rules)
		in    []byte
		out   *memory.Message // nil = dropped
		count map[string]uint64
	}{
		{name: "active access", in: plain, out: out(gnb, gnbTEID, 9, plain), count: n3("3gpp", 128, overhead)},
		{
			name:  "active is non-3GPP",
			rules: func(r *Rules) { mar(r).Policy.Priority = [2]steer.Priority{steer.Standby, steer.Active} },
			in:    plain, out: out(n3iwf, n3iwfTEID, 9, plain), count: n3("non_3gpp", 128, overhead),
		},
		{
			name:  "active not usable",
			rules: func(r *Rules) { mar(r).Policy.Usable = steer.SetOf(steer.AccessNon3GPP) },
			in:    plain, out: out(n3iwf, n3iwfTEID, 9, plain), count: n3("non_3gpp", 128, overhead),
		},
		{
			name:  "none usable",
			rules: func(r *Rules) { mar(r).Policy.Usable = 0 },
			in:    plain, count: map[string]uint64{"drop_no_access": 1},
		},
		{
			name: "the access's FAR is not there",
			// A policy that says usable where no FAR is contradicts itself;
			// the packet is dropped all the same.
			rules: func(r *Rules) { mar(r).FAR[steer.Access3GPP] = nil },
			in:    plain, count: map[string]uint64{"drop_far_downlink": 1},
		},
		{
			name:  "the access's FAR drops",
			rules: func(r *Rules) { mar(r).FAR[steer.Access3GPP].Action = Drop },
			in:    plain, count: map[string]uint64{"drop_far_downlink": 1},
		},
		{
			name: "FAR without MAR, no QER", in: udp(netip.MustParseAddr("2001:db8::1"), ue6, 53, 1000, 10),
			out: out(gnb, gnbTEID, 0, udp(netip.MustParseAddr("2001:db8::1"), ue6, 53, 1000, 10)), count: n3("3gpp", 58, gtpu.GPDULen),
		},
		{
			name:  "forward to access without outer header is a drop",
			rules: func(r *Rules) { r.Downlink[0].MAR, r.Downlink[0].FAR = nil, &FAR{ID: 7, Action: Forward, To: ToAccess} },
			in:    plain, count: map[string]uint64{"drop_far_downlink": 1},
		},
		{
			name:  "reflective QoS",
			rules: func(r *Rules) { r.Downlink[0].QERs[0].ReflectiveQoS = true },
			in:    plain,
			out:   &memory.Message{Bytes: append(header(gnbTEID, 128, 9, true), plain...), Peer: gnb, Local: upf4},
			count: n3("3gpp", 128, overhead),
		},
		{
			name:  "QFI of the second QER",
			rules: func(r *Rules) { r.Downlink[0].QERs = []*QER{{ID: 8}, {ID: 9, QFI: 5}} },
			in:    plain, out: out(gnb, gnbTEID, 5, plain), count: n3("3gpp", 128, overhead),
		},
		{
			name:  "gate",
			rules: func(r *Rules) { r.Downlink[0].QERs[0].GateDLClosed = true },
			in:    plain, count: map[string]uint64{"drop_gate_downlink": 1},
		},
		{
			name: "SDF filter of a better PDR",
			rules: func(r *Rules) {
				d := r.Downlink[0]
				d.ID, d.MAR, d.FAR = 9, nil, &FAR{ID: 9}
				d.Filters = []Filter{{Remote: netip.MustParsePrefix("10.100.6.0/24"), Protocol: packet.ProtoUDP, LocalPorts: []PortRange{{1000, 1000}}}}
				r.Downlink = append([]PDR{d}, r.Downlink...)
			},
			in: plain, count: map[string]uint64{"drop_far_downlink": 1},
		},
		{
			name:  "no PDR",
			rules: func(r *Rules) { r.Downlink = r.Downlink[1:] },
			in:    plain, count: map[string]uint64{"drop_no_pdr_downlink": 1},
		},
		{
			name: "plain TCP", in: tcp(server, ue1, 80, 1000, packet.ACK),
			out: out(gnb, gnbTEID, 9, tcp(server, ue1, 80, 1000, packet.ACK)), count: n3("3gpp", 40, overhead),
		},
		{name: "unknown UE", in: udp(server, netip.MustParseAddr("10.60.0.9"), 1, 2, 0), count: map[string]uint64{"drop_unknown_ue": 1}},
		{name: "lying IP length", in: plain[:99], count: map[string]uint64{"drop_n6_ip_bad_length": 1}},
		{name: "nothing", in: nil, count: map[string]uint64{"drop_n6_ip_too_short": 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := testRules()
			if tc.rules != nil {
				tc.rules(r)
			}
			f := newFixture(t, 2, r)
			f.n6(tc.in)
			if tc.out == nil {
				f.nothing()
			} else if got := f.oneN3(); !bytes.Equal(got.Bytes, tc.out.Bytes) || got.Peer != tc.out.Peer || got.Local != tc.out.Local {
				t.Errorf("got  %x to %v from %v\nwant %x to %v from %v",
					got.Bytes, got.Peer, got.Local, tc.out.Bytes, tc.out.Peer, tc.out.Local)
			}
			f.counted(tc.count)
		})
	}
}

// TestDownlinkLoadBalancing: flows are spread by weight, packets of one are not.
func TestDownlinkLoadBalancing(t *testing.T) {
	r := testRules()
	r.Downlink[0].MAR.Policy.Mode = steer.LoadBalancing
	r.Downlink[0].MAR.Policy.Weight = [2]uint8{25, 75}
	f := newFixture(t, 1, r)
	const flows = 2000
	var sent [2]int
	for i := range flows {
		b := udp(server, ue1, 53, uint16(i), 0)
		var first netip.AddrPort
		for j := range 3 {
			f.n6(b)
			got := f.oneN3().Peer
			if j == 0 {
				first = got
			} else if got != first {
				t.Fatalf("flow %d went to %v and to %v", i, first, got)
			}
		}
		if first == gnb {
			sent[0]++
		} else {
			sent[1]++
		}
	}
	if share := float64(sent[0]) / flows; share < 0.22 || share > 0.28 {
		t.Errorf("3GPP has %.3f of the flows, want 0.25", share)
	}
}

// TestFragmentsStayTogether: all fragments of a datagram take one access.
func TestFragmentsStayTogether(t *testing.T) {
	r := testRules()
	r.Downlink[0].MAR.Policy.Mode = steer.LoadBalancing
	r.Downlink[0].MAR.Policy.Weight = [2]uint8{50, 50}
	f := newFixture(t, 1, r)
	for i := range 64 {
		from := netip.AddrFrom4([4]byte{10, 100, 6, byte(i)})
		f.n6(fragment(udp(from, ue1, 53, uint16(i), 64), 0, true))
		first := f.oneN3().Peer
		f.n6(fragment(transport(from, ue1, packet.ProtoUDP, 64), 72, false))
		if got := f.oneN3().Peer; got != first {
			t.Fatalf("server %v: fragments went to %v and %v", from, first, got)
		}
	}
}

// TestLocalAddr: a packet leaves from the address at which the session's uplink
// tunnel of that access ends; else from the first of the peer's family.
func TestLocalAddr(t *testing.T) {
	r := testRules()
	peer6 := netip.MustParseAddrPort("[fd00:2::2]:2152")
	r.Downlink[0].MAR.FAR[0].OuterHeader.Peer = peer6
	f := newFixture(t, 1, r)
	f.n6(udp(server, ue1, 1, 2, 0))
	if got := f.oneN3(); got.Peer != peer6 || got.Local != upf6 {
		t.Errorf("to %v from %v, want from %v", got.Peer, got.Local, upf6)
	}
	if got, want := f.plane.workers[0].bySEID[testSEID].proxy.MTU, uint16(1500-40-8-16); got != want {
		t.Errorf("session's MTU with an IPv6 peer = %d, want %d", got, want)
	}

	second := netip.MustParseAddr("10.100.1.99")
	set := memory.New(1, upf4, second)
	plane, err := New(Config{Set: set, Buffers: 8})
	if err != nil {
		t.Fatal(err)
	}
	r = testRules()
	r.Uplink[1].LocalAddr = second
	for i, want := range []netip.Addr{upf4, second} {
		r.Downlink[0].MAR.Policy.Usable = steer.SetOf(steer.Access(i))
		f := &fixture{TB: t, set: set, plane: plane}
		f.install(r)
		f.n6(udp(server, ue1, 1, 2, 0))
		if got := f.oneN3(); got.Local != want {
			t.Errorf("access %d: from %v, want %v", i, got.Local, want)
		}
	}
}

// mpCapable is the option of a SYN: version 1, HMAC-SHA256 (RFC 8684 §3.1).
var mpCapable = []byte{packet.OptMPTCP, 4, 0x01, 0x01}

// TestProxied: a SYN with MP_CAPABLE goes by way of the proxy, which takes the
// option off; the server's answer goes to the access that the SYN came over, with
// an option, under the FAR of that access.
func TestProxied(t *testing.T) {
	for access, teid := range map[steer.Access]uint32{steer.Access3GPP: teid3GPP, steer.AccessNon3GPP: teidNon3GPP} {
		r := testRules()
		f := newFixture(t, 2, r)
		f.n3(gnb, gpdu(teid, 9, tcp(ue1, server, 1000, 80, packet.SYN, mpCapable...)))
		syn := f.oneN6()
		var in packet.Info
		if packet.Parse(syn, &in) != packet.OK || in.Src.Netip() != ue1 || in.DstPort != 80 {
			t.Fatalf("to N6: %x", syn)
		}
		if seg, reason := packet.ParseTCP(syn, &in); reason != packet.OK || bytes.Contains(seg.Options(), mpCapable[:2]) {
			t.Errorf("SYN for the server: options %x, %v", seg.Options(), reason)
		}
		f.n6(answer(tcp(server, ue1, 80, 1000, packet.SYN|packet.ACK)))
		m := f.oneN3()
		want := [2]netip.AddrPort{gnb, n3iwf}[access]
		if m.Peer != want {
			t.Errorf("SYN/ACK went to %v, want %v", m.Peer, want)
		}
		var h gtpu.Header
		if gtpu.Parse(m.Bytes, &h) != gtpu.OK || h.QFI != 9 {
			t.Fatalf("SYN/ACK in %x", m.Bytes)
		}
		inner := m.Bytes[h.Payload:h.End]
		if packet.Parse(inner, &in) != packet.OK || in.End != len(inner) {
			t.Fatalf("SYN/ACK %x", inner)
		}
		if seg, reason := packet.ParseTCP(inner, &in); reason != packet.OK || !bytes.Contains(seg.Options(), []byte{packet.OptMPTCP, 12, 0x01}) {
			t.Errorf("SYN/ACK for the UE: options %x, %v: no MP_CAPABLE", seg.Options(), reason)
		}
		got, err := f.plane.Connections(r.SEID)
		if err != nil || len(got) != 1 || got[0].State != proxy.ConnOpening || got[0].Server.Netip() != server || got[0].ServerPort != 80 ||
			len(got[0].Subflows) != 1 || got[0].Subflows[0].Access != access || got[0].Subflows[0].UEPort != 1000 {
			t.Errorf("connections of the session: %+v, %v", got, err)
		}
		if got, err := f.plane.Connections(r.SEID + 1); got != nil || err != nil {
			t.Errorf("connections of no session: %+v, %v", got, err)
		}
	}
}

// answer sets the acknowledgment number of a TCP packet of tcp to that of the SYN
// of tcp, and mends the checksum.
func answer(b []byte) []byte {
	var in packet.Info
	packet.Parse(b, &in)
	seg := b[in.L4:in.End]
	seg[8], seg[9], seg[10], seg[11] = 0, 0, 1001>>8, 1001&0xff
	seg[16], seg[17] = 0, 0
	c := ^packet.Fold(packet.Sum(seg) + packet.PseudoSum(&in.Src, &in.Dst, in.Proto, len(seg)))
	seg[16], seg[17] = byte(c>>8), byte(c)
	return b
}

// TestProxiedNeedsPolicy: without a MAR with functionality MPTCP a SYN passes as it
// is.
func TestProxiedNeedsPolicy(t *testing.T) {
	for name, change := range map[string]func(r *Rules){
		"ATSSS-LL": func(r *Rules) { r.Downlink[0].MAR.Policy.Functionality = steer.ATSSSLL },
		"no MAR":   func(r *Rules) { r.Downlink[0].MAR, r.Downlink[0].FAR = nil, r.Downlink[2].FAR },
		"no PDR back": func(r *Rules) {
			r.Downlink = r.Downlink[1:]
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := testRules()
			change(r)
			f := newFixture(t, 1, r)
			syn := tcp(ue1, server, 1000, 80, packet.SYN, mpCapable...)
			f.n3(gnb, gpdu(teid3GPP, 9, syn))
			if got := f.oneN6(); !bytes.Equal(got, syn) {
				t.Errorf("got %x, want %x", got, syn)
			}
		})
	}
}

// TestProxiedSessionGone: the server's packets of a connection whose session was
// removed find no UE.
func TestProxiedSessionGone(t *testing.T) {
	f := newFixture(t, 1, testRules())
	f.n3(gnb, gpdu(teid3GPP, 9, tcp(ue1, server, 1000, 80, packet.SYN, mpCapable...)))
	f.oneN6()
	if _, err := f.plane.Remove(testSEID); err != nil {
		t.Fatal(err)
	}
	f.seen = f.plane.Counters()
	f.n6(answer(tcp(server, ue1, 80, 1000, packet.SYN|packet.ACK)))
	f.nothing()
	f.counted(map[string]uint64{"drop_unknown_ue": 1})
	f.install(testRules())
	f.seen = f.plane.Counters()
	f.n6(answer(tcp(server, ue1, 80, 1000, packet.SYN|packet.ACK)))
	if got := f.oneN3(); len(got.Bytes) != gtpu.GPDUContainerLen+40 {
		t.Errorf("a forgotten connection's packet was translated: %x", got.Bytes)
	}
}
