// Package convert is the wire format of the 0-RTT TCP Convert Protocol, version 1
// (RFC 8803): the messages that a client and a transport converter put in front of the
// byte stream of a TCP connection, one in each direction.
//
//	message = header, TLVs
//	header  = version (8) | length of the message in words (8) | magic number (16)
//	TLV     = type (8) | length in words, these octets included (8) | value, padded with zeros
//
// A word is 32 bits; all is big endian. [Parse] is the converter's: it checks a client's
// request, or says with which error the converter answers. [ParseReply] is the client's.
//
// What an option in a Connect asks for is the caller's to know: this package looks at the
// form of the list alone.
package convert

import "encoding/binary"

// Constants of the fixed header (RFC 8803 §6.1).
const (
	Version   = 1
	Magic     = 0x2263
	HeaderLen = 4
	MaxLen    = 255 * word // of a message, in bytes
)

// word is the unit of lengths, in bytes.
const word = 4

// Type is the type of a TLV (RFC 8803 §6.2.2).
type Type uint8

// Types.
const (
	TypeInfo      Type = 1    // client: what does the converter support?
	TypeConnect   Type = 10   // client: connect to this server
	TypeExtended  Type = 20   // converter: the options of the server's SYN/ACK (Extended TCP Header)
	TypeSupported Type = 21   // converter: the answer to Info (Supported TCP Extensions)
	TypeCookie    Type = 22   // client: what an error Missing Cookie carried
	TypeError     Type = 30   // converter
	maxType            = 0x1f // types that are known lie below
)

// Code is the code of an Error TLV (RFC 8803 §6.2.8).
type Code uint8

// Codes, and what the value of the Error TLV is.
const (
	UnsupportedVersion     Code = 0  // the versions that are supported, an octet each
	Malformed              Code = 1  // the message
	UnsupportedMessage     Code = 2  // the message
	MissingCookie          Code = 3  // a zero octet and the cookie
	NotAuthorized          Code = 32 // none
	UnsupportedTCPOption   Code = 33 // the kinds, an octet each
	ResourceExceeded       Code = 64 // seconds to wait; 0 = 30 at least
	NetworkFailure         Code = 65 // as ResourceExceeded
	ConnectionReset        Code = 96 // none
	DestinationUnreachable Code = 97 // the code of the ICMP message
)

// Sizes in bytes.
const (
	tlvHead    = 2
	connectLen = 20                              // of a Connect without options
	MaxOptions = MaxLen - HeaderLen - connectLen // of a Connect
	errorHead  = 3                               // of an Error: type, length, code
	maxValue   = MaxLen - HeaderLen - errorHead
)

// Start appends the header of a message whose TLVs are to follow; [Finish] completes it.
func Start(b []byte) []byte { return append(b, Version, 1, Magic>>8, Magic&0xff) }

// Finish writes the length into the header of the message that begins at b[at] and ends
// with b. The message is no longer than [MaxLen].
func Finish(b []byte, at int) { b[at+1] = uint8((len(b) - at) / word) }

// AppendInfo appends an Info TLV (RFC 8803 §6.2.3).
func AppendInfo(b []byte) []byte { return append(b, byte(TypeInfo), 1, 0, 0) }

// AppendConnect appends a Connect TLV (RFC 8803 §6.2.5). addr is an IPv6 address, or an
// IPv4 address in its IPv4-mapped form. options are of at most [MaxOptions] bytes; with any
// the TLV is an extended one.
func AppendConnect(b []byte, addr *[16]byte, port uint16, options []byte) []byte {
	at := len(b)
	b = append(b, byte(TypeConnect), 0)
	b = binary.BigEndian.AppendUint16(b, port)
	b = append(b, addr[:]...)
	return finishTLV(append(b, options...), at)
}

// AppendExtended appends an Extended TCP Header TLV with the given options (RFC 8803 §6.2.6).
func AppendExtended(b, options []byte) []byte { return appendOpaque(b, TypeExtended, options) }

// AppendSupported appends a Supported TCP Extensions TLV with the given option kinds, none
// of which is 0, 1, 2, 3 or 5 (RFC 8803 §6.2.4).
func AppendSupported(b, kinds []byte) []byte { return appendOpaque(b, TypeSupported, kinds) }

// AppendCookie appends a Cookie TLV (RFC 8803 §6.2.7).
func AppendCookie(b, cookie []byte) []byte { return appendOpaque(b, TypeCookie, cookie) }

// AppendError appends an Error TLV. Of a value that does not fit a message, the end is
// missing.
func AppendError(b []byte, code Code, value []byte) []byte {
	at := len(b)
	b = append(b, byte(TypeError), 0, byte(code))
	return finishTLV(append(b, value[:min(len(value), maxValue)]...), at)
}

// appendOpaque appends a TLV whose value begins with 16 bits that are not in use.
func appendOpaque(b []byte, t Type, value []byte) []byte {
	at := len(b)
	return finishTLV(append(append(b, byte(t), 0, 0, 0), value...), at)
}

// finishTLV pads the TLV that begins at b[at] and writes its length.
func finishTLV(b []byte, at int) []byte {
	for (len(b)-at)%word != 0 {
		b = append(b, 0)
	}
	b[at+1] = uint8((len(b) - at) / word)
	return b
}
