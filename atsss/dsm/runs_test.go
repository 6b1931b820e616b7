package dsm

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// value is what one key maps to; set is false for a key that no run has.
type value struct {
	to  int64
	sub uint8
	set bool
}

// model is a store kept key by key, from 0 on.
type model []value

func (m *model) insert(r Run) {
	for int64(len(*m)) < r.End() {
		*m = append(*m, value{})
	}
	for x := r.At; x < r.End(); x++ {
		if v := &(*m)[x]; !v.set {
			*v = value{r.ToOf(x), r.Sub, true}
		}
	}
}

func (m *model) remove(from, to int64) {
	if to = min(to, int64(len(*m))); from < to {
		clear((*m)[from:to])
	}
}

func (m *model) at(x int64) (v value) {
	if 0 <= x && x < int64(len(*m)) {
		v = (*m)[x]
	}
	return v
}

// end is the least key that an Append may begin at.
func (m *model) end() int64 {
	for x := int64(len(*m)); x > 0; x-- {
		if (*m)[x-1].set {
			return x
		}
	}
	return 0
}

// runs is the least number of runs that say the same, in the order of keys.
func (m *model) runs() (out []Run) {
	for i, v := range *m {
		x := int64(i)
		if !v.set {
			continue
		}
		if n := len(out); n > 0 && out[n-1].At+out[n-1].N == x && out[n-1].To+out[n-1].N == v.to && out[n-1].Sub == v.sub {
			out[n-1].N++
			continue
		}
		out = append(out, Run{At: x, To: v.to, N: 1, Sub: v.sub})
	}
	return out
}

// runOp is one call on a store.
type runOp struct {
	call string
	r    Run // Append, Insert, Replace; the keys alone for Remove; At alone for ReleaseTo
}

func (o runOp) String() string {
	return fmt.Sprintf("%s keys [%d,%d) to %d of subflow %d", o.call, o.r.At, o.r.End(), o.r.To, o.r.Sub)
}

// runOps draws operations on keys below space. Few values per key, so that pieces often
// continue one another and often do not. long bounds the keys of one operation.
func runOps(calls []string, space, long int64) *rapid.Generator[[]runOp] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) runOp {
		at := rapid.Int64Range(0, space-1).Draw(t, "at")
		return runOp{
			call: rapid.SampledFrom(calls).Draw(t, "call"),
			r: Run{
				At: at, N: rapid.Int64Range(0, long).Draw(t, "n"),
				To:  at + rapid.SampledFrom([]int64{0, 0, 1, 1000}).Draw(t, "shift"),
				Sub: rapid.SampledFrom([]uint8{0, 0, 1}).Draw(t, "sub"),
			},
		}
	}), 1, 120)
}

// apply does o on both.
func (o runOp) apply(s store, m *model) {
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
		m.remove(0, r.At)
	case "InsertApart", "AppendApart": // key by key, every other one: r.N/2 runs
		for x := r.At; x < r.End(); x += 2 {
			one := runOp{o.call[:6], Run{At: x, To: r.ToOf(x), N: 1, Sub: r.Sub}}
			one.apply(s, m)
		}
	}
}

// TestStoreAgainstModel does random operations on each kind of store and on a slice with
// an entry per key. After each the runs must be exactly those of the slice, merged as far
// as can be, and every lookup must agree.
func TestStoreAgainstModel(t *testing.T) {
	calls := []string{"Append", "Insert", "Insert", "Replace", "Remove", "ReleaseTo"}
	checkStores(t, runOps(calls, 100, 20))
}

// TestLargeStoreAgainstModel does the same with many runs, so that leaves are split and
// joined.
func TestLargeStoreAgainstModel(t *testing.T) {
	calls := []string{
		"AppendApart", "InsertApart", "InsertApart", "InsertApart", "InsertApart",
		"Insert", "Replace", "Remove", "Remove", "ReleaseTo",
	}
	checkStores(t, runOps(calls, 4000, 800))
}

func checkStores(t *testing.T, ops *rapid.Generator[[]runOp]) {
	for _, kind := range stores {
		t.Run(kind.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s, m := kind.make(), new(model)
				for _, op := range ops.Draw(t, "operations") {
					op.apply(s, m)
					want := m.runs()
					if got := runsOf(s); !slices.Equal(got, want) {
						t.Fatalf("after %v: runs %v, want %v", op, got, want)
					}
					if err := s.check(); err != nil {
						t.Fatalf("after %v: %v", op, err)
					}
				}
				lookups(t, s, m)
			})
		})
	}
}

// lookups compares Next and At for every key.
func lookups(t *rapid.T, s store, m *model) {
	runs := m.runs()
	for x := int64(-1); x <= int64(len(*m)); x++ {
		for len(runs) > 0 && runs[0].End() <= x {
			runs = runs[1:]
		}
		next, ok := s.Next(x)
		if ok != (len(runs) > 0) || ok && next != runs[0] {
			t.Fatalf("Next(%d) = %v, %v, want the first of %v", x, next, ok, runs)
		}
		v := m.at(x)
		r, ok := s.At(x)
		if ok != v.set || ok && (r != runs[0] || r.ToOf(x) != v.to || r.Sub != v.sub) {
			t.Fatalf("At(%d) = %v, %v, want %v, in %v", x, r, ok, v, runs)
		}
	}
}

func TestStoreTable(t *testing.T) {
	// Keys 0-9 and 20-29 map to the same numbers on subflow 0.
	for _, tc := range []struct {
		name string
		do   func(store)
		want []Run
	}{
		{"the last run grows", func(s store) { s.Append(Run{30, 30, 5, 0}) }, []Run{{0, 0, 10, 0}, {20, 20, 15, 0}}},
		{"another subflow begins a run", func(s store) { s.Append(Run{30, 30, 5, 1}) }, []Run{{0, 0, 10, 0}, {20, 20, 10, 0}, {30, 30, 5, 1}}},
		{"an SSN gap begins a run", func(s store) { s.Append(Run{30, 31, 5, 0}) }, []Run{{0, 0, 10, 0}, {20, 20, 10, 0}, {30, 31, 5, 0}}},
		{"a key gap begins a run", func(s store) { s.Append(Run{31, 31, 5, 0}) }, []Run{{0, 0, 10, 0}, {20, 20, 10, 0}, {31, 31, 5, 0}}},
		{"filling the gap joins all three", func(s store) { s.Insert(Run{10, 10, 10, 0}) }, []Run{{0, 0, 30, 0}}},
		{"joined to the run before", func(s store) { s.Insert(Run{10, 10, 3, 0}) }, []Run{{0, 0, 13, 0}, {20, 20, 10, 0}}},
		{"joined to the run behind", func(s store) { s.Insert(Run{17, 17, 3, 0}) }, []Run{{0, 0, 10, 0}, {17, 17, 13, 0}}},
		{"keys that are there keep their mapping", func(s store) { s.Insert(Run{5, 105, 20, 1}) }, []Run{{0, 0, 10, 0}, {10, 110, 10, 1}, {20, 20, 10, 0}}},
		{"replaced keys do not", func(s store) { s.Replace(Run{5, 105, 20, 1}) }, []Run{{0, 0, 5, 0}, {5, 105, 20, 1}, {25, 25, 5, 0}}},
		{"replaced by the same", func(s store) { s.Replace(Run{3, 3, 4, 0}) }, []Run{{0, 0, 10, 0}, {20, 20, 10, 0}}},
		{"a hole in the middle", func(s store) { s.Remove(3, 7) }, []Run{{0, 0, 3, 0}, {7, 7, 3, 0}, {20, 20, 10, 0}}},
		{"removed across runs", func(s store) { s.Remove(8, 22) }, []Run{{0, 0, 8, 0}, {22, 22, 8, 0}}},
		{"released inside a run", func(s store) { s.ReleaseTo(25) }, []Run{{25, 25, 5, 0}}},
		{"released in a gap", func(s store) { s.ReleaseTo(15) }, []Run{{20, 20, 10, 0}}},
		{"released wholly", func(s store) { s.ReleaseTo(30) }, nil},
		{"new after the release", func(s store) { s.ReleaseTo(30); s.Append(Run{30, 30, 1, 0}) }, []Run{{30, 30, 1, 0}}},
		{"nothing inserted", func(s store) { s.Insert(Run{12, 12, 0, 0}) }, []Run{{0, 0, 10, 0}, {20, 20, 10, 0}}},
	} {
		for _, kind := range stores {
			s := kind.make()
			s.Append(Run{0, 0, 10, 0})
			s.Append(Run{20, 20, 10, 0})
			tc.do(s)
			if got := runsOf(s); !slices.Equal(got, tc.want) {
				t.Errorf("%s, %s: %v, want %v", kind.name, tc.name, got, tc.want)
			}
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
	begin func(store)
	step  func(s store, i int64)
}{
	{
		name:  "one run",
		begin: func(store) {},
		step: func(s store, i int64) {
			s.Append(Run{At: 10 * i, To: 10 * i, N: 10})
			s.ReleaseTo(10 * (i - window))
		},
	},
	{
		name:  "alternating",
		begin: func(store) {},
		step: func(s store, i int64) {
			s.Append(turn(i))
			s.ReleaseTo(10 * (i - window))
		},
	},
	{
		name:  "filling below a last run that stays",
		begin: func(s store) { s.Append(Run{At: 1 << 40, To: 1 << 40, N: 1}) },
		step: func(s store, i int64) {
			s.Insert(turn(i))
			s.ReleaseTo(10 * (i - window))
		},
	},
	{
		name:  "two swapped each time",
		begin: func(store) {},
		step: func(s store, i int64) {
			s.Insert(turn(i ^ 1))
			s.ReleaseTo(10 * (i - window))
		},
	},
	{
		name:  "replaced by the other subflow",
		begin: func(store) {},
		step: func(s store, i int64) {
			s.Append(turn(i))
			moved := turn(i - window/2)
			moved.Sub, moved.N = moved.Sub^1, 5
			s.Replace(moved)
			s.ReleaseTo(10 * (i - window))
		},
	},
}

// TestStoreSteadyState: once at its size, a store neither grows nor allocates.
func TestStoreSteadyState(t *testing.T) {
	for _, kind := range stores {
		for _, st := range steadyStates {
			t.Run(kind.name+"/"+st.name, func(t *testing.T) {
				s := kind.make()
				st.begin(s)
				i := int64(window) // so that no key is negative
				live := 0
				for ; i < 20*window; i++ {
					st.step(s, i)
					live = max(live, len(runsOf(s)))
				}
				if n := testing.AllocsPerRun(200_000, func() { st.step(s, i); i++ }); n != 0 {
					t.Errorf("%v allocations per step", n)
				}
				if c := s.size(); c > 4*live+2*maxLeaf {
					t.Errorf("room for %d runs where %d live", c, live)
				}
			})
		}
	}
}
