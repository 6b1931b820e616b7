package sim

import (
	"fmt"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// Config is one run. [FromSeed] draws one; a named scenario writes it out.
type Config struct {
	Seed   uint64
	IPv6   bool
	MTU    int // of the UE's side
	Policy steer.Policy
	Access [steer.NumAccesses]AccessConfig
	N6Up   Path // proxy to server
	N6Down Path
	Conns  []ConnConfig
	Events []Event

	// Limit is the virtual time after which a connection that has not ended is a
	// deadlock, once no data arrive any more.
	Limit time.Duration

	// NearWrap gives the proxy keys whose IDSN is close below a multiple of 2^32.
	NearWrap bool

	serve serveFunc // who serves; nil = the model of this package
}

// AccessConfig is one access between UE and proxy.
type AccessConfig struct {
	Up, Down Path
}

// ConnConfig is one connection of the UE's client to the server.
type ConnConfig struct {
	Start    time.Duration
	First    steer.Access // of the first subflow
	Client   clientPlan
	Server   serverPlan
	KeyA     uint64
	TCP      tcpConfig // the client's first subflow
	ServeTCP tcpConfig
	Joins    []JoinConfig
}

// JoinConfig is a further subflow, tried once, some time after the first one is
// fully established.
type JoinConfig struct {
	Access steer.Access
	Addr   int // which of the UE's addresses on that access, below uesAddresses
	After  time.Duration
	Backup bool
	TCP    tcpConfig
}

// Event happens at a fixed time.
type Event struct {
	At   time.Duration
	What string // for the trace
	do   func(*world)
}

// policyEvent is what setPolicy is called in the trace.
const policyEvent = "policy"

// setPolicy is the event of a PFCP modification.
func setPolicy(at time.Duration, p steer.Policy) Event {
	return Event{at, policyEvent, func(w *world) {
		w.policy = &p
		w.middle.rules()
	}}
}

// outage takes an access away for some time; 0 = for good.
func outage(at, d time.Duration, a steer.Access) []Event {
	set := func(down bool) func(*world) {
		return func(w *world) { w.up[a].down, w.downs[a].down = down, down }
	}
	ev := []Event{{at, a.String() + " dies", set(true)}}
	if d > 0 {
		ev = append(ev, Event{at + d, a.String() + " returns", set(false)})
	}
	return ev
}

// outageOneWay takes one direction of an access away for some time.
func outageOneWay(at, d time.Duration, a steer.Access, up bool) []Event {
	set := func(down bool) func(*world) {
		return func(w *world) {
			if up {
				w.up[a].down = down
			} else {
				w.downs[a].down = down
			}
		}
	}
	way := "down"
	if up {
		way = "up"
	}
	return []Event{
		{at, a.String() + " dies " + way + "wards", set(true)},
		{at + d, a.String() + " returns " + way + "wards", set(false)},
	}
}

// delayChange gives an access other delays, as a handover or a queue elsewhere does.
func delayChange(at time.Duration, a steer.Access, up, down time.Duration) Event {
	return Event{at, fmt.Sprintf("%s delays are %v up, %v down", a, up, down), func(w *world) {
		w.up[a].Delay, w.downs[a].Delay = up, down
	}}
}

// Steering policies.
var bothUsable = steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP)

func activeStandby(active steer.Access) steer.Policy {
	p := steer.Policy{Functionality: steer.MPTCP, Mode: steer.ActiveStandby, Usable: bothUsable}
	p.Priority[active.Other()] = steer.Standby
	return p
}

func loadBalancing(percent3GPP uint8) steer.Policy {
	return steer.Policy{
		Functionality: steer.MPTCP, Mode: steer.LoadBalancing, Usable: bothUsable,
		Weight: [2]uint8{percent3GPP, 100 - percent3GPP},
	}
}

// redundant sends everything over both accesses.
func redundant() steer.Policy {
	return steer.Policy{Functionality: steer.MPTCP, Mode: steer.Redundant, Usable: bothUsable}
}

// onClient is an event at the client of connection i, if it still is open.
func onClient(at time.Duration, what string, i int, do func(*client)) Event {
	return Event{at, what, func(w *world) {
		if c := w.pairs[i].client; !c.isEnded && !c.fallback && c.full {
			do(c)
		}
	}}
}

// removeAddress takes away the address of the client's subflow n, if another one
// can go on.
func removeAddress(at time.Duration, i, n int) Event {
	return onClient(at, "UE removes an address", i, func(c *client) {
		if n >= len(c.subs) || !c.alive(c.subs[n]) {
			return
		}
		for _, f := range c.subs {
			if f != c.subs[n] && c.alive(f) {
				c.removeSubflow(c.subs[n])
				return
			}
		}
	})
}

// setBackup changes the backup flag of the client's subflow n.
func setBackup(at time.Duration, i, n int, backup bool) Event {
	return onClient(at, "UE sends MP_PRIO", i, func(c *client) {
		if n < len(c.subs) && c.alive(c.subs[n]) {
			c.subs[n].setPrio(backup)
		}
	})
}

// announceAddress makes the client send ADD_ADDR.
func announceAddress(at time.Duration, i int) Event {
	return onClient(at, "UE sends ADD_ADDR", i, func(c *client) {
		c.announce(9, c.subs[0].local.addr, 3)
	})
}
