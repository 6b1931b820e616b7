package sim

import (
	"math/rand/v2"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// FromSeed draws a scenario.
func FromSeed(seed uint64) Config {
	cfg := baseFromSeed(seed)
	g := generator{rand.New(rand.NewPCG(seed, 0xe87a))}
	g.extend(&cfg)
	return cfg
}

// baseFromSeed draws one without what extend adds, whose draws are others so that
// these stay what they were.
func baseFromSeed(seed uint64) Config {
	g := generator{rand.New(rand.NewPCG(seed, 0xb7a1d))}
	cfg := Config{
		Seed:     seed,
		IPv6:     g.chance(0.3),
		MTU:      1500,
		Limit:    400 * time.Second,
		NearWrap: g.chance(0.1),
		N6Up:     g.path(false),
		N6Down:   g.path(false),
	}
	if g.chance(0.2) {
		cfg.MTU = 1280 + g.IntN(200)
	}
	for a := range cfg.Access {
		cfg.Access[a].Up, cfg.Access[a].Down = g.path(true), g.path(true)
		if g.chance(0.5) { // symmetric
			cfg.Access[a].Up.Delay = cfg.Access[a].Down.Delay
		}
	}
	cfg.Policy = g.policy()
	n := 1
	if g.chance(0.15) {
		n = 2 + g.IntN(3)
	}
	for range n {
		cfg.Conns = append(cfg.Conns, g.conn(cfg.MTU, cfg.IPv6))
	}
	cfg.Events = g.events(cfg.Conns)
	return cfg
}

// RedundantFromSeed draws the scenario of FromSeed with Redundant in the place of some of
// its steering policies, or of all.
func RedundantFromSeed(seed uint64) Config {
	cfg, g := FromSeed(seed), generator{rand.New(rand.NewPCG(seed, 0x2edd))}
	p := 0.5
	if g.chance(0.3) {
		p = 1
	}
	if g.chance(p) {
		cfg.Policy = redundant()
	}
	for i, e := range cfg.Events {
		if e.What == policyEvent && g.chance(p) {
			cfg.Events[i] = setPolicy(e.At, redundant())
		}
	}
	return cfg
}

// ConvertFromSeed draws the scenario of ModesFromSeed with every connection by way of the
// transport converter.
func ConvertFromSeed(seed uint64) Config {
	cfg, g := ModesFromSeed(seed), generator{rand.New(rand.NewPCG(seed, 0x2263))}
	g.convert(&cfg)
	return cfg
}

type generator struct{ *rand.Rand }

func (g generator) chance(p float64) bool { return g.Float64() < p }

func (g generator) between(a, b time.Duration) time.Duration {
	return a + time.Duration(g.Int64N(int64(b-a)+1))
}

// path draws a leg's direction; the accesses are the worse part of the network.
func (g generator) path(access bool) Path {
	p := Path{Delay: g.between(time.Millisecond, 20*time.Millisecond)}
	if access {
		p.Delay = g.between(time.Millisecond, 100*time.Millisecond)
	}
	if g.chance(0.5) {
		p.Jitter = g.between(0, p.Delay)
	}
	if g.chance(0.5) {
		p.Loss = g.Float64() * 0.03
	}
	if g.chance(0.2) {
		p.Burst = g.Float64() * 0.005
		p.BurstTime = g.between(time.Millisecond, 50*time.Millisecond)
	}
	if g.chance(0.3) {
		p.Reorder = g.Float64() * 0.05
	}
	if g.chance(0.2) {
		p.Duplicate = g.Float64() * 0.03
	}
	if g.chance(0.4) {
		p.Rate = 1e6 << g.IntN(6)
		p.Queue = 16<<10 + g.IntN(128<<10)
	}
	return p
}

func (g generator) policy() steer.Policy {
	if g.chance(0.5) {
		p := activeStandby(steer.Access(g.IntN(2)))
		return p
	}
	return loadBalancing(uint8(g.IntN(11) * 10))
}

// events are policy switches and outages.
func (g generator) events(conns []ConnConfig) (ev []Event) {
	at := time.Duration(0)
	switch {
	case g.chance(0.3): // now and then
		for range 1 + g.IntN(4) {
			at += g.between(200*time.Millisecond, 1500*time.Millisecond)
			ev = append(ev, setPolicy(at, g.policy()))
		}
	case g.chance(0.3): // restless
		a := steer.Access(g.IntN(2))
		step := g.between(20*time.Millisecond, 200*time.Millisecond)
		for range 60 {
			at += step
			a = a.Other()
			ev = append(ev, setPolicy(at, activeStandby(a)))
		}
	}
	for i := range conns {
		ev = append(ev, g.clientEvents(&conns[i], i)...)
	}
	if g.chance(0.35) {
		at = g.between(600*time.Millisecond, 2*time.Second)
		for range 1 + g.IntN(3) {
			d := g.between(100*time.Millisecond, 4*time.Second)
			ev = append(ev, outage(at, d, steer.Access(g.IntN(2)))...)
			for i := range conns {
				conns[i].ServeTCP.mayRenege = true
			}
			at += d + g.between(0, 2*time.Second)
		}
	}
	return ev
}

// clientEvents are what the UE's path manager does on its own.
func (g generator) clientEvents(c *ConnConfig, i int) (ev []Event) {
	when := func() time.Duration { return c.Start + g.between(200*time.Millisecond, 2*time.Second) }
	n := len(c.Joins)
	if n > 0 && g.chance(0.12) {
		ev = append(ev, removeAddress(when(), i, g.IntN(n+1)))
		c.ServeTCP.mayRenege = true
	}
	if g.chance(0.1) {
		ev = append(ev, setBackup(when(), i, g.IntN(n+1), g.chance(0.5)))
	}
	if g.chance(0.15) {
		ev = append(ev, announceAddress(when(), i))
	}
	return ev
}

func (g generator) conn(mtu int, v6 bool) ConnConfig {
	c := ConnConfig{
		Start: g.between(0, 500*time.Millisecond),
		First: steer.Access(g.IntN(2)),
		KeyA:  g.Uint64(),
	}
	if g.chance(0.1) {
		c.KeyA = keyNearWrap(g.Rand)
	}
	g.application(&c)
	mss := mtu - 40
	if v6 {
		mss -= 20
	}
	c.TCP = g.tcp(mss)
	c.TCP.reserve = 28
	if c.Server.abortAt > 0 { // a lost RST is found out by asking only
		c.TCP.keepalive = 10 * time.Second
	}
	c.ServeTCP = g.tcp(mss)
	c.ServeTCP.probeByte = g.chance(0.2)
	if c.Client.abortAt > 0 {
		c.ServeTCP.keepalive = 10 * time.Second
	}
	if g.chance(0.2) {
		c.ServeTCP.longest = 4096
	}
	if g.chance(0.1) {
		c.ServeTCP.mss = 536 + g.IntN(600)
	}
	if g.chance(0.1) {
		c.Client.plain = true
		c.TCP.reserve, c.ServeTCP.longest = 0, 0
		return c
	}
	c.Client.checksum = g.chance(0.1)
	c.Client.longestSkb = 1 + g.IntN(6)
	if g.chance(0.25) {
		c.Client.lag = g.between(time.Millisecond, 50*time.Millisecond)
		c.Client.lagQuiet = g.chance(0.5)
	}
	for i := range g.IntN(4) {
		j := JoinConfig{After: g.between(0, 200*time.Millisecond), Backup: g.chance(0.15), TCP: c.TCP}
		j.Access = c.First.Other()
		if i > 0 {
			j.Access = steer.Access(g.IntN(2))
		}
		j.TCP.isn, j.TCP.tsOffset = g.number(), g.number()
		if c.TCP.wscale >= 0 && g.chance(0.2) {
			j.TCP.wscale = g.IntN(12)
		}
		c.Joins = append(c.Joins, j)
	}
	return c
}

// number is an ISN or timestamp offset, often one that is about to wrap.
func (g generator) number() uint32 {
	if g.chance(0.25) {
		return -uint32(g.IntN(100_000))
	}
	return g.Uint32()
}

func (g generator) tcp(mss int) tcpConfig {
	t := tcpConfig{
		mss: mss, ts: !g.chance(0.1), sack: !g.chance(0.1), wscale: g.IntN(11),
		isn: g.number(), tsOffset: g.number(), tlp: g.chance(0.7),
	}
	if g.chance(0.1) {
		t.wscale = -1
	}
	return t
}

// application draws what the two ends do. One side at least closes on its own.
func (g generator) application(c *ConnConfig) {
	size := func() int64 { return 1 + g.Int64N(1<<(11+g.IntN(10))) }
	up, down := int64(0), int64(0)
	switch g.IntN(5) {
	case 0, 1: // download with a request
		up, down = 1+g.Int64N(2000), size()
		if g.chance(0.8) {
			c.Server.request = up
		}
	case 2: // upload
		up = size()
	case 3: // both
		up, down = size(), size()
	case 4:
		up = size() / 2
		down = up
		c.Server.echo = up > 0
	}
	c.Client.send, c.Client.expect = up, down
	c.Server.send, c.Server.expect = down, up
	c.Client.close, c.Server.close = closeWhen(g.IntN(3)), closeWhen(g.IntN(3))
	if c.Server.echo {
		c.Client.close, c.Server.send = closeAfterSend, down
		if g.chance(0.5) {
			c.Client.close = closeAfterAll
		}
	}
	if c.Client.close == closeAfterEOF && c.Server.close == closeAfterEOF {
		c.Client.close = closeAfterSend
	}
	c.Client.buffer, c.Server.buffer = g.buffer(), g.buffer()
	c.Client.reader, c.Server.reader = g.reader(), g.reader()
	if g.chance(0.05) {
		c.Client.abortAt = 1 + g.Int64N(max(up, down))*3/4
	} else if g.chance(0.05) {
		c.Server.abortAt = 1 + g.Int64N(max(up, down))*3/4
	}
}

func (g generator) buffer() int64 {
	if g.chance(0.2) {
		return 4000 + g.Int64N(20_000)
	}
	return 60_000 + g.Int64N(1<<20)
}

func (g generator) reader() reader {
	switch {
	case g.chance(0.1):
		return reader{chunk: 1000 + g.Int64N(20_000), every: g.between(10*time.Millisecond, 100*time.Millisecond)}
	case g.chance(0.05):
		return reader{start: g.between(time.Second, 4*time.Second)}
	}
	return reader{}
}
