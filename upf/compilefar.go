package upf

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// gtpuPort is the UDP port of GTP-U (TS 29.281 §4.4.2.0).
const gtpuPort = 2152

func (c *compiler) compileBARs() *pfcp.Error {
	return inOrder(c.set.bars, func(b *pfcp.BAR) *pfcp.Error {
		out := &dataplane.BAR{ID: b.ID}
		if b.Packets != nil {
			out.Packets = int(*b.Packets)
		}
		if b.MaxPackets != nil { // a Session Report Response knows the UE's state
			out.Packets = int(*b.MaxPackets)
		}
		if b.Delay != nil {
			out.Delay = time.Duration(*b.Delay) * pfcp.DelayUnit
		}
		c.bars[b.ID] = out
		return nil
	})
}

func (c *compiler) compileFARs() *pfcp.Error {
	return inOrder(c.set.fars, func(f *pfcp.FAR) *pfcp.Error {
		far, err := c.compileFAR(f)
		c.fars[f.ID] = far
		return err
	})
}

func (c *compiler) compileFAR(f *pfcp.FAR) (*dataplane.FAR, *pfcp.Error) {
	fail := func(offending uint16, text string) (*dataplane.FAR, *pfcp.Error) {
		return nil, ruleError(pfcp.RuleFAR, f.ID, offending, text)
	}
	far := &dataplane.FAR{ID: f.ID, Notify: *f.ApplyAction&pfcp.ActionNOCP != 0}
	if f.Unsupported != 0 {
		return nil, unsupported(pfcp.RuleFAR, f.ID, f.Unsupported)
	}
	switch *f.ApplyAction &^ (pfcp.ActionNOCP | pfcp.ActionDUPL) {
	case pfcp.ActionFORW:
		if f.Forwarding == nil {
			return nil, absent(ie.CauseConditionalIEMissing, pfcp.RuleFAR, f.ID, ie.ForwardingParameters, "FORW without Forwarding Parameters")
		}
		far.Action = dataplane.Forward
	case pfcp.ActionBUFF:
		far.Action = dataplane.Buffer
	case pfcp.ActionDROP:
		far.Action = dataplane.Drop
	default:
		return fail(ie.ApplyAction, fmt.Sprintf("Apply Action %#x, known are one of DROP, FORW and BUFF, with or without NOCP and DUPL", *f.ApplyAction))
	}
	if f.BARID != nil {
		if far.BAR = c.bars[*f.BARID]; far.BAR == nil {
			return fail(ie.BARID, fmt.Sprintf("BAR %d not found", *f.BARID))
		}
	}
	if *f.ApplyAction&pfcp.ActionDUPL != 0 {
		if err := c.duplicates(f, far); err != nil {
			return nil, err
		}
	}
	if f.Forwarding == nil {
		return far, nil
	}
	return far, c.destination(f, far)
}

// destination compiles f's Forwarding Parameters.
func (c *compiler) destination(f *pfcp.FAR, far *dataplane.FAR) *pfcp.Error {
	w := f.Forwarding
	switch {
	case w.Destination == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleFAR, f.ID, ie.DestinationInterface, "no Destination Interface")
	case w.Unsupported != 0:
		return unsupported(pfcp.RuleFAR, f.ID, w.Unsupported)
	}
	var err *pfcp.Error
	if far.OuterHeader, err = c.outerHeader(f.ID, w); err != nil {
		return err
	}
	switch *w.Destination {
	case pfcp.InterfaceAccess:
		far.To = dataplane.ToAccess
		if far.OuterHeader == nil && far.Action == dataplane.Forward {
			// Never bare: held until the CP function knows the access's tunnel.
			far.Action, far.Notify = dataplane.Buffer, false
		}
	case pfcp.InterfaceCore, pfcp.InterfaceN6LAN:
		if far.OuterHeader == nil && w.OuterHeader != nil && far.Action == dataplane.Forward {
			far.Action = dataplane.Drop // a tunnel of N9 to nowhere
		}
		if w.OuterHeader == nil {
			far.TOS = w.TOS
		}
	case pfcp.InterfaceCPFunction:
		far.To = dataplane.ToCP
		if far.OuterHeader == nil && far.Action == dataplane.Forward {
			far.Action = dataplane.Drop // the CP function takes packets in its tunnel only
		}
	case pfcp.DestVNInternal:
		far.To = dataplane.ToUEs
		if w.OuterHeader != nil {
			return ruleError(pfcp.RuleFAR, f.ID, ie.OuterHeaderCreation, "5G VN Internal is inside this UPF")
		}
	default:
		return ruleError(pfcp.RuleFAR, f.ID, ie.DestinationInterface, fmt.Sprintf("destination interface %d, known are 0 to 3 and 5", *w.Destination))
	}
	return nil
}

// duplicates compiles f's Duplicating Parameters: tunnels that get copies.
func (c *compiler) duplicates(f *pfcp.FAR, far *dataplane.FAR) *pfcp.Error {
	if len(f.Duplicates) == 0 {
		return absent(ie.CauseConditionalIEMissing, pfcp.RuleFAR, f.ID, ie.DuplicatingParameters, "DUPL without Duplicating Parameters")
	}
	for i := range f.Duplicates {
		w := &f.Duplicates[i]
		switch {
		case w.Destination == nil:
			return absent(ie.CauseMandatoryIEMissing, pfcp.RuleFAR, f.ID, ie.DestinationInterface, "no Destination Interface to duplicate to")
		case w.Unsupported != 0:
			return unsupported(pfcp.RuleFAR, f.ID, w.Unsupported)
		case w.OuterHeader == nil:
			return ruleError(pfcp.RuleFAR, f.ID, ie.DuplicatingParameters, "copies go into GTP-U tunnels only, and there is no Outer Header Creation")
		}
		h, err := c.outerHeader(f.ID, w)
		if err != nil {
			return err
		}
		if h != nil {
			far.Duplicates = append(far.Duplicates, *h)
		}
	}
	return nil
}

// unsupported refuses an IE that would change what a rule does.
func unsupported(kind pfcp.RuleKind, id uint32, typ uint16) *pfcp.Error {
	switch typ {
	case ie.ForwardingPolicy:
		return absent(ie.CauseInvalidForwardingPolicy, kind, id, typ, "there are no forwarding policies")
	case ie.ActivatePredefinedRules, ie.DeactivatePredefinedRules:
		return absent(pfcp.CauseUnknownPredefinedRule, kind, id, typ, "there are no predefined rules")
	}
	return absent(ie.CauseServiceNotSupported, kind, id, typ, "is not supported")
}

// outerHeader compiles the GTP-U outer header creation of w: IPv4 where both are
// offered. None, and a header to the unspecified address, are nil: the tunnel is not
// known yet.
func (c *compiler) outerHeader(far uint32, w *pfcp.Forwarding) (*dataplane.OuterHeader, *pfcp.Error) {
	o := w.OuterHeader
	if o == nil {
		return nil, nil
	}
	h, ok := tunnelOf(w)
	switch {
	case !ok:
		return nil, ruleError(pfcp.RuleFAR, far, ie.OuterHeaderCreation, fmt.Sprintf("outer header %#04x, known is GTP-U/UDP/IP to a unicast address", o.Description))
	case h != nil && !c.reaches(h.Peer.Addr()):
		return nil, ruleError(pfcp.RuleFAR, far, ie.OuterHeaderCreation, fmt.Sprintf("no N3 or N9 address to reach %v from", h.Peer.Addr()))
	}
	return h, nil
}

func tunnelOf(w *pfcp.Forwarding) (h *dataplane.OuterHeader, ok bool) {
	o := w.OuterHeader
	if o.Description&^(pfcp.GTPUIPv4|pfcp.GTPUIPv6) != 0 || o.Description == 0 {
		return nil, false
	}
	peer := o.IPv4
	if !peer.IsValid() || peer.IsUnspecified() {
		peer = o.IPv6.Unmap()
	}
	switch {
	case !peer.IsValid() || peer.IsUnspecified():
		return nil, true
	case peer.IsMulticast():
		return nil, false
	}
	h = &dataplane.OuterHeader{TEID: o.TEID, Peer: netip.AddrPortFrom(peer, gtpuPort)}
	if w.TOS != nil {
		h.TOS = *w.TOS
	}
	return h, true
}

// reaches says whether we have an address of the peer's family.
func (c *compiler) reaches(peer netip.Addr) bool {
	return slices.ContainsFunc(c.cfg.GTPU.Interfaces, func(i Interface) bool { return i.Addr.Is4() == peer.Is4() })
}

// endMarkers are the tunnels of before that the FARs in moved have left in after
// (TS 29.244 §5.2.2.2.1, SNDEM).
func endMarkers(before, after *ruleSet, moved []uint32) []dataplane.OuterHeader {
	var left []dataplane.OuterHeader
	for _, id := range moved {
		was, is := farTunnel(before.fars.get(id)), farTunnel(after.fars.get(id))
		if was != nil && (is == nil || is.TEID != was.TEID || is.Peer != was.Peer) && !slices.Contains(left, *was) {
			left = append(left, *was)
		}
	}
	return left
}

func farTunnel(f *pfcp.FAR) *dataplane.OuterHeader {
	if f == nil || f.Forwarding == nil || f.Forwarding.OuterHeader == nil {
		return nil
	}
	h, _ := tunnelOf(f.Forwarding)
	return h
}

// maxBitRate is what the MBR IE can say at most, in bit/s: no limit.
const maxBitRate = (1<<40 - 1) * 1000

// compileQERs compiles the QERs. An MBR of 0 is no limit: SMFs write that for a
// direction, or a flow, whose rate they were not told; a direction that is to be
// closed has its gate closed.
func (c *compiler) compileQERs() *pfcp.Error {
	return inOrder(c.set.qers, func(q *pfcp.QER) *pfcp.Error {
		out := &dataplane.QER{ID: q.ID}
		// Gate Status (TS 29.244 §8.2.7): 0 = open, 1 = closed; other values are
		// for future use and read as closed.
		out.GateULClosed = *q.Gate>>2&3 != 0
		out.GateDLClosed = *q.Gate&3 != 0
		if m := q.MBR; m != nil && (m.Uplink != 0 || m.Downlink != 0) {
			limit := func(kbits uint64) uint64 {
				if kbits == 0 {
					return maxBitRate
				}
				return 1000 * kbits
			}
			out.MBR = &dataplane.BitRate{Uplink: limit(m.Uplink), Downlink: limit(m.Downlink)}
		}
		if g := q.GBR; g != nil && (g.Uplink != 0 || g.Downlink != 0) {
			out.GBR = &dataplane.BitRate{Uplink: 1000 * g.Uplink, Downlink: 1000 * g.Downlink}
		}
		if q.QFI != nil {
			out.QFI = *q.QFI
		}
		out.ReflectiveQoS = q.RQI != nil && *q.RQI != 0
		c.qers[q.ID] = out
		return nil
	})
}
