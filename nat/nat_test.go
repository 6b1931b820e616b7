package nat

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/dataplane/driver/sockets"
	"github.com/braid-upf/braid/internal/testenv"
	"github.com/braid-upf/braid/packet"
)

// The topology:
//
//	upf: upfgtp (UEs 10.60.0.0/16, 10.61.0.0/16) -> eth0 10.100.6.1 -- eth0 10.100.6.2 :dn
//
// The data network has a route to 10.61.0.0/16, and none to 10.60.0.0/16.
var (
	upfAddr = netip.MustParseAddr("10.100.6.1")
	dnAddr  = netip.MustParseAddr("10.100.6.2")
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// namespaces makes both, with the test in upf; inDN runs f in dn.
func namespaces(t *testing.T) (inDN func(f func())) {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Lacks(t, "needs root: it makes network namespaces and a TUN device")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	dn, err := netns.New()
	check(t, err)
	upf, err := netns.New()
	check(t, err)
	t.Cleanup(func() { _, _ = dn.Close(), upf.Close() })
	inDN = func(f func()) {
		check(t, netns.Set(dn))
		defer func() { check(t, netns.Set(upf)) }()
		f()
	}
	check(t, netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(dn),
	}))
	setUp(t, "lo", "127.0.0.1/8")
	setUp(t, "eth0", upfAddr.String()+"/24")
	inDN(func() {
		setUp(t, "eth0", dnAddr.String()+"/24")
		_, to, err := net.ParseCIDR("10.61.0.0/16")
		check(t, err)
		check(t, netlink.RouteAdd(&netlink.Route{Dst: to, Gw: upfAddr.AsSlice()}))
	})
	return inDN
}

func setUp(t *testing.T, name, address string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	check(t, err)
	check(t, netlink.LinkSetUp(link))
	a, err := netlink.ParseAddr(address)
	check(t, err)
	if err := netlink.AddrAdd(link, a); !errors.Is(err, unix.EEXIST) { // as lo's own
		check(t, err)
	}
}

// udp is an IPv4 UDP packet without a checksum.
func udp(src, dst netip.AddrPort, text string) []byte {
	b := append(make([]byte, 28, 28+len(text)), text...)
	from, to := packet.AddrFrom(src.Addr()), packet.AddrFrom(dst.Addr())
	packet.PutIPHeader(b, false, &from, &to, packet.ProtoUDP, 0, 64, len(b))
	binary.BigEndian.PutUint16(b[20:], src.Port())
	binary.BigEndian.PutUint16(b[22:], dst.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(text)))
	return b
}

// n6 is the UPF's side of N6.
type n6 struct {
	driver driver.Driver
	pool   *packet.Pool
}

func (n *n6) send(b []byte) {
	buf := n.pool.Get()
	buf.SetLen(copy(buf.Room(), b))
	n.driver.Send(&driver.Burst{N6: []*packet.Buffer{buf}}, n.pool)
}

// receive gives the next packet's addresses and content.
func (n *n6) receive(t *testing.T) (src, dst netip.AddrPort, text string) {
	t.Helper()
	var rx driver.Burst
	check(t, n.driver.Receive(&rx, n.pool, 5*time.Second))
	if len(rx.N6) != 1 {
		t.Fatalf("%d packets, want one", len(rx.N6))
	}
	b := slices.Clone(rx.N6[0].Bytes())
	n.pool.Put(rx.N6[0])
	port := func(addr, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[addr:])), binary.BigEndian.Uint16(b[port:]))
	}
	return port(12, 20), port(16, 22), string(b[28:])
}

// server is a UDP socket of the data network.
func server(t *testing.T, inDN func(f func())) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	inDN(func() {
		var err error
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(dnAddr, 0)))
		check(t, err)
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.UDPAddr).AddrPort() }

func TestNAT(t *testing.T) {
	inDN := namespaces(t)
	natted, plain := netip.MustParsePrefix("10.60.0.0/16"), netip.MustParsePrefix("10.61.0.0/16")
	set, err := sockets.Open(sockets.Config{
		Workers: 1, N3: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Routes: []netip.Prefix{natted, plain},
	})
	check(t, err)
	defer func() { check(t, set.Close()) }()
	ue := n6{set.Driver(0), packet.NewPool(16, 0)}
	srv := server(t, inDN)
	dn := addrPort(srv.LocalAddr())

	// talk sends from a UE address and answers; it gives the source that the server sees.
	talk := func(from netip.AddrPort, text string) netip.AddrPort {
		t.Helper()
		ue.send(udp(from, dn, text))
		check(t, srv.SetDeadline(time.Now().Add(5*time.Second)))
		b := make([]byte, 100)
		n, seen, err := srv.ReadFromUDPAddrPort(b)
		check(t, err)
		if string(b[:n]) != text {
			t.Fatalf("server received %q, want %q", b[:n], text)
		}
		_, err = srv.WriteToUDPAddrPort([]byte("re: "+text), seen)
		check(t, err)
		src, dst, got := ue.receive(t)
		if src != dn || dst != from || got != "re: "+text {
			t.Fatalf("UE received %q from %v to %v, want %q from %v to %v", got, src, dst, "re: "+text, dn, from)
		}
		return seen
	}

	rules := []Rule{{Source: natted, Interface: "eth0"}}
	killed, err := Open("upfgtp", append(rules, Rule{Source: plain, Interface: "eth0"}))
	check(t, err)
	// Its UPF was killed: nobody closed it. The next one's table takes its place.
	nat, err := Open("upfgtp", rules)
	check(t, err)
	for _, a := range []string{"10.60.0.1:1000", "10.60.255.254:1000"} { // the same port: one is translated
		if seen := talk(netip.MustParseAddrPort(a), "from "+a); seen.Addr() != upfAddr {
			t.Errorf("the server sees %v for %s, want %v", seen, a, upfAddr)
		}
	}
	if from := netip.MustParseAddrPort("10.61.0.1:1000"); talk(from, "no NAT") != from {
		t.Error("a data network without natifname got NAT")
	}
	check(t, nat.Close())
	wantTables(t, "after Close", 0)
	if err := killed.Close(); err == nil {
		t.Error("removing a table that is not there is no error")
	}
	// A UPF without natifname removes what a killed one left.
	for _, rules := range [][]Rule{rules, nil, nil} {
		nat, err = Open("upfgtp", rules)
		check(t, err)
		wantTables(t, "after Open", min(len(rules), 1))
	}
	check(t, nat.Close())
}

func wantTables(t *testing.T, when string, want int) {
	t.Helper()
	c, err := nftables.New()
	check(t, err)
	if tables, err := c.ListTables(); err != nil || len(tables) != want {
		t.Errorf("%s: %d tables, want %d; %v", when, len(tables), want, err)
	}
}

func TestRefused(t *testing.T) {
	namespaces(t)
	four := netip.MustParsePrefix("10.60.0.0/16")
	for _, tc := range []struct {
		rule Rule
		says string
	}{
		{Rule{four, "eth7"}, "natifname eth7: no such interface here"},
		{Rule{netip.MustParsePrefix("fd00:60::/32"), "eth0"}, "natifname eth0: source fd00:60::/32: allowed: an IPv4 address range"},
		{Rule{netip.Prefix{}, "eth0"}, "natifname eth0: source invalid Prefix: allowed: an IPv4 address range"},
	} {
		if _, err := Open("upfgtp", []Rule{{four, "eth0"}, tc.rule}); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%v: %v, want %q", tc.rule, err, tc.says)
		}
	}
}

// TestNotPermitted drops every capability: the error must say what is missing.
func TestNotPermitted(t *testing.T) {
	namespaces(t)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	check(t, unix.Capset(&header, &none[0])) // of this thread, which ends with the test
	_, err := Open("upfgtp", []Rule{{netip.MustParsePrefix("10.60.0.0/16"), "eth0"}})
	if err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("without capabilities: %v", err)
	}
}
