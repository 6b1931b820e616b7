package upf

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// numbered is a rule of which there are several under one ID.
type numbered struct {
	id   uint16
	step int
}

func (n *numbered) Key() uint16 { return n.id }

// TestByID does the same to a byID and to a map, its model.
func TestByID(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var list byID[uint16, *numbered]
	model := map[uint16]*numbered{}
	for step := range 20_000 {
		id := uint16(rnd.UintN(12))
		switch rnd.UintN(4) {
		case 0:
			list.delete(id)
			delete(model, id)
		case 1: // a copy does not change what it was made from
			copied := list.clone()
			copied.put(&numbered{id, step})
			copied.delete(uint16(rnd.UintN(12)))
		default:
			rule := &numbered{id, step}
			list.put(rule)
			model[id] = rule
		}
		for id := range uint16(12) {
			if list.get(id) != model[id] {
				t.Fatalf("step %d: ID %d differs", step, id)
			}
		}
		var ids []uint16
		for _, e := range list {
			ids = append(ids, e.id)
		}
		if !slices.Equal(ids, slices.Sorted(maps.Keys(model))) {
			t.Fatalf("step %d: IDs %v", step, ids)
		}
	}
}
