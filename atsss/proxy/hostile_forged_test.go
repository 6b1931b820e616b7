package proxy

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// forgery is a packet whose numbers do not fit.
type forgery struct {
	why     string
	fromUE  bool
	sub     int
	flags   uint8
	sn, ack int64 // distances to what is expected
	options []byte
	payload int
}

func (f forgery) String() string {
	who := "server"
	if f.fromUE {
		who = fmt.Sprintf("subflow %d", f.sub)
	}
	return fmt.Sprintf("%s: %s, flags %08b, SN %+d, ACK %+d, options % x, %d bytes", who, f.why, f.flags, f.sn, f.ack, f.options, f.payload)
}

// bounds are how far from what is expected the numbers of a packet may be.
type bounds struct{ snLeft, snRight, ackLeft, ackRight int64 }

func (s *Subflow) uplinkBounds() bounds {
	c := s.conn
	b := bounds{-int64(c.up.window) - slack, int64(c.up.window) + slack, -int64(c.down.window) - slack, s.next - s.acked}
	if s.finSent {
		b.ackRight++
	}
	return b
}

func (c *Conn) downlinkBounds() bounds {
	return bounds{
		c.down.acked - int64(c.down.window) - slack - c.down.next, max(0, c.down.rightEdge-c.down.next) + 1,
		-int64(c.up.window) - slack, c.up.limit() - c.up.acked,
	}
}

// harmfulOptions are what would do the most harm if it were believed.
func (k *talk) harmfulOptions(c *Conn) [][]byte {
	ack := mptcp.Options{HasDataAck: true, DataAck: uint64(uint32(k.idsnB) + 1 + uint32(c.down.next))}
	fin, infinite, data := ack, ack, ack
	fin.HasMapping, fin.DataFIN, fin.DSN, fin.DataLen = true, true, uint64(uint32(k.idsnA)+1+uint32(c.up.next)), 1
	infinite.HasMapping = true
	data.HasMapping, data.DSN, data.SSN, data.DataLen = true, uint64(uint32(k.idsnA)+1+uint32(c.up.next)), mptcp.SSN(c.up.next)+1, 1000
	return [][]byte{
		nil, mptcp.AppendDSS(nil, &ack), mptcp.AppendDSS(nil, &fin), mptcp.AppendDSS(nil, &infinite), mptcp.AppendDSS(nil, &data),
		mptcp.AppendRemoveAddr(nil, 0, 2), mptcp.AppendFail(nil, c.idsnA), mptcp.AppendFastClose(nil, k.keyB),
		mptcp.AppendCapableACK(nil, mptcp.FlagHMACSHA256, k.keyA, k.keyB),
	}
}

// forgeries are packets of one end with an SN outside the window, an ACK outside what may be
// acknowledged, an RST that is not exact, a SYN, or no flag, with other flags at random and
// with harmfulOptions.
func (k *talk) forgeries(r *rand.Rand, fromUE bool, sub int, c *Conn, s *Subflow, f func(forgery)) {
	const half = 1<<31 - 1<<20
	b := s.uplinkBounds()
	if !fromUE {
		b = c.downlinkBounds()
	}
	with := func(set uint8) uint8 {
		return set | uint8(r.Uint32())&(packet.FIN|packet.PSH|packet.URG|packet.ECE|packet.CWR)
	}
	for _, options := range k.harmfulOptions(c) {
		n := []int{0, 1, 100}[r.IntN(3)]
		far := []int64{b.snRight + 1, b.snRight + 1 + r.Int64N(half-b.snRight), b.snLeft - int64(n) - 1, b.snLeft - int64(n) - 1 - r.Int64N(half+b.snLeft)}
		for i, flags := range []uint8{packet.ACK, packet.RST | packet.ACK, packet.RST, packet.SYN, packet.SYN | packet.ACK, 0} {
			f(forgery{"SN outside the window", fromUE, sub, with(flags), far[(i+n)%4], 0, options, n})
		}
		old := []int64{b.ackRight + 1, b.ackRight + 1 + r.Int64N(half-b.ackRight), b.ackLeft - 1, b.ackLeft - 1 - r.Int64N(half+b.ackLeft)}
		for _, ack := range old {
			f(forgery{"ACK of what was not sent, or long ago", fromUE, sub, with(packet.ACK), 0, ack, options, n})
		}
		if near := r.Int64N(b.snRight); !fromUE && !c.expectedD(c.down.next+near) || fromUE && !s.expectedSSN(s.rcvNext+near) {
			f(forgery{"RST not exact", fromUE, sub, with(packet.RST | packet.ACK), near, 0, options, 0})
		}
		f(forgery{"SYN in the window", fromUE, sub, with(packet.SYN | packet.ACK), r.Int64N(b.snRight), 0, options, n})
		f(forgery{"no ACK flag", fromUE, sub, with(0), 0, 0, options, n})
	}
}

// means says whether the forgery f has a meaning in the state of c all the same.
func (f *forgery) means(c *Conn, s *Subflow) bool {
	syn := f.flags&(packet.SYN|packet.ACK|packet.RST) == packet.SYN
	switch {
	case f.fromUE && syn && (c.state == stateClosed || c.finished): // a new connection
		return true
	case f.fromUE && f.flags&packet.RST != 0 && len(f.options) == 12 && f.options[2] == 7<<4: // proven by its key
		return f.why == "RST not exact"
	case !f.fromUE && c.state == stateSYN: // the SN is not known yet; the ACK is all there is to see
		return f.flags&packet.ACK != 0 && f.ack == 0
	case !f.fromUE && c.state == stateSYNACK && f.flags&packet.RST != 0:
		return f.sn == 0 || f.flags&packet.ACK != 0 && f.ack == 0
	}
	return false
}

// forged builds f.
func (k *talk) forged(f forgery, c *Conn, s *Subflow) *packet.Buffer {
	options := f.options
	if len(options) <= 28 {
		options = append(appendTS(nil, k.tsUE+1<<30, k.tsServer+1<<30), options...)
	}
	h := shape{
		src: &k.ue, dst: &k.srv, srcPort: s.uePort, dstPort: 80, sn: s.ueISN + uint32(s.rcvNext+f.sn), ack: s.sn(s.acked + f.ack),
		flags: f.flags, window: 65535,
	}
	if !f.fromUE {
		h.src, h.dst, h.srcPort, h.dstPort = h.dst, h.src, 80, s.uePort
		h.sn, h.ack = c.srvISN+1+uint32(c.down.next+f.sn), c.srvSN(c.up.acked+f.ack)
	}
	return k.build(h, options, make([]byte, f.payload))
}

// TestForgedNumbers puts forgeries of both ends into the conversations after each step.
func TestForgedNumbers(t *testing.T) {
	for _, life := range lives {
		for at := range life.steps {
			same := unharmed(life.steps, at)
			var all []forgery
			play(t, life.steps, at, func(k *talk) {
				r := rand.New(rand.NewPCG(*hostileSeed, uint64(at)))
				for _, c := range k.p.tokens {
					for i, s := range c.subflows {
						k.forgeries(r, true, i, c, s, func(f forgery) { all = append(all, f) })
					}
					k.forgeries(r, false, 0, c, c.subflows[0], func(f forgery) { all = append(all, f) })
				}
			})
			for _, f := range all {
				same(t, f.String(), func(k *talk) {
					s := k.subflow(f.sub)
					if f.means(s.conn, s) {
						return
					}
					k.noticed(f.String(), f.fromUE, s.access, k.forged(f, s.conn, s), true)
				})
			}
		}
	}
}
