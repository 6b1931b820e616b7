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

func TestLoadPolicySamples(t *testing.T) {
	files, err := filepath.Glob("../configs/policy-*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("samples: %v, %v", files, err)
	}
	for _, f := range files {
		if _, err := LoadPolicy(f); err != nil {
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
		{"mode", "active-standby", "smallest-delay", `9: sessions[0].steering.mode: "smallest-delay": allowed are active-standby, load-balancing, redundant`},
		{"redundant without MPTCP", "mptcp, mode: active-standby", "atsss-ll, mode: redundant", `9: sessions[0].steering.mode: redundant is allowed with the functionality mptcp`},
		{"functionality", "mptcp", "quic", `9: sessions[0].steering.functionality: "quic": allowed are atsss-ll, mptcp`},
		{"priority", "no-standby", "high", `12: sessions[0].accesses.non-3gpp.priority: "high": allowed are active, no-standby, primary, secondary, standby`},
		{"two active", "no-standby", "active", `10: sessions[0].accesses: 2 accesses have the priority active: active-standby allows exactly one`},
		{"weights", "active-standby", "load-balancing", `10: sessions[0].accesses: the weights sum to 30: load-balancing allows a sum of 100`},
		{"boolean", "down: true", "down: yes", `12: sessions[0].accesses.non-3gpp.down: "yes": allowed are true, false`},
		{"list", "[10.60.0.1, 10.60.0.2]", "10.60.0.1", `6: sessions[0].ue: allowed is a list`},
		{"UE address twice", "10.60.0.2]", "10.60.0.1]", `6: sessions[0].ue[1]: 10.60.0.1 is given to sessions[0] already: allowed are unique addresses`},
		{"no UE address", "[10.60.0.1, 10.60.0.2]", "[]", `6: sessions[0].ue: is empty: allowed is a list of one IP address or more`},
		{"empty name", "name: a", `name: ""`, `5: sessions[0].name: is empty: allowed is any unique text`},
		{"no value", "dnn: internet", "dnn:", `7: sessions[0].dnn: allowed is one value`},
		{"mapping", "{functionality: mptcp, mode: active-standby}", "mptcp", `9: sessions[0].steering: allowed is a mapping with the keys functionality, mode`},
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
		Steering: Steering{
			Functionality: rapid.SampledFrom([]steer.Functionality{steer.ATSSSLL, steer.MPTCP}).Draw(t, "functionality"),
			Mode:          rapid.SampledFrom([]steer.Mode{steer.ActiveStandby, steer.LoadBalancing, steer.Redundant}).Draw(t, "mode"),
		},
	}
	first, others := steer.Active, []steer.Priority{steer.Standby, steer.NoStandby}
	if s.Steering.Mode == steer.Redundant {
		s.Steering.Functionality = steer.MPTCP
		first = rapid.SampledFrom([]steer.Priority{steer.Active, steer.Primary}).Draw(t, "first")
		others = append(others, steer.Secondary)
	}
	weight := rapid.Uint8Range(0, 100).Draw(t, "weight")
	active := rapid.SampledFrom(accessList[:]).Draw(t, "active")
	for _, a := range accessList {
		acc := &Access{
			Peer:     netip.AddrFrom4([4]byte{10, 100, byte(a), rapid.Byte().Draw(t, "peer")}),
			TEID:     rapid.Uint32Range(1, 3).Draw(t, "teid"),
			Weight:   weight,
			Priority: first,
			Down:     rapid.Bool().Draw(t, "down"),
		}
		if a != active {
			acc.Weight, acc.Priority = 100-weight, rapid.SampledFrom(others).Draw(t, "priority")
		}
		s.Accesses[a] = acc
	}
	if rapid.Bool().Draw(t, "one access") {
		s.Accesses[active].Weight = 100
		s.Accesses[active.Other()] = nil
	}
	return s
}
