package lab

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Counters count one direction of an access; one goroutine writes them, any may
// read. Bytes are those of the UE's IP packets.
type Counters struct {
	Packets    atomic.Uint64 // handed on, duplicates among them
	Bytes      atomic.Uint64
	Lost       atomic.Uint64 // by Impairment.Loss
	QueueFull  atomic.Uint64 // tail drops of the rate limiter's queue
	BlackHole  atomic.Uint64 // while the access was down
	Overflow   atomic.Uint64 // more than maxInFlight on their way
	Reordered  atomic.Uint64
	Duplicated atomic.Uint64
	Marked     atomic.Uint64 // with CE
	Stripped   atomic.Uint64 // of MPTCP options
	SendFailed atomic.Uint64 // refused by the kernel, or no uplink tunnel known
	Malformed  atomic.Uint64 // not GTP-U, or not an IP packet
}

// maxInFlight bounds the packets that one direction holds, and so its memory
// (2 KB each).
const maxInFlight = 1 << 16

// pipeline carries out an Impairment on packets in virtual time: the caller says
// what time it is, in nanoseconds of any clock that does not go back. It belongs
// to one goroutine.
type pipeline struct {
	im      Impairment
	rnd     *rand.Rand
	pool    *pool
	count   *Counters
	waiting []timed // binary heap, the earliest first
	order   uint64  // of the next packet that is put
	linkEnd int64   // when the rate limiter will have sent all that it took
	lastDue int64   // of the latest packet that keeps its order
}

// timed is a packet on its way. Packets that are due together leave in the order
// in which they came.
type timed struct {
	due   int64
	order uint64
	pkt   *packet
}

func newPipeline(seed uint64, pl *pool, count *Counters) *pipeline {
	return &pipeline{rnd: rand.New(rand.NewPCG(seed, 0x62726169)), pool: pl, count: count}
}

// set changes the impairment for the packets to come; those on their way keep
// their time, but are swallowed if the access goes down.
func (p *pipeline) set(im Impairment) { p.im = im }

// put takes a packet that arrived at now.
func (p *pipeline) put(now int64, pkt *packet) {
	if p.im.Down {
		p.drop(pkt, &p.count.BlackHole)
		return
	}
	if p.im.Loss > 0 && p.rnd.Float64() < p.im.Loss {
		p.drop(pkt, &p.count.Lost)
		return
	}
	if len(p.waiting) >= maxInFlight {
		p.drop(pkt, &p.count.Overflow)
		return
	}
	if p.im.Strip && stripMPTCP(pkt.bytes()) {
		p.count.Stripped.Add(1)
	}
	sent := now
	if p.im.Rate > 0 {
		var ok bool
		if sent, ok = p.serialize(now, pkt.n); !ok {
			p.drop(pkt, &p.count.QueueFull)
			return
		}
	}
	if p.im.Mark > 0 && p.rnd.Float64() < p.im.Mark && markCE(pkt.bytes()) {
		p.count.Marked.Add(1)
	}
	due := p.arrival(sent)
	p.push(due, pkt)
	if p.im.Duplicate > 0 && p.rnd.Float64() < p.im.Duplicate {
		p.count.Duplicated.Add(1)
		p.push(due, p.copyOf(pkt))
	}
}

// serialize is the rate limiter: a link that sends one packet after the other,
// n bytes taking n*8/Rate. It returns when the packet's last bit is sent, or that
// the queue before the link is full.
func (p *pipeline) serialize(now int64, n int) (sent int64, ok bool) {
	start := max(now, p.linkEnd)
	backlog := float64(start-now) * float64(p.im.Rate) / 8e9
	if int64(backlog)+int64(n) > p.im.queueBytes() {
		return 0, false
	}
	p.linkEnd = start + int64(float64(n)*8e9/float64(p.im.Rate))
	return p.linkEnd, true
}

// arrival is when a packet sent at sent comes out at the other end.
func (p *pipeline) arrival(sent int64) int64 {
	due := sent + int64(p.im.Delay)
	if j := int64(p.im.Jitter); j > 0 {
		due = max(sent, due+p.rnd.Int64N(2*j+1)-j)
	}
	if p.im.Reorder > 0 && p.rnd.Float64() < p.im.Reorder {
		p.count.Reordered.Add(1)
		longest := max(5*time.Millisecond, p.im.Delay/4)
		return max(due, p.lastDue) + int64(time.Millisecond) + p.rnd.Int64N(int64(longest-time.Millisecond))
	}
	p.lastDue = max(p.lastDue, due)
	return p.lastDue
}

// take returns the next packet that is due at now, or nil. The caller gives it
// back to the pool.
func (p *pipeline) take(now int64) *packet {
	for len(p.waiting) > 0 && p.waiting[0].due <= now {
		pkt := p.pop()
		if !p.im.Down {
			return pkt
		}
		p.drop(pkt, &p.count.BlackHole)
	}
	return nil
}

// next is when the next packet is due; ok is false if none is on its way.
func (p *pipeline) next() (due int64, ok bool) {
	if len(p.waiting) == 0 {
		return 0, false
	}
	return p.waiting[0].due, true
}

func (p *pipeline) drop(pkt *packet, why *atomic.Uint64) {
	why.Add(1)
	p.pool.put(pkt)
}

func (p *pipeline) copyOf(pkt *packet) *packet {
	c := p.pool.get()
	c.off, c.n = pkt.off, pkt.n
	copy(c.bytes(), pkt.bytes())
	return c
}

func (t *timed) before(u *timed) bool {
	return t.due < u.due || t.due == u.due && t.order < u.order
}

func (p *pipeline) push(due int64, pkt *packet) {
	p.waiting = append(p.waiting, timed{due, p.order, pkt})
	p.order++
	h := p.waiting
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (p *pipeline) pop() *packet {
	h := p.waiting
	first := h[0].pkt
	last := len(h) - 1
	h[0], h[last] = h[last], timed{}
	h = h[:last]
	for i := 0; ; {
		least := 2*i + 1
		if least >= last {
			break
		}
		if right := least + 1; right < last && h[right].before(&h[least]) {
			least = right
		}
		if !h[least].before(&h[i]) {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	p.waiting = h
	return first
}
