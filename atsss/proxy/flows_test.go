package proxy

import (
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// TestFlowsOfOneHash gives the hash of a 4-tuple to a subflow of another: the connection
// that begins there stays plain TCP, a join is refused, and the subflow is not disturbed.
func TestFlowsOfOneHash(t *testing.T) {
	h := newHarness(t)
	h.connect()
	f := h.p.tokens[tokenOf(h.keyB)].subflows[0]
	taken := func(port uint16) {
		k := f.key()
		k.uePort = port
		h.p.flows.byHash[h.p.flows.hash(&k)] = f
	}

	taken(40002)
	syn := mptcp.AppendCapableSYN(negotiation(h.tsUE, 0), mptcp.FlagHMACSHA256)
	buf := h.build(shape{src: &h.ue, dst: &h.srv, srcPort: 40002, dstPort: 80, sn: 5, flags: packet.SYN, window: 65535}, syn, nil)
	packet.Parse(buf.Bytes(), &h.info)
	if v := h.p.Uplink(h.now, &h.session, 0, h.rule, buf, &h.info, &h.out); v != NotProxied {
		t.Error("the SYN was taken")
	}
	if g := h.segment(buf); g.opt.mp.Present != 0 {
		t.Errorf("the SYN is left with MPTCP options %#x", g.opt.mp.Present)
	}

	taken(40001)
	token, _ := h.keyB.Derive()
	join := mptcp.AppendJoinSYN(negotiation(h.tsUE, 0), false, 2, token, 1)
	h.up(1, h.build(shape{src: &h.ue, dst: &h.srv, srcPort: 40001, dstPort: 80, sn: 0x1000, flags: packet.SYN, window: 65535}, join, nil))
	if g := h.segment(h.out.ToUE[0].Buf); g.flags&packet.RST == 0 || g.opt.mp.ResetReason != mptcp.ReasonResources {
		t.Errorf("the join is answered with flags %#x, reason %d; want a reset, reason %d", g.flags, g.opt.mp.ResetReason, mptcp.ReasonResources)
	}
	h.recycle()

	h.serverData(0, 100)
	h.want("ue0 ssn=1+100 ack=1 dack=0 map=0@1+100")
}

// TestFlowTable puts more subflows in than its cache holds, finds each, and removes half.
func TestFlowTable(t *testing.T) {
	h := newHarness(t)
	table := newFlowTable(func() uint64 { return 0x9e3779b97f4a7c15 })
	c := &Conn{session: &h.session, srv: h.srv, srvPort: 80}
	var all []*Subflow
	for port := range uint16(1000) {
		f := &Subflow{conn: c, session: &h.session, ue: h.ue, uePort: port}
		if !table.room(f.key()) {
			t.Fatalf("port %d: no room", port)
		}
		table.put(f)
		all = append(all, f)
	}
	for i, f := range all {
		if i%2 == 0 {
			table.remove(f)
		}
	}
	for i, f := range all {
		want := f
		if i%2 == 0 {
			want = nil
		}
		for range 2 { // from the map, from the cache
			if got := table.find(f.key()); got != want {
				t.Fatalf("port %d: found %p, want %p", i, got, want)
			}
		}
	}
}
