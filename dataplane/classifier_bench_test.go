package dataplane

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"unsafe"

	"github.com/braid-upf/braid/packet"
)

// ruleShapes are filters as operators write them; number i of each matches flow(i)
// and no other.
var ruleShapes = []struct {
	name   string
	filter func(i int) Filter
}{
	{"port", func(i int) Filter {
		return Filter{Protocol: packet.ProtoUDP, RemotePorts: []PortRange{{flowPort(i), flowPort(i) + 1}}}
	}},
	{"prefix", func(i int) Filter {
		return Filter{Remote: netip.PrefixFrom(flowRemote(i), 24).Masked()}
	}},
	{"prefix+port", func(i int) Filter {
		return Filter{
			Protocol: packet.ProtoUDP, Remote: netip.PrefixFrom(flowRemote(i), []int{32, 24}[i%2]).Masked(),
			RemotePorts: []PortRange{{flowPort(i), flowPort(i) + 9}},
		}
	}},
	{"all", func(i int) Filter {
		return Filter{
			Protocol: packet.ProtoUDP, Remote: netip.PrefixFrom(flowRemote(i), 32), Local: netip.PrefixFrom(ue1, 32),
			RemotePorts: []PortRange{{flowPort(i), flowPort(i)}}, LocalPorts: []PortRange{{1000, 2000}}, TOS: 0, TOSMask: 0xfc,
		}
	}},
}

func flowPort(i int) uint16       { return uint16(1000 + i*229) }
func flowRemote(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, byte(i / 256), byte(i), 7}) }

func flow(i int) tuple {
	return tuple{
		local: packet.AddrFrom(ue1), remote: packet.AddrFrom(flowRemote(i)),
		localPort: 1500, remotePort: flowPort(i), proto: packet.ProtoUDP,
	}
}

// shapedRules are n PDRs of a session with a filter each.
func shapedRules(n int, filter func(int) Filter) []pdr {
	var pdrs []PDR
	for i := range n {
		pdrs = append(pdrs, PDR{ID: uint16(i + 1), UEAddrs: prefixesOf(ue1), Filters: []Filter{filter(i)}})
	}
	return compilePDRs(pdrs)
}

// plainRules are those of a session whose only PDR has no filter.
func plainRules() []pdr { return compilePDRs([]PDR{{ID: 1, UEAddrs: prefixesOf(ue1)}}) }

var ruleCounts = []int{1, 2, 4, 8, 16, 64, 256}

func TestClassifierAllocs(t *testing.T) {
	for _, shape := range ruleShapes {
		for _, n := range ruleCounts {
			c := makeClassifier(shapedRules(n, shape.filter))
			f := flow(n - 1)
			if a := testing.AllocsPerRun(100, func() {
				if d, _ := c.lookup(&f, 9, nil); d == nil || int(d.id) != n {
					t.Fatalf("%s, %d rules: %+v", shape.name, n, d)
				}
			}); a != 0 {
				t.Errorf("%s, %d rules: %v allocations", shape.name, n, a)
			}
		}
	}
}

// TestClassifierSize: a plain session costs its PDRs and hardly more.
func TestClassifierSize(t *testing.T) {
	c := makeClassifier(plainRules())
	if n := unsafe.Sizeof(c); n > 100 || c.blocks != nil {
		t.Errorf("%d bytes, %d blocks; want 100 bytes at most, no block", n, c.numBlocks())
	}
}

// BenchmarkClassifier: ns of a lookup; linear is the same rules tried one by one.
func BenchmarkClassifier(b *testing.B) {
	run := func(name string, c *classifier, n, at int) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			f := flow(at)
			for b.Loop() {
				if d, _ := c.lookup(&f, 9, nil); (d != nil) != (at < n) {
					b.Fatal(d)
				}
			}
		})
	}
	plain := makeClassifier(plainRules())
	run("plain", &plain, 1, 0)
	for _, shape := range ruleShapes {
		for _, n := range ruleCounts {
			c := makeClassifier(shapedRules(n, shape.filter))
			l := classifier{pdrs: shapedRules(n, shape.filter)}
			for _, at := range []struct {
				name string
				flow int
			}{{"first", 0}, {"last", n - 1}, {"none", n}} {
				name := fmt.Sprintf("%s/rules=%d/match=%s/", shape.name, n, at.name)
				run(name+"tables", &c, n, at.flow)
				run(name+"linear", &l, n, at.flow)
			}
		}
	}
}

// BenchmarkClassifierCompile: time and memory of a compiled classifier, without its
// PDRs and their filters, which it does not need any more.
func BenchmarkClassifierCompile(b *testing.B) {
	for _, shape := range ruleShapes {
		for _, n := range ruleCounts {
			b.Run(fmt.Sprintf("%s/rules=%d", shape.name, n), func(b *testing.B) {
				all := make([]classifier, b.N)
				pdrs := make([][]pdr, b.N)
				for i := range pdrs {
					pdrs[i] = shapedRules(n, shape.filter)
				}
				b.ResetTimer()
				for i := range all {
					all[i] = makeClassifier(pdrs[i])
				}
				b.StopTimer()
				blocks := 0
				for i := range all {
					blocks += all[i].numBlocks()
				}
				heap := func() float64 {
					runtime.GC()
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					return float64(m.HeapAlloc)
				}
				with := heap()
				for i := range all {
					all[i].blocks = nil
				}
				b.ReportMetric((with-heap())/float64(b.N)+float64(unsafe.Sizeof(classifier{})), "B/classifier")
				runtime.KeepAlive(all)
				runtime.KeepAlive(pdrs)
			})
		}
	}
}
