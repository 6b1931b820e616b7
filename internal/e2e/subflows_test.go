package e2e

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

// What the path manager of the UE's kernel can do to a connection while it moves data
// both ways.

// ueAddress is [lab.UEAddress] in the IP version that the test uses.
func (f *fixture) ueAddress(a steer.Access, k int) string {
	return lab.UEAddress(a, k, f.server.Is6()).String()
}

// talk is a connection to an echo server that moves data both ways at once until the
// test has seen enough.
type talk struct {
	*net.TCPConn
	f              *fixture
	sent, received atomic.Int64
	stop, sentAll  chan struct{}
	done           chan error
}

func (f *fixture) talk() *talk {
	f.Helper()
	f.slowLinks()
	addr := f.serve(func(c *net.TCPConn) error {
		_, err := io.Copy(c, c)
		return err
	})
	t := &talk{TCPConn: f.dial(addr), f: f, stop: make(chan struct{}), sentAll: make(chan struct{}), done: make(chan error, 2)}
	b := pattern(999_983)
	go func() { t.done <- t.send(b) }()
	go func() { t.done <- t.receive(b) }()
	// Before the first DSS a change of the endpoints passes a connection by.
	t.more(10_000)
	return t
}

const talkChunk = 10_000 // bytes of a write

// send repeats b until stop, but is never far ahead of what came back.
func (t *talk) send(b []byte) error {
	defer close(t.sentAll)
	const ahead = 500_000
	for at, last := 0, false; !last; at = (at + talkChunk) % (len(b) - talkChunk) {
		select {
		case <-t.stop:
			last = true
		default:
		}
		n, err := t.Write(b[at:][:talkChunk])
		t.sent.Add(int64(n))
		if err != nil {
			return err
		}
		t.waitFor(t.sent.Load() - ahead)
	}
	return t.CloseWrite()
}

// waitFor waits until n bytes have come back, or for stop.
func (t *talk) waitFor(n int64) {
	for t.received.Load() < n {
		select {
		case <-t.stop:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// receive expects what send sends, and after that the end.
func (t *talk) receive(b []byte) error {
	for at := 0; ; at = (at + talkChunk) % (len(b) - talkChunk) {
		if err := expect(t.TCPConn, b[at:][:talkChunk]); err != nil {
			return err
		}
		t.received.Add(talkChunk)
		select {
		case <-t.stop: // send sends once more at least
			<-t.sentAll
			if t.received.Load() == t.sent.Load() {
				return expectEOF(t.TCPConn)
			}
		default:
		}
	}
}

// more waits until n more bytes have come back.
func (t *talk) more(n int64) {
	t.f.Helper()
	n += t.received.Load()
	t.f.await(fmt.Sprintf("%d bytes echoed", n), eventTime, func() bool { return t.received.Load() >= n })
}

// end moves some more data and then ends; all that was sent must have come back.
func (t *talk) end() {
	t.f.Helper()
	t.more(700_000)
	close(t.stop)
	t.f.check(<-t.done)
	t.f.check(<-t.done)
}

// locals are the addresses of the subflows that carry data.
func (t *talk) locals() (all []string) {
	info, err := mptcpclient.Inspect(t.TCPConn)
	if err != nil || !info.MPTCP {
		return nil
	}
	for _, s := range info.Subflows {
		if s.Established() {
			all = append(all, s.Local.Addr().String())
		}
	}
	slices.Sort(all)
	return all
}

// await waits until the subflows' addresses are those of want.
func (t *talk) await(want ...string) {
	t.f.Helper()
	slices.Sort(want)
	t.f.await(fmt.Sprintf("subflows from %v", want), eventTime, func() bool { return slices.Equal(t.locals(), want) })
}

// From none to as many subflows as Linux opens, one from each address.
func TestSubflows(t *testing.T) {
	for _, tc := range []struct {
		name      string
		v6        bool
		endpoints int
		limit     int
		want      int // joins
	}{
		{"none", false, 0, 8, 0},
		{"none allowed", false, 2, 0, 0},
		{"two", false, 2, 8, 2},
		{"limited by the UE", false, 5, 2, 2},
		{"seven", false, 7, 8, 7},
		{"seven IPv6", true, 7, 8, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := begin(t)
			if tc.v6 {
				f.v6()
			}
			f.endpoints()
			f.pathManager("limits", "set", "subflows", fmt.Sprint(tc.limit))
			want := []string{f.ueAddress(tgpp, 0)}
			for i := range tc.endpoints {
				// The first address of 3GPP is the one that the connection begins from.
				local := f.ueAddress(steer.Access((i+1)%steer.NumAccesses), (i+1)/steer.NumAccesses)
				f.endpoint(local + " subflow")
				if i < tc.want {
					want = append(want, local)
				}
			}
			c := f.talk()
			c.await(want...)
			c.end()
			n := uint64(tc.want)
			f.counted(map[string]uint64{"MPJoinSynTx": n, "MPJoinSynAckRx": n, "MPRstRx": 0})
			if got := f.translator()["proxy_subflows"] - f.upf["proxy_subflows"]; got != n {
				t.Errorf("the UPF counts %d joins, want %d", got, n)
			}
		})
	}
}

// An endpoint with the address that the connection began from makes no join.
func TestNoSubflowFromFirstAddress(t *testing.T) {
	f := begin(t)
	f.endpoints(f.ueAddress(tgpp, 0) + " subflow")
	c := f.talk()
	c.end()
	f.counted(map[string]uint64{"MPJoinSynTx": 0})
}

// Endpoints that come and go while data move, three times over; the addresses and
// ports of the subflows that went are used again.
func TestSubflowsComeAndGo(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "IPv4", true: "IPv6"}[v6], func(t *testing.T) {
			f := begin(t)
			if v6 {
				f.v6()
			}
			f.endpoints()
			first, x, y := f.ueAddress(tgpp, 0), f.ueAddress(nonTGPP, 0), f.ueAddress(tgpp, 1)
			c := f.talk()
			for range 3 {
				f.endpoint(x + " id 7 subflow")
				f.endpoint(y + " id 8 subflow")
				c.await(first, x, y)
				f.pathManager("endpoint", "delete", "id", "7")
				c.await(first, y)
				f.pathManager("endpoint", "delete", "id", "8")
				c.await(first)
			}
			c.end()
			f.counted(map[string]uint64{"MPJoinSynAckRx": 6, "RmSubflow": 6, "RmAddrTx": 6, "MPRstRx": 0})
		})
	}
}

// All endpoints are flushed at once, announced ones among them.
func TestFlush(t *testing.T) {
	f := begin(t)
	first, x, y, z := f.ueAddress(tgpp, 0), f.ueAddress(nonTGPP, 0), f.ueAddress(nonTGPP, 1), f.ueAddress(nonTGPP, 2)
	f.endpoints(x+" subflow", y+" subflow", z+" signal")
	c := f.talk()
	c.await(first, x, y)
	f.counted(map[string]uint64{"EchoAdd": 1})
	f.pathManager("endpoint", "flush")
	c.await(first)
	c.end()
	f.counted(map[string]uint64{"RmSubflow": 2, "MPRstRx": 0})
}

// The subflow that carries the data is removed: those that are left go on with them.
func TestSubflowInUseRemoved(t *testing.T) {
	f := begin(t)
	f.setPolicy(prefer(nonTGPP))
	first, x, y := f.ueAddress(tgpp, 0), f.ueAddress(nonTGPP, 0), f.ueAddress(nonTGPP, 1)
	f.endpoints(x+" id 1 subflow", y+" id 2 subflow")
	c := f.talk()
	c.await(first, x, y)
	f.pathManager("endpoint", "delete", "id", "1")
	c.await(first, y)
	f.pathManager("endpoint", "delete", "id", "2")
	c.await(first)
	c.end()
	f.counted(map[string]uint64{"RmAddrTx": 2, "RmSubflow": 2, "MPRstRx": 0})
}

// The first subflow, address ID 0, is removed and comes back as a join, three times.
func TestFirstSubflowRemoved(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "IPv4", true: "IPv6"}[v6], func(t *testing.T) {
			f := begin(t)
			if v6 {
				f.v6()
			}
			first, x := f.ueAddress(tgpp, 0), f.ueAddress(nonTGPP, 0)
			f.endpoints(first+" id 1 subflow", x+" id 2 subflow")
			c := f.talk()
			c.await(first, x)
			for range 3 {
				f.pathManager("endpoint", "delete", "id", "1")
				c.await(x)
				f.endpoint(first + " id 1 subflow")
				c.await(first, x)
			}
			c.end()
			f.counted(map[string]uint64{"MPJoinSynAckRx": 4, "RmAddrTx": 3, "RmSubflow": 3, "MPRstRx": 0})
		})
	}
}

// Fullmesh endpoints join from each of their addresses to each address of the server
// that they know.
func TestFullmesh(t *testing.T) {
	for _, tc := range []struct {
		name string
		v6   bool
		late bool // the endpoints come when the connection stands
	}{{"before", false, false}, {"IPv6", true, false}, {"during", false, true}} {
		t.Run(tc.name, func(t *testing.T) {
			f := begin(t)
			if tc.v6 {
				f.v6()
			}
			f.endpoints()
			want := []string{f.ueAddress(tgpp, 0)}
			var c *talk
			if tc.late {
				c = f.talk()
			}
			for _, local := range []string{f.ueAddress(nonTGPP, 0), f.ueAddress(tgpp, 1), f.ueAddress(nonTGPP, 1)} {
				f.endpoint(local + " subflow fullmesh")
				want = append(want, local)
			}
			if tc.late {
				// To Linux each address ID of ours is one more address to join: some
				// addresses of the UE get several subflows.
				f.await(fmt.Sprintf("subflows from all of %v", want), eventTime, func() bool {
					slices.Sort(want)
					return slices.Equal(slices.Compact(c.locals()), want)
				})
				c.end()
				f.counted(map[string]uint64{"MPRstRx": 0})
				return
			}
			c = f.talk()
			c.await(want...)
			c.end()
			f.counted(map[string]uint64{"MPJoinSynTx": 3, "MPJoinSynAckRx": 3, "MPRstRx": 0})
		})
	}
}

// The flag fullmesh is set on an endpoint whose subflow stands: Linux closes that and
// joins anew.
func TestFullmeshSet(t *testing.T) {
	f := begin(t)
	first, x := f.ueAddress(tgpp, 0), f.ueAddress(nonTGPP, 0)
	f.endpoints(x + " id 1 subflow")
	c := f.talk()
	c.await(first, x)
	f.pathManager("endpoint", "change", "id", "1", "fullmesh")
	f.counted(map[string]uint64{"MPJoinSynAckRx": 2, "RmSubflow": 1})
	c.await(first, x)
	c.end()
	f.counted(map[string]uint64{"MPRstRx": 0})
}

// Addresses that the UE announces are echoed, and otherwise left alone: a UPF opens no
// subflow to a UE.
func TestAddressesAnnounced(t *testing.T) {
	for _, tc := range []struct {
		name  string
		v6    bool
		flags []string
		joins uint64
	}{
		{"one", false, []string{"signal"}, 0},
		{"one IPv6", true, []string{"signal"}, 0},
		{"three", false, []string{"signal", "signal", "signal"}, 0},
		{"with port", false, []string{"signal port 10100"}, 0},
		{"with port IPv6", true, []string{"signal port 10100"}, 0}, // without timestamps, to fit in
		{"two with ports", false, []string{"signal port 10100", "signal port 10101"}, 0},
		{"and used", false, []string{"signal subflow"}, 1},
		{"beside a subflow", false, []string{"signal", "subflow"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := begin(t)
			if tc.v6 {
				f.v6()
				f.sysctl("net/ipv4/tcp_timestamps", "0")
			}
			f.endpoints()
			want, announced := []string{f.ueAddress(tgpp, 0)}, uint64(0)
			for i, flags := range tc.flags {
				local := f.ueAddress(nonTGPP, i)
				f.endpoint(local + " " + flags)
				if strings.Contains(flags, "signal") {
					announced++
				}
				if strings.Contains(flags, "subflow") {
					want = append(want, local)
				}
			}
			c := f.talk()
			f.counted(map[string]uint64{"AddAddrTx": announced, "EchoAdd": announced})
			c.await(want...)
			c.end()
			f.counted(map[string]uint64{"AddAddrTx": announced, "EchoAdd": announced, "AddAddr": 0, "MPJoinSynTx": tc.joins, "MPJoinSynRx": 0, "MPRstRx": 0})
		})
	}
}

// The echo of an announced address is lost, or the announcement itself: the UE sends
// it again until the echo comes.
func TestEchoLost(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, lost := range []lab.Direction{lab.DirectionDown, lab.DirectionUp} {
			t.Run(fmt.Sprintf("%s-%v", map[bool]string{false: "IPv4", true: "IPv6"}[v6], lost), func(t *testing.T) {
				f := begin(t)
				if v6 {
					f.v6()
				}
				f.sysctl("net/mptcp/add_addr_timeout", "1")
				f.endpoints()
				one := []byte("!")
				addr := f.serve(func(c *net.TCPConn) error {
					if err := expect(c, one); err != nil {
						return err
					}
					if _, err := c.Write(one); err != nil {
						return err
					}
					return expectEOF(c)
				})
				c := f.dial(addr)
				_, err := c.Write(one)
				f.check(err)
				f.check(expect(c, one))
				f.link(tgpp, lab.Impairment{Down: true, Direction: lost})
				f.endpoint(f.ueAddress(nonTGPP, 1) + " signal")
				f.await("a repeated ADD_ADDR", eventTime, func() bool { return f.rose("MPTcpExtAddAddrTx") >= 2 })
				if n := f.rose("MPTcpExtEchoAdd"); n != 0 {
					t.Errorf("%d echoes through an access that loses them", n)
				}
				f.link(tgpp, lab.Impairment{})
				f.await("the echo", eventTime, func() bool { return f.rose("MPTcpExtEchoAdd") == 1 })
				sent := f.rose("MPTcpExtAddAddrTx")
				time.Sleep(1200 * time.Millisecond) // longer than the UE waits for an echo
				if now := f.rose("MPTcpExtAddAddrTx"); now != sent || f.rose("MPTcpExtEchoAdd") != 1 {
					t.Errorf("ADD_ADDR was sent %d times before its echo and %d after it", sent, now-sent)
				}
				f.mptcp(inspector(c), 1)
				f.check(c.CloseWrite())
				f.check(expectEOF(c))
			})
		}
	}
}

// An access with half of eight subflows dies while data move both ways; when it
// returns, the transfer is still whole.
func TestAccessOfManySubflowsDies(t *testing.T) {
	for a := range steer.Access(steer.NumAccesses) {
		t.Run(a.String(), func(t *testing.T) {
			f := begin(t)
			f.setPolicy(prefer(a))
			f.endpoints()
			want := []string{f.ueAddress(tgpp, 0)}
			for i := 1; i < 2*ueAddresses; i++ {
				local := f.ueAddress(steer.Access(i%steer.NumAccesses), i/steer.NumAccesses)
				f.endpoint(local + " subflow")
				want = append(want, local)
			}
			c := f.talk()
			c.await(want...)
			f.kill(a)
			before := f.carried(lab.DirectionUp)
			f.await("the other access carries on", eventTime, func() bool {
				return f.carried(lab.DirectionUp)[a.Other()] > before[a.Other()]+500_000
			})
			c.more(500_000)
			f.slowLinks()
			c.end()
		})
	}
}
