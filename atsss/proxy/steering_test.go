package proxy

import (
	"math"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// windows is a download over two accesses, a window in each round trip.
type windows struct {
	*harness
	rtt    [steer.NumAccesses]Time
	d      int64                    // sent by the server
	ssn    [steer.NumAccesses]int64 // after what the UE has got on each access
	probes int                      // new SSNs of bytes that came alone
}

func newWindows(t *testing.T, p steer.Policy) *windows {
	h := newHarness(t)
	h.connect()
	h.join()
	k := &windows{harness: h, rtt: [2]Time{20 * millisecond, 30 * millisecond}, ssn: [2]int64{1, 2}}
	h.session.Monitor = steer.Monitor{} // the join took no time
	k.follow(p)
	return k
}

// follow makes p the policy.
func (k *windows) follow(p steer.Policy) {
	p.Functionality, p.Usable = steer.MPTCP, steer.SetOf(0, 1)
	k.rule.Policy = &p
}

// round has the server send a window of so many packets, and the UE acknowledge it over
// whichever access it comes, when that is due. It tells how many came over each.
func (k *windows) round(packets int) (came [steer.NumAccesses]int) {
	k.t.Helper()
	for range packets {
		k.serverData(k.d, 1000)
		k.d += 1000
	}
	var due [steer.NumAccesses]Time // 0 = nothing is
	got := func() {
		for _, x := range k.out.ToUE {
			g := k.segment(x.Buf)
			switch {
			case len(g.payload) == 0:
				continue
			case len(g.payload) > 1:
				came[x.Access]++
			}
			end := int64(g.tcp.SN()-k.isns[x.Access][1]) + int64(len(g.payload))
			if len(g.payload) == 1 && end > k.ssn[x.Access] {
				k.probes++
			}
			k.ssn[x.Access], due[x.Access] = max(k.ssn[x.Access], end), k.now+k.rtt[x.Access]
		}
		k.recycle()
	}
	for got(); due != [steer.NumAccesses]Time{}; got() {
		a := steer.Access3GPP
		if due[a] == 0 || due[a.Other()] != 0 && due[a.Other()] < due[a] {
			a = a.Other()
		}
		k.now = max(k.now, due[a])
		due[a] = 0
		d := k.d
		if came[a] == 0 { // a measurement alone
			d = k.conn().down.acked
		}
		k.ackOn(int(a), k.ssn[a], d)
	}
	return came
}

// settle lets time pass under load and tells which access carries it in the end; it fails
// if both do, or after how long it moved.
func (k *windows) settle(d Time) (on steer.Access, moved Time) {
	k.t.Helper()
	begin := k.now
	on = steer.NumAccesses
	for k.now-begin < d {
		came := k.round(4)
		now := steer.Access3GPP
		if came[steer.AccessNon3GPP] > 0 {
			now = steer.AccessNon3GPP
		}
		if came[now.Other()] > 0 {
			k.t.Fatalf("%v packets came over the accesses in one round", came)
		}
		if now != on && on != steer.NumAccesses {
			moved = k.now - begin
		}
		on = now
	}
	return on, moved
}

// TestSmallestDelay: a connection moves to the access whose round trip is the shorter, if
// that is worth it, and not again within a second.
func TestSmallestDelay(t *testing.T) {
	k := newWindows(t, steer.Policy{Mode: steer.SmallestDelay})
	for i, step := range []struct {
		rtt    [2]Time // in milliseconds
		on     steer.Access
		within Time
	}{
		{[2]Time{20, 30}, 0, 0},
		{[2]Time{33, 30}, 0, 0},     // not worth it
		{[2]Time{120, 30}, 1, 1000}, // as FlexCP's Figure 10
		{[2]Time{25, 30}, 1, 0},     // not worth it
		{[2]Time{12, 30}, 0, 4000},  // found out by measuring the idle access
		{[2]Time{12, 11}, 0, 0},
		{[2]Time{12, 6}, 1, 4000},
	} {
		k.rtt = [2]Time{step.rtt[0] * millisecond, step.rtt[1] * millisecond}
		on, moved := k.settle(6000 * millisecond)
		if on != step.on || moved > step.within*millisecond {
			t.Errorf("step %d: on %v, moved after %v ms; want %v within %v ms", i, on, moved/millisecond, step.on, step.within)
		}
	}
	if most := int(k.now/(1000*millisecond)) + 1; k.probes > most || k.probes < most/3 {
		t.Errorf("%d measurements of the idle access, want one a second", k.probes)
	}
}

// TestSmallestDelayStays: where the accesses change places all the time a connection moves
// once a second at most.
func TestSmallestDelayStays(t *testing.T) {
	moves := func(m steer.Mode) (n int) {
		k := newWindows(t, steer.Policy{Mode: m})
		last := steer.Access3GPP
		for range 200 {
			came := k.round(4)
			now := steer.Access3GPP
			if came[1] > 0 {
				now = steer.AccessNon3GPP
			}
			if now != last {
				n++
			}
			last = now
			k.rtt[now], k.rtt[now.Other()] = 100*millisecond, 20*millisecond // it is always the wrong one
		}
		return n
	}
	delay, first := moves(steer.SmallestDelay), moves(steer.SmallestRTTFirst)
	if delay > 20 || delay < 3 {
		t.Errorf("Smallest Delay: %d moves in 200 round trips of up to 0.1 s", delay)
	}
	if first < delay {
		t.Errorf("smallest RTT first: %d moves, fewer than the %d of Smallest Delay", first, delay)
	}
}

// TestSmallestDelayOfOnesOwn: a connection goes by its own round trips, others' are of use for
// the access that it does not use.
func TestSmallestDelayOfOnesOwn(t *testing.T) {
	k := newWindows(t, steer.Policy{Mode: steer.SmallestDelay})
	k.rtt = [2]Time{120 * millisecond, 30 * millisecond}
	for range 30 { // other connections have another way
		k.session.Monitor.TrafficRTT(k.now.duration(), steer.Access3GPP, 20*time.Millisecond)
		k.session.Monitor.TrafficRTT(k.now.duration(), steer.AccessNon3GPP, 30*time.Millisecond)
		k.round(1)
		if s := k.session.Monitor.State(k.now.duration()); k.rule.Policy.Split.Cut != steer.Points {
			t.Fatalf("the session is on non-3GPP: %+v", s)
		}
		if k.conn().own == steer.AccessNon3GPP {
			break
		}
	}
	if came := k.round(4); came != [2]int{0, 4} {
		t.Errorf("%v packets came over the accesses, want 4 over non-3GPP", came)
	}
}

// TestSmallestRTTFirst: any shorter round trip will do.
func TestSmallestRTTFirst(t *testing.T) {
	k := newWindows(t, steer.Policy{Mode: steer.SmallestRTTFirst})
	for i, step := range []struct {
		rtt [2]Time
		on  steer.Access
	}{{[2]Time{20, 30}, 0}, {[2]Time{33, 30}, 1}, {[2]Time{28, 30}, 0}} {
		k.rtt = [2]Time{step.rtt[0] * millisecond, step.rtt[1] * millisecond}
		if on, _ := k.settle(5000 * millisecond); on != step.on {
			t.Errorf("step %d: on %v, want %v", i, on, step.on)
		}
	}
}

// TestReportedUnavailable: an access that the UE says it cannot use gets no new data, in any
// mode, from the next packet on.
func TestReportedUnavailable(t *testing.T) {
	for mode, priority := range map[steer.Mode][2]steer.Priority{
		steer.ActiveStandby:    {steer.Active, steer.Standby},
		steer.SmallestDelay:    {},
		steer.PriorityBased:    {steer.High, steer.Low},
		steer.Redundant:        {steer.Primary, steer.Secondary},
		steer.SmallestRTTFirst: {},
	} {
		k := newWindows(t, steer.Policy{Mode: mode, Priority: priority})
		if came := k.round(4); came[0] != 4 {
			t.Errorf("mode %d: %v packets came over the accesses, want 4 over 3GPP", mode, came)
		}
		k.session.Monitor.SetAvailable(steer.Access3GPP, false)
		if came := k.round(4); came != [2]int{0, 4} {
			t.Errorf("mode %d, 3GPP said to be unavailable: %v packets came", mode, came)
		}
		k.session.Monitor.SetAvailable(steer.Access3GPP, true)
		k.rtt[1] = 60 * millisecond
		k.settleAny(1500 * millisecond)
		if came := k.round(4); came[0] != 4 {
			t.Errorf("mode %d, 3GPP available again: %v packets came", mode, came)
		}
	}
}

// settleAny lets time pass under load.
func (k *windows) settleAny(d Time) {
	for begin := k.now; k.now-begin < d; {
		k.round(4)
	}
}

// TestMonitorIsFed: what the connections show of the accesses is what there is.
func TestMonitorIsFed(t *testing.T) {
	k := newWindows(t, steer.Policy{Mode: steer.LoadBalancing, Weight: [2]uint8{100, 0}})
	k.settleAny(2000 * millisecond)
	s := *k.session.Monitor.State(k.now.duration())
	a := s.Access[steer.Access3GPP]
	if rtt := a.RTT; rtt < 19*time.Millisecond || rtt > 21*time.Millisecond {
		t.Errorf("RTT %v, want 20 ms", rtt)
	}
	// Four packets a round trip.
	if a.Rate < 180_000 || a.Rate > 220_000 || a.Flows != 1 || a.Window < 3600 || a.Window > 4400 || a.PLR != 0 || a.Congested {
		t.Errorf("%+v, want 200,000 bytes/s of one connection, 4,000 in a round trip, no loss", a)
	}
	if n := s.Access[steer.AccessNon3GPP]; n.Rate != 0 || n.Flows != 0 {
		t.Errorf("%+v of an access that carries nothing", n)
	}
	for range 100 { // every tenth packet is lost at first
		k.round(10)
		k.serverData(k.d-1000, 1000)
		k.recycle()
		k.serverData(k.d, 1000)
		k.d += 1000
		k.ssn[0] += 1000
		k.recycle()
		k.ackOn(0, k.ssn[0], k.d)
		k.recycle()
	}
	k.settleAny(200 * millisecond)
	if a := k.session.Monitor.State(k.now.duration()).Access[0]; !a.HasPLR || a.PLR != 0 {
		t.Errorf("data that were acknowledged before the server sent them again: %d/10000 lost", a.PLR)
	}
	for range 100 {
		for i := range int64(10) {
			k.serverData(k.d+1000*i, 1000)
		}
		k.serverData(k.d, 1000)
		k.recycle()
		k.d += 10_000
		k.ssn[0] += 10_000
		k.now += 20 * millisecond
		k.ackOn(0, k.ssn[0], k.d)
		k.recycle()
		k.round(1)
	}
	if a := k.session.Monitor.State(k.now.duration()).Access[0]; !a.HasPLR || a.PLR < 700 || a.PLR > 850 || !a.Congested {
		t.Errorf("every twelfth packet sent again: %+v", a)
	}
}

// TestRedundantThresholds: copies go while no access is known to be good enough alone.
func TestRedundantThresholds(t *testing.T) {
	k := newWindows(t, steer.Policy{Mode: steer.Redundant, Thresholds: steer.Thresholds{PLR: 1, HasPLR: true}})
	m := &k.session.Monitor
	for i, step := range []struct {
		plr  [2]uint16
		want [2]int
	}{
		{[2]uint16{300, 300}, [2]int{4, 4}},
		{[2]uint16{300, 50}, [2]int{0, 4}},
		{[2]uint16{50, 50}, [2]int{4, 0}},
		{[2]uint16{200, 200}, [2]int{4, 4}},
	} {
		for a, v := range step.plr {
			m.PMFLoss(k.now.duration(), steer.Access(a), v)
		}
		for range 10 {
			k.round(1)
		}
		if came := k.round(4); came != step.want {
			t.Errorf("step %d: %v packets came over the accesses, want %v", i, came, step.want)
		}
	}
}

// spread opens a thousand connections under p and tells how many have their data come over
// 3GPP access, and how often that of two in a row differs.
func spread(t *testing.T, p steer.Policy, prepare func(m *steer.Monitor)) (on3GPP, alternate int, h *harness, conns []*Conn) {
	h = newHarness(t)
	p.Functionality, p.Usable = steer.MPTCP, steer.SetOf(0, 1)
	h.rule.Policy = &p
	prepare(&h.session.Monitor)
	last := 0
	for i := range 1000 {
		h.p.keys.Fill(1)
		h.connectFrom(uint16(10000 + 2*i))
		h.join()
		h.serverData(0, 1000)
		a := int(h.out.ToUE[0].Access)
		h.recycle()
		on3GPP += 1 - a
		alternate += a ^ last
		last = a
		conns = append(conns, h.conn())
	}
	return on3GPP, alternate, h, conns
}

// TestWeightsHold: a thousand connections are spread as the mode says, within two points,
// and move only between the cuts.
func TestWeightsHold(t *testing.T) {
	for _, tc := range []struct {
		name    string
		policy  steer.Policy
		prepare func(m *steer.Monitor)
		want    float64 // percent on 3GPP
		within  float64
	}{
		{"0/100", steer.Policy{Mode: steer.LoadBalancing, Weight: [2]uint8{0, 100}}, nil, 0, 0},
		{"37/63", steer.Policy{Mode: steer.LoadBalancing, Weight: [2]uint8{37, 63}}, nil, 37, 2},
		{"90/10", steer.Policy{Mode: steer.LoadBalancing, Weight: [2]uint8{90, 10}}, nil, 90, 2},
		{"UE assistance, unknown", steer.Policy{Mode: steer.LoadBalancing, Indicator: steer.UEAssistance}, nil, 50, 2},
		{"UE assistance", steer.Policy{Mode: steer.LoadBalancing, Indicator: steer.UEAssistance}, func(m *steer.Monitor) { m.UplinkSplit(20) }, 20, 2},
		{"autonomous", steer.Policy{Mode: steer.LoadBalancing, Indicator: steer.Autonomous}, nil, 50, 2},
		{"random", steer.Policy{Mode: steer.Random}, nil, 50, 5},
	} {
		prepare := tc.prepare
		if prepare == nil {
			prepare = func(*steer.Monitor) {}
		}
		n, alternate, h, conns := spread(t, tc.policy, prepare)
		if got := float64(n) / 10; math.Abs(got-tc.want) > tc.within {
			t.Errorf("%s: %.1f %% on 3GPP, want %.0f", tc.name, got, tc.want)
		}
		if random := tc.policy.Mode == steer.Random; random && (alternate < 440 || alternate > 560) {
			t.Errorf("%s: the access changes %d times from one connection to the next", tc.name, alternate)
		}
		if tc.policy.Indicator != steer.UEAssistance || tc.prepare == nil {
			continue
		}
		before := make([]steer.Access, len(conns))
		for i, c := range conns {
			before[i] = c.choose().access
		}
		h.session.Monitor.UplinkSplit(45)
		h.now += 200 * millisecond
		h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 1000), 1001, nil)) // a round trip ends
		h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(nil, 1000), 1002, nil))
		moved, back := 0, 0
		for i, c := range conns {
			switch now := c.choose().access; {
			case now == before[i]:
			case now == steer.Access3GPP:
				moved++
			default:
				back++
			}
		}
		if moved < 230 || moved > 270 || back > 0 {
			t.Errorf("%s, 20 to 45 %%: %d connections moved to 3GPP, %d from it; want 250, none", tc.name, moved, back)
		}
	}
}

// TestRepairIsNoLoss: what is sent again to mend a subflow after a silence is not taken for
// losses of its access, other repetitions are.
func TestRepairIsNoLoss(t *testing.T) {
	for _, recovering := range []bool{false, true} {
		k := newWindows(t, steer.Policy{Mode: steer.ActiveStandby, Priority: [2]steer.Priority{steer.Active, steer.Standby}})
		for range 30 {
			k.round(10)
		}
		f := k.conn().subflows[0]
		f.path.recovering = recovering
		f.sentAgain(200_000)
		k.now += Time(time.Second)
		s := k.session.Monitor.State(time.Duration(k.now)).Access[f.access]
		if lossy := s.HasPLR && s.PLR > 1000; lossy == recovering {
			t.Errorf("recovering %v: loss %d (known: %v)", recovering, s.PLR, s.HasPLR)
		}
	}
}
