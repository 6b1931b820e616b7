package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// ends says whether s is of a connection's end: DATA_FIN, FIN, or what answers them.
func ends(s *segment) bool { return s.has(packet.FIN) || s.mp.dss != nil && s.mp.dss.fin }

// anEnd is a download of n bytes with a subflow on each access, and the end of it; first is
// who closes first.
func anEnd(n int64, first string) Config {
	cfg := twice(n)
	c := &cfg.Conns[0]
	switch first {
	case "client":
		c.Client.close, c.Server.close = closeAfterSend, closeAfterEOF
	case "server":
		c.Client.close = closeAfterEOF
	case "both":
		c.Client.close = closeAfterAll
	}
	return cfg
}

// closesWithin watches whether the client's subflows have got all FINs within some time of the
// connection's end.
func closesWithin(cfg *Config, within time.Duration) {
	cfg.Events = append(cfg.Events, when(0, func(w *world) {
		var done time.Duration
		var look func()
		look = func() {
			p, now := w.pairs[0], w.clock.Now()
			if p.done() && done == 0 {
				done = now
			}
			var open *subflow
			for _, f := range p.client.subs {
				if f.state != timeWait && f.state != closed {
					open = f
				}
			}
			switch {
			case done == 0 || open != nil && now-done < within:
				w.clock.After(10*ms, look)
			case open != nil:
				w.fail("%v after the end: %v", within, open.tcp)
			}
		}
		look()
	}))
}

// TestEndLost loses each packet of a connection's end in turn, on each leg, alone and with one
// of the next few, however the connection ends: both ends are through, and all subflows, too.
// Where copies are lost, the UE's second subflow has a hole below our FIN.
func TestEndLost(t *testing.T) {
	legs := []struct {
		name string
		of   func(*world) *leg
	}{{"3GPP up", gppUp}, {"3GPP down", gppDown}, {"non-3GPP up", non3Up}, {"non-3GPP down", non3Down}, {"N6 up", n6Up}, {"N6 down", n6Down}}
	for _, mode := range []struct {
		name   string
		policy steer.Policy
		copies int // lost
	}{{"active-standby", activeStandby(steer.Access3GPP), 0}, {"redundant", redundant(), 0}, {"redundant, copies lost", redundant(), 2}} {
		for _, first := range []string{"client", "server", "both"} {
			t.Run(mode.name+"/"+first, func(t *testing.T) {
				runs := 0
				// lose runs the end without packets a and b of it, counted over all legs, and gives
				// how many there were.
				lose := func(a, b int) (n int) {
					cfg := anEnd(10_000, first)
					cfg.Policy = mode.policy
					begun, copies := false, mode.copies
					var lost string
					cfg.Events = append(cfg.Events, when(0, func(w *world) {
						for _, l := range legs {
							leg := l.of(w)
							leg.filter = func(s *segment) bool {
								if copies > 0 && leg == w.downs[1] && len(s.payload) > 1 {
									copies--
									return true
								}
								if begun = begun || ends(s); !begun {
									return false
								}
								if n++; n-1 != a && n-1 != b {
									return false
								}
								lost += fmt.Sprintf("\nlost: %s: %s", l.name, describe(s, &traceItem{}))
								return true
							}
						}
					}))
					closesWithin(&cfg, 3*time.Second)
					if r := Run(cfg); r.Failure != "" {
						t.Errorf("%s%s", r.Failure, lost)
					}
					runs++
					return n
				}
				n := lose(-1, -1)
				for a := range n {
					for b := a; b < a+5; b++ { // what is repeated for the first, too
						lose(a, b)
					}
				}
				t.Logf("%d packets, %d runs", n, runs)
			})
		}
	}
}

// TestEndUnderLoss ends connections over accesses that lose a tenth each way.
func TestEndUnderLoss(t *testing.T) {
	for _, policy := range []steer.Policy{activeStandby(steer.Access3GPP), redundant()} {
		for _, first := range []string{"client", "server", "both"} {
			for seed := range uint64(100) {
				cfg := anEnd(30_000, first)
				cfg.Policy, cfg.Seed = policy, seed
				cfg.Conns[0].ServeTCP.mayRenege = true // an access may seem dead
				for a := range cfg.Access {
					cfg.Access[a].Up.Loss, cfg.Access[a].Down.Loss = 0.1, 0.1
				}
				closesWithin(&cfg, 10*time.Second)
				if r := Run(cfg); r.Failure != "" {
					t.Errorf("%v, %s closes first, seed %d: %s", policy.Mode, first, seed, r.Failure)
				}
			}
		}
	}
}
