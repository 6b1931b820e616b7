package upf

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

const localRulesConfig = testConfig + `
braid:
  nonGPP: [10.100.2.0/24]
  multiAccess:
    - {dnn: internet, snssai: {sst: 1, sd: "0a0b0c"}, mode: active-standby, active: 3gpp}
    - {dnn: internet, snssai: {sst: 1}, mode: active-standby, active: non-3gpp}
    - {dnn: Internet, mode: load-balancing, weights: {3gpp: 30, non-3gpp: 70}}
    - {dnn: ims, mode: redundant}
`

// freeSession is a session as free5GC's SMF makes it: nothing says which access it uses.
func freeSession(teid uint32, ueAddr string) *rulesSpec {
	r := plainSession(teid, ueAddr)
	r.pdrs[0].PDI.InterfaceType = nil
	return r
}

// marOf is the MAR of the session's only downlink PDR, nil if it has none.
func (b *bench) marOf(seid uint64) *dataplane.MAR {
	b.t.Helper()
	r := b.plane.of(seid)
	if len(r.Downlink) != 1 || r.Downlink[0].FAR == nil {
		b.t.Fatalf("downlink PDRs %+v, want one with a FAR", r.Downlink)
	}
	return r.Downlink[0].MAR
}

func TestLocalRuleFits(t *testing.T) {
	both := steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP)
	standby := func(a steer.Access) *steer.Policy {
		return &steer.Policy{Functionality: steer.MPTCP, Usable: both, Priority: steer.Decision{Access: a}.Priorities()}
	}
	none := [2]steer.Priority{steer.NoStandby, steer.NoStandby}
	balance := &steer.Policy{Functionality: steer.MPTCP, Mode: steer.LoadBalancing, Usable: both, Weight: [2]uint8{30, 70}, Priority: none}
	redundant := &steer.Policy{Functionality: steer.MPTCP, Mode: steer.Redundant, Usable: both, Priority: none}
	instances := func(up, down string) func(*rulesSpec) {
		return func(r *rulesSpec) { r.pdrs[0].PDI.NetworkInstance, r.pdrs[1].PDI.NetworkInstance = up, down }
	}
	for _, tc := range []struct {
		name  string
		rules func(*rulesSpec)
		ies   []*ie.IE
		want  *steer.Policy // nil = no rule
	}{
		{name: "Network Instance", want: balance},
		{name: "Network Instance of other case", rules: instances("INTERNET", ""), want: balance},
		{name: "Network Instance of the core alone", rules: instances("n3", "internet"), want: balance},
		{name: "of the access alone", rules: instances("internet", "n6"), want: balance},
		{name: "no Network Instance", rules: instances("", "")},
		{name: "another", rules: instances("mms", "mms")},
		{name: "the APN/DNN counts more", ies: []*ie.IE{ie.NewAPNDNN("ims")}, want: redundant},
		{name: "another APN/DNN", ies: []*ie.IE{ie.NewAPNDNN("mms")}},
		{name: "slice with the SD", ies: []*ie.IE{ie.NewSNSSAI(1, 0x0a0b0c)}, want: standby(steer.Access3GPP)},
		{name: "slice with another SD", ies: []*ie.IE{ie.NewSNSSAI(1, 1)}, want: standby(steer.AccessNon3GPP)},
		{name: "slice without an SD", ies: []*ie.IE{ie.NewSNSSAI(1, 0xffffff)}, want: standby(steer.AccessNon3GPP)},
		{name: "another slice", ies: []*ie.IE{ie.NewSNSSAI(2, 0x0a0b0c)}, want: balance},
		{name: "downlink to the CP function", rules: func(r *rulesSpec) {
			r.fars[1].Forwarding.Destination = p(pfcp.InterfaceCPFunction)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBenchWith(t, localRulesConfig)
			b.associate()
			r := freeSession(0x900, "10.60.0.1")
			if tc.rules != nil {
				tc.rules(r)
			}
			req := establishment(0x11, r)
			for _, i := range tc.ies {
				if i.Type == ie.SNSSAI {
					req.SNSSAI = i
				} else {
					req.APNDNN = i
				}
			}
			if got := refusalOf(t, b.ask(req)); got.cause != ie.CauseRequestAccepted {
				t.Fatalf("%+v", got)
			}
			var got *steer.Policy
			for _, seid := range b.plane.seids() {
				if m := b.marOf(seid); m != nil {
					got = &m.Policy
				}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	t.Run("bad S-NSSAI", func(t *testing.T) {
		b := newBenchWith(t, localRulesConfig)
		b.associate()
		req := establishment(0x11, freeSession(0x900, "10.60.0.1"))
		req.SNSSAI = ie.New(ie.SNSSAI, []byte{1})
		if got := refusalOf(t, b.ask(req)); got.cause != ie.CauseMandatoryIEIncorrect || got.offending != ie.SNSSAI || b.plane.count() != 0 {
			t.Errorf("%+v, %d sessions", got, b.plane.count())
		}
	})
	t.Run("a session with a MAR", func(t *testing.T) {
		b := newBenchWith(t, localRulesConfig)
		b.associate()
		seid, _ := b.established(0x11, maSession())
		for _, d := range b.plane.of(seid).Downlink {
			if d.FAR != nil || d.MAR.ID != 1 || d.MAR.Group != 0 {
				t.Errorf("PDR %d: FAR %v, MAR %+v", d.ID, d.FAR, d.MAR)
			}
		}
	})
}

// TestLocalRuleAccess: the access is known when N2 has told the tunnel's peer, and changes
// with it; the rule is there all along.
func TestLocalRuleAccess(t *testing.T) {
	b := newBenchWith(t, localRulesConfig)
	b.associate()
	r := freeSession(0x900, "10.60.0.1")
	header := r.fars[1].Forwarding.OuterHeader
	r.fars[1].Forwarding.OuterHeader = nil // N2 has not said it yet
	seid, _ := b.established(0x11, r)
	check := func(when string, want steer.Access, action dataplane.Action) {
		t.Helper()
		m := b.marOf(seid)
		if got := b.plane.of(seid); got.Uplink[0].Access != want || m == nil || m.Group == 0 || got.Downlink[0].FAR.Action != action {
			t.Errorf("%s: uplink access %v, MAR %+v, FAR %+v; want %v, a MAR, action %d", when, got.Uplink[0].Access, m, got.Downlink[0].FAR, want, action)
		}
	}
	check("before N2", steer.Access3GPP, dataplane.Buffer)
	for _, step := range []struct {
		name, peer string
		action     uint16
		access     steer.Access
		want       dataplane.Action
	}{
		{"N3IWF", "10.100.2.7", pfcp.ActionFORW, steer.AccessNon3GPP, dataplane.Forward},
		{"idle", "10.100.2.7", pfcp.ActionBUFF, steer.AccessNon3GPP, dataplane.Buffer},
		{"gNB", "10.100.1.2", pfcp.ActionFORW, steer.Access3GPP, dataplane.Forward},
	} {
		h := *header
		h.IPv4 = addr(step.peer)
		b.modified(seid, (&pfcp.FAR{ID: 2, ApplyAction: p(step.action), Forwarding: &pfcp.Forwarding{
			Destination: p(pfcp.InterfaceAccess), OuterHeader: &h,
		}}).IE(ie.UpdateFAR))
		check(step.name, step.access, step.want)
	}

	// The 3GPP Interface Type says it where the peer does not.
	r = plainSession(0x901, "10.60.0.9")
	seid, _ = b.established(0x12, r)
	check("interface type", steer.AccessNon3GPP, dataplane.Forward)
}

// TestLocalRuleGroups: sessions of one rule and data network may join each other's
// connections, others may not.
func TestLocalRuleGroups(t *testing.T) {
	b := newBenchWith(t, testConfig+`
braid:
  multiAccess:
    - {dnn: ims, mode: redundant}
    - {mode: active-standby, active: 3gpp}
`)
	b.associate()
	groups := map[string]uint16{}
	for i, dnn := range []string{"ims", "internet", "mms", "IMS", "Internet"} {
		r := freeSession(0x900+uint32(i), fmt.Sprintf("10.60.0.%d", i+1))
		for _, d := range r.pdrs {
			d.PDI.NetworkInstance = dnn
		}
		seid, _ := b.established(uint64(0x11+i), r)
		m := b.marOf(seid)
		if m == nil || m.Group == 0 {
			t.Fatalf("%s: MAR %+v", dnn, m)
		}
		key := strings.ToLower(dnn)
		if g, ok := groups[key]; ok && g != m.Group {
			t.Errorf("%s has groups %d and %d", key, g, m.Group)
		}
		groups[key] = m.Group
	}
	if groups["ims"] == groups["internet"] || groups["internet"] == groups["mms"] || groups["ims"] == groups["mms"] {
		t.Errorf("groups %v, want three", groups)
	}
	var g joinGroups
	for i := range 0xffff {
		if n := g.number(joinGroup{rule: i}); n != uint16(i+1) {
			t.Fatalf("group %d has number %d", i, n)
		}
	}
	if n := g.number(joinGroup{rule: 0xffff}); n != 0 {
		t.Errorf("one group too many has number %d", n)
	}
}

// TestLocalRuleOverRestart: what the SMF said of DNN and slice is in the state file.
func TestLocalRuleOverRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	life := func() *bench {
		return newBenchOf(t, testCfg(t, func(c *Config) {
			c.Braid.State = file
			c.Braid.Rules = []LocalRule{{DNN: "ims", SST: 1, SD: "0a0b0c", Policy: steer.Policy{Functionality: steer.MPTCP}}}
		}), slog.New(slog.DiscardHandler))
	}
	b := life()
	b.associate()
	req := establishment(0x11, freeSession(0x900, "10.60.0.1"))
	req.APNDNN, req.SNSSAI = ie.NewAPNDNN("ims"), ie.NewSNSSAI(1, 0x0a0b0c)
	if got := refusalOf(t, b.ask(req)); got.cause != ie.CauseRequestAccepted {
		t.Fatalf("%+v", got)
	}
	if err := b.s.Close(); err != nil {
		t.Fatal(err)
	}
	again := life()
	if len(b.plane.rules) != 1 || len(again.plane.rules) != 1 {
		t.Fatalf("%d sessions, then %d; want one", len(b.plane.rules), len(again.plane.rules))
	}
	for seid := range b.plane.rules {
		if m := b.marOf(seid); m == nil {
			t.Error("the rule did not fit")
		}
	}
	if diff := cmp.Diff(b.plane.rules, again.plane.rules, cmpRules); diff != "" {
		t.Error(diff)
	}
}
