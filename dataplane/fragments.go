package dataplane

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/packet"
)

// fragmentTable gives the fragments of a datagram behind the first the ports that
// only the first carries, so that SDF filters match all of them alike: shallow virtual
// reassembly. Nothing is held back; a fragment that is there before the first is not
// found.
//
// The table has fragmentSets sets of fragmentWays entries each; a key's set is a hash
// under a secret. A flood of fragments takes the places of others and of itself, but
// nobody without the secret can aim at a set, and the table never grows.
type fragmentTable struct {
	secret  uint64
	entries [fragmentSets][fragmentWays]fragmentEntry
}

const (
	fragmentSetBits = 8
	fragmentSets    = 1 << fragmentSetBits
	fragmentWays    = 4

	// fragmentLife is how long fragments behind the first may take: the least time
	// that a host waits for them is the same order (RFC 8200 §4.5: 60 s; Linux: 30 s).
	fragmentLife = proxy.Time(30 * time.Second)
)

// fragmentKey tells datagrams apart: RFC 791 §3.2 with the protocol, RFC 8200 §4.5
// without, as there Proto is not the same in every fragment.
type fragmentKey struct {
	src, dst packet.Addr
	id       uint32 // identification
	domain   uint32 // where addresses are unique, and who may use the entry
	proto    uint8  // 0 in IPv6
}

type fragmentEntry struct {
	key              fragmentKey
	srcPort, dstPort uint16
	expires          proxy.Time // 0 = free
}

func newFragmentTable() *fragmentTable { return &fragmentTable{secret: rand.Uint64()} }

// learn remembers the ports of a first fragment; anything else it passes over.
// domain is a session, or one number for all packets of N6.
func (t *fragmentTable) learn(now proxy.Time, in *packet.Info, domain uint32) {
	if !in.FirstFragment {
		return
	}
	k := makeFragmentKey(in, domain)
	set := t.set(&k)
	// Where it is already, or else in place of the one that expires first.
	at := &set[0]
	for i := range set {
		e := &set[i]
		if e.expires != 0 && e.key == k {
			at = e
			break
		}
		if e.expires < at.expires {
			at = e
		}
	}
	*at = fragmentEntry{key: k, srcPort: in.SrcPort, dstPort: in.DstPort, expires: now + fragmentLife}
}

// ports are those of the first fragment of the datagram that in is a fragment of; not
// ok if it was not seen within fragmentLife.
func (t *fragmentTable) ports(now proxy.Time, in *packet.Info, domain uint32) (src, dst uint16, ok bool) {
	k := makeFragmentKey(in, domain)
	set := t.set(&k)
	for i := range set {
		if e := &set[i]; e.expires > now && e.key == k {
			return e.srcPort, e.dstPort, true
		}
	}
	return 0, 0, false
}

func makeFragmentKey(in *packet.Info, domain uint32) fragmentKey {
	k := fragmentKey{src: in.Src, dst: in.Dst, id: in.ID, domain: domain}
	if in.Version == 4 {
		k.proto = in.Proto
	}
	return k
}

// set is where k is, if it is anywhere.
func (t *fragmentTable) set(k *fragmentKey) *[fragmentWays]fragmentEntry {
	h := mix(t.secret^binary.BigEndian.Uint64(k.src[8:]), binary.BigEndian.Uint64(k.dst[8:]))
	h = mix(h^binary.BigEndian.Uint64(k.src[:8]), binary.BigEndian.Uint64(k.dst[:8]))
	h = mix(h^(uint64(k.id)<<32|uint64(k.domain)), uint64(k.proto)+t.secret)
	// Multiplied once more: the low bits of a product are those of its factors.
	h = (h ^ h>>32) * 0x9e3779b97f4a7c15
	return &t.entries[h>>(64-fragmentSetBits)]
}
