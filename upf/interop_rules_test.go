package upf

import (
	"fmt"
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

// Rules of docs/INTEROP.md that no other test shows.

// TestSwapConventions: newer SMFs write one flow description for both directions, older
// ones swap the sides for the uplink; with the UE's address in the uplink PDI or, as
// Open5GS, without.
func TestSwapConventions(t *testing.T) {
	b := newBench(t)
	b.associate()
	description := func(text string) []pfcp.SDFFilter {
		fd, err := pfcp.ParseFlowDescription(text)
		if err != nil {
			t.Fatal(err)
		}
		return []pfcp.SDFFilter{{HasDescription: true, Description: fd}}
	}
	for _, tc := range []struct{ name, down, up string }{
		{"same text", "permit out 17 from 198.51.100.0/24 53 to assigned", "permit out 17 from 198.51.100.0/24 53 to assigned"},
		{"swapped", "permit out 17 from 198.51.100.0/24 53 to assigned", "permit out 17 from assigned to 198.51.100.0/24 53"},
		{"same text, the UE's address", "permit out 17 from 198.51.100.0/24 53 to 10.60.0.20", "permit out 17 from 198.51.100.0/24 53 to 10.60.0.20"},
		{"swapped, the UE's address", "permit out 17 from 198.51.100.0/24 53 to 10.60.0.20", "permit out 17 from 10.60.0.20 to 198.51.100.0/24 53"},
	} {
		for _, without := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, uplink without UE address %v", tc.name, without), func(t *testing.T) {
				r := plainSession(0x20, "10.60.0.20")
				r.pdrs[0].PDI.Filters, r.pdrs[1].PDI.Filters = description(tc.up), description(tc.down)
				if without {
					r.pdrs[0].PDI.UEAddresses = nil
				}
				seid, _ := b.established(1, r)
				rules := b.plane.of(seid)
				for _, f := range []dataplane.Filter{rules.Uplink[0].Filters[0], rules.Downlink[0].Filters[0]} {
					if f.Remote.String() != "198.51.100.0/24" || len(f.RemotePorts) != 1 || f.RemotePorts[0].First != 53 || len(f.LocalPorts) != 0 {
						t.Errorf("filter %+v", f)
					}
				}
			})
		}
	}
}

// TestNetworkInstanceForms: free5GC's SMF writes a Network Instance as it stands, or as
// an FQDN where it is told to; Open5GS's as an FQDN. All pick the same pool.
func TestNetworkInstanceForms(t *testing.T) {
	b := newBenchWith(t, strings.ReplaceAll(poolConfig, "dnn: ims", "dnn: ims.operator"))
	b.associate()
	var cp uint64
	for name, payload := range map[string][]byte{"raw": []byte("ims.operator"), "FQDN": o5gsName("ims.operator"), "FQDN with root": append(o5gsName("ims.operator"), 0)} {
		cp++
		instance := ie.New(ie.NetworkInstance, payload)
		fteid := pfcp.FTEID{TEID: uint32(cp), IPv4: addr("10.100.3.1")}.IE()
		ask := func(flags byte) *ie.IE { return ie.New(ie.UEIPAddress, []byte{flags}) }
		resp := b.ask(message.NewSessionEstablishmentRequest(0, 0, 0, 0, 0,
			pfcp.NodeIDIE(cpNode), pfcp.FSEID{SEID: cp, IPv4: addr(cpNode)}.IE(),
			ie.NewCreatePDR(ie.NewPDRID(1), ie.NewPrecedence(255), ie.NewPDI(ie.NewSourceInterface(0), fteid, instance, ask(0x10)), ie.NewOuterHeaderRemoval(0, 0), ie.NewFARID(1)),
			ie.NewCreatePDR(ie.NewPDRID(2), ie.NewPrecedence(255), ie.NewPDI(ie.NewSourceInterface(1), instance, ask(0x14)), ie.NewFARID(2)),
			ie.NewCreateFAR(ie.NewFARID(1), ie.NewApplyAction(2), ie.NewForwardingParameters(ie.NewDestinationInterface(1), instance)),
			ie.NewCreateFAR(ie.NewFARID(2), ie.NewApplyAction(2), ie.NewForwardingParameters(ie.NewDestinationInterface(0), instance))))
		if got := refusalOf(t, resp); got.cause != ie.CauseRequestAccepted {
			t.Fatalf("%s: %+v", name, got)
		}
		if ue := createdUEs(t, resp, ie.CreatedPDR)[2].IPv4.String(); !strings.HasPrefix(ue, "10.61.0.") {
			t.Errorf("%s: UE address %s, want one of the pool of that data network", name, ue)
		}
	}
}

// TestFTEIDAsFree5GCReads: an F-TEID of ours says which address it has; without that
// free5GC's SMF fails the session.
func TestFTEIDAsFree5GCReads(t *testing.T) {
	b := newBench(t)
	b.associate()
	for i, ask := range []pfcp.FTEID{
		{Choose: true, ChooseV4: true},
		{Choose: true, ChooseV4: true, ChooseV6: true, HasChooseID: true, ChooseID: 5},
		{Choose: true, HasChooseID: true, ChooseID: 5}, // Open5GS before release 2.3 named no family
	} {
		r := plainSession(0x20, "10.60.0.20")
		r.pdrs[0].PDI.FTEID = &ask
		_, resp := b.established(uint64(i+1), r)
		_, body := free5gcBody(t, encoded(t, resp))
		f := body.(free5gc.PFCPSessionEstablishmentResponse).CreatedPDR.LocalFTEID
		if f == nil || !f.V4 || f.V6 || f.Ch || f.Teid == 0 || f.Ipv4Address.String() != "10.100.3.1" {
			t.Errorf("asked for %+v, free5GC's codec reads %+v", ask, f)
		}
		b.ask(message.NewSessionDeletionRequest(0, 0, upSEIDOf(t, resp), 0, 0))
	}
}

// TestBogusValidityTime: free5GC's SMF updates a URR with the Quota Validity Time of the
// year 1 (its urrToUpdateURR): nothing comes of it, and the URR goes on.
func TestBogusValidityTime(t *testing.T) {
	b := newReportBench(t, "")
	u := volumeURR(1, pfcp.TriggerVOLTH|pfcp.TriggerPERIO)
	u.Limits.VolumeThreshold, u.Period = octets(1000), 30
	seid := b.session(1, u)
	never := time.Time{}.Sub(time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)) / time.Second
	wire := free5gc.Message{
		Header: free5gc.Header{Version: 1, S: 1, MessageType: free5gc.PFCP_SESSION_MODIFICATION_REQUEST, SEID: seid, SequenceNumber: 9},
		Body: free5gc.PFCPSessionModificationRequest{UpdateURR: []*free5gc.UpdateURR{{
			URRID:             &pfcpType.URRID{UrrIdValue: 1},
			MeasurementMethod: &pfcpType.MeasurementMethod{Volum: true},
			ReportingTriggers: &pfcpType.ReportingTriggers{Volth: true, Perio: true},
			MeasurementPeriod: &pfcpType.MeasurementPeriod{MeasurementPeriod: 30},
			QuotaValidityTime: &pfcpType.QuotaValidityTime{QuotaValidityTime: uint32(never)},
			VolumeThreshold: &pfcpType.VolumeThreshold{
				Tovol: true, Ulvol: true, Dlvol: true, TotalVolume: 500, UplinkVolume: 500, DownlinkVolume: 500,
			},
			MeasurementInformation: &pfcpType.MeasurementInformation{},
		}}},
	}
	d, err := wire.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	inbox := pfcp.NewInbox(pfcp.Config{Malformed: b.s.malformed}, b.s.handle)
	answers := inbox.Receive(smfAddr, d, b.now)
	if len(answers) != 1 || refusalOf(t, captured(t, answers[0])).cause != ie.CauseRequestAccepted {
		t.Fatalf("answers %x", answers)
	}
	b.traffic(seid, 1, 500, 0)
	b.run(29 * time.Second)
	b.want(b.takeUsage(), "1#0 0x2 500+0")
	b.run(2 * time.Second)
	b.want(b.takeUsage(), "1#1 0x1 0+0")
	b.run(time.Hour)
	for _, r := range b.takeUsage() {
		if r.Trigger != pfcp.ReportPERIO {
			t.Fatalf("report %s", line(r))
		}
	}
}

// TestSequenceNumbers: a number is not used for a second request of ours, whoever the
// SMF: free5GC's takes a request of a number that it has seen in the last 15 s for a
// retransmission.
func TestSequenceNumbers(t *testing.T) {
	b := newBench(t)
	b.associate()
	const sessions = 50
	var seids []uint64
	for n := range sessions {
		cp := pfcp.FSEID{SEID: uint64(n + 1), IPv4: addr("127.0.0.1")}
		seid := b.establish(cpNode, cp, plainSession(uint32(n+1), fmt.Sprintf("10.60.1.%d", n+1)))
		seids = append(seids, seid)
	}
	for _, seid := range seids {
		b.s.HandleEvent(dataplane.Event{Kind: dataplane.DownlinkData, SEID: seid, PDR: 3})
	}
	seen := map[uint32]uint64{} // SEID by sequence number
	for len(seen) < sessions {
		m := captured(t, b.read())
		if was, again := seen[m.Sequence()]; again && was != m.SEID() {
			t.Fatalf("sequence number %d is that of two reports", m.Sequence())
		}
		seen[m.Sequence()] = m.SEID()
		b.answer(m, message.NewSessionReportResponse(0, 0, m.SEID(), m.Sequence(), 0, ie.NewCause(ie.CauseRequestAccepted)))
	}
}

// TestLongAnswers: whatever a request makes us say, it is 2,048 octets at most: longer
// messages free5GC's SMF cuts off.
func TestLongAnswers(t *testing.T) {
	config := replayConfig
	for n := range 100 {
		config += fmt.Sprintf("  - {dnn: a-data-network-with-a-name-%d.operator.example, cidr: 10.%d.0.0/16}\n", n, n+100)
	}
	config = strings.Replace(config, "dnnList: [{dnn: internet, cidr: 10.60.0.0/16}]", "dnnList:", 1)
	b := newReportBenchWith(t, config)
	inbox := pfcp.NewInbox(pfcp.Config{Malformed: b.s.malformed}, b.s.handle)
	setup := encoded(t, message.NewAssociationSetupRequest(1, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)))
	answer := inbox.Receive(smfAddr, setup, b.now)[0]
	if pools := all(iesOf(t, captured(t, answer)), ie.UEIPAddressPoolInformation); len(answer) > maxMessage || len(pools) < 15 {
		t.Errorf("%d octets, %d pools", len(answer), len(pools))
	}
}

// TestForwardingPolicy: free5GC's SMF names the forwarding policy of its routing profile
// in a FAR, if it is set up with one; there is none here, and the answer says so.
func TestForwardingPolicy(t *testing.T) {
	b := newBench(t)
	b.associate()
	r := plainSession(0x20, "10.60.0.20")
	var ies []*ie.IE
	for _, i := range r.creates() {
		if i.Type != ie.CreateFAR || !slices.ContainsFunc(i.ChildIEs, func(c *ie.IE) bool { return c.Type == ie.FARID && c.Payload[3] == 1 }) {
			ies = append(ies, i)
		}
	}
	ies = append(ies, pfcp.NodeIDIE(cpNode), pfcp.FSEID{SEID: 1, IPv4: addr(cpNode)}.IE(),
		ie.NewCreateFAR(ie.NewFARID(1), ie.NewApplyAction(2), ie.NewForwardingParameters(ie.NewDestinationInterface(1), ie.NewForwardingPolicy("10"))))
	got := refusalOf(t, b.ask(message.NewSessionEstablishmentRequest(0, 0, 0, 0, 0, ies...)))
	if got.cause != ie.CauseInvalidForwardingPolicy || got.offending != ie.ForwardingPolicy {
		t.Errorf("got %+v", got)
	}
}
