package proxy

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/braid-upf/braid/atsss/convert"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// stages are how far a converted connection is when a fuzzer begins.
var stages = []func(h *converted){
	func(h *converted) {},
	func(h *converted) { h.syn(true, append(bytes.Clone(h.message), "GET /"...)) },
	func(h *converted) {
		h.syn(true, append(bytes.Clone(h.message), "GET /"...))
		h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
	},
	func(h *converted) { h.establish(); h.join() },
	func(h *converted) { h.plain(nil) },
	func(h *converted) { h.syn(true, connectTo(v4(127, 0, 0, 1), 80)) },
	func(h *converted) { h.syn(false, connectTo(v4(127, 0, 0, 1), 80)) },
	func(h *converted) { h.syn(true, nil); h.ueSYNACK(0, true) },
	func(h *converted) { h.syn(false, nil); h.ueSYNACK(0, false) },
	func(h *converted) {
		h.syn(true, nil)
		h.ueSYNACK(0, true)
		h.third(h.message)
	},
}

// FuzzConvert feeds packets of any content, near what is expected, to a proxy with a
// converted connection at any stage. Whatever comes, it neither panics nor sends a packet
// that does not parse, that is longer than the MTU or that it sends twice, and it loses no
// buffer; MPTCP options go to the server only in a SYN.
//
// The input is the stage and a list of packets as of [FuzzConversation], whose spare bytes
// say, first, which payload a packet has: 0 zeros, 1 the client's message, 2 that and more,
// 3 what follows the options in the input; and whether it has the keys of MPTCP (4: a third
// ACK, 8: the first data).
func FuzzConvert(f *testing.F) {
	one := func(who, flags, lengths, content byte, sn, ack uint32, options ...byte) []byte {
		b := []byte{who, flags, lengths, content}
		b = binary.BigEndian.AppendUint32(b, sn)
		b = binary.BigEndian.AppendUint32(b, ack)
		return append(append(b, 0xff, 0xff, 0, 0), options...)
	}
	all := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	capable := []byte{30, 4, 1, 1}
	for _, option := range [][]byte{capable, nil} {
		lengths := byte(len(option)/4) << 4
		f.Add(all([]byte{0}, one(0, packet.SYN, lengths, 1, ^uint32(0), 0, option...), one(2, packet.SYN|packet.ACK, 0, 0, ^uint32(0), 24),
			one(0, packet.ACK, 0, 4, 24, 0), one(2, packet.ACK, 3, 0, 0, 24), one(3, 30, 0, 0, 0, 0)))
		f.Add(all([]byte{0}, one(0, packet.SYN, lengths, 0, ^uint32(0), 0, option...), one(0, packet.ACK, 0, 1+4, 0, 0)))
	}
	for stage := range byte(len(stages)) {
		f.Add(all([]byte{stage}, one(0, packet.ACK, 0, 4, 0, 0), one(2, packet.ACK, 3, 0, 4, 0), one(3, 50, 0, 0, 0, 0)))
		f.Add(all([]byte{stage}, one(0, packet.ACK, 0, 2+8, 0, 0), one(2, packet.RST|packet.ACK, 0, 0, 0, 24), one(0, packet.ACK, 0, 4, 24, 0)))
		f.Add(all([]byte{stage}, one(2, packet.RST, 0, 0, 0, 0), one(0, packet.FIN|packet.ACK, 0, 0, 0, 4), one(2, packet.FIN|packet.ACK, 2, 0, 4, 0)))
		f.Add(all([]byte{stage}, one(0, packet.SYN, 0x10, 0, ^uint32(0), 0, capable...), one(0, packet.SYN, 0, 1, ^uint32(0), 0), one(0, packet.RST|packet.ACK, 0, 0, 0, 0)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		h := newConverted(t)
		buffers := h.buffers()
		stages[int(in[0])%len(stages)](h)
		h.sane()
		h.ueISN, h.srvISN = h.isn, h.realISN
		in = in[1:]
		for n := 0; len(in) >= 16 && n < 48; n++ {
			in = h.play(in)
			h.sane()
		}
		h.p.EndSession(&h.session)
		h.recycle()
		if n := h.missing(buffers); n != 0 {
			t.Errorf("%d buffers are lost", n)
		}
	})
}

// play plays the first packet of in and returns the rest.
func (h *converted) play(in []byte) []byte {
	p := in[:16]
	in = in[16:]
	if p[0]&3 == 3 {
		h.idle(Time(p[1]) * 20 * millisecond)
		return in
	}
	n := min(int(p[2]>>4)*4, 20, len(in)&^3)
	options := bytes.Clone(in[:n])
	in = in[n:]
	content := p[3]
	switch content & 12 {
	case 4:
		options = mptcp.AppendCapableACK(nil, mptcp.FlagHMACSHA256, h.keyA, h.keyB)
	case 8:
		options = mptcp.AppendCapableData(nil, mptcp.FlagHMACSHA256, h.keyA, h.keyB, uint16(p[14]), nil)
	}
	payload := make([]byte, int(p[2]&15)*100)
	switch content & 3 {
	case 1:
		payload = h.message
	case 2:
		payload = append(bytes.Clone(h.message), "GET /"...)
	case 3:
		payload = in[:min(len(in), int(p[15]))]
		in = in[len(payload):]
	}
	sn, ack := binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint32(p[8:])
	sub := int(p[0]&1) % len(h.uePorts)
	s := shape{
		src: &h.ue, dst: &h.srv, srcPort: h.uePorts[sub], dstPort: converterPort,
		sn: h.isn + 1 + sn, ack: h.isns[sub][1] + 1 + ack, flags: p[1], window: binary.BigEndian.Uint16(p[12:]),
	}
	if sub > 0 {
		s.sn = h.isns[sub][0] + 1 + sn
	}
	down := p[0]&2 != 0
	if down {
		s.src, s.dst, s.srcPort, s.dstPort = &h.server, &h.source, 443, h.port
		s.sn, s.ack = h.realISN+1+sn, h.isn+1+ack
	}
	buf := h.build(s, mptcp.Pad(options, 0), payload)
	packet.Parse(buf.Bytes(), &h.info)
	var v Verdict
	if down {
		v = h.p.Downlink(h.now, &h.session, h.rule, buf, &h.info, &h.out)
	} else {
		h.p.Conversion(&h.session, buf, &h.info)
		v = h.p.Uplink(h.now, &h.session, 0, h.rule, buf, &h.info, &h.out)
	}
	if v == NotProxied {
		if !down {
			h.t.Fatal("a packet to the converter passes")
		}
		h.pool.Put(buf)
	}
	return in
}

// sane looks at what was sent, learns what the next packets need of it, and takes it back.
func (h *converted) sane() {
	seen := map[*packet.Buffer]bool{}
	once := func(b *packet.Buffer) {
		if seen[b] {
			h.t.Fatal("a buffer is sent twice")
		}
		seen[b] = true
	}
	for _, x := range h.out.ToUE {
		once(x.Buf)
		g := h.segmentUE(x.Buf)
		if g.in.Src != h.srv {
			h.t.Fatalf("to the UE from %v", g.in.Src.Netip())
		}
		if g.flags&packet.SYN != 0 && g.in.DstPort == h.uePorts[0] {
			h.isns[0][1] = g.tcp.SN()
			if g.opt.mp.Present&mptcp.Capable != 0 {
				h.keyB = g.opt.mp.SenderKey
			}
		}
	}
	for _, b := range h.out.ToN6 {
		once(b)
		g := h.segment(b)
		if g.in.Src != h.source {
			h.t.Fatalf("to N6 from %v", g.in.Src.Netip())
		}
		if g.opt.mp.Present != 0 && g.flags != packet.SYN {
			h.t.Fatalf("MPTCP options %b to the server", g.opt.mp.Present)
		}
		h.port = g.in.SrcPort
	}
	h.recycle()
	if err := h.p.Verify(); err != nil {
		h.t.Fatal(err)
	}
}

// TestConvertHostileRequests sends SYNs whose message is cut at every length, has every byte
// changed, and each length of it every value: an answer comes, or none, and no connection
// is left behind that the UE does not know of.
func TestConvertHostileRequests(t *testing.T) {
	whole := message(func(b []byte) []byte {
		a := v4(10, 100, 6, 2)
		b = convert.AppendConnect(convert.AppendInfo(b), (*[16]byte)(&a), 443, []byte{4, 2, 8, 2})
		return convert.AppendCookie(b, make([]byte, 16))
	})
	var requests [][]byte
	for n := range len(whole) + 1 {
		requests = append(requests, whole[:n])
	}
	for i := range whole {
		for _, v := range []byte{0, 1, 2, 5, 10, 30, 127, 128, 254, 255} {
			b := bytes.Clone(whole)
			b[i] = v
			requests = append(requests, b, append(bytes.Clone(b), whole[4:]...))
		}
	}
	h := newConverted(t)
	buffers := h.buffers()
	for i, b := range requests {
		h.isn += 1 << 20
		h.open(uint16(10000 + i))
		h.p.keys.Fill(1)
		h.syn(i%2 == 0, b)
		for _, x := range h.out.ToN6 {
			if g := h.segment(x); g.flags != packet.SYN || len(g.payload) != 0 {
				t.Fatalf("% x: %d bytes to the server", b, len(g.payload))
			}
		}
		if len(h.out.ToN6)+len(h.out.ToUE) > 1 {
			t.Fatalf("% x: %d packets", b, len(h.out.ToN6)+len(h.out.ToUE))
		}
		h.recycle()
		h.idle(connectLife + 100*millisecond)
		h.recycle()
		h.p.EndSession(&h.session)
	}
	if n := h.missing(buffers); n != 0 || len(h.p.flows.byHash) != 0 || h.p.Connections() != 0 {
		t.Errorf("%d buffers are lost, %d flows and %d connections left", n, len(h.p.flows.byHash), h.p.Connections())
	}
}

// buffers are those that the pool has to begin with.
func (h *converted) buffers() map[*packet.Buffer]bool {
	all := map[*packet.Buffer]bool{}
	for range harnessBuffers {
		all[h.pool.Get()] = true
	}
	for b := range all {
		h.pool.Put(b)
	}
	return all
}

// missing is how many of them are not back.
func (h *converted) missing(buffers map[*packet.Buffer]bool) int {
	for range 100 * harnessBuffers {
		delete(buffers, h.pool.Get())
		if len(buffers) == 0 {
			break
		}
	}
	return len(buffers)
}
