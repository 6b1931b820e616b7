package upf

import (
	"container/heap"

	"github.com/braid-upf/braid/pfcp"
)

// timerHeap holds the sessions that wait for something, the earliest deadline first:
// one entry a session, whatever it waits for.
type timerHeap []*sessionUsage

// Len is the number of sessions.
func (h timerHeap) Len() int { return len(h) }

// Less says which deadline comes first.
func (h timerHeap) Less(i, j int) bool { return h[i].deadline < h[j].deadline }

// Swap changes two places.
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = int32(i), int32(j)
}

// Push adds a *sessionUsage.
func (h *timerHeap) Push(x any) {
	su := x.(*sessionUsage)
	su.index = int32(len(*h))
	*h = append(*h, su)
}

// Pop takes the last one.
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	su := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return su
}

// schedule puts su where its earliest deadline belongs.
func (s *Server) schedule(su *sessionUsage) {
	next := sooner(su.out.retry, sooner(su.idle.due(), su.idle.dataDue()))
	for i := range su.meters {
		m := &su.meters[i]
		for _, d := range [...]stamp{m.periodic, m.rare().validity, m.rare().monitoring, m.check} {
			next = sooner(next, d)
		}
	}
	if su.gone {
		next = 0
	}
	was := su.deadline
	su.deadline = next
	switch {
	case was == 0 && next == 0:
	case was == 0:
		heap.Push(&s.rep.timers, su)
	case next == 0:
		heap.Remove(&s.rep.timers, int(su.index))
	default:
		heap.Fix(&s.rep.timers, int(su.index))
	}
	if next != 0 && (was == 0 || next < was) {
		s.rep.signal()
	}
}

func sooner(a, b stamp) stamp {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// maxBatch is how many meter queries go to the plane at once, and how many sessions a
// step serves before others get the server's lock.
const maxBatch = 256

// expire does what is due, for up to maxBatch sessions: it says which meters report
// for what reason, after a look at those whose limits go by what they read.
func (s *Server) expire() {
	due := s.rep.due[:0]
	for len(s.rep.timers) > 0 && len(due) < maxBatch && s.rep.timers[0].deadline <= s.rep.tick {
		su := heap.Pop(&s.rep.timers).(*sessionUsage)
		su.deadline = 0
		due = append(due, su)
	}
	if len(due) == 0 {
		return
	}
	var looks, monitored []reading
	for _, su := range due {
		if su.out.retry != 0 && su.out.retry <= s.rep.tick {
			su.out.retry = 0
			s.enqueue(su)
		}
		if at := su.idle.dataDue(); at != 0 && at <= s.rep.tick {
			s.expireDelayed(su)
		}
		if at := su.idle.due(); at != 0 && at <= s.rep.tick {
			looks = append(looks, reading{su: su})
		}
		for i := range su.meters {
			m := &su.meters[i]
			if at := m.rare().monitoring; at != 0 && at <= s.rep.tick {
				monitored = append(monitored, reading{su, m.urr})
			}
			var why pfcp.UsageTrigger
			if m.periodic != 0 && m.periodic <= s.rep.tick {
				why |= pfcp.ReportPERIO
				if m.periodic += seconds(m.period); m.periodic <= s.rep.tick {
					m.periodic = s.rep.tick + seconds(m.period)
				}
			}
			if at := m.rare().validity; at != 0 && at <= s.rep.tick {
				why |= pfcp.ReportQUVTI
				m.more.validity = 0
			}
			if why != 0 {
				s.wants(su, m.urr, why)
			}
			if m.check != 0 && m.check <= s.rep.tick {
				looks = append(looks, reading{su: su, urr: m.urr})
			}
		}
	}
	s.monitored(monitored)
	s.look(looks)
	s.collect()
	for i, su := range due {
		s.schedule(su)
		due[i] = nil
	}
	s.rep.due = due
}
