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

// Gaps lists the times without progress of at least the given length that begin
// before until and end after since, in order of time. What follows the last
// sample is not among them.
func (tr Trace) Gaps(since, until time.Time, least time.Duration) (gaps []Gap) {
	for i := 1; i < len(tr); i++ {
		g := Gap{tr[i-1].At, tr[i].At}
		if g.To.After(since) && g.From.Before(until) && g.Duration() >= least {
			gaps = append(gaps, g)
		}
	}
	return gaps
}

// At is the counter's value at a moment: that of the last sample up to it.
func (tr Trace) At(t time.Time) (n int64) {
	for _, s := range tr {
		if s.At.After(t) {
			break
		}
		n = s.Bytes
	}
	return n
}
