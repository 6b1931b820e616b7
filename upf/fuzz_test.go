package upf

import (
	"encoding/binary"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// fuzzTime is how long a datagram may take with the fuzzer's own work on top.
const fuzzTime = 20 * worstDatagram

// secondPeer, in the length before a datagram, has it come from the second CP
// function.
const secondPeer = 1 << 15

// FuzzDatagrams gives any octets to the whole N4 side: datagrams of two CP functions,
// each behind its length in two octets. In a message's SEID field, 1 stands for the
// first session that there is, so that modifications find one. Whatever comes,
// nothing panics nor takes long, what is in the plane is what the server has, no two
// sessions share an identifier, and nothing is left when the associations end. Of a
// peer outside the allow-list nothing is taken at all.
func FuzzDatagrams(f *testing.F) {
	files, err := filepath.Glob("testdata/n4/*.hex")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		var all []byte
		for _, c := range readCapture(f, file) {
			if c.fromCP {
				all = binary.BigEndian.AppendUint16(all, uint16(len(c.datagram)))
				all = append(all, c.datagram...)
			}
		}
		f.Add(all)
	}
	f.Add(multiAccessSeed())
	f.Add(everyFormSeed())
	f.Add(atsssSeed())
	f.Add(setSeed())
	peers := [2]netip.AddrPort{netip.MustParseAddrPort("10.100.4.1:8805"), netip.MustParseAddrPort("10.100.4.9:8805")}
	foe := netip.MustParseAddrPort("10.100.5.1:8805")
	cfg := cfgOf(f, poolConfig+atsssSection, func(c *Config) { c.Braid.Peers = []netip.Prefix{netip.MustParsePrefix("10.100.4.0/24")} })
	f.Fuzz(func(t *testing.T, b []byte) {
		plane := &fakePlane{rules: map[uint64]*dataplane.Rules{}}
		s := newServer(cfg, plane, slog.New(slog.DiscardHandler))
		s.rep.send = func(_ netip.AddrPort, m message.Message, done func(message.Message, error)) error {
			if _, err := message.Parse(marshalled(t, m)); err != nil {
				t.Fatalf("our report: %v", err)
			}
			return pfcp.ErrTimeout
		}
		inbox := pfcp.NewInbox(pfcp.Config{Allow: s.allow(), Malformed: s.malformed}, s.handle)
		now := time.Unix(1_700_000_000, 0)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for len(b) > 2 {
			length := int(binary.BigEndian.Uint16(b))
			peer := peers[length/secondPeer]
			n := min(length%secondPeer, len(b)-2)
			d := append([]byte(nil), b[2:2+n]...)
			b = b[2+n:]
			s.aimAtSession(d)
			if answers := inbox.Receive(foe, append([]byte(nil), d...), now); answers != nil {
				t.Fatalf("a peer outside of the allow-list got %x", answers)
			}
			start := threadTime(t)
			answers := inbox.Receive(peer, d, now)
			if took := threadTime(t) - start; took > fuzzTime {
				t.Fatalf("%d octets took %v: %x", n, took, d)
			}
			for _, answer := range answers {
				if _, err := message.Parse(answer); err != nil {
					t.Fatalf("our answer %x: %v", answer, err)
				}
			}
			measureAll(s, plane)
			checkConsistent(t, s, plane)
		}
		for _, n := range slices.Collect(maps.Values(s.nodes)) {
			s.handle(netip.AddrPortFrom(n.addr, 8805), message.NewAssociationReleaseRequest(0, pfcp.NodeIDIE(n.id)))
		}
		if len(s.nodes)+len(s.sessions)+len(s.byCP)+len(plane.rules)+len(s.paths.peers) > 0 || s.registry.String() != nothingHeld {
			t.Fatalf("left: %d nodes, %d sessions, %d by CP F-SEID, %d in the plane, %d paths, %s",
				len(s.nodes), len(s.sessions), len(s.byCP), len(plane.rules), len(s.paths.peers), s.registry)
		}
	})
}

// everyFormSeed is the life of a session with what a multi-access session has not.
func everyFormSeed() []byte {
	r := askingSession(0x20, "internet", true, true)
	r.pdrs[1].PDI.FramedRoutes = []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}
	r.pdrs[1].PDI.Filters = []pfcp.SDFFilter{{HasTOS: true, TOS: 4, TOSMask: 0xff, HasSPI: true, SPI: 1, HasLabel: true, FlowLabel: 1, HasID: true, ID: 5}}
	r.pdrs[0].PDI = &pfcp.PDI{SourceInterface: pfcp.InterfaceAccess, Endpoint: p(uint8(1))}
	r.endpoints = []*pfcp.TrafficEndpoint{{ID: 1, PDI: pfcp.PDI{FTEID: &pfcp.FTEID{Choose: true, ChooseV4: true, HasChooseID: true, ChooseID: 5}}}}
	r.bars = []*pfcp.BAR{{ID: 3, Delay: p(uint8(4)), Packets: p(uint8(20))}}
	r.fars[1].BARID, r.fars[1].ApplyAction = p(uint8(3)), p(pfcp.ActionBUFF|pfcp.ActionNOCP|pfcp.ActionDUPL)
	r.fars[1].Duplicates = []pfcp.Forwarding{{Destination: p(pfcp.InterfaceCore), OuterHeader: creation(0x501, "10.100.8.1")}}
	r.qers[0].MBR, r.qers[0].GBR = &pfcp.BitRate{Uplink: 1, Downlink: 2}, &pfcp.BitRate{Uplink: 1}
	return datagrams(
		message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)),
		establishment(1, r),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0,
			(&pfcp.FAR{ID: 2, ApplyAction: p(pfcp.ActionFORW), Forwarding: &pfcp.Forwarding{EndMarker: true, OuterHeader: creation(2, "10.100.1.3")}}).IE(ie.UpdateFAR),
			(&pfcp.BAR{ID: 3, Delay: p(uint8(1))}).IE(ie.UpdateBARWithinSessionModificationRequest),
			(&pfcp.TrafficEndpoint{ID: 1, PDI: pfcp.PDI{QFIs: []uint8{1}}}).IE(ie.UpdateTrafficEndpoint)),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, ie.NewRemoveBAR(ie.NewBARID(3)), (&pfcp.TrafficEndpoint{ID: 1}).IE(ie.RemoveTrafficEndpoint)),
		message.NewSessionDeletionRequest(0, 0, 1, 0, 0),
	)
}

// setSeed is the life of a session that two SMFs of a set control in turn.
func setSeed() []byte {
	set, next := pfcp.SMFSetIDIE(smfSet), pfcp.FSEID{SEID: 2, IPv4: addr("10.100.4.9")}.IE()
	stamp := pfcp.RecoveryTimeStampIE(cpStarted)
	change := ie.New(pfcp.TypeSessionChangeInfo, append([]byte{1, 36, 0, 5, 2, 10, 100, 4, 9}, 0, 178, 0, 5, 2, 10, 100, 4, 8))
	var all []byte
	for i, m := range []struct {
		from int
		message.Message
	}{
		{0, message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), stamp, set)},
		{1, message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(smfB), stamp, set, pfcp.CPAddressIE(ie.AlternativeSMFIPAddress, addr("10.100.4.8")))},
		{0, message.NewPFDManagementRequest(0, pfds("web", web, dns))},
		{0, establishment(1, plainSession(0x10, "10.60.0.10"))},
		{1, message.NewSessionModificationRequest(0, 0, 1, 0, 0, pfcp.NodeIDIE(smfB), next, ie.NewFQCSID("10.0.0.1", 7))},
		{0, message.NewGenericWithoutSEID(pfcp.MsgSessionSetModificationRequest, 0, pfcp.NodeIDIE(cpNode), change)},
		{0, message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), stamp, set, ie.NewGroupedIE(ie.PFCPSessionRetentionInformation))},
		{1, message.NewAssociationUpdateRequest(0, pfcp.NodeIDIE(smfB), pfcp.CPMPAS.IE())},
		{1, message.NewAssociationReleaseRequest(0, pfcp.NodeIDIE(smfB))},
		{0, message.NewSessionSetDeletionRequest(0, pfcp.NodeIDIE(cpNode), ie.NewFQCSID("10.0.0.1", 7))},
	} {
		m.SetSequenceNumber(uint32(i + 1))
		d := make([]byte, m.MarshalLen())
		if err := m.MarshalTo(d); err != nil {
			panic(err)
		}
		all = binary.BigEndian.AppendUint16(all, uint16(len(d)+m.from*secondPeer))
		all = append(all, d...)
	}
	return all
}

// withURRs has all PDRs of r name a URR of every kind.
func withURRs(r *rulesSpec) *rulesSpec {
	all := pfcp.Triggers(0xffffff)
	limits := pfcp.Limits{VolumeThreshold: octets(1500), VolumeQuota: octets(9000), TimeThreshold: 1, TimeQuota: p(uint32(1)), EventThreshold: 1, EventQuota: p(uint32(1))}
	r.urrs = []*pfcp.URR{
		{ID: 1, Method: 7, Triggers: all, HasTriggers: true, Limits: limits, More: &pfcp.URRMore{Subsequent: &limits, Linked: []uint32{2}}, Period: 1, QuotaHolding: 1, QuotaValidity: 1},
		{ID: 2, Method: 7, Triggers: all, HasTriggers: true, More: &pfcp.URRMore{Linked: []uint32{1}}, Limits: limits},
	}
	for _, d := range r.pdrs {
		d.URRIDs = []uint32{1, 2}
	}
	return r
}

// multiAccessSeed is the life of a multi-access session.
func multiAccessSeed() []byte {
	return datagrams(
		message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)),
		establishment(1, withURRs(maSession())),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, ie.NewQueryURR(ie.NewURRID(1)), ie.NewRemoveURR(ie.NewURRID(2)), ie.New(ie.UserPlaneInactivityTimer, []byte{0, 0, 0, 1})),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, (&pfcp.MAR{ID: 1, Mode: p(uint8(2))}).IE(ie.UpdateMAR)),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, ie.NewRemoveMAR(ie.NewMARID(1)), (&pfcp.PDR{ID: 3, FARID: p(uint32(2))}).IE(ie.UpdatePDR), ie.NewRemovePDR(ie.NewPDRID(4))),
		message.NewSessionDeletionRequest(0, 0, 1, 0, 0),
		message.NewAssociationReleaseRequest(0, pfcp.NodeIDIE(cpNode)),
	)
}

// atsssSeed is the life of a multi-access session whose SMF asks for all of ATSSS.
func atsssSeed() []byte {
	r := askingMA(&pfcp.ATSSSControl{MPTCP: true, ATSSSLL: true, PMF: &pfcp.PMFControl{Required: true, PerFlow: true, QFIs: []uint8{1, 9}}}, "10.60.0.1", "2001:db8:60::")
	r.srrs = []*pfcp.SRR{{ID: 3, Availability: p(pfcp.RRCA)}}
	steered(r, 3, 3, 4).Thresholds = &pfcp.Thresholds{RTT: p(uint16(40)), PLR: p(uint8(2))}
	r.pdrs[0].Multipath = pfcp.MTAI
	return datagrams(
		message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)),
		establishment(1, r),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, pfcp.AccessAvailability{Access: 1}.IE(), (&pfcp.SRR{ID: 4, Availability: p(pfcp.RRCA)}).IE(ie.CreateSRR),
			(&pfcp.MAR{ID: 1, Mode: p(uint8(2)), Indicator: p(uint8(1))}).IE(ie.UpdateMAR)),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, (&pfcp.ATSSSControl{ATSSSLL: true}).IE(), (&pfcp.SRR{ID: 4, Availability: p(uint8(0))}).IE(ie.UpdateSRR),
			(&pfcp.MAR{ID: 1, Functionality: p(uint8(0)), Access: [2]*pfcp.AccessForwarding{nil, {Update: true, Removed: true}}}).IE(ie.UpdateMAR)),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, (&pfcp.ATSSSControl{ATSSSLL: true, MPTCP: true}).IE(), ie.NewRemoveSRR(ie.NewSRRID(3))),
		message.NewSessionDeletionRequest(0, 0, 1, 0, 0),
	)
}

// datagrams are the messages as FuzzDatagrams takes them.
func datagrams(messages ...message.Message) []byte {
	var all []byte
	for i, m := range messages {
		m.SetSequenceNumber(uint32(i + 1))
		d := make([]byte, m.MarshalLen())
		if err := m.MarshalTo(d); err != nil {
			panic(err)
		}
		all = binary.BigEndian.AppendUint16(all, uint16(len(d)))
		all = append(all, d...)
	}
	return all
}

// measureAll has every URR count a packet, each access be lost and found in turn, and the
// server report.
func measureAll(s *Server, plane *fakePlane) {
	for seid := range s.sessions {
		for a := range steer.Access(steer.NumAccesses) {
			s.rep.noticed(dataplane.Event{Kind: dataplane.AccessChanged, SEID: seid, Access: a, Available: s.rep.counts.sent%2 == 0})
		}
		for urr := range plane.meters[seid] {
			for _, e := range plane.traffic(time.Now(), seid, urr, 1000, 1000) {
				s.rep.noticed(e)
			}
		}
	}
	s.step()
}

func marshalled(t *testing.T, m message.Message) []byte {
	t.Helper()
	d := make([]byte, m.MarshalLen())
	if err := m.MarshalTo(d); err != nil {
		t.Fatal(err)
	}
	return d
}

// aimAtSession puts the SEID of a session that there is into d, if d asks for it.
func (s *Server) aimAtSession(d []byte) {
	if len(d) < 16 || d[0]&1 == 0 || binary.BigEndian.Uint64(d[4:]) == 0 {
		return
	}
	for seid := range s.sessions {
		binary.BigEndian.PutUint64(d[4:], seid)
		return
	}
}

func checkConsistent(t *testing.T, s *Server, plane *fakePlane) {
	t.Helper()
	if len(plane.rules) != len(s.sessions) {
		t.Fatalf("%d sessions in the plane, %d in the server", len(plane.rules), len(s.sessions))
	}
	if len(s.byCP) != len(s.sessions) {
		t.Fatalf("%d sessions by CP F-SEID, %d in all", len(s.byCP), len(s.sessions))
	}
	teids, ues, links := map[uint32]uint64{}, map[netip.Prefix]uint64{}, map[netip.Addr]uint64{}
	for seid, sess := range s.sessions {
		if s.byCP[sess.cp] != sess {
			t.Fatalf("session %#x is not found by its CP F-SEID", seid)
		}
		r := plane.rules[seid]
		if r == nil || s.nodes[sess.cp.node()] == nil {
			t.Fatalf("session %#x: rules %v, node %q", seid, r, sess.cp.node())
		}
		if a := r.ATSSS; a != nil {
			for _, l := range slices.Concat(a.LinkSpecific[0], a.LinkSpecific[1]) {
				if other, taken := links[l]; taken || !l.IsValid() {
					t.Fatalf("sessions %#x and %#x: link-specific address %v", seid, other, l)
				}
				links[l] = seid
			}
			if len(a.Converter) != len(a.LinkSpecific[0]) || len(a.Converter) != len(a.LinkSpecific[1]) {
				t.Fatalf("session %#x: %+v", seid, a)
			}
		}
		for _, d := range r.Uplink {
			if other, taken := teids[d.TEID]; d.TEID == 0 || taken && other != seid || d.FAR == nil {
				t.Fatalf("session %#x: PDR %+v, other session %#x", seid, d, other)
			}
			teids[d.TEID] = seid
		}
		for _, d := range r.Downlink {
			if other, taken := teids[d.TEID]; (d.FAR == nil) == (d.MAR == nil) || len(d.UEAddrs) == 0 && d.TEID == 0 || d.TEID != 0 && taken && other != seid {
				t.Fatalf("session %#x: PDR %+v, other session %#x", seid, d, other)
			}
			if d.TEID != 0 {
				teids[d.TEID] = seid
			}
			if d.FAR != nil && d.FAR.Action == dataplane.Forward && d.FAR.To == dataplane.ToAccess && d.FAR.OuterHeader == nil {
				t.Fatalf("session %#x: bare FAR %+v", seid, d.FAR)
			}
		}
		for _, p := range r.UEAddrs {
			for q, other := range ues {
				if other != seid && p.Overlaps(q) {
					t.Fatalf("sessions %#x and %#x: UE addresses %v and %v", seid, other, p, q)
				}
			}
			ues[p] = seid
			for _, pool := range s.registry.pools {
				if free, ok := pool.choose(); ok && free.Overlaps(p) {
					t.Fatalf("session %#x has %v, and it is free", seid, p)
				}
			}
		}
	}
	if 2*s.registry.linked != len(links) {
		t.Fatalf("%d pairs of link-specific addresses are held, sessions have %d addresses", s.registry.linked, len(links))
	}
}
