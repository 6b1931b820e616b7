package proxy

import (
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// dssRoom is what the options that translation adds take from a downlink segment: a
// DSS with 32-bit DATA_ACK and DSN, padded.
const dssRoom = 20

// defaultMSS is the send MSS where the peer names none (RFC 9293 §3.7.1).
const defaultMSS = 536

// minMSS is the least MSS believed; no smaller one leaves room for data.
const minMSS = 88

// Bounds on what one session may make the proxy keep; what is beyond becomes plain TCP.
const (
	maxConnections = 1 << 14
	maxHandshakes  = 256 // of them without the third ACK
)

// synPatience is how long a handshake that nothing was heard of holds its 4-tuple against a
// SYN with another ISN.
const synPatience = 3000 * millisecond

// uplinkSYN takes a SYN. f is the subflow with its 4-tuple, nil if there is none.
func (p *Proxy) uplinkSYN(s *Session, a steer.Access, r Rule, f *Subflow, g *segment) Verdict {
	o := &g.opt.mp
	join := joins(o)
	if f != nil && !(join && (f.conn.state == stateEstablished || f.conn.state == stateClosed)) {
		if v, known := p.repeatedSYN(f, g); known {
			return v
		}
		f = nil
	}
	if join {
		p.uplinkJoin(s, a, r, f, g)
		return Taken
	}
	if o.Present == 0 && o.Ignored == 0 {
		return NotProxied
	}
	if r.Policy == nil || r.Policy.Functionality != steer.MPTCP {
		return NotProxied
	}
	if counter := p.unacceptable(s, g); counter != nil {
		*counter++
		g.stripMPTCP()
		return NotProxied
	}
	k, ok := p.takeKey()
	if !ok || !p.flows.room(uplinkKey(s, g.in)) {
		p.count.FallbackKeys++
		g.stripMPTCP()
		return NotProxied
	}
	c := p.newConn(s, a, r, g, k)
	p.count.Connections++
	p.forwardSYN(c, g)
	return Taken
}

// unacceptable gives the counter of why the MP_CAPABLE of the SYN g is not one to answer;
// nil if it is.
func (p *Proxy) unacceptable(s *Session, g *segment) *uint64 {
	o := &g.opt.mp
	switch {
	case o.Present == mptcp.Capable && o.CapableVersion == 0:
		return &p.count.FallbackV0
	case o.Present != mptcp.Capable || o.CapableVersion != mptcp.Version || o.CapableLen != 4 ||
		o.CapableFlags&(mptcp.FlagExtensible|0x1f) != mptcp.FlagHMACSHA256:
		return &p.count.FallbackSYN
	case s.handshakes >= maxHandshakes || s.connections >= maxConnections:
		return &p.count.FallbackLimit
	}
	return nil
}

// repeatedSYN takes the SYN g on the 4-tuple of f, unless it begins a new connection: then
// what f stood for is forgotten, and known is false.
func (p *Proxy) repeatedSYN(f *Subflow, g *segment) (v Verdict, known bool) {
	c := f.conn
	switch {
	case c.state <= stateSYNACK && g.tcp.SN() == f.ueISN-uint32(c.synTaken) && c.convert != nil:
		p.repeatedConvert(c, g)
		return Taken, true
	case c.state <= stateSYNACK && g.tcp.SN() == f.ueISN-uint32(c.synTaken): // the UE repeats it
		switch {
		case g.opt.mp.Present&mptcp.Capable == 0: // and gives MPTCP up
			p.relay(c)
		case c.synTaken != 0 && len(g.payload) == 0: // and will not have MPTCP any more
			p.count.FallbackSYNData++
			p.relay(c)
		}
		p.forwardSYN(c, g)
		return Taken, true
	case c.state <= stateSYNACK && p.now.since(c.lastActive) < synPatience:
		// Another ISN: whoever knows the 4-tuple could end the handshake with it.
		p.discard(g.buf, &p.count.DropSYN)
		return Taken, true
	case c.state == stateRelay && !c.finished && c.convert != nil:
		p.discard(g.buf, &p.count.DropSYN)
		return Taken, true
	case c.state == stateRelay && !c.finished:
		g.stripMPTCP()
		return NotProxied, true
	case c.state != stateEstablished || c.finished:
		p.forget(c)
		return 0, false
	case f.state == subflowJoining: // and this is no join
		p.discard(g.buf, &p.count.DropSYN)
		return Taken, true
	case f.live():
		// A late copy, or a UE that knows nothing of the connection any more: it
		// answers the challenge with a reset (RFC 5961 §4.2).
		p.discard(g.buf, &p.count.DropSYN)
		p.challengeUE(f)
		return Taken, true
	case f.index == 0: // the server's connection goes on over other subflows
		p.discard(g.buf, &p.count.DropStale)
		return Taken, true
	}
	p.flows.remove(f)
	return 0, false
}

// takeKey draws a key whose token no connection has.
func (p *Proxy) takeKey() (mptcp.KeyPair, bool) {
	for {
		k, ok := p.keys.Take()
		if !ok {
			return k, false
		}
		if p.tokens[k.Token] == nil {
			return k, true
		}
	}
}

// newConn makes the connection that the SYN g opens.
func (p *Proxy) newConn(s *Session, a steer.Access, r Rule, g *segment, k mptcp.KeyPair) *Conn {
	c := &Conn{
		session: s, rule: r, v6: g.in.Version == 6, srv: g.in.Dst, srvPort: g.in.DstPort, point: uint16(s.nextPoint), local: localKey{Key: k.Key, IDSN: k.IDSN},
		ueISN: g.tcp.SN(), checksum: g.opt.mp.CapableFlags&mptcp.FlagChecksum != 0,
		timestamps: g.opt.hasTS, sackPermitted: g.opt.sackPermitted, scaled: g.opt.hasScale,
		ueScale: g.opt.scale, current: nowhere, lastActive: p.now.stamp(),
		own: a, moved: p.now.tick() - longAgo,
	}
	c.subflows = c.pair[:0]
	s.nextPoint = (s.nextPoint + goldenStep) % steer.Points
	p.draw(c, nil)
	c.up.fin, c.up.echo, c.down.fin = none, nowhere, none
	c.down.rightEdge = int64(g.tcp.Window())
	c.down.window = uint32(c.down.rightEdge)
	f := p.addSubflow(c, 0, s, a, r, g)
	f.state = subflowEstablished
	p.tokens[k.Token] = c
	s.link(c, p)
	s.handshakes++
	c.refresh()
	p.arm(c, p.now+handshakeLife)
	return c
}

// goldenStep spreads successive connections evenly over steer.Points: the golden
// ratio's fraction of it, odd.
const goldenStep = 40503

// addSubflow makes the subflow that the SYN g opens, in place i of c's: the next one, or
// that of a subflow that is forgotten.
func (p *Proxy) addSubflow(c *Conn, i int, s *Session, a steer.Access, r Rule, g *segment) *Subflow {
	f := &Subflow{
		conn: c, session: s, pdr: r.PDR, access: a, index: uint8(i), ue: g.in.Src, uePort: g.in.SrcPort,
		ueISN: g.tcp.SN(), scale: g.opt.scale, ueTSval: g.opt.tsval, tsvalAt: p.now.stamp(),
		addrs: packet.Fold(packet.SumWords(g.in.Src[:]) + packet.SumWords(g.in.Dst[:])),
		next:  1, acked: 1, rcvNext: 1, fin: none, ackSent: 1, noted: 1,
	}
	if i == len(c.subflows) {
		c.subflows = append(c.subflows, f)
	} else {
		p.drop(c.subflows[i])
		c.subflows[i].freeMaps()
		c.subflows[i] = f
	}
	p.flows.put(f)
	if s != c.session {
		s.guests = append(s.guests, f)
	}
	return f
}

// forwardSYN sends the SYN g on to the server, with its payload.
func (p *Proxy) forwardSYN(c *Conn, g *segment) {
	c.up.tsval = g.opt.tsval
	c.synData = uint16(len(g.payload))
	c.ecn = ecnOff
	if g.flags&ecnSYN == ecnSYN {
		c.ecn = ecnOn
	}
	o := p.handshakeOptions(g, p.mssToServer(c.session, g))
	o.fastOpen(g)
	p.rewrite(g, o, len(g.payload))
	p.out.ToN6 = append(p.out.ToN6, g.buf)
}

// mssToServer is the MSS that leaves the server's segments room for the DSS and fits
// the session's MTU.
func (p *Proxy) mssToServer(s *Session, g *segment) uint16 {
	return max(minMSS, min(g.mss(), s.mss(g.in.Version == 6))) - dssRoom
}

// mss is the largest TCP segment, options counted (RFC 9293 §3.7.1), that fits the
// session's MTU.
func (s *Session) mss(v6 bool) uint16 {
	if v6 {
		return s.MTU - 60
	}
	return s.MTU - 40
}

// handshakeOptions are the options of a SYN or SYN/ACK that we pass on, with the given
// MSS.
func (p *Proxy) handshakeOptions(g *segment, mss uint16) *options {
	o := p.opt()
	o.negotiation(mss, g.opt.sackPermitted, g.opt.hasTS, g.opt.tsval, g.opt.tsecr, g.opt.hasScale, g.opt.scale)
	return o
}

// negotiation appends the options of a SYN or SYN/ACK in the order that Linux writes
// them, at most 20 bytes.
func (o *options) negotiation(mss uint16, sack, ts bool, tsval, tsecr uint32, hasScale bool, scale uint8) {
	o.add(packet.OptMSS<<24 | 4<<16 | uint32(mss))
	switch {
	case sack && ts:
		o.add(packet.OptSACKPermitted<<24 | 2<<16 | packet.OptTimestamps<<8 | 10)
		o.add(tsval)
		o.add(tsecr)
	case sack:
		o.add(packet.OptNOP<<24 | packet.OptNOP<<16 | packet.OptSACKPermitted<<8 | 2)
	case ts:
		o.timestamps(tsval, tsecr)
	}
	if hasScale {
		o.add(packet.OptNOP<<24 | packet.OptWindowScale<<16 | 3<<8 | uint32(scale))
	}
}

// rewrite gives the packet g options o and the first n bytes of its payload; everything
// else of its header stays, but for the ECN field, which is for data.
func (p *Proxy) rewrite(g *segment, o *options, n int) {
	t, in := g.tcp, g.in
	h := shape{
		src: &in.Src, dst: &in.Dst, srcPort: t.SrcPort(), dstPort: t.DstPort(), v6: in.Version == 6,
		tos: in.TOS &^ ecnMask, ttl: g.ttl(), sn: t.SN(), ack: t.AckSN(),
		flags: g.flags, window: t.Window(),
	}
	sum := g.keepPayload(n)
	h.write(g.buf, sum, o)
}

// downlinkHandshake takes a packet of the server before the third ACK.
func (p *Proxy) downlinkHandshake(c *Conn, g *segment) Verdict {
	f := c.subflows[0]
	switch {
	case g.flags&packet.RST != 0:
		if !c.refused(g) {
			p.discard(g.buf, &p.count.DropReset)
			return Taken
		}
		p.forget(c)
		return NotProxied
	case g.flags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK:
		taken := g.tcp.AckSN() - (c.ueISN + 1)
		switch {
		case c.state == stateSYN && taken == uint32(c.synData):
			p.negotiated(c, g)
		case c.state == stateSYN && taken <= uint32(c.session.MTU):
			// Not what the UE's last SYN carried: it will not speak MPTCP, whatever
			// the SYN/ACK says.
			p.count.FallbackSYNData++
			p.relay(c)
			return NotProxied
		case taken != 0:
			return NotProxied // about an earlier connection: the UE answers it
		case g.tcp.SN() != c.srvISN:
			p.discard(g.buf, &p.count.DropSYN)
			return Taken
		}
		o := p.handshakeOptions(g, min(g.mss(), c.session.mss(c.v6)))
		flags := uint8(mptcp.FlagHMACSHA256)
		if c.checksum {
			flags |= mptcp.FlagChecksum
		}
		o.bytes(mptcp.AppendCapableSYNACK(p.scratch[:0], flags, c.local.Key))
		o.fastOpen(g)
		if c.ecn == ecnOff {
			g.flags &^= ecnSYN
		}
		if f.path.waiting == 0 {
			f.path.waiting = p.now.stamp()
			f.path.time(1, p.now)
		} else {
			f.path.untime()
		}
		p.rewrite(g, o, 0) // a payload here would end MPTCP at the UE
		p.emit(f, g.buf)
		return Taken
	case c.state == stateSYN && (g.flags&packet.ACK == 0 || g.tcp.AckSN()-(c.ueISN+1) > uint32(c.synData)):
		return NotProxied // about an earlier connection: the UE answers it
	case c.state == stateSYN:
		// A SYN that came again, answered by an ACK before the SYN/ACK that was lost
		// (RFC 9293 §3.10.7.4). The UE would drop it, or, if the SYN/ACK overtakes it,
		// take it for the end of MPTCP.
		p.discard(g.buf, &p.count.DropBeforeKeys)
		return Taken
	}
	p.holdEarly(c, g)
	return Taken
}

// refused says whether the UE would believe the server's RST g (RFC 9293 §3.10.7.3, RFC
// 5961 §3.2): it acknowledges the SYN, with data or without, or follows the SYN/ACK.
func (c *Conn) refused(g *segment) bool {
	if g.flags&packet.ACK != 0 && g.tcp.AckSN()-(c.ueISN+1) <= uint32(c.synData) {
		return true
	}
	return c.state == stateSYNACK && g.tcp.SN() == c.srvISN+1
}

// mss is the MSS that the SYN or SYN/ACK g names.
func (g *segment) mss() uint16 {
	if g.opt.mss == 0 {
		return defaultMSS
	}
	return g.opt.mss
}

// negotiated records what the server's SYN/ACK g settles.
func (p *Proxy) negotiated(c *Conn, g *segment) {
	f := c.subflows[0]
	c.state = stateSYNACK
	if c.synData > 0 && c.convert == nil {
		p.count.FastOpens++
		c.synTaken = c.synData
		c.moveOrigin(f, uint32(c.synData))
	}
	c.srvISN, f.ourISN = g.tcp.SN(), g.tcp.SN()
	c.srvMSS = g.mss()
	c.timestamps = c.timestamps && g.opt.hasTS
	c.sackPermitted = c.sackPermitted && g.opt.sackPermitted
	if g.flags&ecnSYN != packet.ECE {
		c.ecn = ecnOff
	}
	f.ecn.set(ecnGranted, c.ecn != ecnOff)
	c.scaled = c.scaled && g.opt.hasScale
	if c.scaled {
		c.srvScale = g.opt.scale
	} else {
		c.ueScale, f.scale = 0, 0
	}
	c.down.tsval, c.down.tsecr = g.opt.tsval, g.opt.tsecr
	c.up.rightEdge = int64(g.tcp.Window())
	c.up.window = uint32(c.up.rightEdge)
}

// uplinkHandshake takes a packet of the UE, other than a SYN, before the third ACK.
func (p *Proxy) uplinkHandshake(f *Subflow, g *segment) Verdict {
	c, o := f.conn, &g.opt.mp
	capable := o.Present&mptcp.Capable != 0 && o.CapableLen >= 20
	ssn := expand(f.rcvNext, g.tcp.SN()-f.ueISN)
	switch {
	case g.flags&packet.RST != 0:
		if ssn != f.rcvNext { // the server decides on it
			p.count.DropReset++
			return NotProxied
		}
		p.forget(c)
		return NotProxied
	case c.state == stateSYN || g.flags&(packet.SYN|packet.ACK) != packet.ACK:
		p.discard(g.buf, &p.count.DropStale)
	case g.tcp.AckSN() != f.sn(1): // there is nothing else to acknowledge yet
		p.discard(g.buf, &p.count.DropBadACK)
	case ssn < f.rcvNext-int64(c.synTaken) || ssn > f.rcvNext+int64(c.up.window)+slack:
		p.discard(g.buf, &p.count.DropOutOfWindow)
	case capable && o.ReceiverKey != c.local.Key:
		p.discard(g.buf, &p.count.DropBadKey)
	case capable:
		p.establish(c, f, g)
	case o.Present != 0 || o.Ignored != 0: // believes in MPTCP, its third ACK was lost or overtaken
		p.discard(g.buf, &p.count.DropStale)
	default:
		p.count.FallbackACK++
		p.relay(c)
		return NotProxied
	}
	return Taken
}

// establish takes the third ACK g, with or without data.
func (p *Proxy) establish(c *Conn, f *Subflow, g *segment) {
	c.handshakeEnds()
	c.state = stateEstablished
	c.peer = g.opt.mp.SenderKey
	_, c.idsnA = c.peer.Derive()
	c.down.rightEdge = int64(g.tcp.Window()) << f.scale
	c.down.window = uint32(c.down.rightEdge)
	c.up.tsecr = g.opt.tsecr
	f.path.progress(f, 1, p.now)
	c.up.probing = true
	if n := int64(len(g.payload)); n > 0 && g.opt.mp.CapableLen == 20 && c.convert == nil {
		// The payload of a SYN that was lost, so that the SYN/ACK is of a repetition
		// without it: it comes with a third ACK that maps nothing, at positions below 0.
		c.moveOrigin(f, uint32(n))
		c.up.next, c.up.acked, f.rcvNext, f.ackSent = -n, -n, 1-n, uint32(1-n)
		c.up.rightEdge -= n
	}
	p.count.Established++
	c.refresh()
	p.arm(c, p.now+idleLife)
	p.pushUserData(c)
	p.uplinkData(f, g)
	// Without a DATA_ACK in the first packet that it gets, the UE becomes plain TCP.
	if c.convert != nil {
		p.sendReply(c)
	} else {
		p.ackUE(f, f.ueTSval)
	}
	p.nudge(c)
	p.accepted(c)
	if p.early[c] != nil {
		p.takeEarly(c)
	}
}
