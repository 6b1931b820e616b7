package sim

import (
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// TestNetstackEndpoints runs the model of the client against netstack, without MPTCP
// and without proxy.
func TestNetstackEndpoints(t *testing.T) {
	for i := uint64(1); i <= 50; i++ {
		cfg := baseFromSeed(i)
		for j := range cfg.Conns {
			c := &cfg.Conns[j]
			c.Client.plain, c.Client.checksum, c.TCP.reserve, c.ServeTCP.longest, c.Joins = true, false, 0, 0, nil
		}
		r, _ := runNetstack(cfg, drawNetOptions, func(w *world) middle { return router{w} }, nil)
		if r.Failure != "" {
			t.Fatalf("seed %d: %s\n%s", i, r.Failure, r.Trace)
		}
	}
}

// TestNetstackSeesBytes changes one byte that the client sent on its way to netstack.
func TestNetstackSeesBytes(t *testing.T) {
	cfg := upload(10_000)
	cfg.Conns[0].Client.plain, cfg.Conns[0].TCP.reserve = true, 0
	fixed := func(*rand.Rand) netOptions { return netOptions{} }
	r, _ := runNetstack(cfg, fixed, func(w *world) middle { return router{w} }, func(point int, pkt []byte) []byte {
		if last := len(pkt) - 1; point == toServer && len(pkt) > 1000 {
			pkt[last] ^= 1
			putChecksum(pkt)
		}
		return pkt
	})
	if !strings.Contains(r.Failure, "is not what the client wrote") {
		t.Errorf("failure %q", r.Failure)
	}
}

// TestNetstackRepeats runs seeds twice: the packets are the same and in the same order.
func TestNetstackRepeats(t *testing.T) {
	run := func(seed uint64) (packets uint64, r Result) {
		sum := fnv.New64a()
		r, _ = runNetstack(baseFromSeed(seed), drawNetOptions, nil, func(_ int, pkt []byte) []byte {
			sum.Write(pkt)
			return pkt
		})
		return sum.Sum64(), r
	}
	sums := make(map[uint64]bool)
	for seed := uint64(1); seed <= 20; seed++ {
		sum, r := run(seed)
		again, r2 := run(seed)
		if sum != again || r.Done != r2.Done || r.Packets != r2.Packets {
			t.Errorf("seed %d: %d packets, sum %x, until %v; then %d, %x, %v", seed, r.Packets, sum, r.Done, r2.Packets, again, r2.Done)
		}
		sums[sum] = true
	}
	if len(sums) != 20 {
		t.Errorf("20 seeds, %d different runs", len(sums))
	}
}

// TestNetstackSeeds runs scenarios drawn from seeds with netstack as server.
func TestNetstackSeeds(t *testing.T) {
	runSeeds(t, NetstackSeeds, *seeds/5)
	if *seed == 0 {
		runFailed(t, NetstackSeeds, netstackOnceFailed)
	}
}

func TestNetstack(t *testing.T) {
	const size = 300_000
	all := func(g *Config) []*Path {
		return []*Path{&g.N6Up, &g.N6Down, &g.Access[0].Up, &g.Access[0].Down, &g.Access[1].Up, &g.Access[1].Down}
	}
	slow := func(g *Config, rate int64) { // bit/s on either access, so that events fall into the transfer
		for a := range g.Access {
			g.Access[a].Up.Rate, g.Access[a].Down.Rate = rate, rate
		}
	}
	// restless moves both directions to the other access and back, again and again.
	restless := func(g *Config, _ *ConnConfig) {
		slow(g, 4e6)
		for i := range 20 {
			at := time.Duration(150+100*i) * ms
			a := steer.Access(i % 2)
			g.Events = append(g.Events, setPolicy(at, activeStandby(a.Other())), setBackup(at, 0, int(a), true), setBackup(at, 0, int(a.Other()), false))
		}
	}
	bothWays := func(t *testing.T, moved [2]int64) {
		t.Helper()
		if moved[0] < 30_000 || moved[1] < 30_000 {
			t.Errorf("bytes per access: %v", moved)
		}
	}
	downBoth := func(t *testing.T, r Result) { bothWays(t, r.Watches[0].Down) }
	upBoth := func(t *testing.T, r Result) { bothWays(t, r.Watches[0].Up) }
	counted := func(name string) func(*testing.T, Result) {
		return func(t *testing.T, r Result) {
			if r.Counters[name] == 0 {
				t.Errorf("%s is 0", name)
			}
		}
	}
	for _, s := range []struct {
		name    string
		cfg     Config
		change  func(*Config, *ConnConfig)
		options netOptions
		within  time.Duration
		check   func(*testing.T, Result)
	}{
		{"download", download(size), nil, netOptions{}, 3 * time.Second, nil},
		{"download, CUBIC", download(4 * size), nil, netOptions{cubic: true}, 3 * time.Second, nil},
		{"upload", upload(size), nil, netOptions{}, 3 * time.Second, nil},
		{"both ways", transfer(size, size), nil, netOptions{}, 3 * time.Second, nil},
		{"echo, client half closed", transfer(size, size), func(_ *Config, c *ConnConfig) {
			c.Server.echo = true
		}, netOptions{}, 3 * time.Second, nil},
		{"IPv6", transfer(size, size), func(g *Config, _ *ConnConfig) { g.IPv6 = true }, netOptions{}, 3 * time.Second, nil},
		{"DSS checksum", transfer(size, size), func(_ *Config, c *ConnConfig) {
			c.Client.checksum = true
		}, netOptions{}, 3 * time.Second, nil},
		{"segments of 4 KiB, uncut", download(size), func(_ *Config, c *ConnConfig) {
			c.ServeTCP.longest = 4096
		}, netOptions{}, 3 * time.Second, nil},
		{"Nagle, small writes", transfer(size, size), nil, netOptions{nagle: true, piece: 700}, 5 * time.Second, nil},
		{"SYN cookie", transfer(size, size), nil, netOptions{cookies: true}, 5 * time.Second, nil},
		{"receive buffer grows", upload(8 * size), nil, netOptions{autotune: true}, 5 * time.Second, nil},
		{"without timestamps, SACK and window scale", transfer(size, size), func(_ *Config, c *ConnConfig) {
			for _, x := range []*tcpConfig{&c.TCP, &c.Joins[0].TCP} {
				x.ts, x.sack, x.wscale = false, false, -1
			}
			c.ServeTCP.sack = false
		}, netOptions{}, 5 * time.Second, nil},

		{"download, switch and back", download(2 * size), restless, netOptions{}, 6 * time.Second, downBoth},
		{"upload, switch and back", upload(2 * size), restless, netOptions{}, 6 * time.Second, upBoth},
		{"echo, switch and back", transfer(size, size), func(g *Config, c *ConnConfig) {
			restless(g, c)
			c.Server.echo = true
		}, netOptions{}, 6 * time.Second, func(t *testing.T, r Result) {
			downBoth(t, r)
			upBoth(t, r)
		}},
		{"loss and reordering", transfer(size, size), func(g *Config, _ *ConnConfig) {
			for _, p := range all(g) {
				p.Loss, p.Reorder, p.Duplicate, p.Jitter = 0.005, 0.03, 0.01, 5*ms
			}
		}, netOptions{}, 30 * time.Second, func(t *testing.T, r Result) {
			if r.Servers[0].Retransmitted == 0 {
				t.Error("nothing was lost")
			}
		}},
		{"loss and reordering, SACK without RACK", transfer(size, size), func(g *Config, _ *ConnConfig) {
			for _, p := range all(g) {
				p.Loss, p.Reorder, p.Jitter = 0.005, 0.03, 5*ms
			}
		}, netOptions{noRACK: true}, 30 * time.Second, nil},
		{"one loss is repaired by RACK alone", download(size), func(g *Config, _ *ConnConfig) {
			g.Events = append(g.Events, loseOnce(gppDown, nthData(20)))
		}, netOptions{}, 3 * time.Second, func(t *testing.T, r Result) {
			if s := r.Servers[0]; s.Retransmitted == 0 || s.Timeouts != 0 { // of plain TCP, too, it sends 6 segments again
				t.Errorf("%d retransmissions, %d timeouts", s.Retransmitted, s.Timeouts)
			}
		}},
		{"tail loss is repaired by a probe", download(20_000), func(g *Config, c *ConnConfig) {
			c.Server.close = closeAfterEOF
			c.Client.close = closeAfterAll
			g.Events = append(g.Events, loseOnce(gppDown, nthData(15)))
		}, netOptions{}, 2 * time.Second, func(t *testing.T, r Result) {
			if s := r.Servers[0]; s.Retransmitted != 1 || s.Timeouts != 0 {
				t.Errorf("%d retransmissions, %d timeouts, want 1, 0", s.Retransmitted, s.Timeouts)
			}
		}},
		{"SYN/ACK lost: the server answers the next SYN with an ACK", download(size), func(g *Config, _ *ConnConfig) {
			g.Events = append(g.Events, loseOnce(n6Down, func(s *segment) bool { return s.has(packet.SYN) }))
		}, netOptions{}, 5 * time.Second, counted("established")},

		{"active access dies and returns, download", download(4 * size), func(g *Config, c *ConnConfig) {
			slow(g, 4e6)
			g.Events = append(g.Events, outage(250*ms, 1500*ms, steer.Access3GPP)...)
		}, netOptions{}, 20 * time.Second, counted("path_returned")},
		{"active access dies and returns, upload", upload(4 * size), func(g *Config, _ *ConnConfig) {
			slow(g, 4e6)
			g.Events = append(g.Events, outage(250*ms, 1500*ms, steer.Access3GPP)...)
		}, netOptions{}, 20 * time.Second, func(t *testing.T, r Result) {
			if r.Watches[0].Up[1] == 0 {
				t.Error("nothing went over the other access")
			}
		}},
		{"both accesses die and return", transfer(size, size), func(g *Config, _ *ConnConfig) {
			slow(g, 4e6)
			g.Events = append(g.Events, append(outage(250*ms, 3*time.Second, steer.Access3GPP), outage(300*ms, 4*time.Second, steer.AccessNon3GPP)...)...)
		}, netOptions{}, 30 * time.Second, nil},

		{"server closes first", download(size), func(_ *Config, c *ConnConfig) {
			c.Server.close, c.Client.close = closeAfterSend, closeAfterEOF
		}, netOptions{}, 3 * time.Second, nil},
		{"client closes first, then a long download", download(size), func(_ *Config, c *ConnConfig) {
			c.Client.close, c.Server.close = closeAfterSend, closeAfterEOF
		}, netOptions{}, 3 * time.Second, nil},
		{"server closes first, then a long upload", transfer(size, 100), func(_ *Config, c *ConnConfig) {
			c.Server.close, c.Client.close = closeAfterSend, closeAfterAll
		}, netOptions{}, 3 * time.Second, nil},
		{"both close at once", transfer(1000, 1000), nil, netOptions{}, 2 * time.Second, nil},
		{"server aborts", download(size), func(_ *Config, c *ConnConfig) {
			c.Server.abortAt = size / 2
		}, netOptions{}, 3 * time.Second, counted("reset_by_server")},
		{"server aborts an upload", upload(size), func(_ *Config, c *ConnConfig) {
			c.Server.abortAt = size / 2
		}, netOptions{}, 3 * time.Second, counted("reset_by_server")},
		{"client aborts", download(size), func(_ *Config, c *ConnConfig) {
			c.Client.abortAt = size / 2
		}, netOptions{}, 3 * time.Second, counted("reset_by_ue")},
		{"server refuses", download(size), func(_ *Config, c *ConnConfig) {
			c.Server.refuse = true
		}, netOptions{}, time.Second, nil},

		{"server's window shut", upload(size), func(_ *Config, c *ConnConfig) {
			c.Server.buffer, c.Server.reader = 20_000, reader{start: 3 * time.Second}
		}, netOptions{}, 20 * time.Second, nil},
		{"server reads slowly", upload(size), func(_ *Config, c *ConnConfig) {
			c.Server.buffer, c.Server.reader = 20_000, reader{chunk: 5000, every: 20 * ms}
		}, netOptions{}, 20 * time.Second, nil},
		{"client's window shut, netstack probes it", download(size), func(_ *Config, c *ConnConfig) {
			c.Client.buffer, c.Client.reader = 20_000, reader{start: 3 * time.Second}
		}, netOptions{}, 20 * time.Second, nil},
		{"client reads slowly", download(size), func(_ *Config, c *ConnConfig) {
			c.Client.buffer, c.Client.reader = 20_000, reader{chunk: 5000, every: 20 * ms}
		}, netOptions{}, 20 * time.Second, nil},
		{"keepalives", download(1000), func(_ *Config, c *ConnConfig) {
			c.ServeTCP.keepalive, c.Server.pause = 2*time.Second, 20*time.Second
		}, netOptions{}, 25 * time.Second, nil},
	} {
		t.Run(s.name, func(t *testing.T) {
			cfg := s.cfg
			if s.change != nil {
				s.change(&cfg, &cfg.Conns[0])
			}
			r, _ := runNetstack(cfg, func(*rand.Rand) netOptions { return s.options }, nil, nil)
			if r.Failure != "" {
				t.Fatalf("%s\n%s", r.Failure, r.Trace)
			}
			if r.Done > s.within {
				t.Errorf("took %v, want at most %v", r.Done, s.within)
			}
			if s.check != nil {
				s.check(t, r)
			}
			t.Logf("%v, %d packets, %+v %+v", r.Done, r.Packets, r.Servers[0], r.Watches[0])
		})
	}
}
