package proxy

import "github.com/braid-upf/braid/atsss/dsm"

// serverSACK gives the SACK blocks for the server, at most n, in downlink positions:
// what the UE has acknowledged or SACKed on live subflows above its DATA_ACK. The
// result is valid until the next call.
func (p *Proxy) serverSACK(c *Conn, n int) []dsm.Range {
	p.blocks = p.blocks[:0]
	if !c.holdsSACK() {
		c.down.sackSum = 0
		return nil
	}
	set := &p.sackSet
	p.collectSACK(c, set)
	c.down.sackSum = digest(set)
	for _, pos := range c.down.recent {
		if r, ok := set.Containing(expand(c.down.acked, pos)); ok {
			p.addBlock(r, n)
		}
	}
	for i := 0; i < set.Len() && len(p.blocks) < n; i++ {
		p.addBlock(set.Get(i), n)
	}
	for _, b := range p.blocks {
		c.down.sackEdge = max(c.down.sackEdge, b.To)
	}
	return p.blocks
}

// ackable is what the server is acknowledged: the UE's DATA_ACK. Where that stops at
// data that the server was told of by SACK, since at the UE they wait behind a hole of
// their subflow that was filled another way, it stays where it was: an ACK that ends
// where SACKed data begin takes them back (RFC 2018 §8), and they are lost only if the
// subflow is.
func (p *Proxy) ackable(c *Conn) int64 {
	if a := c.down.acked; a >= c.down.sackEdge {
		return a
	}
	return p.ackableBelow(c)
}

// ackableBelow is ackable where the server was told of later data.
func (p *Proxy) ackableBelow(c *Conn) int64 {
	a := c.down.acked
	if p.waits(c, &c.down.runs, a) || p.waits(c, &c.down.copies, a) {
		a = c.down.ackSent
	}
	return max(a, c.base())
}

// waits says whether the UE holds position d on the subflow that runs has it on, and is
// to get on with it there.
func (p *Proxy) waits(c *Conn, runs *dsm.Runs, d int64) bool {
	r, ok := runs.At(d)
	if !ok {
		return false
	}
	s, ssn := c.subflows[r.Sub], r.ToOf(d)
	_, sacked := s.sacked.Containing(ssn)
	return (sacked || ssn < s.acked) && !p.gone(s)
}

// addBlock adds r to p.blocks unless it is there or n blocks are.
func (p *Proxy) addBlock(r dsm.Range, n int) {
	for _, b := range p.blocks {
		if b == r {
			return
		}
	}
	if len(p.blocks) < n {
		p.blocks = append(p.blocks, r)
	}
}

// holdsSACK says whether there may be anything to SACK to the server.
func (c *Conn) holdsSACK() bool {
	for _, s := range c.subflows {
		if s.live() && (s.sacked.Len() > 0 || s.lagging()) {
			return true
		}
	}
	return false
}

// lagging says whether the UE has acknowledged data on s that its DATA_ACK does not
// cover.
func (s *Subflow) lagging() bool {
	r, ok := s.down.First()
	return ok && r.At < s.acked
}

// collectSACK makes set the positions above the ACK to the server that the UE reported
// on live subflows. A range that would begin at the ACK is left out: the server would
// take it for reneging (RFC 2018 §8).
func (p *Proxy) collectSACK(c *Conn, set *dsm.Ranges) {
	set.Clear()
	walk := maxWalk
	for _, s := range c.subflows {
		if !s.live() {
			continue
		}
		if r, ok := s.down.First(); ok {
			s.mapDown(r.At, s.acked, set, &walk)
		}
		for i := range s.sacked.Len() {
			r := s.sacked.Get(i)
			s.mapDown(r.From, r.To, set, &walk)
		}
	}
	a := max(c.down.acked, c.base())
	set.TrimBelow(&p.maps, a)
	if r, ok := set.Containing(a); ok && p.ackable(c) == a {
		set.TrimBelow(&p.maps, r.To)
	}
}

// maxWalk bounds the pieces of a mapping that are looked at for the SACK of one packet, or
// for one RST: an end that scatters its data gets less SACK, not more time.
const maxWalk = 512

// mapDown adds to set the downlink positions of the SSNs [from, to), as long as walk, which
// it counts down, is not 0.
func (s *Subflow) mapDown(from, to int64, set *dsm.Ranges, walk *int) {
	m := &s.conn.session.proxy.maps
	for at := s.down.Search(from); at.OK() && *walk > 0; at.Next() {
		*walk--
		r := at.Run()
		if r.At >= to {
			return
		}
		a, b := max(from, r.At), min(to, r.End())
		set.Add(m, r.ToOf(a), r.ToOf(b))
	}
}

// goldenRatio is its fraction of 2^64, odd: multiplication spreads low bits upwards.
const goldenRatio = 0x9e3779b97f4a7c15

// digest tells SACK sets apart; 0 for the empty one.
func digest(set *dsm.Ranges) uint32 {
	var h uint64
	for i := range set.Len() {
		r := set.Get(i)
		h = (h ^ uint64(r.From)) * goldenRatio
		h = (h ^ uint64(r.To)) * goldenRatio
	}
	if set.Len() == 0 {
		return 0
	}
	return uint32(h>>32) | 1
}

// noteRecent remembers that position d was just reported, for the order of blocks
// (RFC 2018 §4: the first block tells of the segment that triggered the ACK).
func (c *Conn) noteRecent(d int64) {
	r := &c.down.recent
	if r[0] == uint32(d) {
		return
	}
	copy(r[1:], r[:3])
	r[0] = uint32(d)
}

// ueSACK gives the SACK blocks for the UE on s, at most n, in SSN: what the server has
// SACKed, or was cut off, of the data that came on s above rcvNext. The newest data sit
// highest and are reported first. The result is valid until the next call.
func (p *Proxy) ueSACK(s *Subflow, n int) []dsm.Range {
	p.blocks = p.blocks[:0]
	c := s.conn
	at := s.up.End()
	for walk := maxWalk; walk > 0 && at.Prev(); walk-- {
		r := at.Run()
		if r.Sub == voidRun {
			if !p.addBelow(r.At, r.End(), n) {
				break
			}
			continue
		}
		if !p.addSACKed(c, r, n) {
			break
		}
	}
	if k := len(p.blocks); k > 0 && p.blocks[k-1].From <= s.rcvNext { // the UE would take it for reneging
		p.blocks = p.blocks[:k-1]
	}
	return p.blocks[:min(n, len(p.blocks))]
}

// addSACKed adds to p.blocks, from the top down, what of run r the server has acknowledged
// or SACKed; false if more than n blocks would result.
func (p *Proxy) addSACKed(c *Conn, r dsm.Run, n int) bool {
	end := r.To + r.N
	for j := c.up.sacked.Search(end-1) + 1; j > 0; j-- {
		if j > c.up.sacked.Len() {
			continue
		}
		k := c.up.sacked.Get(j - 1)
		if k.To <= r.To {
			break
		}
		a, b := max(k.From, r.To), min(k.To, end)
		if a < b && !p.addBelow(r.At+a-r.To, r.At+b-r.To, n) {
			return false
		}
	}
	if a := min(r.N, c.up.acked-r.To); a > 0 {
		return p.addBelow(r.At, r.At+a, n)
	}
	return true
}

// addBelow adds [from, to), which lies below all of p.blocks, joined to the lowest if it
// touches it; false if that makes more than n blocks, of which the last may be incomplete.
func (p *Proxy) addBelow(from, to int64, n int) bool {
	if k := len(p.blocks); k > 0 && p.blocks[k-1].From == to {
		p.blocks[k-1].From = from
		return true
	}
	p.blocks = append(p.blocks, dsm.Range{From: from, To: to})
	return len(p.blocks) <= n
}
