package pfcp

import (
	"encoding/binary"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
)

// URR is a Create URR or an Update URR (TS 29.244 Tables 7.5.2.4-1, 7.5.4.4-1).
// Where nothing else is said, 0 means that the IE is not there, and an Update URR
// without it changes nothing. Times are in seconds.
type URR struct {
	ID          uint32
	Unsupported uint16 // type of an IE without which the rule would do something else
	Method      Method

	// Spent says that a quota other than that of volume has run out: [URR.Apply] takes
	// it back with a new quota. The UP function keeps it with the rule, and so it does
	// the grants.
	Spent bool

	Triggers       Triggers    // valid if HasTriggers
	Information    Information // Measurement Information; valid if HasInformation
	HasTriggers    bool
	HasInformation bool

	Period        uint32 // Measurement Period
	QuotaHolding  uint32 // Quota Holding Time
	QuotaValidity uint32 // Quota Validity Time
	Inactivity    uint32 // Inactivity Detection Time

	// A grant counts how often the CP function has given that quota; not on the wire.
	VolumeGrant, TimeGrant, EventGrant uint32

	Limits Limits
	More   *URRMore // nil = none of it
}

// URRMore is what few URRs have. It is immutable once it is in a URR.
type URRMore struct {
	// Subsequent are the limits that take Limits' place at the Monitoring Time; nil =
	// none are given.
	Monitoring time.Time
	Subsequent *Limits

	Linked   []uint32 // Linked URR IDs: when one of them reports, this one does too
	QuotaFAR *uint32  // FAR ID for Quota Action
}

// Method is the Measurement Method (TS 29.244 §8.2.40).
type Method uint8

// Measurement methods.
const (
	MethodDuration Method = 1 << iota
	MethodVolume
	MethodEvent
)

// Triggers is the Reporting Triggers IE (TS 29.244 §8.2.19): octet 5 in bits 0 to
// 7, octet 6 in bits 8 to 15, octet 7, which older CP functions do not send, above.
type Triggers uint32

// Reporting triggers.
const (
	TriggerPERIO Triggers = 1 << iota
	TriggerVOLTH
	TriggerTIMTH
	TriggerQUHTI
	TriggerSTART
	TriggerSTOPT
	TriggerDROTH
	TriggerLIUSA
	TriggerVOLQU
	TriggerTIMQU
	TriggerENVCL
	TriggerMACAR
	TriggerEVETH
	TriggerEVEQU
	TriggerIPMJL
	TriggerQUVTI
	TriggerREEMR
	TriggerUPINT
)

// Information is the Measurement Information IE (TS 29.244 §8.2.68), octet 5 in the
// low bits.
type Information uint16

// Flags of the Measurement Information.
const (
	InfoMBQE Information = 1 << iota // measure before QoS enforcement
	InfoINAM                         // inactive measurement: nothing is counted
	InfoRADI                         // reduced application detection information
	InfoISTM                         // time is measured from the start, not from the first packet
	InfoMNOP                         // measure the number of packets
)

// maxLinked bounds the Linked URR IDs that a URR may have; more are refused.
const maxLinked = 16

// ParseURR reads a Create URR or an Update URR.
func ParseURR(i *ie.IE) (*URR, *Error) {
	u := &URR{}
	var id *uint32
	err := children(i, func(c *ie.IE) *Error {
		if c.Type == ie.URRID {
			v, err := u32(c)
			return set(&id, v, err)
		}
		return u.member(c)
	})
	if id != nil {
		u.ID = *id
	}
	if err == nil && id == nil {
		err = missing("URR", ie.URRID)
	}
	if m := u.More; m != nil && m.Subsequent != nil && *m.Subsequent == (Limits{}) {
		m.Subsequent = nil
	}
	return u, of(err, RuleURR, u.ID)
}

// member reads one IE of the group, the URR ID apart.
func (u *URR) member(c *ie.IE) *Error {
	switch c.Type {
	case ie.MeasurementMethod:
		v, err := u8(c)
		u.Method = Method(v & 7)
		return err
	case ie.ReportingTriggers:
		b, err := octets(c, 2)
		if err != nil {
			return err
		}
		t := Triggers(b[0]) | Triggers(b[1])<<8
		if len(b) > 2 {
			t |= Triggers(b[2]) << 16
		}
		u.Triggers, u.HasTriggers = t, true
	case ie.MeasurementInformation:
		b, err := octets(c, 1)
		if err != nil {
			return err
		}
		v := Information(b[0])
		if len(b) > 1 {
			v |= Information(b[1]) << 8
		}
		u.Information, u.HasInformation = v, true
	case ie.MonitoringTime:
		v, err := u32(c)
		u.more().Monitoring = fromNTP(v)
		return err
	case ie.LinkedURRID:
		v, err := u32(c)
		if len(u.more().Linked) == maxLinked {
			return malformed(c, "more than %d", maxLinked)
		}
		return add(&u.More.Linked, v, err)
	case ie.FARID:
		v, err := u32(c)
		return set(&u.more().QuotaFAR, v, err)
	case ie.ApplicationID, ie.SDFFilter, ie.AggregatedURRs, ie.AdditionalMonitoringTime, ie.TimeQuotaMechanism:
		u.Unsupported = c.Type
	default:
		if dst := u.seconds(c.Type); dst != nil {
			v, err := u32(c)
			*dst = v
			return err
		}
		return u.limit(c)
	}
	return nil
}

// seconds is where the time of an IE of that type goes; nil if it is none.
func (u *URR) seconds(typ uint16) *uint32 {
	switch typ {
	case ie.MeasurementPeriod:
		return &u.Period
	case ie.QuotaHoldingTime:
		return &u.QuotaHolding
	case ie.QuotaValidityTime:
		return &u.QuotaValidity
	case ie.InactivityDetectionTime:
		return &u.Inactivity
	}
	return nil
}

// more is u.More, which is made if it is not there: u is being read.
func (u *URR) more() *URRMore {
	if u.More == nil {
		u.More = &URRMore{}
	}
	return u.More
}

// Rare is a copy of u.More, empty if there is none.
func (u *URR) Rare() URRMore {
	if u.More == nil {
		return URRMore{}
	}
	return *u.More
}

// HasQuota says whether u bounds what the UE may use.
func (u *URR) HasQuota() bool {
	return u.Limits.VolumeQuota != nil || u.Limits.TimeQuota != nil || u.Limits.EventQuota != nil
}

// Triggered says whether u reports for t.
func (u *URR) Triggered(t Triggers) bool { return u.Triggers&t != 0 }

// Informed says whether u measures in the way of f.
func (u *URR) Informed(f Information) bool { return u.Information&f != 0 }

// Apply puts into u what an Update URR carries. What it does not carry stays; Linked
// URR IDs come as a whole.
func (u *URR) Apply(up *URR) {
	if up.Method != 0 {
		u.Method = up.Method
	}
	if up.HasTriggers {
		u.Triggers, u.HasTriggers = up.Triggers, true
	}
	if up.HasInformation {
		u.Information, u.HasInformation = up.Information, true
	}
	for _, p := range [][2]*uint32{
		{&u.Period, &up.Period},
		{&u.QuotaHolding, &up.QuotaHolding},
		{&u.QuotaValidity, &up.QuotaValidity},
		{&u.Inactivity, &up.Inactivity},
	} {
		if *p[1] != 0 {
			*p[0] = *p[1]
		}
	}
	u.grant(&up.Limits)
	u.Limits.apply(&up.Limits)
	if up.More != nil {
		m := u.Rare()
		m.apply(up.More)
		u.More = &m
	}
	if up.Unsupported != 0 {
		u.Unsupported = up.Unsupported
	}
}

func (m *URRMore) apply(up *URRMore) {
	if !up.Monitoring.IsZero() {
		m.Monitoring, m.Subsequent = up.Monitoring, nil
	}
	if up.Subsequent != nil {
		s := Limits{}
		if m.Subsequent != nil {
			s = *m.Subsequent
		}
		s.apply(up.Subsequent)
		m.Subsequent = &s
	}
	if up.Linked != nil {
		m.Linked = up.Linked
	}
	override(&m.QuotaFAR, up.QuotaFAR)
}

// grant counts the quotas that l gives.
func (u *URR) grant(l *Limits) {
	for _, g := range []struct {
		given bool
		count *uint32
	}{{l.VolumeQuota != nil, &u.VolumeGrant}, {l.TimeQuota != nil, &u.TimeGrant}, {l.EventQuota != nil, &u.EventGrant}} {
		if g.given {
			*g.count++
			u.Spent = false
		}
	}
}

// Monitored puts the subsequent limits in force: the Monitoring Time has come.
func (u *URR) Monitored() {
	m := u.Rare()
	if s := m.Subsequent; s != nil {
		u.grant(s)
		u.Limits.apply(s)
	}
	m.Monitoring, m.Subsequent = time.Time{}, nil
	u.More = &m
}

// IE encodes u as an IE of type typ: ie.CreateURR or ie.UpdateURR.
func (u *URR) IE(typ uint16) *ie.IE {
	g := []*ie.IE{ie.NewURRID(u.ID)}
	if u.Method != 0 {
		g = append(g, ie.New(ie.MeasurementMethod, []byte{byte(u.Method)}))
	}
	if t := u.Triggers; u.HasTriggers {
		g = append(g, ie.New(ie.ReportingTriggers, []byte{byte(t), byte(t >> 8), byte(t >> 16)}))
	}
	for _, s := range []uint16{ie.MeasurementPeriod, ie.QuotaHoldingTime, ie.QuotaValidityTime, ie.InactivityDetectionTime} {
		if v := *u.seconds(s); v != 0 {
			g = append(g, u32IE(s, v))
		}
	}
	g = u.Limits.ies(g, limitTypes)
	m := u.Rare()
	if !m.Monitoring.IsZero() {
		g = append(g, timeIE(ie.MonitoringTime, m.Monitoring))
	}
	if m.Subsequent != nil {
		g = m.Subsequent.ies(g, subsequentTypes)
	}
	for _, id := range m.Linked {
		g = append(g, u32IE(ie.LinkedURRID, id))
	}
	if v := u.Information; u.HasInformation {
		b := []byte{byte(v)}
		if v > 0xff {
			b = append(b, byte(v>>8))
		}
		g = append(g, ie.New(ie.MeasurementInformation, b))
	}
	if m.QuotaFAR != nil {
		g = append(g, ie.NewFARID(*m.QuotaFAR))
	}
	return ie.NewGroupedIE(typ, g...)
}

func u32IE(typ uint16, v uint32) *ie.IE { return ie.New(typ, binary.BigEndian.AppendUint32(nil, v)) }

// timeIE encodes t with a resolution of one second, as NTP counts them (RFC 5905
// §6, era 0 and what follows of it).
func timeIE(typ uint16, t time.Time) *ie.IE { return u32IE(typ, uint32(t.Unix()+ntpEpoch)) }

// fromNTP is the time that v names: in NTP's era 1 if its high bit is clear (RFC 5905
// §6; era 0 of that was before 1968).
func fromNTP(v uint32) time.Time {
	t := int64(v) - ntpEpoch
	if v < 1<<31 {
		t += 1 << 32
	}
	return time.Unix(t, 0)
}
