package upftest

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/ran"
)

// gnb is a gNB, or any other peer on N3: it has a bearer for each downlink TEID.
type gnb struct {
	*host
	n3   netip.Addr
	sock *net.UDPConn

	mu      sync.Mutex
	bearers map[uint32]*bearer
	silent  bool // Echo Requests are not answered

	unknown atomic.Uint64 // G-PDUs for TEIDs that it has not
	echoes  atomic.Uint64 // Echo Requests heard

	// What else it hears; each has room for some, the rest is lost.
	indications chan indication
	responses   chan uint16 // sequence numbers of Echo Responses
}

// indication is an Error Indication.
type indication struct {
	teid uint32
	peer netip.Addr
	from netip.AddrPort
}

// bearer is the gNB's end of a tunnel.
type bearer struct {
	deliver func(m *ran.Message, p []byte) // takes an IP packet to the UE; it must not keep p

	packets, octets atomic.Uint64
	endMarkers      atomic.Uint64
	late            atomic.Uint64 // packets behind an End Marker
}

// newGNB makes a gNB of a host.
func newGNB(h *host, n3 netip.Addr) *gnb {
	h.t.Helper()
	g := &gnb{
		host: h, n3: n3, sock: h.udp(netip.AddrPortFrom(n3, ran.Port)), bearers: map[uint32]*bearer{},
		indications: make(chan indication, 1000), responses: make(chan uint16, 1000),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 65536)
		for {
			n, from, err := g.sock.ReadFromUDPAddrPort(b)
			if err != nil {
				return // closed
			}
			g.receive(b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
	}()
	h.t.Cleanup(func() {
		_ = g.sock.Close()
		<-done
	})
	return g
}

func (g *gnb) receive(b []byte, from netip.AddrPort) {
	var m ran.Message
	if err := ran.Parse(b, &m); err != nil {
		g.t.Errorf("%s: %v: %x", g.name, err, b)
		return
	}
	g.mu.Lock()
	bearer, silent := g.bearers[m.TEID], g.silent
	g.mu.Unlock()
	switch m.Type {
	case ran.GPDU:
		if bearer == nil {
			g.unknown.Add(1)
			return
		}
		p := b[m.At:m.End]
		if n, ok := ran.IPLength(p); !ok || n != len(p) {
			g.t.Errorf("%s: G-PDU with something else than an IP packet: %x", g.name, b)
			return
		}
		bearer.packets.Add(1)
		bearer.octets.Add(uint64(len(p)))
		if bearer.endMarkers.Load() > 0 {
			bearer.late.Add(1)
		}
		bearer.deliver(&m, p)
	case ran.EndMarker:
		if bearer == nil {
			g.unknown.Add(1)
			return
		}
		bearer.endMarkers.Add(1)
	case ran.EchoRequest:
		g.echoes.Add(1)
		if !silent {
			g.send(ran.NewEchoResponse(m.Seq), from)
		}
	case ran.EchoResponse:
		select {
		case g.responses <- m.Seq:
		default:
		}
	case ran.ErrorIndication:
		teid, peer, err := ran.ParseErrorIndication(b[m.At:m.End])
		if err != nil {
			g.t.Errorf("%s: %v: %x", g.name, err, b)
			return
		}
		select {
		case g.indications <- indication{teid, peer, from}:
		default:
		}
	default:
		g.t.Errorf("%s: GTP-U message of type %d: %x", g.name, m.Type, b)
	}
}

func (g *gnb) send(b []byte, to netip.AddrPort) {
	_, _ = g.sock.WriteToUDPAddrPort(b, to) // lost as any datagram may be: who waits for it says so
}

// setSilent says whether Echo Requests are left without an answer.
func (g *gnb) setSilent(silent bool) {
	g.mu.Lock()
	g.silent = silent
	g.mu.Unlock()
}

// bearer gives the gNB a downlink tunnel.
func (g *gnb) bearer(teid uint32, deliver func(*ran.Message, []byte)) *bearer {
	b := &bearer{deliver: deliver}
	g.mu.Lock()
	g.bearers[teid] = b
	g.mu.Unlock()
	return b
}

// forget ends a downlink tunnel: its packets meet an Error Indication.
func (g *gnb) forget(teid uint32) {
	g.mu.Lock()
	delete(g.bearers, teid)
	g.mu.Unlock()
}

// tunnel is where a UE's uplink goes.
type tunnel struct {
	gnb  *gnb
	teid uint32
	peer netip.Addr
	qfi  uint8
}

// send carries an IP packet that stands at b[ran.UplinkHeader:].
func (t *tunnel) send(b []byte) {
	ran.PutUplinkHeader((*[ran.UplinkHeader]byte)(b), t.teid, t.qfi, len(b)-ran.UplinkHeader)
	t.gnb.send(b, netip.AddrPortFrom(t.peer, ran.Port))
}

// ue is a UE: a host with a TUN device for its PDU session.
type ue struct {
	*host
	tun    *os.File
	uplink atomic.Pointer[tunnel]

	packets, octets atomic.Uint64 // of IP packets that went uplink
}

// tunDevice is the name of a UE's TUN device, tunMTU its MTU.
const (
	tunDevice = "ue0"
	tunMTU    = 1400
)

// newUE makes a UE with these addresses and a default route of each version.
func newUE(t *testing.T, name string, addrs ...string) *ue {
	t.Helper()
	u := &ue{host: newHost(t, name)}
	u.check(u.do(func() error {
		fd, err := lab.OpenTUN(tunDevice)
		if err != nil {
			return err
		}
		u.tun = os.NewFile(uintptr(fd), tunDevice)
		return nil
	}))
	u.setMTU(tunDevice, tunMTU)
	u.check(u.nl.LinkSetTxQLen(u.link(tunDevice), 8192))
	u.check(u.nl.LinkSetIP6AddrGenMode(u.link(tunDevice), 1)) // none: the UE sends nothing unasked
	u.linkUp(tunDevice)
	for _, a := range addrs {
		u.configure(addr(a))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		u.carryUplink()
	}()
	t.Cleanup(func() {
		_ = u.tun.Close()
		<-done
	})
	return u
}

// configure gives the UE an address and the default route of its version.
func (u *ue) configure(a netip.Addr) {
	u.t.Helper()
	u.addr(tunDevice, netip.PrefixFrom(a, a.BitLen()).String())
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if a.Is6() {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	r := &netlink.Route{LinkIndex: u.link(tunDevice).Attrs().Index, Dst: ipNet(all)}
	if a.Is4() {
		r.Scope = unix.RT_SCOPE_LINK
	}
	u.check(u.nl.RouteReplace(r))
}

func (u *ue) carryUplink() {
	b := make([]byte, ran.UplinkHeader+65536)
	for {
		n, err := u.tun.Read(b[ran.UplinkHeader:])
		if err != nil {
			return // closed
		}
		if t := u.uplink.Load(); t != nil {
			u.packets.Add(1)
			u.octets.Add(uint64(n))
			t.send(b[:ran.UplinkHeader+n])
		}
	}
}

// attach has a gNB carry the UE's packets: uplink into the UPF's tunnel, downlink out of
// the gNB's.
func (u *ue) attach(g *gnb, up tunnel, downTEID uint32) *bearer {
	b := g.bearer(downTEID, func(_ *ran.Message, p []byte) {
		_, _ = u.tun.Write(p) // the device drops what it cannot take, as a radio does
	})
	up.gnb = g
	u.uplink.Store(&up)
	return b
}
