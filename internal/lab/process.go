package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the lab's processes; <name>.log in the state directory has the output
// of each.
const (
	procUPF   = "upf"
	procSMF   = "smf"
	procNginx = "nginx"
	procUE    = "ue" // of its ATSSS beside the kernel's MPTCP
)

func procAccess(access string) string { return "access-" + access }

// process is one that the lab started. Its record outlives the process that
// started it; Started tells it from a later one with the same PID.
type process struct {
	Name    string   `json:"name"`
	PID     int      `json:"pid"`
	Started uint64   `json:"started"` // clock ticks after boot, proc(5) stat field 22
	Argv    []string `json:"argv"`
}

// enterArgs is the command line that runs argv in a named network namespace. It
// replaces itself by the command, whose PID is the one that was started; unlike
// `ip netns exec` it leaves the mounts as they are.
func enterArgs(namespace string, argv []string) []string {
	return append([]string{"nsenter", "--net=" + filepath.Join(netnsRoot, namespace), "--"}, argv...)
}

// spawn runs f on a thread that lives as long as this process: PR_SET_PDEATHSIG is
// bound to the thread that started a child.
func spawn(f func() error) error {
	done := make(chan error)
	spawner() <- func() { done <- f() }
	return <-done
}

var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// start runs argv in a namespace of the lab ("" = the caller's) as a daemon, with
// its output in <name>.log, and records it.
func (l *Lab) start(name, role string, argv []string) error {
	out, err := os.Create(l.path(name + ".log"))
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close()
	if role != "" {
		argv = enterArgs(l.Namespace(role), argv)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if l.opts.DieWithParent {
		cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	}
	if err := spawn(cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	p := process{Name: name, PID: cmd.Process.Pid, Argv: argv}
	p.Started, _ = startTime(p.PID) // it cannot be reaped yet
	go func() { _ = cmd.Wait() }()  // reaps it; how it ended is in its log
	b, err := json.Marshal(&p)
	if err == nil {
		err = os.WriteFile(l.path("proc", name+".json"), b, 0o644)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("record %s: %w", name, err), p.stop())
	}
	return nil
}

// process finds the record of a process; fs.ErrNotExist if it was not started.
func (l *Lab) process(name string) (*process, error) {
	b, err := os.ReadFile(l.path("proc", name+".json"))
	if err != nil {
		return nil, err
	}
	p := new(process)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("record of %s: %w", name, err)
	}
	return p, nil
}

// processes lists what was started, sorted by name.
func (l *Lab) processes() ([]*process, error) {
	files, err := filepath.Glob(l.path("proc", "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var ps []*process
	for _, f := range files {
		p, err := l.process(strings.TrimSuffix(filepath.Base(f), ".json"))
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// startTime reads when a process was started; ok is false if there is none, or
// only its entry that awaits reaping.
func startTime(pid int) (ticks uint64, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// Field 2, the name, is in parentheses and may hold anything.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const state, started = 0, 22 - 3
	if len(fields) <= started || fields[state] == "Z" || fields[state] == "X" {
		return 0, false
	}
	ticks, err = strconv.ParseUint(fields[started], 10, 64)
	return ticks, err == nil
}

// alive says whether the recorded process runs.
func (p *process) alive() bool {
	t, ok := startTime(p.PID)
	return ok && t == p.Started
}

// signal sends sig to the recorded process, and to no other.
func (p *process) signal(sig syscall.Signal) error {
	// The descriptor pins the process between the check and the signal.
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return fmt.Errorf("%s (pid %d): %w", p.Name, p.PID, err)
	}
	defer unix.Close(fd)
	if !p.alive() {
		return fmt.Errorf("%s (pid %d): %w", p.Name, p.PID, os.ErrProcessDone)
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		return fmt.Errorf("%s (pid %d): send %v: %w", p.Name, p.PID, sig, err)
	}
	return nil
}

// stop ends the process: politely, and after stopGrace by force.
func (p *process) stop() error {
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGKILL} {
		if !p.alive() {
			return nil
		}
		if err := p.signal(sig); err != nil && p.alive() {
			return err
		}
		for end := time.Now().Add(stopGrace); p.alive() && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
	}
	if p.alive() {
		return fmt.Errorf("%s (pid %d): did not end", p.Name, p.PID)
	}
	return nil
}

const stopGrace = 3 * time.Second

// processesIn lists the processes in a named network namespace, other than
// this one.
func processesIn(namespace string) []*process {
	var want unix.Stat_t
	if unix.Stat(filepath.Join(netnsRoot, namespace), &want) != nil {
		return nil
	}
	var ps []*process
	entries, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat(e, &st) != nil || st.Ino != want.Ino || st.Dev != want.Dev {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(e, "/")[2])
		if err != nil || pid == os.Getpid() {
			continue
		}
		if started, ok := startTime(pid); ok {
			ps = append(ps, &process{Name: "process in " + namespace, PID: pid, Started: started})
		}
	}
	return ps
}

// logTail is the end of a process's log, for an error message.
func (l *Lab) logTail(name string) string {
	const lines, most = 15, 8 << 10
	b, err := os.ReadFile(l.path(name + ".log"))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	b = bytes.TrimSpace(b[max(0, len(b)-most):])
	all := strings.Split(string(b), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
