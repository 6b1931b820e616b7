package sim

import (
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

const ms = time.Millisecond

// quiet is a network without faults, a UE with both accesses, and a connection that
// joins over the second one. The 3GPP access is active.
func quiet() Config {
	path := func(d time.Duration) Path { return Path{Delay: d} }
	end := tcpConfig{mss: 1460, ts: true, sack: true, wscale: 7, isn: 1000, tsOffset: 5000, tlp: true}
	first, join := end, end
	first.reserve, join.reserve = 28, 28
	join.isn, join.tsOffset = 77_000, 4_000_000_000
	return Config{
		Seed: 1, MTU: 1500, Policy: activeStandby(steer.Access3GPP), Limit: 120 * time.Second,
		Access: [2]AccessConfig{{path(10 * ms), path(10 * ms)}, {path(25 * ms), path(25 * ms)}},
		N6Up:   path(5 * ms), N6Down: path(5 * ms),
		Conns: []ConnConfig{{
			KeyA: 0xfa79cae66dcd5586, TCP: first, ServeTCP: end,
			Client: clientPlan{buffer: 1 << 20, longestSkb: 4},
			Server: serverPlan{buffer: 1 << 20},
			Joins:  []JoinConfig{{Access: steer.AccessNon3GPP, TCP: join}},
		}},
	}
}

func transfer(up, down int64) Config {
	cfg := quiet()
	c := &cfg.Conns[0]
	c.Client.send, c.Client.expect = up, down
	c.Server.send, c.Server.expect = down, up
	return cfg
}

// download is a request of 100 bytes and an answer of n, the server closing first.
func download(n int64) Config {
	cfg := transfer(100, n)
	cfg.Conns[0].Server.request = 100
	cfg.Conns[0].Client.close = closeAfterEOF
	return cfg
}

// upload is n bytes, the client closing first.
func upload(n int64) Config {
	cfg := transfer(n, 0)
	cfg.Conns[0].Server.close = closeAfterEOF
	return cfg
}

// when is an event without a name.
func when(at time.Duration, do func(*world)) Event { return Event{at, "scenario", do} }

// loseOnce loses the first packet of a leg for which is holds.
func loseOnce(leg func(*world) *leg, is func(*segment) bool) Event {
	return loseN(1, leg, is)
}

func loseN(n int, leg func(*world) *leg, is func(*segment) bool) Event {
	return when(0, func(w *world) {
		leg(w).filter = func(s *segment) bool {
			if n > 0 && is(s) {
				n--
				w.note("lost on purpose")
				return true
			}
			return false
		}
	})
}

// serverReneges has the server drop all that it holds out of order, once, when that is 10
// segments.
func serverReneges(w *world) {
	if len(w.pairs) > 0 {
		if v, ok := w.pairs[0].server.(*server); ok && v.tcp != nil && len(v.ooo) >= 10 {
			v.ooo, v.oooRecent = nil, nil
			w.note("server drops what it SACKed")
			return
		}
	}
	w.clock.After(ms, func() { serverReneges(w) })
}

func n6Down(w *world) *leg   { return w.n6Down }
func n6Up(w *world) *leg     { return w.n6Up }
func gppUp(w *world) *leg    { return w.up[0] }
func gppDown(w *world) *leg  { return w.downs[0] }
func non3Down(w *world) *leg { return w.downs[1] }
func non3Up(w *world) *leg   { return w.up[1] }

// nthData matches the n-th segment with payload.
func nthData(n int) func(*segment) bool {
	return func(s *segment) bool {
		if len(s.payload) > 0 {
			n--
		}
		return n == 0 && len(s.payload) > 0
	}
}

func TestScenarios(t *testing.T) {
	const size = 300_000
	type want struct {
		within   time.Duration     // virtual; 0 = any
		joined   int               // -1 = any
		counters map[string]uint64 // exactly
		check    func(*testing.T, Result)
	}
	noRemap := func(t *testing.T, r Result) {
		t.Helper()
		if r.Watches[0].Remapped != 0 {
			t.Errorf("%d bytes went to another subflow than at first", r.Watches[0].Remapped)
		}
	}
	established := map[string]uint64{"connections": 1, "established": 1}
	for _, s := range []struct {
		name   string
		cfg    Config
		change func(*Config, *ConnConfig)
		want   want
	}{
		{"download", download(size), nil, want{5 * time.Second, 1, established, noRemap}},
		{"upload", upload(size), nil, want{5 * time.Second, 1, established, noRemap}},
		{"both ways", transfer(size, size), nil, want{5 * time.Second, 1, established, noRemap}},
		{"echo, client half closed", transfer(size, size), func(_ *Config, c *ConnConfig) {
			c.Server.echo = true
		}, want{5 * time.Second, 1, established, noRemap}},
		{"single byte each way", transfer(1, 1), nil, want{2 * time.Second, 0, established, nil}},
		{"nothing but FINs", transfer(0, 0), nil, want{2 * time.Second, 0, established, nil}},
		{"IPv6", download(size), func(c *Config, _ *ConnConfig) { c.IPv6 = true }, want{5 * time.Second, 1, established, noRemap}},
		{"checksum", transfer(size, size), func(_ *Config, c *ConnConfig) {
			c.Client.checksum = true
		}, want{5 * time.Second, 1, established, noRemap}},
		{"without timestamps, SACK and window scale", transfer(size, size), func(_ *Config, c *ConnConfig) {
			c.TCP.ts, c.TCP.sack, c.TCP.wscale = false, false, -1
			c.Joins[0].TCP.ts, c.Joins[0].TCP.sack, c.Joins[0].TCP.wscale = false, false, -1
		}, want{8 * time.Second, 1, established, noRemap}},
		{"window scales differ", transfer(size, size), func(_ *Config, c *ConnConfig) {
			c.TCP.wscale, c.ServeTCP.wscale, c.Joins[0].TCP.wscale = 2, 9, 5
		}, want{8 * time.Second, 1, established, noRemap}},
		{"numbers wrap", transfer(size, size), func(g *Config, c *ConnConfig) {
			g.NearWrap = true
			for k := uint64(1); ; k++ {
				if _, idsn := derive(k); uint32(idsn) >= 0xffff8000 {
					c.KeyA = k
					break
				}
			}
			c.TCP.isn, c.ServeTCP.isn, c.Joins[0].TCP.isn = 1<<32-50_000, 1<<32-60_000, 1<<32-100
			c.TCP.tsOffset, c.ServeTCP.tsOffset = 1<<32-200, 1<<32-300
		}, want{5 * time.Second, 1, established, noRemap}},
		{"server segments of 4 KiB", download(size), func(_ *Config, c *ConnConfig) {
			c.ServeTCP.longest = 4096
		}, want{5 * time.Second, 1, established, noRemap}},

		{"server speaks first, its first segment lost on the access", transfer(0, size), func(g *Config, c *ConnConfig) {
			g.Events = append(g.Events, loseOnce(gppDown, nthData(1)))
		}, want{6 * time.Second, 1, established, noRemap}},
		{"server speaks first, its first segment lost on N6", transfer(0, size), func(g *Config, c *ConnConfig) {
			g.Events = append(g.Events, loseOnce(n6Down, nthData(1)))
		}, want{6 * time.Second, 1, established, noRemap}},
		{"early DSS ACK lost", transfer(0, size), func(g *Config, c *ConnConfig) {
			g.Events = append(g.Events, loseOnce(gppDown, func(s *segment) bool { return s.mp.dss != nil }))
		}, want{6 * time.Second, 1, established, noRemap}},
		{"third ACK lost", download(size), func(g *Config, c *ConnConfig) {
			g.Events = append(g.Events, loseOnce(gppUp, func(s *segment) bool { return s.mp.capable != nil && len(s.mp.capable.keys) == 2 }))
		}, want{6 * time.Second, 1, established, noRemap}},
		{"all third ACKs lost, data brings the keys", upload(size), func(g *Config, c *ConnConfig) {
			g.Events = append(g.Events, loseN(3, gppUp, func(s *segment) bool {
				return s.mp.capable != nil && len(s.mp.capable.keys) == 2 && len(s.payload) == 0
			}))
		}, want{8 * time.Second, 1, established, noRemap}},
		{"SYN and SYN/ACK lost", download(size), func(g *Config, c *ConnConfig) {
			g.Events = append(g.Events, loseOnce(gppUp, func(s *segment) bool { return s.has(packet.SYN) }),
				loseOnce(n6Down, func(s *segment) bool { return s.has(packet.SYN) }))
		}, want{12 * time.Second, 1, established, noRemap}},
		{"join's handshake lost piece by piece", download(size), func(g *Config, c *ConnConfig) {
			c.Server.reader.start = 0
			g.Events = append(g.Events,
				loseOnce(non3Down, func(s *segment) bool { return s.has(packet.SYN) }),
				loseN(2, non3Up, func(s *segment) bool { return s.mp.join != nil && len(s.mp.join.hmac) == 20 }))
			c.Client.reader.start = 4 * time.Second // keeps the connection open
			c.Client.buffer = 100_000
		}, want{12 * time.Second, 1, established, nil}},

		{"loss on the access, retransmissions stay on their subflow", download(size), func(g *Config, c *ConnConfig) {
			g.Access[0].Down.Loss = 0.03
		}, want{30 * time.Second, 1, established, func(t *testing.T, r Result) {
			noRemap(t, r)
			if r.Servers[0].Retransmitted == 0 {
				t.Error("nothing was lost")
			}
		}}},
		{"one loss is repaired by SACK alone", download(size), func(g *Config, c *ConnConfig) {
			g.Events = append(g.Events, loseOnce(gppDown, nthData(20)))
		}, want{5 * time.Second, 1, established, func(t *testing.T, r Result) {
			noRemap(t, r)
			if s := r.Servers[0]; s.Retransmitted < 1 || s.Retransmitted > 2 || s.Timeouts != 0 { // the loss may be sent again in two pieces
				t.Errorf("%d retransmissions, %d timeouts, want 1 or 2, 0", s.Retransmitted, s.Timeouts)
			}
		}}},
		{"one loss on the uplink is repaired by SACK alone", upload(size), func(g *Config, c *ConnConfig) {
			g.Events = append(g.Events, loseOnce(gppUp, nthData(20)))
		}, want{5 * time.Second, 1, established, noRemap}},
		{"reordering and duplicates everywhere", transfer(size, size), func(g *Config, c *ConnConfig) {
			for _, p := range []*Path{&g.N6Up, &g.N6Down, &g.Access[0].Up, &g.Access[0].Down, &g.Access[1].Up, &g.Access[1].Down} {
				p.Reorder, p.Duplicate, p.Jitter = 0.05, 0.05, 5*ms
			}
		}, want{30 * time.Second, 1, established, nil}},

		{"new data switch to the other access and back", download(size), func(g *Config, c *ConnConfig) {
			g.Access[0].Down.Rate, g.Access[1].Down.Rate = 4e6, 4e6
			g.Events = append(g.Events, setPolicy(200*ms, activeStandby(steer.AccessNon3GPP)), setPolicy(400*ms, activeStandby(steer.Access3GPP)))
		}, want{5 * time.Second, 1, established, func(t *testing.T, r Result) {
			noRemap(t, r)
			if d := r.Watches[0].Down; d[0] < 100_000 || d[1] < 50_000 {
				t.Errorf("bytes per access: %v", d)
			}
		}}},
		{"hole on N6, then switch: the fill goes to the subflow of the hole", download(size), func(g *Config, c *ConnConfig) {
			g.Access[0].Down.Rate, g.Access[1].Down.Rate = 20e6, 20e6
			g.Events = append(g.Events, when(0, func(w *world) {
				is := nthData(40)
				w.n6Down.filter = func(s *segment) bool {
					if !is(s) {
						return false
					}
					w.clock.After(8*ms, func() { p := activeStandby(steer.AccessNon3GPP); w.policy = &p; w.middle.rules() })
					return true
				}
			}))
		}, want{5 * time.Second, 1, established, noRemap}},
		{"switches every 30 ms with 1% loss", download(size), func(g *Config, c *ConnConfig) {
			for i := range 100 {
				g.Events = append(g.Events, setPolicy(time.Duration(100+30*i)*ms, activeStandby(steer.Access(i%2))))
			}
			for a := range g.Access {
				g.Access[a].Down.Loss, g.Access[a].Up.Loss = 0.01, 0.01
			}
			g.N6Down.Loss, g.N6Up.Loss = 0.01, 0.01
		}, want{60 * time.Second, 1, established, nil}},

		{"active access dies for good, download", download(size), func(g *Config, c *ConnConfig) {
			g.Access[0].Down.Rate, g.Access[1].Down.Rate = 4e6, 4e6
			g.Events = append(g.Events, outage(250*ms, 0, steer.Access3GPP)...)
			c.ServeTCP.mayRenege = true
		}, want{15 * time.Second, 1, established, func(t *testing.T, r Result) {
			if r.Counters["path_silent"] == 0 {
				t.Error("the silent access was not noticed")
			}
		}}},
		{"active access dies for good, upload", upload(size), func(g *Config, c *ConnConfig) {
			g.Access[0].Up.Rate, g.Access[1].Up.Rate = 4e6, 4e6
			g.Events = append(g.Events, outage(250*ms, 0, steer.Access3GPP)...)
		}, want{20 * time.Second, 1, established, nil}},
		{"active access dies and returns, download", download(4 * size), func(g *Config, c *ConnConfig) {
			g.Access[0].Down.Rate, g.Access[1].Down.Rate = 4e6, 2e6
			g.Events = append(g.Events, outage(250*ms, 1500*ms, steer.Access3GPP)...)
			c.ServeTCP.mayRenege = true
		}, want{25 * time.Second, 1, established, func(t *testing.T, r Result) {
			if r.Counters["path_silent"] == 0 || r.Counters["path_returned"] == 0 {
				t.Errorf("silent %d, returned %d", r.Counters["path_silent"], r.Counters["path_returned"])
			}
		}}},
		{"active access dies and returns, upload", upload(4 * size), func(g *Config, c *ConnConfig) {
			g.Access[0].Up.Rate, g.Access[1].Up.Rate = 4e6, 2e6
			g.Events = append(g.Events, outage(250*ms, 1500*ms, steer.Access3GPP)...)
		}, want{25 * time.Second, 1, established, nil}},
		{"only access dies and returns", download(size), func(g *Config, c *ConnConfig) {
			c.Joins = nil
			g.Access[0].Down.Rate = 4e6
			g.Events = append(g.Events, outage(250*ms, 5*time.Second, steer.Access3GPP)...)
		}, want{30 * time.Second, 0, established, nil}},
		{"both accesses die and return", download(size), func(g *Config, c *ConnConfig) {
			g.Access[0].Down.Rate = 4e6
			g.Events = append(g.Events, append(outage(250*ms, 3*time.Second, steer.Access3GPP), outage(300*ms, 4*time.Second, steer.AccessNon3GPP)...)...)
			c.ServeTCP.mayRenege = true
		}, want{30 * time.Second, 1, established, nil}},
		{"access dies one way only", download(size), func(g *Config, c *ConnConfig) {
			g.Access[0].Down.Rate, g.Access[1].Down.Rate = 4e6, 4e6
			g.Events = append(g.Events, when(250*ms, func(w *world) { w.downs[0].down = true }))
			c.ServeTCP.mayRenege = true
		}, want{20 * time.Second, 1, established, nil}},

		{"server closes first", download(size), func(_ *Config, c *ConnConfig) {
			c.Server.close, c.Client.close = closeAfterSend, closeAfterEOF
		}, want{5 * time.Second, 1, established, nil}},
		{"client closes first, then a long download", download(size), func(_ *Config, c *ConnConfig) {
			c.Client.close, c.Server.close = closeAfterSend, closeAfterSend
		}, want{5 * time.Second, 1, established, nil}},
		{"both close at once", transfer(1000, 1000), nil, want{2 * time.Second, 0, established, nil}},
		{"every FIN and DATA_FIN lost once", transfer(1000, 1000), func(g *Config, c *ConnConfig) {
			fin := func(s *segment) bool { return s.has(packet.FIN) || s.mp.dss != nil && s.mp.dss.fin }
			for _, l := range []func(*world) *leg{n6Down, n6Up, gppUp, gppDown, non3Up, non3Down} {
				g.Events = append(g.Events, loseOnce(l, fin))
			}
		}, want{20 * time.Second, -1, established, nil}},
		{"client aborts", download(size), func(_ *Config, c *ConnConfig) {
			c.Client.abortAt = size / 2
		}, want{3 * time.Second, 1, established, func(t *testing.T, r Result) {
			if r.Counters["reset_by_ue"] != 1 {
				t.Error("not counted")
			}
		}}},
		{"client aborts an upload", upload(size), func(_ *Config, c *ConnConfig) {
			c.Client.abortAt = size / 2
		}, want{3 * time.Second, 1, established, nil}},
		{"server aborts", download(size), func(_ *Config, c *ConnConfig) {
			c.Server.abortAt = size / 2
		}, want{3 * time.Second, 1, established, func(t *testing.T, r Result) {
			if r.Counters["reset_by_server"] != 1 {
				t.Error("not counted")
			}
		}}},
		{"server drops what it SACKed", upload(size), func(g *Config, c *ConnConfig) {
			g.Events = append(g.Events, loseOnce(n6Up, nthData(20)), when(0, serverReneges))
			c.TCP.mayRenege, c.Joins[0].TCP.mayRenege = true, true
		}, want{10 * time.Second, 1, map[string]uint64{"server_reneged": 1, "remapped_bytes": 0}, nil}},
		{"server aborts an upload", upload(size), func(_ *Config, c *ConnConfig) {
			c.Server.abortAt = size / 2
		}, want{3 * time.Second, 1, established, nil}},
		{"server refuses", download(size), func(_ *Config, c *ConnConfig) {
			c.Server.refuse = true
		}, want{time.Second, 0, map[string]uint64{"connections": 1, "established": 0}, nil}},

		{"UE removes the join's address", download(size), func(g *Config, c *ConnConfig) {
			g.Policy = activeStandby(steer.AccessNon3GPP)
			g.Access[0].Down.Rate, g.Access[1].Down.Rate = 4e6, 4e6
			g.Events = append(g.Events, removeAddress(300*ms, 0, 1))
			c.ServeTCP.mayRenege = true
		}, want{10 * time.Second, 1, established, func(t *testing.T, r Result) {
			if d := r.Watches[0].Down; d[0] < 50_000 || d[1] < 50_000 {
				t.Errorf("bytes per access: %v", d)
			}
		}}},
		{"UE removes the first subflow's address", transfer(size, size), func(g *Config, c *ConnConfig) {
			g.Access[0].Down.Rate, g.Access[0].Up.Rate = 4e6, 4e6
			g.Events = append(g.Events, removeAddress(300*ms, 0, 0))
			c.ServeTCP.mayRenege = true
		}, want{10 * time.Second, 1, established, nil}},
		{"UE announces an address and changes priorities", transfer(size, size), func(g *Config, c *ConnConfig) {
			g.Events = append(g.Events, announceAddress(60*ms, 0), setBackup(70*ms, 0, 0, true), setBackup(90*ms, 0, 1, false))
		}, want{6 * time.Second, 1, established, func(t *testing.T, r Result) {
			if r.Clients[0].Echoes != 1 {
				t.Error("no echo of ADD_ADDR")
			}
		}}},

		{"third ACK without MP_CAPABLE", transfer(size, size), func(_ *Config, c *ConnConfig) {
			c.Client.dropMPC = true
		}, want{5 * time.Second, 0, map[string]uint64{"established": 0, "fallback_ack": 1}, nil}},
		{"plain client", transfer(size, size), func(_ *Config, c *ConnConfig) {
			c.Client.plain, c.TCP.reserve, c.Joins = true, 0, nil
		}, want{5 * time.Second, 0, map[string]uint64{"connections": 0}, nil}},

		{"server's window shut, probes open it", upload(size), func(_ *Config, c *ConnConfig) {
			c.Server.buffer, c.Server.reader = 20_000, reader{start: 3 * time.Second}
		}, want{30 * time.Second, 1, established, nil}},
		{"client's window shut, probes open it", download(size), func(_ *Config, c *ConnConfig) {
			c.Client.buffer, c.Client.reader = 20_000, reader{start: 3 * time.Second}
		}, want{30 * time.Second, 1, established, nil}},
		{"client's window shut, its update lost", download(size), func(g *Config, c *ConnConfig) {
			c.Client.buffer, c.Client.reader = 20_000, reader{start: 3 * time.Second}
			g.Events = append(g.Events, when(2950*ms, func(w *world) {
				for _, l := range w.up {
					l.down = true
				}
			}), when(3200*ms, func(w *world) {
				for _, l := range w.up {
					l.down = false
				}
			}))
		}, want{30 * time.Second, 1, established, nil}},
		{"client's window shut, probes of one byte", download(size), func(_ *Config, c *ConnConfig) {
			c.Client.buffer, c.Client.reader = 20_000, reader{start: 3 * time.Second}
			c.ServeTCP.probeByte = true
		}, want{30 * time.Second, 1, established, nil}},
		{"slow readers, small windows", transfer(size, size), func(_ *Config, c *ConnConfig) {
			c.Client.buffer, c.Client.reader = 10_000, reader{chunk: 5000, every: 20 * ms}
			c.Server.buffer, c.Server.reader = 10_000, reader{chunk: 5000, every: 20 * ms}
		}, want{30 * time.Second, 1, established, nil}},
		{"DATA_ACK lags and nothing tells of it: it is solicited", download(size), func(_ *Config, c *ConnConfig) {
			c.Client.lag, c.Client.lagQuiet = 30*ms, true
		}, want{20 * time.Second, 1, established, func(t *testing.T, r Result) {
			if r.Counters["solicited"] == 0 {
				t.Error("never solicited")
			}
		}}},
		{"server sends keepalives", download(1000), func(_ *Config, c *ConnConfig) {
			c.ServeTCP.keepalive, c.TCP.keepalive = 2*time.Second, 3*time.Second
			c.Server.request, c.Client.send, c.Server.expect = 100, 100, 100
			c.Client.response = 0
			c.Server.pause = 20 * time.Second
		}, want{25 * time.Second, 1, established, nil}},
	} {
		t.Run(s.name, func(t *testing.T) {
			cfg := s.cfg
			if s.change != nil {
				s.change(&cfg, &cfg.Conns[0])
			}
			r := Run(cfg)
			if r.Failure != "" {
				t.Fatalf("%s\n%s", r.Failure, r.Trace)
			}
			if s.want.within > 0 && r.Done > s.want.within {
				t.Errorf("took %v, want at most %v", r.Done, s.want.within)
			}
			if got := r.Clients[0].Joined; s.want.joined >= 0 && got != s.want.joined {
				t.Errorf("%d joins, want %d", got, s.want.joined)
			}
			for k, v := range s.want.counters {
				if r.Counters[k] != v {
					t.Errorf("counter %s is %d, want %d", k, r.Counters[k], v)
				}
			}
			if s.want.check != nil {
				s.want.check(t, r)
			}
			t.Logf("%v, %d packets, %+v", r.Done, r.Packets, r.Watches[0])
		})
	}
}
