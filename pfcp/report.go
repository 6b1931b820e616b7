package pfcp

import (
	"encoding/binary"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
)

// ReportType is the Report Type IE of a Session Report Request (TS 29.244 §8.2.21).
type ReportType uint8

// Report types.
const (
	ReportDLDR ReportType = 1 << iota // downlink data
	ReportUSAR                        // usage
	ReportERIR                        // error indication
	ReportUPIR                        // user plane inactivity
	ReportTMIR                        // TSC management information; there is none here
	ReportSESR                        // session report
)

// IE encodes t.
func (t ReportType) IE() *ie.IE { return ie.New(ie.ReportType, []byte{byte(t)}) }

// DownlinkData is the Downlink Data Report of one PDR (TS 29.244 Table 7.5.8.2-1).
type DownlinkData struct {
	PDR uint16
	QFI uint8  // 0 = not known
	PPI *uint8 // paging policy indication: the packet's DSCP, 6 bits; nil = not known
}

// DownlinkDataIE encodes a Downlink Data Report group of one PDR or more. The
// Downlink Data Service Information (§8.2.27) of each follows its PDR ID.
func DownlinkDataIE(ds []DownlinkData) *ie.IE {
	var g []*ie.IE
	for _, d := range ds {
		g = append(g, ie.NewPDRID(d.PDR))
		if d.QFI == 0 && d.PPI == nil {
			continue
		}
		b := []byte{bit(d.PPI != nil, 1) | bit(d.QFI != 0, 2)}
		if d.PPI != nil {
			b = append(b, *d.PPI&0x3f)
		}
		if d.QFI != 0 {
			b = append(b, d.QFI&0x3f)
		}
		g = append(g, ie.New(ie.DownlinkDataServiceInformation, b))
	}
	return ie.NewGroupedIE(ie.DownlinkDataReport, g...)
}

// ErrorIndicationIE encodes an Error Indication Report group (TS 29.244 Table
// 7.5.8.4-1) with the remote F-TEIDs that are no more.
func ErrorIndicationIE(remote []FTEID) *ie.IE {
	var g []*ie.IE
	for _, f := range remote {
		g = append(g, f.IE())
	}
	return ie.NewGroupedIE(ie.ErrorIndicationReport, g...)
}

// AdditionalReportsIE is the Additional Usage Reports Information IE (TS 29.244
// §8.2.91): so many usage reports, 15 bits, follow in Session Report Requests.
func AdditionalReportsIE(n int) *ie.IE {
	return ie.New(ie.AdditionalUsageReportsInformation, binary.BigEndian.AppendUint16(nil, 1<<15|uint16(min(n, 1<<15-1))))
}

// ParseSeconds reads an IE that holds a time in seconds, 4 octets: the User Plane
// Inactivity Timer (TS 29.244 §8.2.83) for one.
func ParseSeconds(i *ie.IE) (uint32, *Error) { return u32(i) }

// InactivityTimerIE encodes a User Plane Inactivity Timer IE (TS 29.244 §8.2.83), in
// whole seconds.
func InactivityTimerIE(d time.Duration) *ie.IE {
	return u32IE(ie.UserPlaneInactivityTimer, uint32(d/time.Second))
}

// ParseReference reads a Query URR Reference IE (TS 29.244 §8.2.90).
func ParseReference(i *ie.IE) (uint32, *Error) { return u32(i) }

// ParseFlags reads the first octet of an IE of flags: PFCPSMReq-Flags, PFCPSRRsp-Flags
// (TS 29.244 §8.2.32, §8.2.33).
func ParseFlags(i *ie.IE) (uint8, *Error) { return u8(i) }

// Flags of the PFCPSMReq-Flags and, the first alone, of the PFCPSRRsp-Flags.
const (
	FlagDROBU uint8 = 1 << 0 // drop what is buffered
	FlagQAURR uint8 = 1 << 2 // query all URRs
)

// ParseCause reads the Cause IE of a response (TS 29.244 §8.2.1); none is read as a
// rejection without a reason.
func ParseCause(i *ie.IE) uint8 {
	if i == nil || len(i.Payload) == 0 {
		return ie.CauseRequestRejected
	}
	return i.Payload[0]
}
