package upftest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
)

// volume is what usage reports say of a URR.
type volume struct{ up, down, total uint64 }

func (v *volume) add(t *testing.T, reports []*ie.IE, urr uint32) (n int) {
	t.Helper()
	for _, r := range reports {
		id, err := r.URRID()
		if err != nil {
			t.Fatal(err)
		}
		if id != urr {
			continue
		}
		n++
		m, err := r.VolumeMeasurement()
		if err != nil {
			t.Fatalf("report of URR %d: %v", urr, err)
		}
		v.up += m.UplinkVolume
		v.down += m.DownlinkVolume
		v.total += m.TotalVolume
	}
	return n
}

// usage are the usage reports of a session so far.
func (s *session) usage() (all []*ie.IE) {
	for _, r := range s.smf.reported(s) {
		all = append(all, r.UsageReport...)
	}
	return all
}

// of are the reports of a URR.
func of(reports []*ie.IE, urr uint32) (some []*ie.IE) {
	for _, r := range reports {
		if id, err := r.URRID(); err == nil && id == urr {
			some = append(some, r)
		}
	}
	return some
}

// What is reported, by threshold, by the clock and at the end, is in sum what the UE sent
// and got, octet for octet.
func TestUsage(t *testing.T) {
	const threshold, period = 500_000, time.Second
	w := begin(t, "")
	site := serveWeb(w.dn)
	g := w.join(func(r *rules) {
		r.more = append(r.more,
			urr(urrPeriodic, perio, ie.NewMeasurementPeriod(period)),
			urr(urrVolume, volth, ie.NewVolumeThreshold(1, threshold, 0, 0)))
		r.measured(urrPeriodic, urrVolume)
	}, "10.60.0.1")
	begun := time.Now()
	site.transfer(g.host, dnAddr, 4<<20)
	g.ping(g.addrs[0], dnAddr, 10, 84)
	await(t, "three periodic reports", eventTime, func() bool { return len(of(g.session.usage(), urrPeriodic)) >= 3 })
	periods := time.Since(begun)
	if want := 3 * period; periods < want-period/2 || periods > want+want/2 {
		t.Errorf("three periodic reports came within %v, want within %v", periods, want)
	}
	last := g.session.remove().UsageReport
	if len(of(last, urrPeriodic)) != 1 || len(of(last, urrVolume)) != 1 {
		t.Errorf("the answer to the deletion has usage reports %v, want one of each URR", last)
	}
	reports := append(g.session.usage(), last...)
	up, down := g.octets.Load(), g.bearer.octets.Load()
	for _, id := range []uint32{urrPeriodic, urrVolume} {
		var v volume
		n := v.add(t, reports, id)
		t.Logf("URR %d: %d reports, %d octets uplink, %d downlink; the UE counts %d and %d", id, n, v.up, v.down, up, down)
		if v.up != up || v.down != down || v.total != up+down {
			t.Errorf("URR %d: %d octets uplink, %d downlink, %d in all; the UE has sent %d, got %d", id, v.up, v.down, v.total, up, down)
		}
	}
	byThreshold := 0
	for _, r := range of(g.session.usage(), urrVolume) {
		if r.HasVOLTH() {
			byThreshold++
			if m, err := r.VolumeMeasurement(); err != nil || m.TotalVolume < threshold {
				t.Errorf("a report at %d octets (%v), the threshold is %d", m.TotalVolume, err, threshold)
			}
		}
	}
	if want := int(up+down) / threshold; byThreshold > want || byThreshold < want*2/3 {
		t.Errorf("%d reports at the threshold of %d octets, %d were carried", byThreshold, threshold, up+down)
	}
}

// A quota that is used up stops the traffic, the SMF is told, and a new one lets it go on.
func TestQuota(t *testing.T) {
	const quota, octets = 100_000, 1000
	w := begin(t, "")
	g := w.join(func(r *rules) {
		r.more = append(r.more, urr(7, volqu, ie.NewVolumeQuota(1, quota, 0, 0)))
		r.measured(7)
	}, "10.60.0.1")
	server := w.dn.newSink(netip.AddrPortFrom(dnAddr, 0))
	stream := g.open(netip.AddrPortFrom(g.addrs[0], 0), server.local(), octets)
	before := w.upf.counters()
	arrived := 0
	for round := 1; round <= 2; round++ {
		stream.send(2 * quota / octets)
		await(t, "a report of the quota", eventTime, func() bool { return len(of(g.session.usage(), 7)) >= round })
		w.upf.await(before, "n3_received_packets", uint64(stream.sent))
		if n := server.count() - arrived; n < quota/octets-1 || n > quota/octets+1 {
			t.Errorf("quota %d: %d octets arrive, want %d", round, n*octets, quota)
		}
		arrived = server.count()
		r := of(g.session.usage(), 7)[round-1]
		if !r.HasVOLQU() {
			t.Errorf("report %d is not of a quota", round)
		}
		g.session.modify(ie.NewUpdateURR(ie.NewURRID(7), ie.NewVolumeQuota(1, quota, 0, 0)))
	}
	now := w.upf.counters()
	if n := now["drop_quota"] - before["drop_quota"]; n != uint64(stream.sent-arrived) {
		t.Errorf("%d packets are counted as dropped for the quota, %d did not arrive", n, stream.sent-arrived)
	}
	g.ping(g.addrs[0], dnAddr, 3, 84)
}
