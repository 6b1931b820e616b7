package upf

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestByID does the same to a byID and to a map, its model.
func TestByID(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var list byID[uint16, int]
	model := map[uint16]*int{}
	for step := range 20_000 {
		id := uint16(rnd.UintN(12))
		switch rnd.UintN(4) {
		case 0:
			list.delete(id)
			delete(model, id)
		case 1: // a copy does not change what it was made from
			copied := list.clone()
			copied.put(id, new(int))
			copied.delete(uint16(rnd.UintN(12)))
		default:
			v := step
			list.put(id, &v)
			model[id] = &v
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
