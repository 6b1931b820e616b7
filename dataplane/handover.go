package dataplane

import (
	"math/bits"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/packet"
)

// handedOver is a packet on its way from the worker that got it to its owner. The
// bytes are copied: buffers stay with their worker's pool. Steering brings nearly
// every packet to its owner at once; what comes here was in a queue while the
// session was installed.
type handedOver struct {
	bytes []byte
	n6    bool
	peer  driver.Peer // valid unless n6
	local uint8
}

// handOverSlots is the length of the ring from one worker to another.
const handOverSlots = 64

// handOver gives b to its owner; peer nil = from N6.
func (w *worker) handOver(owner int, b *packet.Buffer, peer *driver.Peer, local uint8) {
	r := w.plane.handOvers[w.index][owner]
	h := r.room()
	if h == nil {
		w.drop(b, dropNotOwner)
		return
	}
	w.count.n[notOwner]++
	h.bytes = append(h.bytes[:0], b.Bytes()...)
	h.n6, h.local = peer == nil, local
	if peer != nil {
		h.peer = *peer
	}
	r.publish()
	w.toWake |= 1 << owner
	w.pool.Put(b)
}

// takeHandedOver works on the packets that other workers handed over.
func (w *worker) takeHandedOver() {
	for from := range w.plane.handOvers {
		r := w.plane.handOvers[from][w.index]
		for h := r.next(); h != nil; h = r.next() {
			b := w.pool.Get()
			b.SetLen(copy(b.Room(), h.bytes))
			if h.n6 {
				r.release()
				w.downlink(b, true)
				continue
			}
			peer, local := w.addPeer(h.peer), h.local
			r.release()
			w.tunnelled(b, peer, local, true)
		}
	}
}

// wakeOthers wakes the workers that packets were handed to.
func (w *worker) wakeOthers() {
	for ; w.toWake != 0; w.toWake &= w.toWake - 1 {
		w.plane.workers[bits.TrailingZeros64(w.toWake)].drv.Wake()
	}
}
