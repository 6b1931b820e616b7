package dataplane

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// randomAddr is an address of a small world, so that prefixes overlap.
func randomAddr(r *rand.Rand) netip.Addr {
	if r.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{10, 60, byte(r.IntN(2)), byte(r.IntN(8))})
	}
	var a [16]byte
	a[0], a[1] = 0xfd, 0
	a[7], a[15] = byte(r.IntN(4)), byte(r.IntN(4))
	return netip.AddrFrom16(a)
}

func randomPrefix(r *rand.Rand) netip.Prefix {
	a := randomAddr(r)
	lengths := []int{0, 8, 30, 31, 32}
	if a.Is6() {
		lengths = []int{0, 1, 62, 63, 64, 65, 126, 127, 128}
	}
	return netip.PrefixFrom(a, lengths[r.IntN(len(lengths))])
}

// TestPrefix compares with netip on random addresses.
func TestPrefix(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	hits := 0
	for range 100_000 {
		p, a := randomPrefix(r), randomAddr(r)
		compiled, addr := makePrefix(p), packet.AddrFrom(a)
		want := p.Contains(a)
		// As IPv4-mapped, an IPv6 prefix that short holds IPv4 too.
		if p.Addr().Is6() && p.Bits() == 0 {
			want = true
		}
		if got := compiled.contains(&addr); got != want {
			t.Fatalf("%v contains %v: %v, want %v", p, a, got, want)
		}
		if want {
			hits++
		}
	}
	if hits < 1000 {
		t.Errorf("only %d hits: the test says little", hits)
	}
	var zero prefix
	if a := packet.AddrFrom(ue1); !zero.contains(&a) {
		t.Error("the zero prefix is any")
	}
}

func TestFilter(t *testing.T) {
	in := func(b []byte) *tuple {
		var info packet.Info
		if r := packet.Parse(b, &info); r != packet.OK {
			t.Fatal(r)
		}
		var up tuple
		up.uplink(&info)
		return &up
	}
	base := in(udp(ue1, server, 1000, 53, 0))
	for _, tc := range []struct {
		name   string
		filter Filter
		flow   *tuple
		want   bool
	}{
		{"any", Filter{}, base, true},
		{"protocol", Filter{Protocol: packet.ProtoUDP}, base, true},
		{"another protocol", Filter{Protocol: packet.ProtoTCP}, base, false},
		{"remote", Filter{Remote: netip.MustParsePrefix("10.100.6.0/24")}, base, true},
		{"another remote", Filter{Remote: netip.MustParsePrefix("10.100.7.0/24")}, base, false},
		{"local", Filter{Local: netip.MustParsePrefix("10.60.0.1/32")}, base, true},
		{"another local", Filter{Local: netip.MustParsePrefix("10.60.0.2/32")}, base, false},
		{"remote port, first of range", Filter{RemotePorts: []PortRange{{53, 60}}}, base, true},
		{"remote port, last of second range", Filter{RemotePorts: []PortRange{{1, 2}, {50, 53}}}, base, true},
		{"remote port below", Filter{RemotePorts: []PortRange{{54, 60}}}, base, false},
		{"remote port above", Filter{RemotePorts: []PortRange{{50, 52}}}, base, false},
		{"local port", Filter{LocalPorts: []PortRange{{1000, 1000}}}, base, true},
		{"local port is not the remote one", Filter{LocalPorts: []PortRange{{53, 53}}}, base, false},
		{"first fragment and ports", Filter{RemotePorts: []PortRange{{53, 53}}}, in(fragment(udp(ue1, server, 1000, 53, 8), 0, true)), false},
		{"fragment without ports", Filter{Protocol: packet.ProtoUDP}, in(fragment(udp(ue1, server, 1000, 53, 8), 64, true)), true},
	} {
		f := makeFilter(&tc.filter)
		if got := f.matches(tc.flow); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestTupleBothWays: a packet and its answer have the same tuple, so one PDR.
func TestTupleBothWays(t *testing.T) {
	var in packet.Info
	var up, down tuple
	packet.Parse(udp(ue1, server, 1000, 53, 0), &in)
	up.uplink(&in)
	packet.Parse(udp(server, ue1, 53, 1000, 0), &in)
	down.downlink(&in)
	if up != down {
		t.Errorf("uplink %+v, downlink %+v", up, down)
	}
}

// TestPoint: flows that differ in one field only are spread evenly.
func TestPoint(t *testing.T) {
	const flows, bins = 16384, 16
	base := tuple{local: packet.AddrFrom(ue1), remote: packet.AddrFrom(server), localPort: 1, remotePort: 443, proto: packet.ProtoTCP}
	for name, vary := range map[string]func(f *tuple, i int){
		"local port":   func(f *tuple, i int) { f.localPort = uint16(i) },
		"remote port":  func(f *tuple, i int) { f.remotePort = uint16(i) },
		"local IPv4":   func(f *tuple, i int) { binary.BigEndian.PutUint16(f.local[14:], uint16(i)) },
		"remote IPv4":  func(f *tuple, i int) { binary.BigEndian.PutUint16(f.remote[14:], uint16(i)) },
		"IPv6 prefix":  func(f *tuple, i int) { f.local[0] = 0xfd; binary.BigEndian.PutUint16(f.local[6:], uint16(i)) },
		"fragment, ID": func(f *tuple, i int) { f.fragment = true; binary.BigEndian.PutUint16(f.remote[13:], uint16(i)) },
	} {
		var n [bins]int
		for i := range flows {
			f := base
			vary(&f, i)
			p := f.point()
			if p >= steer.Points {
				t.Fatalf("%s: point %d", name, p)
			}
			n[p*bins/steer.Points]++
		}
		// Chi-squared with 15 degrees of freedom: above 44 in one of 10,000.
		var chi float64
		for _, got := range n {
			d := float64(got) - flows/bins
			chi += d * d / (flows / bins)
		}
		if chi > 44 {
			t.Errorf("%s: chi-squared %.1f over %v", name, chi, n)
		}
	}
}

// TestOwnerTable compares with a map, while readers look: what they ask for is
// always there.
func TestOwnerTable(t *testing.T) {
	var table ownerTable[uint32]
	hash := func(k uint32) uint64 { return uint64(k) % 7 } // long buckets
	const fixed = 1 << 20
	table.set(hash(fixed), fixed, 5)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if w, ok := table.get(hash(fixed), fixed); !ok || w != 5 {
				t.Errorf("reader: %d, %v", w, ok)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	r := rand.New(rand.NewPCG(3, 3))
	model := map[uint32]int{}
	for range 20_000 {
		k := uint32(r.IntN(100))
		if r.IntN(2) == 0 {
			w := r.IntN(8)
			table.set(hash(k), k, w)
			model[k] = w
		} else {
			table.forget(hash(k), k)
			delete(model, k)
		}
		k = uint32(r.IntN(100))
		w, ok := table.get(hash(k), k)
		if want, has := model[k]; w != want || ok != has {
			t.Fatalf("%d: %d, %v; want %d, %v", k, w, ok, want, has)
		}
	}
	close(done)
	wg.Wait()
}

// TestRing: everything comes out once, in order, through a ring that is full and
// empty again and again.
func TestRing(t *testing.T) {
	const n = 100_000
	r := newRing[int](8)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; i < n; {
			if slot := r.room(); slot != nil {
				*slot = i
				r.publish()
				i++
			} else {
				runtime.Gosched()
			}
		}
	})
	for i := 0; i < n; {
		if slot := r.next(); slot != nil {
			if *slot != i {
				t.Fatalf("got %d, want %d", *slot, i)
			}
			r.release()
			i++
		} else {
			runtime.Gosched()
		}
	}
	wg.Wait()
	if r.next() != nil {
		t.Error("one too many")
	}
	for range 8 {
		if r.room() == nil {
			t.Fatal("full too early")
		}
		r.publish()
	}
	if r.room() != nil {
		t.Error("nine fit a ring of eight")
	}
}
