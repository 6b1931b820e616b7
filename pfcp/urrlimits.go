package pfcp

import (
	"encoding/binary"

	"github.com/wmnsk/go-pfcp/ie"
)

// Limits are thresholds and quotas.
type Limits struct {
	VolumeThreshold, VolumeQuota *Volumes
	TimeThreshold                uint32 // 0 = none
	EventThreshold               uint32 // 0 = none
	TimeQuota, EventQuota        *uint32
}

// Volumes is a Volume Threshold or a Volume Quota (TS 29.244 §8.2.13, §8.2.50), in
// octets; nil = not bounded.
type Volumes struct{ Total, Uplink, Downlink *uint64 }

// limit reads a threshold or a quota; other IEs are passed over.
func (u *URR) limit(c *ie.IE) *Error {
	l := &u.Limits
	switch c.Type {
	case ie.SubsequentVolumeThreshold, ie.SubsequentVolumeQuota, ie.SubsequentTimeThreshold,
		ie.SubsequentTimeQuota, ie.SubsequentEventThreshold, ie.SubsequentEventQuota:
		m := u.more()
		if m.Subsequent == nil {
			m.Subsequent = &Limits{}
		}
		l = m.Subsequent
	}
	switch c.Type {
	case ie.VolumeThreshold, ie.SubsequentVolumeThreshold:
		v, err := parseVolumes(c)
		return set(&l.VolumeThreshold, v, err)
	case ie.VolumeQuota, ie.SubsequentVolumeQuota:
		v, err := parseVolumes(c)
		return set(&l.VolumeQuota, v, err)
	case ie.TimeThreshold, ie.SubsequentTimeThreshold:
		v, err := u32(c)
		l.TimeThreshold = v
		return err
	case ie.EventThreshold, ie.SubsequentEventThreshold:
		v, err := u32(c)
		l.EventThreshold = v
		return err
	case ie.TimeQuota, ie.SubsequentTimeQuota:
		v, err := u32(c)
		return set(&l.TimeQuota, v, err)
	case ie.EventQuota, ie.SubsequentEventQuota:
		v, err := u32(c)
		return set(&l.EventQuota, v, err)
	}
	return nil
}

func parseVolumes(i *ie.IE) (Volumes, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return Volumes{}, err
	}
	var v Volumes
	flags, b := b[0], b[1:]
	for n, dst := range []**uint64{&v.Total, &v.Uplink, &v.Downlink} {
		if flags&(1<<n) == 0 {
			continue
		}
		if len(b) < 8 {
			return Volumes{}, malformed(i, "flags %#x with too few octets", flags)
		}
		octets := binary.BigEndian.Uint64(b)
		*dst, b = &octets, b[8:]
	}
	return v, nil
}

func (v *Volumes) ie(typ uint16) *ie.IE {
	b := []byte{bit(v.Total != nil, 1) | bit(v.Uplink != nil, 2) | bit(v.Downlink != nil, 4)}
	for _, p := range []*uint64{v.Total, v.Uplink, v.Downlink} {
		if p != nil {
			b = binary.BigEndian.AppendUint64(b, *p)
		}
	}
	return ie.New(typ, b)
}

func (l *Limits) apply(up *Limits) {
	override(&l.VolumeThreshold, up.VolumeThreshold)
	override(&l.VolumeQuota, up.VolumeQuota)
	override(&l.TimeQuota, up.TimeQuota)
	override(&l.EventQuota, up.EventQuota)
	if up.TimeThreshold != 0 {
		l.TimeThreshold = up.TimeThreshold
	}
	if up.EventThreshold != 0 {
		l.EventThreshold = up.EventThreshold
	}
}

// limitTypes are the IE types of limits: volume, time and event thresholds, volume,
// time and event quotas.
var (
	limitTypes = [6]uint16{
		ie.VolumeThreshold, ie.TimeThreshold, ie.EventThreshold, ie.VolumeQuota, ie.TimeQuota, ie.EventQuota,
	}
	subsequentTypes = [6]uint16{
		ie.SubsequentVolumeThreshold, ie.SubsequentTimeThreshold, ie.SubsequentEventThreshold,
		ie.SubsequentVolumeQuota, ie.SubsequentTimeQuota, ie.SubsequentEventQuota,
	}
)

func (l *Limits) ies(g []*ie.IE, types [6]uint16) []*ie.IE {
	for i, v := range []*Volumes{l.VolumeThreshold, l.VolumeQuota} {
		if v != nil {
			g = append(g, v.ie(types[3*i]))
		}
	}
	for i, v := range []uint32{l.TimeThreshold, l.EventThreshold} {
		if v != 0 {
			g = append(g, u32IE(types[1+i], v))
		}
	}
	for i, v := range []*uint32{l.TimeQuota, l.EventQuota} {
		if v != nil {
			g = append(g, u32IE(types[4+i], *v))
		}
	}
	return g
}
