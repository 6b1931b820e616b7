package proxy

import (
	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/steer"
)

// Redundant mode (TS 29.244 §8.2.125, value 4): new data go on a subflow of each access.
// A position then has two mappings, which live and die on their own:
//
//	c.down.runs     position -> SSN on one subflow
//	c.down.copies   position -> SSN on the other; what is here is in runs, too
//	f.down          of either subflow: SSN -> position, as ever
//
// So the SACK for the server is the union of what both subflows report, and what it is
// acknowledged is the DATA_ACK. A copy that was lost while the other arrived leaves a hole
// in its subflow whose data the server never sends again: it is filled.

// twins are the subflows that n bytes of new data go to where steering gives s: s, and the
// one beside it or nil. One that is behind is spared: what it does not carry in time would
// only grow there, and each loss of it costs filler. The other is as good alone.
func (c *Conn) twins(s *Subflow, n int64) (first, second *Subflow) {
	if r := c.rule.Policy; r == nil || !r.Split.Copies || !c.dssSeen {
		return s, nil
	}
	if c.available() != steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP) || c.usable[s.access] != s.index {
		return s, nil
	}
	t := c.subflows[c.usable[s.access.Other()]]
	switch {
	case !c.carries(t) || !t.spare(n) || c.behind(t) || c.down.copies.Len() >= maxRuns:
		return s, nil
	case c.behind(s):
		return t, nil
	}
	return s, t
}

// lead is how many bytes a subflow in Redundant mode may have outstanding beyond twice
// what the UE lacks at data level: the window that a connection begins with.
const lead = 64 << 10

// behind says whether s carries copies more slowly than the other subflow.
func (c *Conn) behind(s *Subflow) bool {
	return s.next-s.acked > 2*(c.down.next-c.down.acked)+lead
}

// assignCopy maps n bytes from position d, which runs has just been given, to the next
// SSNs of t as well.
func (p *Proxy) assignCopy(c *Conn, t *Subflow, d, n int64) {
	c.down.copies.Append(&p.maps, dsm.Run{At: d, To: t.next, N: n, Sub: t.index})
	t.down.Append(&p.maps, dsm.Run{At: t.next, To: d, N: n})
	t.next += n
}

// withCopy adds to pc, whose first byte is position d, its copy, and shortens it to where
// there is one throughout, or none.
func (c *Conn) withCopy(pc *piece, d int64) {
	at := c.down.copies.Search(d)
	if !at.OK() {
		return
	}
	r := at.Run()
	if r.At > d {
		pc.n = min(pc.n, r.At-d)
		return
	}
	pc.twin, pc.twinSSN = c.subflows[r.Sub], r.ToOf(d)
	pc.n = min(pc.n, r.End()-d, pc.twin.maxPayload())
}

// again leaves of the mappings of pc, which was sent before, those to send it under once
// more: on subflows that carry data, and of two such those that the UE has not
// acknowledged. It reports false, and leaves the live ones, if none carries.
func (c *Conn) again(pc *piece) bool {
	first, second := c.carries(pc.s), pc.twin != nil && c.carries(pc.twin)
	carried := first || second
	if !carried {
		first, second = pc.s.live(), pc.twin != nil && pc.twin.live()
	}
	if first && second {
		has, twinHas := pc.s.has(pc.ssn, pc.n), pc.twin.has(pc.twinSSN, pc.n)
		first, second = !has || twinHas, !twinHas
	}
	if second && !first {
		pc.s, pc.ssn = pc.twin, pc.twinSSN
	}
	if !first || !second {
		pc.twin = nil
	}
	return carried
}

// has says whether the UE has acknowledged or SACKed the n bytes at ssn on s.
func (s *Subflow) has(ssn, n int64) bool {
	if ssn+n <= s.acked {
		return true
	}
	r, ok := s.sacked.Containing(max(ssn, s.acked))
	return ok && ssn+n <= r.To
}

// sendCopy sends a copy of payload, position d, as the twin of pc.
func (p *Proxy) sendCopy(pc *piece, payload []byte, sum uint16, d int64, flags, tos, ttl uint8) {
	buf := p.pool.Get()
	buf.SetLen(copy(buf.Room(), payload))
	p.dataUE(pc.twin, buf, sum, d, pc.twinSSN, flags, tos, ttl)
	p.count.Copied += uint64(len(payload))
}

// forget drops every mapping of positions [from, to).
func (l *downlink) forget(m *dsm.Pool, from, to int64) {
	l.runs.Remove(m, from, to)
	l.copies.Remove(m, from, to)
}

// on finds position d on subflow sub.
func (l *downlink) on(sub uint8, d int64) (ssn int64, ok bool) {
	r, ok := l.runs.At(d)
	if ok && r.Sub != sub {
		r, ok = l.copies.At(d)
	}
	return r.ToOf(d), ok && r.Sub == sub
}

// unmap drops the mappings of positions [from, to) to subflow sub. Where they have a copy
// on another, that takes their place.
func (l *downlink) unmap(m *dsm.Pool, sub uint8, from, to int64) {
	for a, b, ok := pieceOn(&l.copies, sub, from, to); ok; a, b, ok = pieceOn(&l.copies, sub, b, to) {
		l.copies.Remove(m, a, b)
	}
	for a, b, ok := pieceOn(&l.runs, sub, from, to); ok; a, b, ok = pieceOn(&l.runs, sub, b, to) {
		l.runs.Remove(m, a, b)
		for at := l.copies.Search(a); at.OK() && at.Run().At < b; at.Next() {
			r := at.Run()
			x, end := max(a, r.At), min(b, r.End())
			l.runs.Insert(m, dsm.Run{At: x, To: r.ToOf(x), N: end - x, Sub: r.Sub})
		}
		l.copies.Remove(m, a, b)
	}
}

// pieceOn finds the first piece of the keys [x, to) that runs has on subflow sub.
func pieceOn(runs *dsm.Runs, sub uint8, x, to int64) (from, end int64, ok bool) {
	if x >= to {
		return 0, 0, false
	}
	for at := runs.Search(x); at.OK(); at.Next() {
		r := at.Run()
		if r.At >= to {
			break
		}
		if r.Sub == sub {
			return max(x, r.At), min(to, r.End()), true
		}
	}
	return 0, 0, false
}
