package proxy

import (
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// A subflow may come over another session than its connection's: a guest of that
// connection. It keeps the session that it came over, whose MTU bounds its segments, whose
// accesses' silence counts for it, and to which what the proxy sends on it is addressed,
// with the PDR of that session.

// JoinToken is the token of the MP_JOIN in a SYN (RFC 8684 §3.2), which names the
// connection that is to be joined; ok is false for any other packet. buf and in are as for
// [Proxy.Uplink]. Checksums are not looked at.
func JoinToken(buf *packet.Buffer, in *packet.Info) (token uint32, ok bool) {
	if !isSYN(buf, in) {
		return 0, false
	}
	t, r := packet.ParseTCP(buf.Bytes(), in)
	if r != packet.OK {
		return 0, false
	}
	var o mptcp.Options
	if !mptcp.Parse(t.Options(), &o) || !joins(&o) {
		return 0, false
	}
	return o.JoinToken, true
}

// joins says whether the options of a SYN ask to join a connection.
func joins(o *mptcp.Options) bool {
	return o.Present&(mptcp.Join|mptcp.Capable) == mptcp.Join && o.JoinLen == 12
}

// admits says whether a packet of session s, whose rule is r, may join c: one of the
// session in which c was opened, or one whose rule is of the same group. Who joins must
// prove by HMAC that it has the connection's keys in any case (RFC 8684 §3.2); the group
// keeps it from carrying the traffic of one data network through another's session.
func (c *Conn) admits(s *Session, r Rule) bool {
	return s == c.session || r.Group != 0 && r.Group == c.rule.Group
}

// EndGuests ends the subflows that came over s to connections of other sessions.
func (p *Proxy) EndGuests(s *Session) {
	for _, f := range s.guests {
		f.state = subflowDead
		f.conn.refresh()
		p.flows.remove(f)
		delete(p.joins, f)
	}
	s.guests = nil
}
