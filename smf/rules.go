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
//	reports   SRR 1
//
// With a steering of its own for what is not TCP, those downlink PDRs lead to MAR 3 or 4,
// and as many that go before them, for TCP alone, to MAR 1 or 2.
const (
	coreFAR       uint32 = 1
	flowQER       uint32 = 1
	firstDLPDR    uint16 = 3
	availableSRR  uint8  = 1
	precedence    uint32 = 255 // of every PDR but those for TCP alone
	precedenceTCP uint32 = 128
)

// tcpOnly is the flow description of TCP from anywhere (TS 29.212 §5.4.2).
const tcpOnly = "permit out 6 from any to assigned"

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

	mptcpApplicable uint8 = 1 // MPTCP Applicable Indication (TS 29.244 §8.2.181): MAI

	createGTPUIPv4 uint16 = 0x0100 // Outer Header Creation (TS 29.244 §8.2.56)
	createGTPUIPv6 uint16 = 0x0200
)

func uplinkPDR(a steer.Access) uint16 { return 1 + uint16(a) }
func accessFAR(a steer.Access) uint32 { return 2 + uint32(a) }
func downlinkPDR(i int) uint16        { return firstDLPDR + uint16(i) }

// tcpPDR is the one that goes before [downlinkPDR] of the same UE address.
func (s *Session) tcpPDR(i int) uint16 { return downlinkPDR(len(s.UE) + i) }

// restOf is the MAR of what no PDR for TCP alone has taken.
func (m *marIDs) restOf() uint16 {
	if m[otherMAR] != 0 {
		return m[otherMAR]
	}
	return m[mainMAR]
}

// establishmentRules is everything that creates s, with [firstMARs].
func establishmentRules(s *Session) []*ie.IE {
	var ies []*ie.IE
	mars := firstMARs(s)
	for _, a := range accessList {
		if acc := s.Accesses[a]; acc != nil {
			ies = append(ies, createUplinkPDR(s, a))
		}
	}
	for i := range s.UE {
		ies = append(ies, createDownlinkPDR(s, i, mars.restOf()))
	}
	if mars[otherMAR] != 0 {
		ies = append(ies, createTCPPDRs(s, mars[mainMAR])...)
	}
	ies = append(ies, createCoreFAR(s))
	for _, a := range accessList {
		if acc := s.Accesses[a]; acc != nil {
			ies = append(ies, createAccessFAR(a, acc))
		}
	}
	ies = append(ies,
		ie.NewCreateQER(ie.NewQERID(flowQER), ie.NewGateStatus(ie.GateStatusOpen, ie.GateStatusOpen), ie.NewQFI(s.QFI)))
	for which, id := range mars {
		if id != 0 {
			ies = append(ies, s.mar(which).create(id))
		}
	}
	ies = append(ies, ie.NewPDNType(pdnType(s.UE)))
	if s.Reports.AccessAvailability {
		ies = append(ies, createSRR())
	}
	return append(ies, s.ATSSS.provide()...)
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

// createDownlinkPDR detects what goes to address number i of the UE.
func createDownlinkPDR(s *Session, i int, mar uint16) *ie.IE {
	return ie.NewCreatePDR(
		ie.NewPDRID(downlinkPDR(i)), ie.NewPrecedence(precedence),
		ie.NewPDI(downlinkPDI(s, i)...),
		ie.NewQERID(flowQER), ie.NewMARID(mar))
}

// createTCPPDRs detect what of it is TCP.
func createTCPPDRs(s *Session, mar uint16) (pdrs []*ie.IE) {
	for i := range s.UE {
		pdi := append(downlinkPDI(s, i), ie.NewSDFFilter(tcpOnly, "", "", "", 0))
		pdrs = append(pdrs, ie.NewCreatePDR(
			ie.NewPDRID(s.tcpPDR(i)), ie.NewPrecedence(precedenceTCP),
			ie.NewPDI(pdi...),
			ie.NewQERID(flowQER), ie.NewMARID(mar), ie.NewMPTCPApplicableIndication(mptcpApplicable)))
	}
	return pdrs
}

func downlinkPDI(s *Session, i int) []*ie.IE {
	return []*ie.IE{
		ie.NewSourceInterface(ie.SrcInterfaceCore),
		ie.NewNetworkInstance(s.DNN),
		ueAddress(s.UE[i], ueIPDestination),
	}
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

// mustReplace says whether a session has to be deleted and established again to
// become want: its addresses, its network, what the UPF provides or the IP version of a
// tunnel change.
func mustReplace(have, want *Session) bool {
	if have.DNN != want.DNN || !slices.Equal(have.UE, want.UE) || !have.ATSSS.equal(&want.ATSSS) {
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

// modificationRules is what turns have, whose MARs have the numbers mars, into want, and
// the numbers after it. No rules: nothing differs. [mustReplace] must have said no.
func modificationRules(have, want *Session, mars marIDs) ([]*ie.IE, marIDs) {
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
	next := mars
	for which := range mars {
		var rules []*ie.IE
		rules, next[which] = modifyMAR(have.mar(which), want.mar(which), which, mars[which], accessLeaves)
		ies = append(ies, rules...)
	}
	ies = append(ies, modifyDownlinkPDRs(want, mars, next)...)
	if have.Reports != want.Reports {
		if want.Reports.AccessAvailability {
			ies = append(ies, createSRR())
		} else {
			ies = append(ies, ie.NewRemoveSRR(ie.NewSRRID(availableSRR)))
		}
	}
	return ies, next
}

// modifyMAR turns have, of number id, into want, and gives its number then; nil = there is
// none.
func modifyMAR(have, want *mar, which int, id uint16, accessLeaves bool) ([]*ie.IE, uint16) {
	switch {
	case have == nil && want == nil:
		return nil, 0
	case have == nil:
		return []*ie.IE{want.create(firstMARID(which))}, firstMARID(which)
	case want == nil:
		return []*ie.IE{ie.NewRemoveMAR(ie.NewMARID(id))}, 0
	case accessLeaves:
		return []*ie.IE{ie.NewRemoveMAR(ie.NewMARID(id)), want.create(alternate(id))}, alternate(id)
	}
	if u := want.update(have, id); u != nil {
		return []*ie.IE{u}, id
	}
	return nil, id
}

// modifyDownlinkPDRs leads the downlink to the MARs that are next.
func modifyDownlinkPDRs(want *Session, mars, next marIDs) (ies []*ie.IE) {
	if mars.restOf() != next.restOf() {
		for i := range want.UE {
			ies = append(ies, ie.NewUpdatePDR(ie.NewPDRID(downlinkPDR(i)), ie.NewMARID(next.restOf())))
		}
	}
	if mars[otherMAR] == 0 && next[otherMAR] != 0 {
		return append(ies, createTCPPDRs(want, next[mainMAR])...)
	}
	if mars[otherMAR] == 0 {
		return ies
	}
	for i := range want.UE {
		id := ie.NewPDRID(want.tcpPDR(i))
		switch {
		case next[otherMAR] == 0:
			ies = append(ies, ie.NewRemovePDR(id))
		case mars[mainMAR] != next[mainMAR]:
			ies = append(ies, ie.NewUpdatePDR(id, ie.NewMARID(next[mainMAR])))
		}
	}
	return ies
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
