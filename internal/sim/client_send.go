package sim

import "time"

// push hands application data to subflows: the scheduler, and whole skbs with one
// mapping each, as mptcp_sendmsg_frag makes them.
func (c *client) push() {
	if c.isEnded || len(c.subs) == 0 {
		return
	}
	if c.fallback {
		c.pushPlain()
		return
	}
	for c.pend < c.wrote {
		f := c.schedule()
		if f == nil {
			break
		}
		room := c.wndEnd - c.pend
		if room <= 0 {
			c.probeWindow(f)
			break
		}
		n := min(int64(f.mssNow()*(1+c.rng.IntN(max(c.longestSkb, 1)))), c.wrote-c.pend, room)
		if c.pend < c.nxt { // reinjection keeps its own bounds
			n = min(n, c.nxt-c.pend)
			c.stats.Reinjected++
		}
		f.send(c.pend, n)
		if c.scheduler == schedRedundant {
			c.copies(f, c.pend, n)
		}
		c.pend += n
		c.nxt = max(c.nxt, c.pend)
		if c.eager > 0 && c.rng.Float64() < c.eager {
			c.reinject(f)
		}
	}
	if c.una < c.nxt && !c.rtxTimer.Waiting() {
		c.armRtx()
	}
	c.startDataFIN()
}

func (c *client) pushPlain() {
	f := c.subs[0]
	if !f.synchronized() {
		return
	}
	if c.pend < c.wrote {
		n := c.wrote - c.pend
		f.send(c.pend, n)
		c.pend, c.nxt = c.wrote, c.wrote
	}
	if c.fin && !f.fin {
		f.shutdown()
	}
	f.plainAcked()
}

// plainAcked takes over what TCP acknowledged.
func (f *subflow) plainAcked() {
	c := f.c
	c.una = max(c.una, min(f.una-1+c.inSYN(), c.wrote))
	c.finAcked = f.fin && f.una == f.end+1
}

func (f *subflow) hasRoom() bool {
	return f.nxt == f.end && f.pipe() < f.cwnd
}

// probeWindow is MPTCP's own zero window probe: one new SSN byte over the DSN
// before snd_una, when nothing at all is under way.
func (c *client) probeWindow(f *subflow) {
	if c.una != c.nxt {
		return
	}
	for _, g := range c.subs {
		if len(g.sentq) > 0 || g.nxt != g.end {
			return
		}
	}
	f.send(c.una-1, 1)
}

// send queues the mapping u..u+n as one skb.
func (f *subflow) send(u, n int64) {
	f.maps = append(f.maps, sentMap{off: f.end, n: n, u: u})
	f.write(n)
}

// armRtx starts MPTCP's retransmission timer (mptcp_set_timeout).
func (c *client) armRtx() {
	c.clock.Stop(c.rtxTimer)
	d := minRTO
	for _, f := range c.subs {
		if len(f.sentq) > 0 && f.timer.Waiting() {
			d = max(d, f.timer.at-c.clock.Now())
		}
	}
	c.rtxTimer = c.clock.After(min(d, maxRTO), c.retransmit)
}

// retransmit is __mptcp_retrans: the head of the queue goes out again with a new
// SSN, on a subflow that owes nothing.
func (c *client) retransmit() {
	if c.isEnded || c.una >= c.nxt {
		return
	}
	c.retransmitted = true
	var best *subflow
	for _, f := range c.subs {
		if !c.alive(f) || f.stale {
			continue
		}
		if len(f.sentq) > 0 || f.nxt != f.end {
			c.checkStale(f)
			continue
		}
		if best == nil || best.backup && !f.backup {
			best = f
		}
	}
	if best != nil {
		n := min(int64(best.mssNow()*(1+c.rng.IntN(max(c.longestSkb, 1)))), c.nxt-c.una)
		c.stats.Reinjected++
		best.send(c.una, n)
	}
	c.armRtx()
}

// checkStale is mptcp_pm_subflow_chk_stale.
func (c *client) checkStale(f *subflow) {
	if f.staleUna != f.una {
		f.staleUna, f.staleCount = f.una, 0
		return
	}
	if f.staleCount++; f.staleCount < 4 {
		return
	}
	for _, g := range c.subs {
		if g != f && c.alive(g) && !g.stale {
			f.stale = true
			c.stats.StaleSubflows++
			c.rewind()
			return
		}
	}
}

// rewind makes all data without DATA_ACK to be sent again.
func (c *client) rewind() {
	if c.isEnded || c.fallback || c.una >= c.nxt {
		return
	}
	c.retransmitted = true
	c.pend = c.una
	c.clock.After(time.Millisecond, c.push)
}

// acked takes a DATA_ACK (ack_update_msk); wnd is the subflow's.
func (c *client) acked(pos, wnd int64) {
	limit := c.nxt
	if c.finSent() {
		limit++
	}
	if pos > limit {
		// A DATA_FIN that an ACK showed ahead of SND.NXT may be acknowledged; Linux ignores it.
		if pos > c.wrote+1 || !c.finShown() || c.nxt < c.wrote {
			c.fail("client: DATA_ACK u=%d, next is %d", pos, limit)
		}
		return
	}
	if pos < c.una {
		pos = c.una
	}
	c.wndEnd = max(c.wndEnd, pos+wnd)
	if pos > c.una {
		c.una = min(pos, c.wrote)
		c.pend = max(c.pend, c.una)
		if c.una < c.nxt {
			c.armRtx()
		} else {
			c.clock.Stop(c.rtxTimer)
		}
	}
	if c.finSent() && pos == c.wrote+1 && !c.finAcked {
		c.finAcked = true
		c.clock.Stop(c.finTimer)
		c.closeSubflows()
	}
}

// finSent: the DATA_FIN is part of SND.NXT.
func (c *client) finSent() bool { return c.fin && c.nxt == c.wrote && c.finTimer != nil }

// finShown: ACKs carry the DATA_FIN (snd_data_fin_enable), which may be before the
// last data went out.
func (c *client) finShown() bool { return c.fin && !c.finAcked && !c.fallback }

// startDataFIN sends the DATA_FIN once all data have gone, and again until it is
// acknowledged.
func (c *client) startDataFIN() {
	if !c.fin || c.finAcked || c.finTimer != nil || c.pend < c.wrote || !c.full && !c.subs[0].synchronized() {
		return
	}
	c.sendDataFIN()
}

func (c *client) sendDataFIN() {
	if c.isEnded || c.finAcked {
		return
	}
	d := minRTO << min(c.finRetries, 8)
	c.finRetries++
	c.finTimer = c.clock.After(d, c.sendDataFIN)
	c.ackAll()
}
