package upf

import (
	"slices"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// idleSession is a session whose downlink FAR buffers and notifies.
func (b *reportBench) idleSession(n int) (seid uint64) {
	b.t.Helper()
	seid = b.session(n)
	b.modify(seid, (&pfcp.FAR{ID: 2, ApplyAction: p(pfcp.ActionBUFF | pfcp.ActionNOCP)}).IE(ie.UpdateFAR))
	return seid
}

// TestDelayedDownlinkData: with a Downlink Data Notification Delay the report comes when
// that is over, unless the FAR buffers no more by then or what it held was dropped.
func TestDelayedDownlinkData(t *testing.T) {
	action := func(a uint16) *ie.IE { return (&pfcp.FAR{ID: 2, ApplyAction: p(a)}).IE(ie.UpdateFAR) }
	bufferAgain := action(pfcp.ActionBUFF | pfcp.ActionNOCP)
	for _, tc := range []struct {
		name     string
		meantime [][]*ie.IE // modifications before the delay is over
		reported bool
	}{
		{"nothing happens", nil, true},
		{"something else", [][]*ie.IE{{ie.New(ie.UserPlaneInactivityTimer, []byte{0, 0, 1, 0})}}, true},
		{"the UE is back", [][]*ie.IE{{action(pfcp.ActionFORW)}}, false},
		{"back and idle again", [][]*ie.IE{{action(pfcp.ActionFORW)}, {bufferAgain}}, false},
		{"drops", [][]*ie.IE{{action(pfcp.ActionDROP)}}, false},
		{"buffered packets are dropped", [][]*ie.IE{{ie.New(ie.PFCPSMReqFlags, []byte{pfcp.FlagDROBU})}}, false},
		{"the PDR goes", [][]*ie.IE{{ie.NewRemovePDR(ie.NewPDRID(3))}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newReportBench(t, "")
			seid := b.idleSession(1)
			b.s.rep.noticed(dataplane.Event{Kind: dataplane.DownlinkData, SEID: seid, PDR: 3, After: 200 * time.Millisecond})
			b.step()
			for _, ies := range tc.meantime {
				b.modify(seid, ies...)
			}
			b.run(199 * time.Millisecond)
			if sent := b.take(); len(sent) != 0 {
				t.Fatalf("%d messages before the delay is over", len(sent))
			}
			at := b.now.Add(time.Millisecond)
			b.run(time.Second)
			sent := b.take()
			if got := len(sent) == 1; got != tc.reported || len(sent) > 1 {
				t.Fatalf("%d messages", len(sent))
			}
			if tc.reported && (!sent[0].at.Equal(at) || sent[0].ies[0].Payload[0] != byte(pfcp.ReportDLDR)) {
				t.Errorf("at %v, want %v: %x", sent[0].at, at, sent[0].wire)
			}
		})
	}
}

// TestDelayedDownlinkDataOfGone: the delay of a session that is deleted ends nowhere.
func TestDelayedDownlinkDataOfGone(t *testing.T) {
	b := newReportBench(t, "")
	seid := b.idleSession(1)
	b.s.rep.noticed(dataplane.Event{Kind: dataplane.DownlinkData, SEID: seid, PDR: 3, After: 200 * time.Millisecond})
	b.step()
	b.accepted(b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0)))
	b.run(time.Minute)
	if sent := b.take(); len(sent) != 0 || len(b.s.rep.timers) != 0 {
		t.Errorf("%d messages, %d timers", len(sent), len(b.s.rep.timers))
	}
}

// recordingPlane keeps the actions of the downlink FARs of all that is installed.
type recordingPlane struct {
	fakePlane
	actions []dataplane.Action
}

func (p *recordingPlane) Install(r *dataplane.Rules) ([]dataplane.Usage, error) {
	for i := range r.Downlink {
		p.actions = append(p.actions, r.Downlink[i].FAR.Action)
	}
	return p.fakePlane.Install(r)
}

// TestDropBufferedByRequest: DROBU has what is buffered dropped, before the request's own changes
// can send it.
func TestDropBufferedByRequest(t *testing.T) {
	forward := (&pfcp.FAR{ID: 2, ApplyAction: p(pfcp.ActionFORW)}).IE(ie.UpdateFAR)
	flag := func(f uint8) *ie.IE { return ie.New(ie.PFCPSMReqFlags, []byte{f}) }
	const drop, send, hold = dataplane.Drop, dataplane.Forward, dataplane.Buffer
	for _, tc := range []struct {
		name string
		ies  []*ie.IE
		want []dataplane.Action
	}{
		{"goes on buffering", []*ie.IE{flag(pfcp.FlagDROBU)}, []dataplane.Action{drop, hold, hold}},
		{"forwards from now on", []*ie.IE{flag(pfcp.FlagDROBU), forward}, []dataplane.Action{drop, hold, send}},
		{"without the flag", []*ie.IE{flag(pfcp.FlagQAURR), forward}, []dataplane.Action{send}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newReportBench(t, "")
			plane := &recordingPlane{fakePlane: fakePlane{rules: map[uint64]*dataplane.Rules{}}}
			b.s.plane = plane
			seid := b.idleSession(1)
			plane.actions = nil
			b.modify(seid, tc.ies...)
			if got := plane.actions; len(got) != len(tc.want) {
				t.Fatalf("installed %v, want %v", got, tc.want)
			}
			for i, want := range tc.want {
				if plane.actions[i] != want {
					t.Fatalf("installed %v, want %v", plane.actions, tc.want)
				}
			}
		})
	}
}

// TestBufferingDuration: a DL Buffering Duration in the answer to a report of downlink
// data has what is buffered dropped when it is over, if it is buffered still.
func TestBufferingDuration(t *testing.T) {
	action := func(a uint16) *ie.IE { return (&pfcp.FAR{ID: 2, ApplyAction: p(a)}).IE(ie.UpdateFAR) }
	for _, tc := range []struct {
		name     string
		duration time.Duration
		meantime *ie.IE
		dropped  bool
	}{
		{"nothing happens", 4 * time.Second, nil, true},
		{"the UE is back", 4 * time.Second, action(pfcp.ActionFORW), false},
		{"without end", pfcp.Forever, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newReportBench(t, "")
			plane := &recordingPlane{fakePlane: fakePlane{rules: map[uint64]*dataplane.Rules{}}}
			b.s.plane, b.cause = plane, 0
			seid := b.session(1)
			b.modify(seid, (&pfcp.BAR{ID: 1}).IE(ie.CreateBAR),
				(&pfcp.FAR{ID: 2, ApplyAction: p(pfcp.ActionBUFF | pfcp.ActionNOCP), BARID: p(uint8(1))}).IE(ie.UpdateFAR))
			b.s.rep.noticed(dataplane.Event{Kind: dataplane.DownlinkData, SEID: seid, PDR: 3})
			b.step()
			b.answer(b.take()[0], ie.CauseRequestAccepted, (&pfcp.BAR{ID: 1, Duration: &tc.duration}).IE(ie.UpdateBARWithinSessionReportResponse))
			if tc.meantime != nil {
				b.modify(seid, tc.meantime)
			}
			plane.actions = nil
			b.run(3999 * time.Millisecond)
			if len(plane.actions) != 0 {
				t.Fatalf("installed %v before the time is over", plane.actions)
			}
			b.run(time.Hour)
			if got := slices.Contains(plane.actions, dataplane.Drop); got != tc.dropped {
				t.Errorf("installed %v", plane.actions)
			}
			if n := len(b.s.rep.timers); n != 0 {
				t.Errorf("%d timers are left", n)
			}
		})
	}
}
