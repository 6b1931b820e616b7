package dataplane

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/pmf"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// handset is the UE of a fixture, with a PMF.
type handset struct {
	*fixture
	ue   *pmf.UE
	now  time.Duration
	dead [steer.NumAccesses]bool
	drop func(a steer.Access, inner []byte) bool // loses what it says
	qfis []uint8                                 // of the flows; that of 0 is 9
	data [steer.NumAccesses]int                  // packets received that are no messages
	next time.Duration
	out  pmf.Out
}

// newHandset attaches a phone over both accesses, in a session that follows r.
func newHandset(t testing.TB, r *Rules) *handset {
	p := &handset{fixture: newFixture(t, 1, r), now: time.Second, qfis: append([]uint8{9}, r.ATSSS.PMF.QFIs...)}
	// It tells of accesses and answers; measurements of its own are another test's.
	p.ue = pmf.NewUE(&pmf.Config{Rand: func() uint64 { return uint64(p.now) }}, len(p.qfis), true)
	for a := range steer.Access(steer.NumAccesses) {
		p.ue.SetAvailable(p.now, a, true, &p.out)
	}
	p.pass(100*time.Millisecond, nil)
	return p
}

// pass lets time pass in steps of 10 ms, with each called in each.
func (p *handset) pass(d time.Duration, each func()) {
	for ; d > 0; d -= 10 * time.Millisecond {
		p.now += 10 * time.Millisecond
		p.plane.epoch = p.plane.epoch.Add(-10 * time.Millisecond)
		if each != nil {
			each()
		}
		p.work()
		if p.now >= p.next {
			p.next = p.ue.Tick(p.now, &p.out)
		}
		p.exchange()
	}
}

// exchange carries messages to and fro until there are no more.
func (p *handset) exchange() {
	for {
		for _, m := range p.out.Send {
			if a := m.Leg.Access; !p.dead[a] {
				p.n3(accessPeer[a], toFlowOfPMF(a, p.qfis[m.Leg.Flow], p.measured(m.Leg.Flow), m.Message))
			}
		}
		p.out.Reset()
		n3, _ := p.sent()
		if len(n3) == 0 {
			return
		}
		for _, m := range n3 {
			p.receive(m.Peer, m.Bytes)
		}
		p.next = min(p.next, p.now)
	}
}

// measured is the QFI of a QoS flow that has ports of its own; 0 = it has those of the
// default one.
func (p *handset) measured(flow uint8) uint8 {
	if flow == 0 {
		return 0
	}
	return p.qfis[flow]
}

func (p *handset) receive(peer netip.AddrPort, b []byte) {
	a := steer.Access3GPP
	if peer == n3iwf {
		a = steer.AccessNon3GPP
	}
	var h gtpu.Header
	var in packet.Info
	if gtpu.Parse(b, &h) != gtpu.OK || h.TEID != accessDown[a] || packet.Parse(b[h.Payload:h.End], &in) != packet.OK {
		p.Fatalf("to %v: %x", peer, b)
	}
	inner := b[h.Payload:h.End]
	flow := bytes.IndexByte(p.qfis, h.QFI)
	if p.dead[a] || p.drop != nil && p.drop(a, inner) {
		return
	}
	l := pmf.Leg{Access: a, Flow: uint8(max(flow, 0))}
	if in.Src.Netip() != pmf4 {
		p.data[a]++
		if flow >= 0 {
			p.ue.Count(l, 0, 1)
		}
		return
	}
	octets, bad := packet.ParseUDP(inner, &in)
	var m pmf.Message
	at := PMF{Port: pmfPorts}
	if bad != packet.OK || flow < 0 || in.SrcPort != at.FlowPort(a, p.measured(l.Flow)) || in.DstPort != uePort || pmf.Parse(octets, &m) != pmf.OK {
		p.Fatalf("over %v with QFI %d: %x", a, h.QFI, inner)
	}
	p.ue.Receive(p.now, l, &m, &p.out)
}

// downlink is a packet of a server for the UE.
func (p *handset) downlink() {
	p.n6(udp(server, ue1, 53, uint16(p.now/time.Millisecond), 20))
}

// changed takes the only event, which is of a.
func (p *handset) changed(a steer.Access, available bool) {
	p.Helper()
	select {
	case e := <-p.plane.Events():
		if want := (Event{Kind: AccessChanged, SEID: testSEID, Access: a, Available: available}); e != want {
			p.Errorf("event %+v, want %+v", e, want)
		}
	default:
		p.Errorf("no event that %v is available: %v", a, available)
	}
	p.quiet()
}

// quiet checks that there is no event.
func (p *handset) quiet() {
	p.Helper()
	select {
	case e := <-p.plane.Events():
		p.Errorf("event %+v", e)
	default:
	}
}

func (p *handset) session() *session { return p.plane.workers[0].bySEID[testSEID] }

// untilEvent lets time pass until there is an event, and says how long it took.
func (p *handset) untilEvent(most time.Duration, each func()) (took time.Duration) {
	p.Helper()
	for ; len(p.plane.Events()) == 0; took += 10 * time.Millisecond {
		if took >= most {
			p.Fatalf("no event in %v", took)
		}
		p.pass(10*time.Millisecond, each)
	}
	return took
}

// TestPMFDeath: an access that dies while nothing goes over it is told to the control side
// within a second, and left by ordinary traffic; and it is back within one and a half.
func TestPMFDeath(t *testing.T) {
	for _, phase := range []time.Duration{0, 60, 120, 180, 240} {
		r := pmfTestRules()
		r.Downlink[0].MAR.Policy.Priority = [2]steer.Priority{steer.Active, steer.Standby}
		p := newHandset(t, r)
		p.pass(2*time.Second+phase*time.Millisecond, p.downlink)
		p.quiet()
		if p.data[0] == 0 || p.data[1] != 0 {
			t.Fatalf("packets over the accesses: %v", p.data)
		}
		p.dead[steer.AccessNon3GPP] = true
		took := p.untilEvent(2*time.Second, p.downlink)
		if took > time.Second {
			t.Errorf("phase %v: found after %v", phase, took)
		}
		p.changed(steer.AccessNon3GPP, false)

		// Now the other one, which carries the traffic: nothing goes there any more, though
		// the one that is left is known to be dead, too.
		p.dead[steer.AccessNon3GPP] = false
		if took := p.untilEvent(2*time.Second, p.downlink); took > 1500*time.Millisecond {
			t.Errorf("phase %v: return found after %v", phase, took)
		}
		p.changed(steer.AccessNon3GPP, true)
		p.dead[steer.Access3GPP] = true
		if took := p.untilEvent(2*time.Second, p.downlink); took > time.Second {
			t.Errorf("phase %v: death of the active access found after %v", phase, took)
		}
		p.changed(steer.Access3GPP, false)
		p.data = [2]int{}
		p.pass(500*time.Millisecond, p.downlink)
		if p.data != [2]int{0, 50} {
			t.Errorf("phase %v: packets over the accesses: %v, want all over the one that answers", phase, p.data)
		}
		if c := p.plane.Counters(); c["pmf_access_lost"] != 2 || c["pmf_access_returned"] != 1 || c["proxy_path_silent"] != 2 || c["proxy_path_returned"] != 1 {
			t.Errorf("lost %d, returned %d; the proxy heard of %d and %d", c["pmf_access_lost"], c["pmf_access_returned"],
				c["proxy_path_silent"], c["proxy_path_returned"])
		}
	}
}

// TestPMFReturnsWithData: anything of the UE brings an access back.
func TestPMFReturnsWithData(t *testing.T) {
	p := newHandset(t, pmfTestRules())
	p.pass(time.Second, p.downlink)
	p.dead[steer.AccessNon3GPP] = true
	p.untilEvent(time.Second, p.downlink)
	p.changed(steer.AccessNon3GPP, false)
	p.n3(n3iwf, gpdu(teidNon3GPP, 9, udp(ue1, server, 1000, 53, 4)))
	p.changed(steer.AccessNon3GPP, true)
	p.untilEvent(time.Second, p.downlink) // it was a last sigh
	p.changed(steer.AccessNon3GPP, false)
	// A packet that is not the UE's proves nothing.
	p.n3(n3iwf, gpdu(teidNon3GPP, 9, udp(server, server, 1000, 53, 4)))
	p.n3(n3iwf, gpdu(teidNon3GPP, 9, datagram(netip.MustParseAddrPort("10.60.0.9:1"), netip.AddrPortFrom(pmf4, pmfPorts[1]), []byte{1, 0, 0, 0})))
	p.quiet()
}

// TestPMFReport: what the UE reports is told at once.
func TestPMFReport(t *testing.T) {
	p := newHandset(t, pmfTestRules())
	p.pass(time.Second, p.downlink)
	p.data = [2]int{}
	p.ue.SetAvailable(p.now, steer.Access3GPP, false, &p.out)
	p.exchange()
	p.changed(steer.Access3GPP, false)
	p.pass(500*time.Millisecond, p.downlink)
	if p.data != [2]int{0, 50} {
		t.Errorf("packets over the accesses: %v, want all over the other", p.data)
	}
	if !p.ue.Settled() {
		t.Error("the report was not acknowledged")
	}
	p.ue.SetAvailable(p.now, steer.Access3GPP, true, &p.out)
	p.exchange()
	p.changed(steer.Access3GPP, true)
}

// TestPMFEventIsRepeated: an event that finds no room is told when there is.
func TestPMFEventIsRepeated(t *testing.T) {
	p := newHandset(t, pmfTestRules())
	p.pass(time.Second, p.downlink)
	n := cap(p.plane.events)
	for range n {
		select {
		case p.plane.events <- Event{}:
		default:
			p.Fatal("there was an event before")
		}
	}
	p.ue.SetAvailable(p.now, steer.AccessNon3GPP, false, &p.out)
	p.exchange()
	for range n {
		if e := <-p.plane.Events(); e != (Event{}) {
			t.Fatalf("event %+v", e)
		}
	}
	p.pass(300*time.Millisecond, p.downlink)
	p.changed(steer.AccessNon3GPP, false)
}

// TestPMFFeedsMonitor: round trips, losses and the UE's split reach the session's Monitor.
func TestPMFFeedsMonitor(t *testing.T) {
	p := newHandset(t, pmfTestRules())
	n := 0
	p.drop = func(a steer.Access, inner []byte) bool {
		if a != steer.Access3GPP || len(inner) != 48 {
			return false
		}
		n++
		return n%10 == 0
	}
	p.ue.Assist(p.now, 30, &p.out)
	p.pass(20*time.Second, p.downlink)
	w := p.plane.workers[0]
	st := p.session().proxy.Monitor.State(time.Duration(w.now))
	a := st.Access[steer.Access3GPP]
	if !a.HasPLR || a.PLR < 900 || a.PLR > 1100 {
		t.Errorf("loss %d (known: %v), want 10%%", a.PLR, a.HasPLR)
	}
	for i, a := range st.Access {
		if a.RTT <= 0 || a.RTT > 50*time.Millisecond || !a.Available {
			t.Errorf("access %d: %+v", i, a)
		}
	}
	if !st.HasUplink || st.Uplink != 30 {
		t.Errorf("uplink split %d (known: %v)", st.Uplink, st.HasUplink)
	}
}

// TestPMFPerFlow: each QoS flow that is to be is measured for itself, on that flow and by
// its ports.
func TestPMFPerFlow(t *testing.T) {
	r := pmfTestRules()
	r.ATSSS.PMF.QFIs = []uint8{5, 7}
	voice := r.Downlink[0]
	voice.ID, voice.Filters = 10, []Filter{{Protocol: packet.ProtoUDP, RemotePorts: []PortRange{{7, 7}}}}
	voice.QERs = []*QER{{ID: 7, QFI: 7}}
	other := voice // of a QoS flow that is not measured
	other.ID, other.Filters = 11, []Filter{{Protocol: packet.ProtoUDP, RemotePorts: []PortRange{{3, 3}}}}
	other.QERs = []*QER{{ID: 3, QFI: 3}}
	r.Downlink = append([]PDR{voice, other}, r.Downlink...)
	p := newHandset(t, r)
	lost := 0
	p.drop = func(_ steer.Access, inner []byte) bool { // half of what is sent with QFI 7
		if len(inner) == 48 && binary.BigEndian.Uint16(inner[20:]) == 7 {
			lost++
		}
		return lost%2 == 1 && len(inner) == 48 && binary.BigEndian.Uint16(inner[20:]) == 7
	}
	asked := map[uint8]int{} // by QFI
	counted := map[uint8]bool{}
	p.pass(10*time.Second, func() {
		p.n6(udp(server, ue1, 53, 1000, 20))
		p.n6(udp(server, ue1, 7, 1000, 20))
		p.n6(udp(server, ue1, 3, 1000, 20))
		n3, _ := p.sent()
		for _, m := range n3 {
			var h gtpu.Header
			var in packet.Info
			if gtpu.Parse(m.Bytes, &h) == gtpu.OK && packet.Parse(m.Bytes[h.Payload:h.End], &in) == packet.OK && in.Src.Netip() == pmf4 {
				switch m.Bytes[h.Payload+28] {
				case byte(pmf.EchoRequest):
					asked[h.QFI]++
				case byte(pmf.PLRCountRequest):
					counted[h.QFI] = true
				}
			}
			p.receive(m.Peer, m.Bytes)
		}
	})
	for _, qfi := range []uint8{9, 5, 7} {
		if asked[qfi] < 4 {
			t.Errorf("QFI %d: %d echo requests in 10 s", qfi, asked[qfi])
		}
	}
	if !counted[9] || counted[5] || !counted[7] {
		t.Errorf("counted on QFIs %v, want those that carry data", counted)
	}
	// The default QoS flow, which lost nothing, stands for the access.
	if st := p.session().proxy.Monitor.State(time.Duration(p.plane.workers[0].now)).Access[steer.Access3GPP]; !st.HasPLR || st.PLR != 0 {
		t.Errorf("loss %d (known: %v) where only another QoS flow loses", st.PLR, st.HasPLR)
	}
}
