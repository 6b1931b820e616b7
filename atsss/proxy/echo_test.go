package proxy

import (
	"testing"

	"github.com/braid-upf/braid/packet"
)

// While the server misses data of one subflow, it echoes the timestamp of what came before
// them. The ACK of new data that it SACKs on another subflow does not go back to that: a UE
// that takes round trips from TSecr would measure how long the hole is there.
func TestEchoBehindHole(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	begin := h.tsUE
	send := func(sub int, ssn, u int64) {
		h.up(0, h.fromUE(sub, packet.ACK, ssn-1, h.dss(&mapping{ssn, u, 100}, 0), int64(1+sub), make([]byte, 100)))
		h.recycle()
	}
	send(0, 1, 0)
	h.tsUE = begin + 5000 // positions from 100 on are lost
	send(1, 1, 200)
	h.tsUE = begin + 5020
	send(1, 101, 300)
	h.tsUE = begin // what the server echoes
	h.down(h.fromServerSACK(100, 200, 300))
	for i, want := range []uint32{begin, begin + 5000} {
		if g := h.segmentUE(h.out.ToUE[i].Buf); g.opt.tsecr != want {
			t.Errorf("%s: TSecr %d, want %d", h.describeUE(h.out.ToUE[i]), g.opt.tsecr, want)
		}
	}
	h.recycle()
}
