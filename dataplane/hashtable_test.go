package dataplane

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/packet"
)

// TestTEIDTable compares with a map while the table grows, shrinks and grows again.
func TestTEIDTable(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	var table teidTable
	table.init()
	model := map[uint32]*tunnel{}
	const world = 6000
	teid := func() uint32 { // not 0
		// Those of one slot, as the UPF chooses them, and any.
		if n := r.Uint32N(world); n%2 == 0 {
			return 0x2a000000 + n
		}
		return (1 + r.Uint32N(world)) * 715827
	}
	var teids [driver.MaxBurst + 9]uint32
	var out [len(teids)]*tunnel
	for step := range 100_000 {
		id := teid()
		// Phases of more puts and of more removals.
		if r.IntN(100) < []int{80, 20}[step/20_000%2] {
			u := &tunnel{teid: id, session: &session{}}
			table.put(id, u)
			model[id] = u
		} else {
			table.remove(id)
			delete(model, id)
		}
		if table.len() != len(model) {
			t.Fatalf("step %d: %d tunnels, want %d", step, table.len(), len(model))
		}
		id = teid()
		if got := table.lookup(id); got != model[id] {
			t.Fatalf("step %d: %#x leads to %p, want %p", step, id, got, model[id])
		}
		if step%100 == 0 {
			n := r.IntN(len(teids) + 1)
			for i := range n {
				teids[i] = teid()
			}
			table.lookupBurst(teids[:n], out[:n])
			for i, id := range teids[:n] {
				if out[i] != model[id] {
					t.Fatalf("step %d: burst: %#x leads to %p, want %p", step, id, out[i], model[id])
				}
			}
		}
	}
	for id, u := range model {
		if table.lookup(id) != u {
			t.Fatalf("%#x is lost", id)
		}
	}
	// No tunnel has TEID 0, but packets may.
	if u := table.lookup(0); u != nil {
		t.Errorf("TEID 0 leads to %+v", u)
	}
	if len(table.table.dir) < 8 {
		t.Errorf("a directory of %d: the test says little of growth", len(table.table.dir))
	}
}

// TestUETable compares with a search of all prefixes for the longest that holds the
// address.
func TestUETable(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var table ueTable
	table.init()
	model := map[netip.Prefix]*session{}
	modelLookup := func(a netip.Addr) *session {
		var s *session
		length := -1
		for q, x := range model {
			if q.Contains(a) && q.Bits() > length {
				s, length = x, q.Bits()
			}
		}
		return s
	}
	var addrs [driver.MaxBurst + 9]packet.Addr
	var out [len(addrs)]*session
	for step := range 20_000 {
		p := randomPrefix(r).Masked()
		if r.IntN(2) == 0 {
			s := &session{seid: uint64(step), rules: &ruleSet{}}
			table.put(makeUEKey(p), s)
			model[p] = s
		} else {
			table.remove(makeUEKey(p))
			delete(model, p)
		}
		if got := makeUEKey(p).prefix(); got != p {
			t.Fatalf("key of %v is %v", p, got)
		}
		if table.len() != len(model) {
			t.Fatalf("step %d: %d prefixes, want %d", step, table.len(), len(model))
		}
		a := randomAddr(r)
		addr := packet.AddrFrom(a)
		if got, want := table.lookup(&addr), modelLookup(a); got != want {
			t.Fatalf("step %d: %v leads to %+v, want %+v", step, a, got, want)
		}
		if step%20 == 0 {
			n := r.IntN(len(addrs) + 1)
			for i := range n {
				addrs[i] = packet.AddrFrom(randomAddr(r))
			}
			table.lookupBurst(addrs[:n], out[:n])
			for i := range n {
				if want := modelLookup(addrs[i].Netip()); out[i] != want {
					t.Fatalf("step %d: burst: %v leads to %+v, want %+v", step, addrs[i].Netip(), out[i], want)
				}
			}
		}
	}
	for p := range model {
		table.remove(makeUEKey(p))
	}
	if table.len()+len(table.lengths4)+len(table.lengths6) != 0 {
		t.Errorf("%d prefixes left, lengths %v and %v", table.len(), table.lengths4, table.lengths6)
	}
}

// TestUETableGrows: many addresses of both families, each found.
func TestUETableGrows(t *testing.T) {
	var table ueTable
	table.init()
	const n = 20_000
	sessions := make([]session, 2*n)
	for i := range sessions {
		table.put(makeUEKey(netip.PrefixFrom(benchUE(i/2, i%2 == 1), []int{32, 64}[i%2])), &sessions[i])
	}
	for i := range sessions {
		a := packet.AddrFrom(benchUE(i/2, i%2 == 1))
		if table.lookup(&a) != &sessions[i] {
			t.Fatalf("%v is lost", a.Netip())
		}
	}
}

// benchUE is the address of UE number i.
func benchUE(i int, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0: 0xfd, 4: byte(i >> 16), 5: byte(i >> 8), 6: byte(i), 15: 1})
	}
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// TestHashTableGrowsInSteps: a put moves the keys of one segment at most.
func TestHashTableGrowsInSteps(t *testing.T) {
	hashed := 0
	key := makeSecret()
	var table hashTable[uint32, *tunnel]
	table.init(func(k uint32) uint64 {
		hashed++
		return key.hash(uint64(k), 0)
	})
	u := &tunnel{}
	most, splits := 0, 0
	for i := range uint32(200_000) {
		hashed = 0
		table.put(i+1, u)
		most = max(most, hashed)
		if hashed > 1 {
			splits++
		}
	}
	if most > 1+segmentFull || splits < 256 {
		t.Errorf("%d splits, %d keys hashed in a put; want some, %d at most", splits, most, 1+segmentFull)
	}
}
