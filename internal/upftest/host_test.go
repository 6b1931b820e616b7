package upftest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// host is a network namespace, and the thread that holds it: what the thread starts dies
// with it, and the thread dies with the tests.
type host struct {
	t    *testing.T
	name string
	work chan func()
	ns   netns.NsHandle
	nl   *netlink.Handle
}

// newHost makes a namespace that lasts as long as the test.
func newHost(t *testing.T, name string) *host {
	t.Helper()
	h := &host{t: t, name: name, work: make(chan func())}
	made, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			h.ns, err = netns.Get()
		}
		made <- err
		for f := range h.work {
			f()
		}
	}()
	h.check(<-made)
	t.Cleanup(func() {
		close(h.work)
		<-ended
		_ = h.ns.Close()
	})
	var err error
	h.nl, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE)
	h.check(err)
	t.Cleanup(h.nl.Close)
	h.sysctl("net/ipv4/conf/all/rp_filter", "0")
	h.sysctl("net/ipv4/conf/default/rp_filter", "0")
	h.sysctl("net/ipv4/tcp_no_metrics_save", "1") // a transfer must not learn from the one before
	h.sysctl("net/ipv6/conf/default/accept_dad", "0")
	h.sysctl("net/ipv6/conf/default/accept_ra", "0")
	h.linkUp("lo")
	return h
}

func (h *host) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("%s: %v", h.name, err)
	}
}

// do runs f on the namespace's thread: sockets that f itself opens belong to it, and
// processes that it starts.
func (h *host) do(f func() error) error {
	done := make(chan error)
	h.work <- func() { done <- f() }
	return <-done
}

func (h *host) sysctl(key, value string) {
	h.t.Helper()
	h.check(h.do(func() error { return os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644) }))
}

// forward makes a router of the host.
func (h *host) forward() {
	h.t.Helper()
	h.sysctl("net/ipv4/ip_forward", "1")
	h.sysctl("net/ipv6/conf/all/forwarding", "1")
}

func (h *host) link(dev string) netlink.Link {
	h.t.Helper()
	l, err := h.nl.LinkByName(dev)
	h.check(err)
	return l
}

func (h *host) linkUp(dev string) {
	h.t.Helper()
	h.check(h.nl.LinkSetUp(h.link(dev)))
}

func (h *host) setMTU(dev string, mtu int) {
	h.t.Helper()
	h.check(h.nl.LinkSetMTU(h.link(dev), mtu))
}

// addr gives a device addresses with their prefix lengths and sets it up.
func (h *host) addr(dev string, prefixes ...string) {
	h.t.Helper()
	for _, s := range prefixes {
		p := netip.MustParsePrefix(s)
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD // usable at once
		}
		h.check(h.nl.AddrAdd(h.link(dev), a))
	}
	h.linkUp(dev)
}

// route adds a route: by way of a gateway, or, with via "", on the device.
func (h *host) route(dst, via, dev string) {
	h.t.Helper()
	r := &netlink.Route{LinkIndex: h.link(dev).Attrs().Index, Dst: ipNet(netip.MustParsePrefix(dst))}
	if via != "" {
		r.Gw = addr(via).AsSlice()
	} else if r.Dst.IP.To4() != nil {
		r.Scope = netlink.SCOPE_LINK
	}
	h.check(h.nl.RouteAdd(r))
}

// unroute takes the routes to a destination away.
func (h *host) unroute(dst string) {
	h.t.Helper()
	h.check(h.nl.RouteDel(&netlink.Route{Dst: ipNet(netip.MustParsePrefix(dst))}))
}

// cable lays a veth pair from the device of one host to that of another.
func cable(a *host, devA string, b *host, devB string) {
	a.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = devA
	a.check(a.nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: devB, PeerNamespace: netlink.NsFd(b.ns)}))
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// process is a program that runs in a host.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended; valid when ended is closed
}

// start starts a program whose output goes to a file; the end of the test kills it.
func (h *host) start(log string, argv ...string) *process {
	h.t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	h.check(err)
	defer out.Close()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	h.check(h.do(p.cmd.Start))
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	h.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
	})
	return p
}

// run runs a program to its end and returns what it says.
func (h *host) run(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	var b syncBuffer
	cmd.Stdout, cmd.Stderr = &b, &b
	if err := h.do(cmd.Start); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return b.String(), err
}

// udp opens a UDP socket with a large buffer; port 0 is any.
func (h *host) udp(local netip.AddrPort) *net.UDPConn {
	h.t.Helper()
	var c *net.UDPConn
	h.check(h.do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
		return err
	}))
	h.t.Cleanup(func() { _ = c.Close() })
	raw, err := c.SyscallConn()
	h.check(err)
	var serr error
	h.check(raw.Control(func(fd uintptr) {
		serr = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20))
	}))
	h.check(serr)
	return c
}

// dial opens a TCP connection from an address of the host, or from any.
func (h *host) dial(from, to netip.AddrPort) (net.Conn, error) {
	var c net.Conn
	err := h.do(func() (err error) {
		d := net.Dialer{Timeout: 10 * time.Second}
		if from.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
		}
		c, err = d.Dial("tcp", to.String())
		return err
	})
	return c, err
}

// http is a client whose connections come from the host.
func (h *host) http() *http.Client {
	c := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, _, to string) (net.Conn, error) {
			a, err := netip.ParseAddrPort(to)
			if err != nil {
				return nil, err
			}
			return h.dial(netip.AddrPort{}, a)
		},
	}}
	h.t.Cleanup(c.CloseIdleConnections)
	return c
}

// closeBody reads the rest of a response.
func closeBody(r *http.Response) error {
	_, err := io.Copy(io.Discard, r.Body)
	return errors.Join(err, r.Body.Close())
}
