package upf

import (
	"cmp"
	"slices"
)

// byID holds the rules of one kind, pointers of type R, in rising order of their
// IDs: a session has few, and a list of them is small. The zero value is empty.
type byID[K cmp.Ordered, R keyed[K]] []R

// keyed is a rule with an ID.
type keyed[K cmp.Ordered] interface {
	comparable
	Key() K
}

func (l byID[K, R]) find(id K) (int, bool) {
	return slices.BinarySearchFunc(l, id, func(r R, id K) int { return cmp.Compare(r.Key(), id) })
}

// get is the rule with that ID, nil if there is none.
func (l byID[K, R]) get(id K) (rule R) {
	if at, ok := l.find(id); ok {
		rule = l[at]
	}
	return rule
}

// put adds a rule, in the place of the one with its ID if there is one.
func (l *byID[K, R]) put(rule R) {
	at, ok := l.find(rule.Key())
	if ok {
		(*l)[at] = rule
		return
	}
	*l = slices.Insert(*l, at, rule)
}

// delete takes the rule with that ID away, if there is one.
func (l *byID[K, R]) delete(id K) {
	if at, ok := l.find(id); ok {
		*l = slices.Delete(*l, at, at+1)
	}
}

// clone is a copy of l that shares the rules.
func (l byID[K, R]) clone() byID[K, R] { return slices.Clip(slices.Clone(l)) }

// amend applies update to a copy of the rule with its ID, which takes the rule's place;
// false if there is none.
func amend[K cmp.Ordered, V any, R interface {
	*V
	keyed[K]
	Apply(update *V)
}](rules *byID[K, R], update R) bool {
	old := rules.get(update.Key())
	if old == nil {
		return false
	}
	rule := *old
	R(&rule).Apply(update)
	rules.put(&rule)
	return true
}
