package upf

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// TestReportOnTheWire: an event becomes a Session Report Request to the CP F-SEID's
// address, which is sent again until it is answered; what has found no answer goes with
// the next.
func TestReportOnTheWire(t *testing.T) {
	b := newBenchWith(t, strings.Replace(testConfig, "50ms", "300ms", 1)) // one retransmission
	b.associate()
	r := plainSession(0x70, "10.60.0.70")
	r.urrs = []*pfcp.URR{thresholdURR(5, 1000)}
	for _, d := range r.pdrs {
		d.URRIDs = []uint32{5}
	}
	seid, _ := b.established(0x77, r)
	// The CP function moves to where this test listens.
	b.modified(seid, pfcp.FSEID{SEID: 0x78, IPv4: b.s.LocalAddr().Addr()}.IE())
	usage := func(octets uint64) {
		b.s.rep.noticed(dataplane.Event{Kind: dataplane.UsageReached, SEID: seid, Usage: dataplane.Usage{
			URR: 5, Downlink: dataplane.Volume{Packets: 1, Octets: octets}, Threshold: true,
		}})
	}
	report := func() (*message.SessionReportRequest, []byte) {
		t.Helper()
		d := bytes.Clone(b.read())
		m, err := message.Parse(d)
		if err != nil {
			t.Fatal(err)
		}
		req, ok := m.(*message.SessionReportRequest)
		if !ok || req.SEID() != 0x78 {
			t.Fatalf("got %T for %#x", m, m.SEID())
		}
		return req, d
	}
	usage(1000)
	_, first := report()
	if _, again := report(); !bytes.Equal(first, again) {
		t.Errorf("sent %x, then %x", first, again)
	}
	// The time-out follows; what comes before it waits for it.
	usage(2000)
	req, _ := report()
	if len(req.UsageReport) != 2 {
		t.Fatalf("%d usage reports, want the unanswered one and the new one", len(req.UsageReport))
	}
	for i, want := range []uint64{1000, 2000} {
		u, err := pfcp.ParseUsageReport(req.UsageReport[i])
		if err != nil || u.Volume.Downlink != want || u.Sequence != uint32(i) {
			t.Errorf("%d: %+v, %v", i, u, err)
		}
	}
	resp := message.NewSessionReportResponse(0, 0, seid, req.Sequence(), 0, ie.NewCause(ie.CauseSessionContextNotFound))
	d := make([]byte, resp.MarshalLen())
	if err := resp.MarshalTo(d); err != nil {
		t.Fatal(err)
	}
	if _, err := b.conn.WriteToUDPAddrPort(d, b.s.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	// The next request comes behind that answer on the same socket.
	if got := refusalOf(t, b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0))); got.cause != ie.CauseSessionContextNotFound {
		t.Errorf("the session is still there: %+v", got)
	}
}

// TestURRRefused: a URR that would do something else than it says is refused.
func TestURRRefused(t *testing.T) {
	ok := func() *pfcp.URR { return volumeURR(5, pfcp.TriggerVOLTH) }
	with := func(more *ie.IE) *ie.IE {
		i := ok().IE(ie.CreateURR)
		return ie.NewGroupedIE(ie.CreateURR, append(i.ChildIEs, more)...)
	}
	noFAR := ok()
	noFAR.More = &pfcp.URRMore{QuotaFAR: p(uint32(77))}
	failed := "0300000005"
	for _, tc := range []struct {
		name string
		ies  []*ie.IE
		want refusal
	}{
		{"no method", []*ie.IE{(&pfcp.URR{ID: 5, Triggers: pfcp.TriggerVOLTH, HasTriggers: true}).IE(ie.CreateURR)}, refusal{ie.CauseMandatoryIEMissing, ie.MeasurementMethod, ""}},
		{"no triggers", []*ie.IE{(&pfcp.URR{ID: 5, Method: pfcp.MethodVolume}).IE(ie.CreateURR)}, refusal{ie.CauseMandatoryIEMissing, ie.ReportingTriggers, ""}},
		{"twice", []*ie.IE{ok().IE(ie.CreateURR), ok().IE(ie.CreateURR)}, refusal{ie.CauseRuleCreationModificationFailure, ie.URRID, failed}},
		{"FAR for quota action not there", []*ie.IE{noFAR.IE(ie.CreateURR)}, refusal{ie.CauseRuleCreationModificationFailure, ie.FARID, failed}},
		{"exempted application", []*ie.IE{with(ie.NewApplicationID("free"))}, refusal{ie.CauseRuleCreationModificationFailure, ie.ApplicationID, failed}},
		{"aggregated URRs", []*ie.IE{with(ie.NewAggregatedURRs(ie.NewAggregatedURRID(1), ie.NewMultiplier(1, 0)))}, refusal{ie.CauseRuleCreationModificationFailure, ie.AggregatedURRs, failed}},
		{"short threshold", []*ie.IE{with(ie.New(ie.VolumeThreshold, []byte{1, 0, 0}))}, refusal{ie.CauseMandatoryIEIncorrect, ie.VolumeThreshold, ""}},
		{"update of one that is not there", []*ie.IE{ok().IE(ie.UpdateURR)}, refusal{ie.CauseRuleCreationModificationFailure, ie.URRID, failed}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.associate()
			seid, _ := b.established(1, plainSession(0x70, "10.60.0.70"))
			if got := refusalOf(t, b.ask(message.NewSessionModificationRequest(0, 0, seid, 0, 0, tc.ies...))); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// TestURRsOfMAR: a MAR's URRs count per access, are installed so, and go with Remove
// URR.
func TestURRsOfMAR(t *testing.T) {
	b := newReportBench(t, "")
	r := maSession()
	r.urrs = []*pfcp.URR{volumeURR(1, 0), volumeURR(2, 0)}
	r.mars[0].Access[0].URRIDs, r.mars[0].Access[1].URRIDs = []uint32{1}, []uint32{2}
	var seid uint64
	for _, i := range b.accepted(b.ask(establishment(1, r))) {
		if i.Type == ie.FSEID {
			f, _ := pfcp.ParseFSEID(i)
			seid = f.SEID
		}
	}
	mar := b.plane.of(seid).Downlink[0].MAR
	if len(mar.URRs[0]) != 1 || mar.URRs[0][0].ID != 1 || len(mar.URRs[1]) != 1 || mar.URRs[1][0].ID != 2 {
		t.Fatalf("MAR's URRs %+v", mar.URRs)
	}
	b.traffic(seid, 1, 0, 10)
	b.traffic(seid, 2, 0, 20)
	b.want(b.usage(b.modify(seid, ie.NewRemoveURR(ie.NewURRID(2)))), "2#0 0x800 0+20")
	if mar := b.plane.of(seid).Downlink[0].MAR; len(mar.URRs[0]) != 1 || len(mar.URRs[1]) != 0 {
		t.Errorf("MAR's URRs %+v", mar.URRs)
	}
	b.want(b.usage(b.accepted(b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0)))), "1#0 0x800 0+10")
}

// TestReportAddr: reports go to the node where the CP F-SEID has no address of N4's
// family.
func TestReportAddr(t *testing.T) {
	b := newReportBench(t, "")
	for _, tc := range []struct {
		cp   pfcp.FSEID
		want string
	}{
		{pfcp.FSEID{IPv4: addr("10.100.4.9"), IPv6: addr("2001:db8::9")}, "10.100.4.9"},
		{pfcp.FSEID{IPv6: addr("2001:db8::9")}, cpNode},
		{pfcp.FSEID{IPv4: netip.IPv4Unspecified()}, cpNode},
		{pfcp.FSEID{IPv4: addr("224.0.0.1")}, cpNode},
	} {
		if a, ok := b.s.reportAddr(&session{cp: cpSessionOf(cpNode, tc.cp)}); !ok || a.String() != tc.want {
			t.Errorf("%+v: %v, %v, want %s", tc.cp, a, ok, tc.want)
		}
	}
	if _, ok := b.s.reportAddr(&session{cp: cpSessionOf("gone", pfcp.FSEID{})}); ok {
		t.Error("an address for a node that is gone")
	}
}
