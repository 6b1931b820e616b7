package smf

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"
)

// seidTable gives the UPF's SEID for ours, for answers to the UPF's requests.
type seidTable struct {
	mu sync.Mutex
	up map[uint64]uint64
}

func (t *seidTable) set(cp, up uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.up == nil {
		t.up = map[uint64]uint64{}
	}
	t.up[cp] = up
}

func (t *seidTable) delete(cp uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.up, cp)
}

func (t *seidTable) get(cp uint64) (up uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	up, ok = t.up[cp]
	return up, ok
}

// serve answers the UPF's requests, on the endpoint's goroutine.
func (s *SMF) serve(peer netip.AddrPort, req message.Message) message.Message {
	if peer.Addr() != s.peer.Addr() {
		s.log.Warn("request from a stranger", "peer", peer, "message", req.MessageTypeName())
		return nil
	}
	switch m := req.(type) {
	case *message.HeartbeatRequest:
		s.noteRecovery(m)
		return message.NewHeartbeatResponse(0, ie.NewRecoveryTimeStamp(s.recovery))
	case *message.SessionReportRequest:
		return s.serveReport(m)
	case *message.NodeReportRequest:
		s.log.Warn("node report", "upf", peer)
		return message.NewNodeReportResponse(0, nodeID(s.node), ie.NewCause(ie.CauseRequestAccepted), nil)
	case *message.AssociationUpdateRequest:
		if i := m.PFCPAssociationReleaseRequest; i != nil && i.HasSARR() {
			s.log.Info("the UPF asks for the release of the association", "upf", peer)
			select {
			case s.releases <- struct{}{}:
			default: // it has asked already
			}
		}
		return message.NewAssociationUpdateResponse(0, nodeID(s.node), ie.NewCause(ie.CauseRequestAccepted))
	case *message.AssociationSetupRequest: // it is we who set up
		return message.NewAssociationSetupResponse(0, nodeID(s.node),
			ie.NewCause(ie.CauseRequestRejected), ie.NewRecoveryTimeStamp(s.recovery))
	}
	s.log.Warn("request that a UPF does not send", "upf", peer, "message", req.MessageTypeName())
	return nil
}

// noteRecovery hands the UPF's Recovery Time Stamp to Run. If Run is behind, a
// later heartbeat brings it again.
func (s *SMF) noteRecovery(m *message.HeartbeatRequest) {
	if m.RecoveryTimeStamp == nil {
		return
	}
	at, err := m.RecoveryTimeStamp.RecoveryTimeStamp()
	if err != nil {
		return
	}
	select {
	case s.upfTimes <- at:
	default:
	}
}

func (s *SMF) serveReport(m *message.SessionReportRequest) message.Message {
	up, ok := s.seids.get(m.SEID())
	if !ok {
		return message.NewSessionReportResponse(0, 0, 0, 0, 0, ie.NewCause(ie.CauseSessionContextNotFound))
	}
	var kind []byte
	if m.ReportType != nil {
		kind = m.ReportType.Payload
	}
	s.log.Info("session report", "cp_seid", m.SEID(), "report_type", fmt.Sprintf("%#x", kind))
	reports, err := readReports(m.SEID(), m.SessionReport, time.Now())
	if err != nil {
		s.log.Warn("session report", "cp_seid", m.SEID(), "err", err)
		return message.NewSessionReportResponse(0, 0, up, 0, 0, ie.NewCause(ie.CauseMandatoryIEIncorrect))
	}
	for _, r := range reports {
		s.log.Info("access availability", "cp_seid", r.seid, "access", r.Access, "available", r.Available)
	}
	if len(reports) == 0 {
		return message.NewSessionReportResponse(0, 0, up, 0, 0, ie.NewCause(ie.CauseRequestAccepted))
	}
	select {
	case s.reports <- reports:
	default: // Run is behind by as many as the channel holds
		return nil // the UPF sends it again
	}
	return message.NewSessionReportResponse(0, 0, up, 0, 0, ie.NewCause(ie.CauseRequestAccepted))
}
