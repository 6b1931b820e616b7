package convert

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// bytesOf reads hexadecimal digits, spaces between them.
func bytesOf(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// server is 10.9.0.9 in the form of a Connect.
var server = netip.MustParseAddr("10.9.0.9").As16()

const (
	header6   = "01062263"
	connect   = "0a051b58 00000000000000000000ffff 0a090009"
	connectV6 = "0a051b58 20010db8000000000000000000000009"
)

// The messages that clients send, byte for byte.
func TestRequests(t *testing.T) {
	v6 := netip.MustParseAddr("2001:db8::9").As16()
	for _, tc := range []struct {
		name, wire string
		build      func(b []byte) []byte
		want       Request
	}{
		{
			"as libconvert sends", header6 + connect,
			func(b []byte) []byte { return AppendConnect(b, &server, 7000, nil) },
			Request{Len: 24, Connect: true, Port: 7000, Addr: server},
		},
		{
			"IPv6 server", header6 + connectV6,
			func(b []byte) []byte { return AppendConnect(b, &v6, 7000, nil) },
			Request{Len: 24, Connect: true, Port: 7000, Addr: v6},
		},
		{
			"Info", "01022263 01010000",
			AppendInfo,
			Request{Len: 8, Info: true},
		},
		{
			"options and a cookie", "010a2263 0a071b58 00000000000000000000ffff 0a090009 0402 0802 1e02 0000 16020000 c00c1e00",
			func(b []byte) []byte {
				return AppendCookie(AppendConnect(b, &server, 7000, []byte{4, 2, 8, 2, 30, 2}), []byte{0xc0, 0x0c, 0x1e})
			},
			Request{
				Len: 40, Connect: true, Port: 7000, Addr: server, Extended: true, Options: []byte{4, 2, 8, 2, 30, 2, 0, 0},
				HasCookie: true, Cookie: []byte{0xc0, 0x0c, 0x1e, 0},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wire := bytesOf(t, tc.wire)
			b := tc.build(Start([]byte{9, 9, 9}))
			Finish(b, 3)
			if !bytes.Equal(b[3:], wire) {
				t.Errorf("built % x, want % x", b[3:], wire)
			}
			var r Request
			if v := Parse(append(wire, "GET /"...), &r); v != Asked {
				t.Fatalf("verdict %d, want Asked", v)
			}
			if !equal(&r, &tc.want) {
				t.Errorf("parsed %+v, want %+v", r, tc.want)
			}
		})
	}
}

func equal(a, b *Request) bool {
	same := func(x, y []byte) bool { return bytes.Equal(x, y) }
	return a.Len == b.Len && a.Info == b.Info && a.Connect == b.Connect && a.Port == b.Port && a.Addr == b.Addr &&
		same(a.Options, b.Options) && a.Extended == b.Extended && a.HasCookie == b.HasCookie && same(a.Cookie, b.Cookie) &&
		a.Code == b.Code && same(a.Value, b.Value)
}

// Each message that RFC 8803 has a converter refuse, with the error that answers it.
func TestRefused(t *testing.T) {
	with := func(addr string) string {
		a := netip.MustParseAddr(addr).As16()
		return header6 + "0a050050" + hex.EncodeToString(a[:])
	}
	for _, tc := range []struct {
		name, wire string
		verdict    Verdict
		code       Code
	}{
		{"nothing", "", Absent, 0},
		{"three octets", "010622", Absent, 0},
		{"HTTP", hex.EncodeToString([]byte("GET / HTTP/1.1\r\n\r\n")), Absent, 0},
		{"another magic number", "01062264" + connect, Absent, 0},
		{"length 0", "01002263" + connect, Reset, 0},
		{"version 0", "00062263" + connect, Refused, UnsupportedVersion},
		{"version 2", "02062263" + connect, Refused, UnsupportedVersion},
		{"version 2 of length 0", "02002263", Refused, UnsupportedVersion},
		{"message that asks for nothing", "01012263", Refused, Malformed},
		{"cookie alone", "01032263 16020000 c00c1e00", Refused, Malformed},
		{"message longer than the segment", "01072263" + connect, Refused, Malformed},
		{"longest length", "01ff2263" + connect, Refused, Malformed},
		{"TLV of length 0", "01022263 01000000", Refused, Malformed},
		{"TLV longer than the message", "01022263 01020000", Refused, Malformed},
		{"message that ends within a Connect", "01052263" + connect, Refused, Malformed},
		{"Info with a value", "01032263 01020000 00000000", Refused, Malformed},
		{"Connect of four words", "01052263 0a041b58 00000000000000000000ffff", Refused, Malformed},
		{"Info twice", "01032263 01010000 01010000", Refused, Malformed},
		{"Connect twice", "010b2263" + connect + connect, Refused, Malformed},
		{"Cookie twice", "01082263" + connect + "16010000 16010000", Refused, Malformed},
		{"type 0", "01072263" + connect + "00010000", Refused, UnsupportedMessage},
		{"type 2", "01072263" + connect + "02010000", Refused, UnsupportedMessage},
		{"type 255 twice", "01032263 ff010000 ff010000", Refused, UnsupportedMessage},
		{"a converter's TLV", "01072263" + connect + "14010000", Refused, UnsupportedMessage},
		{"a converter's error", "01072263" + connect + "1e010000", Refused, UnsupportedMessage},
		{"option without a length", "01072263 0a061b58 00000000000000000000ffff 0a090009 01010108", Refused, Malformed},
		{"option of length 1", "01072263 0a061b58 00000000000000000000ffff 0a090009 08010000", Refused, Malformed},
		{"option beyond the end", "01072263 0a061b58 00000000000000000000ffff 0a090009 08050000", Refused, Malformed},
		{"port 0", header6 + "0a050000 00000000000000000000ffff 0a090009", Refused, Malformed},
		{"0.0.0.0", with("::ffff:0.0.0.0"), Refused, Malformed},
		{"loopback", with("::ffff:127.0.0.1"), Refused, Malformed},
		{"loopback net", with("::ffff:127.9.9.9"), Refused, Malformed},
		{"multicast", with("::ffff:224.0.0.1"), Refused, Malformed},
		{"highest multicast", with("::ffff:239.255.255.255"), Refused, Malformed},
		{"broadcast", with("::ffff:255.255.255.255"), Refused, Malformed},
		{"link-local", with("::ffff:169.254.0.1"), Refused, Malformed},
		{"IPv6 unspecified", with("::"), Refused, Malformed},
		{"IPv6 loopback", with("::1"), Refused, Malformed},
		{"IPv6 multicast", with("ff02::1"), Refused, Malformed},
		{"IPv6 link-local", with("fe80::1"), Refused, Malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wire := bytesOf(t, tc.wire)
			var r Request
			if v := Parse(wire, &r); v != tc.verdict || v == Refused && r.Code != tc.code {
				t.Fatalf("verdict %d, code %d; want %d, %d", v, r.Code, tc.verdict, tc.code)
			}
			if tc.verdict != Refused {
				return
			}
			want := wire[:min(len(wire), 4*int(wire[1]))] // the message is echoed
			if tc.code == UnsupportedVersion {
				want = []byte{1}
			}
			if !bytes.Equal(r.Value, want) {
				t.Errorf("value % x, want % x", r.Value, want)
			}
		})
	}
	for _, addr := range []string{"::ffff:223.255.255.255", "::ffff:126.0.0.1", "::ffff:1.0.0.1", "::2", "2001:db8::1", "fec0::1", "fd00::1"} {
		var r Request
		if v := Parse(bytesOf(t, with(addr)), &r); v != Asked {
			t.Errorf("%s is refused", addr)
		}
	}
}

// A message that is cut, or whose length or a length in which is changed, is never taken
// for one that asks for something else.
func TestHostileLengths(t *testing.T) {
	whole := bytesOf(t, "010b2263 01010000 0a061b58 00000000000000000000ffff 0a090009 04020802 16020000 c00c1e00")
	Finish(whole, 0)
	var want, r Request
	if Parse(whole, &want) != Asked {
		t.Fatal("the message is not taken")
	}
	for n := range len(whole) {
		if v := Parse(whole[:n:n], &r); v == Asked {
			t.Errorf("cut to %d bytes it is taken", n)
		}
	}
	lengths := []int{1, 5, 9, 33} // of the message, Info, Connect, Cookie
	for _, at := range lengths {
		for v := range 256 {
			b := bytes.Clone(whole)
			b[at] = byte(v)
			if Parse(b, &r) == Asked && v != int(whole[at]) && r.Connect && equal(&r, &want) {
				t.Errorf("with %d for the length at %d the message means the same", v, at)
			}
		}
	}
}

// The messages that a converter sends, byte for byte.
func TestReplies(t *testing.T) {
	for _, tc := range []struct {
		name, wire string
		build      func(b []byte) []byte
		want       Reply
	}{
		{"success", "01012263", func(b []byte) []byte { return b }, Reply{}},
		{
			"options of the server", "01052263 14040000 020405b4 0402 0303 07000000",
			func(b []byte) []byte { return AppendExtended(b, []byte{2, 4, 5, 0xb4, 4, 2, 3, 3, 7}) },
			Reply{HasExtended: true, Extended: []byte{2, 4, 5, 0xb4, 4, 2, 3, 3, 7, 0, 0, 0}},
		},
		{
			"answer to Info", "01032263 15020000 081e2200",
			func(b []byte) []byte { return AppendSupported(b, []byte{8, 30, 34}) },
			Reply{HasSupported: true, Supported: []byte{8, 30, 34, 0}},
		},
		{
			"server refuses", "01022263 1e016000",
			func(b []byte) []byte { return AppendError(b, ConnectionReset, nil) },
			Reply{HasError: true, Code: ConnectionReset, Value: []byte{0}},
		},
		{
			"host unreachable", "01022263 1e016101",
			func(b []byte) []byte { return AppendError(b, DestinationUnreachable, []byte{1}) },
			Reply{HasError: true, Code: DestinationUnreachable, Value: []byte{1}},
		},
		{
			"missing cookie", "01042263 1e030300 0102030405060708",
			func(b []byte) []byte { return AppendError(b, MissingCookie, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8}) },
			Reply{HasError: true, Code: MissingCookie, Value: []byte{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wire := bytesOf(t, tc.wire)
			b := tc.build(Start(nil))
			Finish(b, 0)
			if !bytes.Equal(b, wire) {
				t.Errorf("built % x, want % x", b, wire)
			}
			var r Reply
			if n, ok := ReplyLen(wire[:HeaderLen]); !ok || n != len(wire) || !ParseReply(wire, &r) {
				t.Fatal("not parsed")
			}
			if r.HasExtended != tc.want.HasExtended || r.HasSupported != tc.want.HasSupported || r.HasError != tc.want.HasError ||
				r.Code != tc.want.Code || !bytes.Equal(r.Extended, tc.want.Extended) ||
				!bytes.Equal(r.Supported, tc.want.Supported) || !bytes.Equal(r.Value, tc.want.Value) {
				t.Errorf("parsed %+v, want %+v", r, tc.want)
			}
			if r.HasError && r.Code == MissingCookie && !bytes.Equal(r.Cookie(), r.Value[1:]) {
				t.Errorf("cookie % x", r.Cookie())
			}
		})
	}
	for _, wire := range []string{"", "010122", "00012263", "01002263", "01012264", "01022263", "01022263 1e020000", "01022263 01010000", "01032263 1e016000 1e016000", "01022263 14000000"} {
		var r Reply
		if ParseReply(bytesOf(t, wire), &r) {
			t.Errorf("%q is taken", wire)
		}
	}
}

// An error's value is cut to what a message has room for.
func TestLongestError(t *testing.T) {
	b := AppendError(Start(nil), Malformed, make([]byte, 5000))
	Finish(b, 0)
	var r Reply
	if len(b) != MaxLen || !ParseReply(b, &r) || len(r.Value) != maxValue {
		t.Fatalf("%d bytes with a value of %d, want %d and %d", len(b), len(r.Value), MaxLen, maxValue)
	}
}

func TestNoAllocation(t *testing.T) {
	request := bytesOf(t, "010a2263 0a071b58 00000000000000000000ffff 0a090009 0402 0802 1e02 0000 16020000 c00c1e00")
	var r Request
	buf := make([]byte, 0, MaxLen)
	if n := testing.AllocsPerRun(100, func() {
		Parse(request, &r)
		b := AppendError(AppendExtended(Start(buf), r.Options), NotAuthorized, nil)
		Finish(b, 0)
	}); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}

// FuzzParse: whatever comes, nothing panics; what is taken means the same when it is
// written anew; and a refusal can be sent.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", header6 + connect, header6 + connectV6, "01022263 01010000", "01002263", "02062263" + connect,
		"010a2263 0a071b58 00000000000000000000ffff 0a090009 0402 0802 1e02 0000 16020000 c00c1e00",
		"010b2263" + connect + connect, "01022263 1e016000", "01052263 14040000 020405b4 0402 0303 07000000", "01032263 15020000 081e2200",
	} {
		f.Add(bytesOf(f, s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		var r, again Request
		switch Parse(in, &r) {
		case Asked:
			b := Start(nil)
			if r.Info {
				b = AppendInfo(b)
			}
			if r.Connect {
				b = AppendConnect(b, &r.Addr, r.Port, r.Options)
			}
			if r.HasCookie {
				b = AppendCookie(b, r.Cookie)
			}
			Finish(b, 0)
			if Parse(b, &again) != Asked || !equal(&r, &again) {
				t.Errorf("% x: %+v became %+v", in, r, again)
			}
		case Refused:
			b := AppendError(Start(nil), r.Code, r.Value)
			Finish(b, 0)
			var reply Reply
			if len(b) > MaxLen || !ParseReply(b, &reply) || reply.Code != r.Code {
				t.Errorf("% x: the error % x cannot be read", in, b)
			}
		case Absent, Reset: // nothing is answered in the stream
		}
		var reply Reply
		if ParseReply(in, &reply) && len(in) != 4*int(binary.BigEndian.Uint32(in)>>16&0xff) {
			t.Errorf("% x: a reply of another length than it says", in)
		}
		if !bytes.Equal(in, before) {
			t.Error("the input was written to")
		}
	})
}
