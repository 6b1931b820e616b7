package packet

// Queue is temporary.
type Queue struct {
	head, tail *Buffer
	n          int
}

func (q *Queue) Len() int { return q.n }
func (q *Queue) Push(b *Buffer) {
	b.next = nil
	if q.tail == nil {
		q.head = b
	} else {
		q.tail.next = b
	}
	q.tail = b
	q.n++
}
func (q *Queue) Pop() *Buffer {
	b := q.head
	if b == nil {
		return nil
	}
	q.head = b.next
	if q.head == nil {
		q.tail = nil
	}
	b.next = nil
	q.n--
	return b
}
func (q *Queue) Append(o *Queue) {
	for b := o.Pop(); b != nil; b = o.Pop() {
		q.Push(b)
	}
}

func (p *Pool) Copy(b *Buffer) *Buffer {
	c := p.Get()
	c.SetLen(copy(c.Room(), b.Bytes()))
	c.SegmentSize, c.Checksum = b.SegmentSize, b.Checksum
	return c
}
