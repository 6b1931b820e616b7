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
		if r, ok := set.Containing(pos); ok {
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
	a := c.down.acked
	if a >= c.down.sackEdge {
		return a
	}
	r, ok := c.down.runs.At(a)
	if !ok {
		return a
	}
	s, ssn := c.subflows[r.Sub], r.ToOf(a)
	if _, sacked := s.sacked.Containing(ssn); !sacked && ssn >= s.acked || p.gone(s) {
		return a
	}
	return c.down.ackSent
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
	for _, s := range c.subflows {
		if !s.live() {
			continue
		}
		if r, ok := s.down.First(); ok {
			s.mapDown(r.At, s.acked, set)
		}
		for i := range s.sacked.Len() {
			r := s.sacked.Get(i)
			s.mapDown(r.From, r.To, set)
		}
	}
	a := c.down.acked
	set.TrimBelow(&p.maps, a)
	if r, ok := set.Containing(a); ok && p.ackable(c) == a {
		set.TrimBelow(&p.maps, r.To)
	}
}

// mapDown adds to set the downlink positions of the SSNs [from, to).
func (s *Subflow) mapDown(from, to int64, set *dsm.Ranges) {
	m := &s.conn.proxy.maps
	for at := s.down.Search(from); at.OK(); at.Next() {
		r := at.Run()
		if r.At >= to {
			return
		}
		a, b := max(from, r.At), min(to, r.End())
		set.Add(m, r.ToOf(a), r.ToOf(b))
	}
}

// digest tells SACK sets apart; 0 for the empty one.
func digest(set *dsm.Ranges) uint64 {
	var h uint64
	for i := range set.Len() {
		r := set.Get(i)
		h = (h^uint64(r.From))*0x9e3779b97f4a7c15 ^ uint64(r.To)
	}
	return h
}

// noteRecent remembers that position d was just reported, for the order of blocks
// (RFC 2018 §4: the first block tells of the segment that triggered the ACK).
func (c *Conn) noteRecent(d int64) {
	r := &c.down.recent
	if r[0] == d {
		return
	}
	copy(r[1:], r[:3])
	r[0] = d
}

// ueSACK gives the SACK blocks for the UE on s, at most n, in SSN: what the server
// has SACKed, or was cut off, of the data that came on s above rcvNext. The result
// is valid until the next call.
func (p *Proxy) ueSACK(s *Subflow, n int) []dsm.Range {
	p.blocks = p.blocks[:0]
	set := &p.sackSet
	set.Clear()
	c := s.conn
	for at := s.up.Search(s.rcvNext); at.OK(); at.Next() {
		r := at.Run()
		if r.Sub == voidRun {
			set.Add(&p.maps, r.At, r.End())
			continue
		}
		if r.To < c.up.acked {
			set.Add(&p.maps, r.At, r.At+min(r.N, c.up.acked-r.To))
		}
		for j := c.up.sacked.Search(r.To); j < c.up.sacked.Len(); j++ {
			k := c.up.sacked.Get(j)
			if k.From >= r.To+r.N {
				break
			}
			a, b := max(k.From, r.To), min(k.To, r.To+r.N)
			set.Add(&p.maps, r.At+a-r.To, r.At+b-r.To)
		}
	}
	// Newest data sit highest: report from the top.
	for i := set.Len() - 1; i >= 0 && len(p.blocks) < n; i-- {
		if r := set.Get(i); r.From > s.rcvNext {
			p.blocks = append(p.blocks, r)
		}
	}
	return p.blocks
}
