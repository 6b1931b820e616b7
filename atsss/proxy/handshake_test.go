package proxy

import (
	"bytes"
	"slices"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// syn is a SYN of the UE with the given options behind the usual ones.
func (h *harness) syn(flags uint8, options, payload []byte) *packet.Buffer {
	return h.build(shape{
		src: &h.ue, dst: &h.srv, srcPort: 40000, dstPort: 80, sn: h.ueISN, flags: packet.SYN | flags, window: 65535,
	}, append(negotiation(h.tsUE, 0), options...), payload)
}

// synACK is the server's answer, acknowledging n bytes of the SYN's payload.
func (h *harness) synACK(flags uint8, n int, options, payload []byte) *packet.Buffer {
	return h.build(shape{
		src: &h.srv, dst: &h.ue, srcPort: 80, dstPort: 40000, sn: h.srvISN, ack: h.ueISN + 1 + uint32(n),
		flags: packet.SYN | packet.ACK | flags, window: 65535,
	}, append(negotiation(h.tsServer, h.tsUE), options...), payload)
}

var capableSYN = mptcp.AppendCapableSYN(nil, mptcp.FlagHMACSHA256)

// A SYN whose MP_CAPABLE we do not answer becomes one of plain TCP: the option gives way
// to NOPs, all else stays, and the connection is none of the proxy's.
func TestStrangeCapableIsStripped(t *testing.T) {
	key := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	cookie := []byte{34, 2}
	for _, tc := range []struct {
		name    string
		option  []byte
		counter func(*Counters) uint64
	}{
		{"version 0", append([]byte{30, 12, 0x00, 0x81}, key...), func(c *Counters) uint64 { return c.FallbackV0 }},
		{"version 0, length 4", []byte{30, 4, 0x00, 0x81}, func(c *Counters) uint64 { return c.FallbackV0 }},
		{"version 2", []byte{30, 4, 0x02, 0x01}, func(c *Counters) uint64 { return c.FallbackSYN }},
		{"key in the SYN", append([]byte{30, 12, 0x01, 0x01}, key...), func(c *Counters) uint64 { return c.FallbackSYN }},
		{"B flag", []byte{30, 4, 0x01, 0x41}, func(c *Counters) uint64 { return c.FallbackSYN }},
		{"no algorithm", []byte{30, 4, 0x01, 0x00}, func(c *Counters) uint64 { return c.FallbackSYN }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			g := h.passes(true, h.syn(packet.ECE|packet.CWR, slices.Concat(tc.option, cookie), nil))
			want := append(negotiation(h.tsUE, 0), bytes.Repeat([]byte{packet.OptNOP}, len(tc.option))...)
			want = mptcp.Pad(append(want, cookie...), 0)
			if got := g.tcp.Options(); !bytes.Equal(got, want) {
				t.Errorf("options % x, want % x", got, want)
			}
			if g.flags != packet.SYN|packet.ECE|packet.CWR {
				t.Errorf("flags %02x", g.flags)
			}
			if n := tc.counter(h.p.Counters()); n != 1 || h.p.Connections() != 0 {
				t.Errorf("counter %d, %d connections; want 1, 0", n, h.p.Connections())
			}
			h.passes(false, h.synACK(0, 0, nil, nil))
		})
	}
}

// A server that speaks MPTCP hears nothing of it, and what it says of it goes no further.
func TestServerThatSpeaksMPTCP(t *testing.T) {
	h := newHarness(t)
	h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
	h.up(0, h.syn(0, capableSYN, nil))
	h.want("srv SYN u=-1 ack=-2147483633") // which checks that there is no option; the ACK field is void
	const key = 0x1122334455667788
	h.down(h.synACK(0, 0, mptcp.AppendCapableSYNACK(nil, mptcp.FlagHMACSHA256, key), nil))
	g := h.segmentUE(h.out.ToUE[0].Buf)
	if g.opt.mp.Present != mptcp.Capable || g.opt.mp.SenderKey == key {
		t.Errorf("SYN/ACK with options %b, key %x", g.opt.mp.Present, g.opt.mp.SenderKey)
	}
	if n := bytes.Count(g.tcp.Options(), []byte{mptcp.Kind, 12}); n != 1 {
		t.Errorf("%d MP_CAPABLE in the SYN/ACK, want 1", n)
	}
}

// A payload in the SYN/ACK would end MPTCP at the UE: the server sends it again.
func TestPayloadInSYNACKIsCut(t *testing.T) {
	h := newHarness(t)
	h.up(0, h.syn(0, capableSYN, nil))
	h.recycle()
	h.down(h.synACK(0, 0, nil, make([]byte, 100)))
	if g := h.segmentUE(h.out.ToUE[0].Buf); len(g.payload) != 0 || g.opt.mp.Present != mptcp.Capable {
		t.Errorf("SYN/ACK with %d bytes, options %b", len(g.payload), g.opt.mp.Present)
	}
}

// A server answers a SYN that comes again by an ACK; the SYN/ACK was lost, or comes later.
// At the UE it would do nothing before the SYN/ACK and end MPTCP after it.
func TestACKBeforeSYNACK(t *testing.T) {
	h := newHarness(t)
	h.uePorts = []uint16{40000}
	h.connectSYN()
	h.recycle()
	ack := func(n uint32) *packet.Buffer {
		return h.build(shape{
			src: &h.srv, dst: &h.ue, srcPort: 80, dstPort: h.uePorts[0], sn: h.srvISN + 1, ack: h.ueISN + n,
			flags: packet.ACK, window: 65535,
		}, appendTS(h.options[:0], h.tsServer, h.tsUE), nil)
	}
	h.down(ack(1))
	h.want()
	if n := h.p.count.DropBeforeKeys; n != 1 {
		t.Errorf("drop_before_keys = %d, want 1", n)
	}
	h.passes(false, ack(5000)) // about another connection: the UE resets it
}
