package sim

import (
	"slices"
	"time"

	"github.com/braid-upf/braid/packet"
)

// A leg may cut segments and join them, as segmentation and receive offload of a host
// or a middlebox do: the payload stays, the segments' bounds do not. What is joined has
// the same header and options, but for SN, PSH and FIN.

const (
	longestJoined = 8000 // bytes of payload
	joinTime      = time.Millisecond
)

// resegment passes pkt on to l.enter, cut, or later with what follows it.
func (l *leg) resegment(pkt []byte) {
	if l.Cut == 0 && l.Join == 0 {
		l.enter(pkt)
		return
	}
	s, err := decode(pkt)
	if err != nil || s.has(packet.SYN) || s.has(packet.RST) {
		l.flush()
		l.enter(pkt)
		return
	}
	if l.held != nil {
		if !l.continues(s) {
			l.flush()
		} else {
			l.held.payload = append(slices.Clip(l.held.payload), s.payload...)
			l.held.flags |= s.flags
			s = l.held
			l.held = nil
		}
	}
	switch {
	case len(s.payload) > 0 && !s.has(packet.FIN) && len(s.payload) < longestJoined && l.rng.Float64() < l.Join:
		l.hold(s)
	case len(s.payload) > 1 && l.rng.Float64() < l.Cut:
		l.cut(s)
	default:
		l.enter(s.encode())
	}
}

// continues says whether s can be joined to what is held.
func (l *leg) continues(s *segment) bool {
	h := l.held
	return s.src == h.src && s.dst == h.dst && s.sn == h.sn+uint32(len(h.payload)) && len(s.payload) > 0 &&
		s.ack == h.ack && s.window == h.window && len(h.payload)+len(s.payload) <= longestJoined &&
		slices.Equal(s.options(), h.options())
}

func (l *leg) hold(s *segment) {
	l.held = s
	l.clock.Stop(l.heldTimer)
	l.heldTimer = l.clock.After(joinTime, l.flush)
}

// flush sends what is held.
func (l *leg) flush() {
	if s := l.held; s != nil {
		l.held = nil
		l.clock.Stop(l.heldTimer)
		l.enter(s.encode())
	}
}

// cut sends s in two to four pieces.
func (l *leg) cut(s *segment) {
	for pieces := 1 + l.rng.IntN(3); pieces > 0 && len(s.payload) > 1; pieces-- {
		n := 1 + l.rng.IntN(len(s.payload)-1)
		head := *s
		head.payload, head.flags = s.payload[:n], s.flags&^(packet.FIN|packet.PSH)
		l.enter(head.encode())
		s.payload, s.sn = s.payload[n:], s.sn+uint32(n)
	}
	l.enter(s.encode())
}
