package upf

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// nothingHeld is what a registry says that has nothing.
const nothingHeld = "0 TEIDs, 0 UE prefixes, 0 pairs of link-specific addresses"

// fakePlane keeps what it is given.
type fakePlane struct {
	mu    sync.Mutex
	rules map[uint64]*dataplane.Rules
	fail  bool
	fakeMeters
	events chan dataplane.Event // nil = there are none
}

func (p *fakePlane) Events() <-chan dataplane.Event { return p.events }

func (p *fakePlane) Install(r *dataplane.Rules) ([]dataplane.Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail {
		return nil, errors.New("the worker is gone")
	}
	p.rules[r.SEID] = r
	return p.installed(r), nil
}

func (p *fakePlane) Usage(q []dataplane.UsageQuery) ([]dataplane.UsageAnswer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer(q), nil
}

func (p *fakePlane) Echo(netip.Addr) error { return nil }

func (p *fakePlane) Remove(seid uint64) ([]dataplane.Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.rules[seid]; !ok {
		return nil, errors.New("no such session")
	}
	delete(p.rules, seid)
	return p.installed(&dataplane.Rules{SEID: seid}), nil
}

func (p *fakePlane) of(seid uint64) *dataplane.Rules {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rules[seid]
}

func (p *fakePlane) setFail(fail bool) {
	p.mu.Lock()
	p.fail = fail
	p.mu.Unlock()
}

// bench is a server on loopback and a CP function that talks to it.
type bench struct {
	t     *testing.T
	s     *Server
	plane *fakePlane
	conn  *net.UDPConn
	seq   uint32
	heard uint32 // sequence number of the server's last request
}

const testConfig = `
version: 1.0.3
pfcp: {addr: 127.0.0.1, nodeID: 10.100.4.2, retransTimeout: 50ms, maxRetrans: 1}
gtpu:
  forwarder: gtp5g
  ifList: [{addr: 10.100.3.1, type: N3}]
dnnList: [{dnn: internet, cidr: 10.60.0.0/16}]
`

func newBench(t *testing.T) *bench { return newBenchWith(t, testConfig) }

func newBenchWith(t *testing.T, config string) *bench {
	t.Helper()
	cfg, err := ParseConfig("test.yaml", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	return newBenchOf(t, cfg, slog.New(slog.DiscardHandler))
}

func newBenchOf(t *testing.T, cfg *Config, log *slog.Logger) *bench {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	plane := &fakePlane{rules: map[uint64]*dataplane.Rules{}}
	s, err := listen(cfg, plane, log, netip.MustParseAddrPort("127.0.0.1:0"), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close()
		_ = conn.Close()
	})
	return &bench{t: t, s: s, plane: plane, conn: conn}
}

// exchange sends a datagram and returns the next one that comes.
func (b *bench) exchange(datagram []byte) []byte {
	b.t.Helper()
	if _, err := b.conn.WriteToUDPAddrPort(datagram, b.s.LocalAddr()); err != nil {
		b.t.Fatal(err)
	}
	return b.read()
}

func (b *bench) read() []byte {
	b.t.Helper()
	buf := make([]byte, 65536)
	_ = b.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := b.conn.Read(buf)
	if err != nil {
		b.t.Fatal(err)
	}
	return buf[:n]
}

// ask sends a request under the next sequence number and returns the answer.
func (b *bench) ask(req message.Message) message.Message {
	b.t.Helper()
	b.seq++
	req.SetSequenceNumber(b.seq)
	d := make([]byte, req.MarshalLen())
	if err := req.MarshalTo(d); err != nil {
		b.t.Fatal(err)
	}
	resp, err := message.Parse(b.exchange(d))
	if err != nil {
		b.t.Fatal(err)
	}
	if resp.Sequence() != b.seq {
		b.t.Fatalf("answer has sequence number %d, want %d", resp.Sequence(), b.seq)
	}
	return resp
}

const cpNode = "10.100.4.1"

var cpStarted = time.Unix(1_700_000_000, 0)

func (b *bench) associate() {
	b.t.Helper()
	resp := b.ask(message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)))
	if got := refusalOf(b.t, resp); got.cause != ie.CauseRequestAccepted {
		b.t.Fatalf("association setup: %+v", got)
	}
}

// refusal is what an answer says of a failure.
type refusal struct {
	cause     uint8
	offending uint16
	failed    string // payload of the Failed Rule ID in hex
}

func refusalOf(t *testing.T, m message.Message) refusal {
	t.Helper()
	var r refusal
	for _, i := range iesOf(t, m) {
		switch i.Type {
		case ie.Cause:
			r.cause = i.Payload[0]
		case ie.OffendingIE:
			r.offending = uint16(i.Payload[0])<<8 | uint16(i.Payload[1])
		case ie.FailedRuleID:
			r.failed = hex.EncodeToString(i.Payload)
		}
	}
	return r
}

// iesOf are the IEs of m, as they are on the wire.
func iesOf(t *testing.T, m message.Message) []*ie.IE {
	t.Helper()
	b := make([]byte, m.MarshalLen())
	if err := m.MarshalTo(b); err != nil {
		t.Fatal(err)
	}
	off := 8
	if b[0]&1 != 0 {
		off = 16
	}
	ies, err := ie.ParseMultiIEs(b[off:])
	if err != nil {
		t.Fatal(err)
	}
	return ies
}

// rulesSpec is what a test's session consists of.
type rulesSpec struct {
	pdrs []*pfcp.PDR
	fars []*pfcp.FAR
	qers []*pfcp.QER
	mars []*pfcp.MAR
	bars []*pfcp.BAR

	endpoints []*pfcp.TrafficEndpoint
	urrs      []*pfcp.URR
	srrs      []*pfcp.SRR
	atsss     *pfcp.ATSSSControl
}

func p[T any](v T) *T { return &v }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// ue are the UE's two addresses, as sources or destinations.
func ue(destination bool, addrs ...string) []pfcp.UEIPAddress {
	var us []pfcp.UEIPAddress
	for _, a := range addrs {
		us = append(us, pfcp.UEIPAddress{IPv4: addr(a), Destination: destination})
	}
	return us
}

// maSession is a multi-access session: two uplink tunnels to be chosen, two
// downlink PDRs with a MAR over two accesses.
func maSession() *rulesSpec {
	choose := func() *pfcp.FTEID { return &pfcp.FTEID{Choose: true, ChooseV4: true} }
	up := func(id uint16, typ uint8) *pfcp.PDR {
		return &pfcp.PDR{
			ID: id, Precedence: p(uint32(255)), OuterHeaderRemoval: p(uint8(0)), FARID: p(uint32(1)), QERIDs: []uint32{1},
			PDI: &pfcp.PDI{
				SourceInterface: pfcp.InterfaceAccess, InterfaceType: p(typ), FTEID: choose(), NetworkInstance: "internet",
				UEAddresses: ue(false, "10.60.0.1", "10.60.0.2"),
			},
		}
	}
	down := func(id uint16, a string) *pfcp.PDR {
		return &pfcp.PDR{
			ID: id, Precedence: p(uint32(255)), MARID: p(uint16(1)), QERIDs: []uint32{1},
			PDI: &pfcp.PDI{SourceInterface: pfcp.InterfaceCore, NetworkInstance: "internet", UEAddresses: ue(true, a)},
		}
	}
	access := func(id uint32, peer string, teid uint32) *pfcp.FAR {
		return &pfcp.FAR{ID: id, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{
			Destination: p(pfcp.InterfaceAccess),
			OuterHeader: &pfcp.OuterHeaderCreation{Description: pfcp.GTPUIPv4, TEID: teid, IPv4: addr(peer)},
		}}
	}
	return &rulesSpec{
		pdrs: []*pfcp.PDR{up(1, pfcp.N33GPP), up(2, pfcp.N3UntrustedNon3GPP), down(3, "10.60.0.1"), down(4, "10.60.0.2")},
		fars: []*pfcp.FAR{
			{ID: 1, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{Destination: p(pfcp.InterfaceCore)}},
			access(2, "10.100.1.2", 0x101), access(3, "10.100.2.2", 0x201),
		},
		qers: []*pfcp.QER{{ID: 1, Gate: p(uint8(0)), QFI: p(uint8(9))}},
		mars: []*pfcp.MAR{{
			ID: 1, Functionality: p(uint8(1)), Mode: p(uint8(0)),
			Access: [2]*pfcp.AccessForwarding{
				{FARID: p(uint32(2)), Weight: p(uint8(50)), Priority: p(uint8(0))},
				{FARID: p(uint32(3)), Weight: p(uint8(50)), Priority: p(uint8(1))},
			},
		}},
	}
}

// plainSession is a session of one access with a tunnel that the CP chose.
func plainSession(teid uint32, ueAddr string) *rulesSpec {
	r := maSession()
	r.mars = nil
	r.pdrs = r.pdrs[1:3]
	r.pdrs[0].PDI.FTEID = &pfcp.FTEID{TEID: teid, IPv4: addr("10.100.3.1")}
	r.pdrs[0].PDI.UEAddresses = ue(false, ueAddr)
	r.pdrs[1].PDI.UEAddresses = ue(true, ueAddr)
	r.pdrs[1].MARID, r.pdrs[1].FARID = nil, p(uint32(2))
	return r
}

func (r *rulesSpec) creates() []*ie.IE {
	return ruleSet{
		pdrs: r.pdrs, fars: r.fars, qers: r.qers, urrs: r.urrs,
		rareRules: &rareRules{mars: r.mars, bars: r.bars, endpoints: r.endpoints, srrs: r.srrs, atsss: r.atsss},
	}.creates()
}

func establishment(cpSEID uint64, r *rulesSpec) *message.SessionEstablishmentRequest {
	ies := append([]*ie.IE{pfcp.NodeIDIE(cpNode), pfcp.FSEID{SEID: cpSEID, IPv4: addr(cpNode)}.IE()}, r.creates()...)
	return message.NewSessionEstablishmentRequest(0, 0, 0, 0, 0, ies...)
}

// established establishes a session and returns its SEID and the answer.
func (b *bench) established(cpSEID uint64, r *rulesSpec) (uint64, message.Message) {
	b.t.Helper()
	resp := b.ask(establishment(cpSEID, r))
	if got := refusalOf(b.t, resp); got.cause != ie.CauseRequestAccepted {
		b.t.Fatalf("session establishment: %+v", got)
	}
	if resp.SEID() != cpSEID {
		b.t.Fatalf("answer's header has SEID %#x, want the CP function's %#x", resp.SEID(), cpSEID)
	}
	for _, i := range iesOf(b.t, resp) {
		if i.Type == ie.FSEID {
			f, err := pfcp.ParseFSEID(i)
			if err != nil {
				b.t.Fatal(err)
			}
			return f.SEID, resp
		}
	}
	b.t.Fatal("answer without UP F-SEID")
	return 0, nil
}

// capture is a line of a file in testdata/n4.
type capture struct {
	fromCP   bool
	at       time.Duration // since the first
	datagram []byte
}

func readCapture(t testing.TB, file string) []capture {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var cs []capture
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if strings.HasPrefix(scan.Text(), "#") {
			continue
		}
		fields := strings.Fields(scan.Text())
		if len(fields) != 3 {
			t.Fatalf("%s: %q", file, scan.Text())
		}
		at, err := time.ParseDuration(fields[1] + "s")
		if err != nil {
			t.Fatal(err)
		}
		d, err := hex.DecodeString(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		cs = append(cs, capture{fields[0] == ">", at, d})
	}
	if scan.Err() != nil || len(cs) == 0 {
		t.Fatalf("%s: %d datagrams, %v", file, len(cs), scan.Err())
	}
	return cs
}

// cmpRules lets cmp compare compiled rules.
var cmpRules = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

// writeHexDump writes d as text2pcap reads it.
func writeHexDump(w *strings.Builder, d []byte) {
	for i := 0; i < len(d); i += 16 {
		fmt.Fprintf(w, "%06x % x\n", i, d[i:min(i+16, len(d))])
	}
	w.WriteString("\n")
}

// seids are those of the sessions that it has.
func (p *fakePlane) seids() []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.rules))
}

func (p *fakePlane) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.rules)
}

// registry is what the server's registry holds.
func (b *bench) registry() string {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return b.s.registry.String()
}
