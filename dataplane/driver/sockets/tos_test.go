package sockets

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/packet"
)

// TestTOS: each packet of a burst has the TOS or traffic class that it asks for.
func TestTOS(t *testing.T) {
	namespace(t)
	s := open(t, 1)
	pool := packet.NewPool(64, 0)
	want := []uint8{0, 46 << 2, 0, 0xff, 1, 0, 10<<2 | 2}
	for local, addr := range []netip.Addr{n3v4, n3v6} {
		gnb := socket(t, addr)
		askTOS(t, gnb, addr.Is6())
		peer := driver.MakePeer(gnb.LocalAddr().(*net.UDPAddr).AddrPort())
		for range 2 { // the second burst must not have the first one's
			var tx driver.Burst
			for _, tos := range want {
				tx.N3 = append(tx.N3, driver.N3Packet{Buf: buffer(pool, []byte{tos}), Peer: &peer, Local: uint8(local), TOS: tos})
			}
			s.drivers[0].Send(&tx, pool)
			for i, tos := range want {
				if sent, got := receiveTOS(t, gnb); sent != tos || got != tos {
					t.Errorf("%v: packet %d has TOS %#02x and was sent with %#02x, want %#02x", addr, i, got, sent, tos)
				}
			}
			var plain driver.Burst
			for range want {
				plain.N3 = append(plain.N3, driver.N3Packet{Buf: buffer(pool, []byte{0}), Peer: &peer, Local: uint8(local)})
			}
			s.drivers[0].Send(&plain, pool)
			for i := range want {
				if _, got := receiveTOS(t, gnb); got != 0 {
					t.Errorf("%v: packet %d that asked for no TOS has %#02x", addr, i, got)
				}
			}
		}
	}
}

// askTOS makes the kernel tell the TOS of what c receives.
func askTOS(t *testing.T, c *net.UDPConn, v6 bool) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	level, option := unix.IPPROTO_IP, unix.IP_RECVTOS
	if v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS
	}
	var fail error
	if err := raw.Control(func(fd uintptr) { fail = unix.SetsockoptInt(int(fd), level, option, 1) }); err != nil || fail != nil {
		t.Fatal(err, fail)
	}
}

// receiveTOS reads a datagram of one octet, and the TOS that it came with.
func receiveTOS(t *testing.T, c *net.UDPConn) (content, tos uint8) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b, oob := make([]byte, 10), make([]byte, 100)
	n, nOOB, _, _, err := c.ReadMsgUDPAddrPort(b, oob)
	if err != nil || n != 1 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:nOOB])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d control messages, %v", len(messages), err)
	}
	return b[0], messages[0].Data[0] // an octet, or an int of a small-endian machine
}

func TestSendDoesNotAllocate(t *testing.T) {
	namespace(t)
	s := open(t, 1)
	pool := packet.NewPool(64, 0)
	peer := driver.MakePeer(socket(t, n3v4).LocalAddr().(*net.UDPAddr).AddrPort())
	tx := driver.Burst{N3: make([]driver.N3Packet, 0, 2)}
	text := []byte("x")
	got := testing.AllocsPerRun(100, func() {
		for _, tos := range []uint8{0, 46 << 2} {
			b := pool.Get()
			b.SetLen(copy(b.Room(), text))
			tx.N3 = append(tx.N3, driver.N3Packet{Buf: b, Peer: &peer, TOS: tos})
		}
		s.drivers[0].Send(&tx, pool)
	})
	if got != 0 {
		t.Errorf("%v allocations a burst", got)
	}
}
