package upf

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"
	"pgregory.net/rapid"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// thresholdURR reports each n octets.
func thresholdURR(id uint32, n uint64) *pfcp.URR {
	u := volumeURR(id, pfcp.TriggerVOLTH)
	u.Limits.VolumeThreshold = octets(n)
	return u
}

// TestFlood: sessions that reach their thresholds faster than the peer's pace allows
// are reported at that pace, and every octet once.
func TestFlood(t *testing.T) {
	const rate, sessions = 50, 40
	b := newReportBench(t, "braid: {reportRate: 50}\n")
	var seids []uint64
	for n := range sessions {
		seids = append(seids, b.session(n+1, thresholdURR(1, 500_000)))
	}
	begin := b.now
	var sent, told uint64
	for range 250 { // a second of 1 Gbit/s each
		for _, seid := range seids {
			b.traffic(seid, 1, 0, 500_000)
			sent += 500_000
		}
		b.run(4 * time.Millisecond)
	}
	if most := rate*int(b.now.Sub(begin)/time.Second) + rate/10; len(b.sent) > most || len(b.sent) < most/2 {
		t.Errorf("%d messages in %v, want up to %d", len(b.sent), b.now.Sub(begin), most)
	}
	b.run(time.Second)
	for _, r := range b.takeUsage() {
		told += r.Volume.Downlink
	}
	if told != sent {
		t.Errorf("%d octets were counted, %d are reported", sent, told)
	}
}

// TestEveryOctetOnce: whatever happens, in any order, what the CP function has
// accepted or been answered is what was counted.
func TestEveryOctetOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newReportBench(t, "")
		b.cause = 0
		one := thresholdURR(1, 1000)
		one.Triggers, one.Period, one.More = pfcp.TriggerVOLTH|pfcp.TriggerPERIO, 7, &pfcp.URRMore{Monitoring: b.now.Add(20 * time.Second)}
		if rapid.Bool().Draw(rt, "subsequent") {
			one.More.Subsequent = &pfcp.Limits{VolumeThreshold: octets(500)}
		}
		two := volumeURR(2, pfcp.TriggerLIUSA)
		two.More, two.Limits.VolumeQuota = &pfcp.URRMore{Linked: []uint32{1}}, octets(3000)
		seid := b.session(1, one, two)
		var counted, told uint64
		tell := func(rs []*pfcp.UsageReport) {
			for _, r := range rs {
				told += r.Volume.Uplink + r.Volume.Downlink
			}
		}
		seen := map[string]uint64{} // by URR and UR-SEQN: what comes again is the same
		answer := func(accept bool) {
			for _, r := range b.take() {
				us := b.usage(r.ies)
				for _, u := range us {
					key := fmt.Sprint(u.URR, "#", u.Sequence)
					if was, again := seen[key]; again && was != u.Volume.Uplink+u.Volume.Downlink {
						rt.Fatalf("%s told %d octets, then %d", key, was, u.Volume.Uplink+u.Volume.Downlink)
					}
					seen[key] = u.Volume.Uplink + u.Volume.Downlink
				}
				if accept {
					tell(us)
					b.answer(r, ie.CauseRequestAccepted)
				} else {
					done := r.done
					done(nil, pfcp.ErrTimeout)
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1, 2, 3:
				n := rapid.Uint64Range(0, 900).Draw(rt, "octets")
				urr := rapid.Uint32Range(1, 2).Draw(rt, "URR")
				b.traffic(seid, urr, n, n/2)
				counted += n + n/2
			case 4:
				b.step()
			case 5:
				b.run(time.Duration(rapid.IntRange(1, 9).Draw(rt, "seconds")) * time.Second)
			case 6:
				answer(true)
			case 7:
				answer(false)
			case 8:
				tell(b.usage(b.modify(seid, ie.NewQueryURR(ie.NewURRID(1)))))
			case 9:
				tell(b.usage(b.modify(seid, (&pfcp.URR{ID: 2, Limits: pfcp.Limits{VolumeQuota: octets(2000)}}).IE(ie.UpdateURR))))
			}
		}
		b.step()
		answer(true) // what is under way when the session is deleted is not told again
		tell(b.usage(b.accepted(b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0)))))
		b.step()
		answer(true)
		if told != counted {
			rt.Fatalf("%d octets were counted, %d are reported", counted, told)
		}
	})
}

// TestOneUnderWay: while a report has no answer, what comes is added up, and then goes
// as one.
func TestOneUnderWay(t *testing.T) {
	b := newReportBench(t, "")
	b.cause = 0
	seid := b.session(1, thresholdURR(1, 100))
	for range 5 {
		b.traffic(seid, 1, 100, 0)
		b.run(time.Second)
	}
	if len(b.sent) != 1 {
		t.Fatalf("%d messages under way", len(b.sent))
	}
	first := b.take()[0]
	b.want(b.usage(first.ies), "1#0 0x2 100+0")
	b.answer(first, ie.CauseRequestAccepted)
	b.step()
	b.want(b.takeUsage(), "1#1 0x2 400+0")
}

// TestUnanswered: what finds no answer goes again with the next report, under the
// UR-SEQN that it had, or after a while without one; what is kept is bounded.
func TestUnanswered(t *testing.T) {
	b := newReportBench(t, "")
	b.cause = 0
	seid := b.session(1, thresholdURR(1, 100))
	fail := func() {
		t.Helper()
		sent := b.take()
		if len(sent) != 1 {
			t.Fatalf("%d messages", len(sent))
		}
		sent[0].done(nil, pfcp.ErrTimeout)
	}
	b.traffic(seid, 1, 100, 0)
	b.step()
	fail()
	b.run(10 * time.Second)
	b.want(b.takeUsage())
	b.traffic(seid, 1, 200, 0)
	b.step()
	b.want(b.usage(b.sent[0].ies), "1#0 0x2 100+0", "1#1 0x2 200+0")
	fail()
	b.run(31 * time.Second)
	b.want(b.usage(b.sent[0].ies), "1#0 0x2 100+0", "1#1 0x2 200+0")
	total := uint64(300)
	for i := range uint64(200) {
		if len(b.sent) > 0 {
			fail()
		}
		b.traffic(seid, 1, 100+i, 0)
		total += 100 + i
		b.run(time.Millisecond)
	}
	if n := len(b.s.sessions[seid].usage.out.waiting().usage); n > maxUsage {
		t.Errorf("%d reports are kept, want up to %d", n, maxUsage)
	}
	fail()
	b.cause = ie.CauseRequestAccepted
	b.run(time.Minute)
	var told uint64
	for _, r := range b.takeUsage() {
		told += r.Volume.Uplink
	}
	if told != total {
		t.Errorf("%d octets were counted, %d told", total, told)
	}
}

// TestDeletionWhileUnderWay: the answer to a report of a session that is gone changes
// nothing, and what is under way is not told a second time.
func TestDeletionWhileUnderWay(t *testing.T) {
	for _, err := range []error{nil, pfcp.ErrTimeout, errors.New("the socket is gone")} {
		b := newReportBench(t, "")
		b.cause = 0
		seid := b.session(1, thresholdURR(1, 100))
		b.traffic(seid, 1, 100, 0)
		b.step()
		b.traffic(seid, 1, 150, 0)
		b.step()
		b.traffic(seid, 1, 3, 0)
		b.want(b.usage(b.accepted(b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0)))), "1#1 0x802 153+0")
		r := b.take()[0]
		if err == nil {
			b.answer(r, ie.CauseSessionContextNotFound)
		} else {
			r.done(nil, err)
		}
		b.run(time.Hour)
		b.want(b.takeUsage())
		b.session(1, thresholdURR(1, 100)) // its SEID and addresses are free
	}
}

// TestSessionUnknownToCP: a CP function that has lost the session has it deleted here.
func TestSessionUnknownToCP(t *testing.T) {
	b := newReportBench(t, "")
	b.cause = ie.CauseSessionContextNotFound
	seid := b.session(1, thresholdURR(1, 100))
	b.traffic(seid, 1, 100, 0)
	b.step()
	if b.plane.of(seid) != nil || len(b.s.sessions) != 0 {
		t.Error("the session is still there")
	}
}

// TestReportsAfterTakeover: reports follow the CP F-SEID, those that wait already too.
func TestReportsAfterTakeover(t *testing.T) {
	b := newReportBench(t, "braid: {reportRate: 1}\n")
	seid, other := b.session(1, thresholdURR(1, 100)), b.session(2, thresholdURR(1, 100))
	b.traffic(other, 1, 100, 0)
	b.traffic(seid, 1, 100, 0)
	b.step() // the first takes the token of this second
	b.modify(seid, pfcp.FSEID{SEID: 0x99, IPv4: addr("10.100.4.9")}.IE())
	b.run(2 * time.Second)
	sent := b.take()
	if len(sent) != 2 || sent[0].seid != 2 || sent[1].seid != 0x99 || sent[1].to != netip.MustParseAddrPort("10.100.4.9:8805") {
		t.Fatalf("%d messages: %+v", len(sent), sent)
	}
}

// TestAssociationEndsReports: with the association gone nothing is sent for it.
func TestAssociationEndsReports(t *testing.T) {
	b := newReportBench(t, "")
	seid := b.session(1, thresholdURR(1, 100))
	b.traffic(seid, 1, 100, 0)
	b.ask(message.NewAssociationReleaseRequest(0, pfcp.NodeIDIE(cpNode)))
	b.run(time.Hour)
	if sent := b.take(); len(sent) != 0 {
		t.Errorf("%d messages", len(sent))
	}
}

// TestDownlinkData: downlink data goes ahead of usage that waits, with what is known
// of the packet.
func TestDownlinkData(t *testing.T) {
	b := newReportBench(t, "braid: {reportRate: 1}\n")
	var seids []uint64
	for n := range 5 {
		seids = append(seids, b.session(n+1, thresholdURR(1, 100)))
		b.traffic(seids[n], 1, 100, 0)
	}
	b.step()
	e := dataplane.Event{Kind: dataplane.DownlinkData, SEID: seids[4], PDR: 3, QFI: 9, TOS: 46 << 2}
	b.s.rep.noticed(e)
	b.s.rep.noticed(e)
	b.run(1100 * time.Millisecond)
	sent := b.take()
	if len(sent) != 2 || sent[1].seid != 5 {
		t.Fatalf("%d messages", len(sent))
	}
	if got := fmt.Sprintf("%x", sent[1].wire[16:37]); got != "0027000103"+"0053000d003800020003"+"002d0003032e" {
		t.Errorf("report is %s", got)
	}
	b.want(b.usage(sent[1].ies), "1#0 0x2 100+0")
}

// TestErrorIndication: an Error Indication for a tunnel that a session sends to is
// reported once, until the rules name the tunnel anew; others are counted.
func TestErrorIndication(t *testing.T) {
	b := newReportBench(t, "")
	seid := b.session(0x50)
	indicate := func(peer string, teid uint32) int {
		b.s.rep.noticed(dataplane.Event{Kind: dataplane.ErrorIndicationReceived, From: netip.AddrPortFrom(addr(peer), 2152), Peer: addr(peer), TEID: teid})
		b.step()
		n := 0
		for _, r := range b.take() {
			n++
			if want := "0027000104" + "0063000d00150009010000" + fmt.Sprintf("%04x", teid) + "0a640102"; fmt.Sprintf("%x", r.wire[16:]) != want || r.seid != 0x50 {
				t.Errorf("report %x, want %s", r.wire[16:], want)
			}
		}
		return n
	}
	far := func(action uint16, teid uint32) *ie.IE {
		f := &pfcp.FAR{ID: 2, ApplyAction: &action}
		if teid != 0 {
			f.Forwarding = &pfcp.Forwarding{OuterHeader: &pfcp.OuterHeaderCreation{Description: pfcp.GTPUIPv4, TEID: teid, IPv4: addr("10.100.1.2")}}
		}
		return f.IE(ie.UpdateFAR)
	}
	for i, tc := range []struct {
		peer   string
		teid   uint32
		change *ie.IE
		want   int
	}{
		{"10.100.1.2", 0x51, nil, 0},
		{"10.100.1.3", 0x50, nil, 0},
		{"10.100.1.2", 0x50, nil, 1},
		{"10.100.1.2", 0x50, nil, 0},
		{"10.100.1.2", 0x50, far(pfcp.ActionFORW, 0x50), 0},
		{"10.100.1.2", 0x50, far(pfcp.ActionBUFF|pfcp.ActionNOCP, 0), 0},
		{"10.100.1.2", 0x50, far(pfcp.ActionFORW, 0), 1},
		{"10.100.1.2", 0x52, far(pfcp.ActionFORW, 0x52), 1},
		{"10.100.1.2", 0x50, nil, 0},
	} {
		if tc.change != nil {
			b.modify(seid, tc.change)
		}
		if n := indicate(tc.peer, tc.teid); n != tc.want {
			t.Errorf("%d: %d reports, want %d", i, n, tc.want)
		}
	}
	if c := b.s.ReportCounters(); c["error_indications_unmatched"] != 6 || c["reports_sent"] != 3 {
		t.Errorf("counters %v, want 6 Error Indications unmatched and 3 reports", c)
	}
}

// TestDropBuffered: what buffers is found, and made to drop.
func TestDropBuffered(t *testing.T) {
	far := func(a dataplane.Action) *dataplane.FAR { return &dataplane.FAR{Action: a, Notify: true} }
	r := &dataplane.Rules{Downlink: []dataplane.PDR{
		{FAR: far(dataplane.Forward)}, {FAR: far(dataplane.Buffer)}, {MAR: &dataplane.MAR{FAR: [2]*dataplane.FAR{nil, far(dataplane.Buffer)}}},
	}}
	if !dropping(r) || r.Downlink[0].FAR.Action != dataplane.Forward || r.Downlink[1].FAR.Action != dataplane.Drop ||
		r.Downlink[1].FAR.Notify || r.Downlink[2].MAR.FAR[1].Action != dataplane.Drop || dropping(r) {
		t.Errorf("%+v", r.Downlink)
	}
}
