package upftest

import (
	"crypto/sha256"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// A TCP download goes on over a restart of the UPF, whose sessions are in its state file:
// neither the UE nor the SMF can tell, not even by the Recovery Time Stamp.
func TestRestart(t *testing.T) {
	w := begin(t, "state: '{dir}/state'")
	site := serveWeb(w.dn)
	g := w.join(nil, "10.60.0.1")
	idler := w.join(nil, "10.60.0.2")
	started := w.heartbeat()

	const size, part = 48 << 20, 16 << 20
	want := site.file(size)
	r, err := g.http().Get(url(dnAddr, "50331648"))
	g.check(err)
	defer r.Body.Close()
	got := make([]byte, size)
	_, err = io.ReadFull(r.Body, got[:part])
	g.check(err)
	w.upf.end()
	down := time.Now()
	if _, err := g.dial(netip.AddrPort{}, netip.AddrPortFrom(dnAddr, 80)); err == nil {
		t.Error("a connection passes a UPF that does not run")
	}
	w.upf.begin()
	t.Logf("the UPF was down for %v", time.Since(down).Round(10*time.Millisecond))
	_, err = io.ReadFull(r.Body, got[part:])
	g.check(err)
	if sha256.Sum256(got) != sha256.Sum256(want) {
		t.Error("other octets arrive than were sent")
	}
	if again := w.heartbeat(); !again.Equal(started) {
		t.Errorf("Recovery Time Stamp %v after the restart, %v before", again, started)
	}
	if n := w.upf.counters()["sessions"]; n != 2 {
		t.Errorf("%d sessions after the restart, want 2", n)
	}
	idler.ping(idler.addrs[0], dnAddr, 5, 84)
	w.dn.ping(dnAddr, idler.addrs[0], 5, 84)
	// The SMF's sessions are still its own to change.
	idler.session.modify(idle())
	idler.session.modify(idler.toGNB(w.gnb[0]))
	idler.ping(idler.addrs[0], dnAddr, 5, 84)
	g.session.remove()
	idler.session.remove()

	// Without sessions to restore a UPF that restarts is new.
	w.upf.end()
	if err := errors.Join(w.upf.err); err != nil {
		t.Error(err)
	}
}

// heartbeat asks the UPF for its Recovery Time Stamp.
func (w *world) heartbeat() time.Time {
	w.Helper()
	resp, err := w.smf.ask(n4Addr, message.NewHeartbeatRequest(0, pfcp.RecoveryTimeStampIE(smfStarted), nil))
	w.smf.check(err)
	m, ok := resp.(*message.HeartbeatResponse)
	if !ok {
		w.Fatalf("answer to a heartbeat: %s", resp.MessageTypeName())
	}
	at, perr := pfcp.ParseRecoveryTimeStamp(m.RecoveryTimeStamp)
	if perr != nil {
		w.Fatal(perr)
	}
	return at
}
