package upf

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

func header(teid uint32, peer string) *dataplane.OuterHeader {
	return &dataplane.OuterHeader{TEID: teid, Peer: netip.AddrPortFrom(addr(peer), 2152)}
}

func creation(teid uint32, peer string) *pfcp.OuterHeaderCreation {
	return &pfcp.OuterHeaderCreation{Description: pfcp.GTPUIPv4, TEID: teid, IPv4: addr(peer)}
}

// same reports how got differs from want.
func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpRules); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// TestFARs: what the worker gets of each form of a FAR. FAR 2 is the downlink's.
func TestFARs(t *testing.T) {
	b := newBench(t)
	b.associate()
	tests := []struct {
		name  string
		set   func(*rulesSpec)
		which int // of the PDRs: 0 uplink, 1 downlink
		want  dataplane.FAR
	}{
		{"N6", func(*rulesSpec) {}, 0, dataplane.FAR{ID: 1, Action: dataplane.Forward}},
		{
			"N6 under the name of N6-LAN", func(r *rulesSpec) { r.fars[0].Forwarding.Destination = p(pfcp.InterfaceN6LAN) }, 0,
			dataplane.FAR{ID: 1, Action: dataplane.Forward},
		},
		{
			"N9 uplink", func(r *rulesSpec) { r.fars[0].Forwarding.OuterHeader = creation(0x900, "10.100.9.9") }, 0,
			dataplane.FAR{ID: 1, Action: dataplane.Forward, OuterHeader: header(0x900, "10.100.9.9")},
		},
		{
			"N9 to nowhere", func(r *rulesSpec) { r.fars[0].Forwarding.OuterHeader = creation(0x900, "0.0.0.0") }, 0,
			dataplane.FAR{ID: 1, Action: dataplane.Drop},
		},
		{"CP function", func(r *rulesSpec) {
			r.fars[0].Forwarding.Destination, r.fars[0].Forwarding.OuterHeader = p(pfcp.InterfaceCPFunction), creation(7, "10.100.4.1")
		}, 0, dataplane.FAR{ID: 1, Action: dataplane.Forward, To: dataplane.ToCP, OuterHeader: header(7, "10.100.4.1")}},
		{
			"CP function without a tunnel", func(r *rulesSpec) { r.fars[0].Forwarding.Destination = p(pfcp.InterfaceCPFunction) }, 0,
			dataplane.FAR{ID: 1, Action: dataplane.Drop, To: dataplane.ToCP},
		},
		{
			"other UEs", func(r *rulesSpec) { r.fars[0].Forwarding.Destination = p(pfcp.DestVNInternal) }, 0,
			dataplane.FAR{ID: 1, Action: dataplane.Forward, To: dataplane.ToUEs},
		},
		{
			"marked on N6", func(r *rulesSpec) { r.fars[0].Forwarding.TOS = p(uint8(0x28)) }, 0,
			dataplane.FAR{ID: 1, Action: dataplane.Forward, TOS: p(uint8(0x28))},
		},
		{
			"marked", func(r *rulesSpec) { r.fars[1].Forwarding.TOS = p(uint8(0xb8)) }, 1,
			dataplane.FAR{ID: 2, Action: dataplane.Forward, To: dataplane.ToAccess, OuterHeader: &dataplane.OuterHeader{
				TEID: 0x101, Peer: netip.MustParseAddrPort("10.100.1.2:2152"), TOS: 0xb8,
			}},
		},
		{"copied", func(r *rulesSpec) {
			r.fars[1].ApplyAction = p(pfcp.ActionFORW | pfcp.ActionDUPL)
			r.fars[1].Duplicates = []pfcp.Forwarding{
				{Destination: p(pfcp.InterfaceCore), OuterHeader: creation(0x501, "10.100.8.1")},
				{Destination: p(pfcp.InterfaceCPFunction), OuterHeader: creation(0x502, "10.100.8.2"), TOS: p(uint8(4))},
			}
		}, 1, dataplane.FAR{ID: 2, Action: dataplane.Forward, To: dataplane.ToAccess, OuterHeader: header(0x101, "10.100.1.2"), Duplicates: []dataplane.OuterHeader{
			*header(0x501, "10.100.8.1"), {TEID: 0x502, Peer: netip.MustParseAddrPort("10.100.8.2:2152"), TOS: 4},
		}}},
		{"parameters for copies that are not asked for", func(r *rulesSpec) {
			r.fars[1].Duplicates = []pfcp.Forwarding{{Destination: p(pfcp.InterfaceCore), OuterHeader: creation(0x501, "10.100.8.1")}}
		}, 1, dataplane.FAR{ID: 2, Action: dataplane.Forward, To: dataplane.ToAccess, OuterHeader: header(0x101, "10.100.1.2")}},
		{"with a BAR", func(r *rulesSpec) {
			r.fars[1].ApplyAction, r.fars[1].BARID = p(pfcp.ActionBUFF|pfcp.ActionNOCP), p(uint8(3))
			r.bars = []*pfcp.BAR{{ID: 3, Delay: p(uint8(4)), Packets: p(uint8(20))}}
		}, 1, dataplane.FAR{
			ID: 2, Action: dataplane.Buffer, Notify: true, To: dataplane.ToAccess, OuterHeader: header(0x101, "10.100.1.2"),
			BAR: &dataplane.BAR{ID: 3, Packets: 20, Delay: 200 * time.Millisecond},
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := plainSession(0x20, "10.60.0.20")
			tc.set(r)
			seid, _ := b.established(1, r)
			rules := b.plane.of(seid)
			got := [2]*dataplane.FAR{rules.Uplink[0].FAR, rules.Downlink[0].FAR}[tc.which]
			same(t, "FAR", &tc.want, got)
		})
	}
}

// TestUpdates: each kind of update and removal, by what the worker has after it.
func TestUpdates(t *testing.T) {
	b := newBench(t)
	b.associate()
	r := plainSession(0x20, "10.60.0.20")
	r.fars[1].BARID = p(uint8(3))
	r.bars = []*pfcp.BAR{{ID: 3, Delay: p(uint8(4)), Packets: p(uint8(20))}}
	r.qers[0].MBR, r.qers[0].GBR = &pfcp.BitRate{Uplink: 1000, Downlink: 2000}, &pfcp.BitRate{Uplink: 10, Downlink: 20}
	seid, _ := b.established(1, r)
	want := &dataplane.Rules{SEID: seid, UEAddrs: []netip.Prefix{netip.MustParsePrefix("10.60.0.20/32")}}
	qer := &dataplane.QER{ID: 1, QFI: 9, MBR: &dataplane.BitRate{Uplink: 1_000_000, Downlink: 2_000_000}, GBR: &dataplane.BitRate{Uplink: 10_000, Downlink: 20_000}}
	far := &dataplane.FAR{
		ID: 2, Action: dataplane.Forward, To: dataplane.ToAccess, OuterHeader: header(0x101, "10.100.1.2"),
		BAR: &dataplane.BAR{ID: 3, Packets: 20, Delay: 200 * time.Millisecond},
	}
	want.Uplink = []dataplane.PDR{{
		ID: 2, Precedence: 255, Access: 1, TEID: 0x20, LocalAddr: addr("10.100.3.1"), UEAddrs: want.UEAddrs,
		FAR: &dataplane.FAR{ID: 1, Action: dataplane.Forward}, QERs: []*dataplane.QER{qer},
	}}
	want.Downlink = []dataplane.PDR{{ID: 3, Precedence: 255, UEAddrs: want.UEAddrs, FAR: far, QERs: []*dataplane.QER{qer}}}
	step := func(what string, ies ...*ie.IE) {
		t.Helper()
		b.modified(seid, ies...)
		same(t, what, want, b.plane.of(seid))
	}
	same(t, "established", want, b.plane.of(seid))

	qer.MBR = &dataplane.BitRate{Uplink: 5000, Downlink: 6000}
	step("Update QER", (&pfcp.QER{ID: 1, MBR: &pfcp.BitRate{Uplink: 5, Downlink: 6}}).IE(ie.UpdateQER))
	far.BAR.Packets = 30
	step("Update BAR", (&pfcp.BAR{ID: 3, Packets: p(uint8(30))}).IE(ie.UpdateBARWithinSessionModificationRequest))
	far.Action, far.Notify = dataplane.Buffer, true
	step("Update FAR to BUFF", (&pfcp.FAR{ID: 2, ApplyAction: p(pfcp.ActionBUFF | pfcp.ActionNOCP)}).IE(ie.UpdateFAR))
	far.Duplicates = []dataplane.OuterHeader{*header(0x601, "10.100.8.1"), *header(0x602, "10.100.8.2")}
	step("Update FAR with copies", (&pfcp.FAR{ID: 2, ApplyAction: p(pfcp.ActionBUFF | pfcp.ActionNOCP | pfcp.ActionDUPL), Duplicates: []pfcp.Forwarding{
		{Destination: p(pfcp.InterfaceCore), OuterHeader: creation(0x601, "10.100.8.1")}, {Destination: p(pfcp.InterfaceCore), OuterHeader: creation(0x602, "10.100.8.2")},
	}}).IE(ie.UpdateFAR))
	far.Duplicates[0] = *header(0x603, "10.100.8.3")
	step("Update FAR with another first copy", (&pfcp.FAR{ID: 2, Duplicates: []pfcp.Forwarding{{OuterHeader: creation(0x603, "10.100.8.3")}}}).IE(ie.UpdateFAR))
	far.BAR = nil
	step("Remove BAR", ie.NewRemoveBAR(ie.NewBARID(3)))
	far.BAR = &dataplane.BAR{ID: 4}
	step("Create BAR and Update FAR", (&pfcp.BAR{ID: 4}).IE(ie.CreateBAR), (&pfcp.FAR{ID: 2, BARID: p(uint8(4))}).IE(ie.UpdateFAR))
	want.Uplink[0].QERs, want.Downlink[0].QERs = nil, nil
	step("Remove QER", ie.NewRemoveQER(ie.NewQERID(1)))
	// A rule before the rules that it names, and an ID that is free and used again.
	second := &dataplane.QER{ID: 9, GateULClosed: true, ReflectiveQoS: true}
	want.Downlink[0].QERs = []*dataplane.QER{second}
	want.Downlink[0].Precedence = 7
	step("Update PDR and Create QER", (&pfcp.PDR{ID: 3, QERIDs: []uint32{9}, Precedence: p(uint32(7))}).IE(ie.UpdatePDR),
		(&pfcp.QER{ID: 9, Gate: p(uint8(4)), RQI: p(uint8(1))}).IE(ie.CreateQER))
	moved := netip.MustParsePrefix("10.60.0.21/32")
	want.UEAddrs = []netip.Prefix{want.UEAddrs[0], moved}
	want.Downlink[0].UEAddrs = []netip.Prefix{moved}
	step("Update PDR with a PDI", ueOf(&pfcp.PDR{ID: 3, PDI: &pfcp.PDI{SourceInterface: pfcp.InterfaceCore}}, "10.60.0.21").IE(ie.UpdatePDR))
	fresh := plainSession(0x20, "10.60.0.20")
	want.UEAddrs = want.UEAddrs[:1]
	want.Downlink = []dataplane.PDR{{ID: 3, Precedence: 255, UEAddrs: want.UEAddrs, FAR: far, QERs: []*dataplane.QER{{ID: 1, QFI: 9}}}}
	step("remove and create under the same IDs", fresh.pdrs[1].IE(ie.CreatePDR), fresh.qers[0].IE(ie.CreateQER),
		ie.NewRemovePDR(ie.NewPDRID(3)), ie.NewRemoveQER(ie.NewQERID(9)))
}

// TestEndMarkers: the tunnel that a FAR leaves is told of once, if SNDEM asks for it.
func TestEndMarkers(t *testing.T) {
	b := newBench(t)
	b.associate()
	seid, _ := b.established(1, plainSession(0x20, "10.60.0.20"))
	move := func(teid uint32, peer string, marker bool) *ie.IE {
		return (&pfcp.FAR{ID: 2, Forwarding: &pfcp.Forwarding{OuterHeader: creation(teid, peer), EndMarker: marker}}).IE(ie.UpdateFAR)
	}
	same(t, "established", []dataplane.OuterHeader(nil), b.plane.of(seid).EndMarkers)
	steps := []struct {
		name string
		ies  []*ie.IE
		want []dataplane.OuterHeader
	}{
		{"moved with SNDEM", []*ie.IE{move(0x102, "10.100.1.3", true)}, []dataplane.OuterHeader{*header(0x101, "10.100.1.2")}},
		{"something else", []*ie.IE{(&pfcp.QER{ID: 1, QFI: p(uint8(8))}).IE(ie.UpdateQER)}, nil},
		{"not moved with SNDEM", []*ie.IE{move(0x102, "10.100.1.3", true)}, nil},
		{"moved without SNDEM", []*ie.IE{move(0x103, "10.100.1.3", false)}, nil},
		{"moved with SNDEM in the message's flags", []*ie.IE{ie.NewPFCPSMReqFlags(2), move(0x104, "10.100.1.3", false)}, []dataplane.OuterHeader{*header(0x103, "10.100.1.3")}},
		{"the FAR of the uplink has no tunnel to leave", []*ie.IE{(&pfcp.FAR{ID: 1, Forwarding: &pfcp.Forwarding{EndMarker: true, OuterHeader: creation(5, "10.100.9.9")}}).IE(ie.UpdateFAR)}, nil},
	}
	for _, tc := range steps {
		b.modified(seid, tc.ies...)
		same(t, tc.name, tc.want, b.plane.of(seid).EndMarkers)
	}
}

// TestRates: kbit/s become bit/s, and an MBR of 0 is no limit. free5GC's SMF writes
// 0 for a QoS flow whose PCC rule has no maximum; Open5GS's leaves the IE out if both
// directions have none, and writes 0 where one has none.
func TestRates(t *testing.T) {
	b := newBench(t)
	b.associate()
	const none = (1<<40 - 1) * 1000
	tests := []struct {
		name     string
		mbr, gbr *pfcp.BitRate
		want     dataplane.QER
	}{
		{"none", nil, nil, dataplane.QER{}},
		{"both", &pfcp.BitRate{Uplink: 1_000_000, Downlink: 2_000_000}, &pfcp.BitRate{Uplink: 1, Downlink: 2}, dataplane.QER{
			MBR: &dataplane.BitRate{Uplink: 1e9, Downlink: 2e9}, GBR: &dataplane.BitRate{Uplink: 1000, Downlink: 2000},
		}},
		{"MBR and GBR 0", &pfcp.BitRate{}, &pfcp.BitRate{}, dataplane.QER{}},
		{"one way 0", &pfcp.BitRate{Downlink: 8}, &pfcp.BitRate{Uplink: 1}, dataplane.QER{
			MBR: &dataplane.BitRate{Uplink: none, Downlink: 8000}, GBR: &dataplane.BitRate{Uplink: 1000},
		}},
		{"the most", &pfcp.BitRate{Uplink: 1<<40 - 1, Downlink: 1}, nil, dataplane.QER{MBR: &dataplane.BitRate{Uplink: none, Downlink: 1000}}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := plainSession(0x20, "10.60.0.20")
			r.qers[0].MBR, r.qers[0].GBR, r.qers[0].QFI = tc.mbr, tc.gbr, nil
			seid, _ := b.established(1, r)
			tc.want.ID = 1
			same(t, "QER", &tc.want, b.plane.of(seid).Downlink[0].QERs[0])
		})
	}
}

// TestDirections: which way a PDR's packets go, by its source interface, its F-TEID
// and where its FAR leads.
func TestDirections(t *testing.T) {
	b := newBench(t)
	b.associate()
	given := &pfcp.FTEID{TEID: 0x70, IPv4: addr("10.100.3.1")}
	tests := []struct {
		name     string
		source   uint8
		fteid    *pfcp.FTEID
		far      uint32 // 1 = to the core, 2 = to the access
		downlink bool
		teid     uint32
	}{
		{"uplink", pfcp.InterfaceAccess, given, 1, false, 0x70},
		{"downlink of N6", pfcp.InterfaceCore, nil, 2, true, 0},
		{"downlink of N6-LAN", pfcp.InterfaceN6LAN, nil, 2, true, 0},
		{"downlink of N9", pfcp.InterfaceCore, given, 2, true, 0x70},
		{"indirect forwarding", pfcp.InterfaceAccess, given, 2, true, 0x70},
		{"from the CP function", pfcp.InterfaceCPFunction, given, 2, true, 0x70},
		{"from other UEs", pfcp.SourceVNInternal, nil, 2, true, 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := plainSession(0x20, "10.60.0.20")
			d := &pfcp.PDR{
				ID: 50, Precedence: p(uint32(1)), FARID: p(tc.far),
				PDI: &pfcp.PDI{SourceInterface: tc.source, FTEID: tc.fteid, UEAddresses: ue(true, "10.60.0.20"), QFIs: []uint8{5}},
			}
			if tc.fteid != nil {
				d.OuterHeaderRemoval = p(uint8(6))
			}
			r.pdrs = append(r.pdrs, d)
			seid, _ := b.established(1, r)
			rules := b.plane.of(seid)
			list, others := rules.Uplink, rules.Downlink
			if tc.downlink {
				list, others = others, list
			}
			if len(list) != 2 || len(others) != 1 || list[0].ID != 50 || list[0].TEID != tc.teid {
				t.Fatalf("uplink %+v, downlink %+v", rules.Uplink, rules.Downlink)
			}
			if teid := list[0].TEID != 0; teid != list[0].LocalAddr.IsValid() || teid != (list[0].QFIs == 1<<5) {
				t.Errorf("PDR %+v", list[0])
			}
			if list[0].Access != 0 {
				t.Errorf("access %v", list[0].Access)
			}
		})
	}
}

// TestFilterFields: all that an SDF filter can ask for, and applications.
func TestFilterFields(t *testing.T) {
	b := newBench(t)
	b.associate()
	flow := func(text string) pfcp.FlowDescription {
		fd, err := pfcp.ParseFlowDescription(text)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	b.s.mu.Lock()
	b.s.apps = map[string][]pfcp.FlowDescription{
		"video": {flow("permit out 17 from 192.0.2.0/24 443 to assigned"), flow("permit out 6 from 192.0.2.0/24 to any")}, "nothing": nil,
	}
	b.s.mu.Unlock()
	server := netip.MustParsePrefix("192.0.2.0/24")
	tests := []struct {
		name    string
		filters []pfcp.SDFFilter
		app     string
		want    []dataplane.Filter
	}{
		{"traffic class", []pfcp.SDFFilter{{HasTOS: true, TOS: 0xb8, TOSMask: 0xfc}}, "", []dataplane.Filter{{TOS: 0xb8, TOSMask: 0xfc}}},
		{
			"SPI and flow description",
			[]pfcp.SDFFilter{{HasSPI: true, SPI: 9, HasDescription: true, Description: flow("permit out 50 from 192.0.2.0/24 to assigned")}},
			"",
			[]dataplane.Filter{{Protocol: 50, Remote: server, SPI: 9}},
		},
		{"flow label", []pfcp.SDFFilter{{HasLabel: true}, {HasLabel: true, FlowLabel: 0xfffff}}, "", []dataplane.Filter{{HasLabel: true}, {HasLabel: true, FlowLabel: 0xfffff}}},
		{"by ID", []pfcp.SDFFilter{{HasID: true, ID: 70}}, "", []dataplane.Filter{{TOS: 4, TOSMask: 0xff}}},
		{"application", nil, "video", []dataplane.Filter{
			{Protocol: 17, Remote: server, RemotePorts: []dataplane.PortRange{{First: 443, Last: 443}}}, {Protocol: 6, Remote: server},
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := plainSession(0x20, "10.60.0.20")
			r.pdrs[0].PDI.Filters = []pfcp.SDFFilter{{HasID: true, ID: 70, HasTOS: true, TOS: 4, TOSMask: 0xff}}
			r.pdrs[1].PDI.Filters, r.pdrs[1].PDI.ApplicationID = tc.filters, tc.app
			seid, _ := b.established(1, r)
			same(t, "filters", tc.want, b.plane.of(seid).Downlink[0].Filters)
		})
	}
	for _, app := range []string{"nothing", "video"} { // video together with an SDF filter
		r := plainSession(0x21, "10.60.0.21")
		r.pdrs[1].PDI.ApplicationID = app
		if app == "video" {
			r.pdrs[1].PDI.Filters = tests[0].filters
		}
		same(t, app, refusal{failure, ie.ApplicationID, "000003"}.String(), refusalOf(t, b.ask(establishment(2, r))).String())
	}
}

// TestFramedRoutes: the addresses behind a UE are the session's, and nobody else's.
func TestFramedRoutes(t *testing.T) {
	b := newBench(t)
	b.associate()
	r := plainSession(0x20, "10.60.0.20")
	routes := []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24"), netip.MustParsePrefix("2001:db8:7::/48")}
	for _, d := range r.pdrs {
		d.PDI.FramedRoutes = routes
	}
	seid, _ := b.established(1, r)
	rules := b.plane.of(seid)
	want := append([]netip.Prefix{netip.MustParsePrefix("10.60.0.20/32")}, routes...)
	same(t, "session", want, rules.UEAddrs)
	same(t, "uplink", want, rules.Uplink[0].UEAddrs)
	same(t, "downlink", want, rules.Downlink[0].UEAddrs)

	thief := plainSession(0x21, "192.168.7.9")
	same(t, "an address of the route", refusal{failure, ie.UEIPAddress, "000002"}.String(), refusalOf(t, b.ask(establishment(2, thief))).String())
	thief = plainSession(0x21, "10.60.0.21")
	thief.pdrs[1].PDI.FramedRoutes = []netip.Prefix{netip.MustParsePrefix("10.60.0.0/24")}
	same(t, "a route over an address", refusal{failure, ie.FramedRoute, "000003"}.String(), refusalOf(t, b.ask(establishment(2, thief))).String())
	b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0))
	b.established(2, thief)
}

// TestRouterAdvertisements: the worker answers Router Solicitations if the config has
// it so, the session has IPv6, and its SMF does not want them.
func TestRouterAdvertisements(t *testing.T) {
	b := newBench(t)
	b.associate()
	v6 := []pfcp.UEIPAddress{{IPv4: addr("10.60.0.20"), IPv6: addr("2001:db8:1::")}}
	tests := []struct {
		name       string
		config, ip bool
		toCP       bool
		want       bool
	}{
		{"yes", true, true, false, true},
		{"not by the config", false, true, false, false},
		{"no IPv6", true, false, false, false},
		{"to the SMF", true, true, true, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b.s.mu.Lock()
			b.s.cfg.Braid.RA = tc.config
			b.s.mu.Unlock()
			r := plainSession(0x20, "10.60.0.20")
			if tc.ip {
				r.pdrs[1].PDI.UEAddresses = v6
			}
			if tc.toCP {
				r.fars[0].Forwarding.Destination, r.fars[0].Forwarding.OuterHeader = p(pfcp.InterfaceCPFunction), creation(9, "10.100.4.1")
			}
			seid, _ := b.established(1, r)
			if got := b.plane.of(seid).Advertise; got != tc.want {
				t.Errorf("advertises: %v", got)
			}
		})
	}
}
