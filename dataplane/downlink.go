package dataplane

import (
	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/packet"
)

// downlink works on an IP packet from N6; r are the rules of the session that has its
// destination, nil if there is none here. handed: another worker handed it over.
func (w *worker) downlink(b *packet.Buffer, r *ruleSet, handed bool) {
	if bad := packet.Parse(b.Bytes(), &w.ip); bad != packet.OK {
		w.count.n6IP[bad]++
		w.pool.Put(b)
		return
	}
	b.SetLen(w.ip.End)
	w.downlinkTo(b, r, handed)
}

// downlinkTo is downlink for a packet that w.ip describes.
func (w *worker) downlinkTo(b *packet.Buffer, r *ruleSet, handed bool) {
	if r == nil {
		w.strangeUE(b, handed)
		return
	}
	w.flow.downlink(&w.ip)
	if w.ip.Fragment {
		w.fragment(r.session, true)
	}
	d, _ := r.downlink.lookup(&w.flow, anyQFI, b.Bytes())
	if d == nil {
		w.drop(b, dropNoPDRDownlink)
		return
	}
	w.qfi, w.extended = 0, false
	w.deliver(r, d, b)
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
func (w *worker) deliver(r *ruleSet, d *pdr, b *packet.Buffer) {
	late := d.lateAdmitted()
	if late {
		if w.ip.Proto == packet.ProtoTCP {
			w.clamp(r, b)
		}
		if w.translateDown(r, d, b) {
			return
		}
	}
	instead, ok := w.admit(r, d, b)
	switch {
	case !ok:
		return
	case instead != nil:
		w.forward(r, d, instead, d.access, b)
		return
	}
	if !late && w.translateDown(r, d, b) {
		return
	}
	if d.mar() == nil {
		w.forward(r, d, d.far, d.access, b)
		return
	}
	w.steer(r, d, b)
}

// translateDown gives a TCP packet for the UE to the proxy; false if it is not one, or the
// proxy does not take it.
func (w *worker) translateDown(r *ruleSet, d *pdr, b *packet.Buffer) bool {
	if r.converter != nil && w.ip.Proto != packet.ProtoTCP {
		return w.unreachable(r, b)
	}
	if !r.proxied || w.ip.Proto != packet.ProtoTCP || w.ip.Fragment ||
		w.proxy.Downlink(w.now, &r.session.proxy, d.rule(), b, &w.ip, &w.out) != proxy.Taken {
		return false
	}
	w.forwardProxied()
	return true
}
