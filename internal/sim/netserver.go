package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	gvtcp "gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/braid-upf/braid/packet"
)

// netOptions are what netstack can be told; the zero value is how it comes: Reno, RACK
// with tail loss probes, no Nagle; buffers are of fixed size.
type netOptions struct {
	cubic    bool
	noRACK   bool // SACK recovery of RFC 6675 instead
	nagle    bool
	cookies  bool  // every connection by SYN cookie: no window scale, no SACK
	autotune bool  // the receive buffer grows
	piece    int64 // bytes per write, 0 = as many as fit
}

// drawNetOptions draws the options of a seed's server. No cookies: like any other
// server of that kind it resets a connection whose third ACK is lost and whose first
// segments change places.
func drawNetOptions(rng *rand.Rand) netOptions {
	g := generator{rng}
	o := netOptions{cubic: g.chance(0.3), noRACK: g.chance(0.3), nagle: g.chance(0.3), autotune: g.chance(0.3)}
	if g.chance(0.2) {
		o.piece = 100 + g.Int64N(3000)
	}
	return o
}

// plainest are the options of a seed's server whose recovery does not stall.
func plainest(rng *rand.Rand) netOptions {
	o := drawNetOptions(rng)
	o.cubic, o.noRACK = false, true
	return o
}

// minNetBuffer is the smallest receive buffer. netstack charges a segment more than
// its payload, and pieces out of order, also the same one twice, may take three
// quarters of the buffer and one segment more: in a smaller buffer there is then no
// room for the segment that is missing, ever.
const minNetBuffer = 32 << 10

// netMaxRTO is the longest retransmission timeout. After a timeout netstack takes all
// that was under way still to be there, and sends two segments for each; with up to
// two minutes between them a lost flight takes longer than a run may.
const netMaxRTO = 2 * time.Second

// netServer is the application over netstack.
type netServer struct {
	application
	host     *netHost
	listener tcpip.Endpoint
	conn     tcpip.Endpoint // nil before it is accepted
	options  netOptions
	ticked   bool // the reader's time has come once more
	finSent  bool
	closed   bool // both sides, by the application
	isDone   bool // TIME-WAIT, or nothing if the client closed first

	keepalive time.Duration
	lastSent  time.Duration // anything that takes sequence space
	isn       uint32        // of the SYN/ACK
	acked     int64         // bytes
	finAcked  bool
}

// netServers makes servers on netstack and keeps them to be ended.
type netServers struct {
	options func(rng *rand.Rand) netOptions
	made    []*netServer
}

func (n *netServers) close() {
	for _, v := range n.made {
		v.host.close()
	}
}

func (n *netServers) serve(w *world, p *pair, local endpoint, up, down stream) serverEnd {
	rng := w.fork(300 + uint64(p.port))
	v := &netServer{application: newApplication(w, p, up, down), options: n.options(rng), keepalive: p.cfg.ServeTCP.keepalive}
	c := &p.cfg.ServeTCP
	v.host = newNetHost(&w.clock, rng, local.addr, max(1500, c.mss+60), c.longest)
	v.host.woken = v.act
	v.host.send = func(pkt []byte) {
		v.noteSent(pkt)
		w.n6Down.send(pkt)
	}
	v.configure(c)
	if !v.refuse {
		v.listen(c, local)
	}
	n.made = append(n.made, v)
	return v
}

// configure sets the stack's options.
func (v *netServer) configure(c *tcpConfig) {
	o := &v.options
	sack, nagle := tcpip.TCPSACKEnabled(c.sack), tcpip.TCPDelayEnabled(o.nagle)
	autotune, cookies := tcpip.TCPModerateReceiveBufferOption(o.autotune), tcpip.TCPAlwaysUseSynCookies(o.cookies)
	recovery, control := tcpip.TCPRACKLossDetection, tcpip.CongestionControlOption("reno")
	if o.noRACK {
		recovery = 0
	}
	if o.cubic {
		control = "cubic"
	}
	maxRTO := tcpip.TCPMaxRTOOption(netMaxRTO)
	for _, x := range []tcpip.SettableTransportProtocolOption{&maxRTO, &sack, &nagle, &autotune, &cookies, &recovery, &control} {
		must(v.host.stack.SetTransportProtocolOption(gvtcp.ProtocolNumber, x))
	}
}

func (v *netServer) listen(c *tcpConfig, local endpoint) {
	var err tcpip.Error
	v.listener, err = v.host.stack.NewEndpoint(gvtcp.ProtocolNumber, v.host.proto, &waiter.Queue{})
	must(err)
	if !v.options.autotune {
		v.listener.SocketOptions().SetReceiveBufferSize(max(2*v.buffer, minNetBuffer), true)
	}
	must(v.listener.SetSockOptInt(tcpip.MaxSegOption, c.mss))
	must(v.listener.Bind(tcpip.FullAddress{NIC: netNIC, Addr: netAddr(local.addr), Port: local.port}))
	must(v.listener.Listen(netBacklog))
}

// noteSent takes the ISN from the SYN/ACK, to know what an ACK says, and the time of data,
// which keepalives are not.
func (v *netServer) noteSent(pkt []byte) {
	s, err := decode(pkt)
	if err != nil {
		v.w.fail("netstack: %v: %x", err, pkt)
		return
	}
	if s.has(packet.SYN) {
		v.isn = s.sn
	}
	if s.space() > 0 {
		v.lastSent = v.w.clock.Now()
	}
}

func (v *netServer) receive(s *segment, pkt []byte) {
	if s.has(packet.ACK) {
		ack := expand(v.acked, s.ack-v.isn-1)
		v.finAcked = v.finAcked || v.finSent && ack == v.wrote+1
		v.acked = max(v.acked, min(ack, v.wrote))
	}
	v.host.receive(bytes.Clone(pkt))
}

// act is the application; it says whether it did anything.
func (v *netServer) act() bool {
	if v.isEnded || v.closed || v.listener == nil {
		v.checkState()
		return false
	}
	if v.conn == nil && !v.accept() {
		return false
	}
	did := v.read()
	v.checkState()
	if v.isEnded {
		return false
	}
	if v.aborts(v.acked) {
		v.abort()
		return true
	}
	did = v.write() || did
	return !v.isEnded && v.shut() || did
}

func (v *netServer) accept() bool {
	conn, _, err := v.listener.Accept(nil)
	if err != nil {
		return false
	}
	v.conn = conn
	o := conn.SocketOptions()
	o.SetSendBufferSize(v.buffer, true)
	if d := v.keepalive; d > 0 {
		idle, interval := tcpip.KeepaliveIdleOption(d), tcpip.KeepaliveIntervalOption(d)
		must(conn.SetSockOpt(&idle))
		must(conn.SetSockOpt(&interval))
		o.SetKeepAlive(true)
	}
	clock := &v.w.clock
	if v.reader.chunk > 0 {
		clock.After(v.reader.every, v.tick)
	} else if v.reader.start > 0 {
		clock.After(v.reader.start-clock.Now(), v.host.settle)
	}
	if v.pause > 0 {
		clock.After(v.pause-clock.Now(), v.host.settle)
	}
	return true
}

func (v *netServer) tick() {
	v.ticked = true
	v.host.settle()
	if !v.isEnded && !v.closed {
		v.w.clock.After(v.reader.every, v.tick)
	}
}

// read takes what the application wants now.
func (v *netServer) read() bool {
	r := &v.reader
	switch {
	case v.eof, r.chunk > 0 && !v.ticked, r.chunk == 0 && v.w.clock.Now() < r.start:
		return false
	}
	v.ticked = false
	room := int64(64 << 10)
	if r.chunk > 0 {
		room = r.chunk
	}
	b := make([]byte, room)
	dst := tcpip.SliceWriter(b)
	res, err := v.conn.Read(&dst, tcpip.ReadOptions{})
	switch err.(type) {
	case nil, *tcpip.ErrWouldBlock:
	case *tcpip.ErrClosedForReceive:
		v.eof = true
	default:
		v.lost(err)
		return false
	}
	v.take(b[:res.Count])
	v.checkCount()
	if v.options.autotune {
		v.conn.ModerateRecvBuf(res.Count)
	}
	return res.Count > 0 || v.eof
}

// write gives the stack what the application wants to write and it has room for.
func (v *netServer) write() bool {
	n := min(v.unwritten(), 64<<10)
	if v.options.piece > 0 {
		n = min(n, v.options.piece)
	}
	if n <= 0 {
		return false
	}
	b := make([]byte, n)
	v.down.read(v.wrote, b)
	took, err := v.conn.Write(bytes.NewReader(b), tcpip.WriteOptions{})
	if _, full := err.(*tcpip.ErrWouldBlock); err != nil && !full {
		v.lost(err)
	}
	v.wrote += took
	return took > 0
}

// shut closes the sending side once the application is finished, and the
// connection once the other side is closed, too.
func (v *netServer) shut() bool {
	if !v.finished() || v.finSent && !v.eof {
		return false
	}
	v.finSent = true
	if v.eof {
		v.conn.Close()
		v.closed = true
		return true
	}
	must(v.conn.Shutdown(tcpip.ShutdownWrite))
	return true
}

// abort sends RST, as close does after SO_LINGER with no time.
func (v *netServer) abort() {
	v.conn.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: true})
	v.conn.Close()
	v.isEnded, v.err = true, errAborted
}

func (v *netServer) state() gvtcp.EndpointState {
	if v.conn == nil {
		return gvtcp.StateInitial
	}
	return gvtcp.EndpointState(v.conn.State())
}

// checkState notices that the stack is done with the connection, or gave it up.
func (v *netServer) checkState() {
	if v.isDone || v.isEnded {
		return // keepalives in TIME-WAIT, which netstack sends, end in an error
	}
	switch s := v.state(); {
	case v.closed && (s == gvtcp.StateTimeWait || s == gvtcp.StateClosing && v.finAcked):
		// An ACK of its FIN that overtakes the client's FIN counts for netstack, but
		// leaves it in CLOSING for good.
		v.isDone = true
	case s == gvtcp.StateError || s == gvtcp.StateClose:
		// It is closed without an error once the ACK of a FIN in LAST-ACK is there,
		// however much is still to be read.
		if err := v.conn.LastError(); err != nil || s == gvtcp.StateError {
			v.lost(err)
		} else {
			v.isDone = v.closed
		}
	}
}

// lost ends the connection; err is what the stack tells once, by whatever call asks first.
func (v *netServer) lost(err tcpip.Error) {
	v.isEnded = true
	switch err.(type) {
	case nil:
	case *tcpip.ErrTimeout:
		v.err = errTimeout
	case *tcpip.ErrConnectionReset, *tcpip.ErrAborted:
		v.err = errReset
	default:
		v.err = fmt.Errorf("netstack: %v", err)
	}
}

func (v *netServer) done() bool { return v.isDone }

func (v *netServer) counters() tcpStats {
	s := v.host.stack.Stats().TCP
	n := func(c *tcpip.StatCounter) int { return int(c.Value()) }
	return tcpStats{
		Sent: n(s.SegmentsSent), Received: n(s.ValidSegmentsReceived), Retransmitted: n(s.Retransmits), Timeouts: n(s.Timeouts),
	}
}

func (v *netServer) String() string {
	return fmt.Sprintf("%v\n  netstack %+v: %v acked %d", &v.application, v.options, v.state(), v.acked)
}

// netSilence is how long a TCP with a timeout of at most [netMaxRTO] is never silent while
// data or FIN of its are not acknowledged, sent or not.
const netSilence = time.Minute

// stalled says whether netstack fell silent for good, which is its fault whatever reached
// it: after repeated losses CUBIC's window may become 0 segments, and RACK may leave
// no timer running behind a tail loss probe.
func (v *netServer) stalled() bool {
	owing := v.acked < v.wrote || v.finSent && !v.finAcked
	return owing && !v.isEnded && !v.isDone && v.w.clock.Now()-v.lastSent > netSilence
}

// netPatience is the limit of a run whose server may close before the client. Then
// netstack sends no SACK any more; subflows wait for each other's timeouts.
const netPatience = time.Hour

// RunNetstack is Run with netstack as server, its options drawn from the seed. A run that
// netstack stalled, as it was silent with data outstanding, is repeated with a
// recovery of its that does not ([Result.Stalled]).
func RunNetstack(cfg Config) Result {
	for i := range cfg.Conns {
		if c := &cfg.Conns[i].Server; c.close == closeAfterSend && c.expect > 0 {
			cfg.Limit = max(cfg.Limit, netPatience)
		}
	}
	r, stalled := runNetstack(cfg, drawNetOptions, nil, nil)
	if stalled && r.Failure != "" && strings.Contains(r.Failure, "deadlock") {
		r, _ = runNetstack(cfg, plainest, nil, nil)
		r.Stalled = true
	}
	return r
}

// runNetstack is run with netstack as server; stalled says whether that is stalled at the
// end.
func runNetstack(cfg Config, options func(*rand.Rand) netOptions, mid func(*world) middle, tamper func(int, []byte) []byte) (r Result, stalled bool) {
	servers := netServers{options: options}
	defer servers.close()
	cfg.serve = servers.serve
	r = run(cfg, mid, tamper)
	for _, v := range servers.made {
		stalled = stalled || v.stalled()
	}
	return r, stalled
}
