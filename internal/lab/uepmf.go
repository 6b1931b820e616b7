package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/atsss/pmf"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/smf"
)

// uePMF drives the UE's end of PMFP for one session: a socket for each access and QoS flow,
// bound to the access's device. Packets that the devices carried are counted for the loss.
type uePMF struct {
	machine *pmf.UE
	cfg     pmf.Config
	begun   time.Time
	netlink *netlink.Handle
	flows   []smf.PMFParameters // by flow; the default one first
	socks   []*pmfSocket        // by access, then flow
	counted uint8               // the flow to which the data packets belong
	out     pmf.Out
	view    [steer.NumAccesses]PMFAccess
	carried [steer.NumAccesses]carried
	refused map[string]uint64
	buf     []byte
}

// pmfSocket is the UE's end of a leg.
type pmfSocket struct {
	leg  pmf.Leg
	conn *net.UDPConn
	peer netip.AddrPort
}

// pmfPacket is what came in on a socket.
type pmfPacket struct {
	pmf *uePMF
	leg pmf.Leg
	b   []byte
}

// carried counts packets of an access's device.
type carried struct {
	up, down       uint64 // data packets, as last told to the machine
	pmfUp, pmfDown uint64 // PMFP's own
}

// pmfInterval is how often the UE asks for a sign of life.
const pmfInterval = 250 * time.Millisecond

// PMFStats is what the PMF in the UE knows.
type PMFStats struct {
	Access  [steer.NumAccesses]PMFAccess `json:"access"`
	Refused map[string]uint64            `json:"refused,omitempty"` // messages not taken, by reason
	Settled bool                         `json:"settled"`           // every report and all assistance data is acknowledged or given up
}

// PMFAccess is what it knows of one access.
type PMFAccess struct {
	Available bool          `json:"available"` // as the UE takes it, and reports
	Heard     time.Time     `json:"heard"`     // when a message last came; zero = never
	RTT       time.Duration `json:"rtt"`       // the newest; 0 = none
	RTTs      uint64        `json:"rtts"`      // how many were measured
	Sent      uint64        `json:"sent"`      // packets in the newest round of counting, uplink; 0 = none
	Lost      uint64        `json:"lost"`      // of them
}

// newPMF begins with both accesses available.
func (u *ue) newPMF(t told) (_ *uePMF, err error) {
	p := &uePMF{
		cfg:     pmf.DefaultConfig(pmfInterval, 0, rand.Uint64),
		begun:   time.Now().Add(-time.Second), // no time of the machine is 0
		flows:   slices.Clone(t.params.PMF),
		refused: map[string]uint64{},
	}
	slices.SortStableFunc(p.flows, func(a, b smf.PMFParameters) int { return cmp.Compare(a.QFI, b.QFI) })
	p.counted = uint8(max(0, slices.IndexFunc(p.flows, func(f smf.PMFParameters) bool { return f.QFI == labQFI })))
	p.machine = pmf.NewUE(&p.cfg, len(p.flows), true)
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	ns, err := netns.GetFromName(u.lab.Namespace(UE))
	if err != nil {
		return nil, fmt.Errorf("network namespace of the UE: %w", err)
	}
	defer ns.Close()
	if p.netlink, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("netlink of the UE: %w", err)
	}
	for a := range steer.Access(steer.NumAccesses) {
		for f := range p.flows {
			s, err := u.pmfSocket(pmf.Leg{Access: a, Flow: uint8(f)}, t.addrs, &p.flows[f])
			if err != nil {
				return nil, err
			}
			p.socks = append(p.socks, s)
			go u.read(p, s)
		}
	}
	for a := range steer.Access(steer.NumAccesses) {
		up, down, err := p.packets(a)
		if err != nil {
			return nil, err
		}
		p.carried[a] = carried{up: up, down: down}
		p.setAvailable(a, true)
	}
	return p, nil
}

// pmfSocket opens the UE's end of a leg: from an address of the PDU session, over the
// access's device, towards the PMF's port for that access.
func (u *ue) pmfSocket(leg pmf.Leg, own []netip.Addr, at *smf.PMFParameters) (*pmfSocket, error) {
	for _, addr := range at.Addresses {
		i := slices.IndexFunc(own, func(o netip.Addr) bool { return o.Is4() == addr.Is4() })
		if i < 0 {
			continue
		}
		dev := accessPlans[leg.Access].tun
		lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
			outer := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), dev) })
			return errors.Join(outer, err)
		}}
		var conn net.PacketConn
		err := u.lab.InNamespace(UE, func() (err error) {
			conn, err = lc.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(own[i], 0).String())
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("PMF socket on %s: %w", dev, err)
		}
		return &pmfSocket{leg: leg, conn: conn.(*net.UDPConn), peer: netip.AddrPortFrom(addr, at.Ports.Of(leg.Access))}, nil
	}
	return nil, fmt.Errorf("PMF at %v: the session's addresses %v are of no such IP version", at.Addresses, own)
}

// read hands on what comes in on a socket until that is closed.
func (u *ue) read(p *uePMF, s *pmfSocket) {
	b := make([]byte, 2048)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if from.Addr().Unmap() != s.peer.Addr() || from.Port() != s.peer.Port() {
			continue
		}
		u.packets <- pmfPacket{p, s.leg, slices.Clone(b[:n])}
	}
}

func (p *uePMF) close() {
	for _, s := range p.socks {
		s.conn.Close()
	}
	if p.netlink != nil {
		p.netlink.Close()
	}
}

func (p *uePMF) now() time.Duration { return time.Since(p.begun) }

// tick does what is due, and gives the time until there is more to do.
func (p *uePMF) tick() time.Duration {
	p.count()
	next := p.machine.Tick(p.now(), &p.out)
	p.flush()
	if next == pmf.Never {
		return time.Hour
	}
	return max(0, next-p.now())
}

func (p *uePMF) receive(in pmfPacket) {
	p.carried[in.leg.Access].pmfDown++
	p.count()
	p.view[in.leg.Access].Heard = time.Now()
	var m pmf.Message
	r := pmf.Parse(in.b, &m)
	if r == pmf.OK {
		r = p.machine.Receive(p.now(), in.leg, &m, &p.out)
	}
	if r != pmf.OK {
		p.refused[r.String()]++
	}
	p.flush()
}

func (p *uePMF) setAvailable(a steer.Access, available bool) {
	p.view[a].Available = available
	p.machine.SetAvailable(p.now(), a, available, &p.out)
	p.flush()
}

func (p *uePMF) assist(percent uint8) {
	p.machine.Assist(p.now(), percent, &p.out)
	p.flush()
}

// flush sends and notes what the machine has left in out.
func (p *uePMF) flush() {
	for _, m := range p.out.Send {
		s := p.socks[int(m.Leg.Access)*len(p.flows)+int(m.Leg.Flow)]
		p.buf = m.Message.Append(p.buf[:0])
		if _, err := s.conn.WriteToUDPAddrPort(p.buf, s.peer); err == nil { // else it is lost, and comes again
			p.carried[m.Leg.Access].pmfUp++
		}
	}
	for _, l := range p.out.Learned {
		v := &p.view[l.Leg.Access]
		switch l.Kind {
		case pmf.RoundTrip:
			v.RTT = l.RTT
			v.RTTs++
		case pmf.Loss:
			v.Sent, v.Lost = l.Sent, l.Lost
		case pmf.Availability, pmf.UplinkSplit: // the network's
		}
	}
	p.out.Reset()
}

// count tells the machine which data packets the devices have carried. An error leaves them
// to the next time.
func (p *uePMF) count() {
	for a := range p.carried {
		up, down, err := p.packets(steer.Access(a))
		if err != nil {
			continue
		}
		c := &p.carried[a]
		// A message of PMFP may be counted here before its device has it.
		up, down = max(up-min(up, c.pmfUp), c.up), max(down-min(down, c.pmfDown), c.down)
		p.machine.Count(pmf.Leg{Access: steer.Access(a), Flow: p.counted}, up-c.up, down-c.down)
		c.up, c.down = up, down
	}
}

// packets is what an access's device has carried: a TUN device receives what is written
// into it.
func (p *uePMF) packets(a steer.Access) (up, down uint64, err error) {
	link, err := p.netlink.LinkByName(accessPlans[a].tun)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", accessPlans[a].tun, err)
	}
	s := link.Attrs().Statistics
	return s.TxPackets, s.RxPackets, nil
}

func (p *uePMF) stats() *PMFStats {
	return &PMFStats{Access: p.view, Refused: maps.Clone(p.refused), Settled: p.machine.Settled()}
}
