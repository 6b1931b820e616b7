package mptcpclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/atsss/convert"
)

// ConvertError is the error that a converter answers a request with.
type ConvertError struct {
	Code  convert.Code
	Value []byte
}

func (e *ConvertError) Error() string {
	return fmt.Sprintf("the converter answers error %d, % x", e.Code, e.Value)
}

// convertTime is how long a converter may take where the context has no deadline.
const convertTime = 30 * time.Second

// Convert opens a connection to the converter c.Converter, the way libconvert does: payload,
// a message of RFC 8803 and what is to follow it, goes with MSG_FASTOPEN, in the SYN if
// net.ipv4.tcp_fastopen is 5, or behind the handshake if that forbids Fast Open; then the
// converter's message is read, and nothing beyond it. An error that the converter answers
// with is a *[ConvertError].
func (c *Client) Convert(ctx context.Context, payload []byte) (*net.TCPConn, convert.Reply, error) {
	conn, reply, err := c.convert(ctx, payload)
	if err != nil {
		return nil, reply, fmt.Errorf("converter: %w", err)
	}
	return conn, reply, nil
}

func (c *Client) convert(ctx context.Context, payload []byte) (conn *net.TCPConn, reply convert.Reply, err error) {
	fd, err := c.convertSocket()
	if err != nil {
		return nil, reply, err
	}
	f := os.NewFile(uintptr(fd), "converter")
	defer f.Close() // net.FileConn has a copy
	n, err := begin(fd, payload, socketAddress(c.Converter))
	if err != nil {
		return nil, reply, err
	}
	early, err := net.FileConn(f)
	if err != nil {
		return nil, reply, err
	}
	defer early.Close() // the connection has a copy, or has failed
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(convertTime)
	}
	if err := early.SetDeadline(deadline); err != nil {
		return nil, reply, err
	}
	if n < len(payload) { // else it would ask a socket that is not connected for nothing
		if _, err := early.Write(payload[n:]); err != nil {
			return nil, reply, err
		}
	}
	if reply, err = readReply(early); err != nil {
		// The client resets (RFC 8803 §6.2.8).
		return nil, reply, errors.Join(err, early.(*net.TCPConn).SetLinger(0))
	}
	whole, err := net.FileConn(f) // connected now, and so with both addresses
	if err != nil {
		return nil, reply, err
	}
	return whole.(*net.TCPConn), reply, nil
}

// begin opens a connection with as much of payload in the SYN as Fast Open allows, n bytes.
func begin(fd int, payload []byte, to unix.Sockaddr) (n int, err error) {
	n, err = unix.SendmsgN(fd, payload, nil, to, unix.MSG_FASTOPEN)
	if errors.Is(err, unix.EOPNOTSUPP) {
		n, err = 0, unix.Connect(fd, to)
	}
	if errors.Is(err, unix.EINPROGRESS) {
		return max(n, 0), nil
	}
	return n, err
}

// convertSocket is a socket of the client's namespace, bound to its address.
func (c *Client) convertSocket() (fd int, err error) {
	const mptcp = 262
	family, proto := unix.AF_INET, mptcp
	if c.Converter.Addr().Is6() {
		family = unix.AF_INET6
	}
	if c.Plain {
		proto = unix.IPPROTO_TCP
	}
	err = c.In.do(func() error {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
		return err
	})
	if err != nil {
		return -1, err
	}
	if c.Local.IsValid() {
		if err := unix.Bind(fd, socketAddress(netip.AddrPortFrom(c.Local, 0))); err != nil {
			return -1, errors.Join(err, unix.Close(fd))
		}
	}
	return fd, nil
}

func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// readReply reads the converter's message, first of all its header.
func readReply(from io.Reader) (r convert.Reply, err error) {
	b := make([]byte, convert.HeaderLen, convert.MaxLen)
	if _, err := io.ReadFull(from, b); err != nil {
		return r, fmt.Errorf("read the reply: %w", err)
	}
	n, ok := convert.ReplyLen(b)
	if !ok {
		return r, fmt.Errorf("% x is the header of no reply", b)
	}
	b = b[:n]
	if _, err := io.ReadFull(from, b[convert.HeaderLen:]); err != nil {
		return r, fmt.Errorf("read the reply: %w", err)
	}
	switch {
	case !convert.ParseReply(b, &r):
		return r, fmt.Errorf("% x is no reply", b)
	case r.HasError:
		return r, &ConvertError{r.Code, bytes.Clone(r.Value)}
	}
	return r, nil
}

// ConnectMessage is the message that asks a converter for a connection to addr, with the
// given TCP options in its SYN.
func ConnectMessage(addr netip.AddrPort, options ...byte) []byte {
	a := addr.Addr().As16()
	b := convert.AppendConnect(convert.Start(nil), &a, addr.Port(), options)
	convert.Finish(b, 0)
	return b
}
