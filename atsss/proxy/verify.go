package proxy

import (
	"fmt" //nolint:depguard // only tests call what is in this file

	"github.com/braid-upf/braid/atsss/dsm"
)

// Verify checks what must hold of the state between two packets; the error tells what
// does not. It is for tests: it takes a step for every mapping.
func (p *Proxy) Verify() error {
	for _, c := range p.tokens {
		if c.state != stateEstablished {
			continue
		}
		if err := c.verify(); err != nil {
			return err
		}
		for _, s := range c.subflows {
			if err := s.verify(); err != nil {
				return fmt.Errorf("subflow %d: %w", s.index, err)
			}
		}
	}
	return nil
}

// verify checks that positions are in order and that each byte the UE lacks has the same
// SSN in both directions of the mapping.
func (c *Conn) verify() error {
	d, u := &c.down, &c.up
	switch {
	case d.ackSent > max(d.acked, c.base()) || d.acked > max(d.next, d.fin+1):
		return fmt.Errorf("d: acknowledged %d to the server, %d by the UE, next %d", d.ackSent, d.acked, d.next)
	case u.acked > u.limit():
		return fmt.Errorf("u: acknowledged %d, next %d", u.acked, u.next)
	case u.sacked.Len() > 0 && u.sacked.Get(0).From <= u.acked:
		return fmt.Errorf("u: SACK %v, ACK %d", u.sacked.Get(0), u.acked)
	}
	if err := c.verifyRuns(&d.runs); err != nil {
		return err
	}
	return c.verifyCopies()
}

// verifyRuns checks that the runs of one of c's stores are in order and on their subflows.
func (c *Conn) verifyRuns(runs *dsm.Runs) error {
	d, end := &c.down, int64(none)
	for at := runs.Search(d.acked); at.OK(); at.Next() {
		r := at.Run()
		if r.At < end || r.End() > d.next || int(r.Sub) >= len(c.subflows) {
			return fmt.Errorf("d: run %+v after %d, next %d", r, end, d.next)
		}
		end = r.End()
		if s := c.subflows[r.Sub]; s.state != subflowDead && !s.carriesRun(r, max(r.At, d.acked)) {
			return fmt.Errorf("d: run %+v is not on its subflow", r)
		}
	}
	return nil
}

// verifyCopies checks that what has a copy has a first mapping, to another subflow.
func (c *Conn) verifyCopies() error {
	d := &c.down
	for at := d.copies.Search(d.acked); at.OK(); at.Next() {
		r := at.Run()
		for x := max(r.At, d.acked); x < r.End(); {
			first, ok := d.runs.At(x)
			if !ok || first.Sub == r.Sub {
				return fmt.Errorf("d: copy %+v at %d of run %+v, %v", r, x, first, ok)
			}
			x = first.End()
		}
	}
	return c.verifyRuns(&d.copies)
}

// carriesRun says whether s maps the SSNs of r, from position x on, to r.
func (s *Subflow) carriesRun(r dsm.Run, x int64) bool {
	for x < r.End() {
		q, ok := s.down.At(r.ToOf(x))
		if !ok || q.ToOf(r.ToOf(x)) != x {
			return false
		}
		x += q.End() - r.ToOf(x)
	}
	return true
}

// verify checks that every SSN from the UE's ACK on has a mapping, without a gap, and that
// nothing is acknowledged twice.
func (s *Subflow) verify() error {
	if !s.live() {
		return nil
	}
	if s.acked > s.next && !(s.finSent && s.acked == s.next+1) {
		return fmt.Errorf("ssn: acknowledged %d, next %d", s.acked, s.next)
	}
	end := s.next
	if r, ok := s.down.First(); ok {
		if r.At > s.acked {
			return fmt.Errorf("ssn %d-%d has no mapping", s.acked, r.At)
		}
		end = r.At
	}
	for at := s.down.Search(end); at.OK(); at.Next() {
		r := at.Run()
		if r.At != end {
			return fmt.Errorf("ssn %d-%d has no mapping", end, r.At)
		}
		end = r.End()
	}
	if end != s.next {
		return fmt.Errorf("ssn %d-%d has no mapping", end, s.next)
	}
	if n := s.sacked.Len(); n > 0 && (s.sacked.Get(0).From <= s.acked || s.sacked.Get(n-1).To > s.next) {
		return fmt.Errorf("ssn: SACK %v to %v, ACK %d, next %d", s.sacked.Get(0), s.sacked.Get(n-1), s.acked, s.next)
	}
	if r, ok := s.up.First(); ok && r.End() <= s.rcvNext {
		return fmt.Errorf("uplink ssn: run %+v, acknowledged %d", r, s.rcvNext)
	}
	return nil
}
