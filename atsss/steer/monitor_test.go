package steer

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// start is when the clock of these tests begins: not 0.
const start = time.Hour

func TestMonitorKnowsNothing(t *testing.T) {
	var m Monitor
	if m.Available() != SetOf(Access3GPP, AccessNon3GPP) || m.Reported() != 0 || m.News() != 0 {
		t.Error("the zero value knows something")
	}
	for a, s := range m.State(start).Access {
		if want := (AccessState{Available: true}); s != want {
			t.Errorf("%v: %+v, want %+v", Access(a), s, want)
		}
	}
	m = Monitor{}
	m.Resent(Access3GPP, 1000)
	if m.Delivered(Access3GPP, 1000, 0) != 0 || m.m != nil {
		t.Error("bytes alone took memory")
	}
}

func TestMonitorRoundTrips(t *testing.T) {
	for _, tc := range []struct {
		name      string
		feed      func(m *Monitor)
		at        time.Duration
		rtt, base time.Duration
	}{
		{"one of a connection", func(m *Monitor) { m.TrafficRTT(start, 0, 20*ms) }, 0, 20 * ms, 20 * ms},
		{"one of the PMF", func(m *Monitor) { m.PMFRTT(start, 0, 30*ms) }, 0, 30 * ms, 30 * ms},
		{"a fresh one of a connection beside a younger one of the PMF", func(m *Monitor) {
			m.TrafficRTT(start, 0, 20*ms)
			m.PMFRTT(start+500*ms, 0, 30*ms)
		}, 900 * ms, 20 * ms, 20 * ms},
		{"an old one of a connection beside a younger one of the PMF", func(m *Monitor) {
			m.TrafficRTT(start, 0, 20*ms)
			m.PMFRTT(start+500*ms, 0, 30*ms)
		}, 1100 * ms, 30 * ms, 20 * ms},
		{"an old one of a connection and none younger", func(m *Monitor) {
			m.PMFRTT(start, 0, 30*ms)
			m.TrafficRTT(start+ms, 0, 20*ms)
		}, 5 * time.Second, 20 * ms, 20 * ms},
		{"a stale one", func(m *Monitor) { m.TrafficRTT(start, 0, 20*ms) }, staleAfter, 0, 0},
		{"an eighth of what is new", func(m *Monitor) {
			m.TrafficRTT(start, 0, 20*ms)
			m.TrafficRTT(start+100*ms, 0, 100*ms)
		}, 100 * ms, 30 * ms, 20 * ms},
		{"all of what is new after a pause", func(m *Monitor) {
			m.TrafficRTT(start, 0, 20*ms)
			m.TrafficRTT(start+2*time.Second, 0, 100*ms)
		}, 2 * time.Second, 100 * ms, 20 * ms},
		{"the base is forgotten", func(m *Monitor) {
			for at := time.Duration(0); at <= 2*baseWindow+time.Second; at += 500 * ms {
				rtt := 100 * ms
				if at == 0 {
					rtt = 20 * ms
				}
				m.TrafficRTT(start+at, 0, rtt)
			}
		}, 2*baseWindow + time.Second, 100 * ms, 100 * ms},
		{"the base is kept", func(m *Monitor) {
			for at := time.Duration(0); at <= baseWindow+time.Second; at += 500 * ms {
				rtt := 100 * ms
				if at == 500*ms {
					rtt = 20 * ms
				}
				m.TrafficRTT(start+at, 0, rtt)
			}
		}, baseWindow + time.Second, 100 * ms, 20 * ms},
	} {
		var m Monitor
		tc.feed(&m)
		s := m.State(start + tc.at).Access[0]
		if near := s.RTT-tc.rtt < ms && tc.rtt-s.RTT < ms; !near || s.BaseRTT != tc.base {
			t.Errorf("%s: RTT %v, base %v, want %v, %v", tc.name, s.RTT, s.BaseRTT, tc.rtt, tc.base)
		}
		if other := m.State(start + tc.at).Access[1]; other.RTT != 0 {
			t.Errorf("%s: the other access has one, too", tc.name)
		}
	}
}

// TestMonitorRates: bytes and connections are those of the last whole interval.
func TestMonitorRates(t *testing.T) {
	var m Monitor
	seen := make([]uint8, 3)
	for at := time.Duration(0); at < 5*interval; at += 10 * ms {
		m.TrafficRTT(start+at, AccessNon3GPP, 20*ms)
		for i := range seen {
			seen[i] = m.Delivered(AccessNon3GPP, 1000, seen[i])
		}
	}
	s := m.State(start + 5*interval).Access[AccessNon3GPP]
	if s.Flows != 3 || s.Rate < 290_000 || s.Rate > 310_000 || s.Window < 5800 || s.Window > 6200 {
		t.Errorf("%d connections, %d bytes/s, window %d; want 3, 300,000, 6,000", s.Flows, s.Rate, s.Window)
	}
	s = m.State(start + 7*interval).Access[AccessNon3GPP]
	if s.Flows != 0 || s.Rate != 0 || s.Window != 0 {
		t.Errorf("later %d connections, %d bytes/s, window %d; want none", s.Flows, s.Rate, s.Window)
	}
}

func TestMonitorLoss(t *testing.T) {
	lose := func(m *Monitor, from, to time.Duration, percent int64) {
		for at := from; at < to; at += 10 * ms {
			m.TrafficRTT(start+at, 0, 20*ms)
			m.Delivered(0, 100*(100-percent)*10, 0)
			m.Resent(0, 100*percent*10)
		}
	}
	for _, tc := range []struct {
		name  string
		feed  func(m *Monitor)
		at    time.Duration
		plr   uint16
		known bool
	}{
		{"nothing", func(*Monitor) {}, 0, 0, false},
		{"too little to tell", func(m *Monitor) {
			m.TrafficRTT(start, 0, 20*ms)
			m.Delivered(0, lossEvidence/2, 0)
			m.Resent(0, 1400)
		}, interval, 0, false},
		{"none", func(m *Monitor) { lose(m, 0, time.Second, 0) }, time.Second, 0, true},
		{"bytes sent again", func(m *Monitor) { lose(m, 0, time.Second, 5) }, time.Second, 500, true},
		{"counted by the PMF", func(m *Monitor) { m.PMFLoss(start, 0, 300) }, time.Second, 300, true},
		{"counted long ago", func(m *Monitor) { m.PMFLoss(start, 0, 300) }, staleAfter, 0, false},
		{"the PMF counts more", func(m *Monitor) { m.PMFLoss(start, 0, 700); lose(m, 0, time.Second, 5) }, time.Second, 700, true},
		{"the PMF counts less", func(m *Monitor) { m.PMFLoss(start, 0, 100); lose(m, 0, time.Second, 5) }, time.Second, 500, true},
		{"over, and forgotten", func(m *Monitor) {
			lose(m, 0, time.Second, 5)
			lose(m, time.Second, 6*time.Second, 0)
		}, 6 * time.Second, 8, true},
	} {
		var m Monitor
		tc.feed(&m)
		s := m.State(start + tc.at).Access[0]
		if d := int(s.PLR) - int(tc.plr); s.HasPLR != tc.known || d < -5 || d > 5 {
			t.Errorf("%s: %d/10000, %v; want %d, %v", tc.name, s.PLR, s.HasPLR, tc.plr, tc.known)
		}
	}
}

// TestMonitorCongestion: it begins above a bound and ends below half of it.
func TestMonitorCongestion(t *testing.T) {
	for _, base := range []time.Duration{20 * ms, 100 * ms} {
		var m Monitor
		at := start
		is := func(queue time.Duration) bool {
			for range 100 {
				at += 10 * ms
				m.TrafficRTT(at, 0, base+queue)
			}
			return m.State(at).Access[0].Congested
		}
		bound := max(queueBound, base/2)
		for i, step := range []struct {
			queue time.Duration
			want  bool
		}{
			{0, false},
			{bound * 9 / 10, false},
			{bound * 11 / 10, true},
			{bound * 9 / 10, true},
			{bound * 6 / 10, true},
			{bound * 4 / 10, false},
			{bound * 9 / 10, false},
		} {
			if got := is(step.queue); got != step.want {
				t.Errorf("base %v, step %d: queue of %v, congested: %v", base, i, step.queue, got)
			}
		}
	}
	var m Monitor
	for i, step := range []struct {
		plr  uint16
		want bool
	}{{0, false}, {lossBound, false}, {lossBound + 1, true}, {lossBound/2 + 1, true}, {lossBound / 2, false}, {lossBound, false}} {
		m.PMFLoss(start, 1, step.plr)
		if got := m.State(start).Access[1].Congested; got != step.want {
			t.Errorf("step %d: loss of %d/10000, congested: %v", i, step.plr, got)
		}
	}
}

// TestMonitorAvailable: two may say that an access cannot be used, and each takes back only
// what it has said itself.
func TestMonitorAvailable(t *testing.T) {
	var m Monitor
	both := SetOf(Access3GPP, AccessNon3GPP)
	for i, step := range []struct {
		do   func()
		want Set
		news bool
	}{
		{func() { m.SetAvailable(Access3GPP, true) }, both, false},
		{func() { m.SetAvailable(Access3GPP, false) }, SetOf(AccessNon3GPP), true},
		{func() { m.SetSilent(Access3GPP, true) }, SetOf(AccessNon3GPP), true},
		{func() { m.SetSilent(Access3GPP, false) }, SetOf(AccessNon3GPP), true},
		{func() { m.SetSilent(AccessNon3GPP, true) }, 0, true},
		{func() { m.SetAvailable(Access3GPP, true) }, SetOf(Access3GPP), true},
		{func() { m.SetAvailable(AccessNon3GPP, true) }, SetOf(Access3GPP), false},
		{func() { m.SetSilent(AccessNon3GPP, false) }, both, true},
	} {
		before := m.News()
		step.do()
		if m.Available() != step.want || (m.News() != before) != step.news {
			t.Errorf("step %d: available %02b, news %v; want %02b, %v", i, m.Available(), m.News() != before, step.want, step.news)
		}
		for a := range Access(NumAccesses) {
			if m.State(start).Access[a].Available != step.want.Has(a) {
				t.Errorf("step %d: the state says otherwise of %v", i, a)
			}
		}
	}
}

// TestMonitorAsks: an access is measured once in askAfter if nobody else does it.
func TestMonitorAsks(t *testing.T) {
	var m Monitor
	asked := 0
	for at := time.Duration(0); at < 10*askAfter; at += 10 * ms {
		if m.Ask(start+at, 0) {
			asked++
		}
	}
	if asked != 10 {
		t.Errorf("asked %d times in %v, want 10", asked, 10*askAfter)
	}
	for at := 10 * askAfter; at < 20*askAfter; at += 10 * ms {
		m.PMFRTT(start+at, 0, 20*ms)
		if m.Ask(start+at, 0) {
			t.Fatal("asked while the PMF measures")
		}
	}
}

func TestMonitorDoesNotAllocate(t *testing.T) {
	var m Monitor
	p := Policy{Mode: LoadBalancing, Indicator: Autonomous, Usable: sets[3]}
	at := start
	m.TrafficRTT(at, 0, ms)
	if n := testing.AllocsPerRun(1000, func() {
		at += 50 * ms
		m.TrafficRTT(at, 0, ms)
		m.Delivered(0, 1000, 0)
		if p.Due(at, &m) {
			p.Decide(at, &m)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
