package dataplane

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"

	"github.com/braid-upf/braid/packet"
)

// portTable leads from a port to the units that it satisfies. The ranges of the units
// cut the ports into pieces; vectors holds one for each piece, and the piece of a port
// is the number of cuts at or below it:
//
//	ports    0 ... 79 | 80 | 81 ... 442 | 443 | 444 ... 65535
//	cuts              80   81           443   444
//	piece        0       1       2         3         4
//
// Few cuts are compared all at once, three to a word (see lanes). Many are a set of
// bits in pages of 256 ports, with the number of cuts below each page and each of its
// words beside it.
type portTable struct {
	vectors []uint64
	none    uint64              // units without a range: what a packet without ports satisfies
	few     [fewCuts / 3]uint64 // in lanes, unused ones above all ports
	top     []portTop           // by the port's high byte; nil: few has the cuts
	pages   []portPage
}

type portTop struct {
	below uint16 // cuts
	page  uint16 // 0 is the page without a cut
}

type portPage struct {
	cuts  [4]uint64
	below [4]uint8 // in the words before
}

// fewCuts is the number of cuts up to which they are compared all at once.
const fewCuts = 9

// lanes has the lowest bit of each of three lanes of 21 bits in a word. The highest
// bit of a lane, laneTop, keeps subtractions apart.
const (
	laneBits = 21
	laneTop  = laneBits - 1
	lanes    = 1 | 1<<laneBits | 1<<(2*laneBits)
)

// makePortTable is nil if no unit has ranges.
func makePortTable(units []unit, ranges func(*unit) []PortRange) *portTable {
	t := &portTable{}
	var cuts []int
	for i := range units {
		rs := ranges(&units[i])
		if len(rs) == 0 {
			t.none |= 1 << i
		}
		for _, r := range rs {
			if r.First <= r.Last {
				cuts = append(cuts, int(r.First), int(r.Last)+1)
			}
		}
	}
	if bits.OnesCount64(t.none) == len(units) {
		return nil
	}
	slices.Sort(cuts)
	cuts = slices.DeleteFunc(slices.Compact(cuts), func(c int) bool { return c == 0 || c > 65535 })
	t.vectors = slices.Repeat([]uint64{t.none}, len(cuts)+1)
	for i := range units {
		t.fill(i, ranges(&units[i]), cuts)
	}
	if len(cuts) > fewCuts {
		t.setPages(cuts)
		return t
	}
	for i := range fewCuts {
		c := uint64(1 << 16)
		if i < len(cuts) {
			c = uint64(cuts[i])
		}
		t.few[i/3] |= c << (i % 3 * laneBits)
	}
	return t
}

// fill enters unit i into the vectors of the pieces that rs cover.
func (t *portTable) fill(i int, rs []PortRange, cuts []int) {
	// Sorted, no piece is visited twice: ranges may overlap.
	rs = slices.SortedFunc(slices.Values(rs), func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	done := 0 // pieces
	for _, r := range rs {
		piece, cut := slices.BinarySearch(cuts, int(r.First))
		if cut {
			piece++
		}
		for piece = max(piece, done); piece <= len(cuts) && (piece == 0 || cuts[piece-1] <= int(r.Last)); piece++ {
			t.vectors[piece] |= 1 << i
		}
		done = max(done, piece)
	}
}

func (t *portTable) setPages(cuts []int) {
	t.top = make([]portTop, 256)
	t.pages = make([]portPage, 1)
	for i, c := range cuts {
		top := &t.top[c>>8]
		if top.page == 0 {
			top.page = uint16(len(t.pages))
			t.pages = append(t.pages, portPage{})
		}
		p := &t.pages[top.page]
		p.cuts[c>>6&3] |= 1 << (c & 63)
		for w := c>>6&3 + 1; w < 4; w++ {
			p.below[w]++
		}
		for h := c>>8 + 1; h < 256; h++ {
			t.top[h].below = uint16(i + 1)
		}
	}
}

func (t *portTable) vector(port uint16, fragment bool) uint64 {
	if fragment {
		return t.none
	}
	if t.top == nil {
		// laneTop stays set where the port is not below the cut.
		x := (uint64(port) | 1<<laneTop) * lanes
		n := (x-t.few[0])>>laneTop&lanes + (x-t.few[1])>>laneTop&lanes + (x-t.few[2])>>laneTop&lanes
		return t.vectors[n*lanes>>(2*laneBits)&(1<<laneTop-1)]
	}
	top := t.top[port>>8]
	p := &t.pages[top.page]
	w := port >> 6 & 3
	upTo := uint64(2)<<(port&63) - 1
	return t.vectors[int(top.below)+int(p.below[w])+bits.OnesCount64(p.cuts[w]&upTo)]
}

// addrTable leads from an address to the units that it satisfies, by the longest of
// their prefixes that contains it: any other that does contains that prefix too.
//
// Few prefixes are tried one after another. Many are in a hash table, asked once for
// each length in use; filters use few lengths.
type addrTable struct {
	vectors []uint64 // 0: of addresses in no prefix
	few     []prefix // falling length; the vector of few[i] is i+1
	masks   []mask   // of the lengths in use, falling
	slots   []addrSlot
}

type mask struct{ hi, lo uint64 }

// addrSlot is free if vector is 0.
type addrSlot struct {
	hi, lo uint64
	length uint32 // index in masks
	vector uint32
}

// fewPrefixes is the number of prefixes up to which they are tried one by one.
const fewPrefixes = 4

// makeAddrTable is nil if allowed is empty, which allows any address, for all units.
func makeAddrTable(units []unit, allowed func(*unit) []prefix) *addrTable {
	t := &addrTable{vectors: make([]uint64, 1)}
	own := map[prefix]uint64{}
	for i := range units {
		a := allowed(&units[i])
		if len(a) == 0 {
			t.vectors[0] |= 1 << i
		}
		for _, p := range a {
			own[p] |= 1 << i
		}
	}
	if len(own) == 0 {
		return nil
	}
	ps := slices.SortedFunc(maps.Keys(own), func(a, b prefix) int {
		return cmp.Or(cmp.Compare(b.maskHi, a.maskHi), cmp.Compare(b.maskLo, a.maskLo),
			cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
	})
	t.vectors = append(t.vectors, make([]uint64, len(ps))...)
	if len(ps) > fewPrefixes {
		t.setSlots(ps, own)
		return t
	}
	t.few = ps
	for i := range ps {
		t.vectors[i+1] = t.vectors[0]
		for j := range ps {
			if ps[j].holds(&ps[i]) {
				t.vectors[i+1] |= own[ps[j]]
			}
		}
	}
	return t
}

// setSlots makes the hash table of ps, whose units are own.
func (t *addrTable) setSlots(ps []prefix, own map[prefix]uint64) {
	lengths := make([]uint32, len(ps))
	for i, p := range ps {
		m := mask{p.maskHi, p.maskLo}
		if n := len(t.masks); n == 0 || t.masks[n-1] != m {
			t.masks = append(t.masks, m)
		}
		lengths[i] = uint32(len(t.masks) - 1)
	}
	t.slots = make([]addrSlot, 2<<bits.Len(uint(len(ps))))
	// Shortest first: what the table says of a prefix is then the vector of the
	// longest that holds it.
	for i := len(ps) - 1; i >= 0; i-- {
		p := &ps[i]
		t.vectors[i+1] = own[*p] | t.longest(p.hi, p.lo)
		at := t.first(p.hi, p.lo, lengths[i])
		for t.slots[at].vector != 0 {
			at = (at + 1) & (len(t.slots) - 1)
		}
		t.slots[at] = addrSlot{p.hi, p.lo, lengths[i], uint32(i + 1)}
	}
}

// holds says whether every address of q is in p.
func (p *prefix) holds(q *prefix) bool {
	return p.maskHi&q.maskHi == p.maskHi && p.maskLo&q.maskLo == p.maskLo && q.hi&p.maskHi == p.hi && q.lo&p.maskLo == p.lo
}

// first is the slot where the search for a prefix begins.
func (t *addrTable) first(hi, lo uint64, length uint32) int {
	return int(mix(hi+uint64(length), lo)) & (len(t.slots) - 1)
}

func (t *addrTable) vector(a *packet.Addr) uint64 {
	hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	for i := range t.few {
		if p := &t.few[i]; hi&p.maskHi == p.hi && lo&p.maskLo == p.lo {
			return t.vectors[i+1]
		}
	}
	return t.longest(hi, lo)
}

// longest is vector by the hash table.
func (t *addrTable) longest(hi, lo uint64) uint64 {
	for i := range t.masks {
		h, l := hi&t.masks[i].hi, lo&t.masks[i].lo
		for at := t.first(h, l, uint32(i)); ; at = (at + 1) & (len(t.slots) - 1) {
			s := &t.slots[at]
			if s.vector == 0 {
				break
			}
			if s.hi == h && s.lo == l && s.length == uint32(i) {
				return t.vectors[s.vector]
			}
		}
	}
	return t.vectors[0]
}
