package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/braid-upf/braid/internal/testenv"
)

// The test binary is the daemon too: with this variable set it runs main.
const asDaemon = "BRAID_TEST_RUN_UPF"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		main()
	}
	os.Exit(m.Run())
}

func daemon(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asDaemon+"=1")
	return cmd
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "upfcfg.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestBrokenConfig(t *testing.T) {
	file := writeConfig(t, "version: 1.0.3\npfcp:\n  addr: 127.0.0.8\n  maxRetrans: many\ngtpu:\n  forwarder: gtp5g\n  ifList: [{addr: 127.0.0.8, type: N3}]\ndnnList: [{dnn: internet, cidr: 10.60.0.0/16}]\n")
	tests := []struct {
		name string
		args []string
		says string
	}{
		{"value", []string{"-c", file}, `upfcfg.yaml:4: pfcp.maxRetrans: "many", allowed: a whole number from 0 to 255`},
		{"no file", []string{"-c", file + ".not"}, "no such file"},
		{"unknown option", []string{"-x"}, "-x"},
		{"argument", []string{"start"}, "options only"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			out, err := daemon(t.Context(), tc.args...).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
				t.Errorf("%v, want exit code %d", err, exitUsage)
			}
			if !strings.Contains(string(out), tc.says) {
				t.Errorf("says %q, want %q in it", out, tc.says)
			}
		})
	}
}

// lines collects what a process writes and tells when a line has come.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	l.text.Write(b)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (l *lines) await(t *testing.T, pattern string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(20 * time.Second)
	for {
		l.mu.Lock()
		found, all := re.Match(l.text.Bytes()), l.text.String()
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-l.more:
		case <-deadline:
			t.Fatalf("%s is not in:\n%s", pattern, all)
		}
	}
}

// inNamespace puts the test's thread into a network namespace of its own, whose
// loopback is up.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Lacks(t, "needs root: it makes a network namespace and a TUN device")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
}

func TestLife(t *testing.T) {
	inNamespace(t)
	file := writeConfig(t, `
version: 1.0.3
pfcp: {addr: 127.0.0.8, nodeID: 127.0.0.8, retransTimeout: 1s, maxRetrans: 3}
gtpu: {forwarder: gtp5g, ifList: [{addr: 127.0.0.8, type: N3, mtu: 1400}, {addr: 127.0.0.8, type: N9}]}
dnnList: [{dnn: internet, cidr: 10.60.0.0/16, natifname: lo}, {dnn: ims, cidr: 10.60.0.0/16, natifname: lo}, {dnn: six, cidr: 'fd00:60::/32', natifname: lo}]
logger: {enable: true, level: info}
braid: {workers: 2, tun: braidtest}
`)
	logs := []string{filepath.Join(t.TempDir(), "a", "upf.log"), filepath.Join(t.TempDir(), "b.log")}
	out := &lines{more: make(chan struct{}, 1)}
	cmd := daemon(t.Context(), "-c", file, "-l", logs[0], "-l", logs[1])
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	out.await(t, `\[INFO\]\[UPF\]\[Main\] UPF started .*workers=2`)
	link, err := netlink.LinkByName("braidtest")
	if err != nil {
		t.Fatal(err)
	}
	if link.Attrs().MTU != 1400 {
		t.Errorf("the TUN's MTU is %d, want 1400", link.Attrs().MTU)
	}
	out.await(t, `\[WARN\].* NAT is not done for IPv6.* dnn=six cidr=fd00:60::/32 natifname=lo`)
	if got := natRulesNow(t); got != 1 {
		t.Errorf("%d NAT rules in table braid-braidtest, want 1", got)
	}
	if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	out.await(t, `counters that are not zero follow sessions=0`)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err, ended = cmd.Wait(), true
	if err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if _, err := netlink.LinkByName("braidtest"); err == nil {
		t.Error("the TUN device is still there")
	}
	if got := natRulesNow(t); got != 0 {
		t.Errorf("%d NAT rules after the end", got)
	}
	out.await(t, `UPF ends`)
	for _, file := range logs {
		b, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(b, []byte("UPF started")) {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
}

// natRulesNow is the number of the daemon's NAT rules in the test's namespace.
func natRulesNow(t *testing.T) int {
	t.Helper()
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, table := range tables {
		if table.Name != "braid-braidtest" {
			t.Errorf("a table %s", table.Name)
		}
		rules, err := c.GetRules(table, &nftables.Chain{Name: "postrouting"})
		if err != nil {
			t.Fatal(err)
		}
		n += len(rules)
	}
	return n
}

func TestNoInterface(t *testing.T) {
	inNamespace(t)
	file := writeConfig(t, `
pfcp: {addr: 127.0.0.8}
gtpu: {forwarder: gtp5g, ifList: [{addr: 127.0.0.8}]}
dnnList: [{dnn: internet, cidr: 10.60.0.0/16, natifname: eth7}]
`)
	out, err := daemon(t.Context(), "-c", file).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailure || !strings.Contains(string(out), "dnnList: natifname eth7: no such interface") {
		t.Errorf("%v, says %q", err, out)
	}
}
