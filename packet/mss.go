package packet

import (
	"encoding/binary"
	"math/bits"
)

// ClampMSS lowers the MSS option (RFC 9293 §3.7.1) of the TCP segment of packet b,
// which Parse described in p, to limit, and mends the TCP checksum. It reports
// whether it changed the packet: only that of a SYN with an option above limit is. A
// SYN without one stays so: its sender then gets segments of 536 or 1220 bytes, the
// defaults, whatever limit is.
func ClampMSS(b []byte, p *Info, limit uint16) bool {
	if p.Fragment && !p.FirstFragment {
		return false
	}
	t, r := ParseTCP(b, p)
	if r != OK || t.Flags()&SYN == 0 {
		return false
	}
	changed := false
	for off, end := TCPHeaderLen, t.HeaderLen(); off < end; {
		switch t[off] {
		case OptEnd:
			return changed
		case OptNOP:
			off++
			continue
		}
		if end-off < 2 || t[off+1] < 2 || int(t[off+1]) > end-off {
			return changed
		}
		if t[off] == OptMSS && t[off+1] == 4 && binary.BigEndian.Uint16(t[off+2:]) > limit {
			t.setMSS(off+2, limit)
			changed = true
		}
		off += int(t[off+1])
	}
	return changed
}

// setMSS writes mss at off and mends the checksum. A 16-bit value at an odd offset is
// the lower half of a word and the upper half of the next: in ones-complement
// arithmetic the value with its bytes exchanged (RFC 1071 §2 (B)).
func (t TCP) setMSS(off int, mss uint16) {
	old, val := binary.BigEndian.Uint16(t[off:]), mss
	binary.BigEndian.PutUint16(t[off:], mss)
	if off&1 != 0 {
		old, val = bits.ReverseBytes16(old), bits.ReverseBytes16(val)
	}
	updateChecksum(t[16:], old, val)
}
