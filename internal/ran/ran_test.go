package ran

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/wmnsk/go-gtp/gtpv1/message"
)

// The header as TS 29.281 §5.1 and TS 38.415 §5.5.2.2 draw it, byte by byte.
func TestUplinkHeaderBytes(t *testing.T) {
	var b [UplinkHeader]byte
	for i := range b {
		b[i] = 0xee // what was there before must not shine through
	}
	PutUplinkHeader(&b, 0x01020304, 9, 1400)
	const want = "34ff" + "0580" + "01020304" + "000000" + "85" + "01100900"
	if got := hex.EncodeToString(b[:]); got != want {
		t.Errorf("header is %s, want %s", got, want)
	}
}

func TestUplinkHeaderAgainstGoGTP(t *testing.T) {
	payload := bytes.Repeat([]byte{0x45, 1, 2, 3}, 25)
	b := make([]byte, UplinkHeader, UplinkHeader+len(payload))
	PutUplinkHeader((*[UplinkHeader]byte)(b), 0xdeadbeef, 63, len(payload))
	b = append(b, payload...)
	m, err := message.ParseTPDU(b)
	if err != nil {
		t.Fatal(err)
	}
	if m.TEID() != 0xdeadbeef || !bytes.Equal(m.Payload, payload) {
		t.Errorf("TEID %#x, payload of %d bytes", m.TEID(), len(m.Payload))
	}
	if len(m.ExtensionHeaders) != 1 || m.ExtensionHeaders[0].Type != message.ExtHeaderTypePDUSessionContainer ||
		!bytes.Equal(m.ExtensionHeaders[0].Content, []byte{0x10, 63}) {
		t.Errorf("extension headers %+v", m.ExtensionHeaders)
	}
	var own Message
	if err := Parse(b, &own); err != nil {
		t.Fatal(err)
	}
	want := Message{Type: GPDU, TEID: 0xdeadbeef, HasPDU: true, PDUType: ulPDUSessionInfo, QFI: 63, At: 16, End: len(b)}
	if own != want {
		t.Errorf("parsed %+v, want %+v", own, want)
	}
}

func TestParseDownlinkOfGoGTP(t *testing.T) {
	payload := []byte("an IP packet")
	container := message.NewExtensionHeader(message.ExtHeaderTypePDUSessionContainer, []byte{0x00, 5}, message.ExtHeaderTypeNoMoreExtensionHeaders)
	pdcp := message.NewExtensionHeader(message.ExtHeaderTypePDCPPDUNumber, []byte{1, 2}, message.ExtHeaderTypePDUSessionContainer)
	plain := message.NewTPDU(0x101, payload)
	for name, m := range map[string]*message.TPDU{
		"no extension": plain,
		"one":          message.NewTPDUWithExtentionHeader(0x101, payload, container),
		"two":          message.NewTPDUWithExtentionHeader(0x101, payload, pdcp, container),
	} {
		b, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var got Message
		if err := Parse(b, &got); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Type != GPDU || got.TEID != 0x101 || !bytes.Equal(b[got.At:got.End], payload) {
			t.Errorf("%s: %+v, payload %q", name, got, b[got.At:got.End])
		}
		if name != "no extension" && (!got.HasPDU || got.PDUType != 0 || got.QFI != 5) {
			t.Errorf("%s: container read as %+v", name, got)
		}
	}
}

func TestEchoResponseAgainstGoGTP(t *testing.T) {
	m, err := message.ParseEchoResponse(NewEchoResponse(0x1234))
	if err != nil {
		t.Fatal(err)
	}
	if m.Sequence() != 0x1234 || m.TEID() != 0 || m.Recovery == nil {
		t.Errorf("sequence %#x, TEID %d, recovery %v", m.Sequence(), m.TEID(), m.Recovery)
	}
}

func TestParseGTPUErrors(t *testing.T) {
	for name, c := range map[string]struct {
		hex  string
		want error
	}{
		"empty":                     {"", errShort},
		"seven octets":              {"30ff000000000", errShort},
		"version 2":                 {"50ff000000000101", errVersion},
		"GTP prime":                 {"20ff000000000101", errVersion},
		"length beyond datagram":    {"30ff000500000101ffffffff", errLength},
		"flags without their octet": {"34ff00000000010100000085", errShort},
		"extension of length 0":     {"34ff0008000001010000008500090000", errExtension},
		"extension beyond message":  {"34ff0008000001010000008502090000", errExtension},
		"extension missing":         {"34ff00040000010100000085", errExtension},
		"chain runs out":            {"34ff0008000001010000008501000585", errExtension},
	} {
		b, err := hex.DecodeString(c.hex[:len(c.hex)/2*2])
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := Parse(b, &m); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
	}
}

func FuzzParseGTPU(f *testing.F) {
	for _, s := range []string{
		"30ff00040000010145000000",
		"34ff000c00000101000000850100090045000000",
		"36ff000c00000101abcd00c00101028501000900",
		"3201000400000000123400000000",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message
		if Parse(b, &m) != nil {
			return
		}
		if m.At < 8 || m.At > m.End || m.End > len(b) {
			t.Fatalf("payload at [%d, %d) of %d bytes", m.At, m.End, len(b))
		}
		if n, ok := IPLength(b[m.At:m.End]); ok && n > m.End-m.At {
			t.Fatalf("IP packet of %d bytes in %d", n, m.End-m.At)
		}
	})
}
