package pfcp

import "github.com/wmnsk/go-pfcp/ie"

// UPFeature is a bit of the UP Function Features IE (TS 29.244 Table 8.2.25-1):
// 8 times its octet less 5, plus its bit less 1.
type UPFeature uint16

// The octets of the IE.
const (
	octet5 UPFeature = 8 * iota
	octet6
	octet7
	octet8
	octet9
	octet10
	octet11
	octet12
)

// Features that Braid knows of. Not every one is told: see the list of the UPF.
const (
	DDND    = octet5 + 1 // the delay of a downlink data notification
	DLBD    = octet5 + 2 // the duration of downlink buffering
	FTUP    = octet5 + 4 // the UP function can choose F-TEIDs
	PFDM    = octet5 + 5 // PFD management
	EMPU    = octet6 + 0 // end markers
	PDIU    = octet6 + 1 // traffic endpoints
	QUOAC   = octet6 + 3 // an action when a quota is spent
	FRRT    = octet6 + 5 // framed routes
	EPFAR   = octet6 + 7 // enhanced association release
	UEIP    = octet7 + 2 // the UP function can choose UE addresses
	SSET    = octet7 + 3 // SMF sets with one association for the set
	MNOP    = octet7 + 4 // volumes in packets
	MPAS    = octet8 + 0 // SMF sets with an association for each SMF
	VTIME   = octet8 + 2 // validity times of quotas
	IP6PL   = octet8 + 5 // IPv6 prefixes of other lengths than 64
	MPTCP   = octet8 + 7
	ATSSSLL = octet9 + 0
	REDSM   = octet12 + 0 // the steering mode Redundant (Rel-18)
)

// FeaturesIE encodes a UP Function Features IE from its octet 5 onwards: pairs of
// octets, as many as the features need and at least one pair.
func FeaturesIE(features ...UPFeature) *ie.IE {
	b := make([]byte, 2)
	for _, f := range features {
		for len(b) <= int(f>>3) {
			b = append(b, 0, 0)
		}
		b[f>>3] |= 1 << (f & 7)
	}
	return ie.New(ie.UPFunctionFeatures, b)
}

// CPFeatures are the bits of a CP Function Features IE (TS 29.244 §8.2.58), octet 5
// in the low ones.
type CPFeatures uint64

// Features of a CP function that matter here.
const (
	CPSSET CPFeatures = 1 << 3 // one association for its SMF set
	CPMPAS CPFeatures = 1 << 5 // an association for each SMF of its set
)

// ParseCPFeatures reads a CP Function Features IE. Octets beyond the eighth are of
// releases to come and say nothing here.
func ParseCPFeatures(i *ie.IE) (CPFeatures, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return 0, err
	}
	var f CPFeatures
	for n, o := range b[:min(len(b), 8)] {
		f |= CPFeatures(o) << (8 * n)
	}
	return f, nil
}

// IE encodes f.
func (f CPFeatures) IE() *ie.IE {
	var b []byte
	for ; f != 0; f >>= 8 {
		b = append(b, byte(f))
	}
	return ie.New(ie.CPFunctionFeatures, b)
}
