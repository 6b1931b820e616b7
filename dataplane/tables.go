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
	table  hashTable[uint32, tunnel]
	secret secret

	hashes [driver.MaxBurst]uint64
	warmed uint64 // what was loaded for the caches' sake; else the compiler left it out
}

func (t *teidTable) init() {
	t.secret = makeSecret()
	t.table.init(t.hash)
}

func (t *teidTable) hash(teid uint32) uint64 { return t.secret.hash(uint64(teid), 0) }

// len is the number of tunnels.
func (t *teidTable) len() int { return t.table.len }

// put makes u, which is not nil, the tunnel of teid.
func (t *teidTable) put(teid uint32, u *tunnel) { t.table.put(teid, u) }

func (t *teidTable) remove(teid uint32) { t.table.remove(teid) }

// lookup is the tunnel of teid, nil if there is none.
func (t *teidTable) lookup(teid uint32) *tunnel { return t.table.find(t.hash(teid), teid) }

// lookupBurst sets out[i] to the tunnel of teids[i], and has the tunnels and their
// first PDRs in the caches.
func (t *teidTable) lookupBurst(teids []uint32, out []*tunnel) {
	for len(teids) > driver.MaxBurst {
		t.lookupBurst(teids[:driver.MaxBurst], out[:driver.MaxBurst])
		teids, out = teids[driver.MaxBurst:], out[driver.MaxBurst:]
	}
	h, out := t.hashes[:len(teids)], out[:len(teids)]
	var first *tunnel
	for i, id := range teids {
		h[i] = t.hash(id)
		first = t.table.first(h[i])
	}
	warm := uint64(0)
	if first != nil {
		warm++
	}
	for i, id := range teids {
		out[i] = t.table.find(h[i], id)
	}
	for _, u := range out {
		if u != nil {
			warm ^= uint64(u.teid)
		}
	}
	for _, u := range out {
		if u != nil {
			warm ^= u.session.seid
			if len(u.pdrs) > 0 {
				warm ^= u.pdrs[0].qfis
			}
		}
	}
	t.warmed = warm
}

// ueTable finds the session of a UE address: tables of prefixes, IPv4 and IPv6 apart,
// that are asked once for each prefix length in use, the longest first. UE addresses
// have one length each; framed routes may add some.
type ueTable struct {
	v4     hashTable[uint64, session] // keys by key4
	v6     hashTable[key6, session]
	secret secret

	lengths4, lengths6 []uint8 // in use, falling
	count4             [33]int // sessions by length
	count6             [129]int

	keys   [driver.MaxBurst]key6
	hashes [driver.MaxBurst]uint64
	warmed uint64
}

// key6 is an IPv6 prefix, host bits zero, or in ueTable.keys an address.
type key6 struct {
	hi, lo uint64
	bits   uint8
}

func (t *ueTable) init() {
	t.secret = makeSecret()
	t.v4.init(t.hash4)
	t.v6.init(t.hash6)
}

// key4 is the prefix of length n that an IPv4 address is in, as a key.
func key4(a uint32, n uint8) uint64 {
	return uint64(a)>>(32-n)<<(32-n)<<8 | uint64(n)
}

func (t *ueTable) hash4(k uint64) uint64 { return t.secret.hash(k, 0) }

func (t *ueTable) hash6(k key6) uint64 {
	// The length only has to keep prefixes of one address apart.
	return t.secret.hash(k.hi^uint64(k.bits)<<56, k.lo)
}

// mask is the prefix of length n that the address k is in.
func (k key6) mask(n uint8) key6 {
	hi, lo := masks(n)
	return key6{k.hi & hi, k.lo & lo, n}
}

// split is a in two words, and whether it is an IPv4 address.
func split(a *packet.Addr) (hi, lo uint64, v4 bool) {
	hi, lo = binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	return hi, lo, hi == 0 && lo>>32 == 0xffff
}

// len is the number of prefixes.
func (t *ueTable) len() int { return t.v4.len + t.v6.len }

// put makes s, which is not nil, the session of k.
func (t *ueTable) put(k ueKey, s *session) {
	hi, lo, v4 := split(&k.addr)
	if v4 && k.bits >= 96 {
		n := t.v4.len
		t.v4.put(key4(uint32(lo), k.bits-96), s)
		count(&t.lengths4, t.count4[:], k.bits-96, t.v4.len-n)
		return
	}
	n := t.v6.len
	t.v6.put(key6{hi, lo, k.bits}, s)
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
	t.v6.remove(key6{hi, lo, k.bits})
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
func (t *ueTable) lookup(a *packet.Addr) *session {
	hi, lo, v4 := split(a)
	if v4 {
		for _, n := range t.lengths4 {
			k := key4(uint32(lo), n)
			if s := t.v4.find(t.hash4(k), k); s != nil {
				return s
			}
		}
		return nil
	}
	for _, n := range t.lengths6 {
		k := key6{hi: hi, lo: lo}.mask(n)
		if s := t.v6.find(t.hash6(k), k); s != nil {
			return s
		}
	}
	return nil
}

// lookupBurst sets out[i] to the session of addrs[i], and has the sessions and their
// first downlink PDRs in the caches.
func (t *ueTable) lookupBurst(addrs []packet.Addr, out []*session) {
	for len(addrs) > driver.MaxBurst {
		t.lookupBurst(addrs[:driver.MaxBurst], out[:driver.MaxBurst])
		addrs, out = addrs[driver.MaxBurst:], out[driver.MaxBurst:]
	}
	out = out[:len(addrs)]
	clear(out)
	n4 := 0
	for i := range addrs {
		k := &t.keys[i]
		var v4 bool
		k.hi, k.lo, v4 = split(&addrs[i])
		k.bits = 128
		if v4 {
			k.bits = 32
			n4++
		}
	}
	if n4 > 0 {
		for _, n := range t.lengths4 {
			t.round4(n, out)
		}
	}
	if n4 < len(addrs) {
		for _, n := range t.lengths6 {
			t.round6(n, out)
		}
	}
	t.warm(out)
}

// round4 looks up the IPv4 addresses of keys that out has no session for by their
// prefixes of length n.
func (t *ueTable) round4(n uint8, out []*session) {
	var first *session
	for i := range out {
		if k := &t.keys[i]; out[i] == nil && k.bits == 32 {
			t.hashes[i] = t.hash4(key4(uint32(k.lo), n))
			first = t.v4.first(t.hashes[i])
		}
	}
	if first != nil {
		t.warmed++
	}
	for i := range out {
		if k := &t.keys[i]; out[i] == nil && k.bits == 32 {
			out[i] = t.v4.find(t.hashes[i], key4(uint32(k.lo), n))
		}
	}
}

// round6 does the same for IPv6.
func (t *ueTable) round6(n uint8, out []*session) {
	var first *session
	for i := range out {
		if k := &t.keys[i]; out[i] == nil && k.bits == 128 {
			t.hashes[i] = t.hash6(k.mask(n))
			first = t.v6.first(t.hashes[i])
		}
	}
	if first != nil {
		t.warmed++
	}
	for i := range out {
		if k := &t.keys[i]; out[i] == nil && k.bits == 128 {
			out[i] = t.v6.find(t.hashes[i], k.mask(n))
		}
	}
}

// warm loads what a packet for each session needs first.
func (t *ueTable) warm(out []*session) {
	warm := uint64(0)
	for _, s := range out {
		if s != nil {
			warm ^= s.seid
		}
	}
	for _, s := range out {
		if s != nil {
			warm ^= uint64(s.rules.mtu)
		}
	}
	for _, s := range out {
		if s != nil && len(s.rules.downlink) > 0 {
			warm ^= s.rules.downlink[0].qfis
		}
	}
	t.warmed = warm
}
