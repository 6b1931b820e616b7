package proxy

import "github.com/braid-upf/braid/packet"

// Data in the SYN (RFC 7413; RFC 8684 §B.1) go to the server with it. If the server takes
// them the connection is MPTCP, with the DSN space beginning after them. If not, the Linux
// client will not speak MPTCP and the connection is plain TCP.

// fastOpen appends the Fast Open option of the SYN or SYN/ACK g, a request for a cookie
// or a cookie (RFC 7413 §4.1.1), if it has one and 40 bytes allow it: with timestamps and
// MP_CAPABLE a SYN/ACK has no room for more than 4 bytes of cookie.
func (o *options) fastOpen(g *segment) {
	if b := g.fastOpen(); b != nil && o.len()+(len(b)+3)&^3 <= 40 {
		o.bytes(b)
	}
}

// moveOrigin has the uplink positions and SSNs begin n bytes later: the payload of a SYN
// is not part of the DSN space, IDSN + 1 is the byte after it.
func (c *Conn) moveOrigin(f *Subflow, n uint32) {
	c.ueISN += n
	f.ueISN += n
}

// maxEarly is how many packets of a server are held for a connection before its third
// ACK, an initial window (RFC 6928); maxHeld is how many for all connections.
const (
	maxEarly = 10
	maxHeld  = 1024
)

// holdEarly takes data of the server before the third ACK. Nothing can be translated
// before key A is known. A server that has data so early knows the UE's request from its
// SYN: they are kept for the round trip, else it would have to send them again after a
// timeout and Fast Open would slow the UE down.
func (p *Proxy) holdEarly(c *Conn, g *segment) {
	if c.synTaken == 0 || len(p.early[c]) == maxEarly || p.held == maxHeld {
		p.discard(g.buf, &p.count.DropBeforeKeys)
		return
	}
	p.early[c] = append(p.early[c], g.buf)
	p.held++
}

// takeEarly works on what was held for c, now that it is established.
func (p *Proxy) takeEarly(c *Conn) {
	held := p.early[c]
	delete(p.early, c)
	p.held -= len(held)
	for _, buf := range held {
		var in packet.Info
		packet.Parse(buf.Bytes(), &in) // both took it before
		p.seg.read(buf, &in)
		if c.state == stateEstablished {
			p.downlinkData(c, &p.seg)
		} else {
			p.discard(buf, &p.count.DropStale)
		}
	}
}

// dropEarly gives up what was held for c.
func (p *Proxy) dropEarly(c *Conn) {
	p.held -= len(p.early[c])
	for _, buf := range p.early[c] {
		p.discard(buf, &p.count.DropBeforeKeys)
	}
	delete(p.early, c)
}
