package sim

import (
	"context"
	"fmt"
	"sync"
)

// Failure is a seed whose run broke an invariant.
type Failure struct {
	Seed uint64
	Result
}

// String tells what went wrong, shows the last packets, and how to run it again.
func (f Failure) String() string { return report(f.Result, fmt.Sprintf("-seed %d", f.Seed)) }

func report(r Result, replay string) string {
	return fmt.Sprintf("%s: %s\n%sreplay: go test ./internal/sim -run TestSeeds %s -packets 200 -v", replay, r.Failure, r.Trace, replay)
}

// Soak runs the scenarios of n seeds from first on with so many workers, until ctx is
// done. Each run is told to ended, one at a time, in any order.
func Soak(ctx context.Context, first, n uint64, workers int, ended func(seed uint64, r Result)) {
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
				r := Run(FromSeed(seed))
				mu.Lock()
				ended(seed, r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
