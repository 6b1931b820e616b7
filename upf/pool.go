package upf

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// pool is a range of UE addresses that the UPF gives out (TS 29.244 §5.21): IPv4
// addresses, or IPv6 prefixes of 64 bits. It notes all that sessions hold of it,
// whoever chose it.
//
// Never given are an IPv4 range's first address, which names it, its last, which is
// its broadcast address, the one behind the first, which the data network's side of
// N6 has as a rule, and an IPv6 range's first /64 for the same reason; a range of one
// or two has nothing to leave out.
type pool struct {
	dnn    string
	prefix netip.Prefix
	unit   int      // length of what is given: 32 or 64 bits
	size   int      // how many there are
	taken  []uint64 // a bit for each: given, held or never given
	next   int      // where the search goes on: what was given last comes last
}

// maxPool bounds what is given of one range: a bit is kept for each.
const maxPool = 1 << 22

func newPool(dnn string, prefix netip.Prefix) *pool {
	p := &pool{dnn: dnn, prefix: prefix.Masked(), unit: 64}
	if prefix.Addr().Is4() {
		p.unit = 32
	}
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
		p.set(p.size-1, true)
	}
}

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
	if p.unit == 32 {
		a := p.prefix.Addr().As4()
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+uint32(i))
		return netip.PrefixFrom(netip.AddrFrom4(a), 32)
	}
	a := p.prefix.Addr().As16()
	binary.BigEndian.PutUint64(a[:], binary.BigEndian.Uint64(a[:])+uint64(i))
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
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
	if p.unit == 32 {
		first, b := p.prefix.Addr().As4(), a.As4()
		return uint64(binary.BigEndian.Uint32(b[:]) - binary.BigEndian.Uint32(first[:]))
	}
	first, b := p.prefix.Addr().As16(), a.As16()
	return binary.BigEndian.Uint64(b[:]) - binary.BigEndian.Uint64(first[:])
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

// of are the pools of a data network for one family; for "", those of all.
func (ps pools) of(dnn string, is4 bool) pools {
	var out pools
	for _, p := range ps {
		if (p.unit == 32) == is4 && (dnn == "" || p.dnn == dnn) {
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
