package steer

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the tables of docs/STEERING.md anew")

// link is what an access does, in the tests of this file: the same whatever it carries.
type link struct {
	gone bool
	rtt  time.Duration
	plr  uint16 // in 1/10000
	full bool   // its queue is
}

// event is something that happens to one access of two, and what follows.
type event struct {
	name          string
	before, after [NumAccesses]link
}

// The 3GPP access has 20 ms, the other 30 ms.
var (
	fine   = [NumAccesses]link{{rtt: 20 * ms}, {rtt: 30 * ms}}
	events = []event{
		{"non-3GPP appears", [2]link{fine[0], {gone: true}}, fine},
		{"3GPP disappears", fine, [2]link{{gone: true}, fine[1]}},
		{"3GPP returns", [2]link{{gone: true}, fine[1]}, fine},
		{"3GPP is 100 ms slower", fine, [2]link{{rtt: 120 * ms}, fine[1]}},
		{"3GPP is as fast again", [2]link{{rtt: 120 * ms}, fine[1]}, fine},
		{"3GPP loses 5 %", fine, [2]link{{rtt: 20 * ms, plr: 500}, fine[1]}},
		{"3GPP loses none again", [2]link{{rtt: 20 * ms, plr: 500}, fine[1]}, fine},
		{"3GPP is full", fine, [2]link{{rtt: 20 * ms, full: true}, fine[1]}},
		{"both are full", fine, [2]link{{rtt: 20 * ms, full: true}, {rtt: 30 * ms, full: true}}},
	}
)

// queue is what a full access adds to its round trips.
const queue = 40 * ms

// variants are the modes with their parameters.
var variants = []struct {
	name   string
	policy Policy
}{
	{"Active-Standby, 3GPP active", Policy{Priority: [2]Priority{Active, Standby}}},
	{"Active-Standby, non-3GPP active", Policy{Priority: [2]Priority{Standby, Active}}},
	{"Active-Standby, 3GPP active, no standby", Policy{Priority: [2]Priority{Active, NoStandby}}},
	{"Smallest Delay", Policy{Mode: SmallestDelay}},
	{"Load-Balancing, 70/30", Policy{Mode: LoadBalancing, Weight: [2]uint8{70, 30}}},
	{"Load-Balancing, 70/30, RTT ≤ 60 ms, PLR ≤ 2 %", Policy{Mode: LoadBalancing, Weight: [2]uint8{70, 30}, Thresholds: bounds}},
	{"Load-Balancing, UE assistance: 40/60", Policy{Mode: LoadBalancing, Indicator: UEAssistance}},
	{"Load-Balancing, autonomous", Policy{Mode: LoadBalancing, Indicator: Autonomous}},
	{"Priority-based, 3GPP high", Policy{Mode: PriorityBased, Priority: [2]Priority{High, Low}}},
	{"Priority-based, 3GPP high, RTT ≤ 60 ms, PLR ≤ 2 %", Policy{Mode: PriorityBased, Priority: [2]Priority{High, Low}, Thresholds: bounds}},
	{"Redundant, 3GPP primary", Policy{Mode: Redundant, Priority: [2]Priority{Primary, Secondary}}},
	{"Redundant, RTT ≤ 60 ms, PLR ≤ 2 %", Policy{Mode: Redundant, Priority: [2]Priority{NoStandby, NoStandby}, Thresholds: bounds}},
	{"random (FlexCP)", Policy{Mode: Random}},
	{"smallest RTT first (FlexCP)", Policy{Mode: SmallestRTTFirst}},
}

var bounds = Thresholds{RTT: 60_000, PLR: 2, HasPLR: true}

// bench carries a policy out over two links.
type bench struct {
	t       *testing.T
	monitor Monitor
	policy  Policy
	now     time.Duration
}

// tick is how often the bench measures.
const tick = 50 * ms

// run measures the links for some time, as 50 connections on each would.
func (b *bench) run(links [NumAccesses]link, d time.Duration) {
	for end := b.now + d; b.now < end; b.now += tick {
		for a := range Access(NumAccesses) {
			l := links[a]
			b.monitor.SetAvailable(a, !l.gone)
			if l.gone {
				continue
			}
			rtt := l.rtt
			if l.full {
				rtt += queue
			}
			b.monitor.TrafficRTT(b.now, a, l.rtt+(rtt-l.rtt)*9/10)
			b.monitor.TrafficRTT(b.now, a, rtt)
			for seen := b.monitor.m.access[a].epoch; b.monitor.m.access[a].counted < 50; {
				b.monitor.Delivered(a, 0, seen-1)
			}
			b.monitor.Delivered(a, 100_000, b.monitor.m.access[a].epoch)
			b.monitor.Resent(a, 100_000*int64(l.plr)/(10000-int64(l.plr)))
		}
		if b.policy.Due(b.now, &b.monitor) {
			b.policy.Decide(b.now, &b.monitor)
		}
	}
}

// places are the accesses of a thousand flows; the number of accesses if none.
func (b *bench) places() (of [connections]Access) {
	for i := range of {
		a, ok := b.policy.Choose(b.monitor.Available(), uint32(i)*goldenStep%Points)
		if of[i] = a; !ok {
			of[i] = NumAccesses
		}
	}
	return of
}

// split tells how flows are spread.
func split(of [connections]Access, copies bool) string {
	var n [NumAccesses + 1]int
	for _, a := range of {
		n[a]++
	}
	percent := func(n int) int { return (100*n + connections/2) / connections }
	switch {
	case n[NumAccesses] > 0:
		return fmt.Sprintf("%d %% stopped", percent(n[NumAccesses]))
	case copies:
		return "both"
	}
	return fmt.Sprintf("%d/%d", percent(n[Access3GPP]), percent(n[AccessNon3GPP]))
}

// told is how the flows are spread now.
func (b *bench) told() string {
	both := b.policy.Split.Copies && b.monitor.Available()&b.policy.Usable == SetOf(Access3GPP, AccessNon3GPP)
	return split(b.places(), both)
}

// watched is how long after an event flows are watched.
const watched = 12 * time.Second

// happens tells what a policy makes of an event: how flows are spread before and after, and
// how long it takes. It checks that no flow moves that need not.
func happens(t *testing.T, name string, p Policy, e event) string {
	p.Usable = SetOf(Access3GPP, AccessNon3GPP)
	b := &bench{t: t, policy: p, now: start}
	b.monitor.UplinkSplit(40)
	b.run(e.before, 30*time.Second)
	before, was := b.places(), b.told()
	settled, last := b.now, before
	moved := make(map[int]int)
	for end := b.now + watched; b.now < end; {
		b.run(e.after, tick)
		places := b.places()
		for i := range places {
			if places[i] != last[i] {
				moved[i]++
				settled = b.now
			}
		}
		last = places
	}
	again := 0
	for i, n := range moved {
		if n > 1 || last[i] == before[i] {
			again++
		}
	}
	if again > 0 {
		t.Errorf("%s, %s: %d flows moved more than once", name, e.name, again)
	}
	after := b.told()
	if was == after {
		return was
	}
	d := settled - (b.now - watched) - tick
	if len(moved) == 0 || d < decideEvery {
		return fmt.Sprintf("%s → %s", was, after)
	}
	return fmt.Sprintf("%s → %s in %.1f s", was, after, d.Seconds())
}

// table is the table of docs/STEERING.md.
func table(t *testing.T) string {
	var b strings.Builder
	head, line := "| Mode |", "|---|"
	for _, e := range events {
		head += " " + e.name + " |"
		line += "---|"
	}
	fmt.Fprintln(&b, head)
	fmt.Fprintln(&b, line)
	for _, v := range variants {
		fmt.Fprintf(&b, "| %s |", v.name)
		for _, e := range events {
			fmt.Fprintf(&b, " %s |", happens(t, v.name, v.policy, e))
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// TestEvents: what each mode does when something happens to an access is what
// docs/STEERING.md says, and a flow moves once at most.
func TestEvents(t *testing.T) {
	const file, begin, end = "../../docs/STEERING.md", "<!-- table: go test ./atsss/steer -run TestEvents -update -->\n", "<!-- end -->\n"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(doc, []byte(begin))
	old, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	now := table(t)
	switch {
	case *update:
		if err := os.WriteFile(file, []byte(string(head)+begin+now+end+string(tail)), 0o644); err != nil {
			t.Fatal(err)
		}
	case string(old) != now:
		t.Errorf("%s says\n%s\nthe code does\n%s", file, old, now)
	}
}
