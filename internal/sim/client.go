package sim

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// clientPlan is what the client's application and host do.
type clientPlan struct {
	send     int64
	response int64 // downlink bytes awaited before anything is sent
	expect   int64
	close    closeWhen
	abortAt  int64 // fast close once so many bytes were received or DATA_ACKed; 0 = never
	buffer   int64
	reader   reader

	convert    *convertPlan // nil = straight to the server
	plain      bool         // no MPTCP at all
	checksum   bool
	dropMPC    bool          // third ACK and all that follows without MPTCP, as if a middlebox had stripped the SYN/ACK
	lag        time.Duration // received data wait so long before MPTCP sees them
	lagQuiet   bool          // and no ACK tells of it afterwards
	longestSkb int           // in segments
	scheduler  scheduler
	eager      float64 // probability that, with new data, old ones go out again on another subflow
}

// counters that must stay 0 (PROTOCOL §3.21-9, named as Linux names them).
type clientStats struct {
	DSSNotMatching, DSSNoMatchTCP, DSSCorruption, DssFallback, MPCapableDataFallback int
	NoDSSInWindow, DuplicateData, MPRstTx, Reinjected, JoinHMAC, DSSChecksum         int
	StaleSubflows, Joined, JoinEarlyData, Echoes, OrphansGivenUp                     int
}

// client is one MPTCP connection of the UE: Linux's msk.
type client struct {
	clientPlan
	clock    *Clock
	rng      *rand.Rand
	fail     func(format string, args ...any)
	up, down stream
	remote   endpoint

	keyA, keyB   uint64
	tokenB       uint32
	idsnA, idsnB uint64
	subs         []*subflow // in the order of their SYNs; the first one is subs[0]

	refused  bool // the converter could not reach the server
	gaveUp   bool // the SYN went out without MP_CAPABLE
	fallback bool
	full     bool // first subflow fully established
	joined   bool // some join was: no fallback any more

	// Sending, positions u. wrote counts the application's bytes.
	wrote, una, nxt, pend, wndEnd int64
	fin, finAcked                 bool
	retransmitted                 bool
	turn                          int // of schedRoundRobin
	rtxTimer                      *Timer
	finTimer                      *Timer
	finRetries                    int

	// Receiving, positions d.
	rcvNxt  int64         // first missing byte
	readAt  time.Duration // when it last moved
	ooo     []rxPiece
	wndSent int64 // right edge of the last DSS that carried one
	finAt   int64 // d of the DATA_FIN, -1 = not seen
	finGot  bool
	ack8    bool
	unread  int64
	backlog []rxPiece

	announced *addAddr // ADD_ADDR that waits for its echo
	err       error
	isEnded   bool
	stats     clientStats
}

// rxPiece is a piece of the downlink stream.
type rxPiece struct {
	d    int64
	data []byte
}

func (p rxPiece) end() int64 { return p.d + int64(len(p.data)) }

// pathOf is one of the client's ways to the network.
type pathOf struct {
	access steer.Access
	addr   netip.Addr
	port   uint16
	tcp    tcpConfig
	id     byte
	backup bool
}

func newClient(c *client) *client {
	c.finAt = -1
	_, c.idsnA = derive(c.keyA)
	if c.convert != nil {
		c.useConverter()
	}
	return c
}

// open starts the connection over p.
func (c *client) open(p pathOf, server endpoint, out func(*segment)) {
	f := c.newSubflow(p, out)
	if c.convert != nil {
		f.synData, f.quietSYN = c.synPayload(server), c.convert.early
	}
	f.capable = !c.plain
	f.connect()
}

// join adds a subflow.
func (c *client) join(p pathOf, out func(*segment)) {
	if c.fallback || c.isEnded || !c.full || c.fin && c.finGot {
		return
	}
	f := c.newSubflow(p, out)
	f.join = true
	f.nonceA = c.rng.Uint32()
	f.connect()
}

func (c *client) newSubflow(p pathOf, out func(*segment)) *subflow {
	f := &subflow{c: c, access: p.access, id: p.id, backup: p.backup, copied: 1}
	f.tcp = &tcp{
		tcpConfig: p.tcp, name: "client", clock: c.clock, rng: c.rng, user: f, out: out, fail: c.fail,
		local: endpoint{p.addr, p.port}, remote: c.remote,
	}
	c.subs = append(c.subs, f)
	return f
}

// dataAck is the DATA_ACK as a position: a DATA_FIN counts one.
func (c *client) dataAck() int64 {
	if c.finGot {
		return c.rcvNxt + 1
	}
	return c.rcvNxt
}

func (c *client) eof() bool {
	if c.fallback {
		return c.subs[0].finRcvd
	}
	return c.finGot
}

// done: everything was received and acknowledged, both sides closed.
func (c *client) done() bool {
	if c.fallback {
		return c.rcvNxt == c.expect && c.eof() && c.fin && c.finAcked
	}
	return c.finGot && c.finAcked && c.rcvNxt == c.expect
}

// act is the application: write, close, abort.
func (c *client) act() {
	if c.isEnded {
		return
	}
	if c.abortAt > 0 && (c.rcvNxt >= c.abortAt || c.una >= c.abortAt) {
		c.fastClose()
		return
	}
	if c.wrote < c.send && c.rcvNxt >= c.response {
		c.wrote = c.send
	}
	switch {
	case c.wrote < c.send:
	case c.close == closeAfterAll && c.rcvNxt < c.expect:
	case c.close == closeAfterEOF && !c.eof():
	default:
		c.fin = true
	}
	c.push()
}

// fastClose aborts: RST with MP_FASTCLOSE on every subflow.
func (c *client) fastClose() {
	c.end(errAborted)
	for _, f := range c.subs {
		f.fastClosing = !c.fallback
		f.abort()
	}
}

func (c *client) end(err error) {
	if c.isEnded {
		return
	}
	c.isEnded, c.err = true, err
	c.clock.Stop(c.rtxTimer)
	c.clock.Stop(c.finTimer)
}

// alive are the subflows that can carry data now.
func (c *client) alive(f *subflow) bool {
	return f.synchronized() && (f.full || f == c.subs[0] && !f.join) && !f.closing && f.state != timeWait && !f.fin
}

// receivedPiece takes data that a subflow mapped; with lag they wait. The caller
// calls moved when it has passed all it has.
func (c *client) receivedPiece(d int64, data []byte) {
	if c.lag == 0 {
		c.move(rxPiece{d, data})
		return
	}
	if c.backlog = append(c.backlog, rxPiece{d, data}); len(c.backlog) > 1 {
		return
	}
	c.clock.After(c.lag, func() {
		was := c.dataAck()
		for _, p := range c.backlog {
			c.move(p)
		}
		c.backlog = c.backlog[:0]
		c.moved()
		if !c.lagQuiet && c.dataAck() != was && !c.isEnded {
			c.ackAll()
		}
	})
}

// move is __mptcp_move_skb.
func (c *client) move(p rxPiece) {
	switch {
	case p.d == c.rcvNxt:
		c.take(p)
		c.takeOOO()
	case p.d > c.rcvNxt:
		if p.end() > c.wndSent {
			c.stats.NoDSSInWindow++
			c.fail("client: data d=%d-%d beyond the right edge %d that a DSS announced (NoDSSInWindow)", p.d, p.end(), c.wndSent)
			return
		}
		i := 0
		for i < len(c.ooo) && c.ooo[i].d <= p.d {
			if c.ooo[i].end() >= p.end() {
				c.stats.DuplicateData++
				return
			}
			i++
		}
		c.ooo = append(c.ooo, rxPiece{})
		copy(c.ooo[i+1:], c.ooo[i:])
		c.ooo[i] = p
	default: // old, or partly: the whole skb goes
		c.stats.DuplicateData++
	}
}

func (c *client) take(p rxPiece) {
	end := p.end()
	if p = c.takeReply(p); len(p.data) == 0 {
		c.rcvNxt = end
		return
	}
	if i := c.down.differs(p.d, p.data); i >= 0 {
		c.fail("client: byte d=%d is not what the server wrote", p.d+int64(i))
	}
	c.rcvNxt = p.end()
	c.readAt = c.clock.Now()
	c.unread += int64(len(p.data))
	if c.rcvNxt > c.expect {
		c.fail("client: %d bytes received, %d were written", c.rcvNxt, c.expect)
	}
}

func (c *client) takeOOO() {
	for len(c.ooo) > 0 && c.ooo[0].d <= c.rcvNxt {
		p := c.ooo[0]
		c.ooo = c.ooo[1:]
		if p.end() <= c.rcvNxt {
			c.stats.DuplicateData++
			continue
		}
		c.take(rxPiece{c.rcvNxt, p.data[c.rcvNxt-p.d:]})
	}
}

// moved follows every change of the receive side.
func (c *client) moved() {
	if c.refused {
		return
	}
	if c.finAt >= 0 && !c.finGot && c.rcvNxt == c.finAt {
		c.finGot = true
		if c.rcvNxt != c.expect {
			c.fail("client: DATA_FIN at %d, %d were written", c.rcvNxt, c.expect)
		}
		c.ackAll()
		c.closeSubflows()
	}
	if c.reader.chunk == 0 && c.clock.Now() >= c.reader.start {
		c.unread = 0
	}
	c.act()
}

// readLoop reads bit by bit and announces a window that opened.
func (c *client) readLoop() {
	wait := c.reader.every
	if c.reader.chunk == 0 {
		wait = c.reader.start - c.clock.Now()
	}
	c.clock.After(wait, func() {
		if c.isEnded {
			return
		}
		was := c.wndSent - c.rcvNxt
		if c.fallback {
			was = c.subs[0].rcvEdge - c.subs[0].rcvNxt
		}
		if c.reader.chunk == 0 {
			c.unread = 0
		}
		c.unread -= min(c.unread, c.reader.chunk)
		top := c.subs[0].maxWindow()
		if was < min(c.buffer, top)/2 && min(c.buffer-c.unread, top) >= was+int64(c.subs[0].mss) {
			c.ackAll()
		}
		if c.reader.chunk > 0 {
			c.readLoop()
		}
	})
}

// ackAll sends an ACK on every subflow from outside TCP: the timestamp clock stands.
func (c *client) ackAll() {
	for _, f := range c.subs {
		if f.synchronized() && f.state != timeWait && (c.fallback || f.full || !f.join) {
			f.sendACK(false)
		}
	}
}

// closeSubflows sends the subflows' FINs once both DATA_FINs are acknowledged.
func (c *client) closeSubflows() {
	if !c.finGot || !c.finAcked {
		return
	}
	for _, f := range c.subs {
		f.closing, f.orphan = true, true
		f.shutdown()
		if f.state == synSent {
			f.finish(nil)
		}
	}
	c.end(nil)
}

// removeSubflow takes one address away: REMOVE_ADDR elsewhere, FIN here.
func (c *client) removeSubflow(f *subflow) {
	for _, g := range c.subs {
		if g != f && c.alive(g) {
			g.pending.removeAddr = []byte{f.id}
			g.sendACK(true)
			break
		}
	}
	c.dropSubflow(f)
}

// dropSubflow closes a subflow and sends what it had again elsewhere.
func (c *client) dropSubflow(f *subflow) {
	if f.closing || !f.synchronized() {
		return
	}
	f.closing = true
	f.shutdown()
	c.rewind()
}

// announce sends ADD_ADDR, again until the echo came.
func (c *client) announce(id byte, addr netip.Addr, tries int) {
	body := append([]byte{id}, addr.AsSlice()...)
	mac := macOf(c.keyA, c.keyB, append(append([]byte(nil), body...), 0, 0))
	c.announced = &addAddr{body: body, hmac: mac[24:]}
	for _, f := range c.subs {
		if c.alive(f) {
			f.pending.addAddr = c.announced
			f.sendACK(true)
			break
		}
	}
	c.clock.After(400*time.Millisecond, func() {
		if c.announced != nil && tries > 1 && !c.isEnded {
			c.announce(id, addr, tries-1)
		}
	})
}

// setPrio changes a subflow's backup flag and tells the peer.
func (f *subflow) setPrio(backup bool) {
	f.pending.prio = &backup
	f.sendACK(true)
}

// canFallBack is mptcp_try_fallback's condition.
func (c *client) canFallBack() bool { return !c.joined && !c.retransmitted && len(c.ooo) == 0 }
