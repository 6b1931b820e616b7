package dataplane

import (
	"math/bits"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// handedOver is a packet on its way from one worker to another. A slot of the ring
// always holds a buffer: the producer puts the packet's into it and takes the one that
// was there for its pool, the consumer does so the other way round. So no byte is
// copied, and every pool keeps its number of buffers, once a slot was used.
type handedOver struct {
	buf   *packet.Buffer
	kind  handedKind
	local uint8
	peer  driver.Peer // valid with handedN3, as local is
	lent  lent        // valid with the kinds of guests
}

// handedKind is why a packet is handed over, and what it is.
type handedKind uint8

const (
	// A packet that steering brought to the wrong worker: it was in a queue while its
	// session was installed.
	handedN3 handedKind = iota // a GTP-U message
	handedN6                   // an IP packet for a UE

	// A guest's packet, see guests.go.
	lentUplink   // of the UE, for the worker that has its connection
	lentReturned // a lentUplink that was not the connection's
	lentDownlink // for the UE, for the worker that has its session
)

// handOverSlots is the length of the ring from each of n workers to each other. Guests'
// packets take it both ways all the time, and a worker that the kernel lets wait for a
// millisecond is a thousand packets behind. With many workers, and so more rings, each
// has less to carry.
func handOverSlots(n int) int {
	const most, least, all = 1024, 128, 4096
	return min(most, max(least, all/(1<<bits.Len(uint(n-1)))))
}

// slot is the next slot on the way to another worker, nil if it is behind. Once all
// but buf is filled in, give sends it off.
func (w *worker) slot(to int) *handedOver { return w.plane.handOvers[w.index][to].room() }

// give sends b to another worker in h, its slot.
func (w *worker) give(to int, h *handedOver, b *packet.Buffer) {
	b, h.buf = h.buf, b
	w.plane.handOvers[w.index][to].publish()
	w.toWake |= 1 << to
	if b != nil {
		w.pool.Put(b)
	}
}

// handOver gives b to its owner; peer nil = from N6.
func (w *worker) handOver(owner int, b *packet.Buffer, peer *driver.Peer, local uint8) {
	h := w.slot(owner)
	if h == nil {
		w.drop(b, dropNotOwner)
		return
	}
	w.count.n[notOwner]++
	h.kind, h.local = handedN6, local
	if peer != nil {
		h.kind, h.peer = handedN3, *peer
	}
	w.give(owner, h, b)
}

// takeHandedOver works on the packets that other workers handed over.
func (w *worker) takeHandedOver() {
	for from := range w.plane.handOvers {
		w.takeFrom(from)
	}
}

// takeFrom works on what one worker has handed over until now: there is a wake-up for
// what comes later.
func (w *worker) takeFrom(from int) {
	r := w.plane.handOvers[from][w.index]
	for n := r.ready(); n > 0; n-- {
		h := r.next()
		b := h.buf
		h.buf = w.pool.Get()
		kind, local, l := h.kind, h.local, h.lent
		var peer *driver.Peer
		if kind == handedN3 {
			peer = w.addPeer(h.peer)
		}
		r.release()
		switch kind {
		case handedN3:
			w.tunnelled(b, w.teids.lookup(gtpu.TEID(b.Bytes())), peer, local, true)
		case handedN6:
			var dst packet.Addr
			packet.Destination(b.Bytes(), &dst)
			w.downlink(b, w.ues.lookup(&dst), true)
		default:
			w.guest(from, kind, &l, b)
		}
	}
}

// wakeOthers wakes the workers that packets were handed to.
func (w *worker) wakeOthers() {
	for ; w.toWake != 0; w.toWake &= w.toWake - 1 {
		w.plane.workers[bits.TrailingZeros64(w.toWake)].drv.Wake()
	}
}
