package packet

import "encoding/binary"

// Fields of the IPv4 flags and fragment offset word (RFC 791 §3.1).
const (
	flagDF     = 0x4000
	flagMF     = 0x2000
	offsetMask = 0x1fff // in units of 8 octets
)

// optCopied marks an IPv4 option that every fragment carries (RFC 791 §3.1).
const optCopied = 0x80

// maxHeader4 is the longest IPv4 header.
const maxHeader4 = 60

// Fragment4 cuts the IPv4 packet b, which Parse described in p, into fragments of at
// most mtu bytes (RFC 791 §3.2), the packet itself perhaps a fragment. It appends them,
// in buffers of pool, to out and reports true; out is as it was if the packet must not
// be fragmented (IPv6, DF), if mtu leaves no room for 8 bytes behind the header, or if
// its fragment offsets lead past the longest datagram. The buffers of pool hold at
// least mtu bytes. b is not changed and stays the caller's.
func Fragment4(out []*Buffer, pool *Pool, b []byte, p *Info, mtu int) ([]*Buffer, bool) {
	if p.Version != 4 {
		return out, false
	}
	word := binary.BigEndian.Uint16(b[6:])
	head, data := b[:p.L4], b[p.L4:p.End]
	offset := int(word & offsetMask)
	if word&flagDF != 0 || mtu < len(head)+8 || offset*8+len(data) > 65535 {
		return out, false
	}
	later := head
	var store [maxHeader4]byte
	if len(head) > 20 {
		later = laterHeader(store[:], head)
	}
	for {
		n, more := len(data), word&flagMF
		if room := mtu - len(head); n > room {
			n, more = room&^7, flagMF
		}
		out = append(out, makeFragment(pool, head, data[:n], more|uint16(offset)))
		if n == len(data) {
			return out, true
		}
		head, data, offset = later, data[n:], offset+n/8
	}
}

// makeFragment is the packet of header head, given its length, checksum and word of
// flags and offset, and data.
func makeFragment(pool *Pool, head, data []byte, word uint16) *Buffer {
	f := pool.Get()
	f.SetLen(len(head) + len(data))
	h := f.Bytes()
	copy(h, head)
	copy(h[len(head):], data)
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)))
	binary.BigEndian.PutUint16(h[6:], word)
	binary.BigEndian.PutUint16(h[10:], 0)
	binary.BigEndian.PutUint16(h[10:], ^Fold(SumWords(h[:len(head)])))
	return f
}

// laterHeader writes into b the header of the fragments behind the first: head with
// those of its options alone that have the copied flag.
func laterHeader(b, head []byte) []byte {
	n := copy(b, head[:20])
	for opts := head[20:]; len(opts) > 0 && opts[0] != OptEnd; {
		size := 1
		if opts[0] != OptNOP {
			if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
				break // nothing behind it can be told from it
			}
			size = int(opts[1])
		}
		if opts[0]&optCopied != 0 {
			n += copy(b[n:], opts[:size])
		}
		opts = opts[size:]
	}
	for ; n&3 != 0; n++ {
		b[n] = OptEnd
	}
	b[0] = 4<<4 | uint8(n/4)
	return b[:n]
}
