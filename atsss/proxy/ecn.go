package proxy

import "github.com/braid-upf/braid/packet"

// Explicit Congestion Notification (RFC 3168) runs from end to end: the ECN field of data
// is copied, the SYN's negotiation passes, and a join is granted what the server granted.
// TCP echoes a mark until CWR answers, and both ends do so subflow by subflow, while the
// server knows one connection. So each echo and each CWR goes on once, to the subflow that
// it is about as far as that is known.
//
// AccECN is not negotiated: the AE flag and its options go no further.

// The ECN field of the traffic class.
const (
	ecnMask = 3
	ecnCE   = 3
)

// ecnSYN are the flags of a SYN that asks for ECN, ECE alone grants it.
const ecnSYN = packet.ECE | packet.CWR

// connECN is what the server's connection says.
type connECN uint8

const (
	ecnOff       connECN = iota
	ecnOn                // the server's SYN/ACK grants it; before it, the UE's SYN asks for it
	ecnCongested         // and the server's last packet had ECE
)

// subflowECN is what a subflow knows of marks; all false if ECN is not negotiated on it.
type subflowECN struct {
	on      bool  // negotiated
	echoing bool  // the UE's last packet had ECE
	cwrDue  bool  // the server has answered with CWR, and the subflow has not carried it yet
	marked  bool  // data of the UE came with CE, until the server has them and sends no ECE
	due     uint8 // ECE and CWR that the server is to get; the first subflow's are those of all
}

// uplinkECN takes what the UE's packet g on f, at ssn, says of marks.
func (f *Subflow) uplinkECN(g *segment, ssn int64) {
	c, e := f.conn, &f.ecn
	due := &c.subflows[0].ecn.due
	echo := g.flags&packet.ECE != 0
	*due |= g.flags & packet.CWR
	if echo && !e.cwrDue { // else the server has answered, and f, idle, cannot say so
		*due |= packet.ECE
		c.up.probing = c.up.probing || !e.echoing
	}
	e.cwrDue = e.cwrDue && echo
	e.echoing = echo
	if len(g.payload) > 0 && g.in.TOS&ecnMask == ecnCE {
		e.marked, f.markedTo = true, uint32(ssn)+uint32(len(g.payload))
	}
}

// downlinkECN takes what the server's packet g, whose acknowledgment was taken, says of
// marks.
func (c *Conn) downlinkECN(g *segment) {
	echo := g.flags&packet.ECE != 0
	for _, s := range c.subflows {
		e := &s.ecn
		e.cwrDue = e.cwrDue || g.flags&packet.CWR != 0 && e.echoing
		e.marked = e.marked && (echo || int32(uint32(s.rcvNext)-s.markedTo) < 0)
	}
	c.ecn = ecnOn
	if echo {
		c.ecn = ecnCongested
	}
}

// toServer are the flags for a packet to the server, which then are said.
func (e *subflowECN) toServer(data bool) (flags uint8) {
	flags = e.due
	if !data {
		flags &^= packet.CWR // only new data carry it (RFC 3168 §6.1.2)
	}
	e.due &^= flags
	return flags
}

// echoes says whether the server's ECE is for s: if marks came in on
// subflows, on those; if none did, the mark was made on N6 and concerns all.
func (s *Subflow) echoes() bool {
	for _, x := range s.conn.subflows {
		if x.ecn.marked {
			return s.ecn.marked
		}
	}
	return true
}
