package e2e

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

func TestTransfer(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			f := begin(t)
			g := f.file(30_000_000)
			tr := d.start(f, g)
			f.awaitSubflows(tr.Inspect)
			d.end(f, tr, g)
			f.mptcp(tr.Inspect, 2)
			total := f.carried(d.way)
			if sum := total[tgpp] + total[nonTGPP]; sum < uint64(g.size) {
				t.Errorf("the accesses carried %v bytes, the file has %d", total, g.size)
			}
			if d.way == lab.DirectionDown && total[nonTGPP] > uint64(g.size)/100 {
				t.Errorf("the standby access carried %d bytes", total[nonTGPP])
			}
		})
	}
}

// Sizes about a segment, and none.
func TestSmallTransfers(t *testing.T) {
	f := begin(t)
	for _, size := range []int{0, 1, 2, 1000, 1347, 1348, 1349, 1400, 2700, 65_536, 200_000} {
		g := f.file(size)
		for range 3 {
			down := f.client.Get(f.ctx, f.url(g.name))
			f.downloaded(down, g)
			f.mptcp(down.Inspect, 1)
			down.Close()
			up := f.put(g, "small.bin")
			f.uploaded(up, g, "small.bin")
			f.mptcp(up.Inspect, 1)
			up.Close()
		}
	}
}

func TestManyConnections(t *testing.T) {
	const connections = 100
	f := begin(t)
	down, up := f.file(1_000_000), f.file(500_000)
	type pair struct {
		t    *mptcpclient.Transfer
		name string // of an upload
	}
	var all []pair
	for i := range connections {
		if i%4 == 3 {
			name := fmt.Sprintf("many-%d.bin", i)
			all = append(all, pair{f.put(up, name), name})
		} else {
			all = append(all, pair{f.get(down), ""})
		}
	}
	for _, p := range all {
		if p.name != "" {
			f.uploaded(p.t, up, p.name)
		} else {
			f.downloaded(p.t, down)
		}
	}
	tokens := map[uint32]bool{}
	for _, p := range all { // all are still open
		f.mptcp(p.t.Inspect, 1)
		info, err := p.t.Inspect()
		f.check(err)
		tokens[info.Token] = true
	}
	if len(tokens) != connections {
		t.Errorf("%d tokens, want one for each of %d connections", len(tokens), connections)
	}
	f.await("a join for every connection", eventTime, func() bool {
		return !slices.ContainsFunc(all, func(p pair) bool {
			n, _, err := established(p.t.Inspect)
			return err != nil || n < steer.NumAccesses
		})
	})
}

func TestJoinStays(t *testing.T) {
	f := begin(t)
	g := f.file(30_000_000)
	tr := f.get(g)
	f.downloaded(tr, g)
	f.awaitSubflows(tr.Inspect)
	if tx, rx := f.rose("MPTcpExtMPJoinSynTx"), f.rose("MPTcpExtMPJoinSynAckRx"); tx != 1 || rx != 1 {
		t.Errorf("%d joins sent, %d answered; want 1 each", tx, rx)
	}
	info, err := tr.Inspect()
	f.check(err)
	seen := map[steer.Access]bool{}
	for _, s := range info.Subflows {
		for a, addr := range lab.UEAddr {
			seen[steer.Access(a)] = seen[steer.Access(a)] || s.Local.Addr() == addr
		}
	}
	if !seen[tgpp] || !seen[nonTGPP] {
		t.Errorf("subflows %v: want one from each UE address", info.Subflows)
	}
}

// The server speaks first, as with SMTP and SSH: its first data may come before
// the client has sent a DSS.
func TestServerSpeaksFirst(t *testing.T) {
	for _, size := range []int{20, 3_000_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			f := begin(t)
			banner := pattern(size)
			addr := f.serve(func(c *net.TCPConn) error {
				if _, err := c.Write(banner); err != nil {
					return err
				}
				return expect(c, []byte("hello"))
			})
			c := f.dial(addr)
			f.check(expect(c, banner))
			f.mptcp(inspector(c), 1)
			_, err := c.Write([]byte("hello"))
			f.check(err)
			f.check(c.CloseWrite())
			f.check(expectEOF(c))
		})
	}
}

// Request after request on one connection, each waiting for the one before.
func TestPingPong(t *testing.T) {
	f := begin(t)
	const rounds = 200
	addr := f.serve(func(c *net.TCPConn) error {
		_, err := io.Copy(c, c)
		return err
	})
	c := f.dial(addr)
	for i := range rounds {
		b := pattern(1 + i*37%3000)
		_, err := c.Write(b)
		f.check(err)
		f.check(expect(c, b))
	}
	f.mptcp(inspector(c), 2)
}

func TestBothWaysAtOnce(t *testing.T) {
	f := begin(t)
	b := pattern(10_000_000)
	addr := f.serve(func(c *net.TCPConn) error { return exchange(c, b) })
	c := f.dial(addr)
	f.check(exchange(c, b))
}

// A reader that stops reading closes the window; when it goes on, so does all.
func TestSlowReader(t *testing.T) {
	const pause = 1500 * time.Millisecond // several zero window probes
	b := pattern(20_000_000)              // more than the buffers hold
	slowly := func(c *net.TCPConn) error {
		if err := expect(c, b[:1000]); err != nil {
			return err
		}
		time.Sleep(pause)
		return expect(c, b[1000:])
	}
	send := func(c *net.TCPConn) error {
		_, err := c.Write(b)
		return err
	}
	for _, tc := range []struct {
		name           string
		server, client func(*net.TCPConn) error
	}{{"client", send, slowly}, {"server", slowly, send}} {
		t.Run(tc.name, func(t *testing.T) {
			f := begin(t)
			addr := f.serve(func(c *net.TCPConn) error {
				if err := tc.server(c); err != nil {
					return err
				}
				if err := c.CloseWrite(); err != nil {
					return err
				}
				return expectEOF(c)
			})
			c := f.dial(addr)
			f.check(tc.client(c))
			f.check(c.CloseWrite())
			f.check(expectEOF(c))
		})
	}
}

// exchange sends b and receives the same, at once.
func exchange(c *net.TCPConn, b []byte) error {
	var wg sync.WaitGroup
	var errSend error
	wg.Go(func() {
		if _, errSend = c.Write(b); errSend == nil {
			errSend = c.CloseWrite()
		}
	})
	err := expect(c, b)
	wg.Wait()
	if err == nil {
		err = errSend
	}
	if err == nil {
		err = expectEOF(c)
	}
	return err
}

// pattern is n bytes in which every place differs from its surroundings.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)*31 ^ byte(i>>16)*17
	}
	return b
}

// expect reads exactly want.
func expect(r io.Reader, want []byte) error {
	b := make([]byte, 64<<10)
	for at := 0; at < len(want); {
		n, err := r.Read(b[:min(len(b), len(want)-at)])
		for i := range n {
			if b[i] != want[at+i] {
				return fmt.Errorf("byte %d is %#x, want %#x", at+i, b[i], want[at+i])
			}
		}
		at += n
		if err != nil && at < len(want) {
			return fmt.Errorf("after %d of %d bytes: %w", at, len(want), err)
		}
	}
	return nil
}

// expectEOF reads the end of the stream.
func expectEOF(r io.Reader) error {
	n, err := r.Read(make([]byte, 1))
	if n == 0 && err == io.EOF {
		return nil
	}
	return fmt.Errorf("%d bytes and %w where the stream should end", n, err)
}
