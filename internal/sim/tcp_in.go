package sim

import (
	"slices"
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
	if s.has(packet.ACK) && s.ack != t.isn+1 {
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
	t.una, t.rcvNxt, t.rcvWup = 1, 1, 1
	t.retries, t.backoff = 0, 0
	t.clock.Stop(t.timer)
	t.state = established
	if !t.user.incoming(s, 0) {
		return
	}
	if t.fin {
		t.state = finWait1
	}
	t.sendACK(true)
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

// receiveACK processes the ACK field; false = drop the segment.
func (t *tcp) receiveACK(s *segment, off int64) bool {
	ack := expand(t.una, s.ack-t.isn)
	if ack > t.nxt {
		t.fail("%s: ACK %d of what was not sent (next %d)", t.name, ack, t.nxt)
		t.sendACK(true)
		return false
	}
	if t.state == synRcvd {
		if ack < 1 {
			return false
		}
		t.state = established
		if t.retries == 0 {
			t.sample(t.clock.Now() - t.synSentAt())
		}
		t.clock.Stop(t.timer)
		t.una, t.retries, t.wl1 = 1, 0, off
		if t.fin {
			t.state = finWait1
		}
		t.wnd = int64(s.window) << max(t.sndShift, 0)
		t.user.opened()
	}
	t.checkSACK(s, ack)
	if ack < t.una {
		t.takeSACK(s)
		t.recovery(0)
		return true
	}
	wnd := int64(s.window) << max(t.sndShift, 0)
	changed := false
	if ack > t.una || off > t.wl1 || off == t.wl1 && (wnd > t.wnd || wnd == 0) {
		changed = wnd != t.wnd
		t.wnd, t.wl1 = wnd, off
	}
	t.takeSACK(s)
	acked := ack - t.una
	if acked > 0 {
		t.advance(ack)
	} else if len(t.sentq) > 0 && s.space() == 0 && !changed {
		t.dupAcks++
	}
	if changed && len(t.sentq) == 0 {
		t.backoff = 0
	}
	t.recovery(acked)
	return true
}

// checkSACK asserts what a sane receiver never does (RFC 2018 §4, §8).
func (t *tcp) checkSACK(s *segment, ack int64) {
	if len(s.sacks) > 0 && !t.sackOn {
		t.fail("%s: SACK not negotiated", t.name)
	}
	for i, b := range s.sacks {
		from, to := expand(t.una, b[0]-t.isn), expand(t.una, b[1]-t.isn)
		switch {
		case from >= to || to > t.nxt:
			t.fail("%s: SACK block %d-%d, ACK %d, next %d", t.name, from, to, ack, t.nxt)
		case from == ack:
			t.fail("%s: SACK block %d-%d begins at the ACK: reneging", t.name, from, to)
		case from < ack && to > ack || i > 0 && from < ack:
			t.fail("%s: SACK block %d-%d below ACK %d", t.name, from, to, ack)
		}
	}
}

func (t *tcp) takeSACK(s *segment) {
	if !t.sackOn {
		return
	}
	for _, b := range s.sacks {
		from, to := expand(t.una, b[0]-t.isn), expand(t.una, b[1]-t.isn)
		if to <= t.una || to > t.nxt || from < t.una {
			continue
		}
		for i := 0; i < len(t.sentq); i++ {
			r := t.sentq[i]
			if r.sacked || r.end() <= from || r.off >= to {
				continue
			}
			if r.off < from {
				t.split(i, from)
				continue
			}
			if r.end() > to && to-r.off < int64(r.n) {
				t.split(i, to)
			} else if r.end() > to {
				continue // all but the FIN
			}
			r.sacked, r.lost = true, false
			t.rack = max(t.rack, r.sentAt)
		}
	}
}

// advance moves una to ack.
func (t *tcp) advance(ack int64) {
	rtt := time.Duration(-1)
	for len(t.sentq) > 0 && t.sentq[0].off < ack {
		r := t.sentq[0]
		if r.end() > ack {
			if ack-r.off >= int64(r.n) { // all but the FIN
				r.off, r.n = ack, 0
				break
			}
			t.split(0, ack)
		}
		if !r.sacked {
			t.rack = max(t.rack, r.sentAt)
			if r.rtx == 0 {
				rtt = t.clock.Now() - r.sentAt
			}
		}
		t.sentq = t.sentq[1:]
	}
	t.una = ack
	if rtt >= 0 {
		t.sample(rtt)
	}
	if len(t.sentq) > 0 && t.sentq[0].sacked {
		t.reneged()
		for _, r := range t.sentq {
			r.sacked = false
		}
	}
	t.backoff, t.retries, t.tlpSent, t.rearm = 0, 0, false, true
	if t.fin && ack == t.end+1 {
		t.finAcked()
	}
}

// reneged: the head of what is unacknowledged was SACKed (Linux: TCPSACKReneging).
func (t *tcp) reneged() {
	t.stats.Reneging++
	if !t.mayRenege {
		t.fail("%s: data SACKed from %d on, but the ACK stops there (TCPSACKReneging)", t.name, t.una)
	}
}

func (t *tcp) finAcked() {
	switch t.state {
	case finWait1:
		t.state = finWait2
	case closing:
		t.enterTimeWait()
	case lastAck:
		t.finish(nil)
	default:
	}
}

func (t *tcp) enterTimeWait() {
	t.state = timeWait
	t.clock.Stop(t.timer)
	t.waitTimer = t.clock.After(timeWaitTime, func() { t.finish(nil) })
}

// recovery marks losses and moves the congestion window (RFC 5681, 6582, 6675, 8985).
func (t *tcp) recovery(acked int64) {
	mss := t.mssNow()
	if acked > 0 {
		t.dupAcks = 0
	}
	if t.recover >= 0 && t.una >= t.recover {
		t.recover = -1
		t.cwnd = max(min(t.cwnd, t.ssthresh), 2*mss)
	}
	lost := t.markLost(acked > 0)
	if lost && t.recover < 0 {
		t.recover = t.nxt
		t.ssthresh = max(t.pipe()/2, 2*mss)
		t.cwnd = t.ssthresh
	}
	if acked > 0 && (t.recover < 0 || t.cwnd < t.ssthresh) {
		if t.cwnd < t.ssthresh {
			t.cwnd += int(min(acked, int64(2*mss)))
		} else {
			t.cwnd += max(mss*mss/t.cwnd, 1)
		}
		t.cwnd = min(t.cwnd, maxCwnd*mss)
	}
}

func (t *tcp) markLost(advanced bool) (any bool) {
	if !t.sackOn {
		if len(t.sentq) > 0 && (t.dupAcks == 3 || t.recover >= 0 && advanced) {
			r := t.sentq[0]
			any = !r.lost
			r.lost = true
		}
		return any
	}
	above := 0
	for i := len(t.sentq) - 1; i >= 0; i-- {
		r := t.sentq[i]
		if r.sacked {
			above += max(r.n, 1)
			continue
		}
		if !r.lost && (r.rtx == 0 && above > 3*t.mssNow() || t.rack-r.sentAt > t.srtt/4+minReorder) {
			r.lost = true
			any = true
		}
	}
	return any
}

// receiveData queues payload and FIN.
func (t *tcp) receiveData(s *segment, off int64) {
	d := rxData{off: off, data: s.payload, fin: s.has(packet.FIN)}
	if d.end() == off {
		return
	}
	if s.mp.dss != nil && s.mp.dss.hasMap {
		d.dss = s.mp.dss
	}
	switch {
	case d.end() <= t.rcvNxt:
		t.setDSACK(off, d.end())
		t.ackNow = true
		return
	case t.rcvEdge <= t.rcvNxt && len(d.data) > 0, t.finRcvd:
		t.ackNow = true // zero window
		return
	}
	if off < t.rcvNxt {
		t.setDSACK(off, t.rcvNxt)
		t.ackNow = true
	}
	if len(t.ooo) > 0 || off > t.rcvNxt {
		t.ackNow = true
	}
	t.insert(d)
	moved := false
	for len(t.ooo) > 0 && t.ooo[0].off <= t.rcvNxt {
		d := t.ooo[0]
		t.ooo = t.ooo[1:]
		if d.end() <= t.rcvNxt {
			continue
		}
		t.rcvNxt = d.end()
		t.rxq = append(t.rxq, d)
		moved = true
		if d.fin {
			t.ooo = nil
			t.receiveFIN()
		}
	}
	t.oooRecent = slices.DeleteFunc(t.oooRecent, func(o int64) bool { return o < t.rcvNxt })
	if moved {
		t.unacked++
		t.user.deliver()
	}
}

// insert puts d into the out-of-order queue: what another covers whole is dropped,
// partial overlaps stay, as in Linux.
func (t *tcp) insert(d rxData) {
	i := 0
	for i < len(t.ooo) && t.ooo[i].off <= d.off {
		if t.ooo[i].end() >= d.end() {
			t.setDSACK(d.off, d.end())
			return
		}
		i++
	}
	j := i
	for j < len(t.ooo) && t.ooo[j].end() <= d.end() {
		j++
	}
	t.ooo = slices.Replace(t.ooo, i, j, d)
	t.oooRecent = slices.DeleteFunc(t.oooRecent, func(o int64) bool { return o == d.off })
	t.oooRecent = slices.Insert(t.oooRecent, 0, d.off)
	t.oooRecent = t.oooRecent[:min(len(t.oooRecent), 16)]
}

func (t *tcp) setDSACK(from, to int64) { t.dsack, t.hasDSACK = [2]int64{from, to}, t.sackOn }

func (t *tcp) receiveFIN() {
	t.finRcvd, t.ackNow = true, true
	switch t.state {
	case established:
		t.state = closeWait
	case finWait1:
		t.state = closing
	case finWait2:
		t.enterTimeWait()
	default:
	}
}

// answer sends the ACK that is due, or delays it (RFC 9293 §3.8.6.3).
func (t *tcp) answer() {
	switch {
	case t.state == closed:
	case t.ackNow || t.unacked >= 2:
		t.sendACK(true)
	case t.unacked > 0 && !t.ackTimer.Waiting():
		t.ackTimer = t.clock.After(delayedACK, func() { t.sendACK(true) })
	}
}
