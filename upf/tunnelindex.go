package upf

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"

	"github.com/braid-upf/braid/pfcp"
)

// tunnelIndex finds the session that sends to a tunnel (peer, TEID). It keeps a hash
// instead of the tunnel, 16 octets an entry: what is found must be held against the
// session's rules. Where two sessions send to one tunnel, the later one is found.
type tunnelIndex struct {
	seed  maphash.Seed
	seids map[uint64]uint64 // hash of the tunnel to UP SEID
}

func newTunnelIndex() tunnelIndex {
	return tunnelIndex{maphash.MakeSeed(), map[uint64]uint64{}}
}

func (x *tunnelIndex) key(peer netip.Addr, teid uint32) uint64 {
	var b [20]byte
	a := peer.As16()
	copy(b[:], a[:])
	binary.BigEndian.PutUint32(b[16:], teid)
	return maphash.Bytes(x.seed, b[:])
}

// take gives the session that sends to the tunnel, 0 if there is none, and forgets it.
func (x *tunnelIndex) take(peer netip.Addr, teid uint32) uint64 {
	k := x.key(peer, teid)
	seid := x.seids[k]
	delete(x.seids, k)
	return seid
}

// replace says that session seid, which sent to old's tunnels, sends to set's. One
// that stays is left alone, so that it is not reported twice.
func (x *tunnelIndex) replace(seid uint64, old, set ruleSet) {
	for _, f := range old.fars {
		for _, peer := range peersOf(f) {
			if k := x.key(peer, f.Forwarding.OuterHeader.TEID); x.seids[k] == seid && !set.sendsTo(peer, f.Forwarding.OuterHeader.TEID) {
				delete(x.seids, k)
			}
		}
	}
	for _, f := range set.fars {
		for _, peer := range peersOf(f) {
			if teid := f.Forwarding.OuterHeader.TEID; !old.sendsTo(peer, teid) {
				x.seids[x.key(peer, teid)] = seid
			}
		}
	}
}

// peersOf are the addresses of the tunnel that f forwards to; none if it does not.
func peersOf(f *pfcp.FAR) []netip.Addr {
	if f.ApplyAction == nil || *f.ApplyAction&pfcp.ActionFORW == 0 || f.Forwarding == nil || f.Forwarding.OuterHeader == nil {
		return nil
	}
	var peers []netip.Addr
	o := f.Forwarding.OuterHeader
	for _, a := range []netip.Addr{o.IPv4, o.IPv6.Unmap()} {
		if o.TEID != 0 && a.IsValid() && !a.IsUnspecified() {
			peers = append(peers, a)
		}
	}
	return peers
}

// sendsTo says whether a FAR of r forwards to the tunnel.
func (r ruleSet) sendsTo(peer netip.Addr, teid uint32) bool {
	for _, f := range r.fars {
		for _, p := range peersOf(f) {
			if p == peer && f.Forwarding.OuterHeader.TEID == teid {
				return true
			}
		}
	}
	return false
}
