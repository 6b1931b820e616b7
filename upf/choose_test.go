package upf

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

const poolConfig = `
version: 1.0.3
pfcp: {addr: 127.0.0.1, nodeID: 10.100.4.2, retransTimeout: 50ms, maxRetrans: 1}
gtpu:
  forwarder: gtp5g
  ifList: [{addr: 10.100.3.1, type: N3}]
dnnList:
  - {dnn: internet, cidr: 10.60.0.0/29}
  - {dnn: internet, cidr: "2001:db8:60::/62"}
  - {dnn: ims, cidr: 10.61.0.0/24}
`

// TestTunnelAddresses: at which of several addresses an F-TEID is, and which of ours
// that is.
func TestTunnelAddresses(t *testing.T) {
	b := newBench(t)
	b.associate()
	b.s.mu.Lock()
	b.s.cfg.GTPU.Interfaces = []Interface{
		{Addr: addr("10.100.9.1"), Type: "N9"},
		{Addr: addr("10.100.3.1"), Type: "N3", Advertise: addr("198.51.100.1")},
		{Addr: addr("10.100.3.2"), Type: "N3", Name: "second"},
		{Addr: addr("2001:db8:3::1"), Type: "N3"},
		{Addr: addr("10.100.9.2"), Type: "N9", Name: "second"},
	}
	b.s.mu.Unlock()
	choose := func(v4, v6 bool) *pfcp.FTEID { return &pfcp.FTEID{Choose: true, ChooseV4: v4, ChooseV6: v6} }
	tests := []struct {
		name     string
		source   uint8
		instance string
		typ      *uint8
		fteid    *pfcp.FTEID
		v4, v6   string // given out; "" = none
		local    string
	}{
		{"access", pfcp.InterfaceAccess, "internet", nil, choose(true, false), "198.51.100.1", "", "10.100.3.1"},
		{"access, both families", pfcp.InterfaceAccess, "", nil, choose(true, true), "198.51.100.1", "2001:db8:3::1", "10.100.3.1"},
		{"access, IPv6", pfcp.InterfaceAccess, "", nil, choose(false, true), "", "2001:db8:3::1", "2001:db8:3::1"},
		{"access, by name", pfcp.InterfaceAccess, "second", nil, choose(true, false), "10.100.3.2", "", "10.100.3.2"},
		{"core", pfcp.InterfaceCore, "internet", nil, choose(true, false), "10.100.9.1", "", "10.100.9.1"},
		{"core, by name", pfcp.InterfaceCore, "second", nil, choose(true, false), "10.100.9.2", "", "10.100.9.2"},
		{"access that is N9", pfcp.InterfaceAccess, "", p(pfcp.N9), choose(true, false), "10.100.9.1", "", "10.100.9.1"},
		{"CP function", pfcp.InterfaceCPFunction, "", nil, choose(true, false), "198.51.100.1", "", "10.100.3.1"},
		{"given as advertised", pfcp.InterfaceAccess, "", nil, &pfcp.FTEID{TEID: 0x70, IPv4: addr("198.51.100.1")}, "", "", "10.100.3.1"},
		{"given as it is", pfcp.InterfaceAccess, "", nil, &pfcp.FTEID{TEID: 0x70, IPv4: addr("10.100.3.2")}, "", "", "10.100.3.2"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := plainSession(0x20, "10.60.0.20")
			far := uint32(2)
			if tc.source == pfcp.InterfaceAccess {
				far = 1
			}
			r.pdrs = append(r.pdrs, &pfcp.PDR{
				ID: 50, Precedence: p(uint32(1)), FARID: &far, OuterHeaderRemoval: p(uint8(0)),
				PDI: &pfcp.PDI{SourceInterface: tc.source, NetworkInstance: tc.instance, InterfaceType: tc.typ, FTEID: tc.fteid},
			})
			seid, resp := b.established(1, r)
			created := createdPDRs(t, resp, ie.CreatedPDR)[50]
			text := func(a netip.Addr) string {
				if !a.IsValid() {
					return ""
				}
				return a.String()
			}
			if text(created.IPv4) != tc.v4 || text(created.IPv6) != tc.v6 {
				t.Errorf("created %+v", created)
			}
			rules := b.plane.of(seid)
			d := rules.Uplink[0]
			if tc.source != pfcp.InterfaceAccess {
				d = rules.Downlink[0]
			}
			if d.ID != 50 || d.LocalAddr != addr(tc.local) {
				t.Errorf("PDR %+v, want it at %s", d, tc.local)
			}
		})
	}
}

// askingSession is a plain session whose UE address is to be chosen.
func askingSession(teid uint32, dnn string, v4, v6 bool) *rulesSpec {
	r := plainSession(teid, "10.60.0.1")
	for n, d := range r.pdrs {
		d.PDI.NetworkInstance = dnn
		d.PDI.UEAddresses = []pfcp.UEIPAddress{{ChooseV4: v4, ChooseV6: v6, Destination: n == 1}}
	}
	return r
}

// createdUEs are the UE addresses that an answer tells of, by PDR or endpoint ID.
func createdUEs(t *testing.T, m message.Message, typ uint16) map[uint16]pfcp.UEIPAddress {
	t.Helper()
	return created(t, m, typ, ie.UEIPAddress, pfcp.ParseUEIPAddress)
}

// TestUEAddressesChosen: every PDR that asks gets the session's one address, an
// address has one owner, whoever chose it, and is free again when the session ends.
func TestUEAddressesChosen(t *testing.T) {
	b := newBenchWith(t, poolConfig)
	b.associate()
	// Of the /29, .0, .1 and .7 are not given; .3 is an SMF's choice.
	b.established(100, plainSession(0x99, "10.60.0.3"))
	var seids []uint64
	for n, want := range []string{"10.60.0.2", "10.60.0.4", "10.60.0.5", "10.60.0.6"} {
		seid, resp := b.established(uint64(n+1), askingSession(uint32(n+1), "internet", true, false))
		seids = append(seids, seid)
		ues := createdUEs(t, resp, ie.CreatedPDR)
		if len(ues) != 2 || ues[2] != (pfcp.UEIPAddress{IPv4: addr(want)}) || ues[3] != (pfcp.UEIPAddress{IPv4: addr(want), Destination: true}) {
			t.Fatalf("session %d: created %v, want %s", n, ues, want)
		}
		rules := b.plane.of(seid)
		same(t, "the session's addresses", []netip.Prefix{netip.PrefixFrom(addr(want), 32)}, rules.UEAddrs)
		same(t, "the downlink's", rules.UEAddrs, rules.Downlink[0].UEAddrs)
	}
	full := refusalOf(t, b.ask(establishment(9, askingSession(9, "internet", true, false))))
	same(t, "pool empty", refusal{pfcp.CauseAllDynamicAddressesOccupied, ie.UEIPAddress, ""}.String(), full.String())
	taken := refusalOf(t, b.ask(establishment(9, plainSession(9, "10.60.0.4"))))
	same(t, "an SMF takes a chosen address", refusal{failure, ie.UEIPAddress, "000002"}.String(), taken.String())

	// A later PDR of the session gets the same address.
	again := askingSession(2, "internet", true, false).pdrs[1]
	again.ID = 60
	resp := b.modified(seids[1], again.IE(ie.CreatePDR))
	if got := createdUEs(t, resp, ie.CreatedPDR)[60]; got.IPv4 != addr("10.60.0.4") {
		t.Errorf("PDR 60 got %v", got)
	}
	b.ask(message.NewSessionDeletionRequest(0, 0, seids[2], 0, 0))
	_, resp = b.established(9, askingSession(9, "internet", true, false))
	if got := createdUEs(t, resp, ie.CreatedPDR)[3]; got.IPv4 != addr("10.60.0.5") {
		t.Errorf("after one is free: %v", got)
	}
	// All PDRs with it gone, a session has no address any more.
	b.modified(seids[0], ie.NewRemovePDR(ie.NewPDRID(2)), ie.NewRemovePDR(ie.NewPDRID(3)))
	b.established(10, plainSession(10, "10.60.0.2"))
}

// TestUEAddressFamilies: both families, IPv6 prefixes, and the network instance of
// another PDI where the asker's names no network of ours.
func TestUEAddressFamilies(t *testing.T) {
	b := newBenchWith(t, poolConfig)
	b.associate()
	_, resp := b.established(1, askingSession(1, "internet", true, true))
	if got := createdUEs(t, resp, ie.CreatedPDR)[3]; got.IPv4 != addr("10.60.0.2") || got.IPv6 != addr("2001:db8:60:1::") {
		t.Errorf("both families: %v", got)
	}
	r := askingSession(2, "ims", true, false)
	r.pdrs[0].PDI.NetworkInstance = "access.network"
	_, resp = b.established(2, r)
	if got := createdUEs(t, resp, ie.CreatedPDR)[2]; got.IPv4 != addr("10.61.0.2") {
		t.Errorf("network of the other PDI: %v", got)
	}
	r = askingSession(3, "", true, false)
	_, resp = b.established(3, r)
	if got := createdUEs(t, resp, ie.CreatedPDR)[2]; got.IPv4 != addr("10.60.0.3") {
		t.Errorf("no network said: %v", got)
	}
	// An IPv4 address that the SMF gives beside a prefix that it does not.
	r = askingSession(4, "internet", false, true)
	for _, d := range r.pdrs {
		d.PDI.UEAddresses[0].IPv4 = addr("10.70.0.1")
	}
	seid, resp := b.established(4, r)
	if got := createdUEs(t, resp, ie.CreatedPDR)[2]; got.IPv4 != addr("10.70.0.1") || got.IPv6 != addr("2001:db8:60:2::") {
		t.Errorf("one given, one chosen: %v", got)
	}
	same(t, "its addresses", []netip.Prefix{netip.MustParsePrefix("10.70.0.1/32"), netip.MustParsePrefix("2001:db8:60:2::/64")}, b.plane.of(seid).UEAddrs)

	for name, want := range map[string]refusal{
		"IPv6 of a network that has none": {failure, ie.NetworkInstance, "000003"},
		"a longer prefix":                 {failure, ie.UEIPAddress, "000002"},
	} {
		r := askingSession(5, "ims", false, true)
		if name == "a longer prefix" {
			r = askingSession(5, "internet", false, true)
			r.pdrs[0].PDI.UEAddresses[0].PrefixLen = 72
		}
		same(t, name, want.String(), refusalOf(t, b.ask(establishment(5, r))).String())
	}
}

// TestTrafficEndpoints: a PDR has what its traffic endpoint says, what is chosen for
// an endpoint is chosen once, and PDRs go with their endpoint.
func TestTrafficEndpoints(t *testing.T) {
	b := newBenchWith(t, poolConfig)
	b.associate()
	r := plainSession(0, "10.60.0.1")
	for n, d := range r.pdrs {
		d.PDI = &pfcp.PDI{SourceInterface: d.PDI.SourceInterface, Endpoint: p(uint8(n + 1))}
	}
	twin := *r.pdrs[0]
	twin.ID, twin.Precedence = 7, p(uint32(1))
	r.pdrs = append(r.pdrs, &twin)
	r.endpoints = []*pfcp.TrafficEndpoint{
		{ID: 1, PDI: pfcp.PDI{
			FTEID: &pfcp.FTEID{Choose: true, ChooseV4: true}, NetworkInstance: "internet", QFIs: []uint8{3},
			UEAddresses: []pfcp.UEIPAddress{{ChooseV4: true}},
		}},
		{ID: 2, PDI: pfcp.PDI{NetworkInstance: "internet", UEAddresses: []pfcp.UEIPAddress{{ChooseV4: true, Destination: true}}}},
	}
	seid, resp := b.established(1, r)
	ues := createdUEs(t, resp, ie.CreatedTrafficEndpoint)
	if len(ues) != 2 || ues[1].IPv4 != addr("10.60.0.2") || ues[2].IPv4 != addr("10.60.0.2") {
		t.Errorf("created %v", ues)
	}
	rules := b.plane.of(seid)
	if len(rules.Uplink) != 2 || len(rules.Downlink) != 1 {
		t.Fatalf("rules %+v", rules)
	}
	one, two := rules.Uplink[0], rules.Uplink[1]
	if one.TEID == 0 || one.TEID != two.TEID || one.QFIs != 1<<3 || one.ID != 7 || len(one.UEAddrs) != 1 {
		t.Errorf("uplink %+v and %+v", one, two)
	}
	same(t, "downlink", []netip.Prefix{netip.MustParsePrefix("10.60.0.2/32")}, rules.Downlink[0].UEAddrs)

	b.modified(seid, (&pfcp.TrafficEndpoint{ID: 1, PDI: pfcp.PDI{QFIs: []uint8{4}}}).IE(ie.UpdateTrafficEndpoint))
	if got := b.plane.of(seid).Uplink[1]; got.QFIs != 1<<4 || got.TEID != one.TEID {
		t.Errorf("after Update Traffic Endpoint: %+v", got)
	}
	b.modified(seid, (&pfcp.TrafficEndpoint{ID: 1}).IE(ie.RemoveTrafficEndpoint))
	if got := b.plane.of(seid); len(got.Uplink) != 0 || len(got.Downlink) != 1 {
		t.Errorf("after Remove Traffic Endpoint: %+v", got)
	}
	// What an endpoint that no PDR refers to has is the session's all the same.
	thief := plainSession(0x31, "10.60.9.9")
	thief.endpoints = []*pfcp.TrafficEndpoint{{ID: 1, PDI: pfcp.PDI{UEAddresses: ue(false, "10.60.0.2")}}}
	got := refusalOf(t, b.ask(establishment(2, thief)))
	same(t, "an endpoint with another session's address", refusal{failure, ie.UEIPAddress, ""}.String(), got.String())
	b.established(3, plainSession(0x32, "10.60.9.3"))
	thief.endpoints[0].PDI = pfcp.PDI{FTEID: &pfcp.FTEID{TEID: 0x32, IPv4: addr("10.100.3.1")}}
	got = refusalOf(t, b.ask(establishment(2, thief)))
	same(t, "an endpoint with another session's TEID", refusal{failure, ie.FTEID, ""}.String(), got.String())
	want := refusal{failure, ie.TrafficEndpointID, ""}
	for name, i := range map[string]*ie.IE{
		"create one that is there":     r.endpoints[1].IE(ie.CreateTrafficEndpoint),
		"update one that is not there": (&pfcp.TrafficEndpoint{ID: 9}).IE(ie.UpdateTrafficEndpoint),
	} {
		got := refusalOf(t, b.ask(message.NewSessionModificationRequest(0, 0, seid, 0, 0, i)))
		same(t, name, want.String(), got.String())
	}
}

// String is what a refusal says, for comparison.
func (r refusal) String() string {
	return fmt.Sprintf("cause %d, offending IE %d, failed rule %q", r.cause, r.offending, r.failed)
}

// TestUEPrefixes: an IPv6 prefix has the length that the CP function says, by IP6PL or by
// how much shorter than 64 bits a delegated one is.
func TestUEPrefixes(t *testing.T) {
	b := newBench(t)
	b.associate()
	for i, tc := range []struct {
		ue   pfcp.UEIPAddress
		want string
	}{
		{pfcp.UEIPAddress{IPv6: addr("2001:db8:1::1")}, "2001:db8:1::/64"},
		{pfcp.UEIPAddress{IPv6: addr("2001:db8:2::1"), PrefixLen: 128}, "2001:db8:2::1/128"},
		{pfcp.UEIPAddress{IPv6: addr("2001:db8:3:1::"), PrefixLen: 56}, "2001:db8:3::/56"},
		{pfcp.UEIPAddress{IPv6: addr("2001:db8:4:1::"), Delegated: 16}, "2001:db8:4::/48"},
	} {
		r := plainSession(uint32(i+1), "10.60.0.1")
		for _, p := range r.pdrs {
			p.PDI.UEAddresses = []pfcp.UEIPAddress{tc.ue}
		}
		seid, _ := b.established(uint64(i+1), r)
		rules := b.plane.of(seid)
		want := []netip.Prefix{netip.MustParsePrefix(tc.want)}
		if !slices.Equal(rules.UEAddrs, want) || !slices.Equal(rules.Downlink[0].UEAddrs, want) || !slices.Equal(rules.Uplink[0].UEAddrs, want) {
			t.Errorf("%+v: %v, want %v", tc.ue, rules.UEAddrs, want)
		}
	}
}
