package dataplane

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/dataplane/driver/memory"
	"github.com/braid-upf/braid/packet"
)

// otherRules is the session of another UE: nothing in it is testRules'.
func otherRules(n int) *Rules {
	r := testRules()
	r.SEID += uint64(n)
	addrs := prefixesOf(netip.AddrFrom4([4]byte{10, 61, byte(n >> 8), byte(n)}))
	r.UEAddrs = addrs
	r.Downlink = r.Downlink[:1]
	r.Downlink[0].UEAddrs = addrs
	for i := range r.Uplink {
		r.Uplink[i].UEAddrs = addrs
		r.Uplink[i].TEID = uint32(r.Slot())<<20 | uint32(0x1000+2*n+i)
	}
	return r
}

func TestSlots(t *testing.T) {
	for teid, want := range map[uint32]uint16{0: 0, 0x000fffff: 0, 0x00100000: 1, 0xffffffff: 0xfff, 0x2a012345: 0x2a0} {
		if got := SlotOf(teid); got != want {
			t.Errorf("SlotOf(%#x) = %#x, want %#x", teid, got, want)
		}
	}
	f := newFixture(t, 3)
	for slot := range uint32(NumSlots) {
		if got, want := f.set.OwnerTEID(slot<<20|5), int(slot)%3; got != want {
			t.Fatalf("a TEID of slot %#x goes to worker %d, want %d", slot, got, want)
		}
	}
}

// TestHome: all identifiers of a session, whoever chose them, lead to the worker of
// its slot.
func TestHome(t *testing.T) {
	const workers = 3
	f := newFixture(t, workers)
	for n := range 10 {
		r := otherRules(n)
		r.Uplink[1].TEID = uint32(n + 1) // as an SMF would choose
		f.install(r)
		home := int(r.Slot()) % workers
		for _, p := range r.Uplink {
			if got := f.set.OwnerTEID(p.TEID); got != home {
				t.Errorf("session %#x: TEID %#x goes to worker %d, want %d", r.SEID, p.TEID, got, home)
			}
		}
		if got := f.set.OwnerUE(r.UEAddrs[0].Addr()); got != home {
			t.Errorf("session %#x: UE address goes to worker %d, want %d", r.SEID, got, home)
		}
		for i, w := range f.plane.workers {
			if _, ok := w.bySEID[r.SEID]; ok != (i == home) {
				t.Errorf("session %#x on worker %d: %v", r.SEID, i, ok)
			}
		}
	}
}

func TestUpdateAndRemove(t *testing.T) {
	f := newFixture(t, 2, testRules())
	if teids, ues := f.set.Steered(); teids != 2 || ues != 3 {
		t.Fatalf("%d TEIDs and %d UE prefixes are steered, want 2 and 3", teids, ues)
	}
	r := testRules()
	r.Uplink[0].TEID = 0x2a000009
	r.Uplink = r.Uplink[:1]
	r.UEAddrs = r.UEAddrs[1:]
	f.install(r)
	if teids, ues := f.set.Steered(); teids != 1 || ues != 2 {
		t.Errorf("after the update %d TEIDs and %d UE prefixes are steered, want 1 and 2", teids, ues)
	}
	f.seen = f.plane.Counters()
	f.n3(gnb, gpdu(0x2a000009, 9, udp(ue2, server, 1, 2, 0)))
	f.oneN6()
	f.seen = f.plane.Counters()
	f.n3(gnb, gpdu(teidNon3GPP, 9, udp(ue2, server, 1, 2, 0)))
	f.n6(udp(server, ue1, 1, 2, 0))
	f.oneN3() // the Error Indication
	f.counted(map[string]uint64{
		"drop_unknown_teid": 1, "drop_unknown_ue": 1, "error_indications_sent": 1, "n3_sent_packets": 1, "n3_sent_bytes": 28,
	})
	for range 2 { // the second time it is not there
		if _, err := f.plane.Remove(testSEID); err != nil {
			t.Fatal(err)
		}
		if teids, ues := f.set.Steered(); teids != 0 || ues != 0 {
			t.Errorf("after the removal %d TEIDs and %d UE prefixes are steered", teids, ues)
		}
	}
	for i, w := range f.plane.workers {
		if w.teids.len()+w.ues.len()+len(w.ues.lengths4)+len(w.ues.lengths6)+len(w.bySEID) != 0 {
			t.Errorf("worker %d has not forgotten the session", i)
		}
	}
}

// TestSessionIDs: the IDs that the proxy knows sessions by are used again, never
// twice at a time.
func TestSessionIDs(t *testing.T) {
	f := newFixture(t, 1)
	for n := range 5 {
		f.install(otherRules(n))
	}
	for _, n := range []int{1, 3} {
		if _, err := f.plane.Remove(otherRules(n).SEID); err != nil {
			t.Fatal(err)
		}
	}
	for n := 5; n < 8; n++ {
		f.install(otherRules(n))
	}
	w := f.plane.workers[0]
	if len(w.sessions) != 6 {
		t.Errorf("%d IDs for 6 sessions", len(w.sessions))
	}
	for seid, s := range w.bySEID {
		if w.sessions[s.proxy.ID] != s {
			t.Errorf("session %#x has ID %d, which is another's", seid, s.proxy.ID)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(r *Rules)
		is     error
		says   string
	}{
		{
			"another session's TEID", func(r *Rules) { r.Uplink[1].TEID = teid3GPP },
			ErrTEIDInUse, "TEID 0x2a000001",
		},
		{
			"another session's UE address", func(r *Rules) { r.UEAddrs = prefixesOf(ue2) },
			ErrUEAddrInUse, "10.60.0.2/32",
		},
		{
			"another session's UE prefix", func(r *Rules) { r.UEAddrs = []netip.Prefix{netip.MustParsePrefix("fd00:60::77/64")} },
			ErrUEAddrInUse, "fd00:60::/64",
		},
		{"no TEID", func(r *Rules) { r.Uplink[0].TEID = 0 }, nil, "PDR 1: uplink without a TEID"},
		{
			"one tunnel both ways", func(r *Rules) { r.Downlink[0].TEID = r.Uplink[0].TEID },
			errBothWays, "one tunnel for packets",
		},
		{
			"peer of a family that N3 has not",
			func(r *Rules) {
				r.Downlink[0].MAR.FAR[1].OuterHeader.Peer = netip.MustParseAddrPort("[fd00:2::2]:2152")
			},
			nil, "FAR 3: no N3 address to reach fd00:2::2 from",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set := memory.New(2, upf4)
			plane, err := New(Config{Set: set, Buffers: 8})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := plane.Install(testRules()); err != nil {
				t.Fatal(err)
			}
			teids, ues := set.Steered()
			r := otherRules(1)
			tc.change(r)
			_, err = plane.Install(r)
			if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "session 0x702a1") {
				t.Errorf("error %v, want one that says %q", err, tc.says)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("error %v is not %v", err, tc.is)
			}
			if a, b := set.Steered(); a != teids || b != ues {
				t.Errorf("steering changed from %d, %d to %d, %d", teids, ues, a, b)
			}
			if n := plane.Counters()["sessions"]; n != 1 {
				t.Errorf("%d sessions", n)
			}
			// What the refused session claimed is free.
			if _, err := plane.Install(otherRules(1)); err != nil {
				t.Error(err)
			}
		})
	}
}

// full is a Set whose UE steering takes no more than room prefixes.
type full struct {
	*memory.Set
	room int
}

var errFull = errors.New("full")

func (f *full) SteerUE(p netip.Prefix, worker int) error {
	if _, ues := f.Steered(); ues >= f.room {
		return errFull
	}
	return f.Set.SteerUE(p, worker)
}

// TestSteeringFull: a session that cannot be steered whole leaves nothing behind,
// and an update that cannot leaves the rules of before in force.
func TestSteeringFull(t *testing.T) {
	set := &full{Set: memory.New(2, upf4), room: 2}
	plane, err := New(Config{Set: set, Buffers: 8})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plane.Install(testRules()); !errors.Is(err, errFull) {
		t.Fatalf("error %v, want %v", err, errFull)
	}
	if teids, ues := set.Steered(); teids != 0 || ues != 0 {
		t.Errorf("%d TEIDs and %d UE prefixes are left", teids, ues)
	}
	small := testRules()
	small.UEAddrs = small.UEAddrs[:2]
	if _, err := plane.Install(small); err != nil {
		t.Fatal(err)
	}
	larger := testRules()
	larger.Uplink[0].TEID++
	larger.Uplink = larger.Uplink[:1]
	if _, err := plane.Install(larger); !errors.Is(err, errFull) {
		t.Fatalf("error %v, want %v", err, errFull)
	}
	f := &fixture{TB: t, set: set.Set, plane: plane, seen: plane.Counters()}
	f.n3(gnb, gpdu(teid3GPP, 9, udp(ue1, server, 1, 2, 0)))
	f.oneN6()
	f.n6(udp(server, ue2, 1, 2, 0))
	f.oneN3()
	if teids, ues := set.Steered(); teids != 2 || ues != 2 {
		t.Errorf("%d TEIDs and %d UE prefixes are steered, want 2 and 2", teids, ues)
	}
}

func TestHandOver(t *testing.T) {
	f := newFixture(t, 2, testRules())
	home := f.set.OwnerTEID(teid3GPP)
	wrong := f.set.Queue(1 - home)
	in := udp(ue1, server, 1, 2, 50)
	wrong.PutN3(memory.Message{Bytes: gpdu(teid3GPP, 9, in), Peer: gnb, Local: upf4})
	f.work()
	if got := f.oneN6(); string(got) != string(in) {
		t.Errorf("handed over from N3: %x, want %x", got, in)
	}
	f.counted(map[string]uint64{
		"not_owner": 1, "uplink_3gpp_packets": 1, "uplink_3gpp_bytes": 78, "n6_sent_packets": 1, "n6_sent_bytes": 78,
	})
	wrong.PutN6(udp(server, ue6, 1, 2, 50)[:0:0])
	f.work()
	f.counted(map[string]uint64{"drop_n6_ip_too_short": 1})
	wrong.PutN6(udp(netip.MustParseAddr("2001:db8::1"), ue6, 1, 2, 50))
	f.work()
	if got := f.oneN3(); got.Peer != gnb {
		t.Errorf("handed over from N6: went to %v", got.Peer)
	}
	f.counted(map[string]uint64{
		"not_owner": 1, "downlink_3gpp_packets": 1, "downlink_3gpp_bytes": 98, "n3_sent_packets": 1, "n3_sent_bytes": 106,
	})

	// The owner is busy: what does not fit the ring is dropped.
	w := f.plane.workers[1-home]
	slots := handOverSlots(2)
	for range slots + 4 {
		wrong.PutN6(udp(server, ue1, 1, 2, 0))
	}
	for range slots/driver.MaxBurst + 1 {
		if err := w.drv.Receive(&w.rx, w.pool, 0); err != nil {
			t.Fatal(err)
		}
		w.burst()
	}
	f.work()
	if n3, _ := f.sent(); len(n3) != slots {
		t.Errorf("%d packets came through, want %d", len(n3), slots)
	}
	if got := f.plane.Counters()["drop_not_owner"]; got != 4 {
		t.Errorf("drop_not_owner = %d, want 4", got)
	}
}

// TestHandOverIsNotRepeated: an owner that has meanwhile let go answers itself.
func TestHandOverIsNotRepeated(t *testing.T) {
	f := newFixture(t, 2)
	f.plane.teidOwners.set(0x77, 0x77, 1) // worker 1 does not have it
	f.set.Queue(0).PutN3(memory.Message{Bytes: gpdu(0x77, 0, nil), Peer: gnb, Local: upf4})
	f.work()
	if got := f.oneN3(); got.Peer != gnb {
		t.Errorf("Error Indication to %v", got.Peer)
	}
	f.counted(map[string]uint64{
		"not_owner": 1, "drop_unknown_teid": 1, "error_indications_sent": 1, "n3_sent_packets": 1, "n3_sent_bytes": 28,
	})
}

// run starts the plane and gives a function that stops it and checks how it ended.
func run(t *testing.T, p *Plane) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not return")
		}
	})
	t.Cleanup(stop)
	return stop
}

// TestTraffic installs, changes and removes sessions while packets of both
// directions flow through running workers. Every packet must be accounted for: it
// went out or one named counter has it.
func TestTraffic(t *testing.T) {
	const sessions, rounds = 8, 60
	set := memory.New(3, upf4)
	plane, err := New(Config{Set: set, Buffers: 64, Keys: 8})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, plane)
	stay := otherRules(100)
	if _, err := plane.Install(stay); err != nil {
		t.Fatal(err)
	}
	var finished atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer finished.Store(true)
		for i := range rounds {
			for n := range sessions {
				r := otherRules(n)
				if i%3 == 2 {
					if _, err := plane.Remove(r.SEID); err != nil {
						t.Error(err)
					}
					continue
				}
				r.Downlink[0].MAR.Policy.Usable ^= 1
				if _, err := plane.Install(r); err != nil {
					t.Error(err)
				}
			}
			plane.Counters()
		}
	})
	var up, down int
	for i := 0; i < 1000 || i < 100000 && !finished.Load(); i++ {
		r := otherRules(i % sessions)
		if i%4 == 0 {
			r = stay
		}
		ue := r.UEAddrs[0].Addr()
		wrong := i / 4 % 2 // every second packet of stay, too, comes to another worker
		set.Queue((set.OwnerTEID(r.Uplink[0].TEID) + wrong) % 3).PutN3(
			memory.Message{Bytes: gpdu(r.Uplink[i%2].TEID, 9, udp(ue, server, 1, 2, 10)), Peer: gnb, Local: upf4})
		set.Queue((set.OwnerUE(ue) + wrong) % 3).PutN6(udp(server, ue, 1, 2, 10))
		up++
		down++
		runtime.Gosched()
	}
	wg.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for {
		c := plane.Counters()
		gotUp := c["n6_sent_packets"] + c["drop_unknown_teid"] + c["drop_not_owner"]
		gotDown := c["downlink_3gpp_packets"] + c["downlink_non_3gpp_packets"] + c["drop_unknown_ue"]
		// drop_not_owner has both.
		if gotUp+gotDown == uint64(up+down) {
			if c["n6_sent_packets"] == 0 || gotDown == 0 || c["not_owner"] == 0 {
				t.Errorf("nothing of one kind came through: %v", c)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d + %d packets in, accounted for %d + %d: %v", up, down, gotUp, gotDown, c)
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	if _, err := plane.Install(otherRules(1)); !errors.Is(err, ErrStopped) {
		t.Errorf("Install after the end: %v, want %v", err, ErrStopped)
	}
	if _, err := plane.Remove(stay.SEID); !errors.Is(err, ErrStopped) {
		t.Errorf("Remove after the end: %v, want %v", err, ErrStopped)
	}
	if plane.Counters()["sessions"] == 0 {
		t.Error("the counters are gone after the end")
	}
	if err := plane.Run(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("second Run: %v, want %v", err, ErrStopped)
	}
}

// broken is a Set whose worker 1 fails when it is told to.
type broken struct {
	*memory.Set
	fail chan struct{}
}

type brokenDriver struct {
	driver.Driver
	fail chan struct{}
}

var errBroken = errors.New("device gone")

func (b *broken) Driver(i int) driver.Driver {
	if i == 1 {
		return &brokenDriver{b.Set.Driver(i), b.fail}
	}
	return b.Set.Driver(i)
}

func (d *brokenDriver) Receive(rx *driver.Burst, pool *packet.Pool, wait time.Duration) error {
	select {
	case <-d.fail:
		return errBroken
	default:
		return d.Driver.Receive(rx, pool, min(wait, time.Millisecond))
	}
}

// TestDriverFails: the error of one worker's driver ends Run, with its name.
func TestDriverFails(t *testing.T) {
	set := &broken{memory.New(2, upf4), make(chan struct{})}
	plane, err := New(Config{Set: set, Buffers: 8})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- plane.Run(t.Context()) }()
	if _, err := plane.Install(testRules()); err != nil {
		t.Fatal(err)
	}
	close(set.fail)
	select {
	case err := <-done:
		if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "worker 1") {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run goes on without worker 1")
	}
}

func TestTooManyWorkers(t *testing.T) {
	for _, n := range []int{0, maxWorkers + 1} {
		if _, err := New(Config{Set: memory.New(n, upf4)}); err == nil {
			t.Errorf("%d workers were taken", n)
		}
	}
}
