package e2e

import (
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

// The accesses die in turn, faster than TCP's timers settle.
func TestFlapping(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			f := begin(t)
			normal := f.slowLinks()
			g := f.file(slowFile)
			tr := d.start(f, g)
			f.awaitSubflows(tr.Inspect)
			for i := 0; ; i++ {
				a := steer.Access(i % steer.NumAccesses)
				f.kill(a)
				over := f.during(tr, 400*time.Millisecond)
				f.link(a, normal)
				if over || f.during(tr, 300*time.Millisecond) {
					break
				}
			}
			d.end(f, tr, g)
			f.mptcp(tr.Inspect, 1)
		})
	}
}

// during waits for a time or, if that is earlier, the end of a transfer.
func (f *fixture) during(t *mptcpclient.Transfer, d time.Duration) (over bool) {
	select {
	case <-t.Done():
		return true
	case <-time.After(d):
		return false
	}
}

// An access dies under many connections at once: when they have only just joined
// (some UEs do not have our fourth ACK yet), or in full use.
func TestManyConnectionsSurvive(t *testing.T) {
	const connections, size = 50, 500_000
	for _, tc := range []struct {
		name string
		when uint64 // bytes that the access has carried when it dies
	}{{"joining", 0}, {"in use", connections * size / 8}} {
		t.Run(tc.name, func(t *testing.T) {
			f := begin(t)
			f.setPolicy(balance(50))
			normal := lab.Impairment{Rate: 60e6, Delay: 10 * time.Millisecond}
			f.link(tgpp, normal)
			f.link(nonTGPP, normal)
			g := f.file(size)
			var all []*mptcpclient.Transfer
			for range connections {
				all = append(all, f.get(g))
			}
			for _, tr := range all {
				f.awaitSubflows(tr.Inspect)
			}
			f.await("use of the access", transferTime, func() bool {
				return f.carried(lab.DirectionDown)[nonTGPP] >= tc.when
			})
			f.kill(nonTGPP)
			for _, tr := range all {
				f.downloaded(tr, g)
			}
		})
	}
}

// The join gets no answer at first; the UE tries again.
func TestJoinAfterLoss(t *testing.T) {
	f := begin(t)
	normal := f.slowLinks()
	f.kill(nonTGPP)
	g := f.file(slowFile)
	tr := f.get(g)
	f.awaitBytes(tr, slowFile/8)
	f.link(nonTGPP, normal)
	f.awaitSubflows(tr.Inspect)
	f.downloaded(tr, g)
}

// The first SYN gets no answer; its repetition still makes an MPTCP connection.
func TestSYNAfterLoss(t *testing.T) {
	f := begin(t)
	f.kill(tgpp)
	g := f.file(100_000)
	tr := f.get(g)
	f.await("a SYN lost", eventTime, func() bool {
		return f.stats(tgpp).Up.BlackHole > f.begun[tgpp].Up.BlackHole
	})
	f.link(tgpp, lab.Impairment{})
	f.downloaded(tr, g)
	f.mptcp(tr.Inspect, 1)
}
