package upf

import (
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// TestQueried: reports at once, by Query URR and for all URRs, stand in the answer and
// start the count anew.
func TestQueried(t *testing.T) {
	b := newReportBench(t, "")
	seid := b.session(1, volumeURR(1, 0), volumeURR(2, 0))
	b.traffic(seid, 1, 10, 1)
	b.traffic(seid, 2, 20, 2)
	got := b.usage(b.modify(seid, ie.NewQueryURR(ie.NewURRID(2)), ie.NewQueryURR(ie.NewURRID(9)), ie.NewQueryURRReference(77)))
	b.want(got, "2#0 0x80 20+2")
	if q := got[0].Query; q == nil || *q != 77 {
		t.Errorf("Query URR Reference %v", q)
	}
	b.want(b.usage(b.modify(seid, ie.New(ie.PFCPSMReqFlags, []byte{pfcp.FlagQAURR}))), "1#0 0x80 10+1", "2#1 0x80 0+0")
}

// TestFinal: a URR that goes, or that no PDR names any more, is reported for the last
// time in the answer; so are all of a session that is deleted.
func TestFinal(t *testing.T) {
	b := newReportBench(t, "")
	one := volumeURR(1, pfcp.TriggerVOLTH)
	one.Limits.VolumeThreshold = octets(100)
	seid := b.session(1, one, volumeURR(2, 0), volumeURR(3, 0))
	b.traffic(seid, 1, 100, 0) // told by the worker and not looked at before the removal
	b.traffic(seid, 1, 10, 0)
	b.want(b.usage(b.modify(seid, ie.NewRemoveURR(ie.NewURRID(1)))), "1#0 0x802 110+0")
	b.traffic(seid, 2, 5, 5)
	b.want(b.usage(b.modify(seid, (&pfcp.PDR{ID: 2, URRIDs: []uint32{3}}).IE(ie.UpdatePDR), (&pfcp.PDR{ID: 3, URRIDs: []uint32{3}}).IE(ie.UpdatePDR))), "2#0 0x800 5+5")
	b.modify(seid, (&pfcp.PDR{ID: 3, URRIDs: []uint32{2, 3}}).IE(ie.UpdatePDR))
	b.traffic(seid, 2, 6, 6)
	b.traffic(seid, 3, 7, 7)
	b.want(b.usage(b.accepted(b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0)))), "2#1 0x800 6+6", "3#0 0x800 7+7")
	b.run(time.Hour)
	b.want(b.takeUsage())
	if n := len(b.s.rep.timers) + len(b.s.rep.peers) + len(b.s.rep.tunnels.seids); n != 0 {
		t.Errorf("%d entries are left of the session", n)
	}
}

// TestManyReports: an answer longer than a CP function takes is cut; the rest follows,
// after a deletion too.
func TestManyReports(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		b := newReportBench(t, "")
		var urrs []*pfcp.URR
		for id := range uint32(60) {
			urrs = append(urrs, volumeURR(id+1, 0))
		}
		seid := b.session(1, urrs...)
		for _, u := range urrs {
			b.traffic(seid, u.ID, uint64(u.ID), 0)
		}
		req := message.Message(message.NewSessionModificationRequest(0, 0, seid, 0, 0, ie.New(ie.PFCPSMReqFlags, []byte{pfcp.FlagQAURR})))
		if deleted {
			req = message.NewSessionDeletionRequest(0, 0, seid, 0, 0)
		}
		ies := b.accepted(b.ask(req))
		if n := 16 + size(ies); n > 2048 || n < 1800 {
			t.Errorf("answer of %d octets", n)
		}
		last := ies[len(ies)-1]
		got := b.usage(ies)
		if last.Type != ie.AdditionalUsageReportsInformation || int(last.Payload[1]) != 60-len(got) || last.Payload[0] != 0x80 {
			t.Errorf("%d reports, then %x", len(got), last.Payload)
		}
		b.run(time.Second)
		for _, r := range b.take() {
			if r.size > 2048 {
				t.Errorf("report of %d octets", r.size)
			}
			got = append(got, b.usage(r.ies)...)
		}
		seen := map[uint32]uint64{}
		for _, r := range got {
			seen[r.URR] += r.Volume.Uplink
		}
		for _, u := range urrs {
			if seen[u.ID] != uint64(u.ID) {
				t.Errorf("URR %d: %d octets told", u.ID, seen[u.ID])
			}
		}
	}
}
