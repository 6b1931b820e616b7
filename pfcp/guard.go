package pfcp

import (
	"encoding/binary"
	"fmt"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"
)

// MaxDatagram is the longest PFCP datagram that an [Endpoint] takes, in octets.
// The standard knows no limit; real SMFs stay below 8,192.
const MaxDatagram = 32 << 10

// maxDepth is how deep grouped IEs may nest. The standard's deepest, in a PFCP
// Session Report Request, is four. The parser behind this guard walks every
// descendant of a group once per level, so that the depth bounds its cost.
const maxDepth = 8

// maxIEs is how many IEs a message may hold, those inside groups included. Real ones
// take eight octets and more each, so that the longest messages of real SMFs stay
// below half of this.
const maxIEs = 2048

// grouped are the IE types that are groups. go-pfcp's own table is a map behind a
// lock, which takes a quarter of the time that a request needs; it is asked once.
var grouped = func() (g [1 << 9]bool) {
	for typ := range g {
		g[typ] = (&ie.IE{Type: uint16(typ)}).IsGrouped()
	}
	return g
}()

func isGrouped(typ uint16) bool { return int(typ) < len(grouped) && grouped[typ] }

func init() { ie.SetIsGroupedFun(isGrouped) }

// header is what the fixed part of a PFCP message says (TS 29.244 §7.2.2).
type header struct {
	version  uint8
	followOn bool
	hasSEID  bool
	typ      uint8
	seid     uint64 // valid if hasSEID
	sequence uint32 // 24 bits
	length   int    // of the whole message, header included, in octets
	ies      int    // offset of the first IE
}

// parseHeader reads the header of the message at the start of b. It does not
// check that b holds the whole message.
func parseHeader(b []byte) (header, error) {
	if len(b) < 8 {
		return header{}, fmt.Errorf("%d octets are too short for a PFCP header", len(b))
	}
	h := header{
		version:  b[0] >> 5,
		followOn: b[0]&0x04 != 0,
		hasSEID:  b[0]&0x01 != 0,
		typ:      b[1],
		length:   4 + int(binary.BigEndian.Uint16(b[2:])),
		ies:      8,
	}
	seq := b[4:]
	if h.hasSEID {
		if len(b) < 16 {
			return header{}, fmt.Errorf("%d octets are too short for a PFCP header with a SEID", len(b))
		}
		h.seid = binary.BigEndian.Uint64(b[4:])
		h.ies = 16
		seq = b[12:]
	}
	h.sequence = uint32(seq[0])<<16 | uint32(seq[1])<<8 | uint32(seq[2])
	return h, nil
}

// checkIEs walks the IEs of b, the part of a message that starts at offset base,
// and returns an error if one of them does not fit its surroundings exactly, if
// groups nest deeper than depth, or if there are more than left; it takes their
// number off that.
func checkIEs(b []byte, base, depth int, left *int) *Error {
	for off := 0; off < len(b); {
		rest := b[off:]
		if *left--; *left < 0 {
			return &Error{Cause: ie.CauseNoResourcesAvailable, Text: fmt.Sprintf("offset %d: too many IEs", base+off)}
		}
		if len(rest) < 4 {
			return &Error{Cause: ie.CauseInvalidLength, Text: fmt.Sprintf("offset %d: %d octets are too short for an IE", base+off, len(rest))}
		}
		typ, length := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if 4+length > len(rest) {
			return &Error{
				Cause: ie.CauseMandatoryIEIncorrect, Offending: typ,
				Text: fmt.Sprintf("offset %d: IE length %d exceeds the %d octets left", base+off, length, len(rest)-4),
			}
		}
		body := rest[4 : 4+length]
		vendor := typ&0x8000 != 0
		if vendor && length < 2 {
			return &Error{Cause: ie.CauseMandatoryIEIncorrect, Offending: typ, Text: fmt.Sprintf("offset %d: vendor IE without an enterprise ID", base+off)}
		}
		if !vendor && isGrouped(typ) {
			if depth == 0 {
				return &Error{Cause: ie.CauseMandatoryIEIncorrect, Offending: typ, Text: fmt.Sprintf("offset %d: groups nest deeper than %d", base+off, maxDepth)}
			}
			if err := checkIEs(body, base+off+4, depth-1, left); err != nil {
				return err
			}
		}
		off += 4 + length
	}
	return nil
}

// parseMessage parses one whole message: b holds exactly that message, h is its
// header. The message keeps b.
func parseMessage(b []byte, h header) (message.Message, error) {
	left := maxIEs
	if err := checkIEs(b[h.ies:], h.ies, maxDepth, &left); err != nil {
		return nil, err
	}
	m, err := message.Parse(b)
	if err != nil {
		return nil, &Error{Cause: ie.CauseMandatoryIEIncorrect, Text: err.Error()}
	}
	return m, nil
}

// isRequest says whether typ is a request that this package can carry
// (TS 29.244 Table 7.3-1).
func isRequest(typ uint8) bool {
	switch typ {
	case message.MsgTypeHeartbeatRequest, message.MsgTypePFDManagementRequest,
		message.MsgTypeAssociationSetupRequest, message.MsgTypeAssociationUpdateRequest,
		message.MsgTypeAssociationReleaseRequest, message.MsgTypeNodeReportRequest,
		message.MsgTypeSessionSetDeletionRequest, MsgSessionSetModificationRequest, message.MsgTypeSessionEstablishmentRequest,
		message.MsgTypeSessionModificationRequest, message.MsgTypeSessionDeletionRequest,
		message.MsgTypeSessionReportRequest:
		return true
	}
	return false
}

// isResponse says whether typ is a response, Version Not Supported included.
func isResponse(typ uint8) bool {
	return typ == message.MsgTypeVersionNotSupportedResponse || typ > 0 && isRequest(typ-1)
}

// ParseIEs parses IEs that stand one behind the other, in a message or outside of
// one, as carefully as a message's, however many they are. They keep b.
func ParseIEs(b []byte) ([]*ie.IE, *Error) {
	left := len(b)
	if err := checkIEs(b, 0, maxDepth, &left); err != nil {
		return nil, err
	}
	ies, err := ie.ParseMultiIEs(b)
	if err != nil {
		return nil, &Error{Cause: ie.CauseMandatoryIEIncorrect, Text: err.Error()}
	}
	return ies, nil
}
