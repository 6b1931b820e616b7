package sockets

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/packet"
)

// TestSteerOutside: UE prefixes outside of the DNNs' ranges are routed to N6 while
// they are steered, and only then.
func TestSteerOutside(t *testing.T) {
	namespace(t)
	s := open(t, 2)
	pool := packet.NewPool(64, 0)
	c4, c6 := socket(t, dataNet), socket(t, n3v6)
	reach := func(a string) error {
		to := netip.AddrPortFrom(netip.MustParseAddr(a), 9)
		c := c4
		if to.Addr().Is6() {
			c = c6
		}
		_, err := c.WriteToUDPAddrPort([]byte("x"), to)
		return err
	}
	before := routesOf(t)
	for _, tc := range []struct{ prefix, inside string }{
		{"192.0.2.1/32", "192.0.2.1"},
		{"198.51.100.0/24", "198.51.100.77"},
		{"fd00:61:0:1::/64", "fd00:61:0:1::7"},
		{"10.0.0.0/8", "10.61.0.1"}, // wider than a range
	} {
		p := netip.MustParsePrefix(tc.prefix)
		if err := reach(tc.inside); !errors.Is(err, unix.ENETUNREACH) {
			t.Fatalf("before %v is steered: %v, want %v", p, err, unix.ENETUNREACH)
		}
		for _, worker := range []int{0, 1} { // it moves: one route all the same
			if err := s.SteerUE(p, worker); err != nil {
				t.Fatal(err)
			}
			if err := reach(tc.inside); err != nil {
				t.Fatalf("while %v is steered: %v", p, err)
			}
			_, n6 := take(t, s, worker, pool)
			equal(t, tc.prefix, n6, tc.inside)
		}
		if err := s.ForgetUE(p); err != nil {
			t.Fatal(err)
		}
		if err := reach(tc.inside); !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("after %v is forgotten: %v, want %v", p, err, unix.ENETUNREACH)
		}
	}
	// Those inside of a range, and the range itself, leave its route alone.
	for _, inside := range []string{"10.60.0.0/16", "10.60.1.0/24", "10.60.1.1/32", "fd00:60:0:1::/64"} {
		p := netip.MustParsePrefix(inside)
		if err := errors.Join(s.SteerUE(p, 1), s.ForgetUE(p)); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "routes", routesOf(t), before...)
}

func routesOf(t *testing.T) (out []string) {
	t.Helper()
	rs, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		out = append(out, r.String())
	}
	return out
}

func TestSteerRefused(t *testing.T) {
	namespace(t)
	s := open(t, 1)
	for _, p := range []netip.Prefix{
		{}, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"), netip.MustParsePrefix("::ffff:10.60.0.0/112"),
	} {
		for what, err := range map[string]error{"SteerUE": s.SteerUE(p, 0), "ForgetUE": s.ForgetUE(p)} {
			if err == nil || !strings.Contains(err.Error(), "allowed: IPv4 /1 to /32, IPv6 /1 to /128") {
				t.Errorf("%s(%v): %v", what, p, err)
			}
		}
	}
	// The host's own route stays.
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	theirs := netip.MustParsePrefix("203.0.113.0/24")
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Index, Dst: ipNet(theirs)}); err != nil {
		t.Fatal(err)
	}
	before := routesOf(t)
	if err := s.SteerUE(theirs, 0); err == nil || !strings.Contains(err.Error(), "203.0.113.0/24: this host has a route for it") {
		t.Errorf("a prefix that the host routes elsewhere: %v", err)
	}
	if err := s.ForgetUE(theirs); err == nil {
		t.Error("a refused prefix was steered")
	}
	equal(t, "routes", routesOf(t), before...)
}

// TestForgetWithoutDevice: the device's routes go with it.
func TestForgetWithoutDevice(t *testing.T) {
	namespace(t)
	s := open(t, 1)
	p := netip.MustParsePrefix("192.0.2.0/24")
	if err := s.SteerUE(p, 0); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName(DefaultTUN)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	if err := s.ForgetUE(p); err != nil {
		t.Error(err)
	}
}
