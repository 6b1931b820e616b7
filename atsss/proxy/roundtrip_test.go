package proxy

import (
	"testing"

	"github.com/braid-upf/braid/packet"
)

// TestRoundTripIsMeasuredUnderLoad: with 64 segments always in flight, merged into one
// run, each round trip gives a sample and it is right. The time of a run's newest byte
// would give none: an ACK never covers all that was sent.
func TestRoundTripIsMeasuredUnderLoad(t *testing.T) {
	const (
		inFlight   = 64
		roundTrips = 20
		rtt        = 50 * millisecond
		n          = 1000
	)
	h := newHarness(t)
	h.connect()
	f := h.conn().subflows[0]
	samples, wholly := 0, 0
	for i := range int64(roundTrips * inFlight) {
		h.now += rtt / inFlight
		h.serverData(n*i, n)
		h.recycle()
		if i < inFlight {
			continue
		}
		timed := f.path.timedAt
		h.ueAck(n * (i - inFlight + 1))
		if timed != 0 && f.path.timedAt != timed {
			samples++
		}
		if f.acked == f.next {
			wholly++
		}
		if runs := f.down.Len(); runs != 1 {
			t.Fatalf("%d runs, want all merged", runs)
		}
	}
	if want := roundTrips - 2; samples < want || wholly != 0 {
		t.Errorf("%d samples and %d ACKs of everything in %d round trips, want at least %d and 0", samples, wholly, roundTrips, want)
	}
	if off := f.path.rtt() - rtt; off < -millisecond || off > millisecond {
		t.Errorf("the round trip is measured as %d µs, want 50000", f.path.srtt)
	}
}

// TestRepeatedDataAreNotTimed: an ACK of bytes that were sent twice is no sample, since it
// may be of either sending (Karn's rule, RFC 6298 §3).
func TestRepeatedDataAreNotTimed(t *testing.T) {
	h := newHarness(t)
	h.connect()
	f := h.conn().subflows[0]
	h.serverData(0, 1000)
	h.now += 50 * millisecond
	h.ueAck(1000)
	before := f.path.rtt()
	if before == 0 {
		t.Fatal("the first round trip gave no sample")
	}
	h.serverData(1000, 1000)
	h.now += 500 * millisecond
	h.serverData(1000, 1000)
	h.now += 5 * millisecond
	h.recycle()
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 2000), 2001, nil))
	if rtt := f.path.rtt(); rtt != before {
		t.Errorf("the RTT is %d ms after an ACK of repeated data, want %d", rtt/millisecond, before/millisecond)
	}
}

// TestTimeoutDoublesRTO: an access on which the UE is heard becomes 200 ms slower. What has
// reached the UE on the other access is sent again for lack of an answer, and so is not timed;
// but it waits longer each time, until an answer comes first, and the round trip is learnt.
func TestTimeoutDoublesRTO(t *testing.T) {
	const n, rounds = 1000, 8
	h := redundant(t)
	path := &h.conn().subflows[1].path
	rtt := 10 * millisecond
	var filled [rounds]uint64
	for i := range int64(rounds) {
		before := h.p.Counters().Filled
		h.serverData(n*i, n)
		h.ackOn(0, n*(i+1)+1, n*(i+1))
		for end := h.now + rtt; h.now < end; {
			h.idle(10 * millisecond)
			h.ackOn(1, n*i+2, n*(i+1)) // of other packets
			h.recycle()
		}
		h.ackOn(1, n*(i+1)+2, n*(i+1))
		h.recycle()
		filled[i] = h.p.Counters().Filled - before
		rtt = 210 * millisecond
	}
	if filled[0] != 0 || filled[1] == 0 {
		t.Fatalf("bytes sent again in each round: %v, want none in the first and some in the second", filled)
	}
	for i, b := range filled[4:] {
		if b != 0 {
			t.Errorf("%d bytes were sent again in round %d", b, i+4)
		}
	}
	if path.doubled != 0 || path.rto() < rtt || path.rto() > 3*rtt {
		t.Errorf("the RTO is %d ms, doubled %d times, with a round trip of %d", path.rto()/millisecond, path.doubled, rtt/millisecond)
	}
}
