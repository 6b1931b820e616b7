package upftest

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// smf is the CP function of a test: it answers what UPFs ask and keeps their reports.
type smf struct {
	*host
	addr     netip.Addr
	endpoint *pfcp.Endpoint
	nextSEID atomic.Uint64

	mu      sync.Mutex
	reports []*message.SessionReportRequest
	nodes   []*message.NodeReportRequest
}

func newSMF(h *host, a netip.Addr) *smf {
	h.t.Helper()
	s := &smf{host: h, addr: a}
	h.check(h.do(func() (err error) {
		s.endpoint, err = pfcp.Listen(pfcp.Config{
			Addr: netip.AddrPortFrom(a, pfcp.Port), RetransTimeout: 3 * time.Second, MaxRetrans: 2,
		}, s.answer)
		return err
	}))
	h.t.Cleanup(func() { _ = s.endpoint.Close() })
	return s
}

var smfStarted = time.Now()

func (s *smf) answer(_ netip.AddrPort, req message.Message) message.Message {
	accepted := ie.NewCause(ie.CauseRequestAccepted)
	switch m := req.(type) {
	case *message.HeartbeatRequest:
		return message.NewHeartbeatResponse(0, pfcp.RecoveryTimeStampIE(smfStarted))
	case *message.SessionReportRequest:
		s.mu.Lock()
		s.reports = append(s.reports, m)
		s.mu.Unlock()
		return message.NewSessionReportResponse(0, 0, m.SEID(), 0, 0, accepted)
	case *message.NodeReportRequest:
		s.mu.Lock()
		s.nodes = append(s.nodes, m)
		s.mu.Unlock()
		return message.NewNodeReportResponse(0, pfcp.NodeIDIE(s.addr.String()), accepted, nil)
	}
	s.t.Errorf("the UPF asks for %s", req.MessageTypeName())
	return nil
}

// reported are the Session Report Requests so far for a session.
func (s *smf) reported(sess *session) (of []*message.SessionReportRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.reports {
		if r.SEID() == sess.cp {
			of = append(of, r)
		}
	}
	return of
}

func (s *smf) nodeReports() []*message.NodeReportRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*message.NodeReportRequest(nil), s.nodes...)
}

// ask sends a request to a UPF and returns its answer, whatever that says.
func (s *smf) ask(upf netip.Addr, req message.Message) (message.Message, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*eventTime)
	defer cancel()
	return s.endpoint.Request(ctx, netip.AddrPortFrom(upf, pfcp.Port), req)
}

// associate sets up an association and returns the UPF's Recovery Time Stamp.
func (s *smf) associate(upf netip.Addr) time.Time {
	s.t.Helper()
	resp, err := s.ask(upf, message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(s.addr.String()), pfcp.RecoveryTimeStampIE(smfStarted), ie.NewCPFunctionFeatures(0)))
	s.check(err)
	m, ok := resp.(*message.AssociationSetupResponse)
	if !ok {
		s.t.Fatalf("answer to an association setup: %s", resp.MessageTypeName())
	}
	s.check(refused(m.Cause))
	started, perr := pfcp.ParseRecoveryTimeStamp(m.RecoveryTimeStamp)
	if perr != nil {
		s.t.Fatal(perr)
	}
	return started
}

// refused is an error unless a Cause is acceptance.
func refused(cause *ie.IE) error {
	if cause == nil || len(cause.Payload) == 0 {
		return fmt.Errorf("answer without a Cause")
	}
	if c := cause.Payload[0]; c != ie.CauseRequestAccepted {
		return causeError(c)
	}
	return nil
}

// causeError is the Cause of a refusal.
type causeError uint8

func (e causeError) Error() string { return fmt.Sprintf("refused, cause %d", uint8(e)) }

// session is a PFCP session.
type session struct {
	smf      *smf
	upf      netip.Addr
	cp, up   uint64 // SEIDs
	response *message.SessionEstablishmentResponse
}

// tryEstablish establishes a session with these rules.
func (s *smf) tryEstablish(upf netip.Addr, rules ...*ie.IE) (*session, error) {
	sess := &session{smf: s, upf: upf, cp: s.nextSEID.Add(1)}
	resp, err := s.ask(upf, message.NewSessionEstablishmentRequest(0, 0, 0, 0, 0,
		append([]*ie.IE{pfcp.NodeIDIE(s.addr.String()), pfcp.FSEID{SEID: sess.cp, IPv4: s.addr}.IE()}, rules...)...))
	if err != nil {
		return nil, err
	}
	m, ok := resp.(*message.SessionEstablishmentResponse)
	if !ok {
		return nil, fmt.Errorf("answer to an establishment: %s", resp.MessageTypeName())
	}
	if err := refused(m.Cause); err != nil {
		return nil, err
	}
	if m.SEID() != sess.cp {
		return nil, fmt.Errorf("SEID %#x in the answer's header, want %#x", m.SEID(), sess.cp)
	}
	f, perr := pfcp.ParseFSEID(m.UPFSEID)
	if perr != nil {
		return nil, perr
	}
	sess.up, sess.response = f.SEID, m
	return sess, nil
}

func (s *smf) establish(upf netip.Addr, rules ...*ie.IE) *session {
	s.t.Helper()
	sess, err := s.tryEstablish(upf, rules...)
	s.check(err)
	return sess
}

// tryModify modifies the session as free5GC does, with the CP F-SEID in every request.
func (s *session) tryModify(rules ...*ie.IE) (*message.SessionModificationResponse, error) {
	resp, err := s.smf.ask(s.upf, message.NewSessionModificationRequest(0, 0, s.up, 0, 0,
		append([]*ie.IE{pfcp.FSEID{SEID: s.cp, IPv4: s.smf.addr}.IE()}, rules...)...))
	if err != nil {
		return nil, err
	}
	m, ok := resp.(*message.SessionModificationResponse)
	if !ok {
		return nil, fmt.Errorf("answer to a modification: %s", resp.MessageTypeName())
	}
	return m, refused(m.Cause)
}

func (s *session) modify(rules ...*ie.IE) *message.SessionModificationResponse {
	s.smf.t.Helper()
	m, err := s.tryModify(rules...)
	s.smf.check(err)
	return m
}

// remove deletes the session.
func (s *session) remove() *message.SessionDeletionResponse {
	s.smf.t.Helper()
	resp, err := s.smf.ask(s.upf, message.NewSessionDeletionRequest(0, 0, s.up, 0, 0))
	s.smf.check(err)
	m, ok := resp.(*message.SessionDeletionResponse)
	if !ok {
		s.smf.t.Fatalf("answer to a deletion: %s", resp.MessageTypeName())
	}
	s.smf.check(refused(m.Cause))
	return m
}
