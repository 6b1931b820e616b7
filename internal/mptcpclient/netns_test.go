package mptcpclient

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// bindOwnNetns gives the network namespace of this process a name.
func bindOwnNetns(name string) error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(netnsDir, name)
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		return err
	}
	return unix.Mount("/proc/self/ns/net", path, "", unix.MS_BIND, "")
}

func unbindNetns(t *testing.T, name string) {
	path := filepath.Join(netnsDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
}
