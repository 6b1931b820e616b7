package pfcp

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
)

// FuzzRules reads any octets as each kind of rule; what can be read is written,
// read again, and must be the same.
func FuzzRules(f *testing.F) {
	for _, i := range ruleSeeds() {
		f.Add(i.Type, i.Payload)
	}
	f.Fuzz(func(t *testing.T, typ uint16, b []byte) {
		if left := maxIEs; len(b) > 0xffff || checkIEs(b, 0, maxDepth, &left) != nil {
			return
		}
		switch typ {
		case ie.CreatePDR, ie.UpdatePDR:
			roundTrip(t, typ, b, ParsePDR, (*PDR).IE, (*PDR).unsupported)
		case ie.CreateFAR, ie.UpdateFAR:
			roundTrip(t, typ, b, ParseFAR, (*FAR).IE, (*FAR).unsupported)
		case ie.CreateQER, ie.UpdateQER:
			roundTrip(t, typ, b, ParseQER, (*QER).IE, func(*QER) bool { return false })
		case ie.CreateMAR, ie.UpdateMAR:
			roundTrip(t, typ, b, ParseMAR, (*MAR).IE, func(*MAR) bool { return false })
		case ie.CreateBAR, ie.UpdateBARWithinSessionModificationRequest, ie.UpdateBARWithinSessionReportResponse:
			roundTrip(t, typ, b, ParseBAR, (*BAR).IE, func(*BAR) bool { return false })
		case ie.CreateTrafficEndpoint, ie.UpdateTrafficEndpoint, ie.RemoveTrafficEndpoint:
			roundTrip(t, typ, b, ParseTrafficEndpoint, (*TrafficEndpoint).IE, func(x *TrafficEndpoint) bool { return x.PDI.Unsupported != 0 })
		case ie.CreateURR, ie.UpdateURR:
			roundTrip(t, typ, b, ParseURR, (*URR).IE, func(x *URR) bool { return x.Unsupported != 0 })
		case ie.UsageReportWithinSessionModificationResponse, ie.UsageReportWithinSessionDeletionResponse, ie.UsageReportWithinSessionReportRequest:
			roundTrip(t, typ, b, ParseUsageReport, (*UsageReport).IE, func(*UsageReport) bool { return false })
		case ie.CreateSRR, ie.UpdateSRR:
			roundTrip(t, typ, b, ParseSRR, (*SRR).IE, func(x *SRR) bool { return x.Unsupported != 0 })
		case ie.SessionReport:
			roundTrip(t, typ, b, ParseSessionReport, typed((*SessionReport).IE), func(*SessionReport) bool { return false })
		case ie.ProvideATSSSControlInformation:
			roundTrip(t, typ, b, ParseATSSSControl, typed((*ATSSSControl).IE), func(*ATSSSControl) bool { return false })
		case ie.ATSSSControlParameters:
			roundTrip(t, typ, b, ParseATSSSParameters, typed((*ATSSSParameters).IE), func(*ATSSSParameters) bool { return false })
		}
	})
}

// typed is emit for roundTrip, of what has one type of IE.
func typed[T any](emit func(*T) *ie.IE) func(*T, uint16) *ie.IE {
	return func(v *T, _ uint16) *ie.IE { return emit(v) }
}

// ruleSeeds are rules with all members that this package knows.
func ruleSeeds() []*ie.IE {
	pdr := &PDR{
		ID: 1, Precedence: ptr(uint32(255)), OuterHeaderRemoval: ptr(uint8(0)), FARID: ptr(uint32(1)),
		QERIDs: []uint32{1, 2}, URRIDs: []uint32{7}, Multipath: MTAI,
		PDI: &PDI{
			InterfaceType: ptr(N33GPP), FTEID: &FTEID{Choose: true, ChooseV4: true, HasChooseID: true, ChooseID: 5},
			NetworkInstance: "internet", QFIs: []uint8{1, 9},
			UEAddresses:  []UEIPAddress{{IPv4: ip("10.60.0.1")}, {IPv6: ip("2001:db8::"), Destination: true, Delegated: 8}, {ChooseV4: true, ChooseV6: true}},
			FramedRoutes: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24"), netip.MustParsePrefix("2001:db8:7::/48")},
			Filters: []SDFFilter{
				{HasDescription: true, HasID: true, ID: 3, Description: FlowDescription{
					Protocol: 6, From: FlowEndpoint{Ports: []PortRange{{80, 443}}}, To: FlowEndpoint{Assigned: true},
				}},
				{HasTOS: true, TOS: 0xb8, TOSMask: 0xfc, HasSPI: true, SPI: 0x1234, HasLabel: true, FlowLabel: 0xabcde},
			},
			ApplicationID: "video", Endpoint: ptr(uint8(4)),
		},
	}
	far := &FAR{ID: 2, ApplyAction: ptr(ActionFORW), Forwarding: &Forwarding{
		Destination: ptr(InterfaceAccess), InterfaceType: ptr(N3UntrustedNon3GPP), NetworkInstance: "access",
		OuterHeader: &OuterHeaderCreation{Description: GTPUIPv4 | GTPUIPv6, TEID: 0x101, IPv4: ip("10.100.1.2"), IPv6: ip("2001:db8::1")},
		TOS:         ptr(uint8(0xb8)), EndMarker: true,
	}, Duplicates: []Forwarding{{
		Destination: ptr(InterfaceCore), OuterHeader: &OuterHeaderCreation{Description: GTPUIPv4, TEID: 0x501, IPv4: ip("10.100.8.1")},
	}, {}}, BARID: ptr(uint8(6))}
	qer := &QER{
		ID: 1, Gate: ptr(uint8(4)), MBR: &BitRate{1_000_000, 1 << 33}, GBR: &BitRate{1, 1<<40 - 1},
		QFI: ptr(uint8(9)), RQI: ptr(uint8(1)), Hints: &QoSHints{
			CorrelationID: ptr(uint32(8)), PagingPolicy: ptr(uint8(3)), AveragingWindow: ptr(uint32(2000)), Control: ptr(uint8(1)),
			Marking: &FlowMarking{TOS: &[2]uint8{0xb8, 0xfc}, SCI: &[2]uint8{1, 2}},
		},
	}
	bar := &BAR{ID: 6, Delay: ptr(uint8(20)), Packets: ptr(uint8(50))}
	reportBAR := &BAR{ID: 6, Delay: ptr(uint8(20)), Duration: ptr(12 * time.Minute), MaxPackets: ptr(uint16(300))}
	endpoint := &TrafficEndpoint{ID: 4, PDI: PDI{
		FTEID: &FTEID{Choose: true, ChooseV4: true}, NetworkInstance: "internet", UEAddresses: []UEIPAddress{{ChooseV4: true, Destination: true}},
		FramedRoutes: pdr.PDI.FramedRoutes, QFIs: []uint8{9},
	}}
	mar := &MAR{
		ID: 1, Functionality: ptr(uint8(1)), Mode: ptr(uint8(2)), Indicator: ptr(uint8(1)), TransportMode: ptr(uint8(2)),
		Thresholds: &Thresholds{RTT: ptr(uint16(10)), PLR: ptr(uint8(5))},
		Access: [2]*AccessForwarding{
			{FARID: ptr(uint32(2)), Weight: ptr(uint8(50)), Priority: ptr(uint8(0)), URRIDs: []uint32{1}},
			{Update: true, Weight: ptr(uint8(50))},
		},
	}
	gone := &MAR{ID: 1, Access: [2]*AccessForwarding{{Update: true, Removed: true}, nil}}
	return []*ie.IE{
		gone.IE(ie.UpdateMAR), (&SRR{ID: 3, Availability: ptr(RRCA)}).IE(ie.CreateSRR), (&SRR{ID: 3, Availability: ptr(uint8(0))}).IE(ie.UpdateSRR),
		sessionReportSeed().IE(), controlSeed().IE(), parametersSeed().IE(),
		bar.IE(ie.CreateBAR), bar.IE(ie.UpdateBARWithinSessionModificationRequest), reportBAR.IE(ie.UpdateBARWithinSessionReportResponse),
		endpoint.IE(ie.CreateTrafficEndpoint), endpoint.IE(ie.UpdateTrafficEndpoint), (&TrafficEndpoint{ID: 4}).IE(ie.RemoveTrafficEndpoint),
		pdr.IE(ie.CreatePDR), far.IE(ie.CreateFAR), far.IE(ie.UpdateFAR), qer.IE(ie.CreateQER), mar.IE(ie.CreateMAR),
		urrSeed().IE(ie.CreateURR), usageSeed().IE(ie.UsageReportWithinSessionReportRequest),
	}
}

// urrSeed is a URR with all members.
func urrSeed() *URR {
	limits := Limits{
		VolumeThreshold: &Volumes{Total: ptr(uint64(500_000))}, VolumeQuota: &Volumes{Uplink: ptr(uint64(1)), Downlink: ptr(uint64(1 << 40))},
		TimeThreshold: 60, EventThreshold: 3, TimeQuota: ptr(uint32(0)), EventQuota: ptr(uint32(9)),
	}
	return &URR{
		ID: 1, Method: MethodVolume | MethodDuration, Triggers: TriggerPERIO | TriggerVOLQU | TriggerREEMR, HasTriggers: true, Information: InfoMBQE | InfoMNOP | 1<<8, HasInformation: true,
		Period: 30, QuotaHolding: 10, QuotaValidity: 20, Inactivity: 5,
		Limits: limits, More: &URRMore{Monitoring: time.Unix(1_700_000_000, 0), Subsequent: &limits, Linked: []uint32{2, 3}, QuotaFAR: ptr(uint32(4))},
	}
}

// usageSeed is a usage report with all members.
func usageSeed() *UsageReport {
	at := time.Unix(1_700_000_000, 0)
	return &UsageReport{
		URR: 1, Sequence: 2, Trigger: ReportVOLTH | ReportTERMR | ReportQUVTI, Start: at, End: at.Add(time.Second), First: at, Last: at,
		Volume:   &VolumeMeasurement{Uplink: 10, Downlink: 20, HasPackets: true, UplinkPackets: 1, DownlinkPackets: 2},
		Duration: ptr(30 * time.Second), Usage: UsageBeforeMonitoring, Query: ptr(uint32(7)), Events: []time.Time{at},
		Application: "app", UE: &UEIPAddress{IPv4: ip("10.60.0.1")},
	}
}

// TestRuleSeeds: the rules with all members survive the way to the wire and back.
func TestRuleSeeds(t *testing.T) {
	for _, i := range ruleSeeds() {
		left := maxIEs
		if err := checkIEs(i.Payload, 0, maxDepth, &left); err != nil {
			t.Fatalf("IE %d: %v", i.Type, err)
		}
		var err *Error
		var again *ie.IE
		switch i.Type {
		case ie.CreatePDR:
			var r *PDR
			r, err = ParsePDR(i)
			again = r.IE(i.Type)
		case ie.CreateFAR, ie.UpdateFAR:
			var r *FAR
			r, err = ParseFAR(i)
			again = r.IE(i.Type)
		case ie.CreateQER:
			var r *QER
			r, err = ParseQER(i)
			again = r.IE(i.Type)
		case ie.CreateMAR, ie.UpdateMAR:
			var r *MAR
			r, err = ParseMAR(i)
			again = r.IE(i.Type)
		case ie.CreateSRR, ie.UpdateSRR:
			var r *SRR
			r, err = ParseSRR(i)
			again = r.IE(i.Type)
		case ie.SessionReport:
			var r *SessionReport
			r, err = ParseSessionReport(i)
			again = r.IE()
		case ie.ProvideATSSSControlInformation:
			var r *ATSSSControl
			r, err = ParseATSSSControl(i)
			again = r.IE()
		case ie.ATSSSControlParameters:
			var r *ATSSSParameters
			r, err = ParseATSSSParameters(i)
			again = r.IE()
		case ie.CreateBAR, ie.UpdateBARWithinSessionModificationRequest, ie.UpdateBARWithinSessionReportResponse:
			var r *BAR
			r, err = ParseBAR(i)
			again = r.IE(i.Type)
		case ie.CreateTrafficEndpoint, ie.UpdateTrafficEndpoint, ie.RemoveTrafficEndpoint:
			var r *TrafficEndpoint
			r, err = ParseTrafficEndpoint(i)
			again = r.IE(i.Type)
		case ie.CreateURR:
			var r *URR
			r, err = ParseURR(i)
			again = r.IE(i.Type)
		case ie.UsageReportWithinSessionReportRequest:
			var r *UsageReport
			r, err = ParseUsageReport(i)
			again = r.IE(i.Type)
		}
		if err != nil {
			t.Fatalf("IE %d: %v", i.Type, err)
		}
		if !bytes.Equal(i.Payload, again.Payload) {
			t.Errorf("IE %d: %x became %x", i.Type, i.Payload, again.Payload)
		}
	}
}

// unsupported says that p has parts that are noted and not kept.
func (p *PDR) unsupported() bool {
	return p.Unsupported != 0 || p.PDI != nil && p.PDI.Unsupported != 0
}

// unsupported says that f has parts that are noted and not kept.
func (f *FAR) unsupported() bool {
	lossy := func(w Forwarding) bool { return w.Unsupported != 0 }
	return f.Unsupported != 0 || f.Forwarding != nil && lossy(*f.Forwarding) || slices.ContainsFunc(f.Duplicates, lossy)
}

// group is an IE of type typ with the members in b, as the parser makes it.
func group(t *testing.T, typ uint16, b []byte) *ie.IE {
	t.Helper()
	i, err := ie.Parse(append([]byte{byte(typ >> 8), byte(typ), byte(len(b) >> 8), byte(len(b))}, b...))
	if err != nil {
		return nil
	}
	return i
}

func roundTrip[T any](t *testing.T, typ uint16, b []byte, parse func(*ie.IE) (*T, *Error), emit func(*T, uint16) *ie.IE, lossy func(*T) bool) {
	t.Helper()
	i := group(t, typ, b)
	if i == nil {
		return
	}
	before := bytes.Clone(b)
	first, err := parse(i)
	if err != nil {
		if err.Cause < 64 {
			t.Fatalf("error %v has no rejection cause", err)
		}
		return
	}
	if lossy(first) {
		return
	}
	wire, merr := emit(first, typ).Marshal()
	if merr != nil {
		t.Fatal(merr)
	}
	again, perr := ie.Parse(wire)
	if perr != nil {
		t.Fatalf("wrote %x: %v", wire, perr)
	}
	second, err := parse(again)
	if err != nil {
		t.Fatalf("wrote %x: %v", wire, err)
	}
	if diff := cmp.Diff(first, second, cmpAddrs); diff != "" {
		t.Fatalf("%x became %x: %s", b, wire, diff)
	}
	if !bytes.Equal(before, b) {
		t.Fatal("parsing changed the octets")
	}
}

func TestLeaves(t *testing.T) {
	octets := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := []struct {
		name  string
		parse func(*ie.IE) (any, *Error)
		typ   uint16
		hex   string
		want  any // nil = malformed
	}{
		{"F-TEID", anyOf(ParseFTEID), ie.FTEID, "01000000020a640301", FTEID{TEID: 2, IPv4: ip("10.100.3.1")}},
		{"F-TEID of both families", anyOf(ParseFTEID), ie.FTEID, "03000000020a640301" + "20010db8000000000000000000000001", FTEID{TEID: 2, IPv4: ip("10.100.3.1"), IPv6: ip("2001:db8::1")}},
		{"F-TEID to choose", anyOf(ParseFTEID), ie.FTEID, "05", FTEID{Choose: true, ChooseV4: true}},
		{"F-TEID to choose with ID", anyOf(ParseFTEID), ie.FTEID, "0f05", FTEID{Choose: true, ChooseV4: true, ChooseV6: true, HasChooseID: true, ChooseID: 5}},
		{"F-TEID to choose without its ID", anyOf(ParseFTEID), ie.FTEID, "0d", nil},
		{"F-TEID of no family", anyOf(ParseFTEID), ie.FTEID, "0000000002", nil},
		{"F-TEID empty", anyOf(ParseFTEID), ie.FTEID, "", nil},
		{"F-SEID", anyOf(ParseFSEID), ie.FSEID, "0200000000000000010a640401", FSEID{SEID: 1, IPv4: ip("10.100.4.1")}},
		{"F-SEID cut off", anyOf(ParseFSEID), ie.FSEID, "0200000000000000010a6404", nil},
		{"F-SEID of no family", anyOf(ParseFSEID), ie.FSEID, "000000000000000001", nil},
		{"UE address", anyOf(ParseUEIPAddress), ie.UEIPAddress, "060a3c0001", UEIPAddress{IPv4: ip("10.60.0.1"), Destination: true}},
		{"UE prefix", anyOf(ParseUEIPAddress), ie.UEIPAddress, "0920010db800000000000000000000000008", UEIPAddress{IPv6: ip("2001:db8::"), Delegated: 8}},
		{"UE prefix with length", anyOf(ParseUEIPAddress), ie.UEIPAddress, "4120010db800000000000000000000000080", UEIPAddress{IPv6: ip("2001:db8::"), PrefixLen: 128}},
		{"UE prefix too long", anyOf(ParseUEIPAddress), ie.UEIPAddress, "4120010db800000000000000000000000081", nil},
		{"UE address to choose", anyOf(ParseUEIPAddress), ie.UEIPAddress, "10", UEIPAddress{ChooseV4: true}},
		{"UE addresses to choose", anyOf(ParseUEIPAddress), ie.UEIPAddress, "34", UEIPAddress{ChooseV4: true, ChooseV6: true, Destination: true}},
		{"UE address both given and to choose", anyOf(ParseUEIPAddress), ie.UEIPAddress, "120a3c0001", nil},
		{"UE address without one", anyOf(ParseUEIPAddress), ie.UEIPAddress, "04", nil},
		{"route", anyOf(framedRoute), ie.FramedRoute, hex.EncodeToString([]byte("192.168.1.0/24 192.168.1.1 1 2 -1 3 400")), netip.MustParsePrefix("192.168.1.0/24")},
		{"route without a length", anyOf(framedRoute), ie.FramedRoute, hex.EncodeToString([]byte("172.16.0.0 0.0.0.0 1")), netip.MustParsePrefix("172.16.0.0/16")},
		{"route of IPv6", anyOf(framedRoute), ie.FramedIPv6Route, hex.EncodeToString([]byte("2000:0:0:106::/64 2000::106:a00:20ff:fe99:a998 1")), netip.MustParsePrefix("2000:0:0:106::/64")},
		{"route to all", anyOf(framedRoute), ie.FramedRoute, hex.EncodeToString([]byte("0.0.0.0/0")), nil},
		{"route of the other family", anyOf(framedRoute), ie.FramedIPv6Route, hex.EncodeToString([]byte("10.0.0.0/8")), nil},
		{"route without a prefix", anyOf(framedRoute), ie.FramedRoute, "20", nil},
		{"route with a bad gateway", anyOf(framedRoute), ie.FramedRoute, hex.EncodeToString([]byte("10.0.0.0/8 gw")), nil},
		{"route with a bad metric", anyOf(framedRoute), ie.FramedRoute, hex.EncodeToString([]byte("10.0.0.0/8 10.0.0.1 x")), nil},
		{"marking", anyOf(flowMarking), ie.DLFlowLevelMarking, "03b8fc0102", FlowMarking{&[2]uint8{0xb8, 0xfc}, &[2]uint8{1, 2}}},
		{"marking cut off", anyOf(flowMarking), ie.DLFlowLevelMarking, "03b8fc01", nil},
		{"GTP-U header", anyOf(ParseOuterHeaderCreation), ie.OuterHeaderCreation, "0100000001010a640102", OuterHeaderCreation{Description: GTPUIPv4, TEID: 0x101, IPv4: ip("10.100.1.2")}},
		{"UDP header", anyOf(ParseOuterHeaderCreation), ie.OuterHeaderCreation, "04000a6401020868", OuterHeaderCreation{Description: UDPIPv4, IPv4: ip("10.100.1.2"), Port: 2152}},
		{"UDP header without port", anyOf(ParseOuterHeaderCreation), ie.OuterHeaderCreation, "04000a640102", nil},
		{"Node ID", anyOf(ParseNodeID), ie.NodeID, "000a640401", "10.100.4.1"},
		{"Node ID, a name", anyOf(ParseNodeID), ie.NodeID, "0203736d66076578616d706c65", "smf.example"},
		{"Node ID, a name cut off", anyOf(ParseNodeID), ie.NodeID, "0203736d", nil},
		{"Network Instance, raw", stringOf(networkInstance), ie.NetworkInstance, "696e7465726e6574", "internet"},
		{"Network Instance, labels", stringOf(networkInstance), ie.NetworkInstance, "08696e7465726e6574", "internet"},
		{"Network Instance, two labels", stringOf(networkInstance), ie.NetworkInstance, "0369" + "6d73" + "03617070", "ims.app"},
		{"SDF filter with ID after the rest", anyOf(ParseSDFFilter), ie.SDFFilter, "1e00" + "0102" + "01020304" + "010203" + "00000009", SDFFilter{
			ID: 9, HasID: true, HasTOS: true, TOS: 1, TOSMask: 2, HasSPI: true, SPI: 0x01020304, HasLabel: true, FlowLabel: 0x10203,
		}},
		{"SDF filter without its ID", anyOf(ParseSDFFilter), ie.SDFFilter, "1200" + "0102" + "000000", nil},
		{"SDF filter cut off", anyOf(ParseSDFFilter), ie.SDFFilter, "010000ff", nil},
		{"Recovery Time Stamp", anyOf(ParseRecoveryTimeStamp), ie.RecoveryTimeStamp, "83aa7e80", time.Unix(0, 0)},
		{"Thresholds", anyOf(parseThresholds), TypeThresholds, "03000a05", Thresholds{RTT: ptr(uint16(10)), PLR: ptr(uint8(5))}},
		{"Thresholds over 100%", anyOf(parseThresholds), TypeThresholds, "0265", Thresholds{PLR: ptr(uint8(0))}},
		{"Thresholds without a bound", anyOf(parseThresholds), TypeThresholds, "00", Thresholds{}},
		{"Thresholds cut off", anyOf(parseThresholds), TypeThresholds, "0100", nil},
		{"PMF control", anyOf(parsePMFControl), ie.PMFControlInformation, "05020109", PMFControl{Required: true, PerFlow: true, QFIs: []uint8{1, 9}}},
		{"PMF control of Rel-16", anyOf(parsePMFControl), ie.PMFControlInformation, "03", PMFControl{Required: true, NoRTT: true}},
		{"PMF control, QFIs cut off", anyOf(parsePMFControl), ie.PMFControlInformation, "050201", nil},
		{"PMF control, QFIs promised", anyOf(parsePMFControl), ie.PMFControlInformation, "0500", nil},
		{"MPTCP address", anyOf(ParseMPTCPAddress), ie.MPTCPAddressInformation, "0101" + "1404" + "0ac80001", MPTCPAddress{Type: TransportConverter, Port: 5124, IPv4: ip("10.200.0.1")}},
		{"MPTCP address of IPv6", anyOf(ParseMPTCPAddress), ie.MPTCPAddressInformation, "0201" + "1404" + "20010db8000000000000000000000001", MPTCPAddress{Type: TransportConverter, Port: 5124, IPv6: ip("2001:db8::1")}},
		{"MPTCP address of no family", anyOf(ParseMPTCPAddress), ie.MPTCPAddressInformation, "00011404", nil},
		{"MPTCP address cut off", anyOf(ParseMPTCPAddress), ie.MPTCPAddressInformation, "010114040ac800", nil},
		{"link-specific addresses", anyOf(ParseLinkSpecific), ie.UELinkSpecificIPAddress, "05" + "64400002" + "64400003", LinkSpecific{IPv4: [2]netip.Addr{ip("100.64.0.2"), ip("100.64.0.3")}}},
		{"link-specific address of one access", anyOf(ParseLinkSpecific), ie.UELinkSpecificIPAddress, "08" + "20010db8000000000000000000000001", LinkSpecific{IPv6: [2]netip.Addr{{}, ip("2001:db8::1")}}},
		{"link-specific addresses, none", anyOf(ParseLinkSpecific), ie.UELinkSpecificIPAddress, "00", nil},
		{"link-specific addresses cut off", anyOf(ParseLinkSpecific), ie.UELinkSpecificIPAddress, "056440000264", nil},
		{"PMF address", anyOf(ParsePMFAddress), ie.PMFAddressInformation, "01" + "0ac80002" + "29052969", PMFAddress{IPv4: ip("10.200.0.2"), Port: [2]uint16{10501, 10601}}},
		{"PMF address of Ethernet", anyOf(ParsePMFAddress), ie.PMFAddressInformation, "04" + "020000000001" + "020000000002", PMFAddress{MAC: &[2][6]byte{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}}},
		{"PMF address without ports", anyOf(ParsePMFAddress), ie.PMFAddressInformation, "010ac80002", nil},
		{"PMF address, none", anyOf(ParsePMFAddress), ie.PMFAddressInformation, "00", nil},
		{"access availability", anyOf(ParseAccessAvailability), ie.AccessAvailabilityInformation, "05", AccessAvailability{Access: 1, Available: true}},
		{"access availability of a third access", anyOf(ParseAccessAvailability), ie.AccessAvailabilityInformation, "02", nil},
		{"access availability of no known status", anyOf(ParseAccessAvailability), ie.AccessAvailabilityInformation, "08", nil},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.parse(ie.New(tc.typ, octets(tc.hex)))
			if tc.want == nil {
				if err == nil || err.Cause != ie.CauseMandatoryIEIncorrect || err.Offending != tc.typ {
					t.Errorf("got %+v, %v, want a refusal of IE %d", got, err, tc.typ)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpAddrs); diff != "" {
				t.Error(diff)
			}
			if e, ok := got.(interface{ IE() *ie.IE }); ok && !bytes.Equal(e.IE().Payload, octets(tc.hex)) {
				t.Errorf("written as %x, was %s", e.IE().Payload, tc.hex)
			}
		})
	}
}

func anyOf[T any](f func(*ie.IE) (T, *Error)) func(*ie.IE) (any, *Error) {
	return func(i *ie.IE) (any, *Error) { return f(i) }
}

func stringOf(f func(*ie.IE) string) func(*ie.IE) (any, *Error) {
	return func(i *ie.IE) (any, *Error) { return f(i), nil }
}

func ptr[T any](v T) *T { return &v }

func TestUEPrefixes(t *testing.T) {
	u := UEIPAddress{IPv4: ip("10.60.0.1"), IPv6: ip("2001:db8:1:2::5")}
	if got := u.Prefixes(); len(got) != 2 || got[0].String() != "10.60.0.1/32" || got[1].String() != "2001:db8:1:2::/64" {
		t.Errorf("got %v", got)
	}
	u = UEIPAddress{IPv6: ip("2001:db8:1:2::5"), Delegated: 8}
	if got := u.Prefixes(); len(got) != 1 || got[0].String() != "2001:db8:1::/56" {
		t.Errorf("got %v", got)
	}
}

func TestFailedRuleID(t *testing.T) {
	for r, want := range map[RuleID]string{
		{RulePDR, 0x102}: "000102", {RuleFAR, 1}: "0100000001", {RuleQER, 2}: "0200000002", {RuleURR, 3}: "0300000003",
		{RuleBAR, 4}: "0404", {RuleMAR, 5}: "050005", {RuleSRR, 6}: "0606",
	} {
		if got := hex.EncodeToString(r.IE().Payload); got != want {
			t.Errorf("%v: %s, want %s", r, got, want)
		}
	}
	if (RuleID{}).IE() != nil {
		t.Error("no rule has an IE")
	}
}

// TestMembersOnce: what a PDI may hold once is written once.
func TestMembersOnce(t *testing.T) {
	d := &PDI{
		ApplicationID: "video", NetworkInstance: "internet", Endpoint: ptr(uint8(4)), InterfaceType: ptr(N33GPP),
		FTEID: &FTEID{Choose: true, ChooseV4: true},
	}
	seen := map[uint16]bool{}
	for _, c := range d.ie().ChildIEs {
		if seen[c.Type] {
			t.Errorf("IE %d is there twice", c.Type)
		}
		seen[c.Type] = true
	}
	if len(seen) != 6 { // source interface, too
		t.Errorf("%d members, want 6", len(seen))
	}
}
