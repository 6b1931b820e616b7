package dataplane

import "sync/atomic"

// ring is a bounded queue from one goroutine to one other, without locks:
//
//	        taken by the consumer      free for the producer
//	slots: [ . . . | r e a d y . . . | . . . . ]
//	               ^ tail             ^ head
//
// Both count up for ever; slot i is slots[i % len]. Slots are used in place, so
// that what they hold can be used again.
type ring[T any] struct {
	slots []T
	_     [40]byte      // head and tail on cache lines of their own
	head  atomic.Uint64 // written by the producer
	_     [56]byte
	tail  atomic.Uint64 // written by the consumer
	_     [56]byte
}

// newRing makes a ring of n slots, n a power of two.
func newRing[T any](n int) *ring[T] { return &ring[T]{slots: make([]T, n)} }

// room is the slot to fill next, for the producer; nil if the ring is full.
// publish hands it over.
func (r *ring[T]) room() *T {
	head := r.head.Load()
	if head-r.tail.Load() == uint64(len(r.slots)) {
		return nil
	}
	return &r.slots[head&uint64(len(r.slots)-1)]
}

// publish gives the slot that room gave to the consumer.
func (r *ring[T]) publish() { r.head.Add(1) }

// next is the oldest filled slot, for the consumer; nil if there is none. It stays
// the consumer's until release.
func (r *ring[T]) next() *T {
	tail := r.tail.Load()
	if tail == r.head.Load() {
		return nil
	}
	return &r.slots[tail&uint64(len(r.slots)-1)]
}

// ready is how many slots are filled, for the consumer; there may be more by the time that
// it has taken them.
func (r *ring[T]) ready() int { return int(r.head.Load() - r.tail.Load()) }

// release gives the slot that next gave back to the producer.
func (r *ring[T]) release() { r.tail.Add(1) }
