package packet

import "encoding/binary"

// UDPHeaderLen is the length of a UDP header.
const UDPHeaderLen = 8

// ParseUDP gives the payload of the UDP datagram in the whole, unfragmented packet b that
// [Parse] described in p. A datagram without a checksum, which IPv4 allows (RFC 768) and IPv6
// does not (RFC 8200 §8.1), is taken in IPv4 alone.
func ParseUDP(b []byte, p *Info) (payload []byte, r Reason) {
	d := b[p.L4:p.End]
	if len(d) < UDPHeaderLen {
		return nil, TooShort
	}
	n := int(binary.BigEndian.Uint16(d[4:]))
	if n < UDPHeaderLen || n > len(d) {
		return nil, BadLength
	}
	d = d[:n]
	if d[6]|d[7] == 0 {
		if p.Version == 6 {
			return nil, BadChecksum
		}
	} else if Fold(Sum(d)+PseudoSum(&p.Src, &p.Dst, ProtoUDP, n)) != 0xffff {
		return nil, BadChecksum
	}
	return d[UDPHeaderLen:], OK
}

// PutUDPHeader writes the header of the datagram d, whose payload stands behind the room for
// it, with its checksum. src and dst are those of the IP header.
func PutUDPHeader(d []byte, src, dst *Addr, srcPort, dstPort uint16) {
	binary.BigEndian.PutUint16(d, srcPort)
	binary.BigEndian.PutUint16(d[2:], dstPort)
	binary.BigEndian.PutUint16(d[4:], uint16(len(d)))
	d[6], d[7] = 0, 0
	c := ^Fold(Sum(d) + PseudoSum(src, dst, ProtoUDP, len(d)))
	if c == 0 {
		c = 0xffff // 0 stands for none
	}
	binary.BigEndian.PutUint16(d[6:], c)
}
