package proxy

import (
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// joinSYN is the SYN of a join from a port, with a token and a nonce.
func (h *harness) joinSYN(port, srvPort uint16, isn, token, nonce uint32) *packet.Buffer {
	opt := mptcp.AppendJoinSYN(negotiation(h.tsUE, 0), false, 2, token, nonce)
	return h.build(shape{src: &h.ue, dst: &h.srv, srcPort: port, dstPort: srvPort, sn: isn, flags: packet.SYN, window: 65535}, opt, nil)
}

// halfJoin sends the SYN of a join on a new subflow of the harness, and returns the nonce
// of the SYN/ACK and the number of the subflow.
func (h *harness) halfJoin(port uint16, nonce uint32) (sub int, answer uint32) {
	h.t.Helper()
	sub = len(h.uePorts)
	h.uePorts = append(h.uePorts, port)
	h.isns = append(h.isns, [2]uint32{uint32(port), 0})
	h.up(1, h.joinSYN(port, 80, uint32(port), tokenOf(h.keyB), nonce))
	g := h.segment(h.out.ToUE[0].Buf)
	if g.flags != packet.SYN|packet.ACK {
		h.t.Fatalf("join from port %d is answered with flags %08b", port, g.flags)
	}
	h.isns[sub][1] = g.tcp.SN()
	answer = g.opt.mp.JoinNonce
	h.recycle()
	return sub, answer
}

func (h *harness) joinACK(nonceA, nonceB uint32) []byte {
	mac := mptcp.JoinHMAC(h.keyA, h.keyB, nonceA, nonceB)
	return mptcp.AppendJoinACK(nil, &mac)
}

func TestForgedJoins(t *testing.T) {
	const refused = "ue1 RST ssn=0 ack=1 mp_tcprst"
	t.Run("wrong token", func(t *testing.T) {
		h := newHarness(t)
		h.connect()
		h.uePorts, h.isns = append(h.uePorts, 41000), append(h.isns, [2]uint32{1000, 0})
		h.up(1, h.joinSYN(41000, 80, 1000, tokenOf(h.keyB)+1, 7))
		h.want(refused)
	})
	t.Run("wrong port of the server", func(t *testing.T) {
		h := newHarness(t)
		h.connect()
		h.uePorts, h.isns = append(h.uePorts, 41000), append(h.isns, [2]uint32{1000, 0})
		h.up(1, h.joinSYN(41000, 81, 1000, tokenOf(h.keyB), 7))
		h.want(refused)
	})
	t.Run("wrong HMAC", func(t *testing.T) {
		h := newHarness(t)
		h.connect()
		sub, nonce := h.halfJoin(41000, 7)
		h.up(1, h.fromUE(sub, packet.ACK, 0, h.joinACK(7, nonce+1), 1, nil))
		h.want("ue1 RST ssn=1 ack=1 dack=0 mp_tcprst")
		if n := &h.p.count; n.JoinBadHMAC != 1 || n.Subflows != 0 {
			t.Errorf("join_bad_hmac %d, subflows %d, want 1, 0", n.JoinBadHMAC, n.Subflows)
		}
	})
	t.Run("third ACK of another join", func(t *testing.T) { // its nonces are not those of this one
		h := newHarness(t)
		h.connect()
		first, nonce := h.halfJoin(41000, 7)
		second, _ := h.halfJoin(41001, 7)
		h.up(1, h.fromUE(second, packet.ACK, 0, h.joinACK(7, nonce), 1, nil))
		h.want("ue2 RST ssn=1 ack=1 dack=0 mp_tcprst")
		h.up(1, h.fromUE(first, packet.ACK, 0, h.joinACK(7, nonce), 1, nil))
		h.recycle()
		if n := &h.p.count; n.JoinBadHMAC != 1 || n.Subflows != 1 {
			t.Errorf("join_bad_hmac %d, subflows %d, want 1, 1", n.JoinBadHMAC, n.Subflows)
		}
	})
	t.Run("third ACK without HMAC, or of the wrong numbers", func(t *testing.T) {
		h := newHarness(t)
		h.connect()
		sub, nonce := h.halfJoin(41000, 7)
		h.up(1, h.fromUE(sub, packet.ACK, 0, h.dss(nil, 0), 1, nil))
		h.up(1, h.fromUE(sub, packet.ACK, 0, nil, 1, make([]byte, 100)))
		h.up(1, h.fromUE(sub, packet.ACK, 1, h.joinACK(7, nonce), 1, nil))
		h.up(1, h.fromUE(sub, packet.ACK, 0, h.joinACK(7, nonce), 2, nil))
		h.up(1, h.fromUE(sub, packet.RST|packet.ACK, 9, nil, 1, nil))
		h.want()
		h.up(1, h.fromUE(sub, packet.ACK, 0, h.joinACK(7, nonce), 1, nil))
		h.want("ue1 ssn=1 ack=1 dack=0", "ue1 ssn=1+1 ack=1 dack=0 map=-1@1+1")
		if n := &h.p.count; n.DropStale != 2 || n.DropOutOfWindow != 1 || n.DropBadACK != 1 || n.DropReset != 1 {
			t.Errorf("drop_stale %d, drop_out_of_window %d, drop_bad_ack %d, drop_reset %d; want 2, 1, 1, 1",
				n.DropStale, n.DropOutOfWindow, n.DropBadACK, n.DropReset)
		}
	})
	t.Run("SYN of a join on a live subflow", func(t *testing.T) {
		h := newHarness(t)
		h.connect()
		h.join()
		h.up(1, h.joinSYN(h.uePorts[1], 80, 0x1000, tokenOf(h.keyB), 0xfc14f237)) // a late copy of its own
		h.want("ue1 ssn=2 ack=1 dack=0")
		h.up(0, h.joinSYN(h.uePorts[0], 80, 5, tokenOf(h.keyB), 7))
		h.want("ue0 ssn=1 ack=1 dack=0")
		if n := &h.p.count; n.DropSYN != 2 || n.JoinRefused != 0 {
			t.Errorf("drop_syn %d, join_refused %d, want 2, 0", n.DropSYN, n.JoinRefused)
		}
	})
}

// The SYN of a join on the 4-tuple of another connection's handshake is none of either.
func TestJoinOnHandshake(t *testing.T) {
	h := newHarness(t)
	h.connect()
	syn := h.build(shape{src: &h.ue, dst: &h.srv, srcPort: 41000, dstPort: 80, sn: 5, flags: packet.SYN, window: 65535},
		append(negotiation(h.tsUE, 0), capableSYN...), nil)
	h.up(0, syn)
	h.recycle()
	h.up(1, h.joinSYN(41000, 80, 1000, tokenOf(h.keyB), 7))
	h.want()
	if n := &h.p.count; n.DropSYN != 1 || h.p.Connections() != 2 {
		t.Errorf("drop_syn %d, %d connections, want 1, 2", n.DropSYN, h.p.Connections())
	}
}

// Joins of which no third ACK comes take few places, not those of the UE's own, and are
// given up.
func TestHalfOpenJoins(t *testing.T) {
	h := newHarness(t)
	h.connect()
	for i := range 1000 {
		h.uePorts, h.isns = h.uePorts[:1], h.isns[:1]
		h.halfJoin(uint16(41000+i), 7)
		h.now += millisecond
		if n := h.conn().joining(); n > maxJoining {
			t.Fatalf("%d of %d half-open joins are kept", n, i+1)
		}
		if i%100 == 0 { // the UE's own gets through between them
			sub, nonce := h.halfJoin(uint16(50000+i), 7)
			h.halfJoin(uint16(51000+i), 7)
			h.up(1, h.fromUE(sub, packet.ACK, 0, h.joinACK(7, nonce), 1, nil))
			h.recycle()
			h.up(1, h.fromUE(sub, packet.RST|packet.ACK, 0, nil, 2, nil)) // and goes, to keep the count
			h.recycle()
		}
		if want := uint64(i/100 + 1); h.p.count.Subflows != want {
			t.Fatalf("%d joins established, want %d", h.p.count.Subflows, want)
		}
	}
	h.idle(joinLife + 6000*millisecond) // the wheel sees 5 s ahead
	if n := h.conn().joining(); n != 0 {
		t.Errorf("%d joins still wait long after the last SYN", n)
	}
	if got := h.p.count.JoinExpired; got < 1000 {
		t.Errorf("join_expired = %d, want all", got)
	}
}

// joining is how many joins of c wait for their third ACK.
func (c *Conn) joining() (n int) {
	for _, s := range c.subflows {
		if s.state == subflowJoining {
			n++
		}
	}
	return n
}

// A session whose UE opens connections without end makes the proxy hold few: the others
// are plain TCP.
func TestSYNFlood(t *testing.T) {
	h := newHarness(t)
	h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
	syn := func(port uint16) *packet.Buffer {
		return h.build(shape{src: &h.ue, dst: &h.srv, srcPort: port, dstPort: 80, sn: uint32(port), flags: packet.SYN, window: 65535},
			append(negotiation(h.tsUE, 0), capableSYN...), nil)
	}
	for port := uint16(1); port < 60000; port++ {
		h.p.keys.Fill(16)
		if port <= maxHandshakes {
			h.up(0, syn(port))
		} else {
			h.passes(true, syn(port))
		}
		h.recycle()
	}
	if n := h.p.Connections(); n != maxHandshakes {
		t.Errorf("%d connections are held, want %d", n, maxHandshakes)
	}
	if got := h.p.count.FallbackLimit; got != 59999-maxHandshakes {
		t.Errorf("fallback_limit = %d, want %d", got, 59999-maxHandshakes)
	}
	h.idle(handshakeLife + 6000*millisecond)
	if n := h.p.Connections(); n != 0 || h.session.handshakes != 0 || h.session.connections != 0 {
		t.Errorf("%d connections are held after the flood, %d handshakes, %d in the session", n, h.session.handshakes, h.session.connections)
	}
	h.connect() // and all is as before
	if got := h.p.count.Established; got != 1 {
		t.Errorf("%d established after the flood, want 1", got)
	}
}

// A SYN with another ISN does not take the place of a handshake under way, but of one that
// nothing was heard of for a while.
func TestSYNInHandshake(t *testing.T) {
	h := newHarness(t)
	h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
	h.connectSYN()
	h.connectSYNACK()
	h.recycle()
	other := func() *packet.Buffer {
		return h.build(shape{src: &h.ue, dst: &h.srv, srcPort: 40000, dstPort: 80, sn: 5, flags: packet.SYN, window: 65535},
			append(negotiation(h.tsUE, 0), capableSYN...), nil)
	}
	h.up(0, other())
	h.want()
	h.now += synPatience
	h.up(0, other())
	if len(h.out.ToN6) != 1 || h.p.Connections() != 1 || h.p.count.Connections != 2 {
		t.Errorf("%d packets, %d connections, %d in all; want the new SYN to go on in place of the old",
			len(h.out.ToN6), h.p.Connections(), h.p.count.Connections)
	}
}
