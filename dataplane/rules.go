package dataplane

import (
	"net/netip"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// Rules is the compiled rule set of one PFCP session: what a worker runs. It is
// built whole by the control side, immutable once installed, and swapped between
// bursts. Every pointer in it points into the same Rules.
//
// What the worker counts and holds for a rule (a QER's tokens, a URR's meter, what
// a FAR buffers) goes on from one Rules to the next under the rule's ID.
type Rules struct {
	SEID     uint64         // UP F-SEID, unique in this UPF; see [Rules.Slot]
	Uplink   []PDR          // packets from the UE, out of a tunnel; rising precedence value
	Downlink []PDR          // packets to the UE, from N6 or out of a tunnel; rising precedence value
	UEAddrs  []netip.Prefix // every UE address of the session and every framed route

	// EndMarkers are the tunnels that packets took until now and take no more: each
	// gets a GTP-U End Marker behind the last of them (TS 29.281 §7.3.2), once, when
	// the rules are installed.
	EndMarkers []OuterHeader

	// Advertise has the worker answer the UE's IPv6 Router Solicitations, with the
	// session's prefix (RFC 4861 §6.2.6, TS 23.501 §5.8.2.2.3).
	Advertise bool

	ATSSS *ATSSS // nil = the session was given no ATSSS control parameters
}

// ATSSS is what the UPF has told of itself for a multi-access session: the ATSSS control
// parameters that it answered (TS 29.244 Table 7.5.3.7-1), which reach the UE by way of the
// SMF.
type ATSSS struct {
	// Converter is where the UE finds the MPTCP proxy, a transport converter (RFC 8803): an
	// address of each IP version that it has; empty = the session has none.
	Converter []netip.AddrPort

	// LinkSpecific are the UE's own addresses for the subflows of each access, one of each
	// IP version (TS 23.501 §5.32.6.2.1). They are no other session's, and nobody on N6
	// knows them.
	LinkSpecific [steer.NumAccesses][]netip.Addr

	PMF *PMF // nil = no performance measurement
}

// PMF is where the session's UE finds the performance measurement function in the UPF
// (TS 23.501 §5.32.5). The UDP port tells the access, and the QoS flow: see [PMF.FlowPort].
type PMF struct {
	Addrs []netip.Addr              // one of each IP version that it has
	Port  [steer.NumAccesses]uint16 // of the default QoS flow
	QFIs  []uint8                   // QoS flows that are measured each for itself (PQPM); empty = the default one alone
	NoRTT bool                      // DRTTI: round trips are not measured by PMFP
}

// FlowPort is the UDP port of one of QFIs, or, with QFI 0, of the default QoS flow: a
// QoS flow that is measured for itself has ports of its own (TS 29.244 §5.20.3.1), which
// follow those of the default one in steps of two.
func (p *PMF) FlowPort(a steer.Access, qfi uint8) uint16 { return p.Port[a] + 2*uint16(qfi) }

// SlotBits is the width of a slot, the number that names a session's home.
const SlotBits = 12

// Slot is the home of the session: the low [SlotBits] of its SEID. The high
// SlotBits of every TEID that the UPF chose for the session are its slot too; a
// TEID that the CP function chose says nothing.
func (r *Rules) Slot() uint16 { return uint16(r.SEID & (1<<SlotBits - 1)) }

// PDR is a packet detection rule (TS 29.244 §5.2.1, Table 7.5.2.2-1). The one
// with the lowest precedence value that matches applies.
type PDR struct {
	ID         uint16
	Precedence uint32
	Access     steer.Access   // uplink: the access that TEID belongs to
	TEID       uint32         // local F-TEID's TEID: the tunnel that packets come out of; 0 = N6, downlink only
	LocalAddr  netip.Addr     // local F-TEID's address; valid if TEID is
	UEAddrs    []netip.Prefix // uplink: inner source, downlink: inner destination; empty = any of the session's
	QFIs       uint64         // bit 1<<QFI for each that the packet may carry; 0 = any or none
	Filters    []Filter       // SDF filters, one must match; empty = any packet

	// FAR says what becomes of the packet, unless MAR is set (downlink only). With
	// both, an operator's local rule has given the session a MAR that its SMF knows
	// nothing of: the MAR's policy steers proxied connections between the subflows of
	// several sessions, and everything goes by FAR.
	FAR *FAR
	MAR *MAR

	QERs []*QER // all apply
	URRs []*URR // all count
}

// Filter is an SDF filter (TS 29.244 §8.2.5), its flow description (TS 29.212
// §5.4.2) turned so that Remote is the data network's side and Local the UE's side
// in both directions.
type Filter struct {
	Protocol    uint8        // IP protocol; 0 = any
	Remote      netip.Prefix // zero = any
	Local       netip.Prefix // zero = any
	RemotePorts []PortRange  // empty = any
	LocalPorts  []PortRange
	TOS         uint8  // IPv4 TOS or IPv6 traffic class under TOSMask
	TOSMask     uint8  // 0 = any
	SPI         uint32 // IPsec security parameter index; 0 = any
	FlowLabel   uint32 // IPv6 flow label, 20 bits; valid if HasLabel
	HasLabel    bool
}

// PortRange is an inclusive range of ports, host byte order.
type PortRange struct{ First, Last uint16 }

// FAR is a forwarding action rule (TS 29.244 §5.2.2).
type FAR struct {
	ID     uint32
	Action Action
	Notify bool // NOCP: an Event tells of the first downlink packet that finds Action in force

	To          Destination  // where Forward leads; valid whatever Action is
	OuterHeader *OuterHeader // the tunnel to To; nil = none: N6, or [ToUEs]

	// TOS has the DSCP of packets that leave by N6, whose ECN bits stay; nil = they leave
	// as they came. The TOS of a tunnel's packets is its outer header's.
	TOS *uint8

	Duplicates []OuterHeader // tunnels that get a copy each (DUPL)
	BAR        *BAR          // how Buffer does; nil = as the UPF is set up
}

// Action is the Apply Action of a FAR (TS 29.244 §8.2.26).
type Action uint8

// Actions.
const (
	Drop Action = iota
	Forward
	Buffer // downlink: packets wait, in order, until the FAR forwards or drops
)

// Destination is the Destination Interface of a FAR (TS 29.244 §8.2.24).
type Destination uint8

// Destinations.
const (
	ToCore   Destination = iota // N6, or N9 towards the data network with an outer header
	ToAccess                    // N3, or N9 towards the access
	ToCP                        // the CP function's tunnel
	ToUEs                       // 5G VN Internal: to another UE's session in this UPF, never out of it
)

// OuterHeader is what outer header creation GTP-U/UDP/IP adds.
type OuterHeader struct {
	TEID uint32
	Peer netip.AddrPort // port 2152 unless the CP says otherwise
	TOS  uint8          // TOS or traffic class of the outer IP header (Transport Level Marking)
}

// BAR is a buffering action rule (TS 29.244 §5.2.8).
type BAR struct {
	ID      uint8
	Packets int           // most packets to buffer; 0 = as the UPF is set up
	Delay   time.Duration // between the packet and its notification
}

// MAR is a multi-access rule (TS 29.244 §5.20): its policy and the FAR of each
// access; nil where the MAR has no forwarding action information for it. URRs count
// what its access carries.
type MAR struct {
	ID     uint16
	Policy steer.Policy

	// Group is that of a local rule: an MPTCP connection of one session may be joined
	// from another whose rule is of the same group. 0 = from its own session alone.
	Group uint16

	FAR  [steer.NumAccesses]*FAR
	URRs [steer.NumAccesses][]*URR
}

// QER is a QoS enforcement rule (TS 29.244 §5.2.4). One that several PDRs of the
// session name polices all of them together.
type QER struct {
	ID            uint32
	GateULClosed  bool
	GateDLClosed  bool
	MBR           *BitRate // nil = unlimited
	GBR           *BitRate // nil = none; what it guarantees the session's other QERs do not drop
	QFI           uint8    // 0 = none; put into the PDU Session Container
	ReflectiveQoS bool
}

// BitRate is a rate each way, in bit/s of IP packets. 0 lets nothing pass.
type BitRate struct{ Uplink, Downlink uint64 }

// URR is what a worker does of a usage reporting rule (TS 29.244 §5.2.2.2): it
// counts, and sends a [UsageReached] Event when a limit of volume or events is
// reached. Whatever goes by the clock is the control side's.
//
// The meter of a URR goes on when a rule set with the same ID is installed; only
// what [Plane.Usage] and events reset starts again. The quota's count is one of its
// own, which starts again when QuotaGrant changes.
type URR struct {
	ID         uint32
	Threshold  Limit // of the volume since the meter was reset
	Quota      Limit // of the volume since the quota was granted
	QuotaGrant uint32

	Start     bool          // a [TrafficStarted] Event tells of the first packet after the URR was made or the traffic stopped
	BeforeQER bool          // MBQE: what gates and rates drop counts too
	Paused    bool          // INAM: nothing is counted
	Inactive  time.Duration // gaps longer than this do not count as time of use; 0 = all do

	// Spent is what happens to packets when the quota is reached (FAR ID for Quota
	// Action); nil = drop.
	Spent *FAR
}

// Limit bounds a volume in octets of IP packets; nil = no bound.
type Limit struct{ Total, Uplink, Downlink *uint64 }
