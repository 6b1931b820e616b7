package lab

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsgBatch is the most datagrams that one system call takes.
const mmsgBatch = 64

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes received or sent
}

// datagrams are up to mmsgBatch datagrams for sendmmsg or recvmmsg over IPv4.
// They point into each other: never copy one.
type datagrams struct {
	msgs  [mmsgBatch]mmsghdr
	iovs  [mmsgBatch]unix.Iovec
	names [mmsgBatch]unix.RawSockaddrInet4
	pkts  [mmsgBatch]*packet
	n     int // datagrams in use
}

// link makes the headers point at their vectors and addresses.
func (d *datagrams) link() {
	for i := range d.msgs {
		h := &d.msgs[i].hdr
		h.Iov = &d.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&d.names[i]))
		h.Namelen = unix.SizeofSockaddrInet4
	}
}

// add appends the datagram b, which is part of pkt, for peer.
func (d *datagrams) add(pkt *packet, b []byte, peer netip.AddrPort) {
	i := d.n
	d.pkts[i] = pkt
	d.iovs[i].Base = &b[0]
	d.iovs[i].SetLen(len(b))
	d.names[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: peer.Addr().As4()}
	binary.BigEndian.PutUint16(portBytes(&d.names[i]), peer.Port())
	d.n++
}

// peer is where datagram i came from.
func (d *datagrams) peer(i int) netip.AddrPort {
	name := &d.names[i]
	return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), binary.BigEndian.Uint16(portBytes(name)))
}

func portBytes(name *unix.RawSockaddrInet4) []byte {
	return (*[2]byte)(unsafe.Pointer(&name.Port))[:]
}

// send sends the first n datagrams. It blocks while the socket's buffer is full. A
// datagram that the kernel refused has 0 bytes sent.
func (d *datagrams) send(fd int) {
	for at := 0; at < d.n; {
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&d.msgs[at])), uintptr(d.n-at), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			d.msgs[at].n = 0
			at++
		default:
			at += int(sent)
		}
	}
}

// receive fills free places with buffers of the pool and takes what the socket
// holds, without waiting.
func (d *datagrams) receive(fd int, pl *pool) (n int, err error) {
	for i := range d.pkts {
		if d.pkts[i] == nil {
			d.pkts[i] = pl.get()
			d.iovs[i].Base = &d.pkts[i].data[0]
			d.iovs[i].SetLen(packetSize)
		}
		d.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet4
	}
	got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&d.msgs[0])), mmsgBatch, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(got), nil
}
