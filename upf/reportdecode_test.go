package upf

import (
	"strings"
	"testing"
	"time"

	free5gc "github.com/free5gc/pfcp"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// everyKind has the UPF send every kind of message that bears a report; full, with the
// IEs that free5GC's codec knows and cannot read: Usage Information, which comes of a
// Monitoring Time, and Query URR Reference.
func everyKind(t *testing.T, full bool) (wires [][]byte) {
	b := newReportBench(t, "")
	u := thresholdURR(1, 100)
	u.Method, u.Information = pfcp.MethodVolume|pfcp.MethodDuration, p(pfcp.InfoMNOP|pfcp.InfoMBQE)
	u.Triggers = p(pfcp.TriggerVOLTH | pfcp.TriggerSTART | pfcp.TriggerVOLQU | pfcp.TriggerQUVTI)
	u.Limits.VolumeQuota, u.QuotaValidity = octets(1000), 20
	query := []*ie.IE{ie.NewQueryURR(ie.NewURRID(1)), ie.NewRemoveURR(ie.NewURRID(2))}
	if full {
		u.Monitoring = b.now.Add(10 * time.Second)
		query = append(query, ie.NewQueryURRReference(5))
	}
	seid := b.session(1, u, volumeURR(2, 0))
	b.modify(seid, ie.New(ie.UserPlaneInactivityTimer, []byte{0, 0, 0, 30}))
	for range 15 {
		b.traffic(seid, 1, 60, 30)
		b.run(time.Second)
	}
	b.s.HandleEvent(dataplane.Event{Kind: dataplane.DownlinkData, SEID: seid, PDR: 3, QFI: 9})
	b.s.HandleEvent(dataplane.Event{Kind: dataplane.ErrorIndicationReceived, Peer: addr("10.100.1.2"), TEID: 1})
	b.run(time.Minute)
	for _, r := range b.take() {
		wires = append(wires, r.wire)
	}
	answer := func(m message.Message) {
		resp := b.s.handle(smfAddr, m)
		wire := make([]byte, resp.MarshalLen())
		if err := resp.MarshalTo(wire); err != nil {
			t.Fatal(err)
		}
		wires = append(wires, wire)
	}
	answer(message.NewSessionModificationRequest(0, 0, seid, 0, 0, query...))
	answer(message.NewSessionDeletionRequest(0, 0, seid, 0, 0))
	return wires
}

// TestReportsDecode has tshark read every kind of report.
func TestReportsDecode(t *testing.T) {
	text := tshark(t, everyKind(t, true), "-V")
	for _, want := range []string{
		"USAR (Usage Report): True", "DLDR (Downlink Data Report): True", "ERIR (Error Indication Report): True", "UPIR (User Plane Inactivity Report): True",
		"VOLTH (Volume Threshold): True", "VOLQU (Volume Quota): True", "START (Start of Traffic): True", "IMMER (Immediate Report): True",
		"TERMR (Termination Report): True", "MONIT (Monitoring Time): True", "QUVTI (Quota Validity Time): True",
		"Usage Report (Session Modification Response)", "Usage Report (Session Deletion Response)", "Usage Report (Session Report Request)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("tshark does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(text[:min(len(text), 20000)])
	}
}

// TestReportsDecodeFree5GC has free5GC's codec read every kind of report.
func TestReportsDecodeFree5GC(t *testing.T) {
	var usage, data, errs, modified, deleted int
	for _, w := range everyKind(t, false) {
		var m free5gc.Message
		if err := m.Unmarshal(w); err != nil {
			t.Fatalf("%x: %v", w, err)
		}
		switch body := m.Body.(type) {
		case free5gc.PFCPSessionReportRequest:
			usage += len(body.UsageReport)
			for _, r := range body.UsageReport {
				if r.URRID.UrrIdValue != 1 || r.UsageReportTrigger == nil || r.VolumeMeasurement == nil && !r.UsageReportTrigger.Start {
					t.Errorf("usage report %+v", r)
				}
			}
			if r := body.DownlinkDataReport; r != nil && r.PDRID.RuleId == 3 && r.DownlinkDataServiceInformation.Qfi == 9 {
				data++
			}
			if r := body.ErrorIndicationReport; r != nil && r.RemoteFTEID.Teid == 1 {
				errs++
			}
		case free5gc.PFCPSessionModificationResponse:
			modified += len(body.UsageReport)
		case free5gc.PFCPSessionDeletionResponse:
			deleted += len(body.UsageReport)
		}
	}
	if usage < 8 || data != 1 || errs != 1 || modified != 2 || deleted != 1 {
		t.Errorf("%d usage reports, %d of downlink data, %d of errors, %d in a modification's answer, %d in a deletion's", usage, data, errs, modified, deleted)
	}
}
