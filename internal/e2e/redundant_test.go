package e2e

import (
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
	"github.com/braid-upf/braid/smf"
)

// twice has every downlink packet go over both accesses.
func twice(s *smf.Session) { s.Steering.Mode = steer.Redundant }

// share is what each access carries of a download within a moment.
func (f *fixture) share() (n [steer.NumAccesses]uint64) {
	before := f.carried(lab.DirectionDown)
	time.Sleep(200 * time.Millisecond)
	after := f.carried(lab.DirectionDown)
	return [steer.NumAccesses]uint64{after[tgpp] - before[tgpp], after[nonTGPP] - before[nonTGPP]}
}

// alike says whether both accesses carry traffic, and the same.
func alike(n [steer.NumAccesses]uint64) bool {
	return n[tgpp] > 100_000 && n[nonTGPP] > 100_000 && n[tgpp] < n[nonTGPP]*6/5 && n[nonTGPP] < n[tgpp]*6/5
}

// Either access dies under a download in Redundant mode: the application gets its bytes as
// before; when the access returns it carries them again.
func TestRedundant(t *testing.T) {
	for a := range steer.Access(steer.NumAccesses) {
		t.Run(a.String(), func(t *testing.T) {
			f := begin(t)
			f.setPolicy(twice)
			normal := f.slowLinks()
			g := f.file(2 * slowFile)
			tr := f.get(g)
			f.awaitSubflows(tr.Inspect)
			f.awaitBytes(tr, slowFile/4)
			f.await("both accesses carry all", eventTime, func() bool { return alike(f.share()) })

			stop, record := make(chan struct{}), make(chan mptcpclient.Trace, 1)
			go func() { record <- mptcpclient.Record(stop, func() (int64, error) { return tr.Bytes(), nil }) }()
			time.Sleep(200 * time.Millisecond) // of the download as it was
			died := time.Now()
			f.kill(a)
			dead := f.carried(lab.DirectionDown)
			f.await("the other access carries on", eventTime, func() bool {
				return f.carried(lab.DirectionDown)[a.Other()] > dead[a.Other()]+2_000_000
			})
			close(stop)
			var longest time.Duration
			for _, gap := range (<-record).Gaps(died, time.Now(), 0) {
				longest = max(longest, gap.Duration())
			}
			// As a rule a round trip or two. An access that is behind is spared copies for a
			// while: if that was so, the server repeats what the dead one had alone, after
			// its retransmission time and one that a late ACK put off.
			if longest > 600*time.Millisecond {
				t.Errorf("the download stood still for %v", longest)
			}
			t.Logf("the download stood still for %v at most", longest)

			f.link(a, normal)
			f.await("both accesses carry all again", eventTime, func() bool { return alike(f.share()) })
			f.downloaded(tr, g)
			f.mptcp(tr.Inspect, 2)
			if f.rose("MPTcpExtDuplicateData") == 0 {
				t.Error("nothing came twice")
			}
		})
	}
}

// Losses on both accesses: what one brings needs no other sending.
func TestRedundantLoss(t *testing.T) {
	f := begin(t)
	f.setPolicy(twice)
	for a := range steer.Access(steer.NumAccesses) {
		f.link(a, lab.Impairment{Rate: 40e6, Delay: 10 * time.Millisecond, Loss: 0.01})
	}
	g := f.file(slowFile)
	began := time.Now()
	tr := f.get(g)
	f.downloaded(tr, g)
	f.mptcp(tr.Inspect, 2)
	took := time.Since(began)
	t.Logf("%d bytes in %v, %.1f Mbit/s", slowFile, took, slowFile*8/took.Seconds()/1e6)
}

// The mode is switched under a download.
func TestRedundantSwitched(t *testing.T) {
	f := begin(t)
	f.slowLinks()
	g := f.file(slowFile)
	tr := f.get(g)
	f.awaitSubflows(tr.Inspect)
	for i := range 10 {
		edit := twice
		if i%2 == 1 {
			edit = prefer(steer.Access(i / 2 % 2))
		}
		f.setPolicy(edit)
		f.awaitBytes(tr, slowFile/20*int64(i+1))
	}
	f.downloaded(tr, g)
	f.mptcp(tr.Inspect, 2)
}
