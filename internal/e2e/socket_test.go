package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/internal/lab"
)

// Ways in which applications move bytes; both sides do it, both ways at once. They
// make different segments: whole files, lines, single bytes.
func TestWaysToWrite(t *testing.T) {
	const size = 2_000_003
	write := func(c *net.TCPConn, g *file) error {
		b, err := os.ReadFile(g.path)
		if err == nil {
			_, err = c.Write(b)
		}
		return err
	}
	sendfile := func(c *net.TCPConn, g *file) error {
		in, err := os.Open(g.path)
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = c.ReadFrom(in) // a file: sendfile(2)
		return err
	}
	small := func(c *net.TCPConn, g *file) error { // without Nagle's algorithm, as Go has it
		b, err := os.ReadFile(g.path)
		r := rand.New(rand.NewPCG(1, uint64(c.LocalAddr().(*net.TCPAddr).Port)))
		for err == nil && len(b) > 0 {
			n := min(len(b), 1+r.IntN(4000))
			_, err = c.Write(b[:n])
			b = b[n:]
		}
		return err
	}
	for _, tc := range []struct {
		name           string
		v6             bool
		client, server func(*net.TCPConn, *file) error
	}{
		{"write", false, write, write},
		{"sendfile", false, sendfile, sendfile},
		{"small writes", false, small, small},
		{"small writes to sendfile IPv6", true, small, sendfile},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := begin(t)
			if tc.v6 {
				f.v6()
			}
			g := f.file(size)
			b, err := os.ReadFile(g.path)
			f.check(err)
			both := func(c *net.TCPConn, send func(*net.TCPConn, *file) error) error {
				sent := make(chan error)
				go func() {
					err := send(c, g)
					if err == nil {
						err = c.CloseWrite()
					}
					sent <- err
				}()
				err := expect(c, b)
				if serr := <-sent; err == nil {
					err = serr
				}
				if err == nil {
					err = expectEOF(c)
				}
				return err
			}
			addr := f.serve(func(c *net.TCPConn) error { return both(c, tc.server) })
			c := f.dial(addr)
			f.check(both(c, tc.client))
		})
	}
}

// One socket connects, ends, disconnects and connects again, as mptcp_connect -I of
// the kernel's own tests does: each time it is another connection. Linux disconnects
// by MP_FASTCLOSE, also when both sides have ended.
func TestReconnect(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "IPv4", true: "IPv6"}[v6], func(t *testing.T) {
			f := begin(t, mpRstTx)
			if v6 {
				f.v6()
			}
			b := pattern(300_000)
			addr := f.serve(func(c *net.TCPConn) error {
				if err := expect(c, b); err != nil {
					return err
				}
				if err := expectEOF(c); err != nil {
					return err
				}
				_, err := c.Write(b)
				return err
			})
			fd := f.socket(v6)
			for range 3 {
				f.check(unix.Connect(fd, sockaddr(netip.MustParseAddrPort(addr))))
				stream := fdStream(fd)
				for rest := b; len(rest) > 0; {
					n, err := stream.Write(rest)
					f.check(err)
					rest = rest[n:]
				}
				f.check(unix.Shutdown(fd, unix.SHUT_WR))
				f.check(expect(stream, b))
				f.check(expectEOF(stream))
				f.check(disconnect(fd))
			}
			f.counted(map[string]uint64{"MPCapableSYNTX": 3, "MPCapableSYNACKRX": 3})
		})
	}
}

// socket is an MPTCP socket of the UE whose calls block for the time of a transfer at
// most.
func (f *fixture) socket(v6 bool) (fd int) {
	f.Helper()
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	f.check(f.lab.InNamespace(lab.UE, func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
		return err
	}))
	f.Cleanup(func() { f.check(unix.Close(fd)) })
	limit := unix.NsecToTimeval(int64(transferTime / time.Nanosecond))
	for _, opt := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		f.check(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &limit))
	}
	return fd
}

func sockaddr(ap netip.AddrPort) unix.Sockaddr {
	if ap.Addr().Is6() {
		return &unix.SockaddrInet6{Addr: ap.Addr().As16(), Port: int(ap.Port())}
	}
	return &unix.SockaddrInet4{Addr: ap.Addr().As4(), Port: int(ap.Port())}
}

// disconnect is connect(2) with AF_UNSPEC: the socket can connect again.
func disconnect(fd int) error {
	var unspec unix.RawSockaddrAny // package unix has none of this family
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec))
	if errno != 0 {
		return fmt.Errorf("disconnect: %w", errno)
	}
	return nil
}

// fdStream reads and writes a blocking socket.
type fdStream int

func (s fdStream) Read(b []byte) (int, error) {
	n, err := s.again(unix.Read, b)
	if n == 0 && err == nil && len(b) > 0 {
		return 0, io.EOF
	}
	return n, err
}

func (s fdStream) Write(b []byte) (int, error) { return s.again(unix.Write, b) }

// again makes a system call until no signal, such as Go's own, interrupts it.
func (s fdStream) again(call func(int, []byte) (int, error), b []byte) (int, error) {
	for {
		n, err := call(int(s), b)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}
