package sim

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	gvtcp "gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// netHost is a host whose TCP/IP is gVisor's netstack, in the simulation's time.
//
// netstack handles segments in goroutines of its own. Only the simulation's
// goroutine gives them work: a packet, a timer that ran out, a call of the socket
// API; then it waits until they have none left ([netHost.quiesce]). So nothing
// runs beside the simulation, and as the stack draws its secrets from the run's
// seed, a run repeats packet for packet.
type netHost struct {
	stack *stack.Stack
	link  *netLink
	proto tcpip.NetworkProtocolNumber
	send  func(pkt []byte)
	woken func() bool // lets the application act; true = it did something
}

const (
	netNIC     = 1
	netBacklog = 8
	netBurst   = 8192 // packets that the stack may send at once
)

// netLink is the host's interface. With gso, segments longer than the MSS leave it
// uncut, as they leave a virtual interface whose other end takes TSO.
type netLink struct {
	*channel.Endpoint
	gso int // longest payload, 0 = the MSS
}

func (l *netLink) GSOMaxSize() uint32 { return uint32(l.gso + header.TCPTotalHeaderMaximumSize + 1) }

// newNetHost is a host with one address; random are its secrets.
func newNetHost(clock *Clock, random *rand.Rand, local netip.Addr, mtu, gso int) *netHost {
	h := &netHost{link: &netLink{channel.New(netBurst, uint32(mtu), ""), gso}, proto: ipv4.ProtocolNumber}
	if local.Is6() {
		h.proto = ipv6.ProtocolNumber
	}
	if gso > 0 {
		h.link.SupportedGSOKind = stack.HostGSOSupported
	}
	var secret [32]byte
	for i := range secret {
		secret[i] = byte(random.Uint32())
	}
	h.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{gvtcp.NewProtocol},
		Clock:              netClock{clock, h.settle},
		SecureRNG:          rand.NewChaCha8(secret),
	})
	must(h.stack.CreateNIC(netNIC, h.link))
	must(h.stack.AddProtocolAddress(netNIC, tcpip.ProtocolAddress{
		Protocol:          h.proto,
		AddressWithPrefix: netAddr(local).WithPrefix(),
	}, stack.AddressProperties{}))
	h.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: netNIC}, {Destination: header.IPv6EmptySubnet, NIC: netNIC}})
	return h
}

func must(err tcpip.Error) {
	if err != nil {
		panic(err.String())
	}
}

func netAddr(a netip.Addr) tcpip.Address {
	if a.Is6() {
		return tcpip.AddrFrom16(a.As16())
	}
	return tcpip.AddrFrom4(a.As4())
}

// receive gives pkt to the stack and lets it and the application finish.
func (h *netHost) receive(pkt []byte) {
	b := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(pkt)})
	h.link.InjectInbound(h.proto, b)
	b.DecRef()
	h.settle()
}

// settle lets stack and application act until neither has anything to do.
func (h *netHost) settle() {
	for {
		h.quiesce()
		h.flush()
		if !h.woken() {
			return
		}
	}
}

// quiesce returns once the stack's goroutines wait for work. Stack.Pause asks each
// of them to stop, which it does only when the queue of endpoints with segments to
// handle is empty; it was filled before, by the caller's own goroutine. None fills
// another one's queue: a queue is chosen by the segment's addresses and ports,
// also where a closed endpoint passes a segment on.
func (h *netHost) quiesce() {
	h.stack.Pause()
	h.stack.Resume()
}

// flush sends what the stack sent.
func (h *netHost) flush() {
	if h.link.NumQueued() == netBurst {
		panic("sim: netstack's packets did not fit the queue")
	}
	for p := h.link.Read(); p != nil; p = h.link.Read() {
		view := p.ToView()
		pkt := bytes.Clone(view.AsSlice())
		view.Release()
		if p.GSOOptions.NeedsCsum {
			putChecksum(pkt)
		}
		p.DecRef()
		h.send(pkt)
	}
}

// putChecksum writes the checksum of a TCP segment without IP options.
func putChecksum(pkt []byte) {
	src, dst, l4 := pkt[12:16], pkt[16:20], 20
	if pkt[0]>>4 == 6 {
		src, dst, l4 = pkt[8:24], pkt[24:40], 40
	}
	from, _ := netip.AddrFromSlice(src)
	to, _ := netip.AddrFromSlice(dst)
	t := pkt[l4:]
	binary.BigEndian.PutUint16(t[16:], 0)
	binary.BigEndian.PutUint16(t[16:], ^transportSum(from, to, t))
}

// close ends the stack's goroutines.
func (h *netHost) close() { h.stack.Destroy() }

// netClock is the simulation's clock as netstack takes it. Timers run in the
// simulation's goroutine and are followed by settle.
type netClock struct {
	clock  *Clock
	settle func()
}

// netEpoch is the time of day at the simulation's start.
var netEpoch = time.Unix(1_700_000_000, 0)

func (c netClock) Now() time.Time { return netEpoch.Add(c.clock.Now()) }

func (c netClock) NowMonotonic() tcpip.MonotonicTime {
	return tcpip.MonotonicTime{}.Add(time.Hour + c.clock.Now())
}

func (c netClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := &netTimer{netClock: c, run: f}
	t.Reset(d)
	return t
}

type netTimer struct {
	netClock
	run   func()
	timer *Timer
}

func (t *netTimer) Stop() bool {
	was := t.timer.Waiting()
	t.clock.Stop(t.timer)
	return was
}

func (t *netTimer) Reset(d time.Duration) {
	t.Stop()
	t.timer = t.clock.After(d, func() {
		t.run()
		t.settle()
	})
}
