package sim

import "time"

// scheduler is how a client spreads its data over its subflows.
type scheduler uint8

const (
	schedMixed      scheduler = iota // by chance, for many mixtures
	schedDrain                       // the subflow that will have sent its data first, as Linux's
	schedRoundRobin                  // each in turn
	schedRedundant                   // all data on every subflow
)

var schedulerNames = [...]string{"mixed", "drain", "round-robin", "redundant"}

func (s scheduler) String() string { return schedulerNames[s] }

// schedule is the subflow for new data: one with room to send now, a backup only if
// nothing else is there; nil if none has.
func (c *client) schedule() *subflow {
	if c.scheduler == schedMixed {
		return c.scheduleMixed()
	}
	var best *subflow
	for i := range c.subs {
		f := c.subs[(c.turn+i)%len(c.subs)]
		switch {
		case !c.alive(f) || f.stale || !f.hasRoom():
		case best == nil, best.backup && !f.backup:
			best = f
		case f.backup && !best.backup:
		case c.scheduler == schedDrain && f.drainTime() < best.drainTime():
			best = f
		}
	}
	if c.scheduler == schedRoundRobin {
		c.turn++
	}
	return best
}

func (c *client) scheduleMixed() *subflow {
	var best *subflow
	for _, f := range c.subs {
		if !c.alive(f) || f.stale {
			continue
		}
		if best != nil && f.backup && !best.backup {
			continue
		}
		if best == nil || best.backup && !f.backup || c.rng.IntN(2) == 0 && f.hasRoom() || !best.hasRoom() {
			best = f
		}
	}
	if best == nil || !best.hasRoom() {
		return nil
	}
	return best
}

// drainTime is how long what is under way on f takes at its pace.
func (f *subflow) drainTime() time.Duration {
	return f.srtt * time.Duration(f.pipe()+1) / time.Duration(f.cwnd+1)
}

// maxQueued is how much may wait on a subflow that the scheduler did not choose.
const maxQueued = 20_000

// takesMore says whether f can be given data beside what the scheduler gives it.
func (c *client) takesMore(f *subflow) bool {
	return c.alive(f) && !f.stale && f.end-f.nxt < maxQueued
}

// copies sends what went out on f on every other subflow, too.
func (c *client) copies(f *subflow, u, n int64) {
	for _, g := range c.subs {
		if g != f && c.takesMore(g) {
			c.retransmitted = true
			g.send(u, n)
		}
	}
}

// reinject sends some of what is not acknowledged again, on a subflow other than f.
func (c *client) reinject(f *subflow) {
	for _, g := range c.subs {
		if g == f || !c.takesMore(g) || c.una >= c.nxt {
			continue
		}
		u := c.una + c.rng.Int64N(c.nxt-c.una)
		n := min(1+c.rng.Int64N(int64(2*g.mssNow())), c.nxt-u)
		c.retransmitted = true
		c.stats.Reinjected++
		g.send(u, n)
		return
	}
}
