package dataplane

import (
	"encoding/binary"

	"github.com/braid-upf/braid/packet"
)

// deepFilter is what an SDF filter asks of fields that hardly any filter names: a
// packet is searched for them only if all else matches.
type deepFilter struct {
	spi      uint32 // 0 = any
	label    uint32
	hasLabel bool
}

func makeDeepFilter(f *Filter) deepFilter {
	return deepFilter{spi: f.SPI, label: f.FlowLabel, hasLabel: f.HasLabel}
}

// any says that every packet matches.
func (f *deepFilter) any() bool { return f.spi == 0 && !f.hasLabel }

// Protocols with an SPI in their header.
const (
	protoESP = 50 // RFC 4303 §2
	protoAH  = 51 // RFC 4302 §2
)

// matches looks into the IP packet ip. Without one (nil) there is no SPI and no flow
// label, and no SPI either in a fragment: as with ports, a datagram is not to be split
// between PDRs.
func (f *deepFilter) matches(ip []byte) bool {
	if f.any() {
		return true
	}
	var in packet.Info
	if packet.Parse(ip, &in) != packet.OK {
		return false
	}
	if f.hasLabel && (in.Version != 6 || binary.BigEndian.Uint32(ip)&0xfffff != f.label) {
		return false
	}
	if f.spi == 0 {
		return true
	}
	at := in.L4
	switch in.Proto {
	case protoESP:
	case protoAH:
		at += 4
	default:
		return false
	}
	return !in.Fragment && at+4 <= in.End && binary.BigEndian.Uint32(ip[at:]) == f.spi
}
