package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/atsss/steer"
)

// world is one run: the UE, the accesses, the proxy, N6 and the server.
type world struct {
	cfg    Config
	clock  Clock
	rng    *rand.Rand
	policy *steer.Policy
	pairs  []*pair
	up     [steer.NumAccesses]*leg
	downs  [steer.NumAccesses]*leg
	n6Up   *leg
	n6Down *leg
	middle middle
	tamper func(point int, pkt []byte) []byte // changes what the proxy emits; nil result = dropped
	trace  trace
	doneAt time.Duration
	failed string
	pkts   int

	passing bool // what is emitted now was not the proxy's to translate
}

// pair is one connection: both its ends, and who watches it.
type pair struct {
	cfg    *ConnConfig
	client *client
	server serverEnd
	watch  *watch
	rng    *rand.Rand
	port   uint16 // of the first subflow
	subs   map[endpoint]*subflow
}

// Addresses of the simulation.
var (
	ueAddr4  = [2]netip.Addr{netip.MustParseAddr("10.60.0.1"), netip.MustParseAddr("10.60.0.2")}
	ueAddr6  = [2]netip.Addr{netip.MustParseAddr("fd00:60::1"), netip.MustParseAddr("fd00:61::1")}
	srvAddr4 = netip.MustParseAddr("10.100.6.2")
	srvAddr6 = netip.MustParseAddr("fd00:6::2")
)

const serverPort = 80

// Result is the outcome of a run.
type Result struct {
	Failure  string        // "" = all invariants held and every connection ended as planned
	Trace    string        // the last packets
	Done     time.Duration // when the last connection had ended
	Packets  int
	Counters map[string]uint64 // of the proxy
	Clients  []clientStats
	Servers  []tcpStats
	Watches  []watchStats
}

// Run simulates cfg with the proxy in the middle.
func Run(cfg Config) Result { return run(cfg, nil, nil) }

// run is Run with another middle, or with what the proxy emits tampered with.
func run(cfg Config, mid func(*world) middle, tamper func(int, []byte) []byte) Result {
	w := newWorld(cfg)
	w.tamper = tamper
	if mid == nil {
		w.middle = newTranslator(w, w.fork(1))
	} else {
		w.middle = mid(w)
	}
	w.loop()
	return w.result()
}

func newWorld(cfg Config) *world {
	w := &world{cfg: cfg}
	w.rng = w.fork(0)
	policy := cfg.Policy
	w.policy = &policy
	for a := range steer.Access(steer.NumAccesses) {
		w.up[a] = w.leg("up", cfg.Access[a].Up, func(p []byte) { w.arriveUplink(a, p) })
		w.downs[a] = w.leg("down", cfg.Access[a].Down, w.arriveUE)
	}
	w.n6Up = w.leg("n6up", cfg.N6Up, w.arriveServer)
	w.n6Down = w.leg("n6down", cfg.N6Down, w.arriveDownlink)
	for i := range cfg.Conns {
		w.addPair(i)
	}
	for _, e := range cfg.Events {
		w.clock.After(e.At, func() {
			w.note("%s", e.What)
			e.do(w)
		})
	}
	return w
}

// fork is a random source of its own for stream n, so that one part's draws do
// not move another's.
func (w *world) fork(n uint64) *rand.Rand { return rand.New(rand.NewPCG(w.cfg.Seed, n)) }

func (w *world) leg(name string, p Path, deliver func([]byte)) *leg {
	return &leg{Path: p, name: name, clock: &w.clock, rng: w.fork(100 + w.rng.Uint64N(1<<40)), deliver: deliver}
}

func (w *world) addPair(i int) {
	cc := &w.cfg.Conns[i]
	p := &pair{cfg: cc, port: uint16(40000 + 16*i), subs: make(map[endpoint]*subflow)}
	srv := endpoint{srvAddr4, serverPort}
	if w.cfg.IPv6 {
		srv.addr = srvAddr6
	}
	up := stream(w.rng.Uint64())
	down := stream(w.rng.Uint64())
	if cc.Server.echo {
		down = up
	}
	p.rng = w.fork(200 + uint64(i))
	p.client = newClient(&client{
		clientPlan: cc.Client, clock: &w.clock, rng: p.rng, fail: w.fail, up: up, down: down, remote: srv, keyA: cc.KeyA,
	})
	serve := w.cfg.serve
	if serve == nil {
		serve = modelServer
	}
	p.server = serve(w, p, srv, up, down)
	p.watch = newWatch(w, p)
	w.pairs = append(w.pairs, p)
	w.clock.After(cc.Start, func() { w.open(p, cc.First, -1) })
}

// open starts the first subflow (j = -1) or join j.
func (w *world) open(p *pair, a steer.Access, j int) {
	path := pathOf{access: a, port: p.port + uint16(j+1), tcp: p.cfg.TCP}
	path.addr = ueAddr4[a]
	if w.cfg.IPv6 {
		path.addr = ueAddr6[a]
	}
	out := func(s *segment) { w.up[a].send(s.encode()) }
	n := len(p.client.subs)
	if j < 0 {
		p.client.open(path, out)
	} else {
		jc := &p.cfg.Joins[j]
		path.tcp, path.backup, path.id = jc.TCP, jc.Backup, byte(j+1)
		p.client.join(path, out)
	}
	if len(p.client.subs) > n {
		f := p.client.subs[n]
		p.subs[f.local] = f
	}
}

// startJoins begins the joins once the client may.
func (w *world) startJoins(p *pair) {
	for j := range p.cfg.Joins {
		w.clock.After(p.cfg.Joins[j].After, func() { w.open(p, p.cfg.Joins[j].Access, j) })
	}
}

func (w *world) fail(format string, args ...any) {
	if w.failed == "" {
		w.failed = fmt.Sprintf("at %.6f s: ", w.clock.Now().Seconds()) + fmt.Sprintf(format, args...)
		w.note("FAIL %s", w.failed)
	}
}

func (w *world) note(format string, args ...any) {
	w.trace.add(traceItem{at: w.clock.Now(), note: fmt.Sprintf(format, args...)})
}

// pairOf finds the connection of a segment by the UE's port.
func (w *world) pairOf(port uint16) *pair {
	i := (int(port) - 40000) / 16
	if i < 0 || i >= len(w.pairs) {
		return nil
	}
	return w.pairs[i]
}

// accessOf is the access whose address a packet goes to.
func (w *world) accessOf(pkt []byte) steer.Access {
	if pkt[0]>>4 == 6 {
		a, _ := netip.AddrFromSlice(pkt[24:40])
		if a == ueAddr6[1] {
			return steer.AccessNon3GPP
		}
		return steer.Access3GPP
	}
	return steer.Access(pkt[19] - 1)
}

// arriveUplink is a UE's packet at the proxy.
func (w *world) arriveUplink(a steer.Access, pkt []byte) {
	w.pkts++
	s, err := decode(pkt)
	if err == nil {
		if p := w.pairOf(s.src.port); p != nil {
			p.watch.see(fromUE, a, s, pkt)
		}
	}
	w.middle.uplink(a, pkt)
}

// arriveDownlink is a server's packet at the proxy.
func (w *world) arriveDownlink(pkt []byte) {
	w.pkts++
	s, err := decode(pkt)
	if err == nil {
		if p := w.pairOf(s.dst.port); p != nil {
			p.watch.see(fromServer, 0, s, pkt)
		}
	}
	w.middle.downlink(pkt)
}

// sendUE is a packet that the proxy emits to the UE.
func (w *world) sendUE(a steer.Access, pkt []byte) {
	if w.tamper != nil {
		if pkt = w.tamper(toUE, pkt); pkt == nil {
			return
		}
	}
	s, err := decode(pkt)
	if err != nil && w.corrupts() {
		return // passed on unchanged, or not: the receiver drops it
	}
	if err != nil {
		w.fail("proxy to UE: %v: %x", err, pkt)
		return
	}
	if p := w.pairOf(s.dst.port); p != nil {
		if len(pkt) > w.cfg.MTU && !p.watch.plain() { // GSO of plain traffic is not the proxy's
			w.fail("proxy to UE: packet of %d bytes, MTU %d", len(pkt), w.cfg.MTU)
		}
		p.watch.see(toUE, a, s, pkt)
	}
	w.downs[a].send(pkt)
}

// sendServer is a packet that the proxy emits to N6.
func (w *world) sendServer(pkt []byte) {
	if w.tamper != nil {
		if pkt = w.tamper(toServer, pkt); pkt == nil {
			return
		}
	}
	s, err := decode(pkt)
	if err != nil && w.corrupts() {
		return
	}
	if err != nil {
		w.fail("proxy to server: %v: %x", err, pkt)
		return
	}
	if p := w.pairOf(s.src.port); p != nil {
		p.watch.see(toServer, 0, s, pkt)
	}
	w.n6Up.send(pkt)
}

// corrupts: packets with wrong checksums may be about.
func (w *world) corrupts() bool {
	c := w.n6Down.Corrupt
	for a := range w.up {
		c += w.up[a].Corrupt
	}
	return c > 0
}

// arriveUE is a packet at the UE's TCP.
func (w *world) arriveUE(pkt []byte) {
	s, err := decode(pkt)
	if err != nil {
		return // as a host does
	}
	p := w.pairOf(s.dst.port)
	if p == nil {
		return
	}
	f := p.subs[s.dst]
	if f == nil {
		w.fail("UE: packet for %v, which is not open", s.dst)
		return
	}
	full := p.client.full
	f.receive(s)
	if !full && p.client.full && !p.client.isEnded {
		w.startJoins(p)
	}
}

// arriveServer is a packet at the server's TCP.
func (w *world) arriveServer(pkt []byte) {
	s, err := decode(pkt)
	if err != nil {
		return
	}
	if p := w.pairOf(s.src.port); p != nil {
		if s.src.port != p.port {
			w.fail("server: packet from port %d, the connection's is %d", s.src.port, p.port)
		}
		p.server.receive(s, pkt)
	}
}

// lingers is how long the proxy may keep a connection that is over.
const lingers = 200 * time.Second

// loop runs until every connection ended, and then until the proxy forgot them.
func (w *world) loop() {
	w.startTicks()
	for w.failed == "" && !w.allDone() {
		if w.clock.Now() > w.cfg.Limit {
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
	if p.cfg.Server.refuse {
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
