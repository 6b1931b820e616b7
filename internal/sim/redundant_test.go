package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// twice is a download of n bytes in Redundant mode over two accesses that are alike; the
// server begins once the join is there.
func twice(n int64) Config {
	cfg := download(n)
	cfg.Policy = redundant()
	cfg.Access[1] = cfg.Access[0]
	cfg.Conns[0].Server.pause = 200 * ms
	return cfg
}

// silence measures the longest while, between two times or up to the end of the transfer,
// in which the client's application got nothing new.
func silence(cfg *Config, from, to time.Duration, longest *time.Duration) {
	cfg.Events = append(cfg.Events, when(from, func(w *world) {
		c := w.pairs[0].client
		got, since := c.rcvNxt, w.clock.Now()
		var look func()
		look = func() {
			*longest = max(*longest, w.clock.Now()-since)
			if c.rcvNxt != got {
				got, since = c.rcvNxt, w.clock.Now()
			}
			if c.rcvNxt < c.expect && !c.isEnded && w.clock.Now() < to {
				w.clock.After(ms/2, look)
			}
		}
		look()
	}))
}

// check runs cfg and fails the test if an invariant does not hold.
func check(t *testing.T, cfg Config) Result {
	t.Helper()
	r := Run(cfg)
	if r.Failure != "" {
		t.Fatalf("%s\n%s", r.Failure, r.Trace)
	}
	t.Logf("%v, server %+v, client %+v, %+v, filled %d, solicited %d", r.Done, r.Servers[0], r.Clients[0], r.Watches[0], r.Counters["filled_bytes"], r.Counters["solicited"])
	return r
}

func TestRedundantWithoutLoss(t *testing.T) {
	const size = 300_000
	r := check(t, twice(size))
	if d := r.Watches[0].Down; d[0] < size || d[1] < size || d[0]+d[1] > 2*size+100 {
		t.Errorf("bytes per access: %v, want %d each", d, size)
	}
	if s, f := r.Servers[0], r.Counters["filled_bytes"]; s.Retransmitted != 0 || f > 1 { // 1: the join was confirmed
		t.Errorf("%d retransmissions, %d bytes filled", s.Retransmitted, f)
	}
	if d := r.Clients[0].DuplicateData; d == 0 {
		t.Error("the client got nothing twice")
	}
}

// TestRedundantLoss: a loss on one access is neither sent again by the server nor waited
// for; its hole is filled, with SACK about once.
func TestRedundantLoss(t *testing.T) {
	const size = 1_000_000
	noSACK := func(c *ConnConfig) { c.TCP.sack, c.ServeTCP.sack, c.Joins[0].TCP.sack = false, false, false }
	noTS := func(c *ConnConfig) { c.TCP.ts, c.ServeTCP.ts, c.Joins[0].TCP.ts = false, false, false }
	for _, tc := range []struct {
		name    string
		delay   time.Duration // of the second access, the first has 10 ms
		change  func(*ConnConfig)
		silence time.Duration // at most
		filled  uint64        // bytes per byte lost, at most
	}{
		{"alike", 10 * ms, func(*ConnConfig) {}, 200 * ms, 3},
		{"second access slower", 40 * ms, func(*ConnConfig) {}, 250 * ms, 3},
		{"checksum", 10 * ms, func(c *ConnConfig) { c.Client.checksum = true }, 200 * ms, 3},
		{"without timestamps", 10 * ms, noTS, 200 * ms, 3},
		{"without SACK", 10 * ms, noSACK, 400 * ms, 15}, // what else is missing is not known
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range uint64(3) {
				cfg := twice(size)
				cfg.Seed = seed
				cfg.Access[1].Up.Delay, cfg.Access[1].Down.Delay = tc.delay, tc.delay
				cfg.Access[0].Down.Loss, cfg.Access[1].Down.Loss = 0.02, 0.02
				tc.change(&cfg.Conns[0])
				var longest time.Duration
				silence(&cfg, 300*ms, cfg.Limit, &longest)
				r := check(t, cfg)
				if longest > tc.silence {
					t.Errorf("seed %d: nothing reached the client for %v, want at most %v", seed, longest, tc.silence)
				}
				down := r.Watches[0].Down
				lost := uint64(down[0]+down[1]) * 2 / 100
				if f := r.Counters["filled_bytes"]; f < lost/4 || f > tc.filled*lost {
					t.Errorf("seed %d: %d bytes filled, about %d were lost", seed, f, lost)
				}
				if s := r.Servers[0]; s.Reneging > 0 {
					t.Errorf("seed %d: server: reneging %d", seed, s.Reneging)
				}
			}
		})
	}
}

// TestRedundantTail: the end of the data is lost on one access. Nothing tells of it until
// the timer has asked.
func TestRedundantTail(t *testing.T) {
	for a := range steer.Access(steer.NumAccesses) {
		t.Run(a.String(), func(t *testing.T) {
			const size = 50_000
			cfg := twice(size)
			cfg.Conns[0].Server.close = closeAfterEOF
			cfg.Conns[0].Client.close = closeAfterAll
			last := func(s *segment) bool { // the end of the stream
				d := s.mp.dss
				return d != nil && len(s.payload) > 0 && len(s.payload) < 1000 && s.has(packet.PSH)
			}
			cfg.Events = append(cfg.Events, loseOnce(func(w *world) *leg { return w.downs[a] }, last))
			r := check(t, cfg)
			if r.Servers[0].Retransmitted != 0 {
				t.Errorf("%d retransmissions", r.Servers[0].Retransmitted)
			}
		})
	}
}

// TestRedundantDeath: when an access dies, the data that the other carries come as before;
// when it returns, it gets copies again.
func TestRedundantDeath(t *testing.T) {
	const size = 2_000_000
	for a := range steer.Access(steer.NumAccesses) {
		for _, returns := range []time.Duration{0, 600 * ms} {
			t.Run(fmt.Sprintf("%v returns after %v", a, returns), func(t *testing.T) {
				cfg := twice(size)
				for i := range cfg.Access {
					cfg.Access[i].Down.Rate = 8e6
				}
				cfg.Conns[0].Client.buffer = 60_000 // fits the queues: nothing else is lost
				var longest time.Duration
				silence(&cfg, 600*ms, 1300*ms, &longest)
				cfg.Events = append(cfg.Events, outage(700*ms, returns, a)...)
				var before [2]int64
				cfg.Events = append(cfg.Events, when(1800*ms, func(w *world) { before = w.pairs[0].watch.stats.Down }))
				r := check(t, cfg)
				if longest > 5*ms { // a packet takes 1.5 ms at this rate
					t.Errorf("nothing reached the client for %v", longest)
				}
				// After the return, copies over the idle access overtake what is queued at
				// the other, once.
				if n := r.Servers[0].Retransmitted; n > 50 || returns == 0 && n > 0 {
					t.Errorf("%d retransmissions", n)
				}
				if r.Counters["path_silent"] == 0 {
					t.Error("the silent access was not noticed")
				}
				after := r.Watches[0].Down
				after[0], after[1] = after[0]-before[0], after[1]-before[1]
				if other := after[a.Other()]; returns > 0 && (other < size/10 || after[a] < other*9/10) {
					t.Errorf("after the return %d bytes went over the access, %d over the other", after[a], other)
				}
			})
		}
	}
}

// TestRedundantSwitched changes the mode back and forth in the middle of windows.
func TestRedundantSwitched(t *testing.T) {
	const size = 1_000_000
	for seed := range uint64(10) {
		cfg := twice(size)
		cfg.Seed = seed
		for a := range cfg.Access {
			cfg.Access[a].Down.Loss, cfg.Access[a].Up.Loss = 0.01, 0.01
		}
		cfg.N6Down.Loss, cfg.N6Up.Loss = 0.005, 0.005
		for i := range 200 {
			p := redundant()
			if i%2 == 0 {
				p = activeStandby(steer.Access(i / 2 % 2))
			}
			cfg.Events = append(cfg.Events, setPolicy(time.Duration(210+17*i)*ms, p))
		}
		r := check(t, cfg)
		if r.Counters["copied_bytes"] < size/10 || r.Counters["copied_bytes"] > size*9/10 {
			t.Errorf("%d bytes of %d were copied", r.Counters["copied_bytes"], size)
		}
	}
}

// TestRedundantJoins: copies begin when a join comes, also a third one after the second
// was removed; with one subflow the mode is as any other.
func TestRedundantJoins(t *testing.T) {
	const size = 1_000_000
	cfg := twice(size)
	cfg.Conns[0].Server.pause = 0
	for a := range cfg.Access {
		cfg.Access[a].Down.Rate = 8e6
	}
	c := &cfg.Conns[0]
	c.Joins[0].After = 200 * ms
	c.Joins = append(c.Joins, c.Joins[0])
	c.Joins[1].After, c.Joins[1].TCP.isn = 700*ms, 12345
	cfg.Events = append(cfg.Events, removeAddress(500*ms, 0, 1))
	var at [4]int64
	for i, when1 := range []time.Duration{220 * ms, 500 * ms, 740 * ms} {
		cfg.Events = append(cfg.Events, when(when1, func(w *world) { at[i] = w.pairs[0].watch.stats.Down[1] }))
	}
	c.ServeTCP.mayRenege = true
	r := check(t, cfg)
	at[3] = r.Watches[0].Down[1]
	if at[0] != 0 || at[1] < 100_000 || at[2]-at[1] > 20_000 || at[3]-at[2] < 100_000 {
		t.Errorf("bytes on the second access before the join, with it, after its removal, with another: %v", at)
	}
	cfg = twice(size)
	cfg.Conns[0].Joins = nil
	if r := check(t, cfg); r.Counters["copied_bytes"] != 0 {
		t.Errorf("%d bytes copied with one subflow", r.Counters["copied_bytes"])
	}
}

// TestRedundantUnequal: an access that is much slower than the other does not hold it up,
// and is not flooded.
func TestRedundantUnequal(t *testing.T) {
	const size = 4_000_000
	for a := range steer.Access(steer.NumAccesses) {
		t.Run(a.String()+" slow", func(t *testing.T) {
			cfg := twice(size)
			cfg.Access[a].Down.Rate, cfg.Access[a.Other()].Down.Rate = 2e6, 20e6
			r := check(t, cfg)
			if r.Done > 3*time.Second { // 1.6 s at 20 Mbit/s
				t.Errorf("took %v", r.Done)
			}
			if n := r.Watches[0].Down[a]; n > size*3/8 {
				t.Errorf("%d bytes were sent over the slow access, which carries 250,000 a second", n)
			}
		})
	}
}
