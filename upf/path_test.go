package upf

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// over are rules whose packets go to these addresses.
func over(as ...string) (peers []netip.Addr) {
	for _, a := range as {
		peers = append(peers, addr(a))
	}
	return peers
}

func TestFarEnds(t *testing.T) {
	to := func(id uint32, a string) *pfcp.FAR {
		o := &pfcp.OuterHeaderCreation{Description: pfcp.GTPUIPv4, IPv4: addr(a)}
		if addr(a).Is6() {
			o = &pfcp.OuterHeaderCreation{Description: pfcp.GTPUIPv6, IPv6: addr(a)}
		}
		return &pfcp.FAR{ID: id, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{OuterHeader: o}}
	}
	copied, uncopied := to(2, "10.0.0.1"), to(3, "10.0.0.1")
	copied.ApplyAction = p(pfcp.ActionFORW | pfcp.ActionDUPL)
	copied.Duplicates = []pfcp.Forwarding{*to(0, "10.0.0.5").Forwarding}
	uncopied.Duplicates = []pfcp.Forwarding{*to(0, "10.0.0.6").Forwarding}
	idle := to(4, "10.0.0.2")
	idle.ApplyAction = p(pfcp.ActionBUFF)
	r := ruleSet{fars: byID[uint32, *pfcp.FAR]{
		to(1, "fd00::9"), copied, uncopied, idle, to(5, "0.0.0.0"),
		{ID: 6, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{}},
		{ID: 7, ApplyAction: p(pfcp.ActionDROP)},
	}}
	want := []netip.Addr{addr("fd00::9"), addr("10.0.0.1"), addr("10.0.0.5"), addr("10.0.0.2")}
	if got := r.farEnds(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestPath follows one path through the seconds of its life.
func TestPath(t *testing.T) {
	const period = time.Minute
	a := addr("10.0.0.1")
	start := time.Unix(1000, 0)
	type step struct {
		at                     time.Duration
		answer                 bool // an Echo Response comes, before what is due is done
		ask, failed, recovered bool
	}
	round := func(from time.Duration) []step {
		return []step{
			{at: from, ask: true},
			{at: from + 3*time.Second - 1},
			{at: from + 3*time.Second, ask: true},
			{at: from + 6*time.Second, ask: true},
			{at: from + 9*time.Second - 1},
		}
	}
	tests := map[string][]step{
		"answers":             {{at: 0, ask: true}, {at: 1, answer: true}, {at: 59 * time.Second}, {at: period, ask: true}},
		"answers the third":   append(round(0), step{at: 8 * time.Second, answer: true}, step{at: 9 * time.Second}, step{at: period, ask: true}),
		"never answers":       append(append(round(0), step{at: 9 * time.Second}), append(round(period), step{at: period + 9*time.Second})...),
		"nobody has asked it": append(append([]step{{at: 0, answer: true, ask: true}}, round(0)[1:]...), step{at: 9 * time.Second}),
		"fails and comes back": append(append([]step{{at: 0, ask: true}, {at: 1, answer: true}}, round(period)...),
			step{at: period + 9*time.Second, failed: true}, step{at: period + 10*time.Second},
			step{at: 2 * period, ask: true}, step{at: 2*period + 3*time.Second, ask: true}, step{at: 2*period + 6*time.Second, ask: true},
			step{at: 2*period + 9*time.Second}, // once
			step{at: 3 * period, ask: true}, step{at: 3*period + 1, answer: true, recovered: true}, step{at: 3*period + 2},
			step{at: 4 * period, ask: true}),
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPaths(period)
			p.replace("smf", nil, over("10.0.0.1"), start)
			for i, s := range steps {
				now := start.Add(s.at)
				recovered := s.answer && p.answer(a, now)
				ask, failed := p.step(now)
				got := step{s.at, s.answer, len(ask) == 1, len(failed) == 1, recovered}
				if got != s {
					t.Fatalf("step %d: got %+v, want %+v", i, got, s)
				}
			}
		})
	}
}

// TestPathCounts: which paths there are, and for whom, after any order of sessions
// coming, changing, being handed over and going, is what the sessions say.
func TestPathCounts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	nodes := []string{"a", "b", "c"}
	ends := []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"}
	type sess struct {
		node  string
		peers []netip.Addr
	}
	sessions := make([]sess, 20)
	for i := range sessions {
		sessions[i].node = "a"
	}
	p := newPaths(time.Minute)
	for range 20_000 {
		s := &sessions[random.IntN(len(sessions))]
		switch random.IntN(4) {
		case 0:
			p.replace(s.node, s.peers, nil, time.Time{})
			s.peers = nil
		case 1:
			next := nodes[random.IntN(len(nodes))]
			p.hand(s.peers, s.node, next)
			s.node = next
		default:
			var as []string
			for _, a := range ends {
				if random.IntN(2) == 0 {
					as = append(as, a)
				}
			}
			p.replace(s.node, s.peers, over(as...), time.Time{})
			s.peers = over(as...)
		}
	}
	want := map[netip.Addr]map[string]int{}
	for _, s := range sessions {
		for _, a := range s.peers {
			if want[a] == nil {
				want[a] = map[string]int{}
			}
			want[a][s.node]++
		}
	}
	got := map[netip.Addr]map[string]int{}
	for a, w := range p.peers {
		got[a] = w.sessions
	}
	if diff := cmp.Diff(want, got, cmpRules); diff != "" || len(want) == 0 {
		t.Error(diff)
	}
	for i := range sessions {
		p.replace(sessions[i].node, sessions[i].peers, nil, time.Time{})
	}
	if len(p.peers) != 0 {
		t.Errorf("%d paths without sessions", len(p.peers))
	}
}

// echoPlane keeps whom an Echo Request was sent to.
type echoPlane struct {
	*fakePlane
	asked []netip.Addr
}

func (p *echoPlane) Echo(a netip.Addr) error {
	p.asked = append(p.asked, a)
	return nil
}

// TestPathReports: the nodes that have sessions over a path, and no others, are told
// that it has failed, and that it is there again.
func TestPathReports(t *testing.T) {
	b := newBenchWith(t, strings.Replace(testConfig, "50ms", "5s", 1)) // nothing comes twice
	other, idle := b.at("127.0.0.2"), b.at("127.0.0.3")
	plane := &echoPlane{fakePlane: b.plane}
	b.s.mu.Lock()
	b.s.plane, b.s.paths.period = plane, time.Minute
	b.s.mu.Unlock()
	b.associate()
	// Its reports go by another sender: the order in which this test answers is free.
	other.setup("a.smf.example")
	idle.setup("c.smf.example")
	b.established(1, maSession()) // over 10.100.1.2 and 10.100.2.2
	other.establish("a.smf.example", pfcp.FSEID{SEID: 1, IPv4: addr("10.0.0.2")}, plainSession(0x10, "10.60.0.10"))
	start := time.Now().Add(time.Second)
	echo := func(a string) {
		b.s.mu.Lock()
		defer b.s.mu.Unlock()
		b.s.event(&dataplane.Event{Kind: dataplane.EchoAnswered, From: netip.AddrPortFrom(addr(a), gtpuPort)})
	}

	b.s.stepPaths(start)
	slices.SortFunc(plane.asked, netip.Addr.Compare)
	if want := []netip.Addr{addr("10.100.1.2"), addr("10.100.2.2")}; !slices.Equal(plane.asked, want) {
		t.Fatalf("asked %v, want %v", plane.asked, want)
	}
	echo("10.100.1.2")
	echo("10.100.9.9") // never asked
	for _, at := range []time.Duration{0, 3, 6, 9} {
		b.s.stepPaths(start.Add(2*time.Minute + at*time.Second))
	}
	var datagrams [][]byte
	report := func(b *bench, what string) {
		t.Helper()
		req, ok := b.receive().(*message.NodeReportRequest)
		if !ok {
			t.Fatal("no node report")
		}
		d := encoded(t, req)
		b.answer(req, message.NewNodeReportResponse(0, pfcp.NodeIDIE(cpNode), ie.NewCause(ie.CauseRequestAccepted), nil))
		datagrams = append(datagrams, d)
		group, flag := req.UserPlanePathFailureReport, byte(1)
		if what == "recovery" {
			group, flag = req.UserPlanePathRecoveryReport, 2
		}
		if group == nil || req.NodeReportType.Payload[0] != flag {
			t.Fatalf("%s: %+v", what, req)
		}
		if peer, err := group.RemoteGTPUPeer(); err != nil || peer.IPv4Address.String() != "10.100.1.2" {
			t.Errorf("%s: remote GTP-U peer %+v, %v", what, peer, err)
		}
	}
	report(b, "failure")
	report(other, "failure")
	b.s.stepPaths(start.Add(4 * time.Minute))
	echo("10.100.1.2")
	report(b, "recovery")
	report(other, "recovery")
	text := tshark(t, datagrams, "-V")
	for _, want := range []string{"UPFR (User Plane Path Failure Report): True", "UPRR (User Plane Path Recovery Report): True"} {
		if strings.Count(text, want) != 2 {
			t.Errorf("tshark does not read %q twice:\n%s", want, text)
		}
	}
	// The node without sessions got nothing: the next that it gets answers its heartbeat.
	if m := idle.ask(message.NewHeartbeatRequest(0, pfcp.RecoveryTimeStampIE(cpStarted), nil)); m.MessageType() != message.MsgTypeHeartbeatResponse {
		t.Errorf("the idle node got %s", m.MessageTypeName())
	}
}

// BenchmarkPathsStep looks at the paths of 100,000 sessions over 1,024 access nodes.
func BenchmarkPathsStep(b *testing.B) {
	p := newPaths(time.Minute)
	now := time.Unix(1000, 0)
	for i := range 100_000 {
		p.replace("smf", nil, over(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8 & 3), byte(i)}).String()), now)
	}
	b.ReportMetric(float64(len(p.peers)), "paths")
	p.step(now)
	for b.Loop() {
		p.step(now)
	}
}
