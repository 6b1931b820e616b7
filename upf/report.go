package upf

import (
	"slices"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// outbox is what a session has to report. One Session Report Request is under way at
// a time; what comes meanwhile waits in next and is added up there.
type outbox struct {
	next   *parcel // nil = nothing
	flight *parcel // under way; nil = none
	retry  stamp   // when to send what has found no answer, if nothing else is sent before; 0 = never

	queued, urgent bool // in a queue of its peer
}

// waiting is what waits, to be added to.
func (o *outbox) waiting() *parcel {
	if o.next == nil {
		o.next = &parcel{}
	}
	return o.next
}

// parcel is the content of a Session Report Request (TS 29.244 Table 7.5.8.1-1).
type parcel struct {
	usage  []queuedReport
	data   []pfcp.DownlinkData
	errors []pfcp.FTEID
	access accessNews
	idle   bool // user plane inactivity
}

// queuedReport is a usage report on its way. One that has been sent keeps its UR-SEQN,
// by which the CP function knows it if it comes again.
type queuedReport struct {
	pfcp.UsageReport
	sent bool
}

func (p *parcel) empty() bool { return p == nil || len(p.usage) == 0 && !p.urgent() }

// urgent says whether there is more than usage in it.
func (p *parcel) urgent() bool {
	return p != nil && (len(p.data) > 0 || len(p.errors) > 0 || p.access.changed != 0 || p.idle)
}

// Bounds of what waits for a CP function that does not answer.
const (
	maxUsage = 32 // usage reports; those of the same URR are added up beyond that
	maxOther = 16 // PDRs with downlink data, and tunnels in error; more are left out
)

// post puts usage reports into the outbox.
func (s *Server) post(su *sessionUsage, reports []pfcp.UsageReport) {
	for i := range reports {
		su.out.waiting().add(&reports[i])
	}
	s.enqueue(su)
}

// add adds r to what waits: to a report of the same URR and trigger if there is one
// that has not been sent.
func (p *parcel) add(r *pfcp.UsageReport) {
	for i := range p.usage {
		if q := &p.usage[i]; !q.sent && q.Trigger == r.Trigger && q.joins(r) && q.Usage == r.Usage {
			q.join(r)
			return
		}
	}
	if len(p.usage) >= maxUsage {
		for i := range p.usage {
			if q := &p.usage[i]; q.joins(r) {
				q.join(r)
				q.sent = false
				return
			}
		}
		if r.Volume == nil && r.Duration == nil {
			return // an event; nothing that could be lost for ever
		}
	}
	p.usage = append(p.usage, queuedReport{UsageReport: *r})
}

// joins says whether r can be added to q: both measure the same thing.
func (q *queuedReport) joins(r *pfcp.UsageReport) bool {
	return q.URR == r.URR && (q.Volume != nil || q.Duration != nil) && (q.Volume == nil) == (r.Volume == nil) &&
		(q.Duration == nil) == (r.Duration == nil) && q.Query == nil && r.Query == nil
}

// join adds r up with q.
func (q *queuedReport) join(r *pfcp.UsageReport) {
	q.Trigger |= r.Trigger
	q.Start, q.End = earlier(q.Start, r.Start), later(q.End, r.End)
	q.First, q.Last = earlier(q.First, r.First), later(q.Last, r.Last)
	if q.Volume != nil {
		v := *q.Volume
		v.Uplink += r.Volume.Uplink
		v.Downlink += r.Volume.Downlink
		v.UplinkPackets += r.Volume.UplinkPackets
		v.DownlinkPackets += r.Volume.DownlinkPackets
		v.HasPackets = v.HasPackets && r.Volume.HasPackets
		q.Volume = &v
	}
	if q.Duration != nil {
		d := *q.Duration + *r.Duration
		q.Duration = &d
	}
}

// takeUsage takes the URR's usage reports out of the outbox.
func (p *parcel) takeUsage(urr uint32) []queuedReport {
	if p == nil {
		return nil
	}
	var taken, left []queuedReport
	for _, q := range p.usage {
		if q.URR == urr {
			taken = append(taken, q)
		} else {
			left = append(left, q)
		}
	}
	p.usage = left
	return taken
}

// putBack returns to the outbox what has been sent and not answered, ahead of what has
// come meanwhile.
func (p *parcel) putBack(f *parcel) {
	f.usage, p.usage = p.usage, f.usage
	for i := range f.usage {
		if f.usage[i].sent {
			p.usage = append(p.usage, f.usage[i])
		} else {
			p.add(&f.usage[i].UsageReport)
		}
	}
	for _, d := range f.data {
		p.addData(d)
	}
	for _, e := range f.errors {
		p.addError(e)
	}
	p.access.putBack(f.access)
	p.idle = p.idle || f.idle
}

func (p *parcel) addData(d pfcp.DownlinkData) {
	for _, old := range p.data {
		if old.PDR == d.PDR {
			return
		}
	}
	if len(p.data) < maxOther {
		p.data = append(p.data, d)
	}
}

func (p *parcel) addError(f pfcp.FTEID) {
	for _, old := range p.errors {
		if old == f {
			return
		}
	}
	if len(p.errors) < maxOther {
		p.errors = append(p.errors, f)
	}
}

// maxMessage is the longest message to a CP function, in octets: free5GC's takes no
// more. sessionHeader and nodeHeader are what a session's message and another one have
// before their IEs.
const (
	maxMessage    = 2048
	sessionHeader = 16
	nodeHeader    = 8
)

// size is what ies take, in octets.
func size(ies []*ie.IE) int {
	n := 0
	for _, i := range ies {
		n += i.MarshalLen()
	}
	return n
}

// pack takes out of the outbox what fits a message, and returns that and its IEs. room
// is in octets.
func (su *sessionUsage) pack(room int) (*parcel, []*ie.IE) {
	next := su.out.next
	p := &parcel{data: next.data, errors: next.errors, access: next.access, idle: next.idle}
	su.out.next = nil
	typ := ie.New(ie.ReportType, []byte{0})
	ies := []*ie.IE{typ}
	var kind pfcp.ReportType
	if len(p.data) > 0 {
		kind |= pfcp.ReportDLDR
		ies = append(ies, pfcp.DownlinkDataIE(p.data))
	}
	if len(p.errors) > 0 {
		kind |= pfcp.ReportERIR
		ies = append(ies, pfcp.ErrorIndicationIE(p.errors))
	}
	if news := p.access.reports(su.sess.rules); len(news) > 0 {
		kind |= pfcp.ReportSESR
		ies = append(ies, news...)
	}
	if p.idle {
		kind |= pfcp.ReportUPIR
	}
	reports, fit := su.fit(next.usage, ie.UsageReportWithinSessionReportRequest, room-size(ies))
	if fit > 0 {
		kind |= pfcp.ReportUSAR
		ies = append(ies, reports...)
		p.usage = append(p.usage, next.usage[:fit]...)
	}
	if left := next.usage[fit:]; len(left) > 0 {
		su.out.next = &parcel{usage: slices.Clone(left)}
	}
	typ.Payload[0] = byte(kind)
	return p, ies
}

// fit encodes the first reports of list as IEs of type typ, as many as fit into room
// octets, and gives those their UR-SEQN that have none.
func (su *sessionUsage) fit(list []queuedReport, typ uint16, room int) (ies []*ie.IE, n int) {
	for ; n < len(list); n++ {
		q := &list[n]
		m := su.meter(q.URR)
		if !q.sent && m != nil {
			q.Sequence = m.sequence
		}
		i := q.IE(typ)
		if room -= i.MarshalLen(); room < 0 {
			break
		}
		if !q.sent && m != nil {
			m.sequence++
		}
		q.sent = true
		ies = append(ies, i)
	}
	return ies, n
}
