package mptcpclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// ICMP of RFC 792.
const (
	icmpEchoRequest = 8
	icmpEchoReply   = 0
	icmpHeaderLen   = 8
)

// Ping sends count ICMP echo requests with size bytes of payload to an IPv4
// address, one after another, and returns how many replies came within timeout.
// It needs CAP_NET_RAW.
func (c *Client) Ping(to netip.Addr, count, size int, timeout time.Duration) (received int, err error) {
	local := "0.0.0.0"
	if c.Local.IsValid() {
		local = c.Local.String()
	}
	var conn net.PacketConn
	err = c.In.do(func() error {
		conn, err = net.ListenPacket("ip4:icmp", local)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ping: %w", err)
	}
	defer conn.Close()
	for i := range count {
		req := echoRequest(uint16(os.Getpid()), uint16(i), size)
		if _, err := conn.WriteTo(req, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return received, fmt.Errorf("ping %v: %w", to, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
			return received, err
		}
		ok, err := awaitReply(conn, to, req)
		if err != nil {
			return received, fmt.Errorf("ping %v: %w", to, err)
		}
		if ok {
			received++
		}
	}
	return received, nil
}

// awaitReply reads until the reply to req comes or the read deadline passes.
func awaitReply(conn net.PacketConn, from netip.Addr, req []byte) (bool, error) {
	b := make([]byte, 65536)
	for {
		n, addr, err := conn.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		ip, _ := netip.AddrFromSlice(addr.(*net.IPAddr).IP)
		if ip.Unmap() == from && n == len(req) && b[0] == icmpEchoReply && string(b[4:n]) == string(req[4:]) {
			return true, nil
		}
	}
}

func echoRequest(id, seq uint16, size int) []byte {
	b := make([]byte, icmpHeaderLen+size)
	b[0] = icmpEchoRequest
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	for i := range b[icmpHeaderLen:] {
		b[icmpHeaderLen+i] = byte(i) ^ byte(seq)
	}
	binary.BigEndian.PutUint16(b[2:], onesComplementSum(b))
	return b
}

// onesComplementSum is the Internet checksum (RFC 1071).
func onesComplementSum(b []byte) uint16 {
	var s uint32
	for i, v := range b {
		s += uint32(v) << (8 * (1 - i&1))
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}
