package dataplane

import "github.com/braid-upf/braid/atsss/proxy"

// bucket is a token bucket that polices a rate. Tokens are counted in bits times
// nanoseconds per second (10^9 of them carry one bit), so that a refill is one
// multiplication and no fraction is ever lost:
//
//	tokens += rate × time since filled, at most depth
//
// The zero bucket is unlimited.
type bucket struct {
	rate   int64 // bit/s; 0 = unlimited, noRate = nothing passes
	depth  int64 // most tokens
	full   proxy.Time
	tokens int64
	filled proxy.Time // when tokens was last brought up to date
}

const (
	tokensPerOctet = 8e9

	// noRate is the rate of a bucket that lets nothing pass.
	noRate = -1

	// maxRate is the highest rate that is enforced, in bit/s: above it a bucket is
	// unlimited, since its tokens would not fit 64 bits, and no driver reaches it.
	maxRate = 100e9

	// burstTime and minBurst set a bucket's depth: what may pass at once after a
	// pause. The time is short against the second over which rates are looked at, so
	// that no such second is 2% above its rate but the first; ten long packets must
	// fit even at low rates, or TCP would lose what it sends back to back.
	burstTime = proxy.Time(10e6)
	minBurst  = 10 * 1500 // octets
)

// makeBucket makes a full bucket for a rate in bit/s.
func makeBucket(rate uint64) bucket {
	switch {
	case rate > maxRate:
		return bucket{}
	case rate == 0:
		return bucket{rate: noRate}
	}
	b := bucket{rate: int64(rate)}
	b.depth = max(int64(rate)*int64(burstTime), minBurst*tokensPerOctet)
	b.full = proxy.Time(b.depth/b.rate + 1)
	b.tokens = b.depth
	return b
}

// carryOver goes on with what old, of the same rule, had left.
func (b *bucket) carryOver(old *bucket) {
	if b.rate > 0 && old.rate > 0 {
		b.tokens, b.filled = min(b.depth, old.tokens), old.filled
	}
}

// has says whether n octets may pass at now.
func (b *bucket) has(now proxy.Time, n int) bool {
	if b.rate <= 0 {
		return b.rate == 0
	}
	if d := now - b.filled; d >= b.full {
		b.tokens = b.depth
	} else {
		b.tokens = min(b.depth, b.tokens+b.rate*int64(d))
	}
	b.filled = now
	return b.tokens >= int64(n)*tokensPerOctet
}

// take charges n octets. What passes although the bucket has not enough (it is
// guaranteed by another rule) is owed, up to one depth.
func (b *bucket) take(n int) {
	if b.rate > 0 {
		b.tokens = max(-b.depth, b.tokens-int64(n)*tokensPerOctet)
	}
}

// pass says whether n octets may pass at now, and charges them if so.
func (b *bucket) pass(now proxy.Time, n int) bool {
	if !b.has(now, n) {
		return false
	}
	b.take(n)
	return true
}

// qer is what a worker does of a QER, one way: its MBR, and what its GBR guarantees.
type qer struct {
	id   uint32
	down bool
	mbr  bucket
	gbr  *bucket // nil = nothing is guaranteed
	_    [8]byte // a line of the caches
}

// makeQER makes the part of q for one way; ok is false if it neither limits nor
// guarantees anything there.
func makeQER(q *QER, down bool) (_ qer, ok bool) {
	out := qer{id: q.ID, down: down}
	if q.MBR != nil {
		out.mbr = makeBucket(q.MBR.of(down))
	}
	if q.GBR != nil && q.GBR.of(down) > 0 {
		g := makeBucket(q.GBR.of(down))
		out.gbr = &g
	}
	return out, out.mbr.rate != 0 || out.gbr != nil
}

// of is the rate one way.
func (r *BitRate) of(down bool) uint64 {
	if down {
		return r.Downlink
	}
	return r.Uplink
}

func (q *qer) carryOver(old *qer) {
	q.mbr.carryOver(&old.mbr)
	if q.gbr != nil && old.gbr != nil {
		q.gbr.carryOver(old.gbr)
	}
}

// police says whether a packet of n octets passes all of qs, and charges them if so.
// What the GBR of one guarantees (TS 23.501 §5.7.2.5) no other drops: a flow's
// guaranteed rate holds whatever the rest of the session sends.
func police(qs []*qer, now proxy.Time, n int) bool {
	guarantor := -1
	for i, q := range qs {
		if q.gbr != nil && q.gbr.has(now, n) {
			guarantor = i
			break
		}
	}
	for i, q := range qs {
		if !q.mbr.has(now, n) && (guarantor < 0 || guarantor == i) {
			return false
		}
	}
	for _, q := range qs {
		q.mbr.take(n)
		if q.gbr != nil {
			q.gbr.take(n)
		}
	}
	return true
}
