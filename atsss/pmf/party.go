package pmf

import (
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// party is what both ends are: they ask for echoes and counts, and give them.
type party struct {
	cfg   *Config
	own   uint16 // of identities that this end chooses
	flows uint8  // of each access
	legs  []leg  // by access, then flow

	allowed  uint8         // answers, now
	refilled time.Duration // when allowed last rose
}

// leg is what an end keeps of one access and QoS flow.
type leg struct {
	sent, received uint64 // data packets
	echo           echo
	measure        measure
	count          count
	spoke          bool // the peer has, over it
}

// Answers that a peer gets: as many at once, and one more each refill. It is enough for all
// QoS flows of a session; a peer that asks for more works against itself.
const (
	mostAnswers = 50
	refill      = 10 * time.Millisecond
)

func (p *party) init(cfg *Config, own uint16, flows int) {
	*p = party{
		cfg: cfg, own: own, flows: uint8(flows), legs: make([]leg, flows*steer.NumAccesses), allowed: mostAnswers,
	}
}

// at is the leg l, whose flow is one of p's.
func (p *party) at(l Leg) *leg { return &p.legs[uint(l.Access)*uint(p.flows)+uint(l.Flow)] }

// Count adds data packets that were sent and received on l. PMFP's own are not counted.
func (p *party) Count(l Leg, sent, received uint64) {
	t := p.at(l)
	t.sent += sent
	t.received += received
}

// epti is the identity of a new transaction.
func (p *party) epti() uint16 { return uint16(p.cfg.Rand())&^networkEPTI | p.own }

// mayAnswer says whether the peer gets an answer, and takes it off what it may get.
func (p *party) mayAnswer(now time.Duration) bool {
	if n := (now - p.refilled) / refill; n > 0 {
		p.allowed = uint8(min(time.Duration(p.allowed)+n, mostAnswers))
		p.refilled += n * refill
	}
	if p.allowed == 0 {
		return false
	}
	p.allowed--
	return true
}

// receive works on a message that either end may send.
func (p *party) receive(now time.Duration, l Leg, m *Message, out *Out) Reason {
	t := p.at(l)
	switch m.Type {
	case EchoRequest, PLRCountRequest, PLRReportRequest:
		if !p.mayAnswer(now) {
			return RateLimited
		}
		return p.serve(now, l, m, out)
	case EchoResponse:
		rtt, r := t.echo.answered(now, m)
		if r == OK {
			out.learn(Learned{Kind: RoundTrip, Leg: l, RTT: rtt})
		}
		return r
	case PLRCountResponse:
		return t.measure.counting(now, m)
	case PLRReportResponse:
		sent, lost, r := t.measure.reported(m)
		if r == OK {
			out.learn(Learned{Kind: Loss, Leg: l, Sent: sent, Lost: lost})
		}
		return r
	default:
		return WrongSide
	}
}

// serve answers a request, the way it came.
func (p *party) serve(now time.Duration, l Leg, m *Message, out *Out) Reason {
	t := p.at(l)
	switch m.Type {
	case EchoRequest:
		out.send(l, Message{Type: EchoResponse, EPTI: m.EPTI, RI: m.RI})
	case PLRCountRequest:
		out.send(l, t.count.start(m, t.received))
	default:
		report, r := t.count.report(now, m, t.received)
		if r != OK {
			return r
		}
		out.send(l, report)
	}
	return OK
}

// ask sends an echo request on l.
func (p *party) ask(now time.Duration, l Leg, out *Out) { out.send(l, p.at(l).echo.ask(now, p.epti)) }

// measureLoss sends what is due of the measurement of l's loss, and says when to look again.
func (p *party) measureLoss(now time.Duration, l Leg, out *Out) time.Duration {
	if p.cfg.PLRPeriod == 0 {
		return Never
	}
	t := p.at(l)
	m, due, next := t.measure.tick(now, t.sent, p.cfg.PLRPeriod, p.epti)
	if due {
		out.send(l, m)
	}
	return next
}
