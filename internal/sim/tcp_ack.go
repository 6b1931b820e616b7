package sim

import "time"

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
