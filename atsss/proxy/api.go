package proxy

import (
	"math"
	"time"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// Time is the caller's monotonic clock, in nanoseconds from any fixed point. It
// never goes back from one call to the next.
type Time int64

// stamp is a Time as it is remembered: 32 bits of it, in ticks of 2^14 ns (16 µs), the
// lowest bit set. 0 = never. Ages up to 19 hours can be told from one; the proxy asks
// for two at most, and an older stamp that is taken for a young one costs a probe.
type stamp uint32

const tickShift = 14

func (t Time) stamp() stamp { return stamp(t>>tickShift) | 1 }

// tick is t in 2^29 ns (0.54 s), which wraps after 137 s.
func (t Time) tick() uint8 { return uint8(t >> 29) }

// duration is t as package steer has times.
func (t Time) duration() time.Duration { return time.Duration(t) }

// since is the time from s to t; longer than any other if s is never.
func (t Time) since(s stamp) Time {
	if s == 0 {
		return math.MaxInt64 / 2
	}
	return Time(t.stamp()-s) << tickShift
}

// Session is what the proxy keeps of the PDU session that a packet belongs to.
// The caller makes one per session, passes it with every packet of that session,
// and calls [Proxy.EndSession] when it goes.
type Session struct {
	ID uint32 // the caller's name for the session, unique among the proxy's live sessions

	// MTU is the longest IP packet, in bytes, that may be sent towards the UE.
	MTU uint16

	// Monitor knows the quality of the session's accesses. The proxy tells it what its
	// connections show; whoever else measures may do so, too, between calls of the proxy.
	Monitor steer.Monitor

	// Converter is the session's transport converter; nil = it has none. It is not changed
	// while the session has it: another takes its place.
	Converter *Converter

	proxy       *Proxy // that serves the session; set with its first connection
	access      [steer.NumAccesses]accessState
	nextPoint   uint32     // place of the next connection on the line of steer.Policy.Choose
	conns       *Conn      // list of the session's connections
	connections int        // in conns
	handshakes  int        // of them that wait for a third ACK
	guests      []*Subflow // subflows that came over this session to connections of others
}

// ToUE is a packet for the UE over one access of a session.
type ToUE struct {
	Buf     *packet.Buffer
	Session *Session
	Access  steer.Access
	PDR     uint16 // the downlink PDR last given for the packet's connection
}

// Out collects what a call sends. The caller empties it between calls; slices keep
// their capacity. Every Buf belongs to the caller from then on.
type Out struct {
	ToUE []ToUE
	ToN6 []*packet.Buffer
}

// Reset empties o.
func (o *Out) Reset() { o.ToUE, o.ToN6 = o.ToUE[:0], o.ToN6[:0] }

// Rule is what a packet's PDR means for the proxy.
type Rule struct {
	PDR    uint16        // ID of the downlink PDR of the connection
	Group  uint16        // connections may be joined from sessions with a rule of the same group; 0 = from their own alone
	Policy *steer.Policy // of its MAR; functionality MPTCP
}

// Verdict says what became of a packet given to the proxy.
type Verdict uint8

// Verdicts.
const (
	// NotProxied: not of a proxied connection and not taken; buf is still the
	// caller's, who forwards it as ordinary traffic.
	NotProxied Verdict = iota
	// Taken: the proxy has put buf, or others in its place, into Out or its pool.
	Taken
)

// Config is what a proxy is made with.
type Config struct {
	Pool *packet.Pool // where emitted packets come from and consumed ones go
	Keys *mptcp.KeyPool
	Rand func() uint64 // random numbers for nonces and initial sequence numbers; crypto-strength in production

	// ConvertCookies has the converter ask for a cookie (RFC 8803 §6.2.7), which it makes of
	// a secret, the session and the UE's address.
	ConvertCookies bool

	// Accept is called when a connection is proxied, after the UE's third ACK, and Closed
	// when one that Accept was called for no longer is: both directions ended, it was
	// reset, its session ended or the UE fell back to plain TCP. They may keep c from the
	// one to the other, and use [Conn.Status]; of the proxy they may call SetPolicy and
	// SetScheduler in Accept, with the time and Out of the call that they come from.
	// nil = nobody asks.
	Accept, Closed func(c *Conn)
}

// TickInterval is how often [Proxy.Tick] wants to be called.
const TickInterval = 10 * time.Millisecond
