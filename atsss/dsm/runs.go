package dsm

// Runs is an ordered set of runs whose keys do not overlap. Runs that continue one
// another are one. The zero value is empty and ready; an empty Runs holds no memory.
//
//	                   last
//	                    |
//	leaf  leaf  leaf  leaf        each a sorted piece; keys rise from leaf to leaf
//	  |     |     |     |
//	 at    at    at    at         the directory, if there is more than one leaf
type Runs struct {
	last *leaf      // has the highest keys; nil = there is no run
	dir  *directory // of all leaves; nil = last is the only one
}

// Cursor is a place in a [Runs], valid until the next change of it.
type Cursor struct {
	dir  *directory
	leaf *leaf
	k    int // number of leaf in dir
	i    int // index in leaf.runs
}

// OK says whether there is a run at the cursor; false behind the last.
func (c *Cursor) OK() bool { return c.leaf != nil && c.i < len(c.leaf.runs) }

// Run is the run at the cursor, if OK.
func (c *Cursor) Run() Run { return c.leaf.runs[c.i] }

// Next moves the cursor to the next run, if OK.
func (c *Cursor) Next() {
	if c.i++; c.i == len(c.leaf.runs) && c.dir != nil && c.k+1 < c.dir.len() {
		c.k++
		c.leaf = c.dir.entry(c.k).leaf
		c.i = c.leaf.head
	}
}

// Prev moves the cursor to the run before it; false if there is none.
func (c *Cursor) Prev() bool {
	switch {
	case c.leaf == nil:
		return false
	case c.i > c.leaf.head:
		c.i--
		return true
	case c.k > 0:
		c.k--
		c.leaf = c.dir.entry(c.k).leaf
		c.i = len(c.leaf.runs) - 1
		return true
	}
	return false
}

// before is the run before the cursor; nil if there is none.
func (c *Cursor) before() *Run {
	p := *c
	if !p.Prev() {
		return nil
	}
	return &p.leaf.runs[p.i]
}

// Empty says whether there is no run.
func (s *Runs) Empty() bool { return s.last == nil }

// Len is the number of runs. It takes a step per leaf.
func (s *Runs) Len() int {
	if s.dir == nil {
		if s.last == nil {
			return 0
		}
		return len(s.last.live())
	}
	n := 0
	for k := range s.dir.len() {
		n += len(s.dir.entry(k).leaf.live())
	}
	return n
}

// First is the run with the lowest keys.
func (s *Runs) First() (r Run, ok bool) {
	l := s.last
	if l == nil {
		return Run{}, false
	}
	if s.dir != nil {
		l = s.dir.entry(0).leaf
	}
	return l.runs[l.head], true
}

// At is the run that key x lies in.
func (s *Runs) At(x int64) (r Run, ok bool) {
	l := s.last
	if l == nil {
		return Run{}, false
	}
	i := 0
	if s.dir != nil && x < l.firstKey() {
		l = s.dir.entry(s.dir.search(x)).leaf
		i = l.bisect(x)
	} else {
		i = l.search(x)
	}
	if i < len(l.runs) {
		r = l.runs[i]
		return r, r.At <= x
	}
	return Run{}, false
}

// Search is the place of the first run that ends after x.
func (s *Runs) Search(x int64) Cursor {
	c := Cursor{dir: s.dir, leaf: s.last}
	if s.last == nil {
		return c
	}
	if s.dir == nil || x >= s.last.firstKey() {
		if s.dir != nil {
			c.k = s.dir.len() - 1
		}
		c.i = c.leaf.search(x)
		return c
	}
	c.k = s.dir.search(x)
	c.leaf = s.dir.entry(c.k).leaf
	if c.i = c.leaf.bisect(x); c.i == len(c.leaf.runs) {
		c.i--
		c.Next()
	}
	return c
}

// End is the place behind the last run.
func (s *Runs) End() Cursor {
	c := Cursor{dir: s.dir, leaf: s.last}
	if s.last != nil {
		c.i = len(s.last.runs)
		if s.dir != nil {
			c.k = s.dir.len() - 1
		}
	}
	return c
}

// Append adds r, which must not be empty and must begin at or after the end of every
// other run, and merges it with the last run if it continues it.
func (s *Runs) Append(m *Pool, r Run) {
	l := s.last
	if l == nil {
		l = m.leaf(0)
		l.runs = append(l.runs, r)
		s.last = l
		return
	}
	n := len(l.runs)
	if last := &l.runs[n-1]; last.continues(r) {
		last.N += r.N
		return
	}
	if n == cap(l.runs) {
		s.extend(m, r)
		return
	}
	l.runs = l.runs[:n+1]
	l.runs[n] = r
}

// extend puts r behind the last leaf's runs, where there is no room.
func (s *Runs) extend(m *Pool, r Run) {
	l := s.last
	switch {
	case l.head > cap(l.runs)/8: // so that moving costs little per run
		l.settle()
	case cap(l.runs) < maxLeaf:
		l = s.grow(m)
	default:
		l = m.leaf(maxClass)
		l.runs = append(l.runs, r)
		s.addLeaf(m, s.leaves(), l)
		return
	}
	l.runs = append(l.runs, r)
}

// grow moves the runs of the only leaf to one of the next size.
func (s *Runs) grow(m *Pool) *leaf {
	class := s.last.class()
	l := m.leaf(class + 1)
	l.runs = append(l.runs, s.last.live()...)
	m.putLeaf(s.last, class)
	s.last = l
	return l
}

// leaves is the number of leaves of a Runs that is not empty.
func (s *Runs) leaves() int {
	if s.dir == nil {
		return 1
	}
	return s.dir.len()
}

// addLeaf makes l, which is not empty, the k-th leaf.
func (s *Runs) addLeaf(m *Pool, k int, l *leaf) {
	if s.dir == nil {
		s.dir = m.directory()
		s.dir.insert(0, s.last)
	}
	if k == s.dir.len() {
		s.last = l
	}
	s.dir.insert(k, l)
}

// dropLeaf gives the k-th leaf back.
func (s *Runs) dropLeaf(m *Pool, k int) {
	if s.dir == nil {
		m.putLeaf(s.last, s.last.class())
		s.last = nil
		return
	}
	m.putLeaf(s.dir.entry(k).leaf, maxClass)
	s.dir.remove(k)
	s.last = s.dir.entry(s.dir.len() - 1).leaf
	if s.dir.len() == 1 {
		m.putDirectory(s.dir)
		s.dir = nil
	}
}

// Insert adds the parts of r whose keys no run has yet; keys already there keep
// their mapping.
func (s *Runs) Insert(m *Pool, r Run) {
	for r.N > 0 {
		c := s.Search(r.At)
		if !c.OK() {
			s.Append(m, r)
			return
		}
		next := c.Run()
		if next.At > r.At {
			s.put(m, &c, r.first(next.At-r.At))
		}
		r = r.after(next.End())
	}
}

// put puts r, whose keys are free, before the run at c, merging it with its neighbours.
func (s *Runs) put(m *Pool, c *Cursor, r Run) {
	prev, next := c.before(), &c.leaf.runs[c.i]
	before, behind := prev != nil && prev.continues(r), r.continues(*next)
	switch {
	case before && behind:
		prev.N += r.N + next.N
		s.take(m, c)
	case before:
		prev.N += r.N
	case behind:
		next.At, next.To, next.N = r.At, r.To, next.N+r.N
		s.rekey(c)
	default:
		s.insert(m, c, r)
	}
}

// insert puts r before the run at c.
func (s *Runs) insert(m *Pool, c *Cursor, r Run) {
	if c.leaf.full() {
		if cap(c.leaf.runs) < maxLeaf {
			c.leaf = s.grow(m)
		} else {
			s.split(m, c)
		}
	}
	c.leaf.insert(c.i, r)
	s.rekey(c)
}

// split moves the upper half of the full leaf at c to a new one. c stays before the
// same run.
func (s *Runs) split(m *Pool, c *Cursor) {
	const half = maxLeaf / 2
	upper := m.leaf(maxClass)
	upper.runs = append(upper.runs, c.leaf.runs[half:]...)
	c.leaf.runs = c.leaf.runs[:half]
	s.addLeaf(m, c.k+1, upper)
	if c.dir = s.dir; c.i > half {
		c.leaf, c.k, c.i = upper, c.k+1, c.i-half
	}
}

// rekey corrects the directory after the first run of the leaf at c has changed.
func (s *Runs) rekey(c *Cursor) {
	if s.dir != nil {
		s.dir.entry(c.k).at = c.leaf.firstKey()
	}
}

// take takes out the run at c, and joins its leaf with the next if both are sparse.
func (s *Runs) take(m *Pool, c *Cursor) {
	c.leaf.remove(c.i)
	n := len(c.leaf.live())
	switch {
	case n == 0:
		s.dropLeaf(m, c.k)
	case s.dir == nil:
	case n < maxLeaf/4:
		s.rekey(c)
		s.join(m, c.k)
	default:
		s.rekey(c)
	}
}

// join makes one of the k-th leaf, which is sparse, and the one before it (of the first,
// the one behind it) if half of it stays free.
func (s *Runs) join(m *Pool, k int) {
	k = max(k, 1)
	to, from := s.dir.entry(k-1).leaf, s.dir.entry(k).leaf
	if len(to.live())+len(from.live()) > maxLeaf/2 {
		return
	}
	to.settle()
	to.runs = append(to.runs, from.live()...)
	s.dropLeaf(m, k)
}

// Replace maps r's keys as r says, whatever they mapped to before.
func (s *Runs) Replace(m *Pool, r Run) {
	s.Remove(m, r.At, r.End())
	s.Insert(m, r)
}

// Remove forgets the keys in [from, to).
func (s *Runs) Remove(m *Pool, from, to int64) {
	for from < to {
		c := s.Search(from)
		if !c.OK() {
			return
		}
		r := c.Run()
		if r.At >= to {
			return
		}
		left, right := r.first(max(0, from-r.At)), r.after(to)
		switch {
		case left.N > 0:
			c.leaf.runs[c.i] = left
			if right.N > 0 {
				s.Insert(m, right)
			}
		case right.N > 0:
			c.leaf.runs[c.i] = right
			s.rekey(&c)
		default:
			s.take(m, &c)
		}
		from = r.End()
	}
}

// ReleaseTo forgets every key below x, in a step per leaf and one per run of the leaf
// that x lies in.
func (s *Runs) ReleaseTo(m *Pool, x int64) {
	if s.last != nil {
		s.releaseTo(m, x)
	}
}

// releaseTo is ReleaseTo where there is a run.
func (s *Runs) releaseTo(m *Pool, x int64) {
	l := s.last
	if s.dir != nil {
		l = s.releaseLeaves(m, x)
	}
	for i := l.head; i < len(l.runs); i++ {
		if r := &l.runs[i]; x < r.At+r.N {
			l.head = i
			if d := x - r.At; d > 0 {
				r.At, r.To, r.N = x, r.To+d, r.N-d
			}
			return
		}
	}
	s.dropLeaf(m, 0)
}

// releaseLeaves gives back the leaves before the one that x lies in, unseen, and gives
// the first that is left.
func (s *Runs) releaseLeaves(m *Pool, x int64) *leaf {
	for s.dir != nil && s.dir.entry(1).at <= x {
		s.dropLeaf(m, 0)
	}
	if s.dir == nil {
		return s.last
	}
	return s.dir.entry(0).leaf
}

// Free forgets every key.
func (s *Runs) Free(m *Pool) {
	for s.last != nil {
		s.dropLeaf(m, 0)
	}
}
