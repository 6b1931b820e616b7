package upf

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// nextLife saves the server's state and gives the bench a new server, with a new plane,
// that restores it after the UPF was away for some time.
func (b *reportBench) nextLife(away time.Duration) {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "state")
	if err := b.s.save(file); err != nil {
		b.t.Fatal(err)
	}
	b.now = b.now.Add(away)
	b.plane = &fakePlane{rules: map[uint64]*dataplane.Rules{}}
	s := newServer(b.s.cfg, b.plane, slog.New(slog.DiscardHandler))
	s.peerPort = pfcp.Port
	s.rep.clock = func() time.Time { return b.now }
	s.rep.epoch = time.Time{}
	s.rep.refresh()
	s.rep.send = b.send
	b.s = s
	s.restore(file)
}

// stateReportBench is a reportBench whose server has a state file.
func stateReportBench(t *testing.T) *reportBench {
	b := newReportBench(t, "")
	b.s.cfg.Braid.State = "as nextLife says"
	return b
}

// TestUsageOverRestart: what was counted before a restart is reported after it: the
// reports add up, with no UR-SEQN twice and no time left out.
func TestUsageOverRestart(t *testing.T) {
	b := stateReportBench(t)
	u := thresholdURR(1, 1000)
	u.Triggers |= pfcp.TriggerPERIO
	u.Period, u.Method = 30, pfcp.MethodVolume|pfcp.MethodDuration
	seid := b.session(1, u)
	quiet := b.session(2, volumeURR(7, 0))
	var counted, told uint64
	traffic := func(n uint64) {
		b.traffic(seid, 1, n, 0)
		counted += n
	}
	var all []*pfcp.UsageReport
	take := func() {
		for _, r := range b.takeUsage() {
			told += r.Volume.Uplink
			all = append(all, r)
		}
	}
	traffic(1200) // reported and acknowledged
	b.run(10 * time.Second)
	take()
	b.cause = 0
	traffic(1300) // reported, and never acknowledged
	b.step()
	lost := b.take()[0]
	traffic(1400) // waits behind that
	b.step()
	b.now = b.now.Add(time.Second)
	traffic(50) // in the worker's meter
	b.traffic(quiet, 7, 5, 6)
	b.cause = ie.CauseRequestAccepted
	b.nextLife(5 * time.Second)
	traffic(60)
	b.step()
	again := b.take()
	if len(again) != 1 {
		t.Fatalf("%d messages after the restart", len(again))
	}
	b.want(b.usage(again[0].ies), "1#1 0x2 1300+0 10s", "1#2 0x2 1400+0 0s")
	if was := b.usage(lost.ies)[0]; was.Sequence != 1 {
		t.Fatalf("UR-SEQN %d was on its way", was.Sequence)
	}
	for _, r := range b.usage(again[0].ies) {
		told += r.Volume.Uplink
		all = append(all, r)
	}
	b.run(15 * time.Second) // the period goes on: it is 30 s since the session was established
	take()
	b.run(time.Second)
	ies := b.accepted(b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0)))
	for _, r := range b.usage(ies) {
		told += r.Volume.Uplink
		all = append(all, r)
	}
	if told != counted {
		t.Errorf("%d octets were counted, %d told", counted, told)
	}
	for i, r := range all {
		if r.Sequence != uint32(i) {
			t.Errorf("report %d has UR-SEQN %d", i, r.Sequence)
		}
		if i > 0 && !r.Start.Equal(all[i-1].End) {
			t.Errorf("report %d begins at %v, the one before it ended at %v", i, r.Start, all[i-1].End)
		}
	}
	if len(all) != 5 || all[3].Trigger != pfcp.ReportPERIO || all[3].Volume.Uplink != 110 {
		t.Errorf("%d reports, the periodic one is %+v", len(all), all[3])
	}
	b.want(b.usage(b.accepted(b.ask(message.NewSessionDeletionRequest(0, 0, quiet, 0, 0)))), "7#0 0x800 5+6")
}

// TestQuotaOverRestart: what a quota has left, it has left after a restart.
func TestQuotaOverRestart(t *testing.T) {
	quota := func() *pfcp.URR {
		u := volumeURR(1, pfcp.TriggerVOLQU)
		u.Limits.VolumeQuota = octets(1000)
		return u
	}
	t.Run("volume", func(t *testing.T) {
		b := stateReportBench(t)
		seid := b.session(1, quota())
		b.traffic(seid, 1, 300, 0)
		b.modify(seid, ie.NewQueryURR(ie.NewURRID(1))) // a reading in between
		b.traffic(seid, 1, 100, 0)
		b.nextLife(time.Second)
		if got := b.plane.of(seid).Uplink[0].URRs[0].Quota.Total; *got != 600 {
			t.Fatalf("%d octets are left, want 600", *got)
		}
		b.traffic(seid, 1, 600, 0)
		b.step()
		b.want(b.takeUsage(), "1#1 0x100 700+0")
	})
	t.Run("volume, granted again", func(t *testing.T) {
		b := stateReportBench(t)
		seid := b.session(1, quota())
		b.traffic(seid, 1, 300, 0)
		up := &pfcp.URR{ID: 1, Limits: pfcp.Limits{VolumeQuota: octets(2000)}}
		b.modify(seid, up.IE(ie.UpdateURR))
		b.traffic(seid, 1, 400, 0)
		b.nextLife(time.Second)
		if got := b.plane.of(seid).Uplink[0].URRs[0].Quota.Total; *got != 1600 {
			t.Errorf("%d octets are left, want 1600", *got)
		}
	})
	t.Run("time", func(t *testing.T) {
		b := stateReportBench(t)
		u := &pfcp.URR{ID: 1, Method: pfcp.MethodDuration, Triggers: pfcp.TriggerTIMQU, HasTriggers: true, Information: pfcp.InfoISTM, HasInformation: true}
		u.Limits.TimeQuota = p(uint32(60))
		seid := b.session(1, u)
		b.run(40 * time.Second)
		b.nextLife(time.Hour)
		b.run(19 * time.Second)
		b.want(b.takeUsage())
		b.run(2 * time.Second)
		if r := b.takeUsage(); len(r) != 1 || r[0].Trigger != pfcp.ReportTIMQU || *r[0].Duration != 60*time.Second {
			t.Fatalf("%+v", r)
		}
		spent := func() bool { return *b.plane.of(seid).Uplink[0].URRs[0].Quota.Total == 0 }
		if !spent() {
			t.Fatal("the quota is not spent")
		}
		b.nextLife(time.Second)
		if !spent() {
			t.Error("the quota is not spent after another restart")
		}
		b.run(time.Hour)
		b.want(b.takeUsage())
	})
}

// TestMonitoringOverRestart: usage before the Monitoring Time stays apart.
func TestMonitoringOverRestart(t *testing.T) {
	b := stateReportBench(t)
	u := thresholdURR(1, 1000)
	u.More = &pfcp.URRMore{Monitoring: b.now.Add(10 * time.Second)}
	seid := b.session(1, u)
	b.traffic(seid, 1, 400, 0)
	b.run(11 * time.Second)
	b.traffic(seid, 1, 70, 0)
	b.nextLife(time.Second)
	b.traffic(seid, 1, 8, 0)
	b.want(b.usage(b.accepted(b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0)))), "1#0 0x1000 400+0", "1#1 0x800 78+0")
}

// TestSessionOverRestart: what is the session's beside its rules and its usage.
func TestSessionOverRestart(t *testing.T) {
	b := stateReportBench(t)
	req := establishment(1, plainSession(1, "10.60.0.9"))
	network := pfcp.Network{DNN: "internet", SST: 2, SD: "010203", HasSlice: true}
	for _, i := range append(network.IEs(), pfcp.InactivityTimerIE(time.Minute)) {
		switch i.Type {
		case ie.APNDNN:
			req.APNDNN = i
		case ie.SNSSAI:
			req.SNSSAI = i
		default:
			req.UserPlaneInactivityTimer = i
		}
	}
	b.accepted(b.ask(req))
	b.run(50 * time.Second)
	b.nextLife(time.Second)
	for _, sess := range b.s.sessions {
		if sess.rules.network != network {
			t.Errorf("network %+v, want %+v", sess.rules.network, network)
		}
	}
	b.run(61 * time.Second)
	sent := b.take()
	if len(sent) != 1 || sent[0].ies[0].Payload[0] != byte(pfcp.ReportUPIR) {
		t.Errorf("%d messages, want one of inactivity", len(sent))
	}
}
