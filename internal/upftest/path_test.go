package upftest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/internal/ran"
	"github.com/braid-upf/braid/pfcp"
)

// Error Indications: the UPF sends one for a TEID that it has not, to the sender of the
// G-PDU; of one that a gNB sends the SMF hears.
func TestErrorIndication(t *testing.T) {
	w := begin(t, "errorIndicationGrace: 0s")
	g := w.join(nil, "10.60.0.1")
	const nobody = 0xdead01
	stray := tunnel{gnb: w.gnb[1], teid: nobody, peer: n3Addr, qfi: defaultQFI}
	packet := make([]byte, ran.UplinkHeader+28)
	packet[ran.UplinkHeader], packet[ran.UplinkHeader+3] = 0x45, 28
	stray.send(packet)
	select {
	case i := <-w.gnb[1].indications:
		if i.teid != nobody || i.peer != n3Addr || i.from.Addr() != n3Addr {
			t.Errorf("Error Indication for TEID %#x at %v from %v, want %#x at %v", i.teid, i.peer, i.from, nobody, n3Addr)
		}
	case <-time.After(eventTime):
		t.Fatal("no Error Indication for a TEID that nobody has")
	}

	w.gnb[0].forget(g.down)
	w.gnb[0].send(ran.NewErrorIndication(g.down, gnbAddr[0]), addrPort(n3Addr))
	await(t, "a report of the Error Indication", eventTime, func() bool { return len(w.smf.reported(g.session)) > 0 })
	r := w.smf.reported(g.session)[0]
	if !r.ReportType.HasERIR() || r.ErrorIndicationReport == nil {
		t.Fatalf("report %+v: want an error indication report", r)
	}
	ies, err := r.ErrorIndicationReport.ErrorIndicationReport()
	if err != nil || len(ies) != 1 {
		t.Fatalf("error indication report %v: %v", ies, err)
	}
	f, perr := pfcp.ParseFTEID(ies[0])
	if perr != nil || f.TEID != g.down || f.IPv4 != gnbAddr[0] {
		t.Errorf("the report is of %+v (%v), want TEID %#x at %v", f, perr, g.down, gnbAddr[0])
	}

	// One that names a tunnel the sender has not is nobody's business.
	w.gnb[1].send(ran.NewErrorIndication(g.down, gnbAddr[0]), addrPort(n3Addr))
	w.gnb[1].send(ran.NewEchoRequest(77), addrPort(n3Addr)) // answered behind it
	awaitEcho(w.gnb[1], 77)
	if n := len(w.smf.reported(g.session)); n != 1 {
		t.Errorf("%d reports after an Error Indication of another gNB, want 1", n)
	}
}

func awaitEcho(g *gnb, seq uint16) {
	g.t.Helper()
	select {
	case got := <-g.responses:
		if got != seq {
			g.t.Errorf("%s: Echo Response %d, want %d", g.name, got, seq)
		}
	case <-time.After(eventTime):
		g.t.Fatalf("%s: no Echo Response", g.name)
	}
}

// Echo Requests are answered and sent; the SMF hears of a gNB that is silent, and of its
// return.
func TestPathFailure(t *testing.T) {
	w := begin(t, "echo: 1s")
	w.join(nil, "10.60.0.1")
	w.gnb[0].send(ran.NewEchoRequest(4711), addrPort(n3Addr))
	awaitEcho(w.gnb[0], 4711)
	await(t, "an Echo Request of the UPF", eventTime, func() bool { return w.gnb[0].echoes.Load() > 0 })
	if n := len(w.smf.nodeReports()); n != 0 {
		t.Fatalf("%d node reports of a path that lives", n)
	}
	w.gnb[0].setSilent(true)
	silent := time.Now()
	await(t, "a node report", 4*eventTime, func() bool { return len(w.smf.nodeReports()) > 0 })
	t.Logf("reported %v after the gNB's last answer", time.Since(silent).Round(100*time.Millisecond))
	r := w.smf.nodeReports()[0]
	if !r.NodeReportType.HasUPFR() || r.UserPlanePathFailureReport == nil {
		t.Fatalf("node report %+v: want a user plane path failure report", r)
	}
	if a := remotePeer(t, r.UserPlanePathFailureReport); a != gnbAddr[0] {
		t.Errorf("the path to %v has failed, want %v", a, gnbAddr[0])
	}
	w.gnb[0].setSilent(false)
	await(t, "a node report of the recovery", 2*eventTime, func() bool { return len(w.smf.nodeReports()) > 1 })
	r = w.smf.nodeReports()[1]
	if r.NodeReportType.Payload[0]&2 == 0 || r.UserPlanePathRecoveryReport == nil {
		t.Fatalf("node report %+v: want a user plane path recovery report", r)
	}
	if a := remotePeer(t, r.UserPlanePathRecoveryReport); a != gnbAddr[0] {
		t.Errorf("the path to %v is back, want %v", a, gnbAddr[0])
	}
}

// remotePeer is the address in the Remote GTP-U Peer of a report.
func remotePeer(t *testing.T, report *ie.IE) netip.Addr {
	t.Helper()
	for _, c := range report.ChildIEs {
		if c.Type == ie.RemoteGTPUPeer {
			f, err := c.RemoteGTPUPeer()
			if err != nil {
				t.Fatal(err)
			}
			a, _ := netip.AddrFromSlice(f.IPv4Address)
			return a.Unmap()
		}
	}
	t.Fatalf("no Remote GTP-U Peer in %v", report)
	return netip.Addr{}
}

// addrPort is the GTP-U port of an address.
func addrPort(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, ran.Port) }
