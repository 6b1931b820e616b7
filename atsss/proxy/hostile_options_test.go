package proxy

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// badOptions are TCP options that no peer would send: every MPTCP subtype, known or not,
// in every length that 40 bytes hold, with content from r; cut off by the header's end;
// and lists that do not add up.
func badOptions(r *rand.Rand, f func(name string, options []byte)) {
	for subtype := range 16 {
		for n := 2; n <= 40; n++ {
			f(fmt.Sprintf("subtype %d of length %d", subtype, n), mptcpOption(r, subtype, n))
		}
		for _, n := range []int{4, 8, 12, 20} { // longer than what is there
			o := mptcpOption(r, subtype, n)
			o[1] = uint8(n + 1 + r.IntN(255-n))
			f(fmt.Sprintf("subtype %d of length %d in %d bytes", subtype, o[1], n), o)
		}
		for _, n := range []int{3, 4, 8, 12, 16, 20} { // two of one subtype
			o := append(mptcpOption(r, subtype, n), mptcpOption(r, subtype, n)...)
			f(fmt.Sprintf("subtype %d of length %d twice", subtype, n), o)
		}
	}
	for _, o := range [][]byte{
		{30},
		{30, 0},
		{30, 1},
		{30, 2},
		{1, 1, 1, 30},
		{30, 0, 0, 0},
		{30, 1, 0x20, 0},
		{8, 10, 0, 0},
		{5, 2, 1, 1},
		{5, 3, 0, 1},
		{5, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		{2, 4, 0, 0},
		{3, 3, 255, 0},
		{4, 3, 0, 0},
		{8, 2, 0, 0},
		{0, 30, 3, 0x60},
		{253, 255, 0, 0},
		{255, 2, 1, 1},
	} {
		f(fmt.Sprintf("options % x", o), o)
	}
}

// dssFlags are the flags that a DSS has, by its length (RFC 8684 §3.3).
var dssFlags = [41][]byte{
	4: {0, 2, 8}, 8: {1}, 12: {3}, 14: {4}, 16: {4}, 18: {5, 12}, 20: {5, 12}, 22: {7, 13}, 24: {7, 13}, 26: {15}, 28: {15},
}

// mptcpOption is an option of the given subtype and length; of the content that is the
// subtype's own, the low half of octet 3 and what follows are random.
func mptcpOption(r *rand.Rand, subtype, n int) []byte {
	o := make([]byte, n)
	for i := range o {
		o[i] = uint8(r.Uint32())
	}
	o[0], o[1] = mptcp.Kind, uint8(n)
	if n > 2 {
		o[2] = uint8(subtype<<4) | o[2]&0xf
	}
	if flags := dssFlags[n]; subtype == 2 && flags != nil {
		o[3] = flags[r.IntN(len(flags))] | o[3]&0xf0
	}
	return o
}

// meansSomething says whether the options, sent with payload or without, are such as the
// UE of k may send now: chance or the RFC gives them a meaning.
func (k *talk) meansSomething(sub int, options []byte, payload int) bool {
	var o mptcp.Options
	if !mptcp.Parse(options, &o) {
		return false
	}
	if o.Present == 0 && o.Ignored == 0 {
		return k.conn() == nil || k.conn().state <= stateSYNACK // a UE without MPTCP
	}
	for _, id := range o.RemovedIDs[:o.RemovedCount] {
		if o.Present&mptcp.RemoveAddr != 0 && (id == 0 || id == 2) {
			return true
		}
	}
	if o.Present&mptcp.Join != 0 && o.JoinLen == 24 && sub == 1 && k.subflow(1).index == 1 && !k.subflow(1).confirmed() {
		return true // a third ACK: one with a wrong HMAC ends the join (RFC 8684 §3.2)
	}
	if o.Present&mptcp.DSS == 0 {
		return false
	}
	return o.HasMapping && (o.DataLen == 0 && payload > 0 || // the infinite mapping
		!o.DSN64 && uint32(o.DSN)-uint32(k.idsnA)+1<<25 < 1<<26)
}

var hostileSeed = flag.Uint64("hostile.seed", 1, "seed of the bad packets")

// TestBadOptions puts each of badOptions into the conversations after a third of the steps,
// on either subflow, with payload or without.
func TestBadOptions(t *testing.T) {
	for _, life := range lives {
		for at := range life.steps {
			same := unharmed(life.steps, at)
			r := rand.New(rand.NewPCG(*hostileSeed, uint64(at)))
			badOptions(r, func(name string, options []byte) {
				if r.IntN(3) != 0 {
					return
				}
				sub, payload := r.IntN(2), 100*r.IntN(2)
				what := fmt.Sprintf("%s: %s (% x) on subflow %d with %d bytes", life.name, name, options, sub, payload)
				same(t, what, func(k *talk) {
					if f, buf := k.withBadOptions(sub, options, payload); buf != nil {
						k.noticed(what, true, f.access, buf, options[0] != packet.OptEnd && slices.Contains(options, mptcp.Kind))
					}
				})
			})
		}
	}
}

// withBadOptions is a packet of the UE with the numbers that are expected now on its
// subflow sub, or on the first if there is no such yet; nil if the options would be good.
func (k *talk) withBadOptions(sub int, options []byte, payload int) (*Subflow, *packet.Buffer) {
	f := k.subflow(sub)
	if f == nil || k.meansSomething(sub, options, payload) || f.conn.state == stateRelay && payload > 0 {
		return nil, nil
	}
	padded := append([]byte(nil), options...)
	for len(padded)%4 != 0 { // the end of the list, so that one cut off stays it
		padded = append(padded, packet.OptEnd)
	}
	return f, k.build(shape{
		src: &k.ue, dst: &k.srv, srcPort: f.uePort, dstPort: 80, sn: f.ueISN + uint32(f.rcvNext),
		ack: f.sn(f.acked), flags: packet.ACK, window: 65535,
	}, padded, make([]byte, payload))
}

// subflow is the proxy's subflow of the given number, or the first; nil if there is none.
func (k *talk) subflow(sub int) *Subflow {
	var first *Subflow
	for _, c := range k.p.tokens {
		if sub < len(c.subflows) {
			return c.subflows[sub]
		}
		first = c.subflows[0]
	}
	return first
}
