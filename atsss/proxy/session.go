package proxy

import "github.com/braid-upf/braid/atsss/steer"

func (s *Session) link(c *Conn, p *Proxy) {
	s.proxy = p
	s.connections++
	c.inSession = connLink{next: s.conns}
	if s.conns != nil {
		s.conns.inSession.prev = c
	}
	s.conns = c
}

func (s *Session) unlink(c *Conn) {
	s.connections--
	if prev := c.inSession.prev; prev != nil {
		prev.inSession.next = c.inSession.next
	} else if s.conns == c {
		s.conns = c.inSession.next
	}
	if next := c.inSession.next; next != nil {
		next.inSession.prev = c.inSession.prev
	}
	c.inSession = connLink{}
}

// handshakeEnds counts c as a handshake of its session no longer, if it is one.
func (c *Conn) handshakeEnds() {
	if c.state <= stateSYNACK {
		c.session.handshakes--
	}
}

// removeGuest forgets that f came over s to a connection of another session.
func (s *Session) removeGuest(f *Subflow) {
	for i, g := range s.guests {
		if g == f {
			s.guests = append(s.guests[:i], s.guests[i+1:]...)
			break
		}
	}
	s.forgetSilence()
}

// forgetSilence takes every access of s for one that answers once nothing is left that
// would ask silent ones again.
func (s *Session) forgetSilence() {
	if s.conns == nil && len(s.guests) == 0 {
		s.access = [steer.NumAccesses]accessState{}
		for a := range steer.Access(steer.NumAccesses) {
			s.Monitor.SetSilent(a, false)
		}
	}
}
