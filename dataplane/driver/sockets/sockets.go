// Package sockets is the driver that works on any Linux: UDP sockets on N3, a TUN
// device on N6, with the kernel's routing, NAT and interfaces behind both.
//
//	            N3                                      N6
//	UDP socket 0 of the group --.            .-- TUN queue 0
//	   (SO_REUSEPORT)            > worker 0 <
//	UDP socket 1 --------------. '----------' .-- TUN queue 1
//	                             > worker 1 <
//
// BPF programs, written in instructions here and loaded at start, choose the socket
// by TEID and the queue by UE address, so that all packets of a session come to its
// worker. It needs CAP_NET_ADMIN and CAP_BPF.
//
// Left out: super-packets (UDP_GRO, UDP_SEGMENT, virtio-net headers).
package sockets

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
)

// DefaultTUN is the N6 device's name if Config has none; free5GC's name for it.
const DefaultTUN = "upfgtp"

// DefaultMTU is the N6 device's MTU if Config has none: what a 1500-byte N3 carries
// behind IPv4, UDP and GTP-U with a PDU Session Container (20 + 8 + 16 bytes).
const DefaultMTU = 1456

// Config is what a Set is opened with.
type Config struct {
	Workers int            // 1 to 64
	N3      []netip.Addr   // our addresses, at least one; the port is GTP-U's
	TUN     string         // N6 device; "" = DefaultTUN
	MTU     int            // of the N6 device, bytes; 0 = DefaultMTU
	Routes  []netip.Prefix // UE addresses, routed to the N6 device for good
}

// Set is a driver.Set.
type Set struct {
	addrs    []netip.Addr
	steering *steering
	routes   *routes
	probes   []pathProbe // one of each IP version that N3 has
	drivers  []*Driver
	opened   []int // every file descriptor
}

// Open binds the N3 addresses, makes the N6 device with its routes, and turns IP
// forwarding on, all in the network namespace of the calling thread. Forwarding
// stays on after Close. The errors name what is missing.
func Open(cfg Config) (s *Set, err error) {
	if cfg.Workers < 1 || len(cfg.N3) < 1 {
		return nil, fmt.Errorf("sockets: %d workers and %d N3 addresses: at least one of each", cfg.Workers, len(cfg.N3))
	}
	if cfg.TUN == "" {
		cfg.TUN = DefaultTUN
	}
	if cfg.MTU == 0 {
		cfg.MTU = DefaultMTU
	}
	s = &Set{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if s.steering, err = newSteering(); err != nil {
		return s, err
	}
	if err := s.openN6(&cfg); err != nil {
		return s, err
	}
	for _, a := range cfg.N3 {
		if err := s.openN3(a.Unmap()); err != nil {
			return s, err
		}
	}
	for _, d := range s.drivers {
		if d.event, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
			return s, fmt.Errorf("eventfd: %w", err)
		}
		s.opened = append(s.opened, d.event)
		d.watch()
	}
	return s, nil
}

func (s *Set) openN6(cfg *Config) error {
	queues, err := openTUN(cfg.TUN, cfg.Workers)
	if err != nil {
		return err
	}
	s.opened = append(s.opened, queues...)
	for _, q := range queues {
		s.drivers = append(s.drivers, &Driver{tun: q})
	}
	if err := steerTUN(queues[0], s.steering.n6.FD()); err != nil {
		return err
	}
	if err := upTUN(cfg.TUN, cfg.MTU); err != nil {
		return err
	}
	s.routes, err = newRoutes(cfg.TUN, cfg.Routes)
	return err
}

func (s *Set) openN3(a netip.Addr) error {
	fds, err := openUDP(netip.AddrPortFrom(a, gtpu.Port), len(s.drivers))
	if err != nil {
		return err
	}
	s.opened = append(s.opened, fds...)
	for i, fd := range fds {
		d := s.drivers[i]
		d.n3 = append(d.n3, newReceiver(fd, uint8(len(s.addrs)), a.Is6()))
	}
	s.addrs = append(s.addrs, a)
	if !slices.ContainsFunc(s.probes, func(p pathProbe) bool { return p.v6 == a.Is6() }) {
		p, err := openPathProbe(a)
		if err != nil {
			return err
		}
		s.opened = append(s.opened, p.fd)
		s.probes = append(s.probes, p)
	}
	return steerUDP(fds[0], s.steering.n3.FD())
}

// Workers is the number of workers.
func (s *Set) Workers() int { return len(s.drivers) }

// Driver is the driver of a worker.
func (s *Set) Driver(worker int) driver.Driver { return s.drivers[worker] }

// N3Addrs are our N3 addresses.
func (s *Set) N3Addrs() []netip.Addr { return s.addrs }

// SteerTEID is as driver.Set has it.
func (s *Set) SteerTEID(teid uint32, worker int) error {
	return s.steering.teids.Put(teidKey(teid), uint32(worker))
}

// ForgetTEID is as driver.Set has it.
func (s *Set) ForgetTEID(teid uint32) error { return s.steering.teids.Delete(teidKey(teid)) }

// SteerSlot is as driver.Set has it.
func (s *Set) SteerSlot(slot uint16, worker int) error {
	return s.steering.slots.Put(uint32(slot), uint32(worker))
}

// SteerUE is as driver.Set has it.
func (s *Set) SteerUE(p netip.Prefix, worker int) error {
	if err := driver.CheckUE(p); err != nil {
		return err
	}
	if err := s.routes.need(p); err != nil {
		return err
	}
	m, key := s.steering.ueKey(p)
	if err := m.Put(key, uint32(worker)); err != nil {
		return errors.Join(err, s.routes.drop(p))
	}
	return nil
}

// ForgetUE is as driver.Set has it.
func (s *Set) ForgetUE(p netip.Prefix) error {
	if err := driver.CheckUE(p); err != nil {
		return err
	}
	m, key := s.steering.ueKey(p)
	return errors.Join(m.Delete(key), s.routes.drop(p))
}

// Close closes the sockets and with them removes the N6 device and its routes.
func (s *Set) Close() error {
	closeAll(s.opened)
	s.opened = nil
	if s.routes != nil {
		s.routes.kernel.Close()
	}
	if s.steering == nil {
		return nil
	}
	return s.steering.close()
}
