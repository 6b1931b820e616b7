package sockets

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/gtpu"
)

// pathProbe is a UDP socket at one of our N3 addresses that sends nothing: connected
// to a peer, it tells what the kernel knows of the path.
type pathProbe struct {
	fd int
	v6 bool
}

func openPathProbe(local netip.Addr) (p pathProbe, err error) {
	at := netip.AddrPortFrom(local, 0)
	p = pathProbe{v6: local.Is6()}
	if p.fd, err = unix.Socket(family(at), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return p, fmt.Errorf("N3: path MTU: socket: %w", err)
	}
	if err := unix.Bind(p.fd, sockaddr(at)); err != nil {
		_ = unix.Close(p.fd)
		return p, fmt.Errorf("N3: path MTU: bind %v: %w", local, err)
	}
	return p, nil
}

// mtu is the MTU of the path to peer.
func (p *pathProbe) mtu(peer netip.Addr) (int, error) {
	if err := unix.Connect(p.fd, sockaddr(netip.AddrPortFrom(peer, gtpu.Port))); err != nil {
		return 0, fmt.Errorf("N3: path to %v: %w", peer, err)
	}
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if p.v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	mtu, err := unix.GetsockoptInt(p.fd, level, option)
	if err != nil {
		return 0, fmt.Errorf("N3: path MTU to %v: %w", peer, err)
	}
	return mtu, nil
}

var errNoFamily = errors.New("we have no N3 address of its IP version")

// PathMTU is as driver.Set has it, for packets from the first of our N3 addresses
// that has the IP version of peer.
func (s *Set) PathMTU(peer netip.Addr) (int, error) {
	peer = peer.Unmap()
	for i := range s.probes {
		if s.probes[i].v6 == peer.Is6() {
			return s.probes[i].mtu(peer)
		}
	}
	return 0, fmt.Errorf("N3: path to %v: %w", peer, errNoFamily)
}
