package lab_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/braid-upf/braid/internal/lab"
)

// ping sends count ICMP echo requests, 20 ms apart, from one address of the UE and
// returns the round trips of those answered within timeout.
func ping(t *testing.T, l *lab.Lab, from, to netip.Addr, count int, timeout time.Duration) []time.Duration {
	t.Helper()
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if to.Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	var conn *net.IPConn
	if err := l.InNamespace(lab.UE, func() (err error) {
		conn, err = net.DialIP(network, &net.IPAddr{IP: from.AsSlice()}, &net.IPAddr{IP: to.AsSlice()})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var took []time.Duration
	for seq := range count {
		msg := []byte{request, 0, 0, 0, 0x77, 0x31, 0, byte(seq), 'l', 'a', 'b', '!'}
		if to.Is4() {
			binary.BigEndian.PutUint16(msg[2:], checksum(msg)) // the kernel does it for ICMPv6
		}
		sent := time.Now()
		if _, err := conn.Write(msg); err != nil {
			t.Fatal(err)
		}
		if answered(t, conn, reply, byte(seq), sent.Add(timeout)) {
			took = append(took, time.Since(sent))
		}
		time.Sleep(time.Until(sent.Add(20 * time.Millisecond)))
	}
	return took
}

func answered(t *testing.T, conn *net.IPConn, reply, seq byte, deadline time.Time) bool {
	t.Helper()
	if err := conn.SetReadDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFromIP(buf) // without the IPv4 header
		if err != nil {
			return false
		}
		if n == 12 && buf[0] == reply && buf[7] == seq {
			return true
		}
	}
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
