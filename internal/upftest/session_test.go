package upftest

import (
	"net/netip"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
)

// A session as free5GC makes it carries pings and TCP of both IP versions both ways.
func TestPlainSession(t *testing.T) {
	w := begin(t, "")
	site := serveWeb(w.dn)
	guests := []*guest{w.arrive(nil, "10.60.0.1"), w.arrive(nil, "fd00:60:0:1::1")}
	servers := []netip.Addr{dnAddr, dnAddr6}
	// The UPF does not know the gNB yet and must not send a packet bare.
	before := w.upf.counters()
	for i, g := range guests {
		w.dn.open(netip.AddrPortFrom(servers[i], 0), netip.AddrPortFrom(g.addrs[0], 9), 100).send(1)
	}
	w.upf.await(before, "n6_received_packets", 2)
	w.upf.counted(before, map[string]uint64{"n3_sent_packets": 0})
	for i, g := range guests {
		g.bearer = g.attach(w.gnb[0], g.up, g.down)
		g.session.modify(g.toGNB(w.gnb[0]))
		await(t, "the packet that came too early", eventTime, func() bool { return g.bearer.packets.Load() == 1 })
		g.ping(g.addrs[0], servers[i], 20, 84)
		g.ping(g.addrs[0], servers[i], 5, tunMTU)
		w.dn.ping(servers[i], g.addrs[0], 20, 84)
		site.transfer(g.host, servers[i], 8<<20)
		if a := whoAmI(g.host, servers[i]); a != g.addrs[0] {
			t.Errorf("the server sees %v, want %v", a, g.addrs[0])
		}
	}
	dual := w.join(nil, "10.60.0.3", "fd00:60:0:3::1")
	for i, server := range servers {
		dual.ping(dual.addrs[i], server, 5, 84)
		site.transfer(dual.host, server, 1<<20)
	}
	guests = append(guests, dual)
	w.upf.counted(before, map[string]uint64{"drop_spoofed_source": 0, "drop_unknown_teid": 0})
	for _, g := range guests {
		g.session.remove()
	}
	if n := w.upf.counters()["sessions"]; n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// A UE that sends from another's address is not heard, and nobody gets a TEID or a UE
// address that is another session's, be it by an establishment or by a modification.
func TestNobodyElsesSession(t *testing.T) {
	w := begin(t, "")
	first, second := w.join(nil, "10.60.0.1"), w.join(nil, "10.60.0.2")
	server := w.dn.newSink(netip.AddrPortFrom(dnAddr, 0))

	// The thief has the address on its loopback device: its kernel lets it.
	second.addr("lo", "10.60.0.1/32")
	before := w.upf.counters()
	thief := second.open(netip.MustParseAddrPort("10.60.0.1:4000"), server.local(), 100)
	thief.send(10)
	w.upf.await(before, "drop_spoofed_source", 10)
	honest := first.open(netip.MustParseAddrPort("10.60.0.1:4000"), server.local(), 200)
	honest.send(10)
	await(t, "the honest UE's datagrams", eventTime, func() bool { return server.count() >= 10 })
	for _, a := range server.taken() {
		if a.octets != 200 {
			t.Errorf("a datagram of %d octets came from the thief", a.octets)
		}
	}
	if n := second.bearer.packets.Load(); n != 0 {
		t.Errorf("the thief got %d packets", n)
	}

	ours := free5GCSession(n3Addr, 0x7001, addr("10.60.0.9"))
	for what, theft := range map[string]*rules{
		"TEID":       free5GCSession(n3Addr, first.up.teid, addr("10.60.0.8")),
		"UE address": free5GCSession(n3Addr, 0x7002, addr("10.60.0.1")),
	} {
		if _, err := w.smf.tryEstablish(n4Addr, theft.creates()...); err == nil {
			t.Errorf("an establishment gets another session's %s", what)
		}
		sess := w.smf.establish(n4Addr, ours.creates()...)
		for _, pdr := range theft.pdrs {
			pdr.ID += 10
		}
		if _, err := sess.tryModify(theft.pdrs[0].IE(ie.CreatePDR), theft.pdrs[1].IE(ie.CreatePDR)); err == nil {
			t.Errorf("a modification gets another session's %s", what)
		}
		sess.remove()
	}
	first.ping(first.addrs[0], dnAddr, 5, 84)
	second.ping(second.addrs[0], dnAddr, 5, 84)
	w.dn.ping(dnAddr, first.addrs[0], 5, 84)
}

// Packets from UE to UE pass by way of the data network's side, or, if the config says
// so, in the UPF.
func TestUEToUE(t *testing.T) {
	for _, mode := range []string{"n6", "local"} {
		t.Run(mode, func(t *testing.T) {
			w := begin(t, "ueToUE: "+mode)
			four, four2 := w.join(nil, "10.60.0.1"), w.join(nil, "10.60.0.2")
			six, six2 := w.join(nil, "fd00:60:0:1::1"), w.join(nil, "fd00:60:0:2::1")
			before := w.upf.counters()
			four.ping(four.addrs[0], four2.addrs[0], 10, 84)
			six.ping(six.addrs[0], six2.addrs[0], 10, tunMTU)
			site := serveWeb(four2.host)
			site.transfer(four.host, four2.addrs[0], 4<<20)
			now := w.upf.counters()
			direct, n6 := now["ue_to_ue"]-before["ue_to_ue"], now["n6_sent_packets"]-before["n6_sent_packets"]
			if local := mode == "local"; (direct > 0) != local || (n6 == 0) != local {
				t.Errorf("%d packets went directly, %d to N6", direct, n6)
			}
		})
	}
}
