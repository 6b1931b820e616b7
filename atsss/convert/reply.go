package convert

import "encoding/binary"

// Reply is what a converter's message says. Slices alias the message.
type Reply struct {
	Extended  []byte // options of the server's SYN/ACK, padded with zeros; valid if HasExtended
	Supported []byte // option kinds, padded with zeros; valid if HasSupported
	Code      Code   // valid if HasError
	Value     []byte // of the error, with the padding; valid if HasError

	HasExtended, HasSupported, HasError bool
}

// ReplyLen is the length in bytes of the converter's message whose header b, of
// [HeaderLen] bytes, is; ok is false if it is none of a version that this package speaks:
// the client then resets the connection (RFC 8803 §6.1).
func ReplyLen(b []byte) (n int, ok bool) {
	if len(b) < HeaderLen || b[0] != Version || b[1] == 0 || binary.BigEndian.Uint16(b[2:]) != Magic {
		return 0, false
	}
	return int(b[1]) * word, true
}

// ParseReply reads the converter's message b, whole and with nothing behind it, into r. If
// it is false the message is malformed, and the client resets the connection.
func ParseReply(b []byte, r *Reply) bool {
	*r = Reply{}
	n, ok := ReplyLen(b)
	if !ok || n != len(b) {
		return false
	}
	for b = b[HeaderLen:]; len(b) > 0; {
		n := int(b[1]) * word
		if n == 0 || n > len(b) || !r.tlv(Type(b[0]), b[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// tlv takes one TLV of a converter; false if it is none, or comes a second time.
func (r *Reply) tlv(t Type, b []byte) bool {
	var has *bool
	switch t {
	case TypeExtended:
		has, r.Extended = &r.HasExtended, b[4:]
	case TypeSupported:
		has, r.Supported = &r.HasSupported, b[4:]
	case TypeError:
		has, r.Code, r.Value = &r.HasError, Code(b[2]), b[errorHead:]
	default:
		return false
	}
	first := !*has
	*has = true
	return first
}

// Cookie is the cookie of an error [MissingCookie]: its value less the octet that is not in
// use.
func (r *Reply) Cookie() []byte { return r.Value[1:] }
