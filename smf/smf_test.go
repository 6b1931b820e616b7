package smf

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/pfcp"
)

// patience bounds every wait of these tests; none of them takes it up.
const patience = 10 * time.Second

// running is an SMF at work.
type running struct {
	t     *testing.T
	smf   *SMF
	upf   *fakeUPF // nil if it works against another UPF
	state string   // path
	stop  func()   // ends Run and waits for it
}

// start runs an SMF with p, whose UPF address is set to upf's.
func start(t *testing.T, upf *fakeUPF, p *Policy, options ...func(*Config)) *running {
	t.Helper()
	options = append(options, func(c *Config) { c.Local = netip.MustParseAddrPort("127.0.0.1:0") })
	r := startAt(t, upf.endpoint.LocalAddr(), netip.MustParseAddr("127.0.0.1"), p, options...)
	r.upf = upf
	return r
}

// startAt runs an SMF with p, for the UPF at upf, on the PFCP port of node.
func startAt(t *testing.T, upf netip.AddrPort, node netip.Addr, p *Policy, options ...func(*Config)) *running {
	t.Helper()
	p.UPF, p.Node = upf, node
	cfg := Config{
		Policy: p, StateFile: filepath.Join(t.TempDir(), "smf.json"),
		RetransTimeout: 20 * time.Millisecond, MaxRetrans: 3,
	}
	for _, o := range options {
		o(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	r := &running{t: t, smf: s, state: cfg.StateFile}
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(r.stop)
	return r
}

// apply hands the SMF a changed policy and waits until it was carried out.
func (r *running) apply(p *Policy) State {
	r.t.Helper()
	before, err := ReadState(r.state)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.smf.Apply(p); err != nil {
		r.t.Fatal(err)
	}
	return r.await("the next generation", func(s State) bool { return s.Generation == before.Generation+1 })
}

// await waits for a state.
func (r *running) await(what string, ok func(State) bool) State {
	r.t.Helper()
	var s State
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(time.Millisecond) {
		var err error
		if s, err = ReadState(r.state); err == nil && ok(s) {
			return s
		}
	}
	r.t.Fatalf("no %s within %s; state %+v", what, patience, s)
	return s
}

// settled is a state in which everything is up and accepted.
func settled(s State) bool {
	if s.Association != Up || s.Error != "" || s.Generation == 0 {
		return false
	}
	for _, ses := range s.Sessions {
		if ses.UPSEID == "" || ses.Error != "" {
			return false
		}
	}
	return true
}

// testPolicy has the sample's session, and heartbeats that do not come by
// themselves during a test.
func testPolicy() *Policy {
	return &Policy{Heartbeat: maxHeartbeat, Sessions: []Session{*testSession()}}
}

func wantNames(t *testing.T, upf *fakeUPF, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, upf.names()); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
}

const (
	setup   = "Association Setup Request"
	release = "Association Release Request"
	create  = "Session Establishment Request"
	change  = "Session Modification Request"
	drop    = "Session Deletion Request"
)

func effectOf(t *testing.T, s *Session) string {
	t.Helper()
	var r ruleStore
	if err := r.apply(parsed(t, establishmentRules(s))); err != nil {
		t.Fatal(err)
	}
	return r.effect()
}

func TestLife(t *testing.T) {
	upf := newFakeUPF(t)
	r := start(t, upf, testPolicy())
	got := r.await("settled state", settled)
	want := State{
		Association: Up, Generation: 1,
		Sessions: []SessionState{{
			Name: "ue1", UE: testSession().UE, CPSEID: "0x1", UPSEID: "0x1",
			Uplink: []Tunnel{{"3gpp", "0x101", "10.100.1.1"}, {"non-3gpp", "0x102", "10.100.1.1"}},
		}},
	}
	if d := cmp.Diff(want, got, compareAddrs); d != "" {
		t.Errorf("state (-want +got):\n%s", d)
	}
	wantNames(t, upf, setup, create)
	if d := cmp.Diff([]string{effectOf(t, testSession())}, upf.sessions()); d != "" {
		t.Errorf("rules (-want +got):\n%s", d)
	}

	r.stop()
	wantNames(t, upf, drop, release)
	if upf.sessions() != nil {
		t.Error("a session is left on the UPF")
	}
	s, err := ReadState(r.state)
	if err != nil || s.Association != Down || s.Sessions[0].UPSEID != "" || len(s.Sessions[0].Uplink) != 0 {
		t.Errorf("last state %+v, error %v", s, err)
	}
}

// TestPolicyChanges walks through policies and looks at what the UPF then does.
func TestPolicyChanges(t *testing.T) {
	upf := newFakeUPF(t)
	p := testPolicy()
	r := start(t, upf, p)
	r.await("settled state", settled)
	upf.names()
	second := *testSession()
	second.Name, second.UE = "ue2", []netip.Addr{netip.MustParseAddr("10.60.0.3")}
	steps := []struct {
		name   string
		change func(p *Policy)
		want   []string // requests
	}{
		{"the same again", func(*Policy) {}, nil},
		{"mode", func(p *Policy) { p.Sessions[0].Steering.Mode = steer.LoadBalancing }, []string{change}},
		{"weights", func(p *Policy) { p.Sessions[0].Accesses[0].Weight, p.Sessions[0].Accesses[1].Weight = 20, 80 }, []string{change}},
		{"3gpp down", func(p *Policy) { p.Sessions[0].Accesses[0].Down = true }, []string{change}},
		{"3gpp up elsewhere", func(p *Policy) {
			p.Sessions[0].Accesses[0].Down, p.Sessions[0].Accesses[0].TEID = false, 0x555
		}, []string{change}},
		{"non-3gpp leaves", func(p *Policy) {
			p.Sessions[0].Accesses[1], p.Sessions[0].Accesses[0].Weight = nil, 100
		}, []string{change}},
		{"non-3gpp comes back", func(p *Policy) {
			p.Sessions[0].Accesses[1] = &Access{Peer: netip.MustParseAddr("10.100.2.9"), TEID: 7, Priority: steer.Standby}
		}, []string{change}},
		{"a second session", func(p *Policy) { p.Sessions = append(p.Sessions, second.clone()) }, []string{create}},
		{"an address moves", func(p *Policy) {
			p.Sessions[0].UE, p.Sessions[1].UE = p.Sessions[1].UE, p.Sessions[0].UE
		}, []string{drop, drop, create, create}},
		{"the first session leaves", func(p *Policy) { p.Sessions = p.Sessions[1:] }, []string{drop}},
	}
	for _, step := range steps {
		step.change(p)
		st := r.apply(p)
		if !settled(st) {
			t.Fatalf("%s: state %+v", step.name, st)
		}
		if d := cmp.Diff(step.want, upf.names()); d != "" {
			t.Errorf("%s: requests (-want +got):\n%s", step.name, d)
		}
		var want []string
		for i := range p.Sessions {
			want = append(want, effectOf(t, &p.Sessions[i]))
			uplinks := 0
			for _, acc := range p.Sessions[i].Accesses {
				if acc != nil {
					uplinks++
				}
			}
			if n := len(st.Sessions[i].Uplink); n != uplinks {
				t.Errorf("%s: session %d has %d uplink tunnels, want %d", step.name, i, n, uplinks)
			}
		}
		if d := cmp.Diff(want, upf.sessions()); d != "" {
			t.Errorf("%s: rules (-want +got):\n%s", step.name, d)
		}
	}
}

func TestSilentAtFirst(t *testing.T) {
	upf := newFakeUPF(t)
	heard := map[string]int{}
	sequences := map[uint32]bool{}
	upf.change(func() {
		upf.silent = func(m message.Message) bool {
			heard[m.MessageTypeName()]++
			sequences[m.Sequence()] = true
			return heard[m.MessageTypeName()] <= 2
		}
	})
	r := start(t, upf, testPolicy())
	r.await("settled state", settled)
	upf.change(func() {
		if heard[setup] != 3 || heard[create] != 3 || len(sequences) != 2 {
			t.Errorf("heard %v under %d sequence numbers, want 3 of each under 2", heard, len(sequences))
		}
	})
}

// TestLateUPF: the SMF is there long before the UPF.
func TestLateUPF(t *testing.T) {
	upf := newFakeUPF(t)
	upf.change(func() { upf.silent = func(message.Message) bool { return true } })
	r := start(t, upf, testPolicy())
	r.await("complaint", func(s State) bool {
		return s.Association == Down && strings.Contains(s.Error, "Association Setup Request") && s.Generation == 0
	})
	upf.change(func() { upf.silent = nil })
	r.await("settled state", settled)
}

func TestRestart(t *testing.T) {
	beats := map[string]func(t *testing.T, r *running){
		"seen in a heartbeat response": nil,
		"seen in the UPF's heartbeat request": func(t *testing.T, r *running) {
			_, err := r.upf.endpoint.Request(context.Background(), r.smf.LocalAddr(),
				message.NewHeartbeatRequest(0, ie.NewRecoveryTimeStamp(r.upf.started), nil))
			if err != nil {
				t.Error(err)
			}
		},
	}
	for name, beat := range beats {
		t.Run(name, func(t *testing.T) {
			upf := newFakeUPF(t)
			p := testPolicy()
			if beat == nil {
				p.Heartbeat = minHeartbeat
			}
			r := start(t, upf, p)
			r.await("settled state", settled)
			upf.restart()
			if beat != nil {
				beat(t, r)
			}
			r.await("second life", func(s State) bool { return settled(s) && s.Sessions[0].UPSEID == "0x2" && s.Generation == 1 })
			wantNames(t, upf, setup, create)
			if d := cmp.Diff([]string{effectOf(t, testSession())}, upf.sessions()); d != "" {
				t.Errorf("rules (-want +got):\n%s", d)
			}
		})
	}
}

// TestLostAndBack: a UPF that is silent for a while keeps its sessions.
func TestLostAndBack(t *testing.T) {
	upf := newFakeUPF(t)
	p := testPolicy()
	p.Heartbeat = minHeartbeat
	r := start(t, upf, p)
	r.await("settled state", settled)
	upf.names()
	upf.change(func() { upf.silent = func(message.Message) bool { return true } })
	r.await("loss", func(s State) bool { return s.Association == Lost && s.Sessions[0].UPSEID == "0x1" })
	upf.change(func() { upf.silent = nil })
	r.await("settled state", settled)
	wantNames(t, upf)
}

func TestRefusals(t *testing.T) {
	upf := newFakeUPF(t)
	refuse := func(typ uint8, ies ...*ie.IE) {
		upf.change(func() {
			upf.refuse = func(m message.Message) []*ie.IE {
				if m.MessageType() == typ {
					return slices.Clone(ies)
				}
				return nil
			}
		})
	}
	refuse(message.MsgTypeAssociationSetupRequest, ie.NewCause(ie.CauseSystemFailure))
	p := testPolicy()
	r := start(t, upf, p)
	r.await("refused association", func(s State) bool {
		return s.Error == "Association Setup Request refused: cause 77 (system failure)"
	})

	refuse(message.MsgTypeSessionEstablishmentRequest, ie.NewCause(ie.CauseMandatoryIEIncorrect), ie.NewOffendingIE(ie.FARID))
	r.await("refused session", func(s State) bool {
		return s.Association == Up && s.Generation == 1 && s.Sessions[0].UPSEID == "" &&
			s.Sessions[0].Error == "Session Establishment Request refused: cause 69 (mandatory IE incorrect), offending IE 108 (FAR ID)"
	})

	upf.change(func() { upf.refuse = nil })
	if st := r.apply(p); !settled(st) {
		t.Errorf("after the refusals: %+v", st)
	}

	// A refused change leaves what was there; the next one starts from that.
	refuse(message.MsgTypeSessionModificationRequest, ie.NewCause(ie.CauseRuleCreationModificationFailure),
		ie.New(ie.FailedRuleID, []byte{5, 0, 1}))
	p.Sessions[0].Steering.Mode = steer.LoadBalancing
	st := r.apply(p)
	const want = "Session Modification Request refused: cause 73 (rule creation/modification failure), failed rule MAR 1"
	if st.Sessions[0].Error != want || st.Sessions[0].UPSEID != "0x1" {
		t.Errorf("refused change: %+v, want the error %q", st.Sessions[0], want)
	}
	if d := cmp.Diff([]string{effectOf(t, testSession())}, upf.sessions()); d != "" {
		t.Errorf("rules after a refused change (-want +got):\n%s", d)
	}
	upf.change(func() { upf.refuse = nil })
	if st := r.apply(p); !settled(st) {
		t.Errorf("the change again: %+v", st)
	}
	if d := cmp.Diff([]string{effectOf(t, &p.Sessions[0])}, upf.sessions()); d != "" {
		t.Errorf("rules after the change (-want +got):\n%s", d)
	}
}

// TestSilentChange: a UPF that answers everything but a change is associated with
// anew, which brings it to a known state.
func TestSilentChange(t *testing.T) {
	upf := newFakeUPF(t)
	p := testPolicy()
	r := start(t, upf, p)
	r.await("settled state", settled)
	upf.names()
	upf.change(func() {
		upf.silent = func(m message.Message) bool { return m.MessageType() == message.MsgTypeSessionModificationRequest }
	})
	p.Sessions[0].QFI = 5
	if st := r.apply(p); !settled(st) {
		t.Errorf("state %+v", st)
	}
	wantNames(t, upf, change, setup, create)
	if d := cmp.Diff([]string{effectOf(t, &p.Sessions[0])}, upf.sessions()); d != "" {
		t.Errorf("rules (-want +got):\n%s", d)
	}
}

// TestUPFForgets: the UPF lost a session, or all of them with the association.
func TestUPFForgets(t *testing.T) {
	upf := newFakeUPF(t)
	p := testPolicy()
	r := start(t, upf, p)
	r.await("settled state", settled)
	upf.names()

	upf.change(func() { upf.rules = map[uint64]*ruleStore{} })
	p.Sessions[0].QFI = 5
	r.apply(p)
	r.await("second session", func(s State) bool { return settled(s) && s.Sessions[0].UPSEID == "0x2" })
	wantNames(t, upf, change, create)

	// It lost the session and does not take a new one.
	upf.change(func() {
		upf.rules = map[uint64]*ruleStore{}
		upf.refuse = func(message.Message) []*ie.IE { return []*ie.IE{ie.NewCause(ie.CauseNoResourcesAvailable)} }
	})
	p.Sessions[0].QFI = 7
	if st := r.apply(p); st.Sessions[0].UPSEID != "" || !strings.Contains(st.Sessions[0].Error, "no resources available") {
		t.Errorf("state %+v", st)
	}
	upf.change(func() { upf.refuse = nil })
	if st := r.apply(p); !settled(st) {
		t.Errorf("state %+v", st)
	}
	upf.names()

	upf.change(func() { upf.rules, upf.associated = map[uint64]*ruleStore{}, false })
	p.Sessions[0].QFI = 6
	r.apply(p)
	r.await("third session", func(s State) bool { return settled(s) && s.Sessions[0].UPSEID == "0x4" })
	wantNames(t, upf, change, create, setup, create)
	if d := cmp.Diff([]string{effectOf(t, &p.Sessions[0])}, upf.sessions()); d != "" {
		t.Errorf("rules (-want +got):\n%s", d)
	}
}

// TestUnusableAnswer: an accepting answer without a TEID counts as an error, and
// the session is made anew with the next policy.
func TestUnusableAnswer(t *testing.T) {
	upf := newFakeUPF(t)
	upf.change(func() {
		upf.mangle = func(created *ie.IE) {
			*created = *ie.NewCreatedPDR(ie.NewPDRID(uint16(number(child(created, ie.PDRID)))))
		}
	})
	p := testPolicy()
	r := start(t, upf, p)
	r.await("complaint", func(s State) bool {
		return s.Generation == 1 && strings.Contains(s.Sessions[0].Error, "F-TEID of PDR 1")
	})
	upf.change(func() { upf.mangle = nil })
	if st := r.apply(p); !settled(st) || st.Sessions[0].UPSEID != "0x2" {
		t.Errorf("state %+v", st)
	}
	wantNames(t, upf, setup, create, drop, create)
}

// TestForeignAnswer: an answer under another SEID is not taken for ours.
func TestForeignAnswer(t *testing.T) {
	upf := newFakeUPF(t)
	upf.change(func() { upf.seidError = 1 })
	r := start(t, upf, testPolicy())
	r.await("complaint", func(s State) bool {
		return s.Generation == 1 && s.Sessions[0].Error == "Session Establishment Request: the answer is for SEID 0x2, ours is 0x1"
	})
}

// TestStranger: only the UPF gets answers.
func TestStranger(t *testing.T) {
	upf := newFakeUPF(t)
	p := testPolicy()
	r := start(t, upf, p)
	r.await("settled state", settled)
	stranger, err := pfcp.Listen(pfcp.Config{Addr: netip.MustParseAddrPort("127.0.0.2:0"), RetransTimeout: 20 * time.Millisecond, MaxRetrans: 3},
		func(netip.AddrPort, message.Message) message.Message { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	later := ie.NewRecoveryTimeStamp(time.Now().Add(time.Hour))
	if resp, err := stranger.Request(context.Background(), r.smf.LocalAddr(), message.NewHeartbeatRequest(0, later, nil)); !errors.Is(err, pfcp.ErrTimeout) {
		t.Errorf("answer %v, error %v", resp, err)
	}
	upf.names()
	if st := r.apply(p); !settled(st) || st.Sessions[0].UPSEID != "0x1" {
		t.Errorf("state %+v", st)
	}
	wantNames(t, upf)
}

func TestAnswersUPF(t *testing.T) {
	upf := newFakeUPF(t)
	r := start(t, upf, testPolicy())
	r.await("settled state", settled)
	ask := func(m message.Message) message.Message {
		t.Helper()
		resp, err := upf.endpoint.Request(context.Background(), r.smf.LocalAddr(), m)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	beat, ok := ask(message.NewHeartbeatRequest(0, ie.NewRecoveryTimeStamp(upf.started), nil)).(*message.HeartbeatResponse)
	if !ok || beat.RecoveryTimeStamp == nil {
		t.Errorf("heartbeat response %+v", beat)
	}
	for _, tt := range []struct {
		seid, want uint64
		cause      uint8
	}{{1, 1, ie.CauseRequestAccepted}, {99, 0, ie.CauseSessionContextNotFound}} {
		report, ok := ask(message.NewSessionReportRequest(0, 0, tt.seid, 0, 0, ie.NewReportType(0, 1, 0, 0))).(*message.SessionReportResponse)
		if !ok || report.Cause == nil || report.Cause.Payload[0] != tt.cause || report.SEID() != tt.want {
			t.Errorf("report for SEID %d: response %+v", tt.seid, report)
		}
	}
	again, ok := ask(message.NewAssociationSetupRequest(0, ie.NewNodeID("127.0.0.1", "", ""), ie.NewRecoveryTimeStamp(upf.started))).(*message.AssociationSetupResponse)
	if !ok || again.Cause == nil || again.Cause.Payload[0] != ie.CauseRequestRejected {
		t.Errorf("association from the UPF: %+v", again)
	}
}

func TestApplyRefuses(t *testing.T) {
	upf := newFakeUPF(t)
	p := testPolicy()
	r := start(t, upf, p)
	r.await("settled state", settled)
	for name, change := range map[string]func(p *Policy){
		"upf":              func(p *Policy) { p.UPF = netip.MustParseAddrPort("127.0.0.9:8805") },
		"node":             func(p *Policy) { p.Node = netip.MustParseAddr("127.0.0.9") },
		"sessions[0].name": func(p *Policy) { p.Sessions[0].Name = "" },
	} {
		bad := p.Clone()
		change(bad)
		var perr *PolicyError
		if err := r.smf.Apply(bad); !errors.As(err, &perr) || perr.Key != name {
			t.Errorf("%s: error %v", name, err)
		}
	}
	r.smf.Refuse(errors.New("no such file"))
	r.await("refused policy", func(s State) bool {
		return s.Error == "no such file" && s.Association == Up && s.Generation == 1 && s.Sessions[0].UPSEID != ""
	})
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{Policy: &Policy{}}); err == nil {
		t.Error("an empty policy: no error")
	}
	taken := newFakeUPF(t).endpoint.LocalAddr()
	p := testPolicy()
	p.UPF, p.Node = taken, taken.Addr()
	if _, err := New(Config{Policy: p, Local: taken}); err == nil || !strings.Contains(err.Error(), taken.String()) {
		t.Errorf("an address that is taken: error %v", err)
	}
}

// TestATSSSParameters: what the UPF answers stands in the state file.
func TestATSSSParameters(t *testing.T) {
	upf := newFakeUPF(t)
	qfi := uint8(5)
	full := pfcp.ATSSSParameters{
		MPTCP: &pfcp.MPTCPParameters{
			Proxy: pfcp.MPTCPAddress{Type: pfcp.TransportConverter, Port: 7000, IPv4: netip.MustParseAddr("10.60.255.1"), IPv6: netip.MustParseAddr("fd00::1")},
			LinkSpecific: pfcp.LinkSpecific{
				IPv4: [2]netip.Addr{netip.MustParseAddr("10.61.0.1"), netip.MustParseAddr("10.61.0.2")},
				IPv6: [2]netip.Addr{{}, netip.MustParseAddr("fd00::2")},
			},
		},
		ATSSSLL: true,
		PMF: []pfcp.PMFParameters{
			{Address: pfcp.PMFAddress{IPv4: netip.MustParseAddr("10.60.255.2"), Port: [2]uint16{6001, 6002}}},
			{Address: pfcp.PMFAddress{IPv4: netip.MustParseAddr("10.60.255.3"), Port: [2]uint16{6003, 6004}}, QFI: &qfi},
		},
	}
	upf.change(func() { upf.parameters = full.IE() })
	p := testPolicy()
	p.Sessions[0].ATSSS = ATSSS{MPTCP: true, ATSSSLL: true, PMF: &PMF{QFIs: []uint8{5}}}
	r := start(t, upf, p)
	got := r.await("settled state", settled).Sessions[0].ATSSS
	want := &ATSSSParameters{
		MPTCP: &MPTCPParameters{
			Proxy: []netip.AddrPort{netip.MustParseAddrPort("10.60.255.1:7000"), netip.MustParseAddrPort("[fd00::1]:7000")}, ProxyType: 1,
			LinkSpecific: LinkSpecific{
				TGPP:    []netip.Addr{netip.MustParseAddr("10.61.0.1")},
				NonTGPP: []netip.Addr{netip.MustParseAddr("10.61.0.2"), netip.MustParseAddr("fd00::2")},
			},
		},
		ATSSSLL: true,
		PMF: []PMFParameters{
			{Addresses: []netip.Addr{netip.MustParseAddr("10.60.255.2")}, Ports: PMFPorts{6001, 6002}},
			{QFI: 5, Addresses: []netip.Addr{netip.MustParseAddr("10.60.255.3")}, Ports: PMFPorts{6003, 6004}},
		},
	}
	if d := cmp.Diff(want, got, compareAddrs, compareAddrPorts); d != "" {
		t.Errorf("parameters (-want +got):\n%s", d)
	}

	for name, answer := range map[string]*ie.IE{
		"ATSSS Control Parameters": nil,
		"MPTCP Parameters":         (&pfcp.ATSSSParameters{ATSSSLL: true, PMF: full.PMF}).IE(),
		"ATSSS-LL Parameters":      (&pfcp.ATSSSParameters{MPTCP: full.MPTCP, PMF: full.PMF}).IE(),
		"PMF Parameters":           (&pfcp.ATSSSParameters{MPTCP: full.MPTCP, ATSSSLL: true}).IE(),
	} {
		upf.change(func() { upf.parameters = answer })
		p.Sessions[0].UE[1] = p.Sessions[0].UE[1].Next() // another session
		st := r.apply(p)
		if want := create + ": the answer has no " + name; st.Sessions[0].Error != want {
			t.Errorf("error %q, want %q", st.Sessions[0].Error, want)
		}
	}
	upf.change(func() { upf.parameters = ie.NewGroupedIE(ie.ATSSSControlParameters, ie.NewGroupedIE(ie.PMFParameters)) })
	p.Sessions[0].UE[1] = p.Sessions[0].UE[1].Next()
	if st := r.apply(p); !strings.Contains(st.Sessions[0].Error, "PMF Parameters without IE 230") {
		t.Errorf("malformed parameters: state %+v", st)
	}
}

// TestReports: access availability reports stand in the state file, the newest of many.
func TestReports(t *testing.T) {
	upf := newFakeUPF(t)
	p := testPolicy()
	p.Sessions[0].Reports.AccessAvailability = true
	r := start(t, upf, p)
	r.await("settled state", settled)
	report := func(seid uint64, ies ...*ie.IE) uint8 {
		t.Helper()
		m, err := upf.endpoint.Request(t.Context(), r.smf.LocalAddr(), message.NewSessionReportRequest(0, 0, seid, 0, 0,
			append(ies, pfcp.ReportSESR.IE())...))
		if err != nil {
			t.Fatal(err)
		}
		return pfcp.ParseCause(m.(*message.SessionReportResponse).Cause)
	}
	available := func(list ...pfcp.AccessAvailability) *ie.IE {
		return (&pfcp.SessionReport{SRR: 1, Availability: list}).IE()
	}
	if c := report(1, available(pfcp.AccessAvailability{Access: 1}, pfcp.AccessAvailability{Access: 0, Available: true})); c != ie.CauseRequestAccepted {
		t.Errorf("cause %d", c)
	}
	begin := time.Now()
	st := r.await("reports", func(s State) bool { return len(s.Sessions[0].Reports) == 2 })
	for i, want := range []AccessReport{{Access: "non-3gpp"}, {Access: "3gpp", Available: true}} {
		got := st.Sessions[0].Reports[i]
		if age := begin.Sub(got.Time); age < 0 || age > patience {
			t.Errorf("report %d is of %v", i, got.Time)
		}
		if got.Time = want.Time; got != want {
			t.Errorf("report %d is %+v, want %+v", i, got, want)
		}
	}
	if c := report(77, available(pfcp.AccessAvailability{})); c != ie.CauseSessionContextNotFound {
		t.Errorf("a report of no session of ours: cause %d", c)
	}
	if c := report(1, ie.New(ie.SessionReport, nil)); c != ie.CauseMandatoryIEIncorrect {
		t.Errorf("a report without an SRR: cause %d", c)
	}
	for range maxReports {
		report(1, available(pfcp.AccessAvailability{Access: 0}))
	}
	r.await("the newest reports", func(s State) bool {
		reports := s.Sessions[0].Reports
		return len(reports) == maxReports && !reports[0].Available
	})
}
