package pfcp

import (
	"encoding/binary"

	"github.com/wmnsk/go-pfcp/ie"
)

// QER is a Create QER or an Update QER (Tables 7.5.2.5-1, 7.5.4.5-1).
type QER struct {
	ID    uint32
	Gate  *uint8 // Gate Status octet: bits 3-4 uplink, 1-2 downlink; 0 = open
	MBR   *BitRate
	GBR   *BitRate
	QFI   *uint8
	RQI   *uint8    // bit 1: reflective QoS
	Hints *QoSHints // nil = none of them
}

// QoSHints is what few SMFs put into a QER.
type QoSHints struct {
	CorrelationID   *uint32
	PagingPolicy    *uint8  // Paging Policy Indicator, 0 to 7
	AveragingWindow *uint32 // milliseconds
	Control         *uint8  // QER Control Indications, §8.2.174
	Marking         *FlowMarking
}

// BitRate is an MBR or a GBR IE (§8.2.8, §8.2.9), in kbit/s.
type BitRate struct{ Uplink, Downlink uint64 }

// FlowMarking is a DL Flow Level Marking IE (§8.2.66).
type FlowMarking struct {
	TOS *[2]uint8 // ToS or traffic class, mask
	SCI *[2]uint8 // Service Class Indicator of the GTP-U extension header
}

// ParseQER reads a Create QER or an Update QER.
func ParseQER(i *ie.IE) (*QER, *Error) {
	q := &QER{}
	found := false
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.QERID:
			var err *Error
			q.ID, err = u32(c)
			found = true
			return err
		case ie.GateStatus:
			v, err := u8(c)
			return set(&q.Gate, v&0x0f, err)
		case ie.MBR:
			v, err := bitRate(c)
			return set(&q.MBR, v, err)
		case ie.GBR:
			v, err := bitRate(c)
			return set(&q.GBR, v, err)
		case ie.QFI:
			v, err := u8(c)
			return set(&q.QFI, v&0x3f, err)
		case ie.RQI:
			v, err := u8(c)
			return set(&q.RQI, v&1, err)
		}
		return q.hint(c)
	})
	if err == nil && !found {
		err = missing("QER", ie.QERID)
	}
	return q, of(err, RuleQER, q.ID)
}

// hint reads a member of QoSHints.
func (q *QER) hint(c *ie.IE) *Error {
	switch c.Type {
	case ie.QERCorrelationID, ie.PagingPolicyIndicator, ie.AveragingWindow, ie.QERControlIndications, ie.DLFlowLevelMarking:
	default:
		return nil
	}
	if q.Hints == nil {
		q.Hints = &QoSHints{}
	}
	h := q.Hints
	switch c.Type {
	case ie.QERCorrelationID:
		v, err := u32(c)
		return set(&h.CorrelationID, v, err)
	case ie.PagingPolicyIndicator:
		v, err := u8(c)
		return set(&h.PagingPolicy, v&7, err)
	case ie.AveragingWindow:
		v, err := u32(c)
		return set(&h.AveragingWindow, v, err)
	case ie.QERControlIndications:
		v, err := u8(c)
		return set(&h.Control, v, err)
	}
	v, err := flowMarking(c)
	return set(&h.Marking, v, err)
}

func bitRate(i *ie.IE) (BitRate, *Error) {
	b, err := octets(i, 10)
	if err != nil {
		return BitRate{}, err
	}
	return BitRate{uint40(b), uint40(b[5:])}, nil
}

func uint40(b []byte) uint64 { return uint64(b[0])<<32 | uint64(binary.BigEndian.Uint32(b[1:])) }

// Flags of the DL Flow Level Marking IE.
const (
	markingTTC = 1 << 0
	markingSCI = 1 << 1
)

func flowMarking(i *ie.IE) (FlowMarking, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return FlowMarking{}, err
	}
	var m FlowMarking
	flags, b := b[0], b[1:]
	for _, part := range []struct {
		flag uint8
		dst  **[2]uint8
	}{{markingTTC, &m.TOS}, {markingSCI, &m.SCI}} {
		if flags&part.flag == 0 {
			continue
		}
		if len(b) < 2 {
			return FlowMarking{}, malformed(i, "marking cut off")
		}
		*part.dst, b = &[2]uint8{b[0], b[1]}, b[2:]
	}
	return m, nil
}

// Apply puts into q what an Update QER u carries.
func (q *QER) Apply(u *QER) {
	override(&q.Gate, u.Gate)
	override(&q.MBR, u.MBR)
	override(&q.GBR, u.GBR)
	override(&q.QFI, u.QFI)
	override(&q.RQI, u.RQI)
	if u.Hints == nil {
		return
	}
	var h QoSHints
	if q.Hints != nil {
		h = *q.Hints
	}
	override(&h.CorrelationID, u.Hints.CorrelationID)
	override(&h.PagingPolicy, u.Hints.PagingPolicy)
	override(&h.AveragingWindow, u.Hints.AveragingWindow)
	override(&h.Control, u.Hints.Control)
	override(&h.Marking, u.Hints.Marking)
	q.Hints = &h
}

// IE encodes q as an IE of type typ: ie.CreateQER or ie.UpdateQER.
func (q *QER) IE(typ uint16) *ie.IE {
	g := []*ie.IE{ie.NewQERID(q.ID)}
	word := func(typ uint16, v *uint32) {
		if v != nil {
			g = append(g, ie.New(typ, binary.BigEndian.AppendUint32(nil, *v)))
		}
	}
	octet := func(typ uint16, v *uint8) {
		if v != nil {
			g = append(g, ie.New(typ, []byte{*v}))
		}
	}
	octet(ie.GateStatus, q.Gate)
	if q.MBR != nil {
		g = append(g, q.MBR.ie(ie.MBR))
	}
	if q.GBR != nil {
		g = append(g, q.GBR.ie(ie.GBR))
	}
	octet(ie.QFI, q.QFI)
	octet(ie.RQI, q.RQI)
	if h := q.Hints; h != nil {
		word(ie.QERCorrelationID, h.CorrelationID)
		octet(ie.PagingPolicyIndicator, h.PagingPolicy)
		word(ie.AveragingWindow, h.AveragingWindow)
		octet(ie.QERControlIndications, h.Control)
		if h.Marking != nil {
			g = append(g, h.Marking.ie())
		}
	}
	return ie.NewGroupedIE(typ, g...)
}

func (r *BitRate) ie(typ uint16) *ie.IE {
	var b []byte
	for _, v := range []uint64{r.Uplink, r.Downlink} {
		b = append(b, uint8(v>>32))
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return ie.New(typ, b)
}

func (m *FlowMarking) ie() *ie.IE {
	b := []byte{bit(m.TOS != nil, markingTTC) | bit(m.SCI != nil, markingSCI)}
	if m.TOS != nil {
		b = append(b, m.TOS[:]...)
	}
	if m.SCI != nil {
		b = append(b, m.SCI[:]...)
	}
	return ie.New(ie.DLFlowLevelMarking, b)
}
