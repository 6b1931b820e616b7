package lab

import (
	"encoding/binary"

	ip "github.com/braid-upf/braid/packet"
)

// markCE sets the CE codepoint in the IP packet b if its sender is ECN-capable; it
// reports whether b is marked now.
func markCE(b []byte) bool {
	const mask, notCapable, ce = 3, 0, 3
	if b[0]>>4 == 6 {
		if b[1]>>4&mask == notCapable {
			return false
		}
		b[1] |= ce << 4
		return true
	}
	if b[1]&mask == notCapable {
		return false
	}
	b[1] |= ce
	clear(b[10:12])
	binary.BigEndian.PutUint16(b[10:], ^ip.Fold(ip.Sum(b[:b[0]&0xf*4])))
	return true
}

// stripMPTCP overwrites the MPTCP options of the TCP segment in the IP packet b with NOPs
// unless it is a SYN; it reports whether there were any.
func stripMPTCP(b []byte) (found bool) {
	var in ip.Info
	if ip.Parse(b, &in) != ip.OK || in.Proto != ip.ProtoTCP || in.Fragment {
		return false
	}
	t, r := ip.ParseTCP(b, &in)
	if r != ip.OK || t.Flags()&ip.SYN != 0 {
		return false
	}
	for o := t.Options(); len(o) > 1 && o[0] != ip.OptEnd; {
		n := 1
		if o[0] != ip.OptNOP {
			n = int(o[1])
		}
		if n < 1 || n > len(o) {
			break
		}
		if o[0] == ip.OptMPTCP {
			found = true
			for i := range n {
				o[i] = ip.OptNOP
			}
		}
		o = o[n:]
	}
	if found {
		clear(t[16:18])
		sum := ip.PseudoSum(&in.Src, &in.Dst, ip.ProtoTCP, len(t)) + ip.Sum(t)
		binary.BigEndian.PutUint16(t[16:], ^ip.Fold(sum))
	}
	return found
}
