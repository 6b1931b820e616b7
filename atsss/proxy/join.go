package proxy

import (
	"crypto/hmac"

	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// uplinkJoin takes a SYN with MP_JOIN (RFC 8684 §3.2). f is what has its 4-tuple.
func (p *Proxy) uplinkJoin(s *Session, a steer.Access, r Rule, f *Subflow, g *segment) {
	c := p.tokens[g.opt.mp.JoinToken]
	switch {
	case f != nil && f.conn == c && f.state == subflowJoining && f.ueISN == g.tcp.SN():
		f.tsvalAt = p.now.stamp()
		p.joinSYNACK(f, g) // a retransmission: the same answer
		return
	case f != nil && f.live() && f.conn.state == stateEstablished: // a late copy, or a forgery (RFC 5961 §4.2)
		p.discard(g.buf, &p.count.DropSYN)
		p.challengeUE(f)
		return
	case c == nil || c.state != stateEstablished || c.ended() || !c.admits(s, r):
		p.refuseJoin(s, a, r, g, mptcp.ReasonMPTCP)
		return
	case g.in.Dst != c.srv || g.in.DstPort != c.srvPort:
		p.refuseJoin(s, a, r, g, mptcp.ReasonProhibited)
		return
	}
	i := p.place(c, f)
	if i < 0 || !p.flows.room(uplinkKey(s, g.in)) {
		p.refuseJoin(s, a, r, g, mptcp.ReasonResources)
		return
	}
	f = p.addSubflow(c, i, s, a, r, g)
	f.state = subflowJoining
	f.ourISN = uint32(p.rand())
	f.peerID = g.opt.mp.JoinID
	p.joins[f] = joinNonces{ue: g.opt.mp.JoinNonce, ours: uint32(p.rand())}
	f.addrID = c.nextAddrID()
	f.backup, f.nudged = c.wantsBackup(f), p.now.tick()
	f.ecn.set(ecnGranted, c.ecn != ecnOff && g.flags&ecnSYN == ecnSYN)
	if !c.scaled {
		f.scale = 0
	}
	if c.timestamps {
		// The first subflow's clock now, less this one's: both tick in milliseconds.
		first := c.subflows[0]
		f.tsOffset = first.ueTSval + uint32(p.now.since(first.tsvalAt)/millisecond) - g.opt.tsval
	}
	p.arm(c, p.now+joinLife)
	p.joinSYNACK(f, g)
}

// maxJoining is how many joins of a connection may wait for their third ACK. A token is
// only 32 bits and goes in clear: joins of others' making must not take the places of the
// UE's own (RFC 8684 §5). The oldest gives way: a UE's third ACK comes a round trip after
// its SYN.
const maxJoining = 8

// joinLife is how long a join may wait for its third ACK from the UE's last SYN on: longer
// than Linux waits between any two of its first six.
const joinLife = handshakeLife

// place is the index for one more subflow of c, with the 4-tuple of f if that is not nil: of
// a join that it replaces, a new one, or that of a subflow that is gone and holds no data;
// -1 if there is none. The first subflow keeps its place, since it names the connection.
func (p *Proxy) place(c *Conn, f *Subflow) int {
	if f != nil && f.conn == c && f.state == subflowJoining { // the UE begins it anew
		return int(f.index)
	}
	joining, oldest := 0, 0
	for i, s := range c.subflows {
		if s.state == subflowJoining {
			if joining == 0 || p.now.since(s.tsvalAt) > p.now.since(c.subflows[oldest].tsvalAt) {
				oldest = i
			}
			joining++
		}
	}
	if joining == maxJoining {
		p.count.JoinExpired++
		return oldest
	}
	if len(c.subflows) < maxSubflows {
		return len(c.subflows)
	}
	held := c.holding()
	for i, s := range c.subflows[1:] {
		if (s.state == subflowDead || s.state == subflowClosing) && held>>s.index&1 == 0 {
			return i + 1
		}
	}
	return -1
}

// holding is the set of subflows to which downlink data are mapped that the UE lacks.
func (c *Conn) holding() (set uint32) {
	for at := c.down.runs.Search(c.down.acked); at.OK(); at.Next() {
		set |= 1 << at.Run().Sub
	}
	for at := c.down.copies.Search(c.down.acked); at.OK(); at.Next() {
		set |= 1 << at.Run().Sub
	}
	return set
}

// expireJoins gives up the joins of c whose third ACK did not come, and has c looked at
// when the next is due.
func (p *Proxy) expireJoins(c *Conn) {
	for _, s := range c.subflows {
		if s.state != subflowJoining {
			continue
		}
		if age := p.now.since(s.tsvalAt); age < joinLife {
			p.arm(c, p.now+joinLife-age)
			continue
		}
		s.state = subflowDead
		p.count.JoinExpired++
	}
}

// nextAddrID gives address IDs in turn, never 0, which stands for the first subflow's.
func (c *Conn) nextAddrID() uint8 {
	c.addrIDs++
	if c.addrIDs == 0 {
		c.addrIDs = 1
	}
	return c.addrIDs
}

// joinSYNACK answers the join's SYN g in place.
func (p *Proxy) joinSYNACK(f *Subflow, g *segment) {
	c := f.conn
	nonces := p.joins[f]
	mac := mptcp.JoinHMAC(c.local.Key, c.peer, nonces.ours, nonces.ue)
	o := p.opt()
	o.negotiation(min(c.srvMSS, f.session.mss(c.v6)), c.sackPermitted, c.timestamps, c.down.tsval, g.opt.tsval, c.scaled, c.srvScale)
	o.bytes(mptcp.AppendJoinSYNACK(p.scratch[:0], f.backup, f.addrID, &mac, nonces.ours))
	flags := packet.SYN | packet.ACK
	if f.ecn&ecnGranted != 0 {
		flags |= packet.ECE
	}
	g.buf.Reset()
	h := shape{
		src: &c.srv, dst: &f.ue, srcPort: c.srvPort, dstPort: f.uePort,
		v6: c.v6, ttl: defaultTTL, sn: f.ourISN, ack: f.ueISN + 1,
		flags: flags, window: field(c.up.rightEdge-c.up.acked, 0),
	}
	h.write(g.buf, 0, o)
	p.emit(f, g.buf)
}

// refuseJoin answers the join's SYN g with a reset that says why (RFC 8684 §3.6).
func (p *Proxy) refuseJoin(s *Session, a steer.Access, r Rule, g *segment, reason uint8) {
	p.count.JoinRefused++
	p.resetSYN(s, a, r, g, mptcp.AppendTCPRST(p.scratch[:0], reason))
}

// uplinkJoining takes a packet of a subflow whose third ACK has not come.
func (p *Proxy) uplinkJoining(f *Subflow, g *segment) {
	c, o := f.conn, &g.opt.mp
	switch {
	case g.tcp.SN() != f.ueISN+1:
		if g.flags&packet.RST != 0 {
			p.count.DropReset++
		} else {
			p.count.DropOutOfWindow++
		}
		p.pool.Put(g.buf)
		return
	case g.flags&packet.RST != 0:
		f.state = subflowDead
		p.discard(g.buf, &p.count.DropStale)
		return
	case g.flags&(packet.SYN|packet.ACK) != packet.ACK:
		p.discard(g.buf, &p.count.DropMalformed)
		return
	case g.tcp.AckSN() != f.sn(1):
		p.discard(g.buf, &p.count.DropBadACK)
		return
	case o.Present&mptcp.Join == 0 && g.flags&packet.FIN != 0:
		// The UE gives the join up before its third ACK came through.
		p.resetUE(f, mptcp.AppendTCPRST(p.scratch[:0], mptcp.ReasonMPTCP))
		p.discard(g.buf, &p.count.DropStale)
		return
	case o.Present&mptcp.Join == 0 || o.JoinLen != 24:
		p.discard(g.buf, &p.count.DropStale)
		return
	}
	nonces := p.joins[f]
	want := mptcp.JoinHMAC(c.peer, c.local.Key, nonces.ue, nonces.ours)
	if !hmac.Equal(want[:], o.JoinHMAC[:]) {
		p.count.JoinBadHMAC++
		p.resetUE(f, mptcp.AppendTCPRST(p.scratch[:0], mptcp.ReasonMPTCP))
		p.pool.Put(g.buf)
		return
	}
	f.state = subflowEstablished
	delete(p.joins, f)
	f.cameOver(g)
	f.noteTS(g, p.now)
	p.count.Subflows++
	c.refresh()
	p.pool.Put(g.buf)
	p.ackUE(f, f.ueTSval) // the fourth ACK: the UE repeats its third until this comes
	p.confirm(f)
}

// confirm sends a byte that the UE drops at data level on a join, the first there: its
// acknowledgment shows that the UE has the fourth ACK, opens the UE's window for data
// out of DSN order if it has sent no DSS yet, and measures the round trip. If it is
// lost it is filled like any hole.
func (p *Proxy) confirm(f *Subflow) {
	d := f.conn.received() - 1
	f.down.Append(&p.maps, dsm.Run{At: f.next, To: d, N: 1})
	f.next++
	f.path.time(f.next, p.now)
	p.sending(f)
	p.sendFiller(f, d, f.next-1, 1)
}
