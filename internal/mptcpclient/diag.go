package mptcpclient

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Diag asks the kernel about the TCP sockets of a network namespace
// (sock_diag(7)): the server's side of a transfer. One goroutine at a time.
type Diag struct{ h *netlink.Handle }

// OpenDiag opens a Diag in the named network namespace.
func OpenDiag(name string) (*Diag, error) {
	f, err := os.Open(filepath.Join(netnsDir, name))
	if err != nil {
		return nil, fmt.Errorf("socket diagnosis: %w", err)
	}
	defer f.Close()
	h, err := netlink.NewHandleAt(netns.NsHandle(f.Fd()), unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("socket diagnosis in %s: %w", name, err)
	}
	return &Diag{h}, nil
}

// ErrNoSocket is the error for a connection that the kernel does not have (yet,
// or any more).
var ErrNoSocket = errors.New("no such socket")

// Connection is the TCP information of the socket with this remote end.
func (d *Diag) Connection(remote netip.AddrPort) (netlink.TCPInfo, error) {
	family := uint8(unix.AF_INET)
	if remote.Addr().Is6() {
		family = unix.AF_INET6
	}
	all, err := d.h.SocketDiagTCPInfo(family)
	if err != nil {
		return netlink.TCPInfo{}, fmt.Errorf("socket diagnosis: %w", err)
	}
	for _, s := range all {
		id := &s.InetDiagMsg.ID
		ip, _ := netip.AddrFromSlice(id.Destination)
		if ip.Unmap() == remote.Addr() && id.DestinationPort == remote.Port() && s.TCPInfo != nil {
			return *s.TCPInfo, nil
		}
	}
	return netlink.TCPInfo{}, fmt.Errorf("%v: %w", remote, ErrNoSocket)
}

// Close frees the netlink socket.
func (d *Diag) Close() { d.h.Close() }
