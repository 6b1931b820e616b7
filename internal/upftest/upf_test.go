package upftest

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/braid-upf/braid/internal/lab"
)

// upf is a running bin/upf.
type upf struct {
	*host
	dir    string // config, log and state
	config string // text of upfcfg.yaml
	n3, n4 netip.Addr
	*process
}

// configOf is a UPF's config; braid is what stands in its section braid, dnns in dnnList.
func configOf(n4, n3 netip.Addr, dnns, braid string) string {
	return fmt.Sprintf(`version: 1.0.3
description: test
pfcp: {addr: %v, nodeID: %v, retransTimeout: 1s, maxRetrans: 3}
gtpu:
  forwarder: gtp5g
  ifList: [{addr: %v, type: N3, mtu: 1400}]
dnnList: [%s]
logger: {enable: true, level: info}
braid: {%s}
`, n4, n4, n3, dnns, braid)
}

// startUPF starts the UPF of a config and returns when it is ready.
func startUPF(h *host, n4, n3 netip.Addr, config string) *upf {
	h.t.Helper()
	u := newUPF(h, n4, n3, config)
	u.begin()
	return u
}

// newUPF is a UPF that does not run yet.
func newUPF(h *host, n4, n3 netip.Addr, config string) *upf {
	h.t.Helper()
	u := &upf{host: h, dir: filepath.Join(runDir, strings.ReplaceAll(h.t.Name(), "/", "-")+"-"+h.name), config: config, n3: n3, n4: n4}
	h.check(os.MkdirAll(u.dir, 0o755))
	u.write(config)
	h.t.Cleanup(func() {
		if h.t.Failed() {
			b, _ := os.ReadFile(u.log()) // an empty log says enough
			const most = 4 << 10
			h.t.Logf("end of the log of %s:\n%s", h.name, b[max(0, len(b)-most):])
		}
	})
	return u
}

func (u *upf) write(config string) {
	u.t.Helper()
	u.check(os.WriteFile(filepath.Join(u.dir, "upfcfg.yaml"), []byte(strings.ReplaceAll(config, "{dir}", u.dir)), 0o644))
}

func (u *upf) log() string { return filepath.Join(u.dir, "upf.log") }

// begin starts the process and waits until it is ready.
func (u *upf) begin(wrapper ...string) {
	u.t.Helper()
	before := u.logSize()
	u.process = u.start(u.log(), append(wrapper, upfBin, "-c", filepath.Join(u.dir, "upfcfg.yaml"))...)
	u.awaitLog(before, "UPF started")
}

// end ends the process as an operator does.
func (u *upf) end() {
	u.t.Helper()
	u.check(u.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-u.ended:
		u.check(u.err)
	case <-time.After(eventTime):
		u.t.Fatalf("%s: does not end on SIGTERM", u.name)
	}
}

func (u *upf) logSize() int64 {
	st, err := os.Stat(u.log())
	if err != nil {
		return 0 // not there yet
	}
	return st.Size()
}

// awaitLog waits for a text in the log behind an offset.
func (u *upf) awaitLog(from int64, text string) {
	u.t.Helper()
	await(u.t, fmt.Sprintf("%q in the log of %s", text, u.name), 2*eventTime, func() bool {
		select {
		case <-u.ended:
			u.t.Fatalf("%s has ended: %v", u.name, u.err)
		default:
		}
		return bytes.Contains(u.logFrom(from), []byte(text))
	})
}

func (u *upf) logFrom(from int64) []byte {
	b, err := os.ReadFile(u.log())
	u.check(err)
	return b[from:]
}

// counters are the UPF's counters that are not zero.
func (u *upf) counters() map[string]uint64 {
	u.t.Helper()
	before := u.logSize()
	u.check(u.cmd.Process.Signal(syscall.SIGUSR1))
	var counters map[string]uint64
	await(u.t, "counters of "+u.name, eventTime, func() (complete bool) {
		counters, complete = lab.ParseUPFCounters(string(u.logFrom(before)))
		return complete
	})
	return counters
}

// counted fails the test unless counters have risen since before by what want says.
func (u *upf) counted(before map[string]uint64, want map[string]uint64) {
	u.t.Helper()
	now := u.counters()
	for name, n := range want {
		if got := now[name] - before[name]; got != n {
			u.t.Errorf("%s: counter %s rose by %d, want %d", u.name, name, got, n)
		}
	}
}

// await waits until a counter has risen by n since before.
func (u *upf) await(before map[string]uint64, name string, n uint64) {
	u.t.Helper()
	await(u.t, fmt.Sprintf("%s: %d more of counter %s", u.name, n, name), eventTime, func() bool {
		return u.counters()[name]-before[name] >= n
	})
}
