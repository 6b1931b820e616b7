package dataplane

import (
	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// downlink works on an IP packet from N6. handed: another worker handed it over.
func (w *worker) downlink(b *packet.Buffer, handed bool) {
	if r := packet.Parse(b.Bytes(), &w.ip); r != packet.OK {
		w.count.n6IP[r]++
		w.pool.Put(b)
		return
	}
	b.SetLen(w.ip.End)
	w.downlinkTo(b, handed)
}

// downlinkTo works on an IP packet for a UE; w.ip describes it.
func (w *worker) downlinkTo(b *packet.Buffer, handed bool) {
	s := w.ues.lookup(&w.ip.Dst)
	if s == nil {
		w.strangeUE(b, handed)
		return
	}
	w.flow.downlink(&w.ip)
	if w.ip.Fragment {
		w.fragment(s, true)
	}
	d := s.rules.matchDownlink(&w.flow)
	if d == nil {
		w.drop(b, dropNoPDRDownlink)
		return
	}
	w.qfi, w.extended = 0, false
	w.deliver(s, d, b)
}

// fragment has a fragment in hand, of session s, classified as its datagram's first was:
// by the ports that stand there alone.
func (w *worker) fragment(s *session, down bool) {
	src, dst := w.ip.SrcPort, w.ip.DstPort
	if w.ip.FirstFragment {
		w.fragments.learn(w.now, &w.ip, s.proxy.ID)
	} else {
		var ok bool
		if src, dst, ok = w.fragments.ports(w.now, &w.ip, s.proxy.ID); !ok {
			return
		}
	}
	w.flow.fragment = false
	w.flow.localPort, w.flow.remotePort = src, dst
	if down {
		w.flow.localPort, w.flow.remotePort = dst, src
	}
}

// deliver brings a packet that PDR d detected to the UE.
func (w *worker) deliver(s *session, d *pdr, b *packet.Buffer) {
	late := d.lateAdmitted()
	if late {
		if w.ip.Proto == packet.ProtoTCP {
			w.clamp(s, b)
		}
		if w.translateDown(s, d, b) {
			return
		}
	}
	instead, ok := w.admit(s, d, b)
	switch {
	case !ok:
		return
	case instead != nil:
		w.forward(s, d, instead, d.access, b)
		return
	}
	if !late && w.translateDown(s, d, b) {
		return
	}
	if d.mar == nil {
		w.forward(s, d, d.far, d.access, b)
		return
	}
	a, ok := w.steer(s, d)
	if !ok {
		w.drop(b, dropNoAccess)
		return
	}
	w.over(s, d, b, a)
}

// translateDown gives a TCP packet for the UE to the proxy; false if it is not one, or the
// proxy does not take it.
func (w *worker) translateDown(s *session, d *pdr, b *packet.Buffer) bool {
	if !s.proxied || w.ip.Proto != packet.ProtoTCP || w.ip.Fragment ||
		w.proxy.Downlink(w.now, &s.proxy, d.rule, b, &w.ip, &w.out) != proxy.Taken {
		return false
	}
	w.forwardProxied()
	return true
}

// steer chooses the access for a packet of ordinary traffic, by the MAR of d and
// the packet's 5-tuple (TS 23.501 §5.32.8); one that holds packets if none can be used.
func (w *worker) steer(s *session, d *pdr) (steer.Access, bool) {
	p := d.mar.policy
	if p.Usable == 0 {
		for a, f := range d.mar.fars {
			if f != nil && f.action == actionHold {
				return steer.Access(a), true
			}
		}
	}
	var alive steer.Set
	for a := range steer.Access(steer.NumAccesses) {
		if s.proxy.Answers(a) {
			alive |= steer.SetOf(a)
		}
	}
	if alive&p.Usable == 0 {
		// Silence is a guess: rather try an access than drop.
		alive = p.Usable
	}
	return p.Choose(alive, w.flow.point())
}
