package pmf

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// sim is a Network and a UE over two accesses, in virtual time.
type sim struct {
	testing.TB
	now    time.Duration
	rand   *rand.Rand
	cfg    Config
	net    *Network
	ue     *UE
	link   [steer.NumAccesses]link
	queue  flights
	serial int

	netNext, ueNext time.Duration // when to tick

	learned []entry // by the network, in order
	byUE    []entry
	reasons map[Reason]int // for which messages were not taken
	sent    int            // messages, either way
	data    [steer.NumAccesses]struct{ sent, lost uint64 }
}

// entry is what was learned, and when.
type entry struct {
	at time.Duration
	Learned
}

// link is one access as the packets see it.
type link struct {
	dead      bool
	delay     time.Duration // each way
	jitter    time.Duration // on top, at most; packets may overtake others
	loss, dup float64
	fifo      bool // jitter makes none overtake
	last      [2]time.Duration
}

// flight is a packet under way: a message, or data.
type flight struct {
	at     time.Duration
	serial int
	up     bool
	leg    Leg
	octets []byte // nil = data
}

type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	return f[i].at < f[j].at || f[i].at == f[j].at && f[i].serial < f[j].serial
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

const simTick = 10 * time.Millisecond

func newSim(t testing.TB, seed uint64, flows int, noRTT bool) *sim {
	s := &sim{TB: t, now: time.Hour, rand: rand.New(rand.NewPCG(seed, 1)), reasons: map[Reason]int{}}
	s.cfg = DefaultConfig(250*time.Millisecond, 10*time.Second, s.rand.Uint64)
	s.net = NewNetwork(&s.cfg, flows, noRTT)
	ue := DefaultConfig(250*time.Millisecond, 0, s.rand.Uint64)
	s.ue = NewUE(&ue, flows, true)
	for a := range s.link {
		s.link[a] = link{delay: 10 * time.Millisecond, fifo: true}
	}
	var out Out
	for a := range steer.Access(steer.NumAccesses) {
		s.net.SetUsable(a, true, &out)
		s.ue.SetAvailable(s.now, a, true, &out)
	}
	s.fromUE(&out)
	return s
}

// send puts a packet on its way.
func (s *sim) send(up bool, l Leg, octets []byte) (lost bool) {
	k := &s.link[l.Access]
	n := 1
	if k.dead || s.rand.Float64() < k.loss {
		n = 0
	} else if s.rand.Float64() < k.dup {
		n = 2
	}
	for range n {
		at := s.now + k.delay
		if k.jitter > 0 {
			at += time.Duration(s.rand.Int64N(int64(k.jitter)))
		}
		way := 0
		if up {
			way = 1
		}
		if k.fifo {
			at = max(at, k.last[way])
			k.last[way] = at
		}
		s.serial++
		heap.Push(&s.queue, flight{at, s.serial, up, l, octets})
	}
	return n == 0
}

func (s *sim) fromUE(out *Out) {
	for _, m := range out.Send {
		s.sent++
		s.send(true, m.Leg, m.Message.Append(nil))
	}
	for _, l := range out.Learned {
		s.byUE = append(s.byUE, entry{s.now, l})
	}
}

func (s *sim) fromNet(out *Out) {
	for _, m := range out.Send {
		s.sent++
		s.send(false, m.Leg, m.Message.Append(nil))
	}
	for _, l := range out.Learned {
		s.learned = append(s.learned, entry{s.now, l})
	}
}

// downlink sends data to the UE.
func (s *sim) downlink(l Leg) {
	rested := s.net.Rests(s.now)
	s.net.Traffic(s.now)
	s.net.Count(l, 1, 0)
	if rested {
		s.net.Wake()
		s.netNext = s.now
	}
	d := &s.data[l.Access]
	d.sent++
	if s.send(false, l, nil) {
		d.lost++
	}
}

// uplink sends data from the UE.
func (s *sim) uplink(l Leg) {
	s.ue.Count(l, 1, 0)
	s.send(true, l, nil)
}

// arrive delivers f.
func (s *sim) arrive(f flight) {
	var out Out
	var m Message
	switch {
	case f.octets == nil && f.up:
		s.net.Heard(s.now, f.leg.Access, &out)
		s.net.Traffic(s.now)
		s.net.Count(f.leg, 0, 1)
		s.fromNet(&out)
	case f.octets == nil:
		s.ue.Count(f.leg, 0, 1)
	case Parse(f.octets, &m) != OK:
		s.Fatalf("%x", f.octets)
	case f.up:
		s.net.Heard(s.now, f.leg.Access, &out)
		s.reasons[s.net.Receive(s.now, f.leg, &m, &out)]++
		s.netNext = min(s.netNext, s.now)
		s.fromNet(&out)
	default:
		s.reasons[s.ue.Receive(s.now, f.leg, &m, &out)]++
		s.fromUE(&out)
	}
}

// run lets time pass; each is called every millisecond.
func (s *sim) run(d time.Duration, each func()) {
	for end := s.now + d; s.now < end; {
		s.now += time.Millisecond
		if each != nil {
			each()
		}
		for len(s.queue) > 0 && s.queue[0].at <= s.now {
			s.arrive(heap.Pop(&s.queue).(flight))
		}
		if s.now%simTick != 0 {
			continue
		}
		var up, down Out
		if s.now >= s.ueNext {
			s.ueNext = s.ue.Tick(s.now, &up)
			s.fromUE(&up)
			s.ueNext = min(s.ueNext, s.now+time.Second) // what the test does may make more due
		}
		if s.now >= s.netNext {
			s.netNext = s.net.Tick(s.now, &down)
			s.fromNet(&down)
		}
	}
}

// traffic is data both ways over a, every millisecond.
func (s *sim) traffic(a steer.Access) func() {
	return func() {
		s.downlink(Leg{Access: a})
		s.uplink(Leg{Access: a})
	}
}

// changes are the changes of availability that the network has learned since the last call.
func (s *sim) changes() (c []entry) {
	for _, l := range s.learned {
		if l.Kind == Availability {
			c = append(c, l)
		}
	}
	s.learned = nil
	return c
}

// one is the only change, which was of a.
func (s *sim) one(a steer.Access, available bool) entry {
	s.Helper()
	c := s.changes()
	if len(c) != 1 || c[0].Leg.Access != a || c[0].Available != available || s.net.Available(a) != available {
		s.Fatalf("changes %+v, now %v; want %v to be %v", c, s.net.Available(a), a, available)
	}
	return c[0]
}
