package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/braid-upf/braid/atsss/proxy"
)

// Result is the outcome of a run.
type Result struct {
	Failure  string        // "" = all invariants held and every connection ended as planned
	Trace    string        // the last packets
	Done     time.Duration // when the last connection had ended
	Stalled  bool          // netstack's own recovery had stalled; this is the run without it
	Packets  int
	Counters map[string]uint64 // of the proxy
	Clients  []clientStats
	Servers  []tcpStats
	Watches  []watchStats
}

// lingers is how long the proxy may keep a connection that is over.
const lingers = 200 * time.Second

// loop runs until every connection ended, and then until the proxy forgot them.
func (w *world) loop() {
	w.startTicks()
	for w.failed == "" && !w.allDone() {
		if w.overdue() {
			w.fail("deadlock: %s", w.unfinished())
			return
		}
		if !w.clock.Step() {
			w.fail("deadlock, nothing is going to happen: %s", w.unfinished())
			return
		}
	}
	w.doneAt = w.clock.Now()
	end := w.doneAt + lingers
	for w.failed == "" && w.clock.Now() < end && w.clock.Step() {
	}
	if n := w.middle.connections(); n != 0 && w.failed == "" {
		w.fail("the proxy still holds %d connections %v after the last one ended", n, lingers)
	}
	for _, p := range w.pairs {
		p.checkEnd(w)
	}
}

// A run that is over its limit may go on while data arrive: a server without SACK makes
// every subflow wait for one hole after the other.
const (
	standstill = 250 * time.Second // two of the longest retransmission times
	patience   = time.Hour
)

// overdue says whether the connections should have ended by now.
func (w *world) overdue() bool {
	now := w.clock.Now()
	if now <= w.cfg.Limit {
		return false
	}
	read := time.Duration(0)
	for _, p := range w.pairs {
		read = max(read, p.client.readAt, p.server.lastRead())
	}
	return now > read+standstill || now > patience
}

func (w *world) startTicks() {
	var tick func()
	tick = func() {
		if !w.middle.idle() {
			w.middle.tick()
		}
		w.clock.After(proxy.TickInterval, tick)
	}
	w.clock.After(0, tick)
}

func (w *world) allDone() bool {
	for _, p := range w.pairs {
		if !p.done() {
			return false
		}
	}
	return true
}

// done: ended as planned.
func (p *pair) done() bool {
	if p.cfg.Server.refuse || p.client.refused || p.watch.noServer && p.client.isEnded {
		return p.client.isEnded
	}
	if p.cfg.Client.abortAt > 0 || p.cfg.Server.abortAt > 0 {
		ended, _ := p.server.outcome()
		return (p.client.isEnded || p.client.done()) && (ended || p.server.done())
	}
	return p.client.done() && p.server.done()
}

// checkEnd asserts what must hold when all is over.
func (p *pair) checkEnd(w *world) {
	c, v := p.client, p.server
	_, verr := v.outcome()
	switch {
	case c.refused, p.watch.noServer:
	case p.cfg.Server.refuse:
		if !errors.Is(c.err, errReset) {
			w.fail("the server refused, the client's end is %v", c.err)
		}
	case p.cfg.Client.abortAt > 0 && errors.Is(c.err, errAborted):
		if !errors.Is(verr, errReset) && !v.done() {
			w.fail("the client aborted, the server's end is %v", verr)
		}
	case p.cfg.Server.abortAt > 0 && errors.Is(verr, errAborted):
		if !errors.Is(c.err, errReset) && !c.done() {
			w.fail("the server aborted, the client's end is %v", c.err)
		}
	case c.err != nil || verr != nil:
		w.fail("ended with %v at the client, %v at the server", c.err, verr)
	}
	if c.fallback && !c.plain && !c.dropMPC && !c.gaveUp {
		w.fail("the client fell back to plain TCP")
	}
	if s := w.n6Up; v.counters().PAWS > 0 && s.Reorder == 0 && s.Duplicate == 0 && !p.watch.plain() {
		w.fail("server: PAWSEstab %d", v.counters().PAWS)
	}
	for _, f := range c.subs {
		if f.state == finWait2 {
			w.fail("client: a subflow waits for our FIN: %v", f.tcp)
		}
	}
	if len(c.ooo) > 0 && c.err == nil {
		w.fail("client: %d pieces left out of order", len(c.ooo))
	}
}

// unfinished describes the connections that did not end.
func (w *world) unfinished() string {
	s := ""
	for i, p := range w.pairs {
		if p.done() {
			continue
		}
		c, v := p.client, p.server
		s += fmt.Sprintf("\nconnection %d: client u wrote %d una %d nxt %d pend %d wndEnd %d, d rcv %d/%d ooo %d finAt %d finGot %v fin %v finAcked %v ended %v %v"+
			"\n  %v",
			i, c.wrote, c.una, c.nxt, c.pend, c.wndEnd, c.rcvNxt, c.expect, len(c.ooo), c.finAt, c.finGot, c.fin, c.finAcked, c.isEnded, c.err, v)
		for _, f := range c.subs {
			s += fmt.Sprintf("\n  %v access %v full %v closing %v stale %v backup %v", f.tcp, f.access, f.full, f.closing, f.stale, f.backup)
		}
	}
	return s
}

func (w *world) result() Result {
	r := Result{Failure: w.failed, Done: w.doneAt, Packets: w.pkts, Counters: map[string]uint64{}}
	if w.failed != "" {
		r.Trace = w.trace.String()
	}
	if t, ok := w.middle.(*translator); ok {
		t.proxy.Counters().Each(func(name string, v uint64) { r.Counters[name] = v })
	}
	for _, p := range w.pairs {
		r.Clients = append(r.Clients, p.client.stats)
		r.Servers = append(r.Servers, p.server.counters())
		r.Watches = append(r.Watches, p.watch.stats)
	}
	return r
}
