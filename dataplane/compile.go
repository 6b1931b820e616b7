package dataplane

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
)

// Room that the headers in front of an IP packet take on N3, in bytes.
const (
	overhead4 = 20 + 8 + gtpu.GPDUContainerLen
	overhead6 = 40 + 8 + gtpu.GPDUContainerLen
)

// compiler compiles the rules of one session.
type compiler struct {
	plane  *Plane
	rules  *Rules
	fars   map[*FAR]*far
	qers   map[*QER][2]*qer // up, down; nil where it does nothing
	meters map[*URR]*meter

	policies map[*MAR]*steer.Policy // in use; nil = none

	set  *ruleSet
	free room
}

// compile makes the ruleSet of r.
func (p *Plane) compile(r *Rules) (*ruleSet, error) {
	k := &bundle{}
	c := compiler{
		plane: p, rules: r, fars: map[*FAR]*far{}, qers: map[*QER][2]*qer{}, meters: map[*URR]*meter{}, set: &k.ruleSet,
		free: room{
			k.tunnels[:], k.pdrs[:], k.fars[:], k.qers[:], k.meters[:], k.ues[:],
		},
	}
	c.set.advertise = r.Advertise
	c.set.mtu = uint16(p.ueMTU(false))
	c.addresses()
	steps := []func() error{c.collect, c.tunnels, c.converter, c.pmf, c.endMarkers}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return c.set, nil
}

// addresses takes over the session's addresses, each once.
func (c *compiler) addresses() {
	c.set.ues = cut(&c.free.ues, len(c.rules.UEAddrs))[:0]
	for _, u := range c.rules.UEAddrs {
		k := makeUEKey(u)
		if !slices.Contains(c.set.ues, k) {
			c.set.ues = append(c.set.ues, k)
		}
		if u.Addr().Is6() && !c.set.has6 {
			c.set.prefix6, c.set.prefixLen, c.set.has6 = k.addr, k.bits, true
		}
	}
}

// collect makes the parts that PDRs share, in slices that grow no more afterwards:
// PDRs point into them.
func (c *compiler) collect() error {
	var fars []*FAR
	var qers []*QER
	var urrs []*URR
	addFAR := func(f *FAR) {
		if f != nil && !slices.Contains(fars, f) {
			fars = append(fars, f)
		}
	}
	for _, list := range [][]PDR{c.rules.Uplink, c.rules.Downlink} {
		for i := range list {
			d := &list[i]
			addFAR(d.FAR)
			qers = appendNew(qers, d.QERs)
			urrs = appendNew(urrs, d.URRs)
			if d.MAR != nil {
				for a, f := range d.MAR.FAR {
					addFAR(f)
					urrs = appendNew(urrs, d.MAR.URRs[a])
				}
			}
		}
	}
	for _, u := range urrs {
		addFAR(u.Spent)
	}
	c.set.fars = cut(&c.free.fars, len(fars))
	for i, f := range fars {
		c.fars[f] = &c.set.fars[i]
		if err := c.far(f, &c.set.fars[i]); err != nil {
			return fmt.Errorf("FAR %d: %w", f.ID, err)
		}
	}
	c.makeQERs(qers)
	c.set.meters = cut(&c.free.meters, len(urrs))
	for i, u := range urrs {
		c.set.meters[i] = makeMeter(u)
		if q := c.set.meters[i].quota(); q != nil {
			q.instead = c.fars[u.Spent]
		}
		c.meters[u] = &c.set.meters[i]
	}
	return nil
}

// makeQERs makes the parts of qers that do something.
func (c *compiler) makeQERs(qers []*QER) {
	var parts []qer
	for _, q := range qers {
		for _, down := range [2]bool{false, true} {
			if part, ok := makeQER(q, down); ok {
				parts = append(parts, part)
			}
		}
	}
	c.set.qers = cut(&c.free.qers, len(parts))
	copy(c.set.qers, parts)
	for i := range c.set.qers {
		part := &c.set.qers[i]
		q := slices.IndexFunc(qers, func(q *QER) bool { return q.ID == part.id })
		pair := c.qers[qers[q]]
		pair[direction(part.down)] = part
		c.qers[qers[q]] = pair
	}
}

// direction is the index of what an array has for packets from the UE, or to it.
func direction(down bool) int {
	if down {
		return 1
	}
	return 0
}

// appendNew appends what of more is not in list.
func appendNew[T comparable](list, more []T) []T {
	for _, v := range more {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// tunnels makes the tunnels that packets come out of, and what becomes of packets from
// N6.
func (c *compiler) tunnels() error {
	var teids []uint32
	for _, list := range [][]PDR{c.rules.Uplink, c.rules.Downlink} {
		for i := range list {
			if t := list[i].TEID; t != 0 {
				teids = appendNew(teids, []uint32{t})
			}
		}
	}
	for i := range c.rules.Uplink {
		if p := &c.rules.Uplink[i]; p.TEID == 0 {
			return fmt.Errorf("PDR %d: uplink without a TEID", p.ID)
		}
	}
	c.set.tunnels = cut(&c.free.tunnels, len(teids))
	for i, teid := range teids {
		t := &c.set.tunnels[i]
		*t = tunnel{rules: c.set, teid: teid, up: c.classifier(c.rules.Uplink, teid, false)}
		if down := c.classifier(c.rules.Downlink, teid, true); len(down.pdrs) > 0 {
			t.down = &down
		}
	}
	c.set.downlink = c.classifier(c.rules.Downlink, 0, true)
	return nil
}

// classifier compiles those PDRs of list that have the TEID, 0 for N6; down says that
// their packets are for the UE.
func (c *compiler) classifier(list []PDR, teid uint32, down bool) classifier {
	n := 0
	for i := range list {
		if list[i].TEID == teid {
			n++
		}
	}
	pdrs := cut(&c.free.pdrs, n)[:0]
	for i := range list {
		if list[i].TEID == teid {
			pdrs = append(pdrs, c.pdr(&list[i], down))
		}
	}
	return makeClassifier(pdrs)
}

// pdr compiles p; down says that its packets are for the UE.
func (c *compiler) pdr(p *PDR, down bool) pdr {
	d := pdr{id: p.ID, qfis: p.QFIs, access: p.Access, far: c.fars[p.FAR]}
	more := pdrMore{rule: proxy.Rule{PDR: p.ID}}
	if down {
		d.flags |= isDown
		if len(c.rules.Uplink) > 0 {
			d.access = c.rules.Uplink[0].Access
		}
	}
	ues := p.UEAddrs
	if !down && len(ues) == 0 {
		// A PDR that names no UE address may still be used only by the session's.
		ues = c.rules.UEAddrs
	}
	if len(ues) == 1 && ues[0].Addr().Is4() && ues[0].Bits() == 32 {
		a := ues[0].Addr().As4()
		d.ue4 = binary.BigEndian.Uint32(a[:])
		d.flags |= only4
	} else {
		more.ues = prefixes(ues)
	}
	for i := range p.Filters {
		more.filters = append(more.filters, makeFilter(&p.Filters[i]))
	}
	c.enforce(p.QERs, &d, &more)
	c.measure(p.URRs, &d, &more)
	if p.MAR != nil {
		c.mar(p, &more)
		if more.mar != nil {
			d.far = nil
		}
	}
	if more.ues != nil || more.filters != nil || more.qers != nil || more.meters != nil || p.MAR != nil {
		d.more = &more
	}
	return d
}

// enforce has qers apply to d.
func (c *compiler) enforce(qers []*QER, d *pdr, more *pdrMore) {
	way := direction(d.down())
	var parts []*qer
	for _, q := range qers {
		if [2]bool{q.GateULClosed, q.GateDLClosed}[way] {
			d.flags |= isClosed
		}
		if part := c.qers[q][way]; part != nil {
			parts = append(parts, part)
		}
		if d.markQFI == 0 && q.QFI != 0 {
			d.markQFI = q.QFI
			if q.ReflectiveQoS && d.down() {
				d.flags |= markRQI
			}
		}
	}
	switch len(parts) {
	case 0:
	case 1:
		d.qer = parts[0]
	default:
		more.qers = parts
	}
}

// measure has urrs count d's packets.
func (c *compiler) measure(urrs []*URR, d *pdr, more *pdrMore) {
	for i, u := range urrs {
		if u.BeforeQER {
			d.flags |= isBefore
		}
		if i < len(d.meters) {
			d.meters[i] = c.meters[u]
		} else {
			more.meters = append(more.meters, c.meters[u])
		}
	}
}

// mar has the policy of p's MAR steer what a PDR lets through.
func (c *compiler) mar(p *PDR, more *pdrMore) {
	m := p.MAR
	policy := c.policy(m)
	if policy.Functionality == steer.MPTCP {
		more.rule.Policy, more.rule.Group = policy, m.Group
		c.set.group = max(c.set.group, m.Group)
		c.set.proxied = true
	}
	if p.FAR != nil { // a local rule
		return
	}
	more.mar = &mar{policy: policy}
	for a, f := range m.FAR {
		more.mar.fars[a] = c.fars[f]
		for _, u := range m.URRs[a] {
			more.mar.meters[a] = append(more.mar.meters[a], c.meters[u])
		}
	}
}

// policy is the policy of m in use, one for all PDRs that name m.
func (c *compiler) policy(m *MAR) *steer.Policy {
	p := c.policies[m]
	if p == nil {
		q := m.Policy
		p = &q
		p.Split = steer.Split{}
		if c.policies == nil {
			c.policies = make(map[*MAR]*steer.Policy)
		}
		c.policies[m] = p
	}
	return p
}

// far compiles f into to.
func (c *compiler) far(f *FAR, to *far) (err error) {
	*to = far{id: f.ID, notify: f.Notify}
	switch {
	case f.Action == Drop:
	case f.Action == Buffer:
		to.action = actionHold
		to.more = &farMore{hold: hold{most: c.plane.maxHeld}}
		if b := f.BAR; b != nil {
			to.more.hold.delay = proxy.Time(b.Delay)
			if b.Packets > 0 {
				to.more.hold.most = min(b.Packets, mostHeld)
			}
		}
	case f.OuterHeader != nil:
		to.action = actionTunnel
		to.out, err = c.egress(f.OuterHeader, f.To)
	case f.To == ToUEs:
		to.action = actionUEs
	case f.To == ToCore:
		to.action = actionN6
		if f.TOS != nil {
			to.mark, to.out.tos = true, *f.TOS
		}
	}
	if err != nil {
		return err
	}
	if len(f.Duplicates) > 0 && to.more == nil {
		to.more = &farMore{}
	}
	for i := range f.Duplicates {
		copyTo, err := c.egress(&f.Duplicates[i], f.To)
		if err != nil {
			return err
		}
		to.more.copies = append(to.more.copies, copyTo)
	}
	return nil
}

// egress compiles the way into the tunnel that h leads to.
func (c *compiler) egress(h *OuterHeader, to Destination) (egress, error) {
	peer := h.Peer.Addr().Unmap()
	local, ok := c.localAddr(peer, h)
	if !ok {
		return egress{}, fmt.Errorf("no N3 address to reach %v from", peer)
	}
	if peer.Is6() {
		c.set.mtu = min(c.set.mtu, uint16(c.plane.ueMTU(true)))
	}
	return egress{
		peer: driver.MakePeer(h.Peer), path: c.plane.paths.of(peer), teid: h.TEID, local: local, tos: h.TOS, up: to == ToCore || to == ToCP,
	}, nil
}

// localAddr is the index of the N3 address that packets of header h leave from: the
// one at which the tunnel of an access that h's FAR serves ends, else one at which any
// tunnel of the session does, else the first; always of the peer's family.
func (c *compiler) localAddr(peer netip.Addr, h *OuterHeader) (uint8, bool) {
	n3 := c.plane.n3
	fits := func(i int) bool { return i >= 0 && n3[i].Is4() == peer.Is4() }
	access, known := c.accessOf(h)
	for _, p := range c.rules.Uplink {
		if i := slices.Index(n3, p.LocalAddr); fits(i) && (!known || p.Access == access) {
			return uint8(i), true
		}
	}
	i := slices.IndexFunc(n3, func(a netip.Addr) bool { return a.Is4() == peer.Is4() })
	return uint8(max(i, 0)), i >= 0
}

// accessOf is the access of the MAR that reaches h by it.
func (c *compiler) accessOf(h *OuterHeader) (steer.Access, bool) {
	for i := range c.rules.Downlink {
		if m := c.rules.Downlink[i].MAR; m != nil {
			for a, f := range m.FAR {
				if f != nil && f.OuterHeader == h {
					return steer.Access(a), true
				}
			}
		}
	}
	return 0, false
}

func (c *compiler) endMarkers() error {
	for i := range c.rules.EndMarkers {
		o, err := c.egress(&c.rules.EndMarkers[i], ToAccess)
		if err != nil {
			return fmt.Errorf("end marker: %w", err)
		}
		c.set.endMarkers = append(c.set.endMarkers, o)
	}
	return nil
}

func prefixes(ps []netip.Prefix) []prefix {
	var out []prefix
	for _, p := range ps {
		out = append(out, makePrefix(p))
	}
	return out
}
