package e2e

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/pfcp"
)

// plainSMF is an SMF that knows no MAR: it makes sessions as free5GC's does, chooses
// TEIDs and UE addresses itself, and tells of the access's tunnel after N2 alone.
type plainSMF struct {
	*fixture
	conn    *net.UDPConn
	answers chan message.Message
	made    int // sessions, ever
}

// lastSN is the sequence number of the last request of any plainSMF: the UPF would take one
// used again for a retransmission.
var lastSN uint32

// plainSMF associates with the lab's UPF; the end of the test ends it.
func (f *fixture) plainSMF() *plainSMF {
	f.Helper()
	s := &plainSMF{fixture: f, answers: make(chan message.Message, 1)}
	f.check(f.lab.InNamespace(lab.SMF, func() (err error) {
		s.conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(lab.SMFAddr, pfcp.Port)))
		return err
	}))
	ended := make(chan struct{})
	go s.serve(ended)
	f.Cleanup(func() {
		s.conn.Close()
		<-ended
	})
	m := s.ask(message.NewAssociationSetupRequest(0, pfcp.NodeIDIE(lab.SMFAddr.String()), pfcp.RecoveryTimeStampIE(time.Now())))
	if r, ok := m.(*message.AssociationSetupResponse); !ok || !accepted(r.Cause) {
		f.Fatalf("association: %v", m)
	}
	return s
}

// serve passes answers on, and answers heartbeats.
func (s *plainSMF) serve(ended chan<- struct{}) {
	defer close(ended)
	b := make([]byte, 65536)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return // closed
		}
		m, err := message.Parse(b[:n])
		if err != nil {
			s.Errorf("N4: %v", err)
			continue
		}
		switch m := m.(type) {
		case *message.HeartbeatRequest:
			r, err := message.NewHeartbeatResponse(m.Sequence(), pfcp.RecoveryTimeStampIE(time.Now())).Marshal()
			if err == nil {
				_, err = s.conn.WriteToUDPAddrPort(r, from)
			}
			if err != nil {
				s.Errorf("N4: heartbeat: %v", err)
			}
		case *message.AssociationSetupResponse, *message.SessionEstablishmentResponse,
			*message.SessionModificationResponse, *message.SessionDeletionResponse:
			s.answers <- m
		}
	}
}

func accepted(cause *ie.IE) bool {
	if cause == nil {
		return false
	}
	c, err := cause.Cause()
	return err == nil && c == ie.CauseRequestAccepted
}

// ask sends a request and gives its answer.
func (s *plainSMF) ask(m message.Message) message.Message {
	s.Helper()
	lastSN++
	sn := lastSN
	b := make([]byte, m.MarshalLen())
	s.check(m.MarshalTo(b))
	at := 4 // of the sequence number: behind the SEID if there is one
	if b[0]&1 != 0 {
		at = 12
	}
	b[at], b[at+1], b[at+2] = byte(sn>>16), byte(sn>>8), byte(sn)
	_, err := s.conn.WriteToUDPAddrPort(b, netip.AddrPortFrom(lab.UPFN4Addr, pfcp.Port))
	s.check(err)
	select {
	case answer := <-s.answers:
		if answer.Sequence() != sn {
			s.Fatalf("N4: answer %d to request %d", answer.Sequence(), sn)
		}
		return answer
	case <-time.After(eventTime):
		s.Fatalf("N4: no answer to %s", m.MessageTypeName())
		return nil
	}
}

// session makes the PDU session of an access in a data network, with the UE's first
// address there, and gives its UP SEID.
func (s *plainSMF) session(a steer.Access, dnn string) (seid uint64) {
	s.Helper()
	const (
		up, down   = 1, 2
		core, gnb  = 1, 2
		flow, ambr = 1, 2
	)
	s.made++
	access := lab.DefaultPolicy().Sessions[0].Accesses[a]
	teid := uint32(0x7000 + s.made)
	ue := lab.UEAddr[a].As4()
	upAddr := append([]byte{2}, ue[:]...)   // V4
	downAddr := append([]byte{6}, ue[:]...) // V4, destination
	n3 := lab.UPFN3Addr.As4()
	fteid := append(binary.BigEndian.AppendUint32([]byte{1}, teid), n3[:]...)
	both := func() []*ie.IE { return []*ie.IE{ie.NewQERID(flow), ie.NewQERID(ambr)} }
	ies := []*ie.IE{
		pfcp.NodeIDIE(lab.SMFAddr.String()), pfcp.FSEID{SEID: uint64(s.made), IPv4: lab.SMFAddr}.IE(),
		ie.NewCreatePDR(append([]*ie.IE{
			ie.NewPDRID(up), ie.NewPrecedence(255),
			ie.NewPDI(ie.NewSourceInterface(ie.SrcInterfaceAccess), ie.New(ie.FTEID, fteid), ie.NewNetworkInstance(dnn), ie.New(ie.UEIPAddress, upAddr)),
			ie.NewOuterHeaderRemoval(0, 0), ie.NewFARID(core),
		}, both()...)...),
		ie.NewCreatePDR(append([]*ie.IE{
			ie.NewPDRID(down), ie.NewPrecedence(255),
			ie.NewPDI(ie.NewSourceInterface(ie.SrcInterfaceCore), ie.NewNetworkInstance(dnn), ie.New(ie.UEIPAddress, downAddr)),
			ie.NewFARID(gnb),
		}, both()...)...),
		ie.NewCreateFAR(ie.NewFARID(core), ie.NewApplyAction(2), ie.NewForwardingParameters(ie.NewDestinationInterface(ie.DstInterfaceCore), ie.NewNetworkInstance(dnn))),
		ie.NewCreateFAR(ie.NewFARID(gnb), ie.NewApplyAction(2), ie.NewForwardingParameters(ie.NewDestinationInterface(ie.DstInterfaceAccess), ie.NewNetworkInstance(dnn))),
		ie.NewCreateQER(ie.NewQERID(flow), ie.NewGateStatus(0, 0), ie.NewQFI(9)),
		ie.NewCreateQER(ie.NewQERID(ambr), ie.NewGateStatus(0, 0), ie.NewMBR(1_000_000, 1_000_000), ie.NewQFI(9)),
		ie.NewPDNType(ie.PDNTypeIPv4),
	}
	m, ok := s.ask(message.NewSessionEstablishmentRequest(1, 0, 0, 0, 0, ies...)).(*message.SessionEstablishmentResponse)
	if !ok || !accepted(m.Cause) {
		s.Fatalf("session establishment: %v", m)
	}
	f, err := m.UPFSEID.FSEID()
	s.check(err)

	// N2 has told the access's tunnel.
	peer := access.Peer.As4()
	header := append(binary.BigEndian.AppendUint32([]byte{1, 0}, access.TEID), peer[:]...)
	mod, ok := s.ask(message.NewSessionModificationRequest(1, 0, f.SEID, 0, 0,
		pfcp.FSEID{SEID: uint64(s.made), IPv4: lab.SMFAddr}.IE(),
		ie.NewUpdateFAR(ie.NewFARID(gnb), ie.NewApplyAction(2), ie.NewUpdateForwardingParameters(
			ie.NewDestinationInterface(ie.DstInterfaceAccess), ie.NewNetworkInstance(dnn), ie.New(ie.OuterHeaderCreation, header))),
	)).(*message.SessionModificationResponse)
	if !ok || !accepted(mod.Cause) {
		s.Fatalf("session modification: %v", mod)
	}
	s.check(s.lab.SetTunnel(a, lab.Tunnel{TEID: teid, Peer: lab.UPFN3Addr}))
	return f.SEID
}

// delete deletes a session.
func (s *plainSMF) delete(seid uint64) {
	s.Helper()
	m, ok := s.ask(message.NewSessionDeletionRequest(1, 0, seid, 0, 0)).(*message.SessionDeletionResponse)
	if !ok || !accepted(m.Cause) {
		s.Fatalf("session %#x: deletion: %v", seid, m)
	}
}

// pair makes the UE's two sessions, on the same of two workers or on both, and gives them.
func (s *plainSMF) pair(dnn string, sameWorker bool) (seids [steer.NumAccesses]uint64) {
	s.Helper()
	seids[tgpp] = s.session(tgpp, dnn)
	for range 4 {
		seids[nonTGPP] = s.session(nonTGPP, dnn)
		if worker := func(seid uint64) uint64 { return seid % 2 }; (worker(seids[tgpp]) == worker(seids[nonTGPP])) == sameWorker {
			return seids
		}
		s.delete(seids[nonTGPP]) // the next one has the next slot
	}
	s.Fatalf("slots %v do not take turns", seids)
	return seids
}
