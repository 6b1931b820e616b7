package sockets

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/packet"
)

// BenchmarkSend sends full bursts to a socket that nobody reads, 1400 bytes a packet.
func BenchmarkSend(b *testing.B) {
	for _, tos := range []uint8{0, 46 << 2} {
		b.Run(fmt.Sprintf("tos=%#02x", tos), func(b *testing.B) {
			namespace(b)
			s := open(b, 1)
			pool := packet.NewPool(2*driver.MaxBurst, 0)
			peer := driver.MakePeer(socket(b, n3v4).LocalAddr().(*net.UDPAddr).AddrPort())
			tx := driver.Burst{N3: make([]driver.N3Packet, 0, driver.MaxBurst)}
			b.ReportAllocs()
			for b.Loop() {
				for range driver.MaxBurst {
					buf := pool.Get()
					buf.SetLen(1400)
					tx.N3 = append(tx.N3, driver.N3Packet{Buf: buf, Peer: &peer, TOS: tos})
				}
				s.drivers[0].Send(&tx, pool)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*driver.MaxBurst), "ns/packet")
		})
	}
}

// BenchmarkSteerUE steers and forgets UE addresses, in a DNN's range and outside of
// all, which takes a route each.
func BenchmarkSteerUE(b *testing.B) {
	for _, first := range []string{"10.60.0.0", "172.16.0.0"} {
		b.Run(first, func(b *testing.B) {
			namespace(b)
			s := open(b, 1)
			const kept = 10_000
			at := func(i int) netip.Prefix {
				a := netip.MustParseAddr(first).As4()
				a[2], a[3] = byte(i>>8), byte(i)
				return netip.PrefixFrom(netip.AddrFrom4(a), 32)
			}
			for i := range kept {
				if err := s.SteerUE(at(i), 0); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if err := s.SteerUE(at(kept), 0); err != nil {
					b.Fatal(err)
				}
				if err := s.ForgetUE(at(kept)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPathMTU asks the kernel for one path.
func BenchmarkPathMTU(b *testing.B) {
	namespace(b)
	s := open(b, 1)
	for b.Loop() {
		if _, err := s.PathMTU(dataNet); err != nil {
			b.Fatal(err)
		}
	}
}
