package proxy

import (
	"slices"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// slack is how far beyond the peer's window a number may lie before its packet is
// unacceptable. Numbers here lag: a subflow is acknowledged what the server has, not what
// has arrived, and fillers and probes take SSNs beside the UE's window.
const slack = 1 << 16

// challengeInterval is the least time between two answers to unacceptable packets of one
// subflow, or of one server: each could be answered in turn (RFC 5961 §7). It is kept per
// connection, since one kept for all tells an attacker of the others (CVE-2016-5696);
// Linux has the same 500 ms.
const challengeInterval = 500 * millisecond

// uplinkAcceptable says whether a packet of the UE at ssn, with n bytes, is one to take at
// all, and answers it if not (RFC 9293 §3.10.7.4, RFC 5961 §4.2 and §5.2): its SN lies in
// the window and what it acknowledges has been sent, and not long ago. Nothing of any
// other changes a state: without these checks whoever knows the 4-tuple could forge an
// MP_FAIL, a REMOVE_ADDR or a DATA_ACK.
//
// Old SNs down to a window below the expected one are taken too, where RFC 9293 would
// answer and drop: the proxy itself answers them, and their DATA_ACK may be news.
func (p *Proxy) uplinkAcceptable(f *Subflow, g *segment, ssn int64) bool {
	window := int64(f.conn.up.window) + slack
	switch {
	case ssn > f.rcvNext+window || ssn+int64(len(g.payload)) < f.rcvNext-window:
		p.count.DropOutOfWindow++
		if g.flags&packet.RST == 0 {
			p.challengeUE(f)
		}
	case g.flags&packet.RST != 0:
		return true
	case g.flags&packet.SYN != 0:
		p.count.DropSYN++
		p.challengeUE(f)
	case g.flags&packet.ACK == 0:
		p.count.DropMalformed++
	case !f.acknowledgeable(expand(f.acked, g.tcp.AckSN()-f.ourISN)):
		p.count.DropBadACK++
		p.challengeUE(f)
	default:
		return true
	}
	p.pool.Put(g.buf)
	return false
}

// acknowledgeable says whether ack, an SSN, is one that the UE may acknowledge.
func (f *Subflow) acknowledgeable(ack int64) bool {
	if ack < f.acked-int64(f.conn.down.window)-slack {
		return false
	}
	return ack <= f.next || ack == f.next+1 && f.finSent
}

// downlinkAcceptable is uplinkAcceptable for a packet of the server at position d that
// acknowledges u.
func (p *Proxy) downlinkAcceptable(c *Conn, g *segment, d, u int64) bool {
	end := d + int64(len(g.payload))
	switch {
	case d > max(c.down.rightEdge, c.down.next)+1 || end < c.down.acked-int64(c.down.window)-slack:
		p.count.DropOutOfWindow++
		if g.flags&packet.RST == 0 {
			p.challengeServer(c)
		}
	case g.flags&packet.RST != 0:
		return true
	case g.flags&packet.SYN != 0:
		if g.flags&packet.ACK != 0 && g.tcp.SN() == c.srvAckSN(c.base())-1 && g.tcp.AckSN() == c.srvSN(c.first()) {
			p.ackServer(c, nil) // our third ACK was lost
		} else {
			p.count.DropSYN++
			p.challengeServer(c)
		}
	case g.flags&packet.ACK == 0:
		p.count.DropMalformed++
	case u < c.up.acked-int64(c.up.window)-slack || u > c.up.limit():
		p.count.DropBadACK++
		p.challengeServer(c)
	default:
		return true
	}
	p.pool.Put(g.buf)
	return false
}

// limit is the highest position that the server may acknowledge.
func (u *uplink) limit() int64 {
	if u.finSent {
		return max(u.next, u.fin+1)
	}
	return u.next
}

// challengeUE answers an unacceptable packet on f with the numbers expected there.
func (p *Proxy) challengeUE(f *Subflow) {
	if f.state == subflowDead || p.now.since(f.challenged) < challengeInterval {
		return
	}
	f.challenged = p.now.stamp()
	p.count.Challenges++
	p.ackUE(f, f.ueTSval)
}

// challengeServer answers an unacceptable packet of the server likewise.
func (p *Proxy) challengeServer(c *Conn) {
	if p.now.since(c.challenged) < challengeInterval {
		return
	}
	c.challenged = p.now.stamp()
	p.count.Challenges++
	p.ackServer(c, nil)
}

// expectedSSN says whether an RST of the UE at ssn is to be believed: RFC 5961 §3.2 asks
// for exactly the SN that the receiver expects. That is what the UE was acknowledged, but
// a UE names the end of what it sent, of which some may not have come to the server yet:
// the end of what came in order, or of all that came (as Linux takes the end of SACKed
// data), counts as well.
func (f *Subflow) expectedSSN(ssn int64) bool {
	end := f.rcvNext
	if ssn == end {
		return true
	}
	walk := maxWalk
	for at := f.up.Search(end); at.OK() && at.Run().At <= end && walk > 0; at.Next() {
		end = at.Run().End()
		walk--
	}
	if last := f.up.End(); last.Prev() && ssn == last.Run().End() {
		return true
	}
	return ssn == end || f.fin != none && ssn == f.fin+1
}

// expectedD says whether an RST of the server at position d is to be believed: as
// expectedSSN, the end of what came counts, and what the server was acknowledged.
func (c *Conn) expectedD(d int64) bool {
	return d == c.down.acked || d == c.down.ackSent || d == c.down.next || c.down.fin != none && d == c.down.fin+1
}

// strayOptions counts those of o that mean nothing on f, which is established: handshakes of
// another kind or with other keys, echoes of what was never sent, IDs of no subflow.
func (p *Proxy) strayOptions(f *Subflow, o *mptcp.Options) {
	c := f.conn
	stray := func(is bool) {
		if is {
			p.count.IgnoredOptions++
		}
	}
	if o.Present&mptcp.Capable != 0 {
		stray(f.index != 0 || o.CapableLen < 20 || o.SenderKey != c.peer || o.ReceiverKey != c.local.Key)
	}
	if o.Present&mptcp.Join != 0 {
		stray(f.index == 0 || o.JoinLen != 24 || f.confirmed()) // it repeats its third ACK until then
	}
	if o.Present&mptcp.AddAddr != 0 {
		stray(o.AddAddrEcho)
	}
	if o.Present&mptcp.RemoveAddr != 0 {
		stray(!c.hasPeerID(o.RemovedIDs[:o.RemovedCount]))
	}
	if o.Present&mptcp.Fail != 0 {
		stray(!c.checksum)
	}
	if o.Present&mptcp.Prio != 0 {
		p.count.Prios++
	}
	stray(o.Present&mptcp.TCPRST != 0)
}

// hasPeerID says whether one of the IDs is that of a subflow's address at the UE.
func (c *Conn) hasPeerID(ids []uint8) bool {
	for _, s := range c.subflows {
		if slices.Contains(ids, s.peerID) {
			return true
		}
	}
	return false
}
