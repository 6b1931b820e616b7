package lab

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Direction says which way of an access an [Impairment] is for.
type Direction uint8

// Directions; the last two index the accesses' pipelines less one.
const (
	DirectionBoth Direction = iota
	DirectionUp             // UE to UPF
	DirectionDown           // UPF to UE
)

// ParseDirection reads "both", "up" or "down".
func ParseDirection(s string) (Direction, error) {
	switch s {
	case "both", "":
		return DirectionBoth, nil
	case "up":
		return DirectionUp, nil
	case "down":
		return DirectionDown, nil
	}
	return 0, fmt.Errorf("direction %q: must be both, up or down", s)
}

// Impairment is what an access does to the packets of one direction. The zero
// value carries every packet at once.
//
// A packet meets, in this order: Down, Loss, Strip, the queue of Rate, Mark, Delay
// with Jitter and Reorder, Duplicate.
type Impairment struct {
	// Delay is one-way. Jitter draws each packet's delay evenly from
	// [Delay-Jitter, Delay+Jitter] and keeps the packets' order, as a radio link
	// with in-order delivery does.
	Delay  time.Duration `json:"delay"`
	Jitter time.Duration `json:"jitter"`

	// Shares of the packets, 0 to 1. Reorder holds a packet back for 1 to 5 ms, or
	// 1 ms to a quarter of Delay if that is more, so that later ones overtake it.
	Loss      float64 `json:"loss"`
	Reorder   float64 `json:"reorder"`
	Duplicate float64 `json:"duplicate"`

	// Mark is the share of ECN-capable packets that get the mark of congestion, CE
	// (RFC 3168 §5), 0 to 1.
	Mark float64 `json:"mark"`

	// Strip takes the MPTCP options from all TCP segments but SYNs, as a middlebox may
	// (RFC 8684 §3.7).
	Strip bool `json:"strip"`

	// Rate is in bit/s of the UE's IP packets; 0 is no limit. The queue before it
	// holds [QueueTime] of Rate and at least [MinQueue] bytes, and drops its tail.
	Rate uint64 `json:"rate"`

	// Down swallows every packet, those on their way too. The UE's interface stays
	// up: its kernel is told nothing.
	Down bool `json:"down"`

	// Direction is where to apply this; it is not part of what a pipeline does.
	Direction Direction `json:"-"`
}

// The queue of a rate-limited direction.
const (
	QueueTime = 50 * time.Millisecond
	MinQueue  = 45_000 // bytes: 30 packets of 1,500
)

func (im *Impairment) queueBytes() int64 {
	return max(int64(float64(im.Rate)/8*QueueTime.Seconds()), MinQueue)
}

// Validate says which value is out of its range.
func (im *Impairment) Validate() error {
	if im.Delay < 0 || im.Delay > maxDelay {
		return fmt.Errorf("delay %v: must be between 0 and %v", im.Delay, maxDelay)
	}
	if im.Jitter < 0 || im.Jitter > maxDelay {
		return fmt.Errorf("jitter %v: must be between 0 and %v", im.Jitter, maxDelay)
	}
	for _, s := range []struct {
		name  string
		share float64
	}{{"loss", im.Loss}, {"reorder", im.Reorder}, {"duplicate", im.Duplicate}, {"mark", im.Mark}} {
		if !(s.share >= 0 && s.share <= 1) {
			return fmt.Errorf("%s %v: must be a share between 0 and 1", s.name, s.share)
		}
	}
	if im.Rate > 0 && im.Rate < minRate {
		return fmt.Errorf("rate %d bit/s: must be 0 (no limit) or at least %d", im.Rate, minRate)
	}
	if im.Direction > DirectionDown {
		return errors.New("direction: must be both, up or down")
	}
	return nil
}

const (
	maxDelay = 10 * time.Second
	minRate  = 8_000 // 1 kB/s; less would hold a packet for longer than TCP waits
)

// String names the direction as [ParseDirection] reads it.
func (d Direction) String() string {
	switch d {
	case DirectionUp:
		return "up"
	case DirectionDown:
		return "down"
	default:
		return "both"
	}
}

// String names what is not zero, in the words of `braid lab link`.
func (im Impairment) String() string {
	var parts []string
	add := func(on bool, format string, args ...any) {
		if on {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(im.Down, "down")
	add(im.Delay != 0, "delay %v", im.Delay)
	add(im.Jitter != 0, "jitter %v", im.Jitter)
	add(im.Loss != 0, "loss %.4g%%", 100*im.Loss)
	add(im.Reorder != 0, "reorder %.4g%%", 100*im.Reorder)
	add(im.Duplicate != 0, "duplicate %.4g%%", 100*im.Duplicate)
	add(im.Mark != 0, "mark %.4g%%", 100*im.Mark)
	add(im.Strip, "strip")
	add(im.Rate != 0, "rate %.4gMbit/s", float64(im.Rate)/1e6)
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}
