package mptcp

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

func TestDerive(t *testing.T) {
	for _, e := range []end{
		endA1, endB1, endA2, endB2, endA3, endB3,
		{0, 0xaf5570f5, 0xe5b2328de0e83dfc}, // degenerate keys, computed only
		{1, 0xcd266215, 0x19ec509083d00a50},
		{2, 0xcd04a475, 0x886540e5dce77f70},
	} {
		token, idsn := e.key.Derive()
		if token != e.token || idsn != e.idsn {
			t.Errorf("key %016x: token %08x, IDSN %016x; want %08x, %016x", e.key, token, idsn, e.token, e.idsn)
		}
	}
}

// TestJoinHMAC computes both HMACs of each captured join. The third ACK carries the
// whole of A's, the SYN/ACK the first 8 bytes of B's.
func TestJoinHMAC(t *testing.T) {
	for _, tc := range []struct {
		name           string
		a, b           end
		nonceA, nonceB uint32
		macA, macB     string
	}{
		{
			"connection 1", endA1, endB1, 0xfc14f237, 0xf666f3ec,
			"a55318a437354c21e70326adb0f963e7c21e6d6c", "d1dfa51bb6ad2a50e51c388a8346d33dec8545af",
		},
		{
			"connection 2", endA2, endB2, 0x24a7c900, 0x0984dabe,
			"d5447576a61e41643653914dd42f0b006c7e99c0", "081724f89fe96581",
		},
		{
			"connection 3", endA3, endB3, 0x279ba197, 0xa37cbf20,
			"e6f12afba77b28ae590fbb72b804cdbe4d087ef3", "22d51f4ddcfec25a",
		},
	} {
		got := JoinHMAC(tc.a.key, tc.b.key, tc.nonceA, tc.nonceB)
		if s := hex.EncodeToString(got[:]); s != tc.macA {
			t.Errorf("%s: HMAC-A %s, want %s", tc.name, s, tc.macA)
		}
		got = JoinHMAC(tc.b.key, tc.a.key, tc.nonceB, tc.nonceA)
		if s := hex.EncodeToString(got[:len(tc.macB)/2]); s != tc.macB {
			t.Errorf("%s: HMAC-B %s, want %s", tc.name, s, tc.macB)
		}
	}
}

// addAddrs are the captured announcements, all sent by B; hmac is their last field.
var addAddrs = []struct {
	name     string
	from, to end
	id       uint8
	addr     string
	port     uint16
	option   string
	echo     string
}{
	{"IPv4", endB1, endA1, 7, "10.2.0.2", 0, "1e103007 0a020002 f0b6adfc8f7a5911", "1e083107 0a020002"},
	{"IPv4 with port", endB2, endA2, 7, "10.2.0.2", 5999, "1e123007 0a020002 176f b1ea6eb58d9718db", "1e0a3107 0a020002 176f"},
	{
		"IPv6", endB3, endA3, 3, "fd00:2::2", 0,
		"1e1c3003 fd000002000000000000000000000002 6ee2e5de42c5f4f0", "1e143103 fd000002000000000000000000000002",
	},
}

// TestAddAddr writes each captured ADD_ADDR from what it says, HMAC included, and
// answers it as the peer did.
func TestAddAddr(t *testing.T) {
	for _, tc := range addAddrs {
		addr := netip.MustParseAddr(tc.addr).AsSlice()
		mac := AddAddrHMAC(tc.from.key, tc.to.key, tc.id, addr, tc.port)
		want := bytesOf(t, tc.option)
		if got := AppendAddAddr(nil, tc.id, addr, tc.port, &mac); string(got) != string(want) {
			t.Errorf("%s: %x, want %x", tc.name, got, want)
		}
		if got, want := AppendAddAddrEcho(nil, want), bytesOf(t, tc.echo); string(got) != string(want) {
			t.Errorf("%s: echo %x, want %x", tc.name, got, want)
		}
	}
}

// sum16 is the folded ones-complement sum of b, padded with a zero byte.
func sum16(b string) uint16 {
	s := uint32(0)
	for i := range len(b) {
		s += uint32(b[i]) << (8 * (1 - i%2))
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func TestDSSChecksum(t *testing.T) {
	for _, tc := range []struct {
		name    string
		dsn     DSN
		ssn     SSN
		dataLen uint16
		payload string
		want    uint16
	}{
		{"uplink", 8744427951839308791, 1, 5, "hello", 0x7a90},
		{"downlink", 5721014298446312103, 1, 5, "hello", 0x2417},
		{"DATA_FIN uplink", 8744427951839313796, 0, 1, "", 0xaada},
		{"DATA_FIN downlink", 5721014298446317108, 0, 1, "", 0x5461},
		{"nothing", 0, 0, 0, "", 0xffff},
		{"carries to the end", ^DSN(0), ^SSN(0), 0xffff, "\xff\xff", 0},
	} {
		if got := DSSChecksum(tc.dsn, tc.ssn, tc.dataLen, sum16(tc.payload)); got != tc.want {
			t.Errorf("%s: %04x, want %04x", tc.name, got, tc.want)
		}
	}
}

func BenchmarkDerive(b *testing.B) {
	var token uint32
	for i := range b.N {
		token, _ = Key(i).Derive()
	}
	_ = token
}

func BenchmarkJoinHMAC(b *testing.B) {
	b.ReportAllocs()
	for i := range b.N {
		JoinHMAC(endA1.key, endB1.key, uint32(i), 1)
	}
}
