package pmf

import (
	"testing"
	"time"
)

// TestLoss: what rounds of counting say is what the access lost, on an access that keeps the
// order: exactly where no message is lost, and never more.
func TestLoss(t *testing.T) {
	for seed, p := range map[uint64]float64{1: 0, 2: 0.005, 3: 0.05, 4: 0.3} {
		s := newSim(t, seed, 1, false)
		s.link[gpp] = link{delay: 30 * time.Millisecond, jitter: 20 * time.Millisecond, loss: p, fifo: true}
		s.run(2*time.Minute, s.traffic(gpp))
		var sent, lost uint64
		rounds := 0
		for _, l := range s.learned {
			if l.Kind != Loss {
				continue
			}
			if l.Leg.Access != gpp {
				t.Errorf("loss on %v, which carries nothing", l.Leg)
			}
			if l.Permyriad() > 10_000 || p == 0 && l.Lost != 0 {
				t.Errorf("p = %v: lost %d of %d", p, l.Lost, l.Sent)
			}
			rounds++
			sent += l.Sent
			lost += l.Lost
		}
		d := s.data[gpp]
		if rounds < 10 || sent > d.sent || lost > d.lost {
			t.Errorf("p = %v: %d rounds, %d of %d packets lost, of %d of %d in truth", p, rounds, lost, sent, d.lost, d.sent)
			continue
		}
		got := float64(lost) / float64(sent)
		t.Logf("p = %v: %.4f in %d rounds of %d packets", p, got, rounds, sent)
		if got > p*1.15+0.0005 || got < p*0.8-0.0005 {
			t.Errorf("p = %v: measured %v", p, got)
		}
		var up uint64
		for _, l := range s.byUE {
			if l.Kind == Loss {
				up += l.Sent
			}
		}
		if up == 0 {
			t.Errorf("p = %v: the UE measured no uplink loss", p)
		}
	}
}

// TestLossOfAFlow: each QoS flow is counted for itself.
func TestLossOfAFlow(t *testing.T) {
	s := newSim(t, 9, 2, false)
	s.run(20*time.Second, func() {
		s.downlink(Leg{gpp, 0})
		if s.now%(4*time.Millisecond) == 0 {
			s.downlink(Leg{gpp, 1})
		}
	})
	var sent [2]uint64
	for _, l := range s.learned {
		if l.Kind == Loss {
			sent[l.Leg.Flow] += l.Sent
			if l.Lost != 0 {
				t.Errorf("%+v on an access that loses nothing", l)
			}
		}
	}
	if sent[1] == 0 || sent[0] < 3*sent[1] {
		t.Errorf("counted %v packets, want four times as many on the first flow", sent)
	}
}

// TestNobodyCounts: a UE that knows no counting is left alone for a minute.
func TestNobodyCounts(t *testing.T) {
	cfg := DefaultConfig(250*time.Millisecond, 0, func() uint64 { return 4 })
	n := NewNetwork(&cfg, 1, true)
	var out Out
	n.SetUsable(gpp, true, &out)
	n.Receive(time.Second, Leg{}, &Message{Type: EchoRequest}, &out)
	asked := 0
	for now := 2 * time.Second; now < 62*time.Second; now += simTick {
		out.Reset()
		n.Traffic(now)
		n.Count(Leg{}, 1, 0)
		n.Tick(now, &out)
		asked += len(out.Send)
	}
	if asked != maxSent {
		t.Errorf("asked %d times in a minute, want %d", asked, maxSent)
	}
}
