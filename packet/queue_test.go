package packet

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestQueue does random operations on a queue and on a slice.
func TestQueue(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	p := NewPool(8, 64)
	var q Queue
	var model []*Buffer
	popped, emptied := 0, 0
	for i := range 20_000 {
		switch op := r.IntN(100); {
		case op < 50:
			b := p.Get()
			b.SetLen(r.IntN(65))
			q.Push(b)
			model = append(model, b)
		case op < 54:
			var more Queue
			for range r.IntN(3) {
				b := p.Get()
				more.Push(b)
				model = append(model, b)
			}
			q.Append(&more)
			if more.Len() != 0 || more.Pop() != nil {
				t.Fatalf("step %d: what was appended is still there", i)
			}
		case op < 98:
			b := q.Pop()
			if len(model) == 0 {
				emptied++
				if b != nil {
					t.Fatalf("step %d: a buffer out of nothing", i)
				}
				continue
			}
			if b != model[0] || b.next != nil {
				t.Fatalf("step %d: not the oldest, or still linked", i)
			}
			popped++
			model = model[1:]
			p.Put(b)
		default:
			p.PutAll(&q)
			// They come again, each once.
			got := map[*Buffer]bool{}
			for range model {
				got[p.Get()] = true
			}
			for _, b := range model {
				if !got[b] {
					t.Fatalf("step %d: a buffer was not put back", i)
				}
				p.Put(b)
			}
			model = nil
		}
		if q.Len() != len(model) {
			t.Fatalf("step %d: %d buffers, want %d", i, q.Len(), len(model))
		}
	}
	if popped < 1000 || emptied < 100 {
		t.Errorf("%d popped, %d times empty: the test says little", popped, emptied)
	}
}

func TestClone(t *testing.T) {
	p := NewPool(2, 100)
	b := p.Get()
	b.SetLen(copy(b.Room(), "header packet"))
	b.TrimFront(len("header "))
	b.SegmentSize, b.Checksum = 1400, ChecksumVerified
	c := b.Clone(p)
	if string(c.Bytes()) != "packet" || c.Headroom() != b.Headroom() || c.SegmentSize != 1400 || c.Checksum != ChecksumVerified {
		t.Errorf("copy %q, headroom %d: %+v", c.Bytes(), c.Headroom(), c)
	}
	copy(c.Bytes(), "PACKET")
	c.Prepend(c.Headroom())
	if string(b.Bytes()) != "packet" {
		t.Errorf("the copy shares bytes: %q", b.Bytes())
	}
	whole := p.Get()
	whole.Prepend(Headroom)
	whole.SetLen(Headroom + 100)
	for i := range whole.Bytes() {
		whole.Bytes()[i] = byte(i)
	}
	if c := whole.Clone(p); !bytes.Equal(c.Bytes(), whole.Bytes()) {
		t.Error("a buffer full to both ends is copied wrong")
	}
}

func TestQueueAllocs(t *testing.T) {
	p := NewPool(2, 0)
	b := p.Get()
	b.SetLen(1400)
	var q Queue
	if n := testing.AllocsPerRun(100, func() {
		q.Push(b.Clone(p))
		p.Put(q.Pop())
		p.PutAll(&q)
	}); n != 0 {
		t.Errorf("Clone, Push, Pop and PutAll allocate %v times", n)
	}
}

func BenchmarkQueue(b *testing.B) {
	buf := NewPool(1, 0).Get()
	var q Queue
	b.ReportAllocs()
	for b.Loop() {
		q.Push(buf)
		q.Pop()
	}
}

func BenchmarkClone1400(b *testing.B) {
	p := NewPool(2, 0)
	buf := p.Get()
	buf.SetLen(1400)
	b.ReportAllocs()
	for b.Loop() {
		p.Put(buf.Clone(p))
	}
}
