package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/braid-upf/braid/internal/lab"
)

// Shared by all tests; theLab is nil where something is missing, which is then
// why.
var (
	theLab  *lab.Lab
	missing error
	bin     string // folder with our commands
	files   = map[fileKey]*file{}
)

// fileKey names a file: one of its size in its lab.
type fileKey struct {
	lab  *lab.Lab
	size int
}

func TestMain(m *testing.M) {
	code, err := setUp(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func setUp(m *testing.M) (code int, err error) {
	if missing = findMissing(); missing != nil {
		if os.Getenv("REQUIRE_E2E") == "1" {
			return 1, fmt.Errorf("REQUIRE_E2E=1, but %w", missing)
		}
		return m.Run(), nil
	}
	if bin = os.Getenv("BRAID_BIN"); bin == "" {
		if bin, err = os.MkdirTemp("", "braid-e2e-"); err != nil {
			return 1, err
		}
		defer os.RemoveAll(bin) // a temporary folder
		build := exec.Command("go", "build", "-o", bin+"/", "github.com/braid-upf/braid/cmd/...")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	if err := removeOrphans(); err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	theLab, err = lab.Up(ctx, lab.Options{
		Name:          fmt.Sprintf("%s%d", labPrefix, os.Getpid()),
		BraidBin:      filepath.Join(bin, "braid"),
		UPFBin:        filepath.Join(bin, "upf"),
		Workers:       2,
		IPv6:          true,
		UEAddresses:   ueAddresses,
		DieWithParent: true,
		Progress:      os.Stderr,
	})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, theLab.Down()) }()
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupt
		signal.Stop(interrupt) // the next one kills
		if err := theLab.Down(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
		}
		os.Exit(130)
	}()
	return m.Run(), nil
}

// ueAddresses is how many addresses of each IP version the UE has on each access:
// enough for as many subflows as Linux opens.
const ueAddresses = 4

// labPrefix and the process ID of the tests are the name of their lab; what stands behind
// a dash then tells others from it.
const labPrefix = "e2e"

// removeOrphans removes the labs of runs that were killed.
func removeOrphans() error {
	names, err := lab.Names()
	for _, name := range names {
		pid, ours := strings.CutPrefix(name, labPrefix)
		pid, _, _ = strings.Cut(pid, "-")
		if _, gone := os.Stat("/proc/" + pid); ours && errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, lab.Remove(name))
		}
	}
	return err
}

// findMissing names what this machine lacks.
func findMissing() error {
	if os.Geteuid() != 0 {
		return errors.New("not root: network namespaces cannot be made")
	}
	for _, tool := range []string{"nginx", "ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("command %s is missing", tool)
		}
	}
	for _, path := range []string{"/dev/net/tun", "/proc/sys/net/mptcp/enabled"} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%s is missing", path)
		}
	}
	return nil
}
