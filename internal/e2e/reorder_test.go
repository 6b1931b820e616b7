package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
)

// spurious is what a server sends again for nothing, and how much of it it finds out.
type spurious struct {
	retransmitted, dsacks, undone uint64 // segments, D-SACKs received, recoveries undone
	paws                          uint64 // segments refused for their timestamps
	took                          time.Duration
}

func (s spurious) String() string {
	return fmt.Sprintf("%d segments sent again, %d D-SACKs, %d recoveries undone, %d PAWS, %v", s.retransmitted, s.dsacks, s.undone, s.paws, s.took.Round(time.Millisecond))
}

// share is that of the segments of g that were sent again.
func (s spurious) share(g *file) float64 { return float64(s.retransmitted) * segment / float64(g.size) }

// segment is the payload of a full segment through the translator, in bytes.
const segment = 1328

// measured downloads g while during runs.
func (f *fixture) measured(g *file, during func()) (s spurious) {
	f.Helper()
	before, begun := f.mib(lab.DN), time.Now()
	tr := f.get(g)
	if during != nil {
		during()
	}
	f.downloaded(tr, g)
	s.took = time.Since(begun)
	tr.Close()
	after := f.mib(lab.DN)
	rose := func(counters ...string) (n uint64) {
		for _, c := range counters {
			n += after[c] - before[c]
		}
		return n
	}
	s.retransmitted = rose("TcpRetransSegs")
	s.dsacks = rose("TcpExtTCPDSACKRecv", "TcpExtTCPDSACKOfoRecv")
	s.paws = rose("TcpExtPAWSEstab")
	s.undone = rose("TcpExtTCPFullUndo", "TcpExtTCPPartialUndo", "TcpExtTCPDSACKUndo", "TcpExtTCPLossUndo")
	return s
}

// mostSpurious is the share of its segments that a server may send again though none was
// lost.
const mostSpurious = 0.01

// On an access that reorders, a server sends again what is not lost. A plain one learns
// of it by D-SACK and waits longer from then on; D-SACK does not pass the translator,
// and MPTCP's server finds out by timestamps, a little late each time.
func TestReordering(t *testing.T) {
	f := begin(t)
	f.allowDN = append(f.allowDN, "TcpExtPAWSEstab") // ACKs of plain TCP overtake one another
	f.link(tgpp, lab.Impairment{Delay: 10 * time.Millisecond, Reorder: 0.02, Rate: 100e6})
	g := f.file(30_000_000)
	f.client.Plain = true
	plain := f.measured(g, nil)
	f.client.Plain = false
	mptcp := f.measured(g, nil)
	t.Logf("plain TCP: %v", plain)
	t.Logf("MPTCP:     %v", mptcp)
	if mptcp.share(g) > mostSpurious {
		t.Errorf("the server sent %.1f%% again, want %.1f%% at most", 100*mptcp.share(g), 100*mostSpurious)
	}
	if mptcp.paws > 1 {
		t.Errorf("the server refused %d segments of MPTCP for their timestamps", mptcp.paws)
	}
}

// After a switch from an access of 40 ms to one of 5 ms new data overtake what is under
// way, in the queue of the slow access, too. The server takes that for lost and, as its
// window is halved, sends part of it again until the ACKs come: never more than was
// overtaken.
func TestSwitchOvertakes(t *testing.T) {
	const rate, slow, fast = 60e6, 40 * time.Millisecond, 5 * time.Millisecond
	overtaken := uint64(rate * (slow + lab.QueueTime - fast).Seconds() / 8 / segment)
	f := begin(t)
	f.link(tgpp, lab.Impairment{Delay: slow, Rate: rate})
	f.link(nonTGPP, lab.Impairment{Delay: fast, Rate: rate})
	s := f.measured(f.file(30_000_000), func() {
		time.Sleep(time.Second)
		for i := range 6 {
			before := f.mib(lab.DN)["TcpRetransSegs"]
			to := [...]steer.Access{nonTGPP, tgpp}[i&1]
			f.setPolicy(prefer(to))
			time.Sleep(400 * time.Millisecond)
			again := f.mib(lab.DN)["TcpRetransSegs"] - before
			t.Logf("switch to %v: %d segments sent again", to, again)
			if again > overtaken {
				t.Errorf("switch to %v: %d segments sent again, %d were overtaken", to, again, overtaken)
			}
		}
	})
	t.Logf("in all: %v", s)
}
