package smf

import (
	"encoding/binary"
	"io"
	"net/netip"
	"sync"
	"time"
)

// pcapWriter writes PFCP datagrams as a pcap file of raw IP packets. The sockets
// give no headers: the IP and UDP headers are made up around what was sent.
type pcapWriter struct {
	mu    sync.Mutex
	dst   io.Writer
	err   error // of the first write that failed; nothing is written after it
	begun bool
}

// The pcap file format (draft-ietf-opsawg-pcap), microseconds, big endian.
const (
	pcapMagic   = 0xa1b2c3d4
	pcapRawIP   = 101 // LINKTYPE_RAW
	pcapSnapLen = 1 << 16
)

// trace is a [pfcp.Config] Trace.
func (w *pcapWriter) trace(sent bool, local, peer netip.AddrPort, datagram []byte, at time.Time) {
	from, to := local, peer
	if !sent {
		from, to = peer, local
	}
	packet := ipPacket(from, to, datagram)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	var b []byte
	if !w.begun {
		w.begun = true
		b = pcapFileHeader()
	}
	b = binary.BigEndian.AppendUint32(b, uint32(at.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(at.Nanosecond()/1000))
	b = binary.BigEndian.AppendUint32(b, uint32(len(packet)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(packet)))
	_, w.err = w.dst.Write(append(b, packet...))
}

// failure is the first write error, if any.
func (w *pcapWriter) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func pcapFileHeader() []byte {
	b := binary.BigEndian.AppendUint32(nil, pcapMagic)
	b = binary.BigEndian.AppendUint16(b, 2) // version 2.4
	b = binary.BigEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...) // time zone and accuracy: unused
	b = binary.BigEndian.AppendUint32(b, pcapSnapLen)
	return binary.BigEndian.AppendUint32(b, pcapRawIP)
}

// ipPacket puts IP and UDP headers with correct checksums before payload. An
// address that was left open (0.0.0.0) stays so.
func ipPacket(from, to netip.AddrPort, payload []byte) []byte {
	const udpHeader, udpProtocol, hopLimit = 8, 17, 64
	src, dst := from.Addr().AsSlice(), to.Addr().AsSlice()
	length := uint16(udpHeader + len(payload))

	udp := binary.BigEndian.AppendUint16(nil, from.Port())
	udp = binary.BigEndian.AppendUint16(udp, to.Port())
	udp = binary.BigEndian.AppendUint16(udp, length)
	udp = append(append(udp, 0, 0), payload...)
	sum := onesSum(udp, onesSum(src, onesSum(dst, udpProtocol+uint32(length))))
	check := ^uint16(sum)
	if check == 0 { // zero means none (RFC 768)
		check = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], check)

	var ip []byte
	if to.Addr().Is4() {
		ip = []byte{0x45, 0}
		ip = binary.BigEndian.AppendUint16(ip, 20+length)
		ip = append(ip, 0, 0, 0x40, 0, hopLimit, udpProtocol, 0, 0) // don't fragment
		ip = append(append(ip, src...), dst...)
		binary.BigEndian.PutUint16(ip[10:], ^uint16(onesSum(ip, 0)))
	} else {
		ip = []byte{0x60, 0, 0, 0}
		ip = binary.BigEndian.AppendUint16(ip, length)
		ip = append(append(append(ip, udpProtocol, hopLimit), src...), dst...)
	}
	return append(ip, udp...)
}

// onesSum adds the 16-bit words of b to sum in ones' complement, folded.
func onesSum(b []byte, sum uint32) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return sum
}
