package upf

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// pool is a range of UE addresses that the UPF gives out (TS 29.244 §5.21): IPv4
// addresses, or IPv6 prefixes of 64 bits; or, of UE link-specific addresses, pairs of
// neighbours of either family. It notes all that sessions hold of it, whoever chose it.
//
// Never given are an IPv4 range's first address, which names it, its last, which is
// its broadcast address, the one behind the first, which the data network's side of
// N6 has as a rule, and an IPv6 range's first /64 for the same reason, nor the pairs
// that the first and the last address belong to; a range of one or two has nothing to
// leave out.
type pool struct {
	dnn    string
	prefix netip.Prefix
	unit   int      // length of what is given: 32 or 64 bits, 31 or 127 of pairs
	size   int      // how many there are
	taken  []uint64 // a bit for each: given, held or never given
	next   int      // where the search goes on: what was given last comes last
}

// maxPool bounds what is given of one range: a bit is kept for each.
const maxPool = 1 << 22

func newPool(dnn string, prefix netip.Prefix) *pool {
	unit := 64
	if prefix.Addr().Is4() {
		unit = 32
	}
	return newPoolOf(dnn, prefix, unit)
}

// newPairs is a pool of pairs of addresses.
func newPairs(prefix netip.Prefix) *pool {
	return newPoolOf("", prefix, prefix.Addr().BitLen()-1)
}

func newPoolOf(dnn string, prefix netip.Prefix, unit int) *pool {
	p := &pool{dnn: dnn, prefix: prefix.Masked(), unit: unit}
	if prefix.Bits() > p.unit {
		return p // an IPv6 range without a /64
	}
	p.size = min(maxPool, 1<<min(p.unit-prefix.Bits(), 30))
	p.taken = make([]uint64, (p.size+63)/64)
	for i := p.size; i < 64*len(p.taken); i++ {
		p.set(i, true)
	}
	p.reserve()
	return p
}

// reserve takes what is never given.
func (p *pool) reserve() {
	if p.size <= 2 {
		return
	}
	p.set(0, true)
	if p.unit == 32 {
		p.set(1, true)
	}
	if p.is4() {
		p.set(p.size-1, true)
	}
}

func (p *pool) is4() bool { return p.prefix.Addr().Is4() }

func (p *pool) set(i int, taken bool) {
	if taken {
		p.taken[i/64] |= 1 << (i % 64)
	} else {
		p.taken[i/64] &^= 1 << (i % 64)
	}
}

// choose finds what no session holds, the one given longest ago; ok is false if
// there is none. It is taken once [pool.hold] is told of it.
func (p *pool) choose() (netip.Prefix, bool) {
	if p.size == 0 {
		return netip.Prefix{}, false
	}
	w, from := p.next/64, ^uint64(0)<<(p.next%64)
	for range len(p.taken) + 1 { // the first word a second time, for its part before next
		if free := ^p.taken[w] & from; free != 0 {
			i := 64*w + bits.TrailingZeros64(free)
			p.next = (i + 1) % p.size
			return p.at(i), true
		}
		from = ^uint64(0)
		if w++; w == len(p.taken) {
			w = 0
		}
	}
	return netip.Prefix{}, false
}

// at is the ith of the pool.
func (p *pool) at(i int) netip.Prefix {
	if p.is4() {
		a := p.prefix.Addr().As4()
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+uint32(i)<<(32-p.unit))
		return netip.PrefixFrom(netip.AddrFrom4(a), p.unit)
	}
	a := p.prefix.Addr().As16()
	half, shift := p.half(a[:])
	binary.BigEndian.PutUint64(half, binary.BigEndian.Uint64(half)+uint64(i)<<shift)
	return netip.PrefixFrom(netip.AddrFrom16(a), p.unit)
}

// half is the half of an IPv6 address in which what is given differs, and where its
// lowest bit stands there.
func (p *pool) half(a []byte) (half []byte, shift int) {
	if p.unit <= 64 {
		return a[:8], 64 - p.unit
	}
	return a[8:], 128 - p.unit
}

// hold notes that a session holds q, or does no more.
func (p *pool) hold(q netip.Prefix, held bool) {
	if p.size == 0 || !p.prefix.Overlaps(q) {
		return
	}
	i, end := uint64(0), uint64(p.size)
	if q.Bits() > p.prefix.Bits() {
		i = p.index(q.Addr())
		end = min(end, i+1<<max(0, p.unit-q.Bits()))
	}
	for i < end {
		if i%64 == 0 && i+64 <= end {
			p.taken[i/64] = 0
			if held {
				p.taken[i/64] = ^uint64(0)
			}
			i += 64
			continue
		}
		p.set(int(i), held)
		i++
	}
	p.reserve()
}

// index is the place of a in the pool.
func (p *pool) index(a netip.Addr) uint64 {
	if p.is4() {
		first, b := p.prefix.Addr().As4(), a.As4()
		return uint64(binary.BigEndian.Uint32(b[:])-binary.BigEndian.Uint32(first[:])) >> (32 - p.unit)
	}
	first, b := p.prefix.Addr().As16(), a.As16()
	from, shift := p.half(first[:])
	to, _ := p.half(b[:])
	return (binary.BigEndian.Uint64(to) - binary.BigEndian.Uint64(from)) >> shift
}

// free says whether q is one of the pool's, and nobody holds it.
func (p *pool) free(q netip.Prefix) bool {
	if q.Bits() != p.unit || !p.prefix.Overlaps(q) {
		return false
	}
	i := p.index(q.Addr())
	return i < uint64(p.size) && p.taken[i/64]>>(i%64)&1 == 0
}

// pools are the ranges of all data networks.
type pools []*pool

func newPools(dnns []DNN) pools {
	var ps pools
	for _, d := range dnns {
		ps = append(ps, newPool(d.Name, d.CIDR))
	}
	return ps
}

func (ps pools) hold(q netip.Prefix, held bool) {
	for _, p := range ps {
		p.hold(q, held)
	}
}

// free says whether q is one of a pool's, and nobody holds it.
func (ps pools) free(q netip.Prefix) bool {
	return slices.ContainsFunc(ps, func(p *pool) bool { return p.free(q) })
}

// of are the pools of a data network for one family; for "", those of all.
func (ps pools) of(dnn string, is4 bool) pools {
	var out pools
	for _, p := range ps {
		if p.is4() == is4 && (dnn == "" || p.dnn == dnn) {
			out = append(out, p)
		}
	}
	return out
}

// choose finds a free address or prefix in the first pool that has one.
func (ps pools) choose() (netip.Prefix, bool) {
	for _, p := range ps {
		if q, ok := p.choose(); ok {
			return q, true
		}
	}
	return netip.Prefix{}, false
}
