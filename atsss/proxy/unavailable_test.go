package proxy

import (
	"encoding/binary"
	"testing"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// TestUnavailable: an access that somebody else has found dead is left at once, by new data
// and by what the server sends again; what still comes over it does not bring it back while
// it is said to be unavailable.
func TestUnavailable(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.serverData(0, 1000)
	h.want("ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
	h.session.Monitor.SetAvailable(steer.Access3GPP, false)
	h.p.Unavailable(h.now, &h.session, steer.Access3GPP)
	if h.session.Answers(steer.Access3GPP) || h.p.Counters().PathSilent != 1 {
		t.Errorf("the access answers: %v, found silent %d times", h.session.Answers(steer.Access3GPP), h.p.Counters().PathSilent)
	}
	h.serverData(1000, 500)
	h.want("ue1 ssn=2+500 ack=1 dack=0 map=1000@2+500")
	h.serverData(0, 1000)
	h.want("ue1 ssn=502+1000 ack=1 dack=0 map=0@502+1000")

	h.p.Heard(h.now, &h.session, steer.Access3GPP) // a straggler
	h.serverData(1500, 500)
	h.want("ue1 ssn=1502+500 ack=1 dack=0 map=1500@1502+500")
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(nil, 2000), 2002, nil))
	h.recycle()

	h.session.Monitor.SetAvailable(steer.Access3GPP, true)
	h.up(0, h.fromUE(0, packet.ACK, 0, h.dss(nil, 2000), 1001, nil))
	h.recycle()
	h.serverData(2000, 500)
	h.want("ue0 ssn=1001+500 ack=1 dack=0 map=2000@1001+500")
}

// TestUnavailableIsGone: what the UE has SACKed on the subflow of an access that is dead is
// not waited for: the server is acknowledged what the UE has got since, and so is asked for
// the rest.
func TestUnavailableIsGone(t *testing.T) {
	h := newHarness(t)
	h.connect()
	h.join()
	h.serverData(0, 1000) // lost
	h.serverData(1000, 1000)
	h.recycle()
	sack := []byte{packet.OptSACK, 10}
	sack = binary.BigEndian.AppendUint32(sack, h.isns[0][1]+1001)
	sack = binary.BigEndian.AppendUint32(sack, h.isns[0][1]+2001)
	h.up(0, h.fromUE(0, packet.ACK, 0, append(sack, h.dss(nil, 0)...), 1, nil))
	h.want("srv u=0 ack=0 sack=1000-2000")
	h.p.Unavailable(h.now, &h.session, steer.Access3GPP)
	h.serverData(0, 1000)
	h.want("ue1 ssn=2+1000 ack=1 dack=0 map=0@2+1000")
	h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(nil, 1000), 1002, nil))
	h.want("srv u=0 ack=1000")
}
