package proxy

import (
	"encoding/binary"

	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
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

	access steer.Access // that it came over, from the UE
	pdr    uint16       // that its connection has there
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
	g.paySum = 0 // of no payload
	if verified := buf.Checksum == packet.ChecksumVerified; !verified || len(g.payload) > 0 {
		header := packet.PseudoSum(&in.Src, &in.Dst, packet.ProtoTCP, len(t)) + packet.SumWords(t[:t.HeaderLen()])
		if verified {
			g.paySum = ^packet.Fold(header)
		} else {
			g.paySum = uint16(packet.Sum(g.payload))
			if packet.Fold(header+uint64(g.paySum)) != 0xffff {
				return packet.BadChecksum
			}
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
	g.buf.TrimFront(g.in.End - len(g.payload))
	g.buf.SetLen(n)
	if n == len(g.payload) {
		return g.paySum
	}
	return packet.Fold(packet.Sum(g.buf.Bytes()))
}

// stripMPTCP overwrites the MPTCP options of the packet with NOPs, in place.
func (g *segment) stripMPTCP() {
	opts := g.tcp.Options()
	before, found := packet.Sum(opts), false
	for b := opts; len(b) > 1 && b[0] != packet.OptEnd; {
		n := 1
		if b[0] != packet.OptNOP {
			n = int(b[1]) // g.read has checked the lengths
		}
		if b[0] == packet.OptMPTCP {
			found = true
			for i := range n {
				b[i] = packet.OptNOP
			}
		}
		b = b[n:]
	}
	if !found {
		return
	}
	sum := uint64(^g.tcp.ChecksumField()) + uint64(^packet.Fold(before)) + packet.Sum(opts) // RFC 1624 §3
	binary.BigEndian.PutUint16(g.tcp[16:], ^packet.Fold(sum))
}

// fastOpen is the Fast Open option, nil if there is none.
func (g *segment) fastOpen() []byte {
	for b := g.tcp.Options(); len(b) > 1 && b[0] != packet.OptEnd; {
		n := 1
		if b[0] != packet.OptNOP {
			n = int(b[1]) // g.read has checked the lengths
		}
		if b[0] == packet.OptFastOpen {
			return b[:n]
		}
		b = b[n:]
	}
	return nil
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
	o.mp.Present, o.mp.Ignored = 0, 0
	if len(b) >= 12 && binary.BigEndian.Uint32(b) == tsWord { // nearly every packet
		o.hasTS = true
		o.tsval, o.tsecr = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		b = b[12:]
	}
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
		n := int(b[1])
		if b[0] == packet.OptMPTCP {
			o.mp.ParseOption(b[:n])
		} else {
			o.option(b[:n])
		}
		b = b[n:]
	}
	return true
}

func (o *tcpOptions) option(b []byte) {
	switch n := len(b); b[0] {
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
	addrs            uint16 // sum of both addresses; 0 = not known
}

// options are the TCP options of a segment being written, as 32-bit words: what the
// header is made of, so that it is stored and summed without being read again.
type options struct {
	word [10]uint32
	n    int
}

// add appends one word.
func (o *options) add(w uint32) {
	o.word[o.n] = w
	o.n++
}

// len is the length in bytes.
func (o *options) len() int { return 4 * o.n }

// bytes appends whole options given as bytes, padded with NOPs.
func (o *options) bytes(b []byte) {
	for ; len(b) >= 4; b = b[4:] {
		o.add(binary.BigEndian.Uint32(b))
	}
	if len(b) > 0 {
		w := [4]byte{packet.OptNOP, packet.OptNOP, packet.OptNOP, packet.OptNOP}
		copy(w[:], b)
		o.add(binary.BigEndian.Uint32(w[:]))
	}
}

// timestamps appends a timestamps option after two NOPs, 12 bytes.
func (o *options) timestamps(tsval, tsecr uint32) {
	w := (*[3]uint32)(o.word[o.n:])
	w[0], w[1], w[2] = tsWord, tsval, tsecr
	o.n += len(w)
}

// tsWord is the first word of a timestamps option behind two NOPs (RFC 7323 appendix A).
const tsWord = packet.OptNOP<<24 | packet.OptNOP<<16 | packet.OptTimestamps<<8 | 10

// sack appends a SACK option after two NOPs with the SN of each range.
func (o *options) sack(ranges []dsm.Range, origin uint32) {
	o.add(packet.OptNOP<<24 | packet.OptNOP<<16 | packet.OptSACK<<8 | uint32(2+8*len(ranges)))
	for _, r := range ranges {
		o.add(origin + uint32(r.From))
		o.add(origin + uint32(r.To))
	}
}

// dataAck appends a DSS with a 32-bit DATA_ACK alone, 8 bytes.
func (o *options) dataAck(ack uint32) {
	o.add(dssWord(8, dssDataAck))
	o.add(ack)
}

// mapping appends a DSS with 32-bit DATA_ACK and DSN, 20 bytes: with the checksum, or
// two NOPs in its place.
func (o *options) mapping(ack uint32, dsn mptcp.DSN, ssn mptcp.SSN, n uint16, fin, checksum bool, paySum uint16) {
	flags := uint32(dssDataAck | dssMapping)
	if fin {
		flags |= dssDataFIN
	}
	length, last := uint32(18), uint32(packet.OptNOP<<8|packet.OptNOP)
	if checksum {
		length, last = 20, uint32(mptcp.DSSChecksum(dsn, ssn, n, paySum))
	}
	w := (*[5]uint32)(o.word[o.n:])
	w[0], w[1], w[2], w[3], w[4] = dssWord(length, flags), ack, uint32(dsn), uint32(ssn), uint32(n)<<16|last
	o.n += len(w)
}

// Flags of a DSS (RFC 8684 §3.3).
const (
	dssDataAck = 0x01
	dssMapping = 0x04
	dssDataFIN = 0x10
)

// dssWord is the first word of a DSS.
func dssWord(length, flags uint32) uint32 { return mptcp.Kind<<24 | length<<16 | 2<<12 | flags }

// store writes the options to b, which is as long as they are, and gives their sum.
func (o *options) store(b []byte) (sum uint64) {
	w := &o.word
	if len(b) == 32 { // timestamps and a mapping, as data have: without a loop
		b := (*[32]byte)(b)
		binary.BigEndian.PutUint64(b[0:], uint64(w[0])<<32|uint64(w[1]))
		binary.BigEndian.PutUint64(b[8:], uint64(w[2])<<32|uint64(w[3]))
		binary.BigEndian.PutUint64(b[16:], uint64(w[4])<<32|uint64(w[5]))
		binary.BigEndian.PutUint64(b[24:], uint64(w[6])<<32|uint64(w[7]))
		return uint64(w[0]) + uint64(w[1]) + uint64(w[2]) + uint64(w[3]) +
			uint64(w[4]) + uint64(w[5]) + uint64(w[6]) + uint64(w[7])
	}
	if len(b) == 12 { // timestamps, as most ACKs have
		b := (*[12]byte)(b)
		binary.BigEndian.PutUint64(b[0:], uint64(w[0])<<32|uint64(w[1]))
		binary.BigEndian.PutUint32(b[8:], w[2])
		return uint64(w[0]) + uint64(w[1]) + uint64(w[2])
	}
	for i := 0; len(b) >= 4 && i < len(w); i++ {
		sum += uint64(w[i])
		binary.BigEndian.PutUint32(b, w[i])
		b = b[4:]
	}
	return sum
}

// write puts IP and TCP headers of shape h with options o in front of the payload that
// buf holds; paySum is the payload's folded sum.
func (h *shape) write(buf *packet.Buffer, paySum uint16, o *options) {
	tcpLen := packet.TCPHeaderLen + o.len()
	segLen := tcpLen + buf.Len()
	ipLen := 20
	if h.v6 {
		ipLen = 40
	}
	b := buf.Prepend(ipLen + tcpLen)
	packet.PutIPHeader(b, h.v6, h.src, h.dst, packet.ProtoTCP, h.tos, h.ttl, ipLen+segLen)
	t := b[ipLen:]
	ports := uint32(h.srcPort)<<16 | uint32(h.dstPort)
	control := uint32(tcpLen/4)<<28 | uint32(h.flags)<<16 | uint32(h.window)
	addrs := uint64(h.addrs)
	if addrs == 0 {
		addrs = packet.SumWords(h.src[:]) + packet.SumWords(h.dst[:])
	}
	sum := addrs + packet.ProtoTCP + uint64(segLen) + uint64(paySum) +
		uint64(ports) + uint64(h.sn) + uint64(h.ack) + uint64(control)
	sum += o.store(t[packet.TCPHeaderLen:])
	t = t[:packet.TCPHeaderLen]
	binary.BigEndian.PutUint32(t[0:], ports)
	binary.BigEndian.PutUint32(t[4:], h.sn)
	binary.BigEndian.PutUint32(t[8:], h.ack)
	binary.BigEndian.PutUint32(t[12:], control)
	binary.BigEndian.PutUint32(t[16:], uint32(^packet.Fold(sum))<<16)
	buf.Checksum, buf.SegmentSize = packet.ChecksumVerified, 0
}
