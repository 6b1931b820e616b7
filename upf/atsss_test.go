package upf

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// atsssConfig has all that SMFs can ask for, and link-specific addresses for two sessions
// of IPv4 and more of IPv6.
const atsssConfig = testConfig + atsssSection

const atsssSection = `
braid:
  atsss:
    converter: {addrs: [10.200.0.1, "fd00:200::1"]}
    linkSpecific: [100.64.7.0/29, "fd00:a7::/64"]
    pmf: {addrs: [10.200.0.2, "fd00:200::2"]}
`

// parametersOf are the ATSSS Control Parameters of an answer, nil if it has none.
func parametersOf(t *testing.T, resp message.Message) *pfcp.ATSSSParameters {
	t.Helper()
	i := first(iesOf(t, resp), ie.ATSSSControlParameters)
	if i == nil {
		return nil
	}
	told, err := pfcp.ParseATSSSParameters(i)
	if err != nil {
		t.Fatal(err)
	}
	return told
}

// linked is how many pairs of link-specific addresses are held.
func (b *bench) linked() int {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return b.s.registry.linked
}

// askingMA is maSession of a UE with these addresses, whose SMF asks for c.
func askingMA(c *pfcp.ATSSSControl, ues ...string) *rulesSpec {
	r := maSession()
	r.pdrs = r.pdrs[:3]
	for _, d := range r.pdrs {
		d.PDI.UEAddresses = nil
		for _, a := range ues {
			u := pfcp.UEIPAddress{IPv4: addr(a)}
			if addr(a).Is6() {
				u = pfcp.UEIPAddress{IPv6: addr(a)}
			}
			d.PDI.UEAddresses = append(d.PDI.UEAddresses, u)
		}
	}
	r.mars[0].Functionality = p(uint8(0))
	if c != nil && c.MPTCP {
		r.mars[0].Functionality = p(uint8(1))
	}
	r.atsss = c
	return r
}

// TestATSSSParameters: what is asked for is answered, as far as there is of it, for the
// IP versions of the UE; and the worker gets what the SMF is told.
func TestATSSSParameters(t *testing.T) {
	pair4 := [2]netip.Addr{addr("100.64.7.2"), addr("100.64.7.3")}
	pair6 := [2]netip.Addr{addr("fd00:a7::2"), addr("fd00:a7::3")}
	ports := func(qfi uint16) [2]uint16 { return [2]uint16{10500 + 2*qfi, 10501 + 2*qfi} }
	proxy4, proxy6 := netip.MustParseAddrPort("10.200.0.1:5124"), netip.MustParseAddrPort("[fd00:200::1]:5124")
	all := &pfcp.ATSSSControl{MPTCP: true, ATSSSLL: true, PMF: &pfcp.PMFControl{Required: true, PerFlow: true, QFIs: []uint8{9, 1, 9, 0, 63}}}
	mptcp4 := &pfcp.MPTCPParameters{
		Proxy:        pfcp.MPTCPAddress{Type: pfcp.TransportConverter, Port: 5124, IPv4: proxy4.Addr()},
		LinkSpecific: pfcp.LinkSpecific{IPv4: pair4},
	}
	mptcp64 := &pfcp.MPTCPParameters{
		Proxy:        pfcp.MPTCPAddress{Type: pfcp.TransportConverter, Port: 5124, IPv4: proxy4.Addr(), IPv6: proxy6.Addr()},
		LinkSpecific: pfcp.LinkSpecific{IPv4: pair4, IPv6: pair6},
	}
	pmf64 := func(qfi uint8) pfcp.PMFAddress {
		return pfcp.PMFAddress{IPv4: addr("10.200.0.2"), IPv6: addr("fd00:200::2"), Port: ports(uint16(qfi))}
	}
	flow := func(qfi uint8) pfcp.PMFParameters { return pfcp.PMFParameters{Address: pmf64(qfi), QFI: p(qfi)} }
	pmf4 := pfcp.PMFAddress{IPv4: addr("10.200.0.2"), Port: ports(0)}
	type plane = dataplane.ATSSS
	links4 := [steer.NumAccesses][]netip.Addr{{pair4[0]}, {pair4[1]}}
	for _, tc := range []struct {
		name   string
		config string
		ask    *pfcp.ATSSSControl
		ues    []string
		want   *pfcp.ATSSSParameters
		plane  *plane
	}{
		{
			"all, of both IP versions", atsssConfig, all,
			[]string{"10.60.0.1", "2001:db8:60::"},
			&pfcp.ATSSSParameters{MPTCP: mptcp64, ATSSSLL: true, PMF: []pfcp.PMFParameters{{Address: pmf64(0)}, flow(9), flow(1), flow(63)}},
			&plane{
				Converter:    []netip.AddrPort{proxy4, proxy6},
				LinkSpecific: [steer.NumAccesses][]netip.Addr{{pair4[0], pair6[0]}, {pair4[1], pair6[1]}},
				PMF:          &dataplane.PMF{Addrs: []netip.Addr{addr("10.200.0.2"), addr("fd00:200::2")}, Port: ports(0), QFIs: []uint8{9, 1, 63}},
			},
		},
		{
			"MPTCP, of an IPv4 UE", atsssConfig, &pfcp.ATSSSControl{MPTCP: true},
			[]string{"10.60.0.1"},
			&pfcp.ATSSSParameters{MPTCP: mptcp4}, &plane{Converter: []netip.AddrPort{proxy4}, LinkSpecific: links4},
		},
		{
			"PMF without round trips", atsssConfig, &pfcp.ATSSSControl{ATSSSLL: true, PMF: &pfcp.PMFControl{Required: true, NoRTT: true, QFIs: []uint8{9}}},
			[]string{"10.60.0.1"},
			&pfcp.ATSSSParameters{ATSSSLL: true, PMF: []pfcp.PMFParameters{{Address: pmf4}}},
			&plane{PMF: &dataplane.PMF{Addrs: []netip.Addr{addr("10.200.0.2")}, Port: ports(0), NoRTT: true}},
		},
		{
			"PMF that is not required", atsssConfig, &pfcp.ATSSSControl{ATSSSLL: true, PMF: &pfcp.PMFControl{NoRTT: true}},
			[]string{"10.60.0.1"},
			&pfcp.ATSSSParameters{ATSSSLL: true}, &plane{},
		},
		{"all, where nothing is configured", testConfig, all, []string{"10.60.0.1"}, &pfcp.ATSSSParameters{ATSSSLL: true}, &plane{}},
		{"MPTCP, where nothing is configured", testConfig, &pfcp.ATSSSControl{MPTCP: true}, []string{"10.60.0.1"}, nil, nil},
		{
			"MPQUIC and ATSSS-LL", atsssConfig, &pfcp.ATSSSControl{ATSSSLL: true, MPQUIC: pfcp.MPQUICUDP},
			[]string{"10.60.0.1"},
			&pfcp.ATSSSParameters{ATSSSLL: true}, &plane{},
		},
		{"nothing said", atsssConfig, nil, []string{"10.60.0.1"}, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBenchWith(t, tc.config)
			b.associate()
			seid, resp := b.established(1, askingMA(tc.ask, tc.ues...))
			if diff := cmp.Diff(tc.want, parametersOf(t, resp), cmpRules); diff != "" {
				t.Errorf("told: %s", diff)
			}
			if diff := cmp.Diff(tc.plane, b.plane.of(seid).ATSSS, cmpRules); diff != "" {
				t.Errorf("the worker's: %s", diff)
			}
			// A modification that says nothing of it changes nothing and tells nothing.
			resp = b.modified(seid, (&pfcp.QER{ID: 1, QFI: p(uint8(8))}).IE(ie.UpdateQER))
			if told := parametersOf(t, resp); told != nil {
				t.Errorf("told again: %+v", told)
			}
			if diff := cmp.Diff(tc.plane, b.plane.of(seid).ATSSS, cmpRules); diff != "" {
				t.Errorf("the worker's, after a modification: %s", diff)
			}
		})
	}
}

// TestATSSSChange: ATSSS control information in a modification takes the place of that of
// before; what the session has and still asks for it keeps.
func TestATSSSChange(t *testing.T) {
	b := newBenchWith(t, atsssConfig)
	b.associate()
	seid, resp := b.established(1, askingMA(&pfcp.ATSSSControl{MPTCP: true}, "10.60.0.1"))
	had := parametersOf(t, resp).MPTCP
	told := parametersOf(t, b.modified(seid, (&pfcp.ATSSSControl{MPTCP: true, ATSSSLL: true, PMF: &pfcp.PMFControl{Required: true}}).IE()))
	if diff := cmp.Diff(had, told.MPTCP, cmpRules); diff != "" || !told.ATSSSLL || len(told.PMF) != 1 {
		t.Errorf("told %+v: %s", told, diff)
	}
	told = parametersOf(t, b.modified(seid, (&pfcp.ATSSSControl{ATSSSLL: true}).IE(), (&pfcp.MAR{ID: 1, Functionality: p(uint8(0))}).IE(ie.UpdateMAR)))
	if told.MPTCP != nil || !told.ATSSSLL || told.PMF != nil {
		t.Errorf("told %+v", told)
	}
	if a := b.plane.of(seid).ATSSS; len(a.Converter) > 0 || len(a.LinkSpecific[0]) > 0 || a.PMF != nil {
		t.Errorf("the worker's: %+v", a)
	}
	if n := b.linked(); n != 0 {
		t.Errorf("%d pairs are held", n)
	}
}

// TestLinkSpecificAddresses: no session gets another's, the last is refused with the
// Cause for it and gets those that another gives back.
func TestLinkSpecificAddresses(t *testing.T) {
	b := newBenchWith(t, atsssConfig)
	b.associate()
	ask := &pfcp.ATSSSControl{MPTCP: true}
	one, resp := b.established(1, askingMA(ask, "10.60.0.1"))
	two, other := b.established(2, askingMA(ask, "10.60.0.2"))
	taken := map[netip.Addr]bool{}
	for _, m := range []message.Message{resp, other} {
		for _, a := range parametersOf(t, m).MPTCP.LinkSpecific.IPv4 {
			if taken[a] || !netip.MustParsePrefix("100.64.7.0/29").Contains(a) {
				t.Errorf("%v is told, and %v are taken", a, taken)
			}
			taken[a] = true
		}
	}
	full := refusal{pfcp.CauseAllDynamicAddressesOccupied, ie.MPTCPControlInformation, ""}
	if got := refusalOf(t, b.ask(establishment(3, askingMA(ask, "10.60.0.3")))); got != full {
		t.Errorf("of a full pool: %+v, want %+v", got, full)
	}
	// A session that does without is not refused, until it asks for them.
	three, _ := b.established(3, askingMA(&pfcp.ATSSSControl{ATSSSLL: true}, "10.60.0.3"))
	before := b.plane.of(three)
	if got := refusalOf(t, b.ask(message.NewSessionModificationRequest(0, 0, three, 0, 0, (&pfcp.ATSSSControl{ATSSSLL: true, MPTCP: true}).IE()))); got != full || b.plane.of(three) != before {
		t.Errorf("of a full pool, by a modification: %+v, want %+v", got, full)
	}
	b.ask(message.NewSessionDeletionRequest(0, 0, one, 0, 0))
	told := parametersOf(t, b.modified(three, (&pfcp.ATSSSControl{ATSSSLL: true, MPTCP: true}).IE()))
	if diff := cmp.Diff(parametersOf(t, resp).MPTCP, told.MPTCP, cmpRules); diff != "" {
		t.Errorf("not those that have been given back: %s", diff)
	}
	for _, seid := range []uint64{two, three} {
		b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0))
	}
	if got := b.registry(); got != nothingHeld {
		t.Errorf("left: %s", got)
	}
}

// TestPairs: a pool of pairs gives every pair but the first and the last, never one that
// is held.
func TestPairs(t *testing.T) {
	for cidr, give := range map[string]int{"100.64.0.0/24": 126, "100.64.0.4/30": 2, "100.64.0.4/31": 1, "fd00::/120": 127, "fd00::/126": 2, "fd00::/127": 1} {
		pool := newPairs(netip.MustParsePrefix(cidr))
		seen := map[netip.Addr]bool{}
		for {
			q, ok := pool.choose()
			if !ok {
				break
			}
			if !pool.free(q) {
				t.Fatalf("%s: %v is chosen, and not free", cidr, q)
			}
			pool.hold(q, true)
			if pool.free(q) {
				t.Fatalf("%s: %v is held, and free", cidr, q)
			}
			for _, a := range addressesOf(q) {
				if seen[a] || !pool.prefix.Contains(a) || pairOf(a) != q {
					t.Fatalf("%s: %v of %v, pair %v", cidr, a, q, pairOf(a))
				}
				seen[a] = true
			}
		}
		if len(seen) != 2*give {
			t.Errorf("%s: %d addresses, want %d pairs", cidr, len(seen), give)
		}
	}
	wide := newPairs(netip.MustParsePrefix("fd00::/48"))
	if wide.free(netip.MustParsePrefix("fd00:0:0:1::/127")) || wide.free(netip.MustParsePrefix("fd00::2/128")) || wide.size != maxPool {
		t.Errorf("size %d, or what is none of its pairs is free", wide.size)
	}
}

// TestATSSSOverRestart: a session keeps its link-specific addresses, what its SMF asked
// for, its SRRs and what is known of its accesses, and no new session gets its addresses.
func TestATSSSOverRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	life := func(config string) *bench {
		cfg, err := ParseConfig("test.yaml", []byte(config))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Braid.State = file
		return newBenchOf(t, cfg, slog.New(slog.DiscardHandler))
	}
	b := life(atsssConfig)
	b.associate()
	ask := &pfcp.ATSSSControl{MPTCP: true, ATSSSLL: true, PMF: &pfcp.PMFControl{Required: true, PerFlow: true, QFIs: []uint8{9}}}
	r := askingMA(ask, "10.60.0.1", "2001:db8:60::")
	r.srrs = []*pfcp.SRR{{ID: 3, Availability: p(pfcp.RRCA)}}
	steered(r, 3, 3, 4).Thresholds = &pfcp.Thresholds{RTT: p(uint16(40)), PLR: p(uint8(2))}
	r.pdrs[0].Multipath = pfcp.MTAI
	seid, resp := b.established(1, r)
	b.modified(seid, pfcp.AccessAvailability{Access: 1}.IE())
	rules, sess, registry := b.plane.of(seid), b.session(seid), b.registry()
	if err := b.s.Close(); err != nil {
		t.Fatal(err)
	}

	again := life(atsssConfig)
	if diff := cmp.Diff(rules, again.plane.of(seid), cmpRules); diff != "" {
		t.Errorf("rules in the plane: %s", diff)
	}
	options := cmp.Options{cmpRules, cmp.Exporter(func(reflect.Type) bool { return true })}
	if diff := cmp.Diff(sess, again.session(seid), options); diff != "" {
		t.Errorf("session: %s", diff)
	}
	if got := again.registry(); got != registry {
		t.Errorf("registry: %s, want %s", got, registry)
	}
	_, other := again.established(2, askingMA(&pfcp.ATSSSControl{MPTCP: true}, "10.60.0.2"))
	if had, got := parametersOf(t, resp).MPTCP.LinkSpecific.IPv4, parametersOf(t, other).MPTCP.LinkSpecific.IPv4; got[0] == had[0] {
		t.Errorf("both sessions have %v", got)
	}
	told := parametersOf(t, again.modified(seid, ask.IE()))
	if diff := cmp.Diff(parametersOf(t, resp), told, cmpRules); diff != "" {
		t.Errorf("told after the restart: %s", diff)
	}
	if err := again.s.Close(); err != nil {
		t.Fatal(err)
	}

	without := life(testConfig) // the config has none of it any more: the session lives on without
	if got := without.plane.of(seid); got == nil || len(got.ATSSS.Converter)+len(got.ATSSS.LinkSpecific[0]) > 0 || got.ATSSS.PMF != nil || without.linked() != 0 {
		t.Errorf("rules %+v, %s", got, without.registry())
	}
}
