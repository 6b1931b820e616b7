package upf

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	free5gc "github.com/free5gc/pfcp"
	"github.com/free5gc/pfcp/pfcpType"
	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// free5gcBody is a message as free5GC's codec reads it.
func free5gcBody(t *testing.T, wire []byte) (*free5gc.Header, any) {
	t.Helper()
	var m free5gc.Message
	if err := m.Unmarshal(wire); err != nil {
		t.Fatalf("free5GC's codec: %v: %x", err, wire)
	}
	return &m.Header, m.Body
}

// sentKind is a kind of message that the UPF sends, by the function of go-pfcp that
// makes it.
type sentKind struct {
	name string
	typ  uint8

	// read looks at such a message as free5GC's codec reads it; nil where that codec does
	// not know the message, or cannot read what the standard has in it.
	read func(body any) bool
}

// sentKinds are all of them.
var sentKinds = []sentKind{
	{"NewHeartbeatRequest", 1, func(b any) bool { return b.(free5gc.HeartbeatRequest).RecoveryTimeStamp != nil }},
	{"NewHeartbeatResponse", 2, func(b any) bool { return b.(free5gc.HeartbeatResponse).RecoveryTimeStamp != nil }},
	{"NewPFDManagementResponse", 4, func(b any) bool { return b.(free5gc.PFCPPFDManagementResponse).Cause != nil }},
	{"NewAssociationSetupResponse", 6, func(b any) bool {
		m := b.(free5gc.PFCPAssociationSetupResponse)
		return ourNode(m.NodeID) && m.Cause != nil && m.RecoveryTimeStamp != nil && m.UPFunctionFeatures != nil
	}},
	{"NewAssociationUpdateRequest", 7, nil}, // it cannot read a Graceful Release Period
	{"NewAssociationUpdateResponse", 8, func(b any) bool {
		m := b.(free5gc.PFCPAssociationUpdateResponse)
		return ourNode(m.NodeID) && m.Cause != nil
	}},
	{"NewAssociationReleaseResponse", 10, func(b any) bool {
		m := b.(free5gc.PFCPAssociationReleaseResponse)
		return ourNode(m.NodeID) && m.Cause != nil
	}},
	{"NewVersionNotSupportedResponse", 11, nil},
	{"NewNodeReportRequest", 12, nil}, // it cannot read a User Plane Path Failure Report
	{"NewSessionSetDeletionResponse", 15, func(b any) bool {
		m := b.(free5gc.PFCPSessionSetDeletionResponse)
		return ourNode(m.NodeID) && m.Cause != nil
	}},
	{"NewGenericWithoutSEID", pfcp.MsgSessionSetModificationResponse, nil},
	{"NewSessionEstablishmentResponse", 51, func(b any) bool {
		m := b.(free5gc.PFCPSessionEstablishmentResponse)
		accepted := m.Cause != nil && m.Cause.CauseValue == pfcpType.CauseRequestAccepted
		return ourNode(m.NodeID) && m.Cause != nil && accepted == (m.UPFSEID != nil) && accepted != (m.OffendingIE != nil)
	}},
	{"NewSessionModificationResponse", 53, func(b any) bool { return b.(free5gc.PFCPSessionModificationResponse).Cause != nil }},
	{"NewSessionDeletionResponse", 55, func(b any) bool { return b.(free5gc.PFCPSessionDeletionResponse).Cause != nil }},
	{"NewSessionReportRequest", 56, func(b any) bool { return b.(free5gc.PFCPSessionReportRequest).ReportType != nil }},
}

func ourNode(id *pfcpType.NodeID) bool {
	return id != nil && id.NodeIdType == pfcpType.NodeIdTypeIpv4Address && id.IP.String() == "10.100.4.2"
}

// notSent are files whose messages stay in the UPF: the state file is written as some.
var notSent = []string{"restore.go"}

// TestSentKindsListed: whatever message the code makes is in the list above.
func TestSentKindsListed(t *testing.T) {
	made := map[string]bool{}
	for _, pattern := range []string{"*.go", "../pfcp/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || slices.Contains(notSent, file) {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok || !strings.HasPrefix(s.Sel.Name, "New") {
					return true
				}
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "message" {
					made[s.Sel.Name] = true
				}
				return true
			})
		}
	}
	listed := map[string]bool{}
	for _, k := range sentKinds {
		listed[k.name] = true
	}
	if diff := cmp.Diff(listed, made); diff != "" {
		t.Errorf("kinds that the UPF sends, - listed, + made by the code:\n%s", diff)
	}
}

// TestSentKindsDecode has tshark and free5GC's codec read every kind of message that the
// UPF sends, accepting and refusing.
func TestSentKindsDecode(t *testing.T) {
	sent := everySent(t)
	var all [][]byte
	for _, k := range sentKinds {
		wires := sent[k.typ]
		if len(wires) == 0 {
			t.Errorf("the UPF has not sent message %d (%s)", k.typ, k.name)
		}
		for _, w := range wires {
			if len(w) > maxMessage {
				t.Errorf("message %d has %d octets, free5GC's SMF takes %d", k.typ, len(w), maxMessage)
			}
			if k.read == nil {
				continue
			}
			if _, body := free5gcBody(t, w); !k.read(body) {
				t.Errorf("free5GC's codec reads %T: %+v", body, body)
			}
		}
		all = append(all, wires...)
		delete(sent, k.typ)
	}
	if len(sent) > 0 {
		t.Errorf("the UPF has sent messages %v, which are not in the list", slices.Collect(maps.Keys(sent)))
	}
	tshark(t, all, "-V")
}

// everySent has the UPF send every kind of message; by type.
func everySent(t *testing.T) map[uint8][][]byte {
	sent := map[uint8][][]byte{}
	keep := func(wires ...[]byte) {
		for _, w := range wires {
			sent[w[1]] = append(sent[w[1]], w)
		}
	}
	b := newReportBenchWith(t, poolConfig)
	inbox := pfcp.NewInbox(pfcp.Config{Malformed: b.s.malformed}, b.s.handle)
	sequence := uint32(0)
	ask := func(m message.Message) message.Message {
		sequence++
		m.SetSequenceNumber(sequence)
		answers := inbox.Receive(smfAddr, encoded(t, m), b.now)
		if len(answers) != 1 {
			t.Fatalf("%d answers to %s", len(answers), m.MessageTypeName())
		}
		keep(answers[0])
		return captured(t, answers[0])
	}
	node, stamp, csid := pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted), ie.NewFQCSID("10.0.0.1", 7)
	ask(message.NewPFDManagementRequest(0, pfds("web", web))) // no association yet
	ask(message.NewAssociationSetupRequest(0, stamp))
	ask(message.NewAssociationUpdateRequest(0, node))
	ask(message.NewAssociationReleaseRequest(0, node))
	ask(message.NewSessionSetDeletionRequest(0, node, csid))
	ask(message.NewGenericWithoutSEID(pfcp.MsgSessionSetModificationRequest, 0, node))

	ask(message.NewAssociationSetupRequest(0, node, stamp))
	ask(message.NewHeartbeatRequest(0, stamp, nil))
	ask(message.NewPFDManagementRequest(0, pfds("web", web)))
	ask(message.NewAssociationUpdateRequest(0, node))
	refused := maSession()
	refused.mars[0].Mode = p(uint8(5))
	ask(establishment(9, refused))
	r := askingSession(0x20, "internet", true, true)
	r.pdrs[0].PDI.FTEID = &pfcp.FTEID{Choose: true, ChooseV4: true}
	seid := upSEIDOf(t, ask(establishment(1, r)))
	ask(modify(seid))
	ask(modify(seid, (&pfcp.PDR{ID: 99}).IE(ie.UpdatePDR)))
	change := ie.New(pfcp.TypeSessionChangeInfo, slices.Concat(rawIE(t, csid), rawIE(t, pfcp.Alternative{Addrs: []netip.Addr{addr("10.9.0.1")}}.IE())))
	ask(message.NewGenericWithoutSEID(pfcp.MsgSessionSetModificationRequest, 0, node, change))
	ask(message.NewSessionSetDeletionRequest(0, node, csid))
	ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0))
	ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0))
	for _, up := range []bool{false, true} {
		keep(encoded(t, nodeReport{paths: []netip.Addr{addr("10.100.1.2"), addr("fd00::2")}, up: up}.message(b.s)))
	}
	ask(message.NewAssociationReleaseRequest(0, node))
	keep(inbox.Receive(smfAddr, []byte{0x40, 1, 0, 4, 0, 0, 1, 0}, b.now)...) // version 2

	keep(everyKind(t, false)...)
	beats := newBenchWith(t, testConfig+"braid: {heartbeat: 10ms}\n")
	beats.associate()
	keep(beats.read())
	leaving := newBench(t)
	leaving.associate()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	drained := make(chan error, 1)
	go func() { drained <- leaving.s.Drain(ctx) }()
	keep(leaving.read())
	cancel()
	<-drained
	return sent
}
