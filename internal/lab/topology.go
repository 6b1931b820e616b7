package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/atsss/steer"
)

// cable is a veth pair between the UPF's namespace and another one.
type cable struct {
	upfDev string
	upf    []netip.Prefix
	role   string
	dev    string
	far    []netip.Prefix
}

func (o *Options) cables() []cable {
	p := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	n6 := cable{"n6", p("10.100.6.1/24"), DN, "n6", p("10.100.6.2/24")}
	if o.IPv6 {
		n6.upf = append(n6.upf, netip.PrefixFrom(upfN6Addr6, 64))
		n6.far = append(n6.far, netip.PrefixFrom(DNAddr6, 64))
	}
	return []cable{
		{"n3-gnb", p("10.100.1.1/24"), GNB, "n3", p("10.100.1.2/24")},
		{"n3-n3iwf", p("10.100.2.1/24"), N3IWF, "n3", p("10.100.2.2/24")},
		{"n4", p("10.100.4.1/24"), SMF, "n4", p("10.100.4.2/24")},
		n6,
	}
}

// buildNetwork makes the namespaces, links, addresses, routes and MPTCP endpoints.
func (l *Lab) buildNetwork() error {
	for _, role := range Roles() {
		name := l.Namespace(role)
		if err := makeNamespace(name); err != nil {
			return err
		}
		if err := inNamespace(name, func() error { return setSysctls(l.sysctls(role)) }); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := l.configure(role, func(h *netlink.Handle) error { return linkUp(h, "lo") }); err != nil {
			return err
		}
	}
	for _, c := range l.opts.cables() {
		if err := l.layCable(&c); err != nil {
			return err
		}
	}
	if err := l.configure(N3IWF, func(h *netlink.Handle) error {
		return addRoute(h, "n3", netip.PrefixFrom(UPFN3Addr, 32), n3iwfGWAddr, 0, 0)
	}); err != nil {
		return err
	}
	if err := l.configure(DN, l.routesOfDN); err != nil {
		return err
	}
	return l.buildUE()
}

// sysctls of a namespace; only such as each network namespace has of its own.
func (l *Lab) sysctls(role string) []sysctl {
	noIPv6 := "1"
	if l.opts.IPv6 {
		noIPv6 = "0"
	}
	list := []sysctl{
		{key: "net/ipv4/tcp_no_metrics_save", value: "1"}, // a run must not learn from the one before
		{key: "net/ipv4/conf/all/rp_filter", value: "0"},
		{key: "net/ipv4/conf/default/rp_filter", value: "0"},
		{key: "net/ipv6/conf/all/disable_ipv6", value: noIPv6, optional: true},
		{key: "net/ipv6/conf/default/disable_ipv6", value: noIPv6, optional: true},
		{key: "net/ipv6/conf/default/accept_ra", value: "0", optional: true},
		{key: "net/ipv6/conf/default/accept_dad", value: "0", optional: true},
	}
	switch role {
	case UE:
		// A SYN that is lost must not turn MPTCP off for the namespace.
		list = append(list,
			sysctl{key: "net/mptcp/enabled", value: "1"},
			sysctl{key: "net/mptcp/blackhole_timeout", value: "0", optional: true})
	case UPF:
		if l.opts.IPv6 {
			list = append(list, sysctl{key: "net/ipv6/conf/all/forwarding", value: "1"})
		}
	}
	return list
}

func (l *Lab) layCable(c *cable) error {
	peer, err := netns.GetFromName(l.Namespace(c.role))
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", l.Namespace(c.role), err)
	}
	defer peer.Close()
	if err := l.configure(UPF, func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = c.upfDev
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: c.dev, PeerNamespace: netlink.NsFd(peer)}
		if err := h.LinkAdd(veth); err != nil {
			return fmt.Errorf("veth %s to %s: %w", c.upfDev, c.role, err)
		}
		return addAddrs(h, c.upfDev, c.upf)
	}); err != nil {
		return err
	}
	return l.configure(c.role, func(h *netlink.Handle) error { return addAddrs(h, c.dev, c.far) })
}

func (l *Lab) routesOfDN(h *netlink.Handle) error {
	if err := addRoute(h, "n6", UEPool, upfN6Addr, 0, 0); err != nil {
		return err
	}
	if !l.opts.IPv6 {
		return nil
	}
	return addRoute(h, "n6", UEPool6, upfN6Addr6, 0, 0)
}

// buildUE makes the UE's two devices. Each has a routing table of its own, so that a
// subflow leaves on the access of its source address.
func (l *Lab) buildUE() error {
	if err := inNamespace(l.Namespace(UE), func() error {
		for _, plan := range accessPlans {
			if err := makeTUN(plan.tun); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := l.configure(UE, func(h *netlink.Handle) error {
		for a, plan := range accessPlans {
			if err := addUEDevice(h, plan.tun, a, l.opts.ueAddresses(steer.Access(a))); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return l.ResetPathManager()
}

func addUEDevice(h *netlink.Handle, dev string, index int, addrs []netip.Addr) error {
	link, err := h.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: %w", dev, err)
	}
	if err := h.LinkSetMTU(link, ueMTU); err != nil {
		return fmt.Errorf("%s: set MTU: %w", dev, err)
	}
	if err := h.LinkSetTxQLen(link, tunQueue); err != nil {
		return fmt.Errorf("%s: set queue length: %w", dev, err)
	}
	const noLinkLocal = nl.IN6_ADDR_GEN_MODE_NONE // the UE sends nothing unasked
	if err := h.LinkSetIP6AddrGenMode(link, noLinkLocal); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
		return fmt.Errorf("%s: no link-local address: %w", dev, err)
	}
	table, metric := ueTable(steer.Access(index)), 100*(index+1)
	var own []netip.Prefix
	for _, a := range addrs {
		own = append(own, netip.PrefixFrom(a, a.BitLen()))
	}
	if err := addAddrs(h, dev, own); err != nil {
		return err
	}
	routed := map[netip.Prefix]bool{}
	for _, p := range own {
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if p.Addr().Is6() {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		if !routed[all] {
			routed[all] = true
			if err := addRoute(h, dev, all, netip.Addr{}, unix.RT_TABLE_MAIN, metric); err != nil {
				return err
			}
			if err := addRoute(h, dev, all, netip.Addr{}, table, 0); err != nil {
				return err
			}
		}
		if err := h.RuleAdd(ueRule(steer.Access(index), p.Addr())); err != nil {
			return fmt.Errorf("rule from %v: %w", p, err)
		}
	}
	return nil
}

// ueTable is the routing table of what the UE sends over an access.
func ueTable(a steer.Access) int { return 101 + int(a) }

// ueRule sends what comes from addr over an access.
func ueRule(a steer.Access, addr netip.Addr) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Src, rule.Table, rule.Family = ipNet(netip.PrefixFrom(addr, addr.BitLen())), ueTable(a), family(addr)
	return rule
}

// addUEAddress gives the UE another address on an access; it is no error that it has it.
func addUEAddress(h *netlink.Handle, a steer.Access, addr netip.Addr) error {
	dev := accessPlans[a].tun
	if err := addAddrs(h, dev, []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := h.RuleAdd(ueRule(a, addr)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("rule from %v: %w", addr, err)
	}
	return nil
}

func removeUEAddress(h *netlink.Handle, a steer.Access, addr netip.Addr) error {
	link, err := h.LinkByName(accessPlans[a].tun)
	if err != nil {
		return fmt.Errorf("%s: %w", accessPlans[a].tun, err)
	}
	own := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, addr.BitLen()))}
	if err := h.AddrDel(link, own); err != nil {
		return fmt.Errorf("address %v of %s: %w", addr, accessPlans[a].tun, err)
	}
	if err := h.RuleDel(ueRule(a, addr)); err != nil {
		return fmt.Errorf("rule from %v: %w", addr, err)
	}
	return nil
}

// tunQueue is the length in packets of a TUN device's queue: room for the burst of
// a congestion window, so that the access is the only place where packets drop.
const tunQueue = 8192

// ResetPathManager has the path manager of the UE's kernel open a second subflow from the
// first non-3GPP address of each version, and nothing else: from the link-specific one where
// that is not an address of the session itself.
func (l *Lab) ResetPathManager() error {
	st, err := l.SMFState()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	from := []netip.Addr{UEAddr[steer.AccessNon3GPP]}
	if l.opts.IPv6 {
		from = append(from, UEAddr6[steer.AccessNon3GPP])
	}
	told := toldBy(&st)
	for _, addr := range l.linkSpecific(told.params, steer.AccessNon3GPP) {
		i := slices.IndexFunc(from, func(f netip.Addr) bool { return f.Is4() == addr.Is4() })
		if !slices.Contains(told.addrs, from[i]) {
			from[i] = addr
		}
	}
	commands := [][]string{
		{"endpoint", "flush"},
		{"limits", "set", "subflows", "8", "add_addr_accepted", "8"},
	}
	for _, addr := range from {
		commands = append(commands, []string{"endpoint", "add", addr.String(), "dev", accessPlans[steer.AccessNon3GPP].tun, "subflow"})
	}
	for _, args := range commands {
		if err := l.PathManager(args...); err != nil {
			return err
		}
	}
	return nil
}

// PathManager runs `ip mptcp` with args in the UE.
func (l *Lab) PathManager(args ...string) error {
	argv := enterArgs(l.Namespace(UE), append([]string{"ip", "mptcp"}, args...))
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip mptcp %s (iproute2 5.9 or later is needed): %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// configure runs f with a netlink handle of a role's namespace.
func (l *Lab) configure(role string, f func(*netlink.Handle) error) error {
	name := l.Namespace(role)
	ns, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", name, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink in %s: %w", name, err)
	}
	defer h.Close()
	if err := f(h); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func linkUp(h *netlink.Handle, dev string) error {
	link, err := h.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: %w", dev, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", dev, err)
	}
	return nil
}

// addAddrs gives dev its addresses and sets it up.
func addAddrs(h *netlink.Handle, dev string, addrs []netip.Prefix) error {
	link, err := h.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: %w", dev, err)
	}
	for _, p := range addrs {
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD // usable at once
		}
		if err := h.AddrAdd(link, a); err != nil {
			return fmt.Errorf("address %v on %s: %w", p, dev, err)
		}
	}
	return linkUp(h, dev)
}

// addRoute adds a route; an invalid gateway means that the destination is on dev,
// table 0 the main one.
func addRoute(h *netlink.Handle, dev string, dst netip.Prefix, via netip.Addr, table, metric int) error {
	link, err := h.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: %w", dev, err)
	}
	r := &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       ipNet(dst),
		Table:     table,
		Priority:  metric,
		Family:    family(dst.Addr()),
		Congctl:   congestionControl,
	}
	if via.IsValid() {
		r.Gw = via.AsSlice()
	} else if dst.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	if err := h.RouteAdd(r); err != nil {
		return fmt.Errorf("route to %v on %s: %w", dst, dev, err)
	}
	return nil
}

// congestionControl of the lab's TCP. It is an attribute of the routes because the
// sysctl of a namespace takes only what the host's tcp_allowed_congestion_control
// has, which may be the host's default alone.
const congestionControl = "cubic"

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
