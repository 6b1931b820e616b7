package upf

import (
	"net"
	"net/netip"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// testCfg is the tests' config, changed by f.
func testCfg(t testing.TB, f func(*Config)) *Config { return cfgOf(t, testConfig, f) }

// cfgOf is the config of that text, changed by f.
func cfgOf(t testing.TB, text string, f func(*Config)) *Config {
	t.Helper()
	cfg, err := ParseConfig("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	f(cfg)
	return cfg
}

// at is another CP function of the same server, at another loopback address.
func (b *bench) at(address string) *bench {
	b.t.Helper()
	local := netip.AddrPortFrom(addr(address), b.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	return &bench{t: b.t, s: b.s, plane: b.plane, conn: conn}
}

// setup associates as node id; the IEs are added to the request.
func (b *bench) setup(id string, ies ...*ie.IE) *message.AssociationSetupResponse {
	b.t.Helper()
	resp := b.ask(message.NewAssociationSetupRequest(0, append([]*ie.IE{pfcp.NodeIDIE(id), pfcp.RecoveryTimeStampIE(cpStarted)}, ies...)...))
	if got := refusalOf(b.t, resp); got.cause != ie.CauseRequestAccepted {
		b.t.Fatalf("association setup of %s: %+v", id, got)
	}
	return resp.(*message.AssociationSetupResponse)
}

// establish establishes a session of node id under a CP F-SEID; the IEs are added
// to the request.
func (b *bench) establish(id string, cp pfcp.FSEID, r *rulesSpec, ies ...*ie.IE) uint64 {
	b.t.Helper()
	all := append([]*ie.IE{pfcp.NodeIDIE(id), cp.IE()}, append(r.creates(), ies...)...)
	resp := b.ask(message.NewSessionEstablishmentRequest(0, 0, 0, 0, 0, all...))
	if got := refusalOf(b.t, resp); got.cause != ie.CauseRequestAccepted {
		b.t.Fatalf("session establishment of %s: %+v", id, got)
	}
	return upSEIDOf(b.t, resp)
}

// session is what the server knows of a session; nil = nothing.
func (b *bench) session(seid uint64) *session {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if sess := b.s.sessions[seid]; sess != nil {
		copied := *sess
		return &copied
	}
	return nil
}

// receive is the server's next request: one that it sends again, because the machine is
// slow, is read once.
func (b *bench) receive() message.Message {
	b.t.Helper()
	for {
		m, err := message.Parse(b.read())
		if err != nil {
			b.t.Fatal(err)
		}
		if m.Sequence() != b.heard {
			b.heard = m.Sequence()
			return m
		}
	}
}

// answer answers a request of the server.
func (b *bench) answer(req, resp message.Message) {
	b.t.Helper()
	resp.SetSequenceNumber(req.Sequence())
	d := encoded(b.t, resp)
	if _, err := b.conn.WriteToUDPAddrPort(d, b.s.LocalAddr()); err != nil {
		b.t.Fatal(err)
	}
}

func encoded(t testing.TB, m message.Message) []byte {
	t.Helper()
	d := make([]byte, m.MarshalLen())
	if err := m.MarshalTo(d); err != nil {
		t.Fatal(err)
	}
	return d
}

// cause is the cause of the answer to req.
func (b *bench) cause(req message.Message) uint8 {
	b.t.Helper()
	return refusalOf(b.t, b.ask(req)).cause
}

func modify(seid uint64, ies ...*ie.IE) message.Message {
	return message.NewSessionModificationRequest(0, 0, seid, 0, 0, ies...)
}
