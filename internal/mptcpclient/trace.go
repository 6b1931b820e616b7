package mptcpclient

import (
	"time"
)

// SampleInterval is the time between two looks at a byte counter.
const SampleInterval = 5 * time.Millisecond

// Sample is the value of a byte counter at a moment.
type Sample struct {
	At    time.Time
	Bytes int64
}

// Trace is a byte counter over time, in order of time: one sample for every look
// that found the counter changed, so that the time between two samples is the
// time in which nothing came, to within one look.
type Trace []Sample

// Record looks at a counter every [SampleInterval] until stop is closed. A
// counter that errors is looked at again: it may not be there yet.
func Record(stop <-chan struct{}, counter func() (int64, error)) Trace {
	tick := time.NewTicker(SampleInterval)
	defer tick.Stop()
	var tr Trace
	last := int64(-1)
	look := func() {
		if n, err := counter(); err == nil && n != last {
			last = n
			tr = append(tr, Sample{time.Now(), n})
		}
	}
	for {
		select {
		case <-tick.C:
			look()
		case <-stop:
			look()
			return tr
		}
	}
}

// Gap is a time without progress: from the last byte before it to the first byte
// after it.
type Gap struct{ From, To time.Time }

// Duration is the length of the gap.
func (g Gap) Duration() time.Duration { return g.To.Sub(g.From) }

// LongestGap is the longest time without progress that begins before until and
// ends after since. ok is false if there is no sample on both sides: nothing came
// any more.
func (tr Trace) LongestGap(since, until time.Time) (g Gap, ok bool) {
	for i := 1; i < len(tr); i++ {
		from, to := tr[i-1].At, tr[i].At
		if to.Before(since) || from.After(until) {
			continue
		}
		if !ok || to.Sub(from) > g.Duration() {
			g, ok = Gap{from, to}, true
		}
	}
	return g, ok
}
