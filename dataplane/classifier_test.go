package dataplane

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/braid-upf/braid/packet"
)

// probe is a packet and what a reader of its bytes knows of it.
type probe struct {
	local, remote         netip.Addr
	localPort, remotePort uint16
	proto, tos            uint8
	fragment              bool
	spi                   uint32 // of ESP or AH
	label                 uint32
	qfi                   uint8
}

// bytes is p as an uplink packet.
func (p *probe) bytes() []byte {
	b := transport(p.local, p.remote, p.proto, 16)
	l4 := b[len(b)-16:]
	switch p.proto {
	case packet.ProtoTCP, packet.ProtoUDP:
		binary.BigEndian.PutUint16(l4, p.localPort)
		binary.BigEndian.PutUint16(l4[2:], p.remotePort)
	case protoESP:
		binary.BigEndian.PutUint32(l4, p.spi)
	case protoAH:
		binary.BigEndian.PutUint32(l4[4:], p.spi)
	}
	if p.local.Is6() {
		binary.BigEndian.PutUint32(b, 6<<28|uint32(p.tos)<<20|p.label)
		return b
	}
	b[1] = p.tos
	if p.fragment {
		fragment(b, 0, true)
	}
	return b
}

func (p *probe) hasPorts() bool {
	return !p.fragment && (p.proto == packet.ProtoTCP || p.proto == packet.ProtoUDP)
}

// within is the model of a prefix. As IPv4-mapped, an IPv6 prefix that is short
// enough holds IPv4 too.
func within(q netip.Prefix, a netip.Addr) bool {
	if !q.IsValid() || q.Bits() == 0 && q.Addr().Is6() {
		return true
	}
	return q.Contains(a)
}

func portIn(rs []PortRange, port uint16, p *probe) bool {
	if !p.hasPorts() {
		port = 0 // ICMP and others count as port 0
	}
	return len(rs) == 0 || !p.fragment && slices.ContainsFunc(rs, func(r PortRange) bool { return r.First <= port && port <= r.Last })
}

// matches is the model of an SDF filter.
func (f *Filter) matchesProbe(p *probe) bool {
	return (f.Protocol == 0 || f.Protocol == p.proto) &&
		within(f.Remote, p.remote) && within(f.Local, p.local) &&
		portIn(f.RemotePorts, p.remotePort, p) && portIn(f.LocalPorts, p.localPort, p) &&
		(f.TOS^p.tos)&f.TOSMask == 0 &&
		(f.SPI == 0 || f.SPI == p.spi && (p.proto == protoESP || p.proto == protoAH) && !p.fragment) &&
		(!f.HasLabel || p.local.Is6() && f.FlowLabel == p.label)
}

// matchModel is the model of a classifier: the index of the PDR, -1 if none.
func matchModel(pdrs []PDR, p *probe) (index int, spoofed bool) {
	for i := range pdrs {
		d := &pdrs[i]
		if d.QFIs != 0 && p.qfi != anyQFI && d.QFIs&(1<<p.qfi) == 0 {
			continue
		}
		if len(d.Filters) > 0 && !slices.ContainsFunc(d.Filters, func(f Filter) bool { return f.matchesProbe(p) }) {
			continue
		}
		if len(d.UEAddrs) == 0 || slices.ContainsFunc(d.UEAddrs, func(q netip.Prefix) bool { return within(q, p.local) }) {
			return i, false
		}
		spoofed = true
	}
	return -1, spoofed
}

// compilePDRs compiles PDRs of packets for the UE.
func compilePDRs(pdrs []PDR) []pdr {
	c := compiler{rules: &Rules{}}
	var out []pdr
	for i := range pdrs {
		out = append(out, c.pdr(&pdrs[i], true))
	}
	return out
}

// numBlocks is the number of c's blocks.
func (c *classifier) numBlocks() int {
	if c.blocks == nil {
		return 0
	}
	return len(*c.blocks)
}

// ruleMaker makes random rules and packets of a small world in which they meet.
type ruleMaker struct {
	*rand.Rand
	wide int // ports and prefixes to choose from
}

func (r *ruleMaker) addr(v6 bool) netip.Addr {
	n := r.IntN(r.wide)
	if v6 {
		a := [16]byte{0: 0xfd, 6: byte(n >> 4), 7: byte(n), 15: byte(r.IntN(3))}
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte{10, 60 + byte(r.IntN(2)), byte(n), byte(r.IntN(4))})
}

func (r *ruleMaker) prefix() netip.Prefix {
	v6 := r.IntN(3) == 0
	lengths := []int{0, 8, 15, 16, 23, 24, 30, 31, 32, 32, 32}
	if v6 {
		lengths = []int{0, 1, 8, 56, 60, 62, 63, 64, 64, 65, 126, 127, 128}
	}
	return netip.PrefixFrom(r.addr(v6), lengths[r.IntN(len(lengths))])
}

func (r *ruleMaker) port() uint16 {
	if r.IntN(10) == 0 {
		return []uint16{0, 1, 255, 256, 65534, 65535}[r.IntN(6)]
	}
	return uint16(r.IntN(r.wide) * 37)
}

func (r *ruleMaker) ports() []PortRange {
	var out []PortRange
	for range 1 + r.IntN(3) {
		p := PortRange{First: r.port()}
		p.Last = p.First
		if q := r.port(); r.IntN(2) == 0 && q >= p.First {
			p.Last = q
		}
		out = append(out, p)
	}
	return out
}

var protocols = []uint8{packet.ProtoTCP, packet.ProtoUDP, packet.ProtoUDP, packet.ProtoICMP, protoESP, protoAH}

func (r *ruleMaker) filter() Filter {
	var f Filter
	some := func() bool { return r.IntN(3) == 0 }
	if some() {
		f.Protocol = protocols[r.IntN(len(protocols))]
	}
	if some() {
		f.Remote = r.prefix()
	}
	if r.IntN(6) == 0 {
		f.Local = r.prefix()
	}
	if some() {
		f.RemotePorts = r.ports()
	}
	if r.IntN(6) == 0 {
		f.LocalPorts = r.ports()
	}
	if r.IntN(6) == 0 {
		f.TOS, f.TOSMask = uint8(r.IntN(256)), []uint8{0xff, 0xfc, 0x80, 0x03}[r.IntN(4)]
	}
	if r.IntN(12) == 0 {
		f.SPI = 1 + r.Uint32N(2)
	}
	if r.IntN(12) == 0 {
		f.FlowLabel, f.HasLabel = r.Uint32N(2), true
	}
	return f
}

func (r *ruleMaker) pdrs(n int) []PDR {
	out := make([]PDR, n)
	for i := range out {
		d := &out[i]
		d.ID = uint16(i + 1)
		for range r.IntN(3) {
			d.UEAddrs = append(d.UEAddrs, r.prefix())
		}
		if r.IntN(3) == 0 {
			d.QFIs = []uint64{1, 2, 6, 9, 15}[r.IntN(5)]
		}
		// Without filters hardly anything gets past a PDR: seldom but for the last.
		if i == n-1 || r.IntN(8) != 0 {
			for range r.IntN(4) {
				d.Filters = append(d.Filters, r.filter())
			}
		}
	}
	return out
}

func (r *ruleMaker) probe() probe {
	v6 := r.IntN(3) == 0
	p := probe{
		local: r.addr(v6), remote: r.addr(v6), localPort: r.port(), remotePort: r.port(),
		proto: protocols[r.IntN(len(protocols))], tos: uint8(r.IntN(256)),
		fragment: !v6 && r.IntN(8) == 0, spi: 1 + r.Uint32N(2), qfi: uint8(r.IntN(4)),
	}
	if v6 {
		p.label = r.Uint32N(2)
	}
	if r.IntN(8) == 0 {
		p.qfi = anyQFI
	}
	return p
}

// TestClassifier compares with a model on random rule sets and packets.
func TestClassifier(t *testing.T) {
	r := ruleMaker{Rand: rand.New(rand.NewPCG(4, 4))}
	hits, spoofs, blocks := 0, 0, 0
	for set := range 4000 {
		n := 1 + r.IntN(6)
		if set%8 == 0 {
			n = 1 + r.IntN(120)
		}
		r.wide = 2 << r.IntN(7)
		pdrs := r.pdrs(n)
		c := makeClassifier(compilePDRs(pdrs))
		blocks = max(blocks, c.numBlocks())
		for range 100 {
			p := r.probe()
			b := p.bytes()
			var info packet.Info
			if reason := packet.Parse(b, &info); reason != packet.OK {
				t.Fatal(reason)
			}
			var flow tuple
			flow.uplink(&info)
			want, wantSpoofed := matchModel(pdrs, &p)
			d, spoofed := c.lookup(&flow, p.qfi, b)
			got := -1
			if d != nil {
				got = int(d.id) - 1
				hits++
			}
			if spoofed {
				spoofs++
			}
			if got != want || spoofed != wantSpoofed {
				t.Fatalf("set %d: %+v: PDR %d, spoofed %v; want %d, %v\nof %+v", set, p, got, spoofed, want, wantSpoofed, pdrs)
			}
		}
	}
	if hits < 40_000 || spoofs < 10_000 || blocks < 2 {
		t.Errorf("%d hits, %d spoofed, %d blocks at most: the test says little", hits, spoofs, blocks)
	}
}

// TestClassifierWithoutPacket: a tuple alone matches no SPI and no flow label.
func TestClassifierWithoutPacket(t *testing.T) {
	for name, f := range map[string]Filter{"SPI": {SPI: 1}, "flow label": {HasLabel: true}} {
		pdrs := []PDR{{ID: 1, Filters: []Filter{f}}, {ID: 2}}
		for _, n := range []int{1, blockUnits} {
			c := makeClassifier(compilePDRs(slices.Repeat(pdrs, n)))
			if d, _ := c.lookup(&tuple{proto: protoESP}, 0, nil); d == nil || d.id != 2 {
				t.Errorf("%s, %d rules: %+v, want PDR 2", name, 2*n, d)
			}
		}
	}
}
