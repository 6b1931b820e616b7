package dsm

import (
	"fmt"
	"slices"
)

// store is what the one that ships and those that it is compared with do.
type store interface {
	At(x int64) (Run, bool)
	Next(x int64) (Run, bool) // the first run that ends after x
	Append(Run)
	Insert(Run)
	Replace(Run)
	Remove(from, to int64)
	ReleaseTo(x int64)

	check() error // whether its own invariants hold
	size() int    // runs that there is room for
}

// stores are the kinds of store; each test and benchmark covers all.
var stores = []struct {
	name string
	make func() store
}{
	{"leaves", func() store { return new(leafStore) }},
	{"slice", func() store { return new(sliceStore) }},
	{"rbtree", func() store { return new(dTree) }},
}

// leafStore is the store that ships, with a pool of its own.
type leafStore struct {
	Runs
	pool Pool
}

func (s *leafStore) Append(r Run)          { s.Runs.Append(&s.pool, r) }
func (s *leafStore) Insert(r Run)          { s.Runs.Insert(&s.pool, r) }
func (s *leafStore) Replace(r Run)         { s.Runs.Replace(&s.pool, r) }
func (s *leafStore) Remove(from, to int64) { s.Runs.Remove(&s.pool, from, to) }
func (s *leafStore) ReleaseTo(x int64)     { s.Runs.ReleaseTo(&s.pool, x) }

func (s *leafStore) Next(x int64) (r Run, ok bool) {
	c := s.Search(x)
	if c.OK() {
		r = c.Run()
	}
	return r, c.OK()
}

// size counts what the store holds and what lies in the pool.
func (s *leafStore) size() int {
	n := 0
	for class, free := range s.pool.leaves {
		n += leafClasses[class] * free.free
	}
	switch {
	case s.dir != nil:
		n += maxLeaf * s.dir.len()
	case s.last != nil:
		n += cap(s.last.runs)
	}
	return n
}

func (s *leafStore) check() error {
	if err := s.checkReading(); err != nil {
		return err
	}
	if s.dir == nil {
		held := 0
		if s.last != nil {
			held = 1
		}
		if n := s.pool.InUse(); n != held || held == 1 && len(s.last.live()) == 0 {
			return fmt.Errorf("%d blocks are in use for the only leaf %v", n, s.last)
		}
		return nil
	}
	n := s.dir.len()
	if n < 2 || s.last != s.dir.entry(n-1).leaf || s.pool.InUse() != n+1 {
		return fmt.Errorf("%d leaves are listed, %d blocks in use", n, s.pool.InUse())
	}
	for k := range n {
		e := s.dir.entry(k)
		switch {
		case len(e.leaf.live()) == 0:
			return fmt.Errorf("leaf %d is empty", k)
		case cap(e.leaf.runs) != maxLeaf:
			return fmt.Errorf("leaf %d has room for %d runs", k, cap(e.leaf.runs))
		case k > 0 && e.at != e.leaf.firstKey():
			return fmt.Errorf("leaf %d begins at %d, listed at %d", k, e.leaf.firstKey(), e.at)
		}
	}
	return nil
}

// checkReading verifies that the ways to read the runs agree.
func (s *leafStore) checkReading() error {
	runs := runsOf(s)
	if s.Len() != len(runs) || s.Empty() != (len(runs) == 0) {
		return fmt.Errorf("Len() = %d, Empty() = %v of %v", s.Len(), s.Empty(), runs)
	}
	if r, ok := s.First(); ok && r != runs[0] {
		return fmt.Errorf("First() = %v of %v", r, runs)
	}
	var up, down []Run
	c := s.Search(-1 << 62)
	for ; c.OK(); c.Next() {
		up = append(up, c.Run())
	}
	for c = s.End(); c.Prev(); {
		down = append(down, c.Run())
	}
	slices.Reverse(down)
	if !slices.Equal(up, runs) || !slices.Equal(down, runs) {
		return fmt.Errorf("a cursor gives %v upwards and %v downwards of %v", up, down, runs)
	}
	return nil
}

// runsOf lists the runs of s.
func runsOf(s store) (out []Run) {
	r, ok := s.Next(-1 << 62)
	for ok {
		out = append(out, r)
		r, ok = s.Next(r.End())
	}
	return out
}
