package e2e

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mpRstTx is the UE counter that an abort moves: the UE's kernel resets its
// subflows when it sends MP_FASTCLOSE and when it receives it (RFC 8684 §3.5).
const mpRstTx = "MPTcpExtMPRstTx"

// One side has sent all; the other goes on.
func TestHalfClose(t *testing.T) {
	b := pattern(2_000_000)
	first := func(c *net.TCPConn) error { // sends, ends, then receives
		if _, err := c.Write(b); err != nil {
			return err
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		if err := expect(c, b); err != nil {
			return err
		}
		return expectEOF(c)
	}
	second := func(c *net.TCPConn) error { // receives to the end, then sends
		if err := expect(c, b); err != nil {
			return err
		}
		if err := expectEOF(c); err != nil {
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		return c.CloseWrite()
	}
	for _, tc := range []struct {
		name           string
		server, client func(*net.TCPConn) error
	}{{"client first", second, first}, {"server first", first, second}} {
		t.Run(tc.name, func(t *testing.T) {
			f := begin(t)
			done := make(chan struct{})
			addr := f.serve(func(c *net.TCPConn) error {
				defer close(done)
				return tc.server(c)
			})
			c := f.dial(addr)
			f.check(tc.client(c))
			<-done
		})
	}
}

func TestServerReset(t *testing.T) {
	for _, joined := range []bool{true, false} {
		name := map[bool]string{true: "two subflows", false: "first subflow only"}[joined]
		t.Run(name, func(t *testing.T) {
			f := begin(t, mpRstTx)
			if !joined {
				f.kill(nonTGPP) // the join gets no answer
			}
			reset := make(chan struct{})
			addr := f.serve(func(c *net.TCPConn) error {
				<-reset
				if err := c.SetLinger(0); err != nil {
					return err
				}
				return c.Close()
			})
			c := f.dial(addr)
			_, err := c.Write(pattern(5000))
			f.check(err)
			if joined {
				f.awaitSubflows(inspector(c))
			}
			close(reset)
			if n, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client got %d bytes and %v, want ECONNRESET", n, err)
			}
			f.counted(map[string]uint64{"MPFastcloseTx": 0})
			if n := f.rose("MPTcpExtMPFastcloseRx"); n == 0 {
				t.Error("the client was not told by MP_FASTCLOSE")
			}
		})
	}
}

// MP_FASTCLOSE from the UE becomes a reset at the server.
func TestClientAbort(t *testing.T) {
	f := begin(t, mpRstTx)
	b := pattern(1_000_000)
	got := make(chan error, 1)
	addr := f.serve(func(c *net.TCPConn) error {
		if err := expect(c, b); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, c)
		got <- err
		return nil
	})
	c := f.dial(addr)
	_, err := c.Write(b)
	f.check(err)
	f.awaitSubflows(inspector(c))
	f.await("all data acknowledged", eventTime, func() bool { return f.sendQueue(c) == 0 })
	f.check(c.SetLinger(0))
	f.check(c.Close())
	if err := <-got; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server got %v, want ECONNRESET", err)
	}
	f.counted(map[string]uint64{"MPFastcloseTx": 2, "MPFastcloseRx": 0}) // on each subflow
}

// A download that the client gives up half-way.
func TestClientGivesUp(t *testing.T) {
	f := begin(t, mpRstTx)
	addr := f.serve(func(c *net.TCPConn) error {
		b := pattern(100_000)
		for {
			if _, err := c.Write(b); errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
	c := f.dial(addr)
	_, err := io.CopyN(io.Discard, c, 5_000_000)
	f.check(err)
	f.awaitSubflows(inspector(c))
	f.check(c.Close()) // with unread data: MP_FASTCLOSE
}

func TestRefused(t *testing.T) {
	f := begin(t)
	c, err := f.client.Dial(f.ctx, net.JoinHostPort(f.server.String(), "9")) // nobody listens
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting to a closed port gave %v, want ECONNREFUSED", err)
	}
	if err == nil {
		c.Close()
	}
}

// sendQueue is the number of bytes that the peer has not acknowledged.
func (f *fixture) sendQueue(c *net.TCPConn) (n int) {
	f.Helper()
	raw, err := c.SyscallConn()
	f.check(err)
	f.check(raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }))
	f.check(err)
	return n
}
