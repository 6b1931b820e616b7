package sim

import (
	"errors"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// sentMap is the mapping of one skb: bytes off..off+n of the subflow are u..u+n.
type sentMap struct {
	off, n, u int64
}

// subflow is one TCP connection of a client: Linux's mptcp_subflow_context.
type subflow struct {
	*tcp
	c        *client
	access   steer.Access
	id       byte // of our address
	remoteID byte // of the peer's, from a join's SYN/ACK
	backup   bool

	join           bool
	capable        bool // MPTCP was agreed on, as far as known
	full           bool // fully established
	keyless        bool // the key will not be told
	nonceA, nonceB uint32
	joinTimer      *Timer

	maps        []sentMap
	stale       bool
	staleUna    int64
	staleCount  int
	closing     bool
	fastClosing bool
	resetReason int
	pending     mpOpts // to go out with the next empty segment

	// Receiving: the active mapping.
	copied   int64
	mapValid bool
	mapD     int64
	mapSSN   int64
	mapLen   int64
	mapDSS   *dss
}

func (f *subflow) fill(off int64, b []byte) {
	if off < 1 {
		copy(b, f.synData[off-1+int64(len(f.synData)):])
		return
	}
	m := f.mapAt(off)
	f.c.up.read(m.u+off-m.off, b)
}

func (f *subflow) cut(off int64, n int) int {
	if off < 1 {
		return int(min(int64(n), 1-off))
	}
	m := f.mapAt(off)
	return int(min(int64(n), m.off+m.n-off))
}

func (f *subflow) mapAt(off int64) sentMap {
	for i := len(f.maps) - 1; i >= 0; i-- {
		if f.maps[i].off <= off {
			return f.maps[i]
		}
	}
	panic("sim: no mapping")
}

// decorate is mptcp_established_options.
func (f *subflow) decorate(s *segment, off int64) {
	c := f.c
	switch {
	case s.has(packet.SYN):
		f.decorateSYN(s)
	case c.fallback || f.state == timeWait || !f.capable && !f.join:
	case s.has(packet.RST):
		f.decorateRST(s)
	case f.join && !f.full:
		s.mp.join = &join{hmac: macOf(c.keyA, c.keyB, nonces(f.nonceA, f.nonceB))[:20]}
	case !f.join && !f.full && off <= 1 && !f.keyless:
		s.mp.capable = &capable{flags: c.flags(), keys: []uint64{c.keyA, c.keyB}, dataLen: -1, csum: csumNone}
		if len(s.payload) > 0 && off == 1 {
			m := f.mapAt(1)
			s.mp.capable.dataLen = int(m.n)
			if c.checksum {
				s.mp.capable.csum = c.mapChecksum(m, int(m.n))
			}
		}
	case len(s.payload) == 0 && f.pending.addAddr != nil:
		s.mp.addAddr, f.pending.addAddr = f.pending.addAddr, nil
	default:
		f.decorateDSS(s, off)
		if len(s.payload) == 0 {
			s.mp.removeAddr, f.pending.removeAddr = f.pending.removeAddr, nil
			s.mp.prio, f.pending.prio = f.pending.prio, nil
		}
	}
	f.decorateWindow(s)
	if !s.has(packet.SYN) && !s.has(packet.RST) {
		s.sacks = f.sackBlocks(40 - len(s.options()))
	}
}

// Linux gives up MPTCP with the third SYN's retransmission.
const capableSYNs = 3

func (f *subflow) decorateSYN(s *segment) {
	c := f.c
	switch {
	case f.join:
		s.mp.join = &join{backup: f.backup, id: f.id, token: c.tokenB, nonce: f.nonceA}
	case !c.plain && f.retries < capableSYNs:
		s.mp.capable = &capable{flags: c.flags(), dataLen: -1, csum: csumNone}
	default:
		f.capable, c.gaveUp = false, true
	}
}

func (f *subflow) decorateRST(s *segment) {
	if f.fastClosing {
		s.mp.fastClose = &f.c.keyB
	}
	r := byte(f.resetReason)
	s.mp.reset = &r
}

func (c *client) flags() byte {
	if c.checksum {
		return 0x81
	}
	return 0x01
}

func (c *client) mapChecksum(m sentMap, n int) int {
	b := make([]byte, m.n)
	c.up.read(m.u, b)
	return dssChecksum(c.idsnA+1+uint64(m.u), uint32(m.off), n, b)
}

// decorateDSS is mptcp_established_options_dss and mptcp_write_data_fin.
func (f *subflow) decorateDSS(s *segment, off int64) {
	c := f.c
	d := &dss{hasAck: true, ack8: c.ack8, ack: c.idsnB + 1 + uint64(c.dataAck()), csum: csumNone}
	s.mp.dss = d
	switch {
	case len(s.payload) > 0 && off < 1: // of the SYN: outside the DSN space
	case len(s.payload) > 0:
		m := f.mapAt(off)
		d.hasMap, d.map8, d.dsn, d.ssn, d.n = true, true, c.idsnA+1+uint64(m.u), uint32(m.off), int(m.n)
		if c.finShown() && m.u+m.n == c.wrote {
			d.fin = true
			d.n++
		}
		if c.checksum {
			d.csum = c.mapChecksum(m, d.n)
		}
	case c.finShown():
		d.hasMap, d.map8, d.fin, d.dsn, d.n = true, true, true, c.idsnA+1+uint64(c.wrote), 1
		if c.checksum {
			d.csum = dssChecksum(d.dsn, 0, 1, nil)
		}
	}
}

// decorateWindow announces the connection's shared window (mptcp_set_rwin).
func (f *subflow) decorateWindow(s *segment) {
	c := f.c
	free := max(c.buffer-c.unread, 0)
	if c.fallback || s.has(packet.SYN) {
		s.window = f.windowField(s, free)
		return
	}
	edge := max(c.rcvNxt+free, c.wndSent)
	shift := max(f.rcvShift, 0)
	v := (edge - c.rcvNxt) >> shift
	if edge == c.wndSent { // do not shrink by rounding
		v = (edge - c.rcvNxt + 1<<shift - 1) >> shift
	}
	v = min(v, 65535)
	s.window = uint16(v)
	f.rcvEdge = f.rcvNxt + v<<shift
	if s.mp.dss != nil {
		c.wndSent = max(c.wndSent, c.rcvNxt+v<<shift)
	}
}

// opened: the subflow's own handshake is done; a join still waits for the fourth ACK.
func (f *subflow) opened() {
	c := f.c
	if f.join {
		f.repeatThirdACK()
		return
	}
	if c.dropMPC {
		c.fallback = true
	}
	if c.fallback {
		f.maps = append(f.maps, sentMap{off: 1, n: 1 << 50, u: c.inSYN()})
	}
	c.wndEnd = f.wnd
	if c.reader.chunk > 0 || c.reader.start > 0 {
		c.readLoop()
	}
	c.act()
}

func (f *subflow) repeatThirdACK() {
	d := 2 * f.srtt
	if d == 0 {
		d = synRTO
	}
	f.joinTimer = f.clock.After(d, func() {
		if f.state == established && !f.full && !f.c.isEnded {
			f.sendACK(true)
			f.repeatThirdACK()
		}
	})
}

func (f *subflow) progress() {
	if f.stale && f.una != f.staleUna {
		f.stale = false
	}
	for len(f.maps) > 1 && f.maps[1].off <= f.una {
		f.maps = f.maps[1:]
	}
	f.c.act()
}

// ended: TCP is over. What the subflow had goes elsewhere; the application hears
// of it only in fallback.
func (f *subflow) ended(err error) {
	c := f.c
	f.clock.Stop(f.joinTimer)
	if c.isEnded {
		if errors.Is(err, errTimeout) {
			c.stats.OrphansGivenUp++
		}
		return
	}
	if c.fallback || f == c.subs[0] && !f.capable {
		f.plainAcked()
		if err != nil && !(f.finRcvd && f.fin && f.una == f.end+1) {
			c.end(err)
		}
		return
	}
	f.closing = true
	if f == c.subs[0] && !c.full {
		c.end(err)
		return
	}
	c.rewind()
}

// reset closes the subflow with a RST for a protocol error.
func (f *subflow) reset(reason int) {
	f.c.stats.MPRstTx++
	f.resetReason = reason
	f.abort()
}

// fallBack turns the connection into plain TCP, or resets the subflow if it is
// too late for that (RFC 8684 §3.7, mptcp_try_fallback).
func (f *subflow) fallBack(why string, reason int) bool {
	f.c.fail("client: %s on subflow %v", why, f.local)
	if f.join || !f.c.canFallBack() {
		f.reset(reason)
		return false
	}
	f.c.fallback = true
	return true
}

func sameMap(a, b *dss, n int64) bool {
	m := int64(a.n)
	if a.fin {
		m--
	}
	return a.dsn == b.dsn && a.ssn == b.ssn && m == n && (a.csum == csumNone) == (b.csum == csumNone)
}
