package proxy

import (
	"encoding/binary"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// segment is the packet being worked on.
type segment struct {
	buf     *packet.Buffer
	in      *packet.Info
	tcp     packet.TCP // whole segment, aliasing buf
	payload []byte     // aliasing buf
	paySum  uint16     // folded sum of the payload
	flags   uint8
	opt     tcpOptions
}

// tcpOptions are the options of one segment.
type tcpOptions struct {
	mss           uint16
	scale         uint8
	hasScale      bool
	sackPermitted bool
	hasTS         bool
	tsval, tsecr  uint32
	sacks         int
	sack          [4][2]uint32
	mp            mptcp.Options
}

// read fills g from the TCP packet in buf; on any result but OK g is not to be used.
func (g *segment) read(buf *packet.Buffer, in *packet.Info) packet.Reason {
	t, r := packet.ParseTCP(buf.Bytes(), in)
	if r != packet.OK {
		return r
	}
	g.buf, g.in, g.tcp, g.flags = buf, in, t, t.Flags()
	g.payload = t.Payload()
	header := packet.PseudoSum(&in.Src, &in.Dst, packet.ProtoTCP, len(t)) + packet.Sum(t[:t.HeaderLen()])
	if buf.Checksum == packet.ChecksumVerified {
		g.paySum = ^packet.Fold(header)
	} else {
		g.paySum = packet.Fold(packet.Sum(g.payload))
		if packet.Fold(header+uint64(g.paySum)) != 0xffff {
			return packet.BadChecksum
		}
	}
	if !g.opt.parse(t.Options()) {
		return packet.BadOffset
	}
	return packet.OK
}

// keepPayload cuts the buffer down to the first n bytes of the payload and returns
// their folded sum. The view g.tcp is void afterwards.
func (g *segment) keepPayload(n int) uint16 {
	g.buf.TrimFront(g.in.L4 + g.tcp.HeaderLen())
	g.buf.SetLen(n)
	if n == len(g.payload) {
		return g.paySum
	}
	return packet.Fold(packet.Sum(g.buf.Bytes()))
}

// ttl is the TTL or hop limit of the packet.
func (g *segment) ttl() uint8 {
	if b := g.buf.Bytes(); g.in.Version == 6 {
		return b[7]
	} else {
		return b[8]
	}
}

// parse reads TCP options; false if their lengths do not add up.
func (o *tcpOptions) parse(b []byte) bool {
	o.mss, o.hasScale, o.sackPermitted, o.hasTS, o.sacks = 0, false, false, false, 0
	o.mp.Present = 0
	for len(b) > 0 {
		switch b[0] {
		case packet.OptEnd:
			return true
		case packet.OptNOP:
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return false
		}
		o.option(b[:b[1]])
		b = b[b[1]:]
	}
	return true
}

func (o *tcpOptions) option(b []byte) {
	switch n := len(b); b[0] {
	case packet.OptMPTCP:
		o.mp.ParseOption(b)
	case packet.OptTimestamps:
		if n == 10 {
			o.hasTS = true
			o.tsval, o.tsecr = binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint32(b[6:])
		}
	case packet.OptSACK:
		for b = b[2:]; len(b) >= 8 && o.sacks < len(o.sack); b = b[8:] {
			o.sack[o.sacks] = [2]uint32{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
			o.sacks++
		}
	case packet.OptMSS:
		if n == 4 {
			o.mss = binary.BigEndian.Uint16(b[2:])
		}
	case packet.OptWindowScale:
		if n == 3 {
			o.hasScale, o.scale = true, min(b[2], 14)
		}
	case packet.OptSACKPermitted:
		o.sackPermitted = n == 2
	}
}

// shape is the TCP header to be written in front of a payload.
type shape struct {
	src, dst         *packet.Addr
	srcPort, dstPort uint16
	v6               bool
	tos, ttl         uint8
	sn, ack          uint32
	flags            uint8
	window           uint16
	options          []byte // a multiple of 4 bytes, at most 40
}

// write puts IP and TCP headers of shape h in front of the payload that buf holds;
// paySum is the payload's folded sum.
func (h *shape) write(buf *packet.Buffer, paySum uint16) {
	tcpLen := packet.TCPHeaderLen + len(h.options)
	segLen := tcpLen + buf.Len()
	ipLen := 20
	if h.v6 {
		ipLen = 40
	}
	b := buf.Prepend(ipLen + tcpLen)
	packet.PutIPHeader(b, h.v6, h.src, h.dst, packet.ProtoTCP, h.tos, h.ttl, ipLen+segLen)
	t := b[ipLen:]
	packet.PutTCPHeader(t, h.srcPort, h.dstPort, h.sn, h.ack, tcpLen, h.flags, h.window)
	copy(t[packet.TCPHeaderLen:], h.options)
	sum := packet.PseudoSum(h.src, h.dst, packet.ProtoTCP, segLen) + packet.Sum(t) + uint64(paySum)
	binary.BigEndian.PutUint16(t[16:], ^packet.Fold(sum))
	buf.Checksum, buf.SegmentSize = packet.ChecksumVerified, 0
}

// appendTS appends a timestamps option after two NOPs, 12 bytes.
func appendTS(b []byte, tsval, tsecr uint32) []byte {
	b = append(b, packet.OptNOP, packet.OptNOP, packet.OptTimestamps, 10)
	b = binary.BigEndian.AppendUint32(b, tsval)
	return binary.BigEndian.AppendUint32(b, tsecr)
}
