package proxy

import (
	"bytes"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// announce is an ADD_ADDR of the UE for id, 10.2.0.2 and a port; bad spoils its HMAC.
func (h *harness) announce(id uint8, port uint16, bad bool) []byte {
	addr := []byte{10, 2, 0, 2}
	mac := mptcp.AddAddrHMAC(h.keyA, h.keyB, id, addr, port)
	if bad {
		mac[7]++
	}
	return mptcp.AppendAddAddr(nil, id, addr, port, &mac)
}

func TestAddAddrIsEchoed(t *testing.T) {
	h := newHarness(t)
	h.connect()
	for _, port := range []uint16{0, 5999} {
		opt := h.announce(7, port, false)
		for range 2 { // the echo was lost: the UE repeats it
			h.up(0, h.fromUE(0, packet.ACK, 0, opt, 1, nil))
			g := h.segmentUE(h.out.ToUE[0].Buf)
			if o := &g.opt.mp; o.Present != mptcp.AddAddr|mptcp.DSS || !o.AddAddrEcho {
				t.Fatalf("port %d: options %b, echo %v", port, o.Present, o.AddAddrEcho)
			}
			if got, want := g.opt.mp.AddAddrRaw[3:], opt[3:len(opt)-8]; !bytes.Equal(got, want) {
				t.Errorf("port %d: echo %x, want %x", port, got, want)
			}
			h.want("ue0 ssn=1 ack=1 dack=0 add_addr")
		}
	}
}

func TestForgedAddAddrIsIgnored(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.up(0, h.fromUE(0, packet.ACK, 0, h.announce(7, 0, true), 1, nil))
	h.want()
	mac := mptcp.AddAddrHMAC(h.keyB, h.keyA, 7, []byte{10, 2, 0, 2}, 0) // keys in our order, not the UE's
	h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendAddAddr(nil, 7, []byte{10, 2, 0, 2}, 0, &mac), 1, nil))
	h.want()
	if got := h.p.count.AddAddrBadHMAC; got != 2 {
		t.Errorf("add_addr_bad_hmac = %d, want 2", got)
	}
	h.serverData(0, 100) // and nothing else changed
	h.want("ue0 ssn=1+100 ack=1 dack=0 map=0@1+100")
}

func TestRemoveAddr(t *testing.T) {
	for _, tc := range []struct {
		name string
		ids  []uint8
		live [3]bool
	}{
		{"unknown id", []uint8{9}, [3]bool{true, true, true}},
		{"one join", []uint8{2}, [3]bool{true, false, true}},
		{"both joins and an unknown id", []uint8{3, 9, 2}, [3]bool{true, false, false}},
		{"id 0 is the first subflow", []uint8{0}, [3]bool{false, true, true}},
		{"all", []uint8{0, 2, 3}, [3]bool{false, false, false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			h.connect()
			h.join()
			h.joinFrom(40002, 3)
			h.up(1, h.fromUE(1, packet.ACK, 0, append(h.dss(nil, 0), mptcp.AppendRemoveAddr(nil, tc.ids...)...), 2, nil))
			h.want()
			c := h.conn()
			for i, s := range c.subflows {
				if s.live() != tc.live[i] {
					t.Errorf("subflow %d: live %v, want %v", i, s.live(), tc.live[i])
				}
			}
			// The server's data go where a subflow is left, or wait for a join.
			h.serverData(0, 100)
			h.recycle()
			if got, want := c.down.next == 100, tc.live != [3]bool{}; got != want {
				t.Errorf("data sent: %v, want %v", got, want)
			}
			// A subflow that was removed by mistake, or by a forger, still takes the UE's data.
			m := &mapping{ssn: 1, u: 0, n: 100}
			h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(m, 0), 1, make([]byte, 100)))
			h.want("srv u=0+100 ack=0")
		})
	}
}

func TestPrioOfUEChangesNothing(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.up(0, h.fromUE(0, packet.ACK, 0, append(h.dss(nil, 0), mptcp.AppendPrio(nil, true)...), 1, nil))
	h.want()
	h.serverData(0, 100)
	h.want("ue0 ssn=1+100 ack=1 dack=0 map=0@1+100")
}

// An MP_PRIO may be lost: a UE that goes on sending over a backup subflow is told again, not
// at once, and not where it has no other.
func TestPrioIsRepeated(t *testing.T) {
	for _, silent := range []bool{false, true} {
		h := newHarness(t)
		h.connect()
		h.join()
		h.recycle()
		rule := h.otherRule()
		h.p.AccessRules(h.now, &h.session, func(uint16) Rule { return rule }, &h.out)
		h.want("ue0 ssn=1 ack=1 dack=0 mp_prio", "ue1 ssn=2 ack=1 dack=0 mp_prio")
		if silent {
			h.session.access[steer.AccessNon3GPP].silent = 1
		}
		begun := h.now
		var told []Time
		for i := range 300 {
			h.now += 10 * millisecond
			m := &mapping{ssn: int64(i) + 1, u: int64(i), n: 1}
			h.up(0, h.fromUE(0, packet.ACK, int64(i), h.dss(m, 0), 1, []byte{'x'}))
			for _, e := range h.out.ToUE {
				if g := h.segment(e.Buf); g.opt.mp.Present&mptcp.Prio != 0 && g.opt.mp.PrioBackup == (e.Access == steer.Access3GPP) {
					told = append(told, h.now-begun)
				}
			}
			h.recycle()
		}
		if silent {
			if len(told) != 0 {
				t.Errorf("non-3GPP is silent, but the UE is told again after %v", told)
			}
			continue
		}
		if len(told) < 4 || len(told)%2 != 0 { // on both subflows, in 3 s
			t.Fatalf("told again after %v", told)
		}
		for i := 0; i < len(told); i += 2 {
			since := told[i]
			if i > 0 {
				since -= told[i-2]
			}
			if since < 500*millisecond || told[i] != told[i+1] {
				t.Errorf("told again after %v", told)
			}
		}
	}
}

// What the server repeats while the only access in use is silent waits for a join to be
// confirmed: the UE would reset it for data before its fourth ACK.
func TestNoDataBeforeFourthACK(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.serverData(0, 1000)
	h.recycle()
	token, _ := h.keyB.Derive()
	h.uePorts, h.isns = append(h.uePorts, h.uePorts[0]+1), append(h.isns, [2]uint32{0x1000, 0})
	opt := mptcp.AppendJoinSYN(negotiation(h.tsUE, 0), false, 2, token, 7)
	h.up(1, h.build(shape{src: &h.ue, dst: &h.srv, srcPort: h.uePorts[1], dstPort: 80, sn: 0x1000, flags: packet.SYN, window: 65535}, opt, nil))
	g := h.segment(h.out.ToUE[0].Buf)
	h.isns[1][1] = g.tcp.SN()
	mac := mptcp.JoinHMAC(h.keyA, h.keyB, 7, g.opt.mp.JoinNonce)
	h.recycle()
	h.up(1, h.fromUE(1, packet.ACK, 0, mptcp.AppendJoinACK(nil, &mac), 1, nil))
	h.recycle()
	for range 100 {
		h.now += Time(TickInterval)
		h.p.Tick(h.now, &h.out)
	}
	if h.session.Answers(0) {
		t.Fatal("the access answers after a second of silence")
	}
	h.up(1, h.fromUE(1, packet.ACK, 0, mptcp.AppendJoinACK(nil, &mac), 1, nil)) // the other one does, with its third ACK again
	h.recycle()
	h.serverData(0, 1000)
	h.want("ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(nil, 0), 2, nil))
	h.recycle()
	h.serverData(0, 1000)
	h.want("ue1 ssn=2+1000 ack=1 dack=0 map=0@2+1000")
}
