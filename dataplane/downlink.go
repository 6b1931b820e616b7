package dataplane

import (
	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// downlink works on an IP packet from N6. handed: another worker handed it over.
func (w *worker) downlink(b *packet.Buffer, handed bool) {
	if r := packet.Parse(b.Bytes(), &w.ip); r != packet.OK {
		w.count.n6IP[r]++
		w.pool.Put(b)
		return
	}
	s := w.ues.lookup(&w.ip.Dst)
	if s == nil {
		w.strangeUE(b, handed)
		return
	}
	b.SetLen(w.ip.End)
	w.flow.downlink(&w.ip)
	d := s.rules.matchDownlink(&w.flow)
	if d == nil {
		w.drop(b, dropNoPDRDownlink)
		return
	}
	if d.dlClosed {
		w.drop(b, dropGateDownlink)
		return
	}
	if s.proxied && w.ip.Proto == packet.ProtoTCP && !w.ip.Fragment {
		if w.proxy.Downlink(w.now, &s.proxy, d.rule, b, &w.ip, &w.out) == proxy.Taken {
			w.forwardProxied()
			return
		}
	}
	if d.policy == nil {
		w.toN3(b, d, d.far, d.access)
		return
	}
	a, ok := w.steer(s, d)
	if !ok {
		w.drop(b, dropNoAccess)
		return
	}
	w.toN3(b, d, d.fars[a], a)
}

// steer chooses the access for a packet of ordinary traffic, by the MAR of d and
// the packet's 5-tuple (TS 23.501 §5.32.8).
func (w *worker) steer(s *session, d *pdr) (steer.Access, bool) {
	var alive steer.Set
	for a := range steer.Access(steer.NumAccesses) {
		if s.proxy.Answers(a) {
			alive |= steer.SetOf(a)
		}
	}
	if alive&d.policy.Usable == 0 {
		// Silence is a guess: rather try an access than drop.
		alive = d.policy.Usable
	}
	return d.policy.Choose(alive, w.flow.point())
}

// toN3 puts the GTP-U header of f in front of the IP packet b and queues it.
func (w *worker) toN3(b *packet.Buffer, d *pdr, f *far, a steer.Access) {
	if f == nil || f.action != actionN3 {
		w.drop(b, dropFARDownlink)
		return
	}
	n := b.Len()
	if n > maxInner {
		w.drop(b, dropTooLong)
		return
	}
	w.count.downlink[a].packets++
	w.count.downlink[a].bytes += uint64(n)
	gtpu.PutGPDU(b.Prepend(gtpu.GPDUHeaderLen(d.markQFI)), f.teid, n, d.markQFI, d.markRQI)
	w.tx.N3 = append(w.tx.N3, driver.N3Packet{Buf: b, Peer: &f.peer, Local: f.local})
}

// maxInner is the longest IP packet that fits a UDP datagram over IPv4 behind a
// GTP-U header.
const maxInner = 65535 - overhead4

// forwardProxied queues what the proxy wants sent. It is called for each packet, so
// that proxied traffic leaves in its turn and not behind all other of the burst.
func (w *worker) forwardProxied() {
	for i := range w.out.ToUE {
		o := &w.out.ToUE[i]
		w.proxiedToUE(o.Buf, w.sessions[o.Session.ID], o.PDR, o.Access)
	}
	w.tx.N6 = append(w.tx.N6, w.out.ToN6...)
	w.out.Reset()
}

func (w *worker) proxiedToUE(b *packet.Buffer, s *session, id uint16, a steer.Access) {
	if s == nil {
		w.drop(b, dropNoSession)
		return
	}
	d := s.rules.downlinkByID(id)
	switch {
	case d == nil:
		w.drop(b, dropNoPDRDownlink)
	case d.dlClosed:
		w.drop(b, dropGateDownlink)
	case d.policy == nil:
		w.toN3(b, d, d.far, a)
	default:
		w.toN3(b, d, d.fars[a], a)
	}
}
