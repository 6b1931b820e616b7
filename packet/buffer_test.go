package packet

import (
	"bytes"
	"testing"
)

func TestBuffer(t *testing.T) {
	b := NewPool(1, 100).Get()
	if b.Len() != 0 || b.Headroom() != Headroom || len(b.Room()) != 100 {
		t.Fatalf("new buffer: %d bytes, headroom %d, room %d", b.Len(), b.Headroom(), len(b.Room()))
	}
	b.SetLen(copy(b.Room(), "header payload"))
	b.TrimFront(len("header "))
	if string(b.Bytes()) != "payload" || b.Headroom() != Headroom+7 {
		t.Errorf("trimmed: %q, headroom %d", b.Bytes(), b.Headroom())
	}
	b.SetLen(4)
	if string(b.Bytes()) != "payl" {
		t.Errorf("cut: %q", b.Bytes())
	}
	if n := copy(b.Prepend(4), "new "); n != 4 || string(b.Bytes()) != "new payl" {
		t.Errorf("prepended %d: %q", n, b.Bytes())
	}
	if got := b.Prepend(b.Headroom()); len(got) != Headroom+3 || b.Headroom() != 0 {
		t.Errorf("all headroom is %d bytes, %d left", len(got), b.Headroom())
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Prepend beyond the headroom did not panic")
			}
		}()
		b.Prepend(1)
	}()
}

func TestPool(t *testing.T) {
	p := NewPool(2, 0)
	var got []*Buffer
	for i := range 3 { // the third makes it grow
		b := p.Get()
		if len(b.Room()) != MaxPacket {
			t.Fatalf("room of %d bytes, want %d", len(b.Room()), MaxPacket)
		}
		for j := range b.Room() {
			b.Room()[j] = byte(i + 1)
		}
		b.Prepend(Headroom)[0] = byte(i + 1)
		b.SetLen(Headroom + MaxPacket)
		got = append(got, b)
	}
	for i, b := range got {
		if bytes.Count(b.Bytes()[Headroom:], []byte{byte(i + 1)}) != MaxPacket || b.Bytes()[0] != byte(i+1) {
			t.Errorf("buffer %d shares bytes with another", i)
		}
	}
	used := got[1]
	used.SegmentSize, used.Checksum = 1400, ChecksumVerified
	p.Put(used)
	again := p.Get()
	if again != used {
		t.Error("a buffer that was put back was not given again")
	}
	if again.Len() != 0 || again.Headroom() != Headroom || again.SegmentSize != 0 || again.Checksum != ChecksumUnknown {
		t.Errorf("a buffer given again is not empty: %+v", again)
	}
	if n := testing.AllocsPerRun(100, func() { p.Put(p.Get()) }); n != 0 {
		t.Errorf("Get and Put allocate %v times", n)
	}
}
