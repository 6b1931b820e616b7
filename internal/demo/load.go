package demo

import (
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
)

// load is what the accesses carried over time, in order of time. The zero value
// is empty.
type load struct{ looks []look }

// look is what each access had carried at a moment: bytes of the UE's IP packets.
type look struct {
	at       time.Time
	up, down [steer.NumAccesses]uint64
}

func (k *look) of(d lab.Direction) *[steer.NumAccesses]uint64 {
	if d == lab.DirectionDown {
		return &k.down
	}
	return &k.up
}

// counting is the part of a lab that has the accesses' counters.
type counting interface {
	AccessStats(a steer.Access) (lab.Stats, error)
}

// look asks the accesses for their counters.
func (l *load) look(from counting) error {
	var k look
	for a := range steer.Access(steer.NumAccesses) {
		s, err := from.AccessStats(a)
		if err != nil {
			return err
		}
		k.up[a], k.down[a] = s.Up.Bytes, s.Down.Bytes
	}
	k.at = time.Now()
	l.looks = append(l.looks, k)
	return nil
}

// window is how long the access in use is judged by.
const window = 500 * time.Millisecond

// back is the newest look, and the newest that is at least span older; the oldest
// if there is none. ok is false without two looks.
func (l *load) back(span time.Duration) (then, now *look, ok bool) {
	n := len(l.looks)
	if n < 2 {
		return nil, nil, false
	}
	now = &l.looks[n-1]
	for i := n - 2; i > 0; i-- {
		if now.at.Sub(l.looks[i].at) >= span {
			return &l.looks[i], now, true
		}
	}
	return &l.looks[0], now, true
}

// rates is the load of each access in Mbit/s over the newest span.
func (l *load) rates(d lab.Direction, span time.Duration) (mbps [steer.NumAccesses]float64) {
	then, now, ok := l.back(span)
	if !ok {
		return mbps
	}
	for a := range mbps {
		mbps[a] = float64(now.of(d)[a]-then.of(d)[a]) * 8e-6 / now.at.Sub(then.at).Seconds()
	}
	return mbps
}

// busiest is the access that carried most in the newest window.
func (l *load) busiest(d lab.Direction) steer.Access {
	r := l.rates(d, window)
	if r[steer.AccessNon3GPP] > r[steer.Access3GPP] {
		return steer.AccessNon3GPP
	}
	return steer.Access3GPP
}

// carried is what an access carried from the first look to the last.
func (l *load) carried(a steer.Access, d lab.Direction) uint64 {
	if len(l.looks) == 0 {
		return 0
	}
	return l.looks[len(l.looks)-1].of(d)[a] - l.looks[0].of(d)[a]
}

// inUse is more bytes than probes and retransmissions of a single packet have.
const inUse = 64_000

// carriesSince is the time of the first look at which the access had carried more
// than inUse bytes since the given time.
func (l *load) carriesSince(a steer.Access, d lab.Direction, since time.Time) (time.Time, bool) {
	var base *look
	for i := range l.looks {
		k := &l.looks[i]
		if base == nil || !k.at.After(since) {
			base = k
			continue
		}
		if k.of(d)[a]-base.of(d)[a] > inUse {
			return k.at, true
		}
	}
	return time.Time{}, false
}

// series is the load of an access in Mbit/s over the time since begun in seconds,
// each point in the middle of the time of span that it stands for.
func (l *load) series(a steer.Access, d lab.Direction, begun time.Time, span time.Duration) (x, y []float64) {
	if len(l.looks) == 0 {
		return nil, nil
	}
	then := &l.looks[0]
	for i := range l.looks {
		now := &l.looks[i]
		dt := now.at.Sub(then.at)
		if dt < span {
			continue
		}
		x = append(x, max(0, now.at.Add(-dt/2).Sub(begun).Seconds()))
		y = append(y, float64(now.of(d)[a]-then.of(d)[a])*8e-6/dt.Seconds())
		then = now
	}
	return x, y
}
