package proxy

import (
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// finRepeat is how soon a DATA_FIN that the UE repeats on any subflow is worth
// another FIN.
const finRepeat = 150 * millisecond

// uplinkDataFIN takes the DATA_FIN that g carries (RFC 8684 §3.3.3). used says that
// g's buffer is gone already; it reports whether it is now.
func (p *Proxy) uplinkDataFIN(f *Subflow, g *segment, used bool) bool {
	c, o := f.conn, &g.opt.mp
	u := c.mappedAt(o) + int64(o.DataLen) - 1
	if c.up.fin != none && c.up.fin != u || u < c.up.acked-1 || u < c.up.next || !c.up.wants(u, 0) {
		p.count.DropBadMapping++
		return false
	}
	c.up.fin = u
	if c.up.acked > u { // the server has it: our DATA_ACK was lost
		p.ackUE(f, f.ueTSval)
		return false
	}
	if c.up.finSent && p.now.since(c.up.finAt) < finRepeat {
		return false
	}
	c.up.finSent, c.up.finAt = true, p.now.stamp()
	buf := g.buf
	if used {
		buf = p.pool.Get()
	} else {
		g.keepPayload(0)
	}
	p.toServer(c, buf, 0, u, packet.FIN, 0, defaultTTL)
	return true
}

// uplinkFIN takes the UE's FIN, SSN ssn, of one subflow. With both directions ended it
// is the subflow's end; before that the UE gives the subflow up (RFC 8684 §3.3.3). The
// server sees nothing of it.
func (p *Proxy) uplinkFIN(f *Subflow, ssn int64) {
	if f.fin == none {
		f.fin = ssn
		f.advance()
	}
	if f.rcvNext <= f.fin {
		return // data before it are missing: the UE repeats it
	}
	p.ackUE(f, f.ueTSval)
}

// finish ends c after both directions ended: every number that the UE still needs to
// be told has been sent. Subflows are closed by the UE.
func (p *Proxy) finish(c *Conn) {
	if !c.finished {
		c.finished = true
		p.over(c)
		p.arm(c, p.now+lingerLife)
	}
}

// uplinkReset takes an RST at ssn (RFC 5961 §3.2).
func (p *Proxy) uplinkReset(f *Subflow, g *segment, ssn int64) {
	c, o := f.conn, &g.opt.mp
	fast := o.Present&mptcp.FastClose != 0
	p.pool.Put(g.buf)
	if fast && o.FastCloseKey != c.local.Key {
		p.count.DropBadKey++
		return
	}
	if !fast && !f.expectedSSN(ssn) { // the key is proof enough of the other
		p.count.DropReset++
		if ssn > f.rcvNext {
			p.challengeUE(f)
		}
		return
	}
	last := f.live() && o.Present&mptcp.TCPRST == 0 && f.fin == none
	f.state = subflowDead
	c.refresh()
	if c.ended() {
		return
	}
	if fast || last && c.deserted() {
		p.count.ResetByUE++
		p.resetServer(c)
		p.close(c)
	}
}

// deserted says that no subflow of c is left and none is being joined. If the UE has
// closed the last one, by FIN or by an RST with MP_TCPRST, it may join again; a bare RST
// for a live one is from a UE that has lost the connection.
func (c *Conn) deserted() bool {
	for _, s := range c.subflows {
		if s.live() || s.state == subflowJoining {
			return false
		}
	}
	return true
}

// fastClose takes an MP_FASTCLOSE on an ACK (RFC 8684 §3.5).
func (p *Proxy) fastClose(f *Subflow, g *segment) {
	c := f.conn
	p.pool.Put(g.buf)
	if g.opt.mp.FastCloseKey != c.local.Key {
		p.count.DropBadKey++
		return
	}
	p.count.ResetByUE++
	p.resetServer(c)
	for _, s := range c.subflows {
		if s.live() {
			p.resetUE(s, mptcp.AppendTCPRST(p.scratch[:0], mptcp.ReasonUnspecified))
		}
	}
	p.close(c)
}

// serverReset ends c after the server's RST: the UE's application sees a reset only
// with MP_FASTCLOSE, which goes on an RST on every subflow and, since an RST counts
// only at exactly the SN expected (RFC 5961 §3.2), on one ACK too.
func (p *Proxy) serverReset(c *Conn) {
	if c.ended() {
		return // the server answers something late
	}
	p.count.ResetByServer++
	p.fastCloseUE(c)
	p.close(c)
}

// fastCloseUE tells the UE that the connection is gone.
func (p *Proxy) fastCloseUE(c *Conn) {
	option := mptcp.AppendFastClose(p.scratch[:0], c.peer)
	if s := c.active(); s != nil {
		p.withOption(s, option, 0)
	}
	for _, s := range c.subflows {
		if s.live() {
			p.resetUE(s, option)
		}
	}
}

// abort resets both sides of c, which cannot go on.
func (p *Proxy) abort(c *Conn) {
	p.resetServer(c)
	p.fastCloseUE(c)
	p.close(c)
}

// downlinkClosed takes a packet of the server for a connection that was reset: it has
// not seen the reset, or not believed it, and gets one at the SN that it names
// (RFC 9293 §3.5.2).
func (p *Proxy) downlinkClosed(c *Conn, g *segment) {
	if g.flags&(packet.RST|packet.ACK) == packet.ACK {
		p.resetServerAt(c, g.tcp.AckSN())
	}
	p.discard(g.buf, &p.count.DropStale)
}

// uplinkClosed takes a packet of the UE for a connection that was reset: unless it is a
// reset itself, the UE is told again, by RST at the SN that it names and by ACK.
func (p *Proxy) uplinkClosed(f *Subflow, g *segment) {
	p.count.DropStale++
	c := f.conn
	if g.flags&packet.RST == 0 {
		option := mptcp.AppendFastClose(p.scratch[:0], c.peer)
		p.withOption(f, option, 0)
		o := p.opt()
		o.bytes(option)
		h := shape{
			src: &c.srv, dst: &f.ue, srcPort: c.srvPort, dstPort: f.uePort, v6: c.v6, ttl: defaultTTL,
			sn: g.tcp.AckSN(), ack: g.tcp.SN() + uint32(len(g.payload)), flags: packet.RST | packet.ACK,
		}
		buf := p.pool.Get()
		h.write(buf, 0, o)
		p.emit(f, buf)
	}
	p.pool.Put(g.buf)
}
