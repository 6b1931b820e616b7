package gtpu

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-gtp/gtpv1/ie"
	"github.com/wmnsk/go-gtp/gtpv1/message"
)

// bytesOf decodes hex with spaces.
func bytesOf(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     Header
		reason   Reason
	}{
		{name: "plain G-PDU", in: "30ff0004 00000101 45000001", want: Header{TEID: 0x101, Payload: 8, End: 12, Type: GPDU}},
		{name: "empty G-PDU", in: "30ff0000 00000101", want: Header{TEID: 0x101, Payload: 8, End: 8, Type: GPDU}},
		{name: "trailing bytes are not the message's", in: "30ff0001 00000101 45 ffff", want: Header{TEID: 0x101, Payload: 8, End: 9, Type: GPDU}},
		{name: "sequence number", in: "32ff0005 00000101 12340000 45", want: Header{TEID: 0x101, Payload: 12, End: 13, Type: GPDU, HasSN: true, SN: 0x1234}},
		{
			// §5.1: without its own flag each field is to be passed over.
			name: "N-PDU number only", in: "31ff0005 00000101 12340785 45",
			want: Header{TEID: 0x101, Payload: 12, End: 13, Type: GPDU},
		},
		{
			name: "uplink container", in: "34ff0009 00000101 00000085 01100900 45",
			want: Header{TEID: 0x101, Payload: 16, End: 17, Type: GPDU, HasContainer: true, PDUType: ULPDUSessionInformation, QFI: 9},
		},
		{
			name: "uplink bit 7 is no RQI", in: "34ff0008 00000101 00000085 01104900",
			want: Header{TEID: 0x101, Payload: 16, End: 16, Type: GPDU, HasContainer: true, PDUType: ULPDUSessionInformation, QFI: 9},
		},
		{
			name: "downlink container with RQI and PPP", in: "34ff0008 00000101 00000085 0100ff00",
			want: Header{TEID: 0x101, Payload: 16, End: 16, Type: GPDU, HasContainer: true, QFI: 63, RQI: true},
		},
		{
			name: "long container with time stamps", in: "36ff0010 00000101 00070085 03180900 0102030405060700",
			want: Header{
				TEID: 0x101, Payload: 24, End: 24, Type: GPDU, HasSN: true, SN: 7,
				HasContainer: true, PDUType: ULPDUSessionInformation, QFI: 9,
			},
		},
		{
			name: "UDP port, then container", in: "34ff000c 00000101 00000040 01086885 01100500",
			want: Header{
				TEID: 0x101, Payload: 20, End: 20, Type: GPDU, HasUDPPort: true, UDPPort: 2152,
				HasContainer: true, PDUType: ULPDUSessionInformation, QFI: 5,
			},
		},
		{
			name: "unknown extension, need not be understood", in: "34ff000c 00000101 00000020 01010085 01100500",
			want: Header{TEID: 0x101, Payload: 20, End: 20, Type: GPDU, HasContainer: true, PDUType: ULPDUSessionInformation, QFI: 5, HasOther: true},
		},
		{
			name: "01: discarded by an intermediate node", in: "34ff0008 00000101 00000041 01010000",
			want: Header{TEID: 0x101, Payload: 16, End: 16, Type: GPDU},
		},
		{
			name: "10: to be understood by the endpoint", in: "34ff0008 00000101 00000084 01010000", reason: UnknownExtension,
			want: Header{TEID: 0x101, Payload: 16, End: 16, Type: GPDU, Unknown: 0x84, HasOther: true},
		},
		{
			name: "11: to be understood by all", in: "36ff0008 00000101 000900c1 01010000", reason: UnknownExtension,
			want: Header{TEID: 0x101, Payload: 16, End: 16, Type: GPDU, HasSN: true, SN: 9, Unknown: 0xc1, HasOther: true},
		},
		{
			name: "what all must understand is told of first", in: "34ff0014 00000101 000000c1 01010083 01010085 01100500 45000000", reason: UnknownExtension,
			want: Header{
				TEID: 0x101, Payload: 24, End: 28, Type: GPDU, Unknown: 0xc1, HasOther: true,
				HasContainer: true, PDUType: ULPDUSessionInformation, QFI: 5,
			},
		},
		{
			name: "and if it comes later", in: "34ff0010 00000101 00000083 010100c1 01010000 45000000", reason: UnknownExtension,
			want: Header{TEID: 0x101, Payload: 20, End: 24, Type: GPDU, Unknown: 0xc1, HasOther: true},
		},
		{
			name: "PDCP PDU number of forwarded data", in: "34ff000c 00000101 00000085 010009c0 01123400",
			want: Header{TEID: 0x101, Payload: 20, End: 20, Type: GPDU, HasContainer: true, QFI: 9, HasOther: true},
		},
		{
			name: "long PDCP PDU number, old type", in: "34ff000c 00000101 00000082 0201234500000000",
			want: Header{TEID: 0x101, Payload: 20, End: 20, Type: GPDU, HasOther: true},
		},
		{
			name: "long PDCP PDU number", in: "34ff000c 00000101 00000003 0201234500000000",
			want: Header{TEID: 0x101, Payload: 20, End: 20, Type: GPDU, HasOther: true},
		},
		{
			name: "sequence and N-PDU number of a G-PDU", in: "37ff0009 00000101 ffff0785 01100900 45",
			want: Header{
				TEID: 0x101, Payload: 16, End: 17, Type: GPDU, HasSN: true, SN: 0xffff,
				HasContainer: true, PDUType: ULPDUSessionInformation, QFI: 9,
			},
		},
		{name: "End Marker", in: "30fe0000 00000201", want: Header{TEID: 0x201, Payload: 8, End: 8, Type: EndMarker}},
		{name: "Echo Request", in: "32010004 00000000 00050000", want: Header{Payload: 12, End: 12, Type: EchoRequest, HasSN: true, SN: 5}},
		{
			name: "Echo Request with a private extension", in: "3201000b 00000000 00050000 ff000412340102",
			want: Header{Payload: 12, End: 19, Type: EchoRequest, HasSN: true, SN: 5},
		},
		{
			name: "Echo Response", in: "32020006 00000000 00050000 0e7f",
			want: Header{Payload: 12, End: 14, Type: EchoResponse, HasSN: true, SN: 5},
		},
		{
			name: "Tunnel Status", in: "32fd000c 00000101 00070000 e60001 01 ff000101",
			want: Header{TEID: 0x101, Payload: 12, End: 20, Type: 253, HasSN: true, SN: 7},
		},
		{
			name: "End Marker with a container", in: "34fe0008 00000201 00000085 01000900",
			want: Header{TEID: 0x201, Payload: 16, End: 16, Type: EndMarker, HasContainer: true, QFI: 9},
		},

		{name: "nothing", in: "", reason: TooShort},
		{name: "seven bytes", in: "30ff0000 000001", reason: TooShort},
		{name: "version 2", in: "50ff0000 00000101", reason: BadVersion},
		{name: "GTP'", in: "20ff0000 00000101", reason: NotGTP},
		{name: "length past the end", in: "30ff0002 00000101 45", reason: BadLength},
		{name: "length inside the optional part", in: "32ff0003 00000101 00010000", reason: BadLength},
		{name: "extension length 0", in: "34ff0008 00000101 00000085 00100900", reason: BadExtension},
		{name: "extension past the message", in: "34ff0008 00000101 00000085 02100900 00000000", reason: BadExtension},
		{name: "extension announced, not there", in: "34ff0004 00000101 00000085", reason: BadExtension},
		{name: "second extension not there", in: "34ff0008 00000101 00000020 01000085", reason: BadExtension},
		{name: "PDU type 2", in: "34ff0008 00000101 00000085 01200900", reason: BadContainer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var h Header
			if r := Parse(bytesOf(t, tc.in), &h); r != tc.reason {
				t.Fatalf("reason = %v, want %v", r, tc.reason)
			}
			if tc.reason != OK && tc.reason != UnknownExtension {
				return
			}
			if d := cmp.Diff(tc.want, h); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPutGPDU(t *testing.T) {
	for _, tc := range []struct {
		name string
		qfi  uint8
		rqi  bool
		want string
	}{
		{"bare", 0, false, "30ff0578 00000201"},
		{"container", 9, false, "34ff0580 00000201 00000085 01000900"},
		{"container with RQI", 9, true, "34ff0580 00000201 00000085 01004900"},
		{"highest QFI", 63, true, "34ff0580 00000201 00000085 01007f00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := bytes.Repeat([]byte{0xee}, GPDUHeaderLen(tc.qfi)+2)
			PutGPDU(b, 0x201, 1400, tc.qfi, tc.rqi)
			if got, want := b, append(bytesOf(t, tc.want), 0xee, 0xee); !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
		})
	}
}

func TestPutUplinkGPDU(t *testing.T) {
	for qfi, want := range map[uint8]string{
		0:  "30ff0578 00000201",
		9:  "34ff0580 00000201 00000085 01100900",
		63: "34ff0580 00000201 00000085 01103f00",
	} {
		b := bytes.Repeat([]byte{0xee}, GPDUHeaderLen(qfi)+2)
		PutUplinkGPDU(b, 0x201, 1400, qfi)
		if want := append(bytesOf(t, want), 0xee, 0xee); !bytes.Equal(b, want) {
			t.Errorf("QFI %d: %x, want %x", qfi, b, want)
		}
	}
}

// TestPutGPDUOracle has the other codec read what PutGPDU writes.
func TestPutGPDUOracle(t *testing.T) {
	for qfi := range uint8(64) {
		for _, rqi := range []bool{false, true} {
			n := GPDUHeaderLen(qfi)
			b := append(make([]byte, n), 0x45, 1, 2, 3)
			PutGPDU(b, 0xdeadbeef, 4, qfi, rqi)
			h, err := message.ParseHeader(b)
			if err != nil {
				t.Fatalf("QFI %d: %v", qfi, err)
			}
			if h.TEID != 0xdeadbeef || MessageType(h.Type) != GPDU || !bytes.Equal(h.Payload, b[n:]) {
				t.Fatalf("QFI %d: oracle reads %v", qfi, h)
			}
			if qfi == 0 {
				continue
			}
			want := []byte{0, qfi}
			if rqi {
				want[1] |= 0x40
			}
			if e := h.ExtensionHeaders; len(e) != 1 || ExtensionType(e[0].Type) != PDUSessionContainer || !bytes.Equal(e[0].Content, want) {
				t.Fatalf("QFI %d: oracle's extension headers %v", qfi, e)
			}
		}
	}
}

// TestMessagesOracle compares the control messages with the other codec's, and
// with the bytes of the specification's figures.
func TestMessagesOracle(t *testing.T) {
	marshal := func(m message.Message) []byte {
		t.Helper()
		b, err := message.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	peer4, peer6 := netip.MustParseAddr("10.100.1.1"), netip.MustParseAddr("2001:db8::1")
	prefix := []byte("kept")
	for _, tc := range []struct {
		name      string
		got, want []byte
		bytes     string
	}{
		{
			"echo request", AppendEchoRequest(prefix, 0x1234), marshal(message.NewEchoRequest(0x1234)),
			"32010004 00000000 12340000",
		},
		{
			"echo response", AppendEchoResponse(prefix, 0x1234), marshal(message.NewEchoResponse(0x1234, ie.NewRecovery(0))),
			"32020006 00000000 12340000 0e00",
		},
		{
			"error indication", AppendErrorIndication(prefix, ErrorInd{TEID: 0x101, Peer: peer4}),
			marshal(message.NewErrorIndication(0, 0, ie.NewTEIDDataI(0x101), ie.NewGSNAddress("10.100.1.1"))),
			"321a0010 00000000 00000000 1000000101 8500040a640101",
		},
		{
			"error indication, IPv6", AppendErrorIndication(prefix, ErrorInd{TEID: 0x101, Peer: peer6}),
			marshal(message.NewErrorIndication(0, 0, ie.NewTEIDDataI(0x101), ie.NewGSNAddress("2001:db8::1"))),
			"321a001c 00000000 00000000 1000000101 85001020010db8000000000000000000000001",
		},
		{
			"error indication with port", AppendErrorIndication(prefix, ErrorInd{TEID: 0x101, Peer: peer4, SrcPort: 40000}), nil,
			"361a0014 00000000 00000040 019c4000 1000000101 8500040a640101",
		},
		{
			"supported extension headers", AppendSupportedExtensions(prefix, 7), nil,
			"321f000a 00000000 00070000 8d04408285c0",
		},
		{
			"end marker", AppendEndMarker(prefix, 0xdeadbeef), nil,
			"30fe0000 deadbeef",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !bytes.HasPrefix(tc.got, prefix) {
				t.Fatalf("what was in the slice is gone: %x", tc.got)
			}
			got := tc.got[len(prefix):]
			if want := bytesOf(t, tc.bytes); !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
			if tc.want != nil && !bytes.Equal(got, tc.want) {
				t.Errorf("got %x, oracle %x", got, tc.want)
			}
			var h Header
			if r := Parse(got, &h); r != OK {
				t.Errorf("own message refused: %v", r)
			}
		})
	}
}

func TestParseErrorIndication(t *testing.T) {
	peer4, peer6 := netip.MustParseAddr("10.100.1.2"), netip.MustParseAddr("2001:db8::2")
	for _, tc := range []struct {
		name, in string
		want     ErrorInd
		reason   Reason
	}{
		{name: "IPv4", in: "321a0010 00000000 00000000 1000000101 8500040a640102", want: ErrorInd{TEID: 0x101, Peer: peer4}},
		{
			name: "IPv6", in: "321a001c 00000000 00000000 1000000101 85001020010db8000000000000000000000002",
			want: ErrorInd{TEID: 0x101, Peer: peer6},
		},
		{
			name: "with port", in: "361a0014 00000000 00000040 019c4000 1000000101 8500040a640102",
			want: ErrorInd{TEID: 0x101, Peer: peer4, SrcPort: 40000},
		},
		{
			name: "other elements passed over", in: "301a0018 00000000 0e00 8d024085 1000000101 8500040a640102 ff0003000101",
			want: ErrorInd{TEID: 0x101, Peer: peer4},
		},
		{name: "no TEID", in: "301a0007 00000000 8500040a640102", reason: BadElement},
		{name: "no peer", in: "301a0005 00000000 1000000101", reason: BadElement},
		{name: "cut TEID", in: "301a0004 00000000 10000001", reason: BadElement},
		{name: "cut peer", in: "301a000b 00000000 1000000101 8500040a6401", reason: BadElement},
		{name: "cut length", in: "301a0007 00000000 1000000101 8500", reason: BadElement},
		{name: "cut list", in: "301a0006 00000000 1000000101 8d", reason: BadElement},
		{name: "peer of 5 bytes", in: "301a000d 00000000 1000000101 8500050a64010203", reason: BadElement},
		{name: "element of unknown length", in: "301a0001 00000000 7f", reason: BadElement},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := bytesOf(t, tc.in)
			var h Header
			if r := Parse(b, &h); r != OK {
				t.Fatalf("header: %v", r)
			}
			var e ErrorInd
			if r := ParseErrorIndication(b, &h, &e); r != tc.reason {
				t.Fatalf("reason = %v, want %v", r, tc.reason)
			}
			if tc.reason == OK && e != tc.want {
				t.Errorf("got %+v, want %+v", e, tc.want)
			}
		})
	}
}

func TestReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for r := OK; r < NumReasons; r++ {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("reason %d has the name %q", r, r.String())
		}
		seen[r.String()] = true
	}
}

var gpdu = []byte{0x34, 0xff, 0, 9, 0, 0, 1, 1, 0, 0, 0, 0x85, 1, 0x10, 9, 0, 0x45}

func TestAllocs(t *testing.T) {
	var h Header
	var e ErrorInd
	b := make([]byte, 0, 64)
	ei := AppendErrorIndication(nil, ErrorInd{TEID: 1, Peer: netip.MustParseAddr("10.0.0.1")})
	var x Extensions
	relayed := bytesOf(t, "34ff000c 00000101 00000085 010009c0 01123400")
	for name, f := range map[string]func(){
		"Extensions": func() {
			Parse(relayed, &h)
			x.Take(relayed, &h)
			x.PutGPDU(b[:20], 1, 1400, h.PDUType, h.QFI, h.RQI)
		},
		"AppendEndMarker":      func() { AppendEndMarker(b, 1) },
		"PutUplinkGPDU":        func() { PutUplinkGPDU(b[:16], 1, 1400, 9) },
		"Parse":                func() { Parse(gpdu, &h) },
		"Parse, refused":       func() { Parse(gpdu[:12], &h) },
		"PutGPDU":              func() { PutGPDU(b[:16], 1, 1400, 9, false) },
		"AppendEchoResponse":   func() { AppendEchoResponse(b, 1) },
		"ParseErrorIndication": func() { Parse(ei, &h); ParseErrorIndication(ei, &h, &e) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	var h Header
	for b.Loop() {
		if Parse(gpdu, &h) != OK {
			b.Fatal("refused")
		}
	}
}

func BenchmarkPutGPDU(b *testing.B) {
	b.ReportAllocs()
	var buf [16]byte
	for b.Loop() {
		PutGPDU(buf[:], 0x101, 1400, 9, false)
	}
}
