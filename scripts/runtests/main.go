// Command runtests runs every test of the module in stages and judges them as a
// whole: a test that fails, a test that skips, a package that does not build and a
// package whose tests did not run make it fail. `make test` calls it; it expects the
// tools that scripts/setup installs. Arguments name the stages to run, unit, seeds,
// race or e2e; without any, all are run.
//
// SIGINT, SIGTERM and SIGHUP reach the tests as SIGINT, so that they can take down
// what they set up; a second one kills them.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const module = "github.com/braid-upf/braid"

// systemPackages need root, network namespaces and the machine for themselves:
// their packages run one after another, and not under the race detector, whose
// slowness would change what they measure.
var systemPackages = []string{
	module + "/internal/lab", module + "/internal/mptcpclient", module + "/internal/demo", module + "/internal/e2e", module + "/internal/upftest",
}

// oneGoroutine are packages whose goroutines share nothing: the race detector can find
// nothing in them and takes minutes.
var oneGoroutine = []string{module + "/internal/sim"}

// stage is one run of go test.
type stage struct {
	name     string
	args     []string
	packages []string
	testArgs []string // for the tests themselves
	verbose  bool     // a line for every test, not only for every package
}

func main() {
	runtime.LockOSThread() // Pdeathsig goes by the thread: this one lasts
	stages, err := plan(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "runtests:", err)
		os.Exit(1)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	var all result
	begin := time.Now()
	for _, s := range stages {
		fmt.Printf("--- %s\n", s.name)
		r, interrupted := s.run(signals)
		all.add(r)
		if interrupted {
			all.failedNames = append(all.failedNames, s.name+": interrupted")
			break
		}
	}
	for _, name := range all.skippedNames {
		fmt.Println("skipped, and nothing may skip here:", name)
	}
	for _, name := range all.failedNames {
		fmt.Println("failed:", name)
	}
	fmt.Printf("in %s:\n%d passed, %d failed, %d skipped\n", time.Since(begin).Round(time.Second), all.passed, len(all.failedNames), len(all.skippedNames))
	if len(all.failedNames) > 0 || len(all.skippedNames) > 0 || all.passed == 0 {
		os.Exit(1)
	}
}

// plan lists the stages of these names, or all if there are none.
func plan(names []string) ([]stage, error) {
	all, err := packages()
	if err != nil {
		return nil, err
	}
	for _, p := range slices.Concat(systemPackages, oneGoroutine) {
		if !slices.Contains(all, p) {
			return nil, fmt.Errorf("package %s, which has a stage of its own, is not there", p)
		}
	}
	without := func(from, these []string) []string {
		return slices.DeleteFunc(slices.Clone(from), func(p string) bool { return slices.Contains(these, p) })
	}
	units := without(all, systemPackages)
	stages := []stage{
		{"unit", []string{"-timeout=10m"}, units, nil, false},
		{"seeds", []string{"-timeout=10m", "-run=^TestSeeds$"}, oneGoroutine, []string{"-seeds=2000", "-first=10000"}, false},
		{"race", []string{"-race", "-timeout=10m"}, without(units, oneGoroutine), nil, false},
		{"e2e", []string{"-p=1", "-timeout=20m"}, systemPackages, nil, true},
	}
	for _, name := range names {
		if !slices.ContainsFunc(stages, func(s stage) bool { return s.name == name }) {
			return nil, fmt.Errorf("no stage is named %q", name)
		}
	}
	if len(names) > 0 {
		stages = slices.DeleteFunc(stages, func(s stage) bool { return !slices.Contains(names, s.name) })
	}
	return stages, nil
}

// packages lists the module's packages, those without tests too: go test builds
// and vets them.
func packages() ([]string, error) {
	out, err := exec.Command("go", "list", "./...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("go list: %s", exit.Stderr)
		}
		return nil, err
	}
	return strings.Fields(string(out)), nil
}

// result counts tests, subtests among them; a test of two stages counts in both. A
// package that fails without a failed test, because it does not build or panics,
// counts as one.
type result struct {
	passed                    int
	failedNames, skippedNames []string
}

func (r *result) add(o result) {
	r.passed += o.passed
	r.failedNames = append(r.failedNames, o.failedNames...)
	r.skippedNames = append(r.skippedNames, o.skippedNames...)
}

// event is one line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // instead of Package, in the output of a build
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// run runs the stage.
func (s *stage) run(signals <-chan os.Signal) (r result, interrupted bool) {
	cmd := exec.Command("go", slices.Concat([]string{"test", "-json", "-count=1"}, s.args, s.packages, s.testArgs)...)
	cmd.Stderr = os.Stderr
	// A group of its own, for the signals to reach go test and the tests alike.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return result{failedNames: []string{s.name + ": " + err.Error()}}, false
	}
	ended, forwarded := make(chan struct{}), make(chan bool)
	go func() { forwarded <- forward(signals, cmd.Process.Pid, ended) }()
	rd := reader{stage: s, packages: map[string]*result{}, output: map[string][]string{}}
	if err := rd.read(out); err != nil {
		rd.total.failedNames = append(rd.total.failedNames, s.name+": "+err.Error())
	}
	err = cmd.Wait()
	close(ended)
	if err != nil && len(rd.total.failedNames) == 0 {
		rd.total.failedNames = append(rd.total.failedNames, s.name+": go test: "+err.Error())
	}
	return rd.total, <-forwarded
}

// forward interrupts the process group at the first signal, which lets go test wait
// for its tests, and kills it at the second. It says whether there was one.
func forward(signals <-chan os.Signal, group int, ended <-chan struct{}) (interrupted bool) {
	sig := syscall.SIGINT
	for {
		select {
		case <-signals:
			_ = syscall.Kill(-group, sig) // it may have ended by itself
			interrupted, sig = true, syscall.SIGKILL
		case <-ended:
			return interrupted
		}
	}
}

// reader follows the events of one go test.
type reader struct {
	stage    *stage
	total    result
	packages map[string]*result  // running
	output   map[string][]string // of a running package (or its build), or of a running test in it
}

// read reads events until their end.
func (r *reader) read(from io.Reader) error {
	lines := bufio.NewReader(from)
	for {
		b, err := lines.ReadBytes('\n')
		if len(b) > 0 {
			r.line(b)
		}
		if err != nil {
			for pkg := range r.packages {
				r.total.failedNames = append(r.total.failedNames, r.stage.name+": "+short(pkg)+": did not end")
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func (r *reader) line(b []byte) {
	var e event
	if err := json.Unmarshal(b, &e); err != nil {
		fmt.Printf("%s", b) // not an event: go itself complains
		return
	}
	if e.Package == "" {
		e.Package = e.ImportPath
	}
	key := e.Package + " " + e.Test
	switch {
	case e.Action == "output" || e.Action == "build-output":
		r.output[key] = append(r.output[key], e.Output)
	case e.Action == "pass" || e.Action == "fail" || e.Action == "skip":
		if e.Test != "" {
			r.endTest(&e, key)
		} else {
			r.endPackage(&e, key)
		}
		delete(r.output, key)
	case e.Action == "build-fail":
		fmt.Print(strings.Join(r.output[key], ""))
		delete(r.output, key)
	}
}

func (r *reader) endTest(e *event, key string) {
	p := r.packages[e.Package]
	if p == nil {
		p = &result{}
		r.packages[e.Package] = p
	}
	name := r.stage.name + ": " + short(e.Package) + "." + e.Test
	switch e.Action {
	case "pass":
		p.passed++
	case "fail":
		p.failedNames = append(p.failedNames, name)
	case "skip":
		p.skippedNames = append(p.skippedNames, name)
	}
	if e.Action != "pass" {
		fmt.Print(strings.Join(r.output[key], ""))
	}
	if r.stage.verbose && !strings.Contains(e.Test, "/") {
		fmt.Printf("  %-4s %6.1fs  %s\n", e.Action, e.Elapsed, e.Test)
	}
}

func (r *reader) endPackage(e *event, key string) {
	p := r.packages[e.Package]
	if p == nil {
		p = &result{}
	}
	delete(r.packages, e.Package)
	if e.Action == "skip" {
		return // it has no test files
	}
	switch name := r.stage.name + ": " + short(e.Package); {
	case e.Action == "fail" && len(p.failedNames) == 0:
		p.failedNames = append(p.failedNames, name)
	case e.Action == "pass" && p.passed+len(p.skippedNames) == 0:
		p.failedNames = append(p.failedNames, name+": no test ran")
	}
	if e.Action == "fail" {
		fmt.Print(strings.Join(r.output[key], ""))
		r.printUnfinished(e.Package)
	}
	fmt.Printf("%-4s %6.1fs  %-28s %4d passed", e.Action, e.Elapsed, short(e.Package), p.passed)
	if n := len(p.failedNames); n > 0 {
		fmt.Printf(", %d failed", n)
	}
	if n := len(p.skippedNames); n > 0 {
		fmt.Printf(", %d skipped", n)
	}
	fmt.Println()
	r.total.add(*p)
}

// printUnfinished shows what the tests said that had not ended when their package
// did: a panic or a timeout.
func (r *reader) printUnfinished(pkg string) {
	for key, lines := range r.output {
		if name, ok := strings.CutPrefix(key, pkg+" "); ok && name != "" {
			fmt.Print(strings.Join(lines, ""))
			delete(r.output, key)
		}
	}
}

func short(pkg string) string { return strings.TrimPrefix(pkg, module+"/") }
