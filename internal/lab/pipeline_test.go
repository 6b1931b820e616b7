package lab

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// bench sends numbered packets of size bytes through a pipeline, one every gap, in
// virtual time, and takes each when it is due.
type bench struct {
	im    Impairment
	count int
	size  int
	gap   time.Duration
}

type arrival struct {
	number int
	sent   time.Duration
	at     time.Duration
}

func (b bench) run(t *testing.T, seed uint64) ([]arrival, *Counters) {
	t.Helper()
	var (
		pl    pool
		count Counters
		p     = newPipeline(seed, &pl, &count)
		got   []arrival
	)
	p.set(b.im)
	take := func(now int64) {
		for pkt := p.take(now); pkt != nil; pkt = p.take(now) {
			n := int(pkt.bytes()[0]) | int(pkt.bytes()[1])<<8 | int(pkt.bytes()[2])<<16
			got = append(got, arrival{n, time.Duration(n) * b.gap, time.Duration(now)})
			pl.put(pkt)
		}
	}
	advance := func(until int64) {
		for {
			due, ok := p.next()
			if !ok || due > until {
				return
			}
			take(due)
		}
	}
	for i := range b.count {
		now := int64(i) * int64(b.gap)
		advance(now)
		pkt := pl.get()
		pkt.off, pkt.n = headroom, b.size
		copy(pkt.bytes(), []byte{byte(i), byte(i >> 8), byte(i >> 16)})
		p.put(now, pkt)
		take(now)
	}
	advance(math.MaxInt64)
	return got, &count
}

func TestPipelineCarriesAllInOrderWithoutImpairment(t *testing.T) {
	got, _ := bench{count: 1000, size: 100, gap: time.Microsecond}.run(t, 1)
	if len(got) != 1000 {
		t.Fatalf("%d of 1000 packets arrived", len(got))
	}
	for i, a := range got {
		if a.number != i || a.at != a.sent {
			t.Fatalf("arrival %d is packet %d at %v, sent at %v", i, a.number, a.at, a.sent)
		}
	}
}

func TestPipelineDelayAndJitter(t *testing.T) {
	const delay, jitter = 20 * time.Millisecond, 5 * time.Millisecond
	got, _ := bench{im: Impairment{Delay: delay}, count: 1000, size: 100, gap: 100 * time.Microsecond}.run(t, 1)
	for _, a := range got {
		if a.at-a.sent != delay {
			t.Fatalf("packet %d took %v, not %v", a.number, a.at-a.sent, delay)
		}
	}
	// Packets further apart than the jitter's range are not held up by one another.
	got, _ = bench{im: Impairment{Delay: delay, Jitter: jitter}, count: 2000, size: 100, gap: 4 * jitter}.run(t, 1)
	least, most, sum := time.Hour, time.Duration(0), time.Duration(0)
	for i, a := range got {
		took := a.at - a.sent
		least, most, sum = min(least, took), max(most, took), sum+took
		if a.number != i {
			t.Fatalf("arrival %d is packet %d: jitter must keep the order", i, a.number)
		}
	}
	if least < delay-jitter || most > delay+jitter || most-least < jitter*19/10 {
		t.Errorf("delays are within [%v, %v], want all of %v±%v", least, most, delay, jitter)
	}
	if mean := sum / time.Duration(len(got)); mean < delay-jitter/10 || mean > delay+jitter/10 {
		t.Errorf("mean delay is %v, want %v", mean, delay)
	}
	got, _ = bench{im: Impairment{Delay: delay, Jitter: jitter}, count: 5000, size: 100, gap: 50 * time.Microsecond}.run(t, 1)
	if !slices.IsSortedFunc(got, func(a, b arrival) int { return a.number - b.number }) {
		t.Error("jitter changed the order of a dense stream")
	}
}

func TestPipelineLoss(t *testing.T) {
	b := bench{im: Impairment{Loss: 0.02}, count: 100_000, size: 100, gap: time.Microsecond}
	got, count := b.run(t, 7)
	lost := b.count - len(got)
	if uint64(lost) != count.Lost.Load() {
		t.Errorf("%d packets are missing, %d counted", lost, count.Lost.Load())
	}
	// Four standard deviations of the binomial distribution: 4*sqrt(100000*.02*.98) = 177.
	if lost < 2000-177 || lost > 2000+177 {
		t.Errorf("lost %d of %d, want 2%%", lost, b.count)
	}
	again, _ := b.run(t, 7)
	if !slices.Equal(got, again) {
		t.Error("the same seed lost other packets")
	}
	other, _ := b.run(t, 8)
	if slices.Equal(got, other) {
		t.Error("another seed lost the same packets")
	}
}

func TestPipelineRate(t *testing.T) {
	for _, rate := range []uint64{1e6, 50e6, 1e9} {
		// Twice as much as the link carries, for as long as it sends 20,000 packets.
		size := 1400
		gap := time.Duration(float64(size) * 8e9 / float64(rate) / 2)
		b := bench{im: Impairment{Rate: rate}, count: 40_000, size: size, gap: gap}
		got, count := b.run(t, 1)
		last := got[len(got)-1].at
		measured := float64(len(got)*size*8) / last.Seconds()
		if off := measured/float64(rate) - 1; math.Abs(off) > 0.01 {
			t.Errorf("rate %d: measured %.0f bit/s, %+.2f%%", rate, measured, 100*off)
		}
		if len(got)+int(count.QueueFull.Load()) != b.count {
			t.Errorf("rate %d: %d arrived, %d dropped at the queue, %d sent", rate, len(got), count.QueueFull.Load(), b.count)
		}
		queue := time.Duration(float64(b.im.queueBytes()) * 8e9 / float64(rate))
		var longest time.Duration
		for _, a := range got {
			longest = max(longest, a.at-a.sent)
		}
		if longest > queue+gap || longest < queue*95/100 {
			t.Errorf("rate %d: a packet waited for %v; the queue holds %v", rate, longest, queue)
		}
	}
}

func TestPipelineRateLeavesASlowStreamAlone(t *testing.T) {
	const size = 1250 // 1 ms at 10 Mbit/s
	got, count := bench{im: Impairment{Rate: 10e6}, count: 1000, size: size, gap: 2 * time.Millisecond}.run(t, 1)
	if len(got) != 1000 || count.QueueFull.Load() != 0 {
		t.Fatalf("%d of 1000 arrived, %d dropped", len(got), count.QueueFull.Load())
	}
	for _, a := range got {
		if a.at-a.sent != time.Millisecond {
			t.Fatalf("packet %d took %v, not its 1ms on the link", a.number, a.at-a.sent)
		}
	}
}

func TestPipelineReorder(t *testing.T) {
	b := bench{im: Impairment{Delay: 10 * time.Millisecond, Reorder: 0.05}, count: 20_000, size: 100, gap: 100 * time.Microsecond}
	got, count := b.run(t, 3)
	if len(got) != b.count {
		t.Fatalf("%d of %d arrived", len(got), b.count)
	}
	overtaken, newest := 0, -1
	for _, a := range got {
		if a.number < newest {
			overtaken++
		}
		newest = max(newest, a.number)
	}
	// Every packet held back by 1 ms and more is overtaken at one packet per 0.1 ms,
	// but for the last few of the stream.
	if held := int(count.Reordered.Load()); overtaken < held-5 || overtaken > held {
		t.Errorf("%d packets came late, %d were held back", overtaken, held)
	}
	if share := float64(overtaken) / float64(b.count); share < 0.044 || share > 0.056 {
		t.Errorf("%.2f%% came late, want 5%%", 100*share)
	}
}

func TestPipelineDuplicate(t *testing.T) {
	b := bench{im: Impairment{Duplicate: 0.1, Delay: time.Millisecond}, count: 20_000, size: 100, gap: 10 * time.Microsecond}
	got, count := b.run(t, 3)
	times := make(map[int]int)
	for _, a := range got {
		times[a.number]++
	}
	twice := 0
	for n, k := range times {
		if k > 2 {
			t.Fatalf("packet %d arrived %d times", n, k)
		}
		twice += k - 1
	}
	if len(times) != b.count || uint64(twice) != count.Duplicated.Load() {
		t.Errorf("%d packets arrived of %d, %d twice, %d duplicates counted", len(times), b.count, twice, count.Duplicated.Load())
	}
	if twice < 1830 || twice > 2170 { // four standard deviations
		t.Errorf("%d of %d arrived twice, want 10%%", twice, b.count)
	}
}

func TestPipelineDown(t *testing.T) {
	var (
		pl    pool
		count Counters
		p     = newPipeline(1, &pl, &count)
	)
	send := func(now int64) {
		pkt := pl.get()
		pkt.off, pkt.n = headroom, 40
		p.put(now, pkt)
	}
	const ms = int64(time.Millisecond)
	p.set(Impairment{Delay: 10 * time.Millisecond})
	send(0)
	p.set(Impairment{Delay: 10 * time.Millisecond, Down: true})
	send(1 * ms)
	if pkt := p.take(20 * ms); pkt != nil {
		t.Error("a packet came through an access that is down")
	}
	if n := count.BlackHole.Load(); n != 2 {
		t.Errorf("%d packets counted as swallowed, want the one on its way and the one sent later", n)
	}
	p.set(Impairment{Delay: 10 * time.Millisecond})
	send(30 * ms)
	if p.take(39*ms) != nil || p.take(40*ms) == nil {
		t.Error("no packet at its time after the access came back")
	}
	if _, ok := p.next(); ok {
		t.Error("something is left on its way")
	}
}

// The heap against a slice that is sorted each time.
func TestPipelineOrderAgainstModel(t *testing.T) {
	var (
		pl    pool
		count Counters
		p     = newPipeline(1, &pl, &count)
		rnd   = rand.New(rand.NewPCG(5, 6))
		model []timed
		order uint64
	)
	for range 20_000 {
		if rnd.IntN(2) == 0 || len(model) == 0 {
			pkt := pl.get()
			due := rnd.Int64N(50)
			p.push(due, pkt)
			model = append(model, timed{due, order, pkt})
			order++
			continue
		}
		slices.SortFunc(model, func(a, b timed) int {
			if a.before(&b) {
				return -1
			}
			return 1
		})
		if due, _ := p.next(); due != model[0].due {
			t.Fatalf("next is due at %d, want %d", due, model[0].due)
		}
		got := p.pop()
		if got != model[0].pkt {
			t.Fatal("pop returned another packet than the earliest")
		}
		pl.put(got)
		model = model[1:]
	}
}

func TestPipelineAllocatesNothing(t *testing.T) {
	var (
		pl    pool
		count Counters
		p     = newPipeline(1, &pl, &count)
		now   int64
	)
	p.set(Impairment{Delay: time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Reorder: 0.01, Duplicate: 0.01, Rate: 1e9})
	step := func() {
		now += int64(10 * time.Microsecond)
		pkt := pl.get()
		pkt.off, pkt.n = headroom, 1400
		p.put(now, pkt)
		for pkt := p.take(now); pkt != nil; pkt = p.take(now) {
			pl.put(pkt)
		}
	}
	for range 10_000 {
		step() // fills pool and heap
	}
	if n := testing.AllocsPerRun(10_000, step); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func BenchmarkPipeline(b *testing.B) {
	var (
		pl    pool
		count Counters
		p     = newPipeline(1, &pl, &count)
		now   int64
	)
	p.set(Impairment{Delay: 20 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Rate: 2e9})
	b.ReportAllocs()
	for b.Loop() {
		now += int64(10 * time.Microsecond)
		pkt := pl.get()
		pkt.off, pkt.n = headroom, 1400
		p.put(now, pkt)
		for pkt := p.take(now); pkt != nil; pkt = p.take(now) {
			pl.put(pkt)
		}
	}
}

func TestImpairmentValidate(t *testing.T) {
	for _, im := range []Impairment{
		{Delay: -1},
		{Delay: time.Minute},
		{Jitter: -1},
		{Loss: -0.1},
		{Loss: 1.1},
		{Loss: math.NaN()},
		{Reorder: 2},
		{Duplicate: -1},
		{Rate: 100},
		{Direction: 3},
	} {
		if im.Validate() == nil {
			t.Errorf("%+v is taken as valid", im)
		}
	}
	ok := Impairment{Delay: time.Second, Jitter: time.Second, Loss: 1, Reorder: 1, Duplicate: 1, Rate: 1e9, Down: true}
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
}
