package dataplane

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/braid-upf/braid/dataplane/driver/memory"
)

// freeRules is the n-th session as free5GC's SMF makes it: a tunnel, an address, two
// QERs and two URRs.
func freeRules(n int) *Rules {
	addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	ues := []netip.Prefix{netip.PrefixFrom(addr, 32)}
	threshold := uint64(500_000)
	qers := []*QER{{ID: 1, MBR: &BitRate{Uplink: 1e9, Downlink: 1e9}}, {ID: 2, QFI: 1}}
	urrs := []*URR{{ID: 1}, {ID: 2, Threshold: Limit{Total: &threshold}}}
	return &Rules{
		SEID:   uint64(n + 1),
		Uplink: []PDR{{ID: 1, TEID: uint32(n + 1), LocalAddr: upf4, UEAddrs: ues, FAR: &FAR{ID: 1, Action: Forward}, QERs: qers, URRs: urrs}},
		Downlink: []PDR{{
			ID: 2, UEAddrs: ues, QERs: qers, URRs: urrs,
			FAR: &FAR{ID: 2, Action: Forward, To: ToAccess, OuterHeader: &OuterHeader{TEID: uint32(n), Peer: gnb}},
		}},
		UEAddrs: ues,
	}
}

// TestMemoryPerSession: what the plane keeps of a session, all tables counted. The
// whole daemon has 4 KiB for one.
func TestMemoryPerSession(t *testing.T) {
	const sessions, most = 20_000, 2048
	plane, err := New(Config{Set: memory.New(1, upf4), Buffers: 8, Keys: 1})
	if err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for n := range sessions {
		if _, err := plane.Install(freeRules(n)); err != nil {
			t.Fatal(err)
		}
	}
	got := (heap() - before) / sessions
	t.Logf("%d bytes a session", got)
	if got > most {
		t.Errorf("%d bytes a session, want %d at most", got, most)
	}
	runtime.KeepAlive(plane)
}

// BenchmarkInstall is the plane's part of a session's establishment and of its change,
// with a worker that is not busy.
func BenchmarkInstall(b *testing.B) {
	for _, there := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("%d sessions", there), func(b *testing.B) {
			plane, err := New(Config{Set: memory.New(1, upf4), Buffers: 8, Keys: 1})
			if err != nil {
				b.Fatal(err)
			}
			for n := range there {
				if _, err := plane.Install(freeRules(n)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := plane.Install(freeRules(there)); err != nil {
					b.Fatal(err)
				}
				if _, err := plane.Remove(uint64(there + 1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
