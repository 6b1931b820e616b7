package dataplane

import (
	"time"

	"github.com/braid-upf/braid/atsss/pmf"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// isFor says whether the UDP packet that in describes goes to the PMF.
func (r *pmfRules) isFor(in *packet.Info) bool {
	for i := range r.addrs {
		if r.addrs[i] == in.Dst {
			// Later fragments have no ports: nothing else of the PMF's takes any.
			return in.Fragment || r.hasPort(steer.Access3GPP, in.DstPort) || r.hasPort(steer.AccessNon3GPP, in.DstPort)
		}
	}
	return false
}

func (r *pmfRules) hasPort(a steer.Access, port uint16) bool {
	_, ok := r.flowOf(a, port)
	return ok
}

// toPMF takes the packet in hand, out of tunnel t, if it is for the session's PMF.
func (w *worker) toPMF(b *packet.Buffer, t *tunnel) bool {
	r := t.rules
	if w.ip.Proto != packet.ProtoUDP || !r.pmf.isFor(&w.ip) {
		return false
	}
	w.takePMF(b, r, t.up.access())
	w.pool.Put(b)
	return true
}

// access is the access of the tunnel that c is of.
func (c *classifier) access() steer.Access {
	if len(c.pdrs) == 0 {
		return steer.Access3GPP
	}
	return c.pdrs[0].access
}

// takePMF gives the message in b, which came over access a, to the PMF of r's session.
func (w *worker) takePMF(b *packet.Buffer, r *ruleSet, a steer.Access) {
	w.count.n[pmfReceived]++
	switch {
	case !r.has(&w.ip.Src):
		w.count.n[dropSpoofedSource]++
		return
	case w.ip.Fragment:
		w.count.n[dropPMFFragment]++
		return
	}
	flow, ok := r.pmf.flowOf(a, w.ip.DstPort)
	if !ok {
		w.count.n[dropPMFAccess]++
		return
	}
	octets, bad := packet.ParseUDP(b.Bytes(), &w.ip)
	if bad != packet.OK {
		w.count.n3IP[bad]++
		return
	}
	s := r.session
	n := s.pmf.net
	w.sign(s, a)
	if n.Available(a) {
		w.proxy.Heard(w.now, &s.proxy, a)
	}
	var m pmf.Message
	if reason := pmf.Parse(octets, &m); reason != pmf.OK {
		w.count.pmf[reason]++
		return
	}
	l := pmf.Leg{Access: a, Flow: flow}
	leg := pmfLeg{ue: w.ip.Src, ours: w.ip.Dst, port: w.ip.SrcPort, ourPort: w.ip.DstPort, qfi: w.qfi, six: w.ip.Version == 6}
	if flow != 0 {
		leg.qfi = r.pmf.qfis[flow-1]
	}
	*s.pmf.leg(l) = leg
	rested := n.Rests(time.Duration(w.now))
	if reason := n.Receive(time.Duration(w.now), l, &m, &w.pmfOut); reason != pmf.OK {
		w.count.pmf[reason]++
	}
	w.afterPMF(s)
	w.wakePMF(s, rested)
}

// sign notes that the UE of s was heard over a.
func (w *worker) sign(s *session, a steer.Access) {
	s.pmf.net.Heard(time.Duration(w.now), a, &w.pmfOut)
	if len(w.pmfOut.Learned) > 0 {
		w.afterPMF(s)
	}
}

// wakePMF has the timer of s run if there is something to ask now, where it rested before.
func (w *worker) wakePMF(s *session, rested bool) {
	if s.pmf.slot == 0 && !s.pmf.net.Rests(time.Duration(w.now)) {
		if rested {
			s.pmf.net.Wake()
		}
		w.pmfWheel.add(s.pmf, w.now, w.now)
	}
}

// measureUp counts a data packet of the UE of session s over access a.
func (w *worker) measureUp(s *session, a steer.Access) {
	w.sign(s, a)
	w.measureData(s, a, w.qfi, 0, 1)
}

// measureDown counts a data packet for the UE that PDR d detected and that goes over
// access a.
func (w *worker) measureDown(s *session, d *pdr, a steer.Access) {
	qfi := d.markQFI
	if qfi == 0 {
		qfi = w.qfi
	}
	w.measureData(s, a, qfi, 1, 0)
}

// measureData counts a data packet. The default QoS flow is the one on which the UE's
// messages come that are of no other; packets of a third are of no leg.
func (w *worker) measureData(s *session, a steer.Access, qfi uint8, sent, received uint64) {
	n := s.pmf.net
	l := pmf.Leg{Access: a, Flow: s.rules.pmf.flow(qfi)}
	if known := s.pmf.leg(l).qfi; l.Flow != 0 || known == 0 || known == qfi {
		n.Count(l, sent, received)
	}
	if s.pmf.slot != 0 { // nearly always
		n.Traffic(time.Duration(w.now))
		return
	}
	rested := n.Rests(time.Duration(w.now))
	n.Traffic(time.Duration(w.now))
	w.wakePMF(s, rested)
}

// sendPMF sends a message to the UE of s: over the access and the QoS flow of its leg, to
// where the UE's own came from.
func (w *worker) sendPMF(s *session, m *pmf.Sent) {
	r, l := s.rules.pmf, s.pmf.leg(m.Leg)
	f := r.way[m.Leg.Access]
	if f == nil || l.port == 0 {
		w.count.n[pmfUnsent]++
		return
	}
	w.count.n[pmfSent]++
	b := w.pool.Get()
	head := 20
	if l.six {
		head = 40
	}
	var room [pmf.MaxMessage]byte
	octets := m.Message.Append(room[:0])
	b.SetLen(head + packet.UDPHeaderLen + len(octets))
	ip := b.Bytes()
	packet.PutIPHeader(ip, l.six, &l.ours, &l.ue, packet.ProtoUDP, 0, pmfTTL, len(ip))
	copy(ip[head+packet.UDPHeaderLen:], octets)
	packet.PutUDPHeader(ip[head:], &l.ours, &l.ue, l.ourPort, l.port)

	qfi := l.qfi
	if qfi == 0 {
		qfi = r.qfi
	}
	n := b.Len()
	gtpu.PutGPDU(b.Prepend(gtpu.GPDUHeaderLen(qfi)), f.out.teid, n, qfi, false)
	w.tx.N3 = append(w.tx.N3, driver.N3Packet{Buf: b, Peer: &f.out.peer, Local: f.out.local, TOS: f.out.tos})
}

// pmfTTL is the hop limit of PMFP messages (RFC 1700's default).
const pmfTTL = 64
