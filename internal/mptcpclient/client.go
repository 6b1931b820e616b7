package mptcpclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Client makes connections from a network namespace.
type Client struct {
	In    Namespace  // where the connections begin
	Plain bool       // plain TCP, not MPTCP
	Local netip.Addr // source address; the zero value leaves it to routing

	// FastOpen has the first write open the connection, in the SYN's payload as far as
	// net.ipv4.tcp_fastopen allows it (TCP_FASTOPEN_CONNECT). Errors of connecting come
	// with it.
	FastOpen bool

	// Converter is a transport converter (RFC 8803) through which Dial connects, see
	// [Client.Convert]; the zero value = to the server itself.
	Converter netip.AddrPort
}

// Dial connects to an address literal, "10.100.6.2:80".
func (c *Client) Dial(ctx context.Context, addr string) (*net.TCPConn, error) {
	if c.Converter.IsValid() {
		server, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		conn, _, err := c.Convert(ctx, ConnectMessage(server))
		return conn, err
	}
	var d net.Dialer
	d.SetMultipathTCP(!c.Plain)
	if c.Local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.Local, 0))
	}
	if c.FastOpen {
		d.Control = func(_, _ string, raw syscall.RawConn) (err error) {
			outer := raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
			})
			return errors.Join(outer, err)
		}
	}
	var conn net.Conn
	err := c.In.do(func() error {
		var err error
		conn, err = d.DialContext(ctx, "tcp", addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn.(*net.TCPConn), nil
}

// Listen listens for plain TCP in a network namespace.
func Listen(in Namespace, addr string) (*net.TCPListener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // Go listens with MPTCP where it can
	var l net.Listener
	err := in.do(func() error {
		var err error
		l, err = lc.Listen(context.Background(), "tcp", addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l.(*net.TCPListener), nil
}

// Transfer is one HTTP request over a connection of its own. Start it with
// [Client.Get] or [Client.Put]; its methods may be called by any goroutine.
type Transfer struct {
	transport *http.Transport
	conn      atomic.Pointer[net.TCPConn]
	bytes     atomic.Int64
	done      chan struct{}

	// Valid once Wait has returned.
	err        error
	sum        string
	status     int
	start, end time.Time
}

// Get starts a download. ctx ends it early.
func (c *Client) Get(ctx context.Context, url string) *Transfer {
	return c.start(ctx, http.MethodGet, url, http.NoBody, 0)
}

// Put starts an upload of size bytes that body holds, and closes body at the end.
func (c *Client) Put(ctx context.Context, url string, body io.ReadCloser, size int64) *Transfer {
	return c.start(ctx, http.MethodPut, url, body, size)
}

func (c *Client) start(ctx context.Context, method, url string, body io.ReadCloser, size int64) *Transfer {
	t := &Transfer{done: make(chan struct{}), start: time.Now()}
	t.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			conn, err := c.Dial(ctx, addr)
			if err != nil {
				return nil, err
			}
			if !t.conn.CompareAndSwap(nil, conn) {
				conn.Close()
				return nil, fmt.Errorf("second connection for one transfer to %s", addr)
			}
			return conn, nil
		},
		DisableCompression: true,
		ReadBufferSize:     64 << 10,
		WriteBufferSize:    64 << 10,
	}
	go func() {
		defer close(t.done)
		defer body.Close()
		t.sum, t.status, t.err = t.run(ctx, method, url, body, size)
		t.end = time.Now()
		if t.err != nil {
			t.err = fmt.Errorf("%s %s after %d bytes: %w", method, url, t.bytes.Load(), t.err)
		}
	}()
	return t
}

func (t *Transfer) run(ctx context.Context, method, url string, body io.Reader, size int64) (sum string, status int, err error) {
	h := sha256.New()
	if method == http.MethodPut {
		body = io.TeeReader(body, counted{h, &t.bytes})
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return "", 0, err
	}
	req.ContentLength = size
	resp, err := t.transport.RoundTrip(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return "", resp.StatusCode, fmt.Errorf("status %s", resp.Status)
	}
	dst := io.Discard
	if method == http.MethodGet {
		dst = counted{h, &t.bytes}
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{resp.Body}, make([]byte, 256<<10)); err != nil {
		return "", resp.StatusCode, err
	}
	return hex.EncodeToString(h.Sum(nil)), resp.StatusCode, nil
}

// counted counts what passes to w.
type counted struct {
	w io.Writer
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// Bytes is the payload received so far, or for an upload handed to the kernel.
func (t *Transfer) Bytes() int64 { return t.bytes.Load() }

// Done is closed when the transfer has ended, well or not.
func (t *Transfer) Done() <-chan struct{} { return t.done }

// Wait waits for the end and gives the hex SHA-256 of the payload. The connection
// stays open for [Transfer.Inspect] until Close.
func (t *Transfer) Wait() (sha256Hex string, err error) {
	<-t.done
	return t.sum, t.err
}

// Times is the time of the start and, once Wait has returned, of the end.
func (t *Transfer) Times() (start, end time.Time) { return t.start, t.end }

// Inspect asks the kernel about the transfer's connection; an error before there
// is one.
func (t *Transfer) Inspect() (Info, error) {
	c := t.conn.Load()
	if c == nil {
		return Info{}, net.ErrClosed
	}
	return Inspect(c)
}

// LocalPort is the UE's port of the first subflow, which is the port that the
// server sees; 0 before there is a connection.
func (t *Transfer) LocalPort() uint16 {
	c := t.conn.Load()
	if c == nil {
		return 0
	}
	return c.LocalAddr().(*net.TCPAddr).AddrPort().Port()
}

// Close waits for the end and closes the connection.
func (t *Transfer) Close() {
	<-t.done
	t.transport.CloseIdleConnections()
	if c := t.conn.Load(); c != nil {
		c.Close() // the transport may have closed it
	}
}

// EchoUDP sends count datagrams of size bytes to an echo server, one after
// another, and returns how many came back unchanged within timeout each.
func (c *Client) EchoUDP(addr string, count, size int, timeout time.Duration) (received int, err error) {
	var d net.Dialer
	if c.Local.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.Local, 0))
	}
	var conn net.Conn
	err = c.In.do(func() error {
		conn, err = d.Dial("udp", addr)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("UDP echo: %w", err)
	}
	defer conn.Close()
	in := make([]byte, 65536)
	for i := range count {
		out := bytes.Repeat([]byte{byte(i), byte(i >> 8), 0xa5}, size/3+1)[:size]
		if _, err := conn.Write(out); err != nil {
			return received, fmt.Errorf("UDP echo: datagram %d: %w", i, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
			return received, err
		}
		if n, err := conn.Read(in); err == nil && bytes.Equal(in[:n], out) {
			received++
		}
	}
	return received, nil
}

// UDPEcho is a UDP server that sends every datagram back.
type UDPEcho struct {
	conn *net.UDPConn
	wg   sync.WaitGroup
}

// ListenUDPEcho starts the server in a network namespace.
func ListenUDPEcho(in Namespace, addr string) (*UDPEcho, error) {
	e := &UDPEcho{}
	err := in.do(func() error {
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			return err
		}
		e.conn = c.(*net.UDPConn)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("UDP echo server: %w", err)
	}
	e.wg.Add(1)
	go func() {
		defer e.wg.Done()
		b := make([]byte, 65536)
		for {
			n, from, err := e.conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return // closed
			}
			_, _ = e.conn.WriteToUDPAddrPort(b[:n], from) // a lost echo is the client's to notice
		}
	}()
	return e, nil
}

// Close ends the server.
func (e *UDPEcho) Close() {
	e.conn.Close() // nothing is buffered
	e.wg.Wait()
}
