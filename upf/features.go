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
	pfcp.MPTCP,   // TestMultiAccessSession, TestATSSSParameters
	pfcp.ATSSSLL, // TestMultiAccessSession, TestATSSSParameters
	pfcp.REDSM,   // TestSteeringModes
}

// features is our UP Function Features IE.
func features() *ie.IE { return pfcp.FeaturesIE(upFeatures...) }

// pools tells of the UE addresses that we can give out, one pool for each entry of
// dnnList: its identity is the range itself. What does not fit into room octets is left
// out: it is an offer, and a CP function can ask for the addresses all the same.
func (s *Server) pools(room int) []*ie.IE {
	var ies []*ie.IE
	for _, d := range s.cfg.DNNs {
		i := pfcp.UEIPPoolIE(d.CIDR.String(), d.Name)
		if room -= i.MarshalLen(); room < 0 {
			break
		}
		ies = append(ies, i)
	}
	return ies
}
