package pfcp

import (
	"encoding/binary"

	"github.com/wmnsk/go-pfcp/ie"
)

// QER is a Create QER or an Update QER (Tables 7.5.2.5-1, 7.5.4.5-1).
type QER struct {
	ID   uint32
	Gate *uint8   // Gate Status octet: bits 3-4 uplink, 1-2 downlink; 0 = open
	MBR  *BitRate // parsed, not enforced yet
	QFI  *uint8
	RQI  *uint8 // bit 1: reflective QoS
}

// BitRate is an MBR IE (§8.2.8), in kbit/s.
type BitRate struct{ Uplink, Downlink uint64 }

// ParseQER reads a Create QER or an Update QER.
func ParseQER(i *ie.IE) (*QER, *Error) {
	q := &QER{}
	var id *uint32
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.QERID:
			v, err := u32(c)
			return set(&id, v, err)
		case ie.GateStatus:
			v, err := u8(c)
			return set(&q.Gate, v&0x0f, err)
		case ie.MBR:
			b, err := octets(c, 10)
			if err != nil {
				return err
			}
			q.MBR = &BitRate{uint40(b), uint40(b[5:])}
		case ie.QFI:
			v, err := u8(c)
			return set(&q.QFI, v&0x3f, err)
		case ie.RQI:
			v, err := u8(c)
			return set(&q.RQI, v&1, err)
		}
		return nil
	})
	if id != nil {
		q.ID = *id
	}
	if err == nil && id == nil {
		err = missing("QER", ie.QERID)
	}
	return q, of(err, RuleQER, q.ID)
}

func uint40(b []byte) uint64 { return uint64(b[0])<<32 | uint64(binary.BigEndian.Uint32(b[1:])) }

// Apply puts into q what an Update QER u carries.
func (q *QER) Apply(u *QER) {
	override(&q.Gate, u.Gate)
	override(&q.MBR, u.MBR)
	override(&q.QFI, u.QFI)
	override(&q.RQI, u.RQI)
}

// IE encodes q as an IE of type typ: ie.CreateQER or ie.UpdateQER.
func (q *QER) IE(typ uint16) *ie.IE {
	g := []*ie.IE{ie.NewQERID(q.ID)}
	if q.Gate != nil {
		g = append(g, ie.New(ie.GateStatus, []byte{*q.Gate}))
	}
	if q.MBR != nil {
		var b []byte
		for _, r := range []uint64{q.MBR.Uplink, q.MBR.Downlink} {
			b = append(b, uint8(r>>32))
			b = binary.BigEndian.AppendUint32(b, uint32(r))
		}
		g = append(g, ie.New(ie.MBR, b))
	}
	if q.QFI != nil {
		g = append(g, ie.NewQFI(*q.QFI))
	}
	if q.RQI != nil {
		g = append(g, ie.New(ie.RQI, []byte{*q.RQI}))
	}
	return ie.NewGroupedIE(typ, g...)
}
