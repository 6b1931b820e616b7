package dataplane

import (
	"encoding/binary"
	"slices"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/packet"
)

// With many sessions whatever is looked up for a packet is in no near cache. So the
// tables are asked for a whole burst at once, step by step: each step loads, for all
// packets, what the step before has found the address of. The loads of a step do not
// wait for each other, and the burst waits for memory a few times instead of a few
// times a packet.

// teidTable leads from the TEID of a G-PDU to its tunnel.
type teidTable struct {
	table  hashTable[uint32, *tunnel]
	secret secret

	hashes [driver.MaxBurst]uint64
	found  [driver.MaxBurst]**tunnel
	warmed uint64 // what was loaded for the caches' sake; else the compiler left it out
}

func (t *teidTable) init() {
	t.secret = makeSecret()
	t.table.init(t.hash)
}

func (t *teidTable) hash(teid uint32) uint64 { return t.secret.hash(uint64(teid), 0) }

// len is the number of tunnels.
func (t *teidTable) len() int { return t.table.len }

// put makes u the tunnel of teid; neither is zero.
func (t *teidTable) put(teid uint32, u *tunnel) { t.table.put(teid, u) }

func (t *teidTable) remove(teid uint32) { t.table.remove(teid) }

// lookup is the tunnel of teid, nil if there is none.
func (t *teidTable) lookup(teid uint32) *tunnel { return orNil(t.table.find(t.hash(teid), teid)) }

// orNil is what p points to, nil if p is nil.
func orNil[T any](p **T) *T {
	if p == nil {
		return nil
	}
	return *p
}

// lookupBurst sets out[i] to the tunnel of teids[i], and has what packets need of them in
// the caches.
func (t *teidTable) lookupBurst(teids []uint32, out []*tunnel) {
	for len(teids) > driver.MaxBurst {
		t.lookupBurst(teids[:driver.MaxBurst], out[:driver.MaxBurst])
		teids, out = teids[driver.MaxBurst:], out[driver.MaxBurst:]
	}
	h, out := t.hashes[:len(teids)], out[:len(teids)]
	for i, id := range teids {
		h[i] = t.hash(id)
	}
	t.table.findBurst(h, teids, t.found[:])
	for i := range out {
		out[i] = orNil(t.found[i])
	}
	t.warm(out)
}

// warm loads what a packet for each tunnel needs: the tunnel, then its session's bundle.
func (t *teidTable) warm(out []*tunnel) {
	warm := uint64(0)
	for _, u := range out {
		if u != nil {
			warm ^= u.rules.bundle().warm(0)
		}
	}
	t.warmed = warm
}

// ueTable finds the session of a UE address: tables of prefixes, IPv4 and IPv6 apart,
// that are asked once for each prefix length in use, the longest first. UE addresses
// have one length each; framed routes may add some.
type ueTable struct {
	v4     hashTable[uint64, *ruleSet] // keys by key4
	v6     hashTable[key6, *ruleSet]
	secret secret

	lengths4, lengths6 []uint8 // in use, falling
	count4             [33]int // sessions by length
	count6             [129]int

	// Scratch of lookupBurst: addresses without a session yet, and what they are asked
	// with.
	addrs4, addrs6 []address
	hashes         [driver.MaxBurst]uint64
	keys4          [driver.MaxBurst]uint64
	keys6          [driver.MaxBurst]key6
	found          [driver.MaxBurst]**ruleSet
	warmed         uint64
}

// address is an address of a burst, at this index.
type address struct {
	hi, lo uint64
	index  int
}

// key6 is an IPv6 prefix, host bits zero.
type key6 struct {
	hi, lo uint64
	used   bool // set: no key is zero
	bits   uint8
}

func (t *ueTable) init() {
	t.secret = makeSecret()
	t.addrs4 = make([]address, 0, driver.MaxBurst)
	t.addrs6 = make([]address, 0, driver.MaxBurst)
	t.v4.init(t.hash4)
	t.v6.init(t.hash6)
}

// key4 is the prefix of length n that an IPv4 address is in, as a key: not zero.
func key4(a uint32, n uint8) uint64 {
	return uint64(a)>>(32-n)<<(32-n)<<8 | uint64(n) | 1<<63
}

func (t *ueTable) hash4(k uint64) uint64 { return t.secret.hash(k, 0) }

func (t *ueTable) hash6(k key6) uint64 {
	// The length only has to keep prefixes of one address apart.
	return t.secret.hash(k.hi^uint64(k.bits)<<56, k.lo)
}

// makeKey6 is the prefix of length n that an IPv6 address is in.
func makeKey6(hi, lo uint64, n uint8) key6 {
	maskHi, maskLo := masks(n)
	return key6{hi & maskHi, lo & maskLo, true, n}
}

// split is a in two words, and whether it is an IPv4 address.
func split(a *packet.Addr) (hi, lo uint64, v4 bool) {
	hi, lo = binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	return hi, lo, hi == 0 && lo>>32 == 0xffff
}

// len is the number of prefixes.
func (t *ueTable) len() int { return t.v4.len + t.v6.len }

// put makes s the session of k.
func (t *ueTable) put(k ueKey, s *ruleSet) {
	hi, lo, v4 := split(&k.addr)
	if v4 && k.bits >= 96 {
		n := t.v4.len
		t.v4.put(key4(uint32(lo), k.bits-96), s)
		count(&t.lengths4, t.count4[:], k.bits-96, t.v4.len-n)
		return
	}
	n := t.v6.len
	t.v6.put(makeKey6(hi, lo, k.bits), s)
	count(&t.lengths6, t.count6[:], k.bits, t.v6.len-n)
}

func (t *ueTable) remove(k ueKey) {
	hi, lo, v4 := split(&k.addr)
	if v4 && k.bits >= 96 {
		n := t.v4.len
		t.v4.remove(key4(uint32(lo), k.bits-96))
		count(&t.lengths4, t.count4[:], k.bits-96, t.v4.len-n)
		return
	}
	n := t.v6.len
	t.v6.remove(makeKey6(hi, lo, k.bits))
	count(&t.lengths6, t.count6[:], k.bits, t.v6.len-n)
}

// count adds more to the number of prefixes of length n.
func count(lengths *[]uint8, counts []int, n uint8, more int) {
	before := counts[n]
	counts[n] += more
	switch {
	case before == 0 && counts[n] > 0:
		*lengths = append(*lengths, n)
		slices.SortFunc(*lengths, func(a, b uint8) int { return int(b) - int(a) })
	case before > 0 && counts[n] == 0:
		*lengths = slices.DeleteFunc(*lengths, func(l uint8) bool { return l == n })
	}
}

// lookup is the session of a: that of the longest prefix that a is in, nil if there is
// none.
func (t *ueTable) lookup(a *packet.Addr) *ruleSet {
	hi, lo, v4 := split(a)
	if v4 {
		for _, n := range t.lengths4 {
			k := key4(uint32(lo), n)
			if s := t.v4.find(t.hash4(k), k); s != nil {
				return *s
			}
		}
		return nil
	}
	for _, n := range t.lengths6 {
		k := makeKey6(hi, lo, n)
		if s := t.v6.find(t.hash6(k), k); s != nil {
			return *s
		}
	}
	return nil
}

// lookupBurst sets out[i] to the session of addrs[i], and has the sessions and their
// first downlink PDRs in the caches.
func (t *ueTable) lookupBurst(addrs []packet.Addr, out []*ruleSet) {
	for len(addrs) > driver.MaxBurst {
		t.lookupBurst(addrs[:driver.MaxBurst], out[:driver.MaxBurst])
		addrs, out = addrs[driver.MaxBurst:], out[driver.MaxBurst:]
	}
	clear(out[:len(addrs)])
	t.addrs4, t.addrs6 = t.addrs4[:0], t.addrs6[:0]
	for i := range addrs {
		if hi, lo, v4 := split(&addrs[i]); v4 {
			t.addrs4 = append(t.addrs4, address{hi, lo, i})
		} else {
			t.addrs6 = append(t.addrs6, address{hi, lo, i})
		}
	}
	for _, n := range t.lengths4 {
		for j := range t.addrs4 {
			t.keys4[j] = key4(uint32(t.addrs4[j].lo), n)
			t.hashes[j] = t.hash4(t.keys4[j])
		}
		t.v4.findBurst(t.hashes[:len(t.addrs4)], t.keys4[:], t.found[:])
		t.addrs4 = t.settle(t.addrs4, out)
	}
	for _, n := range t.lengths6 {
		for j := range t.addrs6 {
			t.keys6[j] = makeKey6(t.addrs6[j].hi, t.addrs6[j].lo, n)
			t.hashes[j] = t.hash6(t.keys6[j])
		}
		t.v6.findBurst(t.hashes[:len(t.addrs6)], t.keys6[:], t.found[:])
		t.addrs6 = t.settle(t.addrs6, out)
	}
	t.warm(out[:len(addrs)])
}

// settle writes what was found for as to out, and gives the rest of as.
func (t *ueTable) settle(as []address, out []*ruleSet) []address {
	rest := as[:0]
	for j, a := range as {
		if s := t.found[j]; s != nil {
			out[a.index] = *s
		} else {
			rest = append(rest, a)
		}
	}
	return rest
}

// warm loads what a packet for each session needs.
func (t *ueTable) warm(out []*ruleSet) {
	warm := uint64(0)
	for _, r := range out {
		if r != nil {
			warm ^= r.bundle().warm(1)
		}
	}
	t.warmed = warm
}
