package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/braid-upf/braid/atsss/convert"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// The 0-RTT TCP converter (RFC 8803). A connection that a UE opens to the converter's
// address has two faces: towards the UE the converter, towards N6 the session's address and
// the server that the UE's message names. The two byte streams are the same but for the
// messages in front, so that positions are
//
//	u = 0   first byte of the DSN space: it begins behind the payload of the UE's SYN, L
//	        bytes, of which the message takes h (RFC 8684 §B.1). SN to the server is the
//	        UE's: the server's stream begins at u = h - L, and its ISN is ISN_UE + h.
//	d = 0   first byte of our message to the UE, r bytes. The server's stream begins at
//	        d = r, so ISN_server counts as ISN_server - r.
//
// and everything behind the handshake is translated as without conversion. Files:
// convert.go the UE's request; convertserver.go the handshake; convertreply.go our message,
// and the converter as the other end where there is no server; convertrelay.go UEs that
// speak plain TCP.

// Converter is the transport converter as one session has it (TS 23.501 §5.32.6.2.1).
type Converter struct {
	// At is where the UE finds it; a Port of 0 = no address of the IP version.
	At [2]Endpoint

	// Source is the session's own address of each IP version, which servers see; the zero
	// Addr = none, and servers of that version cannot be reached.
	Source [2]packet.Addr

	// Reserved are addresses that no request may name: converters' and the session's own.
	Reserved []packet.Addr
}

// Indices of IP versions.
const (
	IPv4 = 0
	IPv6 = 1
)

// Endpoint is an address and port.
type Endpoint struct {
	Addr packet.Addr
	Port uint16
}

// Is says whether packet in goes to the converter; no packet does if v is nil.
func (v *Converter) Is(in *packet.Info) bool {
	if v == nil {
		return false
	}
	e := &v.At[version(in.Version == 6)]
	return in.DstPort == e.Port && in.Dst == e.Addr && in.Proto == packet.ProtoTCP && e.Port != 0 && !in.Fragment
}

// version is the index of an IP version.
func version(v6 bool) int {
	if v6 {
		return IPv6
	}
	return IPv4
}

// conversion is what only a converted connection has.
type conversion struct {
	ue, srv         packet.Addr // as N6 has the connection
	uePort, srvPort uint16
	addrs           uint16 // sum of both addresses
	message         uint16 // h
	payload         uint16 // L, of the UE's SYN that had the message; 0 = none had it
	mss             uint16 // of the UE's SYN
	v6              bool   // of ue and srv
	listed          bool   // in the flow table under the name that N6 has for it
	plain           bool   // the UE offers no MP_CAPABLE, or offers it no more
	waiting         bool   // the UE's SYN had no payload: the message has not come yet
	alone           bool   // there is no server; see convertreply.go
	info, extended  bool   // of the request
	wantsMPTCP      bool   // of the options for the server
	tries, pushes   uint8  // how often reply, or before it the UE was asked for its third ACK, and userData were sent again
	fastOpen        []byte // option for the server

	isn      uint32 // of the UE's SYN
	first    int64  // the server's stream begins at this u: h - L
	base     int64  // and at this d: r
	reply    []byte // our message; nil once the UE has it
	userData []byte // of the UE's SYN; nil once the server has it
	held     *packet.Buffer

	began  stamp // when the server was first asked
	sent   stamp // when reply was last sent, or before it the SYN/ACK
	pushed stamp // when userData were last sent
	said   int64 // d behind what the converter has said, FIN included; 0 = nothing
	heard  int64 // alone: u below which everything of the UE has come, FIN included
}

// Endpoints are the ends of a connection as N6 has it.
type Endpoints struct{ UE, Server Endpoint }

// Conversion gives what the connection of packet in, which goes to the converter of s, is
// called on N6: what the UE asks for if it is a SYN with a request. Where there is none, the
// server is the converter itself.
func (p *Proxy) Conversion(s *Session, buf *packet.Buffer, in *packet.Info) (e Endpoints) {
	v6 := in.Version == 6
	e = Endpoints{UE: Endpoint{s.Converter.Source[version(v6)], in.SrcPort}, Server: Endpoint{in.Dst, in.DstPort}}
	if f := p.flows.find(uplinkKey(s, in)); f != nil {
		if v := f.conn.convert; v != nil && v.srvPort != 0 {
			return v.endpoints()
		}
	} else if !isSYN(buf, in) {
		return e
	}
	t, r := packet.ParseTCP(buf.Bytes(), in)
	var o mptcp.Options
	if r != packet.OK || !mptcp.Parse(t.Options(), &o) {
		return e
	}
	if c := p.tokens[o.JoinToken]; joins(&o) {
		if c != nil && c.convert != nil && c.convert.srvPort != 0 {
			return c.convert.endpoints()
		}
		return e
	}
	var q convert.Request
	if convert.Parse(t.Payload(), &q) == convert.Asked && q.Connect {
		srv := packet.Addr(q.Addr)
		e.Server = Endpoint{srv, q.Port}
		e.UE.Addr = s.Converter.Source[version(!is4(&srv))]
	}
	return e
}

// endpoints are the ends of the server's connection.
func (v *conversion) endpoints() Endpoints {
	return Endpoints{UE: Endpoint{v.ue, v.uePort}, Server: Endpoint{v.srv, v.srvPort}}
}

// is4 says whether a is an IPv4 address.
func is4(a *packet.Addr) bool {
	return binary.BigEndian.Uint64(a[:8]) == 0 && binary.BigEndian.Uint32(a[8:]) == 0xffff
}

// convertSYN takes a SYN to the converter of s; f is the subflow with its 4-tuple.
func (p *Proxy) convertSYN(s *Session, a steer.Access, r Rule, f *Subflow, g *segment) {
	join := joins(&g.opt.mp)
	if f != nil && !(join && (f.conn.state == stateEstablished || f.conn.state == stateClosed)) {
		if _, known := p.repeatedSYN(f, g); known {
			return
		}
		f = nil
	}
	if join {
		p.uplinkJoin(s, a, r, f, g)
		return
	}
	var q convert.Request
	verdict := convert.Asked
	if len(g.payload) > 0 {
		verdict = convert.Parse(g.payload, &q)
	}
	switch {
	case verdict == convert.Absent:
		p.discard(g.buf, &p.count.ConvertIgnored)
		return
	case verdict == convert.Reset:
		p.count.ConvertErrors++
		p.resetSYN(s, a, r, g, nil)
		return
	case s.handshakes >= maxHandshakes || s.connections >= maxConnections:
		p.discard(g.buf, &p.count.FallbackLimit)
		return
	}
	plain := p.unacceptable(s, g) != nil
	k, ok := p.takeKey()
	if !ok || !p.flows.room(uplinkKey(s, g.in)) {
		p.discard(g.buf, &p.count.FallbackKeys)
		return
	}
	c := p.newConn(s, a, r, g, k)
	c.convert = &conversion{plain: plain, isn: c.ueISN, mss: g.mss()}
	p.count.Conversions++
	p.synOf(c, g)
	if len(g.payload) == 0 {
		p.answerEarly(c, g)
		return
	}
	c.convert.payload = c.synData
	p.request(c, &q, verdict, g.payload)
	p.proceed(c, g)
}

// request decides on the UE's request q, which the payload of g begins with: the server is
// named, or the error is ready that answers it.
func (p *Proxy) request(c *Conn, q *convert.Request, verdict convert.Verdict, payload []byte) {
	v := c.convert
	v.message, v.info, v.extended = uint16(q.Len), q.Info, q.Extended
	code, value := q.Code, q.Value
	if verdict == convert.Asked {
		var refused bool
		if code, value, refused = p.judge(c, q); !refused {
			if !q.Connect { // Info alone
				p.stay(c, nil)
				return
			}
			v.userData = append([]byte(nil), payload[q.Len:]...)
			p.flows.putN6(c)
			v.listed = true
			return
		}
	}
	p.count.ConvertErrors++
	p.stay(c, convert.AppendError(nil, code, value))
}

// judge says whether the converter carries q out, and with which error it answers if not.
// It names the server's connection.
func (p *Proxy) judge(c *Conn, q *convert.Request) (code convert.Code, value []byte, refused bool) {
	v, s := c.convert, c.session
	if p.cfg.ConvertCookies {
		f := c.subflows[0]
		if cookie := p.cookie(s, &f.ue); len(q.Cookie) < len(cookie) || !hmac.Equal(q.Cookie[:len(cookie)], cookie) {
			return convert.MissingCookie, append([]byte{0}, cookie...), true
		}
	}
	if !q.Connect {
		return 0, nil, false
	}
	if r := c.rule.Policy; r == nil || r.Functionality != steer.MPTCP {
		return convert.NotAuthorized, nil, true
	}
	v.srv, v.srvPort = q.Addr, q.Port
	v.v6 = !is4(&v.srv)
	v.ue = s.Converter.Source[version(v.v6)]
	if slices.Contains(s.Converter.Reserved, v.srv) {
		return convert.Malformed, nil, true
	}
	if kinds := p.serverOptions(c, q.Options); kinds != nil {
		return convert.UnsupportedTCPOption, kinds, true
	}
	if v.ue == (packet.Addr{}) {
		return convert.DestinationUnreachable, []byte{noRoute}, true
	}
	v.addrs = packet.Fold(packet.SumWords(v.ue[:]) + packet.SumWords(v.srv[:]))
	if !p.takePort(c) {
		return convert.ResourceExceeded, []byte{0}, true
	}
	return 0, nil, false
}

// noRoute is the code of an ICMP Destination Unreachable for a network that there is no
// route to, in IPv4 (RFC 792) and IPv6 (RFC 4443 §3.1) the same.
const noRoute = 0

// supported are the kinds of TCP options that a Connect may have for the server's SYN:
// none of those that RFC 8803 §6.2.4 leaves out.
var supported = []byte{packet.OptSACKPermitted, packet.OptTimestamps, packet.OptMPTCP, packet.OptFastOpen}

// serverOptions takes the options that a Connect wants in the server's SYN, and gives the
// kinds of those that it cannot have (RFC 8803 §6.2.5). SACK and timestamps are negotiated
// between the ends: they are there if the UE's own SYN offers them. MPTCP is offered on
// behalf of a UE that wants to know whether it could do without a converter: what the
// server says comes back to it, and our third ACK without MPTCP has the server fall back.
func (p *Proxy) serverOptions(c *Conn, list []byte) (cannot []byte) {
	v := c.convert
	for o, rest := convert.NextOption(list); o != nil; o, rest = convert.NextOption(rest) {
		ok := true
		switch o[0] {
		case packet.OptMSS, packet.OptWindowScale, packet.OptSACK: // ours to choose
		case packet.OptSACKPermitted:
			ok = c.sackPermitted && len(o) == 2
		case packet.OptTimestamps:
			ok = c.timestamps && len(o) == 2
		case packet.OptMPTCP:
			ok = len(o) == 2
			v.wantsMPTCP = ok
		case packet.OptFastOpen:
			ok = len(o) <= maxFastOpen
			v.fastOpen = append([]byte(nil), o...)
		default:
			ok = false
		}
		if !ok {
			cannot = append(cannot, o[0])
		}
	}
	return cannot
}

// maxFastOpen is the longest Fast Open option that fits beside the others of a SYN with
// MP_CAPABLE: a cookie of 14 bytes.
const maxFastOpen = 16

// takePort gives the server's connection of c a port: the UE's own if no connection from
// the session's address to that server has it, which ports of other sockets of the UE's may
// have, or another. The table knows proxied connections alone: a collision with one that is
// not is found when the UE sends on it, see Uplink.
func (p *Proxy) takePort(c *Conn) bool {
	v := c.convert
	v.uePort = c.subflows[0].uePort
	for range portTries {
		k := v.key(c)
		if p.flows.find(k) == nil && p.flows.room(k) {
			return true
		}
		v.uePort = firstPort + uint16(p.rand()%(1<<16-firstPort))
	}
	return false
}

// Ports for N6 where the UE's is taken: any but the well-known ones.
const (
	firstPort = 1024
	portTries = 32
)

// cookieLen is the length of our cookies, in bytes.
const cookieLen = 16

// cookie is what the UE of s at address ue has to show (RFC 8803 §6.2.7).
func (p *Proxy) cookie(s *Session, ue *packet.Addr) []byte {
	m := hmac.New(sha256.New, p.cookieKey[:])
	var id [4]byte
	binary.BigEndian.PutUint32(id[:], s.ID)
	m.Write(id[:])
	m.Write(ue[:])
	return m.Sum(nil)[:cookieLen]
}

// resetSYN answers the SYN g with a reset with the given MPTCP option, if any.
func (p *Proxy) resetSYN(s *Session, a steer.Access, r Rule, g *segment, option []byte) {
	h := shape{
		src: &g.in.Dst, dst: &g.in.Src, srcPort: g.in.DstPort, dstPort: g.in.SrcPort,
		v6: g.in.Version == 6, ttl: defaultTTL, ack: g.tcp.SN() + 1 + uint32(len(g.payload)),
		flags: packet.RST | packet.ACK,
	}
	o := p.opt()
	o.bytes(option)
	g.buf.Reset()
	h.write(g.buf, 0, o)
	p.out.ToUE = append(p.out.ToUE, ToUE{Buf: g.buf, Session: s, Access: a, PDR: r.PDR})
}

// key is the name of c's connection on N6.
func (v *conversion) key(c *Conn) flowKey {
	return flowKey{session: c.session, ue: &v.ue, srv: &v.srv, uePort: v.uePort, srvPort: v.srvPort}
}

// isOnN6 says whether k is the name of c's connection on N6.
func (c *Conn) isOnN6(k *flowKey) bool {
	v := c.convert
	return v.listed && k.uePort == v.uePort && k.srvPort == v.srvPort && k.session == c.session && v.ue == *k.ue && v.srv == *k.srv
}

// uplinkConvert takes a packet of the UE that is, or may be, of a converted connection and
// needs other care than Uplink has for it; f is the subflow found under its 4-tuple.
func (p *Proxy) uplinkConvert(s *Session, a steer.Access, r Rule, f *Subflow, buf *packet.Buffer, in *packet.Info) (v Verdict, done bool) {
	if !s.Converter.Is(in) {
		if f != nil && f.conn.srv != in.Dst { // found under the name that N6 has
			p.discard(buf, &p.count.DropPortTaken)
			return Taken, true
		}
		return 0, false
	}
	syn := isSYN(buf, in)
	switch {
	case syn:
		g := &p.seg
		if reason := g.read(buf, in); reason != packet.OK {
			p.refuse(reason, buf)
			return Taken, true
		}
		p.Heard(p.now, s, a)
		p.count.IgnoredOptions += uint64(g.opt.mp.Ignored)
		p.convertSYN(s, a, r, f, g)
		if len(p.aside) > 0 {
			p.runAside()
		}
		return Taken, true
	case f == nil:
		p.discard(buf, &p.count.DropConverter)
		return Taken, true
	case f.conn.convert.waiting:
		f.conn.rule = r // what it asks for is in this packet
	}
	return 0, false
}
