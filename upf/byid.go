package upf

import (
	"cmp"
	"slices"
)

// byID holds the rules of one kind in rising order of their IDs: a session has few,
// and a list of them is small. The zero value is empty.
type byID[K cmp.Ordered, R any] []entry[K, R]

type entry[K cmp.Ordered, R any] struct {
	id   K
	rule *R
}

func (l byID[K, R]) find(id K) (int, bool) {
	return slices.BinarySearchFunc(l, id, func(e entry[K, R], id K) int { return cmp.Compare(e.id, id) })
}

// get is the rule with that ID, nil if there is none.
func (l byID[K, R]) get(id K) *R {
	if at, ok := l.find(id); ok {
		return l[at].rule
	}
	return nil
}

// put adds a rule, in the place of the one with its ID if there is one.
func (l *byID[K, R]) put(id K, rule *R) {
	at, ok := l.find(id)
	if ok {
		(*l)[at].rule = rule
		return
	}
	*l = slices.Insert(*l, at, entry[K, R]{id, rule})
}

// delete takes the rule with that ID away, if there is one.
func (l *byID[K, R]) delete(id K) {
	if at, ok := l.find(id); ok {
		*l = slices.Delete(*l, at, at+1)
	}
}

// clone is a copy of l that shares the rules.
func (l byID[K, R]) clone() byID[K, R] { return slices.Clip(slices.Clone(l)) }
