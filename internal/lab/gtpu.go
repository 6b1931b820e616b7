package lab

import (
	"encoding/binary"
	"errors"
)

// The access side's GTP-U (TS 29.281, TS 38.415). It shares nothing with package
// gtpu, on purpose: lab traffic then checks one implementation by another.

const (
	gtpuPort = 2152

	gtpuEchoRequest     = 1
	gtpuEchoResponse    = 2
	gtpuErrorIndication = 26
	gtpuEndMarker       = 254
	gtpuGPDU            = 255

	gtpuVersion1 = 0x30 // version 1, protocol type GTP
	gtpuE        = 0x04
	gtpuS        = 0x02
	gtpuPN       = 0x01

	extPDUSessionContainer = 0x85
	ulPDUSessionInfo       = 1

	// gtpuUplinkHeader is the length of the header that putUplinkHeader writes: 8
	// mandatory octets, sequence number, N-PDU number and next type (4), PDU Session
	// Container (4).
	gtpuUplinkHeader = 16
)

// putUplinkHeader writes into b the header of a G-PDU with n bytes of payload for
// tunnel teid, with UL PDU SESSION INFORMATION (TS 38.415 §5.5.2.2) that names
// the QoS flow.
func putUplinkHeader(b *[gtpuUplinkHeader]byte, teid uint32, qfi uint8, n int) {
	b[0] = gtpuVersion1 | gtpuE
	b[1] = gtpuGPDU
	binary.BigEndian.PutUint16(b[2:], uint16(n+gtpuUplinkHeader-8))
	binary.BigEndian.PutUint32(b[4:], teid)
	b[8], b[9], b[10] = 0, 0, 0
	b[11] = extPDUSessionContainer
	b[12] = 1 // in units of 4 octets
	b[13] = ulPDUSessionInfo << 4
	b[14] = qfi & 0x3f
	b[15] = 0 // no more extension headers
}

// gtpuMessage is a parsed GTP-U message: what follows the header is at [At, End)
// of the datagram.
type gtpuMessage struct {
	Type    uint8
	TEID    uint32
	Seq     uint16 // valid iff HasSeq
	PDUType uint8  // PDU type and QFI of the PDU Session Container; valid iff HasPDU
	QFI     uint8
	HasSeq  bool
	HasPDU  bool
	At, End int
}

var (
	errGTPUShort     = errors.New("GTP-U: datagram shorter than its header")
	errGTPUVersion   = errors.New("GTP-U: not version 1 of GTP")
	errGTPULength    = errors.New("GTP-U: length field exceeds the datagram")
	errGTPUExtension = errors.New("GTP-U: extension header exceeds the message")
)

// parseGTPU reads the datagram b. Bytes after the message are ignored
// (TS 29.281 §5.1: the length field rules).
func parseGTPU(b []byte, m *gtpuMessage) error {
	if len(b) < 8 {
		return errGTPUShort
	}
	if b[0]&0xf0 != gtpuVersion1 {
		return errGTPUVersion
	}
	end := 8 + int(binary.BigEndian.Uint16(b[2:]))
	if end > len(b) {
		return errGTPULength
	}
	*m = gtpuMessage{Type: b[1], TEID: binary.BigEndian.Uint32(b[4:]), At: 8, End: end}
	if b[0]&(gtpuE|gtpuS|gtpuPN) == 0 {
		return nil
	}
	if end < 12 {
		return errGTPUShort
	}
	if b[0]&gtpuS != 0 {
		m.HasSeq, m.Seq = true, binary.BigEndian.Uint16(b[8:])
	}
	at, next := 12, b[11]
	if b[0]&gtpuE == 0 {
		next = 0
	}
	for next != 0 {
		if at >= end || b[at] == 0 || at+4*int(b[at]) > end {
			return errGTPUExtension
		}
		size := 4 * int(b[at])
		if next == extPDUSessionContainer {
			m.HasPDU, m.PDUType, m.QFI = true, b[at+1]>>4, b[at+2]&0x3f
		}
		next = b[at+size-1]
		at += size
	}
	m.At = at
	return nil
}

// echoResponse is the answer to an Echo Request with that sequence number: TEID
// 0, Recovery with restart counter 0 (TS 29.281 §7.2.2).
func echoResponse(seq uint16) []byte {
	b := []byte{gtpuVersion1 | gtpuS, gtpuEchoResponse, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 14, 0}
	binary.BigEndian.PutUint16(b[8:], seq)
	return b
}

// ipLength is the length of the IP packet at the start of b by its own header;
// ok is false if b does not hold it.
func ipLength(b []byte) (n int, ok bool) {
	if len(b) < 20 {
		return 0, false
	}
	switch b[0] >> 4 {
	case 4:
		n = int(binary.BigEndian.Uint16(b[2:]))
		return n, n >= 20 && n <= len(b)
	case 6:
		n = 40 + int(binary.BigEndian.Uint16(b[4:]))
		return n, n <= len(b)
	}
	return 0, false
}
