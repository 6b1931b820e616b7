package sockets

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tunQueueLen is the length, in packets, of the kernel's queue towards each worker:
// a burst of a forwarding kernel, at 1400 bytes 2 ms at 10 Gbit/s.
const tunQueueLen = 2048

// openTUN makes the multi-queue TUN device name with n queues in the network
// namespace of the calling thread. The device lives until the last queue is closed.
func openTUN(name string, n int) (queues []int, err error) {
	if _, err := netlink.LinkByName(name); err == nil {
		return nil, fmt.Errorf("N6: a device %s is there already; is another UPF running?", name)
	}
	defer func() {
		if err != nil {
			closeAll(queues)
			queues = nil
		}
	}()
	for range n {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return queues, fmt.Errorf("N6: open /dev/net/tun: %w", err)
		}
		queues = append(queues, fd)
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return queues, fmt.Errorf("N6: device name %q: %w", name, err)
		}
		flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if n > 1 {
			flags |= unix.IFF_MULTI_QUEUE
		}
		ifr.SetUint16(flags)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			if errors.Is(err, os.ErrPermission) {
				err = fmt.Errorf("%w: needs CAP_NET_ADMIN", err)
			}
			return queues, fmt.Errorf("N6: make TUN device %s: %w", name, err)
		}
	}
	return queues, nil
}

// steerTUN attaches the program that picks the queue.
func steerTUN(queue, program int) error {
	if err := unix.IoctlSetPointerInt(queue, unix.TUNSETSTEERINGEBPF, program); err != nil {
		return fmt.Errorf("N6: attach the steering program: %w", err)
	}
	return nil
}

// upTUN sets the device up: MTU, queue length, forwarding.
func upTUN(name string, mtu int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("N6: device %s: %w", name, err)
	}
	if err := netlink.LinkSetMTU(link, mtu); err != nil {
		return fmt.Errorf("N6: device %s: MTU %d: %w", name, mtu, err)
	}
	if err := netlink.LinkSetTxQLen(link, tunQueueLen); err != nil {
		return fmt.Errorf("N6: device %s: queue length: %w", name, err)
	}
	// Or IPv6 joins groups and reports them into the device.
	if err := netlink.LinkSetMulticastOff(link); err != nil {
		return fmt.Errorf("N6: device %s: multicast off: %w", name, err)
	}
	if err := setSysctls(name); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("N6: device %s: set up: %w", name, err)
	}
	return nil
}

// setSysctls turns forwarding on, and on the device turns the reverse path filter
// and IPv6's own address and router solicitations off. A kernel without IPv6 has
// no such files; in a container they are often read-only, but set right.
func setSysctls(name string) error {
	for _, s := range []struct{ path, value string }{
		{"ipv4/ip_forward", "1"},
		{"ipv4/conf/" + name + "/rp_filter", "0"},
		{"ipv6/conf/" + name + "/addr_gen_mode", "1"},
		{"ipv6/conf/" + name + "/router_solicitations", "0"},
		{"ipv6/conf/all/forwarding", "1"},
	} {
		file := "/proc/sys/net/" + s.path
		now, err := os.ReadFile(file)
		if err == nil && string(bytes.TrimSpace(now)) != s.value {
			err = os.WriteFile(file, []byte(s.value), 0)
		}
		if err != nil && !(errors.Is(err, os.ErrNotExist) && strings.HasPrefix(s.path, "ipv6/")) {
			return fmt.Errorf("N6: net/%s = %s: %w", s.path, s.value, err)
		}
	}
	return nil
}
