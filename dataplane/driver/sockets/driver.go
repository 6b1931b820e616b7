package sockets

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/packet"
)

// spin is how long Receive looks for packets before it sleeps: about what going to
// sleep and waking costs. On a machine of one core that would only keep others from it.
var spin = map[bool]time.Duration{true: 20 * time.Microsecond}[runtime.NumCPU() > 1]

// Driver is the I/O of one worker.
//
// System calls that do not wait go past the Go scheduler (RawSyscall); only the
// wait itself lets it know.
type Driver struct {
	n3    []*receiver // by local address
	tun   int
	event int
	fds   []unix.PollFd // n3, then tun, then event

	spare *packet.Buffer // for the next read of tun; nil if none
	hdrs  [driver.MaxBurst]mmsghdr
	iovs  [driver.MaxBurst]unix.Iovec
	tos   [driver.MaxBurst]tosMessage
	count counters
}

type counters struct {
	n3Truncated     uint64 // longer than a buffer
	n3ReceiveErrors uint64
	n6ReceiveErrors uint64
	n3SendErrors    uint64
	n3SendFull      uint64 // socket buffer full
	n6SendErrors    uint64
	superPackets    uint64
}

// Counters is as driver.Driver has it.
func (d *Driver) Counters(f func(name string, v uint64)) {
	f("drop_n3_truncated", d.count.n3Truncated)
	f("n3_receive_errors", d.count.n3ReceiveErrors)
	f("n6_receive_errors", d.count.n6ReceiveErrors)
	f("drop_n3_send_error", d.count.n3SendErrors)
	f("drop_n3_send_full", d.count.n3SendFull)
	f("drop_n6_send_error", d.count.n6SendErrors)
	f("drop_super_packet", d.count.superPackets)
}

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// tosMessage is the control message that sets the TOS or traffic class of a packet.
type tosMessage struct {
	hdr   unix.Cmsghdr
	value int32
}

// put makes h send with tos.
func (m *tosMessage) put(h *unix.Msghdr, tos uint8, v6 bool) {
	m.hdr.Level, m.hdr.Type = unix.IPPROTO_IP, unix.IP_TOS
	if v6 {
		m.hdr.Level, m.hdr.Type = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	n := unix.CmsgLen(int(unsafe.Sizeof(m.value)))
	m.hdr.SetLen(n)
	m.value = int32(tos)
	h.Control = (*byte)(unsafe.Pointer(m))
	h.SetControllen(n)
}

// receiver is an N3 socket and what recvmmsg writes to. A slot without a buffer is
// given one before the call.
type receiver struct {
	fd    int
	local uint8
	v6    bool
	bufs  [driver.MaxBurst]*packet.Buffer
	peers [driver.MaxBurst]driver.Peer
	hdrs  [driver.MaxBurst]mmsghdr
	iovs  [driver.MaxBurst]unix.Iovec
}

func newReceiver(fd int, local uint8, v6 bool) *receiver {
	r := &receiver{fd: fd, local: local, v6: v6}
	for i := range r.hdrs {
		h := &r.hdrs[i].hdr
		h.Name, _ = r.peers[i].Sockaddr()
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
	}
	return r
}

// watch makes the list for ppoll.
func (d *Driver) watch() {
	for _, r := range d.n3 {
		d.fds = append(d.fds, unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN})
	}
	d.fds = append(d.fds,
		unix.PollFd{Fd: int32(d.tun), Events: unix.POLLIN}, unix.PollFd{Fd: int32(d.event), Events: unix.POLLIN})
}

// Receive is as driver.Driver has it.
func (d *Driver) Receive(rx *driver.Burst, pool *packet.Pool, wait time.Duration) error {
	rx.Reset()
	if d.poll(rx, pool) || wait == 0 {
		return nil
	}
	for start := time.Now(); time.Since(start) < spin; {
		if d.poll(rx, pool) {
			return nil
		}
	}
	if err := d.sleep(wait); err != nil {
		return err
	}
	d.poll(rx, pool)
	return nil
}

// poll takes what is there.
func (d *Driver) poll(rx *driver.Burst, pool *packet.Pool) bool {
	for _, r := range d.n3 {
		d.receiveN3(r, rx, pool)
	}
	d.receiveN6(rx, pool)
	return len(rx.N3)+len(rx.N6) > 0
}

// sleep waits for packets, Wake, or the end of wait. The Go runtime's signals
// interrupt it.
func (d *Driver) sleep(wait time.Duration) error {
	for start := time.Now(); ; {
		var ts *unix.Timespec
		if wait >= 0 {
			t := unix.NsecToTimespec(int64(max(0, wait-time.Since(start))))
			ts = &t
		}
		n, err := unix.Ppoll(d.fds, ts, nil)
		if err == nil {
			return d.woken(n)
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("ppoll: %w", err)
		}
	}
}

// woken looks at why ppoll returned, with n descriptors ready.
func (d *Driver) woken(n int) error {
	if n == 0 {
		return nil
	}
	event, tun := &d.fds[len(d.fds)-1], &d.fds[len(d.fds)-2]
	if tun.Revents&(unix.POLLERR|unix.POLLNVAL) != 0 {
		return errTUNGone
	}
	if event.Revents != 0 {
		var b [8]byte
		_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(d.event), uintptr(unsafe.Pointer(&b)), 8)
	}
	return nil
}

var errTUNGone = errors.New("N6: the TUN device is gone")

// Wake is as driver.Driver has it.
func (d *Driver) Wake() {
	one := uint64(1)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(d.event), uintptr(unsafe.Pointer(&one)), 8)
}

// receiveN3 takes a burst from an N3 socket.
func (d *Driver) receiveN3(r *receiver, rx *driver.Burst, pool *packet.Pool) {
	for i := range r.bufs {
		if r.bufs[i] != nil {
			break // those behind were not used either
		}
		b := pool.Get()
		room := b.Room()
		r.bufs[i] = b
		r.iovs[i].Base = &room[0]
		r.iovs[i].SetLen(len(room))
		r.hdrs[i].hdr.Namelen = driver.SockaddrRoom
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.hdrs)),
		uintptr(len(r.hdrs)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		if errno != unix.EAGAIN && errno != unix.EINTR {
			d.count.n3ReceiveErrors++
		}
		return
	}
	for i := range int(n) {
		h, b := &r.hdrs[i], r.bufs[i]
		r.bufs[i] = nil
		if h.hdr.Flags&unix.MSG_TRUNC != 0 {
			d.count.n3Truncated++
			pool.Put(b)
			continue
		}
		b.SetLen(int(h.len))
		r.peers[i].SetLen(h.hdr.Namelen)
		rx.N3 = append(rx.N3, driver.N3Packet{Buf: b, Peer: &r.peers[i], Local: r.local})
	}
}

// receiveN6 takes a burst from the TUN queue.
func (d *Driver) receiveN6(rx *driver.Burst, pool *packet.Pool) {
	for range driver.MaxBurst {
		b := d.spare
		if b == nil {
			b = pool.Get()
		}
		room := b.Room()
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(d.tun), uintptr(unsafe.Pointer(&room[0])), uintptr(len(room)))
		if errno != 0 {
			d.spare = b
			if errno != unix.EAGAIN && errno != unix.EINTR {
				d.count.n6ReceiveErrors++
			}
			return
		}
		d.spare = nil
		b.SetLen(int(n))
		rx.N6 = append(rx.N6, b)
	}
}

// Send is as driver.Driver has it.
func (d *Driver) Send(tx *driver.Burst, pool *packet.Pool) {
	for rest := tx.N3; len(rest) > 0; {
		n := 1
		for n < len(rest) && n < driver.MaxBurst && rest[n].Local == rest[0].Local {
			n++
		}
		d.sendN3(rest[:n])
		rest = rest[n:]
	}
	for i := range tx.N3 {
		pool.Put(tx.N3[i].Buf)
	}
	for _, b := range tx.N6 {
		d.sendN6(b)
		pool.Put(b)
	}
	tx.Reset()
}

// sendN3 sends up to MaxBurst packets from one local address.
func (d *Driver) sendN3(ps []driver.N3Packet) {
	n, socket := 0, d.n3[ps[0].Local]
	for i := range ps {
		b := ps[i].Buf
		if b.SegmentSize != 0 {
			d.count.superPackets++
			continue
		}
		bytes := b.Bytes()
		d.iovs[n].Base = &bytes[0]
		d.iovs[n].SetLen(len(bytes))
		h := &d.hdrs[n].hdr
		h.Name, h.Namelen = ps[i].Peer.Sockaddr()
		h.Iov = &d.iovs[n]
		h.SetIovlen(1)
		h.SetControllen(0)
		if ps[i].TOS != 0 {
			d.tos[n].put(h, ps[i].TOS, socket.v6)
		}
		n++
	}
	for at := 0; at < n; {
		sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(socket.fd), uintptr(unsafe.Pointer(&d.hdrs[at])),
			uintptr(n-at), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			at += int(sent)
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOBUFS:
			d.count.n3SendFull += uint64(n - at)
			return
		default: // of the first packet alone
			d.count.n3SendErrors++
			at++
		}
	}
}

// sendN6 writes a packet to the TUN queue.
func (d *Driver) sendN6(b *packet.Buffer) {
	if b.SegmentSize != 0 {
		d.count.superPackets++
		return
	}
	bytes := b.Bytes()
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(d.tun), uintptr(unsafe.Pointer(&bytes[0])), uintptr(len(bytes)))
	if errno != 0 {
		d.count.n6SendErrors++
	}
}
