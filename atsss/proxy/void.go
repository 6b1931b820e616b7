package proxy

import "github.com/braid-upf/braid/atsss/dsm"

// Void data are acknowledged to the UE on their subflow although the server has not
// acknowledged them: it must send them again as MPTCP, since no DATA_ACK covers them,
// on any subflow and under a new SSN. What lies beyond the server's window is void.
//
// The UE does that only on a subflow that owes it no acknowledgment. So where the
// server's next byte was void, and the server does not SACK what it has behind it, every
// subflow with data behind that byte would wait for the server, and the UE for them.

// void notes that positions [u, u+n) became void.
func (c *Conn) void(u, n int64) {
	from, to := c.up.voidFrom(), c.up.voidTo
	if to <= c.up.acked {
		from = u
	}
	from, to = min(from, u), max(to, u+n)
	c.up.voidTo, c.up.voidLen = to, uint32(to-from)
}

// voidFrom is the lower bound of what was void.
func (u *uplink) voidFrom() int64 { return u.voidTo - int64(u.voidLen) }

// voidStuck makes the n bytes at ssn, which wait at the head of f, void after the UE
// repeated them in vain, if the server's next byte was void and has not come again.
func (p *Proxy) voidStuck(f *Subflow, ssn, u, n int64) {
	c := f.conn
	next := c.up.acked
	if next < c.up.voidFrom() || next >= c.up.voidTo || u <= next && next < u+n {
		return
	}
	if head, ok := f.up.First(); !ok || head.At > f.rcvNext || ssn > f.rcvNext || ssn+n > head.End() {
		return
	}
	if c.up.repeats = min(c.up.repeats+1, maxRepeats); c.up.repeats < maxRepeats || c.awaited(next) {
		return
	}
	at := f.rcvNext - ssn
	p.count.UplinkVoided += uint64(n - at)
	c.void(u+at, n-at)
	f.up.Replace(&p.maps, dsm.Run{At: f.rcvNext, To: u + at, N: n - at, Sub: voidRun})
}

// awaited says whether position u came on a subflow that has not acknowledged it.
func (c *Conn) awaited(u int64) bool {
	for _, f := range c.subflows {
		for at := f.up.Search(f.rcvNext); at.OK(); at.Next() {
			if r := at.Run(); r.Sub != voidRun && r.To <= u && u < r.To+r.N {
				return true
			}
		}
	}
	return false
}
