package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/pmf"
	"github.com/braid-upf/braid/atsss/steer"
)

// TestPMFRests: without traffic nothing is asked after a while, and the worker may sleep;
// the first packet wakes it.
func TestPMFRests(t *testing.T) {
	p := newHandset(t, pmfTestRules())
	w := p.plane.workers[0]
	p.pass(time.Second, p.downlink)
	if w.pmfWheel.n != 1 {
		t.Fatalf("%d sessions are measured, want 1", w.pmfWheel.n)
	}
	if d := w.patience(); d < 0 || d > 10*time.Millisecond {
		t.Errorf("the worker waits for %v", d)
	}
	p.pass(11*time.Second, nil)
	if w.pmfWheel.n != 0 || w.patience() >= 0 {
		t.Errorf("%d sessions are measured, the worker waits for %v; want none, for ever", w.pmfWheel.n, w.patience())
	}
	before := p.plane.Counters()["pmf_sent"]
	p.dead[steer.AccessNon3GPP] = true
	p.pass(time.Minute, nil)
	if n := p.plane.Counters()["pmf_sent"] - before; n != 0 {
		t.Errorf("%d messages sent to a phone that sleeps", n)
	}
	p.quiet()
	if took := p.untilEvent(time.Second, p.downlink); took > time.Second {
		t.Errorf("found %v after the traffic came", took)
	}
	p.changed(steer.AccessNon3GPP, false)
}

// TestPMFConfig: the plane's interval and idle time are the PMF's.
func TestPMFConfig(t *testing.T) {
	for _, tc := range []struct{ interval, idle, wantInterval, wantIdle time.Duration }{
		{0, 0, 250 * time.Millisecond, 10 * time.Second},
		{100 * time.Millisecond, time.Minute, 100 * time.Millisecond, time.Minute},
		{0, -1, 250 * time.Millisecond, 0},
	} {
		got := pmfConfig(&Config{PMFInterval: tc.interval, PMFIdle: tc.idle}, nil)
		if got.Interval != tc.wantInterval || got.Idle != tc.wantIdle {
			t.Errorf("%+v: %+v", tc, got)
		}
	}
}

// TestPMFRulesChange: what the PMF knows follows the session's rules.
func TestPMFRulesChange(t *testing.T) {
	p := newHandset(t, pmfTestRules())
	w := p.plane.workers[0]
	p.pass(time.Second, p.downlink)
	p.dead[steer.AccessNon3GPP] = true
	p.untilEvent(time.Second, p.downlink)
	p.changed(steer.AccessNon3GPP, false)

	// The same rules again: it stays known.
	p.install(pmfTestRules())
	p.pass(500*time.Millisecond, p.downlink)
	p.quiet()

	// The access's FAR drops: nothing is known of it, and nothing is asked.
	r := pmfTestRules()
	r.Downlink[0].MAR.FAR[steer.AccessNon3GPP].Action = Drop
	r.Downlink[0].MAR.Policy.Usable = steer.SetOf(steer.Access3GPP)
	p.install(r)
	p.changed(steer.AccessNon3GPP, true)
	before := p.plane.Counters()
	p.n3(n3iwf, toPMF(steer.AccessNon3GPP, 9, pmf.Message{Type: pmf.EchoRequest}))
	p.pass(2*time.Second, p.downlink)
	p.quiet()
	if n := p.plane.Counters()["pmf_unsent"] - before["pmf_unsent"]; n != 1 {
		t.Errorf("%d messages were to go where no FAR leads, want 1", n)
	}

	// A handover: messages go into the new tunnel.
	p.dead[steer.AccessNon3GPP] = false
	r = pmfTestRules()
	moved := netip.MustParseAddrPort("10.100.2.99:2152")
	r.Downlink[0].MAR.FAR[steer.AccessNon3GPP].OuterHeader = &OuterHeader{TEID: 0x999, Peer: moved}
	p.install(r)
	p.n3(n3iwf, toPMF(steer.AccessNon3GPP, 9, pmf.Message{Type: pmf.EchoRequest}))
	if m := p.oneN3(); m.Peer != moved || binary.BigEndian.Uint32(m.Bytes[4:]) != 0x999 {
		t.Errorf("answer to %v with TEID %x", m.Peer, m.Bytes[4:8])
	}

	// Without echo there is no round trip.
	r = pmfTestRules()
	r.ATSSS.PMF.NoRTT = true
	p.install(r)
	before = p.plane.Counters()
	p.dead = [2]bool{true, true}
	p.pass(3*time.Second, nil)
	if n := p.plane.Counters()["pmf_sent"] - before["pmf_sent"]; n > 5 {
		t.Errorf("%d messages with DRTTI", n)
	}
	p.quiet()

	// No PMF any more.
	p.install(testRules())
	if s := p.session(); s.pmf != nil || w.pmfWheel.n != 0 {
		t.Errorf("the PMF is still there: %+v, %d measured", s.pmf, w.pmfWheel.n)
	}
	p.n3(gnb, toPMF(steer.Access3GPP, 9, pmf.Message{Type: pmf.EchoRequest}))
	p.oneN6()

	// A session that goes takes its timer along.
	p.install(pmfTestRules())
	p.dead = [2]bool{}
	p.n3(gnb, toPMF(steer.Access3GPP, 9, pmf.Message{Type: pmf.EchoRequest}))
	p.n6(udp(server, ue1, 53, 1, 20))
	if w.pmfWheel.n != 1 {
		t.Fatalf("%d measured, want 1", w.pmfWheel.n)
	}
	if _, err := p.plane.Remove(testSEID); err != nil || w.pmfWheel.n != 0 {
		t.Errorf("%v, %d measured after the session went", err, w.pmfWheel.n)
	}
	if _, ok, err := p.plane.PMF(testSEID); ok || err != nil {
		t.Errorf("status of a session that is gone: %v, %v", ok, err)
	}
}

// TestPMFFlowsChange: other QoS flows are a measurement from the beginning, and an access
// that was unavailable is so no longer.
func TestPMFFlowsChange(t *testing.T) {
	p := newHandset(t, pmfTestRules())
	p.pass(time.Second, p.downlink)
	p.dead[steer.AccessNon3GPP] = true
	p.untilEvent(time.Second, p.downlink)
	p.changed(steer.AccessNon3GPP, false)
	r := pmfTestRules()
	r.ATSSS.PMF.QFIs = []uint8{9}
	p.install(r)
	p.changed(steer.AccessNon3GPP, true)
	if got := p.session().pmf.net.Flows(); got != 2 {
		t.Errorf("%d flows, want 2", got)
	}
	p.pass(time.Second, p.downlink)
}

// TestPMFHostileUE: a UE that floods its PMF gets a bounded number of answers.
func TestPMFHostileUE(t *testing.T) {
	p := newHandset(t, pmfTestRules())
	p.pass(time.Second, nil)
	before := p.plane.Counters()
	flood := toPMF(steer.Access3GPP, 9, pmf.Message{Type: pmf.EchoRequest})
	for range 1000 {
		p.n3(gnb, flood)
	}
	now := p.plane.Counters()
	answered, limited := now["pmf_sent"]-before["pmf_sent"], now["drop_pmf_rate_limited"]-before["drop_pmf_rate_limited"]
	if answered+limited != 1000 || answered > 200 || answered < 50 {
		t.Errorf("%d answered, %d limited", answered, limited)
	}
}
