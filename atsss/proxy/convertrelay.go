package proxy

import (
	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/packet"
)

// A converted connection whose UE speaks plain TCP, from the beginning or since it fell
// back: packets pass between its two faces, SNs unchanged unless the UE was answered before
// the server. Positions are of the server's stream: u = 0 and d = base are its first bytes.
// What is acknowledged to either end is never less than what the messages took.

// relayConverted makes c pass packets from g on, whose first byte is the at-th of what the
// UE ever sent.
func (p *Proxy) relayConverted(c *Conn, g *segment, at uint32) {
	v := c.convert
	p.relay(c)
	v.first = 0
	c.setOrigin(uint32(v.message))
	c.up.acked, v.heard, c.down.acked = 0, 0, 0
	if at <= uint32(v.message) {
		v.userData = nil // the UE sends them
	}
	p.arm(c, p.now+idleLife)
	p.relayUp(c.subflows[0], g)
	if c.state == stateRelay && !c.finished {
		p.pushUserData(c)
		p.sendReply(c)
	}
}

// positionsOfServer moves the origin of positions to where the server's stream begins.
func (c *Conn) positionsOfServer() {
	v := c.convert
	c.up.acked -= v.first
	v.heard -= v.first
	v.first = 0
	c.setOrigin(uint32(v.message))
}

// relayUp takes a packet of the UE on f, the only subflow.
func (p *Proxy) relayUp(f *Subflow, g *segment) {
	c := f.conn
	v := c.convert
	if g.flags&packet.SYN != 0 {
		p.discard(g.buf, &p.count.DropSYN)
		return
	}
	u := int64(int32(g.tcp.SN() - v.firstSN()))
	if u < 0 { // the message, which the server does not see
		g.payload = g.payload[min(-u, int64(len(g.payload))):]
		g.paySum = packet.Fold(packet.Sum(g.payload))
		if u != -1 || len(g.payload) > 0 { // -1 is a probe, for the server to answer
			u = 0
		}
	}
	d := expand(c.down.acked, g.tcp.AckSN()-f.ourISN-1)
	if g.flags&packet.ACK != 0 && d > c.down.acked && d-c.down.acked < maxAhead {
		c.down.acked = d
	}
	if g.opt.hasTS {
		f.ueTSval = g.opt.tsval
	}
	c.up.next = max(c.up.next, u+int64(len(g.payload)))
	c.down.edgeSent = uint32(g.tcp.Window())
	if d < v.base || !c.sackPermitted { // a block would begin at the ACK (RFC 2018 §8)
		g.opt.sacks = 0
	}
	o := p.opt()
	g.plainOptions(o, c.srvISN-f.ourISN)
	h := shape{
		tos: g.in.TOS, ttl: g.ttl(), sn: v.firstSN() + uint32(u), flags: g.flags, window: g.tcp.Window(),
		ack: c.srvAckSN(max(d, v.base)),
	}
	c.n6(&h)
	flags := g.flags
	h.write(g.buf, g.keepPayload(len(g.payload)), o)
	p.toN6(c, g.buf)
	c.relayedConverted(flags)
	p.relayed(c, flags, 1)
}

// relayedConverted has nothing of the converter's sent any more once either end has reset c.
func (c *Conn) relayedConverted(flags uint8) {
	if flags&packet.RST != 0 {
		c.convert.reply, c.convert.userData = nil, nil
	}
}

// relayDown takes a packet of the server, or of the converter.
func (p *Proxy) relayDown(c *Conn, g *segment) {
	f := c.subflows[0]
	if g.flags&packet.SYN != 0 {
		p.pool.Put(g.buf)
		p.relayAck(c) // our third ACK was lost
		return
	}
	u := expand(c.up.acked, g.tcp.AckSN()-c.ueISN-1)
	if g.flags&packet.ACK != 0 && u > c.up.acked && u-c.up.acked < maxAhead {
		c.up.acked = u
	}
	if g.opt.hasTS && int32(g.opt.tsval-c.down.tsval) >= 0 {
		c.down.tsval, c.down.tsecr = g.opt.tsval, g.opt.tsecr
	}
	c.up.window = uint32(g.tcp.Window()) << c.srvScale
	sn, ack, window := g.tcp.SN()+f.ourISN-c.srvISN, g.tcp.AckSN(), g.tcp.Window()
	if n := int64(len(c.convert.userData)); u < n { // our SYN/ACK acknowledged them: a block would begin there
		ack, g.opt.sacks = c.srvSN(n), 0
		window = field(int64(c.up.window)-(n-u), c.srvScale)
	}
	if g.flags&packet.RST != 0 && c.down.acked < c.convert.base { // the UE expects our message yet
		sn = f.sn(1 + c.down.acked)
	}
	o := p.opt()
	g.plainOptions(o, 0)
	h := shape{
		src: &c.srv, dst: &f.ue, srcPort: c.srvPort, dstPort: f.uePort, v6: c.v6, addrs: f.addrs,
		tos: g.in.TOS, ttl: g.ttl(), sn: sn, ack: ack, flags: g.flags, window: window,
	}
	flags := g.flags
	if most := int(f.session.mss(c.v6)) - o.len(); len(g.payload) > most {
		p.relayPieces(f, g, &h, o, most)
	} else {
		h.write(g.buf, g.keepPayload(len(g.payload)), o)
		p.emit(f, g.buf)
	}
	c.relayedConverted(flags)
	p.relayed(c, flags, 2)
}

// relayPieces sends the payload of g, of a server that takes no notice of the MSS, in as
// many segments as it takes, of at most so many bytes each, with headers of shape h.
func (p *Proxy) relayPieces(f *Subflow, g *segment, h *shape, o *options, most int) {
	for rest := g.payload; ; rest = rest[most:] {
		last := len(rest) <= most
		buf := p.pool.Get()
		buf.SetLen(copy(buf.Room(), rest[:min(len(rest), most)]))
		if h.flags = g.flags; !last {
			h.flags &^= packet.FIN | packet.PSH
		}
		h.write(buf, packet.Fold(packet.Sum(buf.Bytes())), o)
		p.emit(f, buf)
		if last {
			break
		}
		h.sn += uint32(most)
	}
	p.pool.Put(g.buf)
}

// plainOptions appends to o the options that segments of plain TCP have behind the
// handshake, SNs of SACK blocks moved by shift.
func (g *segment) plainOptions(o *options, shift uint32) {
	t := &g.opt
	if t.hasTS {
		o.timestamps(t.tsval, t.tsecr)
	}
	if n := min(t.sacks, sackSpace(o.len())); n > 0 {
		var blocks [len(t.sack)]dsm.Range
		for i := range n {
			blocks[i] = dsm.Range{From: int64(t.sack[i][0]), To: int64(t.sack[i][1])}
		}
		o.sack(blocks[:n], shift)
	}
}

// relayAck acknowledges to the server what the UE has, with the window that it last had.
func (p *Proxy) relayAck(c *Conn) {
	p.relayToServer(c, p.pool.Get(), c.up.next, packet.ACK)
}

// relayUserData sends the server buf, the data of the UE's SYN.
func (p *Proxy) relayUserData(c *Conn, buf *packet.Buffer) {
	p.relayToServer(c, buf, 0, packet.ACK|packet.PSH)
}

// relayToServer sends the server a packet of our own, payload of position u in buf.
func (p *Proxy) relayToServer(c *Conn, buf *packet.Buffer, u int64, flags uint8) {
	v := c.convert
	o := p.opt()
	if c.timestamps {
		o.timestamps(c.subflows[0].ueTSval, c.down.tsval)
	}
	c.up.next = max(c.up.next, u+int64(buf.Len()))
	h := shape{
		ttl: defaultTTL, sn: v.firstSN() + uint32(u), ack: c.srvAckSN(max(c.down.acked, v.base)),
		flags: flags, window: uint16(c.down.edgeSent),
	}
	c.n6(&h)
	h.write(buf, packet.Fold(packet.Sum(buf.Bytes())), o)
	p.toN6(c, buf)
}

// relayReset ends c, whose UE is gone.
func (p *Proxy) relayReset(c *Conn) {
	p.relayToServer(c, p.pool.Get(), c.up.next, packet.RST|packet.ACK)
	p.finish(c)
}
