package sockets

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// The topology of these tests, in three namespaces:
//
//	test (UPF)                     router                     gnb
//	lo: N3, eth0 10.100.7.1 -- eth0 10.100.7.2
//	                           eth1 10.100.8.1 -- eth0 10.100.8.2
//	          MTU 1500                     MTU narrow
//
// with fd00:7:: and fd00:8:: beside.
const (
	wide   = 1500
	narrow = 1300
)

var gnbAddrs = []netip.Addr{netip.MustParseAddr("10.100.8.2"), netip.MustParseAddr("fd00:8::2")}

// routed makes the topology; in runs f in the router's or the gNB's namespace.
func routed(t *testing.T) (inRouter, inGNB func(f func())) {
	t.Helper()
	namespace(t)
	upf, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = upf.Close() })
	visit := func(ns netns.NsHandle) func(func()) {
		return func(f func()) {
			t.Helper()
			if err := netns.Set(ns); err != nil {
				t.Fatal(err)
			}
			f()
			if err := netns.Set(upf); err != nil {
				t.Fatal(err)
			}
		}
	}
	var others [2]netns.NsHandle
	for i := range others {
		if others[i], err = netns.New(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = others[i].Close() })
	}
	router, gnb := others[0], others[1]
	inRouter, inGNB = visit(router), visit(gnb)
	if err := netns.Set(upf); err != nil {
		t.Fatal(err)
	}
	veth(t, "eth0", wide, "eth0", router)
	device(t, "eth0", "10.100.7.1/24", "fd00:7::1/64")
	route(t, "10.100.8.0/24", "10.100.7.2")
	route(t, "fd00:8::/64", "fd00:7::2")
	inRouter(func() {
		for _, f := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+f, []byte("1"), 0); err != nil {
				t.Fatal(err)
			}
		}
		veth(t, "eth1", narrow, "eth0", gnb)
		device(t, "eth0", "10.100.7.2/24", "fd00:7::2/64")
		device(t, "eth1", "10.100.8.1/24", "fd00:8::1/64")
		route(t, "10.100.1.1/32", "10.100.7.1")
		route(t, "fd00:1::1/128", "fd00:7::1")
	})
	inGNB(func() {
		device(t, "eth0", "10.100.8.2/24", "fd00:8::2/64")
		route(t, "0.0.0.0/0", "10.100.8.1")
		route(t, "::/0", "fd00:8::1")
		carrier(t, "eth0")
	})
	inRouter(func() {
		carrier(t, "eth0")
		carrier(t, "eth1")
	})
	carrier(t, "eth0")
	return inRouter, inGNB
}

func veth(t *testing.T, name string, mtu int, peer string, peerNS netns.NsHandle) {
	t.Helper()
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu}, PeerName: peer, PeerMTU: uint32(mtu), PeerNamespace: netlink.NsFd(peerNS)}
	if err := netlink.LinkAdd(v); err != nil {
		t.Fatal(err)
	}
}

func device(t *testing.T, name string, addrs ...string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		addr.Flags |= unix.IFA_F_NODAD
		if err := netlink.AddrAdd(link, addr); err != nil {
			t.Fatal(err)
		}
	}
}

// carrier waits until the device knows that the other end is up: before, IPv6 does
// not answer its neighbours.
func carrier(t *testing.T, name string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		link, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("device %s: %v after 10s", name, link.Attrs().OperState)
		}
	}
}

func route(t *testing.T, to, via string) {
	t.Helper()
	r := &netlink.Route{Dst: ipNet(netip.MustParsePrefix(to)), Gw: net.ParseIP(via)}
	if err := netlink.RouteAdd(r); err != nil {
		t.Fatalf("route %s via %s: %v", to, via, err)
	}
}

// ipCounter is a counter of the IPv4 of the thread's namespace.
func ipCounter(t *testing.T, name string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n") // the first two are of IPv4: names and values
	values := strings.Fields(lines[1])
	for i, f := range strings.Fields(lines[0]) {
		if f == name {
			v, err := strconv.Atoi(values[i])
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no counter %s", name)
	return 0
}

func wantCounters(t *testing.T, where string, want map[string]int) {
	t.Helper()
	for name, v := range want {
		if got := ipCounter(t, name); got != v {
			t.Errorf("%s: %s = %d, want %d", where, name, got, v)
		}
	}
}

func TestPathMTU(t *testing.T) {
	inRouter, inGNB := routed(t)
	s := open(t, 1)
	pool := packet.NewPool(64, 0)
	const length = 1400 // with 20 or 40 + 8: fits the first link and not the second
	for local, addr := range gnbAddrs {
		var gnb *net.UDPConn
		inGNB(func() { gnb = socket(t, addr) })
		peer := driver.MakePeer(gnb.LocalAddr().(*net.UDPAddr).AddrPort())
		sendN3 := func(text string) {
			b := buffer(pool, []byte(text+strings.Repeat(".", length-len(text))))
			s.drivers[0].Send(&driver.Burst{N3: []driver.N3Packet{{Buf: b, Peer: &peer, Local: uint8(local)}}}, pool)
		}
		mtu := func() int {
			n, err := s.PathMTU(addr)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if got := mtu(); got != wide {
			t.Fatalf("%v: path MTU %d before any packet, want %d", addr, got, wide)
		}
		sendN3("lost, for DF is set")
		for deadline := time.Now().Add(5 * time.Second); mtu() != narrow; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%v: path MTU %d, want %d", addr, mtu(), narrow)
			}
		}
		for _, text := range []string{"second", "third"} {
			sendN3(text)
			if got, _ := receive(t, gnb); len(got) != length || !strings.HasPrefix(got, text) {
				t.Fatalf("%v: gNB received %.20q, %d bytes, want %q, %d bytes", addr, got, len(got), text, length)
			}
		}
	}
	wantCounters(t, "UPF", map[string]int{"FragOKs": 2, "FragCreates": 4, "FragFails": 0})
	inRouter(func() { wantCounters(t, "router", map[string]int{"FragOKs": 0, "FragFails": 1}) })

	// The other peers' paths are as before, and those that lead nowhere say so.
	if got, err := s.PathMTU(netip.MustParseAddr("::ffff:10.100.7.2")); got != wide || err != nil {
		t.Errorf("path to the router: %d, %v", got, err)
	}
	if _, err := s.PathMTU(netip.MustParseAddr("192.0.2.1")); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("path to nowhere: %v", err)
	}
	if got, err := s.PathMTU(gnbAddrs[0]); got != narrow || err != nil {
		t.Errorf("path after one that leads nowhere: %d, %v", got, err)
	}
}

func TestPathMTUWithoutFamily(t *testing.T) {
	namespace(t)
	s, err := Open(Config{Workers: 1, N3: []netip.Addr{n3v4}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.PathMTU(n3v6); !errors.Is(err, errNoFamily) {
		t.Errorf("%v, want %v", err, errNoFamily)
	}
}

// TestFragments: a G-PDU that comes in fragments reaches its TEID's worker whole.
func TestFragments(t *testing.T) {
	_, inGNB := routed(t)
	const workers = 3
	s := open(t, workers)
	pool := packet.NewPool(256, 0)
	for teid := range uint32(workers) {
		if err := s.SteerTEID(teid, int(teid)); err != nil {
			t.Fatal(err)
		}
	}
	n3 := []netip.Addr{n3v4, n3v6}
	for i, addr := range gnbAddrs {
		var gnb *net.UDPConn
		inGNB(func() { gnb = socket(t, addr) })
		for _, w := range []int{2, 0, 1} {
			text := strings.Repeat(fmt.Sprint(w), 1900)
			send(t, gnb, netip.AddrPortFrom(n3[i], gtpu.Port), gpdu(uint32(w), text))
			var rx driver.Burst
			if err := s.drivers[w].Receive(&rx, pool, 5*time.Second); err != nil {
				t.Fatal(err)
			}
			if len(rx.N3) != 1 {
				t.Fatalf("%v: worker %d has %d packets, want its one", addr, w, len(rx.N3))
			}
			b := rx.N3[0].Buf.Bytes()
			var h gtpu.Header
			if gtpu.Parse(b, &h) != gtpu.OK || h.TEID != uint32(w) || string(b[gtpu.GPDULen:]) != text {
				t.Errorf("%v: worker %d received %.40x, %d bytes", addr, w, b, len(b))
			}
			pool.Put(rx.N3[0].Buf)
		}
	}
	wantCounters(t, "UPF", map[string]int{"ReasmReqds": 2 * workers, "ReasmOKs": workers, "ReasmFails": 0})
}
