package dataplane

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/braid-upf/braid/packet"
)

// ownerBuckets is the number of buckets of an owner table, a power of two.
const ownerBuckets = 4096

// ownerTable says which worker has an identifier. The control side writes it; any
// worker may read it at any time, without a lock: a bucket is an immutable slice
// that a change replaces.
//
// Workers ask only about identifiers that are not in their own tables, to tell a
// packet that steering brought to the wrong worker from one that nobody knows. So
// a bucket is searched from end to end and may be long.
type ownerTable[K comparable] struct {
	buckets [ownerBuckets]atomic.Pointer[[]owner[K]]
}

type owner[K comparable] struct {
	key    K
	worker int
}

// set writes k's worker into the bucket of hash.
func (t *ownerTable[K]) set(hash uint64, k K, worker int) {
	t.replace(hash, k, []owner[K]{{k, worker}})
}

// forget removes k.
func (t *ownerTable[K]) forget(hash uint64, k K) { t.replace(hash, k, nil) }

func (t *ownerTable[K]) replace(hash uint64, k K, with []owner[K]) {
	b := &t.buckets[hash%ownerBuckets]
	if old := b.Load(); old != nil {
		for _, o := range *old {
			if o.key != k {
				with = append(with, o)
			}
		}
	}
	b.Store(&with)
}

// get gives k's worker.
func (t *ownerTable[K]) get(hash uint64, k K) (worker int, ok bool) {
	b := t.buckets[hash%ownerBuckets].Load()
	if b == nil {
		return 0, false
	}
	for i := range *b {
		if o := &(*b)[i]; o.key == k {
			return o.worker, true
		}
	}
	return 0, false
}

// keyOf is the key of the prefix of length n that a is in.
func keyOf(a *packet.Addr, n uint8) ueKey {
	if n == 128 {
		return ueKey{*a, n}
	}
	k := ueKey{bits: n}
	hi, lo := masks(n)
	binary.BigEndian.PutUint64(k.addr[:8], binary.BigEndian.Uint64(a[:8])&hi)
	binary.BigEndian.PutUint64(k.addr[8:], binary.BigEndian.Uint64(a[8:])&lo)
	return k
}
