package dataplane

import (
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// Packets and the MTU of the tunnels that they are to pass. The ends of TCP connections
// are told at once what fits, by the MSS in their SYNs. Of other packets too long for
// the path those that may be are fragmented here, so that neither the radio access nor
// the routers before it have to; the sender of any other hears of it (RFC 1191,
// RFC 8201). What the proxy makes fits N3's own MTU; where the path is narrower it is
// the outer packet that is fragmented.

// clamp lowers the MSS in the packet in hand, if it is a SYN, to what passes the
// session's tunnels.
func (w *worker) clamp(r *ruleSet, b *packet.Buffer) {
	const flags = 13
	if w.ip.Fragment || w.ip.End-w.ip.L4 <= flags || b.Bytes()[w.ip.L4+flags]&packet.SYN == 0 {
		return
	}
	headers := 20 + packet.TCPHeaderLen
	if w.ip.Version == 6 {
		headers = 40 + packet.TCPHeaderLen
	}
	if mtu := r.pathMTU(); mtu > headers && packet.ClampMSS(b.Bytes(), &w.ip, uint16(mtu-headers)) {
		w.count.n[clampedMSS]++
	}
}

// pathMTU is the longest IP packet that passes all of the session's tunnels.
func (r *ruleSet) pathMTU() int {
	mtu := int(r.mtu)
	for i := range r.fars {
		if f := &r.fars[i]; f.action == actionTunnel {
			mtu = min(mtu, int(f.out.path.mtu.Load()))
		}
	}
	return mtu
}

// tooLong has the IP packet b, which does not fit the path of e, fragmented, or its
// sender told.
func (w *worker) tooLong(b *packet.Buffer, d *pdr, a steer.Access, e *egress) {
	mtu := int(e.path.mtu.Load())
	var in packet.Info
	if packet.Parse(b.Bytes(), &in) != packet.OK {
		w.drop(b, dropTooLong)
		return
	}
	var ok bool
	if w.pieces, ok = packet.Fragment4(w.pieces[:0], w.pool, b.Bytes(), &in, mtu); ok {
		w.count.n[fragmented]++
		w.pool.Put(b)
		for _, p := range w.pieces {
			w.countAccess(d, a, p)
			w.toTunnel(p, d, e)
		}
		return
	}
	w.tellTooBig(b, &in, d.down(), mtu)
	w.drop(b, dropTooLong)
}

// tellTooBig tells the sender of b, which in describes, of the MTU; down says that it
// was on its way to the UE. The message comes from where b was to go: the UPF has no
// address of its own on N6.
func (w *worker) tellTooBig(b *packet.Buffer, in *packet.Info, down bool, mtu int) {
	if !packet.MayAnswer(b.Bytes(), in, packet.PacketTooBig) || !w.icmp.take(w.now) {
		return
	}
	e := w.pool.Get()
	e.SetLen(packet.MaxICMPError)
	e.SetLen(packet.PutICMPError(e.Bytes(), packet.PacketTooBig, &in.Dst, mtu, b.Bytes(), in))
	w.count.n[tooBigSent]++
	if down {
		w.tx.N6 = append(w.tx.N6, e)
		return
	}
	w.downlink(e, w.ues.lookup(&in.Src), false)
}
