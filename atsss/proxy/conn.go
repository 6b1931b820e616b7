package proxy

import (
	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// maxSubflows is the most subflows of a connection, closed ones that still hold data
// included.
const maxSubflows = 32

// none is a position that is not known.
const none = -1 << 62

type connState uint8

const (
	stateSYN         connState = iota // SYN forwarded, no SYN/ACK seen
	stateSYNACK                       // SYN/ACK with our MP_CAPABLE forwarded, no third ACK seen
	stateEstablished                  // keys known both ways
	stateRelay                        // the UE fell back: packets pass unchanged
	stateClosed                       // both directions ended or reset; late packets are answered
)

// Conn is a proxied connection.
//
// There are many: with two subflows, and what leads to them, it is to take no more than
// 1 KiB (TestMemoryPerConnection). So fields are as narrow as what they hold, and
// positions that only tell whether something changed are their low halves.
type Conn struct {
	session *Session // of the first subflow
	rule    Rule     // of the server's 4-tuple
	state   connState
	v6      bool
	srvPort uint16
	srv     packet.Addr // the server as the UE has it, the same for every subflow
	point   uint16      // place on the line of steer.Policy.Choose

	usable   [steer.NumAccesses]uint8 // places of subflows for new data; nowhere if the access has none
	convert  *conversion              // nil = the UE sends to the server itself
	subflows []*Subflow
	pair     [2]*Subflow // where subflows are as long as there are no more

	local localKey  // key B
	peer  mptcp.Key // key A, valid from stateEstablished on
	idsnA mptcp.DSN

	// Negotiated on the first subflow, the same on every join.
	ueISN, srvISN uint32
	synData       uint16 // bytes of payload in the UE's last SYN
	synTaken      uint16 // of which the server's SYN/ACK acknowledged so many; ueISN counts them
	srvMSS        uint16
	ueScale       uint8 // shift of windows sent to the server
	srvScale      uint8 // shift of windows sent to the UE
	timestamps    bool
	sackPermitted bool
	checksum      bool // DSS checksums required
	scaled        bool // window scaling negotiated

	dssSeen    bool    // the UE has sent a DSS: data may go out of DSN order
	failing    failing // how far MP_FAIL and what follows has gone
	ecn        connECN // what the server and its connection say of marks
	steered    bool    // rule.Policy is of Proxy.steered
	told       bool    // Config.Accept was called, Closed was not
	finished   bool    // both directions have ended: only late packets are to come
	relayFIN   uint8   // stateRelay: ends that sent FIN, bit 0 UE, bit 1 server
	addrIDs    uint8
	current    uint8        // place of the subflow that new data went to last
	own        steer.Access // where the connection's own round trips would have it; see steer.Split.Own
	moved      uint8        // tick when own last changed
	counted    uint8        // what steer.Monitor.Delivered last gave
	timerSlot  uint16       // 1 + index of the slot of the timing wheel; 0 = not in it
	lastActive stamp        // when a packet of either side last came
	lonely     stamp        // since when no subflow is live; 0 = one is
	challenged stamp        // when an unacceptable packet of the server was last answered; 0 = never
	timer      connLink
	inSession  connLink

	up   uplink
	down downlink
}

// localKey is a key with the IDSN derived from it; its token is derived when it is needed
// again, which is at the end.
type localKey struct {
	Key  mptcp.Key
	IDSN mptcp.DSN
}

// keyPair is key B as it came from the pool.
func (c *Conn) keyPair() mptcp.KeyPair {
	token, _ := c.local.Key.Derive()
	return mptcp.KeyPair{Key: c.local.Key, Token: token, IDSN: c.local.IDSN}
}

// connLink is a place in a list of connections.
type connLink struct{ next, prev *Conn }

// nowhere is the place in Conn.subflows of no subflow.
const nowhere = maxSubflows

// uplink is the state of the UE-to-server direction, positions in u.
type uplink struct {
	next      int64      // after the highest position forwarded
	acked     int64      // acknowledged by the server, FIN included
	rightEdge int64      // end of the server's window
	fin       int64      // position of DATA_FIN; none
	sacked    dsm.Ranges // SACKed by the server, above acked
	void      dsm.Ranges // was void, above acked; see void.go
	window    uint32     // the largest that the server ever had

	tsval, tsecr uint32 // last sent to the server
	edgeSent     uint32 // rightEdge that the UE was last shown, low half
	finAt        stamp  // when the FIN was last forwarded
	probed       stamp  // when a probe of the UE was last forwarded
	bareSince    stamp  // when the first of bare came
	bare         uint8  // packets of the UE without MPTCP options since its last DSS, up to barePackets
	finSent      bool   // the FIN was forwarded
	probing      bool   // the next ACK of the UE goes to the server even if it says nothing new
	echo         uint8  // place of the subflow that waits for the server's answer to a forwarded probe
}

// downlink is the state of the server-to-UE direction, positions in d.
type downlink struct {
	next      int64 // after the highest position seen from the server
	acked     int64 // DATA_ACK of the UE, FIN included
	ackSent   int64 // acknowledged to the server
	rightEdge int64 // end of the UE's window, shared by its subflows
	fin       int64 // position of the server's FIN; none
	sackEdge  int64 // end of the highest position that the server was ever told by SACK

	runs   dsm.Runs // position to subflow and SSN
	copies dsm.Runs // in Redundant mode: to the second subflow and its SSN

	window    uint32    // the largest that the UE ever had
	tsval     uint32    // newest TSval of the server
	tsecr     uint32    // TSecr that came with it
	edgeSent  uint32    // right edge shown to the server, low half
	sackSum   uint32    // digest of the SACK set last sent to the server
	recent    [4]uint32 // low halves of positions lately reported by SACK, newest first
	solicited stamp     // when the DATA_ACK was last asked for
}

type subflowState uint8

const (
	subflowJoining subflowState = iota // SYN/ACK of a join sent, third ACK not verified
	subflowEstablished
	subflowClosing // the UE sent FIN
	subflowDead    // reset or removed
)

// Subflow is one subflow of a connection.
type Subflow struct {
	conn    *Conn
	session *Session // that it came over; may be another than the connection's
	ue      packet.Addr
	uePort  uint16
	pdr     uint16
	access  steer.Access
	state   subflowState
	index   uint8 // place in conn.subflows, and Sub in conn.down.runs
	addrID  uint8 // ours
	peerID  uint8 // the UE's
	scale   uint8 // of windows that the UE sends on it
	backup  bool  // last B flag sent to the UE
	finSent bool  // our FIN has the SSN next
	nudged  uint8 // tick when the UE was last told backup
	ecn     subflowECN
	addrs   uint16 // sum of the addresses of the UE and the server

	ueISN, ourISN uint32
	resent        uint32 // bytes sent to the UE again, up to the most that it holds
	tsWaiting     uint32 // TSval of the UE's first data in up since that was empty

	// Downlink, in SSN.
	next   int64      // to be used by the next new byte; the first byte is 1
	acked  int64      // the UE's acknowledgment: every SSN below it, our FIN's included
	sacked dsm.Ranges // SACKed by the UE, above acked
	down   dsm.Runs   // SSN to position

	// Uplink, in SSN.
	rcvNext int64    // acknowledged to the UE
	fin     int64    // SSN of the UE's FIN; none
	up      dsm.Runs // SSN to position, above rcvNext; Sub is voidRun for data cut off

	// Last sent to the UE, low halves.
	ackSent uint32 // rcvNext
	dataAck uint32 // up.acked
	edge    uint32 // up.rightEdge

	tsOffset   uint32 // TSval to the server = TSval of the UE + tsOffset
	ueTSval    uint32 // newest TSval of the UE
	tsvalAt    stamp  // when it came
	challenged stamp  // when an unacceptable packet was last answered; 0 = never

	maps    [mapHistory]pastMapping // newest first
	mapsLen [mapHistory]uint16      // of maps; 0 = none
	noted   uint32                  // acked as the session's monitor last heard of it, low half

	markedTo uint32 // with ecnMarked: SSN after the last data of the UE with CE
	path     path
}

// voidRun marks, in Subflow.up, data that were cut off at the server's window.
const voidRun = 1

// mapHistory is how many mappings of a subflow are remembered for segments that come
// without one: the newest, and the one before for what arrives late. Linux never needs
// them, it repeats a mapping with each segment of it.
const mapHistory = 2

// mapping is a DSS mapping as the UE sent it: SSN ssn is position u.
type mapping struct {
	ssn, u, n int64
}

// pastMapping is where a mapping remembered begins: the low halves of its SSN and its
// position.
type pastMapping struct {
	ssn, u uint32
}

// joinNonces are the nonces of a join under way.
type joinNonces struct{ ue, ours uint32 }

// live says whether the subflow's own TCP connection goes on.
func (s *Subflow) live() bool { return s.state == subflowEstablished }

// confirmed says whether data may go on s: the first subflow from establishment on, a
// join once the UE has acknowledged a byte there, since data that overtake the fourth
// ACK would reset it.
func (s *Subflow) confirmed() bool { return s.live() && (s.index == 0 || s.acked > 1) }

// expand is the 64-bit position near ref whose low 32 bits are those of low.
func expand(ref int64, low uint32) int64 { return ref + int64(int32(low-uint32(ref))) }

// dataAck is the low half of the DATA_ACK towards the UE.
func (c *Conn) dataAck32() uint32 { return uint32(c.idsnA) + 1 + uint32(c.up.acked) }

// dsnB is the DSN of downlink position d.
func (c *Conn) dsnB(d int64) mptcp.DSN { return c.local.IDSN + 1 + mptcp.DSN(d) }

// srvSN is the server-side TCP SN of uplink position u.
func (c *Conn) srvSN(u int64) uint32 { return c.ueISN + 1 + uint32(u) }

// srvAckSN is the ACK number to the server for downlink position d.
func (c *Conn) srvAckSN(d int64) uint32 { return c.srvISN + 1 + uint32(d) }

// sn is the TCP SN on the subflow of SSN ssn.
func (s *Subflow) sn(ssn int64) uint32 { return s.ourISN + uint32(ssn) }

// received is the position below which the UE has every byte: its DATA_ACK, less the
// DATA_FIN.
func (c *Conn) received() int64 {
	if c.down.fin != none {
		return min(c.down.acked, c.down.fin)
	}
	return c.down.acked
}

// ended says whether both directions have ended and are acknowledged.
func (c *Conn) ended() bool {
	return c.up.fin != none && c.up.acked > c.up.fin && c.down.fin != none && c.down.acked > c.down.fin
}
