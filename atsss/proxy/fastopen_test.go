package proxy

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// thirdACK establishes the connection; n bytes of the SYN's payload were acknowledged, and
// the ACK carries payload.
func (h *harness) thirdACK(n uint32, payload []byte) {
	h.t.Helper()
	g := h.segment(h.out.ToUE[len(h.out.ToUE)-1].Buf)
	h.recycle()
	h.keyB = g.opt.mp.SenderKey
	_, h.idsnA = h.keyA.Derive()
	_, h.idsnB = h.keyB.Derive()
	h.isns[0][0] = h.ueISN + n
	h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendCapableACK(nil, mptcp.FlagHMACSHA256, h.keyA, h.keyB), 1, payload))
}

func newFastOpen(t *testing.T) (h *harness, request []byte) {
	h = newHarness(t)
	h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
	for i := range 100 {
		request = append(request, byte(i))
	}
	return h, request
}

// The server takes what the SYN carries: it is outside the DSN space, whose first byte is
// the one after.
func TestFastOpen(t *testing.T) {
	h, request := newFastOpen(t)
	for range 2 { // the UE repeats it
		h.up(0, h.syn(0, capableSYN, request))
		if g := h.segment(h.out.ToN6[0]); !bytes.Equal(g.payload, request) {
			t.Errorf("payload of the SYN to the server: % x", g.payload)
		}
		h.want("srv SYN u=-1+100 ack=-2147483633")
	}
	for range 2 { // the server repeats its answer
		h.down(h.synACK(0, 100, nil, nil))
		h.want("ue0 SYN ssn=0 ack=101 mp_capable")
	}
	h.up(0, h.syn(0, capableSYN, request)) // a late copy
	h.want("srv SYN u=-1+100 ack=-2147483633")
	h.down(h.synACK(0, 100, nil, nil))
	h.thirdACK(100, nil)
	h.want("srv u=100 ack=0", "ue0 ssn=1 ack=1 dack=0")
	m := &mapping{ssn: 1, u: 0, n: 50}
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(m, 0), 1, make([]byte, 50)))
	h.want("srv u=100+50 ack=0")
	h.down(h.fromServer(packet.ACK, 0, 150, make([]byte, 10)))
	h.want("ue0 ssn=1+10 ack=51 dack=50 map=0@1+10")
	if n := h.p.count.FastOpens; n != 1 {
		t.Errorf("fast_opens = %d, want 1", n)
	}
}

// The server takes nothing of the SYN's payload, or a part: the UE will not speak MPTCP
// (Linux sends no key then), so it is not offered.
func TestFastOpenRefused(t *testing.T) {
	for _, taken := range []int{0, 99, 101} {
		h, request := newFastOpen(t)
		h.up(0, h.syn(0, capableSYN, request))
		h.recycle()
		if g := h.passes(false, h.synACK(0, taken, nil, nil)); g.opt.mp.Present != 0 {
			t.Errorf("%d bytes taken: SYN/ACK with MPTCP options", taken)
		}
		h.passes(true, h.fromUE(0, packet.ACK, 0, nil, 1, request))
		h.passes(false, h.fromServer(packet.ACK, 0, 100, make([]byte, 10)))
		if n := h.p.count.FallbackSYNData; n != 1 {
			t.Errorf("%d bytes taken: fallback_syn_data = %d, want 1", taken, n)
		}
	}
}

// The SYN with the payload is lost, and the UE repeats it without: what it had comes with
// the third ACK, outside the DSN space, and is the UE's TCP's to repeat.
func TestFastOpenRepeatedWithoutPayload(t *testing.T) {
	h, request := newFastOpen(t)
	h.up(0, h.syn(0, capableSYN, request)) // lost behind the proxy
	h.recycle()
	h.up(0, h.syn(0, capableSYN, nil))
	h.want("srv SYN u=-1 ack=-2147483633")
	h.down(h.synACK(0, 0, nil, nil))
	h.thirdACK(0, request)
	h.want("srv u=0+100 ack=0", "ue0 ssn=1 ack=1 dack=-100")
	h.isns[0][0] += 100                                               // SSN 1 is the byte after
	h.up(0, h.fromUE(0, packet.ACK, -100, h.dss(nil, 0), 1, request)) // lost: again, with no mapping
	h.want("srv u=0+100 ack=0")
	m := &mapping{ssn: 1, u: 0, n: 50}
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(m, 0), 1, make([]byte, 50)))
	h.want("srv u=100+50 ack=0")
	h.down(h.fromServerSACK(0, 100, 150))
	h.want("ue0 ssn=1 ack=-99 dack=-100 sack=1-51")
	h.down(h.fromServer(packet.ACK, 0, 150, nil))
	h.want("ue0 ssn=1 ack=51 dack=50")
}

// The server has taken the payload, but its answer is lost and the UE repeats the SYN
// without: a SYN/ACK of more than that ends MPTCP at the UE.
func TestFastOpenTakenThenRepeatedWithoutPayload(t *testing.T) {
	for _, answered := range []bool{false, true} {
		h, request := newFastOpen(t)
		h.up(0, h.syn(0, capableSYN, request))
		if answered {
			h.down(h.synACK(0, 100, nil, nil))
		}
		h.recycle()
		h.up(0, h.syn(0, capableSYN, nil))
		h.recycle()
		if g := h.passes(false, h.synACK(0, 100, nil, nil)); g.opt.mp.Present != 0 {
			t.Errorf("SYN/ACK with MPTCP options %b", g.opt.mp.Present)
		}
	}
}

// Requests for a cookie and cookies pass where the option space allows.
func TestFastOpenCookie(t *testing.T) {
	request, short, cookie := []byte{34, 2}, []byte{34, 6, 1, 2, 3, 4}, []byte{34, 10, 1, 2, 3, 4, 5, 6, 7, 8}
	for _, tc := range []struct {
		name     string
		up, down []byte
		want     []byte // in the SYN/ACK to the UE
	}{
		{"request, short cookie", request, short, short},
		{"request, cookie: MP_CAPABLE wins", request, cookie, nil},
		{"cookie", cookie, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, data := newFastOpen(t)
			if tc.up[1] == 2 {
				data = nil
			}
			h.up(0, h.syn(0, slices.Concat(tc.up, capableSYN), data))
			if g := h.segment(h.out.ToN6[0]); !bytes.Equal(g.fastOpen(), tc.up) || g.opt.mp.Present != 0 {
				t.Errorf("SYN to the server with Fast Open option % x, MPTCP %b", g.fastOpen(), g.opt.mp.Present)
			}
			h.down(h.synACK(0, len(data), tc.down, nil))
			if g := h.segment(h.out.ToUE[0].Buf); !bytes.Equal(g.fastOpen(), tc.want) || g.opt.mp.Present != mptcp.Capable {
				t.Errorf("SYN/ACK to the UE with Fast Open option % x, MPTCP %b", g.fastOpen(), g.opt.mp.Present)
			}
		})
	}
}

// A server that answers the SYN's payload at once does so before key A is known: an
// initial window is held until then, no more.
func TestFastOpenEarlyAnswer(t *testing.T) {
	h, request := newFastOpen(t)
	h.up(0, h.syn(0, capableSYN, request))
	h.recycle()
	h.down(h.synACK(0, 100, nil, nil))
	for i := range int64(maxEarly + 1) {
		h.down(h.fromServer(packet.ACK, i*1000, 100, make([]byte, 1000)))
	}
	if n := len(h.out.ToUE); n != 1 {
		t.Fatalf("%d packets to the UE before its third ACK, want the SYN/ACK", n)
	}
	h.thirdACK(100, nil)
	want := []string{"srv u=100 ack=0", "ue0 ssn=1 ack=1 dack=0"}
	for i := range maxEarly {
		want = append(want, fmt.Sprintf("ue0 ssn=%d+1000 ack=1 dack=0 map=%d@%d+1000", 1000*i+1, 1000*i, 1000*i+1))
	}
	h.want(want...)
	if n := h.p.count.DropBeforeKeys; n != 1 || h.p.held != 0 {
		t.Errorf("drop_before_keys = %d, %d held, want 1, 0", n, h.p.held)
	}
}

// What is held goes back to the pool when the connection does not come about.
func TestFastOpenEarlyAnswerDropped(t *testing.T) {
	for _, end := range []func(*harness){
		func(h *harness) { h.passes(true, h.fromUE(0, packet.ACK, 0, nil, 1, nil)) }, // falls back
		func(h *harness) { h.passes(false, h.fromServer(packet.RST|packet.ACK, 0, 100, nil)) },
		func(h *harness) { h.p.EndSession(&h.session) },
		func(h *harness) { h.idle(2 * handshakeLife) },
	} {
		h, request := newFastOpen(t)
		h.up(0, h.syn(0, capableSYN, request))
		h.down(h.synACK(0, 100, nil, nil))
		h.down(h.fromServer(packet.ACK, 0, 100, make([]byte, 1000)))
		if h.p.held != 1 {
			t.Fatalf("%d packets held, want 1", h.p.held)
		}
		end(h)
		if n := h.p.count.DropBeforeKeys; n != 1 || h.p.held != 0 {
			t.Errorf("drop_before_keys = %d, %d held, want 1, 0", n, h.p.held)
		}
	}
}
