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

// subflowECN is what a subflow knows of marks, as bits; 0 if ECN is not negotiated on it.
type subflowECN uint8

const (
	ecnGranted subflowECN = 1 << iota
	ecnEchoing            // the UE's last packet had ECE
	ecnCWRDue             // the server has answered with CWR, and the subflow has not carried it yet
	ecnMarked             // data of the UE came with CE, until the server has them and sends no ECE

	// In the first subflow's, for all: what the server is to get, in the places of the flags.
	ecnDue = subflowECN(packet.ECE | packet.CWR)
)

func (e *subflowECN) set(bits subflowECN, on bool) {
	*e &^= bits
	if on {
		*e |= bits
	}
}

// uplinkECN takes what the UE's packet g on f, at ssn, says of marks.
func (f *Subflow) uplinkECN(g *segment, ssn int64) {
	c, e := f.conn, &f.ecn
	due := &c.subflows[0].ecn
	echo := g.flags&packet.ECE != 0
	*due |= subflowECN(g.flags & packet.CWR)
	if echo && *e&ecnCWRDue == 0 { // else the server has answered, and f, idle, cannot say so
		*due |= subflowECN(packet.ECE)
		c.up.probing = c.up.probing || *e&ecnEchoing == 0
	}
	if !echo {
		e.set(ecnCWRDue, false)
	}
	e.set(ecnEchoing, echo)
	if len(g.payload) > 0 && g.in.TOS&ecnMask == ecnCE {
		e.set(ecnMarked, true)
		f.markedTo = uint32(ssn) + uint32(len(g.payload))
	}
}

// downlinkECN takes what the server's packet g, whose acknowledgment was taken, says of
// marks.
func (c *Conn) downlinkECN(g *segment) {
	echo := g.flags&packet.ECE != 0
	for _, s := range c.subflows {
		if g.flags&packet.CWR != 0 && s.ecn&ecnEchoing != 0 {
			s.ecn.set(ecnCWRDue, true)
		}
		if !echo && int32(uint32(s.rcvNext)-s.markedTo) >= 0 {
			s.ecn.set(ecnMarked, false)
		}
	}
	c.ecn = ecnOn
	if echo {
		c.ecn = ecnCongested
	}
}

// toServer are the flags for a packet to the server, which then are said.
func (e *subflowECN) toServer(data bool) (flags uint8) {
	flags = uint8(*e & ecnDue)
	if !data {
		flags &^= packet.CWR // only new data carry it (RFC 3168 §6.1.2)
	}
	*e &^= subflowECN(flags)
	return flags
}

// echoes says whether the server's ECE is for s: if marks came in on
// subflows, on those; if none did, the mark was made on N6 and concerns all.
func (s *Subflow) echoes() bool {
	for _, x := range s.conn.subflows {
		if x.ecn&ecnMarked != 0 {
			return s.ecn&ecnMarked != 0
		}
	}
	return true
}
