package proxy

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// harness is a proxy between a UE and a server that the test plays.
type harness struct {
	t       testing.TB
	p       *Proxy
	pool    *packet.Pool
	out     Out
	now     Time
	session Session
	rule    Rule
	info    packet.Info

	ue, srv        packet.Addr
	ueISN, srvISN  uint32
	keyA, keyB     mptcp.Key
	idsnA, idsnB   mptcp.DSN
	tsUE, tsServer uint32
	uePorts        []uint16
	isns           [][2]uint32 // UE's, ours; by subflow
	scratch        [40]byte
	options        [80]byte
	words          options
}

// harnessBuffers is how many buffers there are to begin with.
const harnessBuffers = 32

func newHarness(t testing.TB) *harness {
	r := rand.New(rand.NewPCG(1, 2))
	h := &harness{
		t: t, pool: packet.NewPool(harnessBuffers, 0), now: 1e9,
		session: Session{ID: 7, MTU: 1500},
		rule: Rule{PDR: 3, Policy: &steer.Policy{
			Functionality: steer.MPTCP, Priority: [2]steer.Priority{steer.Active, steer.Standby},
			Usable: steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP),
		}},
		ueISN: 0xfffffff0, srvISN: 0x7ffffff0, keyA: 0xfa79cae66dcd5586, tsUE: 1000, tsServer: 5000,
	}
	h.ue = packet.Addr{10: 0xff, 11: 0xff, 12: 10, 13: 60, 15: 1}
	h.srv = packet.Addr{10: 0xff, 11: 0xff, 12: 10, 13: 100, 14: 6, 15: 2}
	keys := mptcp.NewKeyPool(16, r.Uint64, nil)
	keys.Fill(16)
	h.p = New(Config{Pool: h.pool, Keys: keys, Rand: r.Uint64})
	return h
}

// build makes a TCP packet with the given options in a buffer.
func (h *harness) build(s shape, opt, payload []byte) *packet.Buffer {
	buf := h.pool.Get()
	buf.SetLen(copy(buf.Room(), payload))
	s.ttl, s.v6 = 64, s.src.Netip().Is6()
	h.words.n = 0
	h.words.bytes(opt)
	s.write(buf, packet.Fold(packet.Sum(payload)), &h.words)
	buf.Checksum = packet.ChecksumUnknown
	return buf
}

func (h *harness) fromServer(flags uint8, d, ackU int64, payload []byte) *packet.Buffer {
	return h.build(shape{
		src: &h.srv, dst: &h.ue, srcPort: 80, dstPort: h.uePorts[0], sn: h.srvISN + 1 + uint32(d),
		ack: h.ueISN + 1 + uint32(ackU), flags: flags, window: 65535,
	}, appendTS(h.options[:0], h.tsServer, h.tsUE), payload)
}

func (h *harness) fromServerSACK(ackU, from, to int64) *packet.Buffer {
	var o options
	o.timestamps(h.tsServer, h.tsUE)
	o.sack([]dsm.Range{{From: from, To: to}}, h.ueISN+1)
	return h.build(shape{
		src: &h.srv, dst: &h.ue, srcPort: 80, dstPort: h.uePorts[0], sn: h.srvISN + 1,
		ack: h.ueISN + 1 + uint32(ackU), flags: packet.ACK, window: 65535,
	}, wordBytes(&o), nil)
}

func (h *harness) fromUE(sub int, flags uint8, ssn int64, option []byte, ackSSN int64, payload []byte) *packet.Buffer {
	opt := mptcp.Pad(append(appendTS(h.options[:0], h.tsUE, h.tsServer), option...), 0)
	return h.build(shape{
		src: &h.ue, dst: &h.srv, srcPort: h.uePorts[sub], dstPort: 80, sn: h.isns[sub][0] + 1 + uint32(ssn),
		ack: h.isns[sub][1] + uint32(ackSSN), flags: flags, window: 65535,
	}, opt, payload)
}

// dss is a DSS with the DATA_ACK of d and, if m is not nil, its mapping.
func (h *harness) dss(m *mapping, d int64) []byte {
	o := mptcp.Options{HasDataAck: true, DataAck: uint64(uint32(h.idsnB) + 1 + uint32(d))}
	if m != nil {
		o.HasMapping, o.DSN64, o.DSN = true, true, uint64(h.idsnA)+1+uint64(m.u)
		o.SSN, o.DataLen = mptcp.SSN(m.ssn), uint16(m.n)
	}
	return mptcp.AppendDSS(h.scratch[:0], &o)
}

func (h *harness) up(a steer.Access, buf *packet.Buffer) {
	if r := packet.Parse(buf.Bytes(), &h.info); r != packet.OK {
		h.t.Fatalf("test packet does not parse: %v", r)
	}
	if v := h.p.Uplink(h.now, &h.session, a, h.rule, buf, &h.info, &h.out); v != Taken {
		h.t.Fatal("uplink packet not taken")
	}
}

func (h *harness) down(buf *packet.Buffer) {
	if r := packet.Parse(buf.Bytes(), &h.info); r != packet.OK {
		h.t.Fatalf("test packet does not parse: %v", r)
	}
	if v := h.p.Downlink(h.now, &h.session, h.rule, buf, &h.info, &h.out); v != Taken {
		h.t.Fatal("downlink packet not taken")
	}
}

// passes gives a packet to the proxy, from the UE or else from the server, that is not
// translated and goes on unless the test fails; it is read into the result.
func (h *harness) passes(fromUE bool, buf *packet.Buffer) segment {
	h.t.Helper()
	if r := packet.Parse(buf.Bytes(), &h.info); r != packet.OK {
		h.t.Fatalf("test packet does not parse: %v", r)
	}
	n := buf.Len()
	var v Verdict
	if fromUE {
		v = h.p.Uplink(h.now, &h.session, 0, h.rule, buf, &h.info, &h.out)
	} else {
		v = h.p.Downlink(h.now, &h.session, h.rule, buf, &h.info, &h.out)
	}
	if v != NotProxied || buf.Len() != n {
		h.t.Fatalf("verdict %d with %d bytes, want the packet of %d passed", v, buf.Len(), n)
	}
	return h.segment(buf)
}

// idle lets time pass.
func (h *harness) idle(d Time) {
	for end := h.now + d; h.now < end; {
		h.now += Time(TickInterval)
		h.p.Tick(h.now, &h.out)
	}
}

// ueAck has the UE acknowledge everything up to d, all of it sent on subflow 0.
func (h *harness) ueAck(d int64) {
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, d), d+1, nil))
	h.recycle()
}

func (h *harness) recycle() {
	for _, x := range h.out.ToUE {
		h.pool.Put(x.Buf)
	}
	for _, b := range h.out.ToN6 {
		h.pool.Put(b)
	}
	h.out.Reset()
}

// connectSYN and connectSYNACK begin a connection with window scaling 7.
func (h *harness) connectSYN() {
	h.up(0, h.build(shape{
		src: &h.ue, dst: &h.srv, srcPort: h.uePorts[0], dstPort: 80, sn: h.ueISN, flags: packet.SYN, window: 65535,
	}, mptcp.AppendCapableSYN(negotiation(h.tsUE, 0), mptcp.FlagHMACSHA256), nil))
}

func (h *harness) connectSYNACK() {
	h.down(h.build(shape{
		src: &h.srv, dst: &h.ue, srcPort: 80, dstPort: h.uePorts[0], sn: h.srvISN, ack: h.ueISN + 1,
		flags: packet.SYN | packet.ACK, window: 65535,
	}, negotiation(h.tsServer, h.tsUE), nil))
}

// connect runs the handshake, after which the UE has sent a first DSS.
func (h *harness) connect() {
	h.connectFrom(40000)
}

// connectFrom is connect from the given port of the UE. What the harness does from then
// on is of this connection.
func (h *harness) connectFrom(port uint16) {
	h.uePorts, h.isns = []uint16{port}, [][2]uint32{{h.ueISN, h.srvISN}}
	h.connectSYN()
	h.connectSYNACK()
	g := h.segment(h.out.ToUE[len(h.out.ToUE)-1].Buf)
	h.keyB = g.opt.mp.SenderKey
	_, h.idsnA = h.keyA.Derive()
	_, h.idsnB = h.keyB.Derive()
	h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendCapableACK(nil, mptcp.FlagHMACSHA256, h.keyA, h.keyB), 1, nil))
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 0), 1, nil))
	h.recycle()
}

// otherRule is the rule that steers to the non-3GPP access.
func (h *harness) otherRule() Rule {
	policy := *h.rule.Policy
	policy.Split = steer.Split{}
	policy.Priority = [2]steer.Priority{steer.Standby, steer.Active}
	return Rule{PDR: h.rule.PDR, Policy: &policy}
}

// conn is the connection of connect.
func (h *harness) conn() *Conn { return h.p.tokens[tokenOf(h.keyB)] }

// join opens a second subflow over the non-3GPP access.
func (h *harness) join() { h.joinFrom(h.uePorts[0]+1, 2) }

// joinFrom opens one more subflow over the non-3GPP access, from a port of the UE's and
// the address that the UE calls id.
func (h *harness) joinFrom(port uint16, id uint8) {
	h.t.Helper()
	sub := len(h.uePorts)
	token, _ := h.keyB.Derive()
	h.uePorts = append(h.uePorts, port)
	h.isns = append(h.isns, [2]uint32{0x1000, 0})
	opt := mptcp.AppendJoinSYN(negotiation(h.tsUE, 0), false, id, token, 0xfc14f237)
	h.up(1, h.build(shape{src: &h.ue, dst: &h.srv, srcPort: port, dstPort: 80, sn: 0x1000, flags: packet.SYN, window: 65535}, opt, nil))
	if len(h.out.ToUE) != 1 {
		h.t.Fatalf("join's SYN: %d packets back, want 1", len(h.out.ToUE))
	}
	g := h.segment(h.out.ToUE[0].Buf)
	h.isns[sub][1] = g.tcp.SN()
	nonce := g.opt.mp.JoinNonce
	if want := mptcp.JoinHMAC(h.keyB, h.keyA, nonce, 0xfc14f237); [8]byte(g.opt.mp.JoinHMAC[:8]) != [8]byte(want[:8]) {
		h.t.Fatalf("HMAC of the SYN/ACK is wrong")
	}
	h.recycle()
	mac := mptcp.JoinHMAC(h.keyA, h.keyB, 0xfc14f237, nonce)
	h.up(1, h.fromUE(sub, packet.ACK, 0, mptcp.AppendJoinACK(nil, &mac), 1, nil))
	dack, old := h.conn().up.acked, h.conn().received()
	h.want(fmt.Sprintf("ue%d ssn=1 ack=1 dack=%d", sub, dack), fmt.Sprintf("ue%d ssn=1+1 ack=1 dack=%d map=%d@1+1", sub, dack, old-1))
	h.up(1, h.fromUE(sub, packet.ACK, 0, h.dss(nil, old), 2, nil))
	h.want()
}

// wordBytes gives options as bytes.
func wordBytes(o *options) (b []byte) {
	for _, w := range o.word[:o.n] {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// negotiation is what both ends of the tests offer: MSS 1460, SACK, timestamps, scale 7.
func negotiation(tsval, tsecr uint32) []byte {
	var o options
	o.negotiation(1460, true, true, tsval, tsecr, true, 7)
	return wordBytes(&o)
}

func appendTS(b []byte, tsval, tsecr uint32) []byte {
	b = append(b, packet.OptNOP, packet.OptNOP, packet.OptTimestamps, 10)
	b = binary.BigEndian.AppendUint32(b, tsval)
	return binary.BigEndian.AppendUint32(b, tsecr)
}
