package upf

import (
	"slices"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// usageModified is what a Session Modification Response says of usage (TS 29.244
// §5.2.2.3.1, Table 7.5.5.2-1): final reports of the URRs that are gone or that no PDR
// names any more, whose last readings are last; reports at once of those that the
// request asks for. before are the rules of before. What takes more than room octets
// follows in Session Report Requests.
func (s *Server) usageModified(sess *session, before ruleSet, m *message.SessionModificationRequest, last []dataplane.Usage, room int) []*ie.IE {
	su := sess.usage
	if su == nil {
		s.usageInstalled(sess)
		return nil
	}
	var reports []queuedReport
	for i := range su.meters {
		meter := &su.meters[i]
		at := slices.IndexFunc(last, func(u dataplane.Usage) bool { return u.URR == meter.urr })
		if at < 0 && su.rule(meter) != nil {
			continue
		}
		usage := &dataplane.Usage{URR: meter.urr}
		if at >= 0 {
			usage = &last[at]
		}
		reports = append(reports, s.final(su, meter, before.urrs.get(meter.urr), usage)...)
	}
	reports = append(reports, s.queried(su, m)...)
	ies := s.respond(su, reports, ie.UsageReportWithinSessionModificationResponse, room)
	s.usageInstalled(sess)
	return ies
}

// usageDeleted is what a Session Deletion Response says of usage (Table 7.5.7.2-1):
// the final reports of all URRs, with what has waited to be sent.
func (s *Server) usageDeleted(sess *session, last []dataplane.Usage, room int) []*ie.IE {
	su := sess.usage
	if su == nil {
		return nil
	}
	var reports []queuedReport
	for i := range su.meters {
		m := &su.meters[i]
		a := dataplane.UsageAnswer{Usages: last}
		reports = append(reports, s.final(su, m, su.rule(m), usageIn(&a, m.urr))...)
	}
	su.out.next = nil
	ies := s.respond(su, reports, ie.UsageReportWithinSessionDeletionResponse, room)
	s.enqueue(su)
	return ies
}

// final are the last reports of a URR: what its meter has counted, together with what
// has waited to be sent for the first time; and, as they are, those that have been sent
// and not answered.
func (s *Server) final(su *sessionUsage, m *meter, u *pfcp.URR, usage *dataplane.Usage) []queuedReport {
	var reports []queuedReport
	for _, r := range s.report(m, u, s.take(m, u, usage), pfcp.ReportTERMR) {
		reports = append(reports, queuedReport{UsageReport: r})
	}
	end := &reports[len(reports)-1]
	var others []queuedReport
	for _, q := range su.out.next.takeUsage(m.urr) {
		if !q.sent && q.Usage == end.Usage && end.joins(&q.UsageReport) {
			end.join(&q.UsageReport)
		} else {
			others = append(others, q)
		}
	}
	return append(others, reports...)
}

// queried are the reports of the URRs that a request wants to hear of at once: by Query
// URR, or all of them by QAURR (TS 29.244 §5.2.2.3.1). One that is not there has
// nothing to report.
func (s *Server) queried(su *sessionUsage, m *message.SessionModificationRequest) (reports []queuedReport) {
	var list []reading
	want := func(urr uint32) {
		if meter := su.meter(urr); meter != nil && su.rule(meter) != nil && !slices.Contains(list, reading{su, urr}) {
			list = append(list, reading{su, urr})
		}
	}
	for _, i := range m.QueryURR {
		if id, err := pfcp.ParseRuleID(i, pfcp.RuleURR); err == nil {
			want(id)
		}
	}
	if i := m.PFCPSMReqFlags; i != nil {
		if f, err := pfcp.ParseFlags(i); err == nil && f&pfcp.FlagQAURR != 0 {
			for j := range su.meters {
				want(su.meters[j].urr)
			}
		}
	}
	var reference *uint32
	if i := m.QueryURRReference; i != nil {
		if v, err := pfcp.ParseReference(i); err == nil {
			reference = &v
		}
	}
	s.read(list, true, func(r reading, usage *dataplane.Usage, _ time.Time) {
		meter := su.meter(r.urr)
		u := su.rule(meter)
		for _, x := range s.report(meter, u, s.take(meter, u, usage), pfcp.ReportIMMER) {
			x.Query = reference
			reports = append(reports, queuedReport{UsageReport: x})
		}
	})
	return reports
}

// respond encodes reports for a response. Those that do not fit go to the outbox, and
// an Additional Usage Reports Information IE says how many they are.
func (s *Server) respond(su *sessionUsage, reports []queuedReport, typ uint16, room int) []*ie.IE {
	additional := pfcp.AdditionalReportsIE(0).MarshalLen()
	ies, n := su.fit(reports, typ, room-additional)
	rest := reports[n:]
	if len(rest) == 0 {
		return ies
	}
	su.fit(rest, typ, 1<<30) // their UR-SEQNs, while their meters are there
	next := su.out.waiting()
	next.usage = append(next.usage, rest...)
	s.enqueue(su)
	return append(ies, pfcp.AdditionalReportsIE(len(rest)))
}
