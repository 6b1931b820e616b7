package smf

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/braid-upf/braid/atsss/steer"
)

var (
	compareAddrs     = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	compareAddrPorts = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
)

// goodPolicy is what the bad ones below differ from.
const goodPolicy = `upf: 10.0.0.1
node: 10.0.0.2
heartbeat: 2s
sessions:
  - name: a
    ue: [10.60.0.1, 10.60.0.2]
    dnn: internet
    qfi: 9
    steering: {functionality: mptcp, mode: active-standby}
    accesses:
      3gpp: {peer: 10.1.0.2, teid: 0x101}
      non-3gpp: {peer: 10.2.0.2, teid: 513, priority: no-standby, weight: 30, down: true}
`

func TestLoadPolicy(t *testing.T) {
	got, perr := readPolicy(strings.NewReader(goodPolicy))
	if perr != nil {
		t.Fatal(perr)
	}
	want := &Policy{
		UPF: netip.MustParseAddrPort("10.0.0.1:8805"), Node: netip.MustParseAddr("10.0.0.2"), Heartbeat: 2 * time.Second,
		Sessions: []Session{{
			Name: "a", UE: []netip.Addr{netip.MustParseAddr("10.60.0.1"), netip.MustParseAddr("10.60.0.2")},
			DNN: "internet", QFI: 9,
			Steering: Steering{Functionality: steer.MPTCP, Mode: steer.ActiveStandby},
			Accesses: Accesses{
				{Peer: netip.MustParseAddr("10.1.0.2"), TEID: 0x101, Priority: steer.Active},
				{Peer: netip.MustParseAddr("10.2.0.2"), TEID: 0x201, Priority: steer.NoStandby, Weight: 30, Down: true},
			},
		}},
	}
	if d := cmp.Diff(want, got, compareAddrs, compareAddrPorts); d != "" {
		t.Errorf("policy (-want +got):\n%s", d)
	}
}

// TestLoadPolicyATSSS reads every key of the multi-access part.
func TestLoadPolicyATSSS(t *testing.T) {
	text := strings.Replace(goodPolicy, "    steering: {functionality: mptcp, mode: active-standby}\n", `    atsss: {mptcp: true, atsss-ll: true, pmf: {rtt: false, qfis: [9, 5]}}
    reports: [access-availability]
    steering:
      functionality: mptcp
      mode: load-balancing
      indicator: ue-assistance
    other:
      mode: priority-based
      thresholds: {rtt: 100ms, plr: 0}
      3gpp: {priority: low, weight: 1}
      non-3gpp: {priority: high}
`, 1)
	text = strings.Replace(text, "teid: 0x101", "teid: 0x101, weight: 70", 1)
	got, perr := readPolicy(strings.NewReader(text))
	if perr != nil {
		t.Fatal(perr)
	}
	s := got.Sessions[0]
	want := Session{
		ATSSS:    ATSSS{MPTCP: true, ATSSSLL: true, PMF: &PMF{NoRTT: true, QFIs: []uint8{9, 5}}},
		Reports:  Reports{AccessAvailability: true},
		Steering: Steering{Functionality: steer.MPTCP, Mode: steer.LoadBalancing, Indicator: steer.UEAssistance},
		Other: &Other{
			Steering: Steering{
				Functionality: steer.ATSSSLL, Mode: steer.PriorityBased,
				Thresholds: steer.Thresholds{RTT: 100_000, HasPLR: true},
			},
			Shares: [2]*Share{{Weight: 1, Priority: steer.Low}, {Priority: steer.High}},
		},
	}
	s.Name, s.UE, s.DNN, s.QFI, s.Accesses = "", nil, "", 0, Accesses{}
	if d := cmp.Diff(want, s); d != "" {
		t.Errorf("session (-want +got):\n%s", d)
	}
}

// TestLoadPolicySamples: there is a sample of every steering mode, of which [LoadPolicy]
// takes each.
func TestLoadPolicySamples(t *testing.T) {
	files, err := filepath.Glob("../configs/policy-*.yaml")
	if err != nil || len(files) < len(modeNames) {
		t.Fatalf("samples: %v, %v", files, err)
	}
	for _, f := range files {
		p, err := LoadPolicy(f)
		if err != nil {
			t.Error(err)
			continue
		}
		mode := modeNames[p.Sessions[0].Steering.Mode]
		if name := filepath.Base(f); !strings.HasPrefix(name, "policy-"+mode) {
			t.Errorf("%s is a sample of %s", name, mode)
		}
	}
	for _, name := range modeNames {
		if _, err := os.Stat("../configs/policy-" + name + ".yaml"); err != nil {
			t.Error(err)
		}
	}
}

func TestLoadPolicyRefuses(t *testing.T) {
	tests := []struct {
		name, old, new string // a change to goodPolicy
		want           string // the whole error
	}{
		{"unknown key", "heartbeat:", "heartbeats:", `3: heartbeats: unknown key: allowed are upf, node, heartbeat, sessions`},
		{"unknown inner key", "weight: 30", "wait: 30", `12: sessions[0].accesses.non-3gpp.wait: unknown key: allowed are peer, teid, weight, priority, down`},
		{"unknown access", "non-3gpp:", "wifi:", `12: sessions[0].accesses.wifi: unknown key: allowed are 3gpp, non-3gpp`},
		{"key twice", "heartbeat: 2s", "upf: 10.0.0.9", `3: upf: is there twice`},
		{"missing key", "node: 10.0.0.2\n", "", `1: node: is missing`},
		{"missing inner key", "    qfi: 9\n", "", `5: sessions[0].qfi: is missing`},
		{"address", "10.0.0.2", "10.0.0", `2: node: "10.0.0": allowed is an IP address`},
		{"UPF port", "10.0.0.1", "10.0.0.1:0", `1: upf: "10.0.0.1:0": allowed is an IP address, with or without a port`},
		{"IP versions", "10.0.0.2", "fd00::2", `2: node: fd00::2 and upf 10.0.0.1 are of different IP versions`},
		{"duration", "2s", "2", `3: heartbeat: "2": allowed is a duration such as 5s`},
		{"duration range", "2s", "1ms", `3: heartbeat: 1ms: allowed are 100ms to 1h0m0s`},
		{"QFI", "qfi: 9", "qfi: 64", `8: sessions[0].qfi: "64": allowed are numbers from 1 to 63`},
		{"negative QFI", "qfi: 9", "qfi: -1", `8: sessions[0].qfi: "-1": allowed are numbers from 1 to 63`},
		{"TEID", "teid: 513", "teid: 0", `12: sessions[0].accesses.non-3gpp.teid: "0": allowed are numbers from 1 to 4294967295`},
		{"TEID too large", "teid: 513", "teid: 0x100000000", `12: sessions[0].accesses.non-3gpp.teid: "0x100000000": allowed are numbers from 1 to 4294967295`},
		{"mode", "active-standby", "random", `9: sessions[0].steering.mode: "random": allowed are active-standby, load-balancing, priority-based, redundant, smallest-delay`},
		{"functionality", "mptcp", "quic", `9: sessions[0].steering.functionality: "quic": allowed are atsss-ll, mptcp`},
		{"priority", "no-standby", "top", `12: sessions[0].accesses.non-3gpp.priority: "top": allowed are active, high, low, no-standby, primary, secondary, standby`},
		{"two active", "no-standby", "active", `10: sessions[0].accesses: 2 accesses have the priority active: active-standby allows exactly one`},
		{"weights", "active-standby", "load-balancing", `10: sessions[0].accesses: the weights sum to 30: load-balancing allows a sum of 100`},
		{"no high priority", "active-standby", "priority-based", `10: sessions[0].accesses: 0 accesses have the priority high: priority-based allows exactly one`},
		{"indicator", "active-standby}", "load-balancing, indicator: auto}", `9: sessions[0].steering.indicator: "auto": allowed are autonomous, ue-assistance`},
		{"indicator of another mode", "active-standby}", "active-standby, indicator: autonomous}", `9: sessions[0].steering.indicator: is allowed with the mode load-balancing`},
		{"thresholds of another mode", "active-standby}", "smallest-delay, thresholds: {plr: 5}}", `9: sessions[0].steering.thresholds: are allowed with the modes load-balancing without an indicator, priority-based and redundant`},
		{"thresholds with an indicator", "active-standby}", "load-balancing, indicator: autonomous, thresholds: {plr: 5}}", `9: sessions[0].steering.thresholds: are allowed with the modes load-balancing without an indicator, priority-based and redundant`},
		{"no threshold", "active-standby}", "redundant, thresholds: {}}", `9: sessions[0].steering.thresholds: is empty: allowed are rtt, plr or both`},
		{"two thresholds", "active-standby}", "redundant, thresholds: {rtt: 10ms, plr: 1}}", `9: sessions[0].steering.thresholds: rtt and plr: redundant allows one of them`},
		{"RTT threshold", "active-standby}", "redundant, thresholds: {rtt: 100us}}", `9: sessions[0].steering.thresholds.rtt: 100µs: allowed are whole milliseconds from 1ms to 1m5.535s`},
		{"PLR threshold", "active-standby}", "redundant, thresholds: {plr: 101}}", `9: sessions[0].steering.thresholds.plr: "101": allowed are numbers from 0 to 100`},
		{"other without MPTCP", "mptcp, mode: active-standby}", "atsss-ll, mode: active-standby}\n    other: {mode: smallest-delay}", `10: sessions[0].other: is allowed with the functionality mptcp, which leaves other traffic`},
		{"other's mode", "active-standby}", "active-standby}\n    other: {mode: x}", `10: sessions[0].other.mode: "x": allowed are active-standby, load-balancing, priority-based, redundant, smallest-delay`},
		{"other's keys", "active-standby}", "active-standby}\n    other: {functionality: mptcp}", `10: sessions[0].other.functionality: unknown key: allowed are mode, indicator, thresholds, 3gpp, non-3gpp`},
		{"other's weights", "active-standby}", "active-standby}\n    other: {mode: load-balancing, 3gpp: {weight: 60}}", `10: sessions[0].other: the weights sum to 90: load-balancing allows a sum of 100`},
		{"other's priorities", "active-standby}", "active-standby}\n    other: {mode: priority-based, 3gpp: {priority: high}, non-3gpp: {priority: high}}", `10: sessions[0].other: 2 accesses have the priority high: priority-based allows exactly one`},
		{"atsss", "qfi: 9", "qfi: 9\n    atsss: {mpquic: true}", `9: sessions[0].atsss.mpquic: unknown key: allowed are mptcp, atsss-ll, pmf`},
		{"pmf", "qfi: 9", "qfi: 9\n    atsss: {pmf: on}", `9: sessions[0].atsss.pmf: "on": allowed are true, false`},
		{"pmf's keys", "qfi: 9", "qfi: 9\n    atsss: {pmf: {plr: true}}", `9: sessions[0].atsss.pmf.plr: unknown key: allowed are rtt, qfis`},
		{"pmf's QFI", "qfi: 9", "qfi: 9\n    atsss: {pmf: {qfis: [0]}}", `9: sessions[0].atsss.pmf.qfis[0]: "0": allowed are numbers from 1 to 63`},
		{"pmf's QFI twice", "qfi: 9", "qfi: 9\n    atsss: {pmf: {qfis: [5, 5]}}", `9: sessions[0].atsss.pmf.qfis[1]: 5: allowed are 1 to 63, each once`},
		{"functionality not asked for", "qfi: 9", "qfi: 9\n    atsss: {atsss-ll: true}", `10: sessions[0].steering.functionality: mptcp is allowed without atsss, or with atsss.mptcp: true`},
		{"other not asked for", "qfi: 9", "qfi: 9\n    atsss: {mptcp: true}\n    other: {mode: smallest-delay}", `10: sessions[0].other: is allowed without atsss, or with atsss.atsss-ll: true`},
		{"reports", "qfi: 9", "qfi: 9\n    reports: [usage]", `9: sessions[0].reports[0]: "usage": allowed is access-availability`},
		{"boolean", "down: true", "down: yes", `12: sessions[0].accesses.non-3gpp.down: "yes": allowed are true, false`},
		{"list", "[10.60.0.1, 10.60.0.2]", "10.60.0.1", `6: sessions[0].ue: allowed is a list`},
		{"UE address twice", "10.60.0.2]", "10.60.0.1]", `6: sessions[0].ue[1]: 10.60.0.1 is given to sessions[0] already: allowed are unique addresses`},
		{"no UE address", "[10.60.0.1, 10.60.0.2]", "[]", `6: sessions[0].ue: is empty: allowed is a list of one IP address or more`},
		{"empty name", "name: a", `name: ""`, `5: sessions[0].name: is empty: allowed is any unique text`},
		{"no value", "dnn: internet", "dnn:", `7: sessions[0].dnn: allowed is one value`},
		{"mapping", "{functionality: mptcp, mode: active-standby}", "mptcp", `9: sessions[0].steering: allowed is a mapping with the keys functionality, mode, indicator, thresholds`},
		{"two documents", "\n      non-3gpp", "\n---\nnon-3gpp", `12: a second document: allowed is one`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(goodPolicy, tt.old, tt.new, 1)
			if text == goodPolicy {
				t.Fatal("the change does nothing")
			}
			path := filepath.Join(t.TempDir(), "p.yaml")
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := LoadPolicy(path)
			if err == nil {
				t.Fatal("no error")
			}
			if got := err.Error(); got != path+":"+tt.want {
				t.Errorf("error\n %s, want\n %s", got, path+":"+tt.want)
			}
		})
	}
}

func TestLoadPolicyNotYAML(t *testing.T) {
	for text, want := range map[string]string{
		"":               "the file is empty",
		"upf: [":         "yaml: line",
		"- a\n":          "allowed is a mapping",
		"upf: &a [*a]\n": "upf",
	} {
		if _, err := readPolicy(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
	if _, err := LoadPolicy(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there: no error")
	}
}

// TestSavePolicy saves random policies and reads them back.
func TestSavePolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.yaml")
	rapid.Check(t, func(t *rapid.T) {
		want := randomPolicy().Draw(t, "policy")
		if err := want.Save(path); err != nil {
			t.Fatal(err)
		}
		got, err := LoadPolicy(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, compareAddrs, compareAddrPorts); d != "" {
			t.Errorf("policy (-want +got):\n%s", d)
		}
	})
	bad := &Policy{UPF: netip.MustParseAddrPort("10.0.0.1:8805")}
	if err := bad.Save(path); err == nil {
		t.Error("a policy that is not valid: saved")
	}
}

func TestClone(t *testing.T) {
	p, perr := readPolicy(strings.NewReader(goodPolicy))
	if perr != nil {
		t.Fatal(perr)
	}
	c := p.Clone()
	c.Sessions[0].UE[0] = netip.MustParseAddr("10.60.9.9")
	c.Sessions[0].Accesses[steer.Access3GPP].Down = true
	again, _ := readPolicy(strings.NewReader(goodPolicy))
	if d := cmp.Diff(again, p, compareAddrs, compareAddrPorts); d != "" {
		t.Errorf("a change of the copy changed the original (-was +is):\n%s", d)
	}
	s := Session{ATSSS: ATSSS{PMF: &PMF{QFIs: []uint8{9}}}, Other: &Other{Shares: [2]*Share{{}, {}}}}
	o := s.clone()
	o.ATSSS.PMF.QFIs[0], o.Other.Shares[0].Weight, o.Other.Mode = 5, 10, steer.Redundant
	if s.ATSSS.PMF.QFIs[0] != 9 || s.Other.Shares[0].Weight != 0 || s.Other.Mode != 0 {
		t.Errorf("a change of the copy changed the original: %+v, %+v", s.ATSSS.PMF, s.Other)
	}
}

// FuzzReadPolicy: no text makes the reader panic, and what it takes is valid.
func FuzzReadPolicy(f *testing.F) {
	f.Add(goodPolicy)
	f.Add("upf: &x 10.0.0.1\nnode: *x\nsessions: []\n")
	f.Add("sessions: [{ue: [1], accesses: {3gpp: {}}}]")
	f.Fuzz(func(t *testing.T, text string) {
		p, perr := readPolicy(strings.NewReader(text))
		if perr != nil {
			if perr.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		if err := p.Validate(); err != nil {
			t.Errorf("read, but not valid: %v", err)
		}
	})
}

// randomPolicy makes valid policies.
func randomPolicy() *rapid.Generator[*Policy] {
	return rapid.Custom(func(t *rapid.T) *Policy {
		p := &Policy{
			UPF: netip.MustParseAddrPort("192.0.2.1:8805"), Node: netip.MustParseAddr("192.0.2.2"),
			Heartbeat: time.Duration(rapid.IntRange(100, 100000).Draw(t, "heartbeat")) * time.Millisecond,
		}
		for i := range rapid.IntRange(1, 3).Draw(t, "sessions") {
			s := randomSession(t)
			s.Name = string(rune('a' + i))
			for j := range s.UE {
				s.UE[j] = netip.AddrFrom4([4]byte{10, 60, byte(i), byte(1 + j)})
			}
			p.Sessions = append(p.Sessions, s)
		}
		return p
	})
}

// randomSession makes a valid session with one or two UE addresses and accesses.
func randomSession(t *rapid.T) Session {
	s := Session{
		Name: "s", DNN: rapid.SampledFrom([]string{"internet", "ims"}).Draw(t, "dnn"),
		QFI: rapid.Uint8Range(1, maxQFI).Draw(t, "qfi"),
		UE:  []netip.Addr{netip.MustParseAddr("10.60.0.1"), netip.MustParseAddr("10.60.0.2")}[:rapid.IntRange(1, 2).Draw(t, "ues")],
		ATSSS: ATSSS{
			MPTCP: rapid.Bool().Draw(t, "provide MPTCP"), ATSSSLL: rapid.Bool().Draw(t, "provide ATSSS-LL"),
			PMF: rapid.SampledFrom([]*PMF{nil, {}, {NoRTT: true}, {QFIs: []uint8{1, 9}}}).Draw(t, "PMF"),
		},
		Reports:  Reports{AccessAvailability: rapid.Bool().Draw(t, "reports")},
		Steering: randomSteering(t, rapid.SampledFrom([]steer.Functionality{steer.ATSSSLL, steer.MPTCP}).Draw(t, "functionality")),
	}
	if !s.ATSSS.provides(s.Steering.Functionality) || !s.ATSSS.provides(steer.ATSSSLL) {
		s.ATSSS.MPTCP, s.ATSSS.ATSSSLL = true, true
	}
	active := rapid.SampledFrom(accessList[:]).Draw(t, "active")
	shares := randomShares(t, s.Steering.Mode, active)
	for _, a := range accessList {
		s.Accesses[a] = &Access{
			Peer:   netip.AddrFrom4([4]byte{10, 100, byte(a), rapid.Byte().Draw(t, "peer")}),
			TEID:   rapid.Uint32Range(1, 3).Draw(t, "teid"),
			Weight: shares[a].Weight, Priority: shares[a].Priority,
			Down: rapid.Bool().Draw(t, "down"),
		}
	}
	if s.Steering.Functionality == steer.MPTCP && rapid.Bool().Draw(t, "other") {
		s.Other = &Other{Steering: randomSteering(t, steer.ATSSSLL)}
		s.Other.Shares = randomShares(t, s.Other.Mode, active)
	}
	if rapid.Bool().Draw(t, "one access") {
		s.Accesses[active].Weight = 100
		s.Accesses[active.Other()] = nil
		if s.Other != nil {
			s.Other.Shares[active].Weight = 100
			s.Other.Shares[active.Other()] = nil
		}
	}
	return s
}

// randomSteering makes what is valid for both accesses.
func randomSteering(t *rapid.T, f steer.Functionality) Steering {
	s := Steering{Functionality: f, Mode: rapid.SampledFrom([]steer.Mode{
		steer.ActiveStandby, steer.SmallestDelay, steer.LoadBalancing, steer.PriorityBased, steer.Redundant,
	}).Draw(t, "mode")}
	if s.Mode == steer.LoadBalancing {
		s.Indicator = rapid.SampledFrom([]steer.Indicator{0, steer.Autonomous, steer.UEAssistance}).Draw(t, "indicator")
	}
	if s.Mode == steer.PriorityBased || s.Mode == steer.Redundant || s.Mode == steer.LoadBalancing && s.Indicator == 0 {
		s.Thresholds = rapid.SampledFrom([]steer.Thresholds{
			{}, {RTT: 100_000}, {PLR: 5, HasPLR: true}, {HasPLR: true}, {RTT: 65_535_000, PLR: 100, HasPLR: true},
		}).Draw(t, "thresholds")
		if s.Mode == steer.Redundant && s.Thresholds.RTT > 0 {
			s.Thresholds.PLR, s.Thresholds.HasPLR = 0, false
		}
	}
	return s
}

// randomShares makes shares that are valid for a mode, the first access being active.
func randomShares(t *rapid.T, mode steer.Mode, active steer.Access) (shares [2]*Share) {
	first, others := steer.Active, []steer.Priority{steer.Standby, steer.NoStandby}
	switch mode {
	case steer.PriorityBased:
		first, others = steer.High, append(others, steer.Low)
	case steer.Redundant:
		first = rapid.SampledFrom([]steer.Priority{steer.Active, steer.Primary}).Draw(t, "first")
		others = append(others, steer.Secondary)
	default:
	}
	weight := rapid.Uint8Range(0, 100).Draw(t, "weight")
	shares[active] = &Share{weight, first}
	shares[active.Other()] = &Share{100 - weight, rapid.SampledFrom(others).Draw(t, "priority")}
	return shares
}
