package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// modes are policies of all steering modes, 3GPP first where one is.
func modes() map[string]steer.Policy {
	of := func(m steer.Mode, p ...steer.Priority) steer.Policy {
		return steer.Policy{Functionality: steer.MPTCP, Mode: m, Priority: [2]steer.Priority(append(p, 0, 0)[:2]), Usable: bothUsable}
	}
	thresholds := of(steer.PriorityBased, steer.High, steer.Low)
	thresholds.Thresholds = steer.Thresholds{RTT: 100_000}
	autonomous, assisted := of(steer.LoadBalancing), of(steer.LoadBalancing)
	autonomous.Indicator, assisted.Indicator = steer.Autonomous, steer.UEAssistance
	return map[string]steer.Policy{
		"active-standby":             of(steer.ActiveStandby, steer.Active, steer.Standby),
		"smallest delay":             of(steer.SmallestDelay),
		"load-balancing 100/0":       loadBalancing(100),
		"load-balancing, autonomous": autonomous,
		"load-balancing, UE":         assisted,
		"priority-based":             of(steer.PriorityBased, steer.High, steer.Low),
		"priority-based, thresholds": thresholds,
		"redundant":                  of(steer.Redundant, steer.Primary, steer.Secondary),
		"random":                     of(steer.Random),
		"smallest RTT first":         of(steer.SmallestRTTFirst),
	}
}

// paced is a download of n bytes over accesses of 8 Mbit/s each that are alike.
func paced(n int64) Config {
	cfg := twice(n)
	cfg.Access[1].Up.Delay, cfg.Access[1].Down.Delay = 12*ms, 12*ms
	for a := range cfg.Access {
		cfg.Access[a].Down.Rate = 8e6
	}
	cfg.Conns[0].Client.buffer = 60_000 // less than the queues hold
	return cfg
}

// TestModeEvents: in every mode the access that carries the data becomes slow, lossy or dead
// under load. No byte is lost, and the modes that are to leave the access do.
func TestModeEvents(t *testing.T) {
	const size, at = 4_000_000, 1500 * ms
	slower := func(a steer.Access) []Event { return []Event{delayChange(at, a, 60*ms, 60*ms)} }
	lossy := func(a steer.Access) []Event {
		return []Event{when(at, func(w *world) { w.downs[a].Loss = 0.05 })}
	}
	dead := func(a steer.Access) []Event { return outage(at, 0, a) }
	for _, e := range []struct {
		name    string
		events  func(steer.Access) []Event
		silence time.Duration // at most, right after it
		leave   []string      // modes that leave the access, but for single packets; "all"
	}{
		{"slow", slower, 160 * ms, []string{"smallest delay", "smallest RTT first", "load-balancing, autonomous", "priority-based, thresholds"}},
		{"lossy", lossy, 300 * ms, nil},
		{"dead", dead, 400 * ms, []string{"all"}}, // a server whose whole window is lost finds out by its own timer,
	} {
		for name, policy := range modes() {
			t.Run(e.name+"/"+name, func(t *testing.T) {
				cfg := paced(size)
				cfg.Policy = policy
				var used steer.Access // that carries the data
				var before, after [2]int64
				down := func(w *world) [2]int64 { return w.pairs[0].watch.stats.Down }
				cfg.Events = append(cfg.Events, when(at-100*ms, func(w *world) { before = down(w) }))
				cfg.Events = append(cfg.Events, when(at-ms, func(w *world) {
					now := down(w)
					if used = steer.Access3GPP; now[1]-before[1] > now[0]-before[0] {
						used = steer.AccessNon3GPP
					}
					for _, e := range e.events(used) {
						w.clock.After(ms, func() { e.do(w) })
					}
				}))
				var longest time.Duration
				silence(&cfg, at-ms, at+500*ms, &longest)
				cfg.Events = append(cfg.Events, when(at+2400*ms, func(w *world) { before = down(w) }))
				cfg.Events = append(cfg.Events, when(at+2900*ms, func(w *world) { after = down(w) }))
				cfg.Conns[0].ServeTCP.mayRenege = e.name == "dead"
				r := check(t, cfg)
				t.Logf("%v silent for %v", used, longest)
				if longest > e.silence {
					t.Errorf("nothing reached the client for %v", longest)
				}
				here, there := after[used]-before[used], after[used.Other()]-before[used.Other()]
				if left := here < 10_000 && there > 100_000; (slices.Contains(e.leave, name) || slices.Contains(e.leave, "all")) && !left {
					t.Errorf("2.4 s later %d bytes went over %v, %d over the other in half a second", here, used, there)
				}
				if e.name != "dead" && r.Counters["path_silent"] > 0 {
					t.Errorf("the access was held silent %d times", r.Counters["path_silent"])
				}
			})
		}
	}
}

// TestAccessIsTakenBack: an access that was dead for a while under load carries the data again
// soon after, in every mode that prefers it: what it lost meanwhile is no sign of what it is
// like now.
func TestAccessIsTakenBack(t *testing.T) {
	const size, at, dead, soon = 24_000_000, 1500 * ms, 700 * ms, 1500 * ms
	for _, name := range []string{"active-standby", "priority-based", "priority-based, thresholds"} {
		t.Run(name, func(t *testing.T) {
			cfg := paced(size)
			policy, ok := modes()[name]
			if !ok {
				t.Fatal("no such mode")
			}
			cfg.Policy = policy
			used := steer.Access3GPP
			var before, after [2]int64
			down := func(w *world) [2]int64 { return w.pairs[0].watch.stats.Down }
			cfg.Events = append(cfg.Events, outage(at, dead, used)...)
			cfg.Events = append(cfg.Events,
				when(at+dead+soon, func(w *world) { before = down(w) }),
				when(at+dead+soon+300*ms, func(w *world) { after = down(w) }))
			one := &cfg.Conns[0]
			one.Client.buffer, one.Server.buffer, one.Server.pause = 1<<20, 1<<20, 0
			one.ServeTCP.mayRenege = true
			check(t, cfg)
			if here, there := after[used]-before[used], after[used.Other()]-before[used.Other()]; here < 100_000 || there > here/10 {
				t.Errorf("%v later %d bytes went over %v, %d over the other in 0.3 s", soon, here, used, there)
			}
		})
	}
}

// TestFigure10 is §5.4 of FlexCP with the real proxy: many connections fill one access, a
// second one appears, becomes 100 ms slower, and is good again.
func TestFigure10(t *testing.T) {
	const connections, size = 16, 2_500_000
	cfg := paced(size)
	cfg.Policy = modes()["load-balancing, autonomous"]
	one := cfg.Conns[0]
	one.Client.buffer, one.Server.buffer, one.Server.pause = 1<<20, 1<<20, 0
	one.Joins[0].After = 4 * time.Second
	cfg.Conns = nil
	for i := range connections {
		c := one
		c.Start = time.Duration(i) * 10 * ms
		c.KeyA += uint64(i)
		c.Joins = append([]JoinConfig(nil), one.Joins...)
		cfg.Conns = append(cfg.Conns, c)
	}
	cfg.Events = []Event{
		delayChange(9*time.Second, steer.AccessNon3GPP, 62*ms, 62*ms),
		delayChange(14*time.Second, steer.AccessNon3GPP, 12*ms, 12*ms),
	}
	var at [22][2]int64
	for s := range at {
		cfg.Events = append(cfg.Events, when(time.Duration(s)*time.Second, func(w *world) {
			for _, p := range w.pairs {
				for a, d := range p.watch.stats.Down {
					at[s][a] += d
				}
			}
		}))
	}
	if r := Run(cfg); r.Failure != "" {
		t.Fatalf("%s\n%s", r.Failure, r.Trace)
	}
	for s := 1; s < len(at); s++ {
		gpp, non := (at[s][0]-at[s-1][0])/1000, (at[s][1]-at[s-1][1])/1000
		t.Logf("second %2d: %4d KB over 3GPP, %4d KB over non-3GPP", s, gpp, non)
		ok := true
		switch {
		case s >= 2 && s <= 4:
			ok = gpp > 900 && non == 0
		case s >= 6 && s <= 9, s >= 19:
			ok = gpp > 850 && non > 850
		case s >= 12 && s <= 14:
			ok = gpp > 900 && non < 10
		}
		if !ok {
			t.Errorf("second %d: %d KB over 3GPP, %d KB over non-3GPP", s, gpp, non)
		}
	}
}
