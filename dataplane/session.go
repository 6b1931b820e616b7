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
	"github.com/braid-upf/braid/packet"
)

// session is a PFCP session as its worker holds it.
type session struct {
	seid  uint64
	proxy proxy.Session // proxy.ID is the index in worker.sessions
	rules *ruleSet

	// proxied: a rule of the session has, or had, a MAR with functionality
	// MPTCP. TCP packets of other sessions do not bother the proxy.
	proxied bool
}

// ruleSet is Rules compiled for the packet path. It is immutable.
type ruleSet struct {
	tunnels  []tunnel // one per uplink TEID
	downlink []pdr    // rising precedence value
	ues      []ueKey
	mtu      uint16 // longest IP packet for the UE that fits N3 with its GTP-U headers
	proxied  bool   // there is a MAR with functionality MPTCP
}

// tunnel is the uplink end of a GTP-U tunnel: what the TEID table leads to.
type tunnel struct {
	teid    uint32
	session *session // set when the session is installed
	pdrs    []pdr    // rising precedence value
}

// pdr is a PDR compiled, with the QERs that apply to it folded in.
type pdr struct {
	id      uint16
	qfis    uint64       // that the packet may carry; 0 = any
	access  steer.Access // uplink: of its tunnel; downlink: of far
	ues     []prefix     // empty = any
	filters []filter     // empty = any

	ulClosed, dlClosed bool
	markQFI            uint8 // for the PDU Session Container downlink; 0 = none
	markRQI            bool

	far  *far                    // nil if policy is set
	fars [steer.NumAccesses]*far // of the MAR
	// policy is the MAR's; rule is what the proxy is told of this PDR.
	policy *steer.Policy
	rule   proxy.Rule
}

// action is what a FAR does.
type action uint8

const (
	actionDrop action = iota
	actionN6
	actionN3
)

// far is a FAR compiled.
type far struct {
	action action
	local  uint8 // N3 address that the packet leaves from, valid with actionN3
	teid   uint32
	peer   driver.Peer
}

// Room that the headers in front of an IP packet take on N3, in bytes.
const (
	overhead4 = 20 + 8 + gtpu.GPDUContainerLen
	overhead6 = 40 + 8 + gtpu.GPDUContainerLen
)

// compiler compiles the rules of one session.
type compiler struct {
	n3     []netip.Addr
	rules  *Rules
	fars   map[*FAR]*far
	tunnel map[uint32]int // index in set.tunnels
	v6     bool           // an outer header is IPv6
	set    ruleSet
}

// compile makes the ruleSet of r. n3 are our N3 addresses, mtu that of N3.
func compile(r *Rules, n3 []netip.Addr, mtu int) (*ruleSet, error) {
	c := compiler{n3: n3, rules: r, fars: map[*FAR]*far{}, tunnel: map[uint32]int{}}
	for _, p := range r.UEAddrs {
		if p.Addr().Is4() && p.Bits() != 32 {
			return nil, fmt.Errorf("UE address %v: IPv4 must be /32", p)
		}
		if k := makeUEKey(p); !slices.Contains(c.set.ues, k) {
			c.set.ues = append(c.set.ues, k)
		}
	}
	for i := range r.Uplink {
		if err := c.uplink(&r.Uplink[i]); err != nil {
			return nil, fmt.Errorf("PDR %d: %w", r.Uplink[i].ID, err)
		}
	}
	for i := range r.Downlink {
		if err := c.downlink(&r.Downlink[i]); err != nil {
			return nil, fmt.Errorf("PDR %d: %w", r.Downlink[i].ID, err)
		}
	}
	overhead := overhead4
	if c.v6 {
		overhead = overhead6
	}
	c.set.mtu = uint16(mtu - overhead)
	return &c.set, nil
}

func (c *compiler) uplink(p *PDR) error {
	if p.TEID == 0 {
		return fmt.Errorf("uplink without a TEID")
	}
	d, err := c.pdr(p, p.Access)
	if err != nil {
		return err
	}
	// A PDR that names no UE address may still be used only by the session's.
	if len(d.ues) == 0 {
		d.ues = prefixes(c.rules.UEAddrs)
	}
	i, ok := c.tunnel[p.TEID]
	if !ok {
		i = len(c.set.tunnels)
		c.tunnel[p.TEID] = i
		c.set.tunnels = append(c.set.tunnels, tunnel{teid: p.TEID})
	}
	c.set.tunnels[i].pdrs = append(c.set.tunnels[i].pdrs, d)
	return nil
}

func (c *compiler) downlink(p *PDR) error {
	var access steer.Access
	if len(c.rules.Uplink) > 0 {
		access = c.rules.Uplink[0].Access
	}
	d, err := c.pdr(p, access)
	if err != nil {
		return err
	}
	if m := p.MAR; m != nil {
		d.policy = &m.Policy
		for a, f := range m.FAR {
			if d.fars[a], err = c.far(f, steer.Access(a)); err != nil {
				return fmt.Errorf("MAR %d: %w", m.ID, err)
			}
		}
		if m.Policy.Functionality == steer.MPTCP {
			d.rule.Policy = &m.Policy
			c.set.proxied = true
		}
	}
	c.set.downlink = append(c.set.downlink, d)
	return nil
}

// pdr compiles what both directions have.
func (c *compiler) pdr(p *PDR, access steer.Access) (pdr, error) {
	d := pdr{id: p.ID, qfis: p.QFIs, access: access, ues: prefixes(p.UEAddrs), rule: proxy.Rule{PDR: p.ID}}
	for i := range p.Filters {
		d.filters = append(d.filters, makeFilter(&p.Filters[i]))
	}
	for _, q := range p.QERs {
		d.ulClosed = d.ulClosed || q.GateULClosed
		d.dlClosed = d.dlClosed || q.GateDLClosed
		if d.markQFI == 0 && q.QFI != 0 {
			d.markQFI, d.markRQI = q.QFI, q.ReflectiveQoS
		}
	}
	if p.MAR != nil {
		return d, nil
	}
	var err error
	d.far, err = c.far(p.FAR, access)
	return d, err
}

// far compiles f, once for each pointer. access is the one it leads to, if it
// leads to one.
func (c *compiler) far(f *FAR, access steer.Access) (*far, error) {
	if f == nil {
		return nil, nil
	}
	if done, ok := c.fars[f]; ok {
		return done, nil
	}
	out := &far{}
	c.fars[f] = out
	switch {
	case f.Action != Forward:
	case f.OuterHeader != nil:
		h := f.OuterHeader
		local, ok := c.localAddr(h.Peer.Addr(), access)
		if !ok {
			return nil, fmt.Errorf("FAR %d: no N3 address to reach %v from", f.ID, h.Peer.Addr())
		}
		*out = far{action: actionN3, local: local, teid: h.TEID, peer: driver.MakePeer(h.Peer)}
		c.v6 = c.v6 || h.Peer.Addr().Unmap().Is6()
	case f.To == ToCore:
		out.action = actionN6
	}
	return out, nil
}

// localAddr is the index of the N3 address that packets for peer leave from: the
// one that the session's uplink tunnel of the same access ends at, else the first
// of the peer's family.
func (c *compiler) localAddr(peer netip.Addr, access steer.Access) (uint8, bool) {
	peer4 := peer.Unmap().Is4()
	for _, p := range c.rules.Uplink {
		i := slices.Index(c.n3, p.LocalAddr)
		if i >= 0 && p.Access == access && c.n3[i].Is4() == peer4 {
			return uint8(i), true
		}
	}
	i := slices.IndexFunc(c.n3, func(a netip.Addr) bool { return a.Is4() == peer4 })
	return uint8(max(i, 0)), i >= 0
}

func prefixes(ps []netip.Prefix) []prefix {
	var out []prefix
	for _, p := range ps {
		out = append(out, makePrefix(p))
	}
	return out
}

// matchDownlink is the downlink PDR of a flow, nil if none matches.
func (r *ruleSet) matchDownlink(t *tuple) *pdr {
	for i := range r.downlink {
		d := &r.downlink[i]
		if anyContains(d.ues, &t.local) && matchesAny(d.filters, t) {
			return d
		}
	}
	return nil
}

// downlinkByID is the downlink PDR with this ID, nil if there is none.
func (r *ruleSet) downlinkByID(id uint16) *pdr {
	for i := range r.downlink {
		if r.downlink[i].id == id {
			return &r.downlink[i]
		}
	}
	return nil
}

// ruleOf is what the proxy is told of a downlink PDR; the zero value if it is gone.
func (r *ruleSet) ruleOf(id uint16) proxy.Rule {
	if d := r.downlinkByID(id); d != nil {
		return d.rule
	}
	return proxy.Rule{}
}

// match is the uplink PDR of a packet that came through the tunnel with this QFI.
// If there is none, spoofed says that PDRs matched but for the source address.
func (t *tunnel) match(flow *tuple, qfi uint8) (d *pdr, spoofed bool) {
	for i := range t.pdrs {
		d := &t.pdrs[i]
		if d.qfis != 0 && d.qfis>>qfi&1 == 0 || !matchesAny(d.filters, flow) {
			continue
		}
		if anyContains(d.ues, &flow.local) {
			return d, false
		}
		spoofed = true
	}
	return nil, spoofed
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
