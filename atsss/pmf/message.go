package pmf

import (
	"encoding/binary"

	"github.com/braid-upf/braid/atsss/steer"
)

// Message is a PMFP message. What is valid beside Type and EPTI follows from Type.
type Message struct {
	Type Type
	EPTI uint16 // extended procedure transaction identity

	RI        uint8        // echo: which request of the transaction
	Access    steer.Access // AccessReport
	Available bool         // AccessReport: the status of Access
	Restart   bool         // PLR report: counting goes on from 0, or is to
	Count     uint32       // PLRReportResponse: packets counted
	Percent   uint8        // UADProvisioning: of the uplink on 3GPP access, a multiple of 10
}

// MaxMessage is the length of the longest message that Append makes, in bytes.
const MaxMessage = reportLen

// Reason says why a message was not taken; its values index counters.
type Reason uint8

// Reasons.
const (
	OK          Reason = iota
	TooShort           // ends before its mandatory part does
	UnknownType        // a message type of no known message
	BadValue           // a value that means nothing: an access, a distribution
	WrongSide          // a message that only the receiver sends, or an identity that the sender may not choose
	Unmatched          // an answer to nothing that was asked
	Late               // an answer to a request that is not waited for any more
	Duplicate          // an answer that came before
	NotCounting        // a report is asked for, and no counting was
	RateLimited        // the peer asks for more than it gets
	NumReasons         // the number of reasons
)

var reasonNames = [NumReasons]string{
	"ok", "too_short", "unknown_type", "bad_value", "wrong_side", "unmatched", "late", "duplicate", "not_counting", "rate_limited",
}

// String is the reason's name in counters.
func (r Reason) String() string { return reasonNames[r] }

// Parse reads the message b, the payload of a UDP datagram. On any result but OK, m is
// undefined.
func Parse(b []byte, m *Message) Reason {
	if len(b) < headerLen {
		return TooShort
	}
	*m = Message{Type: Type(b[0]), EPTI: binary.BigEndian.Uint16(b[1:])}
	least, known := m.Type.len()
	switch {
	case !known:
		return UnknownType
	case len(b) < least:
		return TooShort
	}
	switch m.Type {
	case EchoRequest, EchoResponse:
		m.RI = b[headerLen]
	case AccessReport:
		return m.readAccess(b[headerLen])
	case PLRReportRequest:
		m.Restart = b[headerLen]&restartCounting != 0
	case PLRReportResponse:
		m.Restart = b[headerLen]&restartCounting != 0
		m.Count = binary.BigEndian.Uint32(b[headerLen+1:])
	case UADProvisioning:
		code := b[headerLen]
		if code < splitFirst || code > splitLast {
			return BadValue
		}
		m.Percent = (splitLast - code) * splitStep
	default: // the header is all
	}
	return OK
}

// len is the length of a message of type t without optional parts.
func (t Type) len() (n int, known bool) {
	switch t {
	case EchoRequest, EchoResponse:
		return echoLen, true
	case AccessReport:
		return accessLen, true
	case PLRReportRequest:
		return reportRequest, true
	case PLRReportResponse:
		return reportLen, true
	case UADProvisioning:
		return uadLen, true
	case Acknowledgement, PLRCountRequest, PLRCountResponse, UADProvisioningComplete:
		return headerLen, true
	}
	return 0, false
}

func (m *Message) readAccess(v byte) Reason {
	switch v & accessMask {
	case access3GPP:
		m.Access = steer.Access3GPP
	case accessNon3GPP:
		m.Access = steer.AccessNon3GPP
	default:
		return BadValue
	}
	m.Available = v&statusAvailable != 0
	return OK
}

// Append appends m, whose type is known, to b. A Percent between two multiples of 10 is
// rounded to the nearer.
func (m *Message) Append(b []byte) []byte {
	b = append(b, byte(m.Type))
	b = binary.BigEndian.AppendUint16(b, m.EPTI)
	switch m.Type {
	case EchoRequest, EchoResponse:
		b = append(b, m.RI)
	case AccessReport:
		v := byte(access3GPP)
		if m.Access == steer.AccessNon3GPP {
			v = accessNon3GPP
		}
		if m.Available {
			v |= statusAvailable
		}
		b = append(b, v)
	case PLRReportRequest:
		b = append(b, m.restart())
	case PLRReportResponse:
		b = append(b, m.restart())
		b = binary.BigEndian.AppendUint32(b, m.Count)
	case UADProvisioning:
		b = append(b, splitLast-(min(m.Percent, 100)+splitStep/2)/splitStep)
	default: // the header is all
	}
	return b
}

func (m *Message) restart() byte {
	if m.Restart {
		return restartCounting
	}
	return 0
}

// Answer is the type of the answer to a message of type t; 0 if none is due.
func (t Type) Answer() Type {
	switch t {
	case EchoRequest:
		return EchoResponse
	case AccessReport:
		return Acknowledgement
	case PLRCountRequest:
		return PLRCountResponse
	case PLRReportRequest:
		return PLRReportResponse
	case UADProvisioning:
		return UADProvisioningComplete
	default:
		return 0
	}
}
