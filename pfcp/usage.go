package pfcp

import (
	"encoding/binary"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
)

// UsageReport is a Usage Report group within a Session Modification Response, a
// Session Deletion Response or a Session Report Request (TS 29.244 Tables
// 7.5.5.2-1, 7.5.7.2-1, 7.5.8.3-1).
type UsageReport struct {
	URR      uint32
	Sequence uint32 // UR-SEQN
	Trigger  UsageTrigger

	Start, End  time.Time // zero = not there
	Volume      *VolumeMeasurement
	Duration    *time.Duration // in whole seconds on the wire
	First, Last time.Time      // of the packets; zero = not there
	Usage       UsageInformation
	Query       *uint32     // Query URR Reference
	Events      []time.Time // Event Time Stamps

	Application string       // Application ID of the Application Detection Information; "" = none
	UE          *UEIPAddress // nil = not there
}

// UsageTrigger is the Usage Report Trigger IE (TS 29.244 §8.2.41): octet 5 in bits 0
// to 7, octet 6 in bits 8 to 15, octet 7 above.
type UsageTrigger uint32

// Usage report triggers.
const (
	ReportPERIO UsageTrigger = 1 << iota
	ReportVOLTH
	ReportTIMTH
	ReportQUHTI
	ReportSTART
	ReportSTOPT
	ReportDROTH
	ReportIMMER
	ReportVOLQU
	ReportTIMQU
	ReportLIUSA
	ReportTERMR
	ReportMONIT
	ReportENVCL
	ReportMACAR
	ReportEVETH
	ReportEVEQU
	ReportTEBUR
	ReportIPMJL
	ReportQUVTI
	ReportEMRRE
	ReportUPINT
)

// VolumeMeasurement is the Volume Measurement IE (TS 29.244 §8.2.44). The totals are
// the sums.
type VolumeMeasurement struct {
	Uplink, Downlink               uint64 // octets
	HasPackets                     bool   // the packets were counted too
	UplinkPackets, DownlinkPackets uint64
}

// UsageInformation is the Usage Information IE (TS 29.244 §8.2.73).
type UsageInformation uint8

// Flags of the Usage Information.
const (
	UsageBeforeMonitoring UsageInformation = 1 << iota // BEF
	UsageAfterMonitoring                               // AFT
	UsageAfterQoS                                      // UAE
	UsageBeforeQoS                                     // UBE
)

// IE encodes r as an IE of type typ, one of
// ie.UsageReportWithinSessionModificationResponse and its like. The trigger has three
// octets: real CP functions take no other length.
func (r *UsageReport) IE(typ uint16) *ie.IE {
	g := make([]*ie.IE, 0, 12)
	g = append(g, u32IE(ie.URRID, r.URR), u32IE(ie.URSEQN, r.Sequence),
		ie.New(ie.UsageReportTrigger, []byte{byte(r.Trigger), byte(r.Trigger >> 8), byte(r.Trigger >> 16)}))
	g = appendTime(g, ie.StartTime, r.Start)
	g = appendTime(g, ie.EndTime, r.End)
	if r.Volume != nil {
		g = append(g, r.Volume.ie())
	}
	if r.Duration != nil {
		g = append(g, u32IE(ie.DurationMeasurement, uint32(*r.Duration/time.Second)))
	}
	if r.Application != "" {
		g = append(g, ie.NewGroupedIE(ie.ApplicationDetectionInformation, ie.NewApplicationID(r.Application)))
	}
	if r.UE != nil {
		g = append(g, r.UE.IE())
	}
	g = appendTime(g, ie.TimeOfFirstPacket, r.First)
	g = appendTime(g, ie.TimeOfLastPacket, r.Last)
	if r.Usage != 0 {
		g = append(g, ie.New(ie.UsageInformation, []byte{byte(r.Usage)}))
	}
	if r.Query != nil {
		g = append(g, u32IE(ie.QueryURRReference, *r.Query))
	}
	for _, t := range r.Events {
		g = append(g, timeIE(ie.EventTimeStamp, t))
	}
	return ie.NewGroupedIE(typ, g...)
}

func appendTime(g []*ie.IE, typ uint16, t time.Time) []*ie.IE {
	if t.IsZero() {
		return g
	}
	return append(g, timeIE(typ, t))
}

// Flags of the Volume Measurement IE: total, uplink and downlink volume, then numbers
// of packets.
const (
	volumeOctets  = 7
	volumePackets = 7 << 3
)

func (v *VolumeMeasurement) ie() *ie.IE {
	b := make([]byte, 1, 49)
	b[0] = volumeOctets
	add := func(up, down uint64) {
		b = binary.BigEndian.AppendUint64(b, up+down)
		b = binary.BigEndian.AppendUint64(b, up)
		b = binary.BigEndian.AppendUint64(b, down)
	}
	add(v.Uplink, v.Downlink)
	if v.HasPackets {
		b[0] |= volumePackets
		add(v.UplinkPackets, v.DownlinkPackets)
	}
	return ie.New(ie.VolumeMeasurement, b)
}

func parseVolumeMeasurement(i *ie.IE) (VolumeMeasurement, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return VolumeMeasurement{}, err
	}
	flags, b := b[0], b[1:]
	var v [6]uint64 // total, uplink and downlink octets, then packets
	for n := range v {
		if flags&(1<<n) == 0 {
			continue
		}
		if len(b) < 8 {
			return VolumeMeasurement{}, malformed(i, "flags %#x with too few octets", flags)
		}
		v[n], b = binary.BigEndian.Uint64(b), b[8:]
	}
	return VolumeMeasurement{
		Uplink: v[1], Downlink: v[2], HasPackets: flags&volumePackets != 0, UplinkPackets: v[4], DownlinkPackets: v[5],
	}, nil
}

// ParseUsageReport reads a Usage Report group of any of the three types.
func ParseUsageReport(i *ie.IE) (*UsageReport, *Error) {
	r := &UsageReport{}
	var has struct{ id, sequence, trigger bool }
	err := children(i, func(c *ie.IE) (err *Error) {
		switch c.Type {
		case ie.URRID:
			r.URR, err = u32(c)
			has.id = true
		case ie.URSEQN:
			r.Sequence, err = u32(c)
			has.sequence = true
		case ie.UsageReportTrigger:
			var b []byte
			if b, err = octets(c, 2); err == nil {
				r.Trigger = UsageTrigger(b[0]) | UsageTrigger(b[1])<<8
				if len(b) > 2 {
					r.Trigger |= UsageTrigger(b[2]) << 16
				}
			}
			has.trigger = true
		case ie.VolumeMeasurement:
			v, err := parseVolumeMeasurement(c)
			return set(&r.Volume, v, err)
		case ie.DurationMeasurement:
			v, err := u32(c)
			return set(&r.Duration, time.Duration(v)*time.Second, err)
		case ie.UsageInformation:
			var v uint8
			v, err = u8(c)
			r.Usage = UsageInformation(v & 0x0f)
		case ie.QueryURRReference:
			v, err := u32(c)
			return set(&r.Query, v, err)
		case ie.UEIPAddress:
			v, err := ParseUEIPAddress(c)
			return set(&r.UE, v, err)
		case ie.ApplicationDetectionInformation:
			return children(c, func(c *ie.IE) *Error {
				if c.Type == ie.ApplicationID {
					r.Application = string(c.Payload)
				}
				return nil
			})
		default:
			err = r.time(c)
		}
		return err
	})
	switch {
	case err != nil:
	case !has.id:
		err = missing("usage report", ie.URRID)
	case !has.sequence:
		err = missing("usage report", ie.URSEQN)
	case !has.trigger:
		err = missing("usage report", ie.UsageReportTrigger)
	}
	return r, err
}

// time reads c if it holds a point in time.
func (r *UsageReport) time(c *ie.IE) *Error {
	dst := map[uint16]*time.Time{
		ie.StartTime: &r.Start, ie.EndTime: &r.End, ie.TimeOfFirstPacket: &r.First, ie.TimeOfLastPacket: &r.Last,
	}[c.Type]
	if dst == nil && c.Type != ie.EventTimeStamp {
		return nil
	}
	v, err := u32(c)
	if dst == nil {
		return add(&r.Events, fromNTP(v), err)
	}
	*dst = fromNTP(v)
	return err
}
