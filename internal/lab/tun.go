package lab

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// OpenTUN attaches to the TUN device name of the calling thread's network
// namespace, making it if it is not there. The descriptor is non-blocking and
// carries bare IP packets.
func OpenTUN(name string) (fd int, err error) {
	fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return -1, fmt.Errorf("open /dev/net/tun: %w (load the kernel module tun; in a container, pass the device in)", err)
	}
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("TUN %q: %w", name, err)
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("attach to TUN %s: %w", name, err)
	}
	return fd, nil
}

// makeTUN makes the TUN device name in the calling thread's network namespace,
// such that it outlives the process that uses it, with its addresses and routes.
func makeTUN(name string) error {
	fd, err := OpenTUN(name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("keep TUN %s: %w", name, err)
	}
	return nil
}
