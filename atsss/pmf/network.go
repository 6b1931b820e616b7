package pmf

import (
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// maxUnanswered is how many echo requests a UE leaves unanswered, and nothing else is heard
// of it over the access meanwhile, before the access is held unavailable.
const maxUnanswered = 3

// deadAfter is, in fifths of an Interval, how long the last of them waits. With the default
// of 250 ms an access that dies is found 950 ms after it was last heard.
const deadAfter = 4

// slower is how much longer the interval is where an answer is less likely: on an access
// held unavailable, and for a UE that has answered no request yet.
const slower = 4

// stragglers is the time after a report of unavailability in which packets still come over
// the access that were on their way. Later ones show that it is back and the report of it
// was lost.
const stragglers = time.Second

// Network is the PMF in the UPF for one session. Its zero value is of no use.
//
// A UE that has never answered an echo request is not held unavailable for the lack of
// answers. Where round trips are not to be measured (DRTTI, TS 29.244 §8.2.156) the UE knows
// no echo requests: none is sent, and an access is what the UE reports of it.
type Network struct {
	party
	access  [steer.NumAccesses]networkAccess
	traffic time.Duration // when data last went either way; 0 = never
	noEcho  bool          // DRTTI
	spoke   bool          // the UE has, over any leg
	answers bool          // it has answered an echo request

	seen     [4]Message // the last reports and assistance data
	seenNext uint8
}

// networkAccess is what the network knows of an access.
type networkAccess struct {
	heard      time.Duration // when anything of the UE last came over it; 0 = never
	asked      time.Duration // when an echo request was last sent; 0 = not since it matters
	reportedAt time.Duration
	unanswered uint8
	usable     bool // what is sent leads somewhere
	silent     bool // found unavailable
	reported   bool // reported unavailable by the UE
}

// NewNetwork is the PMF of a session with so many QoS flows, 1 to 255, the default one
// included. noRTT: round trips are not measured.
func NewNetwork(cfg *Config, flows int, noRTT bool) *Network {
	n := &Network{noEcho: noRTT}
	n.init(cfg, networkEPTI, flows)
	return n
}

// Flows is the number of QoS flows.
func (n *Network) Flows() int { return int(n.flows) }

// SetUsable says whether messages for the UE can be sent over a. Where they cannot, nothing
// is found out; what was is forgotten.
func (n *Network) SetUsable(a steer.Access, usable bool, out *Out) {
	x := &n.access[a]
	if x.usable == usable {
		return
	}
	was := x.available()
	*x = networkAccess{usable: usable, heard: x.heard}
	if !was {
		out.learn(Learned{Kind: Availability, Leg: Leg{Access: a}, Available: true})
	}
}

// SetNoRTT changes whether round trips are measured. If they are no longer, an access that
// was found unavailable is forgotten to be: nobody would ask it again.
func (n *Network) SetNoRTT(noRTT bool, out *Out) {
	n.noEcho = noRTT
	for a := range steer.Access(steer.NumAccesses) {
		if x := &n.access[a]; noRTT && x.silent {
			x.silent = false
			if !x.reported {
				out.learn(Learned{Kind: Availability, Leg: Leg{Access: a}, Available: true})
			}
		}
	}
}

// Available says whether a is not known to be unavailable.
func (n *Network) Available(a steer.Access) bool { return n.access[a].available() }

func (x *networkAccess) available() bool { return !x.silent && !x.reported }

// Heard notes that anything of the UE came over a, which answers.
func (n *Network) Heard(now time.Duration, a steer.Access, out *Out) {
	x := &n.access[a]
	x.heard = now
	if x.available() || x.reported && now-x.reportedAt < stragglers {
		return
	}
	x.silent, x.reported = false, false
	out.learn(Learned{Kind: Availability, Leg: Leg{Access: a}, Available: true})
}

// Traffic notes that data went one way or the other. It is no sign of life, see
// [Network.Heard].
func (n *Network) Traffic(now time.Duration) { n.traffic = now }

// Receive works on a message of the UE.
func (n *Network) Receive(now time.Duration, l Leg, m *Message, out *Out) Reason {
	n.at(l).spoke, n.spoke = true, true
	switch m.Type {
	case AccessReport, UADProvisioning:
		if !n.mayAnswer(now) {
			return RateLimited
		}
		out.send(l, Message{Type: m.Type.Answer(), EPTI: m.EPTI})
		if n.repeated(m) {
			return OK
		}
		if m.Type == AccessReport {
			n.report(now, m, out)
		} else {
			out.learn(Learned{Kind: UplinkSplit, Percent: m.Percent})
		}
		return OK
	case Acknowledgement, UADProvisioningComplete:
		return WrongSide
	default:
		r := n.receive(now, l, m, out)
		n.answers = n.answers || m.Type == EchoResponse && r == OK
		return r
	}
}

// repeated says whether a report or assistance data was seen before: sent again because the
// answer was lost, or on its way for long. It is answered, and not acted upon.
func (n *Network) repeated(m *Message) bool {
	for i := range n.seen {
		if n.seen[i] == *m {
			return true
		}
	}
	n.seen[n.seenNext] = *m
	n.seenNext = (n.seenNext + 1) % uint8(len(n.seen))
	return false
}

// report takes an access report.
func (n *Network) report(now time.Duration, m *Message, out *Out) {
	x := &n.access[m.Access]
	was := x.available()
	x.reported, x.reportedAt = !m.Available, now
	if m.Available {
		x.silent, x.unanswered = false, 0
	}
	if x.available() != was {
		out.learn(Learned{Kind: Availability, Leg: Leg{Access: m.Access}, Available: m.Available})
	}
}

// Rests says that nothing is asked: the UE has not spoken yet, or there was no traffic for
// long.
func (n *Network) Rests(now time.Duration) bool {
	return !n.spoke || n.cfg.Idle != 0 && (n.traffic == 0 || now-n.traffic >= n.cfg.Idle)
}

// Wake is called when [Network.Rests] is no longer so, after Tick has returned Never, and
// before it is called again. What was asked before is forgotten.
func (n *Network) Wake() {
	for a := range n.access {
		n.access[a].asked, n.access[a].unanswered = 0, 0
	}
}

// Tick sends what is due and says when to call it again; Never: not before [Network.Wake].
// Calls that come late do no harm: requests count when they are sent.
func (n *Network) Tick(now time.Duration, out *Out) (next time.Duration) {
	if n.Rests(now) {
		return Never
	}
	next = now + n.cfg.Interval
	for a := range steer.Access(steer.NumAccesses) {
		if !n.access[a].usable {
			continue
		}
		if !n.noEcho {
			next = min(next, n.probe(now, a, out))
		}
		if !n.Available(a) {
			continue
		}
		for f := range n.flows {
			if l := (Leg{a, f}); n.at(l).spoke {
				next = min(next, n.measure(now, l, out))
			}
		}
	}
	return next
}

// probe asks a for a sign of life if it has given none for long, and decides on it. An
// access that the UE has reported unavailable is left alone until something is heard there.
func (n *Network) probe(now time.Duration, a steer.Access, out *Out) (next time.Duration) {
	x := &n.access[a]
	l, ok := n.Main(a)
	if !ok || x.reported {
		return Never
	}
	if x.heard >= x.asked {
		x.unanswered = 0
	}
	every := n.cfg.Interval
	last := max(x.heard, x.asked)
	if x.unanswered >= maxUnanswered && !x.silent && n.answers {
		if dead := x.asked + n.cfg.Interval*deadAfter/5; now < dead {
			return dead
		}
		x.silent = true
		out.learn(Learned{Kind: Availability, Leg: l, Available: false})
	}
	if x.silent || x.unanswered >= maxUnanswered {
		every *= slower
	}
	if now < last+every {
		return last + every
	}
	n.ask(now, l, out)
	x.asked = now
	x.unanswered = min(x.unanswered+1, maxUnanswered)
	if x.unanswered >= maxUnanswered && !x.silent && n.answers {
		return now + n.cfg.Interval*deadAfter/5
	}
	return now + n.cfg.Interval
}

// Main is the leg that stands for access a, on which it is asked for signs of life: that of
// the default QoS flow, or the first over which the UE spoke; false if it did over none.
func (n *Network) Main(a steer.Access) (l Leg, ok bool) {
	for f := range n.flows {
		if l = (Leg{a, f}); n.at(l).spoke {
			return l, true
		}
	}
	return l, false
}

// measure sends what is due of l's round trip and loss.
func (n *Network) measure(now time.Duration, l Leg, out *Out) (next time.Duration) {
	next = n.measureLoss(now, l, out)
	if n.noEcho || n.cfg.RTTPeriod == 0 {
		return next
	}
	e := &n.at(l).echo
	if e.asked == 0 || now-e.asked >= n.cfg.RTTPeriod {
		n.ask(now, l, out)
	}
	return min(next, e.asked+n.cfg.RTTPeriod)
}
