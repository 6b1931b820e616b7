package upf

import (
	"net/netip"
	"strings"
	"testing"

	free5gc "github.com/free5gc/pfcp"
	"github.com/free5gc/pfcp/pfcpType"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// TestATSSSDecodes has tshark read every IE of ATSSS that we write; what it says of each
// field is as it was meant.
func TestATSSSDecodes(t *testing.T) {
	control := &pfcp.ATSSSControl{MPTCP: true, ATSSSLL: true, PMF: &pfcp.PMFControl{Required: true, NoRTT: true, PerFlow: true, QFIs: []uint8{1, 9}}}
	pmf := pfcp.PMFAddress{IPv4: addr("10.200.0.2"), IPv6: addr("2001:db8:200::2"), Port: [2]uint16{10501, 10601}}
	parameters := &pfcp.ATSSSParameters{
		MPTCP: &pfcp.MPTCPParameters{
			Proxy: pfcp.MPTCPAddress{Type: pfcp.TransportConverter, Port: 5124, IPv4: addr("10.200.0.1"), IPv6: addr("2001:db8:200::1")},
			LinkSpecific: pfcp.LinkSpecific{
				IPv4: [2]netip.Addr{addr("100.64.0.2"), addr("100.64.0.3")}, IPv6: [2]netip.Addr{addr("fd00:a7::2"), addr("fd00:a7::3")},
			},
		},
		ATSSSLL: true,
		PMF:     []pfcp.PMFParameters{{Address: pmf, QFI: p(uint8(9))}},
	}
	mar := &pfcp.MAR{
		ID: 1, Functionality: p(uint8(1)), Mode: p(uint8(2)), Indicator: p(uint8(1)), Thresholds: &pfcp.Thresholds{RTT: p(uint16(40)), PLR: p(uint8(3))},
		Access: [2]*pfcp.AccessForwarding{{FARID: p(uint32(2)), Weight: p(uint8(60))}, {FARID: p(uint32(3)), Weight: p(uint8(40))}},
	}
	gone := &pfcp.MAR{ID: 1, Access: [2]*pfcp.AccessForwarding{nil, {Update: true, Removed: true}}}
	available := pfcp.AccessAvailability{Access: 1, Available: true}
	srr := &pfcp.SRR{ID: 3, Availability: p(pfcp.RRCA)}
	report := &pfcp.SessionReport{SRR: 3, Availability: []pfcp.AccessAvailability{available, {}}}
	text := tshark(t, [][]byte{
		encoded(t, message.NewSessionEstablishmentRequest(0, 0, 1, 1, 0,
			(&pfcp.PDR{ID: 1, Multipath: pfcp.MTAI}).IE(ie.CreatePDR), mar.IE(ie.CreateMAR), srr.IE(ie.CreateSRR), control.IE())),
		encoded(t, message.NewSessionEstablishmentResponse(0, 0, 1, 1, 0, parameters.IE())),
		encoded(t, message.NewSessionModificationRequest(0, 0, 1, 2, 0, gone.IE(ie.UpdateMAR), srr.IE(ie.UpdateSRR), control.IE(), available.IE())),
		encoded(t, message.NewSessionReportRequest(0, 0, 1, 3, 0, pfcp.ReportSESR.IE(), report.IE())),
	}, "-V")
	for _, line := range []string{
		"MAI (MPTCP Applicable Indication): Present",
		"Steering Functionality: MPTCP (1)", "Steering Mode: Load Balancing (2)", "Weight: 60", "Weight: 40",
		"RTT (in milliseconds): 40", "Packet Loss Rate (in percent): 3", "ALBI: Supported", "UEAI: Not supported",
		"SRR ID value: 3", "RRCA (Request to Report Change in Access availability): Present",
		"TCI (Transport Converter Indication): Present", "LLI: ATSSS-LL steering functionality is required: Present",
		"PQPM (Per Qos flow Performance Measurement indication): Present", "DRTTI (Disallow PMF RTT Indication): Present",
		"PMFI (PMF functionality is required): Present", "Number of QFI: 2", "QFI: 0x01", "QFI: 0x09",
		"MPTCP proxy type: 01", "MPTCP proxy port: 5124", "MPTCP proxy IPv4 address: 10.200.0.1", "MPTCP proxy IPv6 address: 2001:db8:200::1",
		"UE Link-Specific IPv4 Address for 3GPP Access: 100.64.0.2", "UE Link-Specific IPv6 Address for 3GPP Access: fd00:a7::2",
		"UE Link-Specific IPv4 Address for Non-3GPP Access: 100.64.0.3", "UE Link-Specific IPv6 Address for Non-3GPP Access: fd00:a7::3",
		"LLI: ATSSS-LL steering functionality have been allocated: Present",
		"PMF IPv4 Address: 10.200.0.2", "PMF IPv6 Address: 2001:db8:200::2", "PMF port for 3GPP: 10501", "PMF port for Non-3GPP: 10601",
		"SESR (Session Report): True", "Non-3GPP access type (1)", "Access has become available (1)", "3GPP access type (0)", "Access has become unavailable (0)",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("tshark does not say %q", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestATSSSAnswersDecode has tshark read what the UPF answers and reports for a
// multi-access session whose SMF asks for all, and free5GC's codec the answers.
func TestATSSSAnswersDecode(t *testing.T) {
	b := newReportBenchWith(t, atsssConfig)
	b.ask(message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)))
	ask := &pfcp.ATSSSControl{MPTCP: true, ATSSSLL: true, PMF: &pfcp.PMFControl{Required: true, PerFlow: true, QFIs: []uint8{9}}}
	r := askingMA(ask, "10.60.0.1", "2001:db8:60::")
	r.srrs = []*pfcp.SRR{{ID: 3, Availability: p(pfcp.RRCA)}}
	established := b.s.handle(smfAddr, establishment(1, r))
	seid := upSEIDOf(t, captured(t, encoded(t, established)))
	modified := b.s.handle(smfAddr, message.NewSessionModificationRequest(0, 0, seid, 0, 0, ask.IE()))
	refused := b.s.handle(smfAddr, message.NewSessionModificationRequest(0, 0, seid, 0, 0, (&pfcp.ATSSSControl{}).IE()))
	answers := [][]byte{encoded(t, established), encoded(t, modified), encoded(t, refused)}
	for i, want := range []uint8{pfcpType.CauseRequestAccepted, pfcpType.CauseRequestAccepted, pfcpType.CauseRuleCreationModificationFailure} {
		_, body := free5gcBody(t, answers[i])
		var got *pfcpType.Cause
		switch m := body.(type) {
		case free5gc.PFCPSessionEstablishmentResponse:
			got = m.Cause
		case free5gc.PFCPSessionModificationResponse:
			got = m.Cause
		}
		if got == nil || got.CauseValue != want {
			t.Errorf("free5GC's codec reads %+v, want cause %d", body, want)
		}
	}
	b.s.rep.noticed(dataplane.Event{Kind: dataplane.AccessChanged, SEID: seid, Access: steer.AccessNon3GPP})
	b.step()
	if len(b.sent) != 1 {
		t.Fatalf("%d reports", len(b.sent))
	}
	text := tshark(t, append(answers, b.sent[0].wire), "-V")
	for line, times := range map[string]int{
		"ATSSS Control Parameters : [Grouped IE]": 2, "MPTCP proxy IPv4 address: 10.200.0.1": 2, "MPTCP proxy IPv6 address: fd00:200::1": 2,
		"UE Link-Specific IPv4 Address for 3GPP Access: 100.64.7.2": 2, "UE Link-Specific IPv6 Address for Non-3GPP Access: fd00:a7::3": 2,
		"PMF port for 3GPP: 10500": 2, "PMF port for Non-3GPP: 10501": 2, "PMF port for 3GPP: 10518": 2, "PMF port for Non-3GPP: 10519": 2, "QFI: 0x09": 2,
		"SESR (Session Report): True": 1, "SRR ID value: 3": 1, "Non-3GPP access type (1)": 1, "Access has become unavailable (0)": 1,
	} {
		if n := strings.Count(text, line); n != times {
			t.Errorf("tshark says %q %d times, want %d", line, n, times)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
