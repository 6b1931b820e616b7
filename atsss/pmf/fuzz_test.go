package pmf

import (
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// FuzzNetwork: whatever a UE sends, and when, it gets one answer a message at most, of the
// type that is due and over the same leg, and nothing is learned that cannot be. The input is
// a list of messages, each behind an octet for the leg and the time before it, and its
// length.
func FuzzNetwork(f *testing.F) {
	var all []byte
	for i, tc := range golden {
		b := octets(f, tc.octets)
		all = append(all, byte(i*37), byte(len(b)))
		all = append(all, b...)
	}
	f.Add(all)
	f.Add([]byte{0, 4, 1, 0, 0, 0, 255, 4, 2, 0x80, 3, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		draws := uint64(0)
		cfg := DefaultConfig(250*time.Millisecond, 10*time.Second, func() uint64 { draws++; return draws })
		n := NewNetwork(&cfg, 2, false)
		var out Out
		n.SetUsable(steer.Access3GPP, true, &out)
		now := time.Second
		for len(b) >= 2 {
			l := Leg{steer.Access(b[0] & 1), b[0] >> 1 & 1}
			now += time.Duration(b[0]>>2) * 20 * time.Millisecond
			size := min(int(b[1]), len(b)-2)
			message := b[2 : 2+size]
			b = b[2+size:]

			out.Reset()
			n.Traffic(now)
			n.Count(l, 3, 2)
			n.Heard(now, l.Access, &out)
			learned := len(out.Learned)
			var m Message
			if Parse(message, &m) == OK {
				r := n.Receive(now, l, &m, &out)
				switch answer := m.Type.Answer(); {
				case len(out.Send) > 1 || len(out.Learned) > learned+1:
					t.Fatalf("%+v: %+v", m, out)
				case len(out.Send) == 1 && (r != OK || out.Send[0].Leg != l || out.Send[0].Message.Type != answer || out.Send[0].Message.EPTI != m.EPTI):
					t.Fatalf("%+v: %v, %+v", m, r, out.Send[0])
				case r == OK && answer != 0 && len(out.Send) == 0:
					t.Fatalf("%+v: no answer", m)
				}
			}
			for _, e := range out.Learned {
				if e.RTT < 0 || e.Lost > e.Sent || e.Percent > 100 {
					t.Fatalf("%+v", e)
				}
			}
			out.Reset()
			if next := n.Tick(now, &out); next <= now {
				t.Fatalf("the next tick at %v was to be at %v", now, next)
			}
			if len(out.Send) > 2*len(n.legs) {
				t.Fatalf("%d messages in one tick", len(out.Send))
			}
		}
	})
}
