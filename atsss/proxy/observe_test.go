package proxy

import (
	"math"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// watched is a harness whose proxy tells of connections.
func watched(t testing.TB, accept func(*harness, *Conn)) (h *harness, open *int) {
	h, open = newHarness(t), new(int)
	h.p.cfg.Accept = func(c *Conn) {
		*open++
		if accept != nil {
			accept(h, c)
		}
	}
	h.p.cfg.Closed = func(*Conn) { *open-- }
	return h, open
}

// TestAcceptAndClosed: the user is told of a connection once, and of its end once, however
// it ends.
func TestAcceptAndClosed(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(*harness)
	}{
		{"server resets", func(h *harness) { h.down(h.fromServer(packet.RST|packet.ACK, 0, 0, nil)) }},
		{"UE resets", func(h *harness) {
			h.up(0, h.fromUE(0, packet.RST|packet.ACK, 0, mptcp.AppendFastClose(nil, h.keyB), 1, nil))
		}},
		{"its session ends", func(h *harness) { h.p.EndSession(&h.session) }},
		{"idle", func(h *harness) {
			for range idleLife/Time(TickInterval) + 2*wheelSlots {
				h.now += Time(TickInterval)
				h.p.Tick(h.now, &h.out)
			}
		}},
	} {
		h, open := watched(t, nil)
		h.connect()
		if *open != 1 {
			t.Fatalf("%s: %d connections are open, want 1", tc.name, *open)
		}
		tc.end(h)
		h.recycle()
		if *open != 0 {
			t.Errorf("%s: %d connections are open, want 0", tc.name, *open)
		}
		h.p.EndSession(&h.session)
		if *open != 0 {
			t.Errorf("%s: told twice of the end", tc.name)
		}
	}
}

// TestStatus: the numbers of a connection with two subflows, of which one lost a packet.
func TestStatus(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.setMode(steer.Redundant)
	start := h.now
	h.serverData(0, 1000)
	h.serverData(1000, 1000)
	h.recycle()
	h.now = start + 30*millisecond
	h.ackOn(0, 2001, 2000)
	h.now = start + 50*millisecond
	h.up(1, h.fromUESACK(1, 2, 2000, 1002, 2002)) // its first copy is lost, and filled
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&mapping{ssn: 1, u: 0, n: 300}, 2000), 2001, make([]byte, 300)))
	h.down(h.fromServer(packet.ACK, 2000, 300, nil))
	h.recycle()

	var all []*Conn
	for c := range h.session.Conns() {
		all = append(all, c)
	}
	if len(all) != 1 || all[0] != h.conn() {
		t.Fatalf("connections of the session: %v", all)
	}
	var st ConnStatus
	all[0].Status(&st)
	if st.State != ConnOpen || st.Session != 7 || st.PDR != 3 || st.Server != h.srv || st.ServerPort != 80 || st.Up != 300 || st.Down != 2000 {
		t.Errorf("status %+v", st)
	}
	if len(st.Subflows) != 2 {
		t.Fatalf("%d subflows", len(st.Subflows))
	}
	a, b := st.Subflows[0], st.Subflows[1]
	if a.Access != steer.Access3GPP || a.State != SubflowEstablished || !a.Usable || a.Down != 2000 || a.Resent != 0 || a.Up != 300 || a.InFlight != 0 || a.LossRatio() != 0 {
		t.Errorf("first subflow %+v", a)
	}
	if r := a.DeliveryRate(); math.Abs(r*a.RTT.Seconds()-2000) > 1 {
		t.Errorf("first subflow: %.0f bytes a second at an RTT of %v, want 2000 a round trip", r, a.RTT)
	}
	if r := new(SubflowStatus).DeliveryRate(); r != 0 {
		t.Errorf("%.0f bytes a second where nothing was measured", r)
	}
	if a.Window != 2000 || a.RTT < time.Millisecond || a.RTT > 30*time.Millisecond {
		t.Errorf("first subflow: RTT %v, window %d", a.RTT, a.Window)
	}
	// The byte that confirmed it counts.
	if b.Access != steer.AccessNon3GPP || !b.Usable || b.Down != 2001 || b.Resent < 1000 || b.InFlight != 2000 || b.Up != 0 {
		t.Errorf("second subflow %+v", b)
	}
	if r := b.LossRatio(); r < 1./3-0.01 || r > 1./3+0.01 {
		t.Errorf("second subflow: loss ratio %v of %d and %d", r, b.Resent, b.Down)
	}
	if n := testing.AllocsPerRun(100, func() { all[0].Status(&st) }); n != 0 {
		t.Errorf("asking allocates %v times", n)
	}
}

// TestSetPolicy: a policy of the user's takes the place of the MAR's and gives it back; the
// MAR's FARs still say which accesses there are.
func TestSetPolicy(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	c := h.conn()
	own := &steer.Policy{
		Functionality: steer.MPTCP, Usable: steer.SetOf(0, 1),
		Priority: [2]steer.Priority{steer.Standby, steer.Active},
	}
	h.p.SetPolicy(h.now, c, own, &h.out)
	h.want("ue0 ssn=1 ack=1 dack=0 mp_prio", "ue1 ssn=2 ack=1 dack=0 mp_prio") // the UE is to use it for the uplink, too
	h.serverData(0, 100)
	h.want("ue1 ssn=2+100 ack=1 dack=0 map=0@2+100")
	if c.Policy().Priority != own.Priority {
		t.Error("not the policy in force")
	}
	mar := *h.rule.Policy
	mar.Usable = steer.SetOf(steer.Access3GPP) // the FAR of the other access drops
	h.rule.Policy = &mar
	h.serverData(100, 100)
	h.want("ue0 ssn=1+100 ack=1 dack=0 map=100@1+100")
	mar2 := mar
	mar2.Usable = steer.SetOf(0, 1)
	h.rule.Policy = &mar2
	h.serverData(200, 100)
	h.want("ue1 ssn=102+100 ack=1 dack=0 map=200@102+100")
	h.p.SetPolicy(h.now, c, nil, &h.out)
	h.want("ue0 ssn=101 ack=1 dack=0 mp_prio", "ue1 ssn=202 ack=1 dack=0 mp_prio")
	h.serverData(300, 100)
	h.want("ue0 ssn=101+100 ack=1 dack=0 map=300@101+100")
	if c.Policy() != h.rule.Policy || len(h.p.steered) != 0 {
		t.Error("the MAR has not its place back")
	}
}

// fixed is a scheduler that counts how often it is asked.
type fixed struct {
	steer.Decision
	asked int
}

func (f *fixed) Schedule(*ConnStatus) steer.Decision {
	f.asked++
	return f.Decision
}

// TestSchedulerIsAskedSeldom: by events, not by packets.
func TestSchedulerIsAskedSeldom(t *testing.T) {
	s := &fixed{Decision: steer.Decision{Access: steer.AccessNon3GPP}}
	h, _ := watched(t, func(h *harness, c *Conn) { h.p.SetScheduler(h.now, c, s, &h.out) })
	h.connect()
	first := s.asked
	h.join()
	d, ssn := int64(0), int64(2)
	burst := func(packets int) (asked int) {
		before := s.asked
		for range packets {
			h.serverData(d, 1000)
			d, ssn = d+1000, ssn+1000
			h.recycle()
		}
		h.now += 20 * millisecond
		h.ackOn(1, ssn, d)
		h.recycle()
		return s.asked - before
	}
	if burst(1) == 0 {
		t.Error("not asked about a new subflow")
	}
	for range 50 {
		if n := burst(40); n > 1 {
			t.Fatalf("asked %d times in a round trip", n)
		}
	}
	if s.asked-first < 20 {
		t.Errorf("asked %d times in 50 round trips", s.asked-first)
	}
	before := s.asked
	h.up(1, h.fromUE(1, packet.RST|packet.ACK, 0, nil, ssn, nil))
	h.recycle()
	h.serverData(d, 1000)
	h.want("ue0 ssn=1+1000 ack=1 dack=0 map=" + itoa(d) + "@1+1000") // it would have the other, which is gone
	if s.asked == before {
		t.Error("not asked about a subflow that is gone")
	}
	s.Redundant = true
	if n := testing.AllocsPerRun(100, func() { h.p.steered[h.conn()].changed = true; h.p.consult(h.conn()) }); n != 0 {
		t.Errorf("asking allocates %v times", n)
	}
	if h.conn().Policy().Mode != steer.Redundant {
		t.Error("the answer is not in force")
	}
}
