package sim

import (
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// extend makes a scenario harder in some of the ways that a network and a client can.
func (g generator) extend(cfg *Config) {
	if g.chance(0.25) {
		g.corruption(cfg)
	}
	if g.chance(0.35) {
		g.resegmentation(cfg)
	}
	if g.chance(0.25) {
		g.delayChanges(cfg)
	}
	if g.chance(0.1) {
		cfg.Events = append(cfg.Events, outageOneWay(g.between(300*time.Millisecond, 2*time.Second),
			g.between(100*time.Millisecond, 3*time.Second), steer.Access(g.IntN(2)), g.chance(0.5))...)
		for i := range cfg.Conns {
			cfg.Conns[i].ServeTCP.mayRenege = true
		}
	}
	for i := range cfg.Conns {
		if g.chance(0.3) {
			cfg.Conns[i].grow(1 << (1 + g.IntN(4)))
		}
		if g.chance(0.1) {
			g.tightWindow(&cfg.Conns[i])
		}
		if c := &cfg.Conns[i]; !c.Client.plain {
			g.subflows(c)
			g.clientChoices(c)
		}
	}
}

// legs are all directions of all links.
func (cfg *Config) legs() []*Path {
	l := []*Path{&cfg.N6Up, &cfg.N6Down}
	for a := range cfg.Access {
		l = append(l, &cfg.Access[a].Up, &cfg.Access[a].Down)
	}
	return l
}

// corruption flips bits that the IP header's reader cannot see.
func (g generator) corruption(cfg *Config) {
	for _, p := range cfg.legs() {
		if g.chance(0.5) {
			p.Corrupt = g.Float64() * 0.02
		}
	}
}

// resegmentation is what offloads do on N6; on the accesses the client cuts its skbs.
func (g generator) resegmentation(cfg *Config) {
	for _, p := range []*Path{&cfg.N6Up, &cfg.N6Down} {
		if g.chance(0.7) {
			p.Cut = g.Float64() * 0.3
		}
		if g.chance(0.7) {
			p.Join = g.Float64() * 0.7
		}
	}
}

// delayChanges are handovers.
func (g generator) delayChanges(cfg *Config) {
	at := time.Duration(0)
	for range 1 + g.IntN(5) {
		at += g.between(200*time.Millisecond, 1500*time.Millisecond)
		up := g.between(time.Millisecond, 200*time.Millisecond)
		down := g.between(time.Millisecond, 200*time.Millisecond)
		cfg.Events = append(cfg.Events, delayChange(at, steer.Access(g.IntN(2)), up, down))
	}
}

// subflows has the client join over many of its addresses, up to eight subflows.
func (g generator) subflows(c *ConnConfig) {
	if !g.chance(0.3) {
		return
	}
	for n := 3 + g.IntN(5); len(c.Joins) < n; {
		j := JoinConfig{
			Access: steer.Access(g.IntN(2)), Addr: g.IntN(uesAddresses),
			After: g.between(0, time.Second), Backup: g.chance(0.15), TCP: c.TCP,
		}
		j.TCP.isn, j.TCP.tsOffset = g.number(), g.number()
		c.Joins = append(c.Joins, j)
	}
}

// clientChoices are the client's scheduler, and data sent again without need.
func (g generator) clientChoices(c *ConnConfig) {
	if g.chance(0.5) {
		c.Client.scheduler = scheduler(g.IntN(len(schedulerNames)))
	}
	if g.chance(0.2) {
		c.Client.eager = g.Float64() * 0.3
	}
}

// maxGrown is the most that grow makes of one direction.
const maxGrown = 2 << 20

// grow makes the transfer n times as long.
func (c *ConnConfig) grow(n int64) {
	if max(c.Client.send, c.Server.send)*n > maxGrown {
		return
	}
	for _, v := range []*int64{
		&c.Client.send, &c.Client.expect, &c.Client.abortAt,
		&c.Server.send, &c.Server.expect, &c.Server.abortAt, &c.Server.request,
	} {
		*v *= n
	}
}

// tightWindow gives both ends little room, and slow readers at times.
func (g generator) tightWindow(c *ConnConfig) {
	c.Client.buffer, c.Server.buffer = 4000+g.Int64N(30_000), 4000+g.Int64N(30_000)
	c.Client.reader, c.Server.reader = g.reader(), g.reader()
}
