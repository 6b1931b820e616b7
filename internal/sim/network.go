package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Path describes one direction of a leg.
type Path struct {
	Delay  time.Duration // one way
	Jitter time.Duration // added to Delay, uniform in [0, Jitter); keeps the order
	Rate   int64         // bit/s; 0 = no limit
	Queue  int           // bytes waiting for Rate before the tail is dropped; 0 = 64 KiB

	Loss      float64       // probability per packet
	Burst     float64       // probability that all is lost for a while from a packet on
	BurstTime time.Duration // mean of that while; 0 = 10 ms
	Duplicate float64
	Reorder   float64 // probability that later packets overtake
	Corrupt   float64 // probability of one flipped bit behind the IP header
	Cut       float64 // probability that a segment's payload goes on in several
	Join      float64 // probability that a segment waits for the next, to be joined with it
}

// leg is one direction of a network link.
type leg struct {
	Path
	name    string
	clock   *Clock
	rng     *rand.Rand
	deliver func(pkt []byte)
	filter  func(*segment) bool // true = the packet is lost; for scenarios that aim

	down  bool
	burst time.Duration // end of the running loss burst
	free  time.Duration // when the last bit of the queue has gone
	last  time.Duration // arrival of the last packet in order

	held      *segment // waits for the next one
	heldTimer *Timer

	sent, lost int // packets
}

// send takes pkt, which the leg keeps.
func (l *leg) send(pkt []byte) { l.resegment(pkt) }

// enter is where the link begins.
func (l *leg) enter(pkt []byte) {
	l.sent++
	if l.down || l.drop() || l.filtered(pkt) {
		l.lost++
		return
	}
	now := l.clock.Now()
	start := max(l.free, now)
	if l.Rate > 0 {
		bits := time.Duration(len(pkt)) * 8
		if start-now > time.Duration(int64(l.queue())*8)*time.Second/time.Duration(l.Rate) {
			l.lost++
			return
		}
		l.free = start + bits*time.Second/time.Duration(l.Rate)
		start = l.free
	}
	l.schedule(pkt, start+l.Delay)
	if l.rng.Float64() < l.Duplicate {
		l.schedule(append([]byte(nil), pkt...), start+l.Delay+time.Duration(l.rng.Int64N(int64(5*time.Millisecond))))
	}
}

func (l *leg) schedule(pkt []byte, at time.Duration) {
	if l.Jitter > 0 {
		at += time.Duration(l.rng.Int64N(int64(l.Jitter)))
	}
	if l.rng.Float64() < l.Reorder {
		at += time.Duration(l.rng.Int64N(int64(10*time.Millisecond + l.Delay/2)))
	} else {
		at = max(at, l.last)
		l.last = at
	}
	if l.rng.Float64() < l.Corrupt {
		i := 20
		if pkt[0]>>4 == 6 {
			i = 40
		}
		i += l.rng.IntN(len(pkt) - i)
		pkt = slices.Clone(pkt) // the trace has it, too
		pkt[i] ^= 1 << l.rng.IntN(8)
	}
	l.clock.After(at-l.clock.Now(), func() {
		if l.down {
			l.lost++
			return
		}
		l.deliver(pkt)
	})
}

func (l *leg) filtered(pkt []byte) bool {
	if l.filter == nil {
		return false
	}
	s, err := decode(pkt)
	return err == nil && l.filter(s)
}

// drop decides on loss: single packets, and bursts (Gilbert's model, in time).
func (l *leg) drop() bool {
	now := l.clock.Now()
	if l.rng.Float64() < l.Burst {
		mean := l.BurstTime
		if mean == 0 {
			mean = 10 * time.Millisecond
		}
		l.burst = now + time.Duration(l.rng.ExpFloat64()*float64(mean))
	}
	return now < l.burst || l.rng.Float64() < l.Loss
}

func (l *leg) queue() int {
	if l.Queue == 0 {
		return 64 << 10
	}
	return l.Queue
}
