package upf

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestPool holds random prefixes and gives them back, beside a pool that remembers
// what it holds as a set: what is chosen is free, and what is free is found.
func TestPool(t *testing.T) {
	for _, tc := range []struct {
		cidr string
		give int // how many can be given
	}{
		{"10.60.0.0/24", 253},
		{"10.60.0.0/30", 1},
		{"10.60.0.4/31", 2},
		{"10.60.0.4/32", 1},
		{"2001:db8::/56", 255},
		{"2001:db8::/64", 1},
		{"2001:db8::/112", 0},
	} {
		t.Run(tc.cidr, func(t *testing.T) {
			p := newPool("internet", netip.MustParsePrefix(tc.cidr))
			held := map[netip.Prefix]bool{}
			for range tc.give {
				q, ok := p.choose()
				if !ok || held[q] || !p.prefix.Overlaps(q) {
					t.Fatalf("after %d: %v, %v", len(held), q, ok)
				}
				p.hold(q, true)
				held[q] = true
			}
			if q, ok := p.choose(); ok {
				t.Fatalf("%v is one too many", q)
			}
			for q := range held {
				p.hold(q, false)
				if got, ok := p.choose(); !ok || got != q {
					t.Fatalf("%v is free, got %v, %v", q, got, ok)
				}
				p.hold(q, true)
			}
		})
	}
}

// TestPoolHolds: prefixes of any length, also longer than what the pool gives and
// wider than the pool.
func TestPoolHolds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, cidr := range []string{"10.60.4.0/22", "2001:db8:0:400::/54"} {
		p := newPool("internet", netip.MustParsePrefix(cidr))
		for range 300 {
			base := p.at(rnd.IntN(p.size)).Addr()
			q, err := base.Prefix(p.unit - 14 + rnd.IntN(17)%(base.BitLen()-p.unit+15))
			if err != nil {
				t.Fatal(err)
			}
			p.hold(q, true)
			for i := range p.size {
				want := q.Overlaps(p.at(i)) || i == 0 || p.unit == 32 && (i == 1 || i == p.size-1)
				if got := p.taken[i/64]>>(i%64)&1 == 1; got != want {
					t.Fatalf("%v held: %v is taken: %v", q, p.at(i), got)
				}
			}
			p.hold(q, false)
		}
	}
}

// TestPoolLimits: a range that is larger than what is kept account of.
func TestPoolLimits(t *testing.T) {
	p := newPool("internet", netip.MustParsePrefix("2001:db8::/32"))
	p.hold(netip.MustParsePrefix("2001:db8:ffff::/64"), true) // beyond what is given
	if q, ok := p.choose(); !ok || q.String() != "2001:db8:0:1::/64" {
		t.Errorf("got %v, %v", q, ok)
	}
	if q := p.at(p.size - 1); q.String() != "2001:db8:3f:ffff::/64" {
		t.Errorf("the last is %v", q)
	}
}

// BenchmarkPool gives addresses of a pool that is half full, and of one that is full,
// its worst case.
func BenchmarkPool(b *testing.B) {
	for name, held := range map[string]string{"half": "10.0.0.0/11", "full": "10.0.0.0/8"} {
		b.Run(name, func(b *testing.B) {
			p := newPool("internet", netip.MustParsePrefix("10.0.0.0/8"))
			p.hold(netip.MustParsePrefix(held), true)
			b.ReportAllocs()
			for b.Loop() {
				if q, ok := p.choose(); ok {
					p.hold(q, true)
					p.hold(q, false)
				}
			}
		})
	}
}
