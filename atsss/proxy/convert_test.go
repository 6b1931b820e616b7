package proxy

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/braid-upf/braid/atsss/convert"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// converted is a harness whose UE opens its connections to the converter: ue and srv of the
// harness are the UE's link-specific address and the converter, ueISN and srvISN what
// positions are counted from.
type converted struct {
	*harness
	source, server packet.Addr // as N6 has them
	port           uint16      // of source
	realISN        uint32      // of the server
	message        []byte
	isn            uint32 // of the UE
}

const converterPort = 80 // as the harness has it for servers

func v4(a, b, c, d byte) packet.Addr {
	return packet.Addr{10: 0xff, 11: 0xff, 12: a, 13: b, 14: c, 15: d}
}

// message is a client's message.
func message(build func(b []byte) []byte) []byte {
	b := build(convert.Start(nil))
	convert.Finish(b, 0)
	return b
}

func connectTo(a packet.Addr, port uint16, options ...byte) []byte {
	return message(func(b []byte) []byte { return convert.AppendConnect(b, (*[16]byte)(&a), port, options) })
}

func newConverted(t testing.TB) *converted {
	h := &converted{harness: newHarness(t), source: v4(10, 60, 0, 1), server: v4(10, 100, 6, 2), realISN: 0x7ffffff0, port: 40000}
	h.ue, h.srv = v4(10, 61, 3, 1), v4(10, 9, 0, 9)
	h.session.Converter = &Converter{
		At: [2]Endpoint{{h.srv, converterPort}}, Source: [2]packet.Addr{h.source}, Reserved: []packet.Addr{h.srv, h.ue},
	}
	h.message, h.isn = connectTo(h.server, 443), h.ueISN
	h.open(40000)
	return h
}

// open has the harness speak of a connection from the given port.
func (h *converted) open(port uint16) {
	h.uePorts, h.isns = []uint16{port}, [][2]uint32{{h.isn, 0}}
	h.ueISN = h.isn
}

// syn has the UE send its SYN with a payload, with MP_CAPABLE or not.
func (h *converted) syn(capable bool, payload []byte) {
	h.t.Helper()
	opt := negotiation(h.tsUE, 0)
	if capable {
		opt = mptcp.AppendCapableSYN(opt, mptcp.FlagHMACSHA256)
	}
	h.up(0, h.build(shape{
		src: &h.ue, dst: &h.srv, srcPort: h.uePorts[0], dstPort: converterPort, sn: h.isn, flags: packet.SYN, window: 65535,
	}, opt, payload))
}

// fromN6 is a packet of the server.
func (h *converted) fromN6(flags uint8, d, u int64, opt, payload []byte) *packet.Buffer {
	s := shape{
		src: &h.server, dst: &h.source, srcPort: 443, dstPort: h.port,
		sn: h.srvISN + 1 + uint32(d), ack: h.ueISN + 1 + uint32(u), flags: flags, window: 65535,
	}
	if opt == nil {
		opt = appendTS(h.options[:0], h.tsServer, h.tsUE)
	}
	buf := h.build(s, opt, payload)
	return buf
}

// serverSYNACK has the server answer the SYN with the given options.
func (h *converted) serverSYNACK(opt []byte) {
	h.t.Helper()
	h.ueISN, h.srvISN = h.isn+uint32(len(h.message)), h.realISN
	h.down(h.fromN6(packet.SYN|packet.ACK, -1, 0, opt, nil))
}

// n6SYN checks the SYN to the server and gives it.
func (h *converted) n6SYN() segment {
	h.t.Helper()
	if len(h.out.ToN6) != 1 || len(h.out.ToUE) != 0 {
		h.t.Fatalf("%d packets to N6 and %d to the UE, want the SYN", len(h.out.ToN6), len(h.out.ToUE))
	}
	g := h.segment(h.out.ToN6[0])
	if g.flags != packet.SYN || len(g.payload) != 0 || g.tcp.SN() != h.isn+uint32(len(h.message)) {
		h.t.Fatalf("flags %x, %d bytes, SN %d above the UE's", g.flags, len(g.payload), g.tcp.SN()-h.isn)
	}
	if g.in.Src != h.source || g.in.Dst != h.server || g.in.DstPort != 443 {
		h.t.Fatalf("SYN from %v to %v port %d", g.in.Src.Netip(), g.in.Dst.Netip(), g.in.DstPort)
	}
	h.port = g.in.SrcPort
	return g
}

// answered opens a connection by way of the converter, with MP_CAPABLE or plain, up to the
// SYN/ACK to the UE.
func (h *converted) answered(capable bool) {
	h.t.Helper()
	h.syn(capable, h.message)
	h.n6SYN()
	h.recycle()
	h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
	h.ueSYNACK(24, capable)
}

// ueSYNACK checks the SYN/ACK to the UE, which acknowledges taken bytes of payload, and
// has the harness count positions from where the DSN space and the message to the UE begin.
func (h *converted) ueSYNACK(taken int, capable bool) segment {
	h.t.Helper()
	if len(h.out.ToN6) != 0 || len(h.out.ToUE) != 1 {
		h.t.Fatalf("%d packets to N6 and %d to the UE, want the SYN/ACK", len(h.out.ToN6), len(h.out.ToUE))
	}
	g := h.segmentUE(h.out.ToUE[0].Buf)
	if g.flags != packet.SYN|packet.ACK || len(g.payload) != 0 || g.tcp.AckSN() != h.isn+1+uint32(taken) {
		h.t.Fatalf("flags %x, %d bytes, acknowledges %d", g.flags, len(g.payload), g.tcp.AckSN()-h.isn-1)
	}
	if g.in.Src != h.srv || g.in.SrcPort != converterPort || g.in.Dst != h.ue || g.in.DstPort != h.uePorts[0] {
		h.t.Fatalf("SYN/ACK from %v to %v", g.in.Src.Netip(), g.in.Dst.Netip())
	}
	if got := g.opt.mp.Present&mptcp.Capable != 0; got != capable {
		h.t.Fatalf("MP_CAPABLE in the SYN/ACK: %v, want %v", got, capable)
	}
	h.keyB = g.opt.mp.SenderKey
	_, h.idsnA = h.keyA.Derive()
	_, h.idsnB = h.keyB.Derive()
	h.isns[0] = [2]uint32{h.isn + uint32(taken), g.tcp.SN()}
	h.ueISN, h.srvISN = h.isns[0][0], h.isns[0][1]
	h.recycle()
	return g
}

func (h *converted) third(payload []byte) {
	h.t.Helper()
	h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendCapableACK(nil, mptcp.FlagHMACSHA256, h.keyA, h.keyB), 1, payload))
}

// reply reads the converter's message in the last packet to the UE.
func (h *converted) reply() (r convert.Reply, n int) {
	h.t.Helper()
	if len(h.out.ToUE) == 0 {
		h.t.Fatal("nothing for the UE")
	}
	for _, x := range h.out.ToUE {
		g := h.segmentUE(x.Buf)
		if len(g.payload) == 0 {
			continue
		}
		b := bytes.Clone(g.payload)
		if !convert.ParseReply(b, &r) {
			h.t.Fatalf("% x is no message", b)
		}
		return r, len(b)
	}
	h.t.Fatal("no message for the UE")
	return r, 0
}

// establish opens the connection up to the converter's message, of n bytes, acknowledged.
func (h *converted) establish() (n int64) {
	h.t.Helper()
	h.syn(true, h.message)
	h.n6SYN()
	h.recycle()
	h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
	h.ueSYNACK(len(h.message), true)
	h.third(nil)
	_, r := h.reply()
	h.recycle()
	n = int64(r)
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, n), n+1, nil))
	h.recycle()
	return n
}

// As libconvert does it: the SYN carries the message alone, the user's data come after the
// reply.
func TestConvert(t *testing.T) {
	h := newConverted(t)
	h.syn(true, h.message)
	h.n6SYN()
	h.recycle()
	h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
	g := h.ueSYNACK(24, true)
	if !g.opt.hasTS || g.opt.tsval != h.tsServer || g.opt.tsecr != h.tsUE || !g.opt.sackPermitted || g.opt.scale != 7 {
		t.Errorf("options of the SYN/ACK: %+v", g.opt)
	}
	h.third(nil)
	if r, n := h.reply(); n != 4 || r.HasError || r.HasExtended {
		t.Errorf("the reply says %+v", r)
	}
	h.want("srv u=0 ack=4", "ue0 ssn=1+4 ack=1 dack=0 map=0@1+4")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 4), 5, nil))
	h.want("srv u=0 ack=4") // the window has moved
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&mapping{1, 0, 100}, 4), 5, make([]byte, 100)))
	h.want("srv u=0+100 ack=4")
	h.down(h.fromN6(packet.ACK, 4, 100, nil, make([]byte, 1000)))
	h.want("ue0 ssn=5+1000 ack=101 dack=100 map=4@5+1000")
	h.up(0, h.fromUE(0, packet.ACK, 100, h.dss(nil, 1004), 1005, nil))
	h.want("srv u=100 ack=1004")
	h.join()
	h.rule = h.otherRule()
	h.down(h.fromN6(packet.ACK, 1004, 100, nil, make([]byte, 1000)))
	h.want("ue1 ssn=2+1000 ack=1 dack=100 map=1004@2+1000")
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(nil, 2004), 1002, nil))
	h.want("srv u=100 ack=2004")
	h.down(h.fromN6(packet.ACK|packet.FIN, 2004, 100, nil, nil))
	h.want("ue0 ssn=1005 ack=101 dack=100 fin=2004", "ue1 ssn=1002 ack=1 dack=100 fin=2004")
	for sub := range 2 {
		b := h.fromUE(sub, packet.ACK, 0, nil, 1, nil)
		if e := h.p.Conversion(&h.session, b, h.parsed(b)); e != (Endpoints{Endpoint{h.source, 40000}, Endpoint{h.server, 443}}) {
			t.Errorf("on N6 the connection is %v", e)
		}
		h.pool.Put(b)
	}
}

// parsed is what packet.Parse says of b.
func (h *converted) parsed(b *packet.Buffer) *packet.Info {
	var in packet.Info
	packet.Parse(b.Bytes(), &in)
	return &in
}

// The message to the UE is lost until it is sent by the clock, before what the server
// said in the meantime.
func TestConvertReplyLost(t *testing.T) {
	h := newConverted(t)
	h.answered(true)
	h.third(nil)
	h.want("srv u=0 ack=4", "ue0 ssn=1+4 ack=1 dack=0 map=0@1+4") // lost
	h.down(h.fromN6(packet.ACK, 4, 0, nil, make([]byte, 1000)))
	h.want("ue0 ssn=5+1000 ack=1 dack=0 map=4@5+1000")
	h.up(0, h.fromUE(0, packet.ACK, 0, append(h.dss(nil, 0), sackOption(h.isns[0][1]+5, h.isns[0][1]+1005)...), 1, nil))
	h.want() // a block that begins at the ACK would be taken for reneging
	h.idle(250 * millisecond)
	h.want("ue0 ssn=1+4 ack=1 dack=0 map=0@1+4", "ue0 ssn=0+1 ack=1 dack=0 map=-1@0+1") // and the path is probed
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 1004), 1005, nil))
	h.want("srv u=0 ack=1004")
	h.idle(1000 * millisecond)
	h.want()
	if h.conn().convert.reply != nil {
		t.Error("the message is still kept")
	}
}

// With a Connect that has options, the server's SYN has those and its answer's come back.
func TestConvertOptions(t *testing.T) {
	h := newConverted(t)
	h.message = connectTo(h.server, 443, 4, 2, 8, 2, 2, 4, 5, 5, 1, 30, 2, 34, 2)
	h.syn(true, h.message)
	g := h.n6SYN()
	if g.opt.mp.Present != mptcp.Capable || g.opt.mp.CapableLen != 4 || !bytes.Equal(g.fastOpen(), []byte{34, 2}) || !g.opt.hasTS || !g.opt.sackPermitted || g.opt.mss != 1460-dssRoom {
		t.Errorf("options of the SYN to the server: %+v, Fast Open % x", g.opt, g.fastOpen())
	}
	h.recycle()
	opt := append(negotiation(h.tsServer, h.tsUE), 34, 6, 1, 2, 3, 4, 1, 1)
	h.serverSYNACK(opt)
	h.ueSYNACK(len(h.message), true)
	h.third(nil)
	if r, _ := h.reply(); !r.HasExtended || !bytes.Equal(r.Extended, opt) {
		t.Errorf("reply %+v, want the options % x", r, opt)
	}
	h.want(fmt.Sprintf("srv u=0 ack=%d", 8+len(opt)), fmt.Sprintf("ue0 ssn=1+%d ack=1 dack=0 map=0@1+%d", 8+len(opt), 8+len(opt)))
}

// Data of the user behind the message are acknowledged to the UE with it, and sent to the
// server until it has them.
func TestConvertUserData(t *testing.T) {
	h := newConverted(t)
	request := bytes.Repeat([]byte("GET /"), 20)
	h.syn(true, append(bytes.Clone(h.message), request...))
	h.n6SYN()
	h.recycle()
	h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
	h.ueSYNACK(124, true)
	h.third(nil)
	if g := h.segment(h.out.ToN6[0]); !bytes.Equal(g.payload, request) {
		t.Errorf("the server gets %q", g.payload)
	}
	h.want("srv u=-100+100 ack=4", "ue0 ssn=1+4 ack=1 dack=-100 map=0@1+4")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&mapping{1, 0, 50}, 4), 5, make([]byte, 50)))
	h.want("srv u=0+50 ack=4")
	h.idle(300 * millisecond) // they were lost
	if n := len(h.out.ToN6); n != 1 {
		t.Fatalf("%d packets to the server, want the data again", n)
	}
	h.recycle()
	h.down(h.fromN6(packet.ACK, 4, 50, nil, nil))
	h.want("ue0 ssn=5 ack=51 dack=50")
	h.idle(2000 * millisecond)
	h.want()
}

// A SYN that is repeated has no payload with Linux: the SYN/ACK acknowledges none, and the
// message comes again with the third ACK, outside the DSN space.
func TestConvertRepeatedWithoutPayload(t *testing.T) {
	for _, data := range []int{0, 100} {
		h := newConverted(t)
		payload := append(bytes.Clone(h.message), make([]byte, data)...)
		h.syn(true, payload)
		h.n6SYN()
		h.recycle()
		h.syn(true, nil)
		h.n6SYN() // ours is repeated with the UE's
		h.recycle()
		h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
		h.ueSYNACK(0, true)
		h.syn(true, nil) // the SYN/ACK was lost
		h.ueSYNACK(0, true)
		h.third(nil) // without payload it does not say where the DSN space begins
		h.want()
		h.third(payload)
		h.ueISN = h.isn + uint32(len(payload))
		h.isns[0][0] = h.ueISN
		if data == 0 {
			h.want("srv u=0 ack=4", "ue0 ssn=1 ack=1 dack=0", "ue0 ssn=1+4 ack=1 dack=0 map=0@1+4")
		} else {
			h.want("srv u=-100+100 ack=4", "ue0 ssn=1+4 ack=-99 dack=-100 map=0@1+4")
		}
		h.up(0, h.fromUE(0, packet.ACK, int64(-len(payload)), h.dss(nil, 4), 5, payload)) // a late copy
		if data == 0 {
			h.want("srv u=0 ack=4", "ue0 ssn=5 ack=1 dack=0")
		} else {
			h.want("srv u=-100+100 ack=4")
		}
	}
}

// The third ACK is lost, of a UE that has sent all it has to say with its SYN: it is asked
// until it answers, or gives up.
func TestConvertThirdACKLost(t *testing.T) {
	begin := func() *converted {
		h := newConverted(t)
		h.syn(true, h.message)
		h.n6SYN()
		h.recycle()
		h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
		h.ueSYNACK(24, true)
		h.idle(askInterval + 100*millisecond)
		h.want("ue0 ssn=0 ack=1")
		h.idle(2*askInterval + 100*millisecond)
		h.want("ue0 ssn=0 ack=1")
		return h
	}
	h := begin()
	h.third(nil)
	h.want("srv u=0 ack=4", "ue0 ssn=1+4 ack=1 dack=0 map=0@1+4")

	// It answers without its key, again and again: data without DSS make it plain TCP.
	h = begin()
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 0), 1, nil))
	h.want("srv u=0 ack=4", "ue0 ssn=1+4 ack=1")

	h = newConverted(t)
	h.syn(true, h.message)
	h.recycle()
	h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
	h.idle(handshakeLife + 40*1000*millisecond)
	if g := h.segment(h.out.ToN6[0]); g.flags&packet.RST == 0 || g.tcp.SN() != h.isn+25 {
		t.Errorf("the server is told %02x at %d", g.flags, g.tcp.SN()-h.isn)
	}
	if h.recycle(); h.p.Connections() != 0 {
		t.Error("the connection is still there")
	}
}
