package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/packet"
)

// A client may reach its server by way of the proxy's transport converter (RFC 8803), as
// libconvert does on Linux: the SYN carries a message that names the server, and maybe
// the first of the user's data; repeated it carries nothing, and then they come with the
// third ACK. Numbers and positions here are of the streams behind the messages:
//
//   - The payload of the SYN, L bytes, counts like the SYN itself: the TCP's ISN moves
//     behind it once it is known to be received or outstanding, at negative offsets.
//   - u is of what the server gets, so IDSN_A is moved back by the user's data in the SYN.
//   - d is of what the server sends, so IDSN_B is moved on by the converter's message.

// convertPlan is how a client uses the converter.
type convertPlan struct {
	userData int64 // bytes of the user behind the message
	early    bool  // no SYN has a payload: the message comes with the third ACK
	eager    bool  // the user's data do not wait for the converter's answer
}

const converterPort = 5124

// Addresses of the converter, and of the session as servers see it.
var (
	converterAddr4 = netip.MustParseAddr("10.9.0.9")
	converterAddr6 = netip.MustParseAddr("fd00:9::9")
	sessionAddr4   = netip.MustParseAddr("10.59.0.1")
	sessionAddr6   = netip.MustParseAddr("fd00:59::1")
)

// converterEnd and sessionAddr are those of the run's IP version.
func (w *world) converterEnd() endpoint {
	if w.cfg.IPv6 {
		return endpoint{converterAddr6, converterPort}
	}
	return endpoint{converterAddr4, converterPort}
}

func (w *world) sessionAddr() netip.Addr {
	if w.cfg.IPv6 {
		return sessionAddr6
	}
	return sessionAddr4
}

// converterOf is the converter of the proxy's session.
func converterOf(w *world) *proxy.Converter {
	v := &proxy.Converter{}
	i := proxy.IPv4
	if w.cfg.IPv6 {
		i = proxy.IPv6
	}
	at := w.converterEnd()
	v.At[i] = proxy.Endpoint{Addr: packet.AddrFrom(at.addr), Port: at.port}
	v.Source[i] = packet.AddrFrom(w.sessionAddr())
	return v
}

// success is the converter's message where the server was reached.
var success = []byte{1, 1, 0x22, 0x63}

// connectMessage asks for a connection to a server.
func connectMessage(to endpoint) []byte {
	b := []byte{1, 6, 0x22, 0x63, 10, 5}
	b = binary.BigEndian.AppendUint16(b, to.port)
	a := to.addr.As16()
	return append(b, a[:]...)
}

// behind is how many bytes of the downlink stream come before the server's.
func (c *client) behind() int64 {
	if c.convert == nil {
		return 0
	}
	return int64(len(success))
}

// inSYN is how many bytes of the user go with the SYN.
func (c *client) inSYN() int64 {
	if c.convert == nil {
		return 0
	}
	return c.convert.userData
}

// useConverter prepares the client, which has not begun.
func (c *client) useConverter() {
	p := c.inSYN()
	c.idsnA -= uint64(p)
	c.una, c.nxt, c.pend, c.wrote = p, p, p, p
	c.rcvNxt = -c.behind()
	if c.convert.eager {
		c.response = c.rcvNxt
	}
}

// synPayload is what the client's first SYN carries.
func (c *client) synPayload(server endpoint) []byte {
	b := connectMessage(server)
	n := len(b)
	b = append(b, make([]byte, c.inSYN())...)
	c.up.read(0, b[n:])
	return b
}

// takeReply checks what of p is of the converter's message, and gives the rest.
func (c *client) takeReply(p rxPiece) rxPiece {
	if p.d >= 0 {
		return p
	}
	n := min(-p.d, int64(len(p.data)))
	want := success[p.d+c.behind():]
	if networkFailure := []byte{1, 2, 0x22, 0x63, 30, 1, 65, 0}; p.d == -c.behind() && bytes.Equal(p.data, networkFailure) {
		c.refused = true // luck was too bad
		c.fastClose()
		return rxPiece{}
	}
	if !bytes.Equal(p.data[:n], want[:n]) {
		c.fail("client: the converter says % x", p.data[:n])
	}
	return rxPiece{p.d + n, p.data[n:]}
}

// convertSYNACK is what the SYN/ACK's acknowledgment of the SYN's payload means: Linux
// tells its key only if it is what the last SYN carried, and falls back on the first packet
// without DSS if not.
func (f *subflow) convertSYNACK() {
	f.keyless = f.c.convert != nil && f.capable && f.synAcked != f.synLast
}

// convert has the connections of a scenario use the converter, in some way each.
func (g generator) convert(cfg *Config) {
	for i := range cfg.Conns {
		c := &cfg.Conns[i]
		v := &convertPlan{early: g.chance(0.15), eager: g.chance(0.5)}
		if g.chance(0.3) && c.Client.abortAt == 0 && c.Server.abortAt == 0 {
			v.userData = min(1+g.Int64N(900), c.Client.send)
		}
		c.Client.convert = v
		if len(c.Joins) == 0 && !c.Client.plain && g.chance(0.2) {
			c.Client.dropMPC = true
		}
	}
	if g.chance(0.3) { // the handshakes have a hard time, and what looks like dead accesses
		for i := range cfg.Conns {
			cfg.Conns[i].ServeTCP.mayRenege = true
		}
		cfg.Events = append(cfg.Events, hardTime(0, 0.2), hardTime(g.between(time.Second, 3*time.Second), -0.2))
	}
}

// hardTime has every leg lose more, by so much.
func hardTime(at time.Duration, loss float64) Event {
	return Event{at, fmt.Sprintf("losses change by %v", loss), func(w *world) {
		for _, l := range append([]*leg{w.n6Up, w.n6Down}, append(w.up[:], w.downs[:]...)...) {
			l.Loss += loss
		}
	}}
}
