package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

// TestSwitchUnderLoad: a MAR that changes moves a download to the other access, again and
// again. No byte is lost, and the application gets new ones all the time but for one round
// trip of the access that the download moves to.
func TestSwitchUnderLoad(t *testing.T) {
	const switches = 12
	f := begin(t)
	f.slowLinks()
	rtt := 2 * 10 * time.Millisecond // of slowLinks
	g := f.file(2 * slowFile)
	tr := f.get(g)
	f.awaitSubflows(tr.Inspect)
	f.awaitBytes(tr, slowFile/10)

	w := f.watch(tr)
	for i := range switches {
		w.during("calm", func() { f.moves(tr) })
		w.during("switch", func() {
			f.setPolicy(prefer(steer.Access((i + 1) % 2)))
			f.moves(tr)
		})
	}
	longest := w.end()
	calm, moved := longest["calm"], longest["switch"]
	t.Logf("longest times without data: %v; with a switch %v", calm, moved)
	// A machine that is busy makes pauses of its own: they are the same with and without a
	// switch, and the median knows nothing of single ones.
	if c, m := calm[switches/2], moved[switches/2]; m > c+rtt+mptcpclient.SampleInterval {
		t.Errorf("with a switch the download stood still for %v, without for %v: want one round trip, %v, more at most", m, c, rtt)
	}
	f.downloaded(tr, g)
	f.mptcp(tr.Inspect, 2)
}

// deadWithin is how long the application may get nothing when its access dies under load:
// the proxy waits for some round trips in vain before it sends the data elsewhere. The
// median must keep it.
const deadWithin = 500 * time.Millisecond

// TestSwitchWhenAccessDies: the access that a download is on dies, again and again, and
// comes back. No byte is lost.
func TestSwitchWhenAccessDies(t *testing.T) {
	const deaths = 4
	f := begin(t)
	normal := f.slowLinks()
	g := f.file(3 * slowFile)
	tr := f.get(g)
	f.awaitSubflows(tr.Inspect)
	f.awaitBytes(tr, slowFile/10)
	w := f.watch(tr)
	for i := range deaths {
		a := steer.Access(i % 2)
		f.setPolicy(prefer(a))
		f.await("the download is on "+a.String(), eventTime, func() bool {
			n := f.share()
			return n[a] > 100_000 && n[a.Other()] < n[a]/20
		})
		w.during("death", func() {
			f.kill(a)
			f.moves(tr)
		})
		f.link(a, normal)
		f.awaitSubflows(tr.Inspect)
	}
	died := w.end()["death"]
	t.Logf("longest times without data as the access died: %v", died)
	if died[deaths/2] > deadWithin || died[deaths-1] > outageLimit {
		t.Errorf("as the access died the download stood still for %v, want %v", died, deadWithin)
	}
	f.downloaded(tr, g)
}

// moves waits until a transfer has moved some more: 200 ms of slowLinks.
func (f *fixture) moves(tr *mptcpclient.Transfer) {
	f.Helper()
	f.awaitBytes(tr, tr.Bytes()+1_000_000)
}

// watcher records the progress of a transfer, and in which times it is judged.
type watcher struct {
	stop   chan struct{}
	record chan mptcpclient.Trace
	times  map[string][][2]time.Time
}

func (f *fixture) watch(tr *mptcpclient.Transfer) *watcher {
	w := &watcher{make(chan struct{}), make(chan mptcpclient.Trace, 1), map[string][][2]time.Time{}}
	go func() { w.record <- mptcpclient.Record(w.stop, func() (int64, error) { return tr.Bytes(), nil }) }()
	return w
}

// during notes the time that do takes under a name.
func (w *watcher) during(name string, do func()) {
	from := time.Now()
	do()
	w.times[name] = append(w.times[name], [2]time.Time{from, time.Now()})
}

// end gives the longest time without data in each of the times of a name, in rising order.
func (w *watcher) end() map[string][]time.Duration {
	close(w.stop)
	trace := <-w.record
	longest := map[string][]time.Duration{}
	for name, times := range w.times {
		for _, t := range times {
			var most time.Duration
			for _, gap := range trace.Gaps(t[0], t[1], 0) {
				most = max(most, gap.Duration())
			}
			longest[name] = append(longest[name], most)
		}
		slices.Sort(longest[name])
	}
	return longest
}
