package dataplane

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane/driver/memory"
	"github.com/braid-upf/braid/packet"
)

// The two plain sessions of a UE, under a local rule:
//
//	A: 10.60.0.1 == gNB   == TEID of A --.
//	                                      > UPF -- server
//	B: 10.60.0.2 == N3IWF == TEID of B --'
//
// They differ in all that could be taken for the other's.
const (
	localGroup = 3
	seidA      = 0x1_0010 // worker 0 of 2
	seidB      = 0x2_0020 // worker 0 of 2
	seidBOther = 0x2_0021 // worker 1 of 2
	teidA      = 0xa1
	teidB      = 0xb1
	qfiA, qfiB = 5, 6
	pdrA, pdrB = 12, 22 // downlink
	urrA, urrB = 31, 32
)

// localMAR is what the config's rule gives: non-3GPP, so B, active.
func localMAR(group uint16) *MAR {
	return &MAR{Group: group, Policy: steer.Policy{
		Functionality: steer.MPTCP, Mode: steer.ActiveStandby,
		Priority: [2]steer.Priority{steer.Standby, steer.Active}, Usable: steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP),
	}}
}

func rulesA() *Rules {
	return localRules(seidA, teidA, pdrA, qfiA, urrA, steer.Access3GPP, ue1, &OuterHeader{TEID: gnbTEID, Peer: gnb})
}

func rulesB(seid uint64) *Rules {
	return localRules(seid, teidB, pdrB, qfiB, urrB, steer.AccessNon3GPP, ue2, &OuterHeader{TEID: n3iwfTEID, Peer: n3iwf})
}

func localRules(seid uint64, teid uint32, down uint16, qfi uint8, urr uint32, a steer.Access, ue netip.Addr, h *OuterHeader) *Rules {
	qers, urrs, addrs := []*QER{{ID: 1, QFI: qfi}}, []*URR{{ID: urr}}, prefixesOf(ue)
	return &Rules{
		SEID: seid,
		Uplink: []PDR{{
			ID: down - 1, TEID: teid, Access: a, LocalAddr: upf4, UEAddrs: addrs,
			FAR: &FAR{ID: 1, Action: Forward}, QERs: qers, URRs: urrs,
		}},
		Downlink: []PDR{{
			ID: down, UEAddrs: addrs, MAR: localMAR(localGroup), QERs: qers, URRs: urrs,
			FAR: &FAR{ID: 2, Action: Forward, To: ToAccess, OuterHeader: h},
		}},
		UEAddrs: addrs,
	}
}

// phone is the UE's and the server's TCP, as far as a test plays it: positions of both
// byte streams in wire numbers.
type phone struct {
	*fixture
	seidB uint64

	keyA, keyB   mptcp.Key
	idsnA, idsnB mptcp.DSN
	joinISN      uint32 // of our side of the join
}

const (
	portA, portB = 40000, 41000
	ueISNA       = 1000
	ueISNB       = 2000
	serverISN    = 5000
	nonce        = 77
)

// tcpSegment is a TCP packet.
func tcpSegment(src, dst netip.Addr, srcPort, dstPort uint16, sn, ack uint32, flags uint8, options, payload []byte) []byte {
	options = mptcp.Pad(options, 0)
	b := transport(src, dst, packet.ProtoTCP, packet.TCPHeaderLen+len(options)+len(payload))
	l4 := b[len(b)-packet.TCPHeaderLen-len(options)-len(payload):]
	packet.PutTCPHeader(l4, srcPort, dstPort, sn, ack, packet.TCPHeaderLen+len(options), flags, 65535)
	copy(l4[packet.TCPHeaderLen:], options)
	copy(l4[packet.TCPHeaderLen+len(options):], payload)
	checksum(b)
	return b
}

// checksum puts in the TCP checksum of an IPv4 packet.
func checksum(b []byte) {
	l4 := b[20:]
	l4[16], l4[17] = 0, 0
	s, d := packet.AddrFrom(netip.AddrFrom4([4]byte(b[12:]))), packet.AddrFrom(netip.AddrFrom4([4]byte(b[16:])))
	binary.BigEndian.PutUint16(l4[16:], ^packet.Fold(packet.Sum(l4)+packet.PseudoSum(&s, &d, packet.ProtoTCP, len(l4))))
}

// read is a TCP packet with its MPTCP options.
func read(t testing.TB, b []byte) (tcp packet.TCP, in packet.Info, o mptcp.Options) {
	t.Helper()
	if r := packet.Parse(b, &in); r != packet.OK {
		t.Fatalf("%x: %v", b, r)
	}
	tcp, r := packet.ParseTCP(b, &in)
	if r != packet.OK || !mptcp.Parse(tcp.Options(), &o) {
		t.Fatalf("%x: %v", b, r)
	}
	return tcp, in, o
}

// overB checks that m goes by the rules of B, and gives the packet in it.
func (p *phone) overB(m memory.Message) []byte {
	p.Helper()
	if m.Peer != n3iwf || binary.BigEndian.Uint32(m.Bytes[4:]) != n3iwfTEID || m.Bytes[14] != qfiB {
		p.Fatalf("went to %v, %x; want B's tunnel and QFI", m.Peer, m.Bytes[:16])
	}
	return m.Bytes[16:]
}

// overA is overB for A.
func (p *phone) overA(m memory.Message) []byte {
	p.Helper()
	if m.Peer != gnb || binary.BigEndian.Uint32(m.Bytes[4:]) != gnbTEID || m.Bytes[14] != qfiA {
		p.Fatalf("went to %v, %x; want A's tunnel and QFI", m.Peer, m.Bytes[:16])
	}
	return m.Bytes[16:]
}

// upA and upB send a packet of the UE.
func (p *phone) upA(sn, ack uint32, flags uint8, options, payload []byte) {
	p.n3(gnb, gpdu(teidA, qfiA, tcpSegment(ue1, server, portA, 80, sn, ack, flags, options, payload)))
}

func (p *phone) upB(sn, ack uint32, flags uint8, options, payload []byte) {
	p.n3(n3iwf, gpdu(teidB, qfiB, tcpSegment(ue2, server, portB, 80, sn, ack, flags, options, payload)))
}

// down sends data of the server from position d on.
func (p *phone) down(d uint32, n int) {
	p.n6(tcpSegment(server, ue1, 80, portA, serverISN+1+d, ueISNA+1, packet.ACK, nil, bytes.Repeat([]byte{7}, n)))
}

// dss is a DSS of the UE that acknowledges d, and maps n bytes of position u at ssn.
func (p *phone) dss(d uint32, u, ssn uint32, n int) []byte {
	o := mptcp.Options{HasDataAck: true, DataAck: uint64(uint32(p.idsnB) + 1 + d)}
	if n > 0 {
		o.HasMapping, o.DSN64, o.DSN = true, true, uint64(p.idsnA)+1+uint64(u)
		o.SSN, o.DataLen = mptcp.SSN(ssn), uint16(n)
	}
	return mptcp.AppendDSS(nil, &o)
}

// connect opens the connection over A.
func (p *phone) connect() {
	p.Helper()
	mss := []byte{packet.OptMSS, 4, 5, 0xb4}
	p.keyA = 0x1122334455667788
	p.upA(ueISNA, 0, packet.SYN, mptcp.AppendCapableSYN(bytes.Clone(mss), mptcp.FlagHMACSHA256), nil)
	if _, _, o := read(p, p.oneN6()); o.Present != 0 {
		p.Fatal("the SYN was not translated")
	}
	p.n6(tcpSegment(server, ue1, 80, portA, serverISN, ueISNA+1, packet.SYN|packet.ACK, mss, nil))
	_, _, o := read(p, p.overA(p.oneN3()))
	p.keyB = o.SenderKey
	_, p.idsnA = p.keyA.Derive()
	_, p.idsnB = p.keyB.Derive()
	p.upA(ueISNA+1, serverISN+1, packet.ACK, mptcp.AppendCapableACK(nil, mptcp.FlagHMACSHA256, p.keyA, p.keyB), nil)
	p.upA(ueISNA+1, serverISN+1, packet.ACK, p.dss(0, 0, 0, 0), nil)
	p.sent()
}

// join opens the second subflow over B.
func (p *phone) join() {
	p.Helper()
	answer := p.joinSYN()
	mac := mptcp.JoinHMAC(p.keyA, p.keyB, nonce, answer)
	p.upB(ueISNB+1, p.joinISN+1, packet.ACK, mptcp.AppendJoinACK(nil, &mac), nil)
	n3, _ := p.sent()
	if len(n3) != 2 { // the fourth ACK, and a byte that confirms
		p.Fatalf("third ACK of the join: %d packets for the UE, want 2", len(n3))
	}
	for _, m := range n3 {
		p.overB(m)
	}
	p.upB(ueISNB+1, p.joinISN+2, packet.ACK, p.dss(0, 0, 0, 0), nil)
	p.sent()
}

// joinSYN sends the SYN of a join over B and takes the answer.
func (p *phone) joinSYN() (nonceB uint32) {
	p.Helper()
	token, _ := p.keyB.Derive()
	p.upB(ueISNB, 0, packet.SYN, mptcp.AppendJoinSYN([]byte{packet.OptMSS, 4, 5, 0xb4}, false, 2, token, nonce), nil)
	tcp, _, o := read(p, p.overB(p.oneN3()))
	if want := mptcp.JoinHMAC(p.keyB, p.keyA, o.JoinNonce, nonce); tcp.Flags() != packet.SYN|packet.ACK || !bytes.Equal(o.JoinHMAC[:8], want[:8]) {
		p.Fatalf("join is answered with flags %08b, HMAC %x", tcp.Flags(), o.JoinHMAC[:8])
	}
	p.joinISN = tcp.SN()
	return o.JoinNonce
}

// homes are where B lives: with A, or at the other worker.
var homes = []struct {
	name string
	seid uint64
}{{"same worker", seidB}, {"other worker", seidBOther}}

// onPhone runs a test with B at each of them.
func onPhone(t *testing.T, test func(*phone)) {
	for _, tc := range homes {
		t.Run(tc.name, func(t *testing.T) {
			p := newPhone(t, tc.seid, rulesA(), rulesB(tc.seid))
			test(p)
		})
	}
}

func newPhone(t testing.TB, seidB uint64, rules ...*Rules) *phone {
	t.Helper()
	return &phone{fixture: newFixture(t, 2, rules...), seidB: seidB}
}

// usage reads the only meter of a session.
func (p *phone) usage(seid uint64) Usage {
	p.Helper()
	a, err := p.plane.Usage([]UsageQuery{{SEID: seid}})
	if err != nil || len(a[0].Usages) != 1 {
		p.Fatalf("meters of %#x: %v, %v", seid, a, err)
	}
	return a[0].Usages[0]
}

// cleanB checks that no worker has anything left of B but the session itself, if it is
// there.
func (p *phone) cleanB() {
	p.Helper()
	for _, w := range p.plane.workers {
		if len(w.guests)+len(w.roaming) != 0 {
			p.Errorf("worker %d: %d guest sessions, %d sessions with flows away", w.index, len(w.guests), len(w.roaming))
		}
		live := 0
		for _, s := range w.sessions {
			if s != nil {
				live++
			}
			if s != nil && s.away != nil {
				p.Errorf("worker %d: flows %v are away", w.index, s.away)
			}
		}
		if live != len(w.bySEID) || live+len(w.freeIDs) != len(w.sessions) {
			p.Errorf("worker %d: %d of %d IDs in use, %d free, %d sessions", w.index, live, len(w.sessions), len(w.freeIDs), len(w.bySEID))
		}
	}
}
