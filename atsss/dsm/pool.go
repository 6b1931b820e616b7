package dsm

// Pool is the memory of the stores of one worker: what a store gives back when it
// empties, the next one takes. A store must always be given the same Pool. It holds as
// much as was ever in use at once; nothing goes back to the Go heap. The zero value is
// ready.
type Pool struct {
	leaves [len(leafClasses)]stack[leaf]
	dirs   stack[directory]
	sets   [len(setClasses)]stack[set]
}

// InUse is the number of blocks of memory that stores hold.
func (m *Pool) InUse() int {
	n := m.dirs.lent
	for i := range m.leaves {
		n += m.leaves[i].lent
	}
	for i := range m.sets {
		n += m.sets[i].lent
	}
	return n
}

// stack holds the free blocks of one kind.
type stack[T any] struct {
	blocks []*T
	free   int // the first of blocks are free; the others are leftovers
	lent   int // blocks that stores hold
}

// pop lends a block, which the caller makes itself if nil.
func (s *stack[T]) pop() *T {
	s.lent++
	if s.free == 0 {
		return nil
	}
	s.free--
	return s.blocks[s.free]
}

// push takes a block back.
func (s *stack[T]) push(x *T) {
	s.lent--
	if s.free == len(s.blocks) {
		s.blocks = append(s.blocks, x)
	} else {
		s.blocks[s.free] = x
	}
	s.free++
}

// leaf gives an empty leaf.
func (m *Pool) leaf(class int) *leaf {
	l := m.leaves[class].pop()
	if l == nil {
		return newLeaf(class)
	}
	l.runs, l.head = l.runs[:0], 0
	return l
}

// putLeaf takes back l, of the given class, whatever it holds.
func (m *Pool) putLeaf(l *leaf, class int) { m.leaves[class].push(l) }

// directory gives an empty directory.
func (m *Pool) directory() *directory {
	d := m.dirs.pop()
	if d == nil {
		return new(directory)
	}
	return d
}

// putDirectory takes back d, whatever it lists.
func (m *Pool) putDirectory(d *directory) {
	d.truncate(0)
	d.head = 0
	m.dirs.push(d)
}

// set gives an empty set of ranges.
func (m *Pool) set(class int) *set {
	b := m.sets[class].pop()
	if b == nil {
		return newSet(class)
	}
	b.r = b.r[:0]
	return b
}

// putSet takes back b, whatever it holds.
func (m *Pool) putSet(b *set) { m.sets[b.class()].push(b) }
