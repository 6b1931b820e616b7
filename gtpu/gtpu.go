// Package gtpu is the user plane GTP of 3GPP TS 29.281 (GTPv1-U) as views over
// bytes: the header with its optional fields and extension headers (§5), the PDU
// Session Container (§5.2.2.7; its content TS 38.415 §5.5.2), and the path and
// tunnel management messages that a UPF meets (§7.2, §7.3).
//
// Parsing allocates nothing and keeps no pointer into the bytes; what it refuses
// it refuses with a [Reason]. Offsets count from the first byte of the UDP payload.
//
// Left out: Tunnel Status, the private extension, QoS monitoring in the PDU Session
// Container, and the contents of every extension header but that and the UDP port.
// Those that a UPF hands on are copied, not read: see [Extensions].
package gtpu

import "encoding/binary"

// Port is the registered UDP port of GTP-U (§4.4.2).
const Port = 2152

// MessageType is the message type of a GTP-U header (§6.1).
type MessageType uint8

// Message types.
const (
	EchoRequest                           MessageType = 1
	EchoResponse                          MessageType = 2
	ErrorIndication                       MessageType = 26
	SupportedExtensionHeadersNotification MessageType = 31
	EndMarker                             MessageType = 254
	GPDU                                  MessageType = 255
)

// ExtensionType is the type of an extension header (§5.2.1, figure 5.2.1-3).
type ExtensionType uint8

// Extension header types that a receiver here understands. The PDCP PDU numbers come
// with data that gNBs forward to each other through the UPF at a handover; to the UPF
// itself they say nothing.
const (
	NoMoreExtensions    ExtensionType = 0x00
	UDPPort             ExtensionType = 0x40
	LongPDCPPDUNumber   ExtensionType = 0x82 // 0x03 is the same, and need not be understood
	PDUSessionContainer ExtensionType = 0x85
	PDCPPDUNumber       ExtensionType = 0xc0
)

// The two upper bits of a type say what who does not know it does (§5.2.1, figure
// 5.2.1-2):
//
//	     endpoint    intermediate node
//	00   skips it    hands it on
//	01   skips it    takes it out
//	10   refuses     hands it on
//	11   refuses     refuses

// mustComprehend says whether an endpoint that does not know t refuses the message.
func (t ExtensionType) mustComprehend() bool { return t&0x80 != 0 }

// MustComprehendToRelay says whether an intermediate node, too, that does not know t
// refuses the message.
func (t ExtensionType) MustComprehendToRelay() bool { return t&0xc0 == 0xc0 }

// handedOn says whether an intermediate node hands t on as it is. The PDU Session
// Container is written anew.
func (t ExtensionType) handedOn() bool { return t&0xc0 != 0x40 && t != PDUSessionContainer }

// PDUType tells the two forms of the PDU Session Container apart
// (TS 38.415 §5.5.3.1).
type PDUType uint8

// PDU types.
const (
	DLPDUSessionInformation PDUType = 0
	ULPDUSessionInformation PDUType = 1
)

// Reason says why a datagram was refused; its values index counters.
type Reason uint8

// Reasons of [Parse] and [ParseErrorIndication].
const (
	OK               Reason = iota
	TooShort                // ends before its header does
	BadVersion              // not version 1 (§5.1)
	NotGTP                  // protocol type 0: GTP'
	BadLength               // the length field points past the datagram or into the header
	BadExtension            // an extension header of length 0, or past the message's end
	BadContainer            // a PDU Session Container of a PDU type that does not exist
	UnknownExtension        // an extension header that must be understood and is not
	BadElement              // an information element missing, unknown or cut
	NumReasons              // the number of reasons
)

var reasonNames = [NumReasons]string{
	"ok", "too_short", "bad_version", "not_gtp", "bad_length", "bad_extension", "bad_container", "unknown_extension", "bad_element",
}

// String is the reason's name in counters.
func (r Reason) String() string { return reasonNames[r] }

// Flags of the first octet (§5.1).
const (
	version1     = 1 << 5
	versionMask  = 7 << 5
	protocolGTP  = 1 << 4
	flagE        = 1 << 2
	flagS        = 1 << 1
	flagPN       = 1 << 0
	flagOptional = flagE | flagS | flagPN

	fixedLen    = 8  // mandatory part of the header
	optionalLen = 12 // with sequence number, N-PDU number and next extension type
)

// Header is what Parse found. TEID to Length and the flags are always valid; the
// other fields as they say.
type Header struct {
	TEID uint32 // 0 in path management messages

	// Payload and End bound the T-PDU of a G-PDU, or the information elements
	// of another message: offsets into the bytes parsed.
	Payload, End int

	Type MessageType

	HasSN bool
	SN    uint16 // sequence number, valid if HasSN

	HasContainer bool    // there is a PDU Session Container
	PDUType      PDUType // valid if HasContainer
	QFI          uint8   // QoS flow identifier 0..63, valid if HasContainer; else 0
	RQI          bool    // reflective QoS indication, only of DL PDU session information

	HasUDPPort bool
	UDPPort    uint16 // of the UDP port extension header, valid if HasUDPPort

	// HasOther: there are extension headers for [Extensions.Take].
	HasOther bool

	// Unknown is the type of an extension header that must be understood and is
	// not, valid after UnknownExtension; if there are several, one that
	// MustComprehendToRelay.
	Unknown ExtensionType
}

// Parse reads the header and the extension headers of the GTP-U message b, a
// whole UDP payload. Bytes after the message's own length are ignored (h.End).
//
// UnknownExtension is for the endpoint, which discards the message and sends the
// notification of TS 29.281 §7.2.3; h is valid. An intermediate node, that is, a UPF
// that forwards the T-PDU into another tunnel, goes on unless
// h.Unknown.MustComprehendToRelay. On any other result but OK h is undefined.
func Parse(b []byte, h *Header) Reason {
	if len(b) < fixedLen {
		return TooShort
	}
	flags := b[0]
	if flags&versionMask != version1 {
		return BadVersion
	}
	if flags&protocolGTP == 0 {
		return NotGTP
	}
	end := fixedLen + int(binary.BigEndian.Uint16(b[2:]))
	if end > len(b) {
		return BadLength
	}
	*h = Header{TEID: binary.BigEndian.Uint32(b[4:]), Payload: fixedLen, End: end, Type: MessageType(b[1])}
	if flags&flagOptional == 0 {
		return OK
	}
	// One flag brings all three fields; each means something only if its own
	// flag is set (§5.1 notes 1 to 4).
	if end < optionalLen {
		return BadLength
	}
	h.Payload = optionalLen
	if flags&flagS != 0 {
		h.HasSN, h.SN = true, binary.BigEndian.Uint16(b[8:])
	}
	if flags&flagE != 0 {
		return parseExtensions(b[:end], h)
	}
	return OK
}

// TEID is the TEID in the header of the message b, 0 if b is too short for one. It looks at
// nothing else.
func TEID(b []byte) uint32 {
	if len(b) < fixedLen {
		return 0
	}
	return binary.BigEndian.Uint32(b[4:])
}

// parseExtensions walks the extension headers of the message b, whose next
// extension header type stands in the last octet of the optional part.
func parseExtensions(b []byte, h *Header) Reason {
	off := optionalLen
	for next := ExtensionType(b[off-1]); next != NoMoreExtensions; {
		if off >= len(b) || b[off] == 0 {
			return BadExtension
		}
		end := off + int(b[off])*4
		if end > len(b) {
			return BadExtension
		}
		switch content := b[off+1 : end-1]; next {
		case PDUSessionContainer:
			if r := h.container(content); r != OK {
				return r
			}
		case UDPPort:
			h.HasUDPPort, h.UDPPort = true, binary.BigEndian.Uint16(content)
		case PDCPPDUNumber, LongPDCPPDUNumber:
			h.HasOther = true
		default:
			h.unknown(next)
		}
		next, off = ExtensionType(b[end-1]), end
	}
	h.Payload = off
	if h.Unknown != NoMoreExtensions {
		return UnknownExtension
	}
	return OK
}

// unknown notes an extension header of type t, which is not known here.
func (h *Header) unknown(t ExtensionType) {
	h.HasOther = h.HasOther || t.handedOn()
	if t.mustComprehend() && !h.Unknown.MustComprehendToRelay() {
		h.Unknown = t
	}
}

// container reads the first two octets of a PDU Session Container
// (TS 38.415 §5.5.2.1 and §5.5.2.2); the rest, QoS monitoring and the like, is
// not looked at.
func (h *Header) container(c []byte) Reason {
	t := PDUType(c[0] >> 4)
	if t > ULPDUSessionInformation {
		return BadContainer
	}
	h.HasContainer, h.PDUType = true, t
	h.QFI = c[1] & 0x3f
	h.RQI = t == DLPDUSessionInformation && c[1]&0x40 != 0
	return OK
}

// Lengths of the header that [PutGPDU] writes.
const (
	GPDULen          = fixedLen
	GPDUContainerLen = optionalLen + 4
)

// GPDUHeaderLen is the length of the header that PutGPDU writes for qfi.
func GPDUHeaderLen(qfi uint8) int {
	if qfi == 0 {
		return GPDULen
	}
	return GPDUContainerLen
}

// PutGPDU writes the header of a G-PDU towards the access in front of a T-PDU of n
// bytes: into b[:GPDUHeaderLen(qfi)], with a PDU Session Container (DL PDU session
// information, TS 38.415 §5.5.2.1) that holds qfi and rqi, or without one if qfi is 0.
// n + 8 must fit 16 bits.
func PutGPDU(b []byte, teid uint32, n int, qfi uint8, rqi bool) {
	if qfi == 0 {
		putBareGPDU(b, teid, n)
		return
	}
	putGPDU(b, teid, n, downlinkContent(qfi, rqi))
}

// PutUplinkGPDU is PutGPDU for a G-PDU towards the data network, from one UPF to the
// next (N9): UL PDU session information (TS 38.415 §5.5.2.2).
func PutUplinkGPDU(b []byte, teid uint32, n int, qfi uint8) {
	if qfi == 0 {
		putBareGPDU(b, teid, n)
		return
	}
	putGPDU(b, teid, n, uplinkContent(qfi))
}

func putBareGPDU(b []byte, teid uint32, n int) {
	binary.BigEndian.PutUint64(b, (version1|protocolGTP)<<56|uint64(GPDU)<<48|uint64(n)<<32|uint64(teid))
}

// putGPDU writes a header with a PDU Session Container of 4 octets alone.
func putGPDU(b []byte, teid uint32, n int, content uint32) {
	b = b[:GPDUContainerLen]
	const start = (version1|protocolGTP|flagE)<<56 | uint64(GPDU)<<48 | (GPDUContainerLen-fixedLen)<<32
	binary.BigEndian.PutUint64(b, start+uint64(n)<<32|uint64(teid))
	binary.BigEndian.PutUint64(b[8:], uint64(PDUSessionContainer)<<32|1<<24|uint64(content)<<8)
}

// downlinkContent is DL PDU session information: PDU type, RQI and QFI.
func downlinkContent(qfi uint8, rqi bool) uint32 {
	c := uint32(DLPDUSessionInformation)<<12 | uint32(qfi&0x3f)
	if rqi {
		c |= 0x40
	}
	return c
}

// uplinkContent is UL PDU session information: PDU type and QFI.
func uplinkContent(qfi uint8) uint32 {
	return uint32(ULPDUSessionInformation)<<12 | uint32(qfi&0x3f)
}
