package pmf

import (
	"bytes"
	"encoding/hex"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/braid-upf/braid/atsss/steer"
)

// golden are messages and their octets. What the octets are is unconfirmed, see values.go:
// the test is there so that they do not change by accident.
var golden = []struct {
	name   string
	m      Message
	octets string
}{
	{"echo request", Message{Type: EchoRequest, EPTI: 0x8123, RI: 7}, "01 8123 07"},
	{"echo response", Message{Type: EchoResponse, EPTI: 0x8123, RI: 255}, "02 8123 ff"},
	{"3GPP available", Message{Type: AccessReport, EPTI: 5, Access: steer.Access3GPP, Available: true}, "03 0005 05"},
	{"3GPP unavailable", Message{Type: AccessReport, EPTI: 5, Access: steer.Access3GPP}, "03 0005 01"},
	{"non-3GPP available", Message{Type: AccessReport, EPTI: 5, Access: steer.AccessNon3GPP, Available: true}, "03 0005 06"},
	{"non-3GPP unavailable", Message{Type: AccessReport, EPTI: 5, Access: steer.AccessNon3GPP}, "03 0005 02"},
	{"acknowledgement", Message{Type: Acknowledgement, EPTI: 0x7fff}, "04 7fff"},
	{"count request", Message{Type: PLRCountRequest, EPTI: 0x8000}, "05 8000"},
	{"count response", Message{Type: PLRCountResponse, EPTI: 0x8000}, "06 8000"},
	{"report request", Message{Type: PLRReportRequest, EPTI: 0x8001}, "07 8001 00"},
	{"report request, restart", Message{Type: PLRReportRequest, EPTI: 0x8001, Restart: true}, "07 8001 01"},
	{"report response", Message{Type: PLRReportResponse, EPTI: 0x8001, Count: 0x01020304}, "08 8001 00 01020304"},
	{"report response, restarted", Message{Type: PLRReportResponse, EPTI: 0x8001, Restart: true, Count: 9}, "08 8001 01 00000009"},
	{"all uplink on 3GPP", Message{Type: UADProvisioning, EPTI: 1, Percent: 100}, "09 0001 01"},
	{"half of it", Message{Type: UADProvisioning, EPTI: 1, Percent: 50}, "09 0001 06"},
	{"none of it", Message{Type: UADProvisioning, EPTI: 1}, "09 0001 0b"},
	{"provisioning complete", Message{Type: UADProvisioningComplete, EPTI: 1}, "0a 0001"},
}

func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	seen := map[Type]bool{}
	for _, tc := range golden {
		b := octets(t, tc.octets)
		if got := tc.m.Append(nil); !bytes.Equal(got, b) {
			t.Errorf("%s: %x, want %x", tc.name, got, b)
		}
		// Information elements of a later release are passed over.
		for _, tail := range [][]byte{nil, {0x7f, 2, 0, 0}} {
			var got Message
			if r := Parse(append(bytes.Clone(b), tail...), &got); r != OK || got != tc.m {
				t.Errorf("%s with %d octets behind: %v, %+v, want %+v", tc.name, len(tail), r, got, tc.m)
			}
		}
		for n := range b {
			var got Message
			if r := Parse(b[:n], &got); r != TooShort {
				t.Errorf("%s cut to %d octets: %v", tc.name, n, r)
			}
		}
		if len(b) > MaxMessage {
			t.Errorf("%s: %d octets, more than MaxMessage", tc.name, len(b))
		}
		seen[tc.m.Type] = true
	}
	for typ := range 256 {
		if _, known := Type(typ).len(); known != seen[Type(typ)] {
			t.Errorf("type %d: known %v, in the table %v", typ, known, seen[Type(typ)])
		}
	}
}

func TestRefused(t *testing.T) {
	for s, want := range map[string]Reason{
		"":           TooShort,
		"01":         TooShort,
		"00 0000":    UnknownType,
		"0b 0000 00": UnknownType,
		"ff ffff":    UnknownType,
		"03 0005 00": BadValue, // no access
		"03 0005 07": BadValue, // both
		"09 0001 00": BadValue,
		"09 0001 0c": BadValue,
		"09 0001 ff": BadValue,
		"03 0005 f6": OK, // spare bits do not count
		"07 8001 fe": OK,
	} {
		var m Message
		if r := Parse(octets(t, s), &m); r != want {
			t.Errorf("%q: %v, want %v", s, r, want)
		}
	}
}

// TestPercentIsRounded: the octet has steps of ten.
func TestPercentIsRounded(t *testing.T) {
	for in, want := range map[uint8]uint8{0: 0, 4: 0, 5: 10, 14: 10, 95: 100, 100: 100, 255: 100} {
		var m Message
		in := Message{Type: UADProvisioning, Percent: in}
		if r := Parse(in.Append(nil), &m); r != OK || m.Percent != want {
			t.Errorf("%d%%: %v, %d%%, want %d%%", in.Percent, r, m.Percent, want)
		}
	}
}

func TestReasonsHaveNames(t *testing.T) {
	names := map[string]Reason{}
	for r := range NumReasons {
		if o, twice := names[r.String()]; twice || r.String() == "" {
			t.Errorf("reason %d is called %q as %d is", r, r, o)
		}
		names[r.String()] = r
	}
}

// TestValues: every number in values.go says where it is from. It lists those that nothing
// confirms.
func TestValues(t *testing.T) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "values.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var unconfirmed []string
	n := 0
	for _, decl := range file.Decls {
		g, ok := decl.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			n++
			said := strings.TrimSpace(v.Comment.Text())
			switch {
			case strings.HasPrefix(said, "unconfirmed"):
				unconfirmed = append(unconfirmed, v.Names[0].Name)
			case !strings.HasPrefix(said, "confirmed: "):
				t.Errorf("%s: %q says no source", v.Names[0].Name, said)
			}
		}
	}
	if n == 0 {
		t.Fatal("no constants found")
	}
	t.Logf("unconfirmed are %d of %d: %s", len(unconfirmed), n, strings.Join(unconfirmed, ", "))
}

func TestCodecDoesNotAllocate(t *testing.T) {
	in := make([][]byte, len(golden))
	for i, tc := range golden {
		in[i] = octets(t, tc.octets)
	}
	var m Message
	var room [MaxMessage]byte
	if n := testing.AllocsPerRun(100, func() {
		for _, b := range in {
			if Parse(b, &m) != OK || len(m.Append(room[:0])) != len(b) {
				t.Fatal("message refused")
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, tc := range golden {
		f.Add(octets(f, tc.octets))
	}
	f.Add([]byte{})
	f.Add([]byte{3, 0, 1, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var m Message
		r := Parse(b, &m)
		if !bytes.Equal(b, before) {
			t.Fatal("Parse changed its input")
		}
		if r != OK {
			return
		}
		out := m.Append(nil)
		if len(out) > len(b) || len(out) > MaxMessage {
			t.Fatalf("%x became %x", b, out)
		}
		var again Message
		if r := Parse(out, &again); r != OK || again != m {
			t.Fatalf("%x: %+v, written %x: %v, %+v", b, m, out, r, again)
		}
	})
}
