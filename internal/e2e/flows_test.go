package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/braid-upf/braid/internal/lab"
)

// udpFlows are packet flows of UDP from the data network to the UE: each a source port and a
// destination port of its own, with packets that are numbered.
type udpFlows struct {
	*fixture
	senders   []*net.UDPConn
	receivers []*net.UDPConn
	readers   sync.WaitGroup

	sent []uint32 // packets of each flow; the sender's
	buf  []byte

	mu       sync.Mutex
	arrivals []arrival // in the order in which they were received
	wrong    error
}

// arrival is a packet that the UE received.
type arrival struct {
	flow, number uint32
	at           time.Time
}

// Payload of a packet: the flow, its number in the flow, filling.
const (
	flowHeader = 8
	flowPacket = 200 // bytes
)

// perReceiver is how many flows end at one socket of the UE.
const perReceiver = 40

// udpFlows makes n flows, a multiple of perReceiver, to the UE's first address.
func (f *fixture) udpFlows(n int) *udpFlows {
	f.Helper()
	u := &udpFlows{fixture: f, sent: make([]uint32, n), buf: make([]byte, flowPacket)}
	if n%perReceiver != 0 {
		f.Fatalf("%d flows are no multiple of %d", n, perReceiver)
	}
	f.Cleanup(u.close)
	open := func(role string, addr netip.Addr, list *[]*net.UDPConn) {
		f.check(f.lab.InNamespace(role, func() error {
			c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
			if err == nil {
				*list = append(*list, c)
				err = c.SetReadBuffer(4 << 20)
			}
			return err
		}))
	}
	for range perReceiver {
		open(lab.DN, lab.DNAddr, &u.senders)
	}
	for range n / perReceiver {
		open(lab.UE, lab.UEAddr[tgpp], &u.receivers)
	}
	for _, c := range u.receivers {
		u.readers.Go(func() { u.read(c) })
	}
	return u
}

func (u *udpFlows) close() {
	for _, c := range slices.Concat(u.senders, u.receivers) {
		c.Close()
	}
	u.readers.Wait()
	if u.wrong != nil {
		u.Error(u.wrong)
	}
}

func (u *udpFlows) read(c *net.UDPConn) {
	b := make([]byte, 2048)
	for {
		n, err := c.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		now := time.Now()
		u.mu.Lock()
		switch {
		case err != nil:
			u.wrong = err
		case n != flowPacket || int(binary.BigEndian.Uint32(b)) >= len(u.sent):
			u.wrong = fmt.Errorf("a packet of %d bytes that nobody sent: % x", n, b[:min(n, 16)])
		default:
			u.arrivals = append(u.arrivals, arrival{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), now})
		}
		u.mu.Unlock()
	}
}

// send sends the next packet of a flow.
func (u *udpFlows) send(flow int) {
	u.Helper()
	binary.BigEndian.PutUint32(u.buf, uint32(flow))
	binary.BigEndian.PutUint32(u.buf[4:], u.sent[flow])
	to := u.receivers[flow/perReceiver].LocalAddr().(*net.UDPAddr).AddrPort()
	if _, err := u.senders[flow%perReceiver].WriteToUDPAddrPort(u.buf, to); err != nil {
		u.Fatalf("flow %d: %v", flow, err)
	}
	u.sent[flow]++
}

// round sends one packet of every flow, within the given time.
func (u *udpFlows) round(within time.Duration) {
	u.Helper()
	begin := time.Now()
	for flow := range u.sent {
		u.send(flow)
		if due := within * time.Duration(flow+1) / time.Duration(len(u.sent)); flow%8 == 7 {
			time.Sleep(time.Until(begin.Add(due))) // the pace of the packets
		}
	}
}

// run sends rounds, each within the given time, until stop is closed, then closes done.
func (u *udpFlows) run(within time.Duration, stop <-chan struct{}) (done <-chan struct{}) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				u.round(within)
			}
		}
	}()
	return ended
}

// delivery is what became of the packets that were sent; nothing is being sent.
type delivery struct {
	sent, got, twice, late int // late: overtaken by a later packet of its flow
}

func (d delivery) lost() int { return d.sent - d.got }

// delivery counts what became of the packets.
func (u *udpFlows) delivery() (d delivery) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, n := range u.sent {
		d.sent += int(n)
	}
	next := make([]uint32, len(u.sent))
	seen := make(map[[2]uint32]bool, len(u.arrivals))
	for _, a := range u.arrivals {
		key := [2]uint32{a.flow, a.number}
		switch {
		case seen[key]:
			d.twice++
			continue
		case a.number < next[a.flow]:
			d.late++
		default:
			next[a.flow] = a.number + 1
		}
		seen[key] = true
		d.got++
	}
	return d
}

// since is the arrivals since a time, in order.
func (u *udpFlows) since(t time.Time) []arrival {
	u.mu.Lock()
	defer u.mu.Unlock()
	i, _ := slices.BinarySearchFunc(u.arrivals, t, func(a arrival, t time.Time) int { return a.at.Compare(t) })
	return slices.Clone(u.arrivals[i:])
}

// outage is the longest time in which any flow got no packet between two moments; a flow
// without one at all has had none since the first.
func (u *udpFlows) outage(from, to time.Time) (longest time.Duration) {
	last := make([]time.Time, len(u.sent))
	for i := range last {
		last[i] = from
	}
	for _, a := range u.since(from) {
		if a.at.After(to) {
			break
		}
		longest = max(longest, a.at.Sub(last[a.flow]))
		last[a.flow] = a.at
	}
	for _, t := range last {
		longest = max(longest, to.Sub(t))
	}
	return longest
}
