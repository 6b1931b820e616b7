package dsm

// leaf is a piece of a [Runs]: sorted runs in a block of fixed size, with the head cut
// off lazily. One that a Runs holds is never empty.
//
//	runs: | released | run     run run     run | free |
//	                 ^head                     ^len   ^cap
type leaf struct {
	runs []Run
	head int
}

// leafClasses are the sizes of a leaf, in runs. With its header a leaf is one, four, 16
// or 64 cache lines: a connection without loss keeps one run per store.
var leafClasses = [...]int{1, 7, 31, maxLeaf}

const (
	// maxLeaf is the size of a leaf in a Runs that has several.
	maxLeaf = 127
	// maxClass is the class of such a leaf.
	maxClass = len(leafClasses) - 1
)

// newLeaf allocates a leaf and its block as one object.
func newLeaf(class int) *leaf {
	switch class {
	case 0:
		b := new(struct {
			leaf
			room [1]Run
		})
		b.runs = b.room[:0]
		return &b.leaf
	case 1:
		b := new(struct {
			leaf
			room [7]Run
		})
		b.runs = b.room[:0]
		return &b.leaf
	case 2:
		b := new(struct {
			leaf
			room [31]Run
		})
		b.runs = b.room[:0]
		return &b.leaf
	default:
		b := new(struct {
			leaf
			room [maxLeaf]Run
		})
		b.runs = b.room[:0]
		return &b.leaf
	}
}

// class is the place of the leaf's size in leafClasses.
func (l *leaf) class() int {
	switch cap(l.runs) {
	case leafClasses[0]:
		return 0
	case leafClasses[1]:
		return 1
	case leafClasses[2]:
		return 2
	}
	return maxClass
}

// live is the runs of the leaf.
func (l *leaf) live() []Run { return l.runs[l.head:] }

// firstKey is the key that the leaf's runs begin at.
func (l *leaf) firstKey() int64 { return l.runs[l.head].At }

// search is the index in l.runs of the first run that ends after x; len(l.runs) if none
// does. The newest run, which is asked for most, is looked at first.
func (l *leaf) search(x int64) int {
	hi := len(l.runs)
	if last := &l.runs[hi-1]; last.At <= x {
		if x < last.End() {
			return hi - 1
		}
		return hi
	}
	return l.bisect(x)
}

// bisect is search for a leaf whose last run is not the newest.
func (l *leaf) bisect(x int64) int {
	lo, hi := l.head, len(l.runs)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if l.runs[mid].End() > x {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// full says whether a run in the middle does not fit.
func (l *leaf) full() bool { return l.head == 0 && len(l.runs) == cap(l.runs) }

// settle moves the runs over the released ones.
func (l *leaf) settle() {
	l.runs = l.runs[:copy(l.runs, l.runs[l.head:])]
	l.head = 0
}

// insert puts r before index i of a leaf that is not full; the fewer runs make room if
// there is some on their side.
func (l *leaf) insert(i int, r Run) {
	n := len(l.runs)
	if n == cap(l.runs) || l.head > 0 && i-l.head <= n-i {
		l.head--
		copy(l.runs[l.head:i-1], l.runs[l.head+1:i])
		l.runs[i-1] = r
		return
	}
	l.runs = l.runs[:n+1]
	copy(l.runs[i+1:], l.runs[i:])
	l.runs[i] = r
}

// remove takes the run of index i out.
func (l *leaf) remove(i int) {
	if i == l.head {
		l.head++
		return
	}
	l.runs = append(l.runs[:i], l.runs[i+1:]...)
}
