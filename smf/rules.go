package smf

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
)

// The rules of a session. An access that is not there leaves its numbers unused.
//
//	uplink    PDR 1 (3GPP tunnel), PDR 2 (non-3GPP tunnel)  -> FAR 1 -> Core
//	downlink  PDR 3, 4, ... (one a UE address)              -> MAR 1 or 2
//	          MAR: 3GPP -> FAR 2 -> gNB, non-3GPP -> FAR 3 -> N3IWF
//	all PDRs  QER 1 (gates open, QFI)
//
// A MAR cannot lose one of its two accesses by an update: the session then
// changes over from MAR 1 to MAR 2, or back.
const (
	coreFAR    uint32 = 1
	flowQER    uint32 = 1
	firstMAR   uint16 = 1
	firstDLPDR uint16 = 3

	precedence uint32 = 255 // of every PDR; no two match the same packet
)

// Values of IEs that go-pfcp has no names for.
const (
	actionDROP uint8 = 1 << 0 // Apply Action (TS 29.244 §8.2.26)
	actionFORW uint8 = 1 << 1

	fteidV4     uint8 = 1 << 0 // F-TEID (TS 29.244 §8.2.3)
	fteidV6     uint8 = 1 << 1
	fteidCHOOSE uint8 = 1 << 2

	ueIPV6          uint8 = 1 << 0 // UE IP Address (TS 29.244 §8.2.62)
	ueIPV4          uint8 = 1 << 1
	ueIPDestination uint8 = 1 << 2 // S/D

	removeGTPUIPv4 uint8 = 0 // Outer Header Removal (TS 29.244 §8.2.64)
	removeGTPUIPv6 uint8 = 1

	createGTPUIPv4 uint16 = 0x0100 // Outer Header Creation (TS 29.244 §8.2.56)
	createGTPUIPv6 uint16 = 0x0200
)

func uplinkPDR(a steer.Access) uint16 { return 1 + uint16(a) }
func accessFAR(a steer.Access) uint32 { return 2 + uint32(a) }
func downlinkPDR(i int) uint16        { return firstDLPDR + uint16(i) }
func otherMAR(id uint16) uint16       { return 3 - id }

// establishmentRules is everything that creates s, with [firstMAR].
func establishmentRules(s *Session) []*ie.IE {
	var ies []*ie.IE
	for _, a := range accessList {
		if acc := s.Accesses[a]; acc != nil {
			ies = append(ies, createUplinkPDR(s, a))
		}
	}
	for i, ue := range s.UE {
		ies = append(ies, createDownlinkPDR(s, downlinkPDR(i), ue))
	}
	ies = append(ies, createCoreFAR(s))
	for _, a := range accessList {
		if acc := s.Accesses[a]; acc != nil {
			ies = append(ies, createAccessFAR(a, acc))
		}
	}
	return append(ies,
		ie.NewCreateQER(ie.NewQERID(flowQER), ie.NewGateStatus(ie.GateStatusOpen, ie.GateStatusOpen), ie.NewQFI(s.QFI)),
		createMAR(s, firstMAR),
		ie.NewPDNType(pdnType(s.UE)))
}

// createUplinkPDR detects what comes from the UE through a's tunnel. The UPF
// chooses the tunnel's TEID and address. The interface type says which access the
// tunnel belongs to (TS 29.244 §8.2.118).
func createUplinkPDR(s *Session, a steer.Access) *ie.IE {
	family, removal := fteidV4, removeGTPUIPv4
	if s.Accesses[a].Peer.Is6() {
		family, removal = fteidV6, removeGTPUIPv6
	}
	interfaceType := ie.TGPPInterfaceTypeN33GPPAccess
	if a == steer.AccessNon3GPP {
		interfaceType = ie.TGPPInterfaceTypeN3UnTrustedNon3GPPAccess
	}
	pdi := []*ie.IE{
		ie.NewSourceInterface(ie.SrcInterfaceAccess),
		ie.NewFTEID(fteidCHOOSE|family, 0, nil, nil, 0),
		ie.NewNetworkInstance(s.DNN),
	}
	for _, ue := range s.UE {
		pdi = append(pdi, ueAddress(ue, 0))
	}
	pdi = append(pdi, ie.NewTGPPInterfaceType(interfaceType))
	return ie.NewCreatePDR(
		ie.NewPDRID(uplinkPDR(a)), ie.NewPrecedence(precedence), ie.NewPDI(pdi...),
		ie.New(ie.OuterHeaderRemoval, []byte{removal}),
		ie.NewFARID(coreFAR), ie.NewQERID(flowQER))
}

// createDownlinkPDR detects what goes to one address of the UE.
func createDownlinkPDR(s *Session, id uint16, ue netip.Addr) *ie.IE {
	return ie.NewCreatePDR(
		ie.NewPDRID(id), ie.NewPrecedence(precedence),
		ie.NewPDI(
			ie.NewSourceInterface(ie.SrcInterfaceCore),
			ie.NewNetworkInstance(s.DNN),
			ueAddress(ue, ueIPDestination)),
		ie.NewQERID(flowQER), ie.NewMARID(firstMAR))
}

func createCoreFAR(s *Session) *ie.IE {
	return ie.NewCreateFAR(
		ie.NewFARID(coreFAR), ie.NewApplyAction(actionFORW),
		ie.NewForwardingParameters(
			ie.NewDestinationInterface(ie.DstInterfaceCore),
			ie.NewNetworkInstance(s.DNN)))
}

// createAccessFAR forwards into a's downlink tunnel. Forwarding Parameters come
// only with the action FORW (TS 29.244 Table 7.5.2.3-1).
func createAccessFAR(a steer.Access, acc *Access) *ie.IE {
	if acc.Down {
		return ie.NewCreateFAR(ie.NewFARID(accessFAR(a)), ie.NewApplyAction(actionDROP))
	}
	return ie.NewCreateFAR(
		ie.NewFARID(accessFAR(a)), ie.NewApplyAction(actionFORW),
		ie.NewForwardingParameters(ie.NewDestinationInterface(ie.DstInterfaceAccess), outerHeader(acc)))
}

func createMAR(s *Session, id uint16) *ie.IE {
	ies := []*ie.IE{
		ie.NewMARID(id),
		ie.NewSteeringFunctionality(uint8(s.Steering.Functionality)),
		ie.NewSteeringMode(uint8(s.Steering.Mode)),
	}
	for _, a := range accessList {
		if acc := s.Accesses[a]; acc != nil {
			ies = append(ies, createAFAI(a, acc, s.Steering.Mode))
		}
	}
	return ie.NewCreateMAR(ies...)
}

// createAFAI is the access forwarding action information of one access.
func createAFAI(a steer.Access, acc *Access, mode steer.Mode) *ie.IE {
	build := ie.NewTGPPAccessForwardingActionInformation
	if a == steer.AccessNon3GPP {
		build = ie.NewNonTGPPAccessForwardingActionInformation
	}
	return build(ie.NewFARID(accessFAR(a)), share(acc, mode))
}

func updateAFAI(a steer.Access, acc *Access, mode steer.Mode) *ie.IE {
	build := ie.NewUpdateTGPPAccessForwardingActionInformation
	if a == steer.AccessNon3GPP {
		build = ie.NewUpdateNonTGPPAccessForwardingActionInformation
	}
	return build(share(acc, mode))
}

// share is the IE by which a steering mode ranks an access.
func share(acc *Access, mode steer.Mode) *ie.IE {
	if mode == steer.LoadBalancing {
		return ie.NewWeight(acc.Weight)
	}
	return ie.NewPriority(uint8(rank(acc, mode)))
}

// rank is acc's priority under a mode other than Load-Balancing: under Redundant an access
// is primary or secondary.
func rank(acc *Access, mode steer.Mode) steer.Priority {
	if mode == steer.Redundant && acc.Priority != steer.Primary {
		return steer.Secondary
	}
	return acc.Priority
}

// sameShare says whether two accesses rank the same under a mode.
func sameShare(h, w *Access, mode steer.Mode) bool {
	if mode == steer.LoadBalancing {
		return h.Weight == w.Weight
	}
	return rank(h, mode) == rank(w, mode)
}

// mustReplace says whether a session has to be deleted and established again to
// become want: its addresses, its network or the IP version of a tunnel change.
func mustReplace(have, want *Session) bool {
	if have.DNN != want.DNN || !slices.Equal(have.UE, want.UE) {
		return true
	}
	for _, a := range accessList {
		h, w := have.Accesses[a], want.Accesses[a]
		if h != nil && w != nil && h.Peer.Is4() != w.Peer.Is4() {
			return true
		}
	}
	return false
}

// modificationRules is what turns have, whose MAR is number mar, into want, and
// the number of the MAR after it. No rules: nothing differs. [mustReplace] must
// have said no.
func modificationRules(have, want *Session, mar uint16) ([]*ie.IE, uint16) {
	var ies []*ie.IE
	accessLeaves := false
	for _, a := range accessList {
		h, w := have.Accesses[a], want.Accesses[a]
		switch {
		case h == nil && w != nil:
			ies = append(ies, createUplinkPDR(want, a), createAccessFAR(a, w))
		case h != nil && w == nil:
			ies = append(ies, ie.NewRemovePDR(ie.NewPDRID(uplinkPDR(a))), ie.NewRemoveFAR(ie.NewFARID(accessFAR(a))))
			accessLeaves = true
		case h != nil && w != nil:
			if far := updateFAR(a, h, w); far != nil {
				ies = append(ies, far)
			}
		}
	}
	if have.QFI != want.QFI {
		ies = append(ies, ie.NewUpdateQER(ie.NewQERID(flowQER), ie.NewQFI(want.QFI)))
	}
	if !accessLeaves {
		if u := updateMAR(have, want, mar); u != nil {
			ies = append(ies, u)
		}
		return ies, mar
	}
	next := otherMAR(mar)
	for i := range want.UE {
		ies = append(ies, ie.NewUpdatePDR(ie.NewPDRID(downlinkPDR(i)), ie.NewMARID(next)))
	}
	return append(ies, ie.NewRemoveMAR(ie.NewMARID(mar)), createMAR(want, next)), next
}

// updateFAR is nil if nothing differs. A FAR that drops does not learn of a
// changed tunnel; it gets the tunnel as it is when it forwards again.
func updateFAR(a steer.Access, have, want *Access) *ie.IE {
	ies := []*ie.IE{ie.NewFARID(accessFAR(a))}
	if have.Down != want.Down {
		action := actionFORW
		if want.Down {
			action = actionDROP
		}
		ies = append(ies, ie.NewApplyAction(action))
	}
	tunnelChanged := have.Peer != want.Peer || have.TEID != want.TEID
	if !want.Down && (have.Down || tunnelChanged) {
		ies = append(ies, ie.NewUpdateForwardingParameters(
			ie.NewDestinationInterface(ie.DstInterfaceAccess), outerHeader(want)))
	}
	if len(ies) == 1 {
		return nil
	}
	return ie.NewUpdateFAR(ies...)
}

// updateMAR is nil if nothing differs. No access of have is missing in want.
func updateMAR(have, want *Session, id uint16) *ie.IE {
	ies := []*ie.IE{ie.NewMARID(id)}
	if have.Steering.Functionality != want.Steering.Functionality {
		ies = append(ies, ie.NewSteeringFunctionality(uint8(want.Steering.Functionality)))
	}
	mode := want.Steering.Mode
	modeChanged := have.Steering.Mode != mode
	if modeChanged {
		ies = append(ies, ie.NewSteeringMode(uint8(mode)))
	}
	for _, a := range accessList {
		h, w := have.Accesses[a], want.Accesses[a]
		switch {
		case w == nil:
		case h == nil:
			ies = append(ies, createAFAI(a, w, mode))
		case modeChanged || !sameShare(h, w, mode):
			ies = append(ies, updateAFAI(a, w, mode))
		}
	}
	if len(ies) == 1 {
		return nil
	}
	return ie.NewUpdateMAR(ies...)
}

// outerHeader makes a GTP-U/UDP/IP header towards acc's peer.
func outerHeader(acc *Access) *ie.IE {
	description := createGTPUIPv4
	if acc.Peer.Is6() {
		description = createGTPUIPv6
	}
	b := binary.BigEndian.AppendUint16(nil, description)
	b = binary.BigEndian.AppendUint32(b, acc.TEID)
	return ie.New(ie.OuterHeaderCreation, append(b, acc.Peer.AsSlice()...))
}

// ueAddress is the UE IP Address IE of ue, as a source unless flags say otherwise.
func ueAddress(ue netip.Addr, flags uint8) *ie.IE {
	if ue.Is4() {
		flags |= ueIPV4
	} else {
		flags |= ueIPV6
	}
	return ie.New(ie.UEIPAddress, append([]byte{flags}, ue.AsSlice()...))
}

func pdnType(ues []netip.Addr) uint8 {
	v4 := slices.ContainsFunc(ues, netip.Addr.Is4)
	v6 := slices.ContainsFunc(ues, netip.Addr.Is6)
	switch {
	case v4 && v6:
		return ie.PDNTypeIPv4v6
	case v6:
		return ie.PDNTypeIPv6
	}
	return ie.PDNTypeIPv4
}
