package smf

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/pfcp"
)

// fakeUPF is the UPF's end of N4: it keeps rules, forwards nothing. Tests script
// what it passes over in silence and what it refuses.
type fakeUPF struct {
	endpoint *pfcp.Endpoint

	mu         sync.Mutex
	started    time.Time                      // its Recovery Time Stamp
	associated bool                           // an SMF is
	rules      map[uint64]*ruleStore          // by UP SEID
	nextSEID   uint64                         // UP SEIDs count up and are never used again
	heard      []message.Message              // every request heard, silence or not, heartbeats left out
	silent     func(message.Message) bool     // nil = never
	refuse     func(message.Message) []*ie.IE // Cause and the rest of a refusal; nil = never
	seidError  uint64                         // is added to the SEID of its establishment responses
	mangle     func(created *ie.IE)           // may change a Created PDR before it is sent; nil = never
	parameters *ie.IE                         // ATSSS Control Parameters of its establishment responses; nil = none
}

// IE types that go-pfcp has no names for.
const (
	typeThresholds            = 288
	typeSteeringModeIndicator = 289
)

// newFakeUPF listens on a free port of the loopback interface.
func newFakeUPF(t *testing.T) *fakeUPF {
	t.Helper()
	u := &fakeUPF{started: time.Now().Add(-time.Hour), rules: map[uint64]*ruleStore{}}
	var err error
	u.endpoint, err = pfcp.Listen(pfcp.Config{Addr: netip.MustParseAddrPort("127.0.0.1:0"), RetransTimeout: 20 * time.Millisecond, MaxRetrans: 20}, u.serve)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.endpoint.Close() })
	return u
}

// change runs f while no request is being served.
func (u *fakeUPF) change(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
}

// restart forgets everything and comes back with a later Recovery Time Stamp.
func (u *fakeUPF) restart() {
	u.change(func() {
		u.started = u.started.Add(time.Minute)
		u.associated, u.rules, u.heard = false, map[uint64]*ruleStore{}, nil
	})
}

// sessions gives what the rules of every session do, rising UP SEID.
func (u *fakeUPF) sessions() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var all []string
	for seid := range u.nextSEID + 1 {
		if r := u.rules[seid]; r != nil {
			all = append(all, r.effect())
		}
	}
	return all
}

// names gives the requests heard by name, since the last call, one for several of
// the same sequence number.
func (u *fakeUPF) names() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var names []string
	last := uint32(1 << 30)
	for _, m := range u.heard {
		if m.Sequence() != last {
			names = append(names, m.MessageTypeName())
		}
		last = m.Sequence()
	}
	u.heard = nil
	return names
}

func (u *fakeUPF) serve(_ netip.AddrPort, req message.Message) message.Message {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, beat := req.(*message.HeartbeatRequest); !beat {
		u.heard = append(u.heard, req)
	}
	if u.silent != nil && u.silent(req) {
		return nil
	}
	var refusal []*ie.IE
	if u.refuse != nil {
		refusal = u.refuse(req)
	}
	node, ok := ie.NewNodeID("127.0.0.1", "", ""), ie.NewCause(ie.CauseRequestAccepted)
	switch m := req.(type) {
	case *message.HeartbeatRequest:
		return message.NewHeartbeatResponse(0, ie.NewRecoveryTimeStamp(u.started))
	case *message.AssociationSetupRequest:
		if refusal != nil {
			return message.NewAssociationSetupResponse(0, append(refusal, node)...)
		}
		u.associated, u.rules = true, map[uint64]*ruleStore{}
		return message.NewAssociationSetupResponse(0, node, ok, ie.NewRecoveryTimeStamp(u.started), ie.NewUPFunctionFeatures(0x10, 0, 0))
	case *message.AssociationReleaseRequest:
		u.associated = false
		return message.NewAssociationReleaseResponse(0, node, ok)
	case *message.SessionEstablishmentRequest:
		return u.establish(m, refusal)
	case *message.SessionModificationRequest:
		return u.modify(m, refusal)
	case *message.SessionDeletionRequest:
		if u.rules[m.SEID()] == nil {
			return message.NewSessionDeletionResponse(0, 0, 0, 0, 0, ie.NewCause(ie.CauseSessionContextNotFound))
		}
		cp := u.rules[m.SEID()].cpSEID
		delete(u.rules, m.SEID())
		return message.NewSessionDeletionResponse(0, 0, cp, 0, 0, ok)
	}
	return nil
}

func (u *fakeUPF) establish(m *message.SessionEstablishmentRequest, refusal []*ie.IE) message.Message {
	f, err := m.CPFSEID.FSEID()
	if err != nil {
		return nil
	}
	node := ie.NewNodeID("127.0.0.1", "", "")
	if !u.associated {
		refusal = []*ie.IE{ie.NewCause(ie.CauseNoEstablishedPFCPAssociation)}
	}
	store := &ruleStore{cpSEID: f.SEID}
	if err := store.apply(establishmentIEs(m)); err != nil && refusal == nil {
		refusal = []*ie.IE{ie.NewCause(ie.CauseRuleCreationModificationFailure)}
	}
	if refusal != nil {
		return message.NewSessionEstablishmentResponse(0, 0, f.SEID, 0, 0, append(refusal, node)...)
	}
	u.nextSEID++
	u.rules[u.nextSEID] = store
	ies := append([]*ie.IE{node, ie.NewCause(ie.CauseRequestAccepted), ie.NewFSEID(u.nextSEID, net.IP{127, 0, 0, 1}, nil)},
		u.created(u.nextSEID, m.CreatePDR)...)
	if u.parameters != nil {
		ies = append(ies, u.parameters)
	}
	return message.NewSessionEstablishmentResponse(0, 0, f.SEID+u.seidError, 0, 0, ies...)
}

func (u *fakeUPF) modify(m *message.SessionModificationRequest, refusal []*ie.IE) message.Message {
	store := u.rules[m.SEID()]
	if store == nil {
		return message.NewSessionModificationResponse(0, 0, 0, 0, 0, ie.NewCause(ie.CauseSessionContextNotFound))
	}
	if refusal == nil {
		if err := store.apply(modificationIEs(m)); err != nil {
			refusal = []*ie.IE{ie.NewCause(ie.CauseRuleCreationModificationFailure)}
		}
	}
	if refusal != nil {
		return message.NewSessionModificationResponse(0, 0, store.cpSEID, 0, 0, refusal...)
	}
	return message.NewSessionModificationResponse(0, 0, store.cpSEID, 0, 0,
		append(u.created(m.SEID(), m.CreatePDR), ie.NewCause(ie.CauseRequestAccepted))...)
}

// created chooses a TEID for each PDR that asks for one: UP SEID and PDR ID.
func (u *fakeUPF) created(seid uint64, pdrs []*ie.IE) []*ie.IE {
	var ies []*ie.IE
	for _, p := range pdrs {
		f := child(child(p, ie.PDI), ie.FTEID)
		if f == nil {
			continue
		}
		id := number(child(p, ie.PDRID))
		c := ie.NewCreatedPDR(ie.NewPDRID(uint16(id)), ie.NewFTEID(1, uint32(seid)<<8|uint32(id), net.IP{10, 100, 1, 1}, nil, 0))
		if u.mangle != nil {
			u.mangle(c)
		}
		ies = append(ies, c)
	}
	return ies
}

func establishmentIEs(m *message.SessionEstablishmentRequest) []*ie.IE {
	return slices.Concat(m.CreatePDR, m.CreateFAR, m.CreateQER, m.CreateMAR, m.CreateSRR)
}

func modificationIEs(m *message.SessionModificationRequest) []*ie.IE {
	return slices.Concat(m.RemovePDR, m.RemoveFAR, m.RemoveMAR, m.RemoveSRR,
		m.CreatePDR, m.CreateFAR, m.CreateMAR, m.CreateSRR,
		m.UpdatePDR, m.UpdateFAR, m.UpdateQER, m.UpdateMAR)
}

// ruleStore is a slow and obvious UPF's memory of one session: what rules say, as
// bytes of their IEs.
type ruleStore struct {
	cpSEID uint64
	pdrs   map[uint64]*storedPDR
	fars   map[uint64]*storedFAR
	mars   map[uint64]*storedMAR
	srrs   map[uint64]bool // asks for reports of access availability
	qfi    uint64
}

type storedPDR struct {
	pdi      []byte
	first    uint64 // precedence
	far, mar uint64 // 0 = none
}

type storedFAR struct {
	action      uint64
	destination uint64
	header      []byte
}

type storedMAR struct {
	functionality, mode   uint64
	indicator, thresholds uint64 // 0 = none
	access                [steer.NumAccesses]*storedAFAI
}

type storedAFAI struct {
	far              uint64
	weight, priority *ie.IE
}

// apply carries rules out and checks that every rule named is there afterwards.
func (r *ruleStore) apply(ies []*ie.IE) error {
	if r.pdrs == nil {
		r.pdrs, r.fars, r.mars = map[uint64]*storedPDR{}, map[uint64]*storedFAR{}, map[uint64]*storedMAR{}
		r.srrs = map[uint64]bool{}
	}
	for _, i := range ies {
		if err := r.applyOne(i); err != nil {
			return err
		}
	}
	for id, p := range r.pdrs {
		if (p.far == 0) == (p.mar == 0) || p.far != 0 && r.fars[p.far] == nil || p.mar != 0 && r.mars[p.mar] == nil {
			return fmt.Errorf("PDR %d: FAR %d, MAR %d", id, p.far, p.mar)
		}
	}
	for id, m := range r.mars {
		for _, f := range m.access {
			if f != nil && r.fars[f.far] == nil {
				return fmt.Errorf("MAR %d: FAR %d not found", id, f.far)
			}
		}
	}
	return nil
}

func (r *ruleStore) applyOne(i *ie.IE) error {
	switch i.Type {
	case ie.CreatePDR, ie.UpdatePDR, ie.RemovePDR:
		return r.applyPDR(i)
	case ie.CreateFAR, ie.UpdateFAR, ie.RemoveFAR:
		return r.applyFAR(i)
	case ie.CreateMAR, ie.UpdateMAR, ie.RemoveMAR:
		return r.applyMAR(i)
	case ie.CreateQER, ie.UpdateQER:
		r.qfi = number(child(i, ie.QFI))
	case ie.CreateSRR:
		info := child(child(i, ie.AccessAvailabilityControlInformation), ie.RequestedAccessAvailabilityInformation)
		r.srrs[number(child(i, ie.SRRID))] = number(info) == 1
	case ie.RemoveSRR:
		delete(r.srrs, number(child(i, ie.SRRID)))
	case ie.PDNType, ie.ProvideATSSSControlInformation:
	default:
		return fmt.Errorf("IE %d", i.Type)
	}
	return nil
}

// begin takes the rule that i creates, updates or removes out of rules, or says why
// it cannot; nil without an error: it is removed.
func begin[T any](rules map[uint64]*T, id uint64, i *ie.IE, create, remove uint16) (*T, error) {
	old, there := rules[id]
	switch {
	case i.Type == create && there:
		return nil, fmt.Errorf("create %d: is there", id)
	case i.Type != create && !there:
		return nil, fmt.Errorf("update or remove %d: is not there", id)
	case i.Type == create:
		old = new(T)
		rules[id] = old
	case i.Type == remove:
		delete(rules, id)
		old = nil
	}
	return old, nil
}

func (r *ruleStore) applyPDR(i *ie.IE) error {
	p, err := begin(r.pdrs, number(child(i, ie.PDRID)), i, ie.CreatePDR, ie.RemovePDR)
	if p == nil {
		return err
	}
	for _, c := range i.ChildIEs {
		switch c.Type {
		case ie.PDI:
			p.pdi = c.Payload
		case ie.Precedence:
			p.first = number(c)
		case ie.FARID:
			p.far, p.mar = number(c), 0
		case ie.MARID:
			p.mar, p.far = number(c), 0
		}
	}
	return nil
}

func (r *ruleStore) applyFAR(i *ie.IE) error {
	f, err := begin(r.fars, number(child(i, ie.FARID)), i, ie.CreateFAR, ie.RemoveFAR)
	if f == nil {
		return err
	}
	for _, c := range i.ChildIEs {
		switch c.Type {
		case ie.ApplyAction:
			f.action = number(c)
		case ie.ForwardingParameters, ie.UpdateForwardingParameters:
			f.destination = number(child(c, ie.DestinationInterface))
			if h := child(c, ie.OuterHeaderCreation); h != nil {
				f.header = h.Payload
			}
		}
	}
	return nil
}

func (r *ruleStore) applyMAR(i *ie.IE) error {
	m, err := begin(r.mars, number(child(i, ie.MARID)), i, ie.CreateMAR, ie.RemoveMAR)
	if m == nil {
		return err
	}
	for _, c := range i.ChildIEs {
		var a steer.Access
		switch c.Type {
		case ie.SteeringFunctionality:
			m.functionality = number(c)
			continue
		case ie.SteeringMode:
			m.mode, m.thresholds, m.indicator = number(c), 0, 0
			continue
		case typeThresholds:
			m.thresholds = number(c)
			continue
		case typeSteeringModeIndicator:
			m.indicator = number(c)
			continue
		case ie.TGPPAccessForwardingActionInformation, ie.UpdateTGPPAccessForwardingActionInformation:
			a = steer.Access3GPP
		case ie.NonTGPPAccessForwardingActionInformation, ie.UpdateNonTGPPAccessForwardingActionInformation:
			a = steer.AccessNon3GPP
		default:
			continue
		}
		create := c.Type == ie.TGPPAccessForwardingActionInformation || c.Type == ie.NonTGPPAccessForwardingActionInformation
		if create == (m.access[a] != nil) {
			return fmt.Errorf("access %s: created twice, or updated before", a)
		}
		if create {
			m.access[a] = &storedAFAI{far: number(child(c, ie.FARID))}
		}
		if w := child(c, ie.Weight); w != nil {
			m.access[a].weight = w
		}
		if p := child(c, ie.Priority); p != nil {
			m.access[a].priority = p
		}
	}
	return nil
}

// effect is what the rules do, whatever way they came to be: two stores of the
// same effect treat every packet alike.
func (r *ruleStore) effect() string {
	var b strings.Builder
	fmt.Fprintf(&b, "QFI %d, reports %v\n", r.qfi, r.srrs)
	far := func(id uint64) string {
		switch f := r.fars[id]; {
		case f.action != uint64(actionFORW):
			return "drop"
		default:
			return fmt.Sprintf("forward to %d, header %x", f.destination, f.header)
		}
	}
	for id := range uint64(100) {
		p := r.pdrs[id]
		switch {
		case p == nil:
		case p.far != 0:
			fmt.Fprintf(&b, "%x: %s\n", p.pdi, far(p.far))
		default:
			m := r.mars[p.mar]
			fmt.Fprintf(&b, "%d %x: functionality %d mode %d indicator %d thresholds %x\n", p.first, p.pdi, m.functionality, m.mode, m.indicator, m.thresholds)
			for a, f := range m.access {
				if f == nil {
					continue
				}
				var share uint64
				switch steer.Mode(m.mode) {
				case steer.LoadBalancing:
					share = number(f.weight)
				case steer.SmallestDelay:
				default:
					share = number(f.priority)
				}
				fmt.Fprintf(&b, "  %s share %d: %s\n", steer.Access(a), share, far(f.far))
			}
		}
	}
	return b.String()
}

// child is the first IE of that type in a group, or nil.
func child(group *ie.IE, typ uint16) *ie.IE {
	if group == nil {
		return nil
	}
	for _, c := range group.ChildIEs {
		if c.Type == typ {
			return c
		}
	}
	return nil
}

// number is the payload of an IE as a big-endian number; a missing one is 2^64-1.
func number(i *ie.IE) uint64 {
	if i == nil {
		return 1<<64 - 1
	}
	var v uint64
	for _, b := range i.Payload {
		v = v<<8 | uint64(b)
	}
	return v
}

// parsed sends IEs over the wire, so to speak: what a peer makes of them.
func parsed(t interface{ Fatal(...any) }, ies []*ie.IE) []*ie.IE {
	var b bytes.Buffer
	for _, i := range ies {
		raw, err := i.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b.Write(raw)
	}
	out, err := ie.ParseMultiIEs(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return out
}
