package upf

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/dataplane/driver/memory"
	"github.com/braid-upf/braid/internal/testenv"
	"github.com/braid-upf/braid/pfcp"
)

// blindPlane takes rules and keeps nothing.
type blindPlane struct{ fakePlane }

func (*blindPlane) Install(*dataplane.Rules) ([]dataplane.Usage, error) { return nil, nil }
func (*blindPlane) Remove(uint64) ([]dataplane.Usage, error)            { return nil, nil }

// free5GCSession is what free5GC's SMF asks for in an ordinary session: two PDRs,
// two FARs, two QERs and two URRs, every PDR with both QERs and both URRs.
func free5GCSession(n uint32) *message.SessionEstablishmentRequest {
	a := netip.AddrFrom4([4]byte{10, 60 + byte(n>>16), byte(n >> 8), byte(n)})
	r := &rulesSpec{
		pdrs: []*pfcp.PDR{
			{
				ID: 1, Precedence: p(uint32(255)), OuterHeaderRemoval: p(uint8(0)), FARID: p(uint32(1)), QERIDs: []uint32{1, 2}, URRIDs: []uint32{1, 2},
				PDI: &pfcp.PDI{
					SourceInterface: pfcp.InterfaceAccess, FTEID: &pfcp.FTEID{TEID: n + 1, IPv4: addr("10.100.3.1")},
					NetworkInstance: "internet", UEAddresses: []pfcp.UEIPAddress{{IPv4: a}},
				},
			},
			{
				ID: 2, Precedence: p(uint32(255)), FARID: p(uint32(2)), QERIDs: []uint32{1, 2}, URRIDs: []uint32{1, 2},
				PDI: &pfcp.PDI{SourceInterface: pfcp.InterfaceCore, NetworkInstance: "internet", UEAddresses: []pfcp.UEIPAddress{{IPv4: a, Destination: true}}},
			},
		},
		fars: []*pfcp.FAR{
			{ID: 1, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{Destination: p(pfcp.InterfaceCore), NetworkInstance: "internet"}},
			{ID: 2, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{
				Destination: p(pfcp.InterfaceAccess), NetworkInstance: "internet",
				OuterHeader: &pfcp.OuterHeaderCreation{Description: pfcp.GTPUIPv4, TEID: n + 1, IPv4: addr("10.100.1.2")},
			}},
		},
		qers: []*pfcp.QER{
			{ID: 1, Gate: p(uint8(0)), QFI: p(uint8(1))},
			{ID: 2, Gate: p(uint8(0)), MBR: &pfcp.BitRate{Uplink: 1_000_000, Downlink: 2_000_000}},
		},
	}
	req := establishment(uint64(n)+1, r)
	for id := range uint32(2) {
		req.CreateURR = append(req.CreateURR, ie.NewCreateURR(ie.NewURRID(id+1), ie.NewMeasurementMethod(0, 1, 0), ie.NewReportingTriggers(1, 2),
			ie.NewMeasurementPeriod(30*time.Second), ie.NewVolumeThreshold(1, 500_000, 0, 0)))
	}
	return req
}

// coster feeds a server with free5GC's establishment requests.
type coster struct {
	tb    testing.TB
	s     *Server
	inbox *pfcp.Inbox
	now   time.Time
}

func newCoster(tb testing.TB) *coster { return newCosterWith(tb, &blindPlane{}) }

func newCosterWith(tb testing.TB, plane Plane) *coster {
	tb.Helper()
	cfg, err := ParseConfig("test.yaml", []byte(testConfig))
	if err != nil {
		tb.Fatal(err)
	}
	s := newServer(cfg, plane, slog.New(slog.DiscardHandler))
	c := &coster{tb: tb, s: s, inbox: pfcp.NewInbox(pfcp.Config{Malformed: s.malformed}, s.handle), now: time.Unix(1_700_000_000, 0)}
	c.receive(datagramOf(tb, message.NewAssociationSetupRequest(1<<23, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted))))
	return c
}

func datagramOf(tb testing.TB, m message.Message) []byte {
	tb.Helper()
	d := make([]byte, m.MarshalLen())
	if err := m.MarshalTo(d); err != nil {
		tb.Fatal(err)
	}
	return d
}

// receive hands over a copy of d, as a socket's reader does: what is kept of it is
// kept for good.
func (c *coster) receive(d []byte) {
	c.tb.Helper()
	c.now = c.now.Add(time.Millisecond)
	answers := c.inbox.Receive(netip.MustParseAddrPort("10.100.4.1:8805"), append([]byte(nil), d...), c.now)
	if len(answers) != 1 {
		c.tb.Fatalf("%d answers", len(answers))
	}
}

func heapOctets() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestSessionMemory: what an ordinary session of free5GC takes on this side, and with the
// packet path, all tables counted; of the driver's there are those of the memory driver.
func TestSessionMemory(t *testing.T) {
	t.Run("control side", func(t *testing.T) {
		// 2,284 measured; 650 of them are the two URRs and their meters
		sessionMemory(t, 2350, &blindPlane{})
	})
	t.Run("whole", func(t *testing.T) {
		plane, err := dataplane.New(dataplane.Config{Set: memory.New(1, addr("10.100.3.1")), Buffers: 8, Keys: 1})
		if err != nil {
			t.Fatal(err)
		}
		sessionMemory(t, 4096, plane)
	})
}

func sessionMemory(t *testing.T, bound int, plane Plane) {
	sessions := 20_000
	if testenv.RaceDetector {
		sessions = 1000 // what it takes is not held against it
	}
	c := newCosterWith(t, plane)
	before := heapOctets()
	for n := range uint32(sessions) {
		req := free5GCSession(n)
		req.SetSequenceNumber(n + 1)
		c.receive(datagramOf(t, req))
	}
	c.inbox = nil // the answers that it keeps for 15 s are not a session's
	each := (heapOctets() - before) / sessions
	if n := c.s.Sessions()[cpNode]; n != sessions {
		t.Fatalf("%d sessions", n)
	}
	t.Logf("%d octets a session", each)
	if each > bound && !testenv.RaceDetector {
		t.Errorf("%d octets a session, more than %d", each, bound)
	}
	runtime.KeepAlive(plane)
}

// BenchmarkEstablishment takes establishment requests of free5GC from the datagram to
// the answer, with the plane left out. Each takes the place of the session before.
func BenchmarkEstablishment(b *testing.B) {
	c := newCoster(b)
	d := datagramOf(b, free5GCSession(1))
	seq := uint32(0)
	b.ReportAllocs()
	used := cpuTime(b)
	for b.Loop() {
		seq++
		binary.BigEndian.PutUint32(d[12:], seq<<8)
		c.receive(d)
	}
	b.ReportMetric(float64(cpuTime(b)-used)/float64(b.N), "cpu-ns/op") // with the garbage collector's; what else runs does not count
	if n := c.s.Sessions()[cpNode]; n != 1 {
		b.Fatalf("%d sessions", n)
	}
}
