package proxy

import (
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/packet"
)

// inFlight is a connection with 1,000 bytes each way that nobody has acknowledged.
func inFlight(t *testing.T) *harness {
	h := newHarness(t)
	h.connect()
	h.down(h.fromServer(packet.ACK, 0, 0, nil)) // shows the server's scaled window
	h.serverData(0, 1000)
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(&mapping{ssn: 1, u: 0, n: 1000}, 0), 1, make([]byte, 1000)))
	h.recycle()
	return h
}

// An RST of the UE counts at the SN that it was acknowledged or the end of what came; in
// the window it is challenged, outside it is not (RFC 5961 §3.2). SSNs here count from 0.
func TestResetOfUE(t *testing.T) {
	over := []string{"srv RST u=1000 ack=0"}
	challenged := []string{"ue0 ssn=1001 ack=1 dack=0"}
	for _, tc := range []struct {
		name   string
		ssn    int64
		option mptcp.Key // of an MP_FASTCLOSE, less the right one
		fast   bool
		want   []string
		reset  uint64
		bad    func(*Counters) uint64
	}{
		{name: "what was acknowledged", ssn: 0, want: over, reset: 1},
		{name: "what came", ssn: 1000, want: over, reset: 1},
		{name: "within what came", ssn: 500, want: challenged, bad: func(c *Counters) uint64 { return c.DropReset }},
		{name: "beyond what came", ssn: 1001, want: challenged, bad: func(c *Counters) uint64 { return c.DropReset }},
		{name: "below", ssn: -1, bad: func(c *Counters) uint64 { return c.DropReset }},
		{name: "outside the window", ssn: 1 << 25, bad: func(c *Counters) uint64 { return c.DropOutOfWindow }},
		{name: "with the key, in the window", ssn: 5000, fast: true, want: over, reset: 1},
		{name: "with the key, outside the window", ssn: 1 << 25, fast: true, bad: func(c *Counters) uint64 { return c.DropOutOfWindow }},
		{name: "with another key", ssn: 0, fast: true, option: 1, bad: func(c *Counters) uint64 { return c.DropBadKey }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := inFlight(t)
			var option []byte
			if tc.fast {
				option = mptcp.AppendFastClose(nil, h.keyB+tc.option)
			}
			h.up(0, h.fromUE(0, packet.RST|packet.ACK, tc.ssn, option, 1, nil))
			h.want(tc.want...)
			if got := h.p.count.ResetByUE; got != tc.reset {
				t.Errorf("reset_by_ue = %d, want %d", got, tc.reset)
			}
			if tc.bad != nil && tc.bad(&h.p.count) != 1 {
				t.Error("not counted where it should be")
			}
		})
	}
}

// The same for an RST of the server.
func TestResetOfServer(t *testing.T) {
	over := []string{"ue0 ssn=1001 ack=1 dack=0 mp_fastclose", "ue0 RST ssn=1 ack=1 mp_fastclose"}
	challenged := []string{"srv u=1000 ack=0"}
	for _, tc := range []struct {
		name string
		d    int64
		want []string
		bad  func(*Counters) uint64
	}{
		{"what was acknowledged", 0, over, nil},
		{"what came", 1000, over, nil},
		{"within what came", 500, challenged, func(c *Counters) uint64 { return c.DropReset }},
		{"beyond what came", 1001, challenged, func(c *Counters) uint64 { return c.DropReset }},
		{"below", -1, nil, func(c *Counters) uint64 { return c.DropReset }},
		{"outside the window", 1 << 25, nil, func(c *Counters) uint64 { return c.DropOutOfWindow }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := inFlight(t)
			h.down(h.fromServer(packet.RST, tc.d, 0, nil))
			h.want(tc.want...)
			if tc.bad != nil && tc.bad(&h.p.count) != 1 {
				t.Error("not counted where it should be")
			}
		})
	}
}

// A server that is gone answers the challenge with an RST at the SN that it named.
func TestChallengedServerResets(t *testing.T) {
	h := inFlight(t)
	h.down(h.fromServer(packet.RST|packet.ACK, 2000, 0, nil)) // data of it were lost
	h.want("srv u=1000 ack=0")
	h.down(h.fromServer(packet.RST, 0, 0, nil))
	h.want("ue0 ssn=1001 ack=1 dack=0 mp_fastclose", "ue0 RST ssn=1 ack=1 mp_fastclose")
}

// Answers to unacceptable packets of a subflow and of a server are 500 ms apart, each side's
// on its own (RFC 5961 §7).
func TestChallengesAreRateLimited(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	bad := func() {
		for range 100 {
			h.up(0, h.fromUE(0, packet.ACK, -1<<30, nil, 1, nil))
			h.up(1, h.fromUE(1, packet.ACK, 0, nil, 100, nil))
			h.up(0, h.build(shape{src: &h.ue, dst: &h.srv, srcPort: h.uePorts[0], dstPort: 80, sn: 77, flags: packet.SYN}, nil, nil))
			h.down(h.fromServer(packet.ACK, 1<<30, 0, make([]byte, 10)))
			h.down(h.fromServer(packet.SYN, 0, 0, nil))
		}
	}
	for range 3 {
		bad()
		h.want("srv u=0 ack=0", "ue0 ssn=1 ack=1 dack=0", "ue1 ssn=2 ack=1 dack=0")
		h.now += challengeInterval + millisecond
	}
	n := &h.p.count
	if n.Challenges != 9 || n.DropOutOfWindow != 600 || n.DropBadACK != 300 || n.DropSYN != 600 {
		t.Errorf("challenges %d, drop_out_of_window %d, drop_bad_ack %d, drop_syn %d; want 9, 600, 300, 600",
			n.Challenges, n.DropOutOfWindow, n.DropBadACK, n.DropSYN)
	}
}

// A repeated SYN/ACK means that the third ACK was lost; any other SYN of the server is
// challenged.
func TestServersSYNOnConnection(t *testing.T) {
	h := newHarness(t)
	h.connect()
	for range 3 {
		h.down(h.synACK(0, 0, nil, nil))
		h.want("srv u=0 ack=0")
	}
	b := h.build(shape{src: &h.srv, dst: &h.ue, srcPort: 80, dstPort: 40000, sn: h.srvISN + 5, ack: h.ueISN + 1, flags: packet.SYN | packet.ACK}, nil, nil)
	h.down(b)
	h.want("srv u=0 ack=0")
	if n := &h.p.count; n.DropSYN != 1 || n.Challenges != 1 {
		t.Errorf("drop_syn %d, challenges %d, want 1, 1", n.DropSYN, n.Challenges)
	}
}

// Before the third ACK, only an RST that the other end would believe ends the connection.
func TestResetInHandshake(t *testing.T) {
	for _, tc := range []struct {
		name    string
		synACK  bool
		fromUE  bool
		sn, ack int64
		flags   uint8
		ends    bool
	}{
		{"refusal", false, false, -1, 0, packet.RST | packet.ACK, true},
		{"refusal of another SYN", false, false, -1, 7, packet.RST | packet.ACK, false},
		{"refusal without ACK", false, false, 0, 0, packet.RST, false},
		{"server's", true, false, 0, 0, packet.RST, true},
		{"server's, not exact", true, false, 5, 5, packet.RST, false},
		{"UE's", true, true, 0, 0, packet.RST, true},
		{"UE's, not exact", true, true, 5, 0, packet.RST, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t)
			h.uePorts, h.isns = []uint16{40000}, [][2]uint32{{h.ueISN, h.srvISN}}
			h.connectSYN()
			if tc.synACK {
				h.connectSYNACK()
			}
			h.recycle()
			if tc.fromUE {
				h.passes(true, h.fromUE(0, tc.flags, tc.sn, nil, 1, nil))
			} else if b := h.fromServer(tc.flags, tc.sn, tc.ack, nil); tc.ends {
				h.passes(false, b)
			} else {
				h.down(b)
				h.want()
			}
			if ended := h.p.Connections() == 0; ended != tc.ends {
				t.Errorf("ended: %v, want %v", ended, tc.ends)
			}
			if got := h.p.count.DropReset; tc.ends == (got == 1) {
				t.Errorf("drop_reset = %d", got)
			}
		})
	}
}
