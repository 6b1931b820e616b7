package upf

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// volumeURR is a URR of volume that reports for the triggers.
func volumeURR(id uint32, t pfcp.Triggers) *pfcp.URR {
	return &pfcp.URR{ID: id, Method: pfcp.MethodVolume, Triggers: t, HasTriggers: true}
}

func octets(n uint64) *pfcp.Volumes { return &pfcp.Volumes{Total: &n} }

// line is a usage report in a line: URR, UR-SEQN, triggers, octets each way, seconds.
func line(r *pfcp.UsageReport) string {
	s := fmt.Sprintf("%d#%d %#x", r.URR, r.Sequence, uint32(r.Trigger))
	if r.Volume != nil {
		s += fmt.Sprintf(" %d+%d", r.Volume.Uplink, r.Volume.Downlink)
	}
	if r.Duration != nil {
		s += fmt.Sprintf(" %v", *r.Duration)
	}
	return s
}

func lines(rs []*pfcp.UsageReport) (ls []string) {
	for _, r := range rs {
		ls = append(ls, line(r))
	}
	return ls
}

func (b *reportBench) want(rs []*pfcp.UsageReport, want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, lines(rs)); diff != "" {
		b.t.Errorf("at %v: %s", b.now.Sub(time.Unix(1_700_000_000, 0)), diff)
	}
}

// TestVolumeThreshold: each time that the threshold is reached there is a report with
// what was counted since the last, in order, to the CP function's SEID.
func TestVolumeThreshold(t *testing.T) {
	b := newReportBench(t, "")
	u := volumeURR(1, pfcp.TriggerVOLTH)
	u.Limits.VolumeThreshold, u.Information, u.HasInformation = octets(1000), pfcp.InfoMNOP, true
	seid := b.session(7, u)
	b.run(time.Second)
	b.traffic(seid, 1, 400, 300)
	b.run(time.Second)
	b.want(b.takeUsage())
	b.traffic(seid, 1, 0, 600)
	b.run(time.Second)
	sent := b.take()
	if len(sent) != 1 || sent[0].seid != 7 || sent[0].to != smfAddr || sent[0].ies[0].Payload[0] != byte(pfcp.ReportUSAR) {
		t.Fatalf("%d reports: %+v", len(sent), sent)
	}
	r := b.usage(sent[0].ies)
	b.want(r, "1#0 0x2 400+900")
	start := time.Unix(1_700_000_000, 0)
	if v := r[0].Volume; !v.HasPackets || v.UplinkPackets != 1 || v.DownlinkPackets != 2 {
		t.Errorf("packets %+v", v)
	}
	if !r[0].Start.Equal(start) || !r[0].End.Equal(start.Add(2*time.Second)) || !r[0].First.Equal(start.Add(time.Second)) || !r[0].Last.Equal(r[0].End) {
		t.Errorf("times %+v", r[0])
	}
	// A modification in between does not touch the count: what remains decides.
	b.traffic(seid, 1, 500, 0)
	b.modify(seid, (&pfcp.URR{ID: 1, Limits: pfcp.Limits{VolumeThreshold: octets(600)}, QuotaValidity: 1}).IE(ie.UpdateURR))
	b.traffic(seid, 1, 100, 0)
	b.run(time.Second)
	b.want(b.takeUsage(), "1#1 0x2 600+0")
}

// TestPeriodic: reports come at the period, empty ones too, and sessions keep the
// times that they began with.
func TestPeriodic(t *testing.T) {
	b := newReportBench(t, "")
	u := volumeURR(1, pfcp.TriggerPERIO|pfcp.TriggerVOLTH)
	u.Period, u.Method, u.Information, u.HasInformation = 30, pfcp.MethodVolume|pfcp.MethodDuration, pfcp.InfoISTM, true
	one := b.session(1, u)
	b.run(10 * time.Second)
	b.session(2, u)
	b.traffic(one, 1, 10, 20)
	b.run(31 * time.Second)
	sent := b.take()
	if len(sent) != 2 || sent[0].seid != 1 || sent[1].seid != 2 || sent[1].at.Sub(sent[0].at) != 10*time.Second {
		t.Fatalf("%d reports", len(sent))
	}
	b.want(b.usage(sent[0].ies), "1#0 0x1 10+20 30s")
	b.want(b.usage(sent[1].ies), "1#0 0x1 0+0 30s")
	b.modify(one, (&pfcp.URR{ID: 1, Period: 5}).IE(ie.UpdateURR))
	b.run(4 * time.Second)
	b.want(b.takeUsage())
	b.run(6 * time.Second)
	b.want(b.takeUsage(), "1#1 0x1 0+0 16s", "1#2 0x1 0+0 5s")
	b.modify(one, (&pfcp.URR{ID: 1, Triggers: pfcp.TriggerVOLTH, HasTriggers: true}).IE(ie.UpdateURR))
	b.run(time.Minute)
	for _, r := range b.take() {
		if r.seid == 1 {
			t.Error("a periodic report without the trigger")
		}
	}
}

// TestTimeThreshold: time runs from the first packet, or from the start with ISTM, or
// without the gaps where there is an Inactivity Detection Time.
func TestTimeThreshold(t *testing.T) {
	for _, tc := range []struct {
		name     string
		info     pfcp.Information
		inactive uint32
		first    time.Duration
	}{
		{"from the first packet", 0, 0, 24 * time.Second},
		{"from the start", pfcp.InfoISTM, 0, 20 * time.Second},
		{"without gaps", 0, 2, 28 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newReportBench(t, "")
			u := &pfcp.URR{ID: 1, Method: pfcp.MethodDuration, Triggers: pfcp.TriggerTIMTH, HasTriggers: true, Information: tc.info, HasInformation: true, Inactivity: tc.inactive}
			u.Limits.TimeThreshold = 20
			seid := b.session(1, u)
			begin := b.now
			b.run(4 * time.Second)
			for i := 0; len(b.sent) == 0 && i < 400; i++ {
				if s := b.now.Sub(begin); s < 10*time.Second || s > 14*time.Second {
					b.traffic(seid, 1, 1, 0)
				}
				b.run(100 * time.Millisecond)
			}
			if len(b.sent) == 0 {
				t.Fatal("no report")
			}
			if at := b.sent[0].at.Sub(begin); at < tc.first || at > tc.first+time.Second {
				t.Errorf("report after %v, want %v", at, tc.first)
			}
			b.want(b.takeUsage(), "1#0 0x4 20s")
		})
	}
}

// TestQuotas: each quota that runs out is reported, and what is not a matter of volume
// has the worker let nothing more pass until there is a new one.
func TestQuotas(t *testing.T) {
	quota := func(f func(*pfcp.URR)) *pfcp.URR {
		u := volumeURR(1, pfcp.TriggerVOLQU|pfcp.TriggerTIMQU|pfcp.TriggerQUHTI|pfcp.TriggerQUVTI|pfcp.TriggerEVEQU|pfcp.TriggerEVETH)
		u.More = &pfcp.URRMore{QuotaFAR: p(uint32(2))}
		f(u)
		return u
	}
	for _, tc := range []struct {
		name  string
		urr   *pfcp.URR
		want  string
		spent bool
	}{
		{"volume", quota(func(u *pfcp.URR) { u.Limits.VolumeQuota = octets(30) }), "1#0 0x100 30+0", false},
		{"time", quota(func(u *pfcp.URR) { u.Limits.TimeQuota = p(uint32(5)) }), "1#0 0x200 50+0", true},
		{"holding time", quota(func(u *pfcp.URR) { u.Limits.VolumeQuota, u.QuotaHolding = octets(1<<40), 7 }), "1#0 0x8 100+0", true},
		{"validity time", quota(func(u *pfcp.URR) { u.Limits.VolumeQuota, u.QuotaValidity = octets(1<<40), 8 }), "1#0 0x80000 80+0", false},
		{"events", quota(func(u *pfcp.URR) { u.Limits.EventQuota = p(uint32(1)) }), "1#0 0x10000 10+0", true},
		{"threshold of events", quota(func(u *pfcp.URR) { u.Limits.EventThreshold = 1 }), "1#0 0x8000 10+0", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newReportBench(t, "")
			seid := b.session(1, tc.urr)
			installed := func() (q *uint64, far uint32) {
				for u := range urrsIn(b.plane.of(seid)) {
					return u.Quota.Total, u.Spent.ID
				}
				t.Fatal("no URR in the plane")
				return nil, 0
			}
			for range 10 {
				b.traffic(seid, 1, 10, 0)
				b.run(time.Second)
			}
			b.run(10 * time.Second)
			reports := b.takeUsage()
			if len(reports) == 0 {
				t.Fatal("no report")
			}
			b.want(reports[:1], tc.want)
			q, far := installed()
			if spent := q != nil && *q == 0; spent != tc.spent || far != 2 {
				t.Errorf("spent %v, FAR %d, want %v and 2", spent, far, tc.spent)
			}
			b.modify(seid, (&pfcp.URR{ID: 1, Limits: pfcp.Limits{VolumeQuota: octets(50), TimeQuota: p(uint32(5))}}).IE(ie.UpdateURR))
			if q, _ := installed(); q == nil || *q != 50 {
				t.Error("the new quota is not in the plane")
			}
		})
	}
}

// TestValidityWithoutQuota: free5GC's SMF sends a validity time where there is no
// quota; nothing comes of it.
func TestValidityWithoutQuota(t *testing.T) {
	b := newReportBench(t, "")
	seid := b.session(1, volumeURR(1, pfcp.TriggerVOLTH|pfcp.TriggerQUVTI))
	b.modify(seid, (&pfcp.URR{ID: 1, QuotaValidity: 1}).IE(ie.UpdateURR))
	b.traffic(seid, 1, 10, 0)
	b.run(time.Minute)
	b.want(b.takeUsage())
}

// TestMonitoringTime: usage before it and after it is told apart, with and without
// limits of its own behind it.
func TestMonitoringTime(t *testing.T) {
	for _, tc := range []struct {
		name       string
		subsequent *pfcp.Limits
		after      string
	}{
		{"subsequent threshold", &pfcp.Limits{VolumeThreshold: octets(500)}, "1#1 0x2 500+0"},
		{"what remains", nil, "1#1 0x2 600+0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newReportBench(t, "")
			u := volumeURR(1, pfcp.TriggerVOLTH)
			u.Limits.VolumeThreshold, u.More = octets(1000), &pfcp.URRMore{Subsequent: tc.subsequent, Monitoring: b.now.Add(10 * time.Second)}
			seid := b.session(1, u)
			b.traffic(seid, 1, 400, 0)
			b.run(11 * time.Second)
			for range 12 {
				b.want(b.takeUsage())
				b.traffic(seid, 1, 50, 0)
				if b.step(); len(b.sent) > 0 {
					break
				}
			}
			r := b.takeUsage()
			b.want(r, "1#0 0x1000 400+0", tc.after)
			if r[0].Usage != pfcp.UsageBeforeMonitoring || r[1].Usage != pfcp.UsageAfterMonitoring || r[0].End.Unix() != u.More.Monitoring.Unix() || !r[1].Start.Equal(r[0].End) {
				t.Errorf("%+v, %+v", r[0], r[1])
			}
		})
	}
}

// TestStartStop: the start and the stop of traffic are reported, each time.
func TestStartStop(t *testing.T) {
	b := newReportBench(t, "")
	u := &pfcp.URR{ID: 1, Method: pfcp.MethodEvent, Triggers: pfcp.TriggerSTART | pfcp.TriggerSTOPT, HasTriggers: true, Inactivity: 5}
	seid := b.session(1, u)
	b.run(time.Minute)
	b.want(b.takeUsage())
	for i := range 2 {
		for range 10 {
			b.traffic(seid, 1, 1, 1)
			b.run(time.Second)
		}
		begin := b.now
		start := b.takeUsage()
		b.want(start, fmt.Sprintf("1#%d 0x10", 2*i))
		if len(start[0].Events) != 1 || !start[0].Start.IsZero() {
			t.Errorf("%+v", start[0])
		}
		b.run(10 * time.Second)
		if at := b.sent[0].at.Sub(begin); at < 3*time.Second || at > 5*time.Second {
			t.Errorf("stop of traffic told %v after the last packet", at+time.Second)
		}
		b.want(b.takeUsage(), fmt.Sprintf("1#%d 0x20", 2*i+1))
	}
}

// TestLinked: a URR reports with the one that it is linked to, in one message.
func TestLinked(t *testing.T) {
	b := newReportBench(t, "")
	one, two, three := volumeURR(1, pfcp.TriggerVOLTH), volumeURR(2, pfcp.TriggerLIUSA), volumeURR(3, pfcp.TriggerPERIO|pfcp.TriggerLIUSA)
	one.Limits.VolumeThreshold = octets(100)
	two.More, three.More, three.Period = &pfcp.URRMore{Linked: []uint32{1, 3}}, &pfcp.URRMore{Linked: []uint32{2}}, 30
	seid := b.session(1, one, two, three)
	b.traffic(seid, 2, 7, 0)
	b.traffic(seid, 1, 100, 0)
	b.step()
	if len(b.sent) != 1 {
		t.Fatalf("%d messages", len(b.sent))
	}
	b.want(b.takeUsage(), "1#0 0x2 100+0", "2#0 0x400 7+0", "3#0 0x400 0+0")
	b.traffic(seid, 2, 8, 0)
	b.run(30 * time.Second)
	b.want(b.takeUsage(), "3#1 0x1 0+0", "2#1 0x400 8+0")
}

// TestInactiveMeasurement: with INAM nothing counts, time neither.
func TestInactiveMeasurement(t *testing.T) {
	b := newReportBench(t, "")
	u := &pfcp.URR{ID: 1, Method: pfcp.MethodDuration | pfcp.MethodVolume, Triggers: pfcp.TriggerVOLTH, HasTriggers: true, Information: pfcp.InfoISTM, HasInformation: true}
	seid := b.session(1, u)
	b.traffic(seid, 1, 5, 0)
	b.run(10 * time.Second)
	b.modify(seid, (&pfcp.URR{ID: 1, Information: pfcp.InfoISTM | pfcp.InfoINAM, HasInformation: true}).IE(ie.UpdateURR))
	b.traffic(seid, 1, 50, 0)
	b.run(100 * time.Second)
	b.modify(seid, (&pfcp.URR{ID: 1, Information: pfcp.InfoISTM, HasInformation: true}).IE(ie.UpdateURR))
	b.traffic(seid, 1, 6, 0)
	b.run(time.Second)
	b.want(b.usage(b.modify(seid, ie.NewQueryURR(ie.NewURRID(1)))), "1#0 0x80 11+0 11s")
}

// TestUserPlaneInactivity: a session that falls idle is reported, once each time.
func TestUserPlaneInactivity(t *testing.T) {
	b := newReportBench(t, "")
	seid := b.session(1)
	timer := func(n byte) *ie.IE { return ie.New(ie.UserPlaneInactivityTimer, []byte{0, 0, 0, n}) }
	b.modify(seid, timer(20))
	for round := range 2 {
		b.run(10 * time.Second)
		b.traffic(seid, 1, 1, 1)
		last := b.now
		b.run(80 * time.Second)
		sent := b.take()
		if len(sent) != 1 || len(sent[0].ies) != 1 || sent[0].ies[0].Payload[0] != byte(pfcp.ReportUPIR) {
			t.Fatalf("round %d: %d reports", round, len(sent))
		}
		if after := sent[0].at.Sub(last); after != 20*time.Second {
			t.Errorf("round %d: report %v after the last packet", round, after)
		}
	}
	b.modify(seid, timer(0))
	b.traffic(seid, 1, 1, 1)
	b.run(time.Hour)
	if sent := b.take(); len(sent) != 0 {
		t.Errorf("%d reports without a timer", len(sent))
	}
}
