package lab

// packet is one IP packet of the UE in a buffer with room for a GTP-U header
// before it. It has one holder at a time: pool, pipeline or the loop.
type packet struct {
	next *packet // in the pool's free list
	off  int     // where the IP packet starts in data
	n    int     // its length
	data [packetSize]byte
}

const (
	packetSize = 2048
	headroom   = 64 // bytes before an uplink packet, for the GTP-U header
)

func (p *packet) bytes() []byte { return p.data[p.off : p.off+p.n] }

// pool is a free list that grows on demand. It belongs to one goroutine.
type pool struct{ free *packet }

func (l *pool) get() *packet {
	p := l.free
	if p == nil {
		return new(packet)
	}
	l.free, p.next = p.next, nil
	return p
}

func (l *pool) put(p *packet) {
	p.next, l.free = l.free, p
}
