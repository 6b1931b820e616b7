package dataplane

import (
	"encoding/binary"
	"slices"

	"github.com/braid-upf/braid/packet"
)

// ueTable finds the session of a UE address: a hash table of prefixes that is
// asked once for each prefix length in use, the longest first. IPv4 addresses and
// most IPv6 prefixes have one length each.
type ueTable struct {
	sessions map[ueKey]*session
	lengths  []uint8 // in use, falling
	count    [129]int
}

func (t *ueTable) put(k ueKey, s *session) {
	if _, ok := t.sessions[k]; !ok {
		t.count[k.bits]++
		if t.count[k.bits] == 1 {
			t.lengths = append(t.lengths, k.bits)
			slices.SortFunc(t.lengths, func(a, b uint8) int { return int(b) - int(a) })
		}
	}
	t.sessions[k] = s
}

func (t *ueTable) remove(k ueKey) {
	if _, ok := t.sessions[k]; !ok {
		return
	}
	delete(t.sessions, k)
	t.count[k.bits]--
	if t.count[k.bits] == 0 {
		t.lengths = slices.DeleteFunc(t.lengths, func(n uint8) bool { return n == k.bits })
	}
}

func (t *ueTable) lookup(a *packet.Addr) *session {
	for _, n := range t.lengths {
		if s := t.sessions[keyOf(a, n)]; s != nil {
			return s
		}
	}
	return nil
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
