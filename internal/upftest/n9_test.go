package upftest

import (
	"net/netip"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// Two UPFs, one behind the other: the first, an uplink classifier, lets what an SDF
// filter names break out to the data network at hand and sends the rest over N9 to the
// PDU session anchor and its data network. The gNB has one uplink tunnel.
//
//	ue == gnb1 -- upf -- N9 -- psa -- far 10.100.16.2
//	               '-- dn 10.100.6.2
func TestN9(t *testing.T) {
	const (
		fromGNB, fromClassifier, fromAnchor = 0x1001, 0x3001, 0x3002 // TEIDs of the UPFs
		atGNB                               = 0x2001
		pdrLocal, pdrRest, pdrBack, pdrN6   = 1, 2, 3, 4
		farLocal, farRest, farGNB           = 1, 2, 3
	)
	psaN4, psaN9, farDN := addr("10.100.5.1"), addr("10.100.9.2"), addr("10.100.16.2")
	w := begin(t, "")
	ueAddr := addr("10.60.0.1")

	psaHost, far := newHost(t, "psa"), newHost(t, "far")
	cable(w.upf.host, "n9", psaHost, "n9")
	w.upf.addr("n9", "10.100.9.1/24")
	psaHost.addr("n9", "10.100.9.2/24")
	psaHost.route("10.100.1.1/32", "10.100.9.1", "n9")
	cable(w.smf.host, "n4-psa", psaHost, "n4")
	w.smf.host.addr("n4-psa", "10.100.5.2/24")
	psaHost.addr("n4", "10.100.5.1/24")
	psaHost.route("10.100.4.2/32", "10.100.5.2", "n4")
	cable(psaHost, "n6", far, "n6")
	psaHost.addr("n6", "10.100.16.1/24")
	far.addr("n6", "10.100.16.2/24")
	far.route("10.60.0.0/16", "10.100.16.1", "n6")
	psa := startUPF(psaHost, psaN4, psaN9, configOf(psaN4, psaN9, pools, ""))
	w.smf.associate(psaN4)

	ueIP := func(down bool) []pfcp.UEIPAddress {
		return []pfcp.UEIPAddress{{IPv4: ueAddr, Destination: down}}
	}
	uplink := func(id uint16, precedence, far uint32, at netip.Addr, teid uint32, filters ...string) *pfcp.PDR {
		pdr := &pfcp.PDR{
			ID: id, Precedence: p(precedence), OuterHeaderRemoval: p(uint8(0)), FARID: p(far), QERIDs: []uint32{qerFlow},
			PDI: &pfcp.PDI{SourceInterface: pfcp.InterfaceAccess, NetworkInstance: dnn, FTEID: &pfcp.FTEID{TEID: teid, IPv4: at}, UEAddresses: ueIP(false)},
		}
		for _, f := range filters {
			flow, err := pfcp.ParseFlowDescription(f)
			if err != nil {
				t.Fatal(err)
			}
			pdr.PDI.Filters = append(pdr.PDI.Filters, pfcp.SDFFilter{HasDescription: true, Description: flow})
		}
		return pdr
	}
	downlink := func(id uint16, far uint32) *pfcp.PDR {
		return &pfcp.PDR{
			ID: id, Precedence: p(uint32(255)), FARID: p(far), QERIDs: []uint32{qerFlow},
			PDI: &pfcp.PDI{SourceInterface: pfcp.InterfaceCore, NetworkInstance: dnn, UEAddresses: ueIP(true)},
		}
	}
	tunnelTo := func(id uint32, destination uint8, peer netip.Addr, teid uint32) *pfcp.FAR {
		f := toGNB(id, peer, teid)
		f.Forwarding.Destination = p(destination)
		return f
	}
	toN6 := &pfcp.FAR{ID: farLocal, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{Destination: p(pfcp.InterfaceCore), NetworkInstance: dnn}}
	qers := []*pfcp.QER{{ID: qerFlow, Gate: p(uint8(0)), QFI: p(uint8(defaultQFI))}}

	back := downlink(pdrBack, farGNB) // out of the anchor's tunnel
	back.OuterHeaderRemoval = p(uint8(0))
	back.PDI.FTEID = &pfcp.FTEID{TEID: fromAnchor, IPv4: n3Addr}
	classifier := &rules{
		pdrs: []*pfcp.PDR{
			uplink(pdrLocal, 30, farLocal, n3Addr, fromGNB, "permit out ip from 10.100.6.2 to assigned"),
			uplink(pdrRest, 255, farRest, n3Addr, fromGNB),
			back, downlink(pdrN6, farGNB),
		},
		fars: []*pfcp.FAR{
			toN6, tunnelTo(farRest, pfcp.InterfaceCore, psaN9, fromClassifier),
			tunnelTo(farGNB, pfcp.InterfaceAccess, gnbAddr[0], atGNB),
		},
		qers: qers,
	}
	anchor := &rules{
		pdrs: []*pfcp.PDR{uplink(pdrLocal, 255, farLocal, psaN9, fromClassifier), downlink(pdrN6, farGNB)},
		fars: []*pfcp.FAR{toN6, tunnelTo(farGNB, pfcp.InterfaceAccess, n3Addr, fromAnchor)},
		qers: qers,
	}
	w.smf.establish(psaN4, anchor.creates()...)
	sess := w.smf.establish(n4Addr, classifier.creates()...)
	u := newUE(t, "ue", ueAddr.String())
	u.attach(w.gnb[0], tunnel{teid: fromGNB, peer: n3Addr, qfi: defaultQFI}, atGNB)

	near, away := serveWeb(w.dn), serveWeb(far)
	beforePSA := psa.counters()
	u.ping(ueAddr, dnAddr, 10, 84)
	near.transfer(u.host, dnAddr, 4<<20)
	psa.counted(beforePSA, map[string]uint64{"n3_received_packets": 0, "n6_received_packets": 0})
	before := w.upf.counters()
	u.ping(ueAddr, farDN, 10, 84)
	u.ping(ueAddr, farDN, 3, tunMTU)
	far.ping(farDN, ueAddr, 10, 84)
	away.transfer(u.host, farDN, 4<<20)
	w.upf.counted(before, map[string]uint64{"n6_sent_packets": 0, "n6_received_packets": 0})
	if a := whoAmI(u.host, farDN); a != ueAddr {
		t.Errorf("the far server sees %v, want %v", a, ueAddr)
	}

	// The SMF takes the classifier's filter away: everything goes over N9.
	sess.modify(ie.NewRemovePDR(ie.NewPDRID(pdrLocal)))
	beforePSA = psa.counters()
	u.open(netip.AddrPortFrom(ueAddr, 0), netip.AddrPortFrom(dnAddr, 9), 100).send(5)
	psa.await(beforePSA, "n6_sent_packets", 5)
}
