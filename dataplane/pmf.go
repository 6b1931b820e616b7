package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/braid-upf/braid/atsss/pmf"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// The performance measurement function of a session (TS 23.501 §5.32.5) lives with the
// session at its worker. Sessions that have none pay a pointer, and their packets a look at
// ruleSet.measured.
//
// PMFP messages are the UPF's own, no user data: no PDR detects them, no QER polices and no
// URR counts them, and they do not keep a session from being inactive. What the UPF sends
// goes by the FAR that the session's MAR has for the access.

// defaultPMFIdle and defaultPMFInterval are those of a Config that says nothing.
const (
	defaultPMFInterval = 250 * time.Millisecond
	defaultPMFIdle     = 10 * time.Second
)

// maxQFI is the largest QFI (TS 38.415 §5.5.3.3: 6 bits).
const maxQFI = 63

// pmfConfig is what cfg says of the PMF.
func pmfConfig(cfg *Config, random func() uint64) pmf.Config {
	interval, idle := cfg.PMFInterval, cfg.PMFIdle
	if interval == 0 {
		interval = defaultPMFInterval
	}
	if idle == 0 {
		idle = defaultPMFIdle
	}
	return pmf.DefaultConfig(interval, max(idle, 0), random)
}

// pmfRules is what a rule set says of the PMF.
type pmfRules struct {
	addrs []packet.Addr
	port  [steer.NumAccesses]uint16
	qfis  []uint8 // of the QoS flows 1 and on
	noRTT bool
	way   [steer.NumAccesses]*far // the MAR's of the access; nil = none that leads there
	qfi   uint8                   // of packets on an access whose UE has not shown its own
}

// pmf compiles the rules of the PMF. Tunnels and FARs are there.
func (c *compiler) pmf() error {
	if c.rules.ATSSS == nil || c.rules.ATSSS.PMF == nil {
		return nil
	}
	p := c.rules.ATSSS.PMF
	r := &pmfRules{port: p.Port, noRTT: p.NoRTT}
	for _, a := range p.Addrs {
		r.addrs = append(r.addrs, packet.AddrFrom(a))
	}
	for _, q := range p.QFIs {
		if q == 0 || q > maxQFI {
			return fmt.Errorf("PMF: QFI %d", q)
		}
		if !slices.Contains(r.qfis, q) {
			r.qfis = append(r.qfis, q)
		}
	}
	for _, q := range append([]uint8{0}, r.qfis...) {
		if p.Port[0] == 0 || p.Port[1] == 0 || r.hasPort(steer.AccessNon3GPP, p.FlowPort(steer.Access3GPP, q)) {
			return fmt.Errorf("PMF: ports %d and %d do not tell the accesses apart", p.Port[0], p.Port[1])
		}
	}
	for i := range c.set.downlink.pdrs {
		d := &c.set.downlink.pdrs[i]
		m := d.mar()
		if m == nil {
			continue
		}
		for a, f := range m.fars {
			if f != nil && f.action == actionTunnel && !f.out.up {
				r.way[a], r.qfi = f, d.markQFI
			}
		}
	}
	c.set.pmf, c.set.measured = r, true
	return nil
}

// pmfSession is the PMF of a session.
type pmfSession struct {
	net  *pmf.Network
	home *session
	legs []pmfLeg // by access, then QoS flow

	next, prev *pmfSession // in its slot of the wheel
	slot       uint16      // 1 + index of the slot; 0 = in none
}

// pmfLeg is where the UE is on a leg: the address and port that its messages come from,
// which it chose and shows so (TS 23.501 §5.32.5.1), and the one of ours that they go to.
type pmfLeg struct {
	ue, ours packet.Addr
	port     uint16 // 0 = it has not spoken there
	ourPort  uint16
	qfi      uint8 // of messages; 0 = they have none
	six      bool  // IPv6
}

func (s *pmfSession) leg(l pmf.Leg) *pmfLeg { return &s.legs[int(l.Access)*s.net.Flows()+int(l.Flow)] }

// flowOf is the QoS flow whose port over a is the given one; false if it is none's.
func (r *pmfRules) flowOf(a steer.Access, port uint16) (flow uint8, ok bool) {
	behind := port - r.port[a]
	if behind == 0 {
		return 0, true
	}
	for i, qfi := range r.qfis {
		if behind == 2*uint16(qfi) {
			return uint8(1 + i), true
		}
	}
	return 0, false
}

// flow is the QoS flow of a QFI: 0, the default one, if it is none of those that are
// measured each for itself.
func (r *pmfRules) flow(qfi uint8) uint8 { return uint8(1 + slices.Index(r.qfis, qfi)) }

// measure goes on measuring s, as its rules now say.
func (w *worker) measure(s *session, old *ruleSet) {
	r := s.rules.pmf
	switch {
	case r == nil:
		w.unmeasure(s)
		return
	case s.pmf != nil && !slices.Equal(r.qfis, old.pmf.qfis):
		w.unmeasure(s)
	}
	if s.pmf == nil {
		s.pmf = &pmfSession{home: s, net: pmf.NewNetwork(&w.pmfConfig, 1+len(r.qfis), r.noRTT)}
		s.pmf.legs = make([]pmfLeg, steer.NumAccesses*s.pmf.net.Flows())
	}
	s.pmf.net.SetNoRTT(r.noRTT, &w.pmfOut)
	for a := range steer.Access(steer.NumAccesses) {
		s.pmf.net.SetUsable(a, r.way[a] != nil, &w.pmfOut)
	}
	w.afterPMF(s)
}

// unmeasure forgets the PMF of s and what it said.
func (w *worker) unmeasure(s *session) {
	if s.pmf == nil {
		return
	}
	w.pmfWheel.remove(s.pmf)
	for a := range steer.Access(steer.NumAccesses) {
		if !s.pmf.net.Available(a) {
			s.proxy.Monitor.SetAvailable(a, true)
			w.proxy.Heard(w.now, &s.proxy, a)
		}
	}
	s.pmf = nil
	w.tellAccess(s)
}

// afterPMF sends what the PMF of s wants sent and tells what it learned.
func (w *worker) afterPMF(s *session) {
	for i := range w.pmfOut.Send {
		w.sendPMF(s, &w.pmfOut.Send[i])
	}
	for i := range w.pmfOut.Learned {
		w.learn(s, &w.pmfOut.Learned[i])
	}
	w.pmfOut.Reset()
}

// learn has the session's Monitor know l. Of several QoS flows it is the main one that
// stands for the access.
func (w *worker) learn(s *session, l *pmf.Learned) {
	m := &s.proxy.Monitor
	a := l.Leg.Access
	main, _ := s.pmf.net.Main(a)
	switch l.Kind {
	case pmf.RoundTrip:
		if l.Leg == main {
			m.PMFRTT(time.Duration(w.now), a, max(1, l.RTT))
		}
	case pmf.Loss:
		if l.Leg == main {
			m.PMFLoss(time.Duration(w.now), a, uint16(l.Permyriad()))
		}
	case pmf.UplinkSplit:
		m.UplinkSplit(l.Percent)
	case pmf.Availability:
		m.SetAvailable(a, l.Available)
		if l.Available {
			w.count.n[pmfReturned]++
			w.proxy.Heard(w.now, &s.proxy, a)
		} else {
			w.count.n[pmfLost]++
			w.proxy.Unavailable(w.now, &s.proxy, a)
		}
		w.tellAccess(s)
	}
}

// tellAccess tells the control side which accesses of s are available, if that is news.
// What finds no room in the queue of events is told later.
func (w *worker) tellAccess(s *session) {
	gone := steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP) &^ s.proxy.Monitor.Available()
	for a := range steer.Access(steer.NumAccesses) {
		if gone.Has(a) != s.gone.Has(a) &&
			w.event(&Event{Kind: AccessChanged, SEID: s.seid, Access: a, Available: !gone.Has(a)}) {
			s.gone ^= steer.SetOf(a)
		}
	}
}

// PMFStatus is what the PMF knows of a session.
type PMFStatus struct {
	Reached   [steer.NumAccesses]netip.AddrPort // where the UE's PMF is; zero = it has not spoken
	Available steer.Set
}

// PMF says what the PMF of session seid knows; false if it has none.
func (p *Plane) PMF(seid uint64) (st PMFStatus, ok bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.sessions[seid]
	if r == nil {
		return st, false, nil
	}
	err = p.do(r.worker, func(w *worker) {
		s := w.bySEID[seid]
		if s == nil || s.pmf == nil {
			return
		}
		ok = true
		for a := range steer.Access(steer.NumAccesses) {
			if l, spoke := s.pmf.net.Main(a); spoke {
				leg := s.pmf.leg(l)
				st.Reached[a] = netip.AddrPortFrom(leg.ue.Netip(), leg.port)
			}
			if s.pmf.net.Available(a) {
				st.Available |= steer.SetOf(a)
			}
		}
	})
	if err != nil {
		return st, false, fmt.Errorf("session %#x: %w", seid, err)
	}
	return st, ok, nil
}
