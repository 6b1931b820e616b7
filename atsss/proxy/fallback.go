package proxy

import "github.com/braid-upf/braid/atsss/mptcp"

// Fallback after establishment (RFC 8684 §3.7). A connection on which SSNs and positions
// are still the same numbers goes on as plain TCP, packets passing unchanged but for MPTCP
// options; any other cannot, and both sides are reset.

// failing is how far it has gone after a wrong DSS checksum.
type failing uint8

const (
	notFailing failing = iota
	failSent           // MP_FAIL was sent
	falling            // and has come: data go to the UE under an infinite mapping
)

// A UE that no longer sends MPTCP options ("bare" packets) has fallen back, or they do not
// pass. So many show it, unless it is due; for data also after a time, since a mapping may
// have been lost with the packet that it came in.
const (
	barePackets = 4
	bareTime    = 1000 * millisecond
	firstFlight = 1 << 16 // bytes: what a UE may have sent with DSS before it got a packet without
)

// bareACK takes a pure ACK without MPTCP option and says whether it shows that the UE of f
// speaks plain TCP: it acknowledges data but says nothing of them at data level. That is so
// at once before its first DSS (RFC 8684 §3.7) and when it is expected to fall back. Later
// on the UE has either got data without a mapping and fallen back, or its options are taken
// away and our MP_FAIL will tell it to. But then nothing of its own may be outstanding: a UE
// that has sent data again under other SSNs does not fall back.
func (f *Subflow) bareACK(g *segment, now Time) bool {
	c := f.conn
	news := int32(g.tcp.AckSN()-f.sn(f.acked)) > 0
	if f.index != 0 || len(c.subflows) > 1 || !news && f.acked-1 <= c.down.acked {
		return false
	}
	return c.fallsBack() || c.bareAgain(now) && c.up.acked >= c.up.next
}

// bareData takes data without a mapping on f and says whether the UE speaks plain TCP, or
// else whether its subflow is broken: its options do not pass, but it goes by them.
func (f *Subflow) bareData(now Time) (plain, broken bool) {
	c := f.conn
	if f.index != 0 || len(c.subflows) > 1 {
		return false, false
	}
	if c.fallsBack() {
		return true, false
	}
	if !c.bareAgain(now) {
		return false, false
	}
	// A UE whose first packet came without DSS falls back a round trip after it began.
	return c.down.acked == 0 && c.up.next <= firstFlight, now.since(c.up.bareSince) >= bareTime
}

// fallsBack says whether the first bare packet is a sign of fallback.
func (c *Conn) fallsBack() bool { return !c.dssSeen || c.failing == falling }

// bareAgain counts a bare packet and says whether they are enough.
func (c *Conn) bareAgain(now Time) bool {
	if c.up.bare == 0 {
		c.up.bareSince = now.stamp()
	}
	c.up.bare = min(c.up.bare+1, barePackets)
	return c.up.bare == barePackets
}

// identical says whether all that ever went over f, the only subflow there was, lies at the
// position that its SSN says, both ways.
func (f *Subflow) identical() bool {
	c := f.conn
	if len(c.subflows) != 1 || f.next != c.down.next+1 || f.rcvNext != c.up.acked+1 || c.up.fin != none {
		return false
	}
	for at := f.up.Search(f.rcvNext); at.OK(); at.Next() {
		if r := at.Run(); r.To != r.At-1 || r.Sub == voidRun {
			return false
		}
	}
	return true
}

// fallBack has f's connection go on as plain TCP if it can, or resets both sides. The
// packet g passes, or is dropped.
func (p *Proxy) fallBack(f *Subflow, g *segment) {
	c := f.conn
	if !f.identical() {
		p.count.FallbackFailed++
		p.pool.Put(g.buf)
		p.abort(c)
		return
	}
	p.count.FallbackLate++
	p.relay(c)
	p.freeMaps(c)
	if c.convert != nil {
		c.positionsOfServer()
		p.relayUp(f, g)
		return
	}
	g.stripMPTCP()
	p.relayed(c, g.flags, 1)
	p.out.ToN6 = append(p.out.ToN6, g.buf)
}

// fallBackBare is fallBack for a UE that has not said that it falls back: MP_FAIL has it do
// so if it has not.
func (p *Proxy) fallBackBare(f *Subflow, g *segment) {
	if f.identical() {
		p.sendFail(f)
	}
	p.fallBack(f, g)
}

// noPosition takes data that no mapping covers: the UE falls back, or it is garbage.
func (p *Proxy) noPosition(f *Subflow, g *segment) {
	o := &g.opt.mp
	if o.Present&mptcp.DSS != 0 && o.HasMapping && o.DataLen == 0 { // the infinite mapping
		p.fallBack(f, g)
		return
	}
	if o.Present == 0 && o.Ignored == 0 {
		plain, broken := f.bareData(p.now)
		if plain {
			p.fallBackBare(f, g)
			return
		}
		if broken {
			p.count.DropNoMapping++
			p.breakSubflow(f, g, nil)
			return
		}
	}
	p.discard(g.buf, &p.count.DropNoMapping)
}

// mpFail takes an MP_FAIL on f, with the packet g: the UE got data whose checksum was
// wrong, or answers ours. A subflow that is not the only one is reset. On the only one it
// is answered, and data go on under an infinite mapping, on which the UE falls back. It
// reports whether g is used up.
func (p *Proxy) mpFail(f *Subflow, g *segment) (used bool) {
	c := f.conn
	switch {
	case c.otherLive(f):
		p.breakSubflow(f, g, mptcp.AppendTCPRST(p.scratch[:0], mptcp.ReasonMiddlebox))
		return true
	case !f.identical():
		p.breakSubflow(f, g, nil)
		return true
	}
	p.sendFail(f)
	c.failing = falling
	return false
}

// sendFail sends MP_FAIL on f, once.
func (p *Proxy) sendFail(f *Subflow) {
	if c := f.conn; c.failing == notFailing {
		c.failing = failSent
		p.withOption(f, mptcp.AppendFail(p.scratch[:0], c.idsnA+1+mptcp.DSN(c.up.acked)), 0)
	}
}

// otherLive says whether c has a live subflow beside f, which may be nil.
func (c *Conn) otherLive(f *Subflow) bool {
	for _, s := range c.subflows {
		if s != f && s.live() {
			return true
		}
	}
	return false
}

// intact checks the DSS checksum of the payload of g, position u, as far as one packet
// allows: a UE's TSO repeats the mapping of many packets on each, with the checksum of them
// all, and these are passed on before the last is there. ok is false if g is used up.
func (p *Proxy) intact(f *Subflow, g *segment, u, ssn int64) (ok bool) {
	c, o := f.conn, &g.opt.mp
	n, sum, present := o.DataLen, o.Csum, o.HasCsum
	switch {
	case o.Present&mptcp.Capable != 0:
		if o.CapableLen < 22 {
			return true
		}
		n, sum, present = o.CapableDataLen, o.CapableCsum, o.CapableLen == 24
	case o.Present&mptcp.DSS == 0 || !o.HasMapping:
		return true // covered by a mapping that came with another packet
	}
	if !present { // a broken subflow (RFC 8684 §3.3.1)
		p.count.DropBadDSSSum++
		p.breakSubflow(f, g, mptcp.AppendTCPRST(p.scratch[:0], mptcp.ReasonMiddlebox))
		return false
	}
	length := len(g.payload)
	if o.Present&mptcp.Capable == 0 && o.DataFIN {
		length++
	}
	relative := mptcp.SSN(ssn)
	if int(n) != length || o.Present&mptcp.Capable == 0 && o.SSN != relative {
		return true
	}
	if mptcp.DSSChecksum(c.idsnA+1+mptcp.DSN(u), relative, n, g.paySum) == sum {
		return true
	}
	p.count.DropBadDSSSum++
	if c.otherLive(f) || !f.identical() {
		p.breakSubflow(f, g, mptcp.AppendFail(p.scratch[:0], c.idsnA+1+mptcp.DSN(u)))
		return false
	}
	// Something on the way changes the payload of the only subflow: what it made of it is
	// what the server gets, as with plain TCP, and the UE falls back on our MP_FAIL.
	p.sendFail(f)
	return true
}

// breakSubflow drops g and resets its subflow with option, or the connection if there is no
// other.
func (p *Proxy) breakSubflow(f *Subflow, g *segment, option []byte) {
	c := f.conn
	p.pool.Put(g.buf)
	if !c.otherLive(f) {
		p.count.FallbackFailed++
		p.abort(c)
		return
	}
	p.resetUE(f, option)
	c.refresh()
}
