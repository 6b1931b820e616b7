package proxy

import (
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// defaultTTL is the TTL or hop limit of packets that the proxy makes itself.
const defaultTTL = 64

// sackSpace is how many SACK blocks fit beside n bytes of other options.
func sackSpace(n int) int { return max(0, (40-n-4)/8) }

// field is the window field for window bytes under shift scale.
func field(window int64, scale uint8) uint16 {
	return uint16(min(max(window, 0)>>scale, 0xffff))
}

// toServer sends buf, which holds the payload (paySum its folded sum) of uplink
// position u, with whatever acknowledgment is due.
func (p *Proxy) toServer(c *Conn, buf *packet.Buffer, paySum uint16, u int64, flags, tos, ttl uint8) {
	o := p.opt()
	if c.timestamps {
		o.timestamps(c.up.tsval, c.up.tsecr)
	}
	if c.sackPermitted {
		room := (int(c.srvMSS) - buf.Len() - o.len() - 4) / 8 // the MSS counts options (RFC 9293 §3.7.1)
		if blocks := p.serverSACK(c, min(room, sackSpace(o.len()))); len(blocks) > 0 {
			o.sack(blocks, c.srvAckSN(0))
		}
	}
	if c.ecn != ecnOff {
		flags |= c.subflows[0].ecn.toServer(buf.Len() > 0)
	} else {
		tos &^= ecnMask
	}
	ack := p.ackable(c)
	f := c.subflows[0]
	var h shape // field by field: a literal would be made elsewhere and copied
	h.src, h.dst, h.srcPort, h.dstPort = &f.ue, &c.srv, f.uePort, c.srvPort
	h.v6, h.tos, h.ttl, h.addrs = c.v6, tos, ttl, f.addrs
	if c.convert != nil {
		c.n6(&h)
	}
	h.sn, h.ack, h.flags = c.srvSN(u), c.srvAckSN(ack), flags|packet.ACK
	h.window = field(c.down.rightEdge-ack, c.ueScale)
	h.write(buf, paySum, o)
	c.down.ackSent, c.down.edgeSent = ack, uint32(c.down.rightEdge)
	c.up.probing = false
	p.toN6(c, buf)
}

// toN6 sends buf to c's server.
func (p *Proxy) toN6(c *Conn, buf *packet.Buffer) {
	if c.convert != nil && c.convert.alone {
		p.aside = append(p.aside, toConverter{c, buf})
		return
	}
	p.out.ToN6 = append(p.out.ToN6, buf)
}

// ackServer sends a pure ACK to the server; buf is an empty packet or nil.
func (p *Proxy) ackServer(c *Conn, buf *packet.Buffer) {
	if buf == nil {
		buf = p.pool.Get()
	}
	p.toServer(c, buf, 0, c.up.sendNext(), 0, 0, defaultTTL)
}

// sendNext is the position of a packet for the server without payload: after what was sent,
// or the end of its window if a probe went beyond it, since it would not take the ACK
// otherwise.
func (u *uplink) sendNext() int64 {
	if u.finSent && u.next == u.fin {
		return u.next + 1
	}
	return min(u.next, max(u.rightEdge, u.acked))
}

// toUE sends buf, which holds the payload, on subflow s under SSN ssn with options o and
// the acknowledgment that is due.
func (p *Proxy) toUE(s *Subflow, buf *packet.Buffer, paySum uint16, ssn int64, flags, tos, ttl uint8, o *options) {
	c := s.conn
	if s.ecn&ecnGranted == 0 {
		tos &^= ecnMask
	} else if c.ecn == ecnCongested && s.echoes() {
		flags |= packet.ECE
	}
	var h shape
	h.src, h.dst, h.srcPort, h.dstPort = &c.srv, &s.ue, c.srvPort, s.uePort
	h.v6, h.tos, h.ttl, h.addrs = c.v6, tos, ttl, s.addrs
	h.sn, h.ack, h.flags = s.sn(ssn), s.ueISN+uint32(s.rcvNext), flags|packet.ACK
	h.window = field(c.up.rightEdge-c.up.acked, c.srvScale)
	h.write(buf, paySum, o)
	s.ackSent, s.dataAck, s.edge = uint32(s.rcvNext), uint32(c.up.acked), uint32(c.up.rightEdge)
	c.up.edgeSent = s.edge
	p.emit(s, buf)
}

// emit queues the packet in buf for the UE on the way of s.
func (p *Proxy) emit(s *Subflow, buf *packet.Buffer) {
	p.out.ToUE = append(p.out.ToUE, ToUE{Buf: buf, Session: s.session, Access: s.access, PDR: s.pdr})
}

// opt begins the options of a packet: empty ones.
func (p *Proxy) opt() *options {
	p.options.n = 0
	return &p.options
}

// optUE begins the options of a packet for the UE: timestamps.
func (p *Proxy) optUE(s *Subflow, tsecr uint32) *options {
	o := p.opt()
	if s.conn.timestamps {
		o.timestamps(s.conn.down.tsval, tsecr)
	}
	return o
}

// echoServer is the TSecr for the UE of a packet that goes back to one of the
// server: the server's echo in the subflow's clock, never from its future, nor from before
// any of the data that wait for acknowledgment: the server echoes what came before a hole,
// while data behind it, which it SACKs, are acknowledged on other subflows.
func (s *Subflow) echoServer() uint32 {
	e := s.conn.down.tsecr - s.tsOffset
	switch age := s.ueTSval - e; {
	case int32(age) < 0:
		return s.ueTSval
	case age > s.ueTSval-s.tsWaiting:
		return s.tsWaiting
	}
	return e
}

// dataUE sends buf's payload, downlink position d, on s under ssn.
func (p *Proxy) dataUE(s *Subflow, buf *packet.Buffer, paySum uint16, d, ssn int64, flags, tos, ttl uint8) {
	c := s.conn
	n := buf.Len()
	o := p.optUE(s, s.echoServer())
	length := uint16(n)
	if c.failing == falling {
		length = 0
	}
	o.mapping(c.dataAck32(), c.dsnB(d), mptcp.SSN(ssn), length, false, c.checksum, paySum)
	if s.ecn&ecnCWRDue != 0 && ssn+int64(n) == s.next { // new data
		s.ecn.set(ecnCWRDue, false)
		flags |= packet.CWR
	}
	p.toUE(s, buf, paySum, ssn, flags, tos, ttl, o)
	p.count.DownlinkBytes += uint64(n)
}

// ackUE sends a pure ACK with a DATA_ACK and the SACK blocks of s. It carries our FIN
// once the UE's is acknowledged.
func (p *Proxy) ackUE(s *Subflow, tsecr uint32) {
	o := p.optUE(s, tsecr)
	o.dataAck(s.conn.dataAck32())
	if s.conn.sackPermitted {
		if blocks := p.ueSACK(s, sackSpace(o.len())); len(blocks) > 0 {
			o.sack(blocks, s.ueISN)
		}
	}
	ssn, flags := s.sendNext(), uint8(0)
	if s.fin != none && s.rcvNext > s.fin {
		ssn, flags = s.next, packet.FIN
		if !s.finSent {
			s.finSent, s.path.filled = true, p.now.stamp()
			p.arm(s.conn, p.now+tickCheck)
		}
	}
	p.toUE(s, p.pool.Get(), 0, ssn, flags, 0, defaultTTL, o)
}

// sendNext is the SSN of a packet without payload. On a join that is not confirmed it
// is the first: the UE would reset the join for any other before the fourth ACK.
func (s *Subflow) sendNext() int64 {
	switch {
	case s.finSent:
		return s.next + 1
	case s.index > 0 && s.acked == 1:
		return 1
	}
	return s.next
}

// dataFIN sends the DATA_FIN of the downlink as a pure ACK on every live subflow.
func (p *Proxy) dataFIN(c *Conn) {
	for _, s := range c.subflows {
		if s.live() {
			o := p.optUE(s, s.echoServer())
			o.mapping(c.dataAck32(), c.dsnB(c.down.fin), 0, 1, true, c.checksum, 0)
			p.toUE(s, p.pool.Get(), 0, s.sendNext(), 0, 0, defaultTTL, o)
		}
	}
}

// solicit sends one byte of old data on s, which a live UE answers at once with its
// current numbers. On a join that is not confirmed it repeats the confirming byte: older
// data would reset it.
func (p *Proxy) solicit(s *Subflow) {
	c := s.conn
	if !s.confirmed() {
		if r, ok := s.down.At(1); ok {
			p.sendFiller(s, r.To, 1, 1)
		}
		return
	}
	s.path.provoked++
	buf := p.pool.Get()
	buf.SetLen(1)
	buf.Bytes()[0] = 0
	o := p.optUE(s, s.ueTSval)
	o.mapping(c.dataAck32(), c.dsnB(c.received()-1), mptcp.SSN(s.acked-1), 1, false, c.checksum, 0)
	p.toUE(s, buf, 0, s.acked-1, 0, 0, defaultTTL, o)
	p.count.Solicited++
}

// withOption sends a pure ACK on s with one MPTCP option beside the DATA_ACK if both
// fit, or alone. A reset has no DATA_ACK but on a join that waits for its fourth ACK:
// there the UE would answer it with one of its own.
func (p *Proxy) withOption(s *Subflow, option []byte, flags uint8) {
	o := p.optUE(s, s.ueTSval)
	if (flags&packet.RST == 0 || s.state == subflowJoining) && o.len()+8+(len(option)+3)&^3 <= 40 {
		o.dataAck(s.conn.dataAck32())
	}
	o.bytes(option)
	ssn := s.sendNext()
	if flags&packet.RST != 0 {
		ssn = s.acked
	}
	p.toUE(s, p.pool.Get(), 0, ssn, flags, 0, defaultTTL, o)
}

// resetUE resets subflow s with the given MPTCP option.
func (p *Proxy) resetUE(s *Subflow, option []byte) {
	p.withOption(s, option, packet.RST)
	s.state = subflowDead
}

// resetServer resets the server's connection at the SN that it expects once all that
// was forwarded has reached it. If something was lost it answers with a challenge ACK
// (RFC 5961 §3.2), which names the SN: see downlinkClosed.
func (p *Proxy) resetServer(c *Conn) {
	p.resetServerAt(c, c.srvSN(max(c.up.sendNext(), c.up.acked)))
}

func (p *Proxy) resetServerAt(c *Conn, sn uint32) {
	h := shape{ttl: defaultTTL, sn: sn, ack: c.srvAckSN(max(c.down.acked, c.base())), flags: packet.RST | packet.ACK}
	c.n6(&h)
	buf := p.pool.Get()
	h.write(buf, 0, p.opt())
	p.toN6(c, buf)
}
