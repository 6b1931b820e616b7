package upftest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/braid-upf/braid/internal/ran"
)

// compare has packets come up through random sessions, of the first hundred and of all n
// that the loader has established, in turns, and compares what one costs the UPF's core:
// from N3's socket to the server's. What others do on the machine only adds to it: the least
// of some rounds counts.
func (l *loader) compare(n int) {
	l.w.Helper()
	to := l.w.dn.udp(netip.AddrPortFrom(dnAddr, 0)) // nobody reads: the kernel drops there
	const rounds, few = 5, 100
	idle := time.Duration(math.MaxInt64)
	for range 3 {
		idle = min(idle, l.cpuOf(func() { time.Sleep(roundTime) }))
	}
	least := [2]time.Duration{math.MaxInt64, math.MaxInt64} // with few, with all
	for range rounds {
		for i, sessions := range [2]int{few, n} {
			least[i] = min(least[i], l.packetCost(sessions, to.LocalAddr().String(), idle))
		}
	}
	l.w.Logf("a packet costs %v with %d sessions, %v with %d: the least of %d rounds", least[0], few, least[1], n, rounds)
	if ratio := float64(least[1]) / float64(least[0]); ratio > mostRatio {
		l.w.Errorf("a packet costs %.2f times as much with %d sessions as with %d, want %v at most", ratio, n, few, mostRatio)
	}
}

// A round of packets: 50,000 a second, which the core carries with time to spare.
const (
	roundTime    = 2 * time.Second
	burstPackets = 64
	burstTime    = burstPackets * time.Second / 50_000
)

// cpuOf is the time that the UPF has a core while f runs.
func (l *loader) cpuOf(f func()) time.Duration {
	before := l.w.upf.cpu()
	f()
	return l.w.upf.cpu() - before
}

// packetCost is the time of its core that a packet takes the UPF, beside what it does with
// none, if they come for roundTime through random ones of the first n sessions.
func (l *loader) packetCost(n int, server string, idle time.Duration) time.Duration {
	l.w.Helper()
	const sent = "n6_sent_packets"
	to := netip.MustParseAddrPort(server)
	random := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, ran.UplinkHeader+128)
	before := l.w.upf.counters()[sent]
	used := l.cpuOf(func() {
		begun := time.Now()
		for burst := 0; time.Since(begun) < roundTime; burst++ {
			time.Sleep(time.Until(begun.Add(time.Duration(burst) * burstTime)))
			for range burstPackets {
				k := l.first - manySessions + uint32(random.IntN(n))
				var ue [4]byte
				binary.BigEndian.PutUint32(ue[:], ueOf(k))
				putUDP(b[ran.UplinkHeader:], ue, to, 0)
				t := tunnel{gnb: l.w.gnb[1], teid: teidOf(k), peer: n3Addr, qfi: defaultQFI}
				t.send(b)
			}
		}
	})
	packets := l.w.upf.counters()[sent] - before
	if packets < 10_000 {
		l.w.Fatalf("%d packets in %v", packets, roundTime)
	}
	return (used - idle) / time.Duration(packets)
}

// teidOf and ueOf are the TEID and the UE address of the loader's session k.
func teidOf(k uint32) uint32 { return 1<<20 | k }
func ueOf(k uint32) uint32   { return 10<<24 | 128<<16 | k }
