package proxy

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// BenchmarkDownlink translates an in-order 1,400-byte downlink packet; the UE
// acknowledges every burst, untimed.
func BenchmarkDownlink(b *testing.B) {
	for _, verified := range []bool{false, true} {
		b.Run(fmt.Sprintf("1400B/checksum_verified=%v", verified), func(b *testing.B) {
			h := newHarness(b)
			h.connect()
			payload := make([]byte, 1400-20-20-12)
			h.benchmark(b, func(i int) *packet.Buffer {
				buf := h.fromServer(packet.ACK, int64(i)*int64(len(payload)), 0, payload)
				if verified {
					buf.Checksum = packet.ChecksumVerified
				}
				return buf
			}, h.down, func(i int) { h.ueAck(int64(i+1) * int64(len(payload))) })
		})
	}
}

// BenchmarkUplinkAck translates the UE's pure ACK of two downlink packets.
func BenchmarkUplinkAck(b *testing.B) {
	h := newHarness(b)
	h.connect()
	payload := make([]byte, 1368)
	sent := int64(0)
	h.benchmark(b, func(i int) *packet.Buffer {
		h.out.Reset()
		for range 2 {
			h.down(h.fromServer(packet.ACK, sent, 0, payload))
			sent += int64(len(payload))
		}
		h.recycle()
		return h.fromUE(0, packet.ACK, 0, h.dss(nil, sent), sent+1, nil)
	}, func(buf *packet.Buffer) { h.up(0, buf) }, func(int) {})
}

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
}

func newHarness(t testing.TB) *harness {
	r := rand.New(rand.NewPCG(1, 2))
	h := &harness{
		t: t, pool: packet.NewPool(512, 0), now: 1e9,
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

// build makes a TCP packet in a buffer.
func (h *harness) build(s shape, payload []byte) *packet.Buffer {
	buf := h.pool.Get()
	buf.SetLen(copy(buf.Room(), payload))
	s.ttl = 64
	s.write(buf, packet.Fold(packet.Sum(payload)))
	buf.Checksum = packet.ChecksumUnknown
	return buf
}

func (h *harness) fromServer(flags uint8, d, ackU int64, payload []byte) *packet.Buffer {
	return h.build(shape{
		src: &h.srv, dst: &h.ue, srcPort: 80, dstPort: h.uePorts[0], sn: h.srvISN + 1 + uint32(d),
		ack: h.ueISN + 1 + uint32(ackU), flags: flags, window: 65535, options: appendTS(h.options[:0], h.tsServer, h.tsUE),
	}, payload)
}

func (h *harness) fromUE(sub int, flags uint8, ssn int64, option []byte, ackSSN int64, payload []byte) *packet.Buffer {
	opt := mptcp.Pad(append(appendTS(h.options[:0], h.tsUE, h.tsServer), option...), 0)
	return h.build(shape{
		src: &h.ue, dst: &h.srv, srcPort: h.uePorts[sub], dstPort: 80, sn: h.isns[sub][0] + 1 + uint32(ssn),
		ack: h.isns[sub][1] + uint32(ackSSN), flags: flags, window: 65535, options: opt,
	}, payload)
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

// connect runs the handshake of a connection with window scaling 7.
func (h *harness) connect() {
	h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
	opt := appendNegotiated([]byte{packet.OptMSS, 4, 5, 180}, true, true, h.tsUE, 0, true, 7)
	syn := shape{src: &h.ue, dst: &h.srv, srcPort: 40000, dstPort: 80, sn: h.ueISN, flags: packet.SYN, window: 65535,
		options: mptcp.AppendCapableSYN(opt, mptcp.FlagHMACSHA256)}
	h.up(0, h.build(syn, nil))
	opt = appendNegotiated([]byte{packet.OptMSS, 4, 5, 180}, true, true, h.tsServer, h.tsUE, true, 7)
	h.down(h.build(shape{src: &h.srv, dst: &h.ue, srcPort: 80, dstPort: 40000, sn: h.srvISN, ack: h.ueISN + 1,
		flags: packet.SYN | packet.ACK, window: 65535, options: opt}, nil))
	var g segment
	last := h.out.ToUE[len(h.out.ToUE)-1].Buf
	packet.Parse(last.Bytes(), &h.info)
	if r := g.read(last, &h.info); r != packet.OK || g.opt.mp.Present&mptcp.Capable == 0 {
		h.t.Fatalf("SYN/ACK towards the UE: %v, MPTCP options %b", r, g.opt.mp.Present)
	}
	h.keyB = g.opt.mp.SenderKey
	_, h.idsnA = h.keyA.Derive()
	_, h.idsnB = h.keyB.Derive()
	h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendCapableACK(nil, mptcp.FlagHMACSHA256, h.keyA, h.keyB), 1, nil))
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 0), 1, nil))
	h.recycle()
}

// benchmark times run over packets that next makes, in bursts; after each, done is
// called. Only run is timed, by the benchmark's own clock: the testing package's timer
// stops the world each time it is stopped.
func (h *harness) benchmark(b *testing.B, next func(i int) *packet.Buffer, run func(*packet.Buffer), done func(i int)) {
	const burst = 64
	bufs := make([]*packet.Buffer, 0, burst)
	var spent time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += len(bufs) {
		bufs = bufs[:0]
		for j := i; j < min(i+burst, b.N); j++ {
			bufs = append(bufs, next(j))
		}
		start := time.Now()
		for _, buf := range bufs {
			run(buf)
		}
		spent += time.Since(start)
		h.recycle()
		done(i + len(bufs) - 1)
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/op")
}

// TestDataPathAllocates checks that translation in both directions does not allocate.
func TestDataPathAllocates(t *testing.T) {
	h := newHarness(t)
	h.connect()
	payload := make([]byte, 1368)
	sent := int64(0)
	got := testing.AllocsPerRun(1000, func() {
		buf := h.pool.Get()
		buf.SetLen(copy(buf.Room(), payload))
		s := shape{src: &h.srv, dst: &h.ue, srcPort: 80, dstPort: 40000, sn: h.srvISN + 1 + uint32(sent), ack: h.ueISN + 1,
			flags: packet.ACK, window: 65535, ttl: 64, options: appendTS(h.options[:0], h.tsServer, h.tsUE)}
		s.write(buf, packet.Fold(packet.Sum(payload)))
		h.down(buf)
		sent += int64(len(payload))
		buf = h.pool.Get()
		o := appendTS(h.options[:0], h.tsServer, h.tsUE)
		o = append(o, mptcp.Kind, 8, 0x20, 1)
		o = binary.BigEndian.AppendUint32(o, uint32(h.idsnB)+1+uint32(sent))
		s = shape{src: &h.ue, dst: &h.srv, srcPort: 40000, dstPort: 80, sn: h.ueISN + 1, ack: h.srvISN + 1 + uint32(sent),
			flags: packet.ACK, window: 65535, ttl: 64, options: o}
		s.write(buf, 0)
		h.up(0, buf)
		h.recycle()
	})
	if got != 0 {
		t.Errorf("translating a data packet and its ACK allocates %v times, want 0", got)
	}
}
