package sim

import "github.com/braid-upf/braid/atsss/steer"

// pairOf finds the connection of a segment by the UE's port.
func (w *world) pairOf(port uint16) *pair {
	i := (int(port) - 40000) / 16
	if i < 0 || i >= len(w.pairs) {
		return nil
	}
	return w.pairs[i]
}

// accessOf is the access whose address a packet goes to.
func (w *world) accessOf(pkt []byte) steer.Access {
	if pkt[0]>>4 == 6 {
		return steer.Access(pkt[24+3] - 0x60)
	}
	return steer.Access(pkt[19] - 1)
}

// arriveUplink is a UE's packet at the proxy.
func (w *world) arriveUplink(a steer.Access, pkt []byte) {
	w.pkts++
	s, err := decode(pkt)
	if err == nil {
		if p := w.pairOf(s.src.port); p != nil {
			p.watch.see(fromUE, a, s, pkt)
		}
	}
	w.middle.uplink(a, pkt)
}

// arriveDownlink is a server's packet at the proxy.
func (w *world) arriveDownlink(pkt []byte) {
	w.pkts++
	s, err := decode(pkt)
	if err == nil {
		if p := w.pairOf(s.dst.port); p != nil {
			p.watch.see(fromServer, 0, s, pkt)
		}
	}
	w.middle.downlink(pkt)
}

// sendUE is a packet that the proxy emits to the UE.
func (w *world) sendUE(a steer.Access, pkt []byte) {
	if w.tamper != nil {
		if pkt = w.tamper(toUE, pkt); pkt == nil {
			return
		}
	}
	s, err := decode(pkt)
	if err != nil && w.corrupts() {
		return // passed on unchanged, or not: the receiver drops it
	}
	if err != nil {
		w.fail("proxy to UE: %v: %x", err, pkt)
		return
	}
	if p := w.pairOf(s.dst.port); p != nil {
		if len(pkt) > w.cfg.MTU && !p.watch.plain() { // GSO of plain traffic is not the proxy's
			w.fail("proxy to UE: packet of %d bytes, MTU %d", len(pkt), w.cfg.MTU)
		}
		p.watch.see(toUE, a, s, pkt)
	}
	w.downs[a].send(pkt)
}

// sendServer is a packet that the proxy emits to N6.
func (w *world) sendServer(pkt []byte) {
	if w.tamper != nil {
		if pkt = w.tamper(toServer, pkt); pkt == nil {
			return
		}
	}
	s, err := decode(pkt)
	if err != nil && w.corrupts() {
		return
	}
	if err != nil {
		w.fail("proxy to server: %v: %x", err, pkt)
		return
	}
	if p := w.pairOf(s.src.port); p != nil {
		p.watch.see(toServer, 0, s, pkt)
	}
	w.n6Up.send(pkt)
}

// corrupts: packets with wrong checksums may be about.
func (w *world) corrupts() bool {
	c := w.n6Down.Corrupt
	for a := range w.up {
		c += w.up[a].Corrupt
	}
	return c > 0
}

// arriveUE is a packet at the UE's TCP.
func (w *world) arriveUE(pkt []byte) {
	s, err := decode(pkt)
	if err != nil {
		return // as a host does
	}
	p := w.pairOf(s.dst.port)
	if p == nil {
		return
	}
	f := p.subs[s.dst]
	if f == nil {
		w.fail("UE: packet for %v, which is not open", s.dst)
		return
	}
	full := p.client.full
	f.receive(s)
	if !full && p.client.full && !p.client.isEnded {
		w.startJoins(p)
	}
}

// arriveServer is a packet at the server's TCP.
func (w *world) arriveServer(pkt []byte) {
	s, err := decode(pkt)
	if err != nil {
		return
	}
	if p := w.pairOf(s.src.port); p != nil {
		if s.src.port != p.port {
			w.fail("server: packet from port %d, the connection's is %d", s.src.port, p.port)
		}
		p.server.receive(s, pkt)
	}
}
