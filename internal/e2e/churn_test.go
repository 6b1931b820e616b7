package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/smf"
)

// Subflows come and go, become backup and fullmesh, the policy changes and accesses
// die for a moment, in random order over accesses that lose and reorder packets,
// while data move both ways: none is lost or changed.
func TestChurn(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f := begin(t, mpRstTx) // of a subflow that is closed with data in its queue
			if seed%2 == 1 {
				f.v6()
			}
			f.endpoints()
			c := f.talk()
			ch := &churn{talk: c, rnd: rand.New(rand.NewPCG(seed, 1)), endpoints: map[int]string{}}
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("steps: %q", ch.log)
				}
			})
			ch.heal()
			for range 40 {
				what := ch.step()
				ch.log = append(ch.log, what)
				time.Sleep(time.Duration(ch.rnd.IntN(60)) * time.Millisecond)
			}
			ch.heal()
			c.end()
		})
	}
}

// churn is a talk that the UE's path manager and the accesses disturb.
type churn struct {
	*talk
	rnd       *rand.Rand
	endpoints map[int]string // by ID
	log       []string
}

// heal has both accesses carry packets, a few of which they lose or reorder.
func (ch *churn) heal() {
	for a := range steer.Access(steer.NumAccesses) {
		ch.f.link(a, lab.Impairment{Rate: 60e6, Delay: time.Duration(5+5*a) * time.Millisecond, Loss: 0.003, Reorder: 0.003})
	}
}

// step does one thing and says what.
func (ch *churn) step() string {
	ids := slices.Sorted(maps.Keys(ch.endpoints))
	switch n := ch.rnd.IntN(10); {
	case n < 4 || len(ids) == 0:
		return ch.add()
	case n < 7:
		return ch.remove(ids[ch.rnd.IntN(len(ids))])
	case n < 8:
		id, flag := ids[ch.rnd.IntN(len(ids))], []string{"backup", "nobackup", "fullmesh", "nofullmesh"}[ch.rnd.IntN(4)]
		ch.f.pathManager("endpoint", "change", "id", fmt.Sprint(id), flag)
		return fmt.Sprintf("%s %d", flag, id)
	case n < 9:
		edit := []func(*smf.Session){prefer(tgpp), prefer(nonTGPP), balance(50), balance(0)}[ch.rnd.IntN(4)]
		ch.f.setPolicy(edit)
		return "policy"
	default:
		a := steer.Access(ch.rnd.IntN(steer.NumAccesses))
		ch.f.kill(a)
		time.Sleep(time.Duration(ch.rnd.IntN(300)) * time.Millisecond)
		ch.heal()
		return fmt.Sprintf("%v died for a moment", a)
	}
}

// add makes an endpoint of a free address. ID 1 is the address that the connection
// began from.
func (ch *churn) add() string {
	id := 1 + ch.rnd.IntN(7)
	if _, is := ch.endpoints[id]; is {
		return "nothing"
	}
	flags := "subflow"
	for _, more := range []string{" backup", " signal"} { // fullmesh and signal exclude each other
		if ch.rnd.IntN(4) == 0 {
			flags += more
		}
	}
	a, k := steer.Access((id-1)%steer.NumAccesses), (id-1)/steer.NumAccesses
	ch.endpoints[id] = ch.f.ueAddress(a, k)
	ch.f.endpoint(fmt.Sprintf("%s id %d %s", ch.endpoints[id], id, flags))
	return fmt.Sprintf("add %d %s", id, flags)
}

// remove takes an endpoint away, unless its subflow is the last one.
func (ch *churn) remove(id int) string {
	others := slices.DeleteFunc(ch.locals(), func(local string) bool { return local == ch.endpoints[id] })
	if len(others) == 0 {
		return "nothing"
	}
	ch.f.pathManager("endpoint", "delete", "id", fmt.Sprint(id))
	delete(ch.endpoints, id)
	return fmt.Sprintf("delete %d", id)
}
