package dataplane

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/braid-upf/braid/atsss/convert"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// The UE of testRules' session with a converter and link-specific addresses:
//
//	10.61.0.1 == gNB   == TEID of 3GPP     --.            .-- server 10.100.6.2
//	                                          > UPF 10.9.0.9:5124
//	10.61.0.2 == N3IWF == TEID of non-3GPP --'            '-- other 10.100.6.3, by rules of its own
var (
	converter = netip.MustParseAddrPort("10.9.0.9:5124")
	link1     = netip.MustParseAddr("10.61.0.1")
	link2     = netip.MustParseAddr("10.61.0.2")
	other     = netip.MustParseAddr("10.100.6.3")
)

// converterTestRules have PDRs for the other server that come before the session's, with
// URRs that tell which PDR a packet was of.
func converterTestRules() *Rules {
	r := testRules()
	mar := r.Downlink[0].MAR
	all, toOther := &URR{ID: 1}, &URR{ID: 2}
	filter := []Filter{{Protocol: packet.ProtoTCP, Remote: netip.PrefixFrom(other, 32), RemotePorts: []PortRange{{80, 80}}}}
	special := r.Uplink[0]
	special.ID, special.Filters, special.URRs = 6, filter, []*URR{toOther}
	r.Uplink[0].URRs, r.Uplink[1].URRs = []*URR{all}, []*URR{all}
	r.Uplink = append([]PDR{special}, r.Uplink...)
	r.Downlink = append([]PDR{{ID: 7, UEAddrs: prefixesOf(ue1), Filters: filter, MAR: mar, QERs: special.QERs, URRs: []*URR{toOther}}}, r.Downlink...)
	r.ATSSS = &ATSSS{
		Converter:    []netip.AddrPort{converter},
		LinkSpecific: [steer.NumAccesses][]netip.Addr{{link1}, {link2}},
	}
	return r
}

// client is a UE that uses the converter.
type client struct {
	*fixture
	keyA, keyB mptcp.Key
	isn, ours  uint32
}

func newClient(t testing.TB) *client {
	return &client{fixture: newFixture(t, 2, converterTestRules()), keyA: 0x1122334455667788, isn: 1000}
}

// request is the message of a client that wants to reach a server.
func request(a netip.Addr) []byte {
	addr := a.As16()
	b := convert.AppendConnect(convert.Start(nil), &addr, 80, nil)
	convert.Finish(b, 0)
	return b
}

func (c *client) syn(src netip.Addr, payload []byte) {
	options := mptcp.AppendCapableSYN([]byte{packet.OptMSS, 4, 5, 0xb4}, mptcp.FlagHMACSHA256)
	c.n3(gnb, gpdu(teid3GPP, 9, tcpSegment(src, converter.Addr(), 40000, converter.Port(), c.isn, 0, packet.SYN, options, payload)))
}

// connect opens a connection to a server, up to the converter's reply.
func (c *client) connect(to netip.Addr) {
	c.Helper()
	message := request(to)
	c.syn(link1, message)
	syn, in, o := read(c, c.oneN6())
	if in.Src != packet.AddrFrom(ue1) || in.Dst != packet.AddrFrom(to) || in.DstPort != 80 || o.Present != 0 || len(syn.Payload()) != 0 {
		c.Fatalf("SYN to N6: %+v, %d bytes", in, len(syn.Payload()))
	}
	const serverISN = 5000
	c.n6(tcpSegment(to, ue1, 80, in.SrcPort, serverISN, syn.SN()+1, packet.SYN|packet.ACK, []byte{packet.OptMSS, 4, 5, 0xb4}, nil))
	answer := c.oneN3()
	if answer.Peer != gnb {
		c.Fatalf("SYN/ACK to %v", answer.Peer)
	}
	tcp, in, o := read(c, answer.Bytes[16:])
	if in.Src != packet.AddrFrom(converter.Addr()) || in.Dst != packet.AddrFrom(link1) || tcp.AckSN() != c.isn+1+uint32(len(message)) {
		c.Fatalf("SYN/ACK: %+v acknowledges %d", in, tcp.AckSN()-c.isn)
	}
	c.keyB, c.ours = o.SenderKey, tcp.SN()
	c.isn += uint32(len(message))
	c.up(link1, c.isn+1, c.ours+1, mptcp.AppendCapableACK(nil, mptcp.FlagHMACSHA256, c.keyA, c.keyB), nil)
}

// up sends a segment over the access of src.
func (c *client) up(src netip.Addr, sn, ack uint32, options, payload []byte) {
	b := tcpSegment(src, converter.Addr(), 40000, converter.Port(), sn, ack, packet.ACK, options, payload)
	if src == link2 {
		c.n3(n3iwf, gpdu(teidNon3GPP, 9, b))
	} else {
		c.n3(gnb, gpdu(teid3GPP, 9, b))
	}
}

// usage are the packets of the two URRs, uplink and downlink.
func (c *client) usage() (all, toOther [2]uint64) {
	c.Helper()
	a, err := c.plane.Usage([]UsageQuery{{SEID: testSEID}})
	if err != nil {
		c.Fatal(err)
	}
	for _, u := range a[0].Usages {
		n := [2]uint64{u.Uplink.Packets, u.Downlink.Packets}
		if u.URR == 1 {
			all = n
		} else {
			toOther = n
		}
	}
	return all, toOther
}

// A converted connection is the PDRs' and URRs' of its server, both accesses' packets, from
// the SYN on.
func TestConverter(t *testing.T) {
	for _, to := range []netip.Addr{server, other} {
		c := newClient(t)
		c.connect(to)
		n3, n6 := c.sent()
		if len(n6) != 1 || len(n3) != 1 {
			t.Fatalf("third ACK: %d packets to N3, %d to N6, want 1 each", len(n3), len(n6))
		}
		tcp, _, _ := read(t, n3[0].Bytes[16:])
		var reply convert.Reply
		if !convert.ParseReply(tcp.Payload(), &reply) || reply.HasError {
			t.Fatalf("reply % x", tcp.Payload())
		}
		_, idsnA := c.keyA.Derive()
		token, idsnB := c.keyB.Derive()
		ack := func(d int) []byte {
			return mptcp.AppendDSS(nil, &mptcp.Options{HasDataAck: true, DataAck: uint64(uint32(idsnB) + 1 + uint32(d))})
		}
		c.up(link1, c.isn+1, c.ours+1+4, ack(4), nil)
		c.sent()

		const nonce, joinISN = 77, 9000
		c.n3(n3iwf, gpdu(teidNon3GPP, 9, tcpSegment(link2, converter.Addr(), 40000, converter.Port(), joinISN, 0, packet.SYN,
			mptcp.AppendJoinSYN([]byte{packet.OptMSS, 4, 5, 0xb4}, false, 2, token, nonce), nil)))
		answer := c.oneN3()
		if answer.Peer != n3iwf {
			t.Fatalf("join's SYN/ACK to %v", answer.Peer)
		}
		syn, _, o := read(t, answer.Bytes[16:])
		mac := mptcp.JoinHMAC(c.keyA, c.keyB, nonce, o.JoinNonce)
		c.up(link2, joinISN+1, syn.SN()+1, mptcp.AppendJoinACK(nil, &mac), nil)
		c.sent()
		m := mptcp.AppendDSS(nil, &mptcp.Options{
			HasDataAck: true, DataAck: uint64(uint32(idsnB) + 5), HasMapping: true, DSN: uint64(uint32(idsnA) + 1), SSN: 1, DataLen: 5,
		})
		c.up(link2, joinISN+1, syn.SN()+2, m, []byte("hello"))
		seg, in, _ := read(t, c.oneN6())
		if in.Src != packet.AddrFrom(ue1) || in.Dst != packet.AddrFrom(to) || !bytes.Equal(seg.Payload(), []byte("hello")) {
			t.Errorf("over the join: %+v, %q", in, seg.Payload())
		}
		// Three packets over each access; the server's SYN/ACK.
		all, toOther := c.usage()
		wantAll, wantOther := [2]uint64{6, 0}, [2]uint64{0, 0}
		if to == other { // that has PDRs of its own for the 3GPP access and downlink
			wantAll, wantOther = [2]uint64{3, 0}, [2]uint64{3, 1}
		}
		if all != wantAll || toOther != wantOther {
			t.Errorf("to %v: %v packets by the session's PDRs, %v by the server's; want %v, %v", to, all, toOther, wantAll, wantOther)
		}
	}
}

// Link-specific addresses go to the converter's port and nowhere else, and nobody else's
// addresses do.
func TestLinkSpecificAddresses(t *testing.T) {
	c := newClient(t)
	send := func(src, dst netip.Addr, port uint16) {
		c.n3(gnb, gpdu(teid3GPP, 9, tcp(src, dst, 40000, port, packet.SYN)))
	}
	send(link1, server, 80)
	send(link2, server, 80)
	send(link1, converter.Addr(), 80)
	c.n3(gnb, gpdu(teid3GPP, 9, udp(link1, converter.Addr(), 40000, converter.Port(), 10)))
	c.nothing()
	c.counted(map[string]uint64{"drop_link_specific": 4})
	send(netip.MustParseAddr("10.61.0.3"), converter.Addr(), converter.Port())
	send(netip.MustParseAddr("10.61.0.3"), server, 80)
	c.nothing()
	c.counted(map[string]uint64{"drop_spoofed_source": 2})
	c.syn(link1, []byte("GET / HTTP/1.1\r\n"))
	c.nothing()
	c.counted(map[string]uint64{"proxy_convert_ignored": 1, "mss_clamped": 1, "uplink_3gpp_packets": 1, "uplink_3gpp_bytes": 64})
	c.syn(ue1, request(server)) // the session's own address
	if _, in, _ := read(t, c.oneN6()); in.Dst != packet.AddrFrom(server) {
		t.Errorf("went to %v", in.Dst.Netip())
	}
}

// What N6 says of the SYN comes back as an error of the protocol.
func TestConverterUnreachable(t *testing.T) {
	c := newClient(t)
	c.syn(link1, request(server))
	syn := c.oneN6()
	var in packet.Info
	packet.Parse(syn, &in)
	d := make([]byte, packet.MaxICMPError)
	router := packet.AddrFrom(netip.MustParseAddr("10.100.6.1"))
	c.n6(d[:packet.PutICMPError(d, packet.HostUnreachable, &router, 0, syn, &in)])
	synACK, _, o := read(t, c.oneN3().Bytes[16:])
	c.up(link1, c.isn+25, synACK.SN()+1, mptcp.AppendCapableACK(nil, mptcp.FlagHMACSHA256, c.keyA, o.SenderKey), nil)
	n3, n6 := c.sent()
	if len(n3) == 0 || len(n6) != 0 {
		t.Fatalf("third ACK: %d packets to N3, %d to N6", len(n3), len(n6))
	}
	tcp, _, _ := read(t, n3[0].Bytes[16:])
	var reply convert.Reply
	if !convert.ParseReply(tcp.Payload(), &reply) || reply.Code != convert.DestinationUnreachable || reply.Value[0] != 1 {
		t.Errorf("reply % x, want Destination Unreachable with code 1", tcp.Payload())
	}
}
