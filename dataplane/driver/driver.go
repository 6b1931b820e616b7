// Package driver is the border between a worker and packet I/O: bursts of packets
// in, bursts out, a wait with a bound, and steering, by which a packet comes out of
// the queue of the worker that owns its session.
//
// N3 packets are GTP-U messages (UDP payloads); N6 packets are IP packets.
package driver

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/packet"
)

// MaxBurst is the most packets that one Receive brings from one source.
const MaxBurst = 64

// Peer is the address of an N3 peer in the form that the kernel wants it:
// struct sockaddr_in or sockaddr_in6.
type Peer struct {
	raw [unix.SizeofSockaddrInet6]byte
	len uint32
}

// MakePeer is the Peer of ap. IPv4-mapped addresses count as IPv4.
func MakePeer(ap netip.AddrPort) Peer {
	var p Peer
	a := ap.Addr().Unmap()
	binary.BigEndian.PutUint16(p.raw[2:], ap.Port())
	if a.Is4() {
		binary.NativeEndian.PutUint16(p.raw[:], unix.AF_INET)
		a4 := a.As4()
		copy(p.raw[4:], a4[:])
		p.len = unix.SizeofSockaddrInet4
		return p
	}
	binary.NativeEndian.PutUint16(p.raw[:], unix.AF_INET6)
	a16 := a.As16()
	copy(p.raw[8:], a16[:])
	p.len = unix.SizeofSockaddrInet6
	return p
}

// AddrPort is p's address and port, the zero value if p has none.
func (p *Peer) AddrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(p.raw[2:])
	switch binary.NativeEndian.Uint16(p.raw[:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(p.raw[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(p.raw[8:24])), port)
	}
	return netip.AddrPort{}
}

// Sockaddr is p for the kernel: a pointer to its bytes, which stay p's, and their
// number. A driver that receives writes up to SockaddrRoom bytes there and calls
// SetLen.
func (p *Peer) Sockaddr() (*byte, uint32) { return &p.raw[0], p.len }

// SockaddrRoom is the room behind the pointer that Sockaddr gives.
const SockaddrRoom = unix.SizeofSockaddrInet6

// SetLen says how many bytes were written behind Sockaddr's pointer.
func (p *Peer) SetLen(n uint32) { p.len = n }

// N3Packet is a GTP-U message and its way over N3.
type N3Packet struct {
	Buf *packet.Buffer

	// Peer is the other side. On a received packet it is the driver's and valid
	// until the next Receive; on one to be sent it must stay valid until Send
	// returns.
	Peer *Peer

	// Local says at which of our N3 addresses the packet came in, or from which
	// it is to leave: an index into [Set.N3Addrs].
	Local uint8

	// TOS is the outer header's TOS octet or traffic class (DSCP and ECN) on a
	// packet to be sent: 0 is the default, which costs least. A driver does not
	// set it on received ones.
	TOS uint8
}

// CheckUE says what is wrong with p as a prefix of UE addresses: allowed are an IPv4
// prefix of 1 to 32 bits and an IPv6 prefix of 1 to 128.
func CheckUE(p netip.Prefix) error {
	if p.Bits() < 1 || p.Addr().Is4In6() {
		return fmt.Errorf("UE prefix %v: allowed: IPv4 /1 to /32, IPv6 /1 to /128", p)
	}
	return nil
}

// Burst is what one Receive brought or one Send is to take.
type Burst struct {
	N3 []N3Packet
	N6 []*packet.Buffer
}

// Reset empties b; its slices keep their capacity.
func (b *Burst) Reset() { b.N3, b.N6 = b.N3[:0], b.N6[:0] }

// Driver is the packet I/O of one worker. Only Wake may be called from another
// goroutine than the worker's.
//
// A Buffer with a SegmentSize is a super-packet. A driver that can do no more
// than ordinary packets neither makes nor takes them: it drops and counts one.
type Driver interface {
	// Receive empties rx and fills it with up to MaxBurst packets from each of
	// N3's addresses and from N6, in buffers of pool that are the caller's from
	// then on. If there is none it waits up to wait, less if Wake is called;
	// wait < 0 is for ever. An error means that the driver is of no more use.
	Receive(rx *Burst, pool *packet.Pool, wait time.Duration) error

	// Send sends tx and puts its buffers into pool. What cannot be sent is
	// dropped and counted.
	Send(tx *Burst, pool *packet.Pool)

	// Wake makes the current Receive, or the next, return without waiting.
	Wake()

	// Counters calls f with every counter and its value; they only grow.
	Counters(f func(name string, v uint64))
}

// Set is the packet I/O of all workers of one UPF and the steering between them.
// Its methods are for the control side; they may be called while workers run, by
// one goroutine at a time.
type Set interface {
	Workers() int
	Driver(worker int) Driver
	N3Addrs() []netip.Addr

	// SteerTEID sends G-PDUs with this TEID to worker; ForgetTEID undoes it.
	// A TEID that is not steered goes where its slot goes, see SteerSlot.
	SteerTEID(teid uint32, worker int) error
	ForgetTEID(teid uint32) error

	// SteerSlot sends G-PDUs whose TEID is not steered, and has this slot in
	// its high 12 bits, to worker; until told, to worker 0.
	SteerSlot(slot uint16, worker int) error

	// SteerUE sends N6 packets for an address in p to worker; ForgetUE undoes
	// it. The longest prefix that matches counts; p must pass CheckUE. Packets
	// for other addresses go to worker 0. Where packets have to be routed to N6,
	// those for p are while it is steered, even if the UPF was opened without a
	// route for it.
	SteerUE(p netip.Prefix, worker int) error
	ForgetUE(p netip.Prefix) error

	// PathMTU is what is known now of the path MTU to an N3 peer, octets with
	// the outer IP header (RFC 1191, RFC 8201). It falls when a packet has met a
	// narrow link; longer packets are fragmented where they are sent. An error
	// means that no address of ours reaches peer.
	PathMTU(peer netip.Addr) (int, error)

	// Close ends the I/O. No worker may be in Receive or Send.
	Close() error
}
