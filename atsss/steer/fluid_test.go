package steer

import (
	"testing"
	"time"
)

// fluid is a model of two accesses that connections fill: what is offered beyond a pipe's
// rate waits in its queue, of which each access has so much, and makes round trips longer;
// each connection gets an equal part of its access.
type fluid struct {
	bench
	flows  int
	demand float64 // of a connection, bytes/s; what the server's window allows where nothing else bounds it
	pipes  [NumAccesses]pipe
	got    float64 // bytes/s lately, of both
	seen   [connections]uint8
	moves  int
	last   [connections]Access
}

type pipe struct {
	gone  bool
	rate  float64 // bytes/s
	delay time.Duration
	depth time.Duration // of the queue, at most
	queue time.Duration // in it
	n     int           // connections on it
}

// step lets one tick pass.
func (f *fluid) step() {
	places := f.places()
	var n [NumAccesses]int
	for i := range f.flows {
		n[places[i]]++
		if places[i] != f.last[i] {
			f.moves++
		}
	}
	f.last = places
	f.got = 0
	for a := range Access(NumAccesses) {
		l := &f.pipes[a]
		l.n = n[a]
		f.monitor.SetAvailable(a, !l.gone)
		if l.gone {
			continue
		}
		if f.monitor.State(f.now).Access[a].RTT == 0 { // a join is measured before it carries anything
			f.monitor.TrafficRTT(f.now, a, l.delay)
		}
		offered := float64(l.n) * f.demand
		l.queue += time.Duration((offered/l.rate - 1) * float64(tick))
		l.queue = min(max(l.queue, 0), l.depth)
		rate := min(offered, l.rate)
		f.got += rate
		for range max(1, min(l.n, 8)) {
			f.monitor.TrafficRTT(f.now, a, l.delay+l.queue)
		}
		for i := range f.flows {
			if places[i] == a {
				f.seen[i] = f.monitor.Delivered(a, int64(rate*tick.Seconds()/float64(l.n)), f.seen[i])
			}
		}
	}
	if f.policy.Due(f.now, &f.monitor) {
		f.policy.Decide(f.now, &f.monitor)
	}
	f.now += tick
}

// mean lets d pass and gives the part of the two rates that was used in its second half.
func (f *fluid) mean(d time.Duration) float64 {
	sum, steps := 0.0, int(d/tick)
	for i := range steps {
		f.step()
		if i >= steps/2 {
			sum += f.got
		}
	}
	return sum / float64(steps-steps/2) / (f.pipes[0].rate + f.pipes[1].rate)
}

func newFluid(p Policy, flows int, rate3, rateN float64, deep time.Duration) *fluid {
	p.Usable = SetOf(Access3GPP, AccessNon3GPP)
	return &fluid{
		bench: bench{policy: p, now: start}, flows: flows, demand: 100e6,
		pipes: [NumAccesses]pipe{{rate: rate3, delay: 20 * ms, depth: deep}, {rate: rateN, delay: 30 * ms, depth: deep}},
	}
}

// TestAutonomousFillsBoth: connections that take what they get fill both accesses, whatever
// these have, and each gets about the same.
func TestAutonomousFillsBoth(t *testing.T) {
	for _, rates := range [][2]float64{{100e6, 100e6}, {100e6, 20e6}, {10e6, 90e6}, {50e6, 80e6}} {
		for _, deep := range []time.Duration{30 * ms, 100 * ms, 300 * ms} {
			f := newFluid(Policy{Mode: LoadBalancing, Indicator: Autonomous}, 64, rates[0], rates[1], deep)
			used := f.mean(20 * time.Second)
			f.moves = 0
			used = min(used, f.mean(20*time.Second))
			ideal := int(64 * rates[0] / (rates[0] + rates[1]))
			if n := f.pipes[0].n; used < 0.97 || n < ideal-8 || n > ideal+8 {
				t.Errorf("rates %v, queues of %v: %.0f %% used, %d of 64 connections on 3GPP, ideally %d", rates, deep, 100*used, n, ideal)
			}
			if f.moves > 64 {
				t.Errorf("rates %v, queues of %v: %d moves in 20 s after it has settled", rates, deep, f.moves)
			}
		}
	}
}

// TestAutonomousWithALongQueue: where one access is made much slower by what is sent over it,
// it is left no more than that needs.
func TestAutonomousWithALongQueue(t *testing.T) {
	for deep := range NumAccesses {
		f := newFluid(Policy{Mode: LoadBalancing, Indicator: Autonomous}, 64, 60e6, 60e6, 40*ms)
		f.pipes[deep].depth = 400 * ms
		f.mean(20 * time.Second)
		f.moves = 0
		used := f.mean(20 * time.Second)
		t.Logf("%.1f %% used, %d moves", 100*used, f.moves)
		if used < 0.95 {
			t.Errorf("%v with a long queue: %.0f %% used", Access(deep), 100*used)
		}
	}
}

// TestAutonomousLeavesBoundedTrafficAlone: where the ends bound the throughput nothing moves.
func TestAutonomousLeavesBoundedTrafficAlone(t *testing.T) {
	f := newFluid(Policy{Mode: LoadBalancing, Indicator: Autonomous}, 64, 100e6, 50e6, 100*ms)
	f.demand = 0.5e6
	f.step()
	f.moves = 0
	f.mean(20 * time.Second)
	if f.moves != 0 || f.pipes[0].n != 32 {
		t.Errorf("%d moves, %d of 64 connections on 3GPP; want none, 32", f.moves, f.pipes[0].n)
	}
}

// TestFigure10 is §5.4 of FlexCP: all connections fill one access, the other appears, which
// half of them take, becomes 100 ms slower, which all of them leave, and is good again.
func TestFigure10(t *testing.T) {
	f := newFluid(Policy{Mode: LoadBalancing, Indicator: Autonomous}, 64, 100e6, 100e6, 60*ms)
	second := &f.pipes[AccessNon3GPP]
	second.gone = true
	if used := f.mean(5 * time.Second); used < 0.49 || second.n != 0 {
		t.Errorf("one access: %.0f %% used, %d connections on the other", 100*used, second.n)
	}
	second.gone = false
	if used := f.mean(5 * time.Second); used < 0.98 || second.n < 28 || second.n > 36 {
		t.Errorf("two accesses: %.0f %% used, %d connections on the second", 100*used, second.n)
	}
	second.delay += 100 * ms
	took := time.Duration(0)
	for ; second.n > 0 && took < 10*time.Second; took += tick {
		f.step()
	}
	t.Logf("all have left the slow access in %v", took)
	if took > 3*time.Second {
		t.Errorf("%d connections are on the slow access after %v", second.n, took)
	}
	if used := f.mean(5 * time.Second); used < 0.49 || second.n != 0 {
		t.Errorf("one slow: %.0f %% used, %d connections on the slow one", 100*used, second.n)
	}
	second.delay -= 100 * ms
	if used := f.mean(12 * time.Second); used < 0.98 {
		t.Errorf("good again: %.0f %% used, %d connections on the second", 100*used, second.n)
	}
}

// TestPriorityFillsTheHighOneFirst: the low priority access gets what the other cannot
// carry, and nothing once it can.
func TestPriorityFillsTheHighOneFirst(t *testing.T) {
	f := newFluid(Policy{Mode: PriorityBased, Priority: [2]Priority{High, Low}}, 64, 50e6, 100e6, 80*ms)
	f.demand = 0.5e6
	f.mean(10 * time.Second)
	if n := f.pipes[0].n; n != 64 {
		t.Errorf("with room on the high priority access: %d of 64 connections are there", n)
	}
	f.demand = 1.5e6 // 33 of them fill it
	used := f.mean(20*time.Second) * 150e6
	if n := f.pipes[0].n; n < 25 || n > 45 || used < 90e6 {
		t.Errorf("too much for it: %d of 64 connections are there, %.0f of 96 MB/s flow", n, used/1e6)
	}
	f.demand = 0.5e6
	f.mean(15 * time.Second)
	if n := f.pipes[0].n; n != 64 {
		t.Errorf("with room again: %d of 64 connections are there", n)
	}
	f.demand = 100e6 // without end
	if used := f.mean(30 * time.Second); used < 0.97 {
		t.Errorf("more than both carry: %.0f %% used", 100*used)
	}
}
