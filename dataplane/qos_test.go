package dataplane

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/proxy"
)

// TestRates: what passes is within 2% of the rate, from 1 Mbit/s to 10 Gbit/s, however
// the packets come, and a sender below the rate loses nothing.
func TestRates(t *testing.T) {
	for _, rate := range []uint64{1e6, 10e6, 100e6, 1e9, 10e9} {
		for name, size := range map[string]func(*rand.Rand) int{
			"1400 octets": func(*rand.Rand) int { return 1400 },
			"64 octets":   func(*rand.Rand) int { return 64 },
			"mixed":       func(r *rand.Rand) int { return 40 + r.IntN(1460) },
		} {
			for _, load := range []float64{0.9, 1.5, 3} {
				passed, offered, seconds := offer(rate, load, size)
				got := passed * 8 / seconds / float64(rate)
				switch {
				case load < 1 && passed != offered:
					t.Errorf("%d bit/s, %s, load %v: %.0f of %.0f octets passed", rate, name, load, passed, offered)
				case load > 1 && (got < 0.98 || got > 1.02):
					t.Errorf("%d bit/s, %s, load %v: %.4f of the rate passed", rate, name, load, got)
				}
			}
		}
	}
}

// offer sends packets at load times the rate, with gaps of chance, in bursts of 8, which
// fit the smallest bucket. It says how many octets passed and were offered in so many
// seconds. Above the rate it begins with an empty bucket: the burst that is free at the
// start does not count.
func offer(rate uint64, load float64, size func(*rand.Rand) int) (passed, offered, seconds float64) {
	r := rand.New(rand.NewPCG(1, rate))
	q := limiting(&QER{ID: 1, MBR: &BitRate{Downlink: rate}})
	list := []*qer{q}
	if load > 1 {
		for police(list, 0, 1) {
		}
	}
	end := 100e6 + 4e15/float64(rate) // ns: 100 ms and, at low rates, 500,000 octets
	var now float64
	for now < end {
		var burst int
		for range 8 {
			n := size(r)
			offered += float64(n)
			burst += n
			if police(list, proxy.Time(now), n) {
				passed += float64(n)
			}
		}
		now += float64(burst) * 8e9 / (float64(rate) * load) * (0.95 + r.Float64()/10)
	}
	return passed, offered, now / 1e9
}

// limiting is the downlink part of q.
func limiting(q *QER) *qer {
	out, _ := makeQER(q, true)
	return &out
}

// TestGBR: a flow's guaranteed rate passes although the rest of the session has used
// up the session's rate; the session's rate holds for all the rest.
func TestGBR(t *testing.T) {
	session := limiting(&QER{ID: 1, MBR: &BitRate{Downlink: 10e6}})
	flow := limiting(&QER{ID: 2, GBR: &BitRate{Downlink: 4e6}, MBR: &BitRate{Downlink: 6e6}})
	guaranteed, rest := []*qer{session, flow}, []*qer{session}
	var flowOctets, restOctets float64
	const n = 1000
	for now := proxy.Time(0); now < proxy.Time(20*time.Second); now += proxy.Time(100 * time.Microsecond) { // 80 Mbit/s of each
		if police(rest, now, n) {
			restOctets += n
		}
		if police(guaranteed, now, n) {
			flowOctets += n
		}
	}
	if got := flowOctets * 8 / 20; got < 4e6*0.98 || got > 6e6*1.02 {
		t.Errorf("the guaranteed flow got %.0f bit/s, want 4 to 6 Mbit/s", got)
	}
	if got := (flowOctets + restOctets) * 8 / 20; got < 10e6*0.98 || got > 10e6*1.02 {
		t.Errorf("the session got %.0f bit/s, want 10 Mbit/s", got)
	}
}

// TestRateZero: an MBR of 0 lets nothing pass, the other way is free.
func TestRateZero(t *testing.T) {
	both := &QER{ID: 1, MBR: &BitRate{Uplink: 1e12, Downlink: 0}}
	if police([]*qer{limiting(both)}, 1, 1) {
		t.Error("a packet passed a rate of 0")
	}
	if _, limits := makeQER(both, false); limits {
		t.Error("a rate above what can be enforced limits")
	}
}

// TestRateGoesOn: a new rule set does not give the session a new burst.
func TestRateGoesOn(t *testing.T) {
	old := limiting(&QER{ID: 1, MBR: &BitRate{Downlink: 1e6}})
	now := proxy.Time(time.Second)
	for police([]*qer{old}, now, 1000) {
	}
	next := limiting(&QER{ID: 1, MBR: &BitRate{Downlink: 2e6}})
	next.carryOver(old)
	if police([]*qer{next}, now, 1000) {
		t.Error("a packet passed the bucket that was empty")
	}
	if now += proxy.Time(5 * time.Millisecond); !police([]*qer{next}, now, 1000) {
		t.Error("5 ms at 2 Mbit/s later 1,000 octets do not pass")
	}
}

func BenchmarkPolice(b *testing.B) {
	session := limiting(&QER{ID: 1, MBR: &BitRate{Downlink: 10e9}})
	flow := limiting(&QER{ID: 2, GBR: &BitRate{Downlink: 1e9}, MBR: &BitRate{Downlink: 10e9}})
	for name, list := range map[string][]*qer{"session": {session}, "session and guaranteed flow": {session, flow}} {
		b.Run(name, func(b *testing.B) {
			var now proxy.Time
			for b.Loop() {
				now += 1000
				police(list, now, 1400)
			}
		})
	}
}
