package proxy

import (
	"encoding/binary"

	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// Proxy holds the proxied connections of one worker.
type Proxy struct {
	cfg  Config
	pool *packet.Pool
	keys *mptcp.KeyPool
	rand func() uint64

	flows  flowTable
	tokens map[uint32]*Conn
	joins  map[*Subflow]joinNonces // those that wait for their third ACK
	timers wheel
	maps   dsm.Pool // memory of the connections' mappings
	count  Counters
	early  map[*Conn][]*packet.Buffer // of servers, before the third ACK
	held   int                        // packets in early

	cookieKey [16]byte      // of the cookies that the converter asks for
	aside     []toConverter // packets for the converter itself

	steered map[*Conn]*steering // connections whose policy the user has set

	// Scratch of the packet being worked on.
	now     Time
	out     *Out
	seg     segment
	info    packet.Info // of a packet that is read again, or of our own making
	options options     // of the packet being written
	scratch [40]byte    // of one MPTCP option on its way there
	blocks  []dsm.Range
	sackSet dsm.Ranges
	status  ConnStatus // for a scheduler
}

// New makes a proxy without connections.
func New(cfg Config) *Proxy {
	p := &Proxy{
		cfg: cfg, pool: cfg.Pool, keys: cfg.Keys, rand: cfg.Rand,
		flows: newFlowTable(cfg.Rand), tokens: make(map[uint32]*Conn), joins: make(map[*Subflow]joinNonces),
		early:  make(map[*Conn][]*packet.Buffer),
		blocks: make([]dsm.Range, 0, 5),
	}
	binary.BigEndian.PutUint64(p.cookieKey[:], cfg.Rand())
	binary.BigEndian.PutUint64(p.cookieKey[8:], cfg.Rand())
	return p
}

// Counters gives the proxy's counters; only the goroutine that calls the proxy may
// read them.
func (p *Proxy) Counters() *Counters { return &p.count }

// Connections is the number of connections that the proxy holds, closed ones that
// linger included.
func (p *Proxy) Connections() int { return len(p.tokens) }

// Idle says that no timer runs: Tick has nothing to do until the next packet.
func (p *Proxy) Idle() bool { return p.timers.n == 0 && p.keys.Full() }

// Uplink takes a TCP packet of the UE that came over access a of session s. buf holds
// the inner IP packet, whole and unfragmented, and in what [packet.Parse] says of it.
// r is the rule of the downlink PDR that the server's packets match; r.Policy is nil
// where no MAR with MPTCP applies, and no new connection is taken then.
func (p *Proxy) Uplink(now Time, s *Session, a steer.Access, r Rule, buf *packet.Buffer, in *packet.Info, out *Out) Verdict {
	p.now, p.out = now, out
	g := &p.seg
	f := p.flows.find(uplinkKey(s, in))
	if f == nil && s.Converter != nil || f != nil && f.conn.convert != nil {
		if v, done := p.uplinkConvert(s, a, r, f, buf, in); done {
			return v
		}
	}
	if f == nil && (r.Policy == nil || r.Policy.Functionality != steer.MPTCP || !isSYN(buf, in)) {
		p.Heard(now, s, a)
		return NotProxied
	}
	if reason := g.read(buf, in); reason != packet.OK {
		p.refuse(reason, buf)
		return Taken
	}
	p.Heard(now, s, a)
	p.count.IgnoredOptions += uint64(g.opt.mp.Ignored)
	if g.flags&(packet.SYN|packet.ACK) == packet.SYN {
		return p.uplinkSYN(s, a, r, f, g)
	}
	g.access, g.pdr = a, r.PDR
	f.conn.lastActive = now.stamp()
	v := p.uplinkFlow(f, g)
	if len(p.aside) > 0 {
		p.runAside()
	}
	return v
}

// drop removes what leads to subflow f.
func (p *Proxy) drop(f *Subflow) {
	p.flows.remove(f)
	delete(p.joins, f)
	if f.session != f.conn.session {
		f.session.removeGuest(f)
	}
}

// isSYN says whether the packet is a SYN without ACK; false if it is too short.
func isSYN(buf *packet.Buffer, in *packet.Info) bool {
	b := buf.Bytes()
	return in.End-in.L4 >= packet.TCPHeaderLen && b[in.L4+13]&(packet.SYN|packet.ACK) == packet.SYN
}

// Downlink takes a TCP packet from N6 for a UE address of session s; buf and in as
// for Uplink; r is the rule of the PDR that it matches.
func (p *Proxy) Downlink(now Time, s *Session, r Rule, buf *packet.Buffer, in *packet.Info, out *Out) Verdict {
	f := p.flows.find(downlinkKey(s, in))
	if f == nil || f.index != 0 || f.conn.convert != nil && f.conn.convert.srv != in.Src {
		return NotProxied
	}
	p.now, p.out = now, out
	g := &p.seg
	if reason := g.read(buf, in); reason != packet.OK {
		p.refuse(reason, buf)
		return Taken
	}
	c := f.conn
	c.lastActive = now.stamp()
	if r.Policy != nil && r != c.rule {
		p.obey(c, r)
	}
	switch c.state {
	case stateEstablished:
		p.downlinkData(c, g)
		return Taken
	case stateSYN, stateSYNACK:
		if c.convert != nil {
			p.serverHandshake(c, g)
			p.runAside()
			return Taken
		}
		return p.downlinkHandshake(c, g)
	case stateRelay:
		if c.convert != nil {
			p.relayDown(c, g)
			return Taken
		}
		g.stripMPTCP()
		return p.relayed(c, g.flags, 2)
	default:
		p.downlinkClosed(c, g)
		return Taken
	}
}

// refuse drops a malformed packet.
func (p *Proxy) refuse(r packet.Reason, buf *packet.Buffer) {
	if r == packet.BadChecksum {
		p.discard(buf, &p.count.DropChecksum)
	} else {
		p.discard(buf, &p.count.DropMalformed)
	}
}

// discard gives buf back and counts it.
func (p *Proxy) discard(buf *packet.Buffer, counter *uint64) {
	*counter++
	p.pool.Put(buf)
}

// cameOver notes which way the packet g of f came: what goes to the UE on f goes back there.
func (f *Subflow) cameOver(g *segment) {
	f.pdr = g.pdr
	if f.access != g.access {
		f.access = g.access
		f.conn.refresh()
	}
}

// uplinkFlow takes a packet other than a SYN of subflow f.
func (p *Proxy) uplinkFlow(f *Subflow, g *segment) Verdict {
	c := f.conn
	if c.state != stateEstablished {
		f.cameOver(g)
	}
	switch c.state {
	case stateSYN, stateSYNACK:
		if c.convert != nil {
			p.convertHandshake(f, g)
			return Taken
		}
		return p.uplinkHandshake(f, g)
	case stateRelay:
		if c.convert != nil {
			p.relayUp(f, g)
			return Taken
		}
		g.stripMPTCP()
		return p.relayed(c, g.flags, 1)
	case stateClosed:
		p.uplinkClosed(f, g)
	case stateEstablished:
		if f.state == subflowJoining {
			p.uplinkJoining(f, g)
		} else {
			p.uplinkData(f, g)
		}
	}
	return Taken
}

// EndSession forgets the connections of s, whose session is gone.
func (p *Proxy) EndSession(s *Session) {
	for c := s.conns; c != nil; c = s.conns {
		p.forget(c)
	}
	p.EndGuests(s)
}

// forget removes c and everything that leads to it.
func (p *Proxy) forget(c *Conn) {
	p.over(c)
	p.dropEarly(c)
	c.handshakeEnds()
	if c.state == stateSYN { // nobody has seen the key
		p.keys.Put(c.keyPair())
	}
	p.flows.removeN6(c)
	if v := c.convert; v != nil && v.held != nil {
		p.discard(v.held, &p.count.DropStale)
	}
	for _, f := range c.subflows {
		p.drop(f)
	}
	p.freeMaps(c)
	if k := c.keyPair(); p.tokens[k.Token] == c {
		delete(p.tokens, k.Token)
	}
	p.timers.remove(c)
	c.session.unlink(c)
	c.session.forgetSilence()
}

// close ends c: late packets are answered for a while, then it is forgotten.
func (p *Proxy) close(c *Conn) {
	c.state = stateClosed
	p.over(c)
	p.arm(c, p.now+lingerLife)
	p.freeMaps(c)
}

// freeMaps forgets the mappings of c, and what was SACKed.
func (p *Proxy) freeMaps(c *Conn) {
	c.down.runs.Free(&p.maps)
	c.down.copies.Free(&p.maps)
	c.up.sacked.Free(&p.maps)
	c.up.void.Free(&p.maps)
	for _, f := range c.subflows {
		f.freeMaps()
	}
}

// freeMaps forgets the mappings of f, and what was SACKed.
func (f *Subflow) freeMaps() {
	m := &f.conn.session.proxy.maps
	f.down.Free(m)
	f.up.Free(m)
	f.sacked.Free(m)
}

// relay makes c pass packets from now on, unchanged but for MPTCP options.
func (p *Proxy) relay(c *Conn) {
	p.dropEarly(c)
	c.handshakeEnds()
	c.state = stateRelay
	p.over(c)
}

// relayed notes the end of a connection that passes unchanged; side is a bit for the
// end that sent the packet.
func (p *Proxy) relayed(c *Conn, flags, side uint8) Verdict {
	if flags&packet.FIN != 0 {
		c.relayFIN |= side
	}
	if c.relayFIN == 3 || flags&packet.RST != 0 {
		p.finish(c)
	}
	return NotProxied
}
