package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/braid-upf/braid/packet"
)

// endpoint is one end of a TCP 4-tuple.
type endpoint struct {
	addr netip.Addr
	port uint16
}

// segment is a TCP segment in an IP packet, decoded.
type segment struct {
	src, dst endpoint
	sn, ack  uint32
	flags    uint8
	window   uint16

	mss      int // 0 = no option
	wscale   int // -1 = no option
	sackOK   bool
	hasTS    bool
	tsVal    uint32
	tsEcr    uint32
	sacks    [][2]uint32
	mp       mpOpts
	unknown  []byte // kinds of other options
	optBytes int
	size     int // of the IP packet

	payload []byte
}

func (s *segment) has(flag uint8) bool { return s.flags&flag != 0 }

// space is what the segment takes of the sequence space.
func (s *segment) space() int {
	n := len(s.payload)
	if s.has(packet.SYN) {
		n++
	}
	if s.has(packet.FIN) {
		n++
	}
	return n
}

// encode makes the IP packet.
func (s *segment) encode() []byte {
	opts := s.options()
	if len(opts) > 40 {
		panic(fmt.Sprintf("sim: %d bytes of TCP options", len(opts)))
	}
	v6 := s.src.addr.Is6()
	ip := 20
	if v6 {
		ip = 40
	}
	hl := 20 + len(opts)
	b := make([]byte, ip+hl+len(s.payload))
	src, dst := packet.AddrFrom(s.src.addr), packet.AddrFrom(s.dst.addr)
	packet.PutIPHeader(b, v6, &src, &dst, packet.ProtoTCP, 0, 64, len(b))
	t := b[ip:]
	packet.PutTCPHeader(t, s.src.port, s.dst.port, s.sn, s.ack, hl, s.flags, s.window)
	copy(t[20:], opts)
	copy(t[hl:], s.payload)
	binary.BigEndian.PutUint16(t[16:], ^transportSum(s.src.addr, s.dst.addr, t))
	return b
}

func (s *segment) options() []byte {
	var b []byte
	if s.mss > 0 {
		b = append(b, 2, 4, byte(s.mss>>8), byte(s.mss))
	}
	if s.sackOK {
		b = append(b, 1, 1, 4, 2)
	}
	if s.hasTS {
		b = append(b, 1, 1, 8, 10)
		b = binary.BigEndian.AppendUint32(b, s.tsVal)
		b = binary.BigEndian.AppendUint32(b, s.tsEcr)
	}
	if s.wscale >= 0 {
		b = append(b, 1, 3, 3, byte(s.wscale))
	}
	b = s.mp.append(b)
	if len(s.sacks) > 0 {
		b = append(b, 1, 1, 5, byte(2+8*len(s.sacks)))
		for _, r := range s.sacks {
			b = binary.BigEndian.AppendUint32(b, r[0])
			b = binary.BigEndian.AppendUint32(b, r[1])
		}
	}
	return b
}

func transportSum(src, dst netip.Addr, t []byte) uint16 {
	s := onesSum(0, src.AsSlice())
	s = onesSum(s, dst.AsSlice())
	s = onesSum(s, []byte{0, packet.ProtoTCP, byte(len(t) >> 8), byte(len(t))})
	return onesSum(s, t)
}

var errChecksum = errors.New("checksum wrong")

// decode reads an IP packet as strictly as can be: any length or option that
// RFC 9293, 7323, 2018 or 8684 does not allow is an error.
func decode(b []byte) (*segment, error) {
	var in packet.Info
	if r := packet.Parse(b, &in); r != packet.OK {
		return nil, fmt.Errorf("IP: %v", r)
	}
	if in.End != len(b) {
		return nil, fmt.Errorf("IP: %d bytes behind the packet", len(b)-in.End)
	}
	if in.Version == 4 && onesSum(0, b[:in.L4]) != 0xffff {
		return nil, fmt.Errorf("IP: %w", errChecksum)
	}
	if in.Proto != packet.ProtoTCP || in.Fragment {
		return nil, errors.New("not a whole TCP segment")
	}
	t, r := packet.ParseTCP(b, &in)
	if r != packet.OK {
		return nil, fmt.Errorf("TCP: %v", r)
	}
	s := &segment{
		src: endpoint{in.Src.Netip(), in.SrcPort}, dst: endpoint{in.Dst.Netip(), in.DstPort},
		sn: t.SN(), ack: t.AckSN(), flags: t.Flags(), window: t.Window(),
		wscale: -1, optBytes: len(t.Options()), size: len(b), payload: t.Payload(),
	}
	if transportSum(s.src.addr, s.dst.addr, t) != 0xffff {
		return nil, fmt.Errorf("TCP: %w", errChecksum)
	}
	if t.Urgent() != 0 && !s.has(packet.URG) {
		return nil, errors.New("urgent pointer without URG")
	}
	return s, s.parseOptions(t.Options())
}

func (s *segment) parseOptions(o []byte) error {
	be := binary.BigEndian
	for len(o) > 0 {
		if o[0] == packet.OptEnd {
			return nil
		}
		if o[0] == packet.OptNOP {
			o = o[1:]
			continue
		}
		if len(o) < 2 || int(o[1]) < 2 || int(o[1]) > len(o) {
			return fmt.Errorf("TCP option %d: bad length", o[0])
		}
		v := o[:o[1]]
		o = o[o[1]:]
		bad := false
		switch v[0] {
		case packet.OptMSS:
			if bad = len(v) != 4; !bad {
				s.mss = int(be.Uint16(v[2:]))
			}
		case packet.OptWindowScale:
			if bad = len(v) != 3; !bad {
				s.wscale = int(v[2])
			}
		case packet.OptSACKPermitted:
			bad = len(v) != 2
			s.sackOK = true
		case packet.OptTimestamps:
			if bad = len(v) != 10; !bad {
				s.hasTS, s.tsVal, s.tsEcr = true, be.Uint32(v[2:]), be.Uint32(v[6:])
			}
		case packet.OptSACK:
			bad = len(v) < 10 || (len(v)-2)%8 != 0
			for i := 2; !bad && i < len(v); i += 8 {
				s.sacks = append(s.sacks, [2]uint32{be.Uint32(v[i:]), be.Uint32(v[i+4:])})
			}
		case packet.OptMPTCP:
			if err := s.mp.parse(v); err != nil {
				return err
			}
		default:
			s.unknown = append(s.unknown, v[0])
		}
		if bad {
			return fmt.Errorf("TCP option %d: bad length %d", v[0], len(v))
		}
	}
	return nil
}

// any says whether a segment carries an MPTCP option.
func (m *mpOpts) any() bool {
	return m.capable != nil || m.join != nil || m.dss != nil || m.addAddr != nil || m.removeAddr != nil ||
		m.prio != nil || m.fastClose != nil || m.reset != nil || m.fail != nil
}

// expand is the 64-bit position whose low word is v, nearest to ref.
func expand(ref int64, v uint32) int64 { return ref + int64(int32(v-uint32(ref))) }
