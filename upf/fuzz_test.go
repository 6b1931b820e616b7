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
	cfg, err := ParseConfig("test.yaml", []byte(testConfig))
	if err != nil {
		f.Fatal(err)
	}
	peer := netip.MustParseAddrPort("10.100.4.1:8805")
	f.Fuzz(func(t *testing.T, b []byte) {
		plane := &fakePlane{rules: map[uint64]*dataplane.Rules{}}
		s := newServer(cfg, plane, slog.New(slog.DiscardHandler))
		s.rep.send = func(_ netip.AddrPort, m message.Message, done func(message.Message, error)) error {
			if _, err := message.Parse(marshalled(t, m)); err != nil {
				t.Fatalf("our report: %v", err)
			}
			return pfcp.ErrTimeout
		}
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
			measureAll(s, plane)
			checkConsistent(t, s, plane)
		}
	})
}

// withURRs has all PDRs of r name a URR of every kind.
func withURRs(r *rulesSpec) *rulesSpec {
	all := pfcp.Triggers(0xffffff)
	limits := pfcp.Limits{VolumeThreshold: octets(1500), VolumeQuota: octets(9000), TimeThreshold: 1, TimeQuota: p(uint32(1)), EventThreshold: 1, EventQuota: p(uint32(1))}
	r.urrs = []*pfcp.URR{
		{ID: 1, Method: 7, Triggers: &all, Limits: limits, Subsequent: &limits, Period: 1, QuotaHolding: 1, QuotaValidity: 1, Linked: []uint32{2}},
		{ID: 2, Method: 7, Triggers: &all, Linked: []uint32{1}, Limits: limits},
	}
	for _, d := range r.pdrs {
		d.URRIDs = []uint32{1, 2}
	}
	return r
}

// multiAccessSeed is the life of a multi-access session.
func multiAccessSeed() []byte {
	var all []byte
	for i, m := range []message.Message{
		message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)),
		establishment(1, withURRs(maSession())),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, ie.NewQueryURR(ie.NewURRID(1)), ie.NewRemoveURR(ie.NewURRID(2)), ie.New(ie.UserPlaneInactivityTimer, []byte{0, 0, 0, 1})),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, (&pfcp.MAR{ID: 1, Mode: p(uint8(2))}).IE(ie.UpdateMAR)),
		message.NewSessionModificationRequest(0, 0, 1, 0, 0, ie.NewRemoveMAR(ie.NewMARID(1)), (&pfcp.PDR{ID: 3, FARID: p(uint32(2))}).IE(ie.UpdatePDR), ie.NewRemovePDR(ie.NewPDRID(4))),
		message.NewSessionDeletionRequest(0, 0, 1, 0, 0),
		message.NewAssociationReleaseRequest(0, pfcp.NodeIDIE(cpNode)),
	} {
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

// measureAll has every URR count a packet, and the server report.
func measureAll(s *Server, plane *fakePlane) {
	for seid := range s.sessions {
		for urr := range plane.meters[seid] {
			for _, e := range plane.traffic(time.Now(), seid, urr, 1000, 1000) {
				s.HandleEvent(e)
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
			if (d.FAR == nil) == (d.MAR == nil) || len(d.UEAddrs) == 0 {
				t.Fatalf("session %#x: PDR %+v", seid, d)
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
		}
	}
}
