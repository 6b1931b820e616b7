package upf

import (
	"encoding/binary"
	"net/netip"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// creates are the rules as the Create IEs of an establishment that would make them
// as they are now.
func (r ruleSet) creates() []*ie.IE {
	ies := appendIEs(nil, r.pdrs, ie.CreatePDR)
	ies = appendIEs(ies, r.fars, ie.CreateFAR)
	ies = appendIEs(ies, r.qers, ie.CreateQER)
	ies = appendIEs(ies, r.mars, ie.CreateMAR)
	ies = appendIEs(ies, r.bars, ie.CreateBAR)
	ies = appendIEs(ies, r.endpoints, ie.CreateTrafficEndpoint)
	ies = appendIEs(ies, r.srrs, ie.CreateSRR)
	if r.atsss != nil {
		ies = append(ies, r.atsss.IE())
	}
	return appendIEs(ies, r.urrs, ie.CreateURR)
}

// appendIEs appends each of the rules as an IE of that type.
func appendIEs[R interface{ IE(typ uint16) *ie.IE }](ies []*ie.IE, rules []R, typ uint16) []*ie.IE {
	for _, r := range rules {
		ies = append(ies, r.IE(typ))
	}
	return ies
}

// establishmentIEs are sess as an establishment would make it. Of a volume quota there
// is what is left.
func (s *Server) establishmentIEs(sess *session) []*ie.IE {
	ies := []*ie.IE{pfcp.NodeIDIE(sess.cp.node()), sess.cp.fseid().IE()}
	if set := sess.rare().set; set != nil {
		ies = append(ies, set.IEs()...)
	}
	if su := sess.usage; su != nil && su.idle != nil && su.idle.timer != 0 {
		ies = append(ies, pfcp.InactivityTimerIE(su.idle.timer))
	}
	ies = append(ies, sess.rules.network.IEs()...)
	ies = append(ies, sess.rules.availabilityIEs()...)
	if l := sess.links(); l != (links{}) {
		ies = append(ies, l.ie())
	}
	set := sess.rules
	set.urrs = set.urrs.clone()
	for i, u := range set.urrs {
		set.urrs[i] = sess.usage.remaining(u)
	}
	return append(ies, set.creates()...)
}

// ie is l as the UE Link-Specific IP Address that has told of it.
func (l links) ie() *ie.IE {
	var told pfcp.LinkSpecific
	if p := l.of(true); p.IsValid() {
		told.IPv4 = addressesOf(p)
	}
	if p := l.of(false); p.IsValid() {
		told.IPv6 = addressesOf(p)
	}
	return told.IE()
}

// parseLinks reads what [links.ie] has written, nil if there were none.
func parseLinks(i *ie.IE) (l links, err *pfcp.Error) {
	if i == nil {
		return l, nil
	}
	told, err := pfcp.ParseLinkSpecific(i)
	return links{pairOf(told.IPv4[0]), pairOf(told.IPv6[0])}, err
}

// appendChosen appends what was chosen: a count of F-TEIDs, then of each the CHOOSE ID
// and the payload of the F-TEID IE behind its length, an octet each; then the UE
// addresses.
func appendChosen(b []byte, ch *chosen) []byte {
	if ch == nil {
		ch = &chosen{}
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(ch.tunnels)))
	for _, t := range ch.tunnels {
		p := t.fteid.IE().Payload
		b = append(append(b, t.id, byte(len(p))), p...)
	}
	for _, p := range []netip.Prefix{ch.ue4, ch.ue6} {
		b = append(appendAddr(b, p.Addr()), byte(max(0, p.Bits())))
	}
	return b
}

// chosen reads what appendChosen has written.
func (r *stateReader) chosen() *chosen {
	ch := &chosen{}
	for range r.u16() {
		id := r.u8()
		f, err := pfcp.ParseFTEID(ie.New(ie.FTEID, r.octets(int(r.u8()))))
		r.check(err)
		ch.tunnels = append(ch.tunnels, chosenTunnel{id, f})
	}
	for _, p := range []*netip.Prefix{&ch.ue4, &ch.ue6} {
		a, bits := r.addr(), int(r.u8())
		if a.IsValid() {
			*p = netip.PrefixFrom(a, bits)
		}
	}
	return ch.kept()
}

// names says whether a PDR detects one of the applications.
func (r ruleSet) names(apps map[string]bool) bool {
	for _, p := range r.pdrs {
		if p.PDI != nil && p.PDI.ApplicationID != "" && apps[p.PDI.ApplicationID] {
			return true
		}
	}
	return false
}

// setupIEs are n as an association setup would tell of it.
func (n *node) setupIEs() []*ie.IE {
	ies := []*ie.IE{pfcp.NodeIDIE(n.id), pfcp.RecoveryTimeStampIE(n.recovery)}
	if n.features != 0 {
		ies = append(ies, n.features.IE())
	}
	if n.set != "" {
		ies = append(ies, pfcp.SMFSetIDIE(n.set))
	}
	for i := range n.alternatives {
		ies = append(ies, n.alternatives[i].IE())
	}
	return ies
}

// appIEs are the applications as a PFD Management Request would bring them.
func (a applications) appIEs() []*ie.IE {
	var ies []*ie.IE
	for id, flows := range a.apps {
		ies = append(ies, (&pfcp.ApplicationPFDs{ID: id, PFDs: []pfcp.PFD{{Flows: flows}}}).IE())
	}
	return ies
}
