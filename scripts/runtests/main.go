// Command runtests runs every test of the module in stages and judges them as a
// whole: a test that fails and a test that skips both make it fail. `make test`
// calls it; it expects the tools that scripts/setup installs. Arguments name the
// stages to run, unit, race or e2e; without any, all are run.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const module = "github.com/braid-upf/braid"

// systemPackages need root, network namespaces and the machine for themselves:
// their packages run one after another, and not under the race detector, whose
// slowness would change what they measure.
var systemPackages = []string{"internal/lab", "internal/mptcpclient", "internal/demo", "internal/e2e"}

// oneGoroutine are packages that the race detector can find nothing in and takes
// minutes over.
var oneGoroutine = []string{module + "/internal/sim"}

// stage is one run of go test.
type stage struct {
	name     string
	args     []string
	packages []string
	verbose  bool // a line for every test, not only for every package
}

func main() {
	units, systems, err := packages()
	if err != nil {
		fmt.Fprintln(os.Stderr, "runtests:", err)
		os.Exit(1)
	}
	raced := slices.DeleteFunc(slices.Clone(units), func(p string) bool { return slices.Contains(oneGoroutine, p) })
	stages := []stage{
		{"unit", []string{"-timeout=10m"}, units, false},
		{"race", []string{"-race", "-timeout=10m"}, raced, false},
		{"e2e", []string{"-p=1", "-timeout=12m"}, systems, true},
	}
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	var all result
	begin := time.Now()
	for _, s := range stages {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], s.name) {
			continue
		}
		fmt.Printf("--- %s\n", s.name)
		all.add(s.run(interrupt))
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

// packages lists the module's packages that have tests.
func packages() (units, systems []string, err error) {
	const format = `{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}`
	out, err := exec.Command("go", "list", "-f", format, "./...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("go list: %s", exit.Stderr)
		}
		return nil, nil, err
	}
	for _, p := range strings.Fields(string(out)) {
		if slices.Contains(systemPackages, strings.TrimPrefix(p, module+"/")) {
			systems = append(systems, p)
		} else {
			units = append(units, p)
		}
	}
	return units, systems, nil
}

// result counts tests, subtests among them. A package that fails without a failed
// test, because it does not build or panics, counts as one.
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

// run runs the stage. An interrupt goes on to go test, so that the tests can clean
// up; the stage then ends as failed.
func (s *stage) run(interrupt <-chan os.Signal) result {
	if len(s.packages) == 0 {
		return result{}
	}
	cmd := exec.Command("go", slices.Concat([]string{"test", "-json", "-count=1"}, s.args, s.packages)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return result{failedNames: []string{s.name + ": " + err.Error()}}
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case sig := <-interrupt:
			_ = cmd.Process.Signal(sig) // it may have ended by its own copy
		case <-ended:
		}
	}()
	rd := reader{stage: s, packages: map[string]*result{}, output: map[string][]string{}}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		rd.line(lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		rd.total.failedNames = append(rd.total.failedNames, s.name+": "+err.Error())
	}
	if err := cmd.Wait(); err != nil && len(rd.total.failedNames) == 0 {
		rd.total.failedNames = append(rd.total.failedNames, s.name+": go test: "+err.Error())
	}
	return rd.total
}

// reader follows the events of one go test.
type reader struct {
	stage    *stage
	total    result
	packages map[string]*result  // running
	output   map[string][]string // of a running package (or its build), or of a running test in it
}

func (r *reader) line(b []byte) {
	var e event
	if err := json.Unmarshal(b, &e); err != nil {
		fmt.Printf("%s\n", b) // not an event: go itself complains
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
	if e.Action == "fail" && len(p.failedNames) == 0 {
		p.failedNames = append(p.failedNames, r.stage.name+": "+short(e.Package))
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
