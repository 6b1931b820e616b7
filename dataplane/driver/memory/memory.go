// Package memory is a driver of queues in memory, for tests: a test puts packets in
// at N3 and N6, and takes out what the workers sent.
package memory

import (
	"bytes"
	"net/netip"
	"sync"
	"time"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/packet"
)

// Message is a GTP-U message with its addresses.
type Message struct {
	Bytes []byte
	Peer  netip.AddrPort
	Local netip.Addr // our side's address
	TOS   uint8      // of one that was sent
}

// Set is a driver.Set in memory. Its methods may be called by any goroutine.
type Set struct {
	addrs   []netip.Addr
	drivers []*Driver

	mu    sync.Mutex
	teids map[uint32]int
	slots map[uint16]int
	ues   map[netip.Prefix]int
	mtus  map[netip.Addr]int
}

// New makes a Set of so many workers, with the N3 addresses addrs.
func New(workers int, addrs ...netip.Addr) *Set {
	s := &Set{
		addrs: addrs, teids: map[uint32]int{}, slots: map[uint16]int{}, ues: map[netip.Prefix]int{}, mtus: map[netip.Addr]int{},
	}
	for range workers {
		s.drivers = append(s.drivers, &Driver{set: s, wake: make(chan struct{}, 1)})
	}
	return s
}

// Workers is the number of workers.
func (s *Set) Workers() int { return len(s.drivers) }

// Driver is the driver of a worker.
func (s *Set) Driver(worker int) driver.Driver { return s.drivers[worker] }

// Queue is Driver, typed.
func (s *Set) Queue(worker int) *Driver { return s.drivers[worker] }

// N3Addrs are the addresses that New got.
func (s *Set) N3Addrs() []netip.Addr { return s.addrs }

// SteerTEID is as driver.Set has it.
func (s *Set) SteerTEID(teid uint32, worker int) error { return set(s, s.teids, teid, worker) }

// ForgetTEID is as driver.Set has it.
func (s *Set) ForgetTEID(teid uint32) error { return forget(s, s.teids, teid) }

// SteerSlot is as driver.Set has it.
func (s *Set) SteerSlot(slot uint16, worker int) error { return set(s, s.slots, slot, worker) }

// SteerUE is as driver.Set has it.
func (s *Set) SteerUE(p netip.Prefix, worker int) error {
	if err := driver.CheckUE(p); err != nil {
		return err
	}
	return set(s, s.ues, p, worker)
}

// ForgetUE is as driver.Set has it.
func (s *Set) ForgetUE(p netip.Prefix) error { return forget(s, s.ues, p) }

func set[K comparable](s *Set, m map[K]int, k K, worker int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m[k] = worker
	return nil
}

func forget[K comparable](s *Set, m map[K]int, k K) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(m, k)
	return nil
}

// Steered is the number of TEIDs and of UE prefixes that are steered.
func (s *Set) Steered() (teids, ues int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.teids), len(s.ues)
}

// OwnerTEID is the worker that a G-PDU with this TEID goes to.
func (s *Set) OwnerTEID(teid uint32) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w, ok := s.teids[teid]; ok {
		return w
	}
	return s.slots[uint16(teid>>20)]
}

// OwnerUE is the worker that an N6 packet for a goes to.
func (s *Set) OwnerUE(a netip.Addr) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	worker, length := 0, -1
	for p, w := range s.ues {
		if p.Contains(a) && p.Bits() > length {
			worker, length = w, p.Bits()
		}
	}
	return worker
}

// PathMTU is what SetPathMTU said, or DefaultPathMTU.
func (s *Set) PathMTU(peer netip.Addr) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mtu, ok := s.mtus[peer]; ok {
		return mtu, nil
	}
	return DefaultPathMTU, nil
}

// DefaultPathMTU is that of Ethernet.
const DefaultPathMTU = 1500

// SetPathMTU says what PathMTU answers.
func (s *Set) SetPathMTU(peer netip.Addr, mtu int) {
	_ = set(s, s.mtus, peer, mtu)
}

// Close does nothing.
func (s *Set) Close() error { return nil }

// Driver is the I/O of one worker.
type Driver struct {
	set  *Set
	wake chan struct{}

	mu     sync.Mutex
	inN3   []Message
	inN6   [][]byte
	outN3  []Message
	outN6  [][]byte
	peers  [driver.MaxBurst]driver.Peer // owned by the worker
	failed uint64                       // super-packets refused
}

// PutN3 queues a GTP-U message for the worker.
func (d *Driver) PutN3(m Message) {
	d.mu.Lock()
	d.inN3 = append(d.inN3, Message{bytes.Clone(m.Bytes), m.Peer, m.Local, 0})
	d.mu.Unlock()
	d.Wake()
}

// PutN6 queues an IP packet for the worker.
func (d *Driver) PutN6(b []byte) {
	d.mu.Lock()
	d.inN6 = append(d.inN6, bytes.Clone(b))
	d.mu.Unlock()
	d.Wake()
}

// TakeN3 gives what the worker has sent to N3 since the last call, in order.
func (d *Driver) TakeN3() []Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.outN3
	d.outN3 = nil
	return out
}

// TakeN6 gives what the worker has sent to N6 since the last call, in order.
func (d *Driver) TakeN6() [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.outN6
	d.outN6 = nil
	return out
}

// Receive is as driver.Driver has it.
func (d *Driver) Receive(rx *driver.Burst, pool *packet.Pool, wait time.Duration) error {
	rx.Reset()
	if d.take(rx, pool) {
		return nil
	}
	var late <-chan time.Time
	if wait >= 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-d.wake:
	case <-late:
	}
	d.take(rx, pool)
	return nil
}

func (d *Driver) take(rx *driver.Burst, pool *packet.Pool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(d.inN3), driver.MaxBurst)
	for i, m := range d.inN3[:n] {
		d.peers[i] = driver.MakePeer(m.Peer)
		rx.N3 = append(rx.N3, driver.N3Packet{Buf: fill(pool, m.Bytes), Peer: &d.peers[i], Local: d.set.local(m.Local)})
	}
	d.inN3 = d.inN3[n:]
	n = min(len(d.inN6), driver.MaxBurst)
	for _, b := range d.inN6[:n] {
		rx.N6 = append(rx.N6, fill(pool, b))
	}
	d.inN6 = d.inN6[n:]
	return len(rx.N3)+len(rx.N6) > 0
}

// local is the index of a; unknown addresses count as the first.
func (s *Set) local(a netip.Addr) uint8 {
	for i, b := range s.addrs {
		if a == b {
			return uint8(i)
		}
	}
	return 0
}

func fill(pool *packet.Pool, b []byte) *packet.Buffer {
	buf := pool.Get()
	buf.SetLen(copy(buf.Room(), b))
	return buf
}

// Send is as driver.Driver has it.
func (d *Driver) Send(tx *driver.Burst, pool *packet.Pool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range tx.N3 {
		if d.plain(p.Buf) {
			d.outN3 = append(d.outN3, Message{bytes.Clone(p.Buf.Bytes()), p.Peer.AddrPort(), d.set.addrs[p.Local], p.TOS})
		}
		pool.Put(p.Buf)
	}
	for _, b := range tx.N6 {
		if d.plain(b) {
			d.outN6 = append(d.outN6, bytes.Clone(b.Bytes()))
		}
		pool.Put(b)
	}
	tx.Reset()
}

func (d *Driver) plain(b *packet.Buffer) bool {
	if b.SegmentSize != 0 {
		d.failed++
		return false
	}
	return true
}

// Wake is as driver.Driver has it.
func (d *Driver) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Counters is as driver.Driver has it.
func (d *Driver) Counters(f func(name string, v uint64)) { f("super_packets_refused", d.failed) }
