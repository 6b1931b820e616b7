package mptcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// appendAll appends every option of o, in the order of subtypes. An MP_CAPABLE of
// another version is left out, since this package does not write it.
func appendAll(b []byte, o *Options) []byte {
	if o.Present&Capable != 0 && o.CapableVersion == Version {
		switch o.CapableLen {
		case 4:
			b = AppendCapableSYN(b, o.CapableFlags)
		case 12:
			b = AppendCapableSYNACK(b, o.CapableFlags, o.SenderKey)
		case 20:
			b = AppendCapableACK(b, o.CapableFlags, o.SenderKey, o.ReceiverKey)
		case 22:
			b = AppendCapableData(b, o.CapableFlags, o.SenderKey, o.ReceiverKey, o.CapableDataLen, nil)
		case 24:
			b = AppendCapableData(b, o.CapableFlags, o.SenderKey, o.ReceiverKey, o.CapableDataLen, &o.CapableCsum)
		}
	}
	if o.Present&Join != 0 {
		switch o.JoinLen {
		case 12:
			b = AppendJoinSYN(b, o.JoinBackup, o.JoinID, o.JoinToken, o.JoinNonce)
		case 16:
			b = AppendJoinSYNACK(b, o.JoinBackup, o.JoinID, &o.JoinHMAC, o.JoinNonce)
		case 24:
			b = AppendJoinACK(b, &o.JoinHMAC)
		}
	}
	if o.Present&DSS != 0 {
		b = AppendDSS(b, o)
	}
	if o.Present&AddAddr != 0 {
		b = appendAddAddr(b, o)
	}
	if o.Present&RemoveAddr != 0 {
		b = AppendRemoveAddr(b, o.RemovedIDs[:o.RemovedCount]...)
	}
	if o.Present&Prio != 0 {
		b = AppendPrio(b, o.PrioBackup)
	}
	if o.Present&Fail != 0 {
		b = AppendFail(b, o.FailDSN)
	}
	if o.Present&FastClose != 0 {
		b = AppendFastClose(b, o.FastCloseKey)
	}
	if o.Present&TCPRST != 0 {
		b = AppendTCPRST(b, o.ResetReason)
	}
	return b
}

// appendAddAddr appends o's ADD_ADDR; an echo by answering what it is the echo of.
func appendAddAddr(b []byte, o *Options) []byte {
	if o.AddAddrEcho {
		return AppendAddAddrEcho(b, slices.Concat(o.AddAddrRaw, make([]byte, 8)))
	}
	addr, port, mac := addAddrFields(o)
	return AppendAddAddr(b, o.AddAddrRaw[3], addr, port, (*[8]byte)(mac))
}

// addAddrFields takes o's ADD_ADDR apart; mac is empty in an echo.
func addAddrFields(o *Options) (addr []byte, port uint16, mac []byte) {
	addr = o.AddAddrRaw[4:]
	if !o.AddAddrEcho {
		addr, mac = addr[:len(addr)-8], addr[len(addr)-8:]
	}
	if n := len(addr); n%4 != 0 {
		addr, port = addr[:n-2], binary.BigEndian.Uint16(addr[n-2:])
	}
	return addr, port, mac
}

func TestCaptures(t *testing.T) {
	for _, c := range captures {
		t.Run(c.name, func(t *testing.T) {
			block := c.block(t)
			var o Options
			if !Parse(block, &o) {
				t.Fatalf("%x: refused", block)
			}
			if d := cmp.Diff(c.want, o); d != "" {
				t.Fatalf("%x: (-want +got)\n%s", block, d)
			}
			if o.CapableLen != 0 && o.CapableVersion != Version {
				return // not ours to write
			}
			others := bytesOf(t, c.others)
			got := Pad(appendAll(others, &o), len(others))
			if !bytes.Equal(got, block) {
				t.Fatalf("appended %x, want %x", got, block)
			}
		})
	}
}

// TestCutOptions cuts every capture at every byte of its MPTCP options: the TCP
// options are malformed then, unless the cut falls between two, and an option that
// is not all there is not reported.
func TestCutOptions(t *testing.T) {
	for _, c := range captures {
		from, whole := len(bytesOf(t, c.others)), bytesOf(t, c.others+c.option)
		ends := map[int]Set{from: 0} // where options end, and what is present by then
		present := Set(0)
		for at := from; at < len(whole); {
			present |= 1 << (whole[at+2] >> 4)
			at += int(whole[at+1])
			ends[at] = present
		}
		present = 0
		for cut := from; cut <= len(whole); cut++ {
			var o Options
			ok := Parse(slices.Clip(whole[:cut]), &o)
			set, between := ends[cut]
			if between {
				present = set
			}
			if ok != between || o.Present != present {
				t.Errorf("%s cut to %d of %d bytes: ok %v, present %b; want %v, %b", c.name, cut, len(whole), ok, o.Present, between, present)
			}
		}
	}
}

func TestMalformedTCPOptions(t *testing.T) {
	const dss = "1e082001 00000001"
	for _, tc := range []struct {
		name, in string
		ok       bool
		present  Set
	}{
		{"nothing", "", true, 0},
		{"only NOPs", "01010101", true, 0},
		{"end of list hides what follows", "00" + dss, true, 0},
		{"NOPs around", "0101" + dss + "0101", true, DSS},
		{"kind without length", dss + "1e", false, DSS},
		{"other kind without length", dss + "08", false, DSS},
		{"length 0", dss + "1e00", false, DSS},
		{"length 1", dss + "0801", false, DSS},
		{"length beyond the end", dss + "080a0000", false, DSS},
		{"kind 30 without subtype", "1e02" + dss, true, DSS},
		{"fault in front", "0300" + dss, false, 0},
		{"unknown kind", "fd04aaaa" + dss, true, DSS},
		{"length 255", "1eff" + dss, false, 0},
	} {
		o := Options{Present: ^Set(0)} // what an earlier segment left
		if ok := Parse(bytesOf(t, tc.in), &o); ok != tc.ok || o.Present != tc.present {
			t.Errorf("%s: ok %v, present %b; want %v, %b", tc.name, ok, o.Present, tc.ok, tc.present)
		}
	}
}

// head is the third and fourth byte of an MPTCP option, and the lengths it may have.
type head struct {
	name         string
	third, flags byte
	lengths      []int
}

// heads are every form of every subtype (RFC 8684 §3; §3.3 for those of the DSS).
func heads() []head {
	hs := []head{
		{"MP_CAPABLE", 0x01, 0x01, []int{4, 12, 20, 22, 24}},
		{"MP_CAPABLE of version 0", 0x00, 0x01, []int{4, 12}},
		{"MP_CAPABLE of version 2", 0x02, 0x01, []int{4, 12}},
		{"MP_JOIN", 0x10, 5, []int{12, 16, 24}},
		{"MP_JOIN, backup", 0x11, 5, []int{12, 16, 24}},
		{"ADD_ADDR", 0x30, 7, []int{16, 18, 28, 30}},
		{"ADD_ADDR, echo", 0x31, 7, []int{8, 10, 20, 22}},
		{"REMOVE_ADDR", 0x40, 7, []int{4, 5, 6, 7, 8, 9, 10, 11}},
		{"MP_PRIO", 0x51, 0, []int{3}},
		{"MP_FAIL", 0x60, 0, []int{12}},
		{"MP_FASTCLOSE", 0x70, 0, []int{12}},
		{"MP_TCPRST", 0x80, 3, []int{4}},
	}
	for subtype := 9; subtype < 16; subtype++ {
		hs = append(hs, head{fmt.Sprintf("subtype %d", subtype), byte(subtype << 4), 0, nil})
	}
	dss := []head{ // without and with a checksum
		{"no field", 0x20, 0x00, []int{4}},
		{"ack32", 0x20, 0x01, []int{8}},
		{"ack64", 0x20, 0x03, []int{12}},
		{"map32", 0x20, 0x04, []int{14, 16}},
		{"map64", 0x20, 0x0c, []int{18, 20}},
		{"ack32 map32", 0x20, 0x05, []int{18, 20}},
		{"ack64 map32", 0x20, 0x07, []int{22, 24}},
		{"ack32 map64", 0x20, 0x0d, []int{22, 24}},
		{"ack64 map64", 0x20, 0x0f, []int{26, 28}},
	}
	for _, h := range dss {
		fin, reserved := h, h
		fin.name, fin.flags = fin.name+" DATA_FIN", fin.flags|dssDataFIN
		reserved.name, reserved.flags = reserved.name+", reserved bits", reserved.flags|0xe0
		hs = append(hs, h, fin, reserved)
	}
	return hs
}

// TestLengths gives every form of every subtype every length that fits: only the
// right ones are taken, and the option behind is read in any case.
func TestLengths(t *testing.T) {
	const behindRST, behindPrio = "1e048002", "1e0351"
	for _, h := range heads() {
		subtype, behind, behindSet := Set(1)<<(h.third>>4), behindRST, TCPRST
		if subtype == TCPRST {
			behind, behindSet = behindPrio, Prio
		}
		for n := 3; n <= maxOptionBytes; n++ {
			option := []byte{Kind, byte(n), h.third}
			if n > 3 {
				option = append(option, h.flags)
			}
			option = append(option, bytes.Repeat([]byte{0xa5}, n-len(option))...)
			want, ignored := behindSet, uint8(1)
			if slices.Contains(h.lengths, n) {
				want |= subtype
				ignored = 0
			}
			var o Options
			if ok := Parse(append(option, bytesOf(t, behind)...), &o); !ok || o.Present != want || o.Ignored != ignored {
				t.Errorf("%s of length %d: ok %v, present %b, %d ignored, want %b, %d", h.name, n, ok, o.Present, o.Ignored, want, ignored)
			}
		}
	}
}

// TestDuplicates puts two options of each subtype side by side: the first counts.
// An option of wrong length in front of a good one does not.
func TestDuplicates(t *testing.T) {
	for _, tc := range []struct{ name, first, second string }{
		{"MP_CAPABLE", "1e0c0101 5d5fc8fdbf61db2b", "1e140101 ffffffffffffffff eeeeeeeeeeeeeeee"},
		{"MP_JOIN", "1e0c1005 c40fcd29 fc14f237", "1e181100 ffffffffffffffffffffffffffffffffffffffff"},
		{"DSS", "1e082001 00000001", "1e1c201f ffffffffffffffff eeeeeeeeeeeeeeee 00000001 0005 2417"},
		{"ADD_ADDR", "1e103007 0a020002 f0b6adfc8f7a5911", "1e0a3108 0a020003 0001"},
		{"REMOVE_ADDR", "1e044007", "1e0740 05060708"},
		{"MP_PRIO", "1e0350", "1e0351"},
		{"MP_FAIL", "1e0c6000 0000000000000001", "1e0c6000 0000000000000002"},
		{"MP_FASTCLOSE", "1e0c7000 0000000000000001", "1e0c7000 0000000000000002"},
		{"MP_TCPRST", "1e048001", "1e048002"},
	} {
		first, second := bytesOf(t, tc.first), bytesOf(t, tc.second)
		var alone, both Options
		if !Parse(first, &alone) || alone.Present == 0 {
			t.Fatalf("%s: %x alone is not read", tc.name, first)
		}
		if !Parse(slices.Concat(first, second), &both) {
			t.Fatalf("%s: two of them are refused", tc.name)
		}
		alone.Ignored++
		if d := cmp.Diff(alone, both); d != "" {
			t.Errorf("%s: the second counts (-first alone +both)\n%s", tc.name, d)
		}
		wrong := bytes.Repeat([]byte{0xff}, 36)
		wrong[0], wrong[1], wrong[2] = Kind, byte(len(wrong)), second[2]
		if !Parse(slices.Concat(wrong, first), &both) || meaning(&both) != meaning(&alone) {
			t.Errorf("%s: one of wrong length in front: %+v, want %+v", tc.name, meaning(&both), meaning(&alone))
		}
	}
}

// TestIgnoredBits: bits that are reserved, or that mean nothing without another, do
// not change what is read.
func TestIgnoredBits(t *testing.T) {
	for _, tc := range []struct{ name, with, without string }{
		{"DATA_FIN without a mapping", "1e082011 62c79113", "1e082001 62c79113"},
		{"reserved flags of a DSS", "1e0820e1 62c79113", "1e082001 62c79113"},
		{"reserved nibble of a DSS", "1e082f01 62c79113", "1e082001 62c79113"},
		{"reserved bits of an MP_JOIN", "1e0c1e05 c40fcd29 fc14f237", "1e0c1005 c40fcd29 fc14f237"},
		{"reserved byte of an MP_JOIN", "1e1810ff a55318a437354c21e70326adb0f963e7c21e6d6c", "1e181000 a55318a437354c21e70326adb0f963e7c21e6d6c"},
		{"reserved bits of an MP_PRIO", "1e035e", "1e0350"},
		{"reserved bits of an MP_FAIL", "1e0c6fff 0000000000000001", "1e0c6000 0000000000000001"},
		{"T of an MP_TCPRST", "1e048103", "1e048003"},
	} {
		var with, without Options
		if !Parse(bytesOf(t, tc.without), &without) || without.Present == 0 {
			t.Fatalf("%s: %s is not read", tc.name, tc.without)
		}
		Parse(bytesOf(t, tc.with), &with)
		if d := cmp.Diff(without, with); d != "" {
			t.Errorf("%s: (-without +with)\n%s", tc.name, d)
		}
	}
}

func TestPad(t *testing.T) {
	for n, want := range []string{"", "\x1e\x01\x01\x01", "\x1e\x1e\x01\x01", "\x1e\x1e\x1e\x01", "\x1e\x1e\x1e\x1e"} {
		b := append([]byte("xyz"), bytes.Repeat([]byte{Kind}, n)...)
		if got := Pad(b, 3); string(got) != "xyz"+want {
			t.Errorf("%d bytes: %x, want %x", n, got[3:], want)
		}
	}
}

// TestNoAllocation: what runs per packet does not allocate.
func TestNoAllocation(t *testing.T) {
	var blocks [][]byte
	for _, c := range captures {
		blocks = append(blocks, c.block(t))
	}
	var o Options
	out := make([]byte, 0, 2*maxOptionBytes)
	for i, b := range blocks {
		if n := testing.AllocsPerRun(100, func() { Parse(b, &o) }); n != 0 {
			t.Errorf("%s: Parse allocates %v times", captures[i].name, n)
		}
		if o.Present != DSS {
			continue
		}
		if n := testing.AllocsPerRun(100, func() { out = Pad(AppendDSS(out[:0], &o), 0) }); n != 0 {
			t.Errorf("%s: AppendDSS allocates %v times", captures[i].name, n)
		}
	}
	var sum uint16
	if n := testing.AllocsPerRun(100, func() { sum = DSSChecksum(endA1.idsn, 1, 5, sum) }); n != 0 {
		t.Errorf("DSSChecksum allocates %v times", n)
	}
}

// benchmarked are the options seen most: data with timestamps, and pure ACKs.
var benchmarked = []struct{ name, block string }{
	{"downlink ack32 map32", ackB1 + "1e122005 62c79118 b792aa28 00000001 0578 0101"},
	{"uplink ack32 map64", ackA1 + "1e16200d b792aa28 f4457a1862c79113 00000001 0005 0101"},
	{"uplink ack64 map64", ackA1 + "1e1a200f 7d809368b792aa2d f4457a1862c79118 00000006 1388 0101"},
	{"ack32", ackA1 + "1e082001 b792aa28"},
	{"no MPTCP", ackA1},
}

func BenchmarkParse(b *testing.B) {
	for _, bm := range benchmarked {
		b.Run(bm.name, func(b *testing.B) {
			block := bytesOf(b, bm.block)
			var o Options
			b.ReportAllocs()
			for b.Loop() {
				Parse(block, &o)
			}
		})
	}
}

func BenchmarkAppendDSS(b *testing.B) {
	o := Options{HasDataAck: true, DataAck: 0x62c79118, HasMapping: true, DSN: 0xb792aa28, SSN: 1, DataLen: 1400}
	out := make([]byte, 0, maxOptionBytes)
	b.ReportAllocs()
	for b.Loop() {
		out = Pad(AppendDSS(out[:0], &o), 0)
	}
}
