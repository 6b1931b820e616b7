package mptcpclient

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Diag asks the kernel about the TCP sockets of a network namespace
// (sock_diag(7)): the server's side of a transfer. One goroutine at a time.
type Diag struct{ h *netlink.Handle }

// OpenDiag opens a Diag in a network namespace.
func OpenDiag(in Namespace) (*Diag, error) {
	d := &Diag{}
	err := in.do(func() error {
		var err error
		d.h, err = netlink.NewHandle(unix.NETLINK_INET_DIAG)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("socket diagnosis: %w", err)
	}
	return d, nil
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
		if addrPort(s.InetDiagMsg.ID.Destination, s.InetDiagMsg.ID.DestinationPort) == remote && s.TCPInfo != nil {
			return *s.TCPInfo, nil
		}
	}
	return netlink.TCPInfo{}, fmt.Errorf("%v: %w", remote, ErrNoSocket)
}

// Live lists the TCP sockets that still have something to do: not those that
// listen, nor those in TIME_WAIT, which only wait for time to pass.
func (d *Diag) Live() ([]string, error) {
	var live []string
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		all, err := d.h.SocketDiagTCP(family)
		if err != nil {
			return nil, fmt.Errorf("socket diagnosis: %w", err)
		}
		for _, s := range all {
			if s.State == netlink.TCP_LISTEN || s.State == netlink.TCP_TIME_WAIT || s.State == netlink.TCP_CLOSE {
				continue
			}
			live = append(live, fmt.Sprintf("%v to %v in state %s",
				addrPort(s.ID.Source, s.ID.SourcePort), addrPort(s.ID.Destination, s.ID.DestinationPort), stateName(s.State)))
		}
	}
	return live, nil
}

func stateName(state uint8) string {
	names := [...]string{
		netlink.TCP_ESTABLISHED: "ESTABLISHED", netlink.TCP_SYN_SENT: "SYN_SENT", netlink.TCP_SYN_RECV: "SYN_RECV",
		netlink.TCP_FIN_WAIT1: "FIN_WAIT1", netlink.TCP_FIN_WAIT2: "FIN_WAIT2", netlink.TCP_CLOSE_WAIT: "CLOSE_WAIT",
		netlink.TCP_LAST_ACK: "LAST_ACK", netlink.TCP_CLOSING: "CLOSING",
	}
	if int(state) < len(names) && names[state] != "" {
		return names[state]
	}
	return fmt.Sprint(state)
}

func addrPort(ip net.IP, port uint16) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), port)
}

// Close frees the netlink socket.
func (d *Diag) Close() { d.h.Close() }
