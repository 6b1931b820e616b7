package upf

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// FuzzDatagrams gives any octets to the whole N4 side: datagrams, each behind its
// length in two octets. In a message's SEID field, 1 stands for the first session
// that there is, so that modifications find one. Whatever comes, nothing panics,
// what is in the plane is what the server has, and no two sessions share an
// identifier.
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
	cfg, err := ParseConfig("test.yaml", []byte(poolConfig))
	if err != nil {
		f.Fatal(err)
	}
	peer := netip.MustParseAddrPort("10.100.4.1:8805")
	f.Fuzz(func(t *testing.T, b []byte) {
		plane := &fakePlane{rules: map[uint64]*dataplane.Rules{}}
		s := newServer(cfg, plane, slog.New(slog.DiscardHandler))
		inbox := pfcp.NewInbox(pfcp.Config{Malformed: s.malformed}, s.handle)
		now := time.Unix(1_700_000_000, 0)
		for len(b) > 2 {
			n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
			d := append([]byte(nil), b[2:2+n]...)
			b = b[2+n:]
			s.aimAtSession(d)
			for _, answer := range inbox.Receive(peer, d, now) {
				if _, err := message.Parse(answer); err != nil {
					t.Fatalf("our answer %x: %v", answer, err)
				}
			}
			checkConsistent(t, s, plane)
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

// multiAccessSeed is the life of a multi-access session.
func multiAccessSeed() []byte {
	return datagrams(
		message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)),
		establishment(1, maSession()),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, (&pfcp.MAR{ID: 1, Mode: p(uint8(2))}).IE(ie.UpdateMAR)),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, ie.NewRemoveMAR(ie.NewMARID(1)), (&pfcp.PDR{ID: 3, FARID: p(uint32(2))}).IE(ie.UpdatePDR), ie.NewRemovePDR(ie.NewPDRID(4))),
		message.NewSessionDeletionRequest(0, 0, 1, 0, 0),
		message.NewAssociationReleaseRequest(0, pfcp.NodeIDIE(cpNode)),
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
	teids, ues := map[uint32]uint64{}, map[netip.Prefix]uint64{}
	for seid, sess := range s.sessions {
		if s.byCP[sess.cpSession()] != sess {
			t.Fatalf("session %#x is not found by its CP F-SEID", seid)
		}
		r := plane.rules[seid]
		if r == nil || s.nodes[sess.node] == nil {
			t.Fatalf("session %#x: rules %v, node %q", seid, r, sess.node)
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
}
