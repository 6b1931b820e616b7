package sim

import (
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// TestNetworks runs one transfer each through what a network and a client may do
// beyond losing packets. What is counted shows that the case came about.
func TestNetworks(t *testing.T) {
	const size = 400_000
	for _, s := range []struct {
		name    string
		cfg     Config
		change  func(*Config, *ConnConfig)
		within  time.Duration
		counted func(Result) int
	}{
		{"hole on an access that becomes slow: what was SACKed behind it is not taken back", download(size), func(g *Config, c *ConnConfig) {
			lost := nthData(60)
			g.Events = append(g.Events, when(0, func(w *world) {
				w.downs[0].filter = func(s *segment) bool {
					if !lost(s) {
						return false
					}
					w.clock.After(20*ms, func() { w.up[0].Delay, w.downs[0].Delay = 250*ms, 10*ms })
					return true
				}
			}))
		}, 10 * time.Second, func(r Result) int {
			return int(min(r.Counters["path_silent"], r.Counters["path_returned"], r.Counters["remapped_bytes"]))
		}},
		{"delays that jump both ways, again and again", transfer(size, size), func(g *Config, _ *ConnConfig) {
			for i := range 20 {
				a := steer.Access(i % 2)
				g.Events = append(g.Events, delayChange(time.Duration(100+50*i)*ms, a, time.Duration(5+i*7%100)*ms, time.Duration(5+i*13%100)*ms))
			}
		}, 20 * time.Second, func(r Result) int { return int(r.Counters["solicited"]) }},
		{"flipped bits on every link", transfer(size, size), func(g *Config, _ *ConnConfig) {
			for _, p := range g.legs() {
				p.Corrupt = 0.02
			}
		}, 40 * time.Second, func(r Result) int { return int(r.Counters["drop_checksum"]) }},
		{"segments of the server cut and joined", download(size), func(g *Config, _ *ConnConfig) {
			g.N6Down.Cut, g.N6Down.Join, g.N6Down.Loss = 0.3, 0.7, 0.01
		}, 20 * time.Second, func(r Result) int { return r.Servers[0].Retransmitted }},
		{"segments to the server cut and joined", upload(size), func(g *Config, _ *ConnConfig) {
			g.N6Up.Cut, g.N6Up.Join, g.N6Up.Loss = 0.3, 0.7, 0.01
		}, 20 * time.Second, func(r Result) int { return int(r.Counters["uplink_retransmitted_bytes"]) }},
		{"eight subflows over eight addresses", transfer(2*size, 2*size), func(_ *Config, c *ConnConfig) {
			j := c.Joins[0]
			c.Joins = nil
			for i := range 7 {
				j.Access, j.Addr = steer.Access((i+1)%2), (i+1)/2
				j.TCP.isn, j.TCP.tsOffset = uint32(1000*i), uint32(77_000*i)
				c.Joins = append(c.Joins, j)
			}
		}, 10 * time.Second, func(r Result) int { return r.Clients[0].Joined / 7 }},
		{"uplink on every subflow at once", upload(size), func(g *Config, c *ConnConfig) {
			c.Client.scheduler = schedRedundant
			g.Access[0].Up.Loss, g.Access[1].Up.Loss = 0.02, 0.02
		}, 20 * time.Second, func(r Result) int { return int(r.Counters["uplink_retransmitted_bytes"]) / (size / 2) }},
		{"uplink sent again without need", upload(size), func(_ *Config, c *ConnConfig) {
			c.Client.scheduler, c.Client.eager = schedRoundRobin, 0.5
		}, 10 * time.Second, func(r Result) int { return r.Clients[0].Reinjected }},
		{"cut at the server's window, which has no SACK", upload(size), func(g *Config, c *ConnConfig) {
			c.ServeTCP.sack = false
			c.Server.buffer, c.Server.reader = 20_000, reader{chunk: 9000, every: 30 * ms}
			c.Client.scheduler = schedRoundRobin
			g.Access[0].Up.Loss, g.Access[1].Up.Loss = 0.01, 0.01
		}, 60 * time.Second, func(r Result) int { return int(r.Counters["cut_at_window_bytes"]) }},
	} {
		t.Run(s.name, func(t *testing.T) {
			cfg := s.cfg
			for _, p := range cfg.legs()[2:] {
				p.Rate = 8e6
			}
			s.change(&cfg, &cfg.Conns[0])
			r := Run(cfg)
			if r.Failure != "" {
				t.Fatalf("%s\n%s", r.Failure, r.Trace)
			}
			if r.Done > s.within {
				t.Errorf("took %v, want at most %v", r.Done, s.within)
			}
			if s.counted(r) == 0 {
				t.Errorf("the case did not come about: %v", r.Counters)
			}
			t.Logf("%v, %d packets, %+v", r.Done, r.Packets, r.Watches[0])
		})
	}
}
