package pmf

import (
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

const (
	gpp = steer.Access3GPP
	non = steer.AccessNon3GPP
)

// TestRoundTrip: the network and the UE find each access's round trip, on every QoS flow.
func TestRoundTrip(t *testing.T) {
	s := newSim(t, 1, 2, false)
	s.link[gpp].delay, s.link[non].delay = 20*time.Millisecond, 45*time.Millisecond
	s.run(time.Second, nil) // what was sent with other delays arrives
	s.learned, s.byUE = nil, nil
	s.run(10*time.Second, s.traffic(gpp))
	type key struct {
		ue  bool
		leg Leg
	}
	n := map[key]int{}
	for i, list := range [][]entry{s.learned, s.byUE} {
		for _, l := range list {
			if l.Kind != RoundTrip {
				continue
			}
			// Answers leave at once; a packet waits for a millisecond of the test at most.
			want := 2 * s.link[l.Leg.Access].delay
			if l.RTT < want || l.RTT > want+2*time.Millisecond {
				t.Errorf("%v: %v, want %v", l.Leg, l.RTT, want)
			}
			n[key{i == 1, l.Leg}]++
		}
	}
	for _, ue := range []bool{false, true} {
		for a := range steer.Access(steer.NumAccesses) {
			for f := range uint8(2) {
				if got := n[key{ue, Leg{a, f}}]; got < 4 {
					t.Errorf("UE %v, %v flow %d: %d round trips in 10 s", ue, a, f, got)
				}
			}
		}
	}
	if len(s.reasons) != 1 || s.reasons[OK] == 0 {
		t.Errorf("messages refused: %v", s.reasons)
	}
}

// TestDeath: an access that dies without traffic on it is found within a second, wherever
// in the time between two requests it dies; and its return within another.
func TestDeath(t *testing.T) {
	for at := time.Duration(0); at < 500*time.Millisecond; at += 13 * time.Millisecond {
		s := newSim(t, uint64(at), 1, false)
		s.run(3*time.Second+at, s.traffic(gpp))
		if c := s.changes(); len(c) != 0 {
			t.Fatalf("before anything died: %+v", c)
		}
		s.link[non].dead = true
		died := s.now
		s.run(3*time.Second, s.traffic(gpp))
		if took := s.one(non, false).at - died; took > time.Second {
			t.Errorf("died %v after 3 s: found after %v", at, took)
		}
		s.link[non].dead = false
		back := s.now
		s.run(3*time.Second, s.traffic(gpp))
		if took := s.one(non, true).at - back; took > 1100*time.Millisecond {
			t.Errorf("came back %v after 6 s: found after %v", at, took)
		}
	}
}

// TestSlowIsNotDead: an access with a long round trip, jitter and reordering, or with some
// loss, is not held unavailable.
func TestSlowIsNotDead(t *testing.T) {
	for name, k := range map[string]link{
		"slow":      {delay: 300 * time.Millisecond, fifo: true},
		"reorders":  {delay: 10 * time.Millisecond, jitter: 150 * time.Millisecond},
		"duplicate": {delay: 10 * time.Millisecond, jitter: 50 * time.Millisecond, dup: 0.5},
		"lossy":     {delay: 10 * time.Millisecond, loss: 0.02, fifo: true},
	} {
		s := newSim(t, 7, 1, false)
		s.link[non] = k
		s.run(60*time.Second, s.traffic(gpp))
		if c := s.changes(); len(c) != 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestRest: without traffic nothing is asked after Idle; what dies meanwhile is found soon
// after traffic comes.
func TestRest(t *testing.T) {
	s := newSim(t, 2, 1, false)
	s.ue.cfg = &Config{Rand: s.rand.Uint64} // it measures nothing of its own
	s.run(2*time.Second, s.traffic(gpp))
	s.run(s.cfg.Idle+time.Second, nil)
	s.sent = 0
	s.link[non].dead = true
	s.run(time.Minute, nil)
	if s.sent != 0 {
		t.Errorf("%d messages while the session rests", s.sent)
	}
	if c := s.changes(); len(c) != 0 {
		t.Fatalf("found while nothing was asked: %+v", c)
	}
	woke := s.now
	s.run(2*time.Second, s.traffic(gpp))
	if took := s.one(non, false).at - woke; took > time.Second {
		t.Errorf("found %v after the traffic came", took)
	}
}

// TestNeverRests: with Idle 0 an access is watched always.
func TestNeverRests(t *testing.T) {
	s := newSim(t, 3, 1, false)
	s.cfg.Idle = 0
	s.run(time.Minute, nil)
	s.link[gpp].dead = true
	died := s.now
	s.run(time.Second+simTick, nil)
	if took := s.one(gpp, false).at - died; took > time.Second {
		t.Errorf("found after %v", took)
	}
}

// TestUEWithoutEcho: a UE that reports but answers no echo request is not held dead for it.
func TestUEWithoutEcho(t *testing.T) {
	cfg := DefaultConfig(250*time.Millisecond, 0, func() uint64 { return 4 })
	n := NewNetwork(&cfg, 1, false)
	var out Out
	n.SetUsable(gpp, true, &out)
	n.Receive(time.Second, Leg{}, &Message{Type: EchoRequest}, &out)
	out.Reset()
	m := Message{Type: AccessReport, EPTI: 1, Access: non, Available: true}
	if r := n.Receive(time.Second, Leg{}, &m, &out); r != OK || len(out.Send) != 1 || out.Send[0].Message != (Message{Type: Acknowledgement, EPTI: 1}) {
		t.Fatalf("%v, %+v", r, out)
	}
	asked := 0
	for now := 2 * time.Second; now < time.Minute; now += simTick {
		out.Reset()
		n.Tick(now, &out)
		asked += len(out.Send)
		if len(out.Learned) != 0 {
			t.Fatalf("after %v: %+v", now, out.Learned)
		}
	}
	if asked < 50 || asked > 70 {
		t.Errorf("asked %d times in a minute, want about one a second", asked)
	}
}

// TestNoRTT: with DRTTI no echo request is sent; access reports still count, and requests of
// the UE are answered.
func TestNoRTT(t *testing.T) {
	s := newSim(t, 4, 1, true)
	s.run(3*time.Second, s.traffic(gpp))
	for _, l := range s.learned {
		if l.Kind == RoundTrip {
			t.Fatalf("the network measured %+v", l)
		}
	}
	if len(s.byUE) == 0 {
		t.Error("the UE's requests were not answered")
	}
	s.changes()
	s.link[non].dead = true
	var out Out
	s.ue.SetAvailable(s.now, non, false, &out)
	s.fromUE(&out)
	s.run(time.Second, s.traffic(gpp))
	s.one(non, false)
}

// TestNoRTTLater: an access found unavailable by its silence is not so for ever where
// nobody asks any more.
func TestNoRTTLater(t *testing.T) {
	s := newSim(t, 12, 1, false)
	s.run(2*time.Second, s.traffic(gpp))
	s.link[non].dead = true
	s.run(2*time.Second, s.traffic(gpp))
	s.one(non, false)
	var out Out
	s.net.SetNoRTT(true, &out)
	s.net.SetNoRTT(true, &out)
	s.fromNet(&out)
	s.one(non, true)
}

// TestReport: what the UE says of an access holds until it says otherwise or uses it.
func TestReport(t *testing.T) {
	s := newSim(t, 5, 1, false)
	report := func(a steer.Access, available bool) {
		var out Out
		s.ue.SetAvailable(s.now, a, available, &out)
		s.fromUE(&out)
	}
	s.run(2*time.Second, s.traffic(gpp))
	s.changes()
	began := s.now
	report(non, false)
	s.uplink(Leg{Access: non}) // a straggler
	s.run(5*time.Second, s.traffic(gpp))
	if took := s.one(non, false).at - began; took > 15*time.Millisecond {
		t.Errorf("a report took %v over an access of 10 ms", took)
	}
	if !s.ue.Settled() {
		t.Error("the report was not acknowledged")
	}
	report(non, true)
	s.run(time.Second, s.traffic(gpp))
	s.one(non, true)

	report(non, false)
	s.run(2*time.Second, s.traffic(gpp))
	s.one(non, false)
	s.uplink(Leg{Access: non})
	s.run(time.Second, s.traffic(gpp))
	s.one(non, true)
}

// TestReportsAreRepeated: whatever is lost, what the UE said last is what the network knows
// in the end.
func TestReportsAreRepeated(t *testing.T) {
	for seed := range uint64(40) {
		s := newSim(t, seed, 1, false)
		s.link[gpp] = link{delay: 10 * time.Millisecond, jitter: 700 * time.Millisecond, loss: 0.2, dup: 0.3}
		s.run(2*time.Second, nil)
		s.link[non].dead = true
		available := true
		for range 1 + s.rand.IntN(9) {
			available = !available
			var out Out
			s.ue.SetAvailable(s.now, non, available, &out)
			s.fromUE(&out)
			s.run(time.Duration(s.rand.IntN(3000))*time.Millisecond, nil)
		}
		s.net.noEcho = true // the access is dead whatever the UE says
		s.run(5*time.Second, nil)
		if !s.ue.Settled() {
			t.Errorf("seed %d: the UE still repeats", seed)
		}
		if s.net.access[non].reported == available {
			t.Errorf("seed %d: the UE said last that it is available: %v; the network knows otherwise", seed, available)
		}
	}
}

// TestGivesUp: a UE that gets no acknowledgement stops asking for one.
func TestGivesUp(t *testing.T) {
	s := newSim(t, 6, 1, false)
	s.run(time.Second, nil)
	s.link[gpp].dead, s.link[non].dead = true, true
	var out Out
	s.ue.SetAvailable(s.now, non, false, &out)
	s.ue.Assist(s.now, 30, &out)
	n := 0
	count := func(list []Sent) {
		for _, m := range list {
			if m.Message.Type == AccessReport {
				n++
			}
		}
	}
	count(out.Send)
	for range 1000 {
		s.now += simTick
		out.Reset()
		s.ue.Tick(s.now, &out)
		count(out.Send)
	}
	if n != maxSent || !s.ue.Settled() {
		t.Errorf("%d reports, settled %v; want %d and an end", n, s.ue.Settled(), maxSent)
	}
}

// TestAssistance: the UE's split of its uplink comes through, once.
func TestAssistance(t *testing.T) {
	s := newSim(t, 8, 1, false)
	s.link[gpp] = link{delay: 10 * time.Millisecond, loss: 0.3, dup: 0.5}
	var out Out
	s.ue.Assist(s.now, 70, &out)
	s.fromUE(&out)
	s.run(5*time.Second, nil)
	var got []uint8
	for _, l := range s.learned {
		if l.Kind == UplinkSplit {
			got = append(got, l.Percent)
		}
	}
	if len(got) != 1 || got[0] != 70 || !s.ue.Settled() {
		t.Errorf("the network learned %v, settled %v", got, s.ue.Settled())
	}
}

// TestForged: answers that nobody asked for, late ones and repeated ones are told apart and
// change nothing.
func TestForged(t *testing.T) {
	cfg := DefaultConfig(250*time.Millisecond, 0, func() uint64 { return 0x1234 })
	n := NewNetwork(&cfg, 1, false)
	var out Out
	n.SetUsable(gpp, true, &out)
	now := time.Second
	want := func(m Message, r Reason, sent, learned int) {
		t.Helper()
		out.Reset()
		if got := n.Receive(now, Leg{}, &m, &out); got != r || len(out.Send) != sent || len(out.Learned) != learned {
			t.Errorf("%+v: %v, %+v; want %v, %d sent, %d learned", m, got, out, r, sent, learned)
		}
	}
	want(Message{Type: EchoResponse, EPTI: 0x9234}, Unmatched, 0, 0)
	want(Message{Type: PLRCountResponse, EPTI: 0x9234}, Unmatched, 0, 0)
	want(Message{Type: PLRReportResponse, EPTI: 0x9234, Count: 1}, Unmatched, 0, 0)
	want(Message{Type: Acknowledgement, EPTI: 0x9234}, WrongSide, 0, 0)
	want(Message{Type: UADProvisioningComplete}, WrongSide, 0, 0)
	want(Message{Type: PLRReportRequest, EPTI: 1}, NotCounting, 0, 0)
	want(Message{Type: EchoRequest, EPTI: 1, RI: 3}, OK, 1, 0)

	for range 6 {
		out.Reset()
		n.Tick(now, &out)
		now += 300 * time.Millisecond
	}
	e := n.at(Leg{}).echo
	last := e.next - 1
	want(Message{Type: EchoResponse, EPTI: e.epti, RI: last + 1}, Late, 0, 0) // not sent yet
	want(Message{Type: EchoResponse, EPTI: e.epti, RI: last - echoWindow}, Late, 0, 0)
	want(Message{Type: EchoResponse, EPTI: e.epti ^ 1, RI: last}, Unmatched, 0, 0)
	want(Message{Type: EchoResponse, EPTI: e.epti, RI: last}, OK, 0, 1)
	want(Message{Type: EchoResponse, EPTI: e.epti, RI: last}, Duplicate, 0, 0)
}

// TestHostileUE: a UE that floods gets what it may get and no more.
func TestHostileUE(t *testing.T) {
	cfg := DefaultConfig(250*time.Millisecond, 0, func() uint64 { return 5 })
	n := NewNetwork(&cfg, 1, false)
	var out Out
	answers, limited := 0, 0
	const seconds = 10
	for i := range 100_000 {
		now := time.Second + time.Duration(i)*seconds*time.Second/100_000
		m := Message{Type: []Type{EchoRequest, AccessReport, PLRCountRequest, PLRReportRequest, UADProvisioning}[i%5], EPTI: uint16(i)}
		out.Reset()
		if n.Receive(now, Leg{}, &m, &out) == RateLimited {
			limited++
		}
		answers += len(out.Send)
	}
	most := mostAnswers + seconds*int(time.Second/refill)
	if answers > most || answers < most*9/10 || limited != 100_000-answers {
		t.Errorf("%d answers, %d limited; want %d answers", answers, limited, most)
	}
}

// TestUnusable: what is known of an access whose FAR forwards no more is forgotten.
func TestUnusable(t *testing.T) {
	s := newSim(t, 10, 1, false)
	s.run(2*time.Second, s.traffic(gpp))
	s.link[non].dead = true
	s.run(2*time.Second, s.traffic(gpp))
	s.one(non, false)
	var out Out
	s.net.SetUsable(non, false, &out)
	s.net.SetUsable(non, false, &out)
	s.fromNet(&out)
	s.run(5*time.Second, s.traffic(gpp))
	s.one(non, true)
	s.net.SetUsable(non, true, &out)
	s.run(2*time.Second, s.traffic(gpp))
	s.one(non, false)
}

// TestRandom: whatever the accesses do, nothing is learned that cannot be, and when they are
// well again the network knows it.
func TestRandom(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		s := newSim(t, seed+1000, 1+int(seed%3), false)
		least := [2]time.Duration{time.Hour, time.Hour}
		for range 20 {
			a := steer.Access(s.rand.IntN(2))
			s.link[a] = link{
				dead: s.rand.IntN(4) == 0, delay: time.Duration(1+s.rand.IntN(200)) * time.Millisecond,
				jitter: time.Duration(s.rand.IntN(300)) * time.Millisecond,
				loss:   s.rand.Float64() * 0.5, dup: s.rand.Float64() * 0.3,
			}
			for a := range least {
				least[a] = min(least[a], s.link[a].delay)
			}
			s.run(time.Duration(s.rand.IntN(3000))*time.Millisecond, func() {
				l := Leg{steer.Access(s.rand.IntN(2)), uint8(s.rand.IntN(int(s.net.flows)))}
				if s.rand.IntN(2) == 0 {
					s.downlink(l)
				} else {
					s.uplink(l)
				}
			})
		}
		var was [2]bool
		for _, l := range s.learned {
			switch l.Kind {
			case RoundTrip:
				if l.RTT < 2*least[l.Leg.Access] {
					t.Errorf("seed %d: %v: round trip of %v, none is below %v", seed, l.Leg, l.RTT, 2*least[l.Leg.Access])
				}
			case Loss:
				if l.Lost > l.Sent || l.Sent < minSample {
					t.Errorf("seed %d: %+v", seed, l)
				}
			case Availability:
				if was[l.Leg.Access] == !l.Available {
					t.Errorf("seed %d: %v told twice to be available %v", seed, l.Leg.Access, l.Available)
				}
				was[l.Leg.Access] = !l.Available
			case UplinkSplit:
				t.Errorf("seed %d: nobody sent %+v", seed, l)
			}
		}
		for a := range s.link {
			s.link[a] = link{delay: 5 * time.Millisecond}
		}
		s.run(3*time.Second, s.traffic(gpp))
		if !s.net.Available(gpp) || !s.net.Available(non) {
			t.Errorf("seed %d: an access that is well is held unavailable", seed)
		}
	}
}

// TestMachinesDoNotAllocate: a session that is measured costs no memory.
func TestMachinesDoNotAllocate(t *testing.T) {
	s := newSim(t, 11, 2, false)
	s.run(5*time.Second, s.traffic(gpp))
	out := Out{Send: make([]Sent, 0, 16), Learned: make([]Learned, 0, 16)}
	m := Message{Type: EchoRequest, EPTI: 3}
	if n := testing.AllocsPerRun(1000, func() {
		s.now += 250 * time.Millisecond
		out.Reset()
		s.net.Heard(s.now, gpp, &out)
		s.net.Traffic(s.now)
		s.net.Count(Leg{}, 1, 1)
		s.net.Receive(s.now, Leg{}, &m, &out)
		s.net.Tick(s.now, &out)
		s.ue.Tick(s.now, &out)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
