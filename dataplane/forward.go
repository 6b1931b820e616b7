package dataplane

import (
	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// admit lets the packet in hand, of n octets, through the gate, the rates and the
// quotas of its PDR, and counts it. It gives the FAR that a spent quota puts in the
// place of the PDR's, nil for none; if it says false, b is gone.
func (w *worker) admit(r *ruleSet, d *pdr, b *packet.Buffer) (instead *far, ok bool) {
	n := b.Len()
	r.lastPacket = w.now
	var spent bool
	if d.flags&isBefore != 0 {
		instead, spent = w.meter(r, d, n, true)
	}
	if d.flags&isClosed != 0 {
		w.drop(b, d.either(dropGateUplink, dropGateDownlink))
		return nil, false
	}
	if !w.police(d, n) {
		w.drop(b, d.either(dropRateUplink, dropRateDownlink))
		return nil, false
	}
	if d.meters[0] != nil {
		if f, out := w.meter(r, d, n, false); out {
			instead, spent = f, true
		}
	}
	if spent && instead == nil {
		w.drop(b, dropQuota)
		return nil, false
	}
	if w.ip.Proto == packet.ProtoTCP && !w.translated {
		w.clamp(r, b)
	}
	return instead, true
}

// police says whether the QERs of d let a packet of n octets pass.
func (w *worker) police(d *pdr, n int) bool {
	switch {
	case d.qer != nil:
		return d.qer.mbr.pass(w.now, n)
	case d.more != nil && d.more.qers != nil:
		return police(d.more.qers, w.now, n)
	}
	return true
}

// either is the counter of d's direction.
func (d *pdr) either(up, down counter) counter {
	if d.down() {
		return down
	}
	return up
}

// forward does with the IP packet b what f says, on its way over access a as PDR d lets
// it through.
func (w *worker) forward(r *ruleSet, d *pdr, f *far, a steer.Access, b *packet.Buffer) {
	if f == nil {
		w.drop(b, d.either(dropFARUplink, dropFARDownlink))
		return
	}
	if f.notify && !f.told && d.down() {
		f.told = w.notify(r, d, f)
	}
	if f.more != nil {
		for i := range f.more.copies {
			w.toTunnel(b.Clone(w.pool), d, &f.more.copies[i])
		}
	}
	switch f.action {
	case actionTunnel:
		if r.measured && d.down() {
			w.measureDown(r.session, d, a)
		}
		if b.Len() > int(f.out.path.mtu.Load()) && !w.translated {
			w.tooLong(b, d, a, &f.out)
			return
		}
		w.countAccess(d, a, b)
		w.toTunnel(b, d, &f.out)
	case actionN6:
		w.countAccess(d, a, b)
		w.toN6(b)
	case actionHold:
		w.hold(d, f, b)
	case actionUEs:
		w.toUE(b)
	default:
		w.drop(b, d.either(dropFARUplink, dropFARDownlink))
	}
}

// toTunnel puts a GTP-U header in front of the IP packet b and queues it.
func (w *worker) toTunnel(b *packet.Buffer, d *pdr, e *egress) {
	n := b.Len()
	if n > maxInner {
		w.drop(b, dropTooLong)
		return
	}
	qfi := d.markQFI
	if qfi == 0 {
		qfi = w.qfi
	}
	pdu := gtpu.DLPDUSessionInformation
	if e.up {
		pdu = gtpu.ULPDUSessionInformation
	}
	x := &noExtensions
	if w.extended && !w.translated {
		x = &w.ext
	}
	x.PutGPDU(b.Prepend(x.GPDUHeaderLen(qfi)), e.teid, n, pdu, qfi, d.flags&markRQI != 0)
	w.tx.N3 = append(w.tx.N3, driver.N3Packet{Buf: b, Peer: &e.peer, Local: e.local, TOS: e.tos})
}

// noExtensions is what packets have that did not come out of a tunnel.
var noExtensions gtpu.Extensions

// maxInner is the longest IP packet that fits a UDP datagram over IPv4 behind a
// GTP-U header.
const maxInner = 65535 - overhead4

// toN6 sends the uplink packet in hand to N6, or to its UE if that is here and such
// packets are to stay.
func (w *worker) toN6(b *packet.Buffer) {
	if w.plane.ueToUE && w.isUE(&w.ip.Dst) {
		w.toUE(b)
		return
	}
	w.tx.N6 = append(w.tx.N6, b)
}

// toUE gives a packet that does not leave the UPF to the session of its destination;
// w.ip describes it.
func (w *worker) toUE(b *packet.Buffer) {
	w.count.n[ueToUE]++
	w.downlinkTo(b, w.ues.lookup(&w.ip.Dst), false)
}

// isUE says whether a is an address of a session, on whatever worker.
func (w *worker) isUE(a *packet.Addr) bool {
	if w.ues.lookup(a) != nil {
		return true
	}
	_, ok := w.plane.ueOwner(a)
	return ok
}

// countAccess counts a packet that access a has carried or will carry.
func (w *worker) countAccess(d *pdr, a steer.Access, b *packet.Buffer) {
	c := &w.count.uplink[a]
	if d.down() {
		c = &w.count.downlink[a]
	}
	c.packets++
	c.bytes += uint64(b.Len())
}

// forwardProxied queues what the proxy wants sent. It is called for each packet, so
// that proxied traffic leaves in its turn and not behind all other of the burst.
func (w *worker) forwardProxied() {
	w.translated = true
	for i := range w.out.ToUE {
		o := &w.out.ToUE[i]
		w.proxiedToUE(o, w.sessions[o.Session.ID])
	}
	w.translated = false
	w.tx.N6 = append(w.tx.N6, w.out.ToN6...)
	w.out.Reset()
}

func (w *worker) proxiedToUE(o *proxy.ToUE, s *session) {
	if s == nil {
		w.drop(o.Buf, dropNoSession)
		return
	}
	if s.guest {
		w.sendGuest(o, s)
		return
	}
	r := s.rules
	d := r.downlinkByID(o.PDR)
	switch {
	case d == nil:
		w.drop(o.Buf, dropNoPDRDownlink)
	case d.lateAdmitted():
		if instead, ok := w.admit(r, d, o.Buf); ok {
			if instead == nil {
				instead = d.far
			}
			w.forward(r, d, instead, o.Access, o.Buf)
		}
	case d.flags&isClosed != 0:
		w.drop(o.Buf, dropGateDownlink)
	case d.mar() == nil:
		w.forward(r, d, d.far, o.Access, o.Buf)
	default:
		w.over(r, d, o.Buf, o.Access)
	}
}

// over sends a downlink packet over access a of its PDR's MAR.
func (w *worker) over(r *ruleSet, d *pdr, b *packet.Buffer, a steer.Access) {
	m := d.mar()
	f := m.fars[a]
	if ms := m.meters[a]; len(ms) > 0 {
		if instead, spent := w.meterAll(r, ms, b.Len(), true, false); spent {
			f = instead
		}
	}
	w.forward(r, d, f, a, b)
}
