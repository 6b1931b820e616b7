package sim

import (
	"fmt"
	"time"

	"github.com/braid-upf/braid/packet"
)

// closeWhen says when an application closes its sending side.
type closeWhen uint8

const (
	closeAfterSend closeWhen = iota // as soon as everything is written
	closeAfterAll                   // everything written and all expected bytes received
	closeAfterEOF                   // the other side closed
)

var closeNames = [...]string{"after-send", "after-all", "after-EOF"}

func (c closeWhen) String() string { return closeNames[c] }

// reader is how an application reads: all at once, or so many bytes each time.
type reader struct {
	chunk int64 // 0 = all at once
	every time.Duration
	start time.Duration // nothing is read before
}

// serverPlan is what the server's application does.
type serverPlan struct {
	send    int64 // bytes
	request int64 // uplink bytes awaited before anything is sent
	echo    bool  // sends what it receives in place of send
	expect  int64 // uplink bytes
	close   closeWhen
	abortAt int64 // abort once so many bytes were received or acknowledged; 0 = never
	buffer  int64
	reader  reader
	refuse  bool          // nobody listens
	pause   time.Duration // nothing is sent before
	piece   int64         // bytes that there are to send every pace; 0 = all at once
	pace    time.Duration
}

// serverEnd is the server's end of a connection, application and TCP.
type serverEnd interface {
	receive(s *segment, pkt []byte) // pkt is s, and stays the caller's
	done() bool                     // everything was received, both sides closed
	lastRead() time.Duration        // when data last came
	outcome() (ended bool, err error)
	counters() tcpStats
	fmt.Stringer
}

// serveFunc makes the server of p; up and down are what the two applications send.
type serveFunc func(w *world, p *pair, local endpoint, up, down stream) serverEnd

// application is what the server does with its connection, whatever TCP carries it.
type application struct {
	serverPlan
	w        *world
	up, down stream

	received int64         // in order
	readAt   time.Duration // when the last of it came
	wrote    int64
	eof      bool
	isEnded  bool
	err      error
}

// take checks the next bytes of the client.
func (a *application) take(b []byte) {
	if i := a.up.differs(a.received, b); i >= 0 {
		a.w.fail("server: byte u=%d is not what the client wrote", a.received+int64(i))
	}
	a.received += int64(len(b))
	a.readAt = a.w.clock.Now()
}

// checkCount follows takes and the end of the stream.
func (a *application) checkCount() {
	if a.received > a.expect || a.eof && a.received != a.expect {
		a.w.fail("server: %d bytes received (EOF %v), %d were written", a.received, a.eof, a.expect)
	}
}

// aborts says whether it is time to; acked are the bytes that the client acknowledged.
func (a *application) aborts(acked int64) bool {
	return a.abortAt > 0 && (a.received >= a.abortAt || acked >= a.abortAt)
}

// unwritten are the bytes it wants to write now.
func (a *application) unwritten() int64 {
	if a.received < a.request || a.w.clock.Now() < a.pause {
		return 0
	}
	if a.echo {
		return a.received - a.wrote
	}
	if a.piece > 0 {
		return min(a.send, a.piece*int64((a.w.clock.Now()-a.pause)/a.pace)) - a.wrote
	}
	return a.send - a.wrote
}

// finished says whether it closes its sending side now.
func (a *application) finished() bool {
	switch {
	case a.echo && (!a.eof || a.wrote < a.received), !a.echo && a.wrote < a.send:
		return false
	case a.close == closeAfterAll && a.received < a.expect:
		return false
	case a.close == closeAfterEOF && !a.eof:
		return false
	}
	return true
}

func (a *application) lastRead() time.Duration { return a.readAt }

func (a *application) outcome() (ended bool, err error) { return a.isEnded, a.err }

func (a *application) String() string {
	return fmt.Sprintf("server received %d/%d eof %v wrote %d/%d ended %v %v",
		a.received, a.expect, a.eof, a.wrote, a.send, a.isEnded, a.err)
}

// server is an application over the model of plain TCP.
type server struct {
	application
	*tcp
	unread int64
}

func newApplication(w *world, p *pair, up, down stream) application {
	return application{serverPlan: p.cfg.Server, w: w, up: up, down: down}
}

func modelServer(w *world, p *pair, local endpoint, up, down stream) serverEnd {
	v := &server{application: newApplication(w, p, up, down)}
	v.tcp = &tcp{
		tcpConfig: p.cfg.ServeTCP, name: "server", clock: &w.clock, rng: p.rng, user: v, fail: w.fail,
		local: local, out: func(s *segment) { w.n6Down.send(s.encode()) },
	}
	v.start()
	if !v.refuse {
		v.listen()
	}
	return v
}

func (v *server) receive(s *segment, _ []byte) { v.tcp.receive(s) }

func (v *server) counters() tcpStats { return v.stats }

func (v *server) String() string { return v.application.String() + "\n  " + v.tcp.String() }

func (v *server) done() bool {
	return v.eof && v.received == v.expect && v.fin && v.una == v.end+1 || v.isEnded && v.err == nil
}

func (v *server) decorate(s *segment, _ int64) {
	s.window = v.windowField(s, max(v.buffer-v.unread, 0))
	if s.has(packet.SYN) || s.has(packet.RST) {
		return
	}
	if len(s.payload) == 0 {
		s.sacks = v.sackBlocks(40 - len(s.options()))
	}
}

// incoming asserts that nothing of MPTCP gets here.
func (v *server) incoming(s *segment, off int64) bool {
	if s.has(packet.RST) {
		return true
	}
	if v.tsOn && !s.hasTS {
		v.fail("server: segment without the timestamps that were negotiated")
	}
	if over := off + int64(len(s.payload)) - max(v.rcvEdge, v.rcvNxt); over > 0 && len(s.payload) > 1 {
		v.fail("server: %d bytes beyond the window", over)
	}
	return true
}

func (v *server) deliver() {
	for _, d := range v.rxq {
		b := d.data[v.received+1-d.off:]
		v.take(b)
		v.unread += int64(len(b))
		v.eof = v.eof || d.fin
	}
	v.rxq = v.rxq[:0]
	v.checkCount()
	v.read()
	v.act()
}

// read lets the application take what it wants now.
func (v *server) read() {
	r := v.reader
	if r.chunk == 0 && v.clock.Now() >= r.start {
		v.unread = 0
	}
}

// readLoop reads bit by bit; a window that was shut is announced once it opened.
func (v *server) readLoop() {
	if v.reader.chunk == 0 {
		v.clock.After(v.reader.start-v.clock.Now(), func() {
			v.unread = 0
			v.sendACK(true)
		})
		return
	}
	v.clock.After(v.reader.every, func() {
		if v.isEnded {
			return
		}
		was := v.rcvEdge - v.rcvNxt
		v.unread -= min(v.unread, v.reader.chunk)
		if free := min(v.buffer-v.unread, v.maxWindow()); v.synchronized() && v.state != timeWait && was < min(v.buffer, v.maxWindow())/2 && free >= was+int64(v.mss) {
			v.sendACK(true)
		}
		v.readLoop()
	})
}

func (v *server) opened() {
	if v.reader.chunk > 0 || v.reader.start > 0 {
		v.readLoop()
	}
	if v.pause > 0 {
		v.clock.After(v.pause-v.clock.Now(), v.act)
	}
	if v.piece > 0 {
		v.writeLoop()
	}
	v.act()
}

// writeLoop writes piece by piece.
func (v *server) writeLoop() {
	v.clock.After(v.pace, func() {
		if v.act(); v.wrote < v.send && !v.isEnded {
			v.writeLoop()
		}
	})
}

func (v *server) progress() { v.act() }

// act is the application: write, close, abort.
func (v *server) act() {
	if !v.synchronized() || v.isEnded {
		return
	}
	if v.aborts(v.una - 1) {
		v.abort()
		return
	}
	if n := v.unwritten(); n > 0 {
		v.wrote += n
		v.write(n)
	}
	if v.finished() {
		v.shutdown()
	}
}

func (v *server) fill(off int64, b []byte) { v.down.read(off-1, b) }

func (v *server) cut(_ int64, n int) int { return n }

func (v *server) ended(err error) { v.isEnded, v.err = true, err }
