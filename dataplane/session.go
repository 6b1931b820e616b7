package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/packet"
)

// session is a PFCP session as its worker holds it. Packets of sessions without proxied
// connections do not come to it: what they need is in their rule set.
type session struct {
	seid  uint64
	rules *ruleSet
	proxy proxy.Session // proxy.ID is the index in worker.sessions

	// Of a session that joins connections of other workers, see guests.go.
	away   map[flowName]*awayFlow // nil = none
	lentTo uint64                 // workers, by bit, that may have a guest session of it

	// guest: another worker's session, as the proxy here knows it. It has no rules.
	guest bool
	home  uint8 // the worker that has the session; valid with guest

	gone steer.Set   // accesses that the control side was told are not available
	pmf  *pmfSession // nil = it is not measured
}

// ruleSet is Rules compiled for the packet path. It is immutable but for what its
// QERs, meters and FARs keep, which goes over to the rule set that takes its place.
//
// What a packet needs of it stands close together, see [bundle].
type ruleSet struct {
	session    *session   // set when the rule set is installed
	lastPacket proxy.Time // of any PDR; 0 = none yet

	// proxied: a rule of the session has, or had, a MAR with functionality MPTCP. TCP
	// packets of other sessions do not bother the proxy.
	proxied bool

	advertise bool       // Router Solicitations are answered here
	has6      bool       // prefix6 is valid
	measured  bool       // pmf is there, and so is session.pmf
	group     uint16     // of its MAR; 0 = none
	mtu       uint16     // longest IP packet for the UE that fits N3 with its GTP-U headers
	downlink  classifier // of packets from N6

	tunnels []tunnel // one per TEID that packets come out of
	qers    []qer    // those that limit or guarantee
	meters  []meter
	fars    []far
	ues     []ueKey

	endMarkers []egress        // sent when the rule set is installed
	pmf        *pmfRules       // nil = the session is not measured
	converter  *converterRules // nil = the session has none
	prefix6    packet.Addr     // an IPv6 address of the UE
	prefixLen  uint8           // of prefix6
}

// tunnel is the end of a GTP-U tunnel here: what the TEID table leads to.
type tunnel struct {
	rules *ruleSet
	teid  uint32
	up    classifier // of packets from the UE

	// down is of packets for the UE: out of N9, the CP function's tunnel, or another
	// gNB's; nil = none. A CP function may have its packets come out of the tunnel that
	// the UE's come out of.
	down *classifier
}

// pdr is a PDR compiled. It fills one line of the caches: what few PDRs have is elsewhere.
type pdr struct {
	far    *far      // nil if there is a MAR
	more   *pdrMore  // nil if there is nothing of it
	qfis   uint64    // that the packet may carry; 0 = any
	qer    *qer      // that can drop; nil = none, or several
	meters [2]*meter // that count; nil = none

	ue4     uint32 // the only UE address, if only4
	id      uint16
	access  steer.Access // uplink: of its tunnel; downlink: of far
	markQFI uint8        // for the PDU Session Container; 0 = none
	flags   pdrFlags
}

// pdrFlags are what a pdr knows in a bit.
type pdrFlags uint8

const (
	isDown   pdrFlags = 1 << iota // its packets are for the UE
	isClosed                      // by a QER's gate, this way
	isBefore                      // a meter counts before the QERs
	markRQI                       // in the PDU Session Container
	only4                         // there is one UE address: ue4
)

func (d *pdr) down() bool { return d.flags&isDown != 0 }

// pdrMore is what an ordinary PDR has not.
type pdrMore struct {
	ues     []prefix   // empty = any, unless only4
	filters []filter   // empty = any
	qers    []*qer     // if there are several
	meters  []*meter   // beyond two
	mar     *mar       // nil if there is a FAR
	rule    proxy.Rule // valid with a policy
}

// mar is the MAR of d, nil if it has none.
func (d *pdr) mar() *mar {
	if d.more == nil {
		return nil
	}
	return d.more.mar
}

// rule is what the proxy is told of d.
func (d *pdr) rule() proxy.Rule {
	if d.more == nil {
		return proxy.Rule{PDR: d.id}
	}
	return d.more.rule
}

// matches says whether d's QFIs and filters let a packet through: all but its UE address.
func (d *pdr) matches(t *tuple, qfi uint8, ip []byte) bool {
	if d.qfis != 0 && d.qfis>>qfi&1 == 0 && qfi != anyQFI {
		return false
	}
	return d.more == nil || len(d.more.filters) == 0 || d.more.matchesAny(t, ip)
}

// isFor says whether the UE address of t is one of d's.
func (d *pdr) isFor(t *tuple) bool {
	if d.flags&only4 != 0 {
		return t.localIs4(d.ue4)
	}
	return d.more == nil || anyContains(d.more.ues, &t.local)
}

// mar is a MAR as a downlink PDR has it.
type mar struct {
	policy *steer.Policy
	fars   [steer.NumAccesses]*far     // nil where the access has none
	meters [steer.NumAccesses][]*meter // of what the access carries
}

// lateAdmitted says whether what the proxy makes of packets that d detected passes gates,
// rates and meters where it leaves, and not they where they came: those of a local rule,
// which leave by one of several sessions, each with QERs and URRs of its own.
func (d *pdr) lateAdmitted() bool {
	return d.more != nil && d.more.rule.Policy != nil && d.more.mar == nil
}

// action is what a FAR does.
type action uint8

const (
	actionDrop action = iota
	actionN6
	actionTunnel
	actionHold
	actionUEs // to another UE's session here
)

// far is a FAR compiled, with what it holds. It fills one line of the caches.
type far struct {
	id     uint32
	action action
	notify bool
	told   bool     // of the first packet
	mark   bool     // with actionN6: packets get the DSCP of out.tos
	more   *farMore // nil if there is nothing of it
	out    egress   // valid with actionTunnel
}

// farMore is what an ordinary FAR has not.
type farMore struct {
	copies []egress
	hold   hold // valid with actionHold
}

// hold is what a FAR that buffers keeps.
type hold struct {
	packets packet.Queue
	most    int
	delay   proxy.Time // of the notification
}

// egress is the way into a GTP-U tunnel.
type egress struct {
	peer  driver.Peer
	path  *path
	teid  uint32
	local uint8 // N3 address that the packet leaves from
	tos   uint8
	up    bool // leads away from the UE: N9, the CP function
}

// downlinkByID is the downlink PDR with this ID, nil if there is none.
func (r *ruleSet) downlinkByID(id uint16) *pdr {
	if d := r.downlink.byID(id); d != nil {
		return d
	}
	for i := range r.tunnels {
		if c := r.tunnels[i].down; c != nil {
			if d := c.byID(id); d != nil {
				return d
			}
		}
	}
	return nil
}

// ruleOf is what the proxy is told of a downlink PDR; the zero value if it is gone.
func (r *ruleSet) ruleOf(id uint16) proxy.Rule {
	if d := r.downlinkByID(id); d != nil {
		return d.rule()
	}
	return proxy.Rule{}
}

// ruleFor is what the proxy is told of the PDR that the server's packets of a flow match;
// the zero value if none does.
func (r *ruleSet) ruleFor(t *tuple) proxy.Rule {
	if d, _ := r.downlink.lookup(t, anyQFI, nil); d != nil {
		return d.rule()
	}
	return proxy.Rule{}
}

// has says whether a is in one of the session's prefixes.
func (r *ruleSet) has(a *packet.Addr) bool {
	for _, k := range r.ues {
		if keyOf(a, k.bits) == k {
			return true
		}
	}
	return false
}

// carryOver goes on with the state of old, the session's rule set of before. What
// FARs held that hold no more comes back, in order, to be sent.
func (r *ruleSet) carryOver(old *ruleSet) (free packet.Queue) {
	r.lastPacket = old.lastPacket
	for i := range r.qers {
		for j := range old.qers {
			if q, o := &r.qers[i], &old.qers[j]; q.id == o.id && q.down == o.down {
				q.carryOver(o)
			}
		}
	}
	for i := range r.meters {
		if m := old.meter(r.meters[i].id); m != nil {
			r.meters[i].carryOver(m)
		}
	}
	for i := range old.fars {
		o := &old.fars[i]
		f := r.farByID(o.id)
		same := f != nil && f.action == o.action && !r.resumed(f)
		if same {
			f.told = o.told
		}
		switch {
		case o.action != actionHold:
		case same:
			f.more.hold.packets = o.more.hold.packets
		default:
			free.Append(&o.more.hold.packets)
		}
	}
	return free
}

// resumed says whether f holds packets that another access of their MAR can take.
func (r *ruleSet) resumed(f *far) bool {
	if f.action != actionHold {
		return false
	}
	for i := range r.downlink.pdrs {
		if m := r.downlink.pdrs[i].mar(); m != nil && slices.Contains(m.fars[:], f) {
			return slices.ContainsFunc(m.fars[:], func(g *far) bool { return g != nil && g.action == actionTunnel })
		}
	}
	return false
}

func (r *ruleSet) meter(id uint32) *meter {
	for i := range r.meters {
		if r.meters[i].id == id {
			return &r.meters[i]
		}
	}
	return nil
}

func (r *ruleSet) farByID(id uint32) *far {
	for i := range r.fars {
		if r.fars[i].id == id {
			return &r.fars[i]
		}
	}
	return nil
}

// ueKey is a UE prefix as a table key, IPv4 as IPv4-mapped, host bits zero.
type ueKey struct {
	addr packet.Addr
	bits uint8
}

func makeUEKey(p netip.Prefix) ueKey {
	n := p.Bits()
	if p.Addr().Is4() {
		n += 96
	}
	return ueKey{packet.AddrFrom(p.Masked().Addr()), uint8(n)}
}

// prefix is k as a netip.Prefix.
func (k ueKey) prefix() netip.Prefix {
	a := k.addr.Netip()
	if a.Is4() && k.bits >= 96 {
		return netip.PrefixFrom(a, int(k.bits)-96)
	}
	return netip.PrefixFrom(netip.AddrFrom16(k.addr), int(k.bits))
}

// hash is for the owner table.
func (k *ueKey) hash() uint64 {
	return mix(binary.BigEndian.Uint64(k.addr[:8])^uint64(k.bits), binary.BigEndian.Uint64(k.addr[8:]))
}
