package dsm

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkStore measures the kinds of store side by side: in each round every store does
// a batch of one operation, one after the other; the result is the median round. At the
// end the figures are printed as one table per operation. BENCHMARK.md has them.
//
//	go test ./atsss/dsm -run '^$' -bench Store -benchtime 51x -cpu 1
func BenchmarkStore(b *testing.B) {
	var all []*measurement
	for _, op := range operations {
		for _, a := range accesses {
			for _, n := range liveMappings {
				m := &measurement{op: op.name, access: a.name, n: n}
				all = append(all, m)
				b.Run(fmt.Sprintf("%s/%s/%d", op.name, a.name, n), func(b *testing.B) { m.run(b, op, a) })
			}
		}
	}
	printTables(all)
}

// liveMappings are the numbers of segments that are mapped and not acknowledged.
var liveMappings = []int{1, 10, 64, 100, 1_000, 10_000, 100_000}

// access is how the mappings lie and in which order they are touched.
type access struct {
	name   string
	random bool // in random order, not from low to high
	run    func(i int64) Run
}

// segmentSize is the size of a segment. It makes no difference.
const segmentSize = 10

// Segment i has the positions from i*segmentSize on; they are mapped to SSNs that
// continue those of the segment before, or not, or to the two subflows by turns. Where
// they continue, merging leaves one run, whatever the number of segments.
var accesses = []access{
	{"in-order", false, merged},
	{"in-order-apart", false, apart},
	{"random", true, merged},
	{"random-apart", true, apart},
	{"alternating", false, alternating},
}

func merged(i int64) Run {
	return Run{At: i * segmentSize, To: i * segmentSize, N: segmentSize}
}

func apart(i int64) Run {
	return Run{At: i * segmentSize, To: i * (segmentSize + 1), N: segmentSize}
}

func alternating(i int64) Run {
	return Run{At: i * segmentSize, To: i / 2 * segmentSize, N: segmentSize, Sub: uint8(i & 1)}
}

// operation is what is timed.
type operation struct {
	name   string
	copies func(n int) int // of the store that share a batch
	batch  func(n int) int // operations on each of them
	begin  func(f *fixture)
	do     func(f *fixture) // timed
	undo   func(f *fixture)
}

// one, few and many are numbers of copies and operations: a batch is long against the
// clock and short against the store.
func one(int) int      { return 1 }
func few(n int) int    { return min(max(n/4, 1), 256) }
func many(n int) int   { return 256 / few(n) }
func large(int) int    { return 256 }
func halves(n int) int { return min(max(20_000/n, 2), 64) }

var operations = []operation{
	{"append", many, few, (*fixture).fill, (*fixture).append, (*fixture).releaseBatch},
	{"lookup-DSN", one, large, (*fixture).fill, (*fixture).lookup, func(*fixture) {}},
	{"lookup-SSN", one, large, (*fixture).fillBySSN, (*fixture).lookupSSN, func(*fixture) {}},
	{"insert-middle", many, few, (*fixture).fillOdd, (*fixture).insertEven, (*fixture).removeEven},
	{"release", many, few, (*fixture).fill, (*fixture).releaseEach, (*fixture).appendBatch},
	{"release-half", halves, one, (*fixture).fill, (*fixture).releaseHalf, (*fixture).appendHalf},
}

// fixture is a store with n live mappings, and the batch that is done to it.
type fixture struct {
	access
	n, batch  int64
	s         store
	subflows  [2]store // by SSN, where s has no lookup by SSN
	low       int64    // the first live mapping
	order     []int64  // of a batch: 0 .. batch-1
	positions []int64  // that are looked up
	missed    int      // lookups without result
	rand      *rand.Rand
}

func newFixture(s [3]store, a access, n, batch int) *fixture {
	f := &fixture{access: a, n: int64(n), batch: int64(batch), s: s[0], subflows: [2]store{s[1], s[2]}}
	for i := range f.batch {
		f.order = append(f.order, i)
		f.positions = append(f.positions, i*f.n/f.batch) // all over the live mappings
	}
	f.rand = rand.New(rand.NewPCG(1, uint64(n)))
	f.shuffle()
	return f
}

// shuffle draws what the next batch touches: branches must not be learnt by heart.
func (f *fixture) shuffle() {
	if !f.random {
		return
	}
	for i := range f.positions {
		f.positions[i] = f.rand.Int64N(f.n)
	}
	f.rand.Shuffle(len(f.order), func(i, j int) { f.order[i], f.order[j] = f.order[j], f.order[i] })
}

func (f *fixture) fill() {
	for i := range f.n {
		f.s.Append(f.run(i))
	}
}

func (f *fixture) append() {
	if !f.random {
		for _, i := range f.order {
			f.s.Append(f.run(f.low + f.n + i))
		}
		return
	}
	for _, i := range f.order { // a batch comes in any order
		f.s.Insert(f.run(f.low + f.n + i))
	}
}

func (f *fixture) releaseBatch() {
	f.low += f.batch
	f.s.ReleaseTo(f.low * segmentSize)
}

func (f *fixture) releaseEach() {
	for range f.batch {
		f.low++
		f.s.ReleaseTo(f.low * segmentSize)
	}
}

func (f *fixture) appendBatch() {
	for i := f.low + f.n - f.batch; i < f.low+f.n; i++ {
		f.s.Append(f.run(i))
	}
}

func (f *fixture) releaseHalf() {
	f.low += (f.n + 1) / 2
	f.s.ReleaseTo(f.low * segmentSize)
}

func (f *fixture) appendHalf() {
	for i := f.low + f.n - (f.n+1)/2; i < f.low+f.n; i++ {
		f.s.Append(f.run(i))
	}
}

func (f *fixture) lookup() {
	for _, i := range f.positions {
		if _, ok := f.s.At(i*segmentSize + 3); !ok {
			f.missed++
		}
	}
}

// fillBySSN fills the D-tree, which finds SSNs itself, or an index by SSN per subflow.
func (f *fixture) fillBySSN() {
	if _, ok := f.s.(*dTree); ok {
		f.fill()
		return
	}
	for i := range f.n {
		r := f.run(i)
		f.subflows[r.Sub].Append(Run{At: r.To, To: r.At, N: r.N})
	}
}

func (f *fixture) lookupSSN() {
	d, tree := f.s.(*dTree)
	for _, i := range f.positions {
		r, ok := f.run(i), false
		if tree {
			_, ok = d.bySSN(r.Sub, r.To+3)
		} else {
			_, ok = f.subflows[r.Sub].At(r.To + 3)
		}
		if !ok {
			f.missed++
		}
	}
}

// fillOdd leaves a hole before each live mapping.
func (f *fixture) fillOdd() {
	for i := range f.n {
		f.s.Append(f.run(2*i + 1))
	}
}

// insertEven fills holes around the middle, or anywhere if access is random.
func (f *fixture) insertEven() {
	for i := range f.order {
		f.s.Insert(f.run(f.hole(i)))
	}
}

func (f *fixture) removeEven() {
	for i := range f.order {
		r := f.run(f.hole(i))
		f.s.Remove(r.At, r.End())
	}
}

func (f *fixture) hole(i int) int64 {
	if f.random {
		return 2 * (f.order[i] * f.n / f.batch)
	}
	return 2 * (max(f.n-f.batch, 0)/2 + f.order[i])
}

// measurement is the result of one operation under one access with n live mappings, per
// kind of store: nanoseconds and allocations per operation.
type measurement struct {
	op, access string
	n          int
	ns, allocs []float64
}

func (m *measurement) run(b *testing.B, op operation, a access) {
	copies, batch := op.copies(m.n), op.batch(m.n)
	fixtures := make([][]*fixture, len(stores))
	for k, kind := range stores {
		for range copies {
			f := newFixture([3]store{kind.make(), kind.make(), kind.make()}, a, m.n, batch)
			op.begin(f)
			fixtures[k] = append(fixtures[k], f)
		}
	}
	rounds := make([][]float64, len(stores))
	allocs := make([]uint64, len(stores))
	for i := range b.N + 1 {
		for k := range stores {
			spent, mallocs := timeBatch(fixtures[k], op.do)
			for _, f := range fixtures[k] {
				op.undo(f)
				f.shuffle()
			}
			if i == 0 {
				continue // stores grow to their size
			}
			rounds[k] = append(rounds[k], float64(spent.Nanoseconds())/float64(copies*batch))
			allocs[k] += mallocs
		}
	}
	m.ns, m.allocs = nil, nil
	for k, kind := range stores {
		for _, f := range fixtures[k] {
			if f.missed > 0 {
				b.Fatalf("%s: %d lookups found nothing", kind.name, f.missed)
			}
		}
		slices.Sort(rounds[k])
		m.ns = append(m.ns, rounds[k][b.N/2])
		m.allocs = append(m.allocs, float64(allocs[k])/float64(b.N*copies*batch))
		b.ReportMetric(m.ns[k], kind.name+"-ns/op")
		b.ReportMetric(m.allocs[k], kind.name+"-allocs/op")
	}
	b.ReportMetric(0, "ns/op") // of a round: not of interest
}

// timeBatch does the batch on each fixture.
func timeBatch(fs []*fixture, do func(*fixture)) (spent time.Duration, mallocs uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	for _, f := range fs {
		do(f)
	}
	spent = time.Since(start)
	runtime.ReadMemStats(&after)
	return spent, after.Mallocs - before.Mallocs
}

// printTables prints a table per operation: a row per number of live mappings, a column
// per access and kind of store.
func printTables(all []*measurement) {
	for _, op := range operations {
		fmt.Printf("\n%s, ns\n\n%10s", op.name, "")
		for _, a := range accesses {
			fmt.Printf("  %-*s", 9*len(stores), a.name)
		}
		fmt.Printf("\n%10s", "live")
		for range accesses {
			fmt.Print("  ")
			for _, kind := range stores {
				fmt.Printf("%9s", kind.name)
			}
		}
		fmt.Println()
		for _, n := range liveMappings {
			row := fmt.Sprintf("%10d", n)
			for _, m := range all {
				if m.op == op.name && m.n == n {
					row += "  " + m.cells()
				}
			}
			fmt.Println(row)
		}
	}
}

func (m *measurement) cells() string {
	var s strings.Builder
	for _, ns := range m.ns {
		if ns < 100 {
			fmt.Fprintf(&s, "%9.1f", ns)
		} else {
			fmt.Fprintf(&s, "%9.0f", ns)
		}
	}
	return s.String()
}
