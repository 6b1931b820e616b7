package packet

// Queue is a first-in first-out list of buffers, linked through the buffers
// themselves. The zero value is empty. A buffer is in one queue at most and goes to
// no pool while it is there.
type Queue struct {
	head, tail *Buffer
	n          int
}

// Push puts b behind the others.
func (q *Queue) Push(b *Buffer) {
	if q.head == nil {
		q.head = b
	} else {
		q.tail.next = b
	}
	q.tail = b
	q.n++
}

// Pop takes out the buffer that has been in q the longest; nil = q is empty.
func (q *Queue) Pop() *Buffer {
	b := q.head
	if b == nil {
		return nil
	}
	q.head, b.next = b.next, nil
	q.n--
	return b
}

// Append moves the buffers of o, in their order, behind those of q.
func (q *Queue) Append(o *Queue) {
	switch {
	case o.head == nil:
		return
	case q.head == nil:
		q.head = o.head
	default:
		q.tail.next = o.head
	}
	q.tail = o.tail
	q.n += o.n
	*o = Queue{}
}

// Len is the number of buffers in q.
func (q *Queue) Len() int { return q.n }

// PutAll gives back every buffer of q, which is empty then.
func (p *Pool) PutAll(q *Queue) {
	if q.head == nil {
		return
	}
	q.tail.next = p.free
	p.free = q.head
	*q = Queue{}
}
