package upf

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// flatPlane answers every query at once.
type flatPlane struct {
	fakePlane
	now time.Time
}

func (p *flatPlane) Usage(qs []dataplane.UsageQuery) ([]dataplane.UsageAnswer, error) {
	answers := make([]dataplane.UsageAnswer, len(qs))
	for i, q := range qs {
		us := make([]dataplane.Usage, len(q.URRs))
		for j, id := range q.URRs {
			v := dataplane.Volume{Packets: 10, Octets: 10_000}
			us[j] = dataplane.Usage{URR: id, Uplink: v, Downlink: v, First: p.now, Last: p.now}
		}
		answers[i] = dataplane.UsageAnswer{Usages: us, LastPacket: p.now}
	}
	return answers, nil
}

// BenchmarkPeriodicReports serves 100,000 sessions with two periodic URRs of 30 s each,
// deadlines spread: read, reported, encoded, answered. %core is what 6,667 reports a
// second take of one core.
func BenchmarkPeriodicReports(b *testing.B) {
	const sessions, period = 100_000, 30 * time.Second
	r := newReportBench(b, "braid: {reportRate: 10000}\n")
	plane := &flatPlane{}
	r.s.plane = plane
	type call struct{ done func(message.Message, error) }
	var calls []call
	reports, messages := 0, 0
	r.s.rep.send = func(_ netip.AddrPort, m message.Message, done func(message.Message, error)) error {
		wire := make([]byte, m.MarshalLen())
		if err := m.MarshalTo(wire); err != nil {
			return err
		}
		messages++
		reports += len(m.(*message.SessionReportRequest).UsageReport)
		calls = append(calls, call{done})
		return nil
	}
	urr := func(id uint32) *pfcp.URR {
		u := volumeURR(id, pfcp.TriggerPERIO|pfcp.TriggerVOLTH)
		u.Period, u.Limits.VolumeThreshold, u.Information, u.HasInformation = 30, octets(500_000), pfcp.InfoMNOP, true
		return u
	}
	one, two := urr(1), urr(2)
	node := r.s.nodes[cpNode]
	for n := range sessions {
		sess := &session{seid: uint64(n + 1), cp: cpSessionOf(node.id, pfcp.FSEID{SEID: uint64(n + 1), IPv4: addr(cpNode)})}
		sess.rules.urrs.put(one)
		sess.rules.urrs.put(two)
		r.s.sessions[sess.seid] = sess
		r.now = r.now.Add(period / sessions)
		r.s.rep.refresh()
		r.s.usageInstalled(sess)
	}
	accepted := message.NewSessionReportResponse(0, 0, 0, 0, 0, ie.NewCause(ie.CauseRequestAccepted))
	b.ReportAllocs()
	b.ResetTimer()
	begin, used := r.now, cpuTime(b)
	for reports < b.N {
		r.now = r.now.Add(10 * time.Millisecond)
		plane.now = r.now
		r.s.mu.Lock()
		r.s.step()
		r.s.mu.Unlock()
		for _, c := range calls {
			c.done(accepted, nil)
		}
		calls = calls[:0]
	}
	b.StopTimer()
	used = cpuTime(b) - used
	if r.now.Sub(begin) > period { // every session has had its turn: none may be behind
		if late := time.Duration(r.s.rep.tick - r.s.rep.timers[0].deadline); late > time.Second {
			b.Errorf("%v behind", late)
		}
	}
	b.ReportMetric(float64(reports)/float64(messages), "reports/message")
	b.ReportMetric(float64(used.Nanoseconds())/float64(reports), "cpu-ns/report")
	b.ReportMetric(used.Seconds()/float64(reports)*6667*100, "%core")
}

// cpuTime is what the process has used of its cores: other processes do not count.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
