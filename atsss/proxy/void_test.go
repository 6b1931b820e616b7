package proxy

import (
	"testing"

	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/packet"
)

// Data that the UE repeats while the server's next byte was cut off at its window become
// void, too, but not while that byte was only lost, even between others that were cut off.
func TestStuckBehindVoid(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.conn().up.rightEdge = 100
	send := func(sub int, ssn, u int64) {
		h.up(0, h.fromUE(sub, packet.ACK, ssn-1, h.dss(&mapping{ssn, u, 100}, 0), int64(1+sub), make([]byte, 100)))
	}
	send(0, 1, 0)
	h.want("srv u=0+100 ack=0")
	send(0, 101, 100)
	h.want() // above data that wait for the server
	send(0, 201, 300)
	h.want()
	h.down(h.fromServer(packet.ACK, 0, 100, nil))
	h.want("ue0 ssn=1 ack=301 dack=100")

	send(1, 1, 400)
	h.want("srv u=400+100 ack=0")
	send(1, 1, 400)
	h.want("srv u=400+100 ack=0", "ue1 ssn=2 ack=101 dack=100")

	send(0, 301, 100) // what was void comes again
	h.want("srv u=100+100 ack=0")
	send(1, 101, 500)
	h.want("srv u=500+100 ack=0")
	send(1, 101, 500)
	h.want("srv u=500+100 ack=0") // the server's next byte is on its way
	h.down(h.fromServer(packet.ACK, 0, 200, nil))
	h.want("ue0 ssn=1 ack=401 dack=200")
	for range 5 {
		send(1, 101, 500)
		h.want("srv u=500+100 ack=0") // it was lost: 200 never came
	}
}

// With as many void ranges as are kept, none is forgotten.
func TestVoidRangesAreNotForgotten(t *testing.T) {
	h := newHarness(t)
	h.connect()
	c := h.conn()
	last := int64(100 * (2*dsm.MaxRanges + 10))
	for u := last; u > 0; u -= 200 { // from the top, then in between
		c.noteVoid(u, 10)
	}
	for u := int64(50); u < last; u += 200 {
		c.noteVoid(u, 10)
	}
	for u := int64(200); u <= last; u += 200 {
		for _, x := range []int64{u, u + 9, u - 150, u - 141} {
			if _, ok := c.up.void.Containing(x); !ok {
				t.Errorf("position %d was forgotten", x)
			}
		}
	}
}
