package upf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	free5gc "github.com/free5gc/pfcp"
	"github.com/free5gc/pfcp/pfcpType"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

const replayConfig = `
pfcp: {addr: 10.100.4.2, nodeID: 10.100.4.2}
gtpu: {forwarder: gtp5g, ifList: [{addr: 10.100.3.1, type: N3}]}
dnnList: [{dnn: internet, cidr: 10.60.0.0/16}]
`

// TestReplay has the UPF take the place of the UPF of each capture, by the capture's
// clock. The SMF's requests are its own but for the SEIDs, which are ours where it had
// the other UPF's; what had that UPF report happens here too, and the SMF's own answers
// go to our reports. What is compiled, answered and reported is in the golden files.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/n4/*.hex")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d captures: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".hex")
		t.Run(name, func(t *testing.T) {
			r := newReplay(t)
			captures := readCapture(t, file)
			for _, c := range captures {
				r.is = c
				r.run(max(0, r.began.Add(c.at).Sub(r.now)))
				r.reported()
				switch m := captured(t, c.datagram); {
				case c.fromCP && isRequest(m.MessageType()):
					r.request(m.MessageType())
				case c.fromCP && m.MessageType() == message.MsgTypeSessionReportResponse:
					r.reportAnswered(m)
				case m.MessageType() == message.MsgTypeSessionReportRequest:
					r.report(m)
				case m.MessageType() == message.MsgTypeSessionEstablishmentResponse:
					r.theirs[upSEIDOf(t, m)] = r.ours
				case m.MessageType() == message.MsgTypeSessionModificationResponse, m.MessageType() == message.MsgTypeSessionDeletionResponse:
					r.answeredSo(m)
				}
			}
			golden(t, name, r.text.String())
			tshark(t, r.wires, "-V")
		})
	}
}

func captured(t *testing.T, datagram []byte) message.Message {
	t.Helper()
	m, err := message.Parse(datagram)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// isRequest: requests have odd numbers among the node messages and even ones among
// those of sessions (TS 29.244 Table 7.3-1).
func isRequest(typ uint8) bool { return typ < 50 && typ%2 == 1 || typ >= 50 && typ%2 == 0 }

// replay is a capture under way.
type replay struct {
	*reportBench
	t       *testing.T
	inbox   *pfcp.Inbox
	began   time.Time
	is      capture           // the datagram that it has come to
	theirs  map[uint64]uint64 // the other UPF's SEIDs to ours
	cp      map[uint64]uint64 // our SEIDs to the SMF's
	ours    uint64            // SEID of the session established last
	stored  map[string][]byte // our answers by the octets of the request
	waiting []*sentReport     // our reports that the SMF has not answered
	reports []uint32          // URRs reported in our last answer
	wires   [][]byte
	text    strings.Builder
}

func newReplay(t *testing.T) *replay {
	b := newReportBenchWith(t, replayConfig)
	b.cause = 0 // the capture has the answers
	return &replay{
		reportBench: b, t: t, began: b.now, inbox: pfcp.NewInbox(pfcp.Config{Malformed: b.s.malformed}, b.s.handle),
		theirs: map[uint64]uint64{}, cp: map[uint64]uint64{}, stored: map[string][]byte{},
	}
}

func (r *replay) say(format string, args ...any) {
	fmt.Fprintf(&r.text, "%9.3f ", r.now.Sub(r.began).Seconds())
	fmt.Fprintf(&r.text, format+"\n", args...)
}

// request has the UPF answer the SMF's request that the replay has come to, and once
// more, as if the answer had been lost.
func (r *replay) request(typ uint8) {
	d := slices.Clone(r.is.datagram)
	var seid, theirs uint64
	if d[0]&1 != 0 {
		if theirs = binary.BigEndian.Uint64(d[4:]); theirs != 0 {
			if seid = r.theirs[theirs]; seid == 0 {
				r.t.Fatalf("session %#x was not established: %x", theirs, d)
			}
		}
		binary.BigEndian.PutUint64(d[4:], seid)
	}
	before := r.plane.of(seid)
	answer := r.receive(d)
	if old := r.stored[string(d)]; old != nil {
		r.say("request %d sent again: the same answer", typ)
		if !bytes.Equal(old, answer) || r.plane.of(seid) != before {
			r.t.Errorf("request %d sent again: answer %x, before %x", typ, answer, old)
		}
		return
	}
	r.stored[string(d)] = answer
	r.wires = append(r.wires, answer)
	r.hold(typ, seid, d, answer)
	now := r.plane.of(r.ours)
	if again := r.receive(d); !bytes.Equal(again, answer) || r.plane.of(r.ours) != now {
		r.t.Errorf("request %d repeated: answer %x, before %x", typ, again, answer)
	}
}

func (r *replay) receive(d []byte) []byte {
	r.t.Helper()
	answers := r.inbox.Receive(smfAddr, slices.Clone(d), r.now)
	if len(answers) != 1 {
		r.t.Fatalf("%d answers to %x", len(answers), d)
	}
	return answers[0]
}

// hold holds an answer against what a free5GC SMF needs of it.
func (r *replay) hold(typ uint8, seid uint64, request, answer []byte) {
	head, body := free5gcBody(r.t, answer)
	sequence := request[4:7]
	if request[0]&1 != 0 {
		sequence = request[12:15]
	}
	if want := uint32(sequence[0])<<16 | uint32(sequence[1])<<8 | uint32(sequence[2]); head.SequenceNumber != want || uint8(head.MessageType) != typ+1 || head.Version != 1 {
		r.t.Errorf("header %+v, want type %d, sequence number %d", head, typ+1, want)
	}
	if head.S != request[0]&1 || len(answer) > 2048 {
		r.t.Errorf("header %+v, %d octets", head, len(answer))
	}
	accepted := func(c *pfcpType.Cause) {
		if c == nil || c.CauseValue != pfcpType.CauseRequestAccepted {
			r.t.Errorf("request %d (%x): cause %+v", typ, request, c)
		}
	}
	switch m := body.(type) {
	case free5gc.HeartbeatResponse:
		r.say("heartbeat: answered, recovery time stamp kept %v", m.RecoveryTimeStamp.RecoveryTimeStamp.Unix() == r.s.started.Unix())
	case free5gc.PFCPAssociationSetupResponse:
		accepted(m.Cause)
		ftup := m.UPFunctionFeatures.SupportedFeatures&pfcpType.UpFunctionFeaturesFtup != 0
		r.say("association setup: accepted, Node ID %s, FTUP %v, recovery time stamp kept %v, %d sessions",
			r.node(m.NodeID), ftup, m.RecoveryTimeStamp.RecoveryTimeStamp.Unix() == r.s.started.Unix(), r.plane.count())
	case free5gc.PFCPSessionEstablishmentResponse:
		accepted(m.Cause)
		r.established(request, m, head.SEID)
	case free5gc.PFCPSessionModificationResponse:
		accepted(m.Cause)
		r.say("session %d modified: accepted", r.cp[seid])
		r.answered(seid, head.SEID, answer)
		dump(&r.text, r.plane.of(seid))
		r.ours = seid
	case free5gc.PFCPSessionDeletionResponse:
		accepted(m.Cause)
		r.say("session %d deleted: accepted", r.cp[seid])
		r.answered(seid, head.SEID, answer)
		if r.plane.of(seid) != nil {
			r.t.Errorf("session %#x is still there", seid)
		}
	default:
		r.t.Errorf("answer %T", body)
	}
}

// node is the Node ID of our answers: free5GC's SMF looks its own record of the UPF up
// by it.
func (r *replay) node(id *pfcpType.NodeID) string {
	if id == nil || id.NodeIdType != pfcpType.NodeIdTypeIpv4Address || !id.IP.Equal(net.IPv4(10, 100, 4, 2)) {
		r.t.Errorf("Node ID %+v", id)
		return "?"
	}
	return "IPv4 " + id.IP.String()
}

func (r *replay) established(request []byte, m free5gc.PFCPSessionEstablishmentResponse, seid uint64) {
	cp := upSEID(r.t, request)
	if seid != cp || m.UPFSEID == nil || !m.UPFSEID.V4 || !m.UPFSEID.Ipv4Address.Equal(net.IPv4(10, 100, 4, 2)) {
		r.t.Fatalf("header's SEID %#x, want %#x; UP F-SEID %+v", seid, cp, m.UPFSEID)
	}
	r.ours = m.UPFSEID.Seid
	r.cp[r.ours] = cp
	created := "none"
	if c := m.CreatedPDR; c != nil {
		if f := c.LocalFTEID; f != nil && !f.V4 && !f.V6 {
			r.t.Errorf("F-TEID without an address: %+v", f)
		}
		created = fmt.Sprint(*c.PDRID)
	}
	r.say("session %d established: accepted, Node ID %s, UP F-SEID at %v, created PDR %s", cp, r.node(m.NodeID), m.UPFSEID.Ipv4Address, created)
	dump(&r.text, r.plane.of(r.ours))
}

// answered holds the header of the answer to a session's request, and says what usage
// it reports.
func (r *replay) answered(seid, header uint64, answer []byte) {
	if header != r.cp[seid] {
		r.t.Errorf("header's SEID %#x, want the SMF's %#x", header, r.cp[seid])
	}
	r.reports = r.reports[:0]
	for _, u := range r.usage(iesOf(r.t, captured(r.t, answer))) {
		fmt.Fprintf(&r.text, "  usage report: %s\n", usageText(u))
		r.reports = append(r.reports, u.URR)
	}
}

// answeredSo holds the usage reports of our answer against those that the other UPF
// gave: there are none of its URRs that ours leaves out.
func (r *replay) answeredSo(theirs message.Message) {
	for _, u := range r.usage(iesOf(r.t, theirs)) {
		if !slices.Contains(r.reports, u.URR) {
			r.t.Errorf("at %v: the other UPF reports %s, ours the URRs %v", r.is.at, usageText(u), r.reports)
		}
	}
}

// report has what made the other UPF report happen to ours: ours reports too.
func (r *replay) report(theirs message.Message) {
	var seid uint64
	for up, cp := range r.cp {
		if cp == theirs.SEID() && r.plane.of(up) != nil {
			seid = up
		}
	}
	ies := iesOf(r.t, theirs)
	for _, u := range r.usage(ies) {
		if u.Trigger&pfcp.ReportPERIO != 0 {
			return // ours come by our own clock: see reported
		}
		r.traffic(seid, u.URR, u.Volume.Uplink, u.Volume.Downlink)
	}
	if d := first(ies, ie.DownlinkDataReport); d != nil {
		pdr, err := d.PDRID()
		if err != nil {
			r.t.Fatal(err)
		}
		r.s.HandleEvent(dataplane.Event{Kind: dataplane.DownlinkData, SEID: seid, PDR: pdr})
	}
	r.step()
	if sent := r.reported(); len(sent) != 1 || sent[0].seid != theirs.SEID() {
		r.t.Errorf("at %v: the other UPF reports, ours sends %d reports: %x", r.is.at, len(sent), r.is.datagram)
	}
}

// reported takes down what the UPF has reported by now.
func (r *replay) reported() []*sentReport {
	sent := r.take()
	for _, s := range sent {
		r.wires = append(r.wires, s.wire)
		r.waiting = append(r.waiting, s)
		_, body := free5gcBody(r.t, s.wire)
		m := body.(free5gc.PFCPSessionReportRequest)
		fmt.Fprintf(&r.text, "%9.3f session %d reports to %v:", s.at.Sub(r.began).Seconds(), s.seid, s.to)
		if m.ReportType.Dldr {
			fmt.Fprintf(&r.text, " downlink data of PDR %d", m.DownlinkDataReport.PDRID.RuleId)
		}
		r.text.WriteString("\n")
		reports := r.usage(s.ies)
		if m.ReportType.Usar != (len(reports) > 0) || len(reports) != len(m.UsageReport) {
			r.t.Errorf("free5GC's codec reads %d usage reports of %d", len(m.UsageReport), len(reports))
			return sent
		}
		for i, u := range reports {
			fmt.Fprintf(&r.text, "  usage report: %s\n", usageText(u))
			if f := m.UsageReport[i]; f.URRID.UrrIdValue != u.URR || f.UsageReportTrigger == nil || f.VolumeMeasurement.UplinkVolume != u.Volume.Uplink {
				r.t.Errorf("free5GC's codec reads %+v", f)
			}
		}
	}
	return sent
}

// reportAnswered gives the SMF's answer to the report of ours that has waited longest.
func (r *replay) reportAnswered(m message.Message) {
	if len(r.waiting) == 0 {
		return // the other UPF's report came by its clock: ours is to come
	}
	s := r.waiting[0]
	r.waiting = r.waiting[1:]
	s.done(m, nil)
	r.step()
}

func upSEID(t *testing.T, datagram []byte) uint64 {
	t.Helper()
	return upSEIDOf(t, captured(t, datagram))
}

func upSEIDOf(t *testing.T, m message.Message) uint64 {
	t.Helper()
	i := first(iesOf(t, m), ie.FSEID)
	if i == nil {
		t.Fatal("no F-SEID")
	}
	f, err := pfcp.ParseFSEID(i)
	if err != nil {
		t.Fatal(err)
	}
	return f.SEID
}
