package proxy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// BenchmarkDownlink translates an in-order 1,400-byte packet of the server. With runs=64
// steering moves the connection to its other subflow with every packet, so that each
// begins a run, and at least 64 runs are unacknowledged at any time.
func BenchmarkDownlink(b *testing.B) {
	eachLoad(b, func(b *testing.B, l *load) {
		l.benchmark(b, l.data, func(i int, buf *packet.Buffer, in *packet.Info) {
			l.p.Downlink(l.now, &l.session, l.rules[l.access(i)], buf, in, &l.out)
		}, func() {
			for l.acked < l.sent-l.lag {
				a := l.access(l.acked)
				l.up(a, l.ack())
				l.recycle()
			}
		})
	})
}

// BenchmarkUplinkAck translates the UE's pure ACK of two downlink packets. With runs=64
// each pair of packets goes to the other subflow than the pair before and makes a run, of
// which the ACK releases the first; at least 64 are unacknowledged at any time.
func BenchmarkUplinkAck(b *testing.B) {
	eachLoad(b, func(b *testing.B, l *load) {
		l.train = 2
		l.benchmark(b, func() *packet.Buffer {
			for l.sent < l.acked+l.train*(1+l.lag) {
				l.rule = l.rules[l.access(l.sent)]
				l.down(l.data())
				l.recycle()
			}
			return l.ack()
		}, func(i int, buf *packet.Buffer, in *packet.Info) {
			l.p.Uplink(l.now, &l.session, l.access(i*l.train), l.rule, buf, in, &l.out)
		}, func() {})
	})
}

// load is the traffic of a benchmark: a connection with two subflows whose packets the
// server sends in order and the UE acknowledges in order.
type load struct {
	*harness
	rules    []Rule // what steers to each subflow in turn
	train    int    // packets in a row that go to one subflow
	lag      int    // runs that are always unacknowledged
	verified bool   // the driver has verified the checksums
	payload  []byte

	sent, acked int      // packets
	ackSSN      [2]int64 // of each subflow
}

// eachLoad runs f as a sub-benchmark for every kind of load.
func eachLoad(b *testing.B, f func(b *testing.B, l *load)) {
	for _, version := range []int{4, 6} {
		for _, runs := range []int{1, 64} {
			for _, verified := range []bool{false, true} {
				b.Run(fmt.Sprintf("ipv%d/runs=%d/checksum_verified=%v", version, runs, verified), func(b *testing.B) {
					l := newLoad(b, version == 6, runs)
					l.verified = verified
					f(b, l)
				})
			}
		}
	}
}

func newLoad(b *testing.B, v6 bool, runs int) *load {
	l := &load{harness: newHarness(b), train: 1, ackSSN: [2]int64{1, 2}}
	ip := 20
	if v6 {
		ip = 40
		l.ue, l.srv = packet.Addr{0: 0x20, 1: 1, 15: 1}, packet.Addr{0: 0x20, 1: 1, 15: 2}
	}
	l.payload = make([]byte, 1400-ip-packet.TCPHeaderLen-12)
	l.connect()
	l.join()
	l.rules = []Rule{l.rule}
	if runs > 1 {
		l.rules = append(l.rules, l.otherRule())
		l.lag = runs
	}
	return l
}

// access is the one that the i-th packet is steered to; it is the index of its subflow, too.
func (l *load) access(i int) steer.Access { return steer.Access(i / l.train % len(l.rules)) }

// data is the server's next packet.
func (l *load) data() *packet.Buffer {
	d := int64(l.sent) * int64(len(l.payload))
	l.sent++
	return l.mark(l.fromServer(packet.ACK, d, 0, l.payload))
}

// ack is the UE's ACK of the next train of packets, on the subflow that they came on.
func (l *load) ack() *packet.Buffer {
	a := l.access(l.acked)
	l.acked += l.train
	l.ackSSN[a] += int64(l.train * len(l.payload))
	return l.mark(l.fromUE(int(a), packet.ACK, 0, l.dss(nil, int64(l.acked*len(l.payload))), l.ackSSN[a], nil))
}

// mark says of buf what a driver that verifies checksums would.
func (l *load) mark(buf *packet.Buffer) *packet.Buffer {
	if l.verified {
		buf.Checksum = packet.ChecksumVerified
	}
	return buf
}

// benchmark times run over the packets that next makes, in bursts; done is called after
// each. Only run is timed, not the parsing of the IP header, which the worker does for
// every packet; and by the benchmark's own clock: the testing package's timer stops the
// world each time it is stopped. The result is the median of the bursts, which other load
// of the machine moves less than the mean.
func (l *load) benchmark(b *testing.B, next func() *packet.Buffer, run func(i int, buf *packet.Buffer, in *packet.Info), done func()) {
	const burst = 64
	bufs := make([]*packet.Buffer, 0, burst)
	infos := make([]packet.Info, burst)
	spent := make([]float64, 0, b.N/burst+1) // ns per packet, of each burst
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += len(bufs) {
		bufs = bufs[:0]
		for j := range min(burst, b.N-i) {
			bufs = append(bufs, next())
			if r := packet.Parse(bufs[j].Bytes(), &infos[j]); r != packet.OK {
				b.Fatalf("test packet does not parse: %v", r)
			}
		}
		l.now += millisecond
		start := time.Now()
		for j, buf := range bufs {
			run(i+j, buf, &infos[j])
		}
		spent = append(spent, float64(time.Since(start))/float64(len(bufs)))
		if sent := len(l.out.ToUE) + len(l.out.ToN6); sent != len(bufs) {
			b.Fatalf("%d packets became %d", len(bufs), sent)
		}
		l.recycle()
		done()
	}
	slices.Sort(spent)
	b.ReportMetric(spent[len(spent)/2], "ns/op")
}

// TestDataPathAllocates checks that translation in both directions does not allocate.
func TestDataPathAllocates(t *testing.T) {
	h := newHarness(t)
	h.connect()
	payload := make([]byte, 1368)
	sent := int64(0)
	got := testing.AllocsPerRun(1000, func() {
		h.down(h.fromServer(packet.ACK, sent, 0, payload))
		sent += int64(len(payload))
		h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, sent), sent+1, nil))
		h.recycle()
	})
	if got != 0 {
		t.Errorf("translating a data packet and its ACK allocates %v times, want 0", got)
	}
}
