package pfcp

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
	"unique"

	"github.com/wmnsk/go-pfcp/ie"
)

// ParseNodeID reads a Node ID IE (TS 29.244 §8.2.38) as the text of its address
// or its name.
func ParseNodeID(i *ie.IE) (string, *Error) {
	b, err := octets(i, 2)
	if err != nil {
		return "", err
	}
	typ, b := b[0]&0x0f, b[1:]
	switch {
	case typ == 0 && len(b) >= 4:
		return netip.AddrFrom4([4]byte(b)).String(), nil
	case typ == 1 && len(b) >= 16:
		return netip.AddrFrom16([16]byte(b)).String(), nil
	case typ == 2:
		if name, ok := decodeName(b); ok {
			return name, nil
		}
	}
	return "", malformed(i, "type %d with %d octets", typ, len(b))
}

// NodeIDIE encodes a node ID: an address if id is one, else a name.
func NodeIDIE(id string) *ie.IE {
	if a, err := netip.ParseAddr(id); err == nil {
		typ := byte(0)
		if !a.Is4() {
			typ = 1
		}
		return ie.New(ie.NodeID, append([]byte{typ}, a.AsSlice()...))
	}
	return ie.New(ie.NodeID, append([]byte{2}, encodeName(id)...))
}

// ntpEpoch is the Unix time of 1900-01-01, negated: seconds to add.
const ntpEpoch = 2208988800

// ParseRecoveryTimeStamp reads a Recovery Time Stamp IE (TS 29.244 §8.2.65).
func ParseRecoveryTimeStamp(i *ie.IE) (time.Time, *Error) {
	v, err := u32(i)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(int64(v)-ntpEpoch, 0), nil
}

// RecoveryTimeStampIE encodes t, which has a resolution of one second.
func RecoveryTimeStampIE(t time.Time) *ie.IE {
	return ie.New(ie.RecoveryTimeStamp, binary.BigEndian.AppendUint32(nil, uint32(t.Unix()+ntpEpoch)))
}

// networkInstance reads a Network Instance IE (TS 29.244 §8.2.4): SMFs send it
// as a plain string or as an FQDN's labels. Equal names share their memory: the
// rules of every session hold some.
func networkInstance(i *ie.IE) string {
	name, ok := decodeName(i.Payload)
	if !ok {
		name = string(i.Payload)
	}
	return unique.Make(name).Value()
}

// decodeName reads labels, each behind its length (RFC 1035 §3.1); ok is false
// if b is not exactly that.
func decodeName(b []byte) (name string, ok bool) {
	var labels []string
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 && len(b) == 1 && labels != nil { // the root, which most leave out
			break
		}
		if n == 0 || n > 63 || 1+n > len(b) {
			return "", false
		}
		labels = append(labels, string(b[1:1+n]))
		b = b[1+n:]
	}
	return strings.Join(labels, "."), labels != nil
}

// encodeName is the inverse of decodeName. Labels longer than 63 octets are cut.
func encodeName(name string) []byte {
	var b []byte
	for label := range strings.SplitSeq(name, ".") {
		label = label[:min(len(label), 63)]
		if label != "" {
			b = append(b, byte(len(label)))
			b = append(b, label...)
		}
	}
	return b
}
