package dataplane

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/braid-upf/braid/atsss/pmf"
	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// worker serves the sessions of its slots: one goroutine on one OS thread. All
// fields belong to it, but for those that say otherwise.
type worker struct {
	index int
	plane *Plane // only what is immutable or safe to share: owners, peers of the hand-over
	drv   driver.Driver
	pool  *packet.Pool
	proxy *proxy.Proxy

	teids    teidTable
	ues      ueTable
	sessions []*session // by proxy.Session.ID; nil = free
	freeIDs  []uint32   // the free ones
	bySEID   map[uint64]*session
	guests   map[uint64]*session // other workers' sessions, by SEID
	roaming  []*session          // that have flows away
	swept    proxy.Time          // when sweep was last called, or roaming filled

	rx, tx driver.Burst
	keys   burstKeys
	out    proxy.Out
	now    proxy.Time
	ticked proxy.Time // when proxy.Tick was last called

	// Scratch of the packet in hand.
	gtp      gtpu.Header
	ip       packet.Info
	flow     tuple
	qfi      uint8           // that it came with; 0 = none
	ext      gtpu.Extensions // that it came with, to be handed on; valid if extended
	extended bool

	translated bool // it is the proxy's, whose peers know nothing of it

	held   int     // packets in FARs
	limit  limiter // of GTP-U messages that others provoke
	icmp   limiter // of ICMP errors
	pieces []*packet.Buffer

	pmfConfig pmf.Config
	pmfWheel  pmfWheel
	pmfOut    pmf.Out
	pmfTicked proxy.Time // when tickPMF was last called

	fragments *fragmentTable // ports of datagrams that came in pieces
	peers     []driver.Peer  // of notifications waiting in tx; see addPeer
	count     counters
	toWake    uint64 // workers, by bit, that packets were handed to in this burst

	commands *ring[func(*worker)] // written by the control side
	stop     atomic.Bool          // set by the control side
	exited   chan struct{}        // closed when run has returned
}

// maxWorkers is set by worker.toWake.
const maxWorkers = 64

// run is the worker's loop, until stop or an error of the driver.
func (w *worker) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(w.exited)
	for !w.stop.Load() {
		if err := w.drv.Receive(&w.rx, w.pool, w.patience()); err != nil {
			return err
		}
		w.burst()
	}
	return nil
}

// patience is how long the driver may wait for packets.
func (w *worker) patience() time.Duration {
	var until proxy.Time // when there is something to do
	switch {
	case !w.proxy.Idle():
		until = w.ticked + proxy.Time(proxy.TickInterval)
	case len(w.roaming) > 0:
		until = w.swept + sweepInterval
	}
	if w.pmfWheel.n > 0 && (until == 0 || w.pmfTicked+pmfTick < until) {
		until = w.pmfTicked + pmfTick
	}
	if until == 0 {
		return -1
	}
	return max(0, time.Duration(until-w.plane.clock()))
}

// burst works on what was received, to the end, and sends what comes of it.
func (w *worker) burst() {
	w.now = w.plane.clock()
	w.runCommands()
	w.fromN3()
	w.fromN6()
	w.takeHandedOver()
	if w.now-w.ticked >= proxy.Time(proxy.TickInterval) && !w.proxy.Idle() {
		w.ticked = w.now
		w.proxy.Tick(w.now, &w.out)
	}
	if w.pmfWheel.n > 0 && w.now-w.pmfTicked >= pmfTick {
		w.tickPMF()
	}
	if len(w.roaming) > 0 && w.now-w.swept >= sweepInterval {
		w.sweep()
	}
	w.forwardProxied()
	w.send()
	w.wakeOthers()
}

// fromN3 works on what came from N3; first all tunnels are looked up, see [teidTable].
func (w *worker) fromN3() {
	for rest := w.rx.N3; len(rest) > 0; {
		some := rest[:min(len(rest), driver.MaxBurst)]
		rest = rest[len(some):]
		for i := range some {
			w.keys.teids[i] = gtpu.TEID(some[i].Buf.Bytes())
		}
		w.teids.lookupBurst(w.keys.teids[:len(some)], w.keys.tunnels[:len(some)])
		for i := range some {
			p := &some[i]
			w.count.n[n3Received]++
			w.count.n[n3ReceivedBytes] += uint64(p.Buf.Len())
			w.tunnelled(p.Buf, w.keys.tunnels[i], p.Peer, p.Local, false)
		}
	}
}

// fromN6 works on what came from N6; first all sessions are looked up, see [ueTable].
func (w *worker) fromN6() {
	for rest := w.rx.N6; len(rest) > 0; {
		some := rest[:min(len(rest), driver.MaxBurst)]
		rest = rest[len(some):]
		for i, b := range some {
			packet.Destination(b.Bytes(), &w.keys.addrs[i])
		}
		w.ues.lookupBurst(w.keys.addrs[:len(some)], w.keys.rules[:len(some)])
		for i, b := range some {
			w.count.n[n6Received]++
			w.count.n[n6ReceivedBytes] += uint64(b.Len())
			w.downlink(b, w.keys.rules[i], false)
		}
	}
}

// burstKeys are what a burst's packets are looked up by, and what was found.
type burstKeys struct {
	teids   [driver.MaxBurst]uint32
	tunnels [driver.MaxBurst]*tunnel
	addrs   [driver.MaxBurst]packet.Addr
	rules   [driver.MaxBurst]*ruleSet
}

// send hands tx to the driver.
func (w *worker) send() {
	for i := range w.tx.N3 {
		w.count.n[n3SentBytes] += uint64(w.tx.N3[i].Buf.Len())
	}
	for _, b := range w.tx.N6 {
		w.count.n[n6SentBytes] += uint64(b.Len())
	}
	w.count.n[n3Sent] += uint64(len(w.tx.N3))
	w.count.n[n6Sent] += uint64(len(w.tx.N6))
	if len(w.tx.N3)+len(w.tx.N6) > 0 {
		w.drv.Send(&w.tx, w.pool)
		w.tx.Reset()
	}
	w.peers = w.peers[:0]
}

// drop counts b and puts it back.
func (w *worker) drop(b *packet.Buffer, c counter) {
	w.count.n[c]++
	w.pool.Put(b)
}

func (w *worker) runCommands() {
	for f := w.commands.next(); f != nil; f = w.commands.next() {
		(*f)(w)
		*f = nil
		w.commands.release()
	}
}

// install makes rs the rules of session seid, which it makes if it is not there, and
// returns the last readings of meters that rs has no more.
func (w *worker) install(seid uint64, rs *ruleSet) (gone []Usage) {
	s := w.bySEID[seid]
	if s == nil {
		s = &session{seid: seid}
		w.bySEID[seid] = s
		s.proxy.ID = w.freeID()
		w.sessions[s.proxy.ID] = s
	} else {
		w.unlink(s)
	}
	old := s.rules
	s.rules, s.proxy.MTU, rs.session = rs, rs.mtu, s
	s.proxy.Converter = nil
	if rs.converter != nil {
		s.proxy.Converter = &rs.converter.Converter
	}
	rs.proxied = rs.proxied || old != nil && old.proxied
	w.measure(s, old)
	for i := range rs.tunnels {
		w.teids.put(rs.tunnels[i].teid, &rs.tunnels[i])
	}
	for _, k := range rs.ues {
		w.ues.put(k, rs)
	}
	if old != nil {
		rs.goOn(old, time.Duration(w.now))
	}
	if rs.proxied {
		w.proxy.AccessRules(w.now, &s.proxy, rs.ruleOf, &w.out)
		w.forwardProxied()
	}
	for i := range rs.endMarkers {
		w.endMarker(&rs.endMarkers[i])
	}
	rs.endMarkers = nil
	if old != nil {
		gone = w.readings(old, func(m *meter) bool { return rs.meter(m.id) == nil })
		free := rs.carryOver(old)
		w.letGo(rs, &free)
	}
	return gone
}

// freeID is an index in w.sessions that no session has.
func (w *worker) freeID() uint32 {
	if n := len(w.freeIDs); n > 0 {
		id := w.freeIDs[n-1]
		w.freeIDs = w.freeIDs[:n-1]
		return id
	}
	w.sessions = append(w.sessions, nil)
	return uint32(len(w.sessions) - 1)
}

// remove forgets the session seid and its connections, and returns the last readings
// of its meters.
func (w *worker) remove(seid uint64) []Usage {
	s := w.bySEID[seid]
	if s == nil {
		return nil
	}
	// What the proxy has yet to send belongs to sessions that are still there.
	w.forwardProxied()
	w.proxy.EndSession(&s.proxy)
	if s.pmf != nil {
		w.pmfWheel.remove(s.pmf)
	}
	w.unlink(s)
	delete(w.bySEID, seid)
	w.sessions[s.proxy.ID] = nil
	w.freeIDs = append(w.freeIDs, s.proxy.ID)
	w.dropHeld(s.rules)
	return w.readings(s.rules, func(*meter) bool { return true })
}

// unlink takes the session's identifiers out of the tables.
func (w *worker) unlink(s *session) {
	for i := range s.rules.tunnels {
		w.teids.remove(s.rules.tunnels[i].teid)
	}
	for _, k := range s.rules.ues {
		w.ues.remove(k)
	}
}
