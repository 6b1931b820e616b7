package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

// streams are MPTCP connections of the UE over which a server in the data network sends
// without an end, each at a pace that leaves the accesses room. Every byte is compared.
type streams struct {
	*fixture
	conns   []*net.TCPConn
	readers sync.WaitGroup
	got     []atomic.Int64 // bytes of each
	ending  atomic.Bool
}

// streamPiece is what a connection gets at once, and streamPace how often.
const (
	streamPiece = 4000 // bytes
	streamPace  = 20 * time.Millisecond
)

// streamTime is the longest that streams live.
const streamTime = 5 * time.Minute

// streams opens n connections, which have a subflow on each access when it returns.
func (f *fixture) streams(n int) *streams {
	f.Helper()
	s := &streams{fixture: f, got: make([]atomic.Int64, n)}
	addr := f.serve(func(c *net.TCPConn) error { return pour(c, streamPiece, streamPace) })
	for range n {
		c := f.dial(addr)
		f.check(c.SetDeadline(time.Now().Add(streamTime)))
		s.conns = append(s.conns, c)
	}
	f.Cleanup(s.close)
	for i, c := range s.conns {
		s.readers.Go(func() { s.read(i, c) })
	}
	for _, c := range s.conns {
		f.awaitSubflows(inspector(c))
	}
	return s
}

// pour sends numbered words, a piece at each pace, until the client ends its side.
func pour(c *net.TCPConn, piece int, pace time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(streamTime)); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- expectEOF(c) }()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	b := make([]byte, piece)
	for word := uint32(0); ; {
		for i := 0; i < len(b); i += 4 {
			binary.BigEndian.PutUint32(b[i:], word)
			word++
		}
		select {
		case err := <-ended:
			return err
		case <-tick.C:
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

// read compares what comes with what is sent.
func (s *streams) read(i int, c *net.TCPConn) {
	b := make([]byte, 64<<10)
	var at int64
	for {
		n, err := c.Read(b)
		for _, v := range b[:n] {
			word := uint32(at / 4)
			if want := byte(word >> (24 - 8*(at%4))); v != want {
				s.Errorf("stream %d: byte %d is %#x, want %#x", i, at, v, want)
				return
			}
			at++
		}
		s.got[i].Store(at)
		if err != nil {
			if !errors.Is(err, io.EOF) || !s.ending.Load() {
				s.Errorf("stream %d ended after %d bytes: %v", i, at, err)
			}
			return
		}
	}
}

func (s *streams) close() {
	if s.ending.Swap(true) {
		return
	}
	for i, c := range s.conns {
		if err := c.CloseWrite(); err != nil {
			s.Errorf("stream %d: %v", i, err)
		}
	}
	s.readers.Wait()
}

// whole ends the streams, which compare every byte.
func (s *streams) whole() { s.close() }

// outage records while during runs, and gives the longest time in which a connection got
// nothing.
func (s *streams) outage(during func()) (longest time.Duration) {
	s.Helper()
	stop := make(chan struct{})
	traces := make([]mptcpclient.Trace, len(s.got))
	var recorders sync.WaitGroup
	for i := range s.got {
		recorders.Go(func() {
			traces[i] = mptcpclient.Record(stop, func() (int64, error) { return s.got[i].Load(), nil })
		})
	}
	begin := time.Now()
	during()
	close(stop)
	recorders.Wait()
	for i, tr := range traces {
		if len(tr) < 2 {
			s.Errorf("stream %d has got nothing", i)
			continue
		}
		for _, g := range tr.Gaps(begin, time.Now(), 0) {
			longest = max(longest, g.Duration())
		}
		longest = max(longest, time.Since(tr[len(tr)-1].At))
	}
	return longest
}

// preferred is how many of the connections have got most of what came while during ran on
// each access.
func (s *streams) preferred(during func()) (n [steer.NumAccesses]int) {
	s.Helper()
	count := func() (all [][steer.NumAccesses]uint64) {
		for _, c := range s.conns {
			got, err := s.receivedOn(c)
			s.check(err)
			all = append(all, got)
		}
		return all
	}
	before := count()
	during()
	for i, after := range count() {
		if after[tgpp]-before[i][tgpp] >= after[nonTGPP]-before[i][nonTGPP] {
			n[tgpp]++
		} else {
			n[nonTGPP]++
		}
	}
	return n
}

// receivedOn is the bytes that the subflows of a connection on each access have received.
func (f *fixture) receivedOn(c *net.TCPConn) (n [steer.NumAccesses]uint64, err error) {
	info, err := mptcpclient.Inspect(c)
	if err != nil {
		return n, err
	}
	if !info.MPTCP {
		return n, errors.New("the connection is not MPTCP")
	}
	for i := range info.Subflows {
		a, err := f.accessOf(info.Subflows[i].Local.Addr().Unmap())
		if err != nil {
			return n, err
		}
		n[a] += info.Subflows[i].TCP.Bytes_received
	}
	return n, nil
}

// accessOf is the access of an address of the UE, a link-specific one if it has such.
func (f *fixture) accessOf(addr netip.Addr) (steer.Access, error) {
	ue, err := f.lab.UEStats()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	for a := range steer.Access(steer.NumAccesses) {
		if slices.Contains(ue.LinkSpecific[a], addr) {
			return a, nil
		}
		for k := range ueAddresses {
			if addr == lab.UEAddress(a, k, false) || addr == lab.UEAddress(a, k, true) {
				return a, nil
			}
		}
	}
	return 0, fmt.Errorf("%v is no address of the UE", addr)
}
