package mptcp

import (
	"encoding/hex"
	"strings"
	"testing"
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

// mac is the hex string s, at most 20 bytes, left-aligned as in Options.JoinHMAC.
func mac(s string) (out [20]byte) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) > len(out) {
		panic("test data: " + s)
	}
	copy(out[:], b)
	return out
}

// end is what one end of a captured connection has of its own.
type end struct {
	key   Key
	token uint32
	idsn  DSN
}

// Three connections captured from Linux 6.18: A opened them. The second has
// checksums, the third is IPv6.
var (
	endA1 = end{0xfa79cae66dcd5586, 0xd13a7bbd, 0xf4457a1862c79112}
	endB1 = end{0x5d5fc8fdbf61db2b, 0xc40fcd29, 0x7d809368b792aa27}
	endA2 = end{0x35b93400bc7ffee1, 0x569835c8, 0x795a72e46960ebf6}
	endB2 = end{0x894f915eda1fe947, 0x42c0227f, 0x4f65203175d2b2a6}
	endA3 = end{0x0cf526d1b7fa1bb1, 0x5aeea249, 0x4b3a2c5e978b16fe}
	endB3 = end{0x7a7b60b960e1d5c2, 0x35300b2f, 0x791f884df12c7b75}
)

// The other options of the captured segments, by what carries them.
const (
	synA1    = "020405b4 0402080a6b074c4b00000000 0103030a"
	synackB1 = "020405b4 0402080a3d15cf746b074c4b 0103030a"
	ackA1    = "0101080a6b074c4b3d15cf74"
	ackB1    = "0101080a3d15cf746b074c4b"
)

// capture is the options of one captured segment.
type capture struct {
	name   string
	others string // hex: the TCP options in front
	option string // hex: the MPTCP options
	nops   string // hex: the padding behind
	want   Options
}

// captures are segments that Linux 6.18 sent, and at the end some that it accepts.
var captures = []capture{
	{
		name: "SYN", others: synA1, option: "1e040101",
		want: Options{Present: Capable, CapableVersion: 1, CapableFlags: FlagHMACSHA256, CapableLen: 4},
	},
	{
		name: "SYN/ACK", others: synackB1, option: "1e0c0101 5d5fc8fdbf61db2b",
		want: Options{Present: Capable, CapableVersion: 1, CapableFlags: FlagHMACSHA256, CapableLen: 12, SenderKey: endB1.key},
	},
	{
		name: "SYN/ACK that denies joins", others: synackB1, option: "1e0c0121 259fd6c2c9f14a4c",
		want: Options{
			Present: Capable, CapableVersion: 1, CapableFlags: FlagHMACSHA256 | FlagDenyJoin, CapableLen: 12,
			SenderKey: 0x259fd6c2c9f14a4c,
		},
	},
	{
		name: "third ACK", others: ackA1, option: "1e140101 fa79cae66dcd5586 5d5fc8fdbf61db2b",
		want: Options{
			Present: Capable, CapableVersion: 1, CapableFlags: FlagHMACSHA256, CapableLen: 20,
			SenderKey: endA1.key, ReceiverKey: endB1.key,
		},
	},
	{
		name: "MP_CAPABLE with data", others: ackA1, option: "1e160101 fb6def46e58006f4 a5618a47b274a5ec 1770", nops: "0101",
		want: Options{
			Present: Capable, CapableVersion: 1, CapableFlags: FlagHMACSHA256, CapableLen: 22,
			SenderKey: 0xfb6def46e58006f4, ReceiverKey: 0xa5618a47b274a5ec, CapableDataLen: 6000,
		},
	},
	{
		name: "ADD_ADDR", others: ackB1, option: "1e103007 0a020002 f0b6adfc8f7a5911",
		want: Options{Present: AddAddr, AddAddrRaw: []byte("\x1e\x10\x30\x07\x0a\x02\x00\x02\xf0\xb6\xad\xfc\x8f\x7a\x59\x11")},
	},
	{
		name: "ADD_ADDR echo", others: ackA1, option: "1e083107 0a020002",
		want: Options{Present: AddAddr, AddAddrEcho: true, AddAddrRaw: []byte("\x1e\x08\x31\x07\x0a\x02\x00\x02")},
	},
	{
		name: "ADD_ADDR with port", option: "1e123007 0a020002 176f b1ea6eb58d9718db", nops: "0101",
		want: Options{Present: AddAddr, AddAddrRaw: []byte("\x1e\x12\x30\x07\x0a\x02\x00\x02\x17\x6f\xb1\xea\x6e\xb5\x8d\x97\x18\xdb")},
	},
	{
		name: "ADD_ADDR with port, echo", option: "1e0a3107 0a020002 176f", nops: "0101",
		want: Options{Present: AddAddr, AddAddrEcho: true, AddAddrRaw: []byte("\x1e\x0a\x31\x07\x0a\x02\x00\x02\x17\x6f")},
	},
	{
		name: "ADD_ADDR IPv6", option: "1e1c3003 fd000002000000000000000000000002 6ee2e5de42c5f4f0",
		want: Options{Present: AddAddr, AddAddrRaw: []byte("\x1e\x1c\x30\x03\xfd\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x6e\xe2\xe5\xde\x42\xc5\xf4\xf0")},
	},
	{
		name: "ADD_ADDR IPv6 echo", option: "1e143103 fd000002000000000000000000000002",
		want: Options{Present: AddAddr, AddAddrEcho: true, AddAddrRaw: []byte("\x1e\x14\x31\x03\xfd\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02")},
	},
	{
		name: "join SYN", others: "020405b4 0402080a58e52a4600000000 0103030a", option: "1e0c1005 c40fcd29 fc14f237",
		want: Options{Present: Join, JoinLen: 12, JoinID: 5, JoinToken: endB1.token, JoinNonce: 0xfc14f237},
	},
	{
		name: "join SYN, backup", others: synA1, option: "1e0c1105 42c0227f 24a7c900",
		want: Options{Present: Join, JoinLen: 12, JoinBackup: true, JoinID: 5, JoinToken: endB2.token, JoinNonce: 0x24a7c900},
	},
	{
		name: "join SYN/ACK", others: "020405b4 0402080aa618f19b58e52a46 0103030a", option: "1e101000 d1dfa51bb6ad2a50 f666f3ec",
		want: Options{Present: Join, JoinLen: 16, JoinHMAC: mac("d1dfa51bb6ad2a50"), JoinNonce: 0xf666f3ec},
	},
	{
		name: "join third ACK", others: "0101080a58e52a46a618f19b", option: "1e181000 a55318a437354c21e70326adb0f963e7c21e6d6c",
		want: Options{Present: Join, JoinLen: 24, JoinHMAC: mac("a55318a437354c21e70326adb0f963e7c21e6d6c")},
	},
	{
		name: "join fourth ACK", others: "0101080aa618f19b58e52a46", option: "1e082001 62c79113",
		want: Options{Present: DSS, HasDataAck: true, DataAck: 0x62c79113},
	},
	{
		name: "5 bytes uplink", others: "0101080a6b074c4c3d15cf74", option: "1e16200d b792aa28 f4457a1862c79113 00000001 0005", nops: "0101",
		want: Options{
			Present: DSS, HasDataAck: true, DataAck: 0xb792aa28,
			HasMapping: true, DSN64: true, DSN: uint64(endA1.idsn) + 1, SSN: 1, DataLen: 5,
		},
	},
	{
		name: "ACK", others: "0101080a3d15cf756b074c4c", option: "1e0c2003 f4457a1862c79118",
		want: Options{Present: DSS, HasDataAck: true, DataAck64: true, DataAck: uint64(endA1.idsn) + 6},
	},
	{
		name: "5 bytes downlink", others: "0101080a3d15cf756b074c4c", option: "1e1a200f f4457a1862c79118 7d809368b792aa28 00000001 0005", nops: "0101",
		want: Options{
			Present: DSS, HasDataAck: true, DataAck64: true, DataAck: uint64(endA1.idsn) + 6,
			HasMapping: true, DSN64: true, DSN: uint64(endB1.idsn) + 1, SSN: 1, DataLen: 5,
		},
	},
	{
		name: "5000 bytes in 4 segments", others: ackA1, option: "1e1a200f 7d809368b792aa2d f4457a1862c79118 00000006 1388", nops: "0101",
		want: Options{
			Present: DSS, HasDataAck: true, DataAck64: true, DataAck: uint64(endB1.idsn) + 6,
			HasMapping: true, DSN64: true, DSN: uint64(endA1.idsn) + 6, SSN: 6, DataLen: 5000,
		},
	},
	{
		name: "DATA_FIN", others: "0101080a6b074ea43d15d1cd", option: "1e1a201f 7d809368b792bdb5 f4457a1862c7a4a0 00000000 0001", nops: "0101",
		want: Options{
			Present: DSS, HasDataAck: true, DataAck64: true, DataAck: 0x7d809368b792bdb5,
			HasMapping: true, DSN64: true, DataFIN: true, DSN: 0xf4457a1862c7a4a0, SSN: 0, DataLen: 1,
		},
	},
	{
		name: "5 bytes uplink, checksum", others: ackA1, option: "1e18200d 75d2b2a7 795a72e46960ebf7 00000001 0005 7a90",
		want: Options{
			Present: DSS, HasDataAck: true, DataAck: 0x75d2b2a7,
			HasMapping: true, DSN64: true, DSN: uint64(endA2.idsn) + 1, SSN: 1, DataLen: 5, HasCsum: true, Csum: 0x7a90,
		},
	},
	{
		name: "5 bytes downlink, checksum", others: ackB1, option: "1e1c200f 795a72e46960ebfc 4f65203175d2b2a7 00000001 0005 2417",
		want: Options{
			Present: DSS, HasDataAck: true, DataAck64: true, DataAck: uint64(endA2.idsn) + 6,
			HasMapping: true, DSN64: true, DSN: uint64(endB2.idsn) + 1, SSN: 1, DataLen: 5, HasCsum: true, Csum: 0x2417,
		},
	},
	{
		name: "MP_PRIO", option: "1e0350", nops: "01",
		want: Options{Present: Prio},
	},
	{
		name: "REMOVE_ADDR", option: "1e044007",
		want: Options{Present: RemoveAddr, RemovedCount: 1, RemovedIDs: [8]uint8{7}},
	},
	{
		name: "abort", option: "1e0c7000 a6e03c309be981b4 1e048000",
		want: Options{Present: FastClose | TCPRST, FastCloseKey: 0xa6e03c309be981b4},
	},
	{
		name: "join refused", option: "1e048003",
		want: Options{Present: TCPRST, ResetReason: ReasonProhibited},
	},

	// From here on not captured, but laid out by hand after RFC 8684.
	{
		name: "MP_CAPABLE with data and checksum", others: ackA1, option: "1e180181 35b93400bc7ffee1 894f915eda1fe947 0005 7a90",
		want: Options{
			Present: Capable, CapableVersion: 1, CapableFlags: FlagHMACSHA256 | FlagChecksum, CapableLen: 24,
			SenderKey: endA2.key, ReceiverKey: endB2.key, CapableDataLen: 5, CapableCsum: 0x7a90,
		},
	},
	{
		name: "32-bit mapping", others: ackB1, option: "1e122005 62c79118 b792aa28 00000001 0578", nops: "0101",
		want: Options{
			Present: DSS, HasDataAck: true, DataAck: 0x62c79118, HasMapping: true, DSN: 0xb792aa28, SSN: 1, DataLen: 1400,
		},
	},
	{
		name: "mapping without DATA_ACK, checksum", others: ackB1, option: "1e102004 b792aa28 fffffffe ffff 1234",
		want: Options{
			Present: DSS, HasMapping: true, DSN: 0xb792aa28, SSN: 0xfffffffe, DataLen: 0xffff, HasCsum: true, Csum: 0x1234,
		},
	},
	{
		name: "infinite mapping", others: ackA1, option: "1e16200d b792aa28 f4457a1862c79113 00000001 0000", nops: "0101",
		want: Options{
			Present: DSS, HasDataAck: true, DataAck: 0xb792aa28,
			HasMapping: true, DSN64: true, DSN: uint64(endA1.idsn) + 1, SSN: 1,
		},
	},
	{
		name: "MP_PRIO, backup", others: ackA1, option: "1e0351", nops: "01",
		want: Options{Present: Prio, PrioBackup: true},
	},
	{
		name: "REMOVE_ADDR of eight", others: ackA1, option: "1e0b40 0102030405060708", nops: "01",
		want: Options{Present: RemoveAddr, RemovedCount: 8, RemovedIDs: [8]uint8{1, 2, 3, 4, 5, 6, 7, 8}},
	},
	{
		name: "MP_FAIL beside a DSS", others: "", option: "1e0c2003 f4457a1862c79118 1e0c6000 f4457a1862c79113",
		want: Options{Present: DSS | Fail, HasDataAck: true, DataAck64: true, DataAck: uint64(endA1.idsn) + 6, FailDSN: endA1.idsn + 1},
	},
	{
		name: "SYN of version 0", others: synA1, option: "1e0c0001 fa79cae66dcd5586",
		want: Options{Present: Capable, CapableVersion: 0, CapableFlags: FlagHMACSHA256, CapableLen: 12},
	},
}

// block is all the options of the captured segment.
func (c capture) block(t testing.TB) []byte {
	t.Helper()
	return bytesOf(t, c.others+c.option+c.nops)
}
