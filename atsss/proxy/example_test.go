package proxy

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/braid-upf/braid/atsss/steer"
)

// smallestRTT sends new data where the round trip is shortest, and at first where it is not
// known yet. A tenth keeps it from going back and forth.
type smallestRTT struct{ last steer.Access }

func (s *smallestRTT) Schedule(c *ConnStatus) steer.Decision {
	best := -1
	for i := range c.Subflows {
		f := &c.Subflows[i]
		if !f.Usable {
			continue
		}
		if best < 0 || cost(f, s.last) < cost(&c.Subflows[best], s.last) {
			best = i
		}
	}
	if best >= 0 {
		s.last = c.Subflows[best].Access
	}
	return steer.Decision{Access: s.last}
}

func cost(f *SubflowStatus, last steer.Access) int64 {
	if f.Access == last {
		return int64(f.RTT) * 9 / 10
	}
	return int64(f.RTT)
}

// random takes either access, anew with every answer.
type random struct{ *rand.Rand }

func (r random) Schedule(*ConnStatus) steer.Decision {
	return steer.Decision{Access: steer.Access(r.IntN(steer.NumAccesses))}
}

// A scheduler is set for every connection when it is accepted. The 3GPP access gets slow:
// new data leave it.
func Example_scheduler() {
	h := newHarness(exampleTB{})
	h.p.cfg.Accept = func(c *Conn) { h.p.SetScheduler(h.now, c, &smallestRTT{}, &h.out) }
	h.connect()
	h.join()

	d, ssn := int64(0), [2]int64{1, 2} // what the UE has, and the next SSN of each subflow
	for _, rtt := range []Time{5, 5, 200, 200, 200} {
		h.serverData(d, 1000)
		to := h.out.ToUE[0].Access
		h.recycle()
		d, ssn[to] = d+1000, ssn[to]+1000
		if to == steer.AccessNon3GPP {
			rtt = 20
		}
		h.now += rtt * millisecond
		h.ackOn(int(to), ssn[to], d)
		h.recycle()
		fmt.Printf("%v, answered after %d ms\n", to, rtt)
	}
	var st ConnStatus
	h.conn().Status(&st)
	for _, f := range st.Subflows {
		fmt.Printf("%v: RTT %d ms, %d bytes\n", f.Access, f.RTT.Milliseconds(), f.Down)
	}
	// Output:
	// 3gpp, answered after 5 ms
	// 3gpp, answered after 5 ms
	// 3gpp, answered after 200 ms
	// non-3gpp, answered after 20 ms
	// non-3gpp, answered after 20 ms
	// 3gpp: RTT 29 ms, 3000 bytes
	// non-3gpp: RTT 20 ms, 2001 bytes
}

// TestRandomScheduler: both accesses get about half of what is sent, and the translation
// bears it.
func TestRandomScheduler(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.p.SetScheduler(h.now, h.conn(), random{rand.New(rand.NewPCG(3, 4))}, &h.out)
	d, ssn, n := int64(0), [2]int64{1, 2}, [2]int{}
	for range 1000 {
		h.serverData(d, 1000)
		to := h.out.ToUE[0].Access
		h.recycle()
		d, ssn[to] = d+1000, ssn[to]+1000
		n[to]++
		h.now += 15 * millisecond
		h.ackOn(int(to), ssn[to], d)
		h.recycle()
	}
	if n[0] < 400 || n[1] < 400 {
		t.Errorf("packets by access: %v", n)
	}
}

// exampleTB is the testing.TB of an example.
type exampleTB struct{ testing.TB }

func (exampleTB) Helper()                   {}
func (exampleTB) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (exampleTB) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (exampleTB) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
