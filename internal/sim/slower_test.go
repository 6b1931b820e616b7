package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// What each connection of steadily gets, and how often.
const (
	piece = 4000
	pace  = 20 * ms
)

// steadily is n downloads at a pace that leaves both accesses room, the 3GPP access being the
// nearer one, for the given time.
func steadily(n int, policy steer.Policy, d time.Duration) Config {
	cfg := twice(piece * int64(d/pace))
	cfg.Policy, cfg.Seed = policy, 7
	for a, delay := range []time.Duration{5 * ms, 15 * ms} {
		cfg.Access[a].Up.Delay, cfg.Access[a].Down.Delay, cfg.Access[a].Down.Rate = delay, delay, 100e6
	}
	cfg.N6Up.Delay, cfg.N6Down.Delay = ms/10, ms/10
	cfg.Conns[0].Server.piece, cfg.Conns[0].Server.pace = piece, pace
	one := cfg.Conns[0]
	cfg.Conns = nil
	for i := range n {
		c := one
		c.Start, c.KeyA = time.Duration(i)*7*ms, c.KeyA+uint64(i)
		c.Joins = append([]JoinConfig(nil), one.Joins...)
		cfg.Conns = append(cfg.Conns, c)
	}
	return cfg
}

// TestSlowerAccess: the 3GPP access becomes 100 ms slower each way under steady traffic. What
// was under way then may be sent again, once; the round trip is learnt, and nothing is from
// then on, though in Redundant mode all goes over the slow access, too.
func TestSlowerAccess(t *testing.T) {
	const at, seconds = 2000 * ms, 5
	for name, policy := range modes() {
		for _, n := range []int{1, 8} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				cfg := steadily(n, policy, at+(seconds+1)*time.Second)
				cfg.Events = append(cfg.Events, delayChange(at, steer.Access3GPP, 105*ms, 105*ms))
				sent := int64(n) * piece * int64(time.Second/pace) // a second
				var again, slow [seconds + 1]int64
				for i := range again {
					cfg.Events = append(cfg.Events, when(at+time.Duration(i)*time.Second, func(w *world) {
						c := w.middle.(*translator).proxy.Counters()
						again[i] = int64(c.DownlinkRetrans + c.Filled)
						for _, p := range w.pairs {
							slow[i] += p.watch.stats.Down[steer.Access3GPP]
						}
					}))
				}
				if r := Run(cfg); r.Failure != "" {
					t.Fatalf("%s\n%s", r.Failure, r.Trace)
				}
				for i := range seconds {
					repeats, limit := again[i+1]-again[i], sent/50
					if i == 0 {
						limit = sent / 3
					}
					t.Logf("second %d: %d bytes of %d were sent again, %d over the slow access", i, repeats, sent, slow[i+1]-slow[i])
					if repeats > limit {
						t.Errorf("second %d: %d bytes of %d were sent again, want at most %d", i, repeats, sent, limit)
					}
				}
				if n := slow[seconds] - slow[seconds-1]; policy.Mode == steer.Redundant && n < sent*9/10 {
					t.Errorf("%d bytes of %d went over the slow access in the last second", n, sent)
				}
			})
		}
	}
}
