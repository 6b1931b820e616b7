package pfcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func loopback() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:0") }

func open(t *testing.T, cfg Config, h Handler) *Endpoint {
	t.Helper()
	cfg.Addr = loopback()
	e, err := Listen(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func heartbeats(netip.AddrPort, message.Message) message.Message {
	return message.NewHeartbeatResponse(0, ie.NewRecoveryTimeStamp(time.Unix(5, 0)))
}

func silent(netip.AddrPort, message.Message) message.Message { return nil }

func heartbeat() message.Message {
	return message.NewHeartbeatRequest(0, ie.NewRecoveryTimeStamp(time.Unix(5, 0)), nil)
}

func encode(t testing.TB, m message.Message) []byte {
	t.Helper()
	b, err := marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRequest(t *testing.T) {
	server := open(t, Config{}, heartbeats)
	client := open(t, Config{}, silent)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			req := heartbeat()
			resp, err := client.Request(t.Context(), server.LocalAddr(), req)
			if err != nil || resp.MessageType() != message.MsgTypeHeartbeatResponse || resp.Sequence() != req.Sequence() {
				t.Errorf("got %v, %v", resp, err)
			}
		})
	}
	wg.Wait()
	client.mu.Lock()
	defer client.mu.Unlock()
	if len(client.pending) != 0 {
		t.Errorf("%d requests are still under way", len(client.pending))
	}
}

// TestRequestRetransmitted: a request is sent MaxRetrans times again, the same
// octets, and then given up.
func TestRequestRetransmitted(t *testing.T) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var mu sync.Mutex
	var traced int
	client := open(t, Config{RetransTimeout: 20 * time.Millisecond, MaxRetrans: 2, Trace: func(sent bool, _, _ netip.AddrPort, _ []byte, _ time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if sent {
			traced++
		}
	}}, silent)
	if _, err := client.Request(t.Context(), conn.LocalAddr().(*net.UDPAddr).AddrPort(), heartbeat()); !errors.Is(err, ErrTimeout) {
		t.Fatalf("got %v, want a time-out", err)
	}
	var first []byte
	for i := range 3 {
		buf := make([]byte, 100)
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("sending %d: %v", i, err)
		}
		if first == nil {
			first = buf[:n]
		}
		if !bytes.Equal(first, buf[:n]) {
			t.Errorf("sending %d: %x, the first was %x", i, buf[:n], first)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if traced != 3 {
		t.Errorf("%d sendings traced, want 3", traced)
	}
}

func TestRequestEnds(t *testing.T) {
	client := open(t, Config{RetransTimeout: time.Hour}, silent)
	peer := open(t, Config{}, silent).LocalAddr()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := client.Request(ctx, peer, heartbeat()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	failed := make(chan error)
	go func() {
		_, err := client.Request(context.Background(), peer, heartbeat())
		failed <- err
	}()
	for under := 0; under == 0; {
		client.mu.Lock()
		under = len(client.pending)
		client.mu.Unlock()
	}
	_ = client.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := client.Request(t.Context(), peer, heartbeat()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestForeignResponse: a response is taken from the peer that was asked only, and
// of the type that was asked for.
func TestForeignResponse(t *testing.T) {
	client := open(t, Config{RetransTimeout: time.Hour}, silent)
	asked, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback()))
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	other, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback()))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	got := make(chan message.Message, 1)
	go func() {
		m, _ := client.Request(t.Context(), asked.LocalAddr().(*net.UDPAddr).AddrPort(), heartbeat())
		got <- m
	}()
	buf := make([]byte, 100)
	n, err := asked.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	req, err := message.Parse(buf[:n])
	if err != nil {
		t.Fatal(err)
	}
	stamp := func(s int64) *ie.IE { return ie.NewRecoveryTimeStamp(time.Unix(s, 0)) }
	to := client.LocalAddr()
	forged := encode(t, message.NewHeartbeatResponse(req.Sequence(), stamp(1)))
	wrongType := encode(t, message.NewAssociationSetupResponse(req.Sequence(), stamp(2)))
	right := encode(t, message.NewHeartbeatResponse(req.Sequence(), stamp(3)))
	for _, s := range []struct {
		from *net.UDPConn
		b    []byte
	}{{other, forged}, {asked, wrongType}, {asked, []byte("noise")}, {asked, right}} {
		if _, err := s.from.WriteToUDPAddrPort(s.b, to); err != nil {
			t.Fatal(err)
		}
	}
	m, ok := (<-got).(*message.HeartbeatResponse)
	if !ok || !bytes.Equal(m.RecoveryTimeStamp.Payload, stamp(3).Payload) {
		t.Errorf("got %+v", m)
	}
}

func TestVersionNotSupportedToRequest(t *testing.T) {
	in := NewInbox(Config{}, heartbeats)
	b := encode(t, heartbeat())
	b[0] = 2 << 5
	answers := in.Receive(loopback(), b, time.Unix(0, 0))
	if len(answers) != 1 || answers[0][1] != message.MsgTypeVersionNotSupportedResponse {
		t.Errorf("answers %x", answers)
	}
	b[1] = message.MsgTypeHeartbeatResponse
	if answers := in.Receive(loopback(), b, time.Unix(0, 0)); answers != nil {
		t.Errorf("a response of another version got %x", answers)
	}
}

// TestStoredAnswers: for 15 s, of the same peer, for the same octets.
func TestStoredAnswers(t *testing.T) {
	calls := 0
	in := NewInbox(Config{}, func(netip.AddrPort, message.Message) message.Message {
		calls++
		return message.NewHeartbeatResponse(0, ie.NewRecoveryTimeStamp(time.Unix(int64(calls), 0)))
	})
	m := heartbeat()
	m.SetSequenceNumber(0xabcdef)
	b := encode(t, m)
	other := bytes.Clone(b)
	other[len(other)-1]++
	peer, foreign := netip.MustParseAddrPort("10.0.0.1:8805"), netip.MustParseAddrPort("10.0.0.1:8806")
	start := time.Unix(1000, 0)
	tests := []struct {
		name  string
		peer  netip.AddrPort
		b     []byte
		at    time.Duration
		calls int
	}{
		{"first", peer, b, 0, 1},
		{"again", peer, b, time.Second, 1},
		{"of another peer", foreign, b, 2 * time.Second, 2},
		{"at the end", peer, b, 15 * time.Second, 1},
		{"too late", peer, b, 15*time.Second + time.Nanosecond, 3},
		{"another request under that number", peer, other, 16 * time.Second, 4},
		{"that one again", peer, other, 17 * time.Second, 4},
	}
	for _, tc := range tests {
		answers := in.Receive(tc.peer, bytes.Clone(tc.b), start.Add(tc.at))
		if len(answers) != 1 {
			t.Fatalf("%s: answers %x", tc.name, answers)
		}
		if got := binary.BigEndian.Uint32(answers[0][12:]) - ntpEpoch; int(got) != tc.calls {
			t.Errorf("%s: got the answer of call %d, want %d", tc.name, got, tc.calls)
		}
		if seq := binary.BigEndian.Uint32(answers[0][4:]) >> 8; seq != 0xabcdef {
			t.Errorf("%s: sequence number %#x", tc.name, seq)
		}
	}
	in.answers.forget(start.Add(time.Hour))
	if len(in.answers.answers) != 0 || len(in.answers.expiry) != 0 || in.answers.count != 0 {
		t.Errorf("%d answers are kept for ever", len(in.answers.answers))
	}
}

// TestFollowOn: two messages in one datagram get two answers; without the flag
// the second is noise, and the length does not fit.
func TestFollowOn(t *testing.T) {
	in := NewInbox(Config{}, heartbeats)
	one, two := heartbeat(), heartbeat()
	one.SetSequenceNumber(1)
	two.SetSequenceNumber(2)
	b := append(encode(t, one), encode(t, two)...)
	if got := in.Receive(loopback(), bytes.Clone(b), time.Unix(0, 0)); len(got) != 0 {
		t.Errorf("without the flag: answers %x", got)
	}
	b[0] |= 4
	if got := in.Receive(loopback(), b, time.Unix(0, 0)); len(got) != 2 {
		t.Errorf("answers %x, want two", got)
	}
}

// TestMalformedRequests: what the handler never sees, and why.
func TestMalformedRequests(t *testing.T) {
	deep := []byte{}
	for range maxDepth + 2 {
		deep = append([]byte{0, 1, byte(len(deep) >> 8), byte(len(deep))}, deep...) // Create PDR in Create PDR
	}
	tests := []struct {
		name      string
		ies       []byte
		lie       int // added to the header's length
		cause     uint8
		offending uint16
	}{
		{"length too long", nil, 1, ie.CauseInvalidLength, 0},
		{"length too short", []byte{0, 19, 0, 1, 1}, -1, ie.CauseInvalidLength, 0},
		{"length shorter than the header", nil, -5, ie.CauseInvalidLength, 0},
		{"IE header cut off", []byte{0, 60, 0}, 0, ie.CauseInvalidLength, 0},
		{"IE cut off", []byte{0, 60, 0, 5, 0}, 0, ie.CauseMandatoryIEIncorrect, ie.NodeID},
		{"member cut off", []byte{0, 1, 0, 5, 0, 56, 0, 2, 1}, 0, ie.CauseMandatoryIEIncorrect, ie.PDRID},
		{"vendor IE without enterprise", []byte{0x80, 1, 0, 1, 0}, 0, ie.CauseMandatoryIEIncorrect, 0x8001},
		{"too deep", deep, 0, ie.CauseMandatoryIEIncorrect, ie.CreatePDR},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var got *Error
			in := NewInbox(Config{Malformed: func(_ netip.AddrPort, typ uint8, seid uint64, why *Error) message.Message {
				got = why
				if typ != message.MsgTypeSessionEstablishmentRequest || seid != 7 {
					t.Errorf("type %d, SEID %d", typ, seid)
				}
				return nil
			}}, func(netip.AddrPort, message.Message) message.Message {
				t.Error("the handler has seen it")
				return nil
			})
			b := append([]byte{0x21, message.MsgTypeSessionEstablishmentRequest, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 1, 0}, tc.ies...)
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4+tc.lie))
			in.Receive(loopback(), b, time.Unix(0, 0))
			if got == nil || got.Cause != tc.cause || got.Offending != tc.offending {
				t.Errorf("got %+v, want cause %d, offending IE %d", got, tc.cause, tc.offending)
			}
		})
	}
}

// TestDeepGroupsAreCheap: the guard stops a datagram whose parsing would take
// seconds.
func TestDeepGroupsAreCheap(t *testing.T) {
	var b []byte
	for len(b) < MaxDatagram-100 {
		b = append([]byte{0, 1, 0, 0}, b...)
	}
	for off := 0; off < len(b); off += 4 {
		binary.BigEndian.PutUint16(b[off+2:], uint16(len(b)-off-4))
	}
	start := time.Now()
	left := len(b)
	if err := checkIEs(b, 0, maxDepth, &left); err == nil {
		t.Error("taken")
	}
	if d := time.Since(start); d > 100*time.Millisecond {
		t.Errorf("took %v", d)
	}
}

// TestPanicOfHandler: a fault in answering one datagram is not the end.
func TestPanicOfHandler(t *testing.T) {
	server := open(t, Config{}, func(peer netip.AddrPort, m message.Message) message.Message {
		if m.MessageType() != message.MsgTypeHeartbeatRequest {
			panic("a fault")
		}
		return heartbeats(peer, m)
	})
	client := open(t, Config{RetransTimeout: 10 * time.Millisecond}, silent)
	if _, err := client.Request(t.Context(), server.LocalAddr(), message.NewAssociationReleaseRequest(0, NodeIDIE("10.0.0.1"))); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v", err)
	}
	if _, err := client.Request(t.Context(), server.LocalAddr(), heartbeat()); err != nil {
		t.Error(err)
	}
}

// FuzzInbox: whatever comes, nothing panics, and every answer is a message.
func FuzzInbox(f *testing.F) {
	f.Add(encode(f, heartbeat()))
	f.Add([]byte{0x23, 50, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0})
	f.Add([]byte{0x24, 1, 0, 4, 0, 0, 1, 0, 0x20, 1, 0, 4, 0, 0, 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := NewInbox(Config{Malformed: func(_ netip.AddrPort, _ uint8, seid uint64, why *Error) message.Message {
			return message.NewSessionDeletionResponse(0, 0, seid, 0, 0, ie.NewCause(why.Cause))
		}}, heartbeats)
		for _, a := range in.Receive(loopback(), b, time.Unix(0, 0)) {
			if _, err := message.Parse(a); err != nil {
				t.Fatalf("answer %x: %v", a, err)
			}
		}
	})
}

// TestAllow: datagrams of other peers are dropped before they are read, and counted.
func TestAllow(t *testing.T) {
	calls := 0
	friend, foe := netip.MustParseAddrPort("10.0.0.1:8805"), netip.MustParseAddrPort("10.0.0.2:8805")
	in := NewInbox(Config{Allow: func(a netip.Addr) bool { return a == friend.Addr() }}, func(netip.AddrPort, message.Message) message.Message {
		calls++
		return message.NewHeartbeatResponse(0, RecoveryTimeStampIE(time.Unix(5, 0)))
	})
	if got := in.Receive(friend, encode(t, heartbeat()), time.Unix(0, 0)); len(got) != 1 || calls != 1 || in.Dropped() != 0 {
		t.Errorf("of a friend: answers %x, %d calls, %d dropped", got, calls, in.Dropped())
	}
	for _, b := range [][]byte{encode(t, heartbeat()), {0xff}} {
		if got := in.Receive(foe, b, time.Unix(0, 0)); got != nil {
			t.Errorf("of a foe: answers %x", got)
		}
	}
	if calls != 1 || in.Dropped() != 2 {
		t.Errorf("%d calls, %d dropped", calls, in.Dropped())
	}
}

// TestFloodedAnswers: a peer that floods us, from as many ports as it likes, and a
// crowd of peers, push nobody else's answer out.
func TestFloodedAnswers(t *testing.T) {
	calls := map[netip.Addr]int{}
	in := NewInbox(Config{}, func(peer netip.AddrPort, m message.Message) message.Message {
		calls[peer.Addr()]++
		return heartbeats(peer, m)
	})
	smf := netip.MustParseAddrPort("10.0.0.1:8805")
	now := time.Unix(1000, 0)
	send := func(peer netip.AddrPort, sequence uint32) {
		m := heartbeat()
		m.SetSequenceNumber(sequence)
		in.Receive(peer, encode(t, m), now)
	}
	send(smf, 7)
	flooder := netip.MustParseAddr("10.0.0.2")
	for i := range maxPeerAnswers + 10 {
		send(netip.AddrPortFrom(flooder, uint16(i)), uint32(i>>4))
	}
	if got := len(in.answers.expiry[flooder]); got != maxPeerAnswers {
		t.Errorf("%d answers of the flooder, want %d", got, maxPeerAnswers)
	}
	for i := range 2 * maxPeers {
		send(netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 8805), 1)
	}
	if got := len(in.answers.expiry); got != maxPeers {
		t.Errorf("answers of %d addresses, want %d", got, maxPeers)
	}
	send(smf, 7)
	if calls[smf.Addr()] != 1 {
		t.Errorf("the request was worked on %d times", calls[smf.Addr()])
	}
	if in.answers.count != len(in.answers.answers) {
		t.Errorf("%d answers, counted %d", len(in.answers.answers), in.answers.count)
	}
}

// TestMaxIEs: the IEs of a message are counted wherever they stand.
func TestMaxIEs(t *testing.T) {
	message := func(outer, inner int) []byte {
		group := binary.BigEndian.AppendUint16([]byte{0, byte(ie.CreatePDR)}, uint16(4*inner))
		group = append(group, bytes.Repeat([]byte{3, 0, 0, 0}, inner)...)
		b := append([]byte{0x20, 1, 0, 0, 0, 0, 1, 0}, group...)
		b = append(b, bytes.Repeat([]byte{3, 0, 0, 0}, outer-1)...)
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
		return b
	}
	for _, tc := range []struct {
		outer, inner int
		taken        bool
	}{{maxIEs, 0, true}, {maxIEs + 1, 0, false}, {1, maxIEs - 1, true}, {1, maxIEs, false}} {
		b := message(tc.outer, tc.inner)
		h, err := parseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parseMessage(b, h)
		var why *Error
		if (err == nil) != tc.taken || err != nil && (!errors.As(err, &why) || why.Cause != ie.CauseNoResourcesAvailable) {
			t.Errorf("%d IEs and %d inside: %v", tc.outer, tc.inner, err)
		}
	}
}

// TestManyMessages: a datagram's messages are bounded.
func TestManyMessages(t *testing.T) {
	in := NewInbox(Config{}, heartbeats)
	m := encode(t, heartbeat())
	m[0] |= 4
	if got := in.Receive(loopback(), bytes.Repeat(m, maxMessages+5), time.Unix(0, 0)); len(got) != maxMessages {
		t.Errorf("%d answers, want %d", len(got), maxMessages)
	}
}
