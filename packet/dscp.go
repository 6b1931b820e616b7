package packet

import "encoding/binary"

// ecnMask are the bits of the TOS or traffic class that are ECN's (RFC 3168 §5).
const ecnMask = 3

// SetDSCP sets the upper six bits of the TOS or traffic class of the IP packet b, the
// DSCP (RFC 2474 §3), to those of tos; the ECN bits stay. It mends the IPv4 header
// checksum.
func SetDSCP(b []byte, tos uint8) {
	if b[0]>>4 == 6 {
		old := b[0]<<4 | b[1]>>4
		tos = tos&^ecnMask | old&ecnMask
		b[0], b[1] = 6<<4|tos>>4, tos<<4|b[1]&0xf
		return
	}
	old := binary.BigEndian.Uint16(b)
	b[1] = tos&^ecnMask | b[1]&ecnMask
	updateChecksum(b[10:], old, binary.BigEndian.Uint16(b))
}
