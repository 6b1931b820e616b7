package dataplane

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/braid-upf/braid/packet"
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

// pathInterval is how often the control side looks what the kernel knows of the paths to
// the peers.
const pathInterval = 5 * time.Second

// watchPaths keeps the MTU of every path up to date until ctx ends.
func (p *Plane) watchPaths(ctx context.Context) {
	tick := time.NewTicker(pathInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.lookAtPaths()
		}
	}
}

// lookAtPaths sets the MTU of every path to what the kernel knows of it, N3's own at
// most. Where it knows nothing of a peer (there is no route now) the MTU stays.
func (p *Plane) lookAtPaths() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for peer, path := range p.paths.byPeer {
		if mtu, err := p.set.PathMTU(peer); err == nil {
			overhead := p.mtu - p.ueMTU(peer.Is6())
			path.mtu.Store(uint32(max(packet.MinMTU4, min(mtu, p.mtu)-overhead)))
		}
	}
}

// ueMTU is the longest IP packet of a UE that fits N3's MTU behind outer headers of
// that version.
func (p *Plane) ueMTU(v6 bool) int {
	if v6 {
		return p.mtu - overhead6
	}
	return p.mtu - overhead4
}
