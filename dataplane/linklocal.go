package dataplane

import (
	"github.com/braid-upf/braid/packet"
)

// The UE's IPv6 link ends here: what it sends from its link-local address, or before it
// has any, goes to the CP function if a PDR of the session says so (Open5GS's SMF
// answers Router Solicitations itself), is answered here, or ends here.

// router is the address of the UE's link's other end: ours.
var router = packet.Addr{0: 0xfe, 1: 0x80, 15: 1}

// routerLifetime is that of the UE's default route, in seconds: the longest that there
// is, for advertisements come when they are asked for only.
const routerLifetime = 65535

// isGlobal says whether an IPv6 address is neither link-local, multicast nor unspecified.
func isGlobal(a *packet.Addr) bool {
	return a[0] != 0xff && !(a[0] == 0xfe && a[1]&0xc0 == 0x80) && *a != packet.Addr{}
}

// linkLocal works on a packet of the UE with a source that is not global.
func (w *worker) linkLocal(b *packet.Buffer, t *tunnel) {
	r := t.rules
	if !r.has6 {
		w.drop(b, dropSpoofedSource)
		return
	}
	w.flow.local = r.prefix6
	d, _ := t.up.lookup(&w.flow, w.gtp.QFI, b.Bytes())
	switch {
	case d == nil:
		w.drop(b, dropNoPDRUplink)
	case d.far != nil && d.far.action == actionTunnel && d.far.out.up:
		w.leave(b, r, d)
	case r.advertise && packet.IsRouterSolicitation(b.Bytes(), &w.ip) && packet.ValidRouterSolicitation(b.Bytes(), &w.ip):
		w.advertise(r)
		w.pool.Put(b)
	default:
		w.drop(b, dropLinkLocal)
	}
}

// advertise answers the Router Solicitation in hand (RFC 4861 §6.2.6): by way of the
// session's last downlink PDR that leads to the UE, which is that of its default QoS
// flow.
func (w *worker) advertise(r *ruleSet) {
	for i := len(r.downlink.pdrs) - 1; i >= 0; i-- {
		d := &r.downlink.pdrs[i]
		f, a := d.holder()
		if f == nil || f.action != actionTunnel {
			continue
		}
		adv := packet.RouterAdvertisement{
			Src: router, Dst: packet.AdvertisementDst(&w.ip.Src), RouterLifetime: routerLifetime,
			Prefix: r.prefix6, PrefixLen: r.prefixLen, Valid: packet.Infinite, Preferred: packet.Infinite,
		}
		if mtu := r.pathMTU(); mtu >= packet.MinMTU6 {
			adv.MTU = uint32(mtu)
		}
		b := w.pool.Get()
		b.SetLen(packet.MaxRouterAdvertisement)
		b.SetLen(packet.PutRouterAdvertisement(b.Bytes(), &adv))
		w.count.n[routerAdvertisements]++
		w.qfi, w.extended = 0, false
		w.forward(r, d, f, a, b)
		return
	}
	w.count.n[dropNoPDRDownlink]++
}
