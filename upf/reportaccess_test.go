package upf

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// accessBench is a server with one multi-access session.
type accessBench struct {
	*reportBench
	seid uint64
}

func newAccessBench(t *testing.T, srrs ...*pfcp.SRR) *accessBench {
	t.Helper()
	b := &accessBench{reportBench: newReportBench(t, "")}
	r := maSession()
	r.srrs = srrs
	for _, i := range b.accepted(b.ask(establishment(1, r))) {
		if i.Type == ie.FSEID {
			f, err := pfcp.ParseFSEID(i)
			if err != nil {
				t.Fatal(err)
			}
			b.seid = f.SEID
		}
	}
	return b
}

// changed has an access change.
func (b *accessBench) changed(a steer.Access, available bool) {
	b.s.rep.noticed(dataplane.Event{Kind: dataplane.AccessChanged, SEID: b.seid, Access: a, Available: available})
}

// reported are the Session Reports sent since it was last called, and the last request's
// Report Type.
func (b *accessBench) reported() (rs []pfcp.SessionReport, kind pfcp.ReportType) {
	b.t.Helper()
	b.step()
	for _, r := range b.take() {
		for _, i := range r.ies {
			switch i.Type {
			case ie.SessionReport:
				one, err := pfcp.ParseSessionReport(i)
				if err != nil {
					b.t.Fatal(err)
				}
				rs = append(rs, *one)
			case ie.ReportType:
				kind = pfcp.ReportType(i.Payload[0])
			}
		}
	}
	return rs, kind
}

var (
	rrca     = &pfcp.SRR{ID: 3, Availability: p(pfcp.RRCA)}
	lost     = pfcp.AccessAvailability{Access: 1}
	returned = pfcp.AccessAvailability{Access: 1, Available: true}
)

func (b *accessBench) wants(what string, want ...pfcp.SessionReport) {
	b.t.Helper()
	got, kind := b.reported()
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("%s: %s", what, diff)
	}
	if len(want) > 0 && kind&pfcp.ReportSESR == 0 {
		b.t.Errorf("%s: Report Type %#x", what, kind)
	}
}

// TestAccessAvailabilityReport: each change of an access is told once, to each SRR that
// asks for it, as long as it does.
func TestAccessAvailabilityReport(t *testing.T) {
	report := func(srr uint8, changes ...pfcp.AccessAvailability) pfcp.SessionReport {
		return pfcp.SessionReport{SRR: srr, Availability: changes}
	}
	b := newAccessBench(t, rrca, &pfcp.SRR{ID: 4})
	b.wants("nothing has changed")
	b.changed(steer.AccessNon3GPP, false)
	b.wants("non-3GPP is lost", report(3, lost))
	b.wants("it is told once")
	b.changed(steer.AccessNon3GPP, true)
	b.changed(steer.Access3GPP, false)
	b.wants("both have changed", report(3, pfcp.AccessAvailability{}, returned))

	b.modify(b.seid, (&pfcp.SRR{ID: 4, Availability: p(pfcp.RRCA)}).IE(ie.UpdateSRR))
	b.changed(steer.AccessNon3GPP, false)
	b.wants("SRR 4 asks too", report(3, lost), report(4, lost))
	b.modify(b.seid, (&pfcp.SRR{ID: 3, Availability: p(uint8(0))}).IE(ie.UpdateSRR))
	b.changed(steer.AccessNon3GPP, true)
	b.wants("SRR 3 has ended it", report(4, returned))
	b.modify(b.seid, ie.NewRemoveSRR(ie.NewSRRID(4)), ie.NewRemoveSRR(ie.NewSRRID(9)))
	b.changed(steer.AccessNon3GPP, false)
	b.wants("SRR 4 is gone")
	b.modify(b.seid, (&pfcp.SRR{ID: 5, Availability: p(pfcp.RRCA)}).IE(ie.CreateSRR))
	b.changed(steer.AccessNon3GPP, true)
	b.wants("SRR 5 is there", report(5, returned))

	b.s.rep.noticed(dataplane.Event{Kind: dataplane.AccessChanged, SEID: b.seid + 1, Access: steer.Access3GPP})
	b.s.rep.noticed(dataplane.Event{Kind: dataplane.AccessChanged, SEID: b.seid, Access: 2})
	b.wants("of no session, and of no access")
}

// TestAccessReportUnanswered: what has found no answer is told again, as it is by then;
// and not at all when nobody asks for it any more.
func TestAccessReportUnanswered(t *testing.T) {
	b := newAccessBench(t, rrca)
	b.cause = 0 // no answers
	b.changed(steer.AccessNon3GPP, false)
	b.changed(steer.Access3GPP, false)
	b.step()
	first := b.sent[0]
	b.changed(steer.AccessNon3GPP, true)
	b.step()
	if n := len(b.sent); n != 1 {
		t.Fatalf("%d requests are under way", n)
	}
	b.take()
	first.done(nil, pfcp.ErrTimeout)
	b.wants("both again, as they are now", pfcp.SessionReport{SRR: 3, Availability: []pfcp.AccessAvailability{{}, returned}})

	c := newAccessBench(t, rrca)
	c.cause = 0
	c.changed(steer.AccessNon3GPP, false)
	c.step()
	under := c.sent[0]
	c.changed(steer.AccessNon3GPP, true)
	c.take()
	c.cause = ie.CauseRequestAccepted
	c.modify(c.seid, ie.NewRemoveSRR(ie.NewSRRID(3)))
	under.done(nil, pfcp.ErrTimeout)
	c.run(2 * time.Duration(retryAfter))
	if rs, _ := c.reported(); len(rs) != 0 || len(c.sent) != 0 {
		t.Errorf("reported %+v, and %d requests", rs, len(c.sent))
	}
}
