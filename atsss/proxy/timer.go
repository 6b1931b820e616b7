package proxy

// Times after which a connection is looked at or given up.
const (
	tickCheck     = 10 * millisecond          // while data are outstanding
	handshakeLife = 60 * 1000 * millisecond   // from the SYN to the third ACK
	lingerLife    = 60 * 1000 * millisecond   // after the end, for late packets
	rejoinLife    = 60 * 1000 * millisecond   // without a subflow, as the Linux client waits
	idleLife      = 7440 * 1000 * millisecond // without a packet: 2 h 4 min (RFC 5382 REQ-5)
)

// wheelSlots times TickInterval is how far ahead the wheel sees; later deadlines are
// looked at again each time they come round.
const wheelSlots = 512

// wheel is a timing wheel of connections. Each is in it at most once.
type wheel struct {
	slots [wheelSlots]*Conn
	last  int64 // the last slot time that was run
	n     int
}

func slotTime(t Time) int64 { return int64(t) / int64(TickInterval) }

// arm has c looked at by Tick at the given time, or earlier if it is due earlier.
func (p *Proxy) arm(c *Conn, at Time) { p.timers.add(c, at) }

// ahead is how many slots after the last that was run slot i is: 1 to wheelSlots-1.
func (w *wheel) ahead(i int64) int64 { return (i - w.last) & (wheelSlots - 1) }

func (w *wheel) add(c *Conn, at Time) {
	ahead := min(max(slotTime(at)-w.last, 1), wheelSlots-1)
	if slot := c.timerSlot; slot != 0 {
		if w.ahead(int64(slot-1)) <= ahead {
			return
		}
		w.remove(c)
	}
	i := (w.last + ahead) % wheelSlots
	c.timer, c.timerSlot = connLink{next: w.slots[i]}, uint16(i)+1
	if c.timer.next != nil {
		c.timer.next.timer.prev = c
	}
	w.slots[i] = c
	w.n++
}

func (w *wheel) remove(c *Conn) {
	t := &c.timer
	if c.timerSlot == 0 {
		return
	}
	if t.prev != nil {
		t.prev.timer.next = t.next
	} else {
		w.slots[c.timerSlot-1] = t.next
	}
	if t.next != nil {
		t.next.timer.prev = t.prev
	}
	c.timer, c.timerSlot = connLink{}, 0
	w.n--
}

// Tick runs the timers that are due and makes keys. It wants to be called every
// [TickInterval] unless the proxy is [Proxy.Idle].
func (p *Proxy) Tick(now Time, out *Out) {
	p.now, p.out = now, out
	p.keys.Fill(64)
	defer p.runAside()
	w := &p.timers
	to := slotTime(now)
	if w.last == 0 || to-w.last > wheelSlots {
		w.last = max(w.last, to-wheelSlots)
	}
	for w.last < to {
		w.last++
		i := w.last % wheelSlots
		for c := w.slots[i]; c != nil; c = w.slots[i] {
			w.remove(c)
			p.expire(c)
		}
	}
}

// expire looks at c and arms its timer anew unless c is forgotten.
func (p *Proxy) expire(c *Conn) {
	if c.state == stateEstablished && p.checkClosing(c) {
		p.arm(c, p.now+tickCheck)
	}
	quiet := p.now.since(c.lastActive)
	switch {
	case c.state == stateRelay && c.convert != nil && quiet < idleLife && p.checkConversion(c):
		p.arm(c, p.now+tickCheck)
		return
	case c.state == stateClosed || c.finished:
		p.forgetAfter(c, quiet, lingerLife)
		return
	case c.state == stateSYN && c.convert != nil:
		p.expireServer(c)
		return
	case c.state == stateSYNACK && c.convert != nil:
		p.expireSYNACK(c, quiet)
		return
	case c.state == stateSYN || c.state == stateSYNACK:
		p.forgetAfter(c, quiet, handshakeLife)
		return
	case c.state == stateRelay || quiet >= idleLife:
		p.forgetAfter(c, quiet, idleLife)
		return
	case c.lonely != 0:
		lonely := p.now.since(c.lonely)
		if lonely >= rejoinLife {
			p.resetServer(c)
			p.close(c)
			return
		}
		p.arm(c, p.now+rejoinLife-lonely)
		return
	}
	busy := p.checkPaths(c)
	if c.convert != nil && p.checkConversion(c) {
		busy = true
	}
	if busy {
		p.arm(c, p.now+tickCheck)
	} else {
		p.arm(c, p.now+idleLife-quiet)
	}
	p.expireJoins(c)
}

// forgetAfter forgets c if it was quiet for life, or has it looked at then.
func (p *Proxy) forgetAfter(c *Conn, quiet, life Time) {
	if quiet >= life {
		p.forget(c)
		return
	}
	p.arm(c, p.now+life-quiet)
}

// checkPaths asks subflows that owe an answer for it; it reports whether any does.
func (p *Proxy) checkPaths(c *Conn) (busy bool) {
	owing := false
	for _, s := range c.subflows {
		if s.live() && s.acked < s.next {
			owing = true
			p.checkPath(s)
		}
	}
	// What the UE owes: the DATA_ACK of the DATA_FIN, or of data that it was sent; if the
	// next byte did not come from the server, the UE waits for it, too.
	_, pending := c.down.runs.At(c.down.acked)
	pending = pending || c.down.acked == c.down.fin
	if pending && !owing {
		p.solicitDataAck(c)
	}
	if p.ackable(c) != c.down.ackSent {
		p.ackServer(c, nil)
	}
	return owing || pending
}

// checkClosing has the UE take our FINs on subflows that it has closed, on which it says
// nothing more itself; it reports whether there is more to do.
func (p *Proxy) checkClosing(c *Conn) (busy bool) {
	for _, s := range c.subflows {
		if s.state == subflowClosing && s.finSent && s.acked <= s.next && s.path.backoff < maxFINs {
			busy = p.repeatFIN(s) || busy
		}
	}
	return busy
}

// repeatFIN sends our FIN on s again, or what the UE lacks below it, after silence. It
// reports false while the server is to bring that first.
func (p *Proxy) repeatFIN(s *Subflow) bool {
	t := &s.path
	if s.acked < s.next && !s.fillable() {
		return false
	}
	if min(p.now.since(t.filled), p.now.since(t.moved)) < t.backedOff() {
		return true
	}
	t.backoff++
	if s.acked < s.next {
		p.suspend(s)
		p.fill(s)
	} else {
		t.filled = p.now.stamp()
		p.ackUE(s, s.ueTSval)
	}
	return true
}

// checkPath looks at s, which has data outstanding.
func (p *Proxy) checkPath(s *Subflow) {
	t, a := &s.path, &s.session.access[s.access]
	quiet := min(p.now.since(t.waiting), p.now-a.heard)
	rto := t.rto()
	switch {
	case a.silent != 0:
		p.timeout(s)
		if p.now.since(t.probed) >= probeInterval {
			t.probed = p.now.stamp()
			p.solicit(s)
		}
		return
	case quiet > t.patience() && p.now-a.heard <= p.now.since(t.probed):
		if p.now.since(t.probed) > t.backedOff() {
			t.probed = p.now.stamp()
			t.backoff = min(t.backoff+1, maxBackoff)
			p.solicit(s)
		}
	case quiet > rto && p.now.since(t.probed) > rto:
		a.silent = p.now
		s.session.Monitor.SetSilent(s.access, true)
		p.count.PathSilent++
		p.timeout(s)
	}
	if s.acked < s.next && s.fillable() && p.now.since(t.waiting) > 2*rto {
		p.timeout(s)
	}
	if t.recovering || s.sacked.Len() > 0 {
		p.fill(s)
	}
	p.plug(s)
}

// timeout is suspend because nothing was heard in time.
func (p *Proxy) timeout(s *Subflow) {
	if t := &s.path; !t.recovering {
		t.doubled = min(t.doubled+1, maxBackoff)
	}
	p.suspend(s)
}

// suspend keeps new data off s until what is outstanding on it is acknowledged.
func (p *Proxy) suspend(s *Subflow) {
	if t := &s.path; !t.recovering || t.recoverTo != uint32(s.next) {
		t.recovering, t.recoverTo = true, uint32(s.next)
		s.conn.refresh()
	}
}

// fillable says whether the first hole of s is of data that the UE has acknowledged.
func (s *Subflow) fillable() bool {
	r, ok := s.down.At(s.acked)
	return ok && r.ToOf(s.acked) < s.conn.down.acked
}

// solicitDataAck asks for the DATA_ACK of a UE that has acknowledged everything on its
// subflows but not at data level.
func (p *Proxy) solicitDataAck(c *Conn) {
	s := c.active()
	if s == nil || p.now.since(c.down.solicited) < max(s.path.rto(), 10*millisecond) {
		return
	}
	c.down.solicited = p.now.stamp()
	p.solicit(s)
}
