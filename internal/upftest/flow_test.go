package upftest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"
)

// sink takes the datagrams of streams.
type sink struct {
	*net.UDPConn
	headers int // octets of IP and UDP headers
	done    chan struct{}

	mu       sync.Mutex
	arrivals []arrival
}

// arrival is a datagram of a stream.
type arrival struct {
	at     time.Time
	number uint32 // in the stream, from 0
	octets int    // of the IP packet
}

// newSink binds a UDP port of a host, any if 0, and takes what comes.
func (h *host) newSink(local netip.AddrPort) *sink {
	h.t.Helper()
	s := &sink{UDPConn: h.udp(local), headers: headersOf(local.Addr()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		b := make([]byte, 65536)
		for {
			n, err := s.Read(b)
			if err != nil {
				return // closed
			}
			if n >= 4 {
				a := arrival{time.Now(), binary.BigEndian.Uint32(b), n + s.headers}
				s.mu.Lock()
				s.arrivals = append(s.arrivals, a)
				s.mu.Unlock()
			}
		}
	}()
	h.t.Cleanup(func() {
		_ = s.Close()
		<-s.done
	})
	return s
}

func headersOf(a netip.Addr) int {
	if a.Is6() {
		return 48
	}
	return 28
}

func (s *sink) local() netip.AddrPort {
	a := s.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// taken are the arrivals so far.
func (s *sink) taken() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]arrival(nil), s.arrivals...)
}

// count is how many datagrams have arrived.
func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.arrivals)
}

// rate is what arrived between two points in time, in bit/s of IP packets.
func (s *sink) rate(from, to time.Time) float64 {
	octets := 0
	for _, a := range s.taken() {
		if a.at.After(from) && !a.at.After(to) {
			octets += a.octets
		}
	}
	return float64(octets) * 8 / to.Sub(from).Seconds()
}

// faults are how many of n datagrams have not arrived, how many came more than once and
// how many came behind a later one.
func (s *sink) faults(n int) (lost, twice, late int) {
	seen := make([]bool, n)
	next := uint32(0)
	for _, a := range s.taken() {
		if a.number < next {
			late++
		}
		next = max(next, a.number+1)
		if int(a.number) < n {
			if seen[a.number] {
				twice++
			}
			seen[a.number] = true
		}
	}
	for _, ok := range seen {
		if !ok {
			lost++
		}
	}
	return lost, twice, late
}

// stream sends numbered datagrams.
type stream struct {
	conn   *net.UDPConn
	octets int // of the IP packets
	sent   int

	stop, ended chan struct{}
}

// open makes a stream from an address of a host to a sink.
func (h *host) open(local netip.AddrPort, to netip.AddrPort, octets int) *stream {
	h.t.Helper()
	s := &stream{octets: octets}
	h.check(h.do(func() (err error) {
		s.conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(to))
		return err
	}))
	h.check(s.conn.SetWriteBuffer(4 << 20))
	h.t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

// send sends n datagrams at once. One that the kernel does not take counts as sent.
func (s *stream) send(n int) {
	b := make([]byte, s.octets-headersOf(s.conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()))
	for range n {
		binary.BigEndian.PutUint32(b, uint32(s.sent))
		_, _ = s.conn.Write(b)
		s.sent++
	}
}

// start sends at a constant rate, in bit/s of IP packets, until finish.
func (s *stream) start(rate float64) {
	s.stop, s.ended = make(chan struct{}), make(chan struct{})
	perSecond := rate / 8 / float64(s.octets)
	go func() {
		defer close(s.ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		begun, before := time.Now(), s.sent
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
				s.send(int(time.Since(begun).Seconds()*perSecond) - (s.sent - before))
			}
		}
	}()
}

// finish ends what start began.
func (s *stream) finish() {
	close(s.stop)
	<-s.ended
}
