package dataplane

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/proxy"
)

// TestPMFWheel: sessions come out when they are due, not before and at most a tick after,
// whatever is put in and taken out; against a map.
func TestPMFWheel(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		var h pmfWheel
		now := proxy.Time(random.Int64N(1e15))
		all := make([]pmfSession, 50)
		model := map[*pmfSession]proxy.Time{} // when they are due
		for range 2000 {
			s := &all[random.IntN(len(all))]
			switch random.IntN(4) {
			case 0:
				if _, in := model[s]; !in {
					at := now + proxy.Time(random.Int64N(int64(time.Second)))
					h.add(s, now, at)
					model[s] = at
				}
			case 1:
				h.remove(s)
				delete(model, s)
			default:
				now += proxy.Time(random.Int64N(int64(30 * time.Millisecond)))
				budget := random.IntN(20)
				if random.IntN(200) == 0 { // the worker slept
					now += proxy.Time(random.Int64N(int64(20 * time.Second)))
					budget = len(all) + 1
				}
				for ; budget > 0; budget-- {
					s := h.due(now)
					if s == nil {
						break
					}
					at, in := model[s]
					if !in || pmfSlot(at) > pmfSlot(now) {
						t.Fatalf("at %v came a session due at %v (there: %v)", now, at, in)
					}
					delete(model, s)
				}
				if budget > 0 {
					for _, at := range model {
						if pmfSlot(at) < pmfSlot(now) {
							t.Fatalf("at %v one due at %v did not come", now, at)
						}
					}
				}
			}
			if h.n != len(model) {
				t.Fatalf("%d in the wheel, want %d", h.n, len(model))
			}
		}
	}
}
