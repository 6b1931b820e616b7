package dataplane

import (
	"slices"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// idle is the test session, one access only, whose UE is idle: packets for it wait.
func idle(bar *BAR) *Rules {
	r := testRules()
	for i := range r.Downlink {
		r.Downlink[i].MAR = nil
		r.Downlink[i].FAR = &FAR{ID: 2, Action: Buffer, Notify: true, To: ToAccess, OuterHeader: &OuterHeader{TEID: gnbTEID, Peer: gnb}, BAR: bar}
	}
	f := r.Downlink[0].FAR
	for i := range r.Downlink {
		r.Downlink[i].FAR = f
	}
	return r
}

// awake is idle with the FAR forwarding, to TEID.
func awake(teid uint32) *Rules {
	r := idle(nil)
	f := r.Downlink[0].FAR
	f.Action, f.Notify, f.OuterHeader.TEID = Forward, false, teid
	return r
}

// TestHold: packets for an idle UE wait, the first is told of, once; when the FAR
// forwards they go first, in order, the way that the new FAR says.
func TestHold(t *testing.T) {
	f := newFixture(t, 2, idle(&BAR{ID: 1, Delay: 100 * time.Millisecond}))
	for i := range 5 {
		b := udp(server, ue1, 2, uint16(i), 10)
		b[1] = 0xb8 // EF
		f.n6(b)
	}
	f.nothing()
	e := f.event()
	want := Event{Kind: DownlinkData, SEID: testSEID, PDR: 3, TOS: 0xb8, After: 100 * time.Millisecond}
	f.same(e, want)
	f.noEvent()

	// An update that leaves it idle neither frees nor drops nor tells again.
	f.install(idle(nil))
	f.nothing()
	f.n6(udp(server, ue1, 2, 5, 10))
	f.noEvent()

	f.install(awake(0x999))
	n3, n6 := f.sent()
	if len(n3) != 6 || len(n6) != 0 {
		t.Fatalf("%d packets to N3, %d to N6; want the 6 held", len(n3), len(n6))
	}
	for i, m := range n3 {
		h, in := inner(t, m.Bytes)
		if h.TEID != 0x999 || h.QFI != 9 || int(in.DstPort) != i {
			t.Errorf("packet %d: TEID %#x, QFI %d, port %d", i, h.TEID, h.QFI, in.DstPort)
		}
	}
	if w := f.plane.workers[0]; w.held+f.plane.workers[1].held != 0 {
		t.Error("packets are still counted as held")
	}

	// Idle once more: it is told of again.
	f.install(idle(nil))
	f.n6(udp(server, ue1, 2, 1, 10))
	if e := f.event(); e.Kind != DownlinkData {
		t.Errorf("event %+v", e)
	}
}

// inner is the header of G-PDU b and what is in it.
func inner(t *testing.T, b []byte) (gtpu.Header, packet.Info) {
	t.Helper()
	var h gtpu.Header
	if r := gtpu.Parse(b, &h); r != gtpu.OK {
		t.Fatalf("%x: %v", b, r)
	}
	var in packet.Info
	if r := packet.Parse(b[h.Payload:h.End], &in); r != packet.OK {
		t.Fatalf("%x: %v", b, r)
	}
	return h, in
}

// TestHoldBounds: a FAR holds so many packets as its BAR or the config says; the end
// of the session and a FAR that drops free them.
func TestHoldBounds(t *testing.T) {
	for _, tc := range []struct {
		name string
		bar  *BAR
		want int
	}{
		{"no BAR", nil, defaultHeld},
		{"BAR", &BAR{ID: 1, Packets: 3}, 3},
		{"BAR without a count", &BAR{ID: 1}, defaultHeld},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, 1, idle(tc.bar))
			for range defaultHeld + 10 {
				f.down(100)
			}
			if got := f.plane.workers[0].held; got != tc.want {
				t.Errorf("%d packets held, want %d", got, tc.want)
			}
			f.counted(map[string]uint64{"held_packets": uint64(tc.want), "drop_held_full": uint64(defaultHeld + 10 - tc.want)})
			if _, err := f.plane.Remove(testSEID); err != nil {
				t.Fatal(err)
			}
			f.nothing()
			if got := f.plane.workers[0].held; got != 0 {
				t.Errorf("%d packets held after the end of the session", got)
			}
		})
	}
	t.Run("FAR drops", func(t *testing.T) {
		f := newFixture(t, 1, idle(nil))
		f.down(100)
		r := idle(nil)
		r.Downlink[0].FAR.Action = Drop
		f.install(r)
		f.nothing()
		f.counted(map[string]uint64{"held_packets": 1, "drop_far_downlink": 1})
	})
	t.Run("PDR gone", func(t *testing.T) {
		f := newFixture(t, 1, idle(nil))
		f.down(100)
		r := awake(1)
		r.Downlink = r.Downlink[1:]
		f.install(r)
		f.nothing()
		f.counted(map[string]uint64{"held_packets": 1, "drop_no_pdr_downlink": 1})
	})
}

// TestHoldBothAccesses: a multi-access session that is idle on both accesses holds, and
// sends over the access that comes back.
func TestHoldBothAccesses(t *testing.T) {
	both := func(a Action) *Rules {
		r := testRules()
		m := r.Downlink[0].MAR
		for _, f := range m.FAR {
			f.Action = Buffer
		}
		m.Policy.Usable = 0
		if a == Forward {
			m.FAR[1].Action = Forward
			m.Policy.Usable = steer.SetOf(steer.AccessNon3GPP)
		}
		return r
	}
	f := newFixture(t, 1, both(Buffer))
	f.down(100)
	f.nothing()
	f.install(both(Forward))
	if m := f.oneN3(); m.Peer != n3iwf {
		t.Errorf("went to %v, want %v", m.Peer, n3iwf)
	}
}

// TestNotifyWithoutHolding: NOCP beside FORW and DROP tells, too.
func TestNotifyWithoutHolding(t *testing.T) {
	for _, a := range []Action{Forward, Drop} {
		r := awake(gnbTEID)
		r.Downlink[0].FAR.Action, r.Downlink[0].FAR.Notify = a, true
		f := newFixture(t, 1, r)
		f.down(100)
		f.down(100)
		if e := f.event(); e.Kind != DownlinkData || e.PDR != 3 {
			t.Errorf("event %+v", e)
		}
		f.noEvent()
	}
}

// TestEndMarkers go to the old tunnel, behind what was held and before anything new.
func TestEndMarkers(t *testing.T) {
	f := newFixture(t, 1, awake(gnbTEID))
	f.down(100)
	r := awake(0x555)
	r.EndMarkers = []OuterHeader{{TEID: gnbTEID, Peer: gnb}}
	f.install(r)
	f.down(100)
	n3, _ := f.sent()
	var got []uint32
	for _, m := range n3 {
		var h gtpu.Header
		if r := gtpu.Parse(m.Bytes, &h); r != gtpu.OK {
			t.Fatal(r)
		}
		got = append(got, uint32(h.Type)<<16|h.TEID)
	}
	want := []uint32{uint32(gtpu.GPDU)<<16 | gnbTEID, uint32(gtpu.EndMarker)<<16 | gnbTEID, uint32(gtpu.GPDU)<<16 | 0x555}
	if !slices.Equal(got, want) {
		t.Errorf("types and TEIDs %#x, want %#x", got, want)
	}
	f.install(awake(0x555))
	f.nothing()
}
