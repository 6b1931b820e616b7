package upf

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/internal/testenv"
	"github.com/braid-upf/braid/pfcp"
)

// racingPlane is a plane whose workers report usage at every moment at which they can:
// while a session is there, just before it goes and just after it has come.
type racingPlane struct {
	fakePlane
	random  *rand.Rand
	emitted uint64 // octets
}

// emit has the URRs of the session reach a limit, as far as the channel has room.
func (p *racingPlane) emit(seid uint64) {
	for urr := range p.meters[seid] {
		n := p.random.Uint64N(1000) + 1
		e := dataplane.Event{Kind: dataplane.UsageReached, SEID: seid, Usage: dataplane.Usage{
			URR: urr, Downlink: dataplane.Volume{Packets: 1, Octets: n}, Threshold: true,
		}}
		select {
		case p.events <- e:
			p.emitted += n
		default:
		}
	}
}

func (p *racingPlane) Install(r *dataplane.Rules) ([]dataplane.Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.emit(r.SEID)
	p.rules[r.SEID] = r
	last := p.installed(r)
	p.emit(r.SEID)
	return last, nil
}

func (p *racingPlane) Remove(seid uint64) ([]dataplane.Usage, error) {
	p.mu.Lock()
	p.emit(seid)
	p.mu.Unlock()
	return p.fakePlane.Remove(seid)
}

// traffic emits for any session.
func (p *racingPlane) traffic() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for seid := range p.rules {
		p.emit(seid)
		return
	}
}

// TestNoLateUsage: usage that a worker has told of before rules come, change or go is
// never too late: what the CP function is told is what was emitted, to the octet.
func TestNoLateUsage(t *testing.T) {
	cfg, err := ParseConfig("test.yaml", []byte(testConfig))
	if err != nil {
		t.Fatal(err)
	}
	plane := &racingPlane{random: rand.New(rand.NewPCG(3, 4))}
	plane.rules, plane.events = map[uint64]*dataplane.Rules{}, make(chan dataplane.Event, 256)
	s := newServer(cfg, plane, slog.New(slog.DiscardHandler))
	var reported uint64
	count := func(ies []*ie.IE) {
		for _, i := range ies {
			switch i.Type {
			case ie.UsageReportWithinSessionModificationResponse, ie.UsageReportWithinSessionDeletionResponse, ie.UsageReportWithinSessionReportRequest:
				r, err := pfcp.ParseUsageReport(i)
				if err != nil {
					t.Error(err)
					continue
				}
				reported += r.Volume.Downlink
			}
		}
	}
	var answers []func()
	s.rep.send = func(_ netip.AddrPort, m message.Message, done func(message.Message, error)) error {
		count(iesOf(t, m))
		answers = append(answers, func() {
			done(message.NewSessionReportResponse(0, 0, 0, 0, 0, ie.NewCause(ie.CauseRequestAccepted)), nil)
		})
		return nil
	}
	answer := func() {
		s.mu.Lock()
		list := answers
		answers = nil
		s.mu.Unlock()
		for _, f := range list {
			f()
		}
	}
	s.mu.Lock()
	s.startEvents()
	s.mu.Unlock()
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				plane.traffic()
				time.Sleep(time.Microsecond) // let others have the plane, too
			}
		}
	})
	running.Go(func() { s.reportLoop(stop) })

	ask := func(m message.Message) message.Message {
		answer()
		resp := s.handle(smfAddr, m)
		if got := refusalOf(t, resp); got.cause != ie.CauseRequestAccepted {
			t.Fatalf("%s: %+v", m.MessageTypeName(), got)
		}
		s.mu.Lock()
		count(iesOf(t, resp))
		s.mu.Unlock()
		return resp
	}
	ask(message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)))
	urr := func(id uint32) *ie.IE { return thresholdURR(id, 1000).IE(ie.CreateURR) }
	sessions := 500
	if testenv.RaceDetector {
		sessions = 50
	}
	for n := range sessions {
		r := plainSession(uint32(n+1), fmt.Sprintf("10.60.%d.%d", n/250, n%250+1))
		for _, d := range r.pdrs {
			d.URRIDs = []uint32{1}
		}
		r.urrs = []*pfcp.URR{thresholdURR(1, 1000)}
		var seid uint64
		for _, i := range iesOf(t, ask(establishment(uint64(n+1), r))) {
			if i.Type == ie.FSEID {
				f, _ := pfcp.ParseFSEID(i)
				seid = f.SEID
			}
		}
		change := ie.NewUpdatePDR(ie.NewPDRID(3), ie.NewURRID(1), ie.NewURRID(2))
		ask(message.NewSessionModificationRequest(0, 0, seid, 0, 0, urr(2), change))
		ask(message.NewSessionModificationRequest(0, 0, seid, 0, 0, ie.NewRemoveURR(ie.NewURRID(1))))
		ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0))
	}
	close(stop)
	running.Wait()
	s.mu.Lock()
	s.endEvents()
	s.mu.Unlock()
	for range 10 { // what waits for an answer before it
		s.mu.Lock()
		s.step()
		s.mu.Unlock()
		answer()
	}
	if late := s.ReportCounters()["usage_late"]; late > 0 {
		t.Errorf("usage_late is %d", late)
	}
	if reported != plane.emitted || reported == 0 {
		t.Errorf("%d octets were emitted, %d reported", plane.emitted, reported)
	}
	if !strings.HasPrefix(s.registry.String(), "0 TEIDs") {
		t.Errorf("left: %v", s.registry)
	}
}
