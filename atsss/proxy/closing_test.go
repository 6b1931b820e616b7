package proxy

import (
	"testing"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// A FIN that came above data is acknowledged when the server has those, and from then on
// the subflow gets no new data: the UE would answer them with an RST.
func TestSubflowFINBehindData(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.rule = h.otherRule()
	h.serverData(0, 10)
	h.want("ue1 ssn=2+10 ack=1 dack=0 map=0@2+10")
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(&mapping{1, 0, 100}, 10), 12, make([]byte, 100)))
	h.want("srv u=0+100 ack=10")
	h.up(1, h.fromUE(1, packet.ACK|packet.FIN, 100, h.dss(nil, 10), 12, nil))
	h.want()
	h.down(h.fromServer(packet.ACK, 10, 100, nil))
	h.want("ue1 FIN ssn=12 ack=102 dack=100", "ue0 ssn=1 ack=1 dack=100")
	h.serverData(10, 10)
	h.want("ue0 ssn=1+10 ack=1 dack=100 map=10@1+10")
}

// Below our FIN on a subflow that the UE gave up, what was lost there and came over
// another subflow is filled while the connection lives, for the UE to take the FIN; and
// the FIN is repeated if the UE has everything but that.
func TestClosingSubflowIsFilled(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	both := h.rule
	h.rule = h.otherRule()
	h.serverData(0, 1000)
	h.want("ue1 ssn=2+1000 ack=1 dack=0 map=0@2+1000") // lost
	h.rule = both
	h.up(1, h.fromUE(1, packet.ACK|packet.FIN, 0, h.dss(nil, 0), 2, nil))
	h.want("ue1 FIN ssn=1002 ack=2 dack=0")
	h.serverData(0, 1000)
	h.want("ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 1000), 1001, nil))
	h.want("srv u=0 ack=1000")
	h.idle(initialRTO)
	h.want("ue1 ssn=2+1000 ack=2 dack=0 map=0@2+1000")
	h.up(1, h.fromUE(1, packet.ACK, 1, h.dss(nil, 1000), 1002, nil))
	h.want("ue1 FIN ssn=1002 ack=2 dack=0")
	h.up(1, h.fromUE(1, packet.ACK, 1, h.dss(nil, 1000), 1003, nil))
	h.want()
}

// It is filled only so often where the UE does not answer.
func TestClosingSubflowIsGivenUp(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.rule = h.otherRule()
	h.serverData(0, 1000)
	h.up(1, h.fromUE(1, packet.ACK|packet.FIN, 0, h.dss(nil, 0), 2, nil))
	h.serverData(0, 1000)
	h.up(steer.Access3GPP, h.fromUE(0, packet.ACK, 0, h.dss(nil, 1000), 1001, nil))
	h.idle(1000 * millisecond)
	before := h.p.Counters().Filled
	h.idle(60 * 1000 * millisecond)
	if n := h.p.Counters().Filled / 1000; before == 0 || n > maxBackoff {
		t.Errorf("filled %d times, in the first second %d bytes; want at most %d", n, before, maxBackoff)
	}
	if at := h.conn().timerSlot; at == 0 {
		t.Error("no timer is left")
	}
	h.recycle()
}
