package proxy

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/braid-upf/braid/atsss/convert"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// refusal plays a UE whose request gets the answer at once: SYN/ACK, third ACK, message with
// a DATA_FIN; the UE resets, and nothing is left but what lingers. It gives the message.
func (h *converted) refusal(capable bool, taken int) convert.Reply {
	h.t.Helper()
	h.ueSYNACK(taken, capable)
	if !capable {
		h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1, nil))
	} else {
		h.third(nil)
	}
	r, n := h.reply()
	m := bytes.Clone(r.Value)
	r.Value = m
	r.Supported = bytes.Clone(r.Supported)
	if capable {
		h.want(fmt.Sprintf("ue0 ssn=1+%d ack=1 dack=0 map=0@1+%d", n, n), fmt.Sprintf("ue0 ssn=%d ack=1 dack=0 fin=%d", n+1, n))
		h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, int64(n)+1), int64(n)+1, nil))
		h.want()
		h.up(0, h.fromUE(0, packet.RST|packet.ACK, 0, mptcp.AppendFastClose(nil, h.keyB), int64(n)+1, nil))
		h.want()
	} else {
		h.want(fmt.Sprintf("ue0 FIN ssn=1+%d ack=1", n))
		h.up(0, h.fromUE(0, packet.RST|packet.ACK, 0, nil, int64(n)+2, nil))
		h.want()
	}
	h.idle(lingerLife + 1000*millisecond)
	h.want()
	if n := h.p.Connections(); n != 0 {
		h.t.Errorf("%d connections are left", n)
	}
	return r
}

// What the converter does not carry out it answers with the error of RFC 8803, and asks no
// server: MPTCP clients and plain ones.
func TestConvertRefused(t *testing.T) {
	other := v4(10, 61, 3, 2)
	v6 := packet.Addr{0: 0x20, 1: 1, 15: 9}
	for _, tc := range []struct {
		name    string
		message []byte
		change  func(h *converted)
		code    convert.Code
		value   []byte // nil = the message
	}{
		{"malformed", []byte{1, 2, 0x22, 0x63, 10, 1, 0, 0}, nil, convert.Malformed, nil},
		{"version 2", []byte{2, 1, 0x22, 0x63}, nil, convert.UnsupportedVersion, []byte{1}},
		{"unknown TLV", []byte{1, 2, 0x22, 0x63, 99, 1, 0, 0}, nil, convert.UnsupportedMessage, nil},
		{"loopback", connectTo(v4(127, 0, 0, 1), 80), nil, convert.Malformed, nil},
		{"the converter itself", connectTo(v4(10, 9, 0, 9), 80), nil, convert.Malformed, nil},
		{"a link-specific address", connectTo(v4(10, 61, 3, 1), 80), nil, convert.Malformed, nil},
		{"no policy", connectTo(v4(10, 100, 6, 2), 80), func(h *converted) { h.rule.Policy = nil }, convert.NotAuthorized, []byte{0}},
		{"no MPTCP", connectTo(v4(10, 100, 6, 2), 80), func(h *converted) {
			policy := *h.rule.Policy
			policy.Functionality = steer.ATSSSLL
			h.rule.Policy = &policy
		}, convert.NotAuthorized, []byte{0}},
		{"TCP MD5 and AO", connectTo(other, 80, 19, 2, 4, 2, 29, 4, 0, 0), nil, convert.UnsupportedTCPOption, []byte{19, 29, 0, 0, 0}},
		{"timestamps with a value", connectTo(other, 80, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0), nil, convert.UnsupportedTCPOption, []byte{8}},
		{"no address for an IPv6 server", connectTo(v6, 80), nil, convert.DestinationUnreachable, []byte{0}},
	} {
		for _, capable := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/mptcp=%v", tc.name, capable), func(t *testing.T) {
				h := newConverted(t)
				if tc.change != nil {
					tc.change(h)
				}
				h.syn(capable, tc.message)
				r := h.refusal(capable, len(tc.message))
				if !r.HasError || r.Code != tc.code {
					t.Fatalf("reply %+v, want error %d", r, tc.code)
				}
				want := tc.value
				if want == nil && tc.name != "the converter itself" && tc.name != "a link-specific address" {
					want = tc.message
				}
				if want != nil && !bytes.Equal(bytes.TrimRight(r.Value, "\x00"), bytes.TrimRight(want, "\x00")) {
					t.Errorf("value % x, want % x", r.Value, want)
				}
				if c := h.p.count; c.ConvertErrors != 1 || c.Conversions != 1 {
					t.Errorf("%d conversions, %d errors, want 1 of each", c.Conversions, c.ConvertErrors)
				}
			})
		}
	}
}

func TestConvertInfo(t *testing.T) {
	h := newConverted(t)
	info := message(convert.AppendInfo)
	h.syn(true, info)
	if r := h.refusal(true, len(info)); r.HasError || !r.HasSupported || !bytes.Equal(r.Supported, []byte{4, 8, 30, 34}) {
		t.Errorf("reply %+v", r)
	}
}

// The server refuses, is silent, or is out of reach: before the UE has its SYN/ACK, and
// after.
func TestConvertServerFails(t *testing.T) {
	for _, capable := range []bool{true, false} {
		h := newConverted(t)
		h.syn(capable, h.message)
		h.n6SYN()
		h.recycle()
		h.ueISN, h.srvISN = h.isn+24, h.realISN
		h.down(h.fromN6(packet.RST|packet.ACK, -1, 1, nil, nil)) // of something else
		h.want()
		h.down(h.fromN6(packet.RST|packet.ACK, -1, 0, nil, nil))
		if r := h.refusal(capable, 24); r.Code != convert.ConnectionReset {
			t.Errorf("reply %+v, want Connection Reset", r)
		}

		h = newConverted(t)
		h.syn(capable, h.message)
		h.n6SYN()
		h.recycle()
		h.idle(connectLife - 100*millisecond)
		h.want()
		h.idle(200 * millisecond)
		if r := h.refusal(capable, 24); r.Code != convert.NetworkFailure {
			t.Errorf("reply %+v, want Network Failure", r)
		}
	}
	h := newConverted(t)
	h.syn(true, h.message)
	h.n6SYN()
	h.recycle()
	h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
	ack := h.out.ToUE[0]
	h.out.Reset()
	h.down(h.fromN6(packet.RST, 0, 0, nil, nil))
	h.want()
	h.out.ToUE = append(h.out.ToUE, ack)
	if r := h.refusal(true, 24); r.Code != convert.ConnectionReset {
		t.Errorf("reply %+v, want Connection Reset", r)
	}
}

// With cookies on, a request without one, or with another's, gets the cookie to show, which
// then is good.
func TestConvertCookies(t *testing.T) {
	h := newConverted(t)
	h.p.cfg.ConvertCookies = true
	h.syn(true, h.message)
	r := h.refusal(true, len(h.message))
	if r.Code != convert.MissingCookie || len(r.Cookie()) != cookieLen {
		t.Fatalf("reply %+v, want a cookie", r)
	}
	cookie := bytes.Clone(r.Cookie())
	with := func(cookie []byte) []byte {
		return message(func(b []byte) []byte {
			return convert.AppendCookie(convert.AppendConnect(b, (*[16]byte)(&h.server), 443, nil), cookie)
		})
	}
	wrong := bytes.Clone(cookie)
	wrong[0]++
	h.isn += 100000
	h.open(40001)
	h.syn(true, with(wrong))
	if r := h.refusal(true, len(h.message)+20); r.Code != convert.MissingCookie {
		t.Errorf("a wrong cookie: reply %+v", r)
	}
	h.isn += 100000
	h.open(40002)
	h.message = with(cookie)
	h.syn(true, h.message)
	h.n6SYN()
	h.recycle()
}

// Two connections from one port, of two of the UE's addresses, to one server: on N6 the
// second has another port. A connection of the UE's own that meets one of them does not
// pass.
func TestConvertPorts(t *testing.T) {
	h := newConverted(t)
	h.establish()
	first := h.port
	h.ue, h.isn = v4(10, 61, 3, 2), h.isn+5000
	h.open(40000)
	h.syn(true, h.message)
	if h.n6SYN(); h.port == first || first != 40000 {
		t.Errorf("ports on N6: %d and %d", first, h.port)
	}
	h.recycle()
	h.ue, h.srv = h.source, h.server
	buf := h.build(shape{src: &h.source, dst: &h.server, srcPort: first, dstPort: 443, sn: 1, flags: packet.SYN, window: 65535}, nil, nil)
	h.up(0, buf)
	h.want()
	if n := h.p.count.DropPortTaken; n != 1 {
		t.Errorf("drop_port_taken = %d, want 1", n)
	}
}

// What is not the protocol's gets no answer.
func TestConvertIgnored(t *testing.T) {
	h := newConverted(t)
	h.syn(true, []byte("GET / HTTP/1.1\r\n\r\n"))
	h.syn(true, []byte{1})
	h.want()
	if n := h.p.count.ConvertIgnored; n != 2 {
		t.Errorf("convert_ignored = %d, want 2", n)
	}
	h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1, nil))
	h.want()
	if n := h.p.count.DropConverter; n != 1 || h.p.Connections() != 0 {
		t.Errorf("drop_converter = %d, want 1; %d connections", n, h.p.Connections())
	}
	h.syn(true, []byte{1, 0, 0x22, 0x63}) // length 0
	h.want("ue0 RST ssn=0 ack=5")
}

// A UE that does not take the converter's message is given up if there is nothing else, and
// has all the time of a connection if there is a server.
func TestConvertDeadUE(t *testing.T) {
	for _, alone := range []bool{true, false} {
		for _, capable := range []bool{true, false} {
			h := newConverted(t)
			if alone {
				h.message = connectTo(v4(127, 0, 0, 1), 80)
			}
			h.syn(capable, h.message)
			if !alone {
				h.recycle()
				h.serverSYNACK(negotiation(h.tsServer, h.tsUE))
			}
			h.ueSYNACK(24, capable)
			if capable {
				h.third(nil)
			} else {
				h.up(0, h.fromUE(0, packet.ACK, 0, nil, 1, nil))
			}
			for range 600 {
				h.idle(1000 * millisecond)
				h.recycle()
			}
			if n := h.p.Connections(); n != map[bool]int{true: 0, false: 1}[alone] {
				t.Errorf("alone %v, MPTCP %v: %d connections after ten minutes", alone, capable, n)
			}
		}
	}
}
