package smf

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/atsss/steer"
)

// session is one session of the policy and what the UPF has of it.
type session struct {
	cpSEID uint64
	up     bool // the UPF has it; the fields below are valid
	upSEID uint64
	have   Session // as the UPF has it
	mars   marIDs  // numbers of its MARs
	uplink [steer.NumAccesses]tunnel
	broken bool // the UPF has it, but what it answered cannot be used

	atsss   *ATSSSParameters // what the UPF has ready
	reports []AccessReport   // see [SessionState]

	err error // why the last request for it was refused
}

// tunnel is a local F-TEID that the UPF chose.
type tunnel struct {
	teid uint32 // 0 = none
	addr netip.Addr
}

// establish creates want on the UPF.
func (s *SMF) establish(ctx context.Context, ses *session, want *Session) error {
	const name = "Session Establishment Request"
	ies := append([]*ie.IE{nodeID(s.node), fseid(ses.cpSEID, s.node)}, establishmentRules(want)...)
	answer, err := s.endpoint.Request(ctx, s.peer, message.NewSessionEstablishmentRequest(0, 0, 0, 0, 0, ies...))
	if err != nil {
		return err
	}
	resp, ok := answer.(*message.SessionEstablishmentResponse)
	if !ok {
		return fmt.Errorf("%s answered by a %s", name, answer.MessageTypeName())
	}
	if err := accepted(name, resp.Cause, resp.OffendingIE, resp.FailedRuleID); err != nil {
		return err
	}
	if resp.UPFSEID == nil {
		return fmt.Errorf("%s: the answer has no UP F-SEID", name)
	}
	f, err := resp.UPFSEID.FSEID()
	if err != nil {
		return fmt.Errorf("%s: UP F-SEID of the answer: %w", name, err)
	}
	// From here on the session exists on the UPF, whatever else the answer lacks.
	ses.up, ses.upSEID, ses.have, ses.mars = true, f.SEID, want.clone(), firstMARs(want)
	ses.uplink = [steer.NumAccesses]tunnel{}
	ses.atsss, ses.reports = nil, nil
	s.seids.set(ses.cpSEID, ses.upSEID)
	if err := ses.takeAnswer(name, resp.SEID(), resp.CreatedPDR); err != nil {
		return err
	}
	if ses.atsss, err = takeParameters(&want.ATSSS, resp.ATSSSControlParameters); err != nil {
		ses.broken = true
		return fmt.Errorf("%s: %w", name, err)
	}
	s.log.Info("session established", "name", want.Name, "cp_seid", ses.cpSEID, "up_seid", ses.upSEID)
	ses.atsss.log(s.log.With("name", want.Name))
	return nil
}

// modify brings the session to want; [mustReplace] must have said no. Without a
// difference it sends nothing.
func (s *SMF) modify(ctx context.Context, ses *session, want *Session) error {
	const name = "Session Modification Request"
	ies, mars := modificationRules(&ses.have, want, ses.mars)
	if len(ies) == 0 {
		return nil
	}
	answer, err := s.endpoint.Request(ctx, s.peer, message.NewSessionModificationRequest(0, 0, ses.upSEID, 0, 0, ies...))
	if err != nil {
		return err
	}
	resp, ok := answer.(*message.SessionModificationResponse)
	if !ok {
		return fmt.Errorf("%s answered by a %s", name, answer.MessageTypeName())
	}
	if err := accepted(name, resp.Cause, resp.OffendingIE, resp.FailedRuleID); err != nil {
		return err
	}
	ses.have, ses.mars = want.clone(), mars
	for _, a := range accessList {
		if want.Accesses[a] == nil {
			ses.uplink[a] = tunnel{}
		}
	}
	if err := ses.takeAnswer(name, resp.SEID(), resp.CreatedPDR); err != nil {
		return err
	}
	s.log.Info("session modified", "name", want.Name, "rules", len(ies))
	return nil
}

// remove deletes the session from the UPF.
func (s *SMF) remove(ctx context.Context, ses *session) error {
	const name = "Session Deletion Request"
	answer, err := s.endpoint.Request(ctx, s.peer, message.NewSessionDeletionRequest(0, 0, ses.upSEID, 0, 0))
	if err != nil {
		return err
	}
	resp, ok := answer.(*message.SessionDeletionResponse)
	if !ok {
		return fmt.Errorf("%s answered by a %s", name, answer.MessageTypeName())
	}
	if err := accepted(name, resp.Cause, resp.OffendingIE, nil); err != nil {
		return err
	}
	s.log.Info("session deleted", "name", ses.have.Name)
	s.forget(ses)
	return nil
}

// forget notes that the UPF does not have the session.
func (s *SMF) forget(ses *session) {
	ses.up, ses.broken, ses.upSEID, ses.uplink = false, false, 0, [steer.NumAccesses]tunnel{}
	s.seids.delete(ses.cpSEID)
}

// takeAnswer checks the SEID of an accepting answer and keeps the tunnels that
// the UPF chose. An error leaves the session broken.
func (ses *session) takeAnswer(name string, seid uint64, created []*ie.IE) (err error) {
	defer func() { ses.broken = err != nil }()
	if seid != ses.cpSEID {
		return fmt.Errorf("%s: the answer is for SEID %#x, ours is %#x", name, seid, ses.cpSEID)
	}
	for _, c := range created {
		if err := ses.takeCreatedPDR(c); err != nil {
			return fmt.Errorf("%s: Created PDR: %w", name, err)
		}
	}
	for _, a := range accessList {
		if ses.have.Accesses[a] != nil && ses.uplink[a].teid == 0 {
			return fmt.Errorf("%s: the answer has no F-TEID for PDR %d", name, uplinkPDR(a))
		}
	}
	return nil
}

func (ses *session) takeCreatedPDR(created *ie.IE) error {
	id, err := created.PDRID()
	if err != nil {
		return fmt.Errorf("PDR ID: %w", err)
	}
	for _, a := range accessList {
		if uplinkPDR(a) != id {
			continue
		}
		f, err := created.FTEID()
		if err != nil {
			return fmt.Errorf("F-TEID of PDR %d: %w", id, err)
		}
		raw := f.IPv4Address
		if ses.have.Accesses[a] != nil && ses.have.Accesses[a].Peer.Is6() {
			raw = f.IPv6Address
		}
		addr, ok := netip.AddrFromSlice(raw)
		if !ok || f.TEID == 0 {
			return fmt.Errorf("F-TEID of PDR %d: no TEID, or no address of the IP version asked for", id)
		}
		ses.uplink[a] = tunnel{f.TEID, addr}
	}
	return nil
}

// state is the session, which the policy wants, as the state file shows it.
func (ses *session) state(want *Session) SessionState {
	st := SessionState{Name: want.Name, UE: want.UE, CPSEID: fmt.Sprintf("%#x", ses.cpSEID), Uplink: []Tunnel{}}
	if ses.err != nil {
		st.Error = ses.err.Error()
	}
	if !ses.up {
		return st
	}
	st.UPSEID = fmt.Sprintf("%#x", ses.upSEID)
	st.ATSSS, st.Reports = ses.atsss, ses.reports
	for _, a := range accessList {
		if t := ses.uplink[a]; t.teid != 0 {
			st.Uplink = append(st.Uplink, Tunnel{Access: a.String(), TEID: fmt.Sprintf("%#x", t.teid), Address: t.addr.String()})
		}
	}
	return st
}

// nodeID and fseid name us by our N4 address.
func nodeID(addr netip.Addr) *ie.IE { return ie.NewNodeIDHeuristic(addr.String()) }

func fseid(seid uint64, addr netip.Addr) *ie.IE {
	if addr.Is4() {
		return ie.NewFSEID(seid, net.IP(addr.AsSlice()), nil)
	}
	return ie.NewFSEID(seid, nil, net.IP(addr.AsSlice()))
}
