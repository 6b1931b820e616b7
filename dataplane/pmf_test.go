package dataplane

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/braid-upf/braid/atsss/pmf"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

var (
	pmf4 = netip.MustParseAddr("10.100.9.1")
	pmf6 = netip.MustParseAddr("fd00:9::1")
)

// pmfPorts are the PMF's for each access, and uePort the one that the UE chose.
var pmfPorts = [steer.NumAccesses]uint16{40003, 40004}

const uePort = 5000

// pmfRules are testRules with a PMF, and a MAR for IPv6.
func pmfTestRules() *Rules {
	r := testRules()
	r.ATSSS = &ATSSS{PMF: &PMF{Addrs: []netip.Addr{pmf4, pmf6}, Port: pmfPorts}}
	r.Downlink[2].MAR, r.Downlink[2].FAR = r.Downlink[0].MAR, nil
	return r
}

// datagram is a UDP packet with its checksum.
func datagram(src, dst netip.AddrPort, payload []byte) []byte {
	b := transport(src.Addr(), dst.Addr(), packet.ProtoUDP, packet.UDPHeaderLen+len(payload))
	d := b[len(b)-packet.UDPHeaderLen-len(payload):]
	copy(d[packet.UDPHeaderLen:], payload)
	s, t := packet.AddrFrom(src.Addr()), packet.AddrFrom(dst.Addr())
	packet.PutUDPHeader(d, &s, &t, src.Port(), dst.Port())
	return b
}

// accessTEID is the uplink tunnel of an access, accessPeer and accessDown where the downlink
// one leads.
var (
	accessTEID = [steer.NumAccesses]uint32{teid3GPP, teidNon3GPP}
	accessPeer = [steer.NumAccesses]netip.AddrPort{gnb, n3iwf}
	accessDown = [steer.NumAccesses]uint32{gnbTEID, n3iwfTEID}
)

// toPMF is the G-PDU with a message of the UE.
func toPMF(a steer.Access, qfi uint8, m pmf.Message) []byte {
	return toFlowOfPMF(a, qfi, 0, m)
}

// toFlowOfPMF is toPMF to the ports of a QoS flow; 0 = the default one.
func toFlowOfPMF(a steer.Access, qfi, flow uint8, m pmf.Message) []byte {
	at := PMF{Port: pmfPorts}
	return gpdu(accessTEID[a], qfi, datagram(
		netip.AddrPortFrom(ue1, uePort), netip.AddrPortFrom(pmf4, at.FlowPort(a, flow)), m.Append(nil)))
}

// TestPMFEcho: an echo request is answered over the access and the QoS flow that it came
// on, from the address and to the port that it came to and from; and that is all.
func TestPMFEcho(t *testing.T) {
	threshold := uint64(1)
	urr := &URR{ID: 1, Threshold: Limit{Total: &threshold}}
	for _, tc := range []struct {
		name    string
		access  steer.Access
		qfi     uint8
		answer  uint8 // QFI of the answer
		ue, pmf netip.Addr
	}{
		{"3GPP", steer.Access3GPP, 9, 9, ue1, pmf4},
		{"non-3GPP", steer.AccessNon3GPP, 9, 9, ue1, pmf4},
		{"another QoS flow", steer.Access3GPP, 5, 5, ue1, pmf4},
		{"without QFI: that of the PDR", steer.Access3GPP, 0, 9, ue1, pmf4},
		{"another address of the UE", steer.Access3GPP, 9, 9, ue2, pmf4},
		{"IPv6", steer.AccessNon3GPP, 9, 9, ue6, pmf6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := pmfTestRules()
			r.Downlink[2].QERs = r.Downlink[0].QERs
			// PMFP is no user data: neither filters nor gates, rates or meters concern it.
			for _, list := range [][]PDR{r.Uplink, r.Downlink} {
				for i := range list {
					list[i].Filters = []Filter{{Protocol: packet.ProtoTCP}}
					list[i].QERs[0].GateDLClosed, list[i].QERs[0].GateULClosed = true, true
					list[i].QERs[0].MBR = &BitRate{}
					list[i].URRs = []*URR{urr}
				}
			}
			f := newFixture(t, 2, r)
			ask := pmf.Message{Type: pmf.EchoRequest, EPTI: 77, RI: 3}
			f.n3(gnb, gpdu(accessTEID[tc.access], tc.qfi, datagram(
				netip.AddrPortFrom(tc.ue, uePort), netip.AddrPortFrom(tc.pmf, pmfPorts[tc.access]), ask.Append(nil))))
			answer := pmf.Message{Type: pmf.EchoResponse, EPTI: 77, RI: 3}
			inner := datagram(netip.AddrPortFrom(tc.pmf, pmfPorts[tc.access]), netip.AddrPortFrom(tc.ue, uePort), answer.Append(nil))
			want := make([]byte, gtpu.GPDUHeaderLen(tc.answer))
			gtpu.PutGPDU(want, accessDown[tc.access], len(inner), tc.answer, false)
			want = append(want, inner...)
			got := f.oneN3()
			if !bytes.Equal(got.Bytes, want) || got.Peer != accessPeer[tc.access] || got.Local != upf4 {
				t.Errorf("got  %x to %v from %v\nwant %x", got.Bytes, got.Peer, got.Local, want)
			}
			f.counted(map[string]uint64{
				"pmf_received": 1, "pmf_sent": 1, "n3_sent_packets": 1, "n3_sent_bytes": uint64(len(want)),
			})
			u, err := f.plane.Usage([]UsageQuery{{SEID: r.SEID}})
			if err != nil || len(u) != 1 || len(u[0].Usages) != 1 || u[0].Usages[0].Uplink.Packets+u[0].Usages[0].Downlink.Packets != 0 || !u[0].LastPacket.IsZero() {
				t.Errorf("meters: %+v, %v", u, err)
			}
			st, ok, err := f.plane.PMF(r.SEID)
			if !ok || err != nil || st.Reached[tc.access] != netip.AddrPortFrom(tc.ue, uePort) || st.Available != 3 {
				t.Errorf("status %+v, %v, %v", st, ok, err)
			}
		})
	}
}

// TestPMFIgnored: what is no message of the session's UE over the access of its port is
// counted and gone; what is not for the PMF goes on.
func TestPMFIgnored(t *testing.T) {
	echo := pmf.Message{Type: pmf.EchoRequest, EPTI: 77}
	ue, fn := netip.AddrPortFrom(ue1, uePort), netip.AddrPortFrom(pmf4, pmfPorts[0])
	good := datagram(ue, fn, echo.Append(nil))
	spoil := func(i int) []byte {
		b := bytes.Clone(good)
		b[len(b)-i] ^= 1
		return b
	}
	for _, tc := range []struct {
		name   string
		in     []byte
		access steer.Access
		on     bool // it goes to N6
		count  map[string]uint64
	}{
		{name: "source of another UE", in: datagram(netip.MustParseAddrPort("10.60.0.9:5000"), fn, echo.Append(nil)), count: map[string]uint64{"drop_spoofed_source": 1}},
		{name: "source on N6", in: datagram(netip.AddrPortFrom(server, 5000), fn, echo.Append(nil)), count: map[string]uint64{"drop_spoofed_source": 1}},
		{name: "port of the other access", in: good, access: steer.AccessNon3GPP, count: map[string]uint64{"drop_pmf_wrong_access": 1}},
		{name: "payload spoilt", in: spoil(1), count: map[string]uint64{"drop_n3_ip_bad_checksum": 1}},
		{name: "fragment", in: fragment(bytes.Clone(good), 0, true), count: map[string]uint64{"drop_pmf_fragment": 1}},
		{name: "later fragment", in: fragment(bytes.Clone(good), 8, false), count: map[string]uint64{"drop_pmf_fragment": 1}},
		{name: "no UDP header", in: transport(ue1, pmf4, packet.ProtoUDP, 6), on: true, count: nil},
		{name: "empty", in: datagram(ue, fn, nil), count: map[string]uint64{"drop_pmf_too_short": 1}},
		{name: "cut", in: datagram(ue, fn, []byte{1, 0, 0}), count: map[string]uint64{"drop_pmf_too_short": 1}},
		{name: "unknown type", in: datagram(ue, fn, []byte{99, 0, 0, 0}), count: map[string]uint64{"drop_pmf_unknown_type": 1}},
		{name: "no access", in: datagram(ue, fn, []byte{3, 0, 0, 0}), count: map[string]uint64{"drop_pmf_bad_value": 1}},
		{name: "an answer to nothing", in: datagram(ue, fn, []byte{2, 0x80, 0, 0}), count: map[string]uint64{"drop_pmf_unmatched": 1}},
		{name: "what only the UPF sends", in: datagram(ue, fn, []byte{4, 0, 0}), count: map[string]uint64{"drop_pmf_wrong_side": 1}},
		{name: "a report of what was not counted", in: datagram(ue, fn, []byte{7, 0, 0, 0}), count: map[string]uint64{"drop_pmf_not_counting": 1}},
		{name: "another port", in: udp(ue1, pmf4, uePort, 53, 4), on: true},
		{name: "TCP", in: tcp(ue1, pmf4, uePort, pmfPorts[0], packet.SYN), on: true},
		{name: "another destination", in: udp(ue1, server, uePort, pmfPorts[0], 4), on: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, 1, pmfTestRules())
			f.n3(gnb, gpdu(accessTEID[tc.access], 9, tc.in))
			if tc.on {
				if got := f.oneN6(); !bytes.Equal(got, tc.in) {
					t.Errorf("to N6: %x, want %x", got, tc.in)
				}
				return
			}
			f.nothing()
			tc.count["pmf_received"] = 1
			f.counted(tc.count)
		})
	}
}

// TestPMFRulesRefused: ports that do not tell the accesses apart, and QFIs that are none.
func TestPMFRulesRefused(t *testing.T) {
	f := newFixture(t, 1, pmfTestRules())
	for _, ports := range [][2]uint16{{1, 1}, {0, 1}, {1, 0}, {11, 1}} {
		r := pmfTestRules()
		r.ATSSS.PMF.Port, r.ATSSS.PMF.QFIs = ports, []uint8{5}
		if _, err := f.plane.Install(r); err == nil {
			t.Errorf("ports %v: no error", ports)
		}
	}
	for _, qfi := range []uint8{0, 64, 255} {
		r := pmfTestRules()
		r.ATSSS.PMF.QFIs = []uint8{5, qfi}
		if _, err := f.plane.Install(r); err == nil {
			t.Errorf("QFI %d: no error", qfi)
		}
	}
	f.n3(gnb, toPMF(steer.Access3GPP, 9, pmf.Message{Type: pmf.EchoRequest}))
	f.oneN3() // the rules of before hold
}
