package sim

import (
	"flag"
	"runtime"
	"testing"
)

var (
	seeds = flag.Uint64("seeds", 500, "number of seeds TestSeeds runs")
	first = flag.Uint64("first", 1, "first seed")
	seed  = flag.Uint64("seed", 0, "run this seed alone, and print its last packets")
	base  = flag.Bool("base", false, "without what extend adds")
)

// TestEndpoints runs the models of client and server against each other, without
// MPTCP and without proxy.
func TestEndpoints(t *testing.T) {
	for i := uint64(1); i <= 300; i++ {
		cfg := FromSeed(i)
		for j := range cfg.Conns {
			c := &cfg.Conns[j]
			c.Client.plain, c.Client.checksum, c.TCP.reserve, c.ServeTCP.longest, c.Joins = true, false, 0, 0, nil
		}
		r := run(cfg, func(w *world) middle { return router{w} }, nil)
		if r.Failure != "" {
			t.Fatalf("seed %d: %s\n%s", i, r.Failure, r.Trace)
		}
	}
}

// TestSeeds runs scenarios drawn from seeds through the proxy.
func TestSeeds(t *testing.T) {
	if *base {
		runSeeds(t, baseSeeds, *seeds)
		return
	}
	runSeeds(t, AnySeeds, *seeds)
	if *seed == 0 {
		runFailed(t, AnySeeds, anyOnceFailed)
		runFailed(t, baseSeeds, onceFailed)
	}
}

// TestRedundantSeeds does so with the steering mode Redundant among the policies.
func TestRedundantSeeds(t *testing.T) {
	runSeeds(t, RedundantSeeds, *seeds/3)
	if *seed == 0 {
		runFailed(t, RedundantSeeds, redundantOnceFailed)
	}
}

// TestModesSeeds does so with all steering modes among the policies.
func TestModesSeeds(t *testing.T) {
	runSeeds(t, ModesSeeds, *seeds/3)
}

// TestConvertSeeds does so by way of the converter (RFC 8803).
func TestConvertSeeds(t *testing.T) {
	runSeeds(t, ConvertSeeds, *seeds/2)
	if *seed == 0 {
		runFailed(t, ConvertSeeds, convertOnceFailed)
	}
}

// runFailed runs seeds that once failed.
func runFailed(t *testing.T, s Seeds, failed []uint64) {
	for _, seed := range failed {
		if r := s.run(s.draw(seed)); r.Failure != "" {
			t.Error(Failure{s, seed, r})
		}
	}
}

// runSeeds runs n seeds from the first on, or the one seed that was asked for.
func runSeeds(t *testing.T, s Seeds, n uint64) {
	if *seed != 0 {
		r := s.run(s.draw(*seed))
		t.Logf("%+v", s.draw(*seed))
		if r.Failure != "" {
			t.Fatal(Failure{s, *seed, r})
		}
		t.Logf("%v, %d packets, %v %+v", r.Done, r.Packets, r.Counters, r.Watches)
		return
	}
	if testing.Short() {
		n = min(n, 100)
	}
	stalled := uint64(0)
	ended := func(seed uint64, r Result) {
		if r.Failure != "" {
			t.Error(Failure{s, seed, r})
		}
		if r.Stalled {
			stalled++
		}
	}
	s.Soak(t.Context(), *first, n, runtime.GOMAXPROCS(0), ended)
	if stalled > 2+n/50 {
		t.Errorf("netstack stalled in %d of %d seeds: too often to be its own fault", stalled, n)
	}
}

// anyOnceFailed are seeds that found errors. Of the proxy: old data of a subflow that
// stood still were not acknowledged (543), an access that had only lost probes was taken
// for gone (2002507), the window not told to a subflow that was given up and alone probed
// for it (5000113), a join that waited for its third ACK forgotten too soon (5881), a
// connection forgotten for a join's SYN repeated after its end (40201), data acknowledged
// as void since the byte before them, which was only lost, lay between two void ranges
// (6008574). Of the model: no DATA_FIN once the first subflow was closed (3000830), one
// SYN/ACK demanded of a join that the proxy forgot in between (2003964).
var anyOnceFailed = []uint64{543, 2002507, 5000113, 5881, 40201, 6008574, 2003964, 3000830}

// onceFailed are seeds of the base scenarios that found errors. Of the proxy: data stuck behind a hole whose
// own data were higher (1561, 3575, 4067, 5353, 6136, and without SACK 111401), a SACK
// for what a filler took the place of (3244), SACKed data taken back because the hole
// before them was filled over another subflow while theirs was only slow (60885,
// 101838, 112438) or its DATA_ACK lagged (200152), an upload without SACK that waited
// for ever for bytes that had been cut off at the server's window (304846), a window
// probe that was not passed on since it came on another subflow than the one in use
// (1002409), old data of a subflow that stood still, neither taken nor acknowledged
// (1003649, 1005049, 1007204). Of the model: no keepalive in FIN-WAIT-2 (72415), a
// fast retransmission without SACK held back by the congestion window (1002628).
var onceFailed = []uint64{
	1561, 3244, 3575, 4067, 5353, 6136, 111401,
	60885, 101838, 112438, 200152, 304846, 1002409, 1003649, 1005049, 1007204,
	72415, 1002628,
}

// redundantOnceFailed are seeds of TestRedundantSeeds that found errors of the proxy: a
// subflow whose data had all come over the other could not be closed (12637, 10750, 51350).
var redundantOnceFailed = []uint64{12637, 10750, 51350}

// convertOnceFailed are seeds of TestConvertSeeds that found errors of the proxy: a lost third
// ACK of a UE with nothing else to say (917, 964, 1698), SACK of what follows a lost message
// taken for reneging (395), SACK passed on to a server without (547, 820, 1680), data on a
// join before its fourth ACK (201551, 70694), a message said to a plain UE for ever (300345,
// 301935), a window counted from before the payload of the SYN (300813), a
// reset of the server that a plain UE without the message did not take (400335), SACK of what
// follows the payload of the SYN (405520).
var convertOnceFailed = []uint64{917, 964, 1698, 395, 547, 820, 1680, 201551, 70694, 300345, 300813, 301935, 400335, 405520}

// netstackOnceFailed are seeds of TestNetstackSeeds that found errors. Of the model: data
// behind a byte that was void and waited on its subflow for others not held void (7100358).
// Of the proxy: a subflow's last ACKs, which have no options, taken for a middlebox's work
// (7100131).
var netstackOnceFailed = []uint64{7100358, 7100131}

func init() { flag.IntVar(&traceLen, "packets", traceLen, "packets printed before a failure") }
