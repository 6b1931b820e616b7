package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/dataplane/driver/memory"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// The session of most tests: two accesses, two UE addresses, one MAR.
//
//	10.60.0.1 == gNB   10.100.1.2 == TEID 0x2a000001 (3GPP)     --.
//	                                                               > UPF 10.100.1.1 -- server 10.100.6.2
//	10.60.0.2 == N3IWF 10.100.2.2 == TEID 0x2a000002 (non-3GPP) --'
var (
	upf4   = netip.MustParseAddr("10.100.1.1")
	upf6   = netip.MustParseAddr("fd00:1::1")
	gnb    = netip.MustParseAddrPort("10.100.1.2:2152")
	n3iwf  = netip.MustParseAddrPort("10.100.2.2:2152")
	ue1    = netip.MustParseAddr("10.60.0.1")
	ue2    = netip.MustParseAddr("10.60.0.2")
	ue6    = netip.MustParseAddr("fd00:60::1234")
	server = netip.MustParseAddr("10.100.6.2")
)

const (
	testSEID    = 0x7_02a0 // slot 0x2a0
	teid3GPP    = 0x2a000001
	teidNon3GPP = 0x2a000002
	gnbTEID     = 0x101
	n3iwfTEID   = 0x201
)

func prefixesOf(as ...netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range as {
		p, _ := a.Prefix(map[bool]int{true: 32, false: 64}[a.Is4()])
		out = append(out, p)
	}
	return out
}

// testRules is the session's rule set; a test changes what it wants to.
func testRules() *Rules {
	far1 := &FAR{ID: 1, Action: Forward}
	far2 := &FAR{ID: 2, Action: Forward, To: ToAccess, OuterHeader: &OuterHeader{TEID: gnbTEID, Peer: gnb}}
	far3 := &FAR{ID: 3, Action: Forward, To: ToAccess, OuterHeader: &OuterHeader{TEID: n3iwfTEID, Peer: n3iwf}}
	qer := &QER{ID: 1, QFI: 9}
	mar := &MAR{
		ID: 1,
		Policy: steer.Policy{
			Functionality: steer.MPTCP, Mode: steer.ActiveStandby,
			Priority: [2]steer.Priority{steer.Active, steer.Standby}, Usable: steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP),
		},
		FAR: [2]*FAR{far2, far3},
	}
	addrs := prefixesOf(ue1, ue2, ue6)
	return &Rules{
		SEID: testSEID,
		Uplink: []PDR{
			{ID: 1, TEID: teid3GPP, Access: steer.Access3GPP, LocalAddr: upf4, UEAddrs: addrs, FAR: far1, QERs: []*QER{qer}},
			{ID: 2, TEID: teidNon3GPP, Access: steer.AccessNon3GPP, LocalAddr: upf4, UEAddrs: addrs, FAR: far1, QERs: []*QER{qer}},
		},
		Downlink: []PDR{
			{ID: 3, UEAddrs: prefixesOf(ue1), MAR: mar, QERs: []*QER{qer}},
			{ID: 4, UEAddrs: prefixesOf(ue2), MAR: mar, QERs: []*QER{qer}},
			{ID: 5, UEAddrs: prefixesOf(ue6), FAR: far2},
		},
		UEAddrs: addrs,
	}
}

// fixture is a plane over memory whose workers do not run by themselves: the test
// brings a packet and has the worker that gets it work on it, and on what the other
// workers are handed.
type fixture struct {
	testing.TB
	set   *memory.Set
	plane *Plane
	seen  map[string]uint64 // counters at the last check
}

func newFixture(t testing.TB, workers int, rules ...*Rules) *fixture {
	t.Helper()
	set := memory.New(workers, upf4, upf6)
	plane, err := New(Config{Set: set, Buffers: 64, Keys: 4})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{TB: t, set: set, plane: plane}
	for _, r := range rules {
		f.install(r)
	}
	// Keys are made before any packet comes.
	for _, w := range plane.workers {
		for !w.proxy.Idle() {
			w.proxy.Tick(plane.clock(), &w.out)
		}
	}
	f.seen = plane.Counters()
	return f
}

func (f *fixture) install(r *Rules) {
	f.Helper()
	if _, err := f.plane.Install(r); err != nil {
		f.Fatal(err)
	}
}

// work has every worker work until nothing is left to do.
func (f *fixture) work() {
	for range f.plane.workers {
		for _, w := range f.plane.workers {
			if err := w.drv.Receive(&w.rx, w.pool, 0); err != nil {
				f.Fatal(err)
			}
			w.burst()
		}
	}
}

// n3 brings a GTP-U message to the worker that steering says.
func (f *fixture) n3(from netip.AddrPort, b []byte) {
	w := 0
	if len(b) >= 8 {
		w = f.set.OwnerTEID(binary.BigEndian.Uint32(b[4:]))
	}
	f.set.Queue(w).PutN3(memory.Message{Bytes: b, Peer: from, Local: upf4})
	f.work()
}

// n6 brings an IP packet to the worker that steering says.
func (f *fixture) n6(b []byte) {
	w := 0
	var in packet.Info
	if packet.Parse(b, &in) == packet.OK {
		w = f.set.OwnerUE(in.Dst.Netip())
	}
	f.set.Queue(w).PutN6(b)
	f.work()
}

// sent takes what all workers have sent.
func (f *fixture) sent() (n3 []memory.Message, n6 [][]byte) {
	for i := range f.set.Workers() {
		n3 = append(n3, f.set.Queue(i).TakeN3()...)
		n6 = append(n6, f.set.Queue(i).TakeN6()...)
	}
	return n3, n6
}

// counted checks which counters have changed since the last call, and by how much.
// Those of packets and bytes received follow from the test and are left out.
func (f *fixture) counted(want map[string]uint64) {
	f.Helper()
	now := f.plane.Counters()
	got := map[string]uint64{}
	for name, v := range now {
		if v != f.seen[name] {
			got[name] = v - f.seen[name]
		}
	}
	f.seen = now
	for _, name := range []string{"n3_received_packets", "n3_received_bytes", "n6_received_packets", "n6_received_bytes"} {
		delete(got, name)
	}
	if want == nil {
		want = map[string]uint64{}
	}
	if d := cmp.Diff(want, got); d != "" {
		f.Errorf("counters (-want +got):\n%s", d)
	}
}

// nothing checks that nothing was sent.
func (f *fixture) nothing() {
	f.Helper()
	if n3, n6 := f.sent(); len(n3)+len(n6) != 0 {
		f.Errorf("sent %x to N3, %x to N6; want nothing", n3, n6)
	}
}

// one checks that one packet went to N3, none to N6, and gives it.
func (f *fixture) oneN3() memory.Message {
	f.Helper()
	n3, n6 := f.sent()
	if len(n3) != 1 || len(n6) != 0 {
		f.Fatalf("sent %d to N3, %d to N6; want one to N3", len(n3), len(n6))
	}
	return n3[0]
}

// oneN6 is oneN3 the other way.
func (f *fixture) oneN6() []byte {
	f.Helper()
	n3, n6 := f.sent()
	if len(n3) != 0 || len(n6) != 1 {
		f.Fatalf("sent %d to N3, %d to N6; want one to N6", len(n3), len(n6))
	}
	return n6[0]
}

// udp is a UDP packet with so many bytes of payload.
func udp(src, dst netip.Addr, srcPort, dstPort uint16, n int) []byte {
	b := transport(src, dst, packet.ProtoUDP, 8+n)
	l4 := b[len(b)-8-n:]
	binary.BigEndian.PutUint16(l4, srcPort)
	binary.BigEndian.PutUint16(l4[2:], dstPort)
	binary.BigEndian.PutUint16(l4[4:], uint16(8+n))
	for i := range l4[8:] {
		l4[8+i] = byte(i)
	}
	return b
}

// tcp is a TCP packet with these flags and options.
func tcp(src, dst netip.Addr, srcPort, dstPort uint16, flags uint8, options ...byte) []byte {
	b := transport(src, dst, packet.ProtoTCP, packet.TCPHeaderLen+len(options))
	l4 := b[len(b)-packet.TCPHeaderLen-len(options):]
	packet.PutTCPHeader(l4, srcPort, dstPort, 1000, 0, len(l4), flags, 65535)
	copy(l4[packet.TCPHeaderLen:], options)
	s, d := packet.AddrFrom(src), packet.AddrFrom(dst)
	binary.BigEndian.PutUint16(l4[16:], ^packet.Fold(packet.Sum(l4)+packet.PseudoSum(&s, &d, packet.ProtoTCP, len(l4))))
	return b
}

// transport is an IP packet for n bytes of a transport protocol.
func transport(src, dst netip.Addr, proto uint8, n int) []byte {
	hdr := 20
	if src.Is6() {
		hdr = 40
	}
	b := make([]byte, hdr+n)
	s, d := packet.AddrFrom(src), packet.AddrFrom(dst)
	packet.PutIPHeader(b, src.Is6(), &s, &d, proto, 0, 64, len(b))
	return b
}

// fragment makes the IPv4 packet b a fragment: more follow, at this offset.
func fragment(b []byte, offset int, more bool) []byte {
	v := uint16(offset / 8)
	if more {
		v |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], v)
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^packet.Fold(packet.Sum(b[:20])))
	return b
}

// gpdu is a G-PDU as a gNB sends it: with uplink PDU session information.
func gpdu(teid uint32, qfi uint8, inner []byte) []byte {
	b := make([]byte, gtpu.GPDUContainerLen, gtpu.GPDUContainerLen+len(inner))
	gtpu.PutGPDU(b, teid, len(inner), qfi, false)
	if qfi != 0 {
		b[13] |= byte(gtpu.ULPDUSessionInformation) << 4
		return append(b, inner...)
	}
	return append(b[:gtpu.GPDULen], inner...)
}

var _ driver.Set = (*memory.Set)(nil)

// newFixtureWith4 is a plane that has an IPv4 address only on N3.
func newFixtureWith4(t testing.TB) *Plane {
	t.Helper()
	plane, err := New(Config{Set: memory.New(1, upf4), Buffers: 8, Keys: 1})
	if err != nil {
		t.Fatal(err)
	}
	return plane
}
