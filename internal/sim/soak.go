package sim

import (
	"context"
	"fmt"
	"sync"
)

// Seeds is a way to draw a scenario from a seed and to run it, and the test that does.
type Seeds struct {
	draw func(seed uint64) Config
	run  func(Config) Result
	test string
}

// The ways to draw a scenario. The first three differ in the steering policies, and what is
// said of the accesses; the fourth has another server than the second.
var (
	AnySeeds       = Seeds{FromSeed, Run, "TestSeeds"}
	RedundantSeeds = Seeds{RedundantFromSeed, Run, "TestRedundantSeeds"} // Redundant among the policies
	ModesSeeds     = Seeds{ModesFromSeed, Run, "TestModesSeeds"}         // all modes among them
	ConvertSeeds   = Seeds{ConvertFromSeed, Run, "TestConvertSeeds"}     // by way of the converter
	NetstackSeeds  = Seeds{RedundantFromSeed, RunNetstack, "TestNetstackSeeds"}

	baseSeeds = Seeds{baseFromSeed, Run, "TestSeeds -base"} // without what extend adds
)

// Failure is a seed whose run broke an invariant.
type Failure struct {
	Of   Seeds
	Seed uint64
	Result
}

// String tells what went wrong, shows the last packets, and how to run it again.
func (f Failure) String() string {
	replay := fmt.Sprintf("-seed %d", f.Seed)
	return fmt.Sprintf("%s: %s\n%sreplay: go test ./internal/sim -run %s %s -packets 200 -v", replay, f.Result.Failure, f.Trace, f.Of.test, replay)
}

// Soak runs the scenarios of n seeds from first on with so many workers, until ctx is
// done. Each run is told to ended, one at a time, in any order.
func (s Seeds) Soak(ctx context.Context, first, n uint64, workers int, ended func(seed uint64, r Result)) {
	var (
		mu   sync.Mutex
		next = first
		wg   sync.WaitGroup
	)
	take := func() (seed uint64, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		seed = next
		next++
		return seed, seed-first < n && ctx.Err() == nil
	}
	for range workers {
		wg.Go(func() {
			for {
				seed, ok := take()
				if !ok {
					return
				}
				r := s.run(s.draw(seed))
				mu.Lock()
				ended(seed, r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
