package dataplane

import (
	"net/netip"

	"github.com/braid-upf/braid/atsss/steer"
)

// Rules is the compiled rule set of one PFCP session: what a worker runs. It is
// built whole by the control side, immutable once installed, and swapped between
// bursts. Every pointer in it points into the same Rules.
type Rules struct {
	SEID     uint64         // UP F-SEID, unique in this UPF; see [Rules.Slot]
	Uplink   []PDR          // source interface Access, rising precedence value
	Downlink []PDR          // source interface Core, rising precedence value
	UEAddrs  []netip.Prefix // every UE address of the session, /32 or IPv6 prefix
}

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
	TEID       uint32         // uplink: local F-TEID's TEID, non-zero
	LocalAddr  netip.Addr     // uplink: local F-TEID's address
	UEAddrs    []netip.Prefix // uplink: inner source, downlink: inner destination; empty = any
	QFI        uint8          // uplink: QFI that the packet must carry; 0 = any
	Filters    []Filter       // SDF filters, one must match; empty = any packet

	RemoveOuterHeader bool
	FAR               *FAR   // nil if MAR is set
	MAR               *MAR   // downlink only
	QERs              []*QER // all apply
}

// Filter is an SDF filter's flow description (TS 29.212 §5.4.2), turned so that
// Remote is the data network's side and Local the UE's side in both directions.
type Filter struct {
	ID          uint32       // SDF filter ID; 0 = none
	Protocol    uint8        // IP protocol; 0 = any
	Remote      netip.Prefix // zero = any
	Local       netip.Prefix // zero = any
	RemotePorts []PortRange  // empty = any
	LocalPorts  []PortRange
}

// PortRange is an inclusive range of ports, host byte order.
type PortRange struct{ First, Last uint16 }

// FAR is a forwarding action rule (TS 29.244 §5.2.2).
type FAR struct {
	ID          uint32
	Forward     bool // FORW; else DROP (BUFF and NOCP: held as a drop)
	ToAccess    bool // destination interface Access: OuterHeader must be set
	OuterHeader *OuterHeader
}

// OuterHeader is what outer header creation GTP-U/UDP/IP adds.
type OuterHeader struct {
	TEID uint32
	Peer netip.AddrPort // port 2152 unless the CP says otherwise
}

// MAR is a multi-access rule (TS 29.244 §5.20): its policy and the FAR of each
// access; nil where the MAR has no forwarding action information for it.
type MAR struct {
	ID     uint16
	Policy steer.Policy
	FAR    [steer.NumAccesses]*FAR
}

// QER is a QoS enforcement rule: gates and QFI (TS 29.244 §5.2.4 less rates).
type QER struct {
	ID            uint32
	GateULClosed  bool
	GateDLClosed  bool
	QFI           uint8 // 0 = none; put into the PDU Session Container downlink
	ReflectiveQoS bool
}
