package sim

import (
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// watch is the observer of one connection at the proxy's edges (PROTOCOL §3.21).
// It keeps, byte for byte and without any of the proxy's cleverness, what arrived
// from either side, and checks every emitted packet against it.
type watch struct {
	w *world
	p *pair

	cISN, sISN   uint32 // that the server saw, and its own
	synPayload   int    // of the UE's last SYN
	haveC, haveS bool
	keyB         uint64
	idsnB        uint64
	wsClient     int // shift of the first SYN, -1 = none
	wsServer     int
	tsOn         bool
	noMPTCP      bool // the UE is known to be plain TCP
	noServer     bool // the converter answers itself: there is nothing to compare with
	over         bool // RST or FASTCLOSE was seen, or both FINs acknowledged: late packets follow fewer rules

	// From the server.
	srvAck   int64  // u position, its FIN counted
	srvSack  bitmap // by u
	srvEdge  int64  // right edge in u
	srvTS    uint32
	srvTSSet bool
	have     bitmap // d received from the server
	srvFIN   int64  // d of the FIN, -1 = not seen

	// From the UE.
	got     bitmap // u received from the UE
	ueFIN   bool   // a DATA_FIN was seen
	dack    int64  // d position, the DATA_FIN counted
	ueEdge  int64  // right edge in d
	acked   bitmap // d that some subflow acknowledged or SACKed, and that is not in doubt
	aborted bool

	// Emitted.
	outAck    int64 // to the server
	outTS     uint32
	outTSSet  bool
	outDack   int64
	outEdge   int64
	outSrvEnd int64   // right edge shown to the server
	placed    []uint8 // by d: 1 + number of the subflow that the byte went to last; 0 = none

	subs  map[endpoint]*subWatch
	stats watchStats
}

// watchStats counts what is allowed but worth a look.
type watchStats struct {
	Fillers  int                      // segments
	Remapped int                      // bytes that got another subflow, in Redundant mode a second one
	Solicits int                      // old bytes sent again under their own mapping
	Up, Down [steer.NumAccesses]int64 // payload bytes on each access
}

// subWatch is a subflow as the observer sees it.
type subWatch struct {
	f          *subflow
	number     uint8 // in the order of the SYNs, from 1
	cISN, pISN uint32
	inSYN      int64 // payload of the SYN: SSNs below 1
	haveP      bool
	wsClient   int

	// Uplink, by SSN.
	up    []int64 // u+1 of the byte, 0 = not seen
	void  bitmap  // beyond the server's window when it arrived, or behind such data and stuck
	fin   int64   // SSN of the UE's FIN, 0 = not seen
	spoke bool    // the UE has answered the SYN/ACK
	tsVal uint32  // last from the UE
	hasTS bool

	// Downlink, by SSN.
	down   []int64 // d+1 of the byte, 0 = not sent
	doubt  bitmap  // filled over: an ACK says nothing of the first mapping
	acked  int64   // SSN
	outAck int64
}

// bitmap is a set of positions; negative ones are never in it.
type bitmap []uint64

func (b bitmap) has(i int64) bool {
	return i >= 0 && int(i>>6) < len(b) && b[i>>6]>>(uint(i)&63)&1 != 0
}

func (b *bitmap) set(i int64) {
	if i < 0 {
		return
	}
	for int(i>>6) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i>>6] |= 1 << (uint(i) & 63)
}

func (b *bitmap) setRange(from, to int64) {
	for i := from; i < to; i++ {
		b.set(i)
	}
}

// missing is the first position of [from, to) that is not in b, or -1.
func (b bitmap) missing(from, to int64) int64 {
	for i := from; i < to; i++ {
		if !b.has(i) {
			return i
		}
	}
	return -1
}

func at(s []int64, i int64) int64 {
	if i < 0 || i >= int64(len(s)) {
		return 0
	}
	return s[i]
}

func put(s *[]int64, i, v int64) {
	for int64(len(*s)) <= i {
		*s = append(*s, 0)
	}
	(*s)[i] = v
}

func newWatch(w *world, p *pair) *watch {
	return &watch{w: w, p: p, srvFIN: -1, subs: make(map[endpoint]*subWatch)}
}

// position turns a DSN or DATA_ACK into u (up) or d.
func (w *watch) position(v uint64, eight, up bool) int64 {
	if up {
		return expandWide(v, eight, w.p.client.idsnA+1, max(w.srvAck, 0))
	}
	return expandWide(v, eight, w.idsnB+1, w.dack)
}

func (w *watch) fail(format string, args ...any) { w.w.fail(format, args...) }

// see records a packet at one of the proxy's edges and checks emitted ones.
func (w *watch) see(point int, a steer.Access, s *segment, pkt []byte) {
	it := traceItem{at: w.w.clock.Now(), point: point, pkt: pkt, w: w}
	if point == fromUE || point == toUE {
		it.where = a.String()
	}
	switch point {
	case fromUE:
		w.fromUE(a, s)
		it.sub = w.subs[s.src]
	case toUE:
		it.sub = w.subs[s.dst]
	}
	w.w.trace.add(it)
	if w.w.passing && w.over {
		return // ordinary traffic once the connection is forgotten
	}
	if v := w.p.cfg.Client.convert; v != nil && point == toUE && !w.haveS {
		w.noServer = w.noServer || !v.early || !s.has(packet.SYN)
	}
	if w.noServer {
		return
	}
	switch point {
	case fromServer:
		w.fromServer(s)
	case toServer:
		w.toServer(s)
	case toUE:
		w.toUE(a, s)
	}
}

// plain: nothing is translated.
func (w *watch) plain() bool {
	return w.noMPTCP || w.p.cfg.Client.plain || len(w.p.client.subs) > 0 && w.p.client.subs[0].keyless
}

func (w *watch) fromUE(a steer.Access, s *segment) {
	if s.has(packet.SYN) {
		w.ueSYN(s)
		return
	}
	f := w.subs[s.src]
	if f == nil || w.plain() || w.noServer {
		return
	}
	f.spoke = true
	if s.has(packet.RST) || s.mp.fastClose != nil {
		w.over = w.over || s.mp.fastClose != nil || len(w.subs) == 1
		w.aborted = w.aborted || s.mp.fastClose != nil
		return
	}
	if f == w.subs[w.firstEndpoint()] && !s.mp.any() && (w.haveS || w.p.client.convert != nil) && !w.p.client.full {
		w.noMPTCP = true
		return
	}
	if s.hasTS {
		if !f.hasTS || int32(s.tsVal-f.tsVal) > 0 {
			f.tsVal = s.tsVal
		}
		f.hasTS = true
	}
	w.stats.Up[a] += int64(len(s.payload))
	off := expand(int64(len(f.up)), s.sn-f.cISN)
	w.ueData(f, s, off)
	w.ueACK(f, s)
}

func (w *watch) firstEndpoint() endpoint { return w.p.client.subs[0].local }

func (w *watch) ueSYN(s *segment) {
	if s.mp.join == nil {
		w.synPayload = len(s.payload)
	}
	if f := w.subs[s.src]; f != nil {
		w.noMPTCP = w.noMPTCP || !s.mp.any()
		f.tsVal = s.tsVal
		f.outAck = 1 - f.inSYN // its payload is to be acknowledged anew
		return
	}
	f := &subWatch{f: w.p.subs[s.src], number: uint8(len(w.subs) + 1), cISN: s.sn, wsClient: s.wscale, up: make([]int64, 1), tsVal: s.tsVal, hasTS: s.hasTS, acked: 1, outAck: 1}
	w.subs[s.src] = f
	f.inSYN = int64(len(f.f.synData))
	f.cISN += uint32(f.inSYN)
	f.outAck -= f.inSYN
	if !w.haveC {
		w.got.setRange(0, w.p.client.inSYN()) // the proxy has them, or gets them again
		w.haveC, w.cISN, w.wsClient = true, f.cISN-uint32(w.p.client.inSYN()), s.wscale
		w.ueEdge = int64(s.window)
		w.noMPTCP = s.mp.capable == nil
	}
}

// ueData records payload and DATA_FIN.
func (w *watch) ueData(f *subWatch, s *segment, off int64) {
	d := s.mp.dss
	var u int64
	switch {
	case s.mp.capable != nil && s.mp.capable.dataLen >= 0:
		u = off - 1 + w.p.client.inSYN()
	case d != nil && d.hasMap:
		u = w.position(d.dsn, d.map8, true) + off - int64(d.ssn)
		w.ueFIN = w.ueFIN || d.fin
	case off < 1 && f.inSYN > 0:
		return // the SYN's payload again
	case len(s.payload) > 0:
		w.fail("client: payload without mapping")
		return
	}
	stuck := len(s.payload) > 0 && at(f.up, off) != 0 && off <= f.outAck && u > w.srvAck && w.given(w.srvAck)
	for i := range int64(len(s.payload)) {
		if stuck {
			f.void.set(off + i)
		}
		put(&f.up, off+i, u+i+1)
		w.got.set(u + i)
		if u+i >= w.srvEdge {
			f.void.set(off + i)
		}
	}
	if s.has(packet.FIN) {
		f.fin = off + int64(len(s.payload))
	}
}

// given says whether u came, and was void on each subflow that still waits for its
// acknowledgment.
func (w *watch) given(u int64) bool {
	for _, f := range w.subs {
		for i := max(f.outAck, 0); i < int64(len(f.up)); i++ {
			if f.up[i] == u+1 && !f.void.has(i) {
				return false
			}
		}
	}
	return w.got.has(u)
}

// ueACK records DATA_ACK, window, subflow ACK and SACK.
func (w *watch) ueACK(f *subWatch, s *segment) {
	shift := max(f.wsClient, 0)
	if w.wsServer < 0 {
		shift = 0
	}
	if d := s.mp.dss; d != nil && d.hasAck {
		pos := w.position(d.ack, d.ack8, false)
		w.dack = max(w.dack, pos)
		w.ueEdge = max(w.ueEdge, pos+int64(s.window)<<shift)
	} else if f.f.join || s.mp.capable != nil {
		w.ueEdge = max(w.ueEdge, w.dack+int64(s.window)<<shift)
	}
	if !f.haveP {
		return
	}
	ack := expand(f.acked, s.ack-f.pISN)
	w.ueAcked(f, f.acked, ack)
	f.acked = max(f.acked, ack)
	for i, b := range s.sacks {
		from, to := expand(f.acked, b[0]-f.pISN), expand(f.acked, b[1]-f.pISN)
		if i > 0 || from >= ack {
			w.ueAcked(f, from, to)
		}
	}
	if w.srvFIN >= 0 && w.dack > w.srvFIN && w.srvAck > w.p.client.wrote && w.p.client.fin {
		w.over = true
	}
}

func (w *watch) ueAcked(f *subWatch, from, to int64) {
	for i := from; i < to; i++ {
		if d := at(f.down, i); d > 0 && !f.doubt.has(i) {
			w.acked.set(d - 1)
		}
	}
}

func (w *watch) fromServer(s *segment) {
	if s.has(packet.SYN) {
		w.haveS, w.sISN, w.wsServer, w.tsOn = true, s.sn, s.wscale, s.hasTS
		w.srvEdge = max(w.srvEdge, int64(s.window))
		if !w.srvTSSet || int32(s.tsVal-w.srvTS) > 0 {
			w.srvTS, w.srvTSSet = s.tsVal, s.hasTS
		}
		return
	}
	if s.has(packet.RST) {
		w.over = true
		return
	}
	if s.hasTS && (!w.srvTSSet || int32(s.tsVal-w.srvTS) > 0) {
		w.srvTS, w.srvTSSet = s.tsVal, true
	}
	base := w.cISN + 1
	ack := expand(w.srvAck, s.ack-base)
	w.srvAck = max(w.srvAck, ack)
	shift := max(w.wsServer, 0)
	if w.wsClient < 0 {
		shift = 0
	}
	w.srvEdge = max(w.srvEdge, ack+int64(s.window)<<shift)
	for _, b := range s.sacks {
		if from, to := expand(ack, b[0]-base), expand(ack, b[1]-base); from >= ack {
			w.srvSack.setRange(from, to)
		}
	}
	d := expand(w.dack, s.sn-w.sISN-1)
	w.have.setRange(d, d+int64(len(s.payload)))
	if s.has(packet.FIN) {
		w.srvFIN = d + int64(len(s.payload))
	}
}
