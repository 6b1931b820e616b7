package upf

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// Plane is the packet side: what holds the workers.
type Plane interface {
	// Install gives r to the worker that owns the session, in the place of the
	// session's rules of before if there are any, and returns when it has them.
	// After an error the rules of before are in force. It returns the last readings
	// of the URRs that r has no more.
	Install(r *dataplane.Rules) ([]dataplane.Usage, error)

	// Remove takes the session's rules away, returns when they are gone, and with
	// the last readings of their URRs.
	Remove(seid uint64) ([]dataplane.Usage, error)

	// Usage reads meters, of many sessions at once; a session that is not there has
	// an empty answer.
	Usage(q []dataplane.UsageQuery) ([]dataplane.UsageAnswer, error)

	// Events delivers what the workers notice. What they have emitted before Install,
	// Remove or Usage returns is in the channel by then. The server alone receives.
	Events() <-chan dataplane.Event

	// Echo sends a GTP-U Echo Request to peer (TS 29.281 §7.2.1); an EchoAnswered
	// event tells of the answer.
	Echo(peer netip.Addr) error
}

// Server is the N4 side of the UPF.
type Server struct {
	cfg      *Config
	plane    Plane
	log      *slog.Logger
	started  time.Time  // our Recovery Time Stamp
	fseid    pfcp.FSEID // our F-SEID without the SEID
	peerPort uint16     // where peers take requests
	endpoint *pfcp.Endpoint
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	running  sync.WaitGroup // the goroutines that the server has started
	events   eventReader
	reports  [reportSenders]chan nodeReport // to the goroutines that send them, see reportPaths

	mu       sync.Mutex // guards all below
	draining bool
	nodes    map[string]*node
	sessions map[uint64]*session
	byCP     map[cpSession]*session
	registry *registry
	paths    paths
	rep      *reporter
	applications
	joinGroups
}

// Listen binds N4 and starts to serve it. The rules go to plane; those of the
// sessions that the last orderly end of the UPF has left in the config's state file
// are there when it returns.
func Listen(cfg *Config, plane Plane, log *slog.Logger) (*Server, error) {
	return listen(cfg, plane, log, netip.AddrPortFrom(cfg.PFCP.Addr, pfcp.Port), pfcp.Port)
}

func listen(cfg *Config, plane Plane, log *slog.Logger, addr netip.AddrPort, peerPort uint16) (*Server, error) {
	s := newServer(cfg, plane, log)
	s.peerPort = peerPort
	var err error
	s.mu.Lock() // a request that comes at once waits until all is there
	defer s.mu.Unlock()
	s.endpoint, err = pfcp.Listen(pfcp.Config{
		Addr: addr, RetransTimeout: cfg.PFCP.RetransTimeout, MaxRetrans: cfg.PFCP.MaxRetrans,
		Allow: s.allow(), Malformed: s.malformed, Log: log,
	}, s.handle)
	if err != nil {
		return nil, err
	}
	s.rep.send = func(peer netip.AddrPort, m message.Message, done func(message.Message, error)) error {
		_, err := s.endpoint.Start(peer, m, done)
		return err
	}
	if cfg.Braid.State != "" {
		s.restore(cfg.Braid.State)
	}
	s.sendNodeReports()
	s.supervisePaths()
	s.running.Go(func() { s.reportLoop(s.ctx.Done()) })
	s.startEvents()
	return s, nil
}

func newServer(cfg *Config, plane Plane, log *slog.Logger) *Server {
	s := &Server{
		cfg: cfg, plane: plane, log: log, started: time.Now(),
		nodes: map[string]*node{}, sessions: map[uint64]*session{}, byCP: map[cpSession]*session{}, registry: newRegistry(newPools(cfg.DNNs), cfg.Braid.ATSSS.LinkSpecific),
		paths: newPaths(cfg.Braid.Echo), applications: applications{map[string][]pfcp.FlowDescription{}},
		rep: newReporter(cfg),
	}
	for i := range s.reports {
		s.reports[i] = make(chan nodeReport, maxWaitingReports)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	addr := cfg.PFCP.Addr
	if id, err := netip.ParseAddr(cfg.PFCP.NodeID); err == nil && addr.IsUnspecified() {
		addr = id
	}
	if addr.Is4() {
		s.fseid.IPv4 = addr
	} else {
		s.fseid.IPv6 = addr
	}
	return s
}

// allow is the config's list of N4 peers as the endpoint asks it; nil = any.
func (s *Server) allow() func(netip.Addr) bool {
	if len(s.cfg.Braid.Peers) == 0 {
		return nil
	}
	return func(a netip.Addr) bool {
		for _, p := range s.cfg.Braid.Peers {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
}

// LocalAddr is the address that N4 is bound to.
func (s *Server) LocalAddr() netip.AddrPort { return s.endpoint.LocalAddr() }

// Dropped is the number of datagrams on N4 that came from outside the allow-list.
func (s *Server) Dropped() uint64 { return s.endpoint.Dropped() }

// Close ends N4, and waits until all that the server has started is gone. The
// sessions stay in the plane, which must run still; if the config names a state file,
// they are written into it for the next life of the UPF, with what their meters say:
// what the plane counts from then on is in nobody's report.
func (s *Server) Close() error {
	s.stop()
	err := s.endpoint.Close()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endEvents()
	if file := s.cfg.Braid.State; file != "" && err == nil {
		err = s.save(file)
	}
	return err
}

// handle answers a request; it is the endpoint's handler.
func (s *Server) handle(peer netip.AddrPort, req message.Message) message.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard(peer.Addr())
	cp, err := s.permit(peer.Addr(), req)
	if err != nil {
		return s.reject(req.MessageType(), cp, err)
	}
	s.rep.refresh()
	switch m := req.(type) {
	case *message.HeartbeatRequest:
		return s.heartbeat(peer, m)
	case *message.PFDManagementRequest:
		return s.pfdManagement(m)
	case *message.AssociationSetupRequest:
		return s.associationSetup(peer, m)
	case *message.AssociationUpdateRequest:
		return s.associationUpdate(m)
	case *message.AssociationReleaseRequest:
		return s.associationRelease(m)
	case *message.SessionSetDeletionRequest:
		return s.sessionSetDeletion(m)
	case *message.SessionEstablishmentRequest:
		return s.sessionEstablishment(m)
	case *message.SessionModificationRequest:
		return s.sessionModification(m)
	case *message.SessionDeletionRequest:
		return s.sessionDeletion(m)
	case *message.Generic:
		if m.MessageType() == pfcp.MsgSessionSetModificationRequest {
			return s.sessionSetModification(m)
		}
	}
	return s.reject(req.MessageType(), 0, &pfcp.Error{Cause: ie.CauseServiceNotSupported, Text: req.MessageTypeName()})
}

// malformed answers a request whose IEs could not be read.
func (s *Server) malformed(_ netip.AddrPort, typ uint8, seid uint64, why *pfcp.Error) message.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var cp uint64
	if sess := s.sessions[seid]; sess != nil {
		cp = sess.cp.seid
	}
	return s.reject(typ, cp, why)
}

// reject is the response to a request of type typ that refuses it; cp is the CP
// function's SEID, as far as it is known. A request that has no such response
// meets silence.
func (s *Server) reject(typ uint8, cp uint64, err *pfcp.Error) message.Message {
	s.log.Warn("request refused", "type", typ, "cpSEID", fmt.Sprintf("%#x", cp), "err", err)
	cause := ie.NewCause(err.Cause)
	var offending *ie.IE
	ies := []*ie.IE{cause}
	if err.Offending != 0 {
		offending = ie.NewOffendingIE(err.Offending)
		ies = append(ies, offending)
	}
	failed := func(ies []*ie.IE) []*ie.IE {
		if err.Cause == ie.CauseRuleCreationModificationFailure && err.Rule.Kind != 0 {
			ies = append(ies, err.Rule.IE())
		}
		return ies
	}
	switch typ {
	case message.MsgTypePFDManagementRequest:
		return message.NewPFDManagementResponse(0, cause, offending)
	case message.MsgTypeAssociationSetupRequest:
		return message.NewAssociationSetupResponse(0, s.nodeID(), cause, pfcp.RecoveryTimeStampIE(s.started), features())
	case message.MsgTypeAssociationUpdateRequest:
		return message.NewAssociationUpdateResponse(0, s.nodeID(), cause)
	case message.MsgTypeAssociationReleaseRequest:
		return message.NewAssociationReleaseResponse(0, s.nodeID(), cause)
	case message.MsgTypeSessionSetDeletionRequest:
		return message.NewSessionSetDeletionResponse(0, s.nodeID(), cause, offending)
	case pfcp.MsgSessionSetModificationRequest:
		return message.NewGenericWithoutSEID(pfcp.MsgSessionSetModificationResponse, 0, append([]*ie.IE{s.nodeID()}, ies...)...)
	case message.MsgTypeSessionEstablishmentRequest:
		return message.NewSessionEstablishmentResponse(0, 0, cp, 0, 0, failed(append([]*ie.IE{s.nodeID()}, ies...))...)
	case message.MsgTypeSessionModificationRequest:
		return message.NewSessionModificationResponse(0, 0, cp, 0, 0, failed(ies)...)
	case message.MsgTypeSessionDeletionRequest:
		return message.NewSessionDeletionResponse(0, 0, cp, 0, 0, ies...)
	}
	return nil
}

func (s *Server) nodeID() *ie.IE { return pfcp.NodeIDIE(s.cfg.PFCP.NodeID) }
