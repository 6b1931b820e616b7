package dataplane

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// The UPF in the middle of TestN9: gNB -- N3 -- us -- N9 -- psa -- N6.
var psa = netip.MustParseAddrPort("10.100.9.2:2152")

const (
	n9Local = 0x2a000009 // ours, for packets from psa
	n9Peer  = 0x909      // psa's
)

func n9Rules() *Rules {
	r := testRules()
	r.Uplink, r.Downlink = r.Uplink[:1], nil
	r.Uplink[0].FAR = &FAR{ID: 1, Action: Forward, To: ToCore, OuterHeader: &OuterHeader{TEID: n9Peer, Peer: psa}}
	r.Uplink[0].QERs = nil
	r.Downlink = []PDR{{
		ID: 3, TEID: n9Local, LocalAddr: upf4, UEAddrs: prefixesOf(ue1),
		FAR: &FAR{ID: 2, Action: Forward, To: ToAccess, OuterHeader: &OuterHeader{TEID: gnbTEID, Peer: gnb}},
	}}
	return r
}

// TestN9: an intermediate UPF hands packets on from tunnel to tunnel, with the QFI that
// they came with, and End Markers behind them.
func TestN9(t *testing.T) {
	f := newFixture(t, 2, n9Rules())
	in := udp(ue1, server, 1, 2, 100)
	f.n3(gnb, gpdu(teid3GPP, 5, in))
	m := f.oneN3()
	h, _ := inner(t, m.Bytes)
	if m.Peer != psa || h.TEID != n9Peer || h.QFI != 5 || h.PDUType != gtpu.ULPDUSessionInformation {
		t.Errorf("uplink to %v: %+v", m.Peer, h)
	}
	down := make([]byte, gtpu.GPDUContainerLen)
	inDown := udp(server, ue1, 2, 1, 100)
	gtpu.PutGPDU(down, n9Local, len(inDown), 6, false)
	f.n3(psa, append(down, inDown...))
	m = f.oneN3()
	h, _ = inner(t, m.Bytes)
	if m.Peer != gnb || h.TEID != gnbTEID || h.QFI != 6 || h.PDUType != gtpu.DLPDUSessionInformation {
		t.Errorf("downlink to %v: %+v", m.Peer, h)
	}
	f.n3(psa, gtpu.AppendEndMarker(nil, n9Local))
	m = f.oneN3()
	if gtpu.Parse(m.Bytes, &h); m.Peer != gnb || h.Type != gtpu.EndMarker || h.TEID != gnbTEID {
		t.Errorf("end marker to %v: %+v", m.Peer, h)
	}
	// Another UE's packets do not pass the tunnel, either way.
	f.seen = f.plane.Counters()
	other := netip.MustParseAddr("10.60.0.99")
	inDown = udp(server, other, 2, 1, 0)
	down = make([]byte, gtpu.GPDULen)
	gtpu.PutGPDU(down, n9Local, len(inDown), 0, false)
	f.n3(psa, append(down, inDown...))
	f.n3(gnb, gpdu(teid3GPP, 5, udp(other, server, 1, 2, 0)))
	f.nothing()
	f.counted(map[string]uint64{"drop_unknown_ue": 1, "drop_spoofed_source": 1})
}

// TestUplinkClassifier: one tunnel, one flow to the data network here, all else on N9.
func TestUplinkClassifier(t *testing.T) {
	r := n9Rules()
	local := r.Uplink[0]
	local.ID, local.Precedence = 9, 1
	local.Filters = []Filter{{Remote: netip.PrefixFrom(server, 32)}}
	local.FAR = &FAR{ID: 9, Action: Forward}
	r.Uplink = append([]PDR{local}, r.Uplink...)
	f := newFixture(t, 1, r)
	f.n3(gnb, gpdu(teid3GPP, 5, udp(ue1, server, 1, 2, 0)))
	f.oneN6()
	f.n3(gnb, gpdu(teid3GPP, 5, udp(ue1, netip.MustParseAddr("8.8.8.8"), 1, 2, 0)))
	if m := f.oneN3(); m.Peer != psa {
		t.Errorf("went to %v, want %v", m.Peer, psa)
	}
}

// TestCopies: every tunnel that FAR names gets its copy, whole and with its own header,
// outer TOS included.
func TestCopies(t *testing.T) {
	r := awake(gnbTEID)
	r.Downlink[0].FAR.Duplicates = []OuterHeader{{TEID: 0x71, Peer: psa}, {TEID: 0x72, Peer: psa, TOS: 0x20}}
	r.Downlink[0].FAR.OuterHeader.TOS = 0xb8
	f := newFixture(t, 1, r)
	f.down(500)
	n3, _ := f.sent()
	seen := map[uint32]bool{}
	for _, m := range n3 {
		h, in := inner(t, m.Bytes)
		seen[h.TEID] = in.End == 500 && m.TOS == map[uint32]uint8{0x72: 0x20, gnbTEID: 0xb8}[h.TEID]
	}
	if len(n3) != 3 || !seen[0x71] || !seen[0x72] || !seen[gnbTEID] {
		t.Errorf("%d packets, TEIDs with whole packets: %v", len(n3), seen)
	}
}

// otherUE is a session of another UE.
func otherUE(n int) (*Rules, netip.Addr) {
	r := otherRules(n)
	return r, r.UEAddrs[0].Addr()
}

// TestUEToUE: packets between UEs stay in the UPF where the FAR or the config says so,
// also between workers, and pass the rules of both sessions.
func TestUEToUE(t *testing.T) {
	for n := range 3 { // of different workers
		other, dst := otherUE(n + 1)
		r := testRules()
		r.Uplink[0].FAR = &FAR{ID: 1, Action: Forward, To: ToUEs}
		f := newFixture(t, 2, r, other)
		f.n3(gnb, gpdu(teid3GPP, 9, udp(ue1, dst, 1, 2, 100)))
		_, in := inner(t, f.oneN3().Bytes)
		if in.Dst.Netip() != dst {
			t.Errorf("packet for %v went to the session of %v", dst, in.Dst.Netip())
		}
		f.seen = f.plane.Counters()
		f.n3(gnb, gpdu(teid3GPP, 9, udp(ue1, server, 1, 2, 0))) // it must not leave
		f.nothing()
	}
	other, dst := otherUE(1)
	f := newFixture(t, 2, testRules(), other)
	f.n3(gnb, gpdu(teid3GPP, 9, udp(ue1, dst, 1, 2, 100)))
	f.oneN6()
	f.plane.ueToUE = true
	f.n3(gnb, gpdu(teid3GPP, 9, udp(ue1, dst, 1, 2, 100)))
	f.oneN3()
	f.n3(gnb, gpdu(teid3GPP, 9, udp(ue1, server, 1, 2, 100)))
	f.oneN6()
}

// TestEchoOurs: a request of ours, and that its answer is told.
func TestEchoOurs(t *testing.T) {
	f := newFixture(t, 1)
	if err := f.plane.Echo(gnb.Addr()); err != nil {
		t.Fatal(err)
	}
	m := f.oneN3()
	var h gtpu.Header
	if gtpu.Parse(m.Bytes, &h); m.Peer != gnb || h.Type != gtpu.EchoRequest || !h.HasSN {
		t.Errorf("to %v: %+v", m.Peer, h)
	}
	f.n3(gnb, gtpu.AppendEchoResponse(nil, h.SN))
	f.same(f.event(), Event{Kind: EchoAnswered, From: gnb})
	f.noEvent()
	if err := newFixtureWith4(t).Echo(upf6); err == nil {
		t.Error("no error for a peer of a family that N3 has not")
	}
}

// TestGrace: while the CP function may be about to restore sessions nobody is told that
// a TEID is not there.
func TestGrace(t *testing.T) {
	f := newFixture(t, 1)
	w := f.plane.workers[0]
	f.plane.grace = w.plane.clock() + 1<<40
	f.n3(gnb, gpdu(0x77, 0, udp(ue1, server, 1, 2, 0)))
	f.nothing()
	f.plane.grace = 0
	f.n3(gnb, gpdu(0x77, 0, udp(ue1, server, 1, 2, 0)))
	f.oneN3()
}

// TestIndirectForwarding: what one gNB has left of a UE's packets during a handover goes
// to the other, with the PDCP numbers that it put on.
func TestIndirectForwarding(t *testing.T) {
	const forwarding = 0x2a0000f0
	r := awake(gnbTEID)
	r.Downlink = append(r.Downlink, PDR{ID: 30, TEID: forwarding, FAR: &FAR{
		ID: 30, Action: Forward, To: ToAccess, OuterHeader: &OuterHeader{TEID: 0x303, Peer: n3iwf},
	}})
	f := newFixture(t, 1, r)
	in := udp(server, ue1, 2, 1, 20)
	number := []byte{1, 0x12, 0x34, 0} // PDCP PDU number (TS 29.281 §5.2.2.2)
	b := []byte{0x34, byte(gtpu.GPDU), 0, byte(4 + len(number) + len(in)), 0x2a, 0, 0, 0xf0, 0, 0, 0, 0xc0}
	f.n3(gnb, append(append(b, number...), in...))
	m := f.oneN3()
	h, got := inner(t, m.Bytes)
	if m.Peer != n3iwf || h.TEID != 0x303 || got.Dst != packet.AddrFrom(ue1) || !bytes.Contains(m.Bytes[:h.Payload], number[:3]) {
		t.Errorf("to %v: %x", m.Peer, m.Bytes)
	}
	f.down(100) // nothing of it is left for the next packet
	if m := f.oneN3(); bytes.Contains(m.Bytes[:20], number[:3]) {
		t.Errorf("%x", m.Bytes)
	}
}

// TestMarkN6: packets that leave by N6 get the FAR's DSCP and keep their ECN bits.
func TestMarkN6(t *testing.T) {
	r := awake(gnbTEID)
	tos := uint8(0xb8)
	r.Uplink[0].FAR.TOS = &tos
	f := newFixture(t, 1, r)
	for _, in := range [][]byte{udp(ue1, server, 1, 2, 10), udp(ue6, upf6, 1, 2, 10), tcp(ue1, server, 1, 80, packet.ACK)} {
		packet.SetDSCP(in, 0x28)
		if in[0]>>4 == 4 {
			in[1] |= 1 // an ECN bit
			binary.BigEndian.PutUint16(in[10:], 0)
			binary.BigEndian.PutUint16(in[10:], ^packet.Fold(packet.Sum(in[:20])))
		}
		f.n3(gnb, gpdu(teid3GPP, 9, in))
		out := f.oneN6()
		var was, is packet.Info
		packet.Parse(in, &was)
		packet.Parse(out, &is)
		if is.TOS != tos|was.TOS&3 {
			t.Errorf("TOS %#x became %#x, want DSCP %#x and the same ECN", was.TOS, is.TOS, tos)
		}
		if in[0]>>4 == 4 && packet.Fold(packet.Sum(out[:20])) != 0xffff {
			t.Errorf("header checksum of %x is wrong", out)
		}
	}
}
