package dataplane

import "unsafe"

// bundle is a rule set and what an ordinary session's consists of, in one piece of memory:
// with many sessions a packet finds nothing of its session in the caches, and waits once
// for lines of one page instead of again and again for lines here and there. What does
// not fit has a place of its own.
//
// A packet needs seven lines of it: the head of the rule set, a tunnel, a PDR, a FAR, a
// QER and two meters. Each stands on a line of 64 octets of its own, if the memory is
// where Go's allocator puts such objects: 8 octets behind a multiple of 64.
type bundle struct {
	ruleSet
	_       [lineLen - 8 - unsafe.Sizeof(ruleSet{})%lineLen]byte
	tunnels [1]tunnel
	_       [lineLen - unsafe.Sizeof(tunnel{})]byte
	pdrs    [2]pdr
	fars    [2]far
	meters  [2]meter
	qers    [2]qer
	ues     [1]ueKey
}

// lineLen is the length of a line of the caches.
const lineLen = 64

// room is what is free of a bundle.
type room struct {
	tunnels []tunnel
	pdrs    []pdr
	fars    []far
	qers    []qer
	meters  []meter
	ues     []ueKey
}

// cut takes n values from what is free, or from elsewhere if they do not fit.
func cut[T any](free *[]T, n int) []T {
	if n > len(*free) {
		return make([]T, n)
	}
	taken := (*free)[:n:n]
	*free = (*free)[n:]
	return taken
}

// bundle is what r is the first part of.
func (r *ruleSet) bundle() *bundle { return (*bundle)(unsafe.Pointer(r)) }

// warm loads what a packet needs that the first PDR detects, or the second. No load waits
// for another.
func (k *bundle) warm(pdr int) uint64 {
	return uint64(k.lastPacket) ^ k.pdrs[pdr].qfis ^ uint64(k.fars[pdr].id) ^ uint64(k.qers[pdr].id) ^
		k.meters[0].total ^ k.meters[1].total
}
