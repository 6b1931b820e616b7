// Package ran is the access side's GTP-U (TS 29.281, TS 38.415), for the lab and for
// tests: what a gNB or an N3IWF says and understands. It shares nothing with package
// gtpu, on purpose: traffic through the UPF then checks one implementation by another.
package ran

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Port is the UDP port of GTP-U.
const Port = 2152

// Message types (TS 29.281 Table 6.1-1), and the length of what PutUplinkHeader writes.
const (
	EchoRequest     = 1
	EchoResponse    = 2
	ErrorIndication = 26
	EndMarker       = 254
	GPDU            = 255

	version1 = 0x30 // version 1, protocol type GTP
	flagE    = 0x04
	flagS    = 0x02
	flagPN   = 0x01

	extPDUSessionContainer = 0x85
	ulPDUSessionInfo       = 1

	ieTEIDDataI   = 16
	iePeerAddress = 133

	// UplinkHeader is the length of the header that PutUplinkHeader writes: 8
	// mandatory octets, sequence number, N-PDU number and next type (4), PDU Session
	// Container (4).
	UplinkHeader = 16
)

// PutUplinkHeader writes into b the header of a G-PDU with n bytes of payload for
// tunnel teid, with UL PDU SESSION INFORMATION (TS 38.415 §5.5.2.2) that names
// the QoS flow.
func PutUplinkHeader(b *[UplinkHeader]byte, teid uint32, qfi uint8, n int) {
	b[0] = version1 | flagE
	b[1] = GPDU
	binary.BigEndian.PutUint16(b[2:], uint16(n+UplinkHeader-8))
	binary.BigEndian.PutUint32(b[4:], teid)
	b[8], b[9], b[10] = 0, 0, 0
	b[11] = extPDUSessionContainer
	b[12] = 1 // in units of 4 octets
	b[13] = ulPDUSessionInfo << 4
	b[14] = qfi & 0x3f
	b[15] = 0 // no more extension headers
}

// Message is a parsed GTP-U message: what follows the header is at [At, End)
// of the datagram.
type Message struct {
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
	errShort           = errors.New("GTP-U: datagram shorter than its header")
	errVersion         = errors.New("GTP-U: not version 1 of GTP")
	errLength          = errors.New("GTP-U: length field exceeds the datagram")
	errErrorIndication = errors.New("GTP-U: Error Indication without TEID and IPv4 peer")
	errExtension       = errors.New("GTP-U: extension header exceeds the message")
)

// Parse reads the datagram b. Bytes after the message are ignored
// (TS 29.281 §5.1: the length field rules).
func Parse(b []byte, m *Message) error {
	if len(b) < 8 {
		return errShort
	}
	if b[0]&0xf0 != version1 {
		return errVersion
	}
	end := 8 + int(binary.BigEndian.Uint16(b[2:]))
	if end > len(b) {
		return errLength
	}
	*m = Message{Type: b[1], TEID: binary.BigEndian.Uint32(b[4:]), At: 8, End: end}
	if b[0]&(flagE|flagS|flagPN) == 0 {
		return nil
	}
	if end < 12 {
		return errShort
	}
	if b[0]&flagS != 0 {
		m.HasSeq, m.Seq = true, binary.BigEndian.Uint16(b[8:])
	}
	at, next := 12, b[11]
	if b[0]&flagE == 0 {
		next = 0
	}
	for next != 0 {
		if at >= end || b[at] == 0 || at+4*int(b[at]) > end {
			return errExtension
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

// NewEchoRequest is an Echo Request (TS 29.281 §7.2.1).
func NewEchoRequest(seq uint16) []byte {
	b := []byte{version1 | flagS, EchoRequest, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[8:], seq)
	return b
}

// NewErrorIndication says that peer, the IPv4 address that G-PDUs were sent to, has no
// tunnel teid (TS 29.281 §7.3.1).
func NewErrorIndication(teid uint32, peer netip.Addr) []byte {
	b := []byte{version1 | flagS, ErrorIndication, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, ieTEIDDataI}
	b = binary.BigEndian.AppendUint32(b, teid)
	a := peer.As4()
	return append(append(b, iePeerAddress, 0, 4), a[:]...)
}

// ParseErrorIndication reads what follows the header of an Error Indication.
func ParseErrorIndication(b []byte) (teid uint32, peer netip.Addr, err error) {
	if len(b) < 12 || b[0] != ieTEIDDataI || b[5] != iePeerAddress || b[6] != 0 || b[7] != 4 {
		return 0, netip.Addr{}, errErrorIndication
	}
	return binary.BigEndian.Uint32(b[1:]), netip.AddrFrom4([4]byte(b[8:12])), nil
}

// NewEchoResponse is the answer to an Echo Request with that sequence number: TEID
// 0, Recovery with restart counter 0 (TS 29.281 §7.2.2).
func NewEchoResponse(seq uint16) []byte {
	b := []byte{version1 | flagS, EchoResponse, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 14, 0}
	binary.BigEndian.PutUint16(b[8:], seq)
	return b
}

// IPLength is the length of the IP packet at the start of b by its own header;
// ok is false if b does not hold it.
func IPLength(b []byte) (n int, ok bool) {
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
