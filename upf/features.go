package upf

import (
	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// upFeatures are the UP function features that Braid has (TS 29.244 §8.2.25), each
// beside what shows it. What is not here is refused or without effect.
var upFeatures = []pfcp.UPFeature{
	pfcp.DDND,    // TestDelayedDownlinkData
	pfcp.DLBD,    // TestBufferingDuration
	pfcp.FTUP,    // TestMultiAccessSession, TestChooseID
	pfcp.PFDM,    // TestPFDManagement, TestPFDChange
	pfcp.EMPU,    // TestEndMarkers
	pfcp.PDIU,    // TestTrafficEndpoints
	pfcp.QUOAC,   // TestQuotas
	pfcp.FRRT,    // TestFramedRoutes
	pfcp.UEIP,    // TestUEAddressesChosen
	pfcp.SSET,    // TestTakeover
	pfcp.MNOP,    // TestVolumeThreshold
	pfcp.MPAS,    // TestTakeover, TestSetMemberEnds
	pfcp.VTIME,   // TestQuotas
	pfcp.IP6PL,   // TestUEPrefixes
	pfcp.MPTCP,   // TestMultiAccessSession
	pfcp.ATSSSLL, // TestMultiAccessSession
}

// features is our UP Function Features IE.
func features() *ie.IE { return pfcp.FeaturesIE(upFeatures...) }

// pools tells of the UE addresses that we can give out, one pool for each entry of
// dnnList: its identity is the range itself.
func (s *Server) pools() []*ie.IE {
	var ies []*ie.IE
	for _, d := range s.cfg.DNNs {
		ies = append(ies, pfcp.UEIPPoolIE(d.CIDR.String(), d.Name))
	}
	return ies
}
