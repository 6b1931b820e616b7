package dsm

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// bitmap is a set of the numbers from 0 on, one bool each.
type bitmap []bool

// ranges is the bitmap as disjoint, non-touching ranges.
func (b bitmap) ranges() (out []Range) {
	for x, in := range b {
		switch n := len(out); {
		case !in:
		case n > 0 && out[n-1].To == int64(x):
			out[n-1].To++
		default:
			out = append(out, Range{int64(x), int64(x) + 1})
		}
	}
	return out
}

// add sets [from, to), forgets the highest range if there are too many, and reports
// whether a bit of [from, to) was set that is still there.
func (b bitmap) add(from, to int64) (grew bool) {
	before := slices.Clone(b)
	for x := from; x < to; x++ {
		b[x] = true
	}
	if rs := b.ranges(); len(rs) > MaxRanges {
		clear(b[rs[MaxRanges].From:])
	}
	for x := from; x < to; x++ {
		grew = grew || b[x] && !before[x]
	}
	return grew
}

// rangeOp is one call on a Ranges.
type rangeOp struct {
	call     string
	from, to int64
}

// bits is the size of the bitmap: more than twice MaxRanges fit.
const bits = 3 * MaxRanges

// rangeOps draws operations on short ranges, mostly single numbers, so that the set
// often comes to MaxRanges.
func rangeOps() *rapid.Generator[[]rangeOp] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) rangeOp {
		from := rapid.Int64Range(0, bits-1).Draw(t, "from")
		n := rapid.SampledFrom([]int64{0, 1, 1, 1, 1, 1, 1, 2, 3, 20}).Draw(t, "n")
		call := "Add"
		if rapid.IntRange(0, 49).Draw(t, "trim") == 49 {
			call = "TrimBelow"
		}
		return rangeOp{call, from, min(from+n, bits)}
	}), 1, 400)
}

// TestRangesAgainstBitmap does random operations on a Ranges and on a bitmap.
func TestRangesAgainstBitmap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Ranges
		var m Pool
		b := make(bitmap, bits)
		for _, op := range rangeOps().Draw(t, "operations") {
			switch op.call {
			case "Add":
				if got, want := s.Add(&m, op.from, op.to), b.add(op.from, op.to); got != want {
					t.Fatalf("%v: says %v, want %v", op, got, want)
				}
			case "TrimBelow":
				s.TrimBelow(&m, op.from)
				clear(b[:op.from])
			}
			if got, want := rangesOf(&s), b.ranges(); !slices.Equal(got, want) {
				t.Fatalf("after %v: %v, want %v", op, got, want)
			}
		}
		for x := range int64(bits) {
			containing(t, &s, b, x)
		}
		if s.Clear(); s.Len() != 0 {
			t.Fatalf("%d ranges after Clear", s.Len())
		}
	})
}

func rangesOf(s *Ranges) (out []Range) {
	for i := range s.Len() {
		out = append(out, s.Get(i))
	}
	return out
}

// containing compares Search and Containing for x.
func containing(t *rapid.T, s *Ranges, b bitmap, x int64) {
	rs := b.ranges()
	first := slices.IndexFunc(rs, func(r Range) bool { return r.To > x })
	if first < 0 {
		first = len(rs)
	}
	if got := s.Search(x); got != first {
		t.Fatalf("Search(%d) = %d, want %d, in %v", x, got, first, rs)
	}
	r, ok := s.Containing(x)
	if ok != b[x] || ok && r != rs[first] {
		t.Fatalf("Containing(%d) = %v, %v in %v", x, r, ok, rs)
	}
}

// TestRangesOverflow fills a Ranges and then adds one more.
func TestRangesOverflow(t *testing.T) {
	const last = 10 * (MaxRanges - 1) // where the highest begins
	for _, tc := range []struct {
		name     string
		from, to int64
		grew     bool
		n        int
		highest  Range
	}{
		{"lowest: the highest is forgotten", -10, -9, true, MaxRanges, Range{last - 10, last - 9}},
		{"in the middle: the highest is forgotten", 15, 16, true, MaxRanges, Range{last - 10, last - 9}},
		{"highest: forgotten itself", last + 10, last + 11, false, MaxRanges, Range{last, last + 1}},
		{"joined to the highest", last + 1, last + 5, true, MaxRanges, Range{last, last + 5}},
		{"joining two", 1, 10, true, MaxRanges - 1, Range{last, last + 1}},
		{"over all of them", -5, last + 5, true, 1, Range{-5, last + 5}},
	} {
		var s Ranges
		var m Pool
		for i := range int64(MaxRanges) {
			if !s.Add(&m, 10*i, 10*i+1) {
				t.Fatalf("range %d was not added", i)
			}
		}
		if grew := s.Add(&m, tc.from, tc.to); grew != tc.grew {
			t.Errorf("%s: says %v", tc.name, grew)
		}
		if n := s.Len(); n != tc.n || s.Get(n-1) != tc.highest {
			t.Errorf("%s: %d ranges up to %v, want %d up to %v", tc.name, n, s.Get(n-1), tc.n, tc.highest)
		}
	}
}

// TestRangesSteadyState: a scoreboard that slides on neither grows nor allocates.
func TestRangesSteadyState(t *testing.T) {
	var s Ranges
	var m Pool
	x := int64(0)
	step := func() { // every other number, more ranges than fit now and then
		s.Add(&m, x, x+1)
		if x += 2; x%50 == 0 {
			s.TrimBelow(&m, x-3*MaxRanges)
		}
	}
	for range 10 * MaxRanges {
		step()
	}
	if n := testing.AllocsPerRun(100_000, step); n != 0 {
		t.Errorf("%v allocations per step", n)
	}
	if free := m.sets; free[0].free+free[1].free != 2 || free[2].free > 1 {
		t.Errorf("the pool has %v", free)
	}
}

// BenchmarkRangesAdd closes and opens the lowest gap of a scoreboard with n ranges.
func BenchmarkRangesAdd(b *testing.B) {
	for _, n := range []int64{1, 4, MaxRanges} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var s Ranges
			var m Pool
			for i := range n {
				s.Add(&m, 10*i, 10*i+5)
			}
			x := 10 * n
			b.ReportAllocs()
			for b.Loop() {
				s.TrimBelow(&m, s.Get(0).To)
				s.Add(&m, x, x+5)
				x += 10
			}
			if int64(s.Len()) != n {
				b.Fatalf("%d ranges, want %d", s.Len(), n)
			}
		})
	}
}
