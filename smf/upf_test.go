package smf

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/upf"
)

// plane is a UPF's packet side that only keeps the rules.
type plane struct {
	mu    sync.Mutex
	rules map[uint64]*dataplane.Rules
}

func (p *plane) Install(r *dataplane.Rules) ([]dataplane.Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules[r.SEID] = r
	return nil, nil
}

func (p *plane) Remove(seid uint64) ([]dataplane.Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.rules, seid)
	return nil, nil
}

func (p *plane) Usage(q []dataplane.UsageQuery) ([]dataplane.UsageAnswer, error) {
	return make([]dataplane.UsageAnswer, len(q)), nil
}

func (p *plane) Echo(netip.Addr) error { return nil }

func (p *plane) Events() <-chan dataplane.Event { return nil }

func (p *plane) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.rules)
}

// only is the one session's rules.
func (p *plane) only(t *testing.T) *dataplane.Rules {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rules) != 1 {
		t.Fatalf("the UPF has %d sessions, want 1", len(p.rules))
	}
	for _, r := range p.rules {
		return r
	}
	return nil
}

// TestWithUPF: our own UPF's control side compiles what we send into the rules
// that the policy means.
func TestWithUPF(t *testing.T) {
	// Addresses of their own, because the UPF speaks to the SMF's port 8805.
	cfg, err := upf.ParseConfig("test.yaml", []byte(`
version: 1.0.3
pfcp: {addr: 127.88.5.1, nodeID: 127.88.5.1, retransTimeout: 1s, maxRetrans: 3}
gtpu: {forwarder: gtp5g, ifList: [{addr: 10.100.1.1, type: N3}]}
dnnList: [{dnn: internet, cidr: 10.60.0.0/16}]
braid:
  atsss:
    converter: {addrs: [10.61.0.1], port: 5124}
    linkSpecific: [10.62.0.0/24]
    pmf: {addrs: [10.61.0.2], 3gpp: 10500, non-3gpp: 10501}
`))
	if err != nil {
		t.Fatal(err)
	}
	workers := &plane{rules: map[uint64]*dataplane.Rules{}}
	server, err := upf.Listen(cfg, workers, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	p := testPolicy()
	r := startAt(t, server.LocalAddr(), netip.MustParseAddr("127.88.5.2"), p)
	st := r.await("settled state", settled)
	checkRules(t, "established", workers.only(t), &p.Sessions[0], st.Sessions[0])

	s := &p.Sessions[0]
	for _, step := range []struct {
		name   string
		change func()
	}{
		{"load-balancing", func() { s.Steering.Mode = steer.LoadBalancing }},
		{"weights", func() { s.Accesses[0].Weight, s.Accesses[1].Weight = 20, 80 }},
		{"3gpp down", func() { s.Accesses[0].Down = true }},
		{"3gpp up elsewhere", func() { s.Accesses[0].Down, s.Accesses[0].TEID = false, 0x555 }},
		{"another QFI", func() { s.QFI = 5 }},
		{"non-3gpp leaves", func() { s.Accesses[1], s.Accesses[0].Weight = nil, 100 }},
		{"non-3gpp comes back", func() {
			s.Accesses[1] = &Access{Peer: netip.MustParseAddr("10.100.2.9"), TEID: 7, Priority: steer.Standby}
		}},
		{"redundant", func() { s.Steering.Mode = steer.Redundant }},
		{"a primary access", func() { s.Accesses[0].Priority, s.Accesses[1].Priority = steer.Secondary, steer.Primary }},
		{"none", func() { s.Accesses[0].Priority, s.Accesses[1].Priority = steer.Active, steer.Standby }},
		{"redundant with a threshold", func() { s.Steering.Thresholds = steer.Thresholds{RTT: 100_000} }},
		{"priority-based with the same", func() { s.Steering.Mode, s.Accesses[0].Priority = steer.PriorityBased, steer.High }},
		{"two thresholds", func() { s.Steering.Thresholds = steer.Thresholds{RTT: 100_000, PLR: 5, HasPLR: true} }},
		{"other thresholds", func() { s.Steering.Thresholds = steer.Thresholds{HasPLR: true} }},
		{"none", func() { s.Steering.Thresholds = steer.Thresholds{} }},
		{"smallest-delay", func() { s.Steering.Mode = steer.SmallestDelay }},
		{"autonomous", func() {
			s.Steering.Mode, s.Steering.Indicator, s.Accesses[1].Weight = steer.LoadBalancing, steer.Autonomous, 0
		}},
		{"ue-assistance", func() { s.Steering.Indicator = steer.UEAssistance }},
		{"thresholds in its place", func() { s.Steering.Indicator, s.Steering.Thresholds = 0, steer.Thresholds{RTT: 1000} }},
		{"other traffic", func() { s.Other = &Other{Steering: Steering{Functionality: steer.ATSSSLL, Mode: steer.SmallestDelay}} }},
		{"other traffic in another mode", func() {
			s.Other.Mode, s.Other.Shares[1] = steer.PriorityBased, &Share{Priority: steer.Low}
		}},
		{"both modes at once", func() {
			s.Steering.Mode, s.Steering.Thresholds, s.Other.Mode = steer.SmallestDelay, steer.Thresholds{}, steer.Redundant
		}},
		{"non-3gpp leaves both", func() { s.Accesses[1], s.Other.Shares[1] = nil, nil }},
		{"non-3gpp comes back to both", func() {
			s.Accesses[1] = &Access{Peer: netip.MustParseAddr("10.100.2.9"), TEID: 7, Priority: steer.Standby}
		}},
		{"all in one again", func() { s.Other = nil }},
		{"reports", func() { s.Reports.AccessAvailability = true }},
		{"no reports", func() { s.Reports.AccessAvailability = false }},
		{"active-standby", func() { s.Steering.Mode, s.Accesses[0].Priority = steer.ActiveStandby, steer.Active }},
		{"ATSSS control information", func() {
			s.ATSSS = ATSSS{MPTCP: true, ATSSSLL: true, PMF: &PMF{NoRTT: true, QFIs: []uint8{9}}}
		}},
		{"other addresses", func() { s.UE = []netip.Addr{netip.MustParseAddr("10.60.0.7")} }},
	} {
		step.change()
		st := r.apply(p)
		if !settled(st) {
			t.Fatalf("%s: state %+v", step.name, st)
		}
		checkRules(t, step.name, workers.only(t), s, st.Sessions[0])
	}
	r.stop()
	if n := workers.count(); n != 0 {
		t.Errorf("%d sessions are left on the UPF", n)
	}
}

// TestDrained: a UPF that goes out of service and asks for the release of the association
// gets it at once; when it is back it has its sessions again.
func TestDrained(t *testing.T) {
	cfg, err := upf.ParseConfig("test.yaml", []byte(`
version: 1.0.3
pfcp: {addr: 127.88.6.1, nodeID: 127.88.6.1, retransTimeout: 1s, maxRetrans: 3}
gtpu: {forwarder: gtp5g, ifList: [{addr: 10.100.1.1, type: N3}]}
dnnList: [{dnn: internet, cidr: 10.60.0.0/16}]
`))
	if err != nil {
		t.Fatal(err)
	}
	listen := func() (*upf.Server, *plane) {
		workers := &plane{rules: map[uint64]*dataplane.Rules{}}
		server, err := upf.Listen(cfg, workers, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return server, workers
	}
	server, workers := listen()
	r := startAt(t, server.LocalAddr(), netip.MustParseAddr("127.88.6.2"), testPolicy())
	r.await("settled state", settled)
	if workers.count() == 0 {
		t.Fatal("no session")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := server.Drain(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
	if n := workers.count(); n != 0 {
		t.Errorf("%d sessions are left on the UPF", n)
	}
	r.await("refused association", func(st State) bool { return st.Association == Down && st.Error != "" })
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	server, workers = listen()
	defer server.Close()
	r.await("settled state", settled)
	if workers.count() == 0 {
		t.Error("no session after the UPF is back")
	}
	r.stop()
}

// checkRules compares a UPF's compiled rules with the policy's session and the
// tunnels that the SMF was told of.
func checkRules(t *testing.T, step string, got *dataplane.Rules, want *Session, st SessionState) {
	t.Helper()
	uplink := []Tunnel{}
	for _, pdr := range got.Uplink {
		uplink = append(uplink, Tunnel{pdr.Access.String(), fmt.Sprintf("%#x", pdr.TEID), pdr.LocalAddr.String()})
		if pdr.FAR == nil || pdr.FAR.Action != dataplane.Forward || pdr.FAR.To != dataplane.ToCore || len(pdr.UEAddrs) != len(want.UE) {
			t.Errorf("%s: uplink %+v", step, pdr)
		}
	}
	if d := cmp.Diff(st.Uplink, uplink); d != "" {
		t.Errorf("%s: uplink tunnels (-state file +UPF):\n%s", step, d)
	}
	checkATSSS(t, step, got.ATSSS, &want.ATSSS, st.ATSSS)
	count := len(want.UE)
	if want.Other != nil {
		count *= 2
	}
	if len(got.Downlink) != count {
		t.Errorf("%s: %d downlink PDRs, want %d", step, len(got.Downlink), count)
	}
	for _, pdr := range got.Downlink {
		rule := want.mar(mainMAR)
		if want.Other != nil && len(pdr.Filters) == 0 {
			rule = want.mar(otherMAR)
		} else if want.Other != nil && (pdr.Filters[0].Protocol != 6 || pdr.Precedence >= got.Downlink[len(got.Downlink)-1].Precedence) {
			t.Errorf("%s: PDR %d of precedence %d has the filters %+v", step, pdr.ID, pdr.Precedence, pdr.Filters)
		}
		if pdr.MAR == nil || len(pdr.QERs) != 1 || pdr.QERs[0].QFI != want.QFI {
			t.Fatalf("%s: downlink %+v", step, pdr)
		}
		m := pdr.MAR
		is := Steering{m.Policy.Functionality, m.Policy.Mode, m.Policy.Indicator, m.Policy.Thresholds}
		if is != rule.Steering {
			t.Errorf("%s: MAR %+v, want %+v", step, is, rule.Steering)
		}
		for _, a := range accessList {
			checkAccess(t, fmt.Sprintf("%s, %s", step, a), m, a, want.Accesses[a], rule)
		}
	}
}

// checkATSSS compares what a UPF's session has of ATSSS with what was asked for and what the
// SMF was told.
func checkATSSS(t *testing.T, step string, got *dataplane.ATSSS, want *ATSSS, st *ATSSSParameters) {
	t.Helper()
	if want.equal(&ATSSS{}) {
		if st != nil {
			t.Errorf("%s: ATSSS control parameters %+v", step, st)
		}
		return
	}
	if got == nil || st == nil || st.MPTCP == nil || len(st.PMF) != 1+len(want.PMF.QFIs) || !st.ATSSSLL {
		t.Fatalf("%s: ATSSS control parameters %+v, of the UPF %+v", step, st, got)
	}
	for _, d := range []string{
		cmp.Diff(got.Converter, st.MPTCP.Proxy, compareAddrPorts),
		cmp.Diff(got.LinkSpecific[0], st.MPTCP.LinkSpecific.TGPP, compareAddrs),
		cmp.Diff(got.LinkSpecific[1], st.MPTCP.LinkSpecific.NonTGPP, compareAddrs),
		cmp.Diff(got.PMF.Addrs, st.PMF[0].Addresses, compareAddrs),
		cmp.Diff(got.PMF.Port, [2]uint16{st.PMF[0].Ports.TGPP, st.PMF[0].Ports.NonTGPP}),
		cmp.Diff(got.PMF.QFIs, want.PMF.QFIs), cmp.Diff(got.PMF.NoRTT, want.PMF.NoRTT),
	} {
		if d != "" {
			t.Errorf("%s (-UPF +state file):\n%s", step, d)
		}
	}
}

func checkAccess(t *testing.T, what string, m *dataplane.MAR, a steer.Access, acc *Access, want *mar) {
	t.Helper()
	far := m.FAR[a]
	if usable := acc != nil && !acc.Down; m.Policy.Usable.Has(a) != usable {
		t.Errorf("%s: usable is %v", what, !usable)
	}
	switch {
	case acc == nil || acc.Down:
	case far == nil || far.Action != dataplane.Forward || far.To != dataplane.ToAccess || far.OuterHeader == nil:
		t.Errorf("%s: FAR %+v", what, far)
	case far.OuterHeader.TEID != acc.TEID || far.OuterHeader.Peer.Addr() != acc.Peer:
		t.Errorf("%s: outer header %+v, want %s TEID %#x", what, far.OuterHeader, acc.Peer, acc.TEID)
	case want.Mode == steer.LoadBalancing && m.Policy.Weight[a] != want.shares[a].Weight:
		t.Errorf("%s: weight %d, want %d", what, m.Policy.Weight[a], want.shares[a].Weight)
	case want.Mode != steer.LoadBalancing && ranked(want.Mode) && m.Policy.Priority[a] != rank(want.shares[a], want.Mode):
		t.Errorf("%s: priority %d, want %d", what, m.Policy.Priority[a], rank(want.shares[a], want.Mode))
	}
}
