package proxy

import (
	"encoding/binary"
	"testing"

	"github.com/braid-upf/braid/packet"
)

// FuzzConversation feeds packets of any content, near what is expected so that they get
// far, to a proxy with an established connection of two subflows. Whatever comes, it
// neither panics nor sends a packet that does not parse, that is longer than the MTU or
// that it sends twice.
//
// The input is a list of packets, 16 bytes each and the options that follow:
//
//	0 who (0, 1 UE's subflow, 2 server, 3 time passes)   1 flags   2 lengths of options and payload
//	3 spare   4-7 SN   8-11 ACK (both as distance to what is expected)   12-13 window   14-15 spare
func FuzzConversation(f *testing.F) {
	one := func(who, flags, lengths byte, sn, ack uint32, options ...byte) []byte {
		b := []byte{who, flags, lengths, 0}
		b = binary.BigEndian.AppendUint32(b, sn)
		b = binary.BigEndian.AppendUint32(b, ack)
		return append(append(b, 0xff, 0xff, 0, 0), options...)
	}
	dss := []byte{30, 8, 0x20, 1, 0, 0, 0, 0}
	f.Add(one(2, packet.ACK, 0x0f, 0, 0))
	f.Add(append(one(2, packet.ACK, 0x0f, 1000, 0), one(0, packet.ACK, 0x20, 0, 0, dss...)...))
	f.Add(append(one(2, packet.ACK|packet.FIN, 0x0f, 0, 0), one(3, 200, 0, 0, 0)...))
	f.Add(one(0, packet.ACK, 0x8f, 0, 0, 30, 26, 0x20, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 9, 1, 1, 1, 1, 1, 1))
	f.Add(one(1, packet.RST|packet.ACK, 0x30, 0, 0, 30, 12, 0x70, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	f.Add(one(1, packet.ACK|packet.FIN, 0x20, 0, 0, dss...))
	f.Add(one(0, packet.ACK, 0x20, 0, 0, 30, 4, 0x40, 2, 30, 3, 0x51, 1))
	f.Add(one(0, packet.SYN, 0x30, 0, 0, 30, 12, 0x10, 3, 1, 2, 3, 4, 5, 6, 7, 8))

	f.Fuzz(func(t *testing.T, in []byte) {
		h := newHarness(t)
		h.connect()
		h.join()
		for n := 0; len(in) >= 16 && n < 64; n++ {
			in = h.fuzzed(in)
			h.check(t)
		}
	})
}

// fuzzed plays the first packet of in and returns the rest.
func (h *harness) fuzzed(in []byte) []byte {
	p := in[:16]
	in = in[16:]
	if p[0]&3 == 3 {
		for range int(p[1])%32 + 1 {
			h.now += Time(TickInterval)
			h.p.Tick(h.now, &h.out)
		}
		return in
	}
	n := min(int(p[2]>>4)*4, 40, len(in)&^3)
	options := append([]byte(nil), in[:n]...)
	in = in[n:]
	payload := make([]byte, int(p[2]&15)*100)
	sn, ack := binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint32(p[8:])
	s := shape{
		src: &h.ue, dst: &h.srv, srcPort: h.uePorts[p[0]&1], dstPort: 80,
		sn: h.isns[p[0]&1][0] + 1 + sn, ack: h.isns[p[0]&1][1] + 1 + ack, flags: p[1], window: binary.BigEndian.Uint16(p[12:]),
	}
	if p[0]&2 != 0 {
		s.src, s.dst, s.srcPort, s.dstPort = &h.srv, &h.ue, 80, h.uePorts[0]
		s.sn, s.ack = h.srvISN+1+sn, h.ueISN+1+ack
	}
	buf := h.build(s, options, payload)
	packet.Parse(buf.Bytes(), &h.info)
	var v Verdict
	if p[0]&2 != 0 {
		v = h.p.Downlink(h.now, &h.session, h.rule, buf, &h.info, &h.out)
	} else {
		v = h.p.Uplink(h.now, &h.session, 0, h.rule, buf, &h.info, &h.out)
	}
	if v == NotProxied {
		h.pool.Put(buf)
	}
	return in
}

// check looks at what was sent and takes it back.
func (h *harness) check(t *testing.T) {
	seen := map[*packet.Buffer]bool{}
	once := func(b *packet.Buffer) {
		if seen[b] {
			t.Fatal("a buffer is sent twice")
		}
		seen[b] = true
	}
	for _, x := range h.out.ToUE {
		once(x.Buf)
		h.segmentUE(x.Buf)
	}
	for _, b := range h.out.ToN6 {
		once(b)
		h.segment(b)
	}
	h.recycle()
	if err := h.p.Verify(); err != nil {
		t.Fatal(err)
	}
}
