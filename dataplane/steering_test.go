package dataplane

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// steered is a plane with the session of the tests under policy, and what is known of its
// accesses.
type steered struct {
	*fixture
	rules *Rules
	m     *steer.Monitor
}

func newSteered(t *testing.T, p steer.Policy) *steered {
	r := testRules()
	p.Usable = steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP)
	r.Downlink[0].MAR.Policy = p
	s := &steered{fixture: newFixture(t, 1, r), rules: r}
	s.m = &s.plane.workers[0].bySEID[testSEID].proxy.Monitor
	return s
}

// pass lets time pass, in which the PMF measures round trips and losses in 1/10000.
func (s *steered) pass(d time.Duration, rtt [2]time.Duration, plr [2]uint16) {
	for ; d > 0; d -= 100 * time.Millisecond {
		s.plane.epoch = s.plane.epoch.Add(-100 * time.Millisecond)
		now := time.Duration(s.plane.clock())
		for a := range steer.Access(steer.NumAccesses) {
			s.m.PMFRTT(now, a, rtt[a])
			s.m.PMFLoss(now, a, plr[a])
		}
		s.flows(1)
	}
}

// flows sends a packet of each of n flows and tells how many came over each access alone,
// and over both.
func (s *steered) flows(n int) (alone [2]int, both int) {
	s.Helper()
	for i := range n {
		s.n6(udp(server, ue1, 53, uint16(1000+i), 0))
		sent, _ := s.sent()
		switch {
		case len(sent) == 2 && sent[0].Peer != sent[1].Peer:
			both++
		case len(sent) != 1:
			s.Fatalf("a packet became %d", len(sent))
		case sent[0].Peer == gnb:
			alone[0]++
		default:
			alone[1]++
		}
	}
	return alone, both
}

// TestOrdinaryTraffic: packet flows that are not proxied go where the mode says, by what the
// PMF and the UE tell (ATSSS-LL).
func TestOrdinaryTraffic(t *testing.T) {
	const ms = time.Millisecond
	good := [2]time.Duration{20 * ms, 30 * ms}
	slow := [2]time.Duration{120 * ms, 30 * ms}
	thresholds := steer.Thresholds{RTT: 60_000, PLR: 2, HasPLR: true}
	high := [2]steer.Priority{steer.High, steer.Low}
	type want struct{ good, slow, lossy, gone float64 } // percent over 3GPP; 100 of both is 200
	for _, tc := range []struct {
		name   string
		policy steer.Policy
		want   want
	}{
		{"active-standby", steer.Policy{Priority: [2]steer.Priority{steer.Active, steer.Standby}}, want{100, 100, 100, 0}},
		{"smallest delay", steer.Policy{Mode: steer.SmallestDelay}, want{100, 0, 100, 0}},
		{"load-balancing", steer.Policy{Mode: steer.LoadBalancing, Weight: [2]uint8{70, 30}}, want{70, 70, 70, 0}},
		{"load-balancing, thresholds", steer.Policy{Mode: steer.LoadBalancing, Weight: [2]uint8{70, 30}, Thresholds: thresholds}, want{70, 0, 0, 0}},
		{"load-balancing, UE assistance", steer.Policy{Mode: steer.LoadBalancing, Indicator: steer.UEAssistance}, want{40, 40, 40, 0}},
		{"load-balancing, autonomous", steer.Policy{Mode: steer.LoadBalancing, Indicator: steer.Autonomous}, want{50, 0, 0, 0}},
		{"priority-based", steer.Policy{Mode: steer.PriorityBased, Priority: high}, want{100, 6, 6, 0}},
		{"priority-based, thresholds", steer.Policy{Mode: steer.PriorityBased, Priority: high, Thresholds: thresholds}, want{100, 0, 0, 0}},
		{"redundant", steer.Policy{Mode: steer.Redundant}, want{200, 200, 200, 0}},
		{"redundant, thresholds", steer.Policy{Mode: steer.Redundant, Thresholds: thresholds}, want{100, 0, 0, 0}},
		{"random", steer.Policy{Mode: steer.Random}, want{50, 50, 50, 0}},
		{"smallest RTT first", steer.Policy{Mode: steer.SmallestRTTFirst}, want{100, 0, 100, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSteered(t, tc.policy)
			s.m.UplinkSplit(40)
			const flows = 1000
			check := func(when string, want float64) {
				t.Helper()
				alone, both := s.flows(flows)
				got := float64(alone[0]+2*both) * 100 / flows
				if got < want-4 || got > want+4 { // points are hashes
					t.Errorf("%s: %v flows over either access, %d over both; want %v %%", when, alone, both, want)
				}
			}
			s.pass(time.Second, good, [2]uint16{})
			check("good", tc.want.good)
			s.pass(6*time.Second, slow, [2]uint16{})
			check("3GPP slow", tc.want.slow)
			s = newSteered(t, tc.policy)
			s.m.UplinkSplit(40)
			s.pass(time.Second, good, [2]uint16{})
			s.pass(6*time.Second, good, [2]uint16{500, 0})
			check("3GPP lossy", tc.want.lossy)
			s.m.SetAvailable(steer.Access3GPP, false)
			check("3GPP unavailable", tc.want.gone)
		})
	}
}

// TestRedundantOrdinaryTraffic: the copies of a packet are alike, and each counts for its
// access; both for neither if one of them cannot be used.
func TestRedundantOrdinaryTraffic(t *testing.T) {
	r := testRules()
	mar := r.Downlink[0].MAR
	mar.Policy.Mode, mar.Policy.Priority = steer.Redundant, [2]steer.Priority{steer.Secondary, steer.Primary}
	mar.URRs = [2][]*URR{{{ID: 1}}, {{ID: 2}}}
	r.Downlink[0].URRs = []*URR{{ID: 3}}
	f := newFixture(t, 1, r)
	b := udp(server, ue1, 53, 1000, 100)
	octets := uint64(len(b))
	f.n6(b)
	n3, _ := f.sent()
	if len(n3) != 2 || n3[0].Peer != gnb || n3[1].Peer != n3iwf {
		t.Fatalf("%d packets, want one over each access", len(n3))
	}
	for i, m := range n3 {
		want := [2]uint32{gnbTEID, n3iwfTEID}[i]
		var h gtpu.Header
		if gtpu.Parse(m.Bytes, &h) != gtpu.OK || h.TEID != want || !bytes.Equal(m.Bytes[h.Payload:h.End], b) {
			t.Errorf("packet %d: TEID %x with %x, want %x with %x", i, h.TEID, m.Bytes[h.Payload:], want, b)
		}
	}
	f.counted(map[string]uint64{
		"redundant_copies": 1, "n3_sent_packets": 2, "n3_sent_bytes": uint64(len(n3[0].Bytes) + len(n3[1].Bytes)),
		"downlink_3gpp_packets": 1, "downlink_3gpp_bytes": octets, "downlink_non_3gpp_packets": 1, "downlink_non_3gpp_bytes": octets,
	})
	usage, err := f.plane.Usage([]UsageQuery{{SEID: testSEID}})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range usage[0].Usages {
		if u.Downlink != (Volume{1, octets}) {
			t.Errorf("URR %d: %+v, want one packet of %d octets", u.URR, u.Downlink, octets)
		}
	}
	m := &f.plane.workers[0].bySEID[testSEID].proxy.Monitor
	for _, gone := range []steer.Access{steer.Access3GPP, steer.AccessNon3GPP} {
		m.SetAvailable(gone, false)
		f.n6(b)
		if got, want := f.oneN3().Peer, [2]netip.AddrPort{gnb, n3iwf}[gone.Other()]; got != want {
			t.Errorf("%v unavailable: sent to %v, want %v", gone, got, want)
		}
		m.SetAvailable(gone, true)
	}
}

// TestSplitGoesOn: a rule set that changes something else leaves flows where they are, one
// with another mode does not.
func TestSplitGoesOn(t *testing.T) {
	const ms = time.Millisecond
	s := newSteered(t, steer.Policy{Mode: steer.PriorityBased, Priority: [2]steer.Priority{steer.High, steer.Low}})
	s.pass(time.Second, [2]time.Duration{20 * ms, 30 * ms}, [2]uint16{})
	s.pass(2*time.Second, [2]time.Duration{60 * ms, 30 * ms}, [2]uint16{})
	before, _ := s.flows(1000)
	if before[1] < 100 || before[1] > 900 {
		t.Fatalf("%v flows over the accesses, want some over each", before)
	}
	s.rules.Downlink[1].FAR, s.rules.Downlink[1].MAR = s.rules.Downlink[0].MAR.FAR[0], nil
	s.install(s.rules)
	if after, _ := s.flows(1000); max(after[0]-before[0], before[0]-after[0]) > 100 {
		t.Errorf("%v flows over the accesses after another rule changed, %v before", after, before)
	}
	p := &s.rules.Downlink[0].MAR.Policy
	p.Mode, p.Weight = steer.LoadBalancing, [2]uint8{100, 0}
	s.install(s.rules)
	if after, _ := s.flows(1000); after[1] != 0 {
		t.Errorf("%v flows over the accesses, want all over 3GPP", after)
	}
	p.Weight = [2]uint8{0, 100}
	s.install(s.rules)
	if after, _ := s.flows(1000); after[0] != 0 {
		t.Errorf("%v flows over the accesses, want none over 3GPP", after)
	}
	p.Mode, p.Weight = steer.PriorityBased, [2]uint8{}
	s.pass(2*time.Second, [2]time.Duration{20 * ms, 30 * ms}, [2]uint16{}) // it has room again
	s.install(s.rules)
	if after, _ := s.flows(1000); after[1] != 0 {
		t.Errorf("%v flows over the accesses, want all over 3GPP", after)
	}
}

// TestUnproxiedTCP: TCP that is no MPTCP follows the MAR as any other traffic.
func TestUnproxiedTCP(t *testing.T) {
	s := newSteered(t, steer.Policy{Functionality: steer.MPTCP, Mode: steer.SmallestDelay})
	s.pass(time.Second, [2]time.Duration{80 * time.Millisecond, 30 * time.Millisecond}, [2]uint16{})
	s.n6(tcp(server, ue1, 80, 1000, packet.ACK))
	if got := s.oneN3().Peer; got != n3iwf {
		t.Errorf("sent to %v, want %v", got, n3iwf)
	}
}

// TestSteeringDoesNotAllocate: neither do decisions, nor copies.
func TestSteeringDoesNotAllocate(t *testing.T) {
	for _, mode := range []steer.Mode{steer.SmallestDelay, steer.Redundant} {
		s := newSteered(t, steer.Policy{Mode: mode})
		w := s.plane.workers[0]
		r := w.bySEID[testSEID].rules
		raw := udp(server, ue1, 53, 1000, 100)
		n := testing.AllocsPerRun(200, func() {
			w.now += 1e8
			s.m.PMFRTT(time.Duration(w.now), 0, time.Millisecond)
			b := w.pool.Get()
			b.SetLen(copy(b.Room(), raw))
			w.downlink(b, r, false)
			for i := range w.tx.N3 {
				w.pool.Put(w.tx.N3[i].Buf)
			}
			w.tx.Reset()
		})
		if n != 0 {
			t.Errorf("mode %d: %v allocations a packet", mode, n)
		}
	}
}
