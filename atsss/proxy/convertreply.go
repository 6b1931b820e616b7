package proxy

import (
	"github.com/braid-upf/braid/atsss/convert"
	"github.com/braid-upf/braid/packet"
)

// What the converter itself says to the UE is sent as if the server had: as a packet of the
// server's that goes the way of all of them, mapped, sent again on another subflow if need
// be, and followed by the server's stream. A timer has it sent until the UE has it.
//
// Where there is no server, because the request failed or asks for nothing else than what
// is supported, the converter is alone: it plays the server's part to the end. Whatever
// would go to the server comes back to it. It sends its message and a FIN, and acknowledges
// what comes: an error is not followed by a reset, for that to arrive (RFC 8803 §6.2); the
// client resets.

// maxReplies is how often a message is sent by a converter that is alone before its UE is
// held dead. Where there is a server, the connection lives as long as any.
const maxReplies = 10

// base is the d at which the server's stream begins, first the u.
func (c *Conn) base() int64 {
	if c.convert == nil {
		return 0
	}
	return c.convert.base
}

func (c *Conn) first() int64 {
	if c.convert == nil {
		return 0
	}
	return c.convert.first
}

// stay makes the converter the other end of c, with tlv in its message, if not nil.
func (p *Proxy) stay(c *Conn, tlv []byte) {
	v, f := c.convert, c.subflows[0]
	m := convert.Start(nil)
	if v.info {
		m = convert.AppendSupported(m, supported)
	}
	m = append(m, tlv...)
	convert.Finish(m, 0)
	p.flows.removeN6(c)
	v.reply, v.base, v.alone = m, 0, true
	c.down.sackEdge = 0
	c.ecn = ecnOff
	if c.state == stateSYNACK && !v.waiting { // the server had agreed, and the UE was told
		return
	}
	if !v.waiting {
		f.ourISN = uint32(p.rand())
		c.srvMSS = c.session.mss(c.v6)
	}
	c.srvISN, c.srvScale = f.ourISN, 0
	c.up.window = 0xffff
	c.down.tsval, c.down.tsecr = uint32(p.now/millisecond), c.up.tsval
	c.state = stateSYNACK
}

// fail has the converter answer the UE of c, whose server cannot be reached, with an error.
func (p *Proxy) fail(c *Conn, code convert.Code, value []byte) {
	p.count.ConvertErrors++
	told := c.state == stateSYNACK
	p.stay(c, convert.AppendError(nil, code, value))
	switch {
	case c.convert.held != nil:
		p.confirmed(c, nil)
	case !told:
		p.answerSYN(c, nil)
	}
}

// expireServer looks at c, whose server has not answered.
func (p *Proxy) expireServer(c *Conn) {
	if waited := p.now.since(c.convert.began); waited < connectLife {
		p.arm(c, p.now+connectLife-waited)
		return
	}
	p.fail(c, convert.NetworkFailure, []byte{0})
	p.arm(c, p.now+handshakeLife)
}

// end is the d at which what the converter says ends, with the FIN.
func (v *conversion) end() int64 {
	if v.alone {
		return int64(len(v.reply)) + 1
	}
	return int64(len(v.reply))
}

// sendReply sends the converter's message to the UE.
func (p *Proxy) sendReply(c *Conn) {
	v := c.convert
	flags := packet.PSH
	if v.alone {
		flags |= packet.FIN
	}
	if v.said == 0 {
		v.tries = 0
	}
	v.sent, v.said = p.now.stamp(), v.end()
	p.arm(c, p.now+tickCheck)
	p.say(c, 0, v.reply, flags)
}

// say has a packet with payload at position d go to the UE, as if the server had sent it.
func (p *Proxy) say(c *Conn, d int64, payload []byte, flags uint8) {
	v, f := c.convert, c.subflows[0]
	ack, window := c.up.acked, uint16(0) // as small as can be: the server's edge stays
	switch {
	case v.alone:
		ack, window = v.heard, 0xffff
	case c.state == stateRelay: // where it goes to the UE as it is
		window = field(int64(c.up.window), c.srvScale)
	}
	o := p.opt()
	if c.timestamps {
		o.timestamps(c.down.tsval, c.down.tsecr)
	}
	h := shape{
		src: &c.srv, dst: &f.ue, srcPort: c.srvPort, dstPort: f.uePort, v6: c.v6, ttl: defaultTTL,
		sn: c.srvAckSN(d), ack: c.srvSN(ack), flags: packet.ACK | flags, window: window,
	}
	buf := p.pool.Get()
	buf.SetLen(copy(buf.Room(), payload))
	h.write(buf, packet.Fold(packet.Sum(payload)), o)
	packet.Parse(buf.Bytes(), &p.info)
	p.seg.read(buf, &p.info)
	if c.state == stateRelay {
		p.relayDown(c, &p.seg)
	} else {
		p.downlinkData(c, &p.seg)
	}
}

// pushUserData sends the server the data of the user that came with the UE's SYN, which
// our SYN/ACK acknowledged: these the UE does not send again.
func (p *Proxy) pushUserData(c *Conn) {
	v := c.convert
	if v == nil || len(v.userData) == 0 || v.alone {
		return
	}
	v.pushed = p.now.stamp()
	p.arm(c, p.now+tickCheck)
	n := min(int64(len(v.userData)), c.up.rightEdge-v.first)
	if n <= 0 {
		n = 1 // a window probe
	}
	buf := p.pool.Get()
	buf.SetLen(copy(buf.Room(), v.userData[:n]))
	if c.state == stateRelay {
		p.relayUserData(c, buf)
		return
	}
	c.up.next = max(c.up.next, v.first+n)
	p.toServer(c, buf, packet.Fold(packet.Sum(buf.Bytes())), v.first, packet.PSH, 0, defaultTTL)
}

// checkConversion sends again what the converter has said to the UE, or to the server in its
// place, and was not acknowledged; it reports whether there is such.
func (p *Proxy) checkConversion(c *Conn) (busy bool) {
	v := c.convert
	if len(v.userData) > 0 {
		if c.up.acked >= v.first+int64(len(v.userData)) || v.alone {
			v.userData = nil
		} else if busy = true; p.now.since(v.pushed) > initialRTO<<v.pushes {
			v.pushes = min(v.pushes+1, maxBackoff)
			p.pushUserData(c)
		}
	}
	switch {
	case v.reply == nil:
	case c.down.acked >= v.end():
		v.reply, v.tries = nil, 0
	case v.alone && v.tries >= maxReplies:
		p.desert(c)
		return false
	default:
		busy = true
		if s := c.choose(); c.state == stateEstablished && (s == nil || !s.confirmed()) {
			break // a join that takes nothing before its fourth ACK may soon be the only way
		}
		if p.now.since(v.sent) > c.subflows[0].path.rto()<<min(v.tries, maxBackoff) {
			v.tries = min(v.tries+1, maxReplies)
			p.sendReply(c)
		}
	}
	return busy
}

// desert ends c, whose UE does not answer.
func (p *Proxy) desert(c *Conn) {
	c.convert.reply = nil
	if c.state == stateEstablished {
		p.abort(c)
		return
	}
	p.relayReset(c)
}

// toConverter is a packet that would go to the server of a connection that has none.
type toConverter struct {
	conn *Conn
	buf  *packet.Buffer
}

// runAside takes what came to the converter itself in the course of a call.
func (p *Proxy) runAside() {
	for i := 0; i < len(p.aside); i++ {
		p.hear(p.aside[i].conn, p.aside[i].buf)
	}
	p.aside = p.aside[:0]
}

// hear takes the packet in buf for the converter, which is alone on c: what comes in order
// is acknowledged and of no use.
func (p *Proxy) hear(c *Conn, buf *packet.Buffer) {
	v, g := c.convert, &p.seg
	packet.Parse(buf.Bytes(), &p.info)
	g.read(buf, &p.info)
	u := expand(v.heard, g.tcp.SN()-c.ueISN-1)
	end := u + int64(len(g.payload))
	if g.flags&packet.FIN != 0 {
		end++
	}
	p.pool.Put(buf)
	if c.state != stateEstablished && c.state != stateRelay || g.flags&packet.RST != 0 {
		return
	}
	if u <= v.heard {
		v.heard = max(v.heard, end)
	}
	if end > u || u < v.heard {
		p.say(c, v.said, nil, 0)
	}
}
