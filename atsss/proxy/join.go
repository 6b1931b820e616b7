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
		p.joinSYNACK(f, g) // a retransmission: the same answer
		return
	case c == nil || c.state != stateEstablished || c.ended():
		p.refuseJoin(s, a, r, g, mptcp.ReasonMPTCP)
		return
	case g.in.Dst != c.srv || g.in.DstPort != c.srvPort || f != nil && f.live():
		p.refuseJoin(s, a, r, g, mptcp.ReasonProhibited)
		return
	}
	i := c.place()
	if i < 0 || !p.flows.room(uplinkKey(s, g.in)) {
		p.refuseJoin(s, a, r, g, mptcp.ReasonResources)
		return
	}
	f = p.addSubflow(c, i, s, a, r, g)
	f.state = subflowJoining
	f.ourISN = uint32(p.rand())
	f.peerID, f.ueNonce, f.ourNonce = g.opt.mp.JoinID, g.opt.mp.JoinNonce, uint32(p.rand())
	f.addrID = c.nextAddrID()
	f.backup = c.wantsBackup(f)
	if !c.scaled {
		f.scale = 0
	}
	if c.timestamps {
		// The first subflow's clock now, less this one's: both tick in milliseconds.
		first := c.subflows[0]
		f.tsOffset = first.ueTSval + uint32((p.now-first.tsvalTime)/millisecond) - g.opt.tsval
	}
	p.joinSYNACK(f, g)
}

// place is the index for one more subflow: a new one, or that of a subflow that is gone
// and holds no data; -1 if there is none. The first subflow keeps its place, since it
// names the connection.
func (c *Conn) place() int {
	if len(c.subflows) < maxSubflows {
		return len(c.subflows)
	}
	for i, f := range c.subflows[1:] {
		if (f.state == subflowDead || f.state == subflowClosing) && !c.holds(f.index) {
			return i + 1
		}
	}
	return -1
}

// holds says whether downlink data that the UE lacks are mapped to subflow sub.
func (c *Conn) holds(sub uint8) bool {
	for at := c.down.runs.Search(c.down.acked); at.OK(); at.Next() {
		if at.Run().Sub == sub {
			return true
		}
	}
	return false
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
	mac := mptcp.JoinHMAC(c.local.Key, c.peer, f.ourNonce, f.ueNonce)
	o := p.opt()
	o.negotiation(min(c.srvMSS, f.session.mss(c.v6)), c.sackPermitted, c.timestamps, c.down.tsval, g.opt.tsval, c.scaled, c.srvScale)
	o.bytes(mptcp.AppendJoinSYNACK(p.scratch[:0], f.backup, f.addrID, &mac, f.ourNonce))
	g.buf.Reset()
	h := shape{
		src: &c.srv, dst: &f.ue, srcPort: c.srvPort, dstPort: f.uePort,
		v6: c.v6, ttl: defaultTTL, sn: f.ourISN, ack: f.ueISN + 1,
		flags: packet.SYN | packet.ACK, window: field(c.up.rightEdge-c.up.acked, 0),
	}
	h.write(g.buf, 0, o)
	p.emit(f, g.buf)
}

// refuseJoin answers the join's SYN g with a reset that says why (RFC 8684 §3.6).
func (p *Proxy) refuseJoin(s *Session, a steer.Access, r Rule, g *segment, reason uint8) {
	p.count.JoinRefused++
	h := shape{
		src: &g.in.Dst, dst: &g.in.Src, srcPort: g.in.DstPort, dstPort: g.in.SrcPort,
		v6: g.in.Version == 6, ttl: defaultTTL, ack: g.tcp.SN() + 1,
		flags: packet.RST | packet.ACK,
	}
	o := p.opt()
	o.bytes(mptcp.AppendTCPRST(p.scratch[:0], reason))
	g.buf.Reset()
	h.write(g.buf, 0, o)
	p.out.ToUE = append(p.out.ToUE, ToUE{Buf: g.buf, Session: s, Access: a, PDR: r.PDR})
}

// uplinkJoining takes a packet of a subflow whose third ACK has not come.
func (p *Proxy) uplinkJoining(f *Subflow, g *segment) {
	c, o := f.conn, &g.opt.mp
	switch {
	case g.flags&packet.RST != 0:
		f.state = subflowDead
		p.discard(g.buf, &p.count.DropStale)
		return
	case g.tcp.AckSN() != f.sn(1):
		p.discard(g.buf, &p.count.DropStale)
		return
	case o.Present&mptcp.Join == 0 && g.flags&packet.FIN != 0:
		// The UE gives the join up before its third ACK came through.
		p.resetUE(f, mptcp.AppendTCPRST(p.scratch[:0], mptcp.ReasonMPTCP))
		p.discard(g.buf, &p.count.DropStale)
		return
	case o.Present&mptcp.Join == 0 || o.JoinLen != 24 || g.tcp.SN() != f.ueISN+1:
		p.discard(g.buf, &p.count.DropStale)
		return
	}
	want := mptcp.JoinHMAC(c.peer, c.local.Key, f.ueNonce, f.ourNonce)
	if !hmac.Equal(want[:], o.JoinHMAC[:]) {
		p.count.JoinBadHMAC++
		p.resetUE(f, mptcp.AppendTCPRST(p.scratch[:0], mptcp.ReasonMPTCP))
		p.pool.Put(g.buf)
		return
	}
	f.state = subflowEstablished
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
