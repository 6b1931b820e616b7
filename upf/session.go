package upf

import (
	"fmt"
	"net/netip"
	"unique"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/pfcp"
)

// session is a PFCP session.
type session struct {
	seid  uint64 // UP F-SEID's
	cp    cpSession
	rules ruleSet
	holds identity
	more  *sessionMore  // nil = none of it
	usage *sessionUsage // nil if the session has had nothing to measure nor to report yet
}

// sessionMore is what few sessions have. It is immutable once it is in a session.
type sessionMore struct {
	chosen   *chosen          // nil = nothing
	set      *pfcp.SessionSet // nil = none
	reportTo netip.Addr       // where its reports go; invalid = to the CP F-SEID's address
}

// rare is a copy of s.more, empty if there is none.
func (s *session) rare() sessionMore {
	if s.more == nil {
		return sessionMore{}
	}
	return *s.more
}

// setRare puts m in the place of s.more.
func (s *session) setRare(m sessionMore) {
	if s.more = nil; m != (sessionMore{}) {
		s.more = &m
	}
}

// links are the UE link-specific addresses that the session has.
func (s *session) links() links {
	if s.more == nil || s.more.chosen == nil {
		return links{}
	}
	return s.more.chosen.links
}

// cpSession names a session as its CP function does: by node and CP F-SEID.
type cpSession struct {
	of   unique.Handle[cpFunction]
	seid uint64
}

// cpFunction is what the sessions of one CP function have in common.
type cpFunction struct {
	node       string     // node ID
	ipv4, ipv6 netip.Addr // of the CP F-SEID
}

func cpSessionOf(node string, f pfcp.FSEID) cpSession {
	return cpSession{unique.Make(cpFunction{node, f.IPv4, f.IPv6}), f.SEID}
}

func (c cpSession) node() string { return c.of.Value().node }

func (c cpSession) fseid() pfcp.FSEID {
	of := c.of.Value()
	return pfcp.FSEID{SEID: c.seid, IPv4: of.ipv4, IPv6: of.ipv6}
}

// ruleSet are the rules of a session as the CP function gave them, by ID. The
// rules are immutable: a change puts a new one in the place of the old.
type ruleSet struct {
	pdrs byID[uint16, *pfcp.PDR]
	fars byID[uint32, *pfcp.FAR]
	qers byID[uint32, *pfcp.QER]
	urrs byID[uint32, *pfcp.URR]
	*rareRules
}

// rareRules is what few sessions have.
type rareRules struct {
	mars      byID[uint16, *pfcp.MAR]
	bars      byID[uint8, *pfcp.BAR]
	endpoints byID[uint8, *pfcp.TrafficEndpoint]
	srrs      byID[uint8, *pfcp.SRR]
	network   pfcp.Network

	atsss       *pfcp.ATSSSControl // what the CP function asks for; nil = it has said nothing
	asking      bool               // the request under way has said so; not kept
	unavailable steer.Set          // accesses that are so as the CP function knows
}

// noRareRules are those of a session that has none. Nobody writes them: who changes a
// rule set has cloned it.
var noRareRules rareRules

// newRuleSet is an empty set to be filled.
func newRuleSet() ruleSet { return ruleSet{rareRules: &rareRules{}} }

// clone is a copy of r to be changed that shares the rules.
func (r ruleSet) clone() ruleSet {
	return ruleSet{
		pdrs: r.pdrs.clone(), fars: r.fars.clone(), qers: r.qers.clone(), urrs: r.urrs.clone(),
		rareRules: &rareRules{
			mars: r.mars.clone(), bars: r.bars.clone(), endpoints: r.endpoints.clone(), srrs: r.srrs.clone(), network: r.network,
			atsss: r.atsss, asking: r.asking, unavailable: r.unavailable,
		},
	}
}

// kept is r as a session keeps it.
func (r ruleSet) kept() ruleSet {
	r.asking = false
	if len(r.mars)+len(r.bars)+len(r.endpoints)+len(r.srrs) == 0 && r.network == (pfcp.Network{}) && r.atsss == nil && r.unavailable == 0 {
		r.rareRules = &noRareRules
	}
	return r
}

// ruleError is a rule creation or modification failure.
func ruleError(kind pfcp.RuleKind, id uint32, offending uint16, text string) *pfcp.Error {
	return &pfcp.Error{
		Cause: ie.CauseRuleCreationModificationFailure, Offending: offending,
		Rule: pfcp.RuleID{Kind: kind, ID: id}, Text: text,
	}
}

// absent is the lack of an IE that rule kind id needs when it is made.
func absent(cause uint8, kind pfcp.RuleKind, id uint32, offending uint16, text string) *pfcp.Error {
	return &pfcp.Error{Cause: cause, Offending: offending, Rule: pfcp.RuleID{Kind: kind, ID: id}, Text: text}
}

// each calls f with each IE of list until one fails.
func each(list []*ie.IE, f func(*ie.IE) *pfcp.Error) *pfcp.Error {
	for _, i := range list {
		if err := f(i); err != nil {
			return err
		}
	}
	return nil
}

// establish fills an empty set from a Session Establishment Request.
func (r *ruleSet) establish(m *message.SessionEstablishmentRequest) *pfcp.Error {
	if len(m.CreatePDR) == 0 {
		return &pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: ie.CreatePDR, Text: "no Create PDR"}
	}
	if len(m.CreateFAR) == 0 {
		return &pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: ie.CreateFAR, Text: "no Create FAR"}
	}
	if err := carriesIP(m.PDNType); err != nil {
		return err
	}
	var err *pfcp.Error
	if r.network, err = pfcp.ParseNetwork(m.APNDNN, m.SNSSAI); err != nil {
		return err
	}
	if err := r.provide(m.ProvideATSSSControlInformation); err != nil {
		return err
	}
	if err := each(m.CreateSRR, r.createSRR); err != nil {
		return err
	}
	return r.create(m.CreatePDR, m.CreateFAR, m.CreateQER, m.CreateURR, m.CreateMAR, atMostOne(m.CreateBAR), m.CreateTrafficEndpoint)
}

// modify changes the set as a Session Modification Request says: removals first,
// so that an ID can be used again in the same request, then creations, then
// updates. It stops at the first failure; the caller throws the set away. moved are
// the FARs whose former tunnel is to get an End Marker.
func (r *ruleSet) modify(m *message.SessionModificationRequest) (moved []uint32, err *pfcp.Error) {
	if err := r.provide(m.ProvideATSSSControlInformation); err != nil {
		return nil, err
	}
	if err := r.availability(m.AccessAvailabilityInformation); err != nil {
		return nil, err
	}
	if err := r.remove(m); err != nil {
		return nil, err
	}
	if err := r.create(m.CreatePDR, m.CreateFAR, m.CreateQER, m.CreateURR, m.CreateMAR, atMostOne(m.CreateBAR), m.CreateTrafficEndpoint); err != nil {
		return nil, err
	}
	if err := each(m.CreateSRR, r.createSRR); err != nil {
		return nil, err
	}
	return r.update(m)
}

// carriesIP refuses a session of other than IP packets; the PDN Type IE (TS 29.244
// §8.2.79) may be nil.
func carriesIP(i *ie.IE) *pfcp.Error {
	const ipv4v6 = 3
	if i == nil || len(i.Payload) > 0 && i.Payload[0]&7 <= ipv4v6 {
		return nil
	}
	return &pfcp.Error{Cause: ie.CauseServiceNotSupported, Offending: ie.PDNType, Text: fmt.Sprintf("PDN type %x, known are IPv4, IPv6 and IPv4v6 (1 to 3)", i.Payload)}
}

// atMostOne is the list of an IE that a message has once or not at all.
func atMostOne(i *ie.IE) []*ie.IE {
	if i == nil {
		return nil
	}
	return []*ie.IE{i}
}

func (r *ruleSet) create(pdrs, fars, qers, urrs, mars, bars, endpoints []*ie.IE) *pfcp.Error {
	steps := []struct {
		list []*ie.IE
		make func(*ie.IE) *pfcp.Error
	}{
		{pdrs, r.createPDR},
		{fars, r.createFAR},
		{qers, r.createQER},
		{urrs, r.createURR},
		{mars, r.createMAR},
		{bars, r.createBAR},
		{endpoints, r.createEndpoint},
	}
	for _, s := range steps {
		if err := each(s.list, s.make); err != nil {
			return err
		}
	}
	return nil
}

const twice = "is there already"

func (r *ruleSet) createPDR(i *ie.IE) *pfcp.Error {
	p, err := pfcp.ParsePDR(i)
	if err != nil {
		return err
	}
	id := uint32(p.ID)
	switch {
	case r.pdrs.get(p.ID) != nil:
		return ruleError(pfcp.RulePDR, id, ie.PDRID, twice)
	case p.Precedence == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RulePDR, id, ie.Precedence, "no Precedence")
	case p.PDI == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RulePDR, id, ie.PDI, "no PDI")
	}
	r.pdrs.put(p)
	return nil
}

func (r *ruleSet) createFAR(i *ie.IE) *pfcp.Error {
	f, err := pfcp.ParseFAR(i)
	if err != nil {
		return err
	}
	switch {
	case r.fars.get(f.ID) != nil:
		return ruleError(pfcp.RuleFAR, f.ID, ie.FARID, twice)
	case f.ApplyAction == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleFAR, f.ID, ie.ApplyAction, "no Apply Action")
	}
	r.fars.put(f)
	return nil
}

func (r *ruleSet) createQER(i *ie.IE) *pfcp.Error {
	q, err := pfcp.ParseQER(i)
	if err != nil {
		return err
	}
	switch {
	case r.qers.get(q.ID) != nil:
		return ruleError(pfcp.RuleQER, q.ID, ie.QERID, twice)
	case q.Gate == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleQER, q.ID, ie.GateStatus, "no Gate Status")
	}
	r.qers.put(q)
	return nil
}

func (r *ruleSet) createURR(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseURR(i)
	if err != nil {
		return err
	}
	switch {
	case r.urrs.get(u.ID) != nil:
		return ruleError(pfcp.RuleURR, u.ID, ie.URRID, twice)
	case u.Method == 0:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleURR, u.ID, ie.MeasurementMethod, "no Measurement Method")
	case !u.HasTriggers:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleURR, u.ID, ie.ReportingTriggers, "no Reporting Triggers")
	case u.Unsupported != 0:
		return ruleError(pfcp.RuleURR, u.ID, u.Unsupported, "is not supported")
	}
	r.urrs.put(u)
	return nil
}

func (r *ruleSet) createMAR(i *ie.IE) *pfcp.Error {
	m, err := pfcp.ParseMAR(i)
	if err != nil {
		return err
	}
	id := uint32(m.ID)
	switch {
	case r.mars.get(m.ID) != nil:
		return ruleError(pfcp.RuleMAR, id, ie.MARID, twice)
	case m.Functionality == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleMAR, id, ie.SteeringFunctionality, "no Steering Functionality")
	case m.Mode == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleMAR, id, ie.SteeringMode, "no Steering Mode")
	}
	r.mars.put(m)
	return nil
}
