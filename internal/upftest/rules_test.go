package upftest

import (
	"net/netip"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// dnn is the data network's name in every test.
const dnn = "internet"

func p[T any](v T) *T { return &v }

// rules are those of a session as they were created.
type rules struct {
	pdrs []*pfcp.PDR
	fars []*pfcp.FAR
	qers []*pfcp.QER
	more []*ie.IE // rules of other kinds
}

// creates are the IEs of an establishment, in free5GC's order.
func (r *rules) creates() (ies []*ie.IE) {
	for _, x := range r.pdrs {
		ies = append(ies, x.IE(ie.CreatePDR))
	}
	for _, x := range r.fars {
		ies = append(ies, x.IE(ie.CreateFAR))
	}
	ies = append(ies, r.more...)
	for _, x := range r.qers {
		ies = append(ies, x.IE(ie.CreateQER))
	}
	return append(ies, ie.NewPDNType(1))
}

// Rule IDs of the session that free5GCSession makes.
const (
	pdrUp, pdrDown      = 1, 2
	farUp, farDown      = 1, 2
	qerFlow, qerSession = 1, 2
	defaultQFI          = 9
)

// free5GCSession are the rules that free5GC's SMF establishes before it knows the gNB: the
// CP function has chosen TEID and UE addresses, two QERs on every PDR, and a downlink FAR
// without Outer Header Creation.
func free5GCSession(n3 netip.Addr, teid uint32, ues ...netip.Addr) *rules {
	ueIPs := func(down bool) (all []pfcp.UEIPAddress) {
		for _, a := range ues {
			u := pfcp.UEIPAddress{Destination: down}
			if a.Is4() {
				u.IPv4 = a
			} else {
				u.IPv6 = a
			}
			all = append(all, u)
		}
		return all
	}
	qers := []uint32{qerFlow, qerSession}
	return &rules{
		pdrs: []*pfcp.PDR{
			{
				ID: pdrUp, Precedence: p(uint32(255)), OuterHeaderRemoval: p(uint8(0)), FARID: p(uint32(farUp)), QERIDs: qers,
				PDI: &pfcp.PDI{
					SourceInterface: pfcp.InterfaceAccess, NetworkInstance: dnn,
					FTEID: &pfcp.FTEID{TEID: teid, IPv4: n3}, UEAddresses: ueIPs(false),
				},
			},
			{
				ID: pdrDown, Precedence: p(uint32(255)), FARID: p(uint32(farDown)), QERIDs: qers,
				PDI: &pfcp.PDI{SourceInterface: pfcp.InterfaceCore, NetworkInstance: dnn, UEAddresses: ueIPs(true)},
			},
		},
		fars: []*pfcp.FAR{
			{ID: farUp, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{Destination: p(pfcp.InterfaceCore), NetworkInstance: dnn}},
			{ID: farDown, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{Destination: p(pfcp.InterfaceAccess)}},
		},
		qers: []*pfcp.QER{
			{ID: qerFlow, Gate: p(uint8(0)), QFI: p(uint8(defaultQFI))},
			{ID: qerSession, Gate: p(uint8(0)), MBR: &pfcp.BitRate{Uplink: 10e6, Downlink: 10e6}},
		},
	}
}

// toGNB is a FAR that forwards into the tunnel of a gNB.
func toGNB(far uint32, gnb netip.Addr, teid uint32) *pfcp.FAR {
	return &pfcp.FAR{ID: far, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{
		Destination: p(pfcp.InterfaceAccess),
		OuterHeader: &pfcp.OuterHeaderCreation{Description: pfcp.GTPUIPv4, TEID: teid, IPv4: gnb},
	}}
}

// addFlow gives a session number n of its own QoS flows: PDRs with an SDF filter before
// those of the default flow, and a QER with an MBR in kbit/s beside the session's.
func (r *rules) addFlow(n int, description string, up, down uint64) {
	qer := &pfcp.QER{ID: uint32(10 + n), Gate: p(uint8(0)), QFI: p(uint8(10 + n)), MBR: &pfcp.BitRate{Uplink: up, Downlink: down}}
	for _, old := range r.pdrs[:2] {
		pdr, pdi := *old, *old.PDI
		flow, err := pfcp.ParseFlowDescription(description)
		if err != nil {
			panic(err) // the test's own text
		}
		pdi.Filters = []pfcp.SDFFilter{{HasDescription: true, Description: flow}}
		pdr.ID, pdr.PDI, pdr.Precedence = old.ID+uint16(10*n), &pdi, p(uint32(30))
		pdr.QERIDs = []uint32{qer.ID, qerSession}
		r.pdrs = append(r.pdrs, &pdr)
	}
	r.qers = append(r.qers, qer)
}
