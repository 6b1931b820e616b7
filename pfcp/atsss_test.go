package pfcp

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
)

// sessionReportSeed is a Session Report with all members.
func sessionReportSeed() *SessionReport {
	return &SessionReport{SRR: 3, Availability: []AccessAvailability{{Access: 0, Available: true}, {Access: 1}}}
}

// controlSeed is Provide ATSSS Control Information with all members.
func controlSeed() *ATSSSControl {
	return &ATSSSControl{
		MPTCP: true, ATSSSLL: true, PMF: &PMFControl{Required: true, NoRTT: true, PerFlow: true, QFIs: []uint8{1, 9}}, MPQUIC: MPQUICUDP | MPQUICEthernet,
	}
}

// parametersSeed are ATSSS Control Parameters with all members.
func parametersSeed() *ATSSSParameters {
	pmf := PMFAddress{IPv4: ip("10.200.0.2"), IPv6: ip("2001:db8:200::2"), Port: [2]uint16{10501, 10601}}
	flow := pmf
	flow.Port = [2]uint16{10510, 10610}
	return &ATSSSParameters{
		MPTCP: &MPTCPParameters{
			Proxy: MPTCPAddress{Type: TransportConverter, Port: 5124, IPv4: ip("10.200.0.1"), IPv6: ip("2001:db8:200::1")},
			LinkSpecific: LinkSpecific{
				IPv4: [2]netip.Addr{ip("100.64.0.2"), ip("100.64.0.3")}, IPv6: [2]netip.Addr{ip("fd00:a7::2"), ip("fd00:a7::3")},
			},
		},
		ATSSSLL: true,
		PMF: []PMFParameters{{Address: pmf}, {Address: flow, QFI: ptr(uint8(9))}, {Address: PMFAddress{
			MAC: &[2][6]byte{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}},
		}}},
	}
}

// TestATSSSLayouts: the groups' octets are those of the tables, type and length of each
// member included.
func TestATSSSLayouts(t *testing.T) {
	for _, tc := range []struct {
		name string
		ie   *ie.IE
		want string
	}{
		{
			"control", (&ATSSSControl{MPTCP: true, ATSSSLL: true, PMF: &PMFControl{Required: true, PerFlow: true, QFIs: []uint8{9}}, MPQUIC: MPQUICUDP}).IE(),
			"00dc0016" + "00de000101" + "00df000101" + "00e00003050109" + "014a000101",
		},
		{"control that asks for nothing", (&ATSSSControl{}).IE(), "00dc0000"},
		{"parameters", (&ATSSSParameters{
			MPTCP: &MPTCPParameters{
				Proxy:        MPTCPAddress{Type: TransportConverter, Port: 5124, IPv4: ip("10.200.0.1")},
				LinkSpecific: parametersSeed().MPTCP.LinkSpecific,
			},
			ATSSSLL: true,
			PMF:     []PMFParameters{{Address: PMFAddress{IPv4: ip("10.200.0.2"), Port: [2]uint16{1, 2}}, QFI: ptr(uint8(9))}},
		}).IE(), "00dd005c" + "00e10039" + "00e40008" + "010114040ac80001" + "00e50029" + "0f" +
			"64400002" + "fd0000a7000000000000000000000002" + "64400003" + "fd0000a7000000000000000000000003" +
			"00e20005" + "00e7000101" + "00e30012" + "00e60009" + "010ac8000200010002" + "007c000109"},
		{"SRR", (&SRR{ID: 3, Availability: ptr(RRCA)}).IE(ie.CreateSRR), "00d4000e" + "00d7000103" + "00d80005" + "00d9000101"},
		{"SRR that ends its reports", (&SRR{ID: 3, Availability: ptr(uint8(0))}).IE(ie.UpdateSRR), "00d50009" + "00d7000103" + "00d80000"},
		{"session report", sessionReportSeed().IE(), "00d60013" + "00d7000103" + "00da000a" + "00db000104" + "00db000101"},
		{
			"MAR without an access", (&MAR{ID: 1, Access: [2]*AccessForwarding{nil, {Update: true, Removed: true}}}).IE(ie.UpdateMAR),
			"00a9000a" + "00aa00020001" + "00b00000",
		},
	} {
		b, err := tc.ie.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, hex.EncodeToString(b)); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}

// TestATSSSRefusals: what a group lacks, or has malformed, is named.
func TestATSSSRefusals(t *testing.T) {
	group := ie.NewGroupedIE
	parameters := func(members ...*ie.IE) *Error {
		_, err := ParseATSSSParameters(group(ie.ATSSSControlParameters, members...))
		return err
	}
	srr := func(members ...*ie.IE) *Error {
		_, err := ParseSRR(group(ie.CreateSRR, members...))
		return err
	}
	control := func(members ...*ie.IE) *Error {
		_, err := ParseATSSSControl(group(ie.ProvideATSSSControlInformation, members...))
		return err
	}
	id, proxy := ie.New(ie.SRRID, []byte{1}), parametersSeed().MPTCP.Proxy.IE()
	for name, tc := range map[string]struct {
		got       *Error
		cause     uint8
		offending uint16
	}{
		"MPTCP without an address":    {parameters(group(ie.MPTCPParameters)), ie.CauseMandatoryIEMissing, ie.MPTCPAddressInformation},
		"MPTCP without the UE's":      {parameters(group(ie.MPTCPParameters, proxy)), ie.CauseMandatoryIEMissing, ie.UELinkSpecificIPAddress},
		"ATSSS-LL without its flag":   {parameters(group(ie.ATSSSLLParameters)), ie.CauseMandatoryIEMissing, ie.ATSSSLLInformation},
		"PMF without an address":      {parameters(group(ie.PMFParameters)), ie.CauseMandatoryIEMissing, ie.PMFAddressInformation},
		"SRR without an ID":           {srr(), ie.CauseMandatoryIEMissing, ie.SRRID},
		"SRR with an empty ID":        {srr(ie.New(ie.SRRID, nil)), ie.CauseMandatoryIEIncorrect, ie.SRRID},
		"availability without flags":  {srr(id, group(ie.AccessAvailabilityControlInformation, ie.NewFARID(1))), ie.CauseMandatoryIEMissing, ie.RequestedAccessAvailabilityInformation},
		"MPTCP control of no octet":   {control(ie.New(ie.MPTCPControlInformation, nil)), ie.CauseMandatoryIEIncorrect, ie.MPTCPControlInformation},
		"ATSSS-LL control, no octet":  {control(ie.New(ie.ATSSSLLControlInformation, nil)), ie.CauseMandatoryIEIncorrect, ie.ATSSSLLControlInformation},
		"PMF control of no octet":     {control(ie.New(ie.PMFControlInformation, nil)), ie.CauseMandatoryIEIncorrect, ie.PMFControlInformation},
		"MPQUIC control of no octet":  {control(ie.New(typeMPQUICControlInformation, nil)), ie.CauseMandatoryIEIncorrect, typeMPQUICControlInformation},
		"QoS monitoring of no length": {srr(id, ie.NewGroupedIE(ie.QoSMonitoringPerQoSFlowControlInformation)), 0, 0},
	} {
		if tc.cause == 0 {
			if tc.got != nil {
				t.Errorf("%s: %v", name, tc.got)
			}
			continue
		}
		if tc.got == nil || tc.got.Cause != tc.cause || tc.got.Offending != tc.offending {
			t.Errorf("%s: got %v, want cause %d, offending IE %d", name, tc.got, tc.cause, tc.offending)
		}
	}
}

// TestUnsupportedSRR: what an SRR asks for besides access availability is noted.
func TestUnsupportedSRR(t *testing.T) {
	for _, typ := range []uint16{ie.QoSMonitoringPerQoSFlowControlInformation, typeDirectReportingInformation, typeTrafficParameterControl, typeReportingControlInformation} {
		s, err := ParseSRR(ie.NewGroupedIE(ie.CreateSRR, ie.New(ie.SRRID, []byte{1}), ie.New(typ, []byte{0, 124, 0, 1, 9})))
		if err != nil || s.Unsupported != typ {
			t.Errorf("IE %d: %+v, %v", typ, s, err)
		}
	}
}

// TestApplyMAR: an update changes what it names, takes an access away with a null
// length, and a new steering mode ends what only the old one knew.
func TestApplyMAR(t *testing.T) {
	before := func() *MAR {
		return &MAR{
			ID: 1, Functionality: ptr(uint8(1)), Mode: ptr(uint8(3)), Thresholds: &Thresholds{RTT: ptr(uint16(40))},
			Access: [2]*AccessForwarding{
				{FARID: ptr(uint32(1)), Priority: ptr(uint8(3)), Weight: ptr(uint8(60)), URRIDs: []uint32{1}},
				{FARID: ptr(uint32(2)), Priority: ptr(uint8(4)), Weight: ptr(uint8(40))},
			},
		}
	}
	for _, tc := range []struct {
		name string
		up   *MAR
		want func(*MAR)
	}{
		{"nothing", &MAR{ID: 1}, func(*MAR) {}},
		{"an access is gone", &MAR{ID: 1, Access: [2]*AccessForwarding{nil, {Update: true, Removed: true}}}, func(m *MAR) { m.Access[1] = nil }},
		{"an access's FAR and URRs", &MAR{ID: 1, Access: [2]*AccessForwarding{{Update: true, FARID: ptr(uint32(7)), URRIDs: []uint32{2, 3}}}}, func(m *MAR) {
			m.Access[0].FARID, m.Access[0].URRIDs = ptr(uint32(7)), []uint32{2, 3}
		}},
		{"the thresholds", &MAR{ID: 1, Thresholds: &Thresholds{PLR: ptr(uint8(5))}}, func(m *MAR) { m.Thresholds = &Thresholds{PLR: ptr(uint8(5))} }},
		{"the same mode", &MAR{ID: 1, Mode: ptr(uint8(3))}, func(*MAR) {}},
		{"to Load-Balancing", &MAR{ID: 1, Mode: ptr(uint8(2)), Indicator: ptr(uint8(2))}, func(m *MAR) {
			m.Mode, m.Thresholds, m.Indicator = ptr(uint8(2)), nil, ptr(uint8(2))
		}},
		{"to Redundant", &MAR{ID: 1, Mode: ptr(uint8(4))}, func(m *MAR) {
			m.Mode, m.Thresholds, m.Access[0].Priority, m.Access[1].Priority = ptr(uint8(4)), nil, nil, nil
		}},
		{"to Active-Standby", &MAR{ID: 1, Mode: ptr(uint8(0)), Access: [2]*AccessForwarding{{Update: true, Priority: ptr(uint8(0))}, {Update: true, Priority: ptr(uint8(1))}}}, func(m *MAR) {
			m.Mode, m.Thresholds, m.Access[0].Priority, m.Access[1].Priority = ptr(uint8(0)), nil, ptr(uint8(0)), ptr(uint8(1))
		}},
	} {
		old, want := before(), before()
		got := *old
		got.Apply(tc.up)
		tc.want(want)
		if diff := cmp.Diff(want, &got); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
		if diff := cmp.Diff(before(), old); diff != "" {
			t.Errorf("%s changed the rule of before: %s", tc.name, diff)
		}
	}
}
