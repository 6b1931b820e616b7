package upf

import (
	"context"
	"errors"
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

	mu       sync.Mutex // guards all below
	nodes    map[string]*node
	sessions map[uint64]*session
	byCP     map[cpSession]*session
	registry *registry
	applications
	joinGroups
}

// node is a CP function that has set up an association (TS 29.244 §6.2.6).
type node struct {
	id       string
	addr     netip.Addr
	recovery time.Time // its Recovery Time Stamp
	stop     context.CancelFunc
}

// Listen binds N4 and starts to serve it. The rules go to plane.
func Listen(cfg *Config, plane Plane, log *slog.Logger) (*Server, error) {
	return listen(cfg, plane, log, netip.AddrPortFrom(cfg.PFCP.Addr, pfcp.Port), pfcp.Port)
}

func listen(cfg *Config, plane Plane, log *slog.Logger, addr netip.AddrPort, peerPort uint16) (*Server, error) {
	s := newServer(cfg, plane, log)
	s.peerPort = peerPort
	var err error
	s.mu.Lock() // a request that comes at once waits until the endpoint is stored
	defer s.mu.Unlock()
	s.endpoint, err = pfcp.Listen(pfcp.Config{
		Addr: addr, RetransTimeout: cfg.PFCP.RetransTimeout, MaxRetrans: cfg.PFCP.MaxRetrans,
		Malformed: s.malformed, Log: log,
	}, s.handle)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func newServer(cfg *Config, plane Plane, log *slog.Logger) *Server {
	s := &Server{
		cfg: cfg, plane: plane, log: log, started: time.Now(),
		nodes: map[string]*node{}, sessions: map[uint64]*session{}, byCP: map[cpSession]*session{}, registry: newRegistry(newPools(cfg.DNNs)),
	}
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

// LocalAddr is the address that N4 is bound to.
func (s *Server) LocalAddr() netip.AddrPort { return s.endpoint.LocalAddr() }

// Close ends N4. The sessions stay in the plane.
func (s *Server) Close() error {
	s.mu.Lock()
	for _, n := range s.nodes {
		n.stop()
	}
	s.mu.Unlock()
	return s.endpoint.Close()
}

// handle answers a request; it is the endpoint's handler.
func (s *Server) handle(peer netip.AddrPort, req message.Message) message.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m := req.(type) {
	case *message.HeartbeatRequest:
		return s.heartbeat(peer, m)
	case *message.AssociationSetupRequest:
		return s.associationSetup(peer, m)
	case *message.AssociationUpdateRequest:
		return s.associationUpdate(m)
	case *message.AssociationReleaseRequest:
		return s.associationRelease(m)
	case *message.SessionEstablishmentRequest:
		return s.sessionEstablishment(m)
	case *message.SessionModificationRequest:
		return s.sessionModification(m)
	case *message.SessionDeletionRequest:
		return s.sessionDeletion(m)
	}
	return s.reject(req.MessageType(), 0, &pfcp.Error{Cause: ie.CauseServiceNotSupported, Text: req.MessageTypeName()})
}

// malformed answers a request whose IEs could not be read.
func (s *Server) malformed(_ netip.AddrPort, typ uint8, seid uint64, why *pfcp.Error) message.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var cp uint64
	if sess := s.sessions[seid]; sess != nil {
		cp = sess.cp.SEID
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

func features() *ie.IE { return pfcp.FeaturesIE(pfcp.FTUP, pfcp.MPTCP, pfcp.ATSSSLL) }

// nodeOf reads a mandatory Node ID IE.
func nodeOf(i *ie.IE) (string, *pfcp.Error) {
	if i == nil {
		return "", &pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: ie.NodeID, Text: "no Node ID"}
	}
	return pfcp.ParseNodeID(i)
}

// heartbeat answers a heartbeat request; one that is not understood is answered
// all the same, for it shows that the peer is alive.
func (s *Server) heartbeat(peer netip.AddrPort, m *message.HeartbeatRequest) message.Message {
	if m.RecoveryTimeStamp != nil {
		if t, err := pfcp.ParseRecoveryTimeStamp(m.RecoveryTimeStamp); err == nil {
			for _, n := range s.nodes {
				if n.addr == peer.Addr() {
					s.recovered(n, t)
				}
			}
		}
	}
	return message.NewHeartbeatResponse(0, pfcp.RecoveryTimeStampIE(s.started))
}

// recovered looks at a peer's Recovery Time Stamp. A later one than before says
// that the peer has restarted and has lost its sessions (TS 23.527 §4.2): they go,
// and the association with them, until the peer sets up a new one.
func (s *Server) recovered(n *node, t time.Time) {
	if s.nodes[n.id] == n && t.After(n.recovery) {
		s.log.Warn("peer has restarted", "node", n.id, "since", t)
		s.release(n)
	}
}

// release ends an association and deletes the node's sessions.
func (s *Server) release(n *node) {
	n.stop()
	delete(s.nodes, n.id)
	for _, sess := range s.sessions {
		if sess.node == n.id {
			s.remove(sess)
		}
	}
}

func (s *Server) associationSetup(peer netip.AddrPort, m *message.AssociationSetupRequest) message.Message {
	id, err := nodeOf(m.NodeID)
	var recovery time.Time
	if err == nil {
		if m.RecoveryTimeStamp == nil {
			err = &pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: ie.RecoveryTimeStamp, Text: "no Recovery Time Stamp"}
		} else {
			recovery, err = pfcp.ParseRecoveryTimeStamp(m.RecoveryTimeStamp)
		}
	}
	if err != nil {
		return s.reject(m.MessageType(), 0, err)
	}
	if old := s.nodes[id]; old != nil {
		s.release(old) // TS 29.244 §6.2.6.2.2: a new association deletes the sessions of the old one
	}
	ctx, stop := context.WithCancel(context.Background())
	n := &node{id: id, addr: peer.Addr(), recovery: recovery, stop: stop}
	s.nodes[id] = n
	if s.cfg.Braid.Heartbeat > 0 {
		go s.beat(ctx, n)
	}
	s.log.Info("association set up", "node", id, "peer", peer)
	return message.NewAssociationSetupResponse(0, s.nodeID(), ie.NewCause(ie.CauseRequestAccepted),
		pfcp.RecoveryTimeStampIE(s.started), features())
}

func (s *Server) associationUpdate(m *message.AssociationUpdateRequest) message.Message {
	if _, err := s.associated(m.NodeID); err != nil {
		return s.reject(m.MessageType(), 0, err)
	}
	return message.NewAssociationUpdateResponse(0, s.nodeID(), ie.NewCause(ie.CauseRequestAccepted), features())
}

func (s *Server) associationRelease(m *message.AssociationReleaseRequest) message.Message {
	n, err := s.associated(m.NodeID)
	if err != nil {
		return s.reject(m.MessageType(), 0, err)
	}
	s.release(n)
	s.log.Info("association released", "node", n.id)
	return message.NewAssociationReleaseResponse(0, s.nodeID(), ie.NewCause(ie.CauseRequestAccepted))
}

// associated is the node that a Node ID IE names.
func (s *Server) associated(i *ie.IE) (*node, *pfcp.Error) {
	id, err := nodeOf(i)
	if err != nil {
		return nil, err
	}
	n := s.nodes[id]
	if n == nil {
		return nil, &pfcp.Error{Cause: ie.CauseNoEstablishedPFCPAssociation, Text: "no association with node " + id}
	}
	return n, nil
}

// beat sends heartbeats to n until ctx ends. A peer that does not answer keeps its
// sessions: the user plane outlives the control plane.
func (s *Server) beat(ctx context.Context, n *node) {
	tick := time.NewTicker(s.cfg.Braid.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		resp, err := s.endpoint.Request(ctx, netip.AddrPortFrom(n.addr, s.peerPort),
			message.NewHeartbeatRequest(0, pfcp.RecoveryTimeStampIE(s.started), nil))
		switch {
		case errors.Is(err, pfcp.ErrTimeout):
			s.log.Warn("peer does not answer", "node", n.id, "err", err)
			continue
		case err != nil:
			if ctx.Err() == nil {
				s.log.Warn("heartbeat", "node", n.id, "err", err)
			}
			continue
		}
		m, ok := resp.(*message.HeartbeatResponse)
		if !ok || m.RecoveryTimeStamp == nil {
			continue
		}
		if t, err := pfcp.ParseRecoveryTimeStamp(m.RecoveryTimeStamp); err == nil {
			s.mu.Lock()
			s.recovered(n, t)
			s.mu.Unlock()
		}
	}
}
