package proxy

import "github.com/braid-upf/braid/atsss/dsm"

// Void data are acknowledged to the UE on their subflow although the server has not
// acknowledged them: it must send them again as MPTCP, since no DATA_ACK covers them,
// on any subflow and under a new SSN. What lies beyond the server's window is void.
//
// The UE does that only on a subflow that owes it no acknowledgment. So where the
// server's next byte was void, and the server does not SACK what it has behind it, every
// subflow with data behind that byte would wait for the server, and the UE for them.

// noteVoid notes that positions [u, u+n) became void. With dsm.MaxRanges ranges already it
// notes what lies between them and the next, too: to forget some could stop the UE for ever,
// and what is held void without reason is only sent once more.
func (c *Conn) noteVoid(u, n int64) {
	from, to, m := u, u+n, &c.session.proxy.maps
	if v := &c.up.void; v.Len() == dsm.MaxRanges {
		if i := v.Search(from); i > 0 {
			from = min(from, v.Get(i-1).To)
		} else {
			to = max(to, v.Get(0).From)
		}
	}
	c.up.void.Add(m, from, to)
}

// voidStuck makes the n bytes at ssn, which wait at the head of f and which the UE
// repeats, void if the server's next byte was void and has not come again.
func (p *Proxy) voidStuck(f *Subflow, ssn, u, n int64) {
	c := f.conn
	next := c.up.acked
	if _, void := c.up.void.Containing(next); !void || u <= next && next < u+n {
		return
	}
	if head, ok := f.up.First(); !ok || head.At > f.rcvNext || ssn > f.rcvNext || ssn+n > head.End() {
		return
	}
	if c.awaited(next) {
		return
	}
	at := f.rcvNext - ssn
	p.count.UplinkVoided += uint64(n - at)
	c.noteVoid(u+at, n-at)
	f.up.Replace(&p.maps, dsm.Run{At: f.rcvNext, To: u + at, N: n - at, Sub: voidRun})
}

// awaited says whether position u came on a subflow that has not acknowledged it, and was
// not void there.
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
