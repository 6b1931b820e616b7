package pfcp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/wmnsk/go-pfcp/ie"
)

// SDFFilter is an SDF Filter IE (TS 29.244 §8.2.5). What it has, a packet must all
// match.
type SDFFilter struct {
	Description    FlowDescription // valid if HasDescription
	HasDescription bool
	TOS, TOSMask   uint8 // IPv4 ToS or IPv6 traffic class, and its mask; valid if HasTOS
	HasTOS         bool
	SPI            uint32 // IPsec security parameter index; valid if HasSPI
	HasSPI         bool
	FlowLabel      uint32 // IPv6 flow label, 20 bits; valid if HasLabel
	HasLabel       bool
	ID             uint32 // SDF filter ID; valid if HasID
	HasID          bool
}

// Flags of the SDF Filter IE.
const (
	sdfFD  = 1 << 0
	sdfTTC = 1 << 1
	sdfSPI = 1 << 2
	sdfFL  = 1 << 3
	sdfBID = 1 << 4
)

// ParseSDFFilter reads an SDF Filter IE.
func ParseSDFFilter(i *ie.IE) (SDFFilter, *Error) {
	b, err := octets(i, 2)
	if err != nil {
		return SDFFilter{}, err
	}
	flags, b := b[0], b[2:]
	var s SDFFilter
	if s.HasDescription = flags&sdfFD != 0; s.HasDescription {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			return SDFFilter{}, malformed(i, "flow description cut off")
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		fd, err := ParseFlowDescription(string(b[2:n]))
		if err != nil {
			return SDFFilter{}, malformed(i, "%v", err)
		}
		s.Description, b = fd, b[n:]
	}
	s.HasTOS, s.HasSPI, s.HasLabel, s.HasID = flags&sdfTTC != 0, flags&sdfSPI != 0, flags&sdfFL != 0, flags&sdfBID != 0
	need := 0
	for _, part := range []struct {
		there  bool
		octets int
	}{{s.HasTOS, 2}, {s.HasSPI, 4}, {s.HasLabel, 3}, {s.HasID, 4}} {
		if part.there {
			need += part.octets
		}
	}
	if len(b) < need {
		return SDFFilter{}, malformed(i, "%d octets behind the flow description, flags ask for %d", len(b), need)
	}
	if s.HasTOS {
		s.TOS, s.TOSMask, b = b[0], b[1], b[2:]
	}
	if s.HasSPI {
		s.SPI, b = binary.BigEndian.Uint32(b), b[4:]
	}
	if s.HasLabel {
		s.FlowLabel, b = uint32(b[0]&0x0f)<<16|uint32(b[1])<<8|uint32(b[2]), b[3:]
	}
	if s.HasID {
		s.ID = binary.BigEndian.Uint32(b)
	}
	return s, nil
}

// IE encodes s.
func (s SDFFilter) IE() *ie.IE {
	b := []byte{bit(s.HasDescription, sdfFD) | bit(s.HasTOS, sdfTTC) | bit(s.HasSPI, sdfSPI) | bit(s.HasLabel, sdfFL) | bit(s.HasID, sdfBID), 0}
	if s.HasDescription {
		fd := s.Description.String()
		b = binary.BigEndian.AppendUint16(b, uint16(len(fd)))
		b = append(b, fd...)
	}
	if s.HasTOS {
		b = append(b, s.TOS, s.TOSMask)
	}
	if s.HasSPI {
		b = binary.BigEndian.AppendUint32(b, s.SPI)
	}
	if s.HasLabel {
		b = append(b, uint8(s.FlowLabel>>16), uint8(s.FlowLabel>>8), uint8(s.FlowLabel))
	}
	if s.HasID {
		b = binary.BigEndian.AppendUint32(b, s.ID)
	}
	return ie.New(ie.SDFFilter, b)
}

// FlowDescription is an IPFilterRule as PFCP uses it (TS 29.212 §5.4.2,
// RFC 6733 §4.3.1): "permit out PROTO from A to B". Written so, From is the data
// network's side and To the UE's; a rule that says "in" is turned.
type FlowDescription struct {
	Protocol uint8 // IP protocol; 0 = any
	From, To FlowEndpoint
}

// FlowEndpoint is one side of a flow description.
type FlowEndpoint struct {
	Prefix   netip.Prefix // zero = any address
	Assigned bool         // "assigned": the UE's addresses; Prefix is zero
	Ports    []PortRange  // empty = any
}

// PortRange is an inclusive range of ports.
type PortRange struct{ First, Last uint16 }

// maxPortRanges bounds the ports of one side: every packet walks them.
const maxPortRanges = 64

// protocols are the names that a flow description may use in place of numbers.
var protocols = map[string]uint8{"ip": 0, "icmp": 1, "tcp": 6, "udp": 17, "sctp": 132}

// ParseFlowDescription reads a flow description. Only "permit" without options
// is known, and addresses without "!".
func ParseFlowDescription(s string) (FlowDescription, error) {
	p := flowParser{words: strings.Fields(s)}
	if w := p.next(); w != "permit" {
		return FlowDescription{}, fmt.Errorf("flow description %q: action %q, known is permit", s, w)
	}
	direction := p.next()
	if direction != "out" && direction != "in" {
		return FlowDescription{}, fmt.Errorf("flow description %q: direction %q, known are out and in", s, direction)
	}
	var fd FlowDescription
	fd.Protocol = p.protocol()
	fd.From = p.endpoint("from")
	fd.To = p.endpoint("to")
	if p.err == nil && len(p.words) > 0 {
		p.err = fmt.Errorf("options are not known: %q", p.words[0])
	}
	if p.err == nil && fd.From.Prefix.IsValid() && fd.To.Prefix.IsValid() && fd.From.Prefix.Addr().Is4() != fd.To.Prefix.Addr().Is4() {
		p.err = fmt.Errorf("addresses of two families")
	}
	if p.err != nil {
		return FlowDescription{}, fmt.Errorf("flow description %q: %w", s, p.err)
	}
	if direction == "in" {
		fd.From, fd.To = fd.To, fd.From
	}
	return fd, nil
}

// String writes fd as ParseFlowDescription reads it.
func (fd FlowDescription) String() string {
	proto := "ip"
	if fd.Protocol != 0 {
		proto = strconv.Itoa(int(fd.Protocol))
	}
	return "permit out " + proto + " from " + fd.From.String() + " to " + fd.To.String()
}

// String writes e as a flow description has it.
func (e FlowEndpoint) String() string {
	s := "any"
	if e.Assigned {
		s = "assigned"
	} else if e.Prefix.IsValid() {
		s = e.Prefix.String()
	}
	for i, r := range e.Ports {
		sep := ","
		if i == 0 {
			sep = " "
		}
		s += sep + strconv.Itoa(int(r.First))
		if r.Last != r.First {
			s += "-" + strconv.Itoa(int(r.Last))
		}
	}
	return s
}

// flowParser eats the words of a flow description. After the first error it
// stands still.
type flowParser struct {
	words []string
	err   error
}

func (p *flowParser) next() string {
	if len(p.words) == 0 {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *flowParser) protocol() uint8 {
	w := p.next()
	if n, ok := protocols[w]; ok {
		return n
	}
	n, err := strconv.ParseUint(w, 10, 8)
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("protocol %q is neither ip nor a number up to 255", w)
	}
	return uint8(n)
}

func (p *flowParser) endpoint(keyword string) (e FlowEndpoint) {
	if p.err != nil {
		return e
	}
	if w := p.next(); w != keyword {
		p.err = fmt.Errorf("%q where %q belongs", w, keyword)
		return e
	}
	switch w := p.next(); {
	case w == "any":
	case w == "assigned":
		e.Assigned = true
	default:
		if e.Prefix, p.err = parsePrefix(w); p.err != nil {
			return e
		}
	}
	if len(p.words) > 0 && p.words[0] != "" && isDigit(p.words[0][0]) {
		e.Ports, p.err = parsePorts(p.next())
	}
	return e
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// parsePrefix reads an address with or without a length. 0.0.0.0/0 and ::/0 stay
// what they are: any address of that family.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is no address", s)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no prefix", s)
	}
	return p.Masked(), nil
}

func parsePorts(s string) ([]PortRange, error) {
	var rs []PortRange
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || a > b {
			return nil, fmt.Errorf("%q is no port and no range of ports", part)
		}
		if rs = append(rs, PortRange{uint16(a), uint16(b)}); len(rs) > maxPortRanges {
			return nil, fmt.Errorf("more than %d ranges of ports", maxPortRanges)
		}
	}
	return rs, nil
}

// Orient says which side of fd is the data network's (remote) and which the UE's
// (local), for a rule whose UE addresses are ue.
//
// SMFs write flow descriptions in two ways: the same text for both directions, as
// the standard has it, or with the sides swapped in the uplink. The text as the
// standard has it is taken, unless a packet of these UE addresses could match
// only the other way round.
func (fd FlowDescription) Orient(ue []netip.Prefix) (remote, local FlowEndpoint) {
	switch {
	case fd.To.Assigned:
	case fd.From.Assigned, !fd.To.couldBe(ue) && fd.From.couldBe(ue):
		return fd.To, fd.From
	}
	return fd.From, fd.To
}

// couldBe says whether one of the UE addresses can lie in e.
func (e FlowEndpoint) couldBe(ue []netip.Prefix) bool {
	if !e.Prefix.IsValid() || len(ue) == 0 {
		return true
	}
	for _, p := range ue {
		if p.Overlaps(e.Prefix) {
			return true
		}
	}
	return false
}
