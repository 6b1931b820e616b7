package upf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// TestStrangers: what needs an association is refused to a peer without one, also if
// it names a node that has one, and changes nothing.
func TestStrangers(t *testing.T) {
	b := newBench(t)
	b.associate()
	seid, _ := b.established(1, plainSession(0x10, "10.60.0.10"))
	stranger := b.at("127.0.0.2")
	node := pfcp.NodeIDIE(cpNode)
	tests := []struct {
		name string
		req  message.Message
	}{
		{"establishment", establishment(2, plainSession(0x11, "10.60.0.11"))},
		{"modification", modify(seid)},
		{"deletion", message.NewSessionDeletionRequest(0, 0, seid, 0, 0)},
		{"association update", message.NewAssociationUpdateRequest(0, node)},
		{"association release", message.NewAssociationReleaseRequest(0, node)},
		{"PFD management", message.NewPFDManagementRequest(0)},
		{"session set deletion", message.NewSessionSetDeletionRequest(0, node, ie.NewFQCSID("10.0.0.1", 1))},
		{"session set modification", message.NewGenericWithoutSEID(pfcp.MsgSessionSetModificationRequest, 0, node)},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := stranger.cause(tc.req); got != ie.CauseNoEstablishedPFCPAssociation {
				t.Errorf("cause %d", got)
			}
		})
	}
	if b.plane.count() != 1 || len(b.s.Nodes()) != 1 {
		t.Errorf("%d sessions, %d associations are left", b.plane.count(), len(b.s.Nodes()))
	}
	if got := stranger.cause(message.NewHeartbeatRequest(0, pfcp.RecoveryTimeStampIE(cpStarted), nil)); got != 0 {
		t.Errorf("a stranger's heartbeat: cause %d", got)
	}
}

// TestOtherAddresses: a node may speak from the addresses that it has told of, its
// Node ID's, and for one session from that of its CP F-SEID.
func TestOtherAddresses(t *testing.T) {
	tests := []struct {
		name, node string
		setup      []*ie.IE
		cp         string
	}{
		{"alternative address", "smf.example", []*ie.IE{pfcp.CPAddressIE(ie.AlternativeSMFIPAddress, addr("127.0.0.2"))}, "127.0.0.1"},
		{"Node ID", "127.0.0.2", nil, "127.0.0.1"},
		{"CP F-SEID", "smf.example", nil, "127.0.0.2"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.setup(tc.node, tc.setup...)
			seid := b.establish(tc.node, pfcp.FSEID{SEID: 1, IPv4: addr(tc.cp)}, plainSession(0x10, "10.60.0.10"))
			if got := b.at("127.0.0.2").cause(modify(seid)); got != ie.CauseRequestAccepted {
				t.Errorf("cause %d", got)
			}
			if got := b.at("127.0.0.3").cause(modify(seid)); got != ie.CauseNoEstablishedPFCPAssociation {
				t.Errorf("of a third: cause %d", got)
			}
		})
	}
	t.Run("told by an update", func(t *testing.T) {
		b := newBench(t)
		b.associate()
		seid, _ := b.established(1, plainSession(0x10, "10.60.0.10"))
		if got := b.cause(message.NewAssociationUpdateRequest(0, pfcp.NodeIDIE(cpNode), pfcp.CPAddressIE(ie.AlternativeSMFIPAddress, addr("127.0.0.2")))); got != ie.CauseRequestAccepted {
			t.Fatalf("update: cause %d", got)
		}
		if got := b.at("127.0.0.2").cause(modify(seid)); got != ie.CauseRequestAccepted {
			t.Errorf("cause %d", got)
		}
	})
}

// TestAllowList: datagrams from outside the list meet silence and are counted.
func TestAllowList(t *testing.T) {
	b := newBenchOf(t, testCfg(t, func(c *Config) { c.Braid.Peers = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/31")} }), slog.New(slog.DiscardHandler))
	if _, err := b.conn.WriteToUDPAddrPort(encoded(t, message.NewAssociationSetupRequest(1, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted))), b.s.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	b.at("127.0.0.3").setup("smf.example")
	if ns := b.s.Nodes(); len(ns) != 1 || ns[0].ID != "smf.example" || b.s.Dropped() != 1 {
		t.Errorf("nodes %+v, %d dropped", ns, b.s.Dropped())
	}
}

// TestSessionRetention: a CP function that associates again says which sessions stay.
func TestSessionRetention(t *testing.T) {
	entity := func(a string) *ie.IE { return pfcp.CPAddressIE(ie.CPPFCPEntityIPAddress, addr(a)) }
	tests := []struct {
		name   string
		retain []*ie.IE
		kept   [2]bool // of the sessions with CP F-SEIDs at 10.0.0.1 and 10.0.0.2
	}{
		{"nothing said", nil, [2]bool{}},
		{"all", []*ie.IE{ie.NewGroupedIE(ie.PFCPSessionRetentionInformation)}, [2]bool{true, true}},
		{"those of one entity", []*ie.IE{ie.NewGroupedIE(ie.PFCPSessionRetentionInformation, entity("10.0.0.2"), entity("10.0.0.9"))}, [2]bool{false, true}},
		{"those of an entity that has none", []*ie.IE{ie.NewGroupedIE(ie.PFCPSessionRetentionInformation, entity("10.0.0.9"))}, [2]bool{}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.setup(cpNode)
			var seids [2]uint64
			for i := range seids {
				cp := pfcp.FSEID{SEID: 1, IPv4: addr(fmt.Sprintf("10.0.0.%d", i+1))}
				seids[i] = b.establish(cpNode, cp, plainSession(uint32(0x10+i), fmt.Sprintf("10.60.0.1%d", i)))
			}
			resp := b.setup(cpNode, tc.retain...)
			for i, seid := range seids {
				if kept := b.plane.of(seid) != nil; kept != tc.kept[i] {
					t.Errorf("session %d: kept %v", i+1, kept)
				}
				if tc.kept[i] && b.cause(modify(seid)) != ie.CauseRequestAccepted {
					t.Errorf("session %d cannot be modified", i+1)
				}
			}
			told := resp.PFCPASRspFlags != nil && resp.PFCPASRspFlags.HasPSREI()
			if told != (tc.kept[0] || tc.kept[1]) {
				t.Errorf("PSREI %v", told)
			}
		})
	}
}

// TestAssociationsBounded: a peer cannot make up node after node.
func TestAssociationsBounded(t *testing.T) {
	b := newBench(t)
	for i := range maxNodes {
		b.setup(fmt.Sprintf("smf%d.example", i))
	}
	again := message.NewAssociationSetupRequest(0, pfcp.NodeIDIE("one.more.example"), pfcp.RecoveryTimeStampIE(cpStarted))
	if got := b.cause(again); got != ie.CauseNoResourcesAvailable {
		t.Errorf("cause %d", got)
	}
	b.setup("smf7.example")
}

// TestDrain follows a UPF that goes out of service.
func TestDrain(t *testing.T) {
	b := newBench(t)
	if err := b.s.Drain(t.Context()); err != nil {
		t.Fatalf("without associations: %v", err)
	}
	b = newBench(t)
	b.associate()
	seid, _ := b.established(1, plainSession(0x10, "10.60.0.10"))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- b.s.Drain(ctx) }()

	req, ok := b.receive().(*message.AssociationUpdateRequest)
	if !ok || req.PFCPAssociationReleaseRequest == nil || !req.PFCPAssociationReleaseRequest.HasSARR() {
		t.Fatalf("got %+v", req)
	}
	if id, err := pfcp.ParseNodeID(req.NodeID); err != nil || id != "10.100.4.2" {
		t.Errorf("Node ID %q, %v", id, err)
	}
	if d, err := req.GracefulReleasePeriod.GracefulReleasePeriod(); err != nil || d != 3*time.Minute {
		t.Errorf("graceful release period %v, %v", d, err)
	}
	b.answer(req, message.NewAssociationUpdateResponse(0, pfcp.NodeIDIE(cpNode), ie.NewCause(ie.CauseRequestAccepted)))

	if got := b.cause(establishment(2, plainSession(0x11, "10.60.0.11"))); got != ie.CauseNoResourcesAvailable {
		t.Errorf("establishment: cause %d", got)
	}
	if got := b.cause(message.NewAssociationSetupRequest(0, pfcp.NodeIDIE("smf.example"), pfcp.RecoveryTimeStampIE(cpStarted))); got != ie.CauseRequestRejected {
		t.Errorf("association setup: cause %d", got)
	}
	if got := b.cause(modify(seid)); got != ie.CauseRequestAccepted {
		t.Errorf("modification: cause %d", got)
	}
	if got := b.cause(message.NewAssociationReleaseRequest(0, pfcp.NodeIDIE(cpNode))); got != ie.CauseRequestAccepted {
		t.Errorf("release: cause %d", got)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	tshark(t, [][]byte{encoded(t, req)}, "-V")
}

// TestDrainRefused: a CP function that does not release keeps nobody waiting.
func TestDrainRefused(t *testing.T) {
	for name, answer := range map[string]message.Message{
		"refused": message.NewAssociationUpdateResponse(0, pfcp.NodeIDIE(cpNode), ie.NewCause(ie.CauseRequestRejected)),
		"silence": nil,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.associate()
			drained := make(chan error, 1)
			go func() { drained <- b.s.Drain(t.Context()) }()
			req := b.receive().(*message.AssociationUpdateRequest)
			if d, err := req.GracefulReleasePeriod.GracefulReleasePeriod(); err != nil || d < 1000*time.Hour {
				t.Errorf("graceful release period %v, %v, want one without end", d, err)
			}
			if answer != nil {
				b.answer(req, answer)
			}
			if err := <-drained; !errors.Is(err, ErrNotDrained) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestGracefulReleasePeriod(t *testing.T) {
	for d, want := range map[time.Duration]byte{
		0: 0xe0, time.Second: 0x01, 2 * time.Second: 0x01, 3 * time.Second: 0x02, 62 * time.Second: 0x1f, 63 * time.Second: 0x22,
		31 * time.Minute: 0x3f, 32 * time.Minute: 0x44, 310 * time.Minute: 0x5f, 31 * time.Hour: 0x7f, 32 * time.Hour: 0x84, 9999 * time.Hour: 0x9f,
	} {
		if got := pfcp.GracefulReleasePeriodIE(d).Payload[0]; got != want {
			t.Errorf("%v: %#02x, want %#02x", d, got, want)
		}
	}
}
