package proxy

import (
	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/packet"
)

// initialFill is how many segments the first round of filling sends (as RFC 6928
// starts a connection).
const initialFill = 10

// maxFill is the most segments of one round.
const maxFill = 1024

// afterAck continues what an acknowledgment on f allows: filling a hole above which the UE
// has reported data, or above which it does not take our FIN, which it was sent before
// (finSent).
func (p *Proxy) afterAck(f *Subflow, finSent bool) {
	c := f.conn
	if f.acked >= f.next || c.state != stateEstablished {
		return
	}
	if finSent {
		p.suspend(f)
	} else if f.state != subflowEstablished || f.sacked.Len() == 0 && !f.path.recovering {
		return
	}
	p.fill(f)
}

// fill sends bytes for SSNs of f whose data the UE has acknowledged at data level, so
// that the server will not send them again: the subflow would keep the hole for ever.
// Each goes under the very mapping that it had, whose DSNs are below the DATA_ACK; a
// receiver drops them (RFC 8684 §3.3.4, data received before).
//
// A round goes over every hole below the highest SSN that the UE reported (or, after
// silence, that was sent) once, and on as the UE acknowledges what came; the next starts
// a round trip after the UE has gone on last.
func (p *Proxy) fill(f *Subflow) {
	c, t := f.conn, &f.path
	if age := p.now.since(t.filled); min(age, p.now.since(t.moved)) >= t.rto() {
		t.fillNext = uint32(f.acked)
		if p.now.since(t.waiting) <= age { // the last round was answered
			t.fillSize = max(initialFill, min(2*t.fillSize, maxFill))
		} else {
			t.fillSize = initialFill
		}
		t.fillLeft = t.fillSize
		t.filled = p.now.stamp()
	}
	end := f.reported()
	if t.recovering {
		end = max(end, expand(f.acked, t.recoverTo))
	}
	x := max(f.acked, expand(f.acked, t.fillNext))
	for x < end && t.fillLeft > 0 {
		if r, ok := f.sacked.Containing(x); ok {
			x = r.To
			continue
		}
		r, ok := f.down.At(x)
		if !ok {
			break
		}
		d := r.ToOf(x)
		n := min(r.End(), end) - x
		if d >= c.down.acked { // the server, or another subflow, will bring these first
			break
		}
		n = min(n, f.maxPayload())
		if i := f.sacked.Search(x); i < f.sacked.Len() {
			n = min(n, f.sacked.Get(i).From-x)
		}
		n = min(n, c.down.acked-d)
		t.untime()
		p.sendFiller(f, d, x, n)
		x += n
		t.fillLeft--
	}
	t.fillNext = uint32(x)
}

// reported is the SSN after the highest that the UE has SACKed on f; 0 if none.
func (f *Subflow) reported() int64 {
	if n := f.sacked.Len(); n > 0 {
		return f.sacked.Get(n - 1).To
	}
	return 0
}

// sendFiller sends n bytes of zeros as position d under ssn.
func (p *Proxy) sendFiller(f *Subflow, d, ssn, n int64) {
	buf := p.pool.Get()
	buf.SetLen(int(n))
	clear(buf.Bytes())
	p.count.Filled += uint64(n)
	f.sentAgain(n)
	p.dataUE(f, buf, 0, d, ssn, packet.PSH, 0, defaultTTL)
}

// inverted says whether the byte that the UE's DATA_ACK waits for has reached the UE on
// f, but sits there behind a hole of f that ends at SSN to: the hole's data are higher
// ones, which the server will not send again before. Without SACK only time tells.
func (f *Subflow) inverted(now Time) (to int64, ok bool) {
	c := f.conn
	ssn, ok := c.down.on(f.index, c.down.acked)
	if !ok || f.fillable() {
		return 0, false
	}
	if _, stuck := f.sacked.Containing(ssn); stuck {
		return f.sacked.Get(0).From, true
	}
	return ssn, !c.sackPermitted && ssn > f.acked && now.since(f.path.waiting) > 4*f.path.rto()
}

// plug frees data, if f is inverted, that wait at the UE behind a hole of f while the
// server still misses them: lower positions than the hole's own, after data were moved to
// f. The hole gets bytes under old DSNs, and its own data lose their place, so that they
// get a new one when the server sends them again. It reports whether there was such a hole.
func (p *Proxy) plug(f *Subflow) bool {
	c, t := f.conn, &f.path
	to, ok := f.inverted(p.now)
	if !ok || p.now.since(t.plugged) < t.rto() {
		return false
	}
	t.plugged = p.now.stamp()
	for x, left := f.acked, maxFill; x < to && left > 0; left-- {
		n := min(to-x, f.maxPayload())
		if r, ok := f.down.At(x); ok {
			n = min(n, r.End()-x)
			c.down.unmap(&p.maps, f.index, r.ToOf(x), r.ToOf(x)+n)
		}
		d := c.received() - n
		f.down.Replace(&p.maps, dsm.Run{At: x, To: d, N: n})
		p.sendFiller(f, d, x, n)
		x += n
	}
	return true
}
