package pfcp

import (
	"encoding/binary"
	"fmt"

	"github.com/wmnsk/go-pfcp/ie"
)

// IE types that go-pfcp does not know (TS 29.244 Table 8.1.2-1, Rel-17; those from 323 on are of Rel-18 and Rel-19).
const (
	TypeThresholds                  uint16 = 288
	TypeSteeringModeIndicator       uint16 = 289
	typeAddressReplacement          uint16 = 293 // IP Address and Port Number Replacement
	typeDNSQueryFilter              uint16 = 294
	typeDirectReportingInformation  uint16 = 295
	typeMBSMulticastParameters      uint16 = 301
	typeAddMBSUnicastParameters     uint16 = 302
	typeMBSSessionIdentifier        uint16 = 305
	typeLocalIngressTunnel          uint16 = 308
	typeTrafficParameterControl     uint16 = 323 // Traffic Parameter Measurement Control Information
	typeMPQUICControlInformation    uint16 = 330
	typeTransportMode               uint16 = 333
	typeReportingControlInformation uint16 = 389
)

// malformed says that i's own octets cannot be what its type says.
func malformed(i *ie.IE, format string, args ...any) *Error {
	return &Error{
		Cause: ie.CauseMandatoryIEIncorrect, Offending: i.Type,
		Text: fmt.Sprintf("IE %d: ", i.Type) + fmt.Sprintf(format, args...),
	}
}

// missing says that a group lacks the mandatory IE of type typ.
func missing(group string, typ uint16) *Error {
	return &Error{Cause: ie.CauseMandatoryIEMissing, Offending: typ, Text: fmt.Sprintf("%s without IE %d", group, typ)}
}

// octets returns the payload of i if it has at least n octets. More are let pass:
// later releases of the standard lengthen IEs (TS 29.244 §7.6.7).
func octets(i *ie.IE, n int) ([]byte, *Error) {
	if len(i.Payload) < n {
		return nil, malformed(i, "%d octets, needs %d", len(i.Payload), n)
	}
	return i.Payload, nil
}

func u8(i *ie.IE) (uint8, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func u16(i *ie.IE) (uint16, *Error) {
	b, err := octets(i, 2)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint16(b), nil
}

func u32(i *ie.IE) (uint32, *Error) {
	b, err := octets(i, 4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

// set stores a leaf's value behind dst unless the leaf is malformed. Where a
// group holds an IE more than once that it may hold once, the last one counts.
func set[T any](dst **T, v T, err *Error) *Error {
	if err == nil {
		*dst = &v
	}
	return err
}

// add appends a leaf's value to dst unless the leaf is malformed.
func add[T any](dst *[]T, v T, err *Error) *Error {
	if err == nil {
		*dst = append(*dst, v)
	}
	return err
}

// children calls f with each child of group until one is malformed.
func children(group *ie.IE, f func(*ie.IE) *Error) *Error {
	for _, c := range group.ChildIEs {
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}

// override lets an update's member take the place of *dst if it is there.
func override[T any](dst **T, v *T) {
	if v != nil {
		*dst = v
	}
}

// of says for which rule err is, if it is not said yet.
func of(err *Error, kind RuleKind, id uint32) *Error {
	if err != nil && err.Rule.Kind == 0 {
		err.Rule = RuleID{kind, id}
	}
	return err
}
