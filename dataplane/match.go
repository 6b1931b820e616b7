package dataplane

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// prefix is an IP prefix compiled for comparison, IPv4 as IPv4-mapped. The zero
// value contains every address.
type prefix struct{ hi, lo, maskHi, maskLo uint64 }

func makePrefix(p netip.Prefix) prefix {
	if !p.IsValid() {
		return prefix{}
	}
	k := makeUEKey(p)
	var m prefix
	m.maskHi, m.maskLo = masks(k.bits)
	m.hi, m.lo = binary.BigEndian.Uint64(k.addr[:8]), binary.BigEndian.Uint64(k.addr[8:])
	return m
}

func (p *prefix) contains(a *packet.Addr) bool {
	return binary.BigEndian.Uint64(a[:8])&p.maskHi == p.hi && binary.BigEndian.Uint64(a[8:])&p.maskLo == p.lo
}

// masks are the two halves of the netmask of n bits.
func masks(n uint8) (hi, lo uint64) {
	const all = ^uint64(0)
	if n <= 64 {
		return all &^ (all >> n), 0
	}
	return all, all &^ (all >> (n - 64))
}

// anyContains says whether one of ps contains a, or ps is empty.
func anyContains(ps []prefix, a *packet.Addr) bool {
	for i := range ps {
		if ps[i].contains(a) {
			return true
		}
	}
	return len(ps) == 0
}

// tuple is what SDF filters look at. Local is the UE's side, remote the data
// network's, whichever way the packet goes; so the tuple of an uplink packet is
// also that of the server's answer.
type tuple struct {
	local, remote         packet.Addr
	localPort, remotePort uint16 // valid unless fragment
	proto                 uint8
	tos                   uint8 // IPv4 TOS or IPv6 traffic class
	fragment              bool
}

// uplink sets t from the headers of a packet of the UE.
func (t *tuple) uplink(in *packet.Info) {
	t.local, t.remote, t.localPort, t.remotePort = in.Src, in.Dst, in.SrcPort, in.DstPort
	t.proto, t.tos, t.fragment = in.Proto, in.TOS, in.Fragment
}

// downlink sets t from the headers of a packet for the UE.
func (t *tuple) downlink(in *packet.Info) {
	t.local, t.remote, t.localPort, t.remotePort = in.Dst, in.Src, in.DstPort, in.SrcPort
	t.proto, t.tos, t.fragment = in.Proto, in.TOS, in.Fragment
}

// localIs4 says whether the UE's side is that IPv4 address.
func (t *tuple) localIs4(a uint32) bool {
	return binary.BigEndian.Uint64(t.local[:8]) == 0 && binary.BigEndian.Uint64(t.local[8:]) == 0xffff<<32|uint64(a)
}

// point is the flow's place on the line of steer.Policy.Choose. Fragments that come
// before their datagram's first have another.
func (t *tuple) point() uint32 {
	h := mix(binary.BigEndian.Uint64(t.local[8:]), binary.BigEndian.Uint64(t.remote[8:]))
	h = mix(h^binary.BigEndian.Uint64(t.local[:8]), binary.BigEndian.Uint64(t.remote[:8])^uint64(t.proto))
	if !t.fragment {
		h = mix(h, uint64(t.localPort)<<16|uint64(t.remotePort))
	}
	return uint32(h>>32) % steer.Points
}

// mix is a multiplicative hash of two words.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xc2b2ae3d27d4eb4f)
	return hi ^ lo
}

// filter is a Filter compiled.
type filter struct {
	local, remote           prefix
	localPorts, remotePorts []PortRange
	deep                    deepFilter
	proto                   uint8
	tos, tosMask            uint8
}

func makeFilter(f *Filter) filter {
	return filter{
		local: makePrefix(f.Local), remote: makePrefix(f.Remote),
		localPorts: f.LocalPorts, remotePorts: f.RemotePorts, proto: f.Protocol,
		tos: f.TOS & f.TOSMask, tosMask: f.TOSMask,
		deep: makeDeepFilter(f),
	}
}

// matches says whether f matches as far as t tells: all but f.deep.
func (f *filter) matches(t *tuple) bool {
	return (f.proto == 0 || f.proto == t.proto) && t.tos&f.tosMask == f.tos &&
		f.remote.contains(&t.remote) && f.local.contains(&t.local) &&
		inPorts(f.remotePorts, t.remotePort, t) && inPorts(f.localPorts, t.localPort, t)
}

// inPorts says whether port is in one of the ranges, or there are none. A fragment
// matches no range: those behind the first carry no ports, and a datagram is not
// to be split between PDRs.
func inPorts(rs []PortRange, port uint16, t *tuple) bool {
	if len(rs) == 0 {
		return true
	}
	if t.fragment {
		return false
	}
	for _, r := range rs {
		if r.First <= port && port <= r.Last {
			return true
		}
	}
	return false
}
