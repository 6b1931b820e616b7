package sim

import (
	"slices"

	"github.com/braid-upf/braid/packet"
)

// receiveData queues payload and FIN.
func (t *tcp) receiveData(s *segment, off int64) {
	d := rxData{off: off, data: s.payload, fin: s.has(packet.FIN)}
	if d.end() == off {
		return
	}
	if s.mp.dss != nil && s.mp.dss.hasMap {
		d.dss = s.mp.dss
	}
	switch {
	case d.end() <= t.rcvNxt:
		t.setDSACK(off, d.end())
		t.ackNow = true
		return
	case t.rcvEdge <= t.rcvNxt && len(d.data) > 0, t.finRcvd:
		t.ackNow = true // zero window
		return
	}
	if off < t.rcvNxt {
		t.setDSACK(off, t.rcvNxt)
		t.ackNow = true
	}
	if len(t.ooo) > 0 || off > t.rcvNxt {
		t.ackNow = true
	}
	t.insert(d)
	moved := false
	for len(t.ooo) > 0 && t.ooo[0].off <= t.rcvNxt {
		d := t.ooo[0]
		t.ooo = t.ooo[1:]
		if d.end() <= t.rcvNxt {
			continue
		}
		t.rcvNxt = d.end()
		t.rxq = append(t.rxq, d)
		moved = true
		if d.fin {
			t.ooo = nil
			t.receiveFIN()
		}
	}
	t.oooRecent = slices.DeleteFunc(t.oooRecent, func(o int64) bool { return o < t.rcvNxt })
	if moved {
		t.unacked++
		t.user.deliver()
	}
}

// insert puts d into the out-of-order queue: what another covers whole is dropped,
// partial overlaps stay, as in Linux.
func (t *tcp) insert(d rxData) {
	i := 0
	for i < len(t.ooo) && t.ooo[i].off <= d.off {
		if t.ooo[i].end() >= d.end() {
			t.setDSACK(d.off, d.end())
			return
		}
		i++
	}
	j := i
	for j < len(t.ooo) && t.ooo[j].end() <= d.end() {
		j++
	}
	t.ooo = slices.Replace(t.ooo, i, j, d)
	t.oooRecent = slices.DeleteFunc(t.oooRecent, func(o int64) bool { return o == d.off })
	t.oooRecent = slices.Insert(t.oooRecent, 0, d.off)
	t.oooRecent = t.oooRecent[:min(len(t.oooRecent), 16)]
}

func (t *tcp) setDSACK(from, to int64) { t.dsack, t.hasDSACK = [2]int64{from, to}, t.sackOn }

func (t *tcp) receiveFIN() {
	t.finRcvd, t.ackNow = true, true
	switch t.state {
	case established:
		t.state = closeWait
	case finWait1:
		t.state = closing
	case finWait2:
		t.enterTimeWait()
	default:
	}
}

// answer sends the ACK that is due, or delays it (RFC 9293 §3.8.6.3).
func (t *tcp) answer() {
	switch {
	case t.state == closed:
	case t.ackNow || t.unacked >= 2:
		t.sendACK(true)
	case t.unacked > 0 && !t.ackTimer.Waiting():
		t.ackTimer = t.clock.After(delayedACK, func() { t.sendACK(true) })
	}
}
