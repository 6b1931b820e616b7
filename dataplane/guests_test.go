package dataplane

import (
	"bytes"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/dataplane/driver/memory"
	"github.com/braid-upf/braid/packet"
)

func TestGuests(t *testing.T) {
	onPhone(t, func(p *phone) {
		p.connect()
		p.join()
		a, b := p.usage(seidA), p.usage(p.seidB)

		// Downlink: what came for A leaves by B's PDR, and counts there.
		p.down(0, 1000)
		inner := p.overB(p.oneN3())
		tcp, in, o := read(p, inner)
		if in.Dst.Netip() != ue2 || tcp.DstPort() != portB || len(tcp.Payload()) != 1000 || o.DSN != uint64(uint32(p.idsnB)+1) {
			p.Errorf("went to %v port %d with %d bytes of DSN %#x", in.Dst, tcp.DstPort(), len(tcp.Payload()), o.DSN)
		}
		if d := p.usage(p.seidB).Downlink; d.Packets != b.Downlink.Packets+1 || d.Octets != b.Downlink.Octets+uint64(len(inner)) {
			p.Errorf("B counts %+v, before %+v; sent were %d octets", d, b.Downlink, len(inner))
		}
		if d := p.usage(seidA).Downlink; d != a.Downlink {
			p.Errorf("A counts %+v, before %+v", d, a.Downlink)
		}

		// Uplink: what came over B leaves with A's address, and counts at B.
		a, b = p.usage(seidA), p.usage(p.seidB)
		p.upB(ueISNB+1, p.joinISN+1002, packet.ACK, p.dss(1000, 0, 1, 500), make([]byte, 500))
		tcp, in, _ = read(p, p.oneN6())
		if in.Src.Netip() != ue1 || tcp.SrcPort() != portA || tcp.SN() != ueISNA+1 || tcp.AckSN() != serverISN+1001 || len(tcp.Payload()) != 500 {
			p.Errorf("went to N6 from %v port %d, SN %d, ACK %d, %d bytes", in.Src, tcp.SrcPort(), tcp.SN(), tcp.AckSN(), len(tcp.Payload()))
		}
		if u := p.usage(p.seidB).Uplink; u.Packets != b.Uplink.Packets+1 {
			p.Errorf("B counts %+v, before %+v", u, b.Uplink)
		}
		if u := p.usage(seidA).Uplink; u != a.Uplink {
			p.Errorf("A counts %+v, before %+v", u, a.Uplink)
		}

		// B goes: A serves alone, and nothing is left of B.
		if _, err := p.plane.Remove(p.seidB); err != nil {
			p.Fatal(err)
		}
		p.cleanB()
		p.down(1000, 1000)
		p.overA(p.oneN3())
		if d := p.usage(seidA).Downlink; d.Packets != a.Downlink.Packets+1 {
			p.Errorf("A counts %+v, before %+v", d, a.Downlink)
		}
	})
}

// TestGuestsQoS: gates, rates and quotas are those of the session by which a packet leaves
// or came; the other session's do not matter.
func TestGuestsQoS(t *testing.T) {
	zero := uint64(0)
	closedDown := func(r *Rules) { r.Downlink[0].QERs[0].GateDLClosed = true }
	closedUp := func(r *Rules) { r.Uplink[0].QERs[0].GateULClosed = true }
	noRate := func(r *Rules) { r.Downlink[0].QERs[0].MBR = &BitRate{Uplink: 1e9} }
	spent := func(r *Rules) { r.Downlink[0].URRs = []*URR{{ID: 99, Quota: Limit{Downlink: &zero}}} }
	holds := func(r *Rules) { r.Downlink[0].FAR.Action = Buffer }
	for _, tc := range []struct {
		name         string
		a, b         func(*Rules)
		down, up     bool   // get through
		count, other string // counters that a packet down and one up move if they do not
	}{
		{name: "nothing", down: true, up: true},
		{name: "A's gates and rates", a: func(r *Rules) { closedDown(r); closedUp(r); noRate(r) }, down: true, up: true},
		{name: "A's quota", a: spent, down: true, up: true},
		{name: "A is idle", a: holds, down: true, up: true},
		{name: "B's downlink gate", b: closedDown, up: true, count: "drop_gate_downlink"},
		{name: "B's uplink gate", b: closedUp, down: true, other: "drop_gate_uplink"},
		{name: "B's rate", b: noRate, up: true, count: "drop_rate_downlink"},
		{name: "B's quota", b: spent, up: true, count: "drop_quota"},
		{name: "B is idle", b: holds, up: true, count: "held_packets"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onPhone(t, func(p *phone) {
				p.connect()
				p.join()
				a, b := rulesA(), rulesB(p.seidB)
				for r, change := range map[*Rules]func(*Rules){a: tc.a, b: tc.b} {
					if change != nil {
						change(r)
					}
					p.install(r)
				}
				before := p.plane.Counters()
				p.down(0, 1000)
				if n3, _ := p.sent(); len(n3) == 1 != tc.down {
					p.Errorf("down: %d packets", len(n3))
				}
				p.upB(ueISNB+1, p.joinISN+2, packet.ACK, p.dss(0, 0, 1, 500), make([]byte, 500))
				if _, n6 := p.sent(); len(n6) == 1 != tc.up {
					p.Errorf("up: %d packets", len(n6))
				}
				after := p.plane.Counters()
				for _, name := range []string{tc.count, tc.other} {
					if name != "" && after[name] != before[name]+1 {
						p.Errorf("%s rose by %d", name, after[name]-before[name])
					}
				}
			})
		})
	}
}

// TestGuestsEnd: what ends a guest session, or does not.
func TestGuestsEnd(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Rules)
		ends   bool
	}{
		{"rules of the same group", func(r *Rules) { r.Downlink[0].FAR.OuterHeader.TEID++ }, false},
		{"rules of another group", func(r *Rules) { r.Downlink[0].MAR = localMAR(localGroup + 1) }, true},
		{"rules without a local rule", func(r *Rules) { r.Downlink[0].MAR = nil }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onPhone(t, func(p *phone) {
				p.connect()
				p.join()
				r := rulesB(p.seidB)
				tc.change(r)
				p.install(r)
				p.down(0, 1000)
				if m := p.oneN3(); !tc.ends {
					if m.Peer != n3iwf {
						p.Errorf("went to %v", m.Peer)
					}
					return
				}
				p.cleanB()
				p.down(1000, 1000)
				if m := p.oneN3(); m.Peer != gnb {
					p.Errorf("went to %v, want A's gNB", m.Peer)
				}
				// What comes on the subflow is of nobody: it goes as it is.
				in := tcpSegment(ue2, server, portB, 80, ueISNB+1, p.joinISN+2, packet.ACK, p.dss(0, 0, 0, 0), nil)
				p.n3(n3iwf, gpdu(teidB, qfiB, in))
				if got := p.oneN6(); !bytes.Equal(got, in) {
					p.Errorf("got  %x\nwant %x", got, in)
				}
			})
		})
	}
}

// TestGuestsConnectionEnds: A goes with its connection. B's next packet comes back from the
// other worker, which tells that its flow is gone.
func TestGuestsConnectionEnds(t *testing.T) {
	onPhone(t, func(p *phone) {
		p.connect()
		p.join()
		if _, err := p.plane.Remove(seidA); err != nil {
			p.Fatal(err)
		}
		in := tcpSegment(ue2, server, portB, 80, ueISNB+1, p.joinISN+2, packet.ACK, p.dss(0, 0, 0, 0), nil)
		for i := range uint64(2) {
			p.n3(n3iwf, gpdu(teidB, qfiB, in))
			if got := p.oneN6(); !bytes.Equal(got, in) {
				p.Errorf("got  %x\nwant %x", got, in)
			}
			returned := p.plane.Counters()["guest_returned_packets"]
			if want := map[uint64]uint64{seidB: 0, seidBOther: 1}[p.seidB]; returned != want {
				p.Errorf("packet %d: %d came back, want %d", i, returned, want)
			}
		}
		if _, err := p.plane.Remove(p.seidB); err != nil {
			p.Fatal(err)
		}
		p.cleanB()
	})
}

// TestGuestsRefused: joins that are not admitted are reset over B, and leave nothing there.
func TestGuestsRefused(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rules func(*Rules)
		token uint32 // added to the right one
	}{
		{"another group", func(r *Rules) { r.Downlink[0].MAR = localMAR(localGroup + 1) }, 0},
		{"unknown token", func(*Rules) {}, 2}, // of the same worker
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, home := range homes {
				t.Run(home.name, func(t *testing.T) {
					b := rulesB(home.seid)
					tc.rules(b)
					p := newPhone(t, home.seid, rulesA(), b)
					p.connect()
					token, _ := p.keyB.Derive()
					token += tc.token << (32 - SlotBits)
					p.upB(ueISNB, 0, packet.SYN, mptcp.AppendJoinSYN(nil, false, 2, token, nonce), nil)
					if tcp, _, o := read(t, p.overB(p.oneN3())); tcp.Flags()&packet.RST == 0 || o.Present&mptcp.TCPRST == 0 {
						t.Errorf("flags %08b, want a reset with its reason", tcp.Flags())
					}
					if got := p.plane.Counters()["proxy_join_refused"]; got != 1 {
						t.Errorf("%d joins refused, want 1", got)
					}
					for _, w := range p.plane.workers {
						if len(w.roaming) != 0 {
							t.Error("the flow is remembered")
						}
					}
				})
			}
		})
	}
	t.Run("no local rule", func(t *testing.T) {
		for _, home := range homes {
			b := rulesB(home.seid)
			b.Downlink[0].MAR = nil
			p := newPhone(t, home.seid, rulesA(), b)
			p.connect()
			token, _ := p.keyB.Derive()
			in := tcpSegment(ue2, server, portB, 80, ueISNB, 0, packet.SYN, mptcp.AppendJoinSYN(nil, false, 2, token, nonce), nil)
			p.n3(n3iwf, gpdu(teidB, qfiB, in))
			if got := p.oneN6(); !bytes.Equal(got, in) {
				t.Errorf("%s: got  %x\nwant %x", home.name, got, in)
			}
		}
	})
	t.Run("wrong HMAC", func(t *testing.T) {
		onPhone(t, func(p *phone) {
			p.connect()
			answer := p.joinSYN()
			mac := mptcp.JoinHMAC(p.keyA, p.keyB, nonce, answer+1)
			p.upB(ueISNB+1, p.joinISN+1, packet.ACK, mptcp.AppendJoinACK(nil, &mac), nil)
			if tcp, _, _ := read(p, p.overB(p.oneN3())); tcp.Flags()&packet.RST == 0 {
				p.Errorf("flags %08b, want a reset", tcp.Flags())
			}
		})
	})
}

// TestGuestsFourTupleAgain: the UE opens a new connection over B from the port of a
// subflow. While that lives, it is challenged; then the connection is B's own.
func TestGuestsFourTupleAgain(t *testing.T) {
	onPhone(t, func(p *phone) {
		p.connect()
		p.join()
		syn := func() {
			p.upB(9000, 0, packet.SYN, mptcp.AppendCapableSYN(nil, mptcp.FlagHMACSHA256), nil)
		}
		syn()
		if tcp, _, _ := read(p, p.overB(p.oneN3())); tcp.Flags() != packet.ACK || tcp.AckSN() != ueISNB+1 {
			p.Errorf("a SYN on a live subflow: flags %08b, ACK %d", tcp.Flags(), tcp.AckSN())
		}
		p.upB(ueISNB+1, p.joinISN+2, packet.RST, nil, nil)
		p.sent()
		syn()
		if tcp, _, o := read(p, p.oneN6()); tcp.SN() != 9000 || o.Present != 0 {
			p.Errorf("a SYN on a dead one: SN %d, MPTCP options %b", tcp.SN(), o.Present)
		}
		conns, err := p.plane.Connections(p.seidB)
		if err != nil || len(conns) != 1 {
			p.Errorf("B has connections %v, %v; want one", conns, err)
		}
		for _, w := range p.plane.workers {
			for _, s := range w.roaming {
				if len(s.away) != 0 {
					p.Error("the flow is still away")
				}
			}
		}
	})
}

// TestGuestsRingFull: what does not fit is dropped, in either direction.
func TestGuestsRingFull(t *testing.T) {
	p := newPhone(t, seidBOther, rulesA(), rulesB(seidBOther))
	p.connect()
	p.join()
	slots := handOverSlots(2)
	in := gpdu(teidB, qfiB, tcpSegment(ue2, server, portB, 80, ueISNB+1, p.joinISN+2, packet.ACK, p.dss(0, 0, 1, 10), make([]byte, 10)))
	b := p.plane.workers[1]
	for range slots + 5 {
		p.set.Queue(1).PutN3(memory.Message{Bytes: in, Peer: n3iwf, Local: upf4})
	}
	for range (slots + 5 + 63) / 64 {
		if err := b.drv.Receive(&b.rx, b.pool, 0); err != nil {
			t.Fatal(err)
		}
		b.burst()
	}
	if got := p.plane.Counters()["drop_guest_ring_full"]; got != 5 {
		t.Errorf("uplink: %d dropped, want 5", got)
	}
	p.work()
	p.sent()

	a := p.plane.workers[0]
	before := p.plane.Counters()["drop_guest_ring_full"]
	for i := range uint32(slots + 7) {
		p.set.Queue(0).PutN6(tcpSegment(server, ue1, 80, portA, serverISN+1+i*10, ueISNA+1, packet.ACK, nil, make([]byte, 10)))
	}
	for range (slots + 7 + 63) / 64 {
		if err := a.drv.Receive(&a.rx, a.pool, 0); err != nil {
			t.Fatal(err)
		}
		a.burst()
	}
	// A run that takes its time sees probes dropped as well.
	if got := p.plane.Counters()["drop_guest_ring_full"] - before; got < 7 {
		t.Errorf("downlink: %d dropped, want 7", got)
	}
	p.work()
	if n3, _ := p.sent(); len(n3) != slots {
		t.Errorf("%d packets came through, want %d", len(n3), slots)
	}
}

// TestGuestsSweep: flows that nothing is heard of are forgotten, those that ended sooner;
// what a session may have is bounded.
func TestGuestsSweep(t *testing.T) {
	p := newPhone(t, seidBOther, rulesA(), rulesB(seidBOther))
	p.connect()
	p.join()
	b := p.plane.workers[1]
	s := b.bySEID[seidBOther]
	if len(s.away) != 1 || len(b.roaming) != 1 {
		t.Fatalf("%d flows, %d sessions; want 1 and 1", len(s.away), len(b.roaming))
	}
	if d := b.patience(); d < 0 || d > 10e9 {
		t.Errorf("a worker with a flow to forget waits %v", d)
	}
	at := b.now
	b.now = at + endingLife + 1
	b.sweep()
	if len(s.away) != 1 {
		t.Fatal("a live flow was forgotten")
	}
	b.now = at
	p.upB(ueISNB+1, p.joinISN+2, packet.ACK|packet.FIN, p.dss(0, 0, 0, 0), nil)
	p.sent()
	b.now += endingLife + sweepInterval
	b.sweep()
	if s.away != nil || len(b.roaming) != 0 {
		t.Fatalf("%d flows, %d sessions after the end; want none", len(s.away), len(b.roaming))
	}

	for i := range maxAway + 1 {
		b.flow = tuple{localPort: uint16(i)}
		if ok := b.noteAway(s, 0, packet.SYN|packet.ACK); ok != (i < maxAway) {
			t.Fatalf("flow %d: %v", i, ok)
		}
	}
	b.now += awayLife + 1
	b.sweep()
	if _, err := p.plane.Remove(seidBOther); err != nil {
		t.Fatal(err)
	}
	p.cleanB()
}

// TestGuestsLive: workers run. A session goes while its packets are on their way to the
// other worker, joins among them: when Remove has returned, nothing is left of it there.
func TestGuestsLive(t *testing.T) {
	p := newPhone(t, seidBOther, rulesA(), rulesB(seidBOther))
	p.connect()
	token, _ := p.keyB.Derive()
	stop := run(t, p.plane)
	guests := func() (n int) {
		p.plane.mu.Lock()
		defer p.plane.mu.Unlock()
		if err := p.plane.do(0, func(w *worker) { n = len(w.guests) }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 300 {
		for j := range uint16(8) {
			syn := tcpSegment(ue2, server, portB+j, 80, ueISNB, 0, packet.SYN, mptcp.AppendJoinSYN(nil, false, 2, token, nonce), nil)
			p.set.Queue(1).PutN3(memory.Message{Bytes: gpdu(teidB, qfiB, syn), Peer: n3iwf, Local: upf4})
			data := tcpSegment(ue2, server, portB+j, 80, ueISNB+1, 1, packet.ACK, p.dss(0, 0, 1, 10), make([]byte, 10))
			p.set.Queue(1).PutN3(memory.Message{Bytes: gpdu(teidB, qfiB, data), Peer: n3iwf, Local: upf4})
		}
		if i%30 == 0 { // in the others the session may go before the worker looks
			for end := time.Now().Add(10 * time.Second); guests() == 0; {
				if time.Now().After(end) {
					t.Fatalf("round %d: no guest session is made", i)
				}
			}
		}
		if i%2 == 0 { // its rules lose the group first
			r := rulesB(seidBOther)
			r.Downlink[0].MAR = nil
			p.install(r)
			if n := guests(); n != 0 {
				t.Fatalf("round %d: %d guest sessions with other rules", i, n)
			}
		}
		if _, err := p.plane.Remove(seidBOther); err != nil {
			t.Fatal(err)
		}
		if n := guests(); n != 0 {
			t.Fatalf("round %d: %d guest sessions without their session", i, n)
		}
		p.install(rulesB(seidBOther))
	}
	if _, err := p.plane.Remove(seidBOther); err != nil {
		t.Fatal(err)
	}
	stop()
	p.cleanB()
}
