// Command soak runs the simulation of the translator with new seeds on every core
// until SIGINT, or for a given time or number of seeds: `make soak`. A failed seed is
// printed at once, with its last packets and the command that runs it again; it makes
// the exit status 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/braid-upf/braid/internal/sim"
)

const progressEvery = 5 * time.Second

func main() {
	span := flag.Duration("for", 0, "how long; 0 = until interrupted")
	seeds := flag.Uint64("seeds", 1<<63, "at most so many seeds")
	first := flag.Uint64("first", uint64(time.Now().Unix())<<20, "first seed; else new ones each second")
	workers := flag.Int("workers", runtime.GOMAXPROCS(0), "seeds run at a time")
	redundant := flag.Bool("redundant", false, "seeds with the steering mode Redundant among their policies")
	modes := flag.Bool("modes", false, "seeds with all steering modes among their policies")
	converter := flag.Bool("convert", false, "such seeds by way of the transport converter")
	netstack := flag.Bool("netstack", false, "such seeds with gVisor's netstack as server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *span > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *span)
		defer cancel()
	}
	fmt.Printf("seeds from %d on, %d at a time\n", *first, *workers)
	t := tally{of: sim.AnySeeds, begin: time.Now()}
	switch {
	case *netstack:
		t.of = sim.NetstackSeeds
	case *modes:
		t.of = sim.ModesSeeds
	case *converter:
		t.of = sim.ConvertSeeds
	case *redundant:
		t.of = sim.RedundantSeeds
	}
	t.shown = t.begin
	t.of.Soak(ctx, *first, *seeds, *workers, t.ended)
	t.show()
	if len(t.failed) > 0 {
		fmt.Println("failed seeds:", t.failed)
		os.Exit(1)
	}
}

// tally counts the runs.
type tally struct {
	of            sim.Seeds
	begin, shown  time.Time
	done, packets int
	failed        []uint64
}

func (t *tally) ended(seed uint64, r sim.Result) {
	t.done++
	t.packets += r.Packets
	if r.Failure != "" {
		t.failed = append(t.failed, seed)
		fmt.Println(sim.Failure{Of: t.of, Seed: seed, Result: r})
	}
	if time.Since(t.shown) >= progressEvery {
		t.show()
	}
}

func (t *tally) show() {
	t.shown = time.Now()
	took := t.shown.Sub(t.begin)
	fmt.Printf("%s: %d seeds, %d failed, %.0f seeds/s, %d packets\n",
		took.Round(time.Second), t.done, len(t.failed), float64(t.done)/took.Seconds(), t.packets)
}
