package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

// leg is one transfer with one outage: what it is, then what came out.
type leg struct {
	name      string
	direction lab.Direction // of the payload
	start     func(ctx context.Context) (*mptcpclient.Transfer, error)
	arrivedAs func(clientSum string) (string, error) // SHA-256 at the receiver

	sum              string // SHA-256 of what arrived
	begun, ended     time.Time
	killed           steer.Access
	killedAt, backAt time.Time
	switchTook       time.Duration // see judgeSwitch
	silence          time.Duration // the longest without a new byte during the outage
	returned         time.Duration // from the access's return until it carries payload again
	retransmitted    uint64        // bytes that were sent more than once
	load             load
	faults           []string // why the demo fails
}

func (g *leg) fault(format string, args ...any) {
	g.faults = append(g.faults, g.name+": "+fmt.Sprintf(format, args...))
}

const (
	lookInterval = 50 * time.Millisecond // of the accesses' counters
	settleTime   = 5 * time.Second       // for connections to end
	// A transfer hangs that takes this many times as long as the slower access
	// alone would.
	patience = 4
)

// runLeg runs one transfer. Its error is one of the machinery; what the transfer
// did wrong is in g.faults.
func (d *demo) runLeg(ctx context.Context, g *leg) error {
	before, err := d.readMIBs()
	if err != nil {
		return err
	}
	server, err := mptcpclient.OpenDiag(d.in(lab.DN))
	if err != nil {
		return err
	}
	defer server.Close()
	limit := d.cfg.Outage + patience*d.slowest()
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t, err := g.start(limited)
	if err != nil {
		return err
	}
	w := &watcher{demo: d, leg: g, transfer: t, server: server, sent: map[netip.AddrPort]uint64{}}
	stop, traced := make(chan struct{}), make(chan mptcpclient.Trace)
	go func() { traced <- mptcpclient.Record(stop, w.lookAtReceiver) }()
	errWatch := w.watch()
	cancel() // ends a transfer that watch gave up; no harm to a complete one
	<-t.Done()
	close(stop)
	trace := <-traced
	w.lookAtUE()
	t.Close()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(errWatch, context.DeadlineExceeded):
		g.fault("not done after %v: %v", limit.Round(time.Second), errWatch)
	case errWatch != nil:
		return errWatch
	}
	w.judge(trace)
	return d.settle(ctx, g, before)
}

// slowest is the time that the transfer takes over the slower access alone.
func (d *demo) slowest() time.Duration {
	t := 10 * time.Second
	for _, im := range d.cfg.Link {
		if im.Rate > 0 {
			t = max(t, time.Duration(float64(d.cfg.Size*8)/float64(im.Rate)*float64(time.Second)))
		}
	}
	return t
}

// watcher looks at a transfer under way. lookAtReceiver runs in a goroutine of its
// own, all else in one.
type watcher struct {
	demo     *demo
	leg      *leg
	transfer *mptcpclient.Transfer
	server   *mptcpclient.Diag

	arrived atomic.Int64                    // payload at the receiver; an upload's with the HTTP header
	socket  atomic.Pointer[netlink.TCPInfo] // newest of the server's socket

	info mptcpclient.Info          // newest of the UE's connection
	sent map[netip.AddrPort]uint64 // payload sent by each subflow of the UE, with retransmissions
	told time.Time                 // when progress was last written
}

func (w *watcher) lookAtReceiver() (int64, error) {
	port := w.transfer.LocalPort()
	if port == 0 {
		return 0, mptcpclient.ErrNoSocket
	}
	ti, err := w.server.Connection(netip.AddrPortFrom(lab.UEAddr[steer.Access3GPP], port))
	if err != nil {
		return 0, err
	}
	w.socket.Store(&ti)
	n := w.transfer.Bytes()
	if w.leg.direction == lab.DirectionUp {
		n = int64(ti.Bytes_received)
	}
	w.arrived.Store(n)
	return n, nil
}

// lookAtUE keeps what a subflow has sent: the kernel forgets it with the subflow.
func (w *watcher) lookAtUE() {
	info, err := w.transfer.Inspect()
	if err != nil {
		return // not connected yet, or closed
	}
	w.info = info
	for _, s := range info.Subflows {
		w.sent[s.Local] = max(w.sent[s.Local], s.TCP.Bytes_sent)
	}
}

// watch kills the access in use when half of the payload has arrived and brings
// it back after the outage; it returns when the transfer has ended.
func (w *watcher) watch() error {
	g, cfg := w.leg, w.demo.cfg
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-w.transfer.Done():
			done = true
		case <-tick.C:
		}
		if err := g.load.look(w.demo.lab); err != nil {
			return err
		}
		w.lookAtUE()
		w.progress(done)
		var err error
		switch {
		case g.killedAt.IsZero() && w.arrived.Load() >= cfg.Size/2:
			err = w.kill()
		case !g.killedAt.IsZero() && g.backAt.IsZero() && (done || time.Since(g.killedAt) >= cfg.Outage):
			err = w.demo.lab.Link(g.killed, cfg.Link[g.killed])
			g.backAt = time.Now()
		}
		if err != nil {
			return err
		}
	}
	sum, err := w.transfer.Wait()
	g.begun, g.ended = w.transfer.Times()
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		g.fault("%v", err)
		return nil
	}
	g.sum, err = g.arrivedAs(sum)
	return err
}

// kill makes a black hole of the access that carries most of the payload.
func (w *watcher) kill() error {
	g := w.leg
	if !w.info.MPTCP {
		g.fault("the connection is plain TCP")
	}
	for a, addr := range lab.UEAddr {
		if !w.hasSubflow(addr) {
			g.fault("no subflow on the %v access", steer.Access(a))
		}
	}
	g.killed = g.load.busiest(g.direction)
	im := w.demo.cfg.Link[g.killed]
	im.Down = true
	g.killedAt = time.Now()
	return w.demo.lab.Link(g.killed, im)
}

func (w *watcher) hasSubflow(local netip.Addr) bool {
	for i := range w.info.Subflows {
		if s := &w.info.Subflows[i]; s.Local.Addr() == local && s.Established() {
			return true
		}
	}
	return false
}

// progress rewrites one line on a terminal, elsewhere it writes one a second.
func (w *watcher) progress(last bool) {
	cfg := w.demo.cfg
	if !last && !cfg.TTY && time.Since(w.told) < time.Second {
		return
	}
	w.told = time.Now()
	state := ""
	if g := w.leg; !g.killedAt.IsZero() && g.backAt.IsZero() {
		state = fmt.Sprintf("  %v is dead", g.killed)
	}
	rate := w.leg.load.rates(w.leg.direction, time.Second)
	line := fmt.Sprintf("%-8s %5.1f / %.1f MB  3gpp %5.1f  non-3gpp %5.1f Mbit/s%s", w.leg.name,
		float64(min(w.arrived.Load(), cfg.Size))/1e6, float64(cfg.Size)/1e6, rate[steer.Access3GPP], rate[steer.AccessNon3GPP], state)
	switch {
	case !cfg.TTY:
		fmt.Fprintln(cfg.Out, line)
	case last:
		fmt.Fprintf(cfg.Out, "\r%-78s\n", line)
	default:
		fmt.Fprintf(cfg.Out, "\r%-78s", line)
	}
}

// judge fills in what came out, and the faults.
func (w *watcher) judge(trace mptcpclient.Trace) {
	g := w.leg
	if g.sum != "" && g.sum != w.demo.sum {
		g.fault("SHA-256 of what arrived is %s, of what was sent %s", g.sum, w.demo.sum)
	}
	if !w.info.MPTCP {
		g.fault("the connection ended as plain TCP")
	}
	switch {
	case g.killedAt.IsZero():
		g.fault("ended at %d bytes, before half-way", w.arrived.Load())
	case !g.backAt.Before(g.ended):
		g.fault("ended before the access was back: take more bytes or a shorter outage")
	default:
		w.judgeSwitch(trace)
		w.judgeReturn()
	}
	socket := w.socket.Load()
	if socket == nil {
		g.fault("the server's socket was never seen")
		return
	}
	if g.direction == lab.DirectionDown {
		g.retransmitted = socket.Bytes_retrans
		return
	}
	var sent uint64
	for _, n := range w.sent {
		sent += n
	}
	g.retransmitted = max(sent, socket.Bytes_received) - socket.Bytes_received
}

// pause is a time without a new byte that a working transfer does not have.
const pause = 50 * time.Millisecond

// judgeSwitch measures the switch: from the kill to the first new byte at the
// receiver after its first pause. That byte has come over the other access, for
// the dead one carries nothing, not even what was on its way.
func (w *watcher) judgeSwitch(trace mptcpclient.Trace) {
	g := w.leg
	if n := trace.At(g.backAt) - trace.At(g.killedAt.Add(pause)); n < inUse {
		g.fault("%d bytes arrived while the %v access was dead", n, g.killed)
		return
	}
	pauses := trace.Gaps(g.killedAt, g.backAt, pause)
	if len(pauses) > 0 {
		g.switchTook = pauses[0].To.Sub(g.killedAt)
	}
	for _, p := range pauses {
		from, to := p.From, p.To
		if from.Before(g.killedAt) {
			from = g.killedAt
		}
		if to.After(g.backAt) {
			to = g.backAt
		}
		g.silence = max(g.silence, to.Sub(from))
	}
	if g.silence > MaxSwitch {
		g.fault("nothing new arrived for %v of the outage, allowed is %v", g.silence.Round(time.Millisecond), MaxSwitch)
	}
}

func (w *watcher) judgeReturn() {
	g := w.leg
	at, ok := g.load.carriesSince(g.killed, g.direction, g.backAt)
	if !ok {
		g.fault("the %v access was not used again within %v of its return", g.killed, g.ended.Sub(g.backAt).Round(time.Millisecond))
		return
	}
	g.returned = at.Sub(g.backAt)
}

// mibs are the counters of the UE's and the server's namespace.
type mibs struct{ ue, dn mptcpclient.Counters }

func (d *demo) readMIBs() (m mibs, err error) {
	if m.ue, err = d.lab.MIB(lab.UE); err != nil {
		return m, err
	}
	m.dn, err = d.lab.MIB(lab.DN)
	return m, err
}

// settle waits until no connection is left at either end and checks the counters.
func (d *demo) settle(ctx context.Context, g *leg, before mibs) error {
	deadline := time.Now().Add(settleTime)
	for {
		var left []string
		for _, role := range []string{lab.UE, lab.DN} {
			live, err := d.live(role)
			if err != nil {
				return err
			}
			left = append(left, live...)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			g.fault("%v after the end there is still %s", settleTime, strings.Join(left, ", "))
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookInterval):
		}
	}
	after, err := d.readMIBs()
	if err != nil {
		return err
	}
	for _, err := range []error{
		mptcpclient.CheckUE(before.ue, after.ue),
		mptcpclient.CheckServer(before.dn, after.dn, mptcpclient.ServerReneging), // an access died
	} {
		if err != nil {
			g.fault("%v", err)
		}
	}
	return nil
}

func (d *demo) live(role string) ([]string, error) {
	diag, err := mptcpclient.OpenDiag(d.in(role))
	if err != nil {
		return nil, err
	}
	defer diag.Close()
	return diag.Live()
}
