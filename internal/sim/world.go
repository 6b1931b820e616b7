package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

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
	srv    endpoint
	subs   map[endpoint]*subflow
}

// Addresses of the simulation.
var (
	srvAddr4 = netip.MustParseAddr("10.100.6.2")
	srvAddr6 = netip.MustParseAddr("fd00:6::2")
)

const serverPort = 80

// uesAddresses is how many addresses the UE has on each access.
const uesAddresses = 4

// ueAddr is the UE's address n on access a; accessOf reads it.
func ueAddr(v6 bool, a steer.Access, n int) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0: 0xfd, 3: 0x60 + byte(a), 15: 1 + byte(n)})
	}
	return netip.AddrFrom4([4]byte{10, 60, byte(n), 1 + byte(a)})
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
	remote := srv
	if cc.Client.convert != nil {
		remote = w.converterEnd()
	}
	p.client = newClient(&client{
		clientPlan: cc.Client, clock: &w.clock, rng: p.rng, fail: w.fail, up: up, down: down, remote: remote, keyA: cc.KeyA,
	})
	p.srv = srv
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
	path.addr = ueAddr(w.cfg.IPv6, a, 0)
	out := func(s *segment) { w.up[a].send(s.encode()) }
	n := len(p.client.subs)
	if j < 0 {
		p.client.open(path, p.srv, out)
	} else {
		jc := &p.cfg.Joins[j]
		path.addr = ueAddr(w.cfg.IPv6, a, jc.Addr)
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
