package sim

import (
	"bytes"

	"github.com/braid-upf/braid/packet"
)

// incoming is mptcp_incoming_options, and the SYN/ACK's part of it.
func (f *subflow) incoming(s *segment, off int64) bool {
	c := f.c
	if f.state == established && s.has(packet.SYN) {
		return f.receivedSYNACK(s)
	}
	if c.fallback || !f.join && !f.capable {
		if s.mp.any() {
			c.fail("client: MPTCP option after the fallback")
		}
		return true
	}
	if s.mp.fastClose != nil && *s.mp.fastClose == c.keyA {
		f.receivedFastClose(s.has(packet.RST))
		return false
	}
	if s.has(packet.RST) {
		return true
	}
	if ok := f.checkFull(s, off); !ok || c.fallback {
		return ok
	}
	f.receivedAddresses(s)
	if s.mp.prio != nil {
		f.backup = *s.mp.prio
	}
	d := s.mp.dss
	if d == nil {
		return true
	}
	if d.hasAck {
		pos := expandWide(d.ack, d.ack8, c.idsnA+1, c.una)
		c.acked(pos, f.wnd)
	}
	if d.hasMap {
		c.ack8 = d.map8
		if d.fin && (d.n == 1 || s.space() > 0) {
			f.receivedDataFIN(d)
		}
	}
	return f.state != closed
}

// expandWide turns a DSN or DATA_ACK of 4 or 8 bytes into a position near ref;
// base is the DSN of position 0.
func expandWide(v uint64, eight bool, base uint64, ref int64) int64 {
	if eight {
		return int64(v - base)
	}
	return ref + int64(int32(uint32(v)-uint32(base)-uint32(ref)))
}

func (f *subflow) receivedSYNACK(s *segment) bool {
	c := f.c
	if f.join {
		return f.receivedJoinSYNACK(s)
	}
	f.convertSYNACK()
	if c.fallback {
		return true
	}
	m := s.mp.capable
	if !f.capable || m == nil || len(m.keys) != 1 || m.flags&0x1f != 1 || m.flags&0x40 != 0 {
		if f.capable {
			c.fail("client: SYN/ACK without a usable MP_CAPABLE")
		}
		f.capable, c.fallback = false, true
		return true
	}
	if (m.flags&0x80 != 0) != c.checksum {
		c.fail("client: checksum flag of the SYN/ACK is %02x", m.flags)
	}
	if len(s.payload) > 0 {
		c.fail("client: SYN/ACK with payload")
	}
	c.keyB = m.keys[0]
	c.tokenB, c.idsnB = derive(c.keyB)
	c.idsnB += uint64(c.behind())
	if c.dropMPC {
		c.fallback = true
	}
	return true
}

func (f *subflow) receivedJoinSYNACK(s *segment) bool {
	c := f.c
	j := s.mp.join
	if j == nil || len(j.hmac) != 8 {
		c.fail("client: SYN/ACK of a join without MP_JOIN")
		f.reset(1)
		return false
	}
	f.nonceB, f.remoteID = j.nonce, j.id
	if !bytes.Equal(j.hmac, macOf(c.keyB, c.keyA, nonces(f.nonceB, f.nonceA))[:8]) {
		c.stats.JoinHMAC++
		c.fail("client: wrong HMAC in a join's SYN/ACK")
		f.reset(1)
		return false
	}
	if j.id == 0 {
		c.fail("client: join answered with address ID 0")
	}
	for _, g := range c.subs {
		if g != f && g.join && g.remoteID == j.id {
			c.fail("client: address ID %d used twice", j.id)
		}
	}
	f.backup = f.backup || j.backup
	return true
}

// checkFull is check_fully_established.
func (f *subflow) checkFull(s *segment, off int64) bool {
	c := f.c
	if f.full {
		return true
	}
	if off != 1 {
		if f.join {
			if off < 1 || !c.isEnded { // Linux resets the join; at the end that does no harm
				c.fail("client: ssn %d on a join before the fourth ACK", off)
			}
			c.stats.JoinEarlyData++ // the fourth ACK was lost or overtaken
			f.reset(1)
			return false
		}
		return true
	}
	if d := s.mp.dss; d != nil && d.hasAck || s.mp.addAddr != nil && (!s.mp.addAddr.echo || f.join) {
		f.full = true
		if f.join {
			c.joined = true
			c.stats.Joined++
			f.clock.Stop(f.joinTimer)
		} else {
			c.full = true
			c.startDataFIN()
		}
		return true
	}
	if f.join {
		c.fail("client: fourth ACK of a join without DATA_ACK")
		f.reset(1)
		return false
	}
	if f.keyless {
		c.gaveUp, f.capable, c.fallback = true, false, true
		f.maps = append(f.maps[:0], sentMap{off: 1, n: 1 << 50, u: c.inSYN()})
		return true
	}
	c.stats.MPCapableDataFallback++
	return f.fallBack("first packet without DATA_ACK (MPCapableDataFallback)", 1)
}

// receivedFastClose is mptcp_check_fastclose; a RST ends f by itself.
func (f *subflow) receivedFastClose(rst bool) {
	c := f.c
	c.end(errReset)
	for _, g := range c.subs {
		if g.state != closed && !(rst && g == f) {
			g.abort()
		}
	}
}

func (f *subflow) receivedAddresses(s *segment) {
	c := f.c
	if a := s.mp.addAddr; a != nil && a.echo {
		if c.announced == nil || !bytes.Equal(a.body, c.announced.body) {
			if c.announced != nil {
				c.fail("client: echo of an ADD_ADDR that was not sent")
			}
			return
		}
		c.announced = nil
		c.stats.Echoes++
	}
	for _, id := range s.mp.removeAddr {
		for _, g := range c.subs {
			if g.join && g.remoteID == id || !g.join && id == 0 {
				c.dropSubflow(g)
			}
		}
	}
}

func (f *subflow) receivedDataFIN(d *dss) {
	c := f.c
	pos := expandWide(d.dsn, d.map8, c.idsnB+1, c.rcvNxt) + int64(d.n) - 1
	if c.finAt >= 0 && c.finAt != pos {
		c.fail("client: DATA_FIN at d=%d, before at %d", pos, c.finAt)
		return
	}
	if c.finAt < 0 {
		c.finAt = pos
	}
	c.clock.After(0, func() {
		if !c.isEnded {
			c.moved()
		}
	})
}

// deliver is __mptcp_move_skbs_from_subflow with get_mapping_status.
func (f *subflow) deliver() {
	c := f.c
	for len(f.rxq) > 0 && f.state != closed {
		k := f.rxq[0]
		if c.fallback || !f.join && !f.capable {
			f.deliverPlain(k)
			continue
		}
		if f.mapValid && f.copied-f.mapSSN >= f.mapLen {
			f.mapValid = false
		}
		if len(k.data) == 0 { // a FIN alone
			f.copied, f.rxq = k.end(), f.rxq[1:]
			continue
		}
		if !f.checkMapping(&f.rxq[0]) {
			continue // fell back or closed
		}
		f.moveHead()
	}
	if f.state == closed {
		f.rxq = nil
	}
	if f.finRcvd && !f.closing && !c.fallback && f.capable == !f.join && !c.finGot {
		c.fail("client: subflow FIN without DATA_FIN")
	}
	c.moved()
}

// moveHead passes the head skb's bytes up, or throws away what is old.
func (f *subflow) moveHead() {
	c := f.c
	k := f.rxq[0]
	at := f.copied - k.off
	data := k.data[at:]
	d := f.mapD + f.copied - f.mapSSN
	if d < c.rcvNxt { // mptcp_subflow_discard_data
		c.stats.DuplicateData++
		if n := c.rcvNxt - d; n < int64(len(data)) {
			f.copied += n
			return
		}
		f.copied, f.rxq = k.end(), f.rxq[1:]
		return
	}
	if rest := f.mapLen - (f.copied - f.mapSSN); rest < int64(len(data)) {
		c.stats.DSSCorruption++
		f.fallBack("mapping shorter than its segment (DSSCorruption)", 1)
		return
	}
	f.copied, f.rxq = k.end(), f.rxq[1:]
	if !f.closing {
		c.receivedPiece(d, data)
	}
}

func (f *subflow) deliverPlain(k rxData) {
	c := f.c
	f.rxq = f.rxq[1:]
	if at := f.copied - k.off; at < int64(len(k.data)) {
		c.take(rxPiece{f.copied - 1 - c.behind(), k.data[at:]})
	}
	f.copied = k.end()
	c.moved()
}

// checkMapping validates the head skb's mapping against the active one; false =
// the loop must look again.
func (f *subflow) checkMapping(k *rxData) bool {
	c := f.c
	m := k.dss
	if m == nil {
		if !f.mapValid {
			c.stats.DssFallback++
			f.fallBack("data without mapping (DssFallback)", 6)
			return false
		}
		return f.validateMapping()
	}
	n := int64(m.n)
	if m.fin {
		n--
	}
	k.dss = nil
	switch {
	case m.n == 0:
		f.fallBack("infinite mapping", 1)
		return false
	case n == 0: // a DATA_FIN alone with data of another mapping
		if f.mapValid {
			return true
		}
		return f.fallBackNoData()
	case f.mapValid && sameMap(m, f.mapDSS, f.mapLen):
		return true
	case f.mapValid:
		if int64(len(k.data))-(f.copied-k.off) <= f.mapLen-(f.copied-f.mapSSN) {
			c.stats.DSSNotMatching++
			f.fallBack("another mapping inside the active one (DSSNotMatching)", 1)
			return false
		}
		k.dss = m // looked at again when the active one is consumed
		return true
	}
	f.mapDSS = m
	f.mapD = expandWide(m.dsn, m.map8, c.idsnB+1, c.rcvNxt)
	f.mapSSN, f.mapLen, f.mapValid = expand(f.copied, m.ssn), n, true
	return f.validateMapping() && f.validateChecksum(k, m)
}

func (f *subflow) fallBackNoData() bool {
	f.c.stats.DssFallback++
	f.fallBack("data with a bare DATA_FIN (DssFallback)", 6)
	return false
}

func (f *subflow) validateMapping() bool {
	if f.copied < f.mapSSN || f.copied >= f.mapSSN+f.mapLen {
		f.c.stats.DSSNoMatchTCP++
		f.fallBack("mapping does not cover the segment (DSSNoMatchTCP)", 1)
		return false
	}
	return true
}

// validateChecksum covers mappings of one segment, the only ones that the proxy
// makes.
func (f *subflow) validateChecksum(k *rxData, m *dss) bool {
	c := f.c
	if (m.csum != csumNone) != c.checksum {
		c.stats.DSSChecksum++
		f.fallBack("DSS checksum missing or not agreed on", 1)
		return false
	}
	if !c.checksum {
		return true
	}
	from := f.mapSSN - k.off
	if from < 0 || from+f.mapLen > int64(len(k.data)) {
		c.fail("client: checksummed mapping that is not its segment's")
		return true
	}
	if m.csum != dssChecksum(c.idsnB+1+uint64(f.mapD), m.ssn, m.n, k.data[from:from+f.mapLen]) {
		c.stats.DSSChecksum++
		f.fallBack("DSS checksum wrong", 4)
		return false
	}
	return true
}
