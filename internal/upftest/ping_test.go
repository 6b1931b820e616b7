package upftest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"
)

// ping sends echo requests of so many octets of IP packet from one address to another,
// one after the other; each must be answered with what it said.
func (h *host) ping(from, to netip.Addr, count, size int) {
	h.t.Helper()
	network, headers, request, reply := "ip4:1", 28, byte(8), byte(0)
	if to.Is6() {
		network, headers, request, reply = "ip6:58", 48, 128, 129
	}
	var c *net.IPConn
	h.check(h.do(func() (err error) {
		c, err = net.DialIP(network, &net.IPAddr{IP: from.AsSlice()}, &net.IPAddr{IP: to.AsSlice()})
		return err
	}))
	defer c.Close()
	m := make([]byte, 8+size-headers)
	m[0] = request
	for i := range m[8:] {
		m[8+i] = byte(i)
	}
	b := make([]byte, 65536)
	for seq := range count {
		binary.BigEndian.PutUint16(m[4:], 0xb4a1)
		binary.BigEndian.PutUint16(m[6:], uint16(seq))
		m[2], m[3] = 0, 0
		if to.Is4() {
			binary.BigEndian.PutUint16(m[2:], checksum(m)) // that of ICMPv6 is the kernel's
		}
		_, err := c.Write(m)
		h.check(err)
		h.check(c.SetReadDeadline(time.Now().Add(eventTime)))
		for {
			n, _, err := c.ReadFromIP(b) // without the IP header, other than Read
			if err != nil {
				h.t.Fatalf("%s: ping %d of %d octets from %v to %v: %v", h.name, seq, size, from, to, err)
			}
			if n == len(m) && b[0] == reply && string(b[4:n]) == string(m[4:]) {
				break
			}
		}
	}
}

// checksum is the Internet checksum (RFC 1071) of b.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
