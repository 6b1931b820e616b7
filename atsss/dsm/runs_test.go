package dsm

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// value is what one key maps to.
type value struct {
	to  int64
	sub uint8
}

// model is a Runs kept key by key.
type model map[int64]value

func (m model) insert(r Run) {
	for x := r.At; x < r.End(); x++ {
		if _, ok := m[x]; !ok {
			m[x] = value{r.ToOf(x), r.Sub}
		}
	}
}

func (m model) remove(from, to int64) {
	maps.DeleteFunc(m, func(x int64, _ value) bool { return from <= x && x < to })
}

// end is the least key that an Append may begin at.
func (m model) end() int64 {
	end := int64(0)
	for x := range m {
		end = max(end, x+1)
	}
	return end
}

// runs is the least number of runs that say the same, in the order of keys.
func (m model) runs() (out []Run) {
	for _, x := range slices.Sorted(maps.Keys(m)) {
		v := m[x]
		one := Run{At: x, To: v.to, N: 1, Sub: v.sub}
		if n := len(out); n > 0 && out[n-1].At+out[n-1].N == x && out[n-1].To+out[n-1].N == v.to && out[n-1].Sub == v.sub {
			out[n-1].N++
			continue
		}
		out = append(out, one)
	}
	return out
}

// runOp is one call on a Runs.
type runOp struct {
	call string
	r    Run // Append, Insert, Replace; the keys alone for Remove; At alone for ReleaseTo
}

func (o runOp) String() string {
	return fmt.Sprintf("%s keys [%d,%d) to %d of subflow %d", o.call, o.r.At, o.r.End(), o.r.To, o.r.Sub)
}

// keySpace bounds the keys that the random operations name.
const keySpace = 100

// runOps draws operations. Few values per key, so that pieces often continue one
// another and often do not.
func runOps() *rapid.Generator[[]runOp] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) runOp {
		at := rapid.Int64Range(0, keySpace-1).Draw(t, "at")
		return runOp{
			call: rapid.SampledFrom([]string{"Append", "Insert", "Insert", "Replace", "Remove", "ReleaseTo"}).Draw(t, "call"),
			r: Run{
				At: at, N: rapid.Int64Range(0, 20).Draw(t, "n"),
				To:  at + rapid.SampledFrom([]int64{0, 0, 1, 1000}).Draw(t, "shift"),
				Sub: rapid.SampledFrom([]uint8{0, 0, 1}).Draw(t, "sub"),
			},
		}
	}), 1, 120)
}

// apply does o on both.
func (o runOp) apply(s *Runs, m model) {
	r := o.r
	switch o.call {
	case "Append": // only at or after the end, so shift it there
		r.N = max(r.N, 1)
		if d := m.end() - r.At; d > 0 {
			r.At, r.To = r.At+d, r.To+d
		}
		s.Append(r)
		m.insert(r)
	case "Insert":
		s.Insert(r)
		m.insert(r)
	case "Replace":
		s.Replace(r)
		m.remove(r.At, r.End())
		m.insert(r)
	case "Remove":
		s.Remove(r.At, r.End())
		m.remove(r.At, r.End())
	case "ReleaseTo":
		s.ReleaseTo(r.At)
		m.remove(-1<<62, r.At)
	}
}

// TestRunsAgainstModel does random operations on a Runs and on a map with an entry
// per key. After each the runs must be exactly those of the map, merged as far as
// can be, and every lookup must agree.
func TestRunsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Runs
		m := model{}
		for _, op := range runOps().Draw(t, "operations") {
			op.apply(&s, m)
			want := m.runs()
			if got := runsOf(&s); !slices.Equal(got, want) {
				t.Fatalf("after %v: runs %v, want %v", op, got, want)
			}
			for x := int64(-1); x <= m.end(); x++ {
				lookup(t, &s, m, want, x)
			}
		}
	})
}

func runsOf(s *Runs) (out []Run) {
	for i := range s.Len() {
		out = append(out, s.Get(i))
	}
	return out
}

// lookup compares Search and At for key x.
func lookup(t *rapid.T, s *Runs, m model, runs []Run, x int64) {
	first := slices.IndexFunc(runs, func(r Run) bool { return r.End() > x })
	if first < 0 {
		first = len(runs)
	}
	if got := s.Search(x); got != first {
		t.Fatalf("Search(%d) = %d, want %d, in %v", x, got, first, runs)
	}
	r, ok := s.At(x)
	v, want := m[x]
	if ok != want || ok && (r.ToOf(x) != v.to || r.Sub != v.sub) {
		t.Fatalf("At(%d) = %v, %v, want %v, %v, in %v", x, r, ok, v, want, runs)
	}
}

func TestRunsTable(t *testing.T) {
	// Keys 0-9 and 20-29 map to the same numbers on subflow 0.
	for _, tc := range []struct {
		name string
		do   func(*Runs)
		want []Run
	}{
		{"the last run grows", func(s *Runs) { s.Append(Run{30, 30, 5, 0}) }, []Run{{0, 0, 10, 0}, {20, 20, 15, 0}}},
		{"another subflow begins a run", func(s *Runs) { s.Append(Run{30, 30, 5, 1}) }, []Run{{0, 0, 10, 0}, {20, 20, 10, 0}, {30, 30, 5, 1}}},
		{"an SSN gap begins a run", func(s *Runs) { s.Append(Run{30, 31, 5, 0}) }, []Run{{0, 0, 10, 0}, {20, 20, 10, 0}, {30, 31, 5, 0}}},
		{"a key gap begins a run", func(s *Runs) { s.Append(Run{31, 31, 5, 0}) }, []Run{{0, 0, 10, 0}, {20, 20, 10, 0}, {31, 31, 5, 0}}},
		{"filling the gap joins all three", func(s *Runs) { s.Insert(Run{10, 10, 10, 0}) }, []Run{{0, 0, 30, 0}}},
		{"joined to the run before", func(s *Runs) { s.Insert(Run{10, 10, 3, 0}) }, []Run{{0, 0, 13, 0}, {20, 20, 10, 0}}},
		{"joined to the run behind", func(s *Runs) { s.Insert(Run{17, 17, 3, 0}) }, []Run{{0, 0, 10, 0}, {17, 17, 13, 0}}},
		{"keys that are there keep their mapping", func(s *Runs) { s.Insert(Run{5, 105, 20, 1}) }, []Run{{0, 0, 10, 0}, {10, 110, 10, 1}, {20, 20, 10, 0}}},
		{"replaced keys do not", func(s *Runs) { s.Replace(Run{5, 105, 20, 1}) }, []Run{{0, 0, 5, 0}, {5, 105, 20, 1}, {25, 25, 5, 0}}},
		{"replaced by the same", func(s *Runs) { s.Replace(Run{3, 3, 4, 0}) }, []Run{{0, 0, 10, 0}, {20, 20, 10, 0}}},
		{"a hole in the middle", func(s *Runs) { s.Remove(3, 7) }, []Run{{0, 0, 3, 0}, {7, 7, 3, 0}, {20, 20, 10, 0}}},
		{"removed across runs", func(s *Runs) { s.Remove(8, 22) }, []Run{{0, 0, 8, 0}, {22, 22, 8, 0}}},
		{"released inside a run", func(s *Runs) { s.ReleaseTo(25) }, []Run{{25, 25, 5, 0}}},
		{"released in a gap", func(s *Runs) { s.ReleaseTo(15) }, []Run{{20, 20, 10, 0}}},
		{"released wholly", func(s *Runs) { s.ReleaseTo(30) }, nil},
		{"new after the release", func(s *Runs) { s.ReleaseTo(30); s.Append(Run{30, 30, 1, 0}) }, []Run{{30, 30, 1, 0}}},
		{"nothing inserted", func(s *Runs) { s.Insert(Run{12, 12, 0, 0}) }, []Run{{0, 0, 10, 0}, {20, 20, 10, 0}}},
	} {
		var s Runs
		s.Append(Run{0, 0, 10, 0})
		s.Append(Run{20, 20, 10, 0})
		tc.do(&s)
		if got := runsOf(&s); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// window is the number of live runs in the tests of steady states.
const window = 100

// turn is the i-th run of 10 keys, on the two subflows by turns, so that no two merge.
func turn(i int64) Run { return Run{At: 10 * i, To: 10 * i, N: 10, Sub: uint8(i & 1)} }

// steadyStates go on for ever with about window live runs.
var steadyStates = []struct {
	name  string
	begin func(*Runs)
	step  func(s *Runs, i int64)
}{
	{
		name:  "one run",
		begin: func(*Runs) {},
		step: func(s *Runs, i int64) {
			s.Append(Run{At: 10 * i, To: 10 * i, N: 10})
			s.ReleaseTo(10 * (i - window))
		},
	},
	{
		name:  "alternating",
		begin: func(*Runs) {},
		step: func(s *Runs, i int64) {
			s.Append(turn(i))
			s.ReleaseTo(10 * (i - window))
		},
	},
	{
		name:  "filling below a last run that stays",
		begin: func(s *Runs) { s.Append(Run{At: 1 << 40, To: 1 << 40, N: 1}) },
		step: func(s *Runs, i int64) {
			s.Insert(turn(i))
			s.ReleaseTo(10 * (i - window))
		},
	},
	{
		name:  "two swapped each time",
		begin: func(*Runs) {},
		step: func(s *Runs, i int64) {
			s.Insert(turn(i ^ 1))
			s.ReleaseTo(10 * (i - window))
		},
	},
	{
		name:  "replaced by the other subflow",
		begin: func(*Runs) {},
		step: func(s *Runs, i int64) {
			s.Append(turn(i))
			moved := turn(i - window/2)
			moved.Sub, moved.N = moved.Sub^1, 5
			s.Replace(moved)
			s.ReleaseTo(10 * (i - window))
		},
	},
}

// TestRunsSteadyState: once at its size, a Runs neither grows nor allocates.
func TestRunsSteadyState(t *testing.T) {
	for _, st := range steadyStates {
		t.Run(st.name, func(t *testing.T) {
			var s Runs
			st.begin(&s)
			i := int64(window) // so that no key is negative
			live := 0
			for ; i < 20*window; i++ {
				st.step(&s, i)
				live = max(live, s.Len())
			}
			if n := testing.AllocsPerRun(200_000, func() { st.step(&s, i); i++ }); n != 0 {
				t.Errorf("%v allocations per step", n)
			}
			if c := cap(s.runs); c > 4*live+8 {
				t.Errorf("room for %d runs where %d live", c, live)
			}
		})
	}
}

// filled is a Runs of n live runs.
func filled(n int64) *Runs {
	s := new(Runs)
	for i := range n {
		s.Append(turn(i))
	}
	return s
}

var liveRuns = []int64{1, 10, 1_000, 100_000}

// BenchmarkRunsInOrder is a segment on one subflow: looked up, appended, released.
// The live runs in front of it are of no concern.
func BenchmarkRunsInOrder(b *testing.B) {
	for _, n := range liveRuns {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(n)
			at := 10 * n
			b.ReportAllocs()
			for b.Loop() {
				s.At(at)
				s.Append(Run{At: at, To: at, N: 1400, Sub: uint8(n & 1)})
				s.ReleaseTo(5)
				at += 1400
			}
		})
	}
}

// BenchmarkRunsAlternating is a segment on either subflow by turns: each begins a
// run, and the oldest is released.
func BenchmarkRunsAlternating(b *testing.B) {
	for _, n := range liveRuns {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(n)
			i := n
			b.ReportAllocs()
			for b.Loop() {
				s.Append(turn(i))
				s.ReleaseTo(10 * (i - n))
				i++
			}
			if got := int64(s.Len()); got > n+1 {
				b.Fatalf("%d live runs", got)
			}
		})
	}
}

// BenchmarkRunsLookup looks up keys all over.
func BenchmarkRunsLookup(b *testing.B) {
	for _, n := range liveRuns {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(n)
			x := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				x = x*6364136223846793005 + 1442695040888963407 // Knuth's MMIX generator
				if _, ok := s.At(int64(x>>33) % (10 * n)); !ok {
					b.Fatal("no run found")
				}
			}
		})
	}
}

// BenchmarkRunsFill removes and puts back one key in the middle: a hole is filled.
func BenchmarkRunsFill(b *testing.B) {
	for _, n := range liveRuns {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := filled(n)
			r := s.Get(s.Len() / 2)
			b.ReportAllocs()
			for b.Loop() {
				s.Remove(r.At+4, r.At+5)
				s.Insert(Run{At: r.At + 4, To: r.To + 4, N: 1, Sub: r.Sub})
			}
			if int64(s.Len()) != n {
				b.Fatalf("%d runs, want %d", s.Len(), n)
			}
		})
	}
}
