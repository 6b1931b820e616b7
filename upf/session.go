package upf

import (
	"maps"
	"slices"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// session is a PFCP session.
type session struct {
	seid   uint64     // UP F-SEID's
	cp     pfcp.FSEID // CP F-SEID
	node   string     // node ID of the CP function
	rules  ruleSet
	holds  identity
	chosen map[uint8]pfcp.FTEID // CHOOSE ID to F-TEID, as long as a PDR has that
	usage  *sessionUsage        // nil if the session has had nothing to measure nor to report yet
}

// cpSession is how the CP function names the session.
func (s *session) cpSession() cpSession { return cpSession{s.node, s.cp} }

// cpSession names a session by its node and CP F-SEID.
type cpSession struct {
	node string
	cp   pfcp.FSEID
}

// ruleSet are the rules of a session as the CP function gave them, by ID. The
// rules are immutable: a change puts a new one in the place of the old.
type ruleSet struct {
	pdrs map[uint16]*pfcp.PDR
	fars map[uint32]*pfcp.FAR
	qers map[uint32]*pfcp.QER
	mars map[uint16]*pfcp.MAR
	urrs map[uint32]*pfcp.URR
}

func newRuleSet() ruleSet {
	return ruleSet{
		pdrs: map[uint16]*pfcp.PDR{}, fars: map[uint32]*pfcp.FAR{}, qers: map[uint32]*pfcp.QER{},
		mars: map[uint16]*pfcp.MAR{}, urrs: map[uint32]*pfcp.URR{},
	}
}

func (r ruleSet) clone() ruleSet {
	return ruleSet{maps.Clone(r.pdrs), maps.Clone(r.fars), maps.Clone(r.qers), maps.Clone(r.mars), maps.Clone(r.urrs)}
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
func (r ruleSet) establish(m *message.SessionEstablishmentRequest) *pfcp.Error {
	if len(m.CreatePDR) == 0 {
		return &pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: ie.CreatePDR, Text: "no Create PDR"}
	}
	if len(m.CreateFAR) == 0 {
		return &pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: ie.CreateFAR, Text: "no Create FAR"}
	}
	if len(m.CreateTrafficEndpoint) > 0 {
		return &pfcp.Error{Cause: ie.CauseServiceNotSupported, Offending: ie.CreateTrafficEndpoint, Text: "traffic endpoints are not there"}
	}
	return r.create(m.CreatePDR, m.CreateFAR, m.CreateQER, m.CreateURR, m.CreateMAR)
}

// modify changes the set as a Session Modification Request says: removals first,
// so that an ID can be used again in the same request, then creations, then
// updates. It stops at the first failure; the caller throws the set away.
func (r ruleSet) modify(m *message.SessionModificationRequest) *pfcp.Error {
	if len(m.CreateTrafficEndpoint)+len(m.UpdateTrafficEndpoint) > 0 {
		return &pfcp.Error{Cause: ie.CauseServiceNotSupported, Offending: ie.CreateTrafficEndpoint, Text: "traffic endpoints are not there"}
	}
	if err := r.remove(m); err != nil {
		return err
	}
	if err := r.create(m.CreatePDR, m.CreateFAR, m.CreateQER, m.CreateURR, m.CreateMAR); err != nil {
		return err
	}
	return r.update(m)
}

func (r ruleSet) create(pdrs, fars, qers, urrs, mars []*ie.IE) *pfcp.Error {
	steps := []struct {
		list []*ie.IE
		make func(*ie.IE) *pfcp.Error
	}{{pdrs, r.createPDR}, {fars, r.createFAR}, {qers, r.createQER}, {urrs, r.createURR}, {mars, r.createMAR}}
	for _, s := range steps {
		if err := each(s.list, s.make); err != nil {
			return err
		}
	}
	return nil
}

const twice = "is there already"

func (r ruleSet) createPDR(i *ie.IE) *pfcp.Error {
	p, err := pfcp.ParsePDR(i)
	if err != nil {
		return err
	}
	id := uint32(p.ID)
	switch {
	case r.pdrs[p.ID] != nil:
		return ruleError(pfcp.RulePDR, id, ie.PDRID, twice)
	case p.Precedence == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RulePDR, id, ie.Precedence, "no Precedence")
	case p.PDI == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RulePDR, id, ie.PDI, "no PDI")
	}
	r.pdrs[p.ID] = p
	return nil
}

func (r ruleSet) createFAR(i *ie.IE) *pfcp.Error {
	f, err := pfcp.ParseFAR(i)
	if err != nil {
		return err
	}
	switch {
	case r.fars[f.ID] != nil:
		return ruleError(pfcp.RuleFAR, f.ID, ie.FARID, twice)
	case f.ApplyAction == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleFAR, f.ID, ie.ApplyAction, "no Apply Action")
	}
	r.fars[f.ID] = f
	return nil
}

func (r ruleSet) createQER(i *ie.IE) *pfcp.Error {
	q, err := pfcp.ParseQER(i)
	if err != nil {
		return err
	}
	switch {
	case r.qers[q.ID] != nil:
		return ruleError(pfcp.RuleQER, q.ID, ie.QERID, twice)
	case q.Gate == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleQER, q.ID, ie.GateStatus, "no Gate Status")
	}
	r.qers[q.ID] = q
	return nil
}

func (r ruleSet) createURR(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseURR(i)
	if err != nil {
		return err
	}
	switch {
	case r.urrs[u.ID] != nil:
		return ruleError(pfcp.RuleURR, u.ID, ie.URRID, twice)
	case u.Method == 0:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleURR, u.ID, ie.MeasurementMethod, "no Measurement Method")
	case u.Triggers == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleURR, u.ID, ie.ReportingTriggers, "no Reporting Triggers")
	case u.Unsupported != 0:
		return ruleError(pfcp.RuleURR, u.ID, u.Unsupported, "is not supported")
	}
	r.urrs[u.ID] = u
	return nil
}

func (r ruleSet) createMAR(i *ie.IE) *pfcp.Error {
	m, err := pfcp.ParseMAR(i)
	if err != nil {
		return err
	}
	id := uint32(m.ID)
	switch {
	case r.mars[m.ID] != nil:
		return ruleError(pfcp.RuleMAR, id, ie.MARID, twice)
	case m.Functionality == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleMAR, id, ie.SteeringFunctionality, "no Steering Functionality")
	case m.Mode == nil:
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleMAR, id, ie.SteeringMode, "no Steering Mode")
	case m.Access[0] == nil && m.Access[1] == nil:
		return absent(ie.CauseConditionalIEMissing, pfcp.RuleMAR, id, ie.TGPPAccessForwardingActionInformation, "no access forwarding action information")
	}
	r.mars[m.ID] = m
	return nil
}

const unknown = "is not there"

func (r ruleSet) update(m *message.SessionModificationRequest) *pfcp.Error {
	steps := []struct {
		list   []*ie.IE
		change func(*ie.IE) *pfcp.Error
	}{{m.UpdatePDR, r.updatePDR}, {m.UpdateFAR, r.updateFAR}, {m.UpdateQER, r.updateQER}, {m.UpdateURR, r.updateURR}, {m.UpdateMAR, r.updateMAR}}
	for _, s := range steps {
		if err := each(s.list, s.change); err != nil {
			return err
		}
	}
	return nil
}

func (r ruleSet) updatePDR(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParsePDR(i)
	if err != nil {
		return err
	}
	old := r.pdrs[u.ID]
	if old == nil {
		return ruleError(pfcp.RulePDR, uint32(u.ID), ie.PDRID, unknown)
	}
	p := *old
	p.Apply(u)
	r.pdrs[u.ID] = &p
	return nil
}

func (r ruleSet) updateFAR(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseFAR(i)
	if err != nil {
		return err
	}
	old := r.fars[u.ID]
	if old == nil {
		return ruleError(pfcp.RuleFAR, u.ID, ie.FARID, unknown)
	}
	f := *old
	f.Apply(u)
	r.fars[u.ID] = &f
	return nil
}

func (r ruleSet) updateQER(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseQER(i)
	if err != nil {
		return err
	}
	old := r.qers[u.ID]
	if old == nil {
		return ruleError(pfcp.RuleQER, u.ID, ie.QERID, unknown)
	}
	q := *old
	q.Apply(u)
	r.qers[u.ID] = &q
	return nil
}

func (r ruleSet) updateURR(i *ie.IE) *pfcp.Error {
	up, err := pfcp.ParseURR(i)
	if err != nil {
		return err
	}
	old := r.urrs[up.ID]
	switch {
	case old == nil:
		return ruleError(pfcp.RuleURR, up.ID, ie.URRID, unknown)
	case up.Unsupported != 0:
		return ruleError(pfcp.RuleURR, up.ID, up.Unsupported, "is not supported")
	}
	u := *old
	u.Apply(up)
	r.urrs[up.ID] = &u
	return nil
}

func (r ruleSet) updateMAR(i *ie.IE) *pfcp.Error {
	u, err := pfcp.ParseMAR(i)
	if err != nil {
		return err
	}
	old := r.mars[u.ID]
	if old == nil {
		return ruleError(pfcp.RuleMAR, uint32(u.ID), ie.MARID, unknown)
	}
	m := *old
	m.Apply(u)
	r.mars[u.ID] = &m
	return nil
}

// remove takes rules away. One that is not there is as the CP function wants it.
// QERs and URRs go out of the PDRs that name them; a FAR or a MAR that a rule
// still names is found by compile.
func (r ruleSet) remove(m *message.SessionModificationRequest) *pfcp.Error {
	steps := []struct {
		list []*ie.IE
		kind pfcp.RuleKind
		drop func(id uint32)
	}{
		{m.RemovePDR, pfcp.RulePDR, func(id uint32) { delete(r.pdrs, uint16(id)) }},
		{m.RemoveFAR, pfcp.RuleFAR, func(id uint32) { delete(r.fars, id) }},
		{m.RemoveURR, pfcp.RuleURR, r.removeURR},
		{m.RemoveQER, pfcp.RuleQER, r.removeQER},
		{m.RemoveMAR, pfcp.RuleMAR, func(id uint32) { delete(r.mars, uint16(id)) }},
	}
	for _, s := range steps {
		err := each(s.list, func(i *ie.IE) *pfcp.Error {
			id, err := pfcp.ParseRuleID(i, s.kind)
			if err == nil {
				s.drop(id)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r ruleSet) removeQER(id uint32) {
	delete(r.qers, id)
	for k, p := range r.pdrs {
		if slices.Contains(p.QERIDs, id) {
			q := *p
			q.QERIDs = without(p.QERIDs, id)
			r.pdrs[k] = &q
		}
	}
}

func (r ruleSet) removeURR(id uint32) {
	delete(r.urrs, id)
	for k, p := range r.pdrs {
		if slices.Contains(p.URRIDs, id) {
			q := *p
			q.URRIDs = without(p.URRIDs, id)
			r.pdrs[k] = &q
		}
	}
	for k, m := range r.mars {
		n := *m
		for i, a := range m.Access {
			if a != nil && slices.Contains(a.URRIDs, id) {
				b := *a
				b.URRIDs = without(a.URRIDs, id)
				n.Access[i] = &b
			}
		}
		if n.Access != m.Access {
			r.mars[k] = &n
		}
	}
}

func without(ids []uint32, id uint32) []uint32 {
	var out []uint32
	for _, v := range ids {
		if v != id {
			out = append(out, v)
		}
	}
	return out
}
