package sockets

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routes are the kernel's routes to the N6 device: those that the Set was opened
// with, and one for each steered UE prefix outside of them.
type routes struct {
	kernel *netlink.Handle // of the network namespace of the device
	device int             // its index
	opened []netip.Prefix
	added  map[netip.Prefix]bool
}

// newRoutes adds the routes ps to the device.
func newRoutes(device string, ps []netip.Prefix) (r *routes, err error) {
	r = &routes{opened: ps, added: map[netip.Prefix]bool{}}
	if r.kernel, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("N6: netlink: %w", err)
	}
	link, err := r.kernel.LinkByName(device)
	if err != nil {
		return r, fmt.Errorf("N6: device %s: %w", device, err)
	}
	r.device = link.Attrs().Index
	for _, p := range ps {
		if err := r.kernel.RouteAdd(r.route(p)); err != nil {
			return r, fmt.Errorf("N6: route %v to %s: %w", p, device, err)
		}
	}
	return r, nil
}

func (r *routes) route(p netip.Prefix) *netlink.Route {
	return &netlink.Route{LinkIndex: r.device, Dst: ipNet(p), Scope: netlink.SCOPE_LINK}
}

// need sees to it that packets for p come to the device.
func (r *routes) need(p netip.Prefix) error {
	p = p.Masked()
	if r.added[p] {
		return nil
	}
	for _, o := range r.opened {
		if o.Contains(p.Addr()) && o.Bits() <= p.Bits() {
			return nil
		}
	}
	if err := r.kernel.RouteAdd(r.route(p)); err != nil {
		if errors.Is(err, unix.EEXIST) {
			err = errors.New("this host has a route for it that leads elsewhere")
		}
		return fmt.Errorf("N6: route %v: %w", p, err)
	}
	r.added[p] = true
	return nil
}

// drop undoes need.
func (r *routes) drop(p netip.Prefix) error {
	p = p.Masked()
	if !r.added[p] {
		return nil
	}
	delete(r.added, p)
	// It may have gone with the device.
	if err := r.kernel.RouteDel(r.route(p)); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("N6: remove route %v: %w", p, err)
	}
	return nil
}
