package gtpu

import (
	"bytes"
	"strings"
	"testing"
)

// TestExtensions has G-PDUs go from one tunnel into another.
func TestExtensions(t *testing.T) {
	for _, tc := range []struct {
		name, in, want string // want: the header for TEID 0x201 and a T-PDU of 4 bytes
		fits           bool
	}{
		{"none", "30ff0004 00000101", "30ff0004 00000201", true},
		{"container alone", "34ff000c 00000101 00000085 01004900", "34ff000c 00000201 00000085 01004900", true},
		{"uplink container alone", "34ff000c 00000101 00000085 01100900", "34ff000c 00000201 00000085 01100900", true},
		{
			"PDCP PDU number, container", "34ff0010 00000101 000000c0 01123485 01004900",
			"34ff0010 00000201 00000085 010049c0 01123400", true,
		},
		{"PDCP PDU number, SN", "36ff000c 00000101 123400c0 01123400", "34ff000c 00000201 000000c0 01123400", true},
		{
			"long PDCP PDU number, service class", "34ff0014 00000101 00000082 0201234500000020 01010000",
			"34ff0014 00000201 00000082 0201234500000020 01010000", true,
		},
		{
			"container between", "34ff0014 00000101 00000020 01010085 011009c0 01123400",
			"34ff0014 00000201 00000085 01100920 010100c0 01123400", true,
		},
		{"01 and UDP port are taken out", "34ff0010 00000101 00000041 01010040 01086800", "30ff0004 00000201", true},
		{
			"01 between", "34ff0014 00000101 00000020 01010041 010200c0 01123400",
			"34ff0010 00000201 00000020 010100c0 01123400", true,
		},
		{"NR RAN container", "34ff000c 00000101 00000084 01010000", "34ff000c 00000201 00000084 01010000", true},
		{
			"the most bytes", "34ff0044 00000101 00000020 0f" + strings.Repeat("ab", 58) + "00",
			"34ff0044 00000201 00000020 0f" + strings.Repeat("ab", 58) + "00", true,
		},
		{"one more", "34ff0048 00000101 00000020 0f" + strings.Repeat("ab", 58) + "20 01010000", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := append(bytesOf(t, tc.in), 0x45, 1, 2, 3)
			var h Header
			if r := Parse(b, &h); r != OK && r != UnknownExtension || h.Payload != len(b)-4 || h.End != len(b) {
				t.Fatalf("%v: %+v", r, h)
			}
			x := Extensions{n: 8, first: 0x20} // of the message before
			if ok := x.Take(b, &h); ok != tc.fits || !ok {
				if ok != tc.fits {
					t.Errorf("fits: %v", ok)
				}
				return
			}
			n := x.GPDUHeaderLen(h.QFI)
			got := bytes.Repeat([]byte{0xee}, n+1)
			x.PutGPDU(got, 0x201, 4, h.PDUType, h.QFI, h.RQI)
			if want := append(bytesOf(t, tc.want), 0xee); !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
		})
	}
}

func TestComprehension(t *testing.T) {
	for typ, want := range map[ExtensionType][3]bool{ // refused by an endpoint, by an intermediate node; handed on
		0x03: {false, false, true},
		0x20: {false, false, true},
		0x40: {false, false, false},
		0x41: {false, false, false},
		0x81: {true, false, true},
		0x83: {true, false, true},
		0x84: {true, false, true},
		0xc1: {true, true, true},
	} {
		if got := [3]bool{typ.mustComprehend(), typ.MustComprehendToRelay(), typ.handedOn()}; got != want {
			t.Errorf("type %#x: %v, want %v", typ, got, want)
		}
	}
}

func BenchmarkExtensions(b *testing.B) {
	p := bytesOf(b, "34ff000c 00000101 00000085 010009c0 01123400")
	var h Header
	Parse(p, &h)
	var x Extensions
	var out [20]byte
	b.ReportAllocs()
	for b.Loop() {
		x.Take(p, &h)
		x.PutGPDU(out[:], 0x101, 1400, h.PDUType, h.QFI, h.RQI)
	}
}
