// Package mptcp is the wire format of Multipath TCP version 1 (RFC 8684): the
// options of TCP option kind 30, and what is derived from keys.
//
// Left out: version 0 (RFC 6824), of which only the MP_CAPABLE of a SYN is noticed.
package mptcp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// DSN is a data sequence number (RFC 8684 §3.3), 64 bits that wrap.
type DSN uint64

// SSN is a subflow sequence number relative to the subflow's initial sequence
// number: the SYN is 0, the first byte after it is 1 (RFC 8684 §3.3.1). It wraps.
type SSN uint32

// Key is the key of one end of a connection (RFC 8684 §3.1).
type Key uint64

// Version is the MPTCP version of this package.
const Version = 1

// Derive gives the token and the initial data sequence number of the end whose
// key is k (RFC 8684 §3.1, §3.2).
func (k Key) Derive() (token uint32, idsn DSN) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(k))
	h := sha256.Sum256(b[:])
	return binary.BigEndian.Uint32(h[:]), DSN(binary.BigEndian.Uint64(h[24:]))
}

// JoinHMAC is the first 160 bits of the HMAC of an MP_JOIN handshake
// (RFC 8684 §3.2). The SYN/ACK carries its first 64 bits. Sender is the end that
// sends the HMAC.
func JoinHMAC(sender, receiver Key, senderNonce, receiverNonce uint32) (out [20]byte) {
	var msg [8]byte
	binary.BigEndian.PutUint32(msg[:], senderNonce)
	binary.BigEndian.PutUint32(msg[4:], receiverNonce)
	h := keyed(sender, receiver, msg[:])
	copy(out[:], h[:])
	return out
}

// AddAddrHMAC is the truncated HMAC of an ADD_ADDR option: the last 64 bits
// (RFC 8684 §3.4.1). addr is 4 or 16 bytes; port is 0 if the option has none.
func AddAddrHMAC(sender, receiver Key, id uint8, addr []byte, port uint16) (out [8]byte) {
	msg := make([]byte, 0, 19)
	msg = append(msg, id)
	msg = append(msg, addr...)
	msg = binary.BigEndian.AppendUint16(msg, port)
	h := keyed(sender, receiver, msg)
	copy(out[:], h[24:])
	return out
}

// AddAddrAuthentic says whether raw, an ADD_ADDR option with its HMAC
// ([Options].AddAddrRaw, no echo), was made by the end whose key is sender.
func AddAddrAuthentic(raw []byte, sender, receiver Key) bool {
	body, mac := raw[3:len(raw)-8], raw[len(raw)-8:] // ID, address and port as the HMAC wants them
	var port uint16
	if n := len(body); n == 1+4+2 || n == 1+16+2 {
		body, port = body[:n-2], binary.BigEndian.Uint16(body[n-2:])
	}
	want := AddAddrHMAC(sender, receiver, body[0], body[1:], port)
	return hmac.Equal(want[:], mac)
}

func keyed(sender, receiver Key, msg []byte) (out [32]byte) {
	var key [16]byte
	binary.BigEndian.PutUint64(key[:], uint64(sender))
	binary.BigEndian.PutUint64(key[8:], uint64(receiver))
	m := hmac.New(sha256.New, key[:])
	m.Write(msg)
	m.Sum(out[:0])
	return out
}

// DSSChecksum is the checksum of a data sequence mapping (RFC 8684 §3.3.1):
// payloadSum is the ones-complement sum of the mapping's payload, folded to 16
// bits; dsn is the full 64-bit number; ssn and dataLen as in the option.
func DSSChecksum(dsn DSN, ssn SSN, dataLen uint16, payloadSum uint16) uint16 {
	s := uint64(dsn)>>32 + uint64(dsn)&0xffffffff + uint64(ssn) + uint64(dataLen) + uint64(payloadSum)
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
