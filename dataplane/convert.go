package dataplane

import (
	"slices"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/packet"
)

// The transport converter (RFC 8803) of a multi-access session: an address and port that
// its UE opens TCP connections to, from its link-specific addresses or its own (TS 23.501
// §5.32.6.2.1). A packet to it is classified, policed and counted as what it becomes on
// N6: of the session's address, to the server that the UE names. The server's packets come
// to the session's address as any do. A link-specific address is good for nothing else.

// converterRules is the converter of a session.
type converterRules struct {
	proxy.Converter
	linkSpecific []packet.Addr // the UE's
}

// converter makes the converter of the session, if it has one.
func (c *compiler) converter() error {
	a := c.rules.ATSSS
	if a == nil || len(a.Converter) == 0 {
		return nil
	}
	v := &converterRules{}
	for _, at := range a.Converter {
		addr := at.Addr().Unmap()
		e := proxy.Endpoint{Addr: packet.AddrFrom(addr), Port: at.Port()}
		v.At[ipVersion(addr.Is6())] = e
		v.Reserved = append(v.Reserved, e.Addr)
	}
	for _, access := range a.LinkSpecific {
		for _, addr := range access {
			v.linkSpecific = append(v.linkSpecific, packet.AddrFrom(addr))
		}
	}
	v.Reserved = append(v.Reserved, v.linkSpecific...)
	for _, n3 := range c.plane.n3 {
		v.Reserved = append(v.Reserved, packet.AddrFrom(n3))
	}
	c.sources(v)
	c.set.converter, c.set.proxied = v, true
	return nil
}

// sources gives v the addresses of the session's that servers see: the first of each IP
// version. Of an IPv6 prefix it is the address with interface identifier 1 if the session's
// own is not known, since all of the prefix is the session's (TS 23.501 §5.8.2.2.1).
func (c *compiler) sources(v *converterRules) {
	for _, u := range c.rules.UEAddrs {
		v6 := u.Addr().Is6()
		source := &v.Source[ipVersion(v6)]
		if *source != (packet.Addr{}) || !v6 && u.Bits() < 32 {
			continue
		}
		*source = packet.AddrFrom(u.Addr())
		if u.Bits() < 128 && u.Addr() == u.Masked().Addr() && v6 {
			source[15] |= 1
		}
	}
}

// ipVersion is the index of an IP version in a proxy.Converter.
func ipVersion(v6 bool) int {
	if v6 {
		return proxy.IPv6
	}
	return proxy.IPv4
}

// toConverter takes a packet of the UE to the converter of its session, or from a
// link-specific address; false if it is neither.
func (w *worker) toConverter(b *packet.Buffer, t *tunnel) bool {
	r := t.rules
	v := r.converter
	linkSpecific := slices.Contains(v.linkSpecific, w.ip.Src)
	switch {
	case !v.Is(&w.ip):
		if linkSpecific {
			w.drop(b, dropLinkSpecific)
		}
		return linkSpecific
	case !linkSpecific && !r.has(&w.ip.Src):
		w.drop(b, dropSpoofedSource)
		return true
	}
	w.flow.uplink(&w.ip)
	e := w.proxy.Conversion(&r.session.proxy, b, &w.ip)
	w.flow.local, w.flow.localPort = e.UE.Addr, e.UE.Port
	w.flow.remote, w.flow.remotePort = e.Server.Addr, e.Server.Port
	d, _ := t.up.lookup(&w.flow, w.gtp.QFI, b.Bytes())
	switch {
	case d == nil:
		w.drop(b, dropNoPDRUplink)
	case d.far == nil || d.far.action != actionN6:
		w.drop(b, dropFARUplink)
	default:
		w.leave(b, r, d)
	}
	return true
}

// unreachable takes an ICMP error from N6 about a segment of a converted connection, which
// the UE knows nothing of; false if it is none.
func (w *worker) unreachable(r *ruleSet, b *packet.Buffer) bool {
	var q packet.Quote
	if w.ip.Proto != packet.ProtoICMP && w.ip.Proto != packet.ProtoICMPv6 || !packet.ParseQuote(b.Bytes(), &w.ip, &q) ||
		!w.proxy.Unreachable(w.now, &r.session.proxy, &q, &w.out) {
		return false
	}
	w.pool.Put(b)
	w.forwardProxied()
	return true
}
