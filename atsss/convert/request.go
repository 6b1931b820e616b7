package convert

import "encoding/binary"

// Request is what a client's message asks of the converter. Slices alias the message.
type Request struct {
	Len  int  // of the message, in bytes; data of the user follow it
	Info bool // the client wants to know what is supported

	Connect bool // the fields below are valid
	Port    uint16
	Addr    [16]byte // IPv4 in its IPv4-mapped form
	// Options are what the Connect says of the SYN to the server, as in a TCP header,
	// checked by [CheckOptions]; Extended says that it has any such field, and wants the
	// options of the SYN/ACK in return.
	Options  []byte
	Extended bool

	HasCookie bool
	Cookie    []byte // with the padding, which is not told from it

	// Code and Value are of the error that answers the message; valid with [Refused].
	Code  Code
	Value []byte
}

// Verdict says what a converter does about a client's message.
type Verdict uint8

// Verdicts.
const (
	Asked   Verdict = iota // the request is one to carry out
	Absent                 // there is no message: the SYN is ignored (RFC 8803 §6.1)
	Refused                // the message is answered with an error
	Reset                  // the connection is reset: the length is zero (RFC 8803 §6.1)
)

// versions are those that are supported.
var versions = []byte{Version}

// Parse reads the client's message at the beginning of b, which must hold it whole since
// it comes in one segment, into r.
func Parse(b []byte, r *Request) Verdict {
	*r = Request{}
	switch {
	case len(b) < HeaderLen || binary.BigEndian.Uint16(b[2:]) != Magic:
		return Absent
	case b[0] != Version:
		r.Len = min(int(b[1])*word, len(b))
		return r.refuse(UnsupportedVersion, versions)
	case b[1] == 0:
		return Reset
	}
	r.Len = int(b[1]) * word
	if r.Len > len(b) {
		r.Len = len(b)
		return r.refuse(Malformed, b)
	}
	b = b[:r.Len]
	seen := uint32(0)
	for rest := b[HeaderLen:]; len(rest) > 0; {
		t, n := Type(rest[0]), int(rest[1])*word
		if n == 0 || n > len(rest) {
			return r.refuse(Malformed, b)
		}
		if t <= maxType {
			if seen>>t&1 != 0 { // each at most once (RFC 8803 §6.2.1)
				return r.refuse(Malformed, b)
			}
			seen |= 1 << t
		}
		if code, ok := r.tlv(t, rest[:n]); !ok {
			return r.refuse(code, b)
		}
		rest = rest[n:]
	}
	if !r.Info && !r.Connect {
		return r.refuse(Malformed, b) // it asks for nothing
	}
	return Asked
}

func (r *Request) refuse(code Code, value []byte) Verdict {
	r.Code, r.Value = code, value
	return Refused
}

// tlv takes one TLV of a client; with ok false, code says what is wrong.
func (r *Request) tlv(t Type, b []byte) (code Code, ok bool) {
	switch t {
	case TypeInfo:
		r.Info = true
		return Malformed, len(b) == word
	case TypeConnect:
		return Malformed, r.connect(b)
	case TypeCookie:
		r.HasCookie, r.Cookie = true, b[4:]
		return 0, true
	default:
		return UnsupportedMessage, false
	}
}

// connect takes a Connect TLV.
func (r *Request) connect(b []byte) bool {
	if len(b) < connectLen {
		return false
	}
	r.Connect = true
	r.Port = binary.BigEndian.Uint16(b[tlvHead:])
	copy(r.Addr[:], b[4:])
	r.Options = b[connectLen:]
	r.Extended = len(r.Options) > 0
	return r.Port != 0 && unicast(&r.Addr) && CheckOptions(r.Options)
}

// unicast says whether a is an address that a server may have: not a multicast, broadcast
// or loopback one, which a converter must refuse (RFC 8803 §6.2.5), nor an unspecified one
// or one whose meaning is of a link.
func unicast(a *[16]byte) bool {
	hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	if hi == 0 && lo>>32 == 0xffff {
		// 0/8, 127/8, 169.254/16; 224/4 and above: multicast, reserved and broadcast.
		return a[12] != 0 && a[12] != 127 && a[12] < 224 && !(a[12] == 169 && a[13] == 254)
	}
	linkLocal := a[0] == 0xfe && a[1]&0xc0 == 0x80
	return a[0] != 0xff && !linkLocal && !(hi == 0 && lo <= 1)
}

// CheckOptions says whether b is a list of TCP options whose lengths add up: what an end of
// list is followed by is padding, and does not count.
func CheckOptions(b []byte) bool {
	for len(b) > 0 {
		o, rest := NextOption(b)
		if o == nil {
			return len(rest) == 0
		}
		b = rest
	}
	return true
}

// NextOption splits the first TCP option, other than no-operation, off the list b. At the
// end of the list, option is nil and rest empty; at an option whose length is wrong, option
// is nil and rest begins with it.
func NextOption(b []byte) (option, rest []byte) {
	const end, nop = 0, 1
	for len(b) > 0 && b[0] == nop {
		b = b[1:]
	}
	switch {
	case len(b) == 0 || b[0] == end:
		return nil, nil
	case len(b) < 2 || b[1] < 2 || int(b[1]) > len(b):
		return nil, b
	}
	return b[:b[1]], b[b[1]:]
}
