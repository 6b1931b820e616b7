package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/testenv"
)

// TestMain lets the test binary be the processes that a lab starts: an access, as
// the braid command would be, and a stand-in for the UPF.
func TestMain(m *testing.M) {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 3 && args[0] == "lab" && args[1] == "access":
		err = lab.RunAccess(context.Background(), args[2])
	case len(args) == 1 && args[0] == "stand-in":
		err = runStandIn()
	case len(args) == 1 && args[0] == "sink":
		err = runSink()
	default:
		go removeWhenInterrupted()
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// building is held while a test builds a lab.
var building sync.Mutex

func labUp(ctx context.Context, opts lab.Options) (*lab.Lab, error) {
	building.Lock()
	defer building.Unlock()
	return lab.Up(ctx, opts)
}

// removeWhenInterrupted removes at SIGINT the labs of these tests, all named labtest.
func removeWhenInterrupted() {
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt)
	<-interrupt
	signal.Stop(interrupt) // the next one kills
	building.Lock()        // for good: no test builds another
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		names, err := lab.Names()
		for _, name := range names {
			if strings.HasPrefix(name, "labtest") {
				err = errors.Join(err, lab.Remove(name))
			}
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) { // until then its test may be removing it
			fmt.Fprintln(os.Stderr, "interrupted:", err)
			break
		}
	}
	os.Exit(130)
}

// need skips a test for what this machine lacks, or fails it where every test must
// run.
func need(t testing.TB) {
	t.Helper()
	var lacks []string
	if os.Geteuid() != 0 {
		lacks = append(lacks, "root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		lacks = append(lacks, "/dev/net/tun")
	}
	if _, err := os.Stat("/proc/sys/net/mptcp/enabled"); err != nil {
		lacks = append(lacks, "a kernel with MPTCP")
	}
	for _, tool := range []string{"nsenter", "ip", "nginx"} {
		if _, err := exec.LookPath(tool); err != nil {
			lacks = append(lacks, "the command "+tool)
		}
	}
	if lacks == nil {
		return
	}
	testenv.Lacks(t, "this test needs "+strings.Join(lacks, ", "))
}

// up brings up a lab without a session, with a stand-in that forwards between
// accesses and data network and knows no MPTCP; opts.UPFCommand names another mode of
// the test binary.
func up(t testing.TB, name string, opts lab.Options) *lab.Lab {
	t.Helper()
	need(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if opts.UPFCommand == nil {
		opts.UPFCommand = []string{"stand-in"}
	}
	opts.Name, opts.BraidBin, opts.UPFCommand = name, self, append([]string{self}, opts.UPFCommand...)
	opts.NoSession, opts.DieWithParent = true, true
	opts.Progress = t.Output()
	l, err := labUp(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
		left, err := filepath.Glob("/run/netns/" + name + "-*")
		if err != nil || len(left) > 0 {
			t.Errorf("namespaces left behind: %v %v", left, err)
		}
		for _, dir := range []string{l.Dir(), "/var/lib/braid-lab/" + name} {
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s left behind: %v", dir, err)
			}
		}
	})
	for a, teid := range map[steer.Access]uint32{steer.Access3GPP: standInTEID, steer.AccessNon3GPP: standInTEID + 1} {
		if err := l.SetTunnel(a, lab.Tunnel{TEID: teid, Peer: lab.UPFN3Addr}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func stats(t testing.TB, l *lab.Lab, a steer.Access) lab.Stats {
	t.Helper()
	s, err := l.AccessStats(a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLabUpReplacesAndDownCleansAfterKill(t *testing.T) {
	const name = "labtest-again"
	first := up(t, name, lab.Options{})
	old, err := first.PID("access-3gpp")
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(first.Dir(), "left")
	if err := os.WriteFile(left, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	second := up(t, name, lab.Options{})
	if now, err := second.PID("access-3gpp"); err != nil || now == old {
		t.Errorf("the access of the first lab, pid %d, was not replaced: %d, %v", old, now, err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the first lab's files are still there: %v", err)
	}

	// As a killed run would leave it: records gone, a namespace unbound, strangers in
	// the others.
	sleeper := second.Command(context.Background(), lab.DN, "sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sleeper.Wait() }()
	if err := exec.Command("umount", "/run/netns/"+name+"-ue").Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(second.Dir(), "lab.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Open(name); !errors.Is(err, lab.ErrNotUp) {
		t.Errorf("opening a lab without its options: %v", err)
	}
	if names, err := lab.Names(); err != nil || !slices.Contains(names, name) {
		t.Errorf("the labs to be removed are %v, %v, without this one", names, err)
	}
	if err := lab.Remove(name); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("a process in the lab's namespace outlived the lab")
	}
	if _, err := second.PID("nginx"); err == nil {
		t.Error("nginx outlived the lab")
	}
	if err := lab.Remove(name); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}

func TestLabUpShowsWhyAndTearsDown(t *testing.T) {
	need(t)
	const name = "labtest-fails"
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_, err = labUp(t.Context(), lab.Options{
		Name: name, BraidBin: self, NoSession: true, DieWithParent: true,
		UPFCommand: []string{"sh", "-c", "echo no such interface; exit 2"},
	})
	if err == nil || !strings.Contains(err.Error(), "no such interface") {
		t.Errorf("the error does not have the end of the UPF's log: %v", err)
	}
	left, err := filepath.Glob("/run/netns/" + name + "-*")
	if err != nil || len(left) > 0 {
		t.Errorf("namespaces left behind: %v %v", left, err)
	}
	if _, err := os.Stat("/run/braid/" + name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("state left behind: %v", err)
	}
}

func TestUpRejectsOptions(t *testing.T) {
	for _, o := range []lab.Options{{Name: "a/b"}, {Name: "-x"}, {Name: ".."}, {Workers: -1}, {UEAddresses: -1}, {UEAddresses: 257}} {
		if l, err := labUp(t.Context(), o); err == nil {
			t.Errorf("%+v is taken as valid", o)
			_ = l.Down()
		}
	}
}
