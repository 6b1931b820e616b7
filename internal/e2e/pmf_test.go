package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/smf"
)

// measured has the session's accesses measured by PMF, and their availability reported.
func measured(s *smf.Session) {
	s.ATSSS = smf.ATSSS{MPTCP: true, ATSSSLL: true, PMF: &smf.PMF{}}
	s.Reports.AccessAvailability = true
}

// awaitPMF waits until the UE's PMF has heard the network's over both accesses lately.
func (f *fixture) awaitPMF() {
	f.Helper()
	f.await("PMF on both accesses", eventTime, func() bool {
		s, err := f.lab.UEStats()
		f.check(err)
		return s.PMF != nil && !slices.ContainsFunc(s.PMF.Access[:], func(a lab.PMFAccess) bool {
			return a.RTTs == 0 || time.Since(a.Heard) > time.Second
		})
	})
}

// report waits for an access availability report that the SMF got since a time.
func (f *fixture) report(a steer.Access, available bool, since time.Time) (at time.Time) {
	f.Helper()
	f.await("report of "+a.String(), eventTime, func() bool {
		st, err := f.lab.SMFState()
		f.check(err)
		for _, r := range st.Sessions[0].Reports {
			if r.Access == a.String() && r.Available == available && r.Time.After(since) {
				at = r.Time
				return true
			}
		}
		return false
	})
	return at
}

// foundWithin is how soon a dead access must be found without any traffic. Of several tries
// half must keep it, and each twice of it, for the sake of a machine that is busy.
const foundWithin = time.Second

// TestIdleAccessDies: nothing is under way, and an access dies: the SMF gets a report within
// a second, and another one when it is back.
func TestIdleAccessDies(t *testing.T) {
	f := begin(t)
	f.setPolicy(measured)
	f.awaitPMF()
	var took []time.Duration
	for i := range 6 {
		a := steer.Access(i % 2)
		died := time.Now()
		f.kill(a)
		took = append(took, f.report(a, false, died).Sub(died))
		back := time.Now()
		f.link(a, lab.Impairment{Delay: 5 * time.Millisecond})
		found := f.report(a, true, back).Sub(back)
		t.Logf("%v: found dead after %v, back after %v", a, took[i].Round(time.Millisecond), found.Round(time.Millisecond))
		f.awaitPMF()
	}
	slices.Sort(took)
	if took[len(took)/2-1] > foundWithin || took[len(took)-1] > 2*foundWithin {
		t.Errorf("dead accesses were found after %v, want %v", took, foundWithin)
	}
}

// TestUEReportsAccess: what the UE says of an access reaches SMF and steering at once, while
// the access goes on to carry packets.
func TestUEReportsAccess(t *testing.T) {
	f := begin(t)
	f.setPolicy(measured)
	f.awaitPMF()
	tr := f.streams(10)
	f.settles("the beginning", on3GPP)
	for range 2 {
		longest := tr.outage(func() {
			told := time.Now()
			f.check(f.lab.ReportAccess(tgpp, false))
			f.report(tgpp, false, told)
			f.settles("3GPP is reported unavailable", onNon3GPP)
		})
		t.Logf("no connection got nothing for longer than %v", longest)
		told := time.Now()
		f.check(f.lab.ReportAccess(tgpp, true))
		f.report(tgpp, true, told)
		f.settles("3GPP is reported available", on3GPP)
	}
	f.await("acknowledgements", eventTime, func() bool {
		s, err := f.lab.UEStats()
		f.check(err)
		return s.PMF.Settled
	})
}

// TestRedundantFlows: either access dies under packet flows that are sent twice: not one
// packet is lost.
func TestRedundantFlows(t *testing.T) {
	f := begin(t)
	f.setPolicy(steerBy(steer.ATSSSLL, smf.Steering{Mode: steer.Redundant},
		smf.Share{Priority: steer.Primary}, smf.Share{Priority: steer.Secondary}))
	f.awaitPMF()
	u := f.udpFlows(40)
	for a := range steer.Access(steer.NumAccesses) {
		stop := make(chan struct{})
		done := u.run(40*time.Millisecond, stop)
		f.settles("both accesses", onBoth)
		died := time.Now()
		f.kill(a)
		f.report(a, false, died)
		f.settles("one access", [steer.NumAccesses]where{onNon3GPP, on3GPP}[a])
		f.link(a, lab.Impairment{Delay: 5 * time.Millisecond})
		f.settles("both accesses again", onBoth)
		close(stop)
		<-done
		f.await("every packet", eventTime, func() bool { return u.delivery().lost() == 0 })
	}
	d := u.delivery()
	t.Logf("%d packets sent, %d lost, %d came twice, %d were overtaken", d.sent, d.lost(), d.twice, d.late)
	// For about two thirds of the time one access is dead, or held so.
	if d.twice < d.sent/5 {
		t.Errorf("%d packets of %d came twice", d.twice, d.sent)
	}
}

// TestPMFOfQoSFlows: the QoS flow of the session is measured for itself, beside the default
// one, and nothing that either end says is refused by the other.
func TestPMFOfQoSFlows(t *testing.T) {
	f := begin(t)
	f.setPolicy(func(s *smf.Session) {
		measured(s)
		s.ATSSS.PMF.QFIs = []uint8{s.QFI}
	})
	st, err := f.lab.SMFState()
	f.check(err)
	if flows := st.Sessions[0].ATSSS.PMF; len(flows) != 2 || flows[1].QFI != 9 || flows[0].Ports == flows[1].Ports {
		t.Fatalf("PMF parameters are %+v", flows)
	}
	f.awaitPMF()
	before := f.translator()["pmf_received"]
	f.await("more messages", eventTime, func() bool { return f.translator()["pmf_received"] >= before+20 })
	ue, err := f.lab.UEStats()
	f.check(err)
	if len(ue.PMF.Refused) > 0 {
		t.Errorf("the UE has refused messages: %v", ue.PMF.Refused)
	}
	for name, n := range f.translator() {
		slow := name == "drop_pmf_late" || name == "drop_pmf_duplicate" // of a machine that is busy
		if strings.HasPrefix(name, "drop_pmf") && n > f.upf[name] && !slow {
			t.Errorf("the UPF's %s rose by %d", name, n-f.upf[name])
		}
	}
	died := time.Now()
	f.kill(tgpp)
	f.report(tgpp, false, died)
}
