// Package dsm stores the data sequence mappings of one direction of a connection:
// which stream positions travel under which subflow sequence numbers (FlexCP §3.2,
// the D-tree's contract). It knows no packets.
//
// A [Runs] is one ordered index of runs. A connection keeps one by stream position
// (DSN to subflow and SSN) and each subflow one by SSN (SSN to stream position);
// data that were moved to another subflow stay in the first subflow's index, which
// is FlexCP's Equiv-SSN. Positions and SSNs are both int64 here, expanded from the
// wire by the caller, so nothing wraps.
//
// The shape is a sorted slice with its head cut off lazily: appending, merging and
// releasing at the ends is O(1), lookup O(log n), insertion in the middle O(n).
// Left out: timestamps and retransmission counts, which the caller keeps per
// subflow.
package dsm

// Run is a maximal piece of a mapping: N consecutive keys from At on map to N
// consecutive values from To on, on one subflow.
//
//	key    At ........ At+N
//	        |           |
//	value  To ........ To+N      of subflow Sub
type Run struct {
	At, To int64
	N      int64
	Sub    uint8
}

// End is the key after the run's last.
func (r Run) End() int64 { return r.At + r.N }

// ToOf is the value of key x, which must lie in the run.
func (r Run) ToOf(x int64) int64 { return r.To + x - r.At }

func (r Run) continues(next Run) bool {
	return r.End() == next.At && r.To+r.N == next.To && r.Sub == next.Sub
}

// Runs is an ordered set of runs whose keys do not overlap. The zero value is
// empty and ready.
//
//	runs: | released | run run     run run |        keys rise, gaps are allowed
//	                 ^head                 ^len
type Runs struct {
	runs []Run
	head int
}

// Len is the number of runs.
func (s *Runs) Len() int { return len(s.runs) - s.head }

// Get is the i-th run, 0 <= i < Len(), in the order of keys.
func (s *Runs) Get(i int) Run { return s.runs[s.head+i] }

// Search is the index of the first run that ends after x; Len() if none does.
func (s *Runs) Search(x int64) int {
	lo, hi := s.head, len(s.runs)
	if hi > lo && s.runs[hi-1].At <= x { // the newest run is asked for most
		if x < s.runs[hi-1].End() {
			return hi - 1 - s.head
		}
		return hi - s.head
	}
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if s.runs[mid].End() > x {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo - s.head
}

// At is the run that key x lies in.
func (s *Runs) At(x int64) (r Run, ok bool) {
	if i := s.Search(x); i < s.Len() {
		r = s.Get(i)
		return r, r.At <= x
	}
	return Run{}, false
}

// Append adds r, which must begin at or after the end of every other run, and
// merges it with the last run if it continues it.
func (s *Runs) Append(r Run) {
	if n := len(s.runs); n > s.head && s.runs[n-1].continues(r) {
		s.runs[n-1].N += r.N
		return
	}
	s.reuse()
	s.runs = append(s.runs, r)
}

// reuse moves the runs over the released ones if there is no room behind and more
// than half are released: growing goes by live runs, and moving stays O(1) per run.
func (s *Runs) reuse() {
	if len(s.runs) == cap(s.runs) && s.head > len(s.runs)/2 {
		s.runs = s.runs[:copy(s.runs, s.runs[s.head:])]
		s.head = 0
	}
}

// Insert adds the parts of r whose keys no run has yet; keys already there keep
// their mapping.
func (s *Runs) Insert(r Run) {
	for r.N > 0 {
		i := s.Search(r.At)
		if i == s.Len() {
			s.Append(r)
			return
		}
		if at := s.Get(i).At; at > r.At {
			s.insertAt(i, r.first(min(r.N, at-r.At)))
		}
		r = r.after(s.Get(s.Search(r.At)).End())
	}
}

// Replace maps r's keys as r says, whatever they mapped to before.
func (s *Runs) Replace(r Run) {
	s.Remove(r.At, r.End())
	s.Insert(r)
}

// Remove forgets the keys in [from, to).
func (s *Runs) Remove(from, to int64) {
	for i := s.Search(from); i < s.Len() && s.Get(i).At < to; {
		r := s.Get(i)
		left, right := r.first(max(0, from-r.At)), r.after(to)
		switch {
		case left.N > 0 && right.N > 0:
			s.runs[s.head+i] = left
			s.insertAt(i+1, right)
			return
		case left.N > 0:
			s.runs[s.head+i] = left
			i++
		case right.N > 0:
			s.runs[s.head+i] = right
			return
		default:
			s.runs = append(s.runs[:s.head+i], s.runs[s.head+i+1:]...)
		}
	}
}

// ReleaseTo forgets every key below x.
func (s *Runs) ReleaseTo(x int64) {
	for s.head < len(s.runs) && s.runs[s.head].End() <= x {
		s.head++
	}
	if s.head == len(s.runs) {
		s.runs, s.head = s.runs[:0], 0
		return
	}
	if r := &s.runs[s.head]; r.At < x {
		*r = r.after(x)
	}
}

// first is the first n keys of r.
func (r Run) first(n int64) Run {
	r.N = min(r.N, n)
	return r
}

// after is what of r lies at or after key x.
func (r Run) after(x int64) Run {
	if d := x - r.At; d > 0 {
		d = min(d, r.N)
		r.At, r.To, r.N = r.At+d, r.To+d, r.N-d
	}
	return r
}

// insertAt puts r before the run of index i, merging with its neighbours.
func (s *Runs) insertAt(i int, r Run) {
	s.reuse()
	i += s.head
	before := i > s.head && s.runs[i-1].continues(r)
	behind := i < len(s.runs) && r.continues(s.runs[i])
	switch {
	case before && behind:
		s.runs[i-1].N += r.N + s.runs[i].N
		s.runs = append(s.runs[:i], s.runs[i+1:]...)
	case before:
		s.runs[i-1].N += r.N
	case behind:
		s.runs[i].At, s.runs[i].To, s.runs[i].N = r.At, r.To, s.runs[i].N+r.N
	default:
		s.runs = append(s.runs, Run{})
		copy(s.runs[i+1:], s.runs[i:])
		s.runs[i] = r
	}
}
