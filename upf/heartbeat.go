package upf

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// health is whether a peer answers.
type health struct {
	down     bool
	since    time.Time // when down became what it is
	failures uint64    // how often it went down
}

// Node is what an operator may want to know of an association.
type Node struct {
	ID       string
	Addr     netip.Addr
	Set      string    // its SMF set; "" = none
	Recovery time.Time // its Recovery Time Stamp, a resolution of one second
	Sessions int
	Down     bool      // it has not answered since Since
	Since    time.Time // of Down; when the association began, if it never went down
	Failures uint64    // how often it went down
}

// Nodes are the CP functions that there is an association with, by ID.
func (s *Server) Nodes() []Node {
	count := s.Sessions()
	s.mu.Lock()
	defer s.mu.Unlock()
	var ns []Node
	for _, n := range s.nodes {
		ns = append(ns, Node{
			ID: n.id, Addr: n.addr, Set: n.set, Recovery: n.recovery, Sessions: count[n.id],
			Down: n.health.down, Since: n.health.since, Failures: n.health.failures,
		})
	}
	slices.SortFunc(ns, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	return ns
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

// heard notes that a message came from a: whoever is there is up again.
func (s *Server) heard(a netip.Addr) {
	for _, n := range s.nodes {
		if n.health.down && n.addr == a {
			n.health.down, n.health.since = false, time.Now()
			s.log.Info("peer answers again", "node", n.id)
		}
	}
}

// silent notes that a peer has answered a request not once, however often it
// was sent.
func (s *Server) silent(n *node, why error) {
	if s.nodes[n.id] == n && !n.health.down {
		n.health = health{true, time.Now(), n.health.failures + 1}
		s.log.Warn("peer does not answer", "node", n.id, "err", why)
	}
}

// beat sends heartbeats to n until ctx ends (TS 29.244 §6.2.2). A peer that does not
// answer keeps its sessions: the user plane outlives the control plane.
func (s *Server) beat(ctx context.Context, n *node) {
	tick := time.NewTicker(s.cfg.Braid.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		resp, err := s.request(ctx, n, message.NewHeartbeatRequest(0, pfcp.RecoveryTimeStampIE(s.started), nil))
		m, ok := resp.(*message.HeartbeatResponse)
		if err != nil || !ok || m.RecoveryTimeStamp == nil {
			continue
		}
		if t, err := pfcp.ParseRecoveryTimeStamp(m.RecoveryTimeStamp); err == nil {
			s.mu.Lock()
			s.recovered(n, t)
			s.mu.Unlock()
		}
	}
}

// request sends a request to n and notes whether n is there. It must not be called
// with mu held.
func (s *Server) request(ctx context.Context, n *node, m message.Message) (message.Message, error) {
	resp, err := s.endpoint.Request(ctx, netip.AddrPortFrom(n.addr, s.peerPort), m)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.heard(n.addr)
	case errors.Is(err, pfcp.ErrTimeout):
		s.silent(n, err)
	case ctx.Err() == nil:
		s.log.Warn("request", "message", m.MessageTypeName(), "node", n.id, "err", err)
	}
	return resp, err
}
