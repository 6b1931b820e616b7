package packet

import "encoding/binary"

// Quote is a TCP segment that an ICMP error message quotes, as far as it is sure to do so.
type Quote struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16
	SN               uint32

	Unreachable bool  // the error is a Destination Unreachable
	Code        uint8 // of the ICMP message
}

// ParseQuote reads the ICMP error in the whole packet b, which Parse described in p, and
// what it quotes (RFC 792, RFC 4443 §2.4). It is false if b is no error about a TCP segment,
// or about a fragment of one other than the first. The checksum is not looked at.
func ParseQuote(b []byte, p *Info, q *Quote) bool {
	const tcp = 8 // bytes of a quoted segment that there must be
	b = b[p.L4:p.End]
	if p.Fragment || len(b) < icmpHeaderLen+20+tcp {
		return false
	}
	kind, code, inner := b[0], b[1], b[icmpHeaderLen:]
	switch {
	case p.Proto == ProtoICMP && (kind == 3 || kind == 11 || kind == 12) && inner[0]>>4 == 4:
		n := int(inner[0]&15) * 4
		if n < 20 || len(inner) < n+tcp || inner[9] != ProtoTCP || binary.BigEndian.Uint16(inner[6:])&0x1fff != 0 {
			return false
		}
		setAddr4(&q.Src, inner[12:])
		setAddr4(&q.Dst, inner[16:])
		q.Unreachable = kind == 3
		inner = inner[n:]
	case p.Proto == ProtoICMPv6 && 1 <= kind && kind <= 4 && inner[0]>>4 == 6:
		if len(inner) < 40+tcp || inner[6] != ProtoTCP { // we send no extension headers
			return false
		}
		copy(q.Src[:], inner[8:])
		copy(q.Dst[:], inner[24:])
		q.Unreachable = kind == 1
		inner = inner[40:]
	default:
		return false
	}
	q.SrcPort, q.DstPort = binary.BigEndian.Uint16(inner), binary.BigEndian.Uint16(inner[2:])
	q.SN, q.Code = binary.BigEndian.Uint32(inner[4:]), code
	return true
}
