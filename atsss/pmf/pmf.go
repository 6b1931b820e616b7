// Package pmf is the performance measurement function protocol, PMFP, of a multi-access
// PDU session (TS 24.193 §5.4, §6.2; TS 23.501 §5.32.5): how the PMF in the UPF and the
// one in the UE find out the round trip and the loss of each access and QoS flow, and
// whether an access carries anything at all.
//
// [Parse] and [Message.Append] are the codec. [Network] is the PMF in the UPF of one
// session and [UE] its counterpart: pure state machines that take the time, a message or a
// tick, and put what is to be sent and what was learned into an [Out]. They have no clock,
// no sockets and no addresses; a message belongs to a [Leg], the access and the QoS flow
// that it came over, and its answer goes back the same way. Times are those of one monotonic
// clock, later than 0.
//
// # The numbers
//
// The text of TS 24.193 §6.2 was not at hand. Every number of the protocol is a constant in
// values.go with where it is from; TestValues lists those that nothing confirms.
//
// # Left out
//
// MA PDU sessions of type Ethernet, suspending and resuming traffic duplication (Release 18).
package pmf

import (
	"math"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// Never is the time of a tick that is not wanted.
const Never time.Duration = math.MaxInt64

// Leg is the way of a message: an access, and the QoS flow by the caller's index, 0 for the
// default one.
type Leg struct {
	Access steer.Access
	Flow   uint8
}

// Out collects what a call has sent and learned. The caller empties it between calls; slices
// keep their capacity.
type Out struct {
	Send    []Sent
	Learned []Learned
}

// Sent is a message to be sent.
type Sent struct {
	Leg     Leg
	Message Message
}

// Learned is a result.
type Learned struct {
	Kind Kind
	Leg  Leg // its QoS flow is of no meaning in Availability; valid in all but UplinkSplit

	RTT       time.Duration // RoundTrip
	Sent      uint64        // Loss: packets that we sent
	Lost      uint64        // Loss: those of them that the peer did not count
	Available bool          // Availability
	Percent   uint8         // UplinkSplit: of its uplink that the UE has on 3GPP access
}

// Kind is what was learned.
type Kind uint8

// Kinds of results.
const (
	RoundTrip    Kind = iota // an echo was answered
	Loss                     // a round of counting is over
	Availability             // an access became available or unavailable
	UplinkSplit              // the UE's assistance data (TS 23.501 §5.32.5.5)
)

// Permyriad is the loss in hundredths of a percent.
func (l *Learned) Permyriad() uint32 {
	if l.Sent == 0 {
		return 0
	}
	return uint32(l.Lost * 10_000 / l.Sent)
}

// Reset empties o.
func (o *Out) Reset() { o.Send, o.Learned = o.Send[:0], o.Learned[:0] }

func (o *Out) send(l Leg, m Message) { o.Send = append(o.Send, Sent{Leg: l, Message: m}) }

func (o *Out) learn(l Learned) { o.Learned = append(o.Learned, l) }

// Config is how a PMF measures. It is shared and not changed once in use.
type Config struct {
	// Interval is the time without a sign of life after which an access is asked for one,
	// and asked again.
	Interval time.Duration

	// RTTPeriod is the time between measurements of the round trip on a leg that is heard
	// anyway; 0 = none.
	RTTPeriod time.Duration

	// PLRPeriod is the time that a round of counting lasts at least; 0 = loss is not
	// measured.
	PLRPeriod time.Duration

	// Idle is the time without traffic after which the network stops asking, so that a
	// phone may sleep; 0 = it never stops.
	Idle time.Duration

	// Rand gives random numbers for identities of transactions, which nobody should guess.
	Rand func() uint64
}

// DefaultConfig is a Config for an access that is asked every interval.
func DefaultConfig(interval, idle time.Duration, random func() uint64) Config {
	return Config{
		Interval: interval, RTTPeriod: 8 * interval, PLRPeriod: 16 * interval, Idle: idle, Rand: random,
	}
}
