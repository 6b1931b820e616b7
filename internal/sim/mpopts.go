package sim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// MPTCP subtypes (RFC 8684 §3).
const (
	subCapable    = 0
	subJoin       = 1
	subDSS        = 2
	subAddAddr    = 3
	subRemoveAddr = 4
	subPrio       = 5
	subFail       = 6
	subFastClose  = 7
	subReset      = 8
)

// DSS flags.
const (
	dssAck   = 0x01
	dssAck8  = 0x02
	dssMap   = 0x04
	dssMap8  = 0x08
	dssFIN   = 0x10
	csumNone = -1 // dss.csum without a checksum
)

// mpOpts are the MPTCP options of one segment; a nil pointer = not there.
type mpOpts struct {
	capable    *capable
	join       *join
	dss        *dss
	addAddr    *addAddr
	removeAddr []byte
	prio       *bool // the B flag
	fastClose  *uint64
	reset      *byte // reason
	fail       *uint64
}

type capable struct {
	flags   byte
	keys    []uint64 // none in a SYN, receiver's in a SYN/ACK, both after
	dataLen int      // -1 = none
	csum    int      // csumNone
}

type join struct {
	backup bool
	id     byte
	token  uint32
	nonce  uint32
	hmac   []byte // 8 bytes in a SYN/ACK, 20 in the third ACK, none in the SYN
}

type dss struct {
	hasAck, ack8 bool
	ack          uint64
	hasMap, map8 bool
	dsn          uint64
	ssn          uint32
	n            int // with the DATA_FIN
	fin          bool
	csum         int // csumNone
}

type addAddr struct {
	echo bool
	body []byte // ID, address and port: what an echo repeats
	hmac []byte
}

var errOption = errors.New("malformed MPTCP option")

// parse reads one option, kind and length included.
func (m *mpOpts) parse(o []byte) error {
	if len(o) < 3 {
		return errOption
	}
	be := binary.BigEndian
	switch o[2] >> 4 {
	case subCapable:
		return m.parseCapable(o)
	case subJoin:
		return m.parseJoin(o)
	case subDSS:
		return m.parseDSS(o)
	case subAddAddr:
		a := &addAddr{echo: o[2]&1 != 0}
		switch {
		case a.echo && (len(o) == 8 || len(o) == 10 || len(o) == 20 || len(o) == 22):
			a.body = o[3:]
		case !a.echo && (len(o) == 16 || len(o) == 18 || len(o) == 28 || len(o) == 30):
			a.body, a.hmac = o[3:len(o)-8], o[len(o)-8:]
		default:
			return errOption
		}
		m.addAddr = a
	case subRemoveAddr:
		if len(o) < 4 {
			return errOption
		}
		m.removeAddr = o[3:]
	case subPrio:
		if len(o) != 3 {
			return errOption
		}
		b := o[2]&1 != 0
		m.prio = &b
	case subFail:
		if len(o) != 12 {
			return errOption
		}
		v := be.Uint64(o[4:])
		m.fail = &v
	case subFastClose:
		if len(o) != 12 {
			return errOption
		}
		v := be.Uint64(o[4:])
		m.fastClose = &v
	case subReset:
		if len(o) != 4 {
			return errOption
		}
		m.reset = &o[3]
	default:
		return fmt.Errorf("%w: subtype %d", errOption, o[2]>>4)
	}
	return nil
}

func (m *mpOpts) parseCapable(o []byte) error {
	if o[2]&0xf != 1 {
		return fmt.Errorf("%w: MP_CAPABLE version %d", errOption, o[2]&0xf)
	}
	c := &capable{dataLen: -1, csum: csumNone}
	switch len(o) {
	case 4, 12, 20, 22, 24:
	default:
		return errOption
	}
	c.flags = o[3]
	for i := 4; i+8 <= len(o) && len(c.keys) < 2; i += 8 {
		c.keys = append(c.keys, binary.BigEndian.Uint64(o[i:]))
	}
	if len(o) >= 22 {
		c.dataLen = int(binary.BigEndian.Uint16(o[20:]))
	}
	if len(o) == 24 {
		c.csum = int(binary.BigEndian.Uint16(o[22:]))
	}
	m.capable = c
	return nil
}

func (m *mpOpts) parseJoin(o []byte) error {
	be := binary.BigEndian
	j := &join{backup: o[2]&1 != 0}
	switch len(o) {
	case 12:
		j.id, j.token, j.nonce = o[3], be.Uint32(o[4:]), be.Uint32(o[8:])
	case 16:
		j.id, j.hmac, j.nonce = o[3], o[4:12], be.Uint32(o[12:])
	case 24:
		j.hmac = o[4:24]
	default:
		return errOption
	}
	m.join = j
	return nil
}

func (m *mpOpts) parseDSS(o []byte) error {
	if len(o) < 4 {
		return errOption
	}
	be := binary.BigEndian
	f, b := o[3], o[4:]
	d := &dss{
		hasAck: f&dssAck != 0, ack8: f&dssAck8 != 0, hasMap: f&dssMap != 0, map8: f&dssMap8 != 0,
		fin: f&dssFIN != 0, csum: csumNone,
	}
	want, at := 0, 0
	if d.hasAck {
		want += width(d.ack8)
	}
	if d.hasMap {
		want += width(d.map8) + 6
	}
	if len(b) != want && !(d.hasMap && len(b) == want+2) {
		return fmt.Errorf("%w: DSS flags %02x with length %d", errOption, f, len(o))
	}
	if d.hasAck {
		d.ack = number(b, d.ack8)
		at += width(d.ack8)
	}
	if d.hasMap {
		d.dsn = number(b[at:], d.map8)
		at += width(d.map8)
		d.ssn, d.n = be.Uint32(b[at:]), int(be.Uint16(b[at+4:]))
		if at += 6; len(b) == at+2 {
			d.csum = int(be.Uint16(b[at:]))
		}
	}
	m.dss = d
	return nil
}

func width(eight bool) int {
	if eight {
		return 8
	}
	return 4
}

func number(b []byte, eight bool) uint64 {
	if eight {
		return binary.BigEndian.Uint64(b)
	}
	return uint64(binary.BigEndian.Uint32(b))
}

func appendNumber(b []byte, v uint64, eight bool) []byte {
	if eight {
		return binary.BigEndian.AppendUint64(b, v)
	}
	return binary.BigEndian.AppendUint32(b, uint32(v))
}

// append writes the options in the order of the structure.
func (m *mpOpts) append(b []byte) []byte {
	be := binary.BigEndian
	if c := m.capable; c != nil {
		o := []byte{30, 0, subCapable<<4 | 1, c.flags}
		for _, k := range c.keys {
			o = be.AppendUint64(o, k)
		}
		if c.dataLen >= 0 {
			o = be.AppendUint16(o, uint16(c.dataLen))
			if c.csum != csumNone {
				o = be.AppendUint16(o, uint16(c.csum))
			}
		}
		b = appendOption(b, o)
	}
	if j := m.join; j != nil {
		o := []byte{30, 0, subJoin << 4, j.id}
		if j.backup {
			o[2] |= 1
		}
		if j.hmac == nil {
			o = be.AppendUint32(o, j.token)
			o = be.AppendUint32(o, j.nonce)
		} else {
			o = append(o, j.hmac...)
			if len(j.hmac) == 8 { // SYN/ACK
				o = be.AppendUint32(o, j.nonce)
			}
		}
		b = appendOption(b, o)
	}
	if m.dss != nil {
		b = appendOption(b, m.dss.bytes())
	}
	if a := m.addAddr; a != nil {
		o := []byte{30, 0, subAddAddr << 4}
		if a.echo {
			o[2] |= 1
		}
		b = appendOption(b, append(append(o, a.body...), a.hmac...))
	}
	if len(m.removeAddr) > 0 {
		b = appendOption(b, append([]byte{30, 0, subRemoveAddr << 4}, m.removeAddr...))
	}
	if m.prio != nil {
		o := []byte{30, 0, subPrio << 4}
		if *m.prio {
			o[2] |= 1
		}
		b = appendOption(b, o)
	}
	if m.fastClose != nil {
		b = appendOption(b, be.AppendUint64([]byte{30, 0, subFastClose << 4, 0}, *m.fastClose))
	}
	if m.reset != nil {
		b = appendOption(b, []byte{30, 0, subReset << 4, *m.reset})
	}
	return b
}

func (d *dss) bytes() []byte {
	o := []byte{30, 0, subDSS << 4, 0}
	if d.hasAck {
		o[3] |= dssAck
		if d.ack8 {
			o[3] |= dssAck8
		}
		o = appendNumber(o, d.ack, d.ack8)
	}
	if d.hasMap {
		o[3] |= dssMap
		if d.map8 {
			o[3] |= dssMap8
		}
		if d.fin {
			o[3] |= dssFIN
		}
		o = appendNumber(o, d.dsn, d.map8)
		o = binary.BigEndian.AppendUint32(o, d.ssn)
		o = binary.BigEndian.AppendUint16(o, uint16(d.n))
		if d.csum != csumNone {
			o = binary.BigEndian.AppendUint16(o, uint16(d.csum))
		}
	}
	return o
}

// appendOption sets o's length and pads it with NOPs as Linux does.
func appendOption(b, o []byte) []byte {
	o[1] = byte(len(o))
	b = append(b, o...)
	for len(b)%4 != 0 {
		b = append(b, 1)
	}
	return b
}

// derive gives token and IDSN of a key (RFC 8684 §3.1).
func derive(key uint64) (token uint32, idsn uint64) {
	h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, key))
	return binary.BigEndian.Uint32(h[:4]), binary.BigEndian.Uint64(h[24:])
}

func macOf(k1, k2 uint64, msg []byte) []byte {
	h := hmac.New(sha256.New, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, k1), k2))
	h.Write(msg)
	return h.Sum(nil)
}

func nonces(n1, n2 uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, n1), n2)
}

// dssChecksum is the checksum of a mapping (RFC 8684 §3.3.1) over its payload.
func dssChecksum(dsn uint64, ssn uint32, n int, payload []byte) int {
	b := binary.BigEndian.AppendUint64(nil, dsn)
	b = binary.BigEndian.AppendUint32(b, ssn)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, 0, 0)
	return int(^onesSum(onesSum(0, b), payload))
}

// onesSum adds b to a folded ones-complement sum, word by word: slow and plain,
// as a check on package packet's.
func onesSum(s uint16, b []byte) uint16 {
	sum := uint32(s)
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		sum += w
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
