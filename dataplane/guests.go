package dataplane

import (
	"errors"
	"math/bits"
	"slices"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// Guests whose connection is another worker's. Session A, of worker a, has a connection;
// over session B, of worker b, the UE joins it:
//
//	UE -- N3 -- b: B's PDR, gates, rates, meters -- ring --> a: guest session of B, proxy -- N6
//	UE -- N3 -- b: B's PDR, gates, rates, FAR   <-- ring -- a: guest session of B, proxy -- N6
//
// The SYN goes to a by its token. From a's SYN/ACK on, which passes b on its way, b knows
// the flow, so that what only asks to join takes no memory here. What a's proxy does not
// take, since it has forgotten the flow, comes back to b, which forgets it too.
//
// On a, B is a session that the proxy alone knows: it has no rules and is in no table of
// TEIDs or UE addresses. It ends when b's session does, or leaves its group, by command
// of the control side, and holds no pointer to anything of b's.

// lent describes a guest's packet on the ring.
type lent struct {
	seid   uint64 // of the session that the packet came or goes over
	pdr    uint16 // the downlink PDR
	group  uint16
	mtu    uint16 // of the session
	access steer.Access
	join   bool // a SYN with MP_JOIN
}

// flowName names a TCP connection of a session.
type flowName struct {
	local, remote         packet.Addr
	localPort, remotePort uint16
}

func (t *tuple) name() flowName { return flowName{t.local, t.remote, t.localPort, t.remotePort} }

// awayFlow is a flow of a session here whose connection another worker has.
type awayFlow struct {
	used   proxy.Time // when a packet last came
	owner  uint8
	ending bool // either end has said so
}

const (
	// maxAway is the most such flows of a session.
	maxAway = 1024

	// They are forgotten after that time without a packet, when the proxy has forgotten
	// the subflow, too.
	awayLife   = proxy.Time(7500e9)
	endingLife = proxy.Time(90e9)

	sweepInterval = proxy.Time(10e9)
)

// joinPolicy says that a rule admits MPTCP.
var joinPolicy = steer.Policy{Functionality: steer.MPTCP}

// lend hands the TCP packet in hand, of a session whose rule says that it may join others'
// connections, to the worker that has its connection, if that is another.
func (w *worker) lend(s *session, d *pdr, rule *proxy.Rule, b *packet.Buffer) bool {
	token, join := proxy.JoinToken(b, &w.ip)
	var owner int
	if join {
		owner = w.plane.home(SlotOf(token))
		if owner == w.index {
			delete(s.away, w.flow.name())
			return false
		}
		s.lentTo |= 1 << owner
	} else {
		f := s.away[w.flow.name()]
		if f == nil {
			return false
		}
		owner, f.used = int(f.owner), w.now
		f.ending = f.ending || w.flags(b)&(packet.FIN|packet.RST) != 0
	}
	h := w.slot(owner)
	if h == nil {
		w.drop(b, dropGuestRing)
		return true
	}
	w.count.n[guestUplink]++
	h.kind = lentUplink
	h.lent = lent{seid: s.seid, pdr: rule.PDR, group: rule.Group, mtu: s.proxy.MTU, access: d.access, join: join}
	w.give(owner, h, b)
	return true
}

// flags are those of the TCP packet in hand.
func (w *worker) flags(b *packet.Buffer) uint8 {
	if w.ip.End-w.ip.L4 < packet.TCPHeaderLen {
		return 0
	}
	return b.Bytes()[w.ip.L4+13]
}

// guest works on a guest's packet that another worker handed over.
func (w *worker) guest(from int, kind handedKind, l *lent, b *packet.Buffer) {
	if r := packet.Parse(b.Bytes(), &w.ip); r != packet.OK {
		w.count.n3IP[r]++ // cannot be: the other worker has parsed or made it
		w.pool.Put(b)
		return
	}
	w.qfi, w.extended = 0, false
	switch kind {
	case lentUplink:
		w.takeLent(from, l, b)
	case lentReturned:
		w.takeBack(l, b)
	default:
		w.takeDownlink(from, l, b)
	}
}

// takeLent gives a packet of another worker's session to the proxy.
func (w *worker) takeLent(home int, l *lent, b *packet.Buffer) {
	g := w.guests[l.seid]
	if g == nil && l.join {
		g = &session{seid: l.seid, home: uint8(home), guest: true}
		g.proxy.ID = w.freeID()
		w.sessions[g.proxy.ID], w.guests[l.seid] = g, g
	}
	if g != nil {
		g.proxy.MTU = l.mtu
		rule := proxy.Rule{PDR: l.pdr}
		if l.join {
			rule.Group, rule.Policy = l.group, &joinPolicy
		}
		if w.proxy.Uplink(w.now, &g.proxy, l.access, rule, b, &w.ip, &w.out) == proxy.Taken {
			w.forwardProxied()
			return
		}
	}
	w.count.n[guestReturned]++
	w.sendHome(home, lentReturned, l, b)
}

// sendHome gives a guest's packet to the worker that has its session.
func (w *worker) sendHome(home int, kind handedKind, l *lent, b *packet.Buffer) {
	h := w.slot(home)
	if h == nil {
		w.drop(b, dropGuestRing)
		return
	}
	h.kind, h.lent = kind, *l
	w.give(home, h, b)
}

// sendGuest sends a packet for the UE on its way over a guest session.
func (w *worker) sendGuest(o *proxy.ToUE, g *session) {
	w.count.n[guestDownlink]++
	w.sendHome(int(g.home), lentDownlink, &lent{seid: g.seid, pdr: o.PDR, access: o.Access}, o.Buf)
}

// takeBack has a packet of a session here that the worker it was lent to does not know:
// it is of no connection there any more.
func (w *worker) takeBack(l *lent, b *packet.Buffer) {
	s := w.bySEID[l.seid]
	if s == nil {
		w.drop(b, dropNoSession)
		return
	}
	w.flow.uplink(&w.ip)
	delete(s.away, w.flow.name())
	w.translateUp(s, l.access, s.rules.ruleFor(&w.flow), b)
}

// takeDownlink sends a packet that another worker's proxy made for the UE of a session
// here.
func (w *worker) takeDownlink(from int, l *lent, b *packet.Buffer) {
	s := w.bySEID[l.seid]
	if s == nil {
		w.drop(b, dropNoSession)
		return
	}
	if flags := w.flags(b); flags&(packet.SYN|packet.FIN|packet.RST) != 0 {
		w.flow.downlink(&w.ip)
		if !w.noteAway(s, from, flags) {
			w.drop(b, dropGuestFlows)
			return
		}
	}
	w.translated = true
	w.proxiedToUE(&proxy.ToUE{Buf: b, Access: l.access, PDR: l.pdr}, s)
	w.translated = false
}

// noteAway learns from a packet for the UE with these flags that its flow, w.flow, begins
// or ends; false if the session has too many.
func (w *worker) noteAway(s *session, owner int, flags uint8) bool {
	f := s.away[w.flow.name()]
	switch {
	case flags&packet.SYN == 0:
		if f != nil {
			f.ending = true
		}
		return true
	case f != nil:
		*f = awayFlow{used: w.now, owner: uint8(owner)}
		return true
	case s.rules.group == 0 || len(s.away) >= maxAway:
		return false
	}
	if s.away == nil {
		s.away = make(map[flowName]*awayFlow)
		if len(w.roaming) == 0 {
			w.swept = w.now
		}
		w.roaming = append(w.roaming, s)
	}
	s.away[w.flow.name()] = &awayFlow{used: w.now, owner: uint8(owner)}
	return true
}

// sweep forgets the flows that nothing was heard of for long.
func (w *worker) sweep() {
	w.swept = w.now
	w.roaming = slices.DeleteFunc(w.roaming, func(s *session) bool {
		for k, f := range s.away {
			if age := w.now - f.used; age > awayLife || f.ending && age > endingLife {
				delete(s.away, k)
			}
		}
		if len(s.away) > 0 {
			return false
		}
		s.away = nil
		return true
	})
}

// recall forgets which flows of session seid have their connection at other workers, and
// ends those that have it here, unless its rules from now on, next (nil = none), are of
// the group of those before. It returns the workers, by bit, that are to end their guest
// session of it.
func (w *worker) recall(seid uint64, next *ruleSet) (lentTo uint64) {
	s := w.bySEID[seid]
	if s == nil || next != nil && next.group == s.rules.group {
		return 0
	}
	lentTo, s.lentTo = s.lentTo, 0
	if s.away != nil {
		s.away = nil
		w.roaming = slices.DeleteFunc(w.roaming, func(o *session) bool { return o == s })
	}
	w.forwardProxied()
	w.proxy.EndGuests(&s.proxy)
	return lentTo
}

// endGuest ends the guest session of session seid, which home lends to no more.
func (w *worker) endGuest(seid uint64, home int) {
	w.takeFrom(home) // else what is on its way would make the guest session anew
	g := w.guests[seid]
	if g == nil {
		return
	}
	w.forwardProxied()
	w.proxy.EndSession(&g.proxy)
	delete(w.guests, seid)
	w.sessions[g.proxy.ID] = nil
	w.freeIDs = append(w.freeIDs, g.proxy.ID)
}

// endGuests ends the guest sessions of a session at the workers of the set in, by bit,
// to which home lends no more.
func (p *Plane) endGuests(seid uint64, home int, in uint64) error {
	var errs []error
	for ; in != 0; in &= in - 1 {
		errs = append(errs, p.do(bits.TrailingZeros64(in), func(w *worker) { w.endGuest(seid, home) }))
	}
	return errors.Join(errs...)
}
