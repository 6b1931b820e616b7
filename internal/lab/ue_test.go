package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/pmf"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/smf"
)

// pmfPorts are those of the network's PMF, by access.
var pmfPorts = [steer.NumAccesses]uint16{standInPMF - 1, standInPMF}

// networkPMF is the network's end of PMFP, in the data network: what the UPF has.
type networkPMF struct {
	*testing.T
	begun   time.Time
	machine *pmf.Network
	conns   [steer.NumAccesses]*net.UDPConn
	ue      [steer.NumAccesses]netip.AddrPort // where the UE was heard from
	packets chan func()
	learned map[pmf.Kind][]pmf.Learned
}

// newNetworkPMF listens in the lab's data network.
func newNetworkPMF(t *testing.T, l *lab.Lab) *networkPMF {
	t.Helper()
	cfg := pmf.DefaultConfig(250*time.Millisecond, 0, rand.Uint64)
	cfg.PLRPeriod = 300 * time.Millisecond
	n := &networkPMF{
		T: t, begun: time.Now().Add(-time.Second), machine: pmf.NewNetwork(&cfg, 1, false),
		packets: make(chan func(), 64), learned: map[pmf.Kind][]pmf.Learned{},
	}
	var out pmf.Out
	for a, port := range pmfPorts {
		if err := l.InNamespace(lab.DN, func() (err error) {
			n.conns[a], err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(lab.DNAddr, port)))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		n.machine.SetUsable(steer.Access(a), true, &out)
		go n.read(steer.Access(a))
		t.Cleanup(func() { n.conns[a].Close() })
	}
	return n
}

func (n *networkPMF) read(a steer.Access) {
	b := make([]byte, 2048)
	for {
		length, from, err := n.conns[a].ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		var m pmf.Message
		r := pmf.Parse(b[:length], &m)
		n.packets <- func() {
			var out pmf.Out
			n.ue[a] = from
			n.machine.Heard(n.now(), a, &out)
			if r == pmf.OK {
				r = n.machine.Receive(n.now(), pmf.Leg{Access: a}, &m, &out)
			}
			if r != pmf.OK && r != pmf.Duplicate {
				n.Errorf("message %+v: %v", m, r)
			}
			n.flush(&out)
		}
	}
}

func (n *networkPMF) now() time.Duration { return time.Since(n.begun) }

func (n *networkPMF) flush(out *pmf.Out) {
	for _, s := range out.Send {
		if _, err := n.conns[s.Leg.Access].WriteToUDPAddrPort(s.Message.Append(nil), n.ue[s.Leg.Access]); err != nil {
			n.Error(err)
		}
	}
	for _, l := range out.Learned {
		n.learned[l.Kind] = append(n.learned[l.Kind], l)
	}
}

// await runs the machine until something holds.
func (n *networkPMF) await(what string, ok func() bool) {
	n.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(end) {
			n.Fatalf("%s: not within 15 s; learned %+v", what, n.learned)
		}
		var out pmf.Out
		n.machine.Tick(n.now(), &out)
		n.flush(&out)
		select {
		case f := <-n.packets:
			f()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// last is the newest of what was learned, of an access.
func (n *networkPMF) last(k pmf.Kind, a steer.Access) (l pmf.Learned, ok bool) {
	for _, x := range n.learned[k] {
		if x.Leg.Access == a {
			l, ok = x, true
		}
	}
	return l, ok
}

// ueState writes the state file of an smf whose UPF has answered with parameters.
func ueState(t *testing.T, l *lab.Lab, upSEID string, p *smf.ATSSSParameters) {
	t.Helper()
	st := smf.State{Association: smf.Up, Sessions: []smf.SessionState{{Name: "one", UPSEID: upSEID, UE: []netip.Addr{lab.UEAddr[0]}, ATSSS: p}}}
	b, err := json.Marshal(&st)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(l.Dir(), "smf.json")
	if err := os.WriteFile(path+".new", b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// runUE runs the UE of a lab until the end of the test.
func runUE(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- lab.RunUE(ctx, name) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// awaitUE waits until the UE knows of a session.
func awaitUE(t *testing.T, l *lab.Lab, upSEID string) lab.UEStats {
	t.Helper()
	var s lab.UEStats
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s, err = l.UEStats(); err == nil && s.UPSEID == upSEID {
			return s
		}
	}
	t.Fatalf("the UE does not know of session %s: %+v, %v", upSEID, s, err)
	return s
}

// TestUEPMF: the lab's UE and a network's PMF find round trips, losses, a dead access and
// what the UE reports, over the accesses as they are.
func TestUEPMF(t *testing.T) {
	const name = "labtest-pmf"
	l := up(t, name, lab.Options{})
	delay := [steer.NumAccesses]time.Duration{10 * time.Millisecond, 40 * time.Millisecond}
	for a, d := range delay {
		if err := l.Link(steer.Access(a), lab.Impairment{Delay: d}); err != nil {
			t.Fatal(err)
		}
	}
	n := newNetworkPMF(t, l)
	ueState(t, l, "0x1", &smf.ATSSSParameters{PMF: []smf.PMFParameters{{
		Addresses: []netip.Addr{lab.DNAddr}, Ports: smf.PMFPorts{TGPP: pmfPorts[0], NonTGPP: pmfPorts[1]},
	}}})
	runUE(t, name)
	awaitUE(t, l, "0x1")
	n.await("round trips of both ends", func() bool {
		s, err := l.UEStats()
		if err != nil {
			t.Fatal(err)
		}
		for a := range delay {
			if _, ok := n.last(pmf.RoundTrip, steer.Access(a)); !ok || s.PMF.Access[a].RTTs == 0 {
				return false
			}
		}
		return true
	})
	s, err := l.UEStats()
	if err != nil {
		t.Fatal(err)
	}
	for a, d := range delay {
		theirs, _ := n.last(pmf.RoundTrip, steer.Access(a))
		for who, rtt := range map[string]time.Duration{"UE": s.PMF.Access[a].RTT, "network": theirs.RTT} {
			if rtt < 2*d || rtt > 2*d+100*time.Millisecond { // of a busy machine
				t.Errorf("the %s measures a round trip of %v on %v, want %v", who, rtt, steer.Access(a), 2*d)
			}
		}
	}

	if err := l.Assist(30); err != nil {
		t.Fatal(err)
	}
	n.await("assistance data", func() bool {
		got := n.learned[pmf.UplinkSplit]
		return len(got) == 1 && got[0].Percent == 30
	})
	if err := l.ReportAccess(steer.AccessNon3GPP, false); err != nil {
		t.Fatal(err)
	}
	n.await("report", func() bool {
		l, ok := n.last(pmf.Availability, steer.AccessNon3GPP)
		return ok && !l.Available
	})
	if err := l.ReportAccess(steer.AccessNon3GPP, true); err != nil {
		t.Fatal(err)
	}
	n.await("another report", func() bool {
		l, ok := n.last(pmf.Availability, steer.AccessNon3GPP)
		return ok && l.Available
	})

	n.loss(l)

	died := time.Now()
	if err := l.Link(steer.Access3GPP, lab.Impairment{Down: true}); err != nil {
		t.Fatal(err)
	}
	n.await("death of an access", func() bool {
		l, ok := n.last(pmf.Availability, steer.Access3GPP)
		return ok && !l.Available
	})
	t.Logf("a dead access was found after %v", time.Since(died))
	if err := l.Link(steer.Access3GPP, lab.Impairment{}); err != nil {
		t.Fatal(err)
	}
	n.await("return of the access", func() bool {
		l, ok := n.last(pmf.Availability, steer.Access3GPP)
		return ok && l.Available
	})
	var status strings.Builder
	if err := l.PrintStatus(&status); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"UE'S PMF", "PMF, default QoS flow"} {
		if !strings.Contains(status.String(), want) {
			t.Errorf("no %q in the status:\n%s", want, &status)
		}
	}
	if err := l.Assist(101); err == nil {
		t.Error("a split of 101 percent is taken")
	}
}

// loss has the 3GPP access lose a tenth of what it carries to the UE, and counts.
func (n *networkPMF) loss(l *lab.Lab) {
	n.Helper()
	if err := l.Link(steer.Access3GPP, lab.Impairment{Delay: 10 * time.Millisecond, Loss: 0.1, Direction: lab.DirectionDown}); err != nil {
		n.Fatal(err)
	}
	var sender *net.UDPConn
	if err := l.InNamespace(lab.DN, func() (err error) {
		sender, err = net.ListenUDP("udp4", nil)
		return err
	}); err != nil {
		n.Fatal(err)
	}
	defer sender.Close()
	to := netip.AddrPortFrom(lab.UEAddr[0], 9) // nobody listens
	var sent, lost uint64
	n.learned[pmf.Loss] = nil
	n.await("some rounds of counting", func() bool {
		for range 5 {
			if _, err := sender.WriteToUDPAddrPort([]byte{1}, to); err != nil {
				n.Fatal(err)
			}
			n.machine.Count(pmf.Leg{Access: steer.Access3GPP}, 1, 0)
		}
		sent, lost = 0, 0
		for _, r := range n.learned[pmf.Loss] {
			if r.Leg.Access == steer.Access3GPP {
				sent, lost = sent+r.Sent, lost+r.Lost
			}
		}
		return sent > 1000
	})
	// 1,000 packets, 5 standard deviations of 0.95 %; and where the request for a report is
	// lost, which comes again half a second later, the round's loss comes out too small.
	if share := float64(lost) / float64(sent); share < 0.03 || share > 0.1475 {
		n.Errorf("%d of %d packets were lost, want 10%%", lost, sent)
	}
	if err := l.Link(steer.Access3GPP, lab.Impairment{Delay: 10 * time.Millisecond}); err != nil {
		n.Fatal(err)
	}
}

// TestUELinkSpecific: the UE's devices have the link-specific addresses that its session
// has, each on its access, and subflows start from the one of the non-3GPP access.
func TestUELinkSpecific(t *testing.T) {
	const name = "labtest-link"
	l := up(t, name, lab.Options{IPv6: true, UEAddresses: 2})
	params := func(k int) *smf.ATSSSParameters {
		var s smf.LinkSpecific
		for a, list := range []*[]netip.Addr{&s.TGPP, &s.NonTGPP} {
			*list = []netip.Addr{lab.UEAddress(steer.Access(a), k, false), lab.UEAddress(steer.Access(a), k, true)}
		}
		return &smf.ATSSSParameters{MPTCP: &smf.MPTCPParameters{LinkSpecific: s}}
	}
	ip := func(args ...string) string {
		t.Helper()
		out, err := l.Command(t.Context(), lab.UE, append([]string{"ip"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	usual := ip("-6", "address") + ip("address") + ip("rule") + ip("-6", "rule") + ip("mptcp", "endpoint")
	ueState(t, l, "0x1", params(7))
	runUE(t, name)
	awaitUE(t, l, "0x1")
	for k := range 2 {
		if k == 1 { // other addresses take their place
			ueState(t, l, "0x2", params(8))
			awaitUE(t, l, "0x2")
		}
		for a, dev := range map[steer.Access]string{steer.Access3GPP: "ue0", steer.AccessNon3GPP: "ue1"} {
			for _, v6 := range []bool{false, true} {
				addr, family, to := lab.UEAddress(a, 7+k, v6), "-4", lab.DNAddr
				if v6 {
					family, to = "-6", lab.DNAddr6
				}
				if route := ip(family, "route", "get", to.String(), "from", addr.String()); !strings.Contains(route, "dev "+dev) {
					t.Errorf("%v leaves by %s, want %s", addr, route, dev)
				}
				old := lab.UEAddress(a, 7+1-k, v6)
				if strings.Contains(ip("address"), fmt.Sprintf("%v/", old)) {
					t.Errorf("the UE has %v", old)
				}
			}
		}
		endpoints := ip("mptcp", "endpoint")
		for _, want := range []netip.Addr{lab.UEAddress(1, 7+k, false), lab.UEAddress(1, 7+k, true)} {
			if !strings.Contains(endpoints, want.String()+" ") {
				t.Errorf("endpoints are\n%s, want %v", endpoints, want)
			}
		}
		if n := strings.Count(endpoints, "subflow"); n != 2 {
			t.Errorf("endpoints are\n%s, want 2", endpoints)
		}
	}
	ueState(t, l, "0x3", nil)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		now := ip("-6", "address") + ip("address") + ip("rule") + ip("-6", "rule") + ip("mptcp", "endpoint")
		if withoutIDs(now) == withoutIDs(usual) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("without a session the UE is\n%s, was\n%s", now, usual)
		}
	}
}

// withoutIDs leaves out the numbers of MPTCP endpoints, which count up.
func withoutIDs(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		fields := strings.Fields(line)
		for i, f := range fields {
			if i > 0 && fields[i-1] == "id" {
				f = "N"
			}
			b.WriteString(f + " ")
		}
		b.WriteByte('\n')
	}
	return b.String()
}
