package dataplane

import (
	"time"

	"github.com/braid-upf/braid/atsss/pmf"
	"github.com/braid-upf/braid/atsss/proxy"
)

// pmfTick is how fine the timers of the PMFs are.
const pmfTick = proxy.Time(10 * time.Millisecond)

// pmfBudget is how many sessions a worker works on in one tick; the others wait for the
// next. Where more are measured than fit, all are asked less often than they should be and
// the packets of the others go on; nobody is taken for dead for it, since it is requests
// that count.
const pmfBudget = 512

// pmfSlots times pmfTick is how far ahead the wheel sees, from where a worker that is behind
// has got to. What is due later comes then, which does no harm.
const pmfSlots = 512

// pmfWheel is a timing wheel of sessions that are being measured, each in it once at most.
type pmfWheel struct {
	slots [pmfSlots]struct{ first, last *pmfSession }
	at    int64 // the slot time that was reached
	n     int
}

func pmfSlot(t proxy.Time) int64 { return int64(t / pmfTick) }

// add has s, which is not in it, worked on at a time.
func (h *pmfWheel) add(s *pmfSession, now, at proxy.Time) {
	if h.n == 0 {
		h.at = max(h.at, pmfSlot(now))
	}
	i := (h.at + min(max(pmfSlot(at)-h.at, 1), pmfSlots-1)) % pmfSlots
	slot := &h.slots[i]
	s.slot, s.prev, s.next = uint16(i)+1, slot.last, nil
	if slot.last != nil {
		slot.last.next = s
	} else {
		slot.first = s
	}
	slot.last = s
	h.n++
}

// remove takes s out, if it is in.
func (h *pmfWheel) remove(s *pmfSession) {
	if s.slot == 0 {
		return
	}
	slot := &h.slots[s.slot-1]
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		slot.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		slot.last = s.prev
	}
	s.slot, s.prev, s.next = 0, nil, nil
	h.n--
}

// due takes out a session whose time has come; nil if there is none.
func (h *pmfWheel) due(now proxy.Time) *pmfSession {
	to := pmfSlot(now)
	if to-h.at > pmfSlots { // the worker slept, nothing else did
		h.at = max(h.at, to-pmfSlots)
	}
	for {
		if s := h.slots[h.at%pmfSlots].first; s != nil {
			h.remove(s)
			return s
		}
		if h.at >= to {
			return nil
		}
		h.at++
	}
}

// tickPMF works on the sessions whose time has come.
func (w *worker) tickPMF() {
	w.pmfTicked = w.now
	for range pmfBudget {
		p := w.pmfWheel.due(w.now)
		if p == nil {
			return
		}
		next := p.net.Tick(time.Duration(w.now), &w.pmfOut)
		w.afterPMF(p.home)
		w.tellAccess(p.home) // what was not told before
		if next != pmf.Never {
			w.pmfWheel.add(p, w.now, proxy.Time(next))
		}
	}
	w.count.n[pmfBehind]++
}
