package demo

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

var t0 = time.Unix(1000, 0)

func at(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }

// twoPhases has a look every 50 ms for 4 s: 3GPP carries 8 Mbit/s down in the
// first 2 s and again in the last; non-3GPP carries 4 Mbit/s in between.
func twoPhases() *load {
	l := &load{}
	var k look
	for ms := 0; ms <= 4000; ms += 50 {
		k.at = at(ms)
		l.looks = append(l.looks, k)
		if ms < 2000 || ms >= 3000 {
			k.down[steer.Access3GPP] += 50_000
		} else {
			k.down[steer.AccessNon3GPP] += 25_000
		}
		k.up[steer.Access3GPP] += 10
	}
	return l
}

func TestLoad(t *testing.T) {
	l := twoPhases()
	if got := l.carried(steer.Access3GPP, lab.DirectionDown); got != 60*50_000 {
		t.Errorf("carried %d, want %d", got, 60*50_000)
	}
	if got := l.carried(steer.Access3GPP, lab.DirectionUp); got != 80*10 {
		t.Errorf("carried up %d, want %d", got, 80*10)
	}
	part := &load{looks: l.looks[:56]} // up to 2,750 ms
	if got := part.busiest(lab.DirectionDown); got != steer.AccessNon3GPP {
		t.Errorf("busiest at 2.75 s is %v", got)
	}
	if got := part.busiest(lab.DirectionUp); got != steer.Access3GPP {
		t.Errorf("busiest up at 2.75 s is %v", got)
	}
	if got := part.rates(lab.DirectionDown, 500*time.Millisecond); math.Abs(got[steer.AccessNon3GPP]-4) > 1e-9 || got[steer.Access3GPP] != 0 {
		t.Errorf("rates %v, want 0 and 4", got)
	}
	if got := (&load{}).rates(lab.DirectionDown, time.Second); got != [steer.NumAccesses]float64{} {
		t.Errorf("rates of nothing: %v", got)
	}
	// From 3,000 ms on 50,000 bytes a look: the second look passes inUse.
	if got, ok := l.carriesSince(steer.Access3GPP, lab.DirectionDown, at(2500)); !ok || got != at(3100) {
		t.Errorf("carries again at %v, %v; want 3.1 s", got.Sub(t0), ok)
	}
	if _, ok := l.carriesSince(steer.AccessNon3GPP, lab.DirectionDown, at(3000)); ok {
		t.Error("an idle access carries")
	}
	x, y := l.series(steer.Access3GPP, lab.DirectionDown, t0, 200*time.Millisecond)
	if len(x) != 20 || x[0] != 0.1 || math.Abs(y[0]-8) > 1e-9 || y[12] != 0 {
		t.Errorf("series %v %v", x, y)
	}
}

type accesses struct{ err error }

func (s accesses) AccessStats(a steer.Access) (lab.Stats, error) {
	var st lab.Stats
	st.Down.Bytes, st.Up.Bytes = 100+uint64(a), 200+uint64(a)
	return st, s.err
}

func TestLook(t *testing.T) {
	var l load
	if err := l.look(accesses{}); err != nil || len(l.looks) != 1 || l.looks[0].down != [2]uint64{100, 101} || l.looks[0].up != [2]uint64{200, 201} {
		t.Errorf("look: %+v, %v", l.looks, err)
	}
	gone := errors.New("gone")
	if err := l.look(accesses{gone}); !errors.Is(err, gone) || len(l.looks) != 1 {
		t.Errorf("look at a dead access: %d looks, %v", len(l.looks), err)
	}
}

func TestJudgeSwitch(t *testing.T) {
	const each = 40_000 // bytes a sample
	trace := func(ms ...int) (tr mptcpclient.Trace) {
		for i, v := range ms {
			tr = append(tr, mptcpclient.Sample{At: at(v), Bytes: int64(i) * each})
		}
		return tr
	}
	for _, tc := range []struct {
		name                string
		trace               mptcpclient.Trace
		switchTook, silence int // ms
		faults              int
	}{
		{"one pause, begun before the kill", trace(980, 1250, 1260, 1270, 1280), 250, 250, 0},
		{"one pause, begun after the kill", trace(995, 1005, 1305, 1310, 1340), 305, 300, 0},
		{"a longer pause later", trace(995, 1200, 1210, 1610, 1620), 200, 400, 0},
		{"none to speak of", trace(990, 1020, 1050, 1080, 1110), 0, 0, 0},
		{"none until it is back", trace(900, 990, 7010), 0, 0, 1},
		{"a trickle", trace(900, 990, 2000, 7010), 0, 0, 1},
		{"too long", trace(990, 1000, 6500, 6510, 6520), 5500, 5500, 1},
		{"on until it is back", trace(990, 1200, 1210, 1220, 7010), 200, 5780, 1},
	} {
		g := &leg{killedAt: at(1000), backAt: at(7000)}
		(&watcher{leg: g}).judgeSwitch(tc.trace)
		if len(g.faults) != tc.faults || g.switchTook.Milliseconds() != int64(tc.switchTook) || g.silence.Milliseconds() != int64(tc.silence) {
			t.Errorf("%s: switch took %v, silence %v, faults %q; want %d ms, %d ms, %d", tc.name,
				g.switchTook, g.silence, g.faults, tc.switchTook, tc.silence, tc.faults)
		}
	}
}
