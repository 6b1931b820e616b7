package pmf

import (
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// UE is the PMF in the UE for one session: the counterpart of [Network] for whoever plays a
// UE. Its zero value is of no use.
//
// It sends the first message on every leg, from which the network learns where to reach it
// (TS 23.501 §5.32.5.1), and goes on until one is answered.
type UE struct {
	party
	access  [steer.NumAccesses]ueAccess
	reports bool // AARI: the network wants access reports
	assist  pending
}

// ueAccess is what the UE knows of an access.
type ueAccess struct {
	up     bool
	report pending
}

// pending is a message that is sent until it is acknowledged.
type pending struct {
	m     Message
	open  bool
	tries uint8
	at    time.Duration // when it was last sent; valid if tries is not 0
}

// NewUE is the PMF of a UE whose session has so many QoS flows that are measured, 1 to 255.
// reports: the network wants access reports (AARI). Both accesses are unavailable as yet.
func NewUE(cfg *Config, flows int, reports bool) *UE {
	u := &UE{reports: reports}
	u.init(cfg, 0, flows)
	return u
}

// SetAvailable says whether a can be used, and reports a change; that an access is there at
// the beginning is none.
func (u *UE) SetAvailable(now time.Duration, a steer.Access, available bool, out *Out) {
	x := &u.access[a]
	first := available && !x.up && x.report.m.Type == 0
	if x.up == available {
		return
	}
	x.up = available
	for f := range u.flows {
		t := u.at(Leg{a, f})
		t.echo.asked, t.echo.unheard = 0, true
	}
	if u.reports && !first {
		x.report = pending{open: true, m: Message{Type: AccessReport, EPTI: u.epti(), Access: a, Available: available}}
	}
	u.Tick(now, out)
}

// Assist tells the network which percentage of the uplink goes over 3GPP access.
func (u *UE) Assist(now time.Duration, percent uint8, out *Out) {
	u.assist = pending{open: true, m: Message{Type: UADProvisioning, EPTI: u.epti(), Percent: percent}}
	u.Tick(now, out)
}

// Settled says whether every report and all assistance data was acknowledged or given up.
func (u *UE) Settled() bool {
	return !u.assist.open && !u.access[0].report.open && !u.access[1].report.open
}

// Receive works on a message of the network.
func (u *UE) Receive(now time.Duration, l Leg, m *Message, out *Out) Reason {
	switch m.Type {
	case Acknowledgement:
		for a := range u.access {
			if r := &u.access[a].report; m.EPTI == r.m.EPTI && r.m.Type != 0 {
				return r.acknowledged()
			}
		}
		return Unmatched
	case UADProvisioningComplete:
		if m.EPTI != u.assist.m.EPTI || u.assist.m.Type == 0 {
			return Unmatched
		}
		return u.assist.acknowledged()
	case AccessReport, UADProvisioning:
		return WrongSide
	default:
		return u.receive(now, l, m, out)
	}
}

func (p *pending) acknowledged() Reason {
	if !p.open {
		return Duplicate
	}
	p.open = false
	return OK
}

// Tick sends what is due and says when to call it again.
func (u *UE) Tick(now time.Duration, out *Out) (next time.Duration) {
	next = u.repeat(now, &u.assist, steer.Access3GPP, out)
	for a := range steer.Access(steer.NumAccesses) {
		next = min(next, u.repeat(now, &u.access[a].report, a, out))
	}
	for a := range steer.Access(steer.NumAccesses) {
		for f := range u.flows {
			if u.access[a].up {
				next = min(next, u.measure(now, Leg{a, f}, out))
			}
		}
	}
	return next
}

// repeat sends p if it is due, until it was sent maxSent times: over access a first, then
// over the one and the other by turns; only over those that are available.
func (u *UE) repeat(now time.Duration, p *pending, a steer.Access, out *Out) (next time.Duration) {
	if p.tries%2 == 1 {
		a = a.Other()
	}
	if !u.access[a].up {
		a = a.Other()
	}
	switch {
	case !p.open || !u.access[a].up:
		return Never
	case p.tries > 0 && now < p.at+reportTime:
		return p.at + reportTime
	case p.tries >= maxSent:
		p.open = false
		return Never
	}
	p.tries++
	p.at = now
	out.send(Leg{Access: a}, p.m)
	return now + reportTime
}

// measure sends what is due of l's round trip and loss.
func (u *UE) measure(now time.Duration, l Leg, out *Out) (next time.Duration) {
	next = u.measureLoss(now, l, out)
	e := &u.at(l).echo
	every := u.cfg.RTTPeriod
	switch {
	case e.unheard || !e.begun:
		every = answerTime
	case every == 0:
		return next
	}
	if e.asked == 0 || now-e.asked >= every {
		u.ask(now, l, out)
	}
	return min(next, e.asked+every)
}
