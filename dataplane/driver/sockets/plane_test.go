package sockets

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/gtpu"
)

// TestPlane runs the whole packet path over real sockets: sessions on three
// workers, their packets up and down, and not one at a worker that does not own it.
func TestPlane(t *testing.T) {
	const workers, sessions, packets = 3, 12, 40
	namespace(t)
	set := open(t, workers)
	plane, err := dataplane.New(dataplane.Config{Set: set, Buffers: 256, Keys: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- plane.Run(ctx) }()
	defer func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not return")
		}
	}()
	gnb, dn := socket(t, dataNet), socket(t, dataNet)
	for n := range sessions {
		if _, err := plane.Install(rulesOf(n, gnb)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range packets {
		for n := range sessions {
			r := rulesOf(n, gnb)
			ue := netip.AddrPortFrom(r.UEAddrs[0].Addr(), 1000)
			text := fmt.Sprintf("%d up %d", n, i)
			inner := udp4(ue, dn.LocalAddr().(*net.UDPAddr).AddrPort(), text)
			send(t, gnb, netip.AddrPortFrom(n3v4, gtpu.Port), gpdu(r.Uplink[0].TEID, string(inner)))
			if got, from := receive(t, dn); got != text || from != ue {
				t.Fatalf("data network received %q from %v, want %q from %v", got, from, text, ue)
			}
			text = fmt.Sprintf("%d down %d", n, i)
			send(t, dn, ue, []byte(text))
			got, _ := receive(t, gnb)
			var h gtpu.Header
			if gtpu.Parse([]byte(got), &h) != gtpu.OK || h.TEID != uint32(n+1) || got[h.End-len(text):h.End] != text {
				t.Fatalf("gNB received %x, want %q for TEID %d", got, text, n+1)
			}
		}
	}
	perWorker := sessions / workers * packets
	for i := range workers {
		c := plane.WorkerCounters(i)
		if c["n3_sent_packets"] != uint64(perWorker) || c["n6_sent_packets"] != uint64(perWorker) || c["not_owner"] != 0 {
			t.Errorf("worker %d: %d to N3, %d to N6, want %d of each; %d at the wrong worker",
				i, c["n3_sent_packets"], c["n6_sent_packets"], perWorker, c["not_owner"])
		}
	}
	if _, err := plane.Remove(rulesOf(0, gnb).SEID); err != nil {
		t.Fatal(err)
	}
	send(t, gnb, netip.AddrPortFrom(n3v4, gtpu.Port), gpdu(rulesOf(0, gnb).Uplink[0].TEID, "x"))
	deadline := time.Now().Add(5 * time.Second)
	for plane.Counters()["drop_unknown_teid"] != 1 {
		if time.Now().After(deadline) {
			t.Fatal("a removed session's TEID is not unknown")
		}
		time.Sleep(time.Millisecond)
	}
}

// rulesOf is session n: slot n, one tunnel each way, TEIDs that an SMF chose for
// every second session.
func rulesOf(n int, gnb *net.UDPConn) *dataplane.Rules {
	ue := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 60, 1, byte(n)}), 32)
	teid := uint32(n)<<20 | 0x100
	if n%2 == 1 {
		teid = uint32(n)
	}
	peer := gnb.LocalAddr().(*net.UDPAddr).AddrPort()
	return &dataplane.Rules{
		SEID:    uint64(n),
		UEAddrs: []netip.Prefix{ue},
		Uplink:  []dataplane.PDR{{ID: 1, TEID: teid, LocalAddr: n3v4, FAR: &dataplane.FAR{ID: 1, Action: dataplane.Forward}}},
		Downlink: []dataplane.PDR{{ID: 2, FAR: &dataplane.FAR{
			ID: 2, Action: dataplane.Forward, To: dataplane.ToAccess, OuterHeader: &dataplane.OuterHeader{TEID: uint32(n + 1), Peer: peer},
		}}},
	}
}
