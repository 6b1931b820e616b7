package upftest

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/internal/ran"
	"github.com/braid-upf/braid/pfcp"
)

// idle is the Update FAR that has the UPF keep packets and tell the SMF, as free5GC's
// sends it when the UE goes idle.
func idle() *ie.IE {
	return (&pfcp.FAR{ID: farDown, ApplyAction: p(pfcp.ActionBUFF | pfcp.ActionNOCP)}).IE(ie.UpdateFAR)
}

// An idle UE's packets wait, the SMF is told of the first, and all of them arrive, in
// order and before those that come later, once the UE is back.
func TestIdle(t *testing.T) {
	w := begin(t, "buffer: 10000")
	g := w.join(nil, "10.60.0.1")
	sink := g.newSink(netip.MustParseAddrPort("10.60.0.1:5000"))
	stream := w.dn.open(netip.AddrPortFrom(dnAddr, 0), sink.local(), 200)
	stream.send(1)
	await(t, "the packet before", eventTime, func() bool { return sink.count() == 1 })
	for round := 1; round <= 2; round++ {
		g.session.modify(idle())
		before, arrived := w.upf.counters(), sink.count()
		stream.start(2e6)
		w.upf.await(before, "held_packets", 100)
		reports := w.smf.reported(g.session)
		await(t, "a downlink data report", eventTime, func() bool {
			reports = w.smf.reported(g.session)
			return len(reports) >= round
		})
		if n := sink.count(); n != arrived {
			t.Errorf("%d packets came to an idle UE", n-arrived)
		}
		g.session.modify(g.toGNB(w.gnb[0]))
		time.Sleep(50 * time.Millisecond) // packets that go straight through follow those that waited
		stream.finish()
		await(t, "all packets", eventTime, func() bool { return sink.count() >= stream.sent })
		reports = w.smf.reported(g.session)
		if len(reports) != round {
			t.Fatalf("%d reports, want %d", len(reports), round)
		}
		r := reports[round-1]
		if !r.ReportType.HasDLDR() || r.DownlinkDataReport == nil {
			t.Fatalf("report %+v: want a downlink data report", r)
		}
		if id, err := r.DownlinkDataReport.PDRID(); err != nil || id != pdrDown {
			t.Errorf("the report is of PDR %d (%v), want %d", id, err, pdrDown)
		}
	}
	lost, twice, late := sink.faults(stream.sent)
	t.Logf("%d packets: %d lost, %d twice, %d out of order", stream.sent, lost, twice, late)
	if lost+twice+late != 0 {
		t.Errorf("of %d packets %d were lost, %d came twice, %d out of order", stream.sent, lost, twice, late)
	}
}

// A BAR bounds what waits: the first packets are kept, those beyond are dropped and counted.
func TestIdleBound(t *testing.T) {
	const keep, sent = 10, 30
	w := begin(t, "")
	g := w.join(func(r *rules) {
		r.more = append(r.more, (&pfcp.BAR{ID: 1, Packets: p(uint8(keep))}).IE(ie.CreateBAR))
		r.fars[1].BARID = p(uint8(1))
	}, "10.60.0.1")
	sink := g.newSink(netip.MustParseAddrPort("10.60.0.1:5000"))
	stream := w.dn.open(netip.AddrPortFrom(dnAddr, 0), sink.local(), 200)
	g.session.modify(idle())
	before := w.upf.counters()
	stream.send(sent)
	w.upf.await(before, "n6_received_packets", sent)
	w.upf.counted(before, map[string]uint64{"held_packets": keep, "drop_held_full": sent - keep})
	g.session.modify(g.toGNB(w.gnb[0]))
	await(t, "what waited", eventTime, func() bool { return sink.count() == keep })
	for i, a := range sink.taken() {
		if a.number != uint32(i) {
			t.Errorf("packet %d is number %d", i, a.number)
		}
	}
}

// A path switch under load: every packet leaves to one of the gNBs, in order, those for
// the old one before an End Marker and none behind it; uplink packets come from both.
func TestHandover(t *testing.T) {
	w := begin(t, "")
	g := w.join(nil, "10.60.0.1")
	var mu sync.Mutex
	var got [2][]uint32 // numbers of the packets at each gNB
	at := func(i int) func(*ran.Message, []byte) {
		return func(_ *ran.Message, p []byte) {
			mu.Lock()
			got[i] = append(got[i], binary.BigEndian.Uint32(p[28:]))
			mu.Unlock()
		}
	}
	const newTEID = 0x2f01
	oldEnd, newEnd := w.gnb[0].bearer(g.down, at(0)), w.gnb[1].bearer(newTEID, at(1))
	up := w.dn.newSink(netip.AddrPortFrom(dnAddr, 0))
	upStream := g.open(netip.MustParseAddrPort("10.60.0.1:5001"), up.local(), 500)
	down := w.dn.open(netip.AddrPortFrom(dnAddr, 0), netip.MustParseAddrPort("10.60.0.1:5000"), 500)
	down.start(20e6)
	upStream.start(20e6)
	await(t, "packets at the first gNB", eventTime, func() bool { return oldEnd.packets.Load() > 1000 })
	tunnel := g.up
	tunnel.gnb = w.gnb[1]
	g.uplink.Store(&tunnel)
	far := toGNB(farDown, gnbAddr[1], newTEID)
	far.Forwarding.EndMarker = true
	g.session.modify(far.IE(ie.UpdateFAR))
	await(t, "packets at the second gNB", eventTime, func() bool { return newEnd.packets.Load() > 1000 })
	down.finish()
	upStream.finish()
	await(t, "all packets", eventTime, func() bool {
		return oldEnd.packets.Load()+newEnd.packets.Load() >= uint64(down.sent) && up.count() >= upStream.sent
	})
	mu.Lock()
	defer mu.Unlock()
	all := slices.Concat(got[0], got[1])
	for i, n := range all {
		if n != uint32(i) {
			t.Fatalf("packet %d of those that went first to the old gNB (%d), then to the new (%d) is number %d", i, len(got[0]), len(got[1]), n)
		}
	}
	if n, late := oldEnd.endMarkers.Load(), oldEnd.late.Load(); n != 1 || late != 0 || newEnd.endMarkers.Load() != 0 {
		t.Errorf("%d End Markers at the old gNB with %d packets behind them, %d at the new; want 1, 0, 0", n, late, newEnd.endMarkers.Load())
	}
	lost, twice, _ := up.faults(upStream.sent)
	if lost+twice != 0 {
		t.Errorf("uplink: %d lost, %d twice", lost, twice)
	}
	t.Logf("downlink: %d packets to the old gNB, %d to the new, none lost; uplink: %d, none lost", len(got[0]), len(got[1]), upStream.sent)
}
