package proxy

import "github.com/braid-upf/braid/atsss/mptcp"

// Fallback after establishment (RFC 8684 §3.7). A connection on which SSNs and positions
// are still the same numbers goes on as plain TCP, packets passing unchanged but for MPTCP
// options; any other cannot, and both sides are reset.

// plainNow says whether f, sending neither payload nor acknowledgment with an MPTCP option
// before it has sent a first DSS, shows that its UE speaks plain TCP.
func (f *Subflow) plainNow(g *segment) bool {
	return f.index == 0 && g.opt.mp.Present == 0 && g.opt.mp.Ignored == 0 &&
		(len(g.payload) > 0 || int32(g.tcp.AckSN()-f.sn(f.acked)) > 0)
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
	g.stripMPTCP()
	p.relayed(c, g.flags, 1)
	p.out.ToN6 = append(p.out.ToN6, g.buf)
}

// noPosition takes data that no mapping covers: the UE falls back, or it is garbage.
func (p *Proxy) noPosition(f *Subflow, g *segment) {
	o := &g.opt.mp
	if o.Present&mptcp.DSS != 0 && o.HasMapping && o.DataLen == 0 { // the infinite mapping
		p.fallBack(f, g)
		return
	}
	p.discard(g.buf, &p.count.DropNoMapping)
}

// mpFail takes an MP_FAIL on f, with the packet g: the UE got data whose checksum was
// wrong. A subflow that is not the only one is reset; on the only one it is answered by an
// MP_FAIL, unless it is the answer to ours, and MPTCP ends.
func (p *Proxy) mpFail(f *Subflow, g *segment) {
	c := f.conn
	if c.otherLive(f) {
		p.breakSubflow(f, g, mptcp.AppendTCPRST(p.scratch[:0], mptcp.ReasonMiddlebox))
		return
	}
	if f.identical() {
		p.sendFail(f)
	}
	p.fallBack(f, g)
}

// sendFail sends MP_FAIL on f, once.
func (p *Proxy) sendFail(f *Subflow) {
	if c := f.conn; !c.failSent {
		c.failSent = true
		p.withOption(f, mptcp.AppendFail(p.scratch[:0], c.idsnA+1+mptcp.DSN(c.up.acked)), 0)
	}
}

// otherLive says whether c has a live subflow beside f.
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

// breakSubflow drops g and resets its subflow with option, and with it the connection if
// there is no other.
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
