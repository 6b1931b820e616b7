package packet

import "encoding/binary"

// TCP flags (RFC 9293 §3.1).
const (
	FIN uint8 = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// TCPHeaderLen is the length of a TCP header without options.
const TCPHeaderLen = 20

// TCP option kinds (IANA).
const (
	OptEnd           = 0
	OptNOP           = 1
	OptMSS           = 2
	OptWindowScale   = 3
	OptSACKPermitted = 4
	OptSACK          = 5
	OptTimestamps    = 8
	OptMPTCP         = 30
	OptFastOpen      = 34
)

// TCP is a view of a TCP segment from its header's first byte to the segment's
// end. Every method needs a segment that [ParseTCP] accepted.
type TCP []byte

// ParseTCP gives the TCP segment of the whole, unfragmented packet b that Parse
// described in p.
func ParseTCP(b []byte, p *Info) (TCP, Reason) {
	t := TCP(b[p.L4:p.End])
	if len(t) < TCPHeaderLen {
		return nil, TooShort
	}
	if n := t.HeaderLen(); n < TCPHeaderLen || n > len(t) {
		return nil, BadOffset
	}
	return t, OK
}

// SrcPort is the source port.
func (t TCP) SrcPort() uint16 { return binary.BigEndian.Uint16(t) }

// DstPort is the destination port.
func (t TCP) DstPort() uint16 { return binary.BigEndian.Uint16(t[2:]) }

// SN is the sequence number.
func (t TCP) SN() uint32 { return binary.BigEndian.Uint32(t[4:]) }

// AckSN is the acknowledgment number, valid if the ACK flag is set.
func (t TCP) AckSN() uint32 { return binary.BigEndian.Uint32(t[8:]) }

// HeaderLen is the length of the header with its options, in bytes.
func (t TCP) HeaderLen() int { return int(t[12]>>4) * 4 }

// Flags are the eight flags.
func (t TCP) Flags() uint8 { return t[13] }

// Window is the window field, not scaled.
func (t TCP) Window() uint16 { return binary.BigEndian.Uint16(t[14:]) }

// ChecksumField is the checksum field.
func (t TCP) ChecksumField() uint16 { return binary.BigEndian.Uint16(t[16:]) }

// Urgent is the urgent pointer.
func (t TCP) Urgent() uint16 { return binary.BigEndian.Uint16(t[18:]) }

// Options are the bytes of the options.
func (t TCP) Options() []byte { return t[TCPHeaderLen:t.HeaderLen()] }

// Payload is what follows the header.
func (t TCP) Payload() []byte { return t[t.HeaderLen():] }

// PutTCPHeader writes the 20 fixed bytes with a zero checksum and urgent pointer;
// headerLen is the header's length with options, a multiple of 4.
func PutTCPHeader(b []byte, srcPort, dstPort uint16, sn, ackSN uint32, headerLen int, flags uint8, window uint16) {
	binary.BigEndian.PutUint16(b, srcPort)
	binary.BigEndian.PutUint16(b[2:], dstPort)
	binary.BigEndian.PutUint32(b[4:], sn)
	binary.BigEndian.PutUint32(b[8:], ackSN)
	b[12], b[13] = uint8(headerLen/4)<<4, flags
	binary.BigEndian.PutUint16(b[14:], window)
	binary.BigEndian.PutUint32(b[16:], 0)
}
