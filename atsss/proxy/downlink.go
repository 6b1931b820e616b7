package proxy

import (
	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/packet"
)

// downlinkData takes a packet of the server on an established connection.
func (p *Proxy) downlinkData(c *Conn, g *segment) {
	d := expand(c.down.next, g.tcp.SN()-c.srvISN-1)
	u := expand(c.up.acked, g.tcp.AckSN()-c.ueISN-1)
	if !p.downlinkAcceptable(c, g, d, u) {
		return
	}
	if g.flags&packet.RST != 0 {
		p.downlinkReset(c, g, d)
		return
	}
	if g.opt.hasTS && int32(g.opt.tsval-c.down.tsval) >= 0 {
		c.down.tsval, c.down.tsecr = g.opt.tsval, g.opt.tsecr
	}
	acked, sacked := p.downlinkAck(c, g, u)
	if c.ecn != ecnOff {
		c.downlinkECN(g)
	}
	n := int64(len(g.payload))
	fin := g.flags&packet.FIN != 0
	newEdge := uint32(c.up.rightEdge) != c.up.edgeSent
	quiet := n == 0 && !fin
	probe := quiet && (d == c.down.next-1 || d == c.down.ackSent-1)
	switch {
	case probe || n == 1 && d < c.down.acked:
		p.downlinkProbe(c)
		p.pool.Put(g.buf)
	case quiet:
		p.pool.Put(g.buf)
	default:
		p.downlinkStream(c, g, d, n, fin)
	}
	if acked || sacked || newEdge || quiet && !probe {
		p.acknowledgeUE(c, sacked, quiet && !acked && !newEdge)
	}
	if acked && c.ended() {
		p.finish(c)
	}
}

// downlinkAck takes the server's acknowledgment of u and window; acked and sacked say what
// moved.
func (p *Proxy) downlinkAck(c *Conn, g *segment, u int64) (acked, sacked bool) {
	window := int64(g.tcp.Window()) << c.srvScale
	c.up.rightEdge = max(c.up.rightEdge, u+window)
	c.up.window = max(c.up.window, uint32(window))
	if u > c.up.acked {
		c.up.acked = u
		c.up.sacked.TrimBelow(&p.maps, u)
		c.up.void.TrimBelow(&p.maps, u)
		if c.up.sacked.Len() > 0 && c.up.sacked.Get(0).From == u {
			// The server has dropped what it SACKed (RFC 2018 §8). The UE has not at data level.
			p.count.ServerReneged++
			c.up.sacked.Free(&p.maps)
		}
		acked = true
	}
	for i := range g.opt.sacks {
		from, to := expand(u, g.opt.sack[i][0]-c.ueISN-1), expand(u, g.opt.sack[i][1]-c.ueISN-1)
		if from > c.up.acked && from < to && to <= c.up.limit() && c.up.sacked.Add(&p.maps, from, to) {
			sacked = true
		}
	}
	if acked || sacked {
		for _, s := range c.subflows {
			s.advance()
		}
	}
	return acked, sacked
}

// acknowledgeUE tells the UE what the server has acknowledged: each subflow that its
// own acknowledgment moved on, and one if only numbers shared by all did.
func (p *Proxy) acknowledgeUE(c *Conn, sacked, duplicate bool) {
	told := false
	for _, s := range c.subflows {
		if !s.live() {
			if s.state == subflowClosing && uint32(s.rcvNext) != s.ackSent {
				p.ackUE(s, s.echoServer())
			}
			continue
		}
		switch {
		case uint32(s.rcvNext) != s.ackSent,
			sacked && !s.up.Empty(),
			duplicate && !c.sackPermitted && !s.up.Empty(),
			c.up.fin != none && c.up.acked > c.up.fin && s.dataAck != uint32(c.up.acked):
			p.ackUE(s, s.echoServer())
			told = true
		case s.dataAck == uint32(c.up.acked) && s.edge == uint32(c.up.rightEdge):
			told = true
		}
	}
	if c.up.echo != nowhere {
		// A subflow that the UE gave up may wait for the window to send its FIN.
		if s := c.subflows[c.up.echo]; duplicate && (s.live() || s.state == subflowClosing) {
			p.ackUE(s, s.echoServer())
		}
		c.up.echo = nowhere
	}
	if s := c.active(); !told && s != nil {
		p.ackUE(s, s.echoServer())
	}
}

// downlinkStream takes payload [d, d+n) of the server and its FIN.
func (p *Proxy) downlinkStream(c *Conn, g *segment, d, n int64, fin bool) {
	if c.down.fin != none && d+n > c.down.fin {
		p.discard(g.buf, &p.count.DropAfterFIN)
		return
	}
	end := d + n
	if n > 0 && end <= c.down.acked {
		// The UE has it all: our acknowledgment was lost.
		p.count.DownlinkRetrans += uint64(n)
		p.ackServer(c, nil)
		n = 0
	}
	if over := end - c.down.rightEdge; over > 0 && n > 1 {
		n, fin = n-min(over, n), false
		p.cutDownlink(c, g, n)
	}
	if n > 0 {
		if d < c.down.acked {
			skip := c.down.acked - d
			g.payload = g.payload[skip:]
			g.paySum = packet.Fold(packet.Sum(g.payload))
			d += skip
		}
		p.sendStream(c, g, d)
	} else {
		p.pool.Put(g.buf)
	}
	if fin {
		if c.down.fin == none {
			c.down.fin = end
			p.arm(c, p.now+tickCheck)
		}
		if c.down.acked > end {
			p.ackServer(c, nil)
			return
		}
		p.dataFIN(c)
	}
}

// cutDownlink leaves the first n bytes of g's payload; the others are beyond the UE's
// window, as when a server took the window of an old ACK for a new one. The UE would
// acknowledge them on their subflow and drop them.
func (p *Proxy) cutDownlink(c *Conn, g *segment, n int64) {
	cut := len(g.payload) - int(n)
	p.count.CutAtWindow += uint64(cut)
	g.in.End -= cut
	g.payload = g.payload[:n]
	g.paySum = packet.Fold(packet.Sum(g.payload))
	if n == 0 {
		p.ackServer(c, nil)
	}
}

// piece is the next part of a payload that goes on one subflow in one segment, and in
// Redundant mode on a second one. It is filled in place: returned, it would be copied from
// call to call.
type piece struct {
	s   *Subflow
	ssn int64
	n   int64

	twin    *Subflow // nil = none
	twinSSN int64
}

// sendStream sends g.payload, whose first byte is position d, in as many segments as
// subflows, mappings and the MTU ask for.
func (p *Proxy) sendStream(c *Conn, g *segment, d int64) {
	payload := g.payload
	flags, tos, ttl := g.flags&packet.PSH, g.in.TOS, g.ttl()
	var pc piece
	if !p.nextPiece(&pc, c, d, int64(len(payload))) {
		p.pool.Put(g.buf)
		return
	}
	if pc.n == int64(len(payload)) {
		sum := g.paySum
		if pc.twin != nil {
			p.sendCopy(&pc, payload, sum, d, flags, tos, ttl)
		}
		g.buf.TrimFront(g.in.End - len(payload))
		g.buf.SetLen(len(payload))
		p.dataUE(pc.s, g.buf, sum, d, pc.ssn, flags, tos, ttl)
		return
	}
	for {
		last := pc.n == int64(len(payload))
		buf := p.pool.Get()
		buf.SetLen(copy(buf.Room(), payload[:pc.n]))
		f := flags
		if !last {
			f = 0
		}
		sum := packet.Fold(packet.Sum(buf.Bytes()))
		if pc.twin != nil {
			p.sendCopy(&pc, buf.Bytes(), sum, d, f, tos, ttl)
		}
		p.dataUE(pc.s, buf, sum, d, pc.ssn, f, tos, ttl)
		if last {
			break
		}
		payload, d = payload[pc.n:], d+pc.n
		if !p.nextPiece(&pc, c, d, int64(len(payload))) {
			break
		}
	}
	p.pool.Put(g.buf)
}

// nextPiece fills pc: it finds or makes the mapping of the first of n bytes from position d on, and
// how many of them it covers in one segment.
func (p *Proxy) nextPiece(pc *piece, c *Conn, d, n int64) (ok bool) {
	if d >= c.down.next {
		return p.newPiece(pc, c, d, n)
	}
	// The server sends this again, or fills a hole that it left.
	limit := c.down.next
	if at := c.down.runs.Search(d); at.OK() {
		r := at.Run()
		if r.At <= d {
			return p.mappedPiece(pc, c, r, d, min(n, r.End()-d))
		}
		limit = r.At
	}
	return p.remap(pc, c, c.pick(p), d, min(n, limit-d))
}

// mappedPiece takes n bytes from d that run r has. They go where they went before
// unless that subflow cannot carry them and another can.
func (p *Proxy) mappedPiece(pc *piece, c *Conn, r dsm.Run, d, n int64) (ok bool) {
	s := c.subflows[r.Sub]
	*pc = piece{s: s, ssn: r.ToOf(d), n: min(n, s.maxPayload())}
	if !c.down.copies.Empty() {
		c.withCopy(pc, d)
	}
	if !c.again(pc) {
		if t := c.pick(p); t != nil && c.carries(t) {
			p.count.DownlinkRetrans += uint64(pc.n)
			s.path.untime()
			return p.remap(pc, c, t, d, pc.n)
		}
		if !pc.s.live() {
			p.count.DropNoSubflow++
			return false
		}
	}
	if p.plug(pc.s) || pc.twin != nil && p.plug(pc.twin) {
		return p.nextPiece(pc, c, d, n) // it may have lost its place
	}
	p.count.DownlinkRetrans += uint64(pc.n)
	p.repeat(pc.s, pc.ssn, pc.n)
	if pc.twin != nil {
		p.repeat(pc.twin, pc.twinSSN, pc.n)
	}
	return true
}

// repeat notes that n bytes go on s again under ssn.
func (p *Proxy) repeat(s *Subflow, ssn, n int64) {
	s.sentAgain(n)
	s.path.untime()
	s.repeated(ssn, p.now)
	p.sending(s)
}

// newPiece maps new data, and the hole before them if there is one, to the subflow
// that steering gives.
func (p *Proxy) newPiece(pc *piece, c *Conn, d, n int64) (ok bool) {
	s := c.pick(p)
	if s == nil {
		p.count.DropNoSubflow++
		return false
	}
	at, gap := c.down.next, d-c.down.next
	s, t := c.twins(c.extendable(s), gap+n)
	n = min(n, s.maxPayload())
	if !s.spare(gap + n) {
		p.count.DropScattered++
		return false
	}
	if t != nil {
		n = min(n, t.maxPayload())
	}
	p.assign(c, s, at, gap+n)
	c.down.next = d + n
	pc.s, pc.ssn, pc.n, pc.twin = s, s.next-n, n, nil
	s.path.time(s.next, p.now)
	p.sending(s)
	if t != nil {
		p.assignCopy(c, t, at, gap+n)
		pc.twin, pc.twinSSN = t, t.next-n
		t.path.time(t.next, p.now)
		p.sending(t)
	}
	return true
}

// spare says whether n more SSNs may be used on s: there is a bound on the pieces of its
// mapping, and on what is outstanding, whose numbers must not be taken for others.
func (s *Subflow) spare(n int64) bool {
	return s.live() && s.next+n-s.acked <= maxAhead && !s.conn.crowded(&s.down)
}

// extendable is the subflow for new data where steering gives s: s, but with maxRuns
// pieces of the mapping outstanding the subflow of the last, which grows.
func (c *Conn) extendable(s *Subflow) *Subflow {
	if c.down.runs.Len() < maxRuns {
		return s
	}
	last := c.down.runs.End()
	last.Prev()
	return c.subflows[last.Run().Sub]
}

// remap gives n bytes from d, seen before, new SSNs on s.
func (p *Proxy) remap(pc *piece, c *Conn, s *Subflow, d, n int64) (ok bool) {
	if s == nil {
		p.count.DropNoSubflow++
		return false
	}
	n = min(n, s.maxPayload())
	if !s.spare(n) || c.down.runs.Len() >= maxRuns {
		p.count.DropScattered++
		return false
	}
	p.count.Remapped += uint64(n)
	c.down.forget(&p.maps, d, d+n)
	p.assign(c, s, d, n)
	pc.s, pc.ssn, pc.n, pc.twin = s, s.next-n, n, nil
	p.sending(s)
	return true
}

// assign maps n bytes from position d to the next SSNs of s.
func (p *Proxy) assign(c *Conn, s *Subflow, d, n int64) {
	r := dsm.Run{At: d, To: s.next, N: n, Sub: s.index}
	if d >= c.down.next {
		c.down.runs.Append(&p.maps, r)
	} else {
		c.down.runs.Insert(&p.maps, r)
	}
	s.down.Append(&p.maps, dsm.Run{At: s.next, To: d, N: n})
	s.next += n
}

// sending notes that s has data outstanding.
func (p *Proxy) sending(s *Subflow) {
	if s.path.waiting == 0 {
		s.path.waiting = p.now.stamp()
		p.arm(s.conn, p.now+tickCheck)
	}
}

// maxPayload is the most payload of one segment on s.
func (s *Subflow) maxPayload() int64 {
	n := int64(s.session.mss(s.conn.v6)) - dssRoom
	if s.conn.timestamps {
		n -= 12
	}
	return n
}

// downlinkProbe turns a keep-alive or window probe of the server into one that the UE
// always answers, and has the answer forwarded.
func (p *Proxy) downlinkProbe(c *Conn) {
	c.up.probing = true
	if s := c.active(); s != nil {
		p.solicit(s)
		return
	}
	p.ackServer(c, nil)
}

// downlinkReset takes an RST of the server at position d (RFC 5961 §3.2).
func (p *Proxy) downlinkReset(c *Conn, g *segment, d int64) {
	p.pool.Put(g.buf)
	if c.expectedD(d) {
		p.serverReset(c)
		return
	}
	p.count.DropReset++
	if d > c.down.acked {
		p.challengeServer(c)
	}
}
