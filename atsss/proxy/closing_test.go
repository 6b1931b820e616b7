package proxy

import (
	"testing"

	"github.com/braid-upf/braid/atsss/mptcp"
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
	if n := h.p.Counters().Filled / 1000; before == 0 || n > maxFINs {
		t.Errorf("filled %d times, in the first second %d bytes; want at most %d", n, before, maxFINs)
	}
	if at := h.conn().timerSlot; at == 0 {
		t.Error("no timer is left")
	}
	h.recycle()
}

// ended is a connection in Redundant mode, both directions of which have ended and are
// acknowledged; the UE has closed its subflows, and lacks a copy of the data on the second.
func ended(t *testing.T) *harness {
	h := redundant(t)
	h.serverData(0, 1000)
	h.recycle()
	h.ackOn(0, 1001, 1000)
	h.want("srv u=0 ack=1000")
	h.down(h.fromServer(packet.ACK|packet.FIN, 1000, 0, nil))
	h.want("ue0 ssn=1001 ack=1 dack=0 fin=1000", "ue1 ssn=1002 ack=1 dack=0 fin=1000")
	o := mptcp.Options{HasDataAck: true, DataAck: uint64(uint32(h.idsnB) + 1 + 1001), HasMapping: true, DSN64: true, DSN: uint64(h.idsnA) + 1, DataLen: 1, DataFIN: true}
	h.up(0, h.fromUE(0, packet.ACK, 0, mptcp.AppendDSS(nil, &o), 1001, nil))
	h.want("srv FIN u=0 ack=1001")
	h.down(h.fromServer(packet.ACK, 1001, 1, nil))
	h.want("ue0 ssn=1001 ack=1 dack=1", "ue1 ssn=1002 ack=1 dack=1")
	h.up(0, h.fromUE(0, packet.ACK|packet.FIN, 0, h.dss(nil, 1001), 1001, nil))
	h.want("ue0 FIN ssn=1001 ack=2 dack=1")
	h.up(1, h.fromUE(1, packet.ACK|packet.FIN, 0, h.dss(nil, 1001), 2, nil))
	h.want("ue1 FIN ssn=1002 ack=2 dack=1")
	return h
}

// TestFINIsRepeated: a UE in FIN-WAIT-2 says nothing more. Our FINs that were lost, and what
// it lacks below them, come again after the connection has ended, too.
func TestFINIsRepeated(t *testing.T) {
	h := ended(t)
	h.up(0, h.fromUE(0, packet.ACK, 1, nil, 1002, nil)) // the FIN on the first subflow came
	h.want()
	h.idle(initialRTO + 2*tickCheck)
	h.want("ue1 ssn=2+1000 ack=2 dack=1 map=0@2+1000")
	h.up(1, h.fromUE(1, packet.ACK, 1, nil, 1002, nil)) // the second lacks nothing but the FIN
	h.want("ue1 FIN ssn=1002 ack=2 dack=1")
	h.idle(initialRTO + 2*tickCheck)
	h.want("ue1 FIN ssn=1002 ack=2 dack=1") // lost again
	h.up(1, h.fromUE(1, packet.ACK, 1, nil, 1003, nil))
	h.idle(lingerLife / 2)
	h.want()
}

// TestFINIsGivenUp: to a UE that is gone it is repeated ever more rarely, and not for ever.
func TestFINIsGivenUp(t *testing.T) {
	h := ended(t)
	h.up(1, h.fromUE(1, packet.ACK, 1, nil, 1003, nil))
	h.recycle()
	fins := 0
	last, gap := h.now, Time(0)
	for range 3000 {
		h.idle(10 * millisecond)
		if n := len(h.out.ToUE); n > 0 {
			fins += n
			if h.now-last < gap-2*tickCheck {
				t.Errorf("repeated after %d ms, before that after %d", (h.now-last)/millisecond, gap/millisecond)
			}
			last, gap = h.now, h.now-last
			h.recycle()
		}
	}
	if fins != maxFINs {
		t.Errorf("sent %d times, want %d", fins, maxFINs)
	}
	h.idle(lingerLife)
	if n := h.p.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// TestSACKOfFIN: a UE SACKs our FIN with the data below it; of these it lacks none.
func TestSACKOfFIN(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	both := h.rule
	h.rule = h.otherRule()
	for i := range int64(3) {
		h.serverData(1000*i, 1000)
	}
	h.recycle()
	h.rule = both
	h.up(1, h.fromUE(1, packet.ACK|packet.FIN, 0, h.dss(nil, 0), 2, nil))
	h.want("ue1 FIN ssn=3002 ack=2 dack=0")
	for i := range int64(3) {
		h.serverData(1000*i, 1000)
	}
	h.recycle()
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 3000), 3001, nil))
	h.recycle()
	sack := sackOption(h.isns[1][1]+1002, h.isns[1][1]+3003)
	h.up(1, h.fromUE(1, packet.ACK, 1, append(sack, h.dss(nil, 3000)...), 2, nil))
	h.want("ue1 ssn=2+1000 ack=2 dack=0 map=0@2+1000")
}
