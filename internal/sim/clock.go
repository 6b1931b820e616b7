package sim

import (
	"container/heap"
	"time"
)

// Clock is the virtual time and the events waiting for it. Events of the same
// instant run in the order in which they were asked for.
type Clock struct {
	now   time.Duration
	queue eventQueue
	asked uint64
}

// Timer is an event to come.
type Timer struct {
	at    time.Duration
	order uint64
	run   func()
	index int // in the queue; -1 = not waiting
}

// Now is the time since the simulation's start.
func (c *Clock) Now() time.Duration { return c.now }

// After runs f once d has passed.
func (c *Clock) After(d time.Duration, f func()) *Timer {
	c.asked++
	t := &Timer{at: c.now + max(d, 0), order: c.asked, run: f}
	heap.Push(&c.queue, t)
	return t
}

// Stop takes t, which may be nil, out of the queue.
func (c *Clock) Stop(t *Timer) {
	if t.Waiting() {
		heap.Remove(&c.queue, t.index)
	}
}

// Waiting says whether t is still to come; nil is not.
func (t *Timer) Waiting() bool { return t != nil && t.index >= 0 }

// Step runs the next event; false = there is none.
func (c *Clock) Step() bool {
	if len(c.queue) == 0 {
		return false
	}
	t := heap.Pop(&c.queue).(*Timer)
	c.now = t.at
	t.run()
	return true
}

type eventQueue []*Timer

func (q eventQueue) Len() int { return len(q) }

func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}

func (q eventQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *eventQueue) Push(x any) {
	t := x.(*Timer)
	t.index = len(*q)
	*q = append(*q, t)
}

func (q *eventQueue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	t.index = -1
	return t
}
