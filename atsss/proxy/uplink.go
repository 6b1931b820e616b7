package proxy

import (
	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// maxAhead is the largest window (RFC 7323 §2.3): nothing that is outstanding spans more.
const maxAhead = 1 << 30

// maxRuns bounds the pieces of a connection's mappings: of uplink data that wait for the
// server, and of downlink data that wait for the UE. Ends that leave more holes than any
// loss does are not served, since each piece costs memory, and later packets time.
const maxRuns = 1 << 14

// crowded says whether own, a mapping of one of c's subflows, may not grow, since all of
// them have maxRuns pieces. Each may have its share whatever the others have.
func (c *Conn) crowded(own *dsm.Runs) bool {
	if own.Len() < maxRuns/maxSubflows {
		return false
	}
	n := 0
	for _, s := range c.subflows {
		n += s.up.Len() + s.down.Len()
	}
	return n >= maxRuns
}

// uplinkData takes a packet of the UE on an established connection.
func (p *Proxy) uplinkData(f *Subflow, g *segment) {
	c, o := f.conn, &g.opt.mp
	ssn := expand(f.rcvNext, g.tcp.SN()-f.ueISN)
	if !p.uplinkAcceptable(f, g, ssn) {
		return
	}
	f.cameOver(g)
	if g.flags&packet.RST != 0 {
		p.uplinkReset(f, g, ssn)
		return
	}
	if o.Present&mptcp.FastClose != 0 {
		p.fastClose(f, g)
		return
	}
	if f.state == subflowDead {
		p.discard(g.buf, &p.count.DropStale)
		return
	}
	if o.Present == 0 && o.Ignored == 0 && len(g.payload) == 0 && f.fin == none && f.bareACK(g, p.now) {
		p.fallBackBare(f, g)
		return
	}
	f.noteTS(g, p.now)
	before, finSent := f.acked, f.finSent
	finLost := finSent && g.flags&packet.FIN == 0 && g.tcp.AckSN() == f.sn(f.next)
	if f.ecn&ecnGranted != 0 {
		f.uplinkECN(g, ssn)
	}
	news := p.uplinkAck(f, g)
	if o.Present&^mptcp.DSS != 0 && p.uplinkControl(f, g) {
		return
	}
	used := false
	if len(g.payload) > 0 {
		used = p.uplinkPayload(f, g, ssn)
	} else if ssn == f.rcvNext-1 && g.flags&packet.FIN == 0 {
		used = p.uplinkProbe(f, g)
	}
	if c.state != stateEstablished {
		return
	}
	if o.Present&mptcp.DSS != 0 && o.HasMapping && o.DataFIN {
		used = p.uplinkDataFIN(f, g, used) || used
	}
	if !used {
		p.uplinkPureAck(f, g, news, f.acked > before)
	}
	if g.flags&packet.FIN != 0 {
		p.uplinkFIN(f, ssn+int64(len(g.payload)))
	}
	if finLost && f.acked > before { // a filler has acknowledged the UE's FIN: it does not repeat that
		p.ackUE(f, f.ueTSval)
	}
	p.afterAck(f, finSent)
	if c.ended() {
		p.finish(c)
	}
}

// noteTS records the UE's timestamp for f and what the server gets for it: never one
// older than before, since the clocks of the subflows are joined only to a round trip
// and Linux repeats a DATA_FIN with the timestamp of its first sending.
func (f *Subflow) noteTS(g *segment, now Time) {
	if !g.opt.hasTS {
		return
	}
	if int32(g.opt.tsval-f.ueTSval) >= 0 {
		f.ueTSval, f.tsvalAt = g.opt.tsval, now.stamp()
	}
	if v := g.opt.tsval + f.tsOffset; int32(v-f.conn.up.tsval) > 0 {
		f.conn.up.tsval = v
	}
}

// uplinkAck takes the acknowledgments that g carries; it reports whether the server is to
// hear of it.
func (p *Proxy) uplinkAck(f *Subflow, g *segment) (news bool) {
	c := f.conn
	ack := expand(f.acked, g.tcp.AckSN()-f.ourISN)
	progress := false
	if ack > f.acked {
		f.path.progress(f, ack, p.now)
		first := f.acked == 1
		f.acked = ack
		if first && f.index > 0 {
			c.refresh()
			p.nudge(c)
		}
		f.sacked.TrimBelow(&p.maps, f.acked)
		progress = true
	}
	for i := range g.opt.sacks {
		from, to := expand(f.acked, g.opt.sack[i][0]-f.ourISN), expand(f.acked, g.opt.sack[i][1]-f.ourISN)
		if f.finSent && to == f.next+1 {
			to-- // our FIN
		}
		if from > f.acked && from < to && to <= f.next && f.sacked.Add(&p.maps, from, to) {
			f.path.heard(f, p.now)
			progress = true
			if r, ok := f.down.At(to - 1); ok {
				c.noteRecent(r.ToOf(to - 1))
			}
		}
	}
	if o := &g.opt.mp; o.Present&mptcp.DSS != 0 {
		c.dssSeen, c.up.bare = true, 0
		if o.HasDataAck {
			p.dataAck(c, o, int64(g.tcp.Window())<<f.scale)
		} else if !o.HasMapping || len(g.payload) == 0 && !o.DataFIN {
			p.count.IgnoredOptions++
		}
	}
	f.release()
	if progress && g.opt.hasTS {
		c.up.tsecr = g.opt.tsecr
	}
	return p.ackable(c) != c.down.ackSent || uint32(c.down.rightEdge) != c.down.edgeSent || p.sackChanged(c)
}

// dataAck takes the DATA_ACK of o and the window that refers to it.
func (p *Proxy) dataAck(c *Conn, o *mptcp.Options, window int64) {
	d := c.down.acked
	if o.DataAck64 {
		d += int64(o.DataAck - uint64(c.dsnB(d)))
	} else {
		d = expand(d, uint32(o.DataAck)-uint32(c.local.IDSN)-1)
	}
	limit := c.down.next
	if c.down.fin != none {
		limit = c.down.fin + 1
	}
	if d > limit || d < c.down.acked-int64(c.down.window)-slack {
		p.count.BadDataACK++
		return
	}
	c.down.rightEdge = max(c.down.rightEdge, d+window)
	c.down.window = max(c.down.window, uint32(window))
	if d > c.down.acked {
		c.down.acked = d
		c.down.runs.ReleaseTo(&p.maps, d)
		if !c.down.copies.Empty() {
			c.down.copies.ReleaseTo(&p.maps, d)
		}
		if c.down.runs.Empty() { // the other subflows may be acknowledged no more
			for _, s := range c.subflows {
				s.release()
			}
		}
	}
}

// release forgets the mappings of f that are acknowledged both ways, at SSN and at
// data level; the others are needed to SACK them or to fill their hole.
func (f *Subflow) release() {
	for r, ok := f.down.First(); ok; r, ok = f.down.First() {
		x := min(f.acked, r.End(), r.At+max(0, f.conn.down.acked-r.To))
		if x <= r.At {
			return
		}
		f.down.ReleaseTo(&f.conn.session.proxy.maps, x)
		if x < r.End() || x == f.acked {
			return
		}
	}
}

// sackChanged says whether the SACK set differs from the one the server was told.
func (p *Proxy) sackChanged(c *Conn) bool {
	if !c.sackPermitted {
		return false
	}
	sum := uint32(0)
	if c.holdsSACK() {
		p.collectSACK(c, &p.sackSet)
		sum = digest(&p.sackSet)
	}
	return sum != c.down.sackSum
}

// position finds the uplink position of the payload of g that begins at ssn.
func (p *Proxy) position(f *Subflow, g *segment, ssn int64) (u int64, ok bool) {
	c, o := f.conn, &g.opt.mp
	var m mapping
	switch {
	case ssn < 1: // payload of a SYN, sent again
		return ssn - 1, ssn+int64(len(g.payload)) <= 1
	case o.Present&mptcp.Capable != 0 && o.CapableLen >= 22 && f.index == 0 &&
		o.SenderKey == c.peer && o.ReceiverKey == c.local.Key: // the first data
		m = mapping{ssn: 1, u: 0, n: int64(o.CapableDataLen)}
	case o.Present&mptcp.DSS != 0 && o.HasMapping:
		if o.DataLen == 0 {
			return 0, false
		}
		m.ssn = expand(ssn, uint32(o.SSN))
		m.u = c.mappedAt(o)
		m.n = int64(o.DataLen)
		if m.n == 1 && o.DataFIN { // the mapping is of the DATA_FIN alone
			return f.mapped(ssn, int64(len(g.payload)))
		}
		if o.DataFIN {
			m.n--
		}
		f.remember(m)
	default:
		return f.mapped(ssn, int64(len(g.payload)))
	}
	if ssn < m.ssn || ssn+int64(len(g.payload)) > m.ssn+m.n {
		return 0, false
	}
	return m.u + ssn - m.ssn, true
}

// mappedAt is the uplink position of the DSN of o's mapping.
func (c *Conn) mappedAt(o *mptcp.Options) int64 {
	if o.DSN64 {
		return c.up.next + int64(o.DSN-uint64(c.idsnA)-1-uint64(c.up.next))
	}
	return expand(c.up.next, uint32(o.DSN)-uint32(c.idsnA)-1)
}

// remember keeps m for segments that come without a mapping.
func (f *Subflow) remember(m mapping) {
	k, n := pastMapping{ssn: uint32(m.ssn), u: uint32(m.u)}, uint16(m.n)
	if f.maps[0] != k || f.mapsLen[0] != n {
		copy(f.maps[1:], f.maps[:])
		copy(f.mapsLen[1:], f.mapsLen[:])
		f.maps[0], f.mapsLen[0] = k, n
	}
}

// mapped finds the n bytes at ssn in the mappings remembered.
func (f *Subflow) mapped(ssn, n int64) (u int64, ok bool) {
	for i, m := range f.maps {
		if x := uint32(ssn) - m.ssn; f.mapsLen[i] > 0 && int64(x)+n <= int64(f.mapsLen[i]) {
			return expand(f.conn.up.next, m.u+x), true
		}
	}
	return 0, false
}

// uplinkPayload sends the payload of g, SSN ssn, to the server or answers it. It
// reports true if buf is used up.
func (p *Proxy) uplinkPayload(f *Subflow, g *segment, ssn int64) (used bool) {
	c := f.conn
	n := int64(len(g.payload))
	u, ok := p.position(f, g, ssn)
	if !ok {
		p.noPosition(f, g)
		return true
	}
	if !c.up.wants(u, n) || f.contradicts(ssn, u) {
		p.discard(g.buf, &p.count.DropBadMapping)
		return true
	}
	if c.checksum && !p.intact(f, g, u, ssn) {
		return true
	}
	if c.convert != nil && u < c.convert.first {
		skip := min(n, c.convert.first-u) // the message to the converter, or its SYN's payload
		g.payload = g.payload[skip:]
		g.paySum = packet.Fold(packet.Sum(g.payload))
		if u, ssn, n = u+skip, ssn+skip, n-skip; n == 0 {
			p.ackUE(f, f.ueTSval)
			return false
		}
	}
	if first, ok := f.up.First(); ok && ssn > first.At && c.crowded(&f.up) {
		p.discard(g.buf, &p.count.DropScattered)
		return true
	}
	if ssn+n <= f.rcvNext || u+n <= c.up.acked && (n > 1 || c.ended()) {
		// The server has it: only our acknowledgment was lost, or it came another way.
		p.count.UplinkRetrans += uint64(n)
		if ssn+n > f.rcvNext {
			f.up.Insert(&p.maps, dsm.Run{At: ssn, To: u, N: n})
			f.advance()
		}
		p.ackUE(f, f.ueTSval)
		return false
	}
	if f.up.Empty() {
		f.tsWaiting = g.opt.tsval
	}
	fits := n
	if over := u + n - c.up.rightEdge; over > 0 && (n > 1 || over > 1) { // but a window probe of one byte
		fits = max(0, n-over)
		p.count.CutAtWindow += uint64(n - fits)
		c.noteVoid(u+fits, n-fits)
		f.up.Insert(&p.maps, dsm.Run{At: ssn + fits, To: u + fits, N: n - fits, Sub: voidRun})
	}
	if u < c.up.next {
		p.count.UplinkRetrans += uint64(min(n, c.up.next-u))
		p.voidStuck(f, ssn, u, n)
	}
	if fits > 0 {
		f.up.Insert(&p.maps, dsm.Run{At: ssn, To: u, N: fits})
		c.up.next = max(c.up.next, u+fits)
		p.count.UplinkBytes += uint64(fits)
		flags, tos, ttl := g.flags&packet.PSH, g.in.TOS, g.ttl()
		if fin := c.up.fin; fin != none && u+fits == fin {
			flags |= packet.FIN
			c.up.finSent, c.up.finAt = true, p.now.stamp()
		}
		p.toServer(c, g.buf, g.keepPayload(int(fits)), u, flags, tos, ttl)
	}
	if f.backup {
		p.stray(f)
	}
	if f.advance() {
		p.ackUE(f, f.ueTSval)
	}
	return fits > 0
}

// wants says whether the n bytes at u lie near the server's window: a UE may run over its
// right edge by a window (Linux puts a new DATA_ACK and an older, larger window together),
// and a subflow that stood still repeats data that went over others long ago: it gets no
// further unless it is acknowledged.
func (u *uplink) wants(pos, n int64) bool {
	return pos+n >= u.acked-maxAhead && pos <= u.rightEdge+int64(u.window)+slack
}

// contradicts says whether data at ssn wait for the server under another position than u.
// A mapping holds once it was declared (RFC 8684 §3.3.1); what differs later is not taken.
func (f *Subflow) contradicts(ssn, u int64) bool {
	r, ok := f.up.At(ssn)
	return ok && r.ToOf(ssn) != u
}

// advance moves rcvNext over what the server has acknowledged or SACKed and what was
// cut off, and over the UE's FIN, which makes the subflow a closing one; it reports whether
// it moved.
func (f *Subflow) advance() (moved bool) {
	c := f.conn
	for r, ok := f.up.First(); ok; r, ok = f.up.First() {
		if r.At > f.rcvNext {
			break
		}
		at := max(r.At, f.rcvNext)
		to := c.covered(r, at)
		moved = moved || to > f.rcvNext
		f.rcvNext = max(f.rcvNext, to)
		f.up.ReleaseTo(&c.session.proxy.maps, f.rcvNext)
		if to < r.End() {
			break
		}
	}
	if f.fin != none && f.rcvNext == f.fin {
		f.rcvNext++
		moved = true
		if f.live() {
			f.state, f.path.backoff = subflowClosing, 0
			c.refresh()
		}
	}
	return moved
}

// covered is the SSN up to which run r, from at on, may be acknowledged on a subflow.
func (c *Conn) covered(r dsm.Run, at int64) int64 {
	if r.Sub == voidRun {
		return r.End()
	}
	u, end := r.ToOf(at), r.To+r.N
	for u < end {
		if u < c.up.acked {
			u = min(end, c.up.acked)
			continue
		}
		k, ok := c.up.sacked.Containing(u)
		if !ok {
			break
		}
		u = min(end, k.To)
	}
	return at + u - r.ToOf(at)
}

// uplinkPureAck forwards what g acknowledges, if the server is to hear of it: also what is
// a duplicate to it, where only that tells of a loss. moved says that g acknowledges more
// of f than before: then that it is no news is because the UE has the data from elsewhere.
func (p *Proxy) uplinkPureAck(f *Subflow, g *segment, news, moved bool) {
	c := f.conn
	duplicate := !news && !c.sackPermitted && f.acked < f.next && !(moved && !f.lagging()) && !f.fillable() &&
		len(g.payload) == 0 && g.opt.mp.Present&^mptcp.DSS == 0
	if t := &f.path; duplicate && t.provoked > 0 {
		t.provoked--
		duplicate = false
	}
	if !news && !c.up.probing && !duplicate || c.ended() && c.down.ackSent == c.down.acked {
		p.pool.Put(g.buf)
		return
	}
	g.keepPayload(0)
	p.ackServer(c, g.buf)
}

// uplinkProbe takes a keep-alive or window probe of the UE's TCP: an old SN without
// payload. It becomes one of ours, on whatever subflow it came, since the others do not
// probe the server's window then; more than one in probeInterval are answered.
func (p *Proxy) uplinkProbe(f *Subflow, g *segment) (used bool) {
	c := f.conn
	if p.now.since(c.up.probed) < probeInterval || c.ended() {
		p.ackUE(f, f.ueTSval)
		return false
	}
	c.up.probed = p.now.stamp()
	c.up.echo = f.index
	g.keepPayload(0)
	p.toServer(c, g.buf, 0, c.up.next-1, 0, 0, defaultTTL)
	return true
}
