package sim

import (
	"time"

	"github.com/braid-upf/braid/packet"
)

// receive processes a segment of this connection.
func (t *tcp) receive(s *segment) {
	t.stats.Received++
	t.refresh()
	switch t.state {
	case closed:
		refuse(s, t.out)
	case listen:
		t.receiveSYN(s)
	case synSent:
		t.receiveSYNACK(s)
	default:
		t.receiveSegment(s)
	}
}

func (t *tcp) receiveSYN(s *segment) {
	if s.has(packet.RST) {
		return
	}
	if !s.has(packet.SYN) || s.has(packet.ACK) {
		refuse(s, t.out)
		return
	}
	t.state, t.remote, t.local = synRcvd, s.src, s.dst
	t.negotiate(s)
	t.nxt = 1
	t.rcvNxt = 1
	t.sendSYN()
}

// negotiate takes the peer's SYN options.
func (t *tcp) negotiate(s *segment) {
	t.irs = s.sn
	t.peerMSS = 536
	if s.mss > 0 {
		t.peerMSS = s.mss
	}
	t.tsOn, t.sackOn = t.ts && s.hasTS, t.sack && s.sackOK
	t.tsRecent = s.tsVal
	t.sndShift, t.rcvShift = s.wscale, t.wscale
	if s.wscale < 0 || t.wscale < 0 {
		t.sndShift, t.rcvShift = -1, -1
	}
	t.wnd, t.wl1 = int64(s.window), 0
	t.cwnd = 10 * t.mssNow()
}

func (t *tcp) receiveSYNACK(s *segment) {
	t.synAcked = int64(s.ack - t.isn - 1)
	if s.has(packet.ACK) && t.synAcked > int64(len(t.synData)) {
		refuse(s, t.out)
		return
	}
	if s.has(packet.RST) {
		if s.has(packet.ACK) {
			t.finish(errReset)
		}
		return
	}
	if !s.has(packet.SYN) || !s.has(packet.ACK) {
		return
	}
	if s.hasTS && (!t.ts || s.tsEcr != t.tsval() && t.retries == 0 && int32(t.tsval()-s.tsEcr) < 0) {
		t.fail("%s: SYN/ACK with TSecr %d, never sent", t.name, s.tsEcr)
	}
	if s.sackOK && !t.sack || s.wscale >= 0 && t.wscale < 0 {
		t.fail("%s: SYN/ACK with an option that the SYN had not", t.name)
	}
	t.negotiate(s)
	if t.retries == 0 {
		t.sample(t.clock.Now() - t.synSentAt())
	}
	t.isn += uint32(len(t.synData))
	rest := int64(len(t.synData)) - t.synAcked
	t.una, t.rcvNxt, t.rcvWup = 1-rest, 1, 1
	if rest > 0 { // it goes again
		t.sentq = append(t.sentq, &sentRange{off: 1 - rest, n: int(rest), lost: true})
	}
	t.retries, t.backoff = 0, 0
	t.clock.Stop(t.timer)
	t.state = established
	if !t.user.incoming(s, 0) {
		return
	}
	if t.fin {
		t.state = finWait1
	}
	if rest == 0 {
		t.sendACK(true)
	}
	t.user.opened()
	t.output()
}

// synSentAt is when the only SYN went out.
func (t *tcp) synSentAt() time.Duration { return t.timer.at - t.rto }

// receiveSegment is RFC 9293 §3.10.7.4 in the order of Linux.
func (t *tcp) receiveSegment(s *segment) {
	off := expand(t.rcvNxt, s.sn-t.irs)
	if !t.acceptable(s, off) {
		return
	}
	if s.has(packet.RST) {
		t.receiveRST(s, off)
		return
	}
	if s.has(packet.SYN) {
		if t.state == synRcvd && off == 0 {
			t.sendSYN()
			return
		}
		t.challenge()
		return
	}
	if !s.has(packet.ACK) || !t.receiveACK(s, off) {
		return
	}
	if t.tsOn && s.hasTS && int32(s.tsVal-t.tsRecent) >= 0 && off <= t.rcvWup {
		t.tsRecent = s.tsVal
	}
	if t.state == timeWait {
		if s.has(packet.FIN) {
			t.sendACK(true)
		}
		t.user.progress()
		return
	}
	if !t.user.incoming(s, off) || t.state == closed {
		return
	}
	t.receiveData(s, off)
	if t.state == closed {
		return
	}
	t.user.progress()
	t.output()
	t.answer()
}

// acceptable checks timestamp and sequence number.
func (t *tcp) acceptable(s *segment, off int64) bool {
	if t.tsOn && !s.has(packet.RST) && s.hasTS && int32(s.tsVal-t.tsRecent) < 0 {
		t.stats.PAWS++
		if s.space() > 0 {
			t.sendACK(true)
		}
		return false
	}
	end := off + int64(s.space())
	if end >= t.rcvWup && off <= max(t.rcvEdge, t.rcvNxt) {
		return true
	}
	if s.has(packet.RST) {
		return false
	}
	if s.has(packet.SYN) { // a retransmitted SYN/ACK or SYN
		t.receiveOldSYN(off)
		return false
	}
	t.stats.OutOfWin++
	if s.space() > 0 {
		if end <= t.rcvNxt {
			t.setDSACK(off, end)
		}
		t.sendACK(true)
	} else if now := t.clock.Now(); now-t.lastOOW >= challengeGap {
		t.lastOOW = now
		t.sendACK(true)
	}
	return false
}

func (t *tcp) receiveOldSYN(off int64) {
	if t.state == synRcvd && off == 0 {
		t.sendSYN()
		return
	}
	t.challenge()
}

func (t *tcp) challenge() {
	t.stats.Challenges++
	t.sendACK(true)
}

// receiveRST is RFC 5961 §3.2: only the exact number resets.
func (t *tcp) receiveRST(s *segment, off int64) {
	switch {
	case t.state == timeWait:
	case off == t.rcvNxt:
		t.user.incoming(s, off)
		t.finish(errReset)
	default:
		t.challenge()
	}
}
