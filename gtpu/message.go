package gtpu

import (
	"encoding/binary"
	"net/netip"
)

// Information element types (§8.1).
const (
	elementRecovery      = 14
	elementTEIDI         = 16
	elementPeerAddress   = 133
	elementExtensionList = 141
)

// appendHeader starts a path or tunnel management message: TEID 0 and S = 1
// (§5.1). The length is set by finish.
func appendHeader(b []byte, t MessageType, sn uint16, next ExtensionType) []byte {
	flags := byte(version1 | protocolGTP | flagS)
	if next != NoMoreExtensions {
		flags |= flagE
	}
	return append(b, flags, byte(t), 0, 0, 0, 0, 0, 0, byte(sn>>8), byte(sn), 0, byte(next))
}

// finish writes the length of the message that starts at b[start].
func finish(b []byte, start int) []byte {
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start-fixedLen))
	return b
}

// AppendEchoRequest appends an Echo Request with sequence number sn (§7.2.1).
func AppendEchoRequest(b []byte, sn uint16) []byte {
	return finish(appendHeader(b, EchoRequest, sn, NoMoreExtensions), len(b))
}

// AppendEchoResponse appends the answer to an Echo Request with sequence number
// sn (§7.2.2). The restart counter of its Recovery is 0, as §8.2 wants it.
func AppendEchoResponse(b []byte, sn uint16) []byte {
	m := appendHeader(b, EchoResponse, sn, NoMoreExtensions)
	return finish(append(m, elementRecovery, 0), len(b))
}

// ErrorInd is the content of an Error Indication (§7.3.1).
type ErrorInd struct {
	// TEID is that of the G-PDU that found no tunnel.
	TEID uint32
	// Peer is the address that the G-PDU went to. Together with TEID it names
	// the tunnel for which there is no context.
	Peer netip.Addr
	// SrcPort is the UDP source port that the G-PDU came from, carried in the
	// UDP port extension header; 0 = without.
	SrcPort uint16
}

// AppendErrorIndication appends an Error Indication.
func AppendErrorIndication(b []byte, e ErrorInd) []byte {
	next := NoMoreExtensions
	if e.SrcPort != 0 {
		next = UDPPort
	}
	m := appendHeader(b, ErrorIndication, 0, next)
	if e.SrcPort != 0 {
		m = append(m, 1, byte(e.SrcPort>>8), byte(e.SrcPort), byte(NoMoreExtensions))
	}
	m = append(m, elementTEIDI)
	m = binary.BigEndian.AppendUint32(m, e.TEID)
	if e.Peer.Is4() || e.Peer.Is4In6() {
		a := e.Peer.As4()
		m = append(m, elementPeerAddress, 0, 4)
		m = append(m, a[:]...)
	} else {
		a := e.Peer.As16()
		m = append(m, elementPeerAddress, 0, 16)
		m = append(m, a[:]...)
	}
	return finish(m, len(b))
}

// ParseErrorIndication reads the Error Indication b whose header Parse put into
// h. Both elements must be there; others are passed over.
func ParseErrorIndication(b []byte, h *Header, e *ErrorInd) Reason {
	*e = ErrorInd{SrcPort: h.UDPPort}
	var hasTEID bool
	for m := b[h.Payload:h.End]; len(m) > 0; {
		// Types below 128 have no length field; those that a peer may send
		// here are known (§8.1).
		n := 0
		switch {
		case m[0] == elementRecovery:
			n = 2
		case m[0] == elementTEIDI:
			n = 5
		case m[0] < 128:
			return BadElement
		case m[0] == elementExtensionList:
			if len(m) < 2 {
				return BadElement
			}
			n = 2 + int(m[1])
		default:
			if len(m) < 3 {
				return BadElement
			}
			n = 3 + int(binary.BigEndian.Uint16(m[1:]))
		}
		if n > len(m) {
			return BadElement
		}
		switch m[0] {
		case elementTEIDI:
			e.TEID, hasTEID = binary.BigEndian.Uint32(m[1:]), true
		case elementPeerAddress:
			addr, ok := netip.AddrFromSlice(m[3:n])
			if !ok {
				return BadElement
			}
			e.Peer = addr
		}
		m = m[n:]
	}
	if !hasTEID || !e.Peer.IsValid() {
		return BadElement
	}
	return OK
}

// AppendEndMarker appends an End Marker, the last message that takes the tunnel teid
// (§7.3.2).
func AppendEndMarker(b []byte, teid uint32) []byte {
	b = append(b, version1|protocolGTP, byte(EndMarker), 0, 0)
	return binary.BigEndian.AppendUint32(b, teid)
}

// AppendSupportedExtensions appends the Supported Extension Headers Notification
// (§7.2.3) that names what this package understands; the answer to a message with
// an [UnknownExtension].
func AppendSupportedExtensions(b []byte, sn uint16) []byte {
	m := appendHeader(b, SupportedExtensionHeadersNotification, sn, NoMoreExtensions)
	return finish(append(m, elementExtensionList, 4,
		byte(UDPPort), byte(LongPDCPPDUNumber), byte(PDUSessionContainer), byte(PDCPPDUNumber)), len(b))
}
