package dsm

import (
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// mappings is the whole contract for one direction of a connection with two subflows
// (FlexCP §3.2): positions to subflow and SSN, and back.
type mappings interface {
	assign(x, ssn, n int64, sub uint8) // positions not yet mapped, above all others
	move(x, ssn, n int64, sub uint8)   // mapped positions also get SSNs of another subflow
	release(x int64)                   // every position below x is acknowledged
	bySSN(sub uint8, ssn int64) (x int64, ok bool)
}

// byIndex is how the proxy keeps mappings: an index by position and one per subflow by
// SSN. Where data were moved the first subflow's index still has them: that is the
// paper's Equiv-SSN.
type byIndex struct {
	pool      Pool
	positions Runs
	subflows  [2]Runs
}

func (m *byIndex) assign(x, ssn, n int64, sub uint8) {
	m.positions.Append(&m.pool, Run{At: x, To: ssn, N: n, Sub: sub})
	m.subflows[sub].Append(&m.pool, Run{At: ssn, To: x, N: n})
}

func (m *byIndex) move(x, ssn, n int64, sub uint8) {
	m.positions.Replace(&m.pool, Run{At: x, To: ssn, N: n, Sub: sub})
	m.subflows[sub].Append(&m.pool, Run{At: ssn, To: x, N: n})
}

func (m *byIndex) release(x int64) {
	m.positions.ReleaseTo(&m.pool, x)
	for i := range m.subflows {
		s := &m.subflows[i]
		for r, ok := s.First(); ok && r.To < x; r, ok = s.First() {
			s.ReleaseTo(&m.pool, r.At+min(r.N, x-r.To))
		}
	}
}

func (m *byIndex) bySSN(sub uint8, ssn int64) (x int64, ok bool) {
	r, ok := m.subflows[sub].At(ssn)
	return r.ToOf(ssn), ok
}

// inTree is how the paper does.
type inTree struct{ dTree }

func (m *inTree) assign(x, ssn, n int64, sub uint8) {
	m.Append(Run{At: x, To: ssn, N: n, Sub: sub})
}

func (m *inTree) release(x int64) { m.ReleaseTo(x) }

var contracts = []struct {
	name string
	make func() mappings
}{
	{"leaves", func() mappings { return new(byIndex) }},
	{"rbtree", func() mappings { return new(inTree) }},
}

// TestMappingsBySSN maps data to two subflows at random, moves some, acknowledges some,
// and looks every SSN up that was ever used and whose position is not acknowledged.
func TestMappingsBySSN(t *testing.T) {
	for _, kind := range contracts {
		t.Run(kind.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := kind.make()
				var positions [2][]int64 // by SSN
				released, end := int64(0), int64(0)
				for range rapid.IntRange(1, 60).Draw(t, "steps") {
					sub := rapid.SampledFrom([]uint8{0, 1}).Draw(t, "sub")
					ssn, n := int64(len(positions[sub])), rapid.Int64Range(1, 10).Draw(t, "n")
					x := end
					switch rapid.SampledFrom([]string{"assign", "assign", "move", "release"}).Draw(t, "do") {
					case "assign":
						m.assign(x, ssn, n, sub)
						end += n
					case "move":
						if end == released {
							continue
						}
						x = rapid.Int64Range(released, end-1).Draw(t, "x")
						n = min(n, end-x)
						m.move(x, ssn, n, sub)
					case "release":
						released = rapid.Int64Range(released, end).Draw(t, "x")
						m.release(released)
						n = 0
					}
					for i := range n {
						positions[sub] = append(positions[sub], x+i)
					}
				}
				for sub, xs := range positions {
					for ssn, want := range xs {
						x, ok := m.bySSN(uint8(sub), int64(ssn))
						if want >= released && (!ok || x != want) {
							t.Fatalf("SSN %d of subflow %d: %d, %v, want position %d", ssn, sub, x, ok, want)
						}
					}
				}
			})
		})
	}
}

// TestEquivSSN: data that were sent on subflow 0 and again on subflow 1 are found by the
// SSNs of both, until they are acknowledged.
func TestEquivSSN(t *testing.T) {
	for _, kind := range contracts {
		m := kind.make()
		m.assign(0, 1, 3000, 0)
		m.assign(3000, 1, 1000, 1)
		m.move(1000, 1001, 1000, 1) // subflow 0 fails: the lower position gets the higher SSN
		for _, q := range []struct {
			sub    uint8
			ssn, x int64
		}{{0, 1001, 1000}, {1, 1001, 1000}, {1, 1500, 1499}, {1, 1000, 3999}, {0, 3000, 2999}} {
			if x, ok := m.bySSN(q.sub, q.ssn); !ok || x != q.x {
				t.Errorf("%s: SSN %d of subflow %d is %d, %v, want position %d", kind.name, q.ssn, q.sub, x, ok, q.x)
			}
		}
		m.release(4000)
		for sub := range uint8(2) {
			if x, ok := m.bySSN(sub, 1001); ok {
				t.Errorf("%s: after the ACK SSN 1001 of subflow %d is still position %d", kind.name, sub, x)
			}
		}
	}
}

// TestDummyMapping: a segment that comes out of order takes the hole before it along to
// its subflow, as a mapping without data yet; what fills the hole later finds it, and it
// needs no run of its own.
func TestDummyMapping(t *testing.T) {
	for _, kind := range stores {
		s := kind.make()
		s.Append(Run{At: 0, To: 1, N: 1000, Sub: 0})
		s.Append(Run{At: 1000, To: 1, N: 500, Sub: 1})    // the hole
		s.Append(Run{At: 1500, To: 501, N: 1000, Sub: 1}) // the segment
		if r, ok := s.At(1200); !ok || r.Sub != 1 || r.ToOf(1200) != 201 {
			t.Errorf("%s: position 1200 is in %v, %v, want SSN 201 of subflow 1", kind.name, r, ok)
		}
		want := []Run{{At: 0, To: 1, N: 1000, Sub: 0}, {At: 1000, To: 1, N: 1500, Sub: 1}}
		if got := runsOf(s); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", kind.name, got, want)
		}
	}
}

// TestRemovalPutOff: the D-tree removes what is acknowledged in one operation, once that
// reaches over its root; before, the nodes stay and are not found.
func TestRemovalPutOff(t *testing.T) {
	var d dTree
	for i := range int64(1000) {
		d.Append(apart(i))
	}
	root := d.t.nodes[d.t.root].run
	d.ReleaseTo(root.At)
	if n := len(d.t.free); n != 0 {
		t.Errorf("%d trees are free after an ACK up to the root, want none", n)
	}
	if r, ok := d.At(root.At - 1); ok {
		t.Errorf("%v is found after its ACK", r)
	}
	d.ReleaseTo(root.End())
	if n := len(d.t.free); n == 0 || n > 3 {
		t.Errorf("%d trees are free after an ACK of the root, want the root's left part as a whole", n)
	}
	if r, ok := d.Next(0); !ok || r.At != root.End() {
		t.Errorf("the first node is %v, %v, want the one after the root's", r, ok)
	}
	if err := d.check(); err != nil {
		t.Error(err)
	}
}

// TestReleaseLooksAtOneLeaf: what is acknowledged goes leaf by leaf; only the leaf that
// the ACK lies in is looked at.
func TestReleaseLooksAtOneLeaf(t *testing.T) {
	var s leafStore
	const n = 10 * maxLeaf
	for i := range int64(n) {
		s.Append(apart(i))
	}
	for k := range 4 {
		l := s.dir.entry(k).leaf
		for i := range l.runs {
			l.runs[i].N = 1 << 40 // would be found unreleased
		}
	}
	s.ReleaseTo(apart(5*maxLeaf + 3).At)
	if r, ok := s.First(); !ok || r != apart(5*maxLeaf+3) {
		t.Errorf("the first run is %v, %v", r, ok)
	}
	if free := s.pool.leaves[maxClass].free; free != 5 {
		t.Errorf("%d leaves are free, want 5", free)
	}
}

// TestMergeOverLeaves: the first run of a leaf and the last of the leaf before merge, and
// keep their leaves in order.
func TestMergeOverLeaves(t *testing.T) {
	const n = 5 * maxLeaf
	for hole := int64(1); hole < n; hole++ {
		var s leafStore
		for i := range int64(n) {
			s.Append(merged(2 * i)) // every other segment
		}
		s.Insert(merged(2*hole - 1))
		r, ok := s.At(merged(2*hole - 2).At)
		if want := merged(2*hole - 2).At; !ok || r.At != want || r.N != 3*segmentSize || s.Len() != n-1 {
			t.Fatalf("hole %d filled: %v, %v, %d runs, want three segments in one of %d", hole, r, ok, s.Len(), n-1)
		}
		if err := s.check(); err != nil {
			t.Fatalf("hole %d filled: %v", hole, err)
		}
	}
}

// TestSparseLeavesAreJoined: where most runs are removed, leaves are given back.
func TestSparseLeavesAreJoined(t *testing.T) {
	var s leafStore
	const n = 64 * maxLeaf
	for i := range int64(n) {
		s.Append(apart(i))
	}
	for i := range int64(n) {
		if i%64 != 0 { // two runs of each leaf stay
			s.Remove(apart(i).At, apart(i).End())
		}
	}
	if leaves := s.dir.len(); s.Len() != n/64 || leaves > 8 {
		t.Errorf("%d runs in %d leaves, want %d in at most 8", s.Len(), leaves, n/64)
	}
	if err := s.check(); err != nil {
		t.Error(err)
	}
}

// TestDirectorySlides: the directory of a store that slides on stays as large as its
// leaves need.
func TestDirectorySlides(t *testing.T) {
	var s leafStore
	const live = 20 * maxLeaf
	for i := range int64(50 * live) {
		s.Append(apart(i))
		s.ReleaseTo(apart(i - live).At)
	}
	if c := cap(s.dir.entries); c > 4*s.dir.len() {
		t.Errorf("a directory for %d leaves, of %d", c, s.dir.len())
	}
	if made := s.pool.leaves[maxClass].free + s.dir.len(); made > 24 {
		t.Errorf("%d leaves for %d runs", made, s.Len())
	}
}

// TestEmptyHoldsNoMemory: a store gives its memory back when it runs empty, and all of it
// by Free.
func TestEmptyHoldsNoMemory(t *testing.T) {
	var m Pool
	var s Runs
	var r Ranges
	for _, empty := range []struct {
		name string
		do   func(end int64)
	}{
		{"released", func(end int64) { s.ReleaseTo(&m, end); r.TrimBelow(&m, end) }},
		{"removed", func(end int64) { s.Remove(&m, 0, end); r.TrimBelow(&m, end) }},
		{"freed", func(int64) { s.Free(&m); r.Free(&m) }},
	} {
		for _, n := range []int64{1, 5, 20, 100, 1000} {
			for i := range n {
				s.Append(&m, apart(i))
				r.Add(&m, apart(i).At, apart(i).At+1)
			}
			if m.InUse() < 2 {
				t.Fatalf("%d blocks are in use for %d runs and a set", m.InUse(), n)
			}
			empty.do(apart(n).At)
			if m.InUse() != 0 || !s.Empty() || r.Len() != 0 || s.last != nil || s.dir != nil || r.set != nil {
				t.Errorf("%d runs %s: %d blocks are in use, %d runs and %d ranges left", n, empty.name, m.InUse(), s.Len(), r.Len())
			}
		}
	}
}

// TestSizes: what every connection pays, used or not, and what a used store takes.
func TestSizes(t *testing.T) {
	for _, tc := range []struct {
		what      string
		got, want uintptr
	}{
		{"a Run", unsafe.Sizeof(Run{}), 32},
		{"an empty Runs", unsafe.Sizeof(Runs{}), 16},
		{"an empty Ranges", unsafe.Sizeof(Ranges{}), 8},
		{"a leaf of one run", unsafe.Sizeof(leaf{}) + unsafe.Sizeof(Run{}), 64},
		{"a full leaf", unsafe.Sizeof(leaf{}) + maxLeaf*unsafe.Sizeof(Run{}), 4096},
	} {
		if tc.got != tc.want {
			t.Errorf("%s takes %d bytes, want %d", tc.what, tc.got, tc.want)
		}
	}
}
