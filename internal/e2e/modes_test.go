package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/smf"
)

// traffic is what a mode steers: it runs from its start to the end of the test.
type traffic interface {
	// outage runs during, and gives the longest time in which a connection or packet flow
	// got nothing meanwhile.
	outage(during func()) time.Duration

	// whole ends it, and fails the test if anything was lost.
	whole()
}

// functionalities are the ways of steering, each with the traffic that it is for.
var functionalities = []struct {
	name  string
	is    steer.Functionality
	start func(*fixture) traffic
}{
	{"MPTCP", steer.MPTCP, func(f *fixture) traffic { return f.streams(20) }},
	{"ATSSS-LL", steer.ATSSSLL, func(f *fixture) traffic { return f.steadyFlows(160, 160*time.Millisecond) }},
}

// steadyFlows are packet flows that get a packet in each round.
type steadyFlows struct {
	*udpFlows
	stop func() // ends the rounds
}

// steadyFlows begins to send over n flows until the end of the test.
func (f *fixture) steadyFlows(n int, within time.Duration) *steadyFlows {
	f.Helper()
	s := &steadyFlows{udpFlows: f.udpFlows(n)}
	stop := make(chan struct{})
	done := s.run(within, stop)
	s.stop = sync.OnceFunc(func() { close(stop); <-done })
	f.Cleanup(s.stop)
	return s
}

func (s *steadyFlows) whole() {
	s.Helper()
	s.stop()
	s.await("every packet", eventTime, func() bool { return s.delivery().lost() == 0 })
	d := s.delivery()
	s.Logf("%d packets sent, %d came twice, %d were overtaken", d.sent, d.twice, d.late)
}

func (s *steadyFlows) outage(during func()) time.Duration {
	begin := time.Now()
	during()
	return s.udpFlows.outage(begin, time.Now())
}

// steerBy gives the session a steering of the traffic of one functionality; MPTCP's stays
// Active-Standby where it is the other's. PMF measures.
func steerBy(by steer.Functionality, is smf.Steering, shares ...smf.Share) func(*smf.Session) {
	return func(s *smf.Session) {
		s.ATSSS = smf.ATSSS{MPTCP: true, ATSSSLL: true, PMF: &smf.PMF{}}
		s.Reports.AccessAvailability = true
		is.Functionality = by
		if by == steer.MPTCP {
			s.Steering = is
			for a, share := range shares {
				s.Accesses[a].Weight, s.Accesses[a].Priority = share.Weight, share.Priority
			}
			return
		}
		s.Other = &smf.Other{Steering: is}
		for a := range shares {
			s.Other.Shares[a] = &shares[a]
		}
	}
}

// modeCase is a steering mode, and where its traffic goes as the accesses change.
type modeCase struct {
	name   string
	is     smf.Steering
	shares []smf.Share // by access
	want   map[event]where
}

// event is what happens to the accesses, one after the other.
type event string

const (
	begins  event = "the beginning"
	dies    event = "3GPP dies"
	returns event = "3GPP returns"
	slow    event = "3GPP is 100 ms slow"
	normal  event = "3GPP is as before"
	lossy   event = "3GPP loses a tenth"
	assists event = "the UE has a fifth of its uplink on 3GPP"
)

// inOrder is the order in which events happen, where a mode has them.
var inOrder = []event{begins, assists, dies, returns, slow, normal, lossy}

// where is 3GPP's share of what both accesses carry, from and to.
type where struct{ from, to float64 }

var (
	on3GPP    = where{0.95, 1}
	onNon3GPP = where{0, 0.05}
	onBoth    = where{0.45, 0.55} // each carries all
	roughly   = where{0.38, 0.62} // likewise, but some copies are spared and some repeated

	// Shares of 20 connections or 160 flows, of which chance decides: four standard
	// deviations of these. TestWeights has the fine measure.
	by50 = where{0.34, 0.66}
	by70 = where{0.55, 0.85}
	by20 = where{0.07, 0.33}
)

// usualLinks are the accesses while nothing is wrong with them: 3GPP is the nearer one.
var usualLinks = [steer.NumAccesses]lab.Impairment{
	{Rate: 100e6, Delay: 5 * time.Millisecond},
	{Rate: 100e6, Delay: 15 * time.Millisecond},
}

// happen makes an event.
func (f *fixture) happen(e event) {
	f.Helper()
	im := usualLinks[tgpp]
	switch e {
	case dies:
		f.kill(tgpp)
		return
	case slow:
		im.Delay += 100 * time.Millisecond
	case lossy:
		im.Loss = 0.1
	case assists:
		f.check(f.lab.Assist(20))
		return
	case begins, returns, normal:
	}
	f.link(tgpp, im)
}

var modeCases = []modeCase{
	{
		"active-standby",
		smf.Steering{Mode: steer.ActiveStandby},
		[]smf.Share{{Priority: steer.Active}, {Priority: steer.Standby}},
		map[event]where{begins: on3GPP, dies: onNon3GPP, returns: on3GPP, slow: on3GPP, normal: on3GPP, lossy: on3GPP},
	},
	{
		"smallest-delay",
		smf.Steering{Mode: steer.SmallestDelay},
		nil,
		map[event]where{begins: on3GPP, dies: onNon3GPP, returns: on3GPP, slow: onNon3GPP, normal: on3GPP, lossy: on3GPP},
	},
	{
		"load-balancing",
		smf.Steering{Mode: steer.LoadBalancing},
		[]smf.Share{{Weight: 70}, {Weight: 30}},
		map[event]where{begins: by70, dies: onNon3GPP, returns: by70, slow: by70, normal: by70, lossy: by70},
	},
	{
		"load-balancing-thresholds",
		smf.Steering{Mode: steer.LoadBalancing, Thresholds: steer.Thresholds{RTT: 100_000, PLR: 5, HasPLR: true}},
		[]smf.Share{{Weight: 70}, {Weight: 30}},
		map[event]where{begins: by70, dies: onNon3GPP, returns: by70, slow: onNon3GPP, normal: by70, lossy: onNon3GPP},
	},
	{
		"load-balancing-autonomous",
		smf.Steering{Mode: steer.LoadBalancing, Indicator: steer.Autonomous},
		[]smf.Share{{Weight: 50}, {Weight: 50}},
		map[event]where{begins: by50, dies: onNon3GPP, returns: by50, slow: onNon3GPP},
	},
	{
		"load-balancing-ue-assistance",
		smf.Steering{Mode: steer.LoadBalancing, Indicator: steer.UEAssistance},
		[]smf.Share{{Weight: 50}, {Weight: 50}},
		map[event]where{begins: by50, assists: by20, dies: onNon3GPP, returns: by20, slow: by20, lossy: by20},
	},
	{
		"priority-based",
		smf.Steering{Mode: steer.PriorityBased, Thresholds: steer.Thresholds{RTT: 100_000, PLR: 5, HasPLR: true}},
		[]smf.Share{{Priority: steer.High}, {Priority: steer.Low}},
		// It takes its time to take traffic back, which has been seen when 3GPP is back.
		map[event]where{begins: on3GPP, dies: onNon3GPP, returns: on3GPP, slow: onNon3GPP},
	},
	{
		"redundant",
		smf.Steering{Mode: steer.Redundant},
		[]smf.Share{{Priority: steer.Primary}, {Priority: steer.Secondary}},
		map[event]where{begins: onBoth, dies: onNon3GPP, returns: onBoth, slow: roughly, normal: onBoth, lossy: onBoth},
	},
	{
		"redundant-thresholds",
		smf.Steering{Mode: steer.Redundant, Thresholds: steer.Thresholds{RTT: 80_000}},
		[]smf.Share{{Priority: steer.Primary}, {Priority: steer.Secondary}},
		map[event]where{begins: on3GPP, dies: onNon3GPP, returns: on3GPP, slow: onNon3GPP, normal: on3GPP},
	},
}

// modeTime is how long a mode may take until its traffic is where it should be: some seconds
// for a smoothed measurement or a round of counting, and 16 steps of a second with which
// Priority-based takes back what it has spilled. Nothing waits for it to pass unless it fails.
const modeTime = 45 * time.Second

// outageLimit bounds the time in which a connection or flow gets nothing when its access
// dies. Connections notice within some round trips, PMF within a second; the rest is for a
// machine whose cores do other things, too.
const outageLimit = 3 * time.Second

// TestModes: each steering mode with each functionality, as 3GPP access dies, returns, gets
// slow and loses packets: the traffic goes where the mode says, no flow gets nothing for
// long, and every byte of the connections is right.
func TestModes(t *testing.T) {
	for _, m := range modeCases {
		for _, by := range functionalities {
			t.Run(m.name+"/"+by.name, func(t *testing.T) {
				f := begin(t)
				for a, im := range usualLinks {
					f.link(steer.Access(a), im)
				}
				f.setPolicy(steerBy(by.is, m.is, m.shares...))
				tr := by.start(f)
				for _, e := range inOrder {
					want, tested := m.want[e]
					if !tested {
						continue
					}
					var took time.Duration
					longest := tr.outage(func() {
						since := time.Now()
						f.happen(e)
						f.settles(string(e), want)
						took = time.Since(since)
					})
					t.Logf("%s: %.0f%% to %.0f%% on 3GPP after %v; no flow got nothing for longer than %v",
						e, 100*want.from, 100*want.to, took.Round(10*time.Millisecond), longest.Round(time.Millisecond))
					if e == dies && longest > outageLimit {
						t.Errorf("%s: a flow got nothing for %v", e, longest)
					}
				}
				f.happen(normal) // connections end on accesses that lose nothing
			})
		}
	}
}

// settles waits until 3GPP's share of the downlink is as wanted, twice in a row.
func (f *fixture) settles(what string, want where) {
	f.Helper()
	var share float64
	inRow := 0
	for end := time.Now().Add(modeTime); inRow < 2; {
		n := f.share()
		if share = float64(n[tgpp]) / float64(n[tgpp]+n[nonTGPP]); share >= want.from && share <= want.to {
			inRow++
			continue
		}
		inRow = 0
		if time.Now().After(end) {
			f.Fatalf("%s: 3GPP carries %.2f of the downlink, want %.2f to %.2f; not within %v", what, share, want.from, want.to, modeTime)
		}
	}
}

// TestModeChanges: one mode follows the other on connections and flows that live, each with
// either access in the first place; nothing is lost by it.
func TestModeChanges(t *testing.T) {
	for _, by := range functionalities {
		t.Run(by.name, func(t *testing.T) {
			f := begin(t)
			for a, im := range usualLinks {
				f.link(steer.Access(a), im)
			}
			change := func(m *modeCase, swap bool) {
				edit := steerBy(by.is, m.is, m.shares...)
				if swap && len(m.shares) == 2 {
					edit = steerBy(by.is, m.is, m.shares[1], m.shares[0])
				}
				f.setPolicy(edit)
			}
			change(&modeCases[0], false)
			tr := by.start(f)
			for i := range modeCases {
				m := &modeCases[i]
				want := m.want[begins]
				for _, swap := range []bool{false, true} {
					longest := tr.outage(func() {
						change(m, swap)
						f.settles(fmt.Sprintf("%s, swapped is %v", m.name, swap), want)
					})
					if longest > outageLimit {
						t.Errorf("%s, swapped is %v: a flow got nothing for %v", m.name, swap, longest)
					}
					t.Logf("%s, swapped is %v: no flow got nothing for longer than %v", m.name, swap, longest.Round(time.Millisecond))
					if len(m.shares) == 2 {
						want = where{1 - want.to, 1 - want.from}
					}
				}
			}
			tr.whole()
		})
	}
}
