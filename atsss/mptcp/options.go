package mptcp

import "encoding/binary"

// Kind is the TCP option kind of every MPTCP option.
const Kind = 30

// Set is a set of MPTCP option subtypes, bit 1<<subtype.
type Set uint16

// The subtypes (RFC 8684 §8.2) as members of a Set.
const (
	Capable Set = 1 << iota
	Join
	DSS
	AddAddr
	RemoveAddr
	Prio
	Fail
	FastClose
	TCPRST
)

// Flags of MP_CAPABLE (RFC 8684 §3.1).
const (
	FlagChecksum   = 0x80 // A
	FlagExtensible = 0x40 // B, must be 0
	FlagDenyJoin   = 0x20 // C: no joins to this address and port
	FlagHMACSHA256 = 0x01 // H
)

// Reasons of MP_TCPRST (RFC 8684 §3.6).
const (
	ReasonUnspecified       = 0
	ReasonMPTCP             = 1
	ReasonResources         = 2
	ReasonProhibited        = 3
	ReasonMiddlebox         = 6
	maxRemovedAddrs         = 8
	maxOptionBytes          = 40
	dssDataAck        uint8 = 0x01
	dssDataAck64      uint8 = 0x02
	dssMapping        uint8 = 0x04
	dssDSN64          uint8 = 0x08
	dssDataFIN        uint8 = 0x10
)

// Options is what Parse found in the options of one segment. A field is valid iff
// its subtype is in Present (and as the field says).
type Options struct {
	Present Set
	Ignored uint8 // how many MPTCP options there were beside those in Present

	// MP_CAPABLE. CapableLen is the option's length: 4 (SYN), 12 (SYN/ACK),
	// 20 (third ACK), 22 or 24 (with data). If CapableVersion is not Version, only
	// the version and the length are valid: enough to answer a SYN.
	CapableVersion uint8
	CapableFlags   uint8
	CapableLen     uint8
	SenderKey      Key    // CapableLen >= 12
	ReceiverKey    Key    // CapableLen >= 20
	CapableDataLen uint16 // CapableLen >= 22
	CapableCsum    uint16 // CapableLen 24

	// MP_JOIN. JoinLen is 12 (SYN), 16 (SYN/ACK) or 24 (third ACK).
	JoinLen    uint8
	JoinBackup bool
	JoinID     uint8    // JoinLen 12, 16
	JoinToken  uint32   // JoinLen 12
	JoinNonce  uint32   // JoinLen 12, 16
	JoinHMAC   [20]byte // JoinLen 16 (first 8 bytes), 24

	// DSS.
	HasDataAck bool
	DataAck64  bool
	DataAck    uint64 // low 32 bits if !DataAck64
	HasMapping bool
	DSN64      bool
	DataFIN    bool
	HasCsum    bool
	DSN        uint64 // low 32 bits if !DSN64
	SSN        SSN
	DataLen    uint16 // counts the DATA_FIN
	Csum       uint16

	// ADD_ADDR.
	AddAddrEcho bool
	AddAddrRaw  []byte // the whole option, aliasing the bytes parsed

	// REMOVE_ADDR.
	RemovedCount uint8
	RemovedIDs   [maxRemovedAddrs]uint8

	PrioBackup   bool  // MP_PRIO
	FailDSN      DSN   // MP_FAIL
	FastCloseKey Key   // MP_FASTCLOSE
	ResetReason  uint8 // MP_TCPRST
}

// Parse reads the MPTCP options among the TCP options opts into o. An MPTCP option
// of unknown subtype or of a length that its subtype does not have is ignored, as
// the Linux receiver does; the second of two of one subtype is ignored too. ok is false when
// the TCP options themselves are malformed; o then holds those before the fault.
// Parse does not allocate.
func Parse(opts []byte, o *Options) (ok bool) {
	o.Present, o.Ignored = 0, 0
	for len(opts) > 0 {
		switch opts[0] {
		case 0:
			return true
		case 1:
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 {
			return false
		}
		n := int(opts[1])
		if n < 2 || n > len(opts) {
			return false
		}
		if opts[0] == Kind {
			o.ParseOption(opts[:n])
		}
		opts = opts[n:]
	}
	return true
}

// ParseOption reads one MPTCP option, b from its kind to its end, into o. The caller
// has emptied o.Present and o.Ignored before the first of a segment.
func (o *Options) ParseOption(b []byte) {
	if len(b) < 3 {
		o.Ignored++
		return
	}
	subtype := Set(1) << (b[2] >> 4)
	if o.Present&subtype != 0 {
		o.Ignored++
		return
	}
	var good bool
	switch subtype {
	case DSS:
		good = o.parseDSS(b)
	case Capable:
		good = o.parseCapable(b)
	case Join:
		good = o.parseJoin(b)
	case AddAddr:
		good = o.parseAddAddr(b)
	case RemoveAddr:
		good = o.parseRemoveAddr(b)
	case Prio:
		good = len(b) == 3
		o.PrioBackup = b[2]&1 != 0
	case Fail:
		if good = len(b) == 12; good {
			o.FailDSN = DSN(binary.BigEndian.Uint64(b[4:]))
		}
	case FastClose:
		if good = len(b) == 12; good {
			o.FastCloseKey = Key(binary.BigEndian.Uint64(b[4:]))
		}
	case TCPRST:
		if good = len(b) == 4; good {
			o.ResetReason = b[3]
		}
	}
	if good {
		o.Present |= subtype
	} else {
		o.Ignored++
	}
}

func (o *Options) parseCapable(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	o.CapableVersion, o.CapableFlags, o.CapableLen = b[2]&0xf, b[3], uint8(len(b))
	if o.CapableVersion != Version {
		return len(b) == 4 || len(b) == 12 // 12: the SYN of version 0
	}
	switch len(b) {
	case 4:
		return true
	case 12:
	case 24, 22, 20:
		o.ReceiverKey = Key(binary.BigEndian.Uint64(b[12:]))
		if len(b) >= 22 {
			o.CapableDataLen = binary.BigEndian.Uint16(b[20:])
		}
		if len(b) == 24 {
			o.CapableCsum = binary.BigEndian.Uint16(b[22:])
		}
	default:
		return false
	}
	o.SenderKey = Key(binary.BigEndian.Uint64(b[4:]))
	return true
}

func (o *Options) parseJoin(b []byte) bool {
	o.JoinLen = uint8(len(b))
	o.JoinBackup = b[2]&1 != 0
	switch len(b) {
	case 12:
		o.JoinID = b[3]
		o.JoinToken = binary.BigEndian.Uint32(b[4:])
		o.JoinNonce = binary.BigEndian.Uint32(b[8:])
	case 16:
		o.JoinID = b[3]
		copy(o.JoinHMAC[:8], b[4:])
		o.JoinNonce = binary.BigEndian.Uint32(b[12:])
	case 24:
		copy(o.JoinHMAC[:], b[4:])
	default:
		return false
	}
	return true
}

func (o *Options) parseDSS(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	f := b[3]
	o.HasDataAck, o.DataAck64 = f&dssDataAck != 0, f&dssDataAck64 != 0
	o.HasMapping, o.DSN64 = f&dssMapping != 0, f&dssDSN64 != 0
	o.DataFIN, o.HasCsum = f&dssDataFIN != 0 && o.HasMapping, false
	n := 4
	if o.HasDataAck {
		n += 4
		if o.DataAck64 {
			n += 4
		}
	}
	at := n
	if o.HasMapping {
		n += 10
		if o.DSN64 {
			n += 4
		}
		o.HasCsum = len(b) == n+2
		if o.HasCsum {
			n += 2
		}
	}
	if len(b) != n {
		return false
	}
	if o.HasDataAck {
		if o.DataAck64 {
			o.DataAck = binary.BigEndian.Uint64(b[4:])
		} else {
			o.DataAck = uint64(binary.BigEndian.Uint32(b[4:]))
		}
	}
	if o.HasMapping {
		if o.DSN64 {
			o.DSN = binary.BigEndian.Uint64(b[at:])
			at += 8
		} else {
			o.DSN = uint64(binary.BigEndian.Uint32(b[at:]))
			at += 4
		}
		o.SSN = SSN(binary.BigEndian.Uint32(b[at:]))
		o.DataLen = binary.BigEndian.Uint16(b[at+4:])
		if o.HasCsum {
			o.Csum = binary.BigEndian.Uint16(b[at+6:])
		}
	}
	return true
}

func (o *Options) parseAddAddr(b []byte) bool {
	o.AddAddrEcho = b[2]&1 != 0
	o.AddAddrRaw = b
	switch len(b) {
	case 8, 10, 20, 22:
		return o.AddAddrEcho
	case 16, 18, 28, 30:
		return !o.AddAddrEcho
	}
	return false
}

func (o *Options) parseRemoveAddr(b []byte) bool {
	n := len(b) - 3
	if n < 1 || n > maxRemovedAddrs {
		return false
	}
	o.RemovedCount = uint8(copy(o.RemovedIDs[:], b[3:]))
	return true
}

// AppendCapableSYN appends the MP_CAPABLE of a SYN, 4 bytes.
func AppendCapableSYN(b []byte, flags uint8) []byte {
	return append(b, Kind, 4, Version, flags)
}

// AppendCapableSYNACK appends the MP_CAPABLE of a SYN/ACK, 12 bytes.
func AppendCapableSYNACK(b []byte, flags uint8, sender Key) []byte {
	b = append(b, Kind, 12, Version, flags)
	return binary.BigEndian.AppendUint64(b, uint64(sender))
}

// AppendCapableACK appends the MP_CAPABLE of a third ACK without data, 20 bytes.
func AppendCapableACK(b []byte, flags uint8, sender, receiver Key) []byte {
	b = append(b, Kind, 20, Version, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(sender))
	return binary.BigEndian.AppendUint64(b, uint64(receiver))
}

// AppendCapableData appends the MP_CAPABLE of the first data segment, 22 bytes, or
// 24 with a checksum.
func AppendCapableData(b []byte, flags uint8, sender, receiver Key, dataLen uint16, csum *uint16) []byte {
	n := uint8(22)
	if csum != nil {
		n = 24
	}
	b = append(b, Kind, n, Version, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(sender))
	b = binary.BigEndian.AppendUint64(b, uint64(receiver))
	b = binary.BigEndian.AppendUint16(b, dataLen)
	if csum != nil {
		b = binary.BigEndian.AppendUint16(b, *csum)
	}
	return b
}

func joinHead(b []byte, n uint8, backup bool, id uint8) []byte {
	low := uint8(0)
	if backup {
		low = 1
	}
	return append(b, Kind, n, 1<<4|low, id)
}

// AppendJoinSYN appends the MP_JOIN of a SYN, 12 bytes.
func AppendJoinSYN(b []byte, backup bool, id uint8, token, nonce uint32) []byte {
	b = joinHead(b, 12, backup, id)
	b = binary.BigEndian.AppendUint32(b, token)
	return binary.BigEndian.AppendUint32(b, nonce)
}

// AppendJoinSYNACK appends the MP_JOIN of a SYN/ACK, 16 bytes: the first 8 bytes of
// mac are sent.
func AppendJoinSYNACK(b []byte, backup bool, id uint8, mac *[20]byte, nonce uint32) []byte {
	b = joinHead(b, 16, backup, id)
	b = append(b, mac[:8]...)
	return binary.BigEndian.AppendUint32(b, nonce)
}

// AppendJoinACK appends the MP_JOIN of a third ACK, 24 bytes.
func AppendJoinACK(b []byte, mac *[20]byte) []byte {
	b = append(b, Kind, 24, 1<<4, 0)
	return append(b, mac[:]...)
}

// AppendDSS appends the DSS that o's DSS fields describe, in the widths that
// DataAck64 and DSN64 say: 8 to 28 bytes, not padded.
func AppendDSS(b []byte, o *Options) []byte {
	at := len(b)
	b = append(b, Kind, 0, 2<<4, 0)
	f := uint8(0)
	if o.HasDataAck {
		f |= dssDataAck
		if o.DataAck64 {
			f |= dssDataAck64
			b = binary.BigEndian.AppendUint64(b, o.DataAck)
		} else {
			b = binary.BigEndian.AppendUint32(b, uint32(o.DataAck))
		}
	}
	if o.HasMapping {
		f |= dssMapping
		if o.DataFIN {
			f |= dssDataFIN
		}
		if o.DSN64 {
			f |= dssDSN64
			b = binary.BigEndian.AppendUint64(b, o.DSN)
		} else {
			b = binary.BigEndian.AppendUint32(b, uint32(o.DSN))
		}
		b = binary.BigEndian.AppendUint32(b, uint32(o.SSN))
		b = binary.BigEndian.AppendUint16(b, o.DataLen)
		if o.HasCsum {
			b = binary.BigEndian.AppendUint16(b, o.Csum)
		}
	}
	b[at+1], b[at+3] = uint8(len(b)-at), f
	return b
}

// AppendAddAddr appends an ADD_ADDR for addr (4 or 16 bytes); port 0 = none.
func AppendAddAddr(b []byte, id uint8, addr []byte, port uint16, mac *[8]byte) []byte {
	at := len(b)
	b = append(b, Kind, 0, 3<<4, id)
	b = append(b, addr...)
	if port != 0 {
		b = binary.BigEndian.AppendUint16(b, port)
	}
	b = append(b, mac[:]...)
	b[at+1] = uint8(len(b) - at)
	return b
}

// AppendAddAddrEcho appends the echo of the ADD_ADDR option raw
// ([Options].AddAddrRaw): the same without its HMAC, E set.
func AppendAddAddrEcho(b, raw []byte) []byte {
	at := len(b)
	b = append(b, raw[:len(raw)-8]...)
	b[at+1], b[at+2] = uint8(len(raw)-8), 3<<4|1
	return b
}

// AppendRemoveAddr appends a REMOVE_ADDR for 1 to 8 address IDs.
func AppendRemoveAddr(b []byte, ids ...uint8) []byte {
	b = append(b, Kind, uint8(3+len(ids)), 4<<4)
	return append(b, ids...)
}

// AppendPrio appends an MP_PRIO for the subflow that carries it, 3 bytes.
func AppendPrio(b []byte, backup bool) []byte {
	low := uint8(0)
	if backup {
		low = 1
	}
	return append(b, Kind, 3, 5<<4|low)
}

// AppendFail appends an MP_FAIL, 12 bytes.
func AppendFail(b []byte, dsn DSN) []byte {
	b = append(b, Kind, 12, 6<<4, 0)
	return binary.BigEndian.AppendUint64(b, uint64(dsn))
}

// AppendFastClose appends an MP_FASTCLOSE with the key of the receiver, 12 bytes.
func AppendFastClose(b []byte, receiver Key) []byte {
	b = append(b, Kind, 12, 7<<4, 0)
	return binary.BigEndian.AppendUint64(b, uint64(receiver))
}

// AppendTCPRST appends an MP_TCPRST, 4 bytes.
func AppendTCPRST(b []byte, reason uint8) []byte {
	return append(b, Kind, 4, 8<<4, reason)
}

// Pad appends NOPs until the options since from are a multiple of 4 bytes long.
func Pad(b []byte, from int) []byte {
	for (len(b)-from)%4 != 0 {
		b = append(b, 1)
	}
	return b
}
