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
type Conn struct {
	proxy   *Proxy
	session *Session
	rule    Rule // of the server's 4-tuple
	state   connState
	v6      bool
	srvPort uint16
	srv     packet.Addr // the server, the same for every subflow
	point   uint32      // place on the line of steer.Policy.Choose

	local mptcp.KeyPair // key B and what is derived from it
	peer  mptcp.Key     // key A, valid from stateEstablished on
	idsnA mptcp.DSN

	// Negotiated on the first subflow, the same on every join.
	ueISN, srvISN uint32
	synData       uint32 // bytes of payload in the UE's last SYN
	synTaken      uint32 // of which the server's SYN/ACK acknowledged so many; ueISN counts them
	ueScale       uint8  // shift of windows sent to the server
	srvScale      uint8  // shift of windows sent to the UE
	srvMSS        uint16
	timestamps    bool
	sackPermitted bool
	checksum      bool // DSS checksums required
	scaled        bool // window scaling negotiated
	dssSeen       bool // the UE has sent a DSS: data may go out of DSN order
	failSent      bool // MP_FAIL was sent
	probing       bool // the next ACK of the UE goes to the server even if it says nothing new
	addrIDs       uint8
	relayFIN      uint8 // stateRelay: ends that sent FIN, bit 0 UE, bit 1 server
	finished      bool  // both directions have ended: only late packets are to come
	timer         timerLink
	inSession     connLink
	early         []*packet.Buffer // of the server, before the third ACK
	lastActive    Time             // when a packet of either side last came
	noSubflow     Time             // since when no subflow is live; 0 = one is
	challenged    Time             // when an unacceptable packet of the server was last answered; 0 = never
	current       *Subflow         // that new data went to last
	echo          *Subflow         // that waits for the server's answer to a forwarded probe

	up   uplink
	down downlink

	subflows []*Subflow
	usable   [steer.NumAccesses]*Subflow // for new data; nil if the access has none
}

// uplink is the state of the UE-to-server direction, positions in u.
type uplink struct {
	next      int64      // after the highest position forwarded
	acked     int64      // acknowledged by the server, FIN included
	rightEdge int64      // end of the server's window
	window    int64      // the largest that it ever had
	edgeSent  int64      // rightEdge that the UE was last shown
	sacked    dsm.Ranges // SACKed by the server, above acked
	fin       int64      // position of DATA_FIN; none
	voidFrom  int64      // bounds of what was void above acked; see void.go
	voidTo    int64
	finSent   bool  // FIN was forwarded
	repeats   uint8 // of what heads a subflow, since acked last moved, up to maxRepeats
	finTime   Time  // when it last was

	tsval, tsecr uint32 // last sent to the server
	lastProbe    Time
}

// downlink is the state of the server-to-UE direction, positions in d.
type downlink struct {
	next      int64 // after the highest position seen from the server
	acked     int64 // DATA_ACK of the UE, FIN included; also what the server is acknowledged
	ackSent   int64 // acknowledged to the server
	rightEdge int64 // end of the UE's window, shared by its subflows
	window    int64 // the largest that it ever had
	edgeSent  int64 // right edge shown to the server
	fin       int64 // position of the server's FIN; none

	runs     dsm.Runs // position to subflow and SSN
	tsval    uint32   // newest TSval of the server
	tsecr    uint32   // TSecr that came with it
	recent   [4]int64 // positions lately reported by SACK, newest first; none
	sackSum  uint64   // digest of the SACK set last sent to the server
	sackEdge int64    // end of the highest position that the server was ever told by SACK

	lastSolicit Time
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
	pdr     uint16
	access  steer.Access
	state   subflowState
	index   uint8 // in conn.subflows, and Sub in conn.down.runs
	addrID  uint8 // ours
	peerID  uint8 // the UE's
	scale   uint8 // of windows that the UE sends on it
	backup  bool  // last B flag sent to the UE
	uePort  uint16
	ue      packet.Addr

	ueISN, ourISN uint32
	ueNonce       uint32
	ourNonce      uint32

	// Downlink, in SSN.
	next    int64      // to be used by the next new byte; the first byte is 1
	acked   int64      // the UE's acknowledgment: every SSN below it
	sacked  dsm.Ranges // SACKed by the UE, above acked
	down    dsm.Runs   // SSN to position
	finSent bool       // our FIN has the SSN next

	// Uplink, in SSN.
	rcvNext int64    // acknowledged to the UE
	up      dsm.Runs // SSN to position, above rcvNext; Sub is voidRun for data cut off
	fin     int64    // SSN of the UE's FIN; none
	maps    [mapHistory]mapping
	mapAt   uint8
	ackSent int64 // rcvNext last sent
	dataAck int64 // up.acked last sent
	edge    int64 // up.rightEdge last sent

	tsOffset  uint32 // TSval to the server = TSval of the UE + tsOffset
	ueTSval   uint32 // newest TSval of the UE
	tsvalTime Time   // when it came

	challenged Time // when an unacceptable packet was last answered; 0 = never

	path path
}

// voidRun marks, in Subflow.up, data that were cut off at the server's window.
const voidRun = 1

// mapHistory is how many mappings of a subflow are remembered for segments that
// come without one.
const mapHistory = 4

// mapping is a DSS mapping as the UE sent it: SSN ssn is position u.
type mapping struct {
	ssn, u, n int64
}

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
