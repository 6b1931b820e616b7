package dataplane

import (
	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// uplink works on a GTP-U message from peer, received at our address local.
// handed: another worker handed it over.
func (w *worker) uplink(b *packet.Buffer, peer *driver.Peer, local uint8, handed bool) {
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
	t := w.teids[w.gtp.TEID]
	if t == nil {
		w.strangeTEID(b, peer, local, handed)
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
	w.flow.uplink(&w.ip)
	d, spoofed := t.match(&w.flow, w.gtp.QFI)
	switch {
	case d == nil && spoofed:
		w.drop(b, dropSpoofedSource)
	case d == nil:
		w.drop(b, dropNoPDRUplink)
	case d.ulClosed:
		w.drop(b, dropGateUplink)
	case d.far == nil || d.far.action != actionN6:
		w.drop(b, dropFARUplink)
	default:
		w.count.uplink[d.access].packets++
		w.count.uplink[d.access].bytes += uint64(b.Len())
		w.toN6(b, t.session, d)
	}
}

// toN6 forwards an uplink packet that its PDR d lets through, by way of the proxy
// if it is of a connection that the proxy has or may want.
func (w *worker) toN6(b *packet.Buffer, s *session, d *pdr) {
	if s.proxied && (w.ip.Proto != packet.ProtoTCP || w.ip.Fragment) {
		w.proxy.Heard(w.now, &s.proxy, d.access)
	} else if s.proxied {
		// The connection's rules are those of the server's packets.
		var rule proxy.Rule
		if down := s.rules.matchDownlink(&w.flow); down != nil {
			rule = down.rule
		}
		if w.proxy.Uplink(w.now, &s.proxy, d.access, rule, b, &w.ip, &w.out) == proxy.Taken {
			w.forwardProxied()
			return
		}
	}
	w.tx.N6 = append(w.tx.N6, b)
}
