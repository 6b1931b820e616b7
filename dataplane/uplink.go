package dataplane

import (
	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// tunnelled works on a GTP-U message from peer, received at our address local; t is the
// tunnel of its TEID, nil if there is none here. handed: another worker handed it over.
func (w *worker) tunnelled(b *packet.Buffer, t *tunnel, peer *driver.Peer, local uint8, handed bool) {
	if r := gtpu.Parse(b.Bytes(), &w.gtp); r != gtpu.OK {
		w.count.gtpu[r]++
		if r == gtpu.UnknownExtension {
			w.notifyExtensions(b, peer, local)
			return
		}
		w.pool.Put(b)
		return
	}
	if w.gtp.Type != gtpu.GPDU {
		w.signalling(b, peer, local)
		return
	}
	if t == nil {
		w.strangeTEID(b, peer, local, handed)
		return
	}
	if w.extended = w.gtp.HasOther; w.extended && !w.ext.Take(b.Bytes(), &w.gtp) {
		w.drop(b, dropTooLong)
		return
	}
	b.SetLen(w.gtp.End)
	b.TrimFront(w.gtp.Payload)
	if r := packet.Parse(b.Bytes(), &w.ip); r != packet.OK {
		w.count.n3IP[r]++
		w.pool.Put(b)
		return
	}
	b.SetLen(w.ip.End)
	w.qfi = w.gtp.QFI
	if t.down != nil && (len(t.up.pdrs) == 0 || w.isForUE(b, t.rules)) {
		w.fromTunnel(b, t)
	} else {
		w.uplink(b, t)
	}
}

// isForUE says whether the packet in hand, out of a tunnel that has both, is for the UE
// and not from it: it comes from elsewhere, and goes to one of the UE's addresses or
// advertises its router.
func (w *worker) isForUE(b *packet.Buffer, r *ruleSet) bool {
	return !r.has(&w.ip.Src) && (r.has(&w.ip.Dst) || packet.IsRouterAdvertisement(b.Bytes(), &w.ip))
}

// fromTunnel works on a packet for the UE that came out of a tunnel: N9, the CP
// function's, or another gNB's during a handover.
func (w *worker) fromTunnel(b *packet.Buffer, t *tunnel) {
	w.flow.downlink(&w.ip)
	if w.ip.Fragment {
		w.fragment(t.rules.session, true)
	}
	if w.ip.Version == 6 && !isGlobal(&w.ip.Dst) {
		w.flow.local = t.rules.prefix6 // the CP function's advertisements
	}
	d, spoofed := t.down.lookup(&w.flow, w.gtp.QFI, b.Bytes())
	switch {
	case d == nil && spoofed:
		w.drop(b, dropUnknownUE)
	case d == nil:
		w.drop(b, dropNoPDRDownlink)
	default:
		w.deliver(t.rules, d, b)
	}
}

// uplink works on a packet of the UE.
func (w *worker) uplink(b *packet.Buffer, t *tunnel) {
	if t.rules.measured && w.toPMF(b, t) {
		return
	}
	if t.rules.converter != nil && w.toConverter(b, t) {
		return
	}
	w.flow.uplink(&w.ip)
	if w.ip.Fragment {
		w.fragment(t.rules.session, false)
	}
	if w.ip.Version == 6 && !isGlobal(&w.ip.Src) {
		w.linkLocal(b, t)
		return
	}
	d, spoofed := t.up.lookup(&w.flow, w.gtp.QFI, b.Bytes())
	switch {
	case d == nil && spoofed:
		w.drop(b, dropSpoofedSource)
		return
	case d == nil:
		w.drop(b, dropNoPDRUplink)
		return
	}
	w.leave(b, t.rules, d)
}

// leave brings a packet of the UE that PDR d detected on its way.
func (w *worker) leave(b *packet.Buffer, r *ruleSet, d *pdr) {
	if r.measured {
		w.measureUp(r.session, d.access)
	}
	instead, ok := w.admit(r, d, b)
	switch {
	case !ok:
		return
	case instead == nil:
		instead = d.far
	}
	if instead != nil && instead.mark {
		packet.SetDSCP(b.Bytes(), instead.out.tos)
		w.ip.TOS = instead.out.tos&^3 | w.ip.TOS&3
	}
	if instead != nil && instead.action == actionN6 && r.proxied {
		w.proxyUplink(b, r.session, d)
		return
	}
	w.forward(r, d, instead, d.access, b)
}

// proxyUplink sends a packet of a session that has proxied connections to N6, by way of
// the proxy if it is of a connection that the proxy has or may want.
func (w *worker) proxyUplink(b *packet.Buffer, s *session, d *pdr) {
	w.countAccess(d, d.access, b)
	if w.ip.Proto != packet.ProtoTCP || w.ip.Fragment {
		w.proxy.Heard(w.now, &s.proxy, d.access)
		w.toN6(b)
		return
	}
	// The connection's rules are those of the server's packets.
	rule := s.rules.ruleFor(&w.flow)
	if rule.Group != 0 && w.lend(s, d, &rule, b) {
		return
	}
	w.translateUp(s, d.access, rule, b)
}

// translateUp gives a TCP packet of the UE to the proxy, or, if that does not take it, to
// N6.
func (w *worker) translateUp(s *session, a steer.Access, rule proxy.Rule, b *packet.Buffer) {
	if w.proxy.Uplink(w.now, &s.proxy, a, rule, b, &w.ip, &w.out) == proxy.Taken {
		w.forwardProxied()
		return
	}
	w.toN6(b)
}
