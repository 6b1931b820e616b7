package proxy

import (
	"fmt"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// dssForm is a DSS with DATA_ACK d and mapping m in the widths of the form (bit 0 an 8-byte
// DATA_ACK, bit 1 an 8-byte DSN, bit 2 no DATA_ACK at all).
func (h *harness) dssForm(form int, m mapping, d int64) []byte {
	return mptcp.AppendDSS(nil, &mptcp.Options{
		HasDataAck: form&4 == 0, DataAck64: form&1 != 0, DataAck: uint64(h.idsnB) + 1 + uint64(d),
		HasMapping: true, DSN64: form&2 != 0, DSN: uint64(h.idsnA) + 1 + uint64(m.u),
		SSN: mptcp.SSN(m.ssn), DataLen: uint16(m.n),
	})
}

// startAt moves the numbers of a fresh connection: the IDSNs of both ends, and how many
// bytes have gone each way on subflow 0 before, as if all were acknowledged.
func (h *harness) startAt(idsnA, idsnB mptcp.DSN, up, down int64) {
	c := h.conn()
	c.idsnA, c.local.IDSN, h.idsnA, h.idsnB = idsnA, idsnB, idsnA, idsnB
	f := c.subflows[0]
	c.up.next, c.up.acked, f.rcvNext, f.ackSent = up, up, up+1, uint32(up+1)
	c.up.rightEdge += up
	c.down.next, c.down.acked, c.down.ackSent, f.next, f.acked = down, down, down, down+1, down+1
	c.down.rightEdge += down
}

// Data cross the wraps of every number in every form of the DSS: 64-bit DSN, its low
// half, TCP SN of the server's connection, SSN of the subflow.
func TestNumbersWrap(t *testing.T) {
	for _, tc := range []struct {
		name         string
		idsnA, idsnB mptcp.DSN
		up, down     int64
	}{
		{"DSN at 2^64", 1<<64 - 500, 1<<64 - 700, 0, 0},
		{"DSN at 2^64 after its first byte", 1<<64 - 2, 1<<64 - 2, 0, 0},
		{"DSN at 2^32", 7<<32 - 500, 9<<32 - 700, 0, 0},
		{"SSN at 2^32", 0x1122334455667788, 0x99aabbccddeeff00, 1<<32 - 501, 1<<32 - 701},
		{"server's SN at 2^32", 0x1122334455667788, 0x99aabbccddeeff00, 1<<32 - 0xfffffff0 - 300, 1<<32 - 0x7ffffff0 - 300},
		{"all after 5 TiB", 5<<40 - 500, 1<<64 - 5<<40 - 300, 5<<40 - 1, 5<<40 - 1},
	} {
		for form := range 8 {
			t.Run(fmt.Sprintf("%s, form %d", tc.name, form), func(t *testing.T) {
				h := newHarness(t)
				h.connect()
				h.startAt(tc.idsnA, tc.idsnB, max(0, tc.up), tc.down)
				h.crossWrap(form, max(0, tc.up), tc.down)
			})
		}
	}
}

// crossWrap moves three segments of 400 bytes each way from positions u and d on.
func (h *harness) crossWrap(form int, u, d int64) {
	h.t.Helper()
	f := h.conn().subflows[0]
	rel := func(x int64) int32 { return int32(uint32(x)) } // as want prints wire numbers
	for range 3 {
		h.down(h.fromServer(packet.ACK, d, u, make([]byte, 400)))
		h.want(fmt.Sprintf("ue0 ssn=%d+400 ack=%d dack=%d map=%d@%d+400", rel(d+1), rel(u+1), rel(u), rel(d), uint32(d+1)))
		d += 400
		m := mapping{ssn: u + 1, u: u, n: 400}
		h.up(0, h.fromUE(0, packet.ACK, u, h.dssForm(form, m, d), d+1, make([]byte, 400)))
		if form&4 == 0 {
			h.want(fmt.Sprintf("srv u=%d+400 ack=%d", rel(u), rel(d)))
		} else { // no DATA_ACK: the server is told later
			h.want(fmt.Sprintf("srv u=%d+400 ack=%d", rel(u), rel(d-400)))
			h.up(0, h.fromUE(0, packet.ACK, u+400, h.dss(nil, d), d+1, nil))
			h.want(fmt.Sprintf("srv u=%d ack=%d", rel(u+400), rel(d)))
		}
		u += 400
		h.down(h.fromServer(packet.ACK, d, u, nil))
		h.want(fmt.Sprintf("ue0 ssn=%d ack=%d dack=%d", rel(d+1), rel(u+1), rel(u)))
	}
	if f.next != d+1 || f.rcvNext != u+1 {
		h.t.Errorf("subflow at SSN %d and %d, want %d and %d", f.next, f.rcvNext, d+1, u+1)
	}
}

// SACK blocks over the wraps, both ways.
func TestSACKOverTheWrap(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.startAt(1<<64-100, 1<<64-100, 1<<32-101, 1<<32-101)
	u, d := int64(1<<32-101), int64(1<<32-101)
	for i := range int64(3) {
		h.down(h.fromServer(packet.ACK, d+100*i, u, make([]byte, 100)))
	}
	h.recycle()
	opt := append(h.dss(nil, d), packet.OptNOP, packet.OptNOP, packet.OptSACK, 10)
	for _, ssn := range []int64{d + 101, d + 301} {
		sn := h.srvISN + uint32(ssn)
		opt = append(opt, byte(sn>>24), byte(sn>>16), byte(sn>>8), byte(sn))
	}
	h.up(0, h.fromUE(0, packet.ACK, u, opt, d+1, nil))
	h.want("srv u=-101 ack=-101 sack=-1-199")

	for i := range int64(3) {
		m := mapping{ssn: u + 1 + 100*i, u: u + 100*i, n: 100}
		h.up(0, h.fromUE(0, packet.ACK, u+100*i, h.dssForm(3, m, d), d+1, make([]byte, 100)))
	}
	h.recycle()
	h.down(h.fromServerSACK(u, u+100, u+300))
	h.want("ue0 ssn=200 ack=-100 dack=-101 sack=0-200")
}

// A DSN or DATA_ACK of 8 bytes that is far from what is expected is not taken for the one
// near whose low half it has.
func TestFarNumbersAreRefused(t *testing.T) {
	h := newHarness(t)
	h.connect()
	o := mptcp.Options{HasMapping: true, DSN64: true, DSN: uint64(h.idsnA) + 1 + 5<<32, SSN: 1, DataLen: 100}
	h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendDSS(nil, &o), 1, make([]byte, 100)))
	h.want()
	h.serverData(0, 100)
	h.recycle()
	o = mptcp.Options{HasDataAck: true, DataAck64: true, DataAck: uint64(h.idsnB) + 1 + 100 + 5<<32}
	h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendDSS(nil, &o), 1, nil))
	h.want()
	if n := &h.p.count; n.DropBadMapping != 1 || n.BadDataACK != 1 {
		t.Errorf("drop_bad_mapping %d, bad_data_ack %d, want 1 and 1", n.DropBadMapping, n.BadDataACK)
	}
}
