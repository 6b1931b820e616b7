package proxy

import (
	"testing"

	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// TestSACKedDataKeepTheirMapping: what the UE has only SACKed is mapped still, since it
// may drop it (RFC 2018 §8): if the server sends it again it goes out as before.
func TestSACKedDataKeepTheirMapping(t *testing.T) {
	h := newHarness(t)
	h.connect()
	for i := range int64(3) {
		h.serverData(1000*i, 1000)
	}
	h.recycle()
	var o options
	o.timestamps(h.tsUE, h.tsServer)
	o.dataAck(uint32(h.idsnB) + 1)
	o.sack([]dsm.Range{{From: 1001, To: 3001}}, h.isns[0][1])
	h.up(0, h.build(shape{
		src: &h.ue, dst: &h.srv, srcPort: h.uePorts[0], dstPort: 80, sn: h.ueISN + 1, ack: h.isns[0][1] + 1,
		flags: packet.ACK, window: 65535,
	}, wordBytes(&o), nil))
	h.want("srv u=0 ack=0 sack=1000-3000")
	h.serverData(2000, 1000)
	h.want("ue0 ssn=2001+1000 ack=1 dack=0 map=2000@2001+1000")
}

// TestMovedDataKeepTheirFirstSSN: data that were sent on one subflow and again on another
// are acknowledged and SACKed on both (FlexCP §3.2, Equiv-SSN).
func TestMovedDataKeepTheirFirstSSN(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.serverData(0, 1000)
	h.serverData(1000, 1000)
	h.recycle()
	h.session.access[steer.Access3GPP].silent = h.now
	h.serverData(1000, 1000) // the first subflow cannot carry it: the second gets it
	h.want("ue1 ssn=2+1000 ack=1 dack=0 map=1000@2+1000")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 1000), 2001, nil))
	h.want("srv u=0 ack=1000")
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(nil, 2000), 1002, nil))
	h.want("srv u=0 ack=2000")
	for i, f := range h.conn().subflows {
		if !f.down.Empty() || f.acked != f.next {
			t.Errorf("subflow %d holds %d runs after every byte was acknowledged", i, f.down.Len())
		}
	}
}

// TestMappingsAreGivenBack: a connection holds memory for mappings only while data are
// outstanding, and none after it is gone.
func TestMappingsAreGivenBack(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.ueAck(0)
	rules := [2]Rule{h.rule, h.otherRule()}
	idle := h.p.maps.InUse()
	for i := range int64(50) {
		h.rule = rules[i&1]
		h.serverData(1000*i, 1000)
	}
	if n := h.p.maps.InUse(); n < idle+3 {
		t.Errorf("%d blocks hold the mappings of both subflows, %d before", n, idle)
	}
	h.recycle()
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 50_000), 25_001, nil))
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(nil, 50_000), 25_002, nil))
	if n := h.p.maps.InUse(); n != 0 {
		t.Errorf("%d blocks are in use after every byte was acknowledged", n)
	}
	h.serverData(50_000, 1000)
	h.p.EndSession(&h.session)
	if n := h.p.maps.InUse(); n != 0 {
		t.Errorf("%d blocks are in use without a connection", n)
	}
	h.recycle()
}
