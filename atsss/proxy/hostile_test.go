package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// talk is a conversation that is noted down. Bad packets are put into it after each of its
// steps in turn; what both ends get from then on must be what they get without.
type talk struct {
	*harness
	got       []string // what the ends got, in words
	joinNonce uint32
	tap       func(fromUE bool, buf *packet.Buffer) // sees each packet of the conversation; may be nil
	look      func()                                // sees what comes of each; may be nil
	buffers   map[*packet.Buffer]bool               // all there were at the beginning
}

func newTalk(t testing.TB) *talk {
	k := &talk{harness: newHarness(t), buffers: make(map[*packet.Buffer]bool)}
	for range harnessBuffers {
		k.buffers[k.pool.Get()] = true
	}
	for b := range k.buffers {
		k.pool.Put(b)
	}
	return k
}

// lost is how many buffers have not come back.
func (k *talk) lost() int {
	n := len(k.buffers)
	for range 100 * harnessBuffers {
		if b := k.pool.Get(); k.buffers[b] {
			delete(k.buffers, b)
			n--
		}
		if n == 0 {
			break
		}
	}
	return n
}

// step is one thing that the ends do.
type step struct {
	name string
	do   func(*talk)
}

// give gives the proxy a packet of the UE over access a, or of the server, and notes what
// comes of it.
func (k *talk) give(fromUE bool, a steer.Access, buf *packet.Buffer) {
	if k.tap != nil {
		k.tap(fromUE, buf)
	}
	k.offer(fromUE, a, buf)
	k.note()
}

// offer gives the proxy a packet that need not parse.
func (k *talk) offer(fromUE bool, a steer.Access, buf *packet.Buffer) {
	var in packet.Info
	v := NotProxied
	switch r := packet.Parse(buf.Bytes(), &in); {
	case r != packet.OK: // the data plane drops it
	case fromUE:
		v = k.p.Uplink(k.now, &k.session, a, k.rule, buf, &in, &k.out)
	default:
		v = k.p.Downlink(k.now, &k.session, k.rule, buf, &in, &k.out)
	}
	if v == NotProxied {
		k.got = append(k.got, fmt.Sprintf("passes, from the UE %v", fromUE))
		k.pool.Put(buf)
	}
}

// note writes down what the proxy sent.
func (k *talk) note() {
	if k.look != nil {
		k.look()
	}
	for _, b := range k.out.ToN6 {
		k.got = append(k.got, k.describeN6(b))
	}
	for _, x := range k.out.ToUE {
		k.got = append(k.got, k.describeUE(x))
	}
	k.recycle()
}

func (k *talk) client(sub int, ssn, ack int64, option []byte, payload int) {
	k.clientFlags(packet.ACK, sub, ssn, ack, option, payload)
}

func (k *talk) clientFlags(flags uint8, sub int, ssn, ack int64, option []byte, payload int) {
	k.give(true, steer.Access(sub), k.fromUE(sub, flags, ssn-1, option, ack, make([]byte, payload)))
}

func (k *talk) server(flags uint8, d, u int64, payload int) {
	k.give(false, 0, k.fromServer(flags|packet.ACK, d, u, make([]byte, payload)))
}

// handshake are the steps up to the UE's first DSS.
var handshake = []step{
	{"SYN", func(k *talk) {
		k.uePorts, k.isns = []uint16{40000, 40001}, [][2]uint32{{k.ueISN, k.srvISN}, {0x1000, 0}}
		k.give(true, 0, k.syn(0, capableSYN, nil))
	}},
	{"SYN/ACK", func(k *talk) {
		k.offer(false, 0, k.synACK(0, 0, nil, nil))
		if len(k.out.ToUE) > 0 { // or something bad came before
			k.keyB = k.segment(k.out.ToUE[0].Buf).opt.mp.SenderKey
		}
		_, k.idsnA = k.keyA.Derive()
		_, k.idsnB = k.keyB.Derive()
		k.note()
	}},
	{"third ACK", func(k *talk) {
		k.client(0, 1, 1, mptcp.AppendCapableACK(nil, mptcp.FlagHMACSHA256, k.keyA, k.keyB), 0)
		k.client(0, 1, 1, k.dss(nil, 0), 0)
	}},
}

// conversation is a life of a connection: two subflows, data both ways that leave holes and
// come in another order, and a close.
var conversation = slices.Concat(handshake, []step{
	{"server's data", func(k *talk) {
		k.server(0, 0, 0, 1000)
		k.server(0, 1000, 0, 1000)
	}},
	{"UE's ACK", func(k *talk) { k.client(0, 1, 2001, k.dss(nil, 2000), 0) }},
	{"join's SYN", func(k *talk) {
		opt := mptcp.AppendJoinSYN(negotiation(k.tsUE, 0), false, 2, tokenOf(k.keyB), 0xfc14f237)
		k.offer(true, 1, k.build(shape{src: &k.ue, dst: &k.srv, srcPort: 40001, dstPort: 80, sn: 0x1000, flags: packet.SYN, window: 65535}, opt, nil))
		if len(k.out.ToUE) > 0 {
			g := k.segment(k.out.ToUE[0].Buf)
			k.isns[1][1], k.joinNonce = g.tcp.SN(), g.opt.mp.JoinNonce
		}
		k.note()
	}},
	{"join's third ACK", func(k *talk) {
		mac := mptcp.JoinHMAC(k.keyA, k.keyB, 0xfc14f237, k.joinNonce)
		k.client(1, 1, 1, mptcp.AppendJoinACK(nil, &mac), 0)
	}},
	{"join confirmed", func(k *talk) { k.client(1, 1, 2, k.dss(nil, 2000), 0) }},
	{"server's data before a hole", func(k *talk) { k.server(0, 2000, 0, 500) }},
	{"server's data behind a hole", func(k *talk) {
		k.rule = k.otherRule()
		k.server(0, 3500, 0, 500)
	}},
	{"hole filled", func(k *talk) { k.server(0, 2500, 0, 1000) }},
	{"UE's ACK of what came there", func(k *talk) { k.client(1, 1, 1502, k.dss(nil, 2000), 0) }},
	{"UE's ACK of all", func(k *talk) { k.client(0, 1, 2501, k.dss(nil, 4000), 0) }},
	{"UE's data, the second half first", func(k *talk) {
		k.client(1, 1, 1502, k.dss(&mapping{ssn: 1, u: 1000, n: 1000}, 4000), 1000)
	}},
	{"server's SACK", func(k *talk) {
		var o options
		o.timestamps(k.tsServer, k.tsUE)
		o.add(packet.OptNOP<<24 | packet.OptNOP<<16 | packet.OptSACK<<8 | 10)
		o.add(k.ueISN + 1 + 1000)
		o.add(k.ueISN + 1 + 2000)
		k.give(false, 0, k.build(shape{
			src: &k.srv, dst: &k.ue, srcPort: 80, dstPort: 40000, sn: k.srvISN + 1 + 4000, ack: k.ueISN + 1, flags: packet.ACK, window: 65535,
		}, wordBytes(&o), nil))
	}},
	{"UE's data, the first half", func(k *talk) {
		k.client(0, 1, 2501, k.dss(&mapping{ssn: 1, u: 0, n: 1000}, 4000), 1000)
	}},
	{"server's ACK", func(k *talk) { k.server(0, 4000, 2000, 0) }},
	{"server's FIN", func(k *talk) { k.server(packet.FIN, 4000, 2000, 100) }},
	{"UE's ACK of the DATA_FIN", func(k *talk) { k.client(1, 1001, 1602, k.dss(nil, 4101), 0) }},
	{"UE's DATA_FIN", func(k *talk) {
		o := mptcp.Options{
			HasDataAck: true, DataAck: uint64(uint32(k.idsnB) + 1 + 4101),
			HasMapping: true, DSN64: true, DSN: uint64(k.idsnA) + 1 + 2000, DataLen: 1, DataFIN: true,
		}
		k.client(0, 1001, 2501, mptcp.AppendDSS(nil, &o), 0)
	}},
	{"server's ACK of the FIN", func(k *talk) { k.server(0, 4101, 2001, 0) }},
	{"subflows' FINs", func(k *talk) {
		k.clientFlags(packet.ACK|packet.FIN, 0, 1001, 2501, k.dss(nil, 4101), 0)
		k.clientFlags(packet.ACK|packet.FIN, 1, 1001, 1602, k.dss(nil, 4101), 0)
	}},
	{"last ACKs", func(k *talk) {
		k.client(0, 1002, 2502, nil, 0)
		k.client(1, 1002, 1603, nil, 0)
	}},
	{"server's FIN again", func(k *talk) { k.server(packet.FIN, 4000, 2001, 100) }},
})

// plain is a connection whose UE falls back to plain TCP, reset is one that the server
// resets.
var (
	plain = slices.Concat(handshake[:2], []step{
		{"third ACK of plain TCP", func(k *talk) { k.client(0, 1, 1, nil, 0) }},
		{"request", func(k *talk) { k.client(0, 1, 1, nil, 100) }},
		{"answer", func(k *talk) { k.server(0, 0, 100, 1000) }},
		{"ACK", func(k *talk) { k.client(0, 101, 1001, nil, 0) }},
	})
	reset = slices.Concat(handshake, []step{
		{"server's data", func(k *talk) { k.server(0, 0, 0, 1000) }},
		{"server's RST", func(k *talk) { k.server(packet.RST, 1000, 0, 0) }},
		{"server's data again", func(k *talk) { k.server(0, 1000, 0, 1000) }},
		{"UE's ACK", func(k *talk) { k.client(0, 1, 1001, k.dss(nil, 1000), 0) }},
	})
)

// play runs the steps and calls bad after the step of number at; the result is what the
// ends got after that.
func play(t *testing.T, steps []step, at int, bad func(*talk)) (*talk, []string) {
	k := newTalk(t)
	for i, s := range steps {
		s.do(k)
		if i == at {
			bad(k)
			k.got = nil
		}
	}
	if c := k.conn(); c != nil { // what goes to both ends with their timestamps
		k.got = append(k.got, fmt.Sprintf("TSval to the server %d, to the UE %d", c.up.tsval, c.down.tsval))
	}
	return k, k.got
}

// unharmed gives a function that plays the steps with bad after the one of number at, and
// compares.
func unharmed(steps []step, at int) func(t *testing.T, what string, bad func(*talk)) {
	var want string
	return func(t *testing.T, what string, bad func(*talk)) {
		t.Helper()
		if want == "" {
			_, got := play(t, steps, at, func(*talk) {})
			want = strings.Join(append(got, "."), "\n")
		}
		k, got := play(t, steps, at, bad)
		if g := strings.Join(append(got, "."), "\n"); g != want {
			t.Errorf("%s after %q (step %d): the ends get\n%s\nwithout it\n%s", what, steps[at].name, at, g, want)
		}
		if n := k.lost(); n != 0 {
			t.Errorf("%s after %q: %d buffers are lost", what, steps[at].name, n)
		}
	}
}

// total is the sum of all counters: whether any moved.
func (k *talk) total() (n uint64) {
	k.p.Counters().Each(func(_ string, v uint64) { n += v })
	return n
}

// noticed gives the proxy a bad packet; if must, it is answered or counted, or passes on.
func (k *talk) noticed(what string, fromUE bool, a steer.Access, buf *packet.Buffer, must bool) {
	k.t.Helper()
	before, said := k.total(), len(k.got)
	k.give(fromUE, a, buf)
	if must && k.total() == before && len(k.got) == said {
		k.t.Errorf("%s: neither counted nor answered", what)
	}
}

// lives are the conversations that bad packets are put into.
var lives = []struct {
	name  string
	steps []step
}{{"conversation", conversation}, {"plain", plain}, {"reset", reset}}

// TestConversations: the conversations are what they claim to be.
func TestConversations(t *testing.T) {
	k, got := play(t, conversation, 2, func(*talk) {})
	t.Log(strings.Join(got, "\n"))
	if c := k.conn(); !c.ended() || !c.finished || k.p.count.Subflows != 1 {
		t.Errorf("the conversation did not come to its end")
	}
	for name, v := range k.bad() {
		t.Errorf("%s = %d", name, v)
	}
	k, _ = play(t, plain, 2, func(*talk) {})
	if k.conn().state != stateRelay {
		t.Errorf("plain: state %d", k.conn().state)
	}
	k, _ = play(t, reset, 2, func(*talk) {})
	if k.conn().state != stateClosed {
		t.Errorf("reset: state %d", k.conn().state)
	}
}

// bad are the counters of what is wrong that moved.
func (k *talk) bad() map[string]uint64 {
	m := make(map[string]uint64)
	k.p.Counters().Each(func(name string, v uint64) {
		if v > 0 && (strings.HasPrefix(name, "drop_") || name == "challenges" || name == "ignored_options" || name == "bad_data_ack") {
			m[name] = v
		}
	})
	return m
}
