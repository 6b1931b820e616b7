package proxy

import (
	"encoding/binary"
	"math/bits"

	"github.com/braid-upf/braid/packet"
)

// flowTable finds a subflow by its session and 4-tuple. It is keyed by a 64-bit hash of
// them, since their 40 bytes are in the structures already; of two 4-tuples with one
// hash, which only chance can bring about, the later one finds no place.
type flowTable struct {
	secret [2]uint64 // nobody outside can choose 4-tuples that meet
	byHash map[uint64]*Subflow

	// Packets come in trains, of few connections at a time: the subflow found last, by a
	// few bits of its ports.
	last [16]*Subflow
}

func newFlowTable(rand func() uint64) flowTable {
	return flowTable{secret: [2]uint64{rand(), rand()}, byHash: make(map[uint64]*Subflow)}
}

// flowKey names a TCP connection of a session as the UE's side sees it.
type flowKey struct {
	session         *Session
	ue, srv         *packet.Addr
	uePort, srvPort uint16
}

// key is the name of f.
func (f *Subflow) key() flowKey {
	return flowKey{session: f.session, ue: &f.ue, srv: &f.conn.srv, uePort: f.uePort, srvPort: f.conn.srvPort}
}

// uplinkKey and downlinkKey are the names of the connection that a packet belongs to.
func uplinkKey(s *Session, in *packet.Info) flowKey {
	return flowKey{session: s, ue: &in.Src, srv: &in.Dst, uePort: in.SrcPort, srvPort: in.DstPort}
}

func downlinkKey(s *Session, in *packet.Info) flowKey {
	return flowKey{session: s, ue: &in.Dst, srv: &in.Src, uePort: in.DstPort, srvPort: in.SrcPort}
}

// is says whether k is the name of f.
func (f *Subflow) is(k *flowKey) bool {
	if f.uePort == k.uePort && f.conn.srvPort == k.srvPort && f.session == k.session &&
		f.ue == *k.ue && f.conn.srv == *k.srv {
		return true
	}
	return f.conn.convert != nil && f.index == 0 && f.conn.isOnN6(k)
}

// cached is where the subflow with the ports of k is looked for first.
func (t *flowTable) cached(k *flowKey) **Subflow {
	return &t.last[(k.uePort^k.srvPort)%uint16(len(t.last))]
}

// find is the subflow named k; nil if there is none.
func (t *flowTable) find(k flowKey) *Subflow {
	last := t.cached(&k)
	if f := *last; f != nil && f.is(&k) {
		return f
	}
	f := t.byHash[t.hash(&k)]
	if f == nil || !f.is(&k) {
		return nil
	}
	*last = f
	return f
}

// room says whether a subflow named k can be put into t.
func (t *flowTable) room(k flowKey) bool {
	f := t.byHash[t.hash(&k)]
	return f == nil || f.is(&k)
}

// put has f found by its name, in place of one that had it; there is room.
func (t *flowTable) put(f *Subflow) {
	k := f.key()
	t.byHash[t.hash(&k)] = f
	*t.cached(&k) = f
}

// remove has f found no more.
func (t *flowTable) remove(f *Subflow) { t.removeKey(f, f.key()) }

// putN6 and removeN6 are put and remove for the name that a converted connection has on N6.
func (t *flowTable) putN6(c *Conn) {
	k := c.convert.key(c)
	t.byHash[t.hash(&k)] = c.subflows[0]
	c.convert.listed = true
}

func (t *flowTable) removeN6(c *Conn) {
	if v := c.convert; v != nil && v.listed {
		v.listed = false
		t.removeKey(c.subflows[0], v.key(c))
	}
}

func (t *flowTable) removeKey(f *Subflow, k flowKey) {
	if h := t.hash(&k); t.byHash[h] == f {
		delete(t.byHash, h)
	}
	if last := t.cached(&k); *last == f {
		*last = nil
	}
}

// hash mixes k with the secret by 64-bit multiplications of which both halves count.
func (t *flowTable) hash(k *flowKey) uint64 {
	h := t.secret[0] ^ (uint64(k.session.ID)<<32 | uint64(k.uePort)<<16 | uint64(k.srvPort))
	for _, a := range [2]*packet.Addr{k.ue, k.srv} {
		h = mix(h^binary.LittleEndian.Uint64(a[:8]), t.secret[1]^binary.LittleEndian.Uint64(a[8:]))
	}
	return mix(h, t.secret[1])
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
