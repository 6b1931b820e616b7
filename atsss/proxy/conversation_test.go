package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// want compares what the proxy sent since the last call with lines of the forms
//
//	ue<subflow> [flags] ssn=<SSN>[+<payload>] [ecn=<field>] ack=<SSN> dack=<u> [map=<d>@<SSN>+<n>] [fin=<d>] [sack=<SSN>-<SSN>,…] [options]
//	srv [flags] u=<position>[+<payload>] [ecn=<field>] ack=<d> [sack=<d>-<d>,…]
func (h *harness) want(lines ...string) {
	h.t.Helper()
	var got []string
	for _, x := range h.out.ToN6 {
		got = append(got, h.describeN6(x))
	}
	for _, x := range h.out.ToUE {
		got = append(got, h.describeUE(x))
	}
	h.recycle()
	if g, w := strings.Join(got, "\n"), strings.Join(lines, "\n"); g != w {
		h.t.Fatalf("sent:\n%s\nwant:\n%s", g, w)
	}
}

func (h *harness) segment(b *packet.Buffer) (g segment) {
	h.t.Helper()
	b.Checksum = packet.ChecksumUnknown
	if r := packet.Parse(b.Bytes(), &h.info); r != packet.OK {
		h.t.Fatalf("sent packet does not parse: %v", r)
	}
	if r := g.read(b, &h.info); r != packet.OK {
		h.t.Fatalf("sent segment does not parse: %v", r)
	}
	return g
}

// segmentUE is segment for a packet towards the UE, which fits the MTU.
func (h *harness) segmentUE(b *packet.Buffer) segment {
	h.t.Helper()
	g := h.segment(b)
	if h.info.End > int(h.session.MTU) {
		h.t.Errorf("sent a packet of %d bytes, MTU %d", h.info.End, h.session.MTU)
	}
	return g
}

func flagNames(f uint8) string {
	s := ""
	for _, x := range []struct {
		bit  uint8
		name string
	}{{packet.SYN, "SYN "}, {packet.FIN, "FIN "}, {packet.RST, "RST "}, {packet.ECE, "ECE "}, {packet.CWR, "CWR "}} {
		if f&x.bit != 0 {
			s += x.name
		}
	}
	return s
}

func length(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("+%d", n)
}

func ecnField(g *segment) string {
	if g.in.TOS&ecnMask == 0 {
		return ""
	}
	return fmt.Sprintf(" ecn=%d", g.in.TOS&ecnMask)
}

func sacks(o *tcpOptions, origin uint32) string {
	if o.sacks == 0 {
		return ""
	}
	var s []string
	for _, b := range o.sack[:o.sacks] {
		s = append(s, fmt.Sprintf("%d-%d", int32(b[0]-origin), int32(b[1]-origin)))
	}
	return " sack=" + strings.Join(s, ",")
}

func (h *harness) describeN6(b *packet.Buffer) string {
	g := h.segment(b)
	if g.opt.mp.Present != 0 {
		h.t.Errorf("MPTCP option towards the server")
	}
	return fmt.Sprintf("srv %su=%d%s%s ack=%d%s", flagNames(g.flags), int32(g.tcp.SN()-h.ueISN-1), length(len(g.payload)), ecnField(&g),
		int32(g.tcp.AckSN()-h.srvISN-1), sacks(&g.opt, h.srvISN+1))
}

func (h *harness) describeUE(x ToUE) string {
	g := h.segmentUE(x.Buf)
	sub := 0
	for sub < len(h.uePorts)-1 && h.uePorts[sub] != g.in.DstPort {
		sub++
	}
	ue, our := h.isns[sub][0], h.isns[sub][1]
	o := &g.opt.mp
	s := fmt.Sprintf("ue%d %sssn=%d%s%s ack=%d", sub, flagNames(g.flags), int32(g.tcp.SN()-our), length(len(g.payload)), ecnField(&g), int32(g.tcp.AckSN()-ue))
	if o.Present&mptcp.DSS != 0 {
		s += fmt.Sprintf(" dack=%d", int32(uint32(o.DataAck)-uint32(h.idsnA)-1))
		d := int32(uint32(o.DSN) - uint32(h.idsnB) - 1)
		if o.HasMapping && o.DataFIN {
			s += fmt.Sprintf(" fin=%d", d+int32(o.DataLen)-1)
		} else if o.HasMapping {
			s += fmt.Sprintf(" map=%d@%d+%d", d, o.SSN, o.DataLen)
		}
	}
	s += sacks(&g.opt, ue)
	for _, n := range []struct {
		bit  mptcp.Set
		name string
	}{
		{mptcp.Capable, "mp_capable"},
		{mptcp.Join, "mp_join"},
		{mptcp.AddAddr, "add_addr"},
		{mptcp.Prio, "mp_prio"},
		{mptcp.Fail, "mp_fail"},
		{mptcp.FastClose, "mp_fastclose"},
		{mptcp.TCPRST, "mp_tcprst"},
	} {
		if o.Present&n.bit != 0 {
			s += " " + n.name
		}
	}
	return s
}

func (h *harness) serverData(d int64, n int) {
	h.down(h.fromServer(packet.ACK, d, 0, make([]byte, n)))
}

func TestHandshake(t *testing.T) {
	h := newHarness(t)
	h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
	h.connectSYN()
	h.want("srv SYN u=-1 ack=-2147483633") // no ACK: the field is zero
	h.connectSYNACK()
	g := h.segment(h.out.ToUE[0].Buf)
	h.keyB = g.opt.mp.SenderKey
	_, h.idsnA = h.keyA.Derive()
	_, h.idsnB = h.keyB.Derive()
	h.want("ue0 SYN ssn=0 ack=1 mp_capable")
	h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendCapableACK(nil, mptcp.FlagHMACSHA256, h.keyA, h.keyB), 1, nil))
	h.want("srv u=0 ack=0", "ue0 ssn=1 ack=1 dack=0") // the early DATA_ACK
}

func TestFallbackOnThirdAck(t *testing.T) {
	h := newHarness(t)
	h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
	h.connectSYN()
	h.connectSYNACK()
	h.recycle()
	buf := h.fromUE(0, packet.ACK, 0, nil, 1, nil)
	packet.Parse(buf.Bytes(), &h.info)
	if v := h.p.Uplink(h.now, &h.session, 0, h.rule, buf, &h.info, &h.out); v != NotProxied {
		t.Errorf("third ACK without MP_CAPABLE: verdict %v, want NotProxied", v)
	}
	if h.p.count.FallbackACK != 1 {
		t.Errorf("fallback_ack = %d, want 1", h.p.count.FallbackACK)
	}
	h.want()
}

func TestDataBothWays(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.serverData(0, 1000)
	h.want("ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
	h.serverData(1000, 500)
	h.want("ue0 ssn=1001+500 ack=1 dack=0 map=1000@1001+500")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 1500), 1501, nil))
	h.want("srv u=0 ack=1500")
	// A mapping of 2,000 bytes sent as two segments, each with the whole mapping.
	m := &mapping{ssn: 1, u: 0, n: 2000}
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(m, 1500), 1501, make([]byte, 1200)))
	h.want("srv u=0+1200 ack=1500")
	h.up(0, h.fromUE(0, packet.ACK, 1200, h.dss(m, 1500), 1501, make([]byte, 800)))
	h.want("srv u=1200+800 ack=1500")
	h.down(h.fromServer(packet.ACK, 1500, 2000, nil))
	h.want("ue0 ssn=1501 ack=2001 dack=2000")
}

func TestSwitchRetransmissionStays(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.serverData(0, 1000)
	h.want("ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
	h.rule = h.otherRule()
	h.serverData(2000, 1000) // 1000..2000 is missing: the hole goes with it
	h.want("ue1 ssn=1002+1000 ack=1 dack=0 map=2000@1002+1000")
	h.serverData(1000, 1000)
	h.want("ue1 ssn=2+1000 ack=1 dack=0 map=1000@2+1000")
	h.serverData(500, 1000) // a retransmission over the switch: each part where it was
	h.want("ue0 ssn=501+500 ack=1 dack=0 map=500@501+500",
		"ue1 ssn=2+500 ack=1 dack=0 map=1000@2+500")
}

func TestSACKFromTwoSubflows(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.serverData(0, 1000) // lost
	h.rule = h.otherRule()
	h.serverData(1000, 1000)
	h.recycle()
	// The UE acknowledges the second subflow's data there; DATA_ACK stays at 0.
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(nil, 0), 1002, nil))
	h.want("srv u=0 ack=0 sack=1000-2000")
	h.serverData(0, 1000)
	h.want("ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 2000), 1001, nil))
	h.want("srv u=0 ack=2000")
}

func TestUplinkSubflowAckWaitsForServer(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	m := &mapping{ssn: 1, u: 1000, n: 1000} // arrives first on the second subflow
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(m, 0), 2, make([]byte, 1000)))
	h.want("srv u=1000+1000 ack=0")
	ack := h.fromServerSACK(0, 1000, 2000)
	h.down(ack)
	h.want("ue1 ssn=2 ack=1001 dack=0") // SACKed by the server: acknowledged on the subflow alone
	m = &mapping{ssn: 1, u: 0, n: 1000}
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(m, 0), 1, make([]byte, 1000)))
	h.want("srv u=0+1000 ack=0")
	h.down(h.fromServer(packet.ACK, 0, 2000, nil))
	h.want("ue0 ssn=1 ack=1001 dack=2000")
}

func TestDataBeyondServerWindowIsCut(t *testing.T) {
	h := newHarness(t)
	h.connect()
	edge := h.p.tokens[tokenOf(h.keyB)].up.rightEdge
	m := &mapping{ssn: 1, u: edge - 400, n: 1000}
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(m, 0), 1, make([]byte, 1000)))
	h.want(fmt.Sprintf("srv u=%d+400 ack=0", edge-400))
	if got := h.p.count.CutAtWindow; got != 600 {
		t.Errorf("cut_at_window_bytes = %d, want 600", got)
	}
}

func TestDataBeyondUEWindowIsCut(t *testing.T) {
	h := newHarness(t)
	h.connect()
	edge := h.conn().down.rightEdge
	payload := make([]byte, 1000)
	for i := range payload {
		payload[i] = byte(i)
	}
	h.down(h.fromServer(packet.ACK|packet.FIN, edge-400, 0, payload))
	if got := h.segmentUE(h.out.ToUE[0].Buf).payload; !bytes.Equal(got, payload[:400]) {
		t.Errorf("%d bytes: % x…, want the first 400 of the segment", len(got), got[:8])
	}
	h.want(fmt.Sprintf("ue0 ssn=%d+400 ack=1 dack=0 map=%d@%d+400", edge-399, edge-400, edge-399))
	h.down(h.fromServer(packet.ACK, edge, 0, payload))
	h.want("srv u=0 ack=0")
	if got := h.p.count.CutAtWindow; got != 1600 {
		t.Errorf("cut_at_window_bytes = %d, want 1600", got)
	}
	h.down(h.fromServer(packet.ACK, edge, 0, payload[:1])) // a window probe
	h.want(fmt.Sprintf("ue0 ssn=%d+1 ack=1 dack=0 map=%d@%d+1", edge+1, edge, edge+1))
}

func TestClose(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.down(h.fromServer(packet.ACK|packet.FIN, 0, 0, make([]byte, 10)))
	h.want("ue0 ssn=1+10 ack=1 dack=0 map=0@1+10", "ue0 ssn=11 ack=1 dack=0 fin=10", "ue1 ssn=2 ack=1 dack=0 fin=10")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 11), 11, nil))
	h.want("srv u=0 ack=11")
	o := mptcp.Options{HasDataAck: true, DataAck: uint64(uint32(h.idsnB) + 1 + 11), HasMapping: true, DSN64: true, DSN: uint64(h.idsnA) + 1, DataLen: 1, DataFIN: true}
	fin := mptcp.AppendDSS(nil, &o)
	h.up(0, h.fromUE(0, packet.ACK, 0, fin, 11, nil))
	h.want("srv FIN u=0 ack=11")
	h.up(1, h.fromUE(1, packet.ACK, 0, fin, 2, nil)) // the copy on the other subflow
	h.want()
	h.down(h.fromServer(packet.ACK, 11, 1, nil))
	h.want("ue0 ssn=11 ack=1 dack=1", "ue1 ssn=2 ack=1 dack=1")
	h.up(0, h.fromUE(0, packet.ACK|packet.FIN, 0, h.dss(nil, 11), 11, nil))
	h.want("ue0 FIN ssn=11 ack=2 dack=1")
	h.up(1, h.fromUE(1, packet.ACK|packet.FIN, 0, h.dss(nil, 11), 2, nil))
	h.want("ue1 FIN ssn=2 ack=2 dack=1")
	h.now += lingerLife + Time(2*TickInterval)
	for range 3 * wheelSlots {
		h.now += Time(TickInterval)
		h.p.Tick(h.now, &h.out)
	}
	if n := h.p.Connections(); n != 0 {
		t.Errorf("%d connections left after the linger time, want 0", n)
	}
}

// TestServerHoleSolicitsNothing has the server's FIN overtake data: as long as these do
// not come, the UE owes no DATA_ACK.
func TestServerHoleSolicitsNothing(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.serverData(0, 500)
	h.ueAck(500)
	h.down(h.fromServer(packet.ACK|packet.FIN, 1500, 0, nil))
	h.want("ue0 ssn=501 ack=1 dack=0 fin=1500")
	h.idle(10_000 * millisecond)
	h.want()
	h.serverData(500, 1000)
	h.want("ue0 ssn=501+1000 ack=1 dack=0 map=500@501+1000")
	h.ueAck(1500)
	h.idle(1_000 * millisecond)
	if len(h.out.ToUE) == 0 {
		t.Error("the DATA_ACK of the DATA_FIN is not asked for")
	}
}

func TestServerReset(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.down(h.fromServer(packet.RST|packet.ACK, 1<<25, 0, nil)) // outside the window
	h.want()
	h.down(h.fromServer(packet.RST|packet.ACK, 0, 0, nil))
	h.want("ue0 ssn=1 ack=1 dack=0 mp_fastclose", "ue0 RST ssn=1 ack=1 mp_fastclose")
}

func TestClientFastClose(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.up(0, h.fromUE(0, packet.RST|packet.ACK, 0, mptcp.AppendFastClose(nil, h.keyB+1), 1, nil))
	h.want() // not the key
	h.up(0, h.fromUE(0, packet.RST|packet.ACK, 0, mptcp.AppendFastClose(nil, h.keyB), 1, nil))
	h.want("srv RST u=0 ack=0")
}

func TestSilentAccess(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.serverData(0, 1000)
	h.want("ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
	for range 100 {
		h.now += Time(TickInterval)
		h.p.Tick(h.now, &h.out)
	}
	if h.session.Answers(steer.Access3GPP) {
		t.Fatal("the access answers after 1 s of silence with data outstanding")
	}
	h.recycle()
	h.serverData(0, 1000) // the server's retransmission goes the other way
	h.want("ue1 ssn=2+1000 ack=1 dack=0 map=0@2+1000")
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(nil, 1000), 1002, nil))
	h.want("srv u=0 ack=1000")
	// The access answers a probe: its hole is filled under its own mapping before new
	// data return to it.
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 1000), 1, nil))
	h.want("ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
	h.serverData(1000, 500)
	h.want("ue1 ssn=1002+500 ack=1 dack=0 map=1000@1002+500")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 1000), 1001, nil))
	h.recycle()
	h.serverData(1500, 500)
	h.want("ue0 ssn=1001+500 ack=1 dack=0 map=1500@1001+500")
}

func TestUnknownJoinIsRefused(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.uePorts = append(h.uePorts, h.uePorts[0]+1)
	h.isns = append(h.isns, [2]uint32{0x1000, 0})
	opt := mptcp.AppendJoinSYN(nil, false, 2, 0xdeadbeef, 1)
	h.up(1, h.build(shape{src: &h.ue, dst: &h.srv, srcPort: h.uePorts[1], dstPort: 80, sn: 0x1000, flags: packet.SYN, window: 65535}, opt, nil))
	h.want("ue1 RST ssn=0 ack=1 mp_tcprst")
}

func tokenOf(k mptcp.Key) uint32 {
	t, _ := k.Derive()
	return t
}

func TestLateSYN(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.connectSYN() // a copy that the network held back
	h.want("ue0 ssn=1 ack=1 dack=0")
	h.serverData(0, 100)
	h.want("ue0 ssn=1+100 ack=1 dack=0 map=0@1+100")
	h.up(0, h.fromUE(0, packet.RST|packet.ACK, 0, nil, 1, nil)) // subflow 0 is gone, the connection is not
	h.want()
	h.connectSYN()
	h.want()
	h.serverData(100, 100)
	h.want("ue1 ssn=2+100 ack=1 dack=0 map=100@2+100")
}

// The UE resets its only subflow: the connection stands and takes a join if the UE has
// said in the words of MPTCP that it closes a subflow, and is over if not.
func TestOnlySubflowReset(t *testing.T) {
	tcprst := mptcp.AppendTCPRST(nil, mptcp.ReasonMPTCP)
	for _, tc := range []struct {
		name   string
		before func(*harness)
		option []byte
		over   bool
	}{
		{"bare", nil, nil, true},
		{"with MP_TCPRST", nil, tcprst, false},
		{"after a FIN that overtook data", func(h *harness) {
			h.up(0, h.fromUE(0, packet.ACK|packet.FIN, 500, h.dss(nil, 0), 1, nil))
		}, nil, false},
		{"after a FIN", func(h *harness) {
			h.up(0, h.fromUE(0, packet.ACK|packet.FIN, 0, h.dss(nil, 0), 1, nil))
			h.isns[0][0]++
		}, nil, false},
		{"for a subflow that is gone", func(h *harness) {
			h.up(0, h.fromUE(0, packet.RST|packet.ACK, 0, tcprst, 1, nil))
		}, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			h.connect()
			if tc.before != nil {
				tc.before(h)
				h.recycle()
			}
			h.up(0, h.fromUE(0, packet.RST|packet.ACK, 0, tc.option, 1, nil))
			if tc.over {
				h.want("srv RST u=0 ack=0")
				return
			}
			h.want()
			h.join()
			h.serverData(0, 100)
			h.want("ue1 ssn=2+100 ack=1 dack=0 map=0@2+100")
		})
	}
}

// TestManyJoins opens and resets more joins than a connection has places for.
func TestManyJoins(t *testing.T) {
	h := newHarness(t)
	h.connect()
	for i := range 3 * 256 {
		h.uePorts, h.isns = h.uePorts[:1], h.isns[:1]
		h.join()
		h.up(1, h.fromUE(1, packet.RST|packet.ACK, 0, nil, 2, nil))
		h.want()
		if n := len(h.p.flows.byHash); n > maxSubflows {
			t.Fatalf("after %d joins: %d subflows are listed, want at most %d", i+1, n, maxSubflows)
		}
	}
	if got := h.p.count.Subflows; got != 3*256 {
		t.Errorf("%d joins established, want %d", got, 3*256)
	}
}
