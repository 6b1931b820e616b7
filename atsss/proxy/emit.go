package proxy

import (
	"encoding/binary"

	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// defaultTTL is the TTL or hop limit of packets that the proxy makes itself.
const defaultTTL = 64

// sackSpace is how many SACK blocks fit beside n bytes of other options.
func sackSpace(n int) int { return max(0, (40-n-4)/8) }

// appendSACK appends a SACK option after two NOPs with the SN of each range.
func appendSACK(b []byte, ranges []dsm.Range, sn func(int64) uint32) []byte {
	b = append(b, packet.OptNOP, packet.OptNOP, packet.OptSACK, uint8(2+8*len(ranges)))
	for _, r := range ranges {
		b = binary.BigEndian.AppendUint32(b, sn(r.From))
		b = binary.BigEndian.AppendUint32(b, sn(r.To))
	}
	return b
}

// field is the window field for window bytes under shift scale.
func field(window int64, scale uint8) uint16 {
	return uint16(min(max(window, 0)>>scale, 0xffff))
}

// toServer sends buf, which holds the payload (paySum its folded sum) of uplink
// position u, with whatever acknowledgment is due.
func (p *Proxy) toServer(c *Conn, buf *packet.Buffer, paySum uint16, u int64, flags, tos, ttl uint8) {
	opt := p.options[:0]
	if c.timestamps {
		opt = appendTS(opt, c.up.tsval, c.up.tsecr)
	}
	if c.sackPermitted {
		if blocks := p.serverSACK(c, sackSpace(len(opt))); len(blocks) > 0 {
			opt = appendSACK(opt, blocks, c.srvAckSN)
		}
	}
	ack := c.down.acked
	k := &c.subflows[0].key
	h := &p.shape
	*h = shape{
		src: &k.ue, dst: &k.srv, srcPort: k.uePort, dstPort: k.srvPort,
		v6: c.v6, tos: tos &^ ecnMask, ttl: ttl,
		sn: c.srvSN(u), ack: c.srvAckSN(ack), flags: flags | packet.ACK,
		window:  field(c.down.rightEdge-ack, c.ueScale),
		options: opt,
	}
	h.write(buf, paySum)
	c.down.ackSent, c.down.edgeSent = ack, c.down.rightEdge
	c.probing = false
	p.out.ToN6 = append(p.out.ToN6, buf)
}

// ackServer sends a pure ACK to the server; buf is an empty packet or nil.
func (p *Proxy) ackServer(c *Conn, buf *packet.Buffer) {
	if buf == nil {
		buf = p.pool.Get()
	}
	u := c.up.next
	if c.up.finSent && u == c.up.fin {
		u++
	}
	p.toServer(c, buf, 0, u, 0, 0, defaultTTL)
}

// toUE sends buf, which holds the payload, on subflow s under SSN ssn with the MPTCP
// options that p.options holds from p.mpFrom on; the timestamps and the numbers of
// the acknowledgment are added here.
func (p *Proxy) toUE(s *Subflow, buf *packet.Buffer, paySum uint16, ssn int64, flags, tos, ttl uint8, opt []byte) {
	c := s.conn
	h := &p.shape
	*h = shape{
		src: &s.key.srv, dst: &s.key.ue, srcPort: s.key.srvPort, dstPort: s.key.uePort,
		v6: c.v6, tos: tos &^ ecnMask, ttl: ttl,
		sn: s.sn(ssn), ack: s.ueISN + uint32(s.rcvNext), flags: flags | packet.ACK,
		window:  field(c.up.rightEdge-c.up.acked, c.srvScale),
		options: opt,
	}
	h.write(buf, paySum)
	s.ackSent, s.dataAck, s.edge = s.rcvNext, c.up.acked, c.up.rightEdge
	p.out.ToUE = append(p.out.ToUE, ToUE{Buf: buf, Session: s.session, Access: s.access, PDR: s.pdr})
}

// ecnMask is the ECN field of the traffic class: ECN is not negotiated.
const ecnMask = 3

// startOptions begins the options of a packet for the UE: timestamps.
func (p *Proxy) startOptions(s *Subflow, tsecr uint32) []byte {
	opt := p.options[:0]
	if s.conn.timestamps {
		opt = appendTS(opt, s.conn.down.tsval, tsecr)
	}
	return opt
}

// echoServer is the TSecr for the UE of a packet that goes back to one of the
// server: the server's echo in the subflow's clock, never from its future.
func (s *Subflow) echoServer() uint32 {
	e := s.conn.down.tsecr - s.tsOffset
	if int32(e-s.ueTSval) > 0 {
		return s.ueTSval
	}
	return e
}

// dataUE sends buf's payload, downlink position d, on s under ssn.
func (p *Proxy) dataUE(s *Subflow, buf *packet.Buffer, paySum uint16, d, ssn int64, flags, tos, ttl uint8) {
	c := s.conn
	opt := p.startOptions(s, s.echoServer())
	n := buf.Len()
	dsn := c.dsnB(d)
	if c.checksum {
		opt = p.appendMapping(opt, c, dsn, mptcp.SSN(ssn), uint16(n), false, paySum)
	} else {
		opt = append(opt,
			packet.OptNOP, packet.OptNOP, mptcp.Kind, 18, 0x20, 0x05)
		opt = binary.BigEndian.AppendUint32(opt, c.dataAck32())
		opt = binary.BigEndian.AppendUint32(opt, uint32(dsn))
		opt = binary.BigEndian.AppendUint32(opt, uint32(ssn))
		opt = binary.BigEndian.AppendUint16(opt, uint16(n))
	}
	p.toUE(s, buf, paySum, ssn, flags, tos, ttl, opt)
	p.count.DownlinkBytes += uint64(n)
	s.path.sentBytes += uint64(n)
}

// appendMapping appends a DSS with DATA_ACK and mapping in 32-bit forms, padded.
func (p *Proxy) appendMapping(opt []byte, c *Conn, dsn mptcp.DSN, ssn mptcp.SSN, n uint16, fin bool, paySum uint16) []byte {
	o := &p.dss
	*o = mptcp.Options{
		HasDataAck: true, DataAck: uint64(c.dataAck32()),
		HasMapping: true, DSN: uint64(dsn), SSN: ssn, DataLen: n, DataFIN: fin,
	}
	if c.checksum {
		o.HasCsum, o.Csum = true, mptcp.DSSChecksum(dsn, ssn, n, paySum)
	}
	at := len(opt)
	return mptcp.Pad(mptcp.AppendDSS(opt, o), at)
}

// ackUE sends a pure ACK with a DATA_ACK and the SACK blocks of s. It carries our FIN
// once the UE's is acknowledged.
func (p *Proxy) ackUE(s *Subflow, tsecr uint32) {
	opt := p.appendDataAck(p.startOptions(s, tsecr), s.conn)
	if s.conn.sackPermitted {
		if blocks := p.ueSACK(s, sackSpace(len(opt))); len(blocks) > 0 {
			opt = appendSACK(opt, blocks, func(ssn int64) uint32 { return s.ueISN + uint32(ssn) })
		}
	}
	ssn, flags := s.sendNext(), uint8(0)
	if s.fin != none && s.rcvNext > s.fin {
		ssn, flags = s.next, packet.FIN
		s.finSent = true
	}
	p.toUE(s, p.pool.Get(), 0, ssn, flags, 0, defaultTTL, opt)
}

// appendDataAck appends a DSS with a DATA_ACK alone, 8 bytes.
func (p *Proxy) appendDataAck(opt []byte, c *Conn) []byte {
	opt = append(opt, mptcp.Kind, 8, 0x20, 0x01)
	return binary.BigEndian.AppendUint32(opt, c.dataAck32())
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
			opt := p.startOptions(s, s.echoServer())
			opt = p.appendMapping(opt, c, c.dsnB(c.down.fin), 0, 1, true, 0)
			p.toUE(s, p.pool.Get(), 0, s.sendNext(), 0, 0, defaultTTL, opt)
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
	opt := p.appendMapping(p.startOptions(s, s.ueTSval), c, c.dsnB(c.received()-1), mptcp.SSN(s.acked-1), 1, false, 0)
	p.toUE(s, buf, 0, s.acked-1, 0, 0, defaultTTL, opt)
	p.count.Solicited++
}

// withOption sends a pure ACK on s with one MPTCP option beside the DATA_ACK if both
// fit, or alone.
func (p *Proxy) withOption(s *Subflow, option []byte, flags uint8) {
	opt := p.startOptions(s, s.ueTSval)
	if flags&packet.RST == 0 && len(opt)+8+(len(option)+3)&^3 <= 40 {
		opt = p.appendDataAck(opt, s.conn)
	}
	at := len(opt)
	opt = mptcp.Pad(append(opt, option...), at)
	ssn := s.sendNext()
	if flags&packet.RST != 0 {
		ssn = s.acked
	}
	p.toUE(s, p.pool.Get(), 0, ssn, flags, 0, defaultTTL, opt)
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
	u := c.up.next
	if c.up.finSent && u == c.up.fin {
		u++
	}
	p.resetServerAt(c, c.srvSN(max(u, c.up.acked)))
}

func (p *Proxy) resetServerAt(c *Conn, sn uint32) {
	h := &p.shape
	k := &c.subflows[0].key
	*h = shape{
		src: &k.ue, dst: &k.srv, srcPort: k.uePort, dstPort: k.srvPort, v6: c.v6, ttl: defaultTTL,
		sn: sn, ack: c.srvAckSN(c.down.acked), flags: packet.RST | packet.ACK,
	}
	buf := p.pool.Get()
	h.write(buf, 0)
	p.out.ToN6 = append(p.out.ToN6, buf)
}
