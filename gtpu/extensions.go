package gtpu

import "encoding/binary"

// Extensions are the extension headers of a message that a UPF hands on when it
// forwards the T-PDU into another tunnel (§5.2.1): PDCP PDU numbers of data that one
// gNB forwards to another through the UPF, and those that are not known here and need
// not be. The PDU Session Container is not among them; it is written anew. The zero
// value is none.
type Extensions struct {
	n     int           // bytes in use
	first ExtensionType // valid if n > 0
	bytes [maxExtensions]byte
}

// maxExtensions is the most bytes of extension headers that are handed on.
const maxExtensions = 60

// Take makes x the extension headers of message b whose header Parse put into h, with
// OK or UnknownExtension. It reports false if they are too long; the message is to be
// dropped then. x keeps nothing of b.
func (x *Extensions) Take(b []byte, h *Header) bool {
	x.n = 0
	if !h.HasOther {
		return true
	}
	end := 0
	for next, off := ExtensionType(b[optionalLen-1]), optionalLen; next != NoMoreExtensions; next, off = ExtensionType(b[end-1]), end {
		end = off + int(b[off])*4
		if next.handedOn() && !x.add(next, b[off:end]) {
			return false
		}
	}
	return true
}

// add appends the extension header e of type t.
func (x *Extensions) add(t ExtensionType, e []byte) bool {
	if x.n+len(e) > maxExtensions {
		return false
	}
	if x.n == 0 {
		x.first = t
	} else {
		x.bytes[x.n-1] = byte(t)
	}
	x.n += copy(x.bytes[x.n:], e)
	x.bytes[x.n-1] = byte(NoMoreExtensions)
	return true
}

// GPDUHeaderLen is the length of the header that [Extensions.PutGPDU] writes for qfi.
func (x *Extensions) GPDUHeaderLen(qfi uint8) int {
	switch {
	case x.n == 0:
		return GPDUHeaderLen(qfi)
	case qfi == 0:
		return optionalLen + x.n
	}
	return GPDUContainerLen + x.n
}

// PutGPDU is the package's [PutGPDU], or [PutUplinkGPDU] if t says so, for a header
// with x behind the PDU Session Container: into b[:x.GPDUHeaderLen(qfi)]. rqi counts
// for DL PDU session information.
func (x *Extensions) PutGPDU(b []byte, teid uint32, n int, t PDUType, qfi uint8, rqi bool) {
	content := uplinkContent(qfi)
	if t == DLPDUSessionInformation {
		content = downlinkContent(qfi, rqi)
	}
	switch {
	case x.n > 0 && qfi != 0:
		b = b[:GPDUContainerLen+x.n]
		putExtendedGPDU(b, teid, n+len(b), PDUSessionContainer)
		putContainer(b[optionalLen:], content, x.first)
		copy(b[GPDUContainerLen:], x.bytes[:x.n])
	case x.n > 0:
		b = b[:optionalLen+x.n]
		putExtendedGPDU(b, teid, n+len(b), x.first)
		copy(b[optionalLen:], x.bytes[:x.n])
	case qfi != 0:
		putGPDU(b, teid, n, content)
	default:
		putBareGPDU(b, teid, n)
	}
}

// putExtendedGPDU writes a header without SN and N-PDU number, for extension headers of
// which the first is of type next. size is the length of the message with it all.
func putExtendedGPDU(b []byte, teid uint32, size int, next ExtensionType) {
	binary.BigEndian.PutUint32(b, (version1|protocolGTP|flagE)<<24|uint32(GPDU)<<16|uint32(size-fixedLen))
	binary.BigEndian.PutUint32(b[4:], teid)
	binary.BigEndian.PutUint32(b[8:], uint32(next))
}

// putContainer writes a PDU Session Container of length 1, that is, 4 octets.
func putContainer(b []byte, content uint32, next ExtensionType) {
	binary.BigEndian.PutUint32(b, 1<<24|content<<8|uint32(next))
}
