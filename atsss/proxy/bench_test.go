package proxy

import (
	"fmt"
	"testing"
	"time"

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
			}, func(buf *packet.Buffer, in *packet.Info) {
				h.p.Downlink(h.now, &h.session, h.rule, buf, in, &h.out)
			}, func(i int) { h.ueAck(int64(i+1) * int64(len(payload))) })
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
	}, func(buf *packet.Buffer, in *packet.Info) {
		h.p.Uplink(h.now, &h.session, 0, h.rule, buf, in, &h.out)
	}, func(int) {})
}

// benchmark times run over packets that next makes, in bursts; after each, done is
// called. Only run is timed, not the parsing of the IP header, which the worker does for
// every packet; and by the benchmark's own clock: the testing package's timer stops the
// world each time it is stopped.
func (h *harness) benchmark(b *testing.B, next func(i int) *packet.Buffer, run func(*packet.Buffer, *packet.Info), done func(i int)) {
	const burst = 64
	bufs := make([]*packet.Buffer, 0, burst)
	infos := make([]packet.Info, burst)
	var spent time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += len(bufs) {
		bufs = bufs[:0]
		for j := i; j < min(i+burst, b.N); j++ {
			bufs = append(bufs, next(j))
			if r := packet.Parse(bufs[j-i].Bytes(), &infos[j-i]); r != packet.OK {
				b.Fatalf("test packet does not parse: %v", r)
			}
		}
		start := time.Now()
		for j, buf := range bufs {
			run(buf, &infos[j])
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
		h.down(h.fromServer(packet.ACK, sent, 0, payload))
		sent += int64(len(payload))
		h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, sent), sent+1, nil))
		h.recycle()
	})
	if got != 0 {
		t.Errorf("translating a data packet and its ACK allocates %v times, want 0", got)
	}
}
