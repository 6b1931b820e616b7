package mptcpclient

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// netnsDir is where ip-netns(8) and the lab bind network namespaces to names.
const netnsDir = "/run/netns"

// In runs fn on a thread inside the named network namespace; "" is the caller's
// own. A socket that fn makes stays in that namespace, whoever uses it later; fn
// must make it itself, not in another goroutine.
func In(netns string, fn func() error) error {
	if netns == "" {
		return fn()
	}
	target, err := os.Open(filepath.Join(netnsDir, netns))
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", netns, err)
	}
	defer target.Close()
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace of this thread: %w", err)
	}
	defer own.Close()
	if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", netns, err)
	}
	errFn := fn()
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		// The thread stays locked, so the runtime ends it with its goroutine and
		// nothing else runs in the wrong namespace.
		return fmt.Errorf("leave network namespace %s: %w", netns, err)
	}
	runtime.UnlockOSThread()
	return errFn
}
