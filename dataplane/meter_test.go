package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/packet"
)

// event is the next event; there must be one.
func (f *fixture) event() Event {
	f.Helper()
	select {
	case e := <-f.plane.Events():
		return e
	default:
		f.Fatal("no event")
		return Event{}
	}
}

// noEvent checks that there is none.
func (f *fixture) noEvent() {
	f.Helper()
	select {
	case e := <-f.plane.Events():
		f.Fatalf("event %+v, want none", e)
	default:
	}
}

// metered is the test session with one URR on the 3GPP tunnel and on the first UE
// address.
func metered(u *URR) *Rules {
	r := testRules()
	r.Uplink[0].URRs, r.Downlink[0].URRs = []*URR{u}, []*URR{u}
	r.Downlink[0].FAR, r.Downlink[0].MAR = r.Downlink[2].FAR, nil
	return r
}

// up and down bring a packet of n octets to or from the first UE address.
func (f *fixture) up(n int)   { f.n3(gnb, gpdu(teid3GPP, 9, udp(ue1, server, 1, 2, n-28))) }
func (f *fixture) down(n int) { f.n6(udp(server, ue1, 2, 1, n-28)) }

// usage reads the session's meters.
func (f *fixture) usage(reset bool) []Usage {
	f.Helper()
	as, err := f.plane.Usage([]UsageQuery{{SEID: testSEID, Reset: reset}, {SEID: 0xdead}})
	if err != nil {
		f.Fatal(err)
	}
	if len(as) != 2 || len(as[1].Usages) != 0 || !as[1].LastPacket.IsZero() {
		f.Fatalf("answers %+v, want that of a session that is not there to be empty", as)
	}
	return as[0].Usages
}

var ignoreTimes = cmpopts.IgnoreFields(Usage{}, "First", "Last", "Active")

func (f *fixture) same(got, want any) {
	f.Helper()
	if d := cmp.Diff(want, got, ignoreTimes, cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})); d != "" {
		f.Errorf("(-want +got):\n%s", d)
	}
}

func limitOf(total uint64) Limit { return Limit{Total: &total} }

func TestMeter(t *testing.T) {
	f := newFixture(t, 2, metered(&URR{ID: 7}))
	before := time.Now().Add(-time.Duration(stampUnit))
	f.up(100)
	f.up(101)
	f.down(1000)
	f.n3(n3iwf, gpdu(teidNon3GPP, 9, udp(ue2, server, 1, 2, 0))) // of a PDR without the URR
	want := []Usage{{URR: 7, Uplink: Volume{2, 201}, Downlink: Volume{1, 1000}}}
	got := f.usage(false)
	f.same(got, want)
	if u := got[0]; u.First.Before(before) || u.Last.Before(u.First) || u.Last.After(time.Now()) || u.Active != u.Last.Sub(u.First) {
		t.Errorf("first packet %v, last %v, active %v", u.First, u.Last, u.Active)
	}
	f.same(f.usage(true), want)
	f.same(f.usage(false), []Usage{{URR: 7}})
	f.up(50)

	// The count goes on with a new rule set that has the URR, and comes back with one
	// that does not.
	gone, err := f.plane.Install(metered(&URR{ID: 7, Threshold: limitOf(1 << 20)}))
	if err != nil || len(gone) != 0 {
		t.Fatalf("readings %+v, %v; want none", gone, err)
	}
	f.down(60)
	gone, err = f.plane.Install(metered(&URR{ID: 8}))
	if err != nil {
		t.Fatal(err)
	}
	f.same(gone, []Usage{{URR: 7, Uplink: Volume{1, 50}, Downlink: Volume{1, 60}}})
	f.up(70)
	last, err := f.plane.Remove(testSEID)
	if err != nil {
		t.Fatal(err)
	}
	f.same(last, []Usage{{URR: 8, Uplink: Volume{1, 70}}})
	f.noEvent()
}

func TestVolumeThreshold(t *testing.T) {
	up := uint64(300)
	f := newFixture(t, 1, metered(&URR{ID: 7, Threshold: Limit{Uplink: &up}}))
	f.up(200)
	f.down(1500)
	f.noEvent()
	f.up(150)
	f.same(f.event(), Event{Kind: UsageReached, SEID: testSEID, Usage: Usage{
		URR: 7, Uplink: Volume{2, 350}, Downlink: Volume{1, 1500}, Threshold: true,
	}})
	f.same(f.usage(false), []Usage{{URR: 7}})
	f.up(300)
	f.same(f.event().Usage, Usage{URR: 7, Uplink: Volume{1, 300}, Threshold: true})
	f.noEvent()
}

// TestQuota: the packet that reaches it passes, later ones do not, until there is a new
// grant; what else the session counts goes on.
func TestQuota(t *testing.T) {
	u := &URR{ID: 7, Quota: limitOf(250)}
	f := newFixture(t, 1, metered(u))
	f.up(100)
	f.down(150)
	f.same(f.event().Usage, Usage{URR: 7, Uplink: Volume{1, 100}, Downlink: Volume{1, 150}, Quota: true})
	f.sent()
	f.seen = f.plane.Counters()
	f.up(40)
	f.down(40)
	f.nothing()
	f.counted(map[string]uint64{"drop_quota": 2})
	f.noEvent()

	same := *u
	f.install(metered(&same)) // an update of something else grants nothing
	f.up(40)
	f.nothing()
	granted := *u
	granted.QuotaGrant = 1
	f.install(metered(&granted))
	f.up(40)
	f.oneN6()
	f.same(f.usage(false), []Usage{{URR: 7, Uplink: Volume{1, 40}}})
}

// TestQuotaAction: a spent quota may send packets another way in place of dropping them.
func TestQuotaAction(t *testing.T) {
	portal := &FAR{ID: 99, Action: Forward, To: ToCore, OuterHeader: &OuterHeader{TEID: 0x900, Peer: n3iwf}}
	f := newFixture(t, 1, metered(&URR{ID: 7, Quota: limitOf(0), Spent: portal}))
	f.up(100)
	m := f.oneN3()
	if m.Peer != n3iwf {
		t.Errorf("went to %v, want %v", m.Peer, n3iwf)
	}
	if e := f.event(); !e.Usage.Quota {
		t.Errorf("event %+v, want one of a quota", e)
	}
	f.up(100)
	f.oneN3()
	f.noEvent()
}

func TestTrafficStarted(t *testing.T) {
	f := newFixture(t, 1, metered(&URR{ID: 7, Start: true}))
	f.up(100)
	e := f.event()
	if e.Kind != TrafficStarted || e.SEID != testSEID || e.Usage.URR != 7 {
		t.Errorf("event %+v, want traffic started of URR 7", e)
	}
	f.up(100)
	f.noEvent()
	f.same(f.usage(false), []Usage{{URR: 7, Uplink: Volume{2, 200}}})
}

// TestBeforeQER: MBQE counts what gates and rates drop, other URRs do not.
func TestBeforeQER(t *testing.T) {
	r := metered(&URR{ID: 7})
	r.Uplink[0].URRs = append(r.Uplink[0].URRs, &URR{ID: 8, BeforeQER: true}, &URR{ID: 9, Paused: true})
	r.Uplink[0].QERs = []*QER{{ID: 2, GateULClosed: true}}
	f := newFixture(t, 1, r)
	f.up(100)
	f.nothing()
	f.same(f.usage(false), []Usage{{URR: 7}, {URR: 8, Uplink: Volume{1, 100}}, {URR: 9}})
}

// TestEventsLost: what the control side does not take is told again with the next
// packet, and nothing of it is lost.
func TestEventsLost(t *testing.T) {
	f := newFixture(t, 1, metered(&URR{ID: 7, Threshold: limitOf(100)}))
	for range cap(f.plane.events) {
		f.plane.events <- Event{}
	}
	f.up(100)
	for range cap(f.plane.events) {
		<-f.plane.events
	}
	f.noEvent()
	f.up(30)
	f.same(f.event().Usage, Usage{URR: 7, Uplink: Volume{2, 130}, Threshold: true})
}

func TestMeterGaps(t *testing.T) {
	second := proxy.Time(time.Second)
	m := makeMeter(&URR{ID: 1, Inactive: 5 * time.Second})
	for _, at := range []proxy.Time{10, 12, 30, 31, 36} { // gaps of 2, 18, 1 and 5 s
		m.add(at*second, 100, false)
	}
	if m.limits.active != 8*second {
		t.Errorf("time of use %v, want 8 s", time.Duration(m.limits.active))
	}
}

// TestMeteredPathAllocates nothing, with every kind of rule in force.
func TestMeteredPathAllocates(t *testing.T) {
	r := metered(&URR{ID: 7, Threshold: limitOf(1 << 40), Quota: limitOf(1 << 41)})
	q := &QER{ID: 3, MBR: &BitRate{1e9, 1e9}}
	r.Uplink[0].QERs, r.Downlink[0].QERs = []*QER{q}, []*QER{q}
	f := newFixture(t, 1, r)
	w := f.plane.workers[0]
	in := gpdu(teid3GPP, 9, udp(ue1, server, 1, 2, 1000))
	out := udp(server, ue1, 2, 1, 1000)
	dst := packet.AddrFrom(ue1)
	if n := testing.AllocsPerRun(1000, func() {
		b := w.pool.Get()
		b.SetLen(copy(b.Room(), in))
		w.tunnelled(b, w.teids.lookup(teid3GPP), nil, 0, false)
		b = w.pool.Get()
		b.SetLen(copy(b.Room(), out))
		w.downlink(b, w.ues.lookup(&dst), false)
		for _, b := range w.tx.N6 {
			w.pool.Put(b)
		}
		for _, p := range w.tx.N3 {
			w.pool.Put(p.Buf)
		}
		w.tx.Reset()
	}); n != 0 {
		t.Errorf("%v allocations a packet each way", n)
	}
	if m := w.sessions[0].rules.meter(7); m.up.Packets < 1000 || m.down.Packets < 1000 {
		t.Errorf("counted %d and %d packets", m.up.Packets, m.down.Packets)
	}
}
