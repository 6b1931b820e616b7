package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/internal/ran"
)

// AccessConfig tells an access process what to join. [Up] writes it as JSON to
// the lab's state directory.
type AccessConfig struct {
	Access       string     `json:"access"`       // as steer.Access.String says it
	UENamespace  string     `json:"ueNamespace"`  // full names under /run/netns
	RANNamespace string     `json:"ranNamespace"` // of the gNB or N3IWF
	TUN          string     `json:"tun"`          // device in the UE's namespace
	Address      netip.Addr `json:"address"`      // N3 address of the gNB or N3IWF, IPv4
	TEID         uint32     `json:"teid"`         // downlink TEID, the one it accepts
	QFI          uint8      `json:"qfi"`          // of the uplink
	Control      string     `json:"control"`      // path of the control socket
	SMFState     string     `json:"smfState"`     // the smf's state file: where the uplink tunnel comes from
	Seed         uint64     `json:"seed"`         // of the impairments' random choices
}

// Tunnel is the far end of an access's uplink.
type Tunnel struct {
	TEID uint32     `json:"teid"`
	Peer netip.Addr `json:"peer"` // the UPF's N3 address; port 2152
}

// access is a running access process: one thread a direction, which waits, takes,
// impairs and hands on, and the control socket.
type access struct {
	cfg    AccessConfig
	tun    int
	sock   int
	stop   int // eventfd, readable once the process is to end
	start  time.Time
	im     [2]atomic.Pointer[Impairment] // by Direction-1
	tunnel atomic.Pointer[Tunnel]        // nil while unknown
	count  [2]Counters                   // by Direction-1
	gtpu   gtpuCounters
}

// gtpuCounters count what comes in on the GTP-U socket and is not the UE's
// traffic.
type gtpuCounters struct {
	Echo        atomic.Uint64 // Echo Requests answered
	Errors      atomic.Uint64 // Error Indications
	EndMarkers  atomic.Uint64
	UnknownTEID atomic.Uint64
	Other       atomic.Uint64 // of any other type
}

// RunAccess is one access: it opens the TUN device and the GTP-U socket that the
// configuration file names and carries packets between them until ctx ends.
func RunAccess(ctx context.Context, configFile string) error {
	b, err := os.ReadFile(configFile)
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	a := &access{start: time.Now()}
	if err := json.Unmarshal(b, &a.cfg); err != nil {
		return fmt.Errorf("access: %s: %w", configFile, err)
	}
	if err := a.open(); err != nil {
		return fmt.Errorf("access %s: %w", a.cfg.Access, err)
	}
	defer a.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	control, err := a.serveControl(ctx)
	if err != nil {
		return fmt.Errorf("access %s: %w", a.cfg.Access, err)
	}
	fmt.Printf("access %s: %s in %s, GTP-U %v in %s\n",
		a.cfg.Access, a.cfg.TUN, a.cfg.UENamespace, a.cfg.Address, a.cfg.RANNamespace)

	var wg sync.WaitGroup
	failed := make(chan error, 2)
	for _, loop := range []func() error{a.carryUplink, a.carryDownlink} {
		wg.Go(func() {
			runtime.LockOSThread() // for the timer slack; the thread ends with the goroutine
			if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
				failed <- fmt.Errorf("set timer slack: %w", err)
			} else if err := loop(); err != nil {
				failed <- err
			}
		})
	}
	go a.followSMF(ctx)
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	control.Close()
	_, werr := unix.Write(a.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	wg.Wait()
	return errors.Join(err, werr)
}

func (a *access) open() (err error) {
	a.tun, a.sock, a.stop = -1, -1, -1
	for i := range a.im {
		a.im[i].Store(&Impairment{})
	}
	if a.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if err = inNamespace(a.cfg.UENamespace, func() (err error) {
		a.tun, err = OpenTUN(a.cfg.TUN)
		return err
	}); err != nil {
		return err
	}
	return inNamespace(a.cfg.RANNamespace, func() (err error) {
		a.sock, err = openGTPU(a.cfg.Address)
		return err
	})
}

func (a *access) close() {
	for _, fd := range []int{a.tun, a.sock, a.stop} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// openGTPU binds the GTP-U socket of a gNB or N3IWF in the calling thread's
// network namespace.
func openGTPU(addr netip.Addr) (fd int, err error) {
	if !addr.Is4() {
		return -1, fmt.Errorf("GTP-U address %v: must be IPv4", addr)
	}
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("GTP-U socket: %w", err)
	}
	const buffer = 8 << 20 // a burst of 4,000 packets
	for _, opt := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, buffer); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("GTP-U socket buffer: %w", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: ran.Port, Addr: addr.As4()}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind GTP-U socket to %v: %w", addr, err)
	}
	return fd, nil
}

// now is the pipelines' clock.
func (a *access) now() int64 { return int64(time.Since(a.start)) }

// wait blocks until fd is readable, the pipeline's next packet is due or the
// process is to end. A packet may come out up to wakeQuantum late, so that a fast
// link wakes the thread once for several packets.
func (a *access) wait(fd int, p *pipeline) (readable, stop bool, err error) {
	fds := [2]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(a.stop), Events: unix.POLLIN}}
	var timeout *unix.Timespec
	if due, ok := p.next(); ok {
		ts := unix.NsecToTimespec(max(due-a.now(), int64(wakeQuantum)))
		timeout = &ts
	}
	_, err = unix.Ppoll(fds[:], timeout, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, false, fmt.Errorf("ppoll: %w", err)
	}
	return fds[0].Revents != 0, fds[1].Revents != 0, nil
}

const wakeQuantum = 50 * time.Microsecond

// carryUplink carries packets from the UE's TUN device to the UPF.
func (a *access) carryUplink() error {
	var (
		pl    pool
		count = &a.count[DirectionUp-1]
		im    = &a.im[DirectionUp-1]
		p     = newPipeline(a.cfg.Seed, &pl, count)
		out   datagrams
	)
	out.link()
	for {
		readable, stop, err := a.wait(a.tun, p)
		if stop || err != nil {
			return err
		}
		p.set(*im.Load())
		now := a.now()
		if readable {
			if err := a.readTUN(now, p, &pl); err != nil {
				return err
			}
		}
		a.sendUplink(now, p, &pl, count, &out)
	}
}

// readTUN puts what the UE has sent into the pipeline, one burst at most.
func (a *access) readTUN(now int64, p *pipeline, pl *pool) error {
	for range mmsgBatch {
		pkt := pl.get()
		n, err := unix.Read(a.tun, pkt.data[headroom:])
		if err != nil {
			pl.put(pkt)
			switch {
			case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
				return nil
			}
			return fmt.Errorf("read TUN %s: %w", a.cfg.TUN, err)
		}
		pkt.off, pkt.n = headroom, n
		p.put(now, pkt)
	}
	return nil
}

// sendUplink sends the packets that are due.
func (a *access) sendUplink(now int64, p *pipeline, pl *pool, count *Counters, out *datagrams) {
	t := a.tunnel.Load()
	for pkt := p.take(now); pkt != nil; pkt = p.take(now) {
		if t == nil {
			p.drop(pkt, &count.SendFailed)
			continue
		}
		start := pkt.off - ran.UplinkHeader
		ran.PutUplinkHeader((*[ran.UplinkHeader]byte)(pkt.data[start:]), t.TEID, a.cfg.QFI, pkt.n)
		out.add(pkt, pkt.data[start:pkt.off+pkt.n], netip.AddrPortFrom(t.Peer, ran.Port))
		if out.n == mmsgBatch {
			a.flush(out, pl, count)
		}
	}
	a.flush(out, pl, count)
}

func (a *access) flush(out *datagrams, pl *pool, count *Counters) {
	if out.n == 0 {
		return
	}
	out.send(a.sock)
	for i, pkt := range out.pkts[:out.n] {
		if out.msgs[i].n == 0 {
			count.SendFailed.Add(1)
		} else {
			count.Packets.Add(1)
			count.Bytes.Add(uint64(pkt.n))
		}
		pl.put(pkt)
	}
	out.n = 0
}

// carryDownlink carries packets from the UPF to the UE's TUN device.
func (a *access) carryDownlink() error {
	var (
		pl    pool
		count = &a.count[DirectionDown-1]
		im    = &a.im[DirectionDown-1]
		p     = newPipeline(a.cfg.Seed+1, &pl, count)
		in    datagrams
	)
	in.link()
	for {
		readable, stop, err := a.wait(a.sock, p)
		if stop || err != nil {
			return err
		}
		p.set(*im.Load())
		now := a.now()
		if readable {
			n, err := in.receive(a.sock, &pl)
			if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("receive on GTP-U %v: %w", a.cfg.Address, err)
			}
			for i := range n {
				if pkt := a.received(&in, i, count); pkt != nil {
					in.pkts[i] = nil // the pipeline's from now on
					p.put(now, pkt)
				}
			}
		}
		for pkt := p.take(now); pkt != nil; pkt = p.take(now) {
			a.writeTUN(pkt, count)
			pl.put(pkt)
		}
	}
}

// received takes datagram i: it returns the UE's packet, or nil for anything else.
func (a *access) received(in *datagrams, i int, count *Counters) *packet {
	pkt := in.pkts[i]
	var m ran.Message
	if err := ran.Parse(pkt.data[:in.msgs[i].n], &m); err != nil {
		count.Malformed.Add(1)
		return nil
	}
	switch m.Type {
	case ran.GPDU:
		if m.TEID != a.cfg.TEID {
			a.gtpu.UnknownTEID.Add(1)
			return nil
		}
		n, ok := ran.IPLength(pkt.data[m.At:m.End])
		if !ok {
			count.Malformed.Add(1)
			return nil
		}
		pkt.off, pkt.n = m.At, n
		return pkt
	case ran.EchoRequest:
		a.answerEcho(m.Seq, in.peer(i))
	case ran.ErrorIndication:
		a.gtpu.Errors.Add(1)
	case ran.EndMarker:
		a.gtpu.EndMarkers.Add(1)
	default:
		a.gtpu.Other.Add(1)
	}
	return nil
}

// answerEcho answers an Echo Request, unless the access is down: then its peer
// must find the path dead.
func (a *access) answerEcho(seq uint16, peer netip.AddrPort) {
	if a.im[DirectionUp-1].Load().Down || a.im[DirectionDown-1].Load().Down {
		return
	}
	to := &unix.SockaddrInet4{Port: int(peer.Port()), Addr: peer.Addr().As4()}
	if err := unix.Sendto(a.sock, ran.NewEchoResponse(seq), 0, to); err != nil {
		a.count[DirectionUp-1].SendFailed.Add(1)
		return
	}
	a.gtpu.Echo.Add(1)
}

func (a *access) writeTUN(pkt *packet, count *Counters) {
	if _, err := unix.Write(a.tun, pkt.bytes()); err != nil {
		count.SendFailed.Add(1)
		return
	}
	count.Packets.Add(1)
	count.Bytes.Add(uint64(pkt.n))
}
