package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what [Up] builds.
type Options struct {
	Name string `json:"name"` // "" = DefaultName

	BraidBin   string   `json:"braidBin"`   // the braid command; "" = this executable
	UPFBin     string   `json:"upfBin"`     // the upf command; "" = upf beside BraidBin
	UPFCommand []string `json:"upfCommand"` // runs in the UPF's place; {config} and {dir} are replaced
	Workers    int      `json:"workers"`    // of the UPF; 0 = its default

	// UPFConfig are further keys for the section braid of the UPF's configuration.
	UPFConfig map[string]any `json:"upfConfig,omitempty"`

	NoSession bool   `json:"noSession"` // start no SMF: another one is to install the session
	Policy    string `json:"policy"`    // policy file of the smf; "" = DefaultPolicy

	IPv6        bool `json:"ipv6"`        // IPv6 beside IPv4 for UE and data network
	UEAddresses int  `json:"ueAddresses"` // of each version the UE has on each access; 0 = 1

	// DieWithParent ends the lab's processes when the one that called Up ends. What
	// it leaves then, `braid lab down` removes.
	DieWithParent bool `json:"dieWithParent"`

	Progress io.Writer `json:"-"` // told what Up waits for; nil = nobody
}

// Lab is one lab on this machine.
type Lab struct {
	name string
	dir  string
	opts Options
}

// ErrNotUp is the error of [Open] for a lab that is not there.
var ErrNotUp = errors.New("lab is not up")

// Up builds a lab and returns when traffic can flow: the UPF runs, the smf has its
// sessions and nginx answers. A lab of the same name is removed first; on an error
// nothing is left, except logs whose end is in the error.
func Up(ctx context.Context, opts Options) (*Lab, error) {
	l, err := newLab(opts)
	if err != nil {
		return nil, err
	}
	if err := l.checkMachine(); err != nil {
		return nil, err
	}
	unlock, err := l.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := l.remove(); err != nil {
		return nil, fmt.Errorf("lab %s: remove the one before: %w", l.name, err)
	}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", l.name, err), l.remove())
	}
	return l, nil
}

// newLab checks options and fills in what they leave open.
func newLab(opts Options) (*Lab, error) {
	if opts.Name == "" {
		opts.Name = DefaultName
	}
	if err := checkName(opts.Name); err != nil {
		return nil, err
	}
	if opts.BraidBin == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the braid command: %w", err)
		}
		opts.BraidBin = exe
	}
	if opts.UPFBin == "" {
		opts.UPFBin = filepath.Join(filepath.Dir(opts.BraidBin), "upf")
	}
	if opts.Workers < 0 {
		return nil, fmt.Errorf("workers %d: must be 0 (the UPF's default) or more", opts.Workers)
	}
	if opts.UEAddresses < 0 || opts.UEAddresses > maxUEAddresses {
		return nil, fmt.Errorf("%d addresses of the UE on each access: must be 0 (1 of each version) to %d", opts.UEAddresses, maxUEAddresses)
	}
	opts.UEAddresses = max(opts.UEAddresses, 1)
	if opts.Progress == nil {
		opts.Progress = io.Discard
	}
	return &Lab{name: opts.Name, dir: filepath.Join(stateRoot, opts.Name), opts: opts}, nil
}

// checkMachine says in one error all that this machine lacks.
func (l *Lab) checkMachine() error {
	var errs []error
	if os.Geteuid() != 0 {
		return errors.New("a lab needs root, for network namespaces and TUN devices: use sudo")
	}
	for _, tool := range []struct{ command, from string }{
		{"nsenter", "util-linux"}, {"ip", "iproute2"}, {"nginx", "nginx"},
	} {
		if _, err := exec.LookPath(tool.command); err != nil {
			errs = append(errs, fmt.Errorf("command %s is missing: apt-get install %s", tool.command, tool.from))
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		errs = append(errs, errors.New("/dev/net/tun is missing: modprobe tun, or pass the device into the container"))
	}
	if _, err := os.Stat("/proc/sys/net/mptcp/enabled"); err != nil {
		errs = append(errs, errors.New("the kernel has no MPTCP: one of version 5.6 or later with CONFIG_MPTCP is needed"))
	}
	if len(l.opts.UPFCommand) == 0 {
		if _, err := os.Stat(l.opts.UPFBin); err != nil {
			errs = append(errs, fmt.Errorf("no UPF at %s: build it", l.opts.UPFBin))
		}
	}
	if l.opts.Policy != "" {
		if _, err := os.Stat(l.opts.Policy); err != nil {
			errs = append(errs, fmt.Errorf("policy: %w", err))
		}
	}
	return errors.Join(errs...)
}

// build makes everything, the foundations first.
func (l *Lab) build(ctx context.Context) error {
	if err := l.makeDirs(); err != nil {
		return err
	}
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"network", func(context.Context) error { return l.buildNetwork() }},
		{"accesses", l.startAccesses},
		{"nginx", l.startNginx},
		{"UPF", l.startUPF},
		{"session", l.startSMF},
	}
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// makeDirs makes the state directory with the options in it. The name of the lab
// in dataRoot is what `down` goes by, should /run be gone.
func (l *Lab) makeDirs() error {
	data := filepath.Join(dataRoot, l.name)
	for _, dir := range []string{l.path("proc"), filepath.Join(data, "www", "upload"), filepath.Join(data, "nginx")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink(filepath.Join(data, "www"), l.WWW()); err != nil {
		return err
	}
	b, err := json.MarshalIndent(&l.opts, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(l.path("lab.json"), b, 0o644)
}

// Open finds a lab that is up. Its error is [ErrNotUp] if there is none.
func Open(name string) (*Lab, error) {
	l, err := newLab(Options{Name: name})
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(l.path("lab.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lab %s: %w", l.name, ErrNotUp)
	}
	if err != nil {
		return nil, fmt.Errorf("lab %s: %w", l.name, err)
	}
	if err := json.Unmarshal(b, &l.opts); err != nil {
		return nil, fmt.Errorf("lab %s: %s: %w", l.name, l.path("lab.json"), err)
	}
	return l, nil
}

// Remove removes the named lab, or whatever a killed run has left of one. It is no
// error if there is nothing.
func Remove(name string) error {
	l, err := newLab(Options{Name: name})
	if err != nil {
		return err
	}
	return l.Down()
}

// Names lists the labs of this machine, half-built ones among them.
func Names() ([]string, error) {
	var names []string
	for _, root := range []string{stateRoot, dataRoot} {
		entries, err := os.ReadDir(root)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Down removes the lab: processes, namespaces with all that is in them, files.
func (l *Lab) Down() error {
	if os.Geteuid() != 0 {
		return errors.New("removing a lab needs root: use sudo")
	}
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.remove(); err != nil {
		return fmt.Errorf("lab %s: %w", l.name, err)
	}
	return nil
}

// lock keeps two commands from building and removing one lab at once. It is a
// socket in the abstract namespace: gone with the process, and no file is left.
func (l *Lab) lock() (unlock func(), err error) {
	s, err := net.Listen("unix", "@braid-lab-"+l.name)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("lab %s: another command is building or removing it", l.name)
	}
	if err != nil {
		return nil, fmt.Errorf("lab %s: lock: %w", l.name, err)
	}
	return func() { s.Close() }, nil
}

// remove removes all of the lab that is there, and goes on after an error.
func (l *Lab) remove() error {
	var errs []error
	ps, err := l.processes()
	errs = append(errs, err)
	// The SMF first: it takes leave of the UPF.
	slices.SortStableFunc(ps, func(a, b *process) int { return strings.Compare(rank(a), rank(b)) })
	for _, p := range ps {
		errs = append(errs, p.stop())
	}
	for _, role := range Roles() {
		for _, p := range processesIn(l.Namespace(role)) {
			errs = append(errs, p.stop())
		}
		errs = append(errs, removeNamespace(l.Namespace(role)))
	}
	errs = append(errs, os.RemoveAll(l.dir), os.RemoveAll(filepath.Join(dataRoot, l.name)))
	for _, root := range []string{stateRoot, dataRoot} {
		_ = os.Remove(root) // fails while there is another lab
	}
	return errors.Join(errs...)
}

func rank(p *process) string {
	order := map[string]string{procSMF: "0", procUPF: "1", procNginx: "2"}
	if r, ok := order[p.Name]; ok {
		return r
	}
	return "3" + p.Name
}

// Command prepares argv to run in the namespace of a role; the process that starts
// is argv's own.
func (l *Lab) Command(ctx context.Context, role string, argv ...string) *exec.Cmd {
	full := enterArgs(l.Namespace(role), argv)
	return exec.CommandContext(ctx, full[0], full[1:]...)
}

// InNamespace runs f on a thread that is in the namespace of a role: the sockets
// that f itself opens belong to it. Goroutines that f starts are outside.
func (l *Lab) InNamespace(role string, f func() error) error {
	return inNamespace(l.Namespace(role), f)
}

// await asks ready until nothing is missing, there is an error, the named process
// ends or ctx does. It fails after patience, with the end of the process's log.
func (l *Lab) await(ctx context.Context, name, what string, ready func() (missing string, err error)) error {
	begun := time.Now()
	told := ""
	p, err := l.process(name)
	if err != nil {
		return err
	}
	for {
		missing, err := ready()
		switch {
		case err != nil:
			return fmt.Errorf("%w; end of the log of %s:\n%s", err, name, l.logTail(name))
		case missing == "":
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("waiting for %s (%s): %w", what, missing, ctx.Err())
		case !p.alive():
			return fmt.Errorf("%s has ended; end of its log:\n%s", name, l.logTail(name))
		case time.Since(begun) > patience:
			return fmt.Errorf("no %s after %v: %s; end of the log of %s:\n%s", what, patience, missing, name, l.logTail(name))
		}
		if missing != told && time.Since(begun) > time.Second {
			told = missing
			fmt.Fprintf(l.opts.Progress, "lab %s: waiting for %s: %s\n", l.name, what, missing)
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// patience is how long any one part may take to get ready.
const patience = 20 * time.Second
