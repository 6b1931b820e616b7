package e2e

import (
	"net"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/smf"
)

// Load-Balancing spreads connections by weight, and a PFCP modification of the
// weights moves connections that stand.
func TestLoadBalancing(t *testing.T) {
	const connections, size = 64, 300_000
	f := begin(t)
	f.setPolicy(balance(50))
	addr := f.serveOnDemand(size)
	var conns []*net.TCPConn
	for range connections {
		conns = append(conns, f.dial(addr))
	}
	for _, c := range conns {
		f.awaitSubflows(inspector(c))
	}
	for _, tc := range []struct {
		weight   uint8   // of 3GPP
		min, max float64 // its share: 64 draws, 4 standard deviations
	}{{50, 0.25, 0.75}, {85, 0.67, 0.99}, {0, 0, 0.01}, {100, 0.99, 1}, {20, 0.01, 0.40}} {
		f.setPolicy(balance(tc.weight))
		before := f.carried(lab.DirectionDown)
		f.demand(conns, size)
		after := f.carried(lab.DirectionDown)
		n3, nn := float64(after[tgpp]-before[tgpp]), float64(after[nonTGPP]-before[nonTGPP])
		if share := n3 / (n3 + nn); share < tc.min || share > tc.max {
			t.Errorf("weight %d%%: 3GPP carried %.3f of all, want %.2f to %.2f", tc.weight, share, tc.min, tc.max)
		}
	}
}

// Each PFCP modification moves the download that is under way.
func TestPolicyMovesTraffic(t *testing.T) {
	f := begin(t)
	link := lab.Impairment{Rate: 80e6, Delay: 10 * time.Millisecond}
	f.link(tgpp, link)
	f.link(nonTGPP, link)
	drop := func(a steer.Access) func(*smf.Session) {
		return func(s *smf.Session) { s.Accesses[a].Down = true }
	}
	g := f.file(80_000_000)
	tr := f.get(g)
	f.awaitSubflows(tr.Inspect)
	for _, step := range []struct {
		name string
		edit func(*smf.Session)
		want steer.Access
	}{
		{"as established", nil, tgpp},
		{"non-3GPP active", prefer(nonTGPP), nonTGPP},
		{"3GPP active", prefer(tgpp), tgpp},
		{"load balancing, all to non-3GPP", balance(0), nonTGPP},
		{"load balancing, all to 3GPP", balance(100), tgpp},
		{"FAR of 3GPP drops", drop(tgpp), nonTGPP},
		{"FAR of 3GPP forwards again", nil, tgpp},
		{"non-3GPP active, but its FAR drops", func(s *smf.Session) { prefer(nonTGPP)(s); drop(nonTGPP)(s) }, tgpp},
	} {
		f.setPolicy(step.edit)
		f.await(step.name+": traffic on "+step.want.String(), eventTime, func() bool {
			before := f.carried(lab.DirectionDown)
			time.Sleep(100 * time.Millisecond)
			after := f.carried(lab.DirectionDown)
			used, other := after[step.want]-before[step.want], after[step.want.Other()]-before[step.want.Other()]
			return used > 100_000 && other < used/20
		})
		select {
		case <-tr.Done():
			t.Fatalf("%s: the download ended before this step", step.name)
		default:
		}
	}
	f.downloaded(tr, g)
	f.mptcp(tr.Inspect, 2)
}
