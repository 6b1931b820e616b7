package e2e

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
)

// slowLinks makes a transfer of 20 MB last some seconds.
func (f *fixture) slowLinks() (normal lab.Impairment) {
	normal = lab.Impairment{Rate: 40e6, Delay: 10 * time.Millisecond}
	f.link(tgpp, normal)
	f.link(nonTGPP, normal)
	return normal
}

const slowFile = 20_000_000 // bytes: 4 seconds at 40 Mbit/s

// An access dies under a transfer and comes back.
func TestAccessDies(t *testing.T) {
	for _, d := range directions {
		for a := range steer.Access(steer.NumAccesses) {
			t.Run(fmt.Sprintf("%s-%v", d.name, a), func(t *testing.T) {
				f := begin(t)
				f.setPolicy(prefer(a))
				normal := f.slowLinks()
				g := f.file(slowFile)
				tr := d.start(f, g)
				f.awaitSubflows(tr.Inspect)
				f.awaitBytes(tr, slowFile/4)
				f.kill(a)
				dead := f.carried(d.way)
				f.await("the other access carries on", eventTime, func() bool {
					return f.carried(d.way)[a.Other()] > dead[a.Other()]+2_000_000
				})
				const burst = 64 * 1400 // may have been on its way out
				if now := f.carried(d.way); now[a] > dead[a]+burst {
					t.Errorf("the dead access carried %d bytes", now[a]-dead[a])
				}
				f.link(a, normal)
				d.end(f, tr, g)
				f.mptcp(tr.Inspect, 1)
			})
		}
	}
}

// After its return the active access carries the download again.
func TestAccessReturns(t *testing.T) {
	f := begin(t)
	normal := f.slowLinks()
	g := f.file(2 * slowFile)
	tr := f.get(g)
	f.awaitSubflows(tr.Inspect)
	f.awaitBytes(tr, slowFile/4)
	f.kill(tgpp)
	f.await("the standby carries on", eventTime, func() bool {
		return f.carried(lab.DirectionDown)[nonTGPP] > 2_000_000
	})
	f.link(tgpp, normal)
	back := f.carried(lab.DirectionDown)[tgpp]
	f.await("the active access is used again", eventTime, func() bool {
		return f.carried(lab.DirectionDown)[tgpp] > back+2_000_000
	})
	f.downloaded(tr, g)
}

// The access dies while nothing is under way; the next request finds out.
func TestAccessDiesWhileIdle(t *testing.T) {
	f := begin(t)
	b := pattern(100_000)
	addr := f.serve(func(c *net.TCPConn) error {
		for range 2 {
			if err := expect(c, b[:100]); err != nil {
				return err
			}
			if _, err := c.Write(b); err != nil {
				return err
			}
		}
		return expectEOF(c)
	})
	c := f.dial(addr)
	inspect := inspector(c)
	ask := func() {
		f.Helper()
		_, err := c.Write(b[:100])
		f.check(err)
		f.check(expect(c, b))
	}
	ask()
	f.awaitSubflows(inspect)
	f.kill(tgpp)
	ask()
	f.mptcp(inspect, 1)
}

// Both accesses are dead for a while: the transfer waits and goes on.
func TestBothAccessesDie(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			f := begin(t)
			normal := f.slowLinks()
			g := f.file(slowFile)
			tr := d.start(f, g)
			f.awaitSubflows(tr.Inspect)
			f.awaitBytes(tr, slowFile/4)
			f.kill(tgpp)
			f.kill(nonTGPP)
			time.Sleep(1500 * time.Millisecond) // the outage itself
			f.link(tgpp, normal)
			f.link(nonTGPP, normal)
			d.end(f, tr, g)
		})
	}
}

func TestBadAccesses(t *testing.T) {
	bad := lab.Impairment{Rate: 50e6, Delay: 5 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.02, Reorder: 0.02, Duplicate: 0.005}
	clean := lab.Impairment{Rate: 50e6, Delay: 5 * time.Millisecond}
	for _, tc := range []struct {
		name string
		im   [steer.NumAccesses]lab.Impairment
		size int
	}{
		{"one", [steer.NumAccesses]lab.Impairment{bad, clean}, 5_000_000},
		{"both", [steer.NumAccesses]lab.Impairment{bad, bad}, 4_000_000},
	} {
		for _, d := range directions {
			t.Run(tc.name+"-"+d.name, func(t *testing.T) {
				f := begin(t)
				for a, im := range tc.im {
					f.link(steer.Access(a), im)
				}
				g := f.file(tc.size)
				tr := d.start(f, g)
				d.end(f, tr, g)
				f.mptcp(tr.Inspect, 1)
				s, was := f.stats(tgpp), f.begun[tgpp]
				if s.Of(d.way).Lost == was.Of(d.way).Lost || s.Of(d.way).Reordered == was.Of(d.way).Reordered {
					t.Errorf("the access lost or reordered nothing: %+v", *s.Of(d.way))
				}
			})
		}
	}
}
