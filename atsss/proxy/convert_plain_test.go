package proxy

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// plain opens a connection of a UE that speaks plain TCP, up to the converter's message
// acknowledged.
func (h *converted) plain(userData []byte) {
	h.t.Helper()
	h.syn(false, append(bytes.Clone(h.message), userData...))
	h.n6SYN()
	h.recycle()
	h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
	h.ueSYNACK(len(h.message), false)
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1, nil))
	if g := h.segmentUE(h.out.ToUE[0].Buf); g.tcp.Window() != 65535>>7 {
		h.t.Errorf("the message comes with a window of %d", g.tcp.Window())
	}
	h.want("srv u=0 ack=4", "ue0 ssn=1+4 ack=1")
	h.up(0, h.fromUE(0, packet.ACK, -1, nil, 5, nil)) // a window probe is the server's to answer
	h.want("srv u=-1 ack=4")
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 5, nil))
	h.want("srv u=0 ack=4")
}

// A UE without MPTCP: the packets pass between the two faces, behind the messages. What
// the user sent behind the message in the SYN is left to the UE's TCP to send again.
func TestConvertPlain(t *testing.T) {
	h := newConverted(t)
	h.plain([]byte("GET /"))
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 5, []byte("GET /")))
	h.want("srv u=0+5 ack=4")
	h.down(h.fromN6(packet.ACK, 1004, 5, nil, make([]byte, 1000)))
	h.want("ue0 ssn=1005+1000 ack=6")
	h.up(0, h.fromUE(0, packet.ACK, 5, sackOption(h.isns[0][1]+1005, h.isns[0][1]+2005), 5, nil))
	h.want("srv u=5 ack=4 sack=1004-2004")
	h.down(h.fromN6(packet.ACK, 4, 5, nil, make([]byte, 1000)))
	h.want("ue0 ssn=5+1000 ack=6")
	h.up(0, h.fromUE(0, packet.ACK|packet.FIN, 5, nil, 2005, nil))
	h.want("srv FIN u=5 ack=2004")
	h.down(h.fromN6(packet.ACK|packet.FIN, 2004, 6, nil, nil))
	h.want("ue0 FIN ssn=2005 ack=7")
	h.up(0, h.fromUE(0, packet.ACK, 6, nil, 2006, nil))
	h.want("srv u=6 ack=2005")
	h.idle(lingerLife + 1000*millisecond)
	h.want()
	if n := h.p.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// The message to a plain UE is lost; the server speaks meanwhile.
func TestConvertPlainReplyLost(t *testing.T) {
	h := newConverted(t)
	h.answered(false)
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1, nil))
	h.recycle()
	h.down(h.fromN6(packet.ACK, 4, 0, nil, make([]byte, 1000)))
	h.want("ue0 ssn=5+1000 ack=1")
	h.up(0, h.fromUE(0, packet.ACK, 0, sackOption(h.isns[0][1]+5, h.isns[0][1]+1005), 1, nil))
	h.want("srv u=0 ack=4") // a block that begins at the ACK would be taken for reneging
	h.idle(initialRTO + 20*millisecond)
	h.want("ue0 ssn=1+4 ack=1")
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1005, nil))
	h.want("srv u=0 ack=1004")
	h.idle(5000 * millisecond)
	h.want()
}

// The UE's third ACK comes without MPTCP: as if it had none from the beginning, but that
// the data of its SYN are with us.
func TestConvertFallback(t *testing.T) {
	h := newConverted(t)
	h.syn(true, append(bytes.Clone(h.message), make([]byte, 100)...))
	h.n6SYN()
	h.recycle()
	h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
	h.ueSYNACK(124, true)
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1, nil))
	h.ueISN = h.isn + 24 // where the server's stream begins
	h.want("srv u=100 ack=4", "srv u=0+100 ack=4", "ue0 ssn=1+4 ack=1")
	h.down(h.fromN6(packet.ACK, 4, 100, nil, []byte("hello")))
	h.want("ue0 ssn=5+5 ack=1")
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 10, []byte("more")))
	h.want("srv u=100+4 ack=9")
	h.idle(5000 * millisecond)
	h.want()
}

// The server resets a plain connection before the UE has the converter's message: at the SN
// that the UE expects.
func TestConvertPlainReset(t *testing.T) {
	h := newConverted(t)
	h.answered(false)
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1, nil))
	h.recycle() // the message is lost
	h.down(h.fromN6(packet.RST|packet.ACK, 4, 0, nil, nil))
	h.want("ue0 RST ssn=1 ack=1")
	h.idle(5000 * millisecond)
	h.want()
}

// A UE falls back after establishment, its message received.
func TestConvertLateFallback(t *testing.T) {
	h := newConverted(t)
	h.answered(true)
	h.third(nil)
	h.recycle()
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 5, []byte("plain"))) // data without DSS, before any with
	if h.conn().state != stateRelay {
		t.Fatal("the connection is not plain")
	}
	h.recycle()
	h.down(h.fromN6(packet.ACK, 4, 5, nil, make([]byte, 100)))
	h.want("ue0 ssn=5+100 ack=6")
	h.up(0, h.fromUE(0, packet.ACK, 5, nil, 105, []byte("plain")))
	h.want("srv u=5+5 ack=104")
}

// A SYN without payload is answered before the server is asked: the message comes with the
// third ACK, or behind it, inside the DSN space or outside, with MPTCP or without.
func TestConvertEarly(t *testing.T) {
	for _, capable := range []bool{true, false} {
		for _, fails := range []bool{false, true} {
			t.Run(fmt.Sprintf("mptcp=%v/fails=%v", capable, fails), func(t *testing.T) {
				h := newConverted(t)
				for range 2 {
					h.syn(capable, nil)
					g := h.ueSYNACK(0, capable)
					if g.opt.hasTS || g.opt.hasScale || g.tcp.Window() != earlyWindow {
						t.Errorf("the SYN/ACK promises %+v", g.opt)
					}
				}
				h.tsUE, h.tsServer = 0, 0
				data := append(bytes.Clone(h.message), []byte("GET /")...)
				send := func() {
					if capable {
						h.third(data)
					} else {
						h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1, data))
					}
				}
				if !capable {
					h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1, nil))
					h.want()
				}
				send()
				if g := h.n6SYN(); g.opt.hasTS || g.opt.hasScale || !g.opt.sackPermitted {
					t.Errorf("the server is offered %+v", g.opt)
				}
				h.recycle()
				send() // nobody has acknowledged it
				h.want()
				isn := h.isns[0][1]
				h.ueISN, h.srvISN = h.isn+24, h.realISN
				if fails {
					h.down(h.fromN6(packet.RST|packet.ACK, -1, 0, nil, nil))
					if r, _ := h.reply(); !r.HasError {
						t.Errorf("reply %+v, want an error", r)
					}
					return
				}
				var o options
				o.negotiation(1460, true, false, 0, 0, false, 0)
				h.down(h.fromN6(packet.SYN|packet.ACK, -1, 0, wordBytes(&o), nil))
				h.srvISN = h.realISN - 4
				h.isns[0][1] = isn
				n := len(data)
				if capable {
					h.ueISN = h.isn + uint32(n)
					h.isns[0][0] = h.ueISN
					h.want("srv u=-5+5 ack=4", "ue0 ssn=1+4 ack=-4 dack=-5 map=0@1+4")
				} else {
					h.want("srv u=0+5 ack=4", "ue0 ssn=1+4 ack=25")
				}
				h.down(h.build(shape{
					src: &h.server, dst: &h.source, srcPort: 443, dstPort: h.port, sn: h.realISN + 1, ack: h.isn + 30, flags: packet.ACK, window: 65535,
				}, nil, make([]byte, 100)))
				if capable {
					h.want("ue0 ssn=5+100 ack=1 dack=0 map=4@5+100")
				} else {
					h.want("ue0 ssn=5+100 ack=30")
					h.up(0, h.fromUE(0, packet.ACK, 29, nil, 105, nil))
					h.want("srv u=5 ack=104")
				}
			})
		}
	}
}

// The message as ordinary data of a UE that put none into its SYN: its bytes are in the DSN
// space.
func TestConvertInDSNSpace(t *testing.T) {
	h := newConverted(t)
	h.syn(true, nil)
	h.ueSYNACK(0, true)
	h.tsUE, h.tsServer = 0, 0
	h.third(nil)
	h.want()
	data := append(bytes.Clone(h.message), []byte("GET /")...)
	first := func() *packet.Buffer {
		return h.fromUE(0, packet.ACK, 0, mptcp.AppendCapableData(nil, mptcp.FlagHMACSHA256, h.keyA, h.keyB, uint16(len(data)), nil), 1, data)
	}
	h.up(0, first())
	h.n6SYN()
	h.recycle()
	h.ueISN, h.srvISN = h.isn+24, h.realISN
	var o options
	o.negotiation(1460, true, false, 0, 0, false, 0)
	h.down(h.fromN6(packet.SYN|packet.ACK, -1, 0, wordBytes(&o), nil))
	h.ueISN, h.srvISN = h.isn, h.realISN-4
	h.want("srv u=24+5 ack=4", "ue0 ssn=1+4 ack=25 dack=24 map=0@1+4")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&mapping{1, 0, int64(len(data))}, 4), 5, data)) // once more
	h.want("srv u=24+5 ack=4")
	h.down(h.build(shape{
		src: &h.server, dst: &h.source, srcPort: 443, dstPort: h.port, sn: h.realISN + 1, ack: h.isn + 30, flags: packet.ACK, window: 65535,
	}, nil, nil))
	h.want("ue0 ssn=5 ack=30 dack=29")
}

// The client and its server are of different IP versions: MPTCP and plain.
func TestConvertBetweenIPVersions(t *testing.T) {
	v6 := packet.Addr{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 15: 9}
	source := packet.Addr{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 4: 0x60, 15: 1}
	for _, capable := range []bool{true, false} {
		for _, down := range []bool{true, false} { // from IPv4 to IPv6, and back
			h := newConverted(t)
			h.server, h.source = v6, source
			if !down {
				h.server, h.ue, h.srv = v4(10, 100, 6, 2), source, v6
				h.source = v4(10, 60, 0, 1)
			}
			h.session.Converter = &Converter{Source: [2]packet.Addr{IPv4: v4(10, 60, 0, 1), IPv6: source}}
			h.session.Converter.At[version(!down)] = Endpoint{h.srv, converterPort}
			h.message = connectTo(h.server, 443)
			if capable {
				h.establish()
				h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&mapping{1, 0, 100}, 4), 5, make([]byte, 100)))
			} else {
				h.plain(nil)
				h.up(0, h.fromUE(0, packet.ACK, 0, nil, 5, make([]byte, 100)))
			}
			if g := h.segment(h.out.ToN6[0]); g.in.Src != h.source || g.in.Dst != h.server || len(g.payload) != 100 {
				t.Errorf("to N6: %+v", g.in)
			}
			h.want("srv u=0+100 ack=4")
			h.down(h.fromN6(packet.ACK, 4, 100, nil, make([]byte, 1400)))
			for _, x := range h.out.ToUE {
				if g := h.segmentUE(x.Buf); g.in.Src != h.srv || g.in.Dst != h.ue {
					t.Errorf("to the UE: %+v", g.in)
				}
			}
			h.recycle()
		}
	}
}
