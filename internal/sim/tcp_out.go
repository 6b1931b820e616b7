package sim

import (
	"time"

	"github.com/braid-upf/braid/packet"
)

// output sends what congestion and receive window allow, and sets the timer.
func (t *tcp) output() {
	if !t.synchronized() || t.state == timeWait {
		return
	}
	for t.sendLost() || t.sendNew() {
	}
	// Only progress restarts the timer (RFC 6298 §5.3); a peer that repeats itself does not.
	if t.rearm || !t.timer.Waiting() || t.probing != (len(t.sentq) == 0) {
		t.arm()
	}
}

// pipe is the estimate of bytes in flight (RFC 6675 §4).
func (t *tcp) pipe() int {
	n := 0
	for _, r := range t.sentq {
		if !r.sacked && !r.lost {
			n += r.n
		}
	}
	if !t.sackOn {
		n -= t.dupAcks * t.mssNow()
	}
	return n
}

func (t *tcp) sendLost() bool {
	for i, r := range t.sentq {
		if !r.lost || r.sacked {
			continue
		}
		if t.pipe() >= t.cwnd && (t.sackOn || i > 0) { // without SACK the first one goes at once (RFC 6582 §3.2)
			return false
		}
		t.recut(i)
		t.transmit(r)
		return true
	}
	return false
}

// recut changes the bounds of what is sent again: senders cut retransmissions
// otherwise than first transmissions.
func (t *tcp) recut(i int) {
	r := t.sentq[i]
	mss := t.mssNow()
	switch {
	case r.off < 1: // the payload of the SYN stays whole
	case r.n > mss && t.rng.IntN(2) == 0: // one MSS of a longer segment
		t.split(i, r.off+int64(mss))
	case r.n > 1 && t.rng.IntN(16) == 0:
		t.split(i, r.off+1+t.rng.Int64N(int64(r.n-1)))
	case i+1 < len(t.sentq) && t.rng.IntN(4) == 0:
		q := t.sentq[i+1]
		n := r.n + q.n
		if q.lost && !q.sacked && q.n > 0 && !r.fin && n <= mss && t.user.cut(r.off, n) == n {
			r.n, r.fin = n, q.fin
			t.sentq = append(t.sentq[:i+1], t.sentq[i+2:]...)
		}
	}
}

// split cuts sentq[i] in two at off, which lies inside its bytes.
func (t *tcp) split(i int, off int64) {
	r := t.sentq[i]
	q := *r
	q.off, q.n = off, int(r.off+int64(r.n)-off)
	r.n, r.fin = int(off-r.off), false
	t.sentq = append(t.sentq, nil)
	copy(t.sentq[i+2:], t.sentq[i+1:])
	t.sentq[i+1] = &q
}

// sendNew sends one segment of new data or the FIN.
func (t *tcp) sendNew() bool {
	limit := t.una + t.wnd
	n := min(t.end-t.nxt, limit-t.nxt)
	fin := t.fin && t.nxt <= t.end && t.end+1 <= limit
	if n <= 0 && !(fin && t.nxt == t.end) {
		return false
	}
	if room := t.cwnd - t.pipe(); room <= 0 || room < t.mssNow() && len(t.sentq) > 0 {
		return false
	}
	mss := int64(t.mssNow())
	if n < mss && n < t.end-t.nxt && len(t.sentq) > 0 {
		return false // silly window
	}
	if k := int64(t.longest) / mss; k > 1 && n > mss {
		mss *= 1 + t.rng.Int64N(k)
	}
	n = max(min(n, mss), 0)
	if n > 0 {
		n = int64(t.user.cut(t.nxt, int(n)))
	}
	r := &sentRange{off: t.nxt, n: int(n), fin: fin && t.nxt+n == t.end}
	t.sentq = append(t.sentq, r)
	t.nxt = r.end()
	t.transmit(r)
	return true
}

func (t *tcp) transmit(r *sentRange) {
	t.refresh()
	if r.sentAt > 0 || r.rtx > 0 {
		r.rtx++
		t.stats.Retransmitted++
	}
	r.lost, r.sentAt = false, t.clock.Now()
	s := t.segment(packet.ACK)
	s.sn = t.wire(r.off)
	if r.n > 0 {
		s.payload = make([]byte, r.n)
		t.user.fill(r.off, s.payload)
		if r.off+int64(r.n) == t.end || t.rng.IntN(8) == 0 {
			s.flags |= packet.PSH
		}
	}
	if r.fin {
		s.flags |= packet.FIN
	}
	t.stampTS(s)
	t.acknowledged()
	t.emit(s, r.off)
}

// sendACK sends an empty segment with the current numbers. fresh false leaves the
// timestamp clock as it was, as Linux does when MPTCP's worker asks for an ACK.
func (t *tcp) sendACK(fresh bool) {
	if !t.synchronized() {
		return
	}
	if fresh {
		t.refresh()
	}
	s := t.segment(packet.ACK)
	s.sn = t.wire(t.nxt)
	t.stampTS(s)
	t.acknowledged()
	t.emit(s, t.nxt)
}

func (t *tcp) acknowledged() {
	t.ackNow, t.unacked, t.rcvWup = false, 0, t.rcvNxt
	t.clock.Stop(t.ackTimer)
}

// sackBlocks are the blocks that fit room bytes of options (RFC 2018 §4, RFC 2883).
func (t *tcp) sackBlocks(room int) (blocks [][2]uint32) {
	if !t.sackOn {
		return nil
	}
	room = min((room-4)/8, 4)
	wire := func(a, b int64) [2]uint32 { return [2]uint32{t.irs + uint32(a), t.irs + uint32(b)} }
	if t.hasDSACK && room > 0 {
		blocks = append(blocks, wire(t.dsack[0], t.dsack[1]))
		t.hasDSACK = false
		t.stats.DSACKs++
	}
	for _, start := range t.oooRecent {
		if len(blocks) >= room {
			break
		}
		a, b := t.oooRange(start)
		w := wire(a, b)
		dup := false
		for _, x := range blocks {
			dup = dup || x == w
		}
		if !dup && b > a {
			blocks = append(blocks, w)
		}
	}
	return blocks
}

// oooRange is the contiguous out-of-order range around off.
func (t *tcp) oooRange(off int64) (a, b int64) {
	for _, r := range t.ooo {
		switch {
		case b == 0 || r.off > b:
			if b > 0 && off < b {
				return a, b
			}
			a, b = r.off, r.end()
		default:
			b = max(b, r.end())
		}
	}
	if off < a || off >= b {
		return 0, 0
	}
	return a, b
}

// windowField is the field for a window of free bytes from rcvNxt on; the right
// edge announced never moves back.
func (t *tcp) windowField(s *segment, free int64) uint16 {
	shift := max(t.rcvShift, 0)
	if s.has(packet.SYN) {
		shift = 0
	}
	keep := t.rcvEdge - t.rcvNxt
	v := free >> shift
	if free < keep {
		v = (keep + 1<<shift - 1) >> shift
	}
	v = min(v, 65535)
	t.rcvEdge = max(t.rcvEdge, t.rcvNxt+v<<shift)
	return uint16(v)
}

// maxWindow is the largest window that the field can say.
func (t *tcp) maxWindow() int64 { return 65535 << max(t.rcvShift, 0) }

// arm sets the one timer: retransmission, tail probe, or window probe.
func (t *tcp) arm() {
	t.clock.Stop(t.timer)
	t.rearm, t.probing = false, len(t.sentq) == 0
	switch {
	case len(t.sentq) > 0:
		if t.tlp && !t.tlpSent && t.recover < 0 && t.srtt > 0 && t.backoff == 0 {
			pto := 2 * t.srtt
			if len(t.sentq) == 1 {
				pto += delayedACK
			}
			if pto < t.rto {
				t.timer = t.clock.After(pto, t.tailProbe)
				return
			}
		}
		t.timer = t.clock.After(min(t.rto<<t.backoff, maxRTO), t.timeout)
	case t.nxt < t.end || t.fin && t.nxt == t.end:
		t.timer = t.clock.After(min(t.rto<<t.backoff, maxRTO), t.probe)
	default:
		t.timer = nil
		t.armKeepalive()
	}
}

func (t *tcp) armKeepalive() {
	if t.keepalive == 0 {
		return
	}
	t.clock.Stop(t.keepTimer)
	t.keepTimer = t.clock.After(t.keepalive, func() {
		if t.state != established && t.state != closeWait && t.state != finWait2 || len(t.sentq) > 0 {
			return
		}
		t.probeUna()
		t.armKeepalive()
	})
}

// tailProbe sends the last segment again (RFC 8985 §7).
func (t *tcp) tailProbe() {
	t.tlpSent = true
	if !t.sendNew() && len(t.sentq) > 0 {
		if r := t.sentq[len(t.sentq)-1]; !r.sacked {
			t.transmit(r)
		}
	}
	t.arm()
}

// timeout is the retransmission timer (RFC 6298 §5).
func (t *tcp) timeout() {
	t.stats.Timeouts++
	if t.givesUp() {
		return
	}
	if t.sentq[0].sacked {
		t.reneged()
		for _, r := range t.sentq {
			r.sacked = false
		}
	}
	mss := t.mssNow()
	if t.backoff == 0 {
		t.ssthresh = max(t.pipe()/2, 2*mss)
	}
	t.backoff = min(t.backoff+1, 10)
	t.cwnd, t.dupAcks, t.recover = mss, 0, t.nxt
	for _, r := range t.sentq {
		r.lost = !r.sacked
	}
	t.output()
}

// givesUp counts a retry and ends the connection after too many.
func (t *tcp) givesUp() bool {
	t.retries++
	if t.retries <= maxRetries && !(t.orphan && t.retries > maxOrphan) {
		return false
	}
	t.finish(errTimeout)
	return true
}

// probe is the zero window probe (RFC 9293 §3.8.6.1).
func (t *tcp) probe() {
	if t.orphan && t.givesUp() {
		return
	}
	t.backoff = min(t.backoff+1, 10)
	if t.probeByte && t.nxt < t.end {
		r := &sentRange{off: t.nxt, n: 1}
		t.sentq = append(t.sentq, r)
		t.nxt++
		t.transmit(r)
	} else {
		t.probeUna()
	}
	t.arm()
}

// probeUna sends an empty segment that the peer must answer.
func (t *tcp) probeUna() {
	t.refresh()
	s := t.segment(packet.ACK)
	s.sn = t.wire(t.una - 1)
	t.stampTS(s)
	t.emit(s, t.una-1)
}

// sample feeds the RTT estimator (RFC 6298 §2).
func (t *tcp) sample(rtt time.Duration) {
	rtt = max(rtt, time.Microsecond)
	if t.srtt == 0 {
		t.srtt, t.rttvar = rtt, rtt/2
	} else {
		t.rttvar += (max(t.srtt-rtt, rtt-t.srtt) - t.rttvar) / 4
		t.srtt += (rtt - t.srtt) / 8
	}
	t.rto = max(minRTO, min(t.srtt+4*t.rttvar, maxRTO))
}
