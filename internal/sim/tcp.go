package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/braid-upf/braid/packet"
)

type tcpState uint8

const (
	closed tcpState = iota
	listen
	synSent
	synRcvd
	established
	finWait1
	finWait2
	closing
	timeWait
	closeWait
	lastAck
)

var stateNames = [...]string{
	"CLOSED", "LISTEN", "SYN-SENT", "SYN-RCVD", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2",
	"CLOSING", "TIME-WAIT", "CLOSE-WAIT", "LAST-ACK",
}

func (s tcpState) String() string { return stateNames[s] }

// Timers and limits, Linux's values.
const (
	minRTO       = 200 * time.Millisecond
	maxRTO       = 120 * time.Second
	synRTO       = time.Second
	delayedACK   = 40 * time.Millisecond
	timeWaitTime = 60 * time.Second
	challengeGap = 500 * time.Millisecond // between answers to out-of-window segments
	maxSYN       = 7
	maxRetries   = 15
	maxOrphan    = 8  // retries and probes once the application is gone (tcp_orphan_retries)
	maxCwnd      = 96 // segments
	minReorder   = time.Millisecond
)

var (
	errReset   = errors.New("connection reset by peer")
	errTimeout = errors.New("connection timed out")
	errAborted = errors.New("aborted by the application")
)

// tcpConfig is how one TCP is set up.
type tcpConfig struct {
	mss       int // announced: what fits the MTU with no options
	reserve   int // bytes of every segment left for MPTCP options
	ts, sack  bool
	wscale    int // announced shift, -1 = no option
	isn       uint32
	tsOffset  uint32
	longest   int           // longest segment sent, 0 = the MSS: a sender whose TSO is undone late
	mayRenege bool          // the peer may lose what it SACKed: a subflow that dies takes its queue along
	probeByte bool          // probe a zero window with one new byte, as BSD does, not with an empty segment
	tlp       bool          // tail loss probe
	keepalive time.Duration // 0 = none
	quietSYN  bool          // the SYN has no payload even if there is one for it
}

// tcpUser is what sits on a tcp: the server's application or an MPTCP subflow.
type tcpUser interface {
	// decorate adds MPTCP options to a segment on its way out, whose payload
	// begins at off, and sets its window field.
	decorate(s *segment, off int64)
	// incoming sees an acceptable segment after its ACK was processed; false = drop it.
	incoming(s *segment, off int64) bool
	// deliver consumes t.rxq.
	deliver()
	// progress: the peer's ACK or window moved.
	progress()
	// fill gives the bytes to send from off on.
	fill(off int64, b []byte)
	// cut limits the length of a segment that begins at off.
	cut(off int64, n int) int
	// opened: the three-way handshake is done.
	opened()
	// ended: the connection is over; err nil = both sides closed it.
	ended(err error)
}

// sentRange is one piece of what was sent and not acknowledged.
type sentRange struct {
	off    int64
	n      int
	fin    bool
	sacked bool
	lost   bool // and not sent again since
	rtx    int
	sentAt time.Duration
}

func (r *sentRange) end() int64 {
	if r.fin {
		return r.off + int64(r.n) + 1
	}
	return r.off + int64(r.n)
}

// rxData is a received segment in or above the receive queue's head.
type rxData struct {
	off  int64
	data []byte
	fin  bool
	dss  *dss // its mapping; MP_CAPABLE's is turned into one
}

func (r *rxData) end() int64 {
	if r.fin {
		return r.off + int64(len(r.data)) + 1
	}
	return r.off + int64(len(r.data))
}

// tcp is one end of a TCP connection (RFC 9293). Sequence numbers are 64-bit
// offsets from the ISN: the SYN is 0, the first byte 1.
type tcp struct {
	tcpConfig
	name          string
	clock         *Clock
	rng           *rand.Rand
	user          tcpUser
	out           func(*segment)
	fail          func(format string, args ...any) // an invariant is broken
	local, remote endpoint
	state         tcpState

	synData  []byte // payload of the first SYN
	synLast  int64  // bytes of payload of the last
	synAcked int64  // of which the SYN/ACK acknowledged so many

	// Sending.
	una, nxt int64
	end      int64 // behind the last byte written
	fin      bool  // a FIN follows end
	wnd      int64
	wl1      int64
	sndShift int
	peerMSS  int
	sentq    []*sentRange
	cwnd     int
	ssthresh int
	recover  int64 // leave recovery at this una; -1 = not in recovery
	dupAcks  int
	rack     time.Duration // newest sending time of what was delivered

	// Receiving.
	irs       uint32
	rcvNxt    int64
	rcvWup    int64 // rcvNxt when the last ACK went out
	rcvEdge   int64 // right edge announced
	rcvShift  int
	rxq       []rxData // in order, for the user to consume
	ooo       []rxData // sorted
	oooRecent []int64  // starts of the ranges, the last received first
	dsack     [2]int64
	hasDSACK  bool
	finRcvd   bool
	ackNow    bool
	unacked   int // segments since the last ACK
	lastOOW   time.Duration

	// Timestamps.
	tsOn, sackOn bool
	tsRecent     uint32
	mstamp       time.Duration // the time TSval is made from

	srtt, rttvar, rto time.Duration
	backoff           int
	retries           int
	orphan            bool // the application is gone
	tlpSent           bool
	rearm             bool   // the timer starts anew
	probing           bool   // it is the window probe's
	timer             *Timer // retransmission, probe
	ackTimer          *Timer
	waitTimer         *Timer
	keepTimer         *Timer

	stats tcpStats
}

// tcpStats counts what a test may want to know.
type tcpStats struct {
	Sent, Received, Retransmitted, Timeouts      int
	PAWS, Reneging, DSACKs, Challenges, OutOfWin int
}

// start sets the fields that both openings share.
func (t *tcp) start() {
	t.nxt, t.end = 0, 1
	t.rto, t.recover, t.ssthresh = synRTO, -1, 1<<30
	t.peerMSS = 536
	t.lastOOW = -time.Hour
}

// connect is the active opening.
func (t *tcp) connect() {
	t.start()
	t.state = synSent
	t.nxt = 1
	t.sendSYN()
}

func (t *tcp) listen() {
	t.start()
	t.state = listen
}

func (t *tcp) sendSYN() {
	t.refresh()
	s := t.segment(packet.SYN)
	s.sn, s.mss, s.wscale, s.sackOK = t.isn, t.mss, t.wscale, t.sack
	s.hasTS, s.tsVal = t.ts, t.tsval()
	if t.state == synRcvd {
		s.flags |= packet.ACK
		s.ack = t.irs + 1
		s.sackOK, s.hasTS, s.tsEcr = t.sackOn, t.tsOn, t.tsRecent
		if t.sndShift < 0 {
			s.wscale = -1
		}
	}
	if t.synLast = 0; t.state == synSent && t.retries == 0 && !t.quietSYN {
		s.payload = t.synData
		t.synLast = int64(len(s.payload))
	}
	t.emit(s, 0)
	t.clock.Stop(t.timer)
	t.timer = t.clock.After(t.rto<<t.retries, func() {
		if t.retries++; t.retries > maxSYN {
			t.finish(errTimeout)
			return
		}
		t.sendSYN()
	})
}

// write makes n more bytes ready to send.
func (t *tcp) write(n int64) {
	t.end += n
	t.refresh()
	t.output()
}

// shutdown closes the sending side.
func (t *tcp) shutdown() {
	if t.fin || t.state == closed {
		return
	}
	t.fin = true
	switch t.state {
	case established, synRcvd:
		t.state = finWait1
	case closeWait:
		t.state = lastAck
	default:
	}
	t.refresh()
	t.output()
}

// abort sends a RST and is done.
func (t *tcp) abort() {
	if t.state == closed || t.state == listen {
		return
	}
	if t.state == synSent {
		t.finish(errAborted)
		return
	}
	s := t.segment(packet.RST | packet.ACK)
	s.sn = t.wire(t.nxt)
	t.stampTS(s)
	t.emit(s, t.nxt)
	t.finish(errAborted)
}

// finish leaves the connection.
func (t *tcp) finish(err error) {
	if t.state == closed {
		return
	}
	t.state = closed
	for _, x := range []*Timer{t.timer, t.ackTimer, t.waitTimer, t.keepTimer} {
		t.clock.Stop(x)
	}
	t.user.ended(err)
}

func (t *tcp) synchronized() bool { return t.state >= established }

func (t *tcp) wire(off int64) uint32 { return t.isn + uint32(off) }

func (t *tcp) refresh() { t.mstamp = t.clock.Now() }

func (t *tcp) tsval() uint32 { return uint32(t.mstamp/time.Millisecond) + t.tsOffset }

func (t *tcp) segment(flags uint8) *segment {
	return &segment{src: t.local, dst: t.remote, flags: flags, wscale: -1}
}

// stampTS adds the ACK number and timestamps of a synchronized connection.
func (t *tcp) stampTS(s *segment) {
	s.ack = t.irs + uint32(t.rcvNxt)
	if t.tsOn {
		s.hasTS, s.tsVal, s.tsEcr = true, t.tsval(), t.tsRecent
	}
}

func (t *tcp) emit(s *segment, off int64) {
	t.user.decorate(s, off)
	t.stats.Sent++
	t.out(s)
}

// mssNow is the longest payload of one segment.
func (t *tcp) mssNow() int {
	n := min(t.peerMSS, t.mss) - t.reserve
	if t.tsOn {
		n -= 12
	}
	return n
}

// refuse answers a segment that no connection wants (RFC 9293 §3.5.2).
func refuse(s *segment, out func(*segment)) {
	if s.has(packet.RST) {
		return
	}
	r := &segment{src: s.dst, dst: s.src, flags: packet.RST, wscale: -1}
	if s.has(packet.ACK) {
		r.sn = s.ack
	} else {
		r.flags |= packet.ACK
		r.ack = s.sn + uint32(s.space())
	}
	out(r)
}

func (t *tcp) String() string {
	return fmt.Sprintf("%s %v una %d nxt %d end %d fin %v wnd %d cwnd %d rcvNxt %d ooo %d sent %d rto %v<<%d",
		t.name, t.state, t.una, t.nxt, t.end, t.fin, t.wnd, t.cwnd, t.rcvNxt, len(t.ooo), len(t.sentq), t.rto, t.backoff)
}
