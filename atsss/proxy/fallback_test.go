package proxy

import (
	"bytes"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// open runs the handshake up to the third ACK, with the given flags of MP_CAPABLE.
func (h *harness) open(flags uint8) {
	h.t.Helper()
	h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
	h.up(0, h.syn(0, mptcp.AppendCapableSYN(nil, flags), nil))
	h.down(h.synACK(0, 0, nil, nil))
	h.thirdACK(0, nil)
	h.recycle()
}

// unchanged says that what the proxy sent is the one packet that was given to it, without
// MPTCP options.
func (h *harness) unchanged(sn uint32, payload []byte) {
	h.t.Helper()
	defer h.recycle()
	if len(h.out.ToN6) != 1 {
		h.t.Fatalf("%d packets to the server, want the one given", len(h.out.ToN6))
	}
	g := h.segment(h.out.ToN6[0])
	if g.tcp.SN() != sn || !bytes.Equal(g.payload, payload) || g.opt.mp.Present != 0 || !g.opt.hasTS {
		h.t.Errorf("SN %d with %d bytes, MPTCP options %b", g.tcp.SN(), len(g.payload), g.opt.mp.Present)
	}
}

// plain says that packets pass both ways by now, stripped of MPTCP options.
func (h *harness) plain() {
	h.t.Helper()
	if g := h.passes(true, h.fromUE(0, packet.ACK, 5000, h.dss(nil, 0), 1, []byte("up"))); g.opt.mp.Present != 0 {
		h.t.Error("a packet to the server has MPTCP options")
	}
	h.passes(false, h.fromServer(packet.ACK, 3000, 100, []byte("down")))
	h.passes(true, h.fromUE(0, packet.ACK|packet.FIN, 5002, nil, 3005, nil))
	h.passes(false, h.fromServer(packet.ACK|packet.FIN, 3004, 5003, nil))
	h.idle(lingerLife + 20*millisecond)
	if n := h.p.Connections(); n != 0 {
		h.t.Errorf("%d connections left after both FINs and the linger time", n)
	}
}

func infinite(h *harness) []byte {
	o := mptcp.Options{HasDataAck: true, DataAck: uint64(uint32(h.idsnB) + 1), HasMapping: true, DSN64: true, DSN: uint64(h.idsnA) + 1, SSN: 1}
	return mptcp.AppendDSS(nil, &o)
}

// A UE that falls back late goes on as plain TCP as long as all positions are those of the
// first subflow.
func TestLateFallback(t *testing.T) {
	data := []byte("without a mapping")
	for _, tc := range []struct {
		name   string
		option func(h *harness) []byte // of the data
		before func(h *harness)
	}{
		{"infinite mapping at once", infinite, func(*harness) {}},
		{"infinite mapping after data both ways", infinite, func(h *harness) {
			m := &mapping{ssn: 1, u: 0, n: 100}
			h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(m, 0), 1, make([]byte, 100)))
			h.down(h.fromServer(packet.ACK, 0, 40, make([]byte, 100)))
			h.recycle()
		}},
		{"no DSS at all", func(*harness) []byte { return nil }, func(*harness) {}},
		{"no DSS but in its first flight", func(*harness) []byte { return nil }, func(h *harness) {
			m := &mapping{ssn: 1, u: 0, n: 100}
			h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(m, 0), 1, make([]byte, 100)))
			for range barePackets - 1 {
				h.up(0, h.fromUE(0, packet.ACK, 100, nil, 1, make([]byte, 10)))
			}
			h.recycle()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			h.open(mptcp.FlagHMACSHA256)
			tc.before(h)
			h.up(0, h.fromUE(0, packet.ACK|packet.PSH, 100, tc.option(h), 1, data))
			h.unchanged(h.ueISN+1+100, data)
			h.plain()
			if n := &h.p.count; n.FallbackLate != 1 || n.FallbackFailed != 0 {
				t.Errorf("fallback_late %d, fallback_failed %d, want 1, 0", n.FallbackLate, n.FallbackFailed)
			}
		})
	}
}

// An acknowledgment of the first data without a DATA_ACK: the options do not get through.
func TestLateFallbackByACK(t *testing.T) {
	h := newHarness(t)
	h.open(mptcp.FlagHMACSHA256)
	h.serverData(0, 100)
	h.recycle()
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1, nil)) // of nothing
	h.want()
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 101, nil))
	h.unchanged(h.ueISN+1, nil)
	h.plain()
}

// Where positions differ from SSNs there is no going on.
func TestLateFallbackFails(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(h *harness)
		want   []string
	}{
		{
			"there is a join", func(h *harness) { h.join() },
			[]string{"srv RST u=0 ack=0", "ue0 ssn=1 ack=1 dack=0 mp_fastclose", "ue0 RST ssn=1 ack=1 mp_fastclose", "ue1 RST ssn=2 ack=1 mp_fastclose"},
		},
		{
			"data sent again under other SSNs", func(h *harness) {
				for _, ssn := range []int64{1, 101} {
					m := &mapping{ssn: ssn, u: 0, n: 100}
					h.up(0, h.fromUE(0, packet.ACK, ssn-1, h.dss(m, 0), 1, make([]byte, 100)))
				}
				h.recycle()
			},
			[]string{"srv RST u=100 ack=0", "ue0 ssn=1 ack=1 dack=0 mp_fastclose", "ue0 RST ssn=1 ack=1 mp_fastclose"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			h.connect()
			tc.before(h)
			h.up(0, h.fromUE(0, packet.ACK, 200, infinite(h), 1, make([]byte, 10)))
			h.want(tc.want...)
			if n := &h.p.count; n.FallbackLate != 0 || n.FallbackFailed != 1 {
				t.Errorf("fallback_late %d, fallback_failed %d, want 0, 1", n.FallbackLate, n.FallbackFailed)
			}
		})
	}
}

// Data that no mapping covers are dropped once there were mappings: the UE's, of a subflow
// whose mapping came in another packet.
func TestUnmappedDataAreDropped(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.serverData(0, 100)
	h.ueAck(100)
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 101, make([]byte, 10)))
	h.want()
	if n := &h.p.count; n.DropNoMapping != 1 || n.FallbackLate != 0 {
		t.Errorf("drop_no_mapping %d, fallback_late %d, want 1, 0", n.DropNoMapping, n.FallbackLate)
	}
}

func TestMPFail(t *testing.T) {
	fail := mptcp.AppendFail(nil, 1)
	t.Run("only subflow", func(t *testing.T) {
		h := newHarness(t)
		h.open(withChecksum)
		h.serverData(0, 100)
		h.recycle()
		h.up(0, h.fromUE(0, packet.ACK, 0, append(h.dss(nil, 0), fail...), 101, nil))
		g := h.segmentUE(h.out.ToUE[0].Buf)
		if o := &g.opt.mp; o.Present != mptcp.Fail|mptcp.DSS || o.FailDSN != h.idsnA+1 {
			t.Errorf("answer with options %b, MP_FAIL of %x", o.Present, o.FailDSN)
		}
		h.want("ue0 ssn=101 ack=1 dack=0 mp_fail")
		m := &mapping{ssn: 1, u: 0, n: 50} // what the UE has sent meanwhile
		h.up(0, h.fromUE(0, packet.ACK, 0, h.summed(*m, make([]byte, 50), false, 0), 101, make([]byte, 50)))
		h.want("srv u=0+50 ack=0")
		h.down(h.fromServer(packet.ACK, 100, 50, make([]byte, 100)))
		h.want("ue0 ssn=101+100 ack=51 dack=50 map=100@101+0") // infinite
		h.up(0, h.fromUE(0, packet.ACK, 50, nil, 201, nil))
		h.unchanged(h.ueISN+1+50, nil)
		h.plain()
	})
	t.Run("without checksums", func(t *testing.T) {
		h := newHarness(t)
		h.connect()
		h.up(0, h.fromUE(0, packet.ACK, 0, append(h.dss(nil, 0), fail...), 1, nil))
		h.want()
		h.serverData(0, 100)
		h.want("ue0 ssn=1+100 ack=1 dack=0 map=0@1+100")
		if got := h.p.count.IgnoredOptions; got != 1 {
			t.Errorf("ignored_options = %d, want 1", got)
		}
	})
	t.Run("one of two", func(t *testing.T) {
		h := newHarness(t)
		h.open(withChecksum)
		h.join()
		h.up(1, h.fromUE(1, packet.ACK, 0, append(h.dss(nil, 0), fail...), 2, nil))
		h.want("ue1 RST ssn=2 ack=1 mp_tcprst")
		h.serverData(0, 100)
		h.want("ue0 ssn=1+100 ack=1 dack=0 map=0@1+100")
	})
}

// summed is a DSS for payload with its checksum, which is spoiled by wrong.
func (h *harness) summed(m mapping, payload []byte, fin bool, wrong uint16) []byte {
	o := mptcp.Options{
		HasDataAck: true, DataAck: uint64(uint32(h.idsnB) + 1), HasMapping: true, DSN64: true, DSN: uint64(h.idsnA) + 1 + uint64(m.u),
		SSN: mptcp.SSN(m.ssn), DataLen: uint16(m.n), HasCsum: true, DataFIN: fin,
	}
	if fin {
		o.DataLen++
	}
	o.Csum = mptcp.DSSChecksum(mptcp.DSN(o.DSN), o.SSN, o.DataLen, packet.Fold(packet.Sum(payload))) ^ wrong
	return mptcp.AppendDSS(nil, &o)
}

const withChecksum = mptcp.FlagHMACSHA256 | mptcp.FlagChecksum

func TestDSSChecksum(t *testing.T) {
	data := []byte("The payload of one mapping.")
	n := int64(len(data))
	h := newHarness(t)
	h.open(withChecksum)
	h.up(0, h.fromUE(0, packet.ACK, 0, h.summed(mapping{1, 0, n}, data, false, 0), 1, data))
	h.want("srv u=0+27 ack=0")
	// One mapping over two packets: neither can be checked alone.
	both := append(data[:n:n], data...)
	for i := range int64(2) {
		h.up(0, h.fromUE(0, packet.ACK, n+i*n, h.summed(mapping{1 + n, n, 2 * n}, both, false, 0), 1, data))
	}
	h.want("srv u=27+27 ack=0", "srv u=54+27 ack=0")
	h.up(0, h.fromUE(0, packet.ACK, 3*n, h.summed(mapping{1 + 3*n, 3 * n, n}, data, true, 0), 1, data))
	h.want("srv u=81+27 ack=0", "srv FIN u=108 ack=0")
	if got := h.p.count.DropBadDSSSum; got != 0 {
		t.Errorf("drop_bad_dss_checksum = %d, want 0", got)
	}
}

// First data with MP_CAPABLE have their checksum there.
func TestDSSChecksumOfCapable(t *testing.T) {
	data := []byte("first")
	for _, wrong := range []uint16{0, 1} {
		h := newHarness(t)
		h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
		h.up(0, h.syn(0, mptcp.AppendCapableSYN(nil, withChecksum), nil))
		h.down(h.synACK(0, 0, nil, nil))
		g := h.segment(h.out.ToUE[0].Buf)
		h.recycle()
		h.keyB = g.opt.mp.SenderKey
		_, h.idsnA = h.keyA.Derive()
		sum := mptcp.DSSChecksum(h.idsnA+1, 1, 5, packet.Fold(packet.Sum(data))) ^ wrong
		h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendCapableData(nil, withChecksum, h.keyA, h.keyB, 5, &sum), 1, data))
		h.recycle()
		if got := h.p.count.DropBadDSSSum; got != uint64(wrong) {
			t.Errorf("checksum off by %d: drop_bad_dss_checksum = %d", wrong, got)
		}
	}
}

// Wrong on the only subflow: the data pass, as something on the way made them, and MPTCP
// ends, which MP_FAIL and its answer settle.
func TestWrongDSSChecksumOnOnlySubflow(t *testing.T) {
	data := []byte("changed on the way")
	h := newHarness(t)
	h.open(withChecksum)
	opt := h.summed(mapping{1, 0, 18}, data, false, 1)
	for range 2 { // once only
		h.up(0, h.fromUE(0, packet.ACK, 0, opt, 1, data))
	}
	h.want("srv u=0+18 ack=0", "srv u=0+18 ack=0", "ue0 ssn=1 ack=1 dack=0 mp_fail")
	h.up(0, h.fromUE(0, packet.ACK, 18, mptcp.AppendFail(nil, h.idsnB+1), 1, nil))
	h.want() // the answer to ours
	h.up(0, h.fromUE(0, packet.ACK, 18, infinite(h), 1, data))
	h.unchanged(h.ueISN+1+18, data)
	h.plain()
}

// Wrong, or missing, on one of two subflows: it is reset, and the data come another way.
func TestWrongDSSChecksumOnOneOfTwo(t *testing.T) {
	data := []byte("changed on the way")
	for _, missing := range []bool{false, true} {
		h := newHarness(t)
		h.open(withChecksum)
		h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 0), 1, nil))
		h.join()
		opt, want := h.summed(mapping{1, 0, 18}, data, false, 1), "ue1 RST ssn=2 ack=1 mp_fail"
		if missing {
			opt, want = h.dss(&mapping{1, 0, 18}, 0), "ue1 RST ssn=2 ack=1 mp_tcprst"
		}
		h.up(1, h.fromUE(1, packet.ACK, 0, opt, 2, data))
		h.want(want)
		h.up(0, h.fromUE(0, packet.ACK, 0, h.summed(mapping{1, 0, 18}, data, false, 0), 1, data))
		h.want("srv u=0+18 ack=0")
		if got := h.p.count.DropBadDSSSum; got != 1 {
			t.Errorf("drop_bad_dss_checksum = %d, want 1", got)
		}
	}
}

// MPTCP options stop getting through on the only subflow. A UE that only receives falls
// back, of itself or on MP_FAIL. One that sends may go on by mappings that do not get
// through: it is reset once it is certain.
func TestOptionsCeaseToPass(t *testing.T) {
	t.Run("UE receives", func(t *testing.T) {
		h := newHarness(t)
		h.connect()
		for i := range int64(barePackets) {
			h.serverData(100*i, 100)
			h.recycle()
			h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1+100*(i+1), nil))
			if i == 1 { // a DSS in between begins anew
				h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 0), 1+100*(i+1), nil))
			}
		}
		if n := h.p.count.FallbackLate; n != 0 {
			t.Fatal("fell back after a DSS")
		}
		h.recycle()
		for range 2 { // answers to what the server repeats
			h.up(0, h.fromUE(0, packet.ACK, 0, nil, 401, nil))
		}
		if g := h.segmentUE(h.out.ToUE[0].Buf); g.opt.mp.Present&mptcp.Fail == 0 {
			t.Error("no MP_FAIL to the UE")
		}
		h.unchanged(h.ueISN+1, nil)
		h.plain()
	})
	t.Run("UE sends", func(t *testing.T) {
		h := newHarness(t)
		h.connect()
		h.serverData(0, 100)
		h.ueAck(100)
		bare := func() { h.up(0, h.fromUE(0, packet.ACK, 0, nil, 101, make([]byte, 10))) }
		for range 2 * barePackets { // many at once prove nothing
			bare()
		}
		h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 100), 101, nil)) // nor others, once a DSS came
		h.now += 2 * bareTime
		bare()
		h.want()
		for range barePackets - 1 {
			h.now += bareTime/(barePackets-1) + millisecond
			bare()
		}
		h.want("srv RST u=0 ack=100", "ue0 ssn=101 ack=1 dack=0 mp_fastclose", "ue0 RST ssn=101 ack=1 mp_fastclose")
		if n := &h.p.count; n.FallbackLate != 0 || n.FallbackFailed != 1 {
			t.Errorf("fallback_late %d, fallback_failed %d, want 0, 1", n.FallbackLate, n.FallbackFailed)
		}
	})
}
