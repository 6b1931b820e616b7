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
		{"active-standby", func() { s.Steering.Mode = steer.ActiveStandby }},
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
	if len(got.Downlink) != len(want.UE) {
		t.Errorf("%s: %d downlink PDRs, want %d", step, len(got.Downlink), len(want.UE))
	}
	for _, pdr := range got.Downlink {
		if pdr.MAR == nil || len(pdr.QERs) != 1 || pdr.QERs[0].QFI != want.QFI {
			t.Fatalf("%s: downlink %+v", step, pdr)
		}
		m := pdr.MAR
		if m.Policy.Functionality != want.Steering.Functionality || m.Policy.Mode != want.Steering.Mode {
			t.Errorf("%s: MAR %+v, want %+v", step, m.Policy, want.Steering)
		}
		for _, a := range accessList {
			checkAccess(t, fmt.Sprintf("%s, %s", step, a), m, a, want)
		}
	}
}

func checkAccess(t *testing.T, what string, m *dataplane.MAR, a steer.Access, want *Session) {
	t.Helper()
	acc, far := want.Accesses[a], m.FAR[a]
	if usable := acc != nil && !acc.Down; m.Policy.Usable.Has(a) != usable {
		t.Errorf("%s: usable is %v", what, !usable)
	}
	switch {
	case acc == nil || acc.Down:
	case far == nil || far.Action != dataplane.Forward || far.To != dataplane.ToAccess || far.OuterHeader == nil:
		t.Errorf("%s: FAR %+v", what, far)
	case far.OuterHeader.TEID != acc.TEID || far.OuterHeader.Peer.Addr() != acc.Peer:
		t.Errorf("%s: outer header %+v, want %s TEID %#x", what, far.OuterHeader, acc.Peer, acc.TEID)
	case want.Steering.Mode == steer.LoadBalancing && m.Policy.Weight[a] != acc.Weight:
		t.Errorf("%s: weight %d, want %d", what, m.Policy.Weight[a], acc.Weight)
	case want.Steering.Mode == steer.ActiveStandby && m.Policy.Priority[a] != acc.Priority:
		t.Errorf("%s: priority %d, want %d", what, m.Policy.Priority[a], acc.Priority)
	case want.Steering.Mode == steer.Redundant && (m.Policy.Priority[a] == steer.Primary) != (acc.Priority == steer.Primary):
		t.Errorf("%s: priority %d, want %d", what, m.Policy.Priority[a], acc.Priority)
	}
}
