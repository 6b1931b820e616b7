// Package packet holds what every layer of the packet path shares: buffers with
// room in front, views of IP, TCP and UDP headers over bytes (RFC 791, RFC 8200,
// RFC 9293), and the Internet checksum (RFC 1071).
//
// Nothing here allocates after a [Pool] is made, and nothing is safe for use by
// more than one goroutine: a pool and its buffers belong to one worker.
package packet

// Headroom is the number of bytes kept free in front of a received IP packet: for
// TCP options that translation adds (at most 40) and for the GTP-U header with a
// PDU Session Container (16).
const Headroom = 128

// MaxPacket is the longest IP packet that a buffer of [NewPool]'s default size
// holds.
const MaxPacket = 2048 - Headroom

// Checksum says what is known of the transport checksum of a packet.
type Checksum uint8

// Checksum states.
const (
	ChecksumUnknown  Checksum = iota // in the packet, not looked at
	ChecksumVerified                 // in the packet and right
)

// Buffer is one packet and the room around it. The zero value is of no use: get
// one from a [Pool].
type Buffer struct {
	store      []byte
	start, end int

	// SegmentSize is the TCP payload size into which a super-packet (a TCP
	// segment longer than the path's MTU, from GRO or a local sender with TSO)
	// is to be cut; 0 = an ordinary packet.
	SegmentSize uint16

	// Checksum is the state of the transport checksum.
	Checksum Checksum

	// Tag is for whoever holds the buffer back.
	Tag uint16

	next *Buffer
}

// Bytes is the packet. It is valid until the buffer goes back to its pool.
func (b *Buffer) Bytes() []byte { return b.store[b.start:b.end] }

// Len is the length of the packet.
func (b *Buffer) Len() int { return b.end - b.start }

// Room is the whole space behind the headroom, for a driver to receive into;
// follow with SetLen.
func (b *Buffer) Room() []byte { return b.store[Headroom:] }

// Reset makes b an empty packet behind the full headroom.
func (b *Buffer) Reset() {
	b.start, b.end = Headroom, Headroom
	b.SegmentSize, b.Checksum = 0, ChecksumUnknown
}

// SetLen makes the packet n bytes long, 0 <= n <= len(Room()) less what was
// trimmed or plus what was prepended in front.
func (b *Buffer) SetLen(n int) { b.end = b.start + n }

// TrimFront drops the first n bytes of the packet; they become headroom.
func (b *Buffer) TrimFront(n int) { b.start += n }

// Prepend puts n bytes of undefined content in front of the packet and returns
// them. It panics if less than n bytes of headroom are left.
func (b *Buffer) Prepend(n int) []byte {
	b.start -= n
	return b.store[b.start : b.start+n]
}

// Headroom is the number of bytes that Prepend can still give.
func (b *Buffer) Headroom() int { return b.start }

// Clone is a copy of b from p, whose buffers are no smaller than b, with the same
// headroom.
func (b *Buffer) Clone(p *Pool) *Buffer {
	c := p.Get()
	c.start, c.end = b.start, b.end
	copy(c.Bytes(), b.Bytes())
	c.SegmentSize, c.Checksum = b.SegmentSize, b.Checksum
	return c
}

// Pool is a free list of buffers. It grows when it is empty and never shrinks.
type Pool struct {
	size int
	free *Buffer
}

// NewPool makes a pool of n buffers for packets of up to maxPacket bytes;
// maxPacket 0 means [MaxPacket].
func NewPool(n, maxPacket int) *Pool {
	if maxPacket == 0 {
		maxPacket = MaxPacket
	}
	p := &Pool{size: Headroom + maxPacket}
	slab := make([]byte, n*p.size)
	for i := range n {
		p.Put(&Buffer{store: slab[i*p.size : (i+1)*p.size : (i+1)*p.size]})
	}
	return p
}

// Get gives an empty buffer.
func (p *Pool) Get() *Buffer {
	b := p.free
	if b == nil {
		b = &Buffer{store: make([]byte, p.size)}
	} else {
		p.free = b.next
		b.next = nil
	}
	b.Reset()
	return b
}

// Put gives b back; its bytes are no longer valid.
func (p *Pool) Put(b *Buffer) {
	b.next = p.free
	p.free = b
}
