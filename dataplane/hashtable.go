package dataplane

import (
	crand "crypto/rand"
	"encoding/binary"
	"math/bits"
)

// hashTable is an extendible hash table with open addressing: a directory, indexed by
// the first bits of a hash, of segments of fixed size.
//
//	hash    1011... ......... ..101100
//	        `-.-'               `-.--'
//	     directory           slot where
//	                         the search begins
//
// A segment that is full is split into two by one more bit of the hash; segments with
// fewer bits than the directory stand in it several times. So no put works on more
// than one segment (but for the directory, of 8 bytes a segment, when it doubles), and
// a lookup has one load that misses the caches: that of the slot. The table does not
// get smaller.
//
// Values stand in the slots, so that a small one costs no load of its own. They move:
// a pointer to a value is good until the next put or remove.
//
// Invariants: a free slot is zero, and no key is; every segment has free slots;
// between the slot where the search for a key begins and the key there is none.
type hashTable[K comparable, V any] struct {
	dir   []*segment[K, V]
	info  []*segmentInfo // of the same index in dir
	shift uint8          // 64 less the bits that dir takes
	len   int
	hash  func(K) uint64

	first K // keeps the loads of findBurst from being left out
}

type slot[K comparable, V any] struct {
	key   K
	value V
}

// segmentSlots is the number of slots of a segment, a power of two; segmentFull that
// of keys at which it is split.
const (
	segmentSlots = 512
	segmentFull  = segmentSlots * 3 / 4
)

type segment[K comparable, V any] [segmentSlots]slot[K, V]

type segmentInfo struct {
	len  int
	bits uint8 // of the hash that all its keys have in common
}

// init makes t an empty table. Hashes must be keyed with a secret and good in all
// their bits.
func (t *hashTable[K, V]) init(hash func(K) uint64) {
	*t = hashTable[K, V]{hash: hash, shift: 63}
	for range 2 {
		t.dir = append(t.dir, new(segment[K, V]))
		t.info = append(t.info, &segmentInfo{bits: 1})
	}
}

// find is the value of k, whose hash is h; nil if it is not there.
func (t *hashTable[K, V]) find(h uint64, k K) *V {
	var free K
	s := t.dir[h>>(t.shift&63)]
	for i := h % segmentSlots; ; i = (i + 1) % segmentSlots {
		switch p := &s[i]; p.key {
		case free:
			return nil
		case k:
			return &p.value
		}
	}
}

// findBurst sets out[i] to the value of keys[i], whose hash is h[i]. It first loads all
// the slots where the searches begin: loops of loads that do not depend on each other
// and of little else are worth as many misses at a time as the CPU can have.
func (t *hashTable[K, V]) findBurst(h []uint64, keys []K, out []*V) {
	keys, out = keys[:len(h)], out[:len(h)]
	dir, shift := t.dir, t.shift&63
	var first K
	for _, h := range h {
		first = dir[h>>shift][h%segmentSlots].key
	}
	t.first = first
	for i, k := range keys {
		out[i] = t.find(h[i], k)
	}
}

// put makes v the value of k, which is not zero.
func (t *hashTable[K, V]) put(k K, v V) {
	h := t.hash(k)
	for t.info[h>>t.shift].len >= segmentFull {
		t.split(h >> t.shift)
	}
	if t.dir[h>>t.shift].put(h, k, v) {
		t.info[h>>t.shift].len++
		t.len++
	}
}

// put says whether k is new.
func (s *segment[K, V]) put(h uint64, k K, v V) bool {
	var free K
	i := h % segmentSlots
	for s[i].key != free && s[i].key != k {
		i = (i + 1) % segmentSlots
	}
	isNew := s[i].key == free
	s[i] = slot[K, V]{k, v}
	return isNew
}

// split splits the segment at d in the directory.
func (t *hashTable[K, V]) split(d uint64) {
	n := t.info[d].bits + 1
	if n > 64-t.shift {
		t.double()
		d *= 2
	}
	var free K
	old := t.dir[d]
	a, b := new(segment[K, V]), new(segment[K, V])
	ai, bi := &segmentInfo{bits: n}, &segmentInfo{bits: n}
	for i := range old {
		p := &old[i]
		if p.key == free {
			continue
		}
		if h := t.hash(p.key); h>>(64-n)&1 == 0 {
			a.put(h, p.key, p.value)
			ai.len++
		} else {
			b.put(h, p.key, p.value)
			bi.len++
		}
	}
	// The segment's places in the directory: the first half is a's.
	places := uint64(1) << (64 - t.shift - n)
	first := d &^ (2*places - 1)
	for i := range places {
		t.dir[first+i], t.info[first+i] = a, ai
		t.dir[first+places+i], t.info[first+places+i] = b, bi
	}
}

// double doubles the directory.
func (t *hashTable[K, V]) double() {
	dir := make([]*segment[K, V], 2*len(t.dir))
	info := make([]*segmentInfo, 2*len(t.info))
	for i := range t.dir {
		dir[2*i], dir[2*i+1] = t.dir[i], t.dir[i]
		info[2*i], info[2*i+1] = t.info[i], t.info[i]
	}
	t.dir, t.info = dir, info
	t.shift--
}

// remove removes k, if it is there.
func (t *hashTable[K, V]) remove(k K) {
	var free K
	h := t.hash(k)
	s := t.dir[h>>t.shift]
	i := h % segmentSlots
	for s[i].key != k {
		if s[i].key == free {
			return
		}
		i = (i + 1) % segmentSlots
	}
	// Keys behind the gap move into it unless their search begins behind it.
	for j := (i + 1) % segmentSlots; s[j].key != free; j = (j + 1) % segmentSlots {
		begin := t.hash(s[j].key) % segmentSlots
		if (j-begin)%segmentSlots >= (j-i)%segmentSlots {
			s[i] = s[j]
			i = j
		}
	}
	s[i] = slot[K, V]{}
	t.info[h>>t.shift].len--
	t.len--
}

// secret keys a hash.
type secret [2]uint64

func makeSecret() secret {
	var b [16]byte
	crand.Read(b[:]) // does not fail
	return secret{binary.NativeEndian.Uint64(b[:]), binary.NativeEndian.Uint64(b[8:])}
}

// hash of two words: two rounds of a multiplication whose halves are folded, so that
// each bit depends on all of the words and the secret. Who does not know the secret
// cannot choose keys that meet.
func (s *secret) hash(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^s[0], b^s[1])
	hi, lo = bits.Mul64(hi^lo, 0x9e3779b97f4a7c15)
	return hi ^ lo
}
