package upf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/internal/testenv"
	"github.com/braid-upf/braid/pfcp"
)

// stateBench is a server that keeps its state in file.
func stateBench(t *testing.T, file string) *bench {
	return newBenchOf(t, testCfg(t, func(c *Config) { c.Braid.State = file }), slog.New(slog.DiscardHandler))
}

// beganEarlier has the server's life begin an hour before.
func (b *bench) beganEarlier() {
	b.s.mu.Lock()
	b.s.started = b.s.started.Add(-time.Hour)
	b.s.mu.Unlock()
}

// TestStateOverRestart: after an orderly end the next life of the UPF has all that
// there was, under the same identifiers and the same Recovery Time Stamp.
func TestStateOverRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	b := stateBench(t, file)
	b.beganEarlier() // else both lives begin in one second
	b.setup(cpNode, pfcp.SMFSetIDIE(smfSet), pfcp.CPMPAS.IE(), pfcp.Alternative{Addrs: []netip.Addr{addr("127.0.0.2"), addr("fd00::2")}, Preferred: true}.IE())
	b.ask(message.NewPFDManagementRequest(0, pfds("web", web, dns)))
	chosen := maSession()
	chosen.pdrs[0].PDI.FTEID = &pfcp.FTEID{Choose: true, ChooseV4: true, HasChooseID: true, ChooseID: 5}
	ma := b.establish(cpNode, pfcp.FSEID{SEID: 1, IPv4: addr(cpNode)}, chosen, ie.NewFQCSID("10.0.0.1", 7))
	b.modified(ma, (&pfcp.MAR{ID: 1, Mode: p(uint8(2)), Access: [2]*pfcp.AccessForwarding{
		{Update: true, Weight: p(uint8(30))}, {Update: true, Weight: p(uint8(70))},
	}}).IE(ie.UpdateMAR), (&pfcp.FAR{ID: 3, ApplyAction: p(pfcp.ActionBUFF | pfcp.ActionNOCP)}).IE(ie.UpdateFAR))
	filtered := plainSession(0x10, "10.60.0.10")
	fd, err := pfcp.ParseFlowDescription(web)
	if err != nil {
		t.Fatal(err)
	}
	filtered.pdrs[1].PDI.Filters = []pfcp.SDFFilter{{HasDescription: true, Description: fd, HasID: true, ID: 9}}
	plain := b.establish(cpNode, pfcp.FSEID{SEID: 2, IPv4: addr(cpNode), IPv6: addr("fd00::1")}, filtered, ie.New(pfcp.TypeGroupID, []byte("green")))
	before := b.plane.rules
	was := map[uint64]*session{ma: b.session(ma), plain: b.session(plain)}
	registry := b.registry()
	if err := b.s.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}

	again := stateBench(t, file)
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Error("the state file is still there")
	}
	if got, want := again.s.started.Unix(), b.s.started.Unix(); got != want {
		t.Errorf("Recovery Time Stamp %d, want %d", got, want)
	}
	if diff := cmp.Diff(before, again.plane.rules, cmpRules); diff != "" {
		t.Errorf("rules in the plane: %s", diff)
	}
	for seid, want := range was {
		got := again.session(seid)
		if got == nil {
			t.Fatalf("session %#x is gone", seid)
		}
		options := cmp.Options{cmpRules, cmp.Exporter(func(reflect.Type) bool { return true })}
		if diff := cmp.Diff(want, got, options); diff != "" {
			t.Errorf("session %#x: %s", seid, diff)
		}
	}
	if got := again.registry(); got != registry {
		t.Errorf("registry: %s, want %s", got, registry)
	}
	if diff := cmp.Diff(b.s.apps, again.s.apps, cmpRules); diff != "" {
		t.Errorf("applications: %s", diff)
	}
	old, now := b.s.nodes[cpNode], again.s.nodes[cpNode]
	if now == nil || now.addr != old.addr || now.set != old.set || now.features != old.features || !now.recovery.Equal(old.recovery) ||
		!cmp.Equal(now.alternatives, old.alternatives, cmpRules) {
		t.Errorf("node %+v, want %+v", now, old)
	}

	// Both peers go on as if nothing had been.
	resp := again.ask(message.NewHeartbeatRequest(0, pfcp.RecoveryTimeStampIE(cpStarted), nil)).(*message.HeartbeatResponse)
	if want := pfcp.RecoveryTimeStampIE(b.s.started).Payload; !bytes.Equal(resp.RecoveryTimeStamp.Payload, want) {
		t.Errorf("heartbeat has time stamp %x, want %x", resp.RecoveryTimeStamp.Payload, want)
	}
	third := *chosen.pdrs[0]
	third.ID = 9
	created := createdPDRs(t, again.modified(ma, third.IE(ie.CreatePDR)), ie.CreatedPDR)
	if want := before[ma].Uplink[0].TEID; created[9].TEID != want {
		t.Errorf("CHOOSE ID 5 gives TEID %#x, want that of before, %#x", created[9].TEID, want)
	}
	if got := again.cause(message.NewSessionSetDeletionRequest(0, pfcp.NodeIDIE(cpNode), ie.NewFQCSID("10.0.0.1", 7))); got != ie.CauseRequestAccepted || again.plane.of(ma) != nil {
		t.Errorf("the FQ-CSID is forgotten: cause %d", got)
	}
	if got := again.cause(message.NewSessionDeletionRequest(0, 0, plain, 0, 0)); got != ie.CauseRequestAccepted {
		t.Errorf("deletion: cause %d", got)
	}
	if got := again.registry(); got != nothingHeld {
		t.Errorf("left: %s", got)
	}
}

// TestStateAfterCrash: a state file serves once. After an end without Close the UPF
// begins empty, with a Recovery Time Stamp of its own.
func TestStateAfterCrash(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	b := stateBench(t, file)
	b.beganEarlier()
	b.associate()
	b.established(1, plainSession(0x10, "10.60.0.10"))
	if err := b.s.Close(); err != nil {
		t.Fatal(err)
	}
	crashed := stateBench(t, file)
	if crashed.plane.count() != 1 {
		t.Fatal("not restored")
	}
	next := stateBench(t, file) // while crashed has not come to its Close
	if next.plane.count() != 0 || len(next.s.Nodes()) != 0 || !next.s.started.After(b.s.started.Add(time.Minute)) {
		t.Errorf("%d sessions, started %v", next.plane.count(), next.s.started)
	}
}

// TestBrokenState: what is not a whole state file of this UPF is passed over.
func TestBrokenState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	b := stateBench(t, file)
	b.beganEarlier()
	b.associate()
	b.established(1, maSession())
	if err := b.s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	resum := func(b []byte) []byte {
		n := len(b) - stateCRC
		return binary.BigEndian.AppendUint32(b[:n:n], crc32.Checksum(b[:n], castagnoli))
	}
	edit := func(at int, with ...byte) []byte {
		b := bytes.Clone(whole)
		copy(b[at:], with)
		return b
	}
	foreign := bytes.Replace(whole, []byte("10.100.4.2"), []byte("10.100.4.9"), 1)
	moved := bytes.Replace(whole, []byte{10, 100, 3, 1}, []byte{10, 100, 3, 9}, 1)
	tests := map[string][]byte{
		"empty":             {},
		"cut off":           whole[:len(whole)/2],
		"cut off, summed":   resum(bytes.Clone(whole[:len(whole)-10])),
		"a bit turned":      edit(len(whole)/2, whole[len(whole)/2]^1),
		"another version":   resum(edit(7, 1)),
		"of another UPF":    resum(foreign),
		"of other N3":       resum(moved),
		"unknown record":    resum(append(append(bytes.Clone(whole[:len(whole)-stateCRC]), 'X', 0, 0, 0, 0), 0, 0, 0, 0)),
		"UPF's record gone": resum(edit(8, recordApps)),
	}
	for name, octets := range tests {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, octets, 0o600); err != nil {
				t.Fatal(err)
			}
			b := stateBench(t, file)
			if b.plane.count() != 0 || len(b.s.Nodes()) != 0 || b.registry() != nothingHeld || time.Since(b.s.started) > time.Minute {
				t.Errorf("%d sessions, %d nodes, %s, started %v", b.plane.count(), len(b.s.Nodes()), b.registry(), b.s.started)
			}
			if _, err := os.Stat(file); !os.IsNotExist(err) {
				t.Error("the file is still there")
			}
		})
	}
	t.Run("whole", func(t *testing.T) { // the harness finds nothing wrong by itself
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if b := stateBench(t, file); b.plane.count() != 1 {
			t.Error("not restored")
		}
	})
}

// TestStateNotWritable: Close says so, and leaves no half file.
func TestStateNotWritable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not there")
	b := stateBench(t, filepath.Join(dir, "state"))
	if err := b.s.Close(); err == nil {
		t.Error("no error")
	}
}

// TestStateOfManySessions: 10,000 sessions are back within two seconds.
func TestStateOfManySessions(t *testing.T) {
	sessions := 10_000
	if testenv.RaceDetector {
		sessions = 500
	}
	file := filepath.Join(t.TempDir(), "state")
	cfg := testCfg(t, func(*Config) {})
	first := &fakePlane{rules: map[uint64]*dataplane.Rules{}}
	s := newServer(cfg, first, slog.New(slog.DiscardHandler))
	peer := netip.MustParseAddrPort(cpNode + ":8805")
	s.handle(peer, message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)))
	for i := range sessions {
		m, err := message.Parse(encoded(t, establishment(uint64(i+1), plainSession(uint32(0x1000+i), fmt.Sprintf("10.60.%d.%d", i>>8, i&0xff)))))
		if err != nil {
			t.Fatal(err)
		}
		s.handle(peer, m)
	}
	if err := s.save(file); err != nil {
		t.Fatal(err)
	}
	second := &fakePlane{rules: map[uint64]*dataplane.Rules{}}
	again := newServer(cfg, second, slog.New(slog.DiscardHandler))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadTime(t)
	again.restore(file)
	took := threadTime(t) - start
	if len(second.rules) != sessions {
		t.Fatalf("%d sessions", len(second.rules))
	}
	for seid := range first.rules {
		if seid%97 == 0 { // comparing all takes longer than restoring them
			if diff := cmp.Diff(first.rules[seid], second.rules[seid], cmpRules); diff != "" {
				t.Fatal(diff)
			}
		}
	}
	if took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	t.Logf("%d sessions in %v", sessions, took)
}

// FuzzState: whatever stands in the file, nothing panics, and what comes back is
// whole.
func FuzzState(f *testing.F) {
	cfg := testCfg(f, func(*Config) {})
	plane := &fakePlane{rules: map[uint64]*dataplane.Rules{}}
	s := newServer(cfg, plane, slog.New(slog.DiscardHandler))
	peer := netip.MustParseAddrPort(cpNode + ":8805")
	monitored := plainSession(0x20, "10.60.0.20")
	u := thresholdURR(1, 1000)
	u.More = &pfcp.URRMore{Monitoring: time.Now().Add(time.Hour)}
	monitored.urrs, monitored.pdrs[0].URRIDs = []*pfcp.URR{u}, []uint32{1}
	for _, m := range []message.Message{
		message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)),
		message.NewPFDManagementRequest(0, pfds("web", web, dns)),
		establishment(1, maSession()),
		establishment(2, monitored),
	} {
		parsed, err := message.Parse(encoded(f, m))
		if err != nil {
			f.Fatal(err)
		}
		s.handle(peer, parsed)
	}
	for seid := range s.sessions {
		for _, e := range plane.traffic(time.Now(), seid, 1, 2000, 0) {
			s.rep.noticed(e)
		}
	}
	var seed bytes.Buffer
	if err := s.writeState(&seed); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes()[len(stateMagic) : seed.Len()-stateCRC])
	f.Fuzz(func(t *testing.T, records []byte) {
		b := append([]byte(stateMagic), records...)
		b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
		plane := &fakePlane{rules: map[uint64]*dataplane.Rules{}}
		s := newServer(cfg, plane, slog.New(slog.DiscardHandler))
		if err := s.takeState(b); err != nil && (len(s.sessions) > 0 || len(s.nodes) > 0) {
			t.Fatalf("%v, yet %d sessions", err, len(s.sessions))
		}
		checkConsistent(t, s, plane)
	})
}
