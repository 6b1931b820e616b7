package dsm

import "errors"

// sliceStore is one sorted slice with its head cut off lazily, the flat store that the
// one that ships is compared with: inserting in the middle moves what is behind.
//
//	runs: | released | run     run run     run |        keys rise, gaps are allowed
//	                 ^head                     ^len
type sliceStore struct {
	runs []Run
	head int
}

func (s *sliceStore) size() int { return cap(s.runs) }

// Next is the first run that ends after x.
func (s *sliceStore) Next(x int64) (r Run, ok bool) {
	if i := s.Search(x); i < s.Len() {
		return s.Get(i), true
	}
	return Run{}, false
}

func (s *sliceStore) check() error {
	if s.head > len(s.runs) {
		return errors.New("more are released than there were")
	}
	return nil
}

// Len is the number of runs.
func (s *sliceStore) Len() int { return len(s.runs) - s.head }

// Get is the i-th run, 0 <= i < Len(), in the order of keys.
func (s *sliceStore) Get(i int) Run { return s.runs[s.head+i] }

// Search is the index of the first run that ends after x; Len() if none does.
func (s *sliceStore) Search(x int64) int {
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
func (s *sliceStore) At(x int64) (r Run, ok bool) {
	if i := s.Search(x); i < s.Len() {
		r = s.Get(i)
		return r, r.At <= x
	}
	return Run{}, false
}

// Append adds r, which must begin at or after the end of every other run, and
// merges it with the last run if it continues it.
func (s *sliceStore) Append(r Run) {
	if n := len(s.runs); n > s.head && s.runs[n-1].continues(r) {
		s.runs[n-1].N += r.N
		return
	}
	s.reuse()
	s.runs = append(s.runs, r)
}

// reuse moves the runs over the released ones if there is no room behind and more
// than half are released: growing goes by live runs, and moving stays O(1) per run.
func (s *sliceStore) reuse() {
	if len(s.runs) == cap(s.runs) && s.head > len(s.runs)/2 {
		s.runs = s.runs[:copy(s.runs, s.runs[s.head:])]
		s.head = 0
	}
}

// Insert adds the parts of r whose keys no run has yet; keys already there keep
// their mapping.
func (s *sliceStore) Insert(r Run) {
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
func (s *sliceStore) Replace(r Run) {
	s.Remove(r.At, r.End())
	s.Insert(r)
}

// Remove forgets the keys in [from, to).
func (s *sliceStore) Remove(from, to int64) {
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
func (s *sliceStore) ReleaseTo(x int64) {
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

// insertAt puts r before the run of index i, merging with its neighbours.
func (s *sliceStore) insertAt(i int, r Run) {
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
