package lab

import (
	"maps"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestProcessIsToldFromASuccessorOfItsPID(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // ended by a signal
		close(ended)
	}()
	started, ok := startTime(cmd.Process.Pid)
	if !ok {
		t.Fatal("no start time of a process that runs")
	}
	other := process{Name: "other", PID: cmd.Process.Pid, Started: started - 1}
	if other.alive() {
		t.Error("a process that began at another time is taken for the recorded one")
	}
	if err := other.signal(syscall.SIGKILL); err == nil {
		t.Error("a process that began at another time was sent a signal")
	}
	if err := other.stop(); err != nil {
		t.Errorf("stop of a process that is gone: %v", err)
	}
	p := process{Name: "sleep", PID: cmd.Process.Pid, Started: started}
	if !p.alive() {
		t.Fatal("the process was hit, or is not recognized")
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	<-ended
	if p.alive() {
		t.Error("alive after it has ended")
	}
}

func TestStopUsesForce(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 3 s; run without -short")
	}
	cmd := exec.Command("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // ended by a signal
		close(ended)
	}()
	p := process{Name: "deaf", PID: cmd.Process.Pid}
	p.Started, _ = startTime(p.PID)
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	<-ended
	if cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("ended by %v", cmd.ProcessState)
	}
}

func TestStartTimeOfSelfAndNobody(t *testing.T) {
	if _, ok := startTime(os.Getpid()); !ok {
		t.Error("no start time of this process")
	}
	if _, ok := startTime(1 << 30); ok {
		t.Error("a start time of a process that cannot be")
	}
}

func TestParseMIB(t *testing.T) {
	mib := map[string]uint64{}
	err := parseMIB("Tcp: RtoMin MaxConn RetransSegs\nTcp: 200 -1 17\nMPTcpExt: MPCapableSYNRX MPRstTx\nMPTcpExt: 3 18446744073709551615\n", mib)
	want := map[string]uint64{"TcpRtoMin": 200, "TcpRetransSegs": 17, "MPTcpExtMPCapableSYNRX": 3, "MPTcpExtMPRstTx": 1<<64 - 1}
	if err != nil || !maps.Equal(mib, want) {
		t.Errorf("%v, %v; want %v", mib, err, want)
	}
	for _, bad := range []string{"Tcp: a b\nTcp: 1\n", "Tcp: a\nUdp: 1\n", "Tcp: a\nTcp: x\n", "Tcp: a\n"} {
		if parseMIB(bad, map[string]uint64{}) == nil {
			t.Errorf("%q is taken as valid", bad)
		}
	}
}
