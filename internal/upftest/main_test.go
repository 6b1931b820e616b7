package upftest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Shared by all tests: why they cannot run, if they cannot; the UPF; where files go.
var (
	missing error
	upfBin  string
	runDir  string
)

// The main thread cannot end before the process does: no namespace must get it.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	code, err := setUp(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "upftest:", err)
		code = 1
	}
	os.Exit(code)
}

// dirPrefix and the process ID of the tests are the name of their directory.
const dirPrefix = "braid-upftest-"

func setUp(m *testing.M) (code int, err error) {
	if missing = findMissing(); missing != nil {
		if os.Getenv("REQUIRE_E2E") == "1" {
			return 1, fmt.Errorf("REQUIRE_E2E=1, but %w", missing)
		}
		return m.Run(), nil
	}
	if err := removeOrphans(); err != nil {
		return 1, err
	}
	runDir = filepath.Join(os.TempDir(), fmt.Sprint(dirPrefix, os.Getpid()))
	if err := os.Mkdir(runDir, 0o755); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(runDir)) }()
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupt
		_ = os.RemoveAll(runDir) // what it leaves the next run removes
		os.Exit(130)
	}()
	bin := os.Getenv("BRAID_BIN")
	if bin == "" {
		bin = runDir
		build := exec.Command("go", "build", "-o", bin+"/", "github.com/braid-upf/braid/cmd/upf")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	upfBin = filepath.Join(bin, "upf")
	return m.Run(), nil
}

// removeOrphans removes the files of runs that were killed.
func removeOrphans() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		_, pid, _ := strings.Cut(filepath.Base(dir), dirPrefix)
		if _, gone := os.Stat("/proc/" + pid); errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}

// findMissing names what this machine lacks.
func findMissing() error {
	if os.Geteuid() != 0 {
		return errors.New("not root: network namespaces cannot be made")
	}
	if _, err := exec.LookPath("nginx"); err != nil {
		return errors.New("command nginx is missing")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return errors.New("/dev/net/tun is missing")
	}
	return nil
}
