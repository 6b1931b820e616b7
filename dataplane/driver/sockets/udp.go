package sockets

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// socketBuffer is the size of a UDP socket's buffers, in bytes: bursts of all
// sessions of a worker meet in it.
const socketBuffer = 8 << 20

// openUDP binds n UDP sockets, one per worker and in their order, to addr as one
// SO_REUSEPORT group.
func openUDP(addr netip.AddrPort, n int) (fds []int, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
			fds, err = nil, fmt.Errorf("N3: %v: %w", addr, err)
		}
	}()
	// A socket of the same user in the group, from another process, would put
	// the numbers of ours out: see first that the address is free.
	if err := probe(addr); err != nil {
		return nil, err
	}
	for range n {
		fd, err := unix.Socket(family(addr), unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fds, fmt.Errorf("socket: %w", err)
		}
		fds = append(fds, fd)
		if err := setOptions(fd, addr.Addr().Is6()); err != nil {
			return fds, err
		}
		if err := unix.Bind(fd, sockaddr(addr)); err != nil {
			return fds, fmt.Errorf("bind: %w", err)
		}
	}
	return fds, nil
}

// probe binds addr alone for a moment.
func probe(addr netip.AddrPort) error {
	fd, err := unix.Socket(family(addr), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, sockaddr(addr)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// setOptions sets the options of an N3 socket. Packets that fit the path as far as it
// is known leave with DF set, so that a narrow link on the way makes itself known
// (RFC 1191, RFC 8201); longer ones are fragmented by the kernel here, not by a
// router (TS 29.281 §4.2.4). A router that drops without saying so is a hole for long
// packets, as for all senders that find path MTUs: the MTU of the UEs' packets, in the
// config, keeps them short enough.
func setOptions(fd int, v6 bool) error {
	type option struct{ level, name, value int }
	options := []option{
		{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1},
		{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_WANT},
	}
	if v6 {
		options[1] = option{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_WANT}
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("socket option %d/%d: %w", o.level, o.name, err)
		}
	}
	for force, polite := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, socketBuffer)
		if errors.Is(err, os.ErrPermission) {
			// As much as net.core.rmem_max and wmem_max allow.
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, polite, socketBuffer)
		}
		if err != nil {
			return fmt.Errorf("socket buffer: %w", err)
		}
	}
	return nil
}

// steerUDP attaches the program that picks the socket to fd's group.
func steerUDP(fd, program int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, program); err != nil {
		return fmt.Errorf("N3: attach the steering program: %w", err)
	}
	return nil
}

func family(a netip.AddrPort) int {
	if a.Addr().Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

func ipNet(p netip.Prefix) *net.IPNet {
	p = p.Masked()
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
