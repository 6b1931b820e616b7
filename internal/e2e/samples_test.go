package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
	"github.com/braid-upf/braid/smf"
)

// TestSamplePolicies: every sample in configs runs in the lab as it is. MPTCP connections
// have both accesses, UDP passes, and what was asked for of ATSSS is there.
func TestSamplePolicies(t *testing.T) {
	samples, err := filepath.Glob("../../configs/policy-*.yaml")
	if err != nil || len(samples) == 0 {
		t.Fatalf("samples: %v, %v", samples, err)
	}
	for _, sample := range samples {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(sample), "policy-"), ".yaml")
		t.Run(name, func(t *testing.T) {
			f := begin(t)
			p, err := smf.LoadPolicy(sample)
			f.check(err)
			before, err := f.lab.Policy()
			f.check(err)
			f.check(f.lab.SetPolicy(*p))
			f.Cleanup(func() { f.check(f.lab.SetPolicy(*before)) }) // after the connections have ended
			f.plays(p)
		})
	}
}

// plays moves traffic as the policy's session has it.
func (f *fixture) plays(p *smf.Policy) {
	f.Helper()
	echo, err := mptcpclient.ListenUDPEcho(f.in(lab.DN), lab.DNAddr.String()+":7")
	f.check(err)
	defer echo.Close()
	// In Redundant mode an answer comes twice, and is then taken for that to the next.
	if n, err := f.client.EchoUDP(lab.DNAddr.String()+":7", 20, 500, eventTime); err != nil || n == 0 {
		f.Errorf("%d of 20 datagrams came back: %v", n, err)
	}
	if s := &p.Sessions[0]; s.ATSSS.PMF != nil {
		f.awaitPMF()
	}
	g := f.file(5_000_000)
	tr := f.get(g)
	f.downloaded(tr, g)
	f.mptcp(tr.Inspect, steer.NumAccesses)
	tr.Close()
	f.await("the end of the connections", eventTime, func() bool { return len(f.live()) == 0 })
}
