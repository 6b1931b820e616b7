package pfcp

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
)

// BAR is a Create BAR, an Update BAR of a Session Modification Request, or one of a
// Session Report Response (Tables 7.5.2.6-1, 7.5.4.11-1, 7.5.9.2-1).
type BAR struct {
	ID      uint8
	Delay   *uint8 // Downlink Data Notification Delay, units of [DelayUnit]
	Packets *uint8 // Suggested Buffering Packets Count

	// Of a Session Report Response only: how long and how many packets to buffer for
	// this UE that cannot be reached.
	Duration   *time.Duration // DL Buffering Duration, at most [Forever]
	MaxPackets *uint16        // DL Buffering Suggested Packet Count
}

// DelayUnit is the unit of Downlink Data Notification Delay (§8.2.28).
const DelayUnit = 50 * time.Millisecond

// Forever is a timer's infinite value.
const Forever = time.Duration(math.MaxInt64)

// ParseBAR reads a Create BAR or either kind of Update BAR.
func ParseBAR(i *ie.IE) (*BAR, *Error) {
	r := &BAR{}
	found := false
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.BARID:
			var err *Error
			r.ID, err = u8(c)
			found = true
			return err
		case ie.DownlinkDataNotificationDelay:
			v, err := u8(c)
			return set(&r.Delay, v, err)
		case ie.SuggestedBufferingPacketsCount:
			v, err := u8(c)
			return set(&r.Packets, v, err)
		case ie.DLBufferingDuration:
			v, err := u8(c)
			return set(&r.Duration, timer(v), err)
		case ie.DLBufferingSuggestedPacketCount:
			b, err := octets(c, 1)
			if err != nil {
				return err
			}
			n := uint16(b[0])
			if len(b) > 1 {
				n = binary.BigEndian.Uint16(b)
			}
			r.MaxPackets = &n
		}
		return nil
	})
	if err == nil && !found {
		err = missing("BAR", ie.BARID)
	}
	return r, of(err, RuleBAR, uint32(r.ID))
}

// timerUnits are the units of a timer's high three bits (§8.2.44); those that are
// not there are minutes.
var timerUnits = [8]time.Duration{0: 2 * time.Second, 1: time.Minute, 2: 10 * time.Minute, 3: time.Hour, 4: 10 * time.Hour, 7: Forever}

// timer reads a timer's octet.
func timer(v uint8) time.Duration {
	unit, n := timerUnits[v>>5], time.Duration(v&0x1f)
	if unit == Forever {
		return Forever
	}
	if unit == 0 {
		unit = time.Minute
	}
	return n * unit
}

// timerOctet is the inverse of timer; what a timer cannot say is said rounded down.
func timerOctet(d time.Duration) uint8 {
	if d == Forever {
		return 7 << 5
	}
	for u, unit := range timerUnits[:5] {
		if n := d / unit; n < 1<<5 {
			return uint8(u)<<5 | uint8(n)
		}
	}
	return 4<<5 | 0x1f
}

// Apply puts into r what an Update BAR u carries.
func (r *BAR) Apply(u *BAR) {
	override(&r.Delay, u.Delay)
	override(&r.Packets, u.Packets)
	override(&r.Duration, u.Duration)
	override(&r.MaxPackets, u.MaxPackets)
}

// IE encodes r as an IE of type typ: ie.CreateBAR,
// ie.UpdateBARWithinSessionModificationRequest or
// ie.UpdateBARWithinSessionReportResponse.
func (r *BAR) IE(typ uint16) *ie.IE {
	g := []*ie.IE{ie.NewBARID(r.ID)}
	if r.Delay != nil {
		g = append(g, ie.New(ie.DownlinkDataNotificationDelay, []byte{*r.Delay}))
	}
	if r.Duration != nil {
		g = append(g, ie.New(ie.DLBufferingDuration, []byte{timerOctet(*r.Duration)}))
	}
	if r.MaxPackets != nil {
		b := []byte{uint8(*r.MaxPackets)}
		if *r.MaxPackets > 0xff {
			b = binary.BigEndian.AppendUint16(nil, *r.MaxPackets)
		}
		g = append(g, ie.New(ie.DLBufferingSuggestedPacketCount, b))
	}
	if r.Packets != nil {
		g = append(g, ie.New(ie.SuggestedBufferingPacketsCount, []byte{*r.Packets}))
	}
	return ie.NewGroupedIE(typ, g...)
}
