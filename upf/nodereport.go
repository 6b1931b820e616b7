package upf

import (
	"hash/crc32"
	"net/netip"
	"slices"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// Bounds of what goes to CP functions: how many requests are under way at once, how
// many reports may wait behind them, and how many paths one report names (2,048
// octets, which is as much as every SMF takes, hold more).
const (
	reportSenders     = 4
	maxWaitingReports = 1 << 10
	maxReportedPaths  = 64
)

// nodeReport is a Node Report Request on its way to a node.
type nodeReport struct {
	to    *node
	paths []netip.Addr
	up    bool
}

// message encodes r (TS 29.244 §7.4.5.1).
func (r nodeReport) message(s *Server) *message.NodeReportRequest {
	typ, group := pfcp.NodeReportUPFR, ie.UserPlanePathFailureReport
	if r.up {
		typ, group = pfcp.NodeReportUPRR, ie.UserPlanePathRecoveryReport
	}
	var peers []*ie.IE
	for _, a := range r.paths {
		peers = append(peers, pfcp.RemoteGTPUPeerIE(a))
	}
	return message.NewNodeReportRequest(0, s.nodeID(), ie.New(ie.NodeReportType, []byte{typ}), ie.NewGroupedIE(group, peers...))
}

// reportPaths tells each node that has sessions over one of the paths that those
// have failed or are up again. What goes to one node goes through one goroutine: a
// recovery does not overtake the failure before it.
func (s *Server) reportPaths(as []netip.Addr, up bool) {
	concerned := map[*node][]netip.Addr{}
	for _, a := range as {
		for _, id := range s.paths.concerned(a) {
			if n := s.nodes[id]; n != nil {
				concerned[n] = append(concerned[n], a)
			}
		}
	}
	for n, paths := range concerned {
		slices.SortFunc(paths, netip.Addr.Compare)
		for part := range slices.Chunk(paths, maxReportedPaths) {
			select {
			case s.reports[crc32.ChecksumIEEE([]byte(n.id))%reportSenders] <- nodeReport{n, part, up}:
			default:
				s.log.Error("node report lost: too many wait", "node", n.id, "paths", len(part))
			}
		}
	}
}

// sendNodeReports starts the goroutines that send node reports.
func (s *Server) sendNodeReports() {
	for _, reports := range s.reports {
		s.running.Go(func() {
			for {
				select {
				case <-s.ctx.Done():
					return
				case r := <-reports:
					s.sendNodeReport(r)
				}
			}
		})
	}
}

func (s *Server) sendNodeReport(r nodeReport) {
	resp, err := s.request(s.ctx, r.to, r.message(s))
	if err != nil {
		return // said and noted by request
	}
	if m, ok := resp.(*message.NodeReportResponse); !ok || !accepted(m.Cause) {
		s.log.Warn("node report refused", "node", r.to.id, "response", resp.MessageTypeName())
	}
}
