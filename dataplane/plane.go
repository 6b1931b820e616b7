// Package dataplane is the packet path of the UPF between N3 (GTP-U, TS 29.281) and
// N6: sessions with their packet detection, forwarding, multi-access and QoS
// enforcement rules (TS 29.244 §5.2, §5.20), each session on one worker, and the
// road of its TCP packets through the proxy.
//
// A [Plane] has a worker for each queue of its driver: one goroutine on one OS
// thread that takes a burst of packets, works on each to the end, and sends what
// comes of it. Workers share nothing that needs a lock. A session's home is its
// slot ([Rules.Slot]); all its TEIDs and UE addresses are steered to that worker,
// so that both accesses of a multi-access session meet there.
//
// # Rules
//
//   - From the UE (TS 29.244 §5.2.1): TEID, then the PDRs of that tunnel by precedence:
//     QFI, SDF filters, UE address. A source address that is none of the session's is
//     dropped and counted; one that is link-local is answered here (Router
//     Solicitations), goes to the CP function if a PDR says so, or ends here.
//   - To the UE: UE address or framed route, or the TEID of a tunnel from another UPF, the
//     CP function or another gNB; then the PDRs by precedence. Ordinary traffic under a
//     MAR is steered by flow.
//   - QERs (§5.4.3): the gate, then a token bucket for each MBR, all or none of which are
//     charged. What a GBR guarantees no other QER drops. QFI and RQI of the first QER that
//     has a QFI go into the PDU Session Container, or the QFI that the packet came with.
//   - URRs (§5.2.2.2): volume, packets and time of use behind the QERs, or before them
//     (MBQE). Limits of volume are told at once, what goes by the clock is the control
//     side's. A spent quota drops, or sends by another FAR.
//   - FARs (§5.2.3): drop, forward to N6, into a tunnel (N3, N9, the CP function) or to
//     another UE here, hold (§5.2.8), notify, copy. Held packets go first, in order, when
//     the FAR forwards; a tunnel that is left gets an End Marker (TS 29.281 §7.3.2).
//   - Packets too long for the path of their tunnel are fragmented inside it, or their
//     sender is told; SYNs carry an MSS that fits.
//   - GTP-U outer headers are always removed: Outer Header Removal is not looked at.
//     Sequence numbers are ignored. TTL and hop limit are left alone: the tunnel is one
//     hop of the UE's link, the kernel behind N6 routes and counts.
//
// # Performance measurement
//
// A session with ATSSS.PMF has its PMF here (package pmf, TS 23.501 §5.32.5). UDP packets of
// its UE to the PMF's address and ports are taken before any PDR sees them and never reach
// N6; the port and the tunnel both tell the access, and where they disagree the message is
// dropped. What the PMF sends leaves by the FAR that a MAR has for the access, to the port
// that the UE's own messages came from: the UE speaks first. These messages are the UPF's
// own, no user data: no QER polices and no URR counts them.
//
// An access of which nothing was heard for [Config].PMFInterval is asked for a sign of life;
// after three that are not answered it is unavailable, and an [AccessChanged] event tells.
// Round trips, losses and the UE's split of its uplink go to the session's Monitor. For a
// session of which [Config].PMFIdle long no packet came or went nothing is asked.
//
// # Guests
//
// Under an SMF that knows no MAR a UE has two plain PDU sessions, one over each access. With
// a local rule ([MAR].Group) an MPTCP connection that was opened over one of them may be
// joined over the other, a guest there: the join's token names the connection, its HMAC
// proves that it is the same UE's, and only sessions of one group, so of one rule and data
// network, may join each other's. The connection has its home, and its policy, with the
// session in which it was opened. The UPF cannot tell that two sessions are one UE's
// otherwise, and does not have to.
//
// Where the other session lives at another worker, that worker classifies, polices and
// meters what comes from the UE, and hands it over a ring to the one whose proxy has the
// connection; what the proxy sends over the session comes back the same way and leaves by
// the session's own PDR, FAR, QERs and URRs. A packet that finds the ring full is dropped and
// counted. A session has 1,024 such flows at most.
//
// What a local rule's connections send to the UE passes gates, rates and meters where it
// leaves, by the rules of the session that carries it, for operators bill and shape by PDU
// session; TS 29.244 does not say. So a server's packet that the session in which it arrived
// would refuse may still go over the other; volumes count MPTCP's options and what is sent
// again; and what a rate drops looks to the UE like a loss on the access, which the server
// repeats. Under an SMF's MAR the gates, rates and meters of the PDR act on arrival, those
// of the MAR's accesses where packets leave.
//
// # Left out
//
// Ethernet and unstructured sessions, UE addresses that overlap between network
// instances, header enrichment and redirection, reordering by sequence number, packet
// rate limits.
package dataplane

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/packet"
)

// NumSlots is the number of slots.
const NumSlots = 1 << SlotBits

// SlotOf is the slot that a TEID chosen by this UPF implies: its high SlotBits.
func SlotOf(teid uint32) uint16 { return uint16(teid >> (32 - SlotBits)) }

// Errors of [Plane.Install].
var (
	ErrTEIDInUse   = errors.New("TEID is another session's")
	ErrUEAddrInUse = errors.New("UE address is another session's")

	// ErrStopped: Run has returned; nothing can be installed any more.
	ErrStopped = errors.New("data plane has stopped")
)

// Config is what a plane is made with.
type Config struct {
	Set driver.Set // packet I/O; its owner closes it after Run has returned

	// N3MTU is the longest IP packet, in bytes, that N3 carries unfragmented.
	// It bounds what the proxy makes servers send. 0 = 1500.
	N3MTU int

	Buffers    int // packet buffers a worker starts with; 0 = 4096
	MaxPacket  int // longest packet that a buffer holds, in bytes; 0 = enough for N3MTU
	Keys       int // MPTCP keys that a worker keeps ready; 0 = 1024
	EventQueue int // events that Events holds before they are lost; 0 = 4096

	// Grace is the time after the start during which a TEID that nobody has gets no
	// Error Indication: the CP function may be about to restore its session
	// (TS 23.527 §4.3).
	Grace time.Duration

	// UEToUE has packets of one UE for another delivered here (N19, TS 23.501 §5.8.2.13)
	// where a FAR would send them to N6. TCP of proxied sessions goes to N6 all the same.
	UEToUE bool

	// ConvertCookies has the transport converter ask UEs for a cookie (RFC 8803 §6.2.7).
	ConvertCookies bool

	Held int // most packets that a FAR without a BAR holds; 0 = 64

	// PMFInterval is the time without a sign of life of the UE after which the PMF asks an
	// access for one, and again after each: one that is dead is found within four. 0 = 250 ms.
	PMFInterval time.Duration

	// PMFIdle is the time without traffic of a session after which its PMF asks nothing, so
	// that the phone may sleep. 0 = 10 s; negative = it never stops.
	PMFIdle time.Duration
}

// Plane is the control side of the workers. Its methods may be called by any
// goroutine.
type Plane struct {
	set   driver.Set
	n3    []netip.Addr
	mtu   int
	epoch time.Time  // when clock is 0
	grace proxy.Time // until which there are no Error Indications

	maxHeld int
	ueToUE  bool

	events chan Event

	workers    []*worker
	handOvers  [][]*ring[handedOver] // from, to
	teidOwners ownerTable[uint32]
	ueOwners   ownerTable[ueKey]
	ueLengths  atomic.Pointer[[]uint8] // prefix lengths ever used in ueOwners

	mu       sync.Mutex // of what follows
	state    state
	sessions map[uint64]*record
	teids    map[uint32]uint64 // to SEID
	ues      map[ueKey]uint64
	paths    pathTable
	echoes   uint16 // sequence number of the last Echo Request
}

type state uint8

const (
	created state = iota // workers are not running: the control side acts for them
	running
	stopped
)

// record is what the control side remembers of an installed session.
type record struct {
	worker int
	teids  []uint32
	ues    []ueKey
}

// New makes a plane with a worker for each of cfg.Set's.
func New(cfg Config) (*Plane, error) {
	n := cfg.Set.Workers()
	if n < 1 || n > maxWorkers {
		return nil, fmt.Errorf("%d workers: allowed are 1 to %d", n, maxWorkers)
	}
	p := &Plane{
		set:      cfg.Set,
		mtu:      or(cfg.N3MTU, 1500),
		epoch:    time.Now(),
		grace:    proxy.Time(cfg.Grace),
		ueToUE:   cfg.UEToUE,
		maxHeld:  or(cfg.Held, defaultHeld),
		events:   make(chan Event, or(cfg.EventQueue, 4096)),
		sessions: map[uint64]*record{},
		teids:    map[uint32]uint64{},
		ues:      map[ueKey]uint64{},
	}
	p.paths = pathTable{plane: p, byPeer: map[netip.Addr]*path{}}
	p.ueLengths.Store(&[]uint8{})
	for _, a := range cfg.Set.N3Addrs() {
		p.n3 = append(p.n3, a.Unmap())
	}
	for slot := range uint16(NumSlots) {
		if err := p.set.SteerSlot(slot, p.home(slot)); err != nil {
			return nil, fmt.Errorf("slot %d: %w", slot, err)
		}
	}
	for i := range n {
		w, err := p.newWorker(i, &cfg)
		if err != nil {
			return nil, err
		}
		p.workers = append(p.workers, w)
		rings := make([]*ring[handedOver], n)
		for j := range rings {
			rings[j] = newRing[handedOver](handOverSlots(n))
		}
		p.handOvers = append(p.handOvers, rings)
	}
	return p, nil
}

// or is v, or def if v is zero.
func or(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}

func (p *Plane) newWorker(i int, cfg *Config) (*worker, error) {
	var seed [32]byte
	if _, err := crand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("random seed: %w", err)
	}
	random := rand.NewChaCha8(seed).Uint64
	pool := packet.NewPool(or(cfg.Buffers, 4096), or(cfg.MaxPacket, max(packet.MaxPacket, p.mtu)))
	// A join's token names the worker of its connection.
	owns := func(token uint32) bool { return p.home(SlotOf(token)) == i }
	w := &worker{
		index: i,
		plane: p,
		drv:   p.set.Driver(i),
		pool:  pool,
		proxy: proxy.New(proxy.Config{
			Pool: pool, Rand: random, Keys: mptcp.NewKeyPool(or(cfg.Keys, 1024), random, owns),
			ConvertCookies: cfg.ConvertCookies,
		}),
		bySEID:    map[uint64]*session{},
		guests:    map[uint64]*session{},
		limit:     limiter{tokens: notifyBurst},
		icmp:      limiter{tokens: notifyBurst},
		fragments: newFragmentTable(),
		pmfConfig: pmfConfig(cfg, random),
		commands:  newRing[func(*worker)](16),
		exited:    make(chan struct{}),
	}
	w.teids.init()
	w.ues.init()
	return w, nil
}

// home is the worker of a slot.
func (p *Plane) home(slot uint16) int { return int(slot) % p.set.Workers() }

// clock is the time for the proxies.
func (p *Plane) clock() proxy.Time { return proxy.Time(time.Since(p.epoch)) }

// wall is the world's time at t.
func (p *Plane) wall(t proxy.Time) time.Time { return p.epoch.Add(time.Duration(t)) }

// Workers is the number of workers.
func (p *Plane) Workers() int { return len(p.workers) }

// Events delivers what workers notice. It is never closed.
func (p *Plane) Events() <-chan Event { return p.events }

// Run runs the workers until ctx ends, which is no error, or a driver fails. It
// can be called once.
func (p *Plane) Run(ctx context.Context) error {
	p.mu.Lock()
	if p.state != created {
		p.mu.Unlock()
		return ErrStopped
	}
	p.state = running
	p.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, w := range p.workers {
		go func() {
			if err := w.run(); err != nil {
				cancel(fmt.Errorf("worker %d: %w", w.index, err))
			}
		}()
	}
	p.watchPaths(ctx)
	for _, w := range p.workers {
		w.stop.Store(true)
		w.drv.Wake()
	}
	for _, w := range p.workers {
		<-w.exited
	}
	p.mu.Lock()
	p.state = stopped
	p.mu.Unlock()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// do has worker i call f between two bursts, and waits for it. p.mu is held.
func (p *Plane) do(i int, f func(*worker)) error {
	w := p.workers[i]
	switch p.state {
	case created:
		f(w)
		w.forwardProxied()
		w.send()
		w.wakeOthers()
		return nil
	case stopped:
		return ErrStopped
	case running:
	}
	select {
	case <-w.exited:
		return ErrStopped
	default:
	}
	done := make(chan struct{})
	// One command at a time: the ring, of which p.mu makes us the only
	// producer, is never full.
	*w.commands.room() = func(w *worker) {
		f(w)
		close(done)
	}
	w.commands.publish()
	w.drv.Wake()
	select {
	case <-done:
		return nil
	case <-w.exited:
		return ErrStopped
	}
}

// Counters are the sums of all workers' counters, by name: the packet path's, the
// proxy's with the prefix "proxy_", and the driver's with the prefix "driver_".
func (p *Plane) Counters() map[string]uint64 {
	sum := map[string]uint64{}
	for i := range p.workers {
		for name, v := range p.WorkerCounters(i) {
			sum[name] += v
		}
	}
	return sum
}

// WorkerCounters are the counters of one worker.
func (p *Plane) WorkerCounters(i int) map[string]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]uint64{}
	read := func(w *worker) { maps.Copy(out, w.counters()) }
	if p.do(i, read) == nil {
		return out
	}
	// It has stopped, or is about to.
	<-p.workers[i].exited
	return p.workers[i].counters()
}

func (w *worker) counters() map[string]uint64 {
	out := map[string]uint64{}
	prefixed := func(prefix string) func(string, uint64) {
		return func(name string, v uint64) { out[prefix+name] = v }
	}
	w.count.each(prefixed(""))
	w.proxy.Counters().Each(prefixed("proxy_"))
	w.drv.Counters(prefixed("driver_"))
	out["sessions"] = uint64(len(w.bySEID))
	return out
}

// Usage reads meters, of many sessions at once. A session that is not there has an
// empty answer; the answers are in q's order.
func (p *Plane) Usage(q []UsageQuery) ([]UsageAnswer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answers := make([]UsageAnswer, len(q))
	byWorker := make([][]int, len(p.workers))
	for i := range q {
		if r := p.sessions[q[i].SEID]; r != nil {
			byWorker[r.worker] = append(byWorker[r.worker], i)
		}
	}
	for home, list := range byWorker {
		// A worker forwards nothing while it answers: it is not asked too much at once.
		for some := range slices.Chunk(list, usagesAtOnce) {
			err := p.do(home, func(w *worker) {
				for _, i := range some {
					answers[i] = w.usage(&q[i])
				}
			})
			if err != nil {
				return nil, fmt.Errorf("read meters: %w", err)
			}
		}
	}
	return answers, nil
}

// usagesAtOnce is how many sessions' meters a worker reads between two bursts.
const usagesAtOnce = 64

// Echo sends a GTP-U Echo Request to peer, from our first address of its family
// (TS 29.281 §7.2.1). An EchoAnswered event tells of the answer.
func (p *Plane) Echo(peer netip.Addr) error {
	peer = peer.Unmap()
	local := slices.IndexFunc(p.n3, func(a netip.Addr) bool { return a.Is4() == peer.Is4() })
	if local < 0 {
		return fmt.Errorf("echo: no N3 address to reach %v from", peer)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.echoes++
	sn := p.echoes
	return p.do(0, func(w *worker) { w.echo(peer, uint8(local), sn) })
}
