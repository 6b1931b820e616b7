package dsm

// Range is the half-open interval [From, To).
type Range struct{ From, To int64 }

// MaxRanges bounds a [Ranges]: what a peer reports by SACK must not grow without
// end. On overflow the highest range is forgotten, which is safe since SACK is
// advisory (RFC 2018 §8).
const MaxRanges = 64

// Ranges is a set of int64 as disjoint, non-touching ranges in rising order: a SACK
// scoreboard. The zero value is empty and ready.
type Ranges struct{ r []Range }

// Len is the number of ranges.
func (s *Ranges) Len() int { return len(s.r) }

// Get is the i-th range, 0 <= i < Len().
func (s *Ranges) Get(i int) Range { return s.r[i] }

// Clear empties the set.
func (s *Ranges) Clear() { s.r = s.r[:0] }

// Search is the index of the first range that ends after x; Len() if none does.
func (s *Ranges) Search(x int64) int {
	i := 0
	for i < len(s.r) && s.r[i].To <= x {
		i++
	}
	return i
}

// Containing is the range that x lies in.
func (s *Ranges) Containing(x int64) (r Range, ok bool) {
	if i := s.Search(x); i < len(s.r) && s.r[i].From <= x {
		return s.r[i], true
	}
	return Range{}, false
}

// Add adds [from, to) and reports whether anything of it is new in the set.
func (s *Ranges) Add(from, to int64) bool {
	if from >= to {
		return false
	}
	i := s.Search(from - 1) // the first that touches or follows
	if i < len(s.r) && s.r[i].From <= from && to <= s.r[i].To {
		return false
	}
	j := i
	for j < len(s.r) && s.r[j].From <= to {
		from, to = min(from, s.r[j].From), max(to, s.r[j].To)
		j++
	}
	if i == j {
		if i == MaxRanges {
			return false // it would be the one forgotten
		}
		s.r = append(s.r, Range{})
		copy(s.r[i+1:], s.r[i:])
		s.r[i] = Range{from, to}
		if len(s.r) > MaxRanges {
			s.r = s.r[:MaxRanges]
		}
		return true
	}
	s.r[i] = Range{from, to}
	s.r = append(s.r[:i+1], s.r[j:]...)
	return true
}

// TrimBelow removes everything below x.
func (s *Ranges) TrimBelow(x int64) {
	i := s.Search(x)
	if i > 0 {
		s.r = s.r[:copy(s.r, s.r[i:])]
	}
	if len(s.r) > 0 && s.r[0].From < x {
		s.r[0].From = x
	}
}
