package dsm

// Pool is the memory of the stores of one worker: what a store gives back when it
// empties, the next one takes. A store must always be given the same Pool. It holds as
// much as was ever in use at once; nothing goes back to the Go heap. The zero value is
// ready.
type Pool struct {
	leaves [len(leafClasses)][]*leaf
	dirs   []*directory
	sets   [len(setClasses)][]*set
}

// leaf gives an empty leaf.
func (m *Pool) leaf(class int) *leaf {
	free := m.leaves[class]
	n := len(free)
	if n == 0 {
		return newLeaf(class)
	}
	m.leaves[class] = free[:n-1]
	return free[n-1]
}

// putLeaf takes back l, whatever it holds.
func (m *Pool) putLeaf(l *leaf) {
	l.runs, l.head = l.runs[:0], 0
	class := l.class()
	m.leaves[class] = append(m.leaves[class], l)
}

// directory gives an empty directory.
func (m *Pool) directory() *directory {
	n := len(m.dirs)
	if n == 0 {
		return new(directory)
	}
	d := m.dirs[n-1]
	m.dirs = m.dirs[:n-1]
	return d
}

// putDirectory takes back d, whatever it lists.
func (m *Pool) putDirectory(d *directory) {
	d.truncate(0)
	d.head = 0
	m.dirs = append(m.dirs, d)
}

// set gives an empty set of ranges.
func (m *Pool) set(class int) *set {
	free := m.sets[class]
	n := len(free)
	if n == 0 {
		return newSet(class)
	}
	m.sets[class] = free[:n-1]
	return free[n-1]
}

// putSet takes back s, whatever it holds.
func (m *Pool) putSet(s *set) {
	s.r = s.r[:0]
	class := s.class()
	m.sets[class] = append(m.sets[class], s)
}
