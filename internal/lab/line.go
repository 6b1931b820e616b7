package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// The control socket of a lab's process takes one request a line, as JSON, and answers each
// with one line.

// serveLines answers requests with answer until the listener is closed.
func serveLines[Req, Resp any](ctx context.Context, path string, answer func(context.Context, Req) Resp) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go serveConn(ctx, c, answer)
		}
	}()
	return l, nil
}

// serveConn answers a connection's requests. One that is no JSON ends it.
func serveConn[Req, Resp any](ctx context.Context, c net.Conn, answer func(context.Context, Req) Resp) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	lines := bufio.NewScanner(c)
	answers := json.NewEncoder(c)
	for lines.Scan() {
		var req Req
		if json.Unmarshal(lines.Bytes(), &req) != nil || answers.Encode(answer(ctx, req)) != nil {
			return
		}
	}
}

// askLine sends one request to the process behind the control socket path.
func askLine(path string, req, resp any) error {
	c, err := net.DialTimeout("unix", path, controlTimeout)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(controlTimeout)); err != nil {
		return err
	}
	if err := json.NewEncoder(c).Encode(req); err != nil {
		return err
	}
	if err := json.NewDecoder(c).Decode(resp); err != nil {
		return fmt.Errorf("answer of %s: %w", path, err)
	}
	return nil
}

const controlTimeout = 5 * time.Second
