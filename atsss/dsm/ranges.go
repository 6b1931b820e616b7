package dsm

// Range is the half-open interval [From, To).
type Range struct{ From, To int64 }

// MaxRanges bounds a [Ranges]: what a peer reports by SACK must not grow without
// end. On overflow the highest range is forgotten, which is safe since SACK is
// advisory (RFC 2018 §8).
const MaxRanges = 64

// Ranges is a set of int64 as disjoint, non-touching ranges in rising order: a SACK
// scoreboard. The zero value is empty and ready; one that ran empty holds no memory.
type Ranges struct{ set *set }

// set is the memory of a Ranges.
type set struct{ r []Range }

// setClasses are the sizes of a set, in ranges. With its header a set is one, four and
// 17 cache lines.
var setClasses = [...]int{2, 14, MaxRanges}

// newSet allocates a set and its block as one object.
func newSet(class int) *set {
	switch class {
	case 0:
		b := new(struct {
			set
			room [2]Range
		})
		b.r = b.room[:0]
		return &b.set
	case 1:
		b := new(struct {
			set
			room [14]Range
		})
		b.r = b.room[:0]
		return &b.set
	default:
		b := new(struct {
			set
			room [MaxRanges]Range
		})
		b.r = b.room[:0]
		return &b.set
	}
}

// class is the place of the set's size in setClasses.
func (b *set) class() int {
	switch cap(b.r) {
	case setClasses[0]:
		return 0
	case setClasses[1]:
		return 1
	}
	return 2
}

// Len is the number of ranges.
func (s *Ranges) Len() int {
	if s.set == nil {
		return 0
	}
	return len(s.set.r)
}

// Get is the i-th range, 0 <= i < Len().
func (s *Ranges) Get(i int) Range { return s.set.r[i] }

// Clear empties the set and keeps its memory for the next Add.
func (s *Ranges) Clear() {
	if s.set != nil {
		s.set.r = s.set.r[:0]
	}
}

// Free empties the set.
func (s *Ranges) Free(m *Pool) {
	if s.set != nil {
		m.putSet(s.set)
		s.set = nil
	}
}

// Search is the index of the first range that ends after x; Len() if none does.
func (s *Ranges) Search(x int64) int {
	i := 0
	for n := s.Len(); i < n && s.set.r[i].To <= x; {
		i++
	}
	return i
}

// Containing is the range that x lies in.
func (s *Ranges) Containing(x int64) (r Range, ok bool) {
	if i := s.Search(x); i < s.Len() && s.set.r[i].From <= x {
		return s.set.r[i], true
	}
	return Range{}, false
}

// Add adds [from, to) and reports whether anything of it is new in the set.
func (s *Ranges) Add(m *Pool, from, to int64) bool {
	if from >= to {
		return false
	}
	i, n := s.Search(from-1), s.Len() // the first that touches or follows
	if i < n && s.set.r[i].From <= from && to <= s.set.r[i].To {
		return false
	}
	j := i
	for j < n && s.set.r[j].From <= to {
		from, to = min(from, s.set.r[j].From), max(to, s.set.r[j].To)
		j++
	}
	if i == j {
		return s.insert(m, i, Range{from, to})
	}
	b := s.set
	b.r[i] = Range{from, to}
	b.r = append(b.r[:i+1], b.r[j:]...)
	return true
}

// insert makes r the i-th range, and reports whether it is not itself the one that is
// forgotten.
func (s *Ranges) insert(m *Pool, i int, r Range) bool {
	if i == MaxRanges {
		return false
	}
	b := s.room(m)
	n := min(len(b.r), MaxRanges-1)
	b.r = b.r[:n+1]
	copy(b.r[i+1:], b.r[i:n])
	b.r[i] = r
	return true
}

// room is the set's memory with room for one more range, if there may be more.
func (s *Ranges) room(m *Pool) *set {
	switch n := s.Len(); {
	case s.set == nil:
		s.set = m.set(0)
	case n == cap(s.set.r) && n < MaxRanges:
		b := m.set(s.set.class() + 1)
		b.r = append(b.r, s.set.r...)
		m.putSet(s.set)
		s.set = b
	}
	return s.set
}

// TrimBelow removes everything below x.
func (s *Ranges) TrimBelow(m *Pool, x int64) {
	if s.set != nil {
		s.trimBelow(m, x)
	}
}

// trimBelow is TrimBelow where there is memory.
func (s *Ranges) trimBelow(m *Pool, x int64) {
	i := s.Search(x)
	switch {
	case i == s.Len():
		s.Free(m)
		return
	case i > 0:
		s.set.r = s.set.r[:copy(s.set.r, s.set.r[i:])]
	}
	if r := &s.set.r[0]; r.From < x {
		r.From = x
	}
}
