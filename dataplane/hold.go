package dataplane

import (
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// Packets held for idle UEs: by default for one FAR, at most for one FAR, and in all
// by one worker (32 MiB at 2 KiB a buffer).
const (
	defaultHeld   = 64
	mostHeld      = 10_000
	workerMaxHeld = 16_384
)

// hold keeps b until the FAR's action changes. What comes when it is full is dropped.
func (w *worker) hold(d *pdr, f *far, b *packet.Buffer) {
	if !d.down() { // TS 29.244 §5.2.3.1: it is downlink packets that are buffered
		w.drop(b, dropFARUplink)
		return
	}
	h := &f.more.hold
	if h.packets.Len() >= h.most || w.held >= workerMaxHeld {
		w.drop(b, dropHeldFull)
		return
	}
	b.Tag = d.id
	h.packets.Push(b)
	w.held++
	w.count.n[heldPackets]++
}

// letGo sends what was held, in the order that it came, as the session's rules say
// now.
func (w *worker) letGo(r *ruleSet, q *packet.Queue) {
	for b := q.Pop(); b != nil; b = q.Pop() {
		w.held--
		d := r.downlinkByID(b.Tag)
		if d == nil {
			w.drop(b, dropNoPDRDownlink)
			continue
		}
		w.qfi, w.extended = 0, false
		f, a := d.holder()
		w.forward(r, d, f, a, b)
	}
}

// holder is the FAR of d that packets held for d go by: that of the first access that
// can be used, if there is a MAR.
func (d *pdr) holder() (*far, steer.Access) {
	m := d.mar()
	if m == nil {
		return d.far, d.access
	}
	for a, f := range m.fars {
		if f != nil && f.action == actionTunnel {
			return f, steer.Access(a)
		}
	}
	return m.fars[steer.Access3GPP], steer.Access3GPP
}

// dropHeld drops what the session's FARs hold.
func (w *worker) dropHeld(r *ruleSet) {
	for i := range r.fars {
		if r.fars[i].action != actionHold {
			continue
		}
		h := &r.fars[i].more.hold
		n := h.packets.Len()
		w.held -= n
		w.count.n[dropHeldEnd] += uint64(n)
		w.pool.PutAll(&h.packets)
	}
}

// notify tells the control side of the downlink packet in hand (NOCP), after the BAR's
// delay. It says whether that is done.
func (w *worker) notify(r *ruleSet, d *pdr, f *far) bool {
	e := Event{Kind: DownlinkData, SEID: r.session.seid, PDR: d.id, QFI: w.qfi, TOS: w.ip.TOS}
	if f.action == actionHold {
		e.After = time.Duration(f.more.hold.delay)
	}
	return w.event(&e)
}

// event gives e to the control side; false if that is too far behind.
func (w *worker) event(e *Event) bool {
	select {
	case w.plane.events <- *e:
		return true
	default:
		w.count.n[eventsLost]++
		return false
	}
}
