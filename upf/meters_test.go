package upf

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// fakeMeters are the meters of a plane, as its workers would keep them.
type fakeMeters struct {
	meters map[uint64]map[uint32]*fakeMeter
	last   map[uint64]time.Time // of each session's packets
}

type fakeMeter struct {
	rule    *dataplane.URR
	usage   dataplane.Usage
	used    [2]uint64 // of the quota
	told    bool
	started bool
}

// installed brings the meters in line with r and returns the readings of those that
// are gone.
func (p *fakeMeters) installed(r *dataplane.Rules) (gone []dataplane.Usage) {
	if p.meters == nil {
		p.meters, p.last = map[uint64]map[uint32]*fakeMeter{}, map[uint64]time.Time{}
	}
	now := map[uint32]*fakeMeter{}
	for u := range urrsIn(r) {
		m := p.meters[r.SEID][u.ID]
		if m == nil {
			m = &fakeMeter{usage: dataplane.Usage{URR: u.ID}}
		} else if m.rule.QuotaGrant != u.QuotaGrant {
			m.used, m.told = [2]uint64{}, false
		}
		m.rule = u
		now[u.ID] = m
	}
	for id, m := range p.meters[r.SEID] {
		if now[id] == nil {
			gone = append(gone, m.usage)
		}
	}
	p.meters[r.SEID] = now
	return gone
}

// urrsIn are the URRs that rules of r name.
func urrsIn(r *dataplane.Rules) map[*dataplane.URR]bool {
	urrs := map[*dataplane.URR]bool{}
	for _, d := range slices.Concat(r.Uplink, r.Downlink) {
		for _, u := range d.URRs {
			urrs[u] = true
		}
		if d.MAR != nil {
			for _, u := range slices.Concat(d.MAR.URRs[0], d.MAR.URRs[1]) {
				urrs[u] = true
			}
		}
	}
	return urrs
}

func (p *fakeMeters) answer(qs []dataplane.UsageQuery) []dataplane.UsageAnswer {
	answers := make([]dataplane.UsageAnswer, len(qs))
	for i, q := range qs {
		ids := q.URRs
		if len(ids) == 0 {
			for id := range p.meters[q.SEID] {
				ids = append(ids, id)
			}
		}
		answers[i].LastPacket = p.last[q.SEID]
		for _, id := range ids {
			if m := p.meters[q.SEID][id]; m != nil {
				answers[i].Usages = append(answers[i].Usages, m.usage)
				if q.Reset {
					m.usage = dataplane.Usage{URR: id}
				}
			}
		}
	}
	return answers
}

// traffic has the URR of a session count a packet each way of up and down octets, and
// returns what the worker tells.
func (p *fakePlane) traffic(now time.Time, seid uint64, urr uint32, up, down uint64) (events []dataplane.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[seid] = now
	m := p.meters[seid][urr]
	if m == nil || m.rule.Paused {
		return nil
	}
	u := &m.usage
	if u.First.IsZero() {
		u.First = now
	} else if gap := now.Sub(u.Last); m.rule.Inactive == 0 || gap <= m.rule.Inactive {
		u.Active += gap
	} else {
		m.started = false
	}
	if !m.started && m.rule.Start {
		m.started = true
		events = append(events, dataplane.Event{Kind: dataplane.TrafficStarted, SEID: seid, Usage: *u})
	}
	u.Last = now
	for i, v := range []*dataplane.Volume{&u.Uplink, &u.Downlink} {
		n := []uint64{up, down}[i]
		if n != 0 {
			v.Packets++
		}
		v.Octets += n
		m.used[i] += n
	}
	reached := func(l dataplane.Limit, up, down uint64) bool {
		return l.Total != nil && up+down >= *l.Total || l.Uplink != nil && up >= *l.Uplink || l.Downlink != nil && down >= *l.Downlink
	}
	e := dataplane.Event{Kind: dataplane.UsageReached, SEID: seid, Usage: *u}
	e.Usage.Threshold = reached(m.rule.Threshold, u.Uplink.Octets, u.Downlink.Octets)
	e.Usage.Quota = !m.told && reached(m.rule.Quota, m.used[0], m.used[1])
	if e.Usage.Threshold || e.Usage.Quota {
		m.told = m.told || e.Usage.Quota
		m.usage = dataplane.Usage{URR: urr}
		events = append(events, e)
	}
	return events
}

// reportBench is a server without sockets, on a clock that the test turns, and the CP
// function that its reports go to.
type reportBench struct {
	t     testing.TB
	s     *Server
	plane *fakePlane
	now   time.Time
	sent  []*sentReport
	cause uint8 // that every report is answered with at once, unless it is 0
}

type sentReport struct {
	to   netip.AddrPort
	seid uint64
	size int
	at   time.Time
	ies  []*ie.IE
	wire []byte
	done func(message.Message, error)
}

var smfAddr = netip.MustParseAddrPort("10.100.4.1:8805")

func newReportBench(t testing.TB, more string) *reportBench {
	t.Helper()
	b := newReportBenchWith(t, testConfig+more)
	b.ask(message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)))
	return b
}

// newReportBenchWith is a bench that nobody has an association with yet.
func newReportBenchWith(t testing.TB, config string) *reportBench {
	t.Helper()
	cfg, err := ParseConfig("test.yaml", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	b := &reportBench{t: t, plane: &fakePlane{rules: map[uint64]*dataplane.Rules{}}, now: time.Unix(1_700_000_000, 0), cause: ie.CauseRequestAccepted}
	b.s = newServer(cfg, b.plane, slog.New(slog.DiscardHandler))
	b.s.peerPort = pfcp.Port
	b.s.rep.clock = func() time.Time { return b.now }
	b.s.rep.epoch = time.Time{}
	b.s.rep.refresh()
	b.s.rep.send = b.send
	return b
}

func (b *reportBench) send(to netip.AddrPort, m message.Message, done func(message.Message, error)) error {
	wire := make([]byte, m.MarshalLen())
	if err := m.MarshalTo(wire); err != nil {
		b.t.Fatal(err)
	}
	ies, err := ie.ParseMultiIEs(wire[16:])
	if err != nil {
		b.t.Fatal(err)
	}
	b.sent = append(b.sent, &sentReport{to, m.SEID(), len(wire), b.now, ies, wire, done})
	return nil
}

// ask gives the server a request and returns the answer, as the wire has it.
func (b *reportBench) ask(req message.Message) []*ie.IE {
	b.t.Helper()
	resp := b.s.handle(smfAddr, req)
	wire := make([]byte, resp.MarshalLen())
	if err := resp.MarshalTo(wire); err != nil {
		b.t.Fatal(err)
	}
	off := 8
	if wire[0]&1 != 0 {
		off = 16
	}
	ies, err := ie.ParseMultiIEs(wire[off:])
	if err != nil {
		b.t.Fatal(err)
	}
	return ies
}

func (b *reportBench) accepted(ies []*ie.IE) []*ie.IE {
	b.t.Helper()
	for _, i := range ies {
		if i.Type == ie.Cause && i.Payload[0] == ie.CauseRequestAccepted {
			return ies
		}
	}
	b.t.Fatalf("not accepted: %v", ies)
	return nil
}

// session establishes a session with the URRs, which all its PDRs name.
func (b *reportBench) session(n int, urrs ...*pfcp.URR) uint64 {
	b.t.Helper()
	r := plainSession(uint32(n), fmt.Sprintf("10.60.%d.%d", n/250, n%250+1))
	r.fars[1].Forwarding.OuterHeader.TEID = uint32(n)
	r.urrs = urrs
	for _, u := range urrs {
		for _, d := range r.pdrs {
			d.URRIDs = append(d.URRIDs, u.ID)
		}
	}
	for _, i := range b.accepted(b.ask(establishment(uint64(n), r))) {
		if i.Type == ie.FSEID {
			f, _ := pfcp.ParseFSEID(i)
			return f.SEID
		}
	}
	b.t.Fatal("no F-SEID")
	return 0
}

func (b *reportBench) modify(seid uint64, ies ...*ie.IE) []*ie.IE {
	b.t.Helper()
	return b.accepted(b.ask(message.NewSessionModificationRequest(0, 0, seid, 0, 0, ies...)))
}

func (b *reportBench) traffic(seid uint64, urr uint32, up, down uint64) {
	for _, e := range b.plane.traffic(b.now, seid, urr, up, down) {
		b.s.HandleEvent(e)
	}
}

// step takes steps until nothing is to be done now, and answers what is sent.
func (b *reportBench) step() {
	for answered := 0; ; {
		b.s.mu.Lock()
		wait, more := b.s.step()
		b.s.mu.Unlock()
		for b.cause != 0 && answered < len(b.sent) {
			b.answer(b.sent[answered], b.cause)
			answered++
		}
		if !more || wait > time.Microsecond {
			return
		}
		b.now = b.now.Add(wait)
	}
}

// answer answers a report that has not been yet.
func (b *reportBench) answer(r *sentReport, cause uint8, more ...*ie.IE) {
	if done := r.done; done != nil {
		r.done = nil
		done(message.NewSessionReportResponse(0, 0, 0, 0, 0, append(more, ie.NewCause(cause))...), nil)
	}
}

// run turns the clock for d, with a step at each deadline.
func (b *reportBench) run(d time.Duration) {
	for end := b.now.Add(d); ; {
		b.step()
		b.s.mu.Lock()
		wait, more := b.s.step()
		b.s.mu.Unlock()
		if !more || b.now.Add(wait).After(end) {
			b.now = end
			b.step()
			return
		}
		b.now = b.now.Add(wait)
	}
}

// take returns the reports sent since it was last called.
func (b *reportBench) take() []*sentReport {
	sent := b.sent
	b.sent = nil
	return sent
}

// usage are the usage reports among ies.
func (b *reportBench) usage(ies []*ie.IE) (rs []*pfcp.UsageReport) {
	b.t.Helper()
	for _, i := range ies {
		switch i.Type {
		case ie.UsageReportWithinSessionModificationResponse, ie.UsageReportWithinSessionDeletionResponse, ie.UsageReportWithinSessionReportRequest:
			r, err := pfcp.ParseUsageReport(i)
			if err != nil {
				b.t.Fatal(err)
			}
			rs = append(rs, r)
		}
	}
	return rs
}

// takeUsage are the usage reports sent since take or takeUsage was last called.
func (b *reportBench) takeUsage() (rs []*pfcp.UsageReport) {
	b.t.Helper()
	for _, r := range b.take() {
		rs = append(rs, b.usage(r.ies)...)
	}
	return rs
}
