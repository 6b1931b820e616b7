package dataplane

import (
	"net/netip"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// Event is what a worker tells the control side.
type Event struct {
	Kind EventKind
	SEID uint64 // of DownlinkData, UsageReached, TrafficStarted and AccessChanged

	// From is the sender of an Error Indication or an Echo Response.
	From netip.AddrPort

	// An Error Indication: From has no tunnel TEID at Peer. Nothing says that
	// the message is genuine; hold both against the session's outer headers.
	TEID uint32
	Peer netip.Addr

	// Downlink data: the PDR and, if the packet came through N9, its QFI. TOS is that
	// of the packet.
	PDR uint16
	QFI uint8
	TOS uint8

	// After is how long the report of downlink data is to wait: if the FAR does not hold
	// packets any more by then, there is nothing to report.
	After time.Duration

	Usage Usage // of UsageReached and TrafficStarted

	// Of AccessChanged: the access, and whether it can be used.
	Access    steer.Access
	Available bool
}

// EventKind is the kind of an event.
type EventKind uint8

// Event kinds.
const (
	ErrorIndicationReceived EventKind = iota // TS 29.281 §7.3.1
	EchoAnswered                             // an Echo Response to [Plane.Echo]
	DownlinkData                             // the first packet for a FAR with Notify
	UsageReached                             // a URR reached a limit: Usage is its meter, now reset
	TrafficStarted                           // Usage.URR saw its first packet; nothing is reset
	AccessChanged                            // an access of a multi-access session became available or unavailable
)

// Usage is what a URR's meter says.
type Usage struct {
	URR              uint32
	Uplink, Downlink Volume        // since the meter was last reset
	First, Last      time.Time     // of the packets counted since; zero = none
	Active           time.Duration // time of use: Last less First without the gaps of URR.Inactive

	// Of a UsageReached event: which limit it was.
	Threshold, Quota bool
}

// Volume is what was counted one way.
type Volume struct{ Packets, Octets uint64 }

// UsageQuery asks for meters of one session.
type UsageQuery struct {
	SEID  uint64
	URRs  []uint32 // empty = all of the session's
	Reset bool     // start the meters again
}

// UsageAnswer is the answer to a UsageQuery.
type UsageAnswer struct {
	Usages     []Usage   // in the order asked; URRs that are not there are left out
	LastPacket time.Time // of the session, any PDR; zero = none yet
}
