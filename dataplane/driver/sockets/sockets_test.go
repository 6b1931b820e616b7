package sockets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/internal/testenv"
	"github.com/braid-upf/braid/packet"
)

// The topology of these tests, all in one namespace: the loopback device has our
// N3 addresses and the data network's; the test sends from ordinary sockets.
//
//	test socket -> lo 10.100.1.1, fd00:1::1 -> N3 sockets
//	test socket -> route 10.60.0.0/16, fd00:60::/32 -> upfgtp queues
//	upfgtp -> lo 10.100.6.1 -> test socket
var (
	n3v4    = netip.MustParseAddr("10.100.1.1")
	n3v6    = netip.MustParseAddr("fd00:1::1")
	dataNet = netip.MustParseAddr("10.100.6.1")
)

// namespace moves the test into a network namespace of its own.
func namespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	old, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	made, err := netns.New()
	if err != nil {
		_ = old.Close()
		runtime.UnlockOSThread()
		if errors.Is(err, os.ErrPermission) {
			testenv.Lacks(t, "needs root: CAP_SYS_ADMIN for a network namespace, CAP_NET_ADMIN and CAP_BPF in it")
		}
		t.Fatalf("network namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := netns.Set(old); err != nil {
			t.Error(err) // the thread stays locked and goes with the test
			return
		}
		_, _ = old.Close(), made.Close()
		runtime.UnlockOSThread()
	})
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"10.100.1.1/32", "10.100.6.1/32", "fd00:1::1/128"} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		addr.Flags |= unix.IFA_F_NODAD
		if err := netlink.AddrAdd(lo, addr); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t testing.TB, workers int) *Set {
	t.Helper()
	s, err := Open(Config{
		Workers: workers, N3: []netip.Addr{n3v4, n3v6},
		Routes: []netip.Prefix{netip.MustParsePrefix("10.60.0.0/16"), netip.MustParsePrefix("fd00:60::/32")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// socket is a UDP socket of the test, closed at its end.
func socket(t testing.TB, local netip.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// send sends b to a from c. Local delivery and the way into a TUN queue are
// finished when the system call returns.
func send(t *testing.T, c *net.UDPConn, a netip.AddrPort, b []byte) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(b, a); err != nil {
		t.Fatal(err)
	}
}

// gpdu is a G-PDU that carries text.
func gpdu(teid uint32, text string) []byte {
	b := make([]byte, gtpu.GPDULen, 64)
	gtpu.PutGPDU(b, teid, len(text), 0, false)
	return append(b, text...)
}

// take gives the contents of all packets at worker i: "N3 peer local content" and
// "N6 dst", where dst is the IP destination.
func take(t *testing.T, s *Set, i int, pool *packet.Pool) (n3 []string, n6 []string) {
	t.Helper()
	var rx driver.Burst
	for {
		if err := s.drivers[i].Receive(&rx, pool, 0); err != nil {
			t.Fatal(err)
		}
		if len(rx.N3)+len(rx.N6) == 0 {
			return n3, n6
		}
		for _, p := range rx.N3 {
			n3 = append(n3, fmt.Sprintf("%v>%v %s", p.Peer.AddrPort(), s.addrs[p.Local], p.Buf.Bytes()[min(8, p.Buf.Len()):]))
			pool.Put(p.Buf)
		}
		for _, b := range rx.N6 {
			var in packet.Info
			if r := packet.Parse(b.Bytes(), &in); r != packet.OK {
				t.Fatalf("N6 packet %x: %v", b.Bytes(), r)
			}
			n6 = append(n6, in.Dst.Netip().String())
			pool.Put(b)
		}
	}
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestSteerN3(t *testing.T) {
	namespace(t)
	s := open(t, 3)
	pool := packet.NewPool(256, 0)
	for slot, w := range map[uint16]int{0x000: 0, 0x001: 1, 0xfff: 2} {
		if err := s.SteerSlot(slot, w); err != nil {
			t.Fatal(err)
		}
	}
	for teid, w := range map[uint32]int{7: 2, 8: 1, 0xfff00001: 0} {
		if err := s.SteerTEID(teid, w); err != nil {
			t.Fatal(err)
		}
	}
	for _, local := range []netip.Addr{n3v4, n3v6} {
		c := socket(t, local)
		to := netip.AddrPortFrom(local, gtpu.Port)
		from := c.LocalAddr().(*net.UDPAddr).AddrPort()
		// More sockets of the peer must not matter: a hash of addresses and
		// ports would spread them.
		for range 8 {
			other := socket(t, local)
			send(t, other, to, gpdu(7, "other port"))
		}
		got, _ := take(t, s, 2, pool)
		if len(got) != 8 {
			t.Errorf("%v: worker 2 got %d of 8 packets of its TEID from other ports", local, len(got))
		}
		send(t, c, to, gpdu(7, "steered to 2"))
		send(t, c, to, gpdu(8, "steered to 1"))
		send(t, c, to, gpdu(0x00100009, "slot 1 to 1"))
		send(t, c, to, gpdu(0xfff00009, "slot fff to 2"))
		send(t, c, to, gpdu(0xfff00001, "steered to 0, against its slot"))
		send(t, c, to, gpdu(0x00000009, "slot 0 to 0"))
		send(t, c, to, gpdu(0x80000009, "slot not set"))
		send(t, c, to, gtpu.AppendEchoRequest(nil, 1))
		send(t, c, to, []byte("short"))
		prefix := fmt.Sprintf("%v>%v ", from, local)
		want := [3][]string{
			{"steered to 0, against its slot", "slot 0 to 0", "slot not set", "\x00\x01\x00\x00", ""},
			{"steered to 1", "slot 1 to 1"},
			{"steered to 2", "slot fff to 2"},
		}
		for w := range want {
			for i := range want[w] {
				want[w][i] = prefix + want[w][i]
			}
			got, n6 := take(t, s, w, pool)
			equal(t, fmt.Sprintf("N3 of worker %d", w), got, want[w]...)
			equal(t, fmt.Sprintf("N6 of worker %d", w), n6)
		}
	}
	if err := s.ForgetTEID(7); err != nil {
		t.Fatal(err)
	}
	send(t, socket(t, n3v4), netip.AddrPortFrom(n3v4, gtpu.Port), gpdu(7, "forgotten"))
	if got, _ := take(t, s, 0, pool); len(got) != 1 {
		t.Errorf("a forgotten TEID goes to its slot's worker; worker 0 got %q", got)
	}
	if err := s.ForgetTEID(7); err == nil {
		t.Error("forgetting a TEID that is not there is no error")
	}
}

func TestSteerN6(t *testing.T) {
	namespace(t)
	s := open(t, 3)
	pool := packet.NewPool(256, 0)
	steer := func(p string, w int) {
		t.Helper()
		if err := s.SteerUE(netip.MustParsePrefix(p), w); err != nil {
			t.Fatal(err)
		}
	}
	steer("10.60.0.1/32", 1)
	steer("10.60.0.2/32", 1)
	steer("10.60.0.2/32", 2) // moved
	steer("10.60.16.0/20", 1)
	steer("10.60.17.0/24", 2)
	steer("10.60.17.8/32", 0)
	steer("fd00:60:0:1::/64", 2)
	steer("fd00:60:0:2::/64", 1)
	steer("fd00:60:0:2::5/128", 2)
	c4, c6 := socket(t, dataNet), socket(t, n3v6)
	// IPv6 sends nothing of its own into the device.
	for w := range 3 {
		n3, n6 := take(t, s, w, pool)
		equal(t, "N3 before", n3)
		equal(t, "N6 before", n6)
	}
	for _, a := range []string{"10.60.0.1", "10.60.0.2", "10.60.0.3", "10.60.16.1", "10.60.17.1", "10.60.17.8", "10.60.31.255", "10.60.32.0", "fd00:60:0:1::7", "fd00:60:0:2::7", "fd00:60:0:2::5", "fd00:60:0:3::1"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(a), 9)
		if to.Addr().Is4() {
			send(t, c4, to, []byte("x"))
		} else {
			send(t, c6, to, []byte("x"))
		}
	}
	for w, want := range [][]string{
		{"10.60.0.3", "10.60.17.8", "10.60.32.0", "fd00:60:0:3::1"},
		{"10.60.0.1", "10.60.16.1", "10.60.31.255", "fd00:60:0:2::7"},
		{"10.60.0.2", "10.60.17.1", "fd00:60:0:1::7", "fd00:60:0:2::5"},
	} {
		_, n6 := take(t, s, w, pool)
		equal(t, fmt.Sprintf("N6 of worker %d", w), n6, want...)
	}
	for _, p := range []string{"10.60.0.2/32", "10.60.17.0/24"} {
		if err := s.ForgetUE(netip.MustParsePrefix(p)); err != nil {
			t.Fatal(err)
		}
		if err := s.ForgetUE(netip.MustParsePrefix(p)); err == nil {
			t.Errorf("forgetting %s, which is not there, is no error", p)
		}
	}
	send(t, c4, netip.MustParseAddrPort("10.60.0.2:9"), []byte("x"))
	send(t, c4, netip.MustParseAddrPort("10.60.17.1:9"), []byte("x"))
	_, n6 := take(t, s, 0, pool)
	equal(t, "a forgotten UE address", n6, "10.60.0.2")
	_, n6 = take(t, s, 1, pool)
	equal(t, "an address of a forgotten prefix in another", n6, "10.60.17.1")
}

// udp4 is an IPv4 UDP packet.
func udp4(src, dst netip.AddrPort, text string) []byte {
	b := make([]byte, 28, 28+len(text))
	b = append(b, text...)
	from, to := packet.AddrFrom(src.Addr()), packet.AddrFrom(dst.Addr())
	packet.PutIPHeader(b, false, &from, &to, packet.ProtoUDP, 0, 64, len(b))
	binary.BigEndian.PutUint16(b[20:], src.Port())
	binary.BigEndian.PutUint16(b[22:], dst.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(text)))
	return b
}

func buffer(pool *packet.Pool, b []byte) *packet.Buffer {
	buf := pool.Get()
	buf.SetLen(copy(buf.Room(), b))
	return buf
}

// receive reads one datagram.
func receive(t *testing.T, c *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 65535)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func TestSend(t *testing.T) {
	namespace(t)
	s := open(t, 2)
	pool := packet.NewPool(256, 0)
	dn, gnb4, gnb6 := socket(t, dataNet), socket(t, dataNet), socket(t, n3v6)
	peer4 := driver.MakePeer(gnb4.LocalAddr().(*net.UDPAddr).AddrPort())
	peer6 := driver.MakePeer(gnb6.LocalAddr().(*net.UDPAddr).AddrPort())
	long := strings.Repeat("f", 1900)
	var tx driver.Burst
	for i := range 150 {
		tx.N3 = append(tx.N3, driver.N3Packet{Buf: buffer(pool, fmt.Appendf(nil, "four %d", i)), Peer: &peer4, Local: 0})
	}
	tx.N3 = append(tx.N3,
		driver.N3Packet{Buf: buffer(pool, []byte("six")), Peer: &peer6, Local: 1},
		driver.N3Packet{Buf: buffer(pool, []byte("wrong family")), Peer: &peer6, Local: 0},
		driver.N3Packet{Buf: buffer(pool, []byte(long)), Peer: &peer4, Local: 0},
	)
	super := buffer(pool, []byte("super"))
	super.SegmentSize = 1
	tx.N3 = append(tx.N3, driver.N3Packet{Buf: super, Peer: &peer4, Local: 0})
	ue := netip.MustParseAddrPort("10.60.0.1:1000")
	tx.N6 = append(tx.N6,
		buffer(pool, udp4(ue, dn.LocalAddr().(*net.UDPAddr).AddrPort(), "uplink")), buffer(pool, []byte{0xff, 0xff}))
	s.drivers[1].Send(&tx, pool)
	if len(tx.N3)+len(tx.N6) != 0 {
		t.Error("Send left packets in the burst")
	}
	for i := range 150 {
		got, from := receive(t, gnb4)
		if want := fmt.Sprintf("four %d", i); got != want || from != netip.AddrPortFrom(n3v4, gtpu.Port) {
			t.Fatalf("gNB received %q from %v, want %q", got, from, want)
		}
	}
	if got, _ := receive(t, gnb4); got != long {
		t.Errorf("long message: %d bytes", len(got))
	}
	if got, from := receive(t, gnb6); got != "six" || from != netip.AddrPortFrom(n3v6, gtpu.Port) {
		t.Errorf("IPv6 gNB received %q from %v", got, from)
	}
	if got, from := receive(t, dn); got != "uplink" || from != ue {
		t.Errorf("data network received %q from %v", got, from)
	}
	got := map[string]uint64{}
	s.drivers[1].Counters(func(name string, v uint64) { got[name] = v })
	for name, want := range map[string]uint64{"drop_n3_send_error": 1, "drop_n6_send_error": 1, "drop_super_packet": 1, "drop_n3_send_full": 0} {
		if got[name] != want {
			t.Errorf("%s = %d, want %d", name, got[name], want)
		}
	}
}

// TestBurst: a burst longer than MaxBurst comes in order, in several.
func TestBurst(t *testing.T) {
	namespace(t)
	s := open(t, 1)
	pool := packet.NewPool(256, 0)
	c := socket(t, n3v4)
	var want []string
	for i := range 3*driver.MaxBurst + 7 {
		text := fmt.Sprint(i)
		send(t, c, netip.AddrPortFrom(n3v4, gtpu.Port), gpdu(1, text))
		want = append(want, fmt.Sprintf("%v>%v %s", c.LocalAddr(), n3v4, text))
	}
	got, _ := take(t, s, 0, pool)
	equal(t, "N3", got, want...)
	send(t, c, netip.AddrPortFrom(n3v4, gtpu.Port), bytes.Repeat([]byte{0x30}, packet.MaxPacket+1))
	send(t, c, netip.AddrPortFrom(n3v4, gtpu.Port), gpdu(1, "after"))
	if got, _ := take(t, s, 0, pool); len(got) != 1 {
		t.Errorf("after a message too long for a buffer: %q", got)
	}
	if s.drivers[0].count.n3Truncated != 1 {
		t.Errorf("truncated = %d, want 1", s.drivers[0].count.n3Truncated)
	}
}

func TestWait(t *testing.T) {
	namespace(t)
	s := open(t, 1)
	pool := packet.NewPool(256, 0)
	d := s.drivers[0]
	var rx driver.Burst
	start := time.Now()
	if err := d.Receive(&rx, pool, 30*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("waited %v, want 30ms", took)
	}
	done := make(chan error)
	go func() {
		var rx driver.Burst
		done <- d.Receive(&rx, pool, -1)
	}()
	d.Wake()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Wake did not end Receive")
	}
	// The wake is used up.
	start = time.Now()
	if err := d.Receive(&rx, pool, 30*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("a Wake counted twice: waited %v", took)
	}
	link, err := netlink.LinkByName(DefaultTUN)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	if err := d.Receive(&rx, pool, time.Second); err == nil {
		t.Error("no error although the N6 device is gone")
	}
}

func TestOpenAndClose(t *testing.T) {
	namespace(t)
	cfg := Config{Workers: 2, N3: []netip.Addr{n3v4}, Routes: []netip.Prefix{netip.MustParsePrefix("10.60.0.0/16")}}
	for range 2 {
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		link, err := netlink.LinkByName(DefaultTUN)
		if err != nil {
			t.Fatal(err)
		}
		if a := link.Attrs(); a.MTU != DefaultMTU || a.Flags&net.FlagUp == 0 {
			t.Errorf("device: MTU %d, flags %v", a.MTU, a.Flags)
		}
		for path, want := range map[string]string{"ip_forward": "1", "conf/" + DefaultTUN + "/rp_filter": "0"} {
			got, err := os.ReadFile("/proc/sys/net/ipv4/" + path)
			if err != nil || strings.TrimSpace(string(got)) != want {
				t.Errorf("%s = %q, %v", path, got, err)
			}
		}
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "upfgtp is there already") {
			t.Errorf("second Open: %v", err)
		}
		second := cfg
		second.TUN, second.Routes = "other", nil
		if _, err := Open(second); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second Open with another device: %v, want EADDRINUSE", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, name := range []string{DefaultTUN, "other"} {
			if _, err := netlink.LinkByName(name); err == nil {
				t.Errorf("device %s is there after Close", name)
			}
		}
	}
}

// TestNotPermitted drops every capability: the error must say what is missing.
func TestNotPermitted(t *testing.T) {
	namespace(t)
	errs := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its capabilities
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			errs <- fmt.Errorf("capset: %w", err)
			return
		}
		_, err := Open(Config{Workers: 1, N3: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
		errs <- err
	}()
	if err := <-errs; err == nil || !strings.Contains(err.Error(), "CAP_BPF") {
		t.Errorf("Open without capabilities: %v", err)
	}
}
