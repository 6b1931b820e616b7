package upf

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// ErrNotDrained is what [Server.Drain] returns when associations are left.
var ErrNotDrained = errors.New("associations are left")

// Drain takes the UPF out of service: it asks every associated CP function to release
// the association, gracefully until ctx's deadline (TS 29.244 §6.2.7.3), takes no
// association and no session from then on, and returns when all associations are
// released, or when ctx ends, or when none is left whose CP function has agreed.
//
// A UP function has no other way to end an association: the release itself is the CP
// function's, and the enhanced one (§5.18, EPFAR) needs a feature that we do not
// tell. The error is nil or wraps [ErrNotDrained] or the context's.
func (s *Server) Drain(ctx context.Context) error {
	var period time.Duration // 0 = no end
	if end, ok := ctx.Deadline(); ok {
		period = max(time.Until(end), time.Second)
	}
	s.mu.Lock()
	s.draining = true
	nodes := slices.Collect(maps.Values(s.nodes))
	s.mu.Unlock()

	var asked sync.WaitGroup
	slots := make(chan struct{}, reportSenders)
	for _, n := range nodes {
		asked.Go(func() {
			slots <- struct{}{}
			agreed := s.askForRelease(ctx, n, period)
			<-slots
			if !agreed {
				return
			}
			select {
			case <-ctx.Done():
			case <-n.ended:
			}
		})
	}
	asked.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.nodes) > 0 {
		return errors.Join(ErrNotDrained, context.Cause(ctx))
	}
	return nil
}

// askForRelease asks n to release its association within period, and says whether
// it will.
func (s *Server) askForRelease(ctx context.Context, n *node, period time.Duration) bool {
	resp, err := s.request(ctx, n, message.NewAssociationUpdateRequest(0, s.nodeID(),
		pfcp.AssociationReleaseIE(), pfcp.GracefulReleasePeriodIE(period)))
	m, ok := resp.(*message.AssociationUpdateResponse)
	if err != nil || !ok || !accepted(m.Cause) {
		s.log.Warn("peer does not release the association", "node", n.id, "err", err)
		return false
	}
	return true
}

// accepted says whether a response's Cause is an acceptance.
func accepted(cause *ie.IE) bool {
	return cause != nil && len(cause.Payload) > 0 && cause.Payload[0] == ie.CauseRequestAccepted
}
