package dataplane

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/packet"
)

// fragmentOf is what Parse finds in a UDP fragment.
func fragmentOf(src, dst netip.Addr, id uint32, srcPort, dstPort uint16) packet.Info {
	in := packet.Info{
		Src: packet.AddrFrom(src), Dst: packet.AddrFrom(dst), SrcPort: srcPort, DstPort: dstPort,
		Version: 4, Proto: packet.ProtoUDP, Fragment: true, FirstFragment: true, ID: id,
	}
	if src.Is6() {
		in.Version = 6
	}
	return in
}

// later is in as one of the fragments behind it.
func later(in packet.Info) packet.Info {
	in.SrcPort, in.DstPort, in.FirstFragment = 0, 0, false
	return in
}

const second = proxy.Time(time.Second)

func TestFragmentTable(t *testing.T) {
	table := newFragmentTable()
	now := 5 * second
	first := fragmentOf(ue1, server, 7, 1000, 53)
	next := later(first)
	want := func(what string, now proxy.Time, in packet.Info, domain uint32, found bool) {
		t.Helper()
		src, dst, ok := table.ports(now, &in, domain)
		if ok != found || ok && (src != 1000 || dst != 53) || !ok && (src != 0 || dst != 0) {
			t.Errorf("%s: ports %d, %d, %v; want found: %v", what, src, dst, ok, found)
		}
	}
	want("before the first", now, next, 1, false)
	table.learn(now, &next, 1)
	want("a later one teaches nothing", now, next, 1, false)
	table.learn(now, &first, 1)
	want("behind the first", now, next, 1, true)
	want("just in time", now+30*second-1, next, 1, true)
	want("too late", now+30*second, next, 1, false)

	want("another session", now, next, 2, false)
	for what, change := range map[string]func(*packet.Info){
		"another identification": func(in *packet.Info) { in.ID++ },
		"another source":         func(in *packet.Info) { in.Src[15]++ },
		"another destination":    func(in *packet.Info) { in.Dst[15]++ },
		"another protocol":       func(in *packet.Info) { in.Proto++ },
	} {
		in := next
		change(&in)
		want(what, now, in, 1, false)
	}

	// The identification comes again: the ports are the new datagram's, and live anew.
	again := first
	again.SrcPort, again.DstPort = 2000, 2001
	table.learn(now+20*second, &again, 1)
	if src, dst, ok := table.ports(now+45*second, &next, 1); src != 2000 || dst != 2001 || !ok {
		t.Errorf("the identification used again: %d, %d, %v", src, dst, ok)
	}

	// IPv6: the protocol may be an extension header's in later fragments.
	v6 := fragmentOf(netip.MustParseAddr("fd00:60::1"), netip.MustParseAddr("2001:db8::2"), 1<<31, 1000, 53)
	table.learn(now, &v6, 1)
	v6 = later(v6)
	v6.Proto = 60
	want("IPv6", now, v6, 1, true)
	v6.ID = 0
	want("IPv6, upper bits of the identification", now, v6, 1, false)
}

// TestFragmentTableParsed has the table see two fragments as they come.
func TestFragmentTableParsed(t *testing.T) {
	whole := udp(ue1, server, 1000, 53, 600)
	whole[6] = 0 // no DF
	pool := packet.NewPool(4, 0)
	var in packet.Info
	if r := packet.Parse(whole, &in); r != packet.OK {
		t.Fatal(r)
	}
	fs, ok := packet.Fragment4(nil, pool, whole, &in, 300)
	if !ok || len(fs) < 2 {
		t.Fatalf("%d fragments, %v", len(fs), ok)
	}
	table := newFragmentTable()
	for i, f := range fs {
		if r := packet.Parse(f.Bytes(), &in); r != packet.OK {
			t.Fatal(r)
		}
		table.learn(1, &in, 9)
		if src, dst, ok := table.ports(2, &in, 9); src != 1000 || dst != 53 || !ok {
			t.Errorf("fragment %d: %d, %d, %v", i, src, dst, ok)
		}
	}
}

// TestFragmentTableRandom compares with a map: what is found is right and young enough,
// what was just learnt is there, and a table with little in it forgets nothing.
func TestFragmentTableRandom(t *testing.T) {
	type entry struct {
		src, dst uint16
		at       proxy.Time
	}
	for _, tc := range []struct {
		name           string
		ids            int
		mayForgetYoung bool
	}{{"as many as a set has", fragmentWays, false}, {"a flood", 20_000, true}} {
		r := rand.New(rand.NewPCG(7, uint64(tc.ids)))
		table := newFragmentTable()
		model := map[fragmentKey]entry{}
		var now proxy.Time = 1
		found, missed := 0, 0
		for range 200_000 {
			now += proxy.Time(r.IntN(int(20 * second / proxy.Time(tc.ids))))
			in := fragmentOf(ue1, server, uint32(r.IntN(tc.ids)), uint16(r.Uint32()), uint16(r.Uint32()))
			k := makeFragmentKey(&in, 1)
			if r.IntN(2) == 0 {
				table.learn(now, &in, 1)
				model[k] = entry{in.SrcPort, in.DstPort, now}
				// Whatever else the set holds.
				if src, dst, ok := table.ports(now, &in, 1); !ok || src != in.SrcPort || dst != in.DstPort {
					t.Fatalf("%s: just learnt, and not there", tc.name)
				}
				continue
			}
			in = later(in)
			src, dst, ok := table.ports(now, &in, 1)
			e, known := model[k]
			young := known && now-e.at < fragmentLife
			if ok && (!young || src != e.src || dst != e.dst) || !ok && young && !tc.mayForgetYoung {
				t.Fatalf("%s: %d, %d, %v at %d; want %+v", tc.name, src, dst, ok, now, e)
			}
			if ok {
				found++
			} else {
				missed++
			}
		}
		if found < 1000 || missed < 1000 {
			t.Errorf("%s: %d found, %d not: the test says little", tc.name, found, missed)
		}
	}
}

// TestFragmentTableEviction: in a full set the oldest makes room.
func TestFragmentTableEviction(t *testing.T) {
	table := newFragmentTable()
	var same []packet.Info // of one set
	first := fragmentOf(ue1, server, 0, 1000, 53)
	k := makeFragmentKey(&first, 1)
	for set := table.set(&k); len(same) < 2*fragmentWays; first.ID++ {
		if k := makeFragmentKey(&first, 1); table.set(&k) == set {
			same = append(same, first)
		}
	}
	for i := range same {
		table.learn(proxy.Time(i+1), &same[i], 1)
		for j := range same {
			if _, _, ok := table.ports(proxy.Time(i+1), &same[j], 1); ok != (j <= i && j > i-fragmentWays) {
				t.Errorf("%d learnt: datagram %d found: %v", i+1, j, ok)
			}
		}
	}
}

// TestFragmentTableSpread: datagrams that differ in one field spread over the sets.
func TestFragmentTableSpread(t *testing.T) {
	for what, vary := range map[string]func(*packet.Info, *uint32, int){
		"identification": func(in *packet.Info, _ *uint32, i int) { in.ID = uint32(i) },
		"session":        func(_ *packet.Info, domain *uint32, i int) { *domain = uint32(i) },
		"source":         func(in *packet.Info, _ *uint32, i int) { in.Src[14], in.Src[15] = byte(i>>8), byte(i) },
		"destination":    func(in *packet.Info, _ *uint32, i int) { in.Dst[14], in.Dst[15] = byte(i>>8), byte(i) },
		"UE's prefix":    func(in *packet.Info, _ *uint32, i int) { in.Src[6], in.Src[7] = byte(i>>8), byte(i) },
	} {
		table := newFragmentTable()
		const n = fragmentSets * 16
		sets := map[*[fragmentWays]fragmentEntry]int{}
		for i := range n {
			in, domain := fragmentOf(ue1, server, 1, 0, 0), uint32(1)
			vary(&in, &domain, i)
			k := makeFragmentKey(&in, domain)
			sets[table.set(&k)]++
		}
		most := 0
		for _, c := range sets {
			most = max(most, c)
		}
		if len(sets) < fragmentSets*9/10 || most > 16*4 {
			t.Errorf("%s: %d datagrams in %d sets, up to %d in one", what, n, len(sets), most)
		}
	}
}

func TestFragmentTableAllocs(t *testing.T) {
	table := newFragmentTable()
	first := fragmentOf(ue1, server, 7, 1000, 53)
	next := later(first)
	if n := testing.AllocsPerRun(100, func() {
		first.ID++
		next.ID++
		table.learn(1, &first, 1)
		table.ports(1, &next, 1)
	}); n != 0 {
		t.Errorf("learn and ports allocate %v times", n)
	}
}

func BenchmarkFragmentTable(b *testing.B) {
	table := newFragmentTable()
	first := fragmentOf(ue1, server, 7, 1000, 53)
	next := later(first)
	b.Run("learn", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			first.ID = (first.ID + 1) & 0xffff
			table.learn(1, &first, 1)
		}
	})
	b.Run("ports", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			next.ID = (next.ID + 1) & 0xffff
			table.ports(1, &next, 1)
		}
	})
}
