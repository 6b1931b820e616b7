package upf

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// maxNodes is how many associations there can be.
const maxNodes = 1 << 10

// node is a CP function that has set up an association (TS 29.244 §6.2.6).
type node struct {
	id           string
	addr         netip.Addr         // where its association setup came from; our requests go there
	alternatives []pfcp.Alternative // other addresses of it or, with SSET, of its set
	set          string             // SMF set; "" = none
	features     pfcp.CPFeatures
	recovery     time.Time // its Recovery Time Stamp
	health       health
	stop         context.CancelFunc // called when the association ends
	ended        <-chan struct{}    // closed then
}

// has says whether a is an address of the node: that of its association setup, one
// that it has told of, or its Node ID.
func (n *node) has(a netip.Addr) bool {
	return n.addr == a || n.id == a.String() || slices.ContainsFunc(n.alternatives, func(alt pfcp.Alternative) bool {
		return slices.Contains(alt.Addrs, a)
	})
}

// nodeOf reads a mandatory Node ID IE.
func nodeOf(i *ie.IE) (string, *pfcp.Error) {
	if i == nil {
		return "", &pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: ie.NodeID, Text: "no Node ID"}
	}
	return pfcp.ParseNodeID(i)
}

// associated is the node that a Node ID IE names.
func (s *Server) associated(i *ie.IE) (*node, *pfcp.Error) {
	id, err := nodeOf(i)
	if err != nil {
		return nil, err
	}
	n := s.nodes[id]
	if n == nil {
		return nil, noAssociation("node " + id)
	}
	return n, nil
}

func noAssociation(with string) *pfcp.Error {
	return &pfcp.Error{Cause: ie.CauseNoEstablishedPFCPAssociation, Text: "no association with " + with}
}

// permit refuses what a peer may not ask for: all but heartbeats and an association
// setup needs an association with that peer (TS 29.244 §6.2.6.1), and a session's
// messages come from the node that controls it, from another SMF of its set, or from
// an address of its CP F-SEID. cp is the SEID of the answer's header.
func (s *Server) permit(peer netip.Addr, req message.Message) (cp uint64, err *pfcp.Error) {
	var id *ie.IE
	switch m := req.(type) {
	case *message.AssociationUpdateRequest:
		id = m.NodeID
	case *message.AssociationReleaseRequest:
		id = m.NodeID
	case *message.SessionSetDeletionRequest:
		id = m.NodeID
	case *message.Generic:
		id = first(m.IEs, ie.NodeID)
	case *message.SessionEstablishmentRequest:
		id = m.NodeID
		if m.CPFSEID != nil {
			if f, err := pfcp.ParseFSEID(m.CPFSEID); err == nil {
				cp = f.SEID
			}
		}
		if s.draining {
			return cp, &pfcp.Error{Cause: ie.CauseNoResourcesAvailable, Text: "the UPF is going out of service"}
		}
	case *message.PFDManagementRequest:
		for _, n := range s.nodes {
			if n.has(peer) {
				return 0, nil
			}
		}
		return 0, noAssociation(peer.String())
	case *message.SessionModificationRequest, *message.SessionDeletionRequest:
		sess := s.sessions[m.SEID()]
		if sess == nil || s.reaches(s.nodes[sess.node], peer) || peer == sess.cp.IPv4 || peer == sess.cp.IPv6 {
			return 0, nil // the handler says what is wrong with a session that is not there
		}
		return 0, noAssociation(fmt.Sprintf("%v that covers session %s", peer, seidText(sess.seid)))
	default:
		return 0, nil
	}
	n, err := s.associated(id)
	if err == nil && !s.reaches(n, peer) {
		err = noAssociation(fmt.Sprintf("%v as node %s", peer, n.id))
	}
	return cp, err
}

// first is the first IE of type typ, nil if there is none.
func first(ies []*ie.IE, typ uint16) *ie.IE {
	for _, i := range ies {
		if i.Type == typ {
			return i
		}
	}
	return nil
}

// all are the IEs of type typ.
func all(ies []*ie.IE, typ uint16) []*ie.IE {
	return slices.DeleteFunc(slices.Clone(ies), func(i *ie.IE) bool { return i.Type != typ })
}

func (s *Server) associationSetup(peer netip.AddrPort, m *message.AssociationSetupRequest) message.Message {
	n, keep, err := readSetup(m)
	old := s.nodes[n.id]
	switch {
	case err != nil:
	case s.draining:
		err = &pfcp.Error{Cause: ie.CauseRequestRejected, Text: "the UPF is going out of service"}
	case old == nil && len(s.nodes) >= maxNodes:
		err = &pfcp.Error{Cause: ie.CauseNoResourcesAvailable, Text: fmt.Sprintf("%d associations", maxNodes)}
	}
	if err != nil {
		return s.reject(m.MessageType(), 0, err)
	}
	n.addr = peer.Addr()
	kept := 0
	if old != nil {
		kept = s.giveWay(old, keep)
	}
	s.associate(n)
	s.log.Info("association set up", "node", n.id, "peer", peer, "set", n.set, "sessionsKept", kept)
	ies := []*ie.IE{s.nodeID(), ie.NewCause(ie.CauseRequestAccepted), pfcp.RecoveryTimeStampIE(s.started), features()}
	if kept > 0 {
		ies = append(ies, pfcp.SessionsRetainedIE())
	}
	return message.NewAssociationSetupResponse(0, append(ies, s.pools(maxMessage-nodeHeader-size(ies))...)...)
}

// readSetup reads a node out of an Association Setup Request (TS 29.244 Table
// 7.4.4.1-1), and which sessions of an association before are to stay; nil = none.
func readSetup(m *message.AssociationSetupRequest) (n *node, keep *pfcp.Retention, err *pfcp.Error) {
	n = &node{}
	if n.id, err = nodeOf(m.NodeID); err != nil {
		return n, nil, err
	}
	if m.RecoveryTimeStamp == nil {
		return n, nil, &pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: ie.RecoveryTimeStamp, Text: "no Recovery Time Stamp"}
	}
	if n.recovery, err = pfcp.ParseRecoveryTimeStamp(m.RecoveryTimeStamp); err != nil {
		return n, nil, err
	}
	if i := m.PFCPSessionRetentionInformation; i != nil {
		if keep, err = pfcp.ParseRetention(i); err != nil {
			return n, nil, err
		}
	}
	return n, keep, n.describe(m.CPFunctionFeatures, m.SMFSetID, m.AlternativeSMFIPAddress)
}

// describe takes what a setup or an update says of the node; an IE that is not
// there leaves what was said before.
func (n *node) describe(features, set *ie.IE, alternatives []*ie.IE) (err *pfcp.Error) {
	if features != nil {
		if n.features, err = pfcp.ParseCPFeatures(features); err != nil {
			return err
		}
	}
	if set != nil {
		if n.set, err = pfcp.ParseSMFSetID(set); err != nil {
			return err
		}
	}
	if len(alternatives) == 0 {
		return nil
	}
	if len(alternatives) > pfcp.MaxAlternatives {
		return &pfcp.Error{
			Cause: ie.CauseMandatoryIEIncorrect, Offending: ie.AlternativeSMFIPAddress,
			Text: fmt.Sprintf("%d alternative addresses, allowed are %d", len(alternatives), pfcp.MaxAlternatives),
		}
	}
	n.alternatives = nil
	for _, i := range alternatives {
		a, err := pfcp.ParseAlternative(i)
		if err != nil {
			return err
		}
		n.alternatives = append(n.alternatives, a)
	}
	return nil
}

// associate takes n among the nodes and starts its heartbeats.
func (s *Server) associate(n *node) {
	ctx, stop := context.WithCancel(s.ctx)
	n.stop, n.ended, n.health.since = stop, ctx.Done(), time.Now()
	s.nodes[n.id] = n
	if s.cfg.Braid.Heartbeat > 0 && s.endpoint != nil {
		s.running.Go(func() { s.beat(ctx, n) })
	}
}

// giveWay ends the association of old, whose node sets up another. It returns how many
// of its sessions stay with the node: those that it asks for (TS 29.244 §6.2.6.2.2).
// The others go, except to another SMF of its set.
func (s *Server) giveWay(old *node, keep *pfcp.Retention) (kept int) {
	old.stop()
	delete(s.nodes, old.id)
	for _, sess := range s.sessions {
		if sess.node != old.id {
			continue
		}
		if keep.Keeps(sess.cp) {
			kept++
		} else {
			s.orphan(sess, old)
		}
	}
	return kept
}

// release ends an association. The node's sessions go with it, except to another
// SMF of its set.
func (s *Server) release(n *node) {
	n.stop()
	delete(s.nodes, n.id)
	for _, sess := range s.sessions {
		if sess.node == n.id {
			s.orphan(sess, n)
		}
	}
}

func (s *Server) associationUpdate(m *message.AssociationUpdateRequest) message.Message {
	n, err := s.associated(m.NodeID)
	if err == nil {
		next := *n
		if err = next.describe(m.CPFunctionFeatures, first(m.IEs, ie.SMFSetID), m.AlternativeSMFIPAddress); err == nil {
			n.features, n.set, n.alternatives = next.features, next.set, next.alternatives
		}
	}
	if err != nil {
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
