package dataplane

import (
	"net/netip"
	"sync/atomic"
)

// path is the way to one GTP-U peer. The control side writes it, any worker reads it.
type path struct {
	mtu atomic.Uint32 // longest IP packet that passes inside a tunnel to the peer, unfragmented
}

// pathTable are the paths to all peers that rules have named. The plane's lock guards
// it.
type pathTable struct {
	plane  *Plane
	byPeer map[netip.Addr]*path
}

func (t *pathTable) of(peer netip.Addr) *path {
	p := t.byPeer[peer]
	if p == nil {
		p = &path{}
		p.mtu.Store(uint32(t.plane.ueMTU(peer.Is6())))
		t.byPeer[peer] = p
	}
	return p
}

// ueMTU is the longest IP packet of a UE that fits N3's MTU behind outer headers of
// that version.
func (p *Plane) ueMTU(v6 bool) int {
	if v6 {
		return p.mtu - overhead6
	}
	return p.mtu - overhead4
}
