package upf

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/braid-upf/braid/dataplane"
)

// registry holds the identifiers that belong to one session only: SEIDs, TEIDs
// and UE addresses.
//
// A SEID's low [dataplane.SlotBits] are the session's slot, and so are the high
// bits of the TEIDs chosen for it. Counters start at random: identifiers of an
// earlier life of this process, which peers may still use, name nothing.
type registry struct {
	nextSEID uint64
	nextTEID uint32 // the part below the slot
	teids    map[uint32]uint64
	prefixes map[netip.Prefix]uint64
	lengths  map[prefixLength]int // how many prefixes of each length
	pools    pools                // UE addresses to give out
	links    pools                // pairs of UE link-specific addresses to give out
	linked   int                  // how many of them sessions have
}

type prefixLength struct {
	is4  bool
	bits int
}

func lengthOf(p netip.Prefix) prefixLength { return prefixLength{p.Addr().Is4(), p.Bits()} }

// teidCounterBits is the width of a TEID below its slot.
const teidCounterBits = 32 - dataplane.SlotBits

func newRegistry(ps pools, linkSpecific []netip.Prefix) *registry {
	g := &registry{
		nextSEID: rand.Uint64() >> 1,
		nextTEID: rand.Uint32() & (1<<teidCounterBits - 1),
		teids:    make(map[uint32]uint64),
		prefixes: make(map[netip.Prefix]uint64),
		lengths:  make(map[prefixLength]int),
		pools:    ps,
	}
	for _, p := range linkSpecific {
		g.links = append(g.links, newPairs(p))
	}
	return g
}

// seid gives a new SEID; the slots take turns.
func (g *registry) seid() uint64 {
	g.nextSEID++
	return g.nextSEID
}

// teid gives a TEID of the slot that no session has and that taken does not hold:
// the one that was given longest ago. ok is false if there is none. It is not
// registered yet.
func (g *registry) teid(slot uint16, taken []uint32) (teid uint32, ok bool) {
	const mask = 1<<teidCounterBits - 1
	for range mask {
		g.nextTEID = (g.nextTEID + 1) & mask
		if g.nextTEID == 0 {
			continue
		}
		t := uint32(slot)<<teidCounterBits | g.nextTEID
		if _, used := g.teids[t]; !used && !slices.Contains(taken, t) {
			return t, true
		}
	}
	return 0, false
}

// identity is what a session occupies in the registry, each once.
type identity struct {
	teids    []uint32
	prefixes []netip.Prefix
}

// ueAddress gives a free address or /64 for session seid out of a data network's
// pools. It is not registered yet.
func (g *registry) ueAddress(seid uint64, dnn string, is4 bool) (netip.Prefix, bool) {
	ps := g.pools.of(dnn, is4)
	for {
		q, ok := ps.choose()
		if !ok {
			return q, false
		}
		if _, taken := g.prefixConflict(seid, q); !taken {
			return q, true
		}
		ps.hold(q, true) // two sessions had parts of it, and one of them is gone
	}
}

// hasPrefix says whether the session has the prefix.
func (g *registry) hasPrefix(seid uint64, p netip.Prefix) bool {
	owner, ok := g.prefixes[p]
	return ok && owner == seid
}

// has says whether the session has the TEID.
func (g *registry) has(seid uint64, teid uint32) bool {
	owner, ok := g.teids[teid]
	return ok && owner == seid
}

// teidConflict says which other session has one of the TEIDs.
func (g *registry) teidConflict(seid uint64, teid uint32) (other uint64, ok bool) {
	other, ok = g.teids[teid]
	return other, ok && other != seid
}

// prefixConflict says which other session has an address of p.
func (g *registry) prefixConflict(seid uint64, p netip.Prefix) (other uint64, ok bool) {
	longer := false
	for length := range g.lengths {
		if length.is4 != p.Addr().Is4() {
			continue
		}
		if length.bits > p.Bits() {
			longer = true
			continue
		}
		q, _ := p.Addr().Prefix(length.bits)
		if other, ok = g.prefixes[q]; ok && other != seid {
			return other, true
		}
	}
	if longer {
		for q, other := range g.prefixes {
			if other != seid && q.Overlaps(p) {
				return other, true
			}
		}
	}
	return 0, false
}

// replace lets session seid, which had old, have id.
func (g *registry) replace(seid uint64, old, id identity) {
	for _, t := range old.teids {
		delete(g.teids, t)
	}
	for _, p := range old.prefixes {
		delete(g.prefixes, p)
		g.pools.hold(p, false)
		key := lengthOf(p)
		if g.lengths[key]--; g.lengths[key] == 0 {
			delete(g.lengths, key)
		}
	}
	for _, t := range id.teids {
		g.teids[t] = seid
	}
	for _, p := range id.prefixes {
		g.lengths[lengthOf(p)]++
		g.prefixes[p] = seid
		g.pools.hold(p, true)
	}
}

// relink lets a session, which had the pairs old, have l.
func (g *registry) relink(old, l links) {
	for i := range l {
		if old[i] == l[i] {
			continue
		}
		if old[i].IsValid() {
			g.links.hold(old[i], false)
			g.linked--
		}
		if l[i].IsValid() {
			g.links.hold(l[i], true)
			g.linked++
		}
	}
}

// String describes what the registry holds.
func (g *registry) String() string {
	return fmt.Sprintf("%d TEIDs, %d UE prefixes, %d pairs of link-specific addresses", len(g.teids), len(g.prefixes), g.linked)
}
