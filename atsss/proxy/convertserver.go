package proxy

import (
	"github.com/braid-upf/braid/atsss/convert"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// The handshake of a converted connection. The server is asked before the UE is answered
// (RFC 8803 §4.1), so that what our SYN/ACK settles with the UE is what the server's did.
// The UE's repetitions of its SYN drive ours.

// connectLife is how long a server may take to answer. A Linux client gives MPTCP up with
// its fourth SYN, after 7 s, for the whole host and an hour if only that is answered: the
// error comes before it.
const connectLife = 6000 * millisecond

// proceed goes on with c, whose UE has made its request: g is its SYN, or the first segment
// with payload of a UE whose SYN had none.
func (p *Proxy) proceed(c *Conn, g *segment) {
	v := c.convert
	syn := g.flags&packet.SYN != 0
	switch {
	case v.alone:
		if syn {
			p.answerSYN(c, g.buf)
		} else {
			p.confirmed(c, g.buf)
		}
		return
	case syn:
		p.pool.Put(g.buf)
	default:
		v.held = g.buf
	}
	c.state = stateSYN
	v.began = p.now.stamp()
	p.arm(c, p.now+connectLife)
	p.askServer(c)
}

// synOf takes what the UE's SYN g, which may be a repetition, says of itself.
func (p *Proxy) synOf(c *Conn, g *segment) {
	v, f := c.convert, c.subflows[0]
	c.up.tsval = g.opt.tsval
	f.ueTSval, f.tsvalAt = g.opt.tsval, p.now.stamp()
	v.plain = v.plain || g.opt.mp.Present&mptcp.Capable == 0
	if v.waiting { // and takes no message now
		return
	}
	c.ecn = ecnOff
	if g.flags&ecnSYN == ecnSYN && !v.alone {
		c.ecn = ecnOn
	}
	c.synData = uint16(len(g.payload))
}

// repeatedConvert takes the UE's repetition of its SYN, with or without its payload.
func (p *Proxy) repeatedConvert(c *Conn, g *segment) {
	v := c.convert
	if n := len(g.payload); n != 0 && n != int(v.payload) && !v.waiting {
		p.discard(g.buf, &p.count.DropSYN)
		return
	}
	p.synOf(c, g)
	if c.state == stateSYN {
		p.pool.Put(g.buf)
		p.askServer(c)
		return
	}
	p.answerSYN(c, g.buf)
}

// askServer sends the SYN to the server. What the UE's SYN offered is offered to it.
func (p *Proxy) askServer(c *Conn) {
	v := c.convert
	o := p.opt()
	mss := max(minMSS, min(v.mss, c.session.mss(c.v6))) - dssRoom
	o.negotiation(mss, c.sackPermitted, c.timestamps, c.up.tsval, 0, c.scaled, c.ueScale)
	if v.wantsMPTCP {
		o.bytes(mptcp.AppendCapableSYN(p.scratch[:0], mptcp.FlagHMACSHA256))
	}
	o.bytes(v.fastOpen)
	flags := packet.SYN
	if c.ecn != ecnOff {
		flags |= ecnSYN
	}
	h := shape{sn: v.firstSN() - 1, flags: flags, window: field(c.down.rightEdge, 0), ttl: defaultTTL}
	c.n6(&h)
	buf := p.pool.Get()
	h.write(buf, 0, o)
	p.toN6(c, buf)
}

// firstSN is the SN of the first byte of the server's stream.
func (v *conversion) firstSN() uint32 { return v.isn + 1 + uint32(v.message) }

// n6 sets the ends of h, a packet for the server.
func (c *Conn) n6(h *shape) {
	f := c.subflows[0]
	h.src, h.dst, h.srcPort, h.dstPort = &f.ue, &c.srv, f.uePort, c.srvPort
	h.v6, h.addrs = c.v6, f.addrs
	if v := c.convert; v != nil {
		h.src, h.dst, h.srcPort, h.dstPort = &v.ue, &v.srv, v.uePort, v.srvPort
		h.v6, h.addrs = v.v6, v.addrs
	}
}

// serverHandshake takes a packet of the server before the UE's third ACK.
func (p *Proxy) serverHandshake(c *Conn, g *segment) {
	v := c.convert
	answers := g.flags&packet.ACK != 0 && g.tcp.AckSN() == v.firstSN()
	switch {
	case g.flags&packet.RST != 0:
		if !answers && !(c.state == stateSYNACK && g.tcp.SN() == c.srvISN+1+uint32(v.base)) {
			p.discard(g.buf, &p.count.DropReset)
			return
		}
		p.pool.Put(g.buf)
		p.fail(c, convert.ConnectionReset, nil)
	case c.state == stateSYN && g.flags&packet.ACK != 0 && !answers:
		// About an earlier connection (RFC 9293 §3.10.7.3).
		p.resetServerAt(c, g.tcp.AckSN())
		p.discard(g.buf, &p.count.DropStale)
	case c.state == stateSYN && answers && g.flags&packet.SYN != 0:
		p.serverAgreed(c, g)
	default: // a repetition: the UE has its answer, see expireSYNACK
		p.discard(g.buf, &p.count.DropBeforeKeys)
	}
}

// Unreachable takes an ICMP error from N6 that came to an address of session s; q is what
// it quotes. It is false if that is of no converted connection. If it is the SYN, and the
// error is a Destination Unreachable, the UE is told (RFC 8803 §6.2.8); any later one is
// none that ends a connection (RFC 5461), and the server is tried on.
func (p *Proxy) Unreachable(now Time, s *Session, q *packet.Quote, out *Out) bool {
	f := p.flows.find(flowKey{session: s, ue: &q.Src, srv: &q.Dst, uePort: q.SrcPort, srvPort: q.DstPort})
	if f == nil || f.conn.convert == nil || f.conn.convert.srv != q.Dst {
		return false
	}
	p.now, p.out = now, out
	p.count.ConvertICMP++
	c := f.conn
	if c.state == stateSYN && q.Unreachable && q.SN == c.convert.firstSN()-1 {
		p.fail(c, convert.DestinationUnreachable, []byte{q.Code})
		p.runAside()
	}
	return true
}

// serverAgreed takes the server's first SYN/ACK g.
func (p *Proxy) serverAgreed(c *Conn, g *segment) {
	v, f := c.convert, c.subflows[0]
	early, earlyISN := v.held != nil, f.ourISN
	p.negotiated(c, g)
	c.srvMSS = min(c.srvMSS, c.session.mss(v.v6))
	m := convert.Start(nil)
	if v.info {
		m = convert.AppendSupported(m, supported)
	}
	if v.extended {
		m = convert.AppendExtended(m, g.tcp.Options())
	}
	convert.Finish(m, 0)
	v.reply, v.base = m, int64(len(m))
	c.srvISN -= uint32(v.base)
	c.down.sackEdge = v.base // the server is acknowledged no less, see ackableBelow
	f.ourISN = c.srvISN
	p.pool.Put(g.buf)
	if early { // what the UE has agreed to stands
		f.ourISN = earlyISN
		p.confirmed(c, nil)
		return
	}
	p.answerSYN(c, nil)
}

// confirmed goes on with what a UE sent whose SYN had no payload, now that there is an
// answer to its request: in buf, or held back.
func (p *Proxy) confirmed(c *Conn, buf *packet.Buffer) {
	v := c.convert
	v.waiting, c.state = false, stateSYNACK
	if buf == nil {
		buf, v.held = v.held, nil
	}
	packet.Parse(buf.Bytes(), &p.info) // it was read before
	p.seg.read(buf, &p.info)
	f := c.subflows[0]
	p.seg.access, p.seg.pdr = f.access, f.pdr
	p.convertHandshake(f, &p.seg)
}

// answerSYN sends the SYN/ACK to the UE, in buf if it is not nil. It acknowledges the payload
// of the UE's last SYN: less or more than that, and a Linux client speaks no MPTCP.
func (p *Proxy) answerSYN(c *Conn, buf *packet.Buffer) {
	v, f := c.convert, c.subflows[0]
	if c.synTaken = c.synData; v.plain { // its TCP sends again what is not acknowledged
		c.synTaken = min(c.synTaken, v.message)
	}
	c.setOrigin(uint32(c.synTaken))
	o := p.opt()
	mss := min(c.srvMSS, c.session.mss(c.v6))
	o.negotiation(mss, c.sackPermitted, c.timestamps, c.down.tsval, c.up.tsval, c.scaled, c.srvScale)
	if !v.plain {
		flags := uint8(mptcp.FlagHMACSHA256)
		if c.checksum {
			flags |= mptcp.FlagChecksum
		}
		o.bytes(mptcp.AppendCapableSYNACK(p.scratch[:0], flags, c.local.Key))
	}
	flags := packet.SYN | packet.ACK
	if c.ecn != ecnOff {
		flags |= packet.ECE
	}
	if f.path.waiting == 0 {
		f.path.waiting = p.now.stamp()
		f.path.time(1, p.now)
	} else {
		f.path.untime()
	}
	v.sent = p.now.stamp()
	p.arm(c, p.now+askInterval<<v.tries)
	h := shape{
		src: &c.srv, dst: &f.ue, srcPort: c.srvPort, dstPort: f.uePort, v6: c.v6, ttl: defaultTTL,
		sn: f.ourISN, ack: f.ueISN + 1, flags: flags, window: field(int64(c.up.window)-max(0, int64(c.synTaken)-int64(v.message)), 0),
	}
	if buf == nil {
		buf = p.pool.Get()
	}
	buf.Reset()
	h.write(buf, 0, o)
	p.emit(f, buf)
}

// askInterval is how long a third ACK may be missing before it is asked for; the time
// doubles. The UE may have nothing else to say that would bring it.
const askInterval = 1000 * millisecond

// expireSYNACK looks at c, whose UE has been sent a SYN/ACK and not answered.
func (p *Proxy) expireSYNACK(c *Conn, quiet Time) {
	v := c.convert
	next := askInterval<<v.tries - p.now.since(v.sent)
	switch {
	case quiet >= handshakeLife:
		p.giveUp(c)
	case next > 0:
		p.arm(c, p.now+next)
	default:
		v.tries = min(v.tries+1, maxBackoff)
		v.sent = p.now.stamp()
		p.arm(c, p.now+askInterval<<v.tries)
		p.askUE(c)
	}
}

// askUE asks for the third ACK with an old SN, which a UE that has the SYN/ACK answers, and
// one that waits for it ignores (RFC 9293 §3.10.7.3, §3.10.7.4). The SYN/ACK itself is not
// repeated unless the UE repeats its SYN: one that acknowledges a payload which is no longer
// in the SYN that the UE has sent meanwhile has Linux keep its key to itself.
func (p *Proxy) askUE(c *Conn) {
	f := c.subflows[0]
	o := p.opt()
	if c.timestamps {
		o.timestamps(c.down.tsval, c.up.tsval)
	}
	h := shape{
		src: &c.srv, dst: &f.ue, srcPort: c.srvPort, dstPort: f.uePort, v6: c.v6, ttl: defaultTTL,
		sn: f.ourISN, ack: f.ueISN + 1, flags: packet.ACK, window: field(int64(c.up.window), c.srvScale),
	}
	buf := p.pool.Get()
	h.write(buf, 0, o)
	p.emit(f, buf)
}

// setOrigin has the DSN space of c begin behind n bytes that its UE sent outside it.
func (c *Conn) setOrigin(n uint32) {
	c.ueISN = c.convert.isn + n
	c.subflows[0].ueISN = c.ueISN
}

// What our SYN/ACK offers before anything is known of the server: no more than any has, a
// segment that any path carries, and a window for the request.
const (
	earlyMSS    = 1280 - 60
	earlyWindow = 2 * earlyMSS
)

// answerEarly answers a SYN without payload, the first of c. It may be the first because
// the one with the request was lost, since Linux repeats it without its payload; or the UE
// asks for a Fast Open cookie, or knows no Fast Open: the request comes with its third ACK.
// RFC 8803 would have such a SYN ignored, which no such client would survive.
func (p *Proxy) answerEarly(c *Conn, g *segment) {
	v, f := c.convert, c.subflows[0]
	p.count.ConvertEarly++
	v.waiting = true
	c.ecn, c.timestamps, c.scaled, c.ueScale, f.scale = ecnOff, false, false, 0, 0
	c.srvMSS, c.up.window = earlyMSS, earlyWindow
	f.ourISN = uint32(p.rand())
	c.state = stateSYNACK
	p.answerSYN(c, g.buf)
}

// convertHandshake takes a packet of the UE, other than a SYN, before the third ACK.
func (p *Proxy) convertHandshake(f *Subflow, g *segment) {
	c, o := f.conn, &g.opt.mp
	v := c.convert
	at := g.tcp.SN() - v.isn - 1 // of its first byte in the UE's stream, SYN data counted
	capable := o.Present&mptcp.Capable != 0 && o.CapableLen >= 20
	switch {
	case g.flags&packet.RST != 0:
		if at != 0 && at != uint32(c.synTaken) {
			p.discard(g.buf, &p.count.DropReset)
			return
		}
		p.pool.Put(g.buf)
		p.giveUp(c)
	case c.state == stateSYN || g.flags&(packet.SYN|packet.ACK) != packet.ACK:
		p.discard(g.buf, &p.count.DropStale)
	case g.tcp.AckSN() != f.sn(1):
		p.discard(g.buf, &p.count.DropBadACK)
	case capable && (o.ReceiverKey != c.local.Key || v.plain):
		p.discard(g.buf, &p.count.DropBadKey)
	case v.waiting && at == 0 && len(g.payload) > 0:
		p.lateRequest(c, g)
	case capable && p.begins(c, g, at):
		p.establish(c, f, g)
	case v.waiting || (capable || o.Present != 0 || o.Ignored != 0) && !v.keyless(g, at):
		p.discard(g.buf, &p.count.DropStale)
	default:
		if !v.plain {
			p.count.FallbackACK++
		}
		p.relayConverted(c, g, at)
	}
}

// keyless says whether the UE of packet g, whose first byte is the at-th of what it ever sent,
// believes in MPTCP but will never tell its key: a Linux client that got the SYN/ACK for a
// SYN with a payload after it had sent one without. It has no MP_CAPABLE in what comes right
// behind its SYN, however often it is asked, and falls back on data that have no DSS.
func (v *conversion) keyless(g *segment, at uint32) bool {
	return v.tries > 1 && at == uint32(v.payload) && g.opt.mp.Present&mptcp.Capable == 0
}

// giveUp forgets c, whose UE has, and tells the server.
func (p *Proxy) giveUp(c *Conn) {
	if v := c.convert; c.state == stateSYNACK && v.listed {
		p.resetServerAt(c, v.firstSN())
	}
	p.forget(c)
}

// lateRequest takes the request of a UE whose SYN had none.
func (p *Proxy) lateRequest(c *Conn, g *segment) {
	var q convert.Request
	verdict := convert.Parse(g.payload, &q)
	if verdict == convert.Absent || verdict == convert.Reset {
		p.count.ConvertErrors++
		f := c.subflows[0]
		h := shape{
			src: &c.srv, dst: &f.ue, srcPort: c.srvPort, dstPort: f.uePort, v6: c.v6, ttl: defaultTTL,
			sn: g.tcp.AckSN(), flags: packet.RST,
		}
		g.buf.Reset()
		h.write(g.buf, 0, p.opt())
		p.emit(f, g.buf)
		p.forget(c)
		return
	}
	p.request(c, &q, verdict, g.payload)
	p.proceed(c, g)
}

// begins says whether the third ACK g, whose first byte is the at-th of what the UE ever
// sent, tells where the DSN space begins: behind the payload of the SYN, if our SYN/ACK
// acknowledged that; if not, behind the payload of g, which is that of the SYN once more
// and comes without a mapping (RFC 8684 §B.1); or, if the SYN had none, with the message.
// Positions are counted from there.
func (p *Proxy) begins(c *Conn, g *segment, at uint32) bool {
	v, f := c.convert, c.subflows[0]
	n, h := uint32(len(g.payload)), uint32(v.message)
	switch {
	case at == 0 && n >= h && h > 0 && g.opt.mp.CapableLen == 20:
		c.setOrigin(n)
		v.userData = nil // the UE sends them until the server has them
	case at == 0 && n > 0 && v.payload == 0:
		c.setOrigin(0)
		v.userData = nil
	case v.payload > 0 && at >= uint32(v.payload) && at-uint32(v.payload) <= c.up.window+slack:
		c.setOrigin(uint32(v.payload))
	default:
		return false
	}
	v.first = int64(int32(v.firstSN() - c.srvSN(0)))
	f.rcvNext = 1
	if at == 0 {
		f.rcvNext = 1 + v.first
	} else if v.alone {
		v.first = 0
	}
	f.ackSent = uint32(f.rcvNext)
	c.up.acked, c.up.next, v.heard = v.first, v.first, v.first
	c.up.rightEdge = v.first + int64(c.up.window)
	return true
}
