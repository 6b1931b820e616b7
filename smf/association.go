package smf

import (
	"context"
	"fmt"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"
)

// associate sets up the association. A UPF that had sessions of ours drops them
// by it (TS 29.244 §6.2.6.2.2).
func (s *SMF) associate(ctx context.Context) {
	for _, ses := range s.sessions {
		s.forget(ses)
	}
	at, err := s.requestAssociation(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.err = err
			s.log.Warn("no association", "upf", s.peer, "err", err)
		}
		return
	}
	s.association, s.upfRecovery, s.err = Up, at, nil
	s.log.Info("associated", "upf", s.peer, "upf_started", at)
}

// requestAssociation returns the UPF's Recovery Time Stamp.
func (s *SMF) requestAssociation(ctx context.Context) (time.Time, error) {
	const name = "Association Setup Request"
	answer, err := s.endpoint.Request(ctx, s.peer, message.NewAssociationSetupRequest(0,
		nodeID(s.node), ie.NewRecoveryTimeStamp(s.recovery), ie.NewCPFunctionFeatures(0)))
	if err != nil {
		return time.Time{}, err
	}
	resp, ok := answer.(*message.AssociationSetupResponse)
	if !ok {
		return time.Time{}, fmt.Errorf("%s answered by a %s", name, answer.MessageTypeName())
	}
	if err := accepted(name, resp.Cause, nil, nil); err != nil {
		return time.Time{}, err
	}
	if resp.UPFunctionFeatures == nil || !resp.UPFunctionFeatures.HasFTUP() {
		s.log.Warn("the UPF does not announce FTUP: it may refuse to choose TEIDs", "upf", s.peer)
	}
	if resp.RecoveryTimeStamp == nil {
		return time.Time{}, fmt.Errorf("%s: the answer has no Recovery Time Stamp", name)
	}
	at, err := resp.RecoveryTimeStamp.RecoveryTimeStamp()
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: Recovery Time Stamp of the answer: %w", name, err)
	}
	return at, nil
}

// heartbeat asks whether the UPF lives and is the one that we associated with.
// Silence alone takes no session away (TS 23.007 §19A): the UPF may still serve
// them.
func (s *SMF) heartbeat(ctx context.Context) {
	if s.association == Down {
		return
	}
	answer, err := s.endpoint.Request(ctx, s.peer, message.NewHeartbeatRequest(0, ie.NewRecoveryTimeStamp(s.recovery), nil))
	if err != nil {
		if ctx.Err() == nil {
			s.association, s.err = Lost, err
			s.log.Warn("heartbeat", "upf", s.peer, "err", err)
		}
		return
	}
	resp, ok := answer.(*message.HeartbeatResponse)
	if !ok || resp.RecoveryTimeStamp == nil {
		s.log.Warn("heartbeat answered without a Recovery Time Stamp", "upf", s.peer, "message", answer.MessageTypeName())
		return
	}
	at, err := resp.RecoveryTimeStamp.RecoveryTimeStamp()
	if err != nil {
		s.log.Warn("heartbeat", "upf", s.peer, "err", err)
		return
	}
	if s.association == Lost {
		s.association, s.err = Up, nil
		s.log.Info("the UPF answers again", "upf", s.peer)
	}
	s.seeRecovery(at)
}

// seeRecovery takes a Recovery Time Stamp of the UPF: a later one than at the
// association says that it restarted and knows nothing of us.
func (s *SMF) seeRecovery(at time.Time) {
	if s.association != Down && at.After(s.upfRecovery) {
		s.log.Warn("the UPF has restarted", "upf", s.peer, "was", s.upfRecovery, "now", at)
		s.association = Down
	}
}
