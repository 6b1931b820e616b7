package sim

import (
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// toServer checks a packet that the proxy sends to the server.
func (w *watch) toServer(s *segment) {
	if s.mp.any() {
		w.fail("to server: MPTCP option")
	}
	if len(s.unknown) > 0 && !w.plain() {
		w.fail("to server: TCP options %v", s.unknown)
	}
	if w.plain() {
		return
	}
	from := w.firstEndpoint()
	if w.p.cfg.Client.convert != nil {
		from.addr = w.w.sessionAddr()
	}
	if s.src != from || s.dst != w.p.srv {
		w.fail("to server: from %v to %v", s.src, s.dst)
	}
	if s.has(packet.SYN) {
		w.synToServer(s)
		return
	}
	if s.has(packet.RST) {
		if !w.over && !w.p.client.isEnded {
			w.fail("to server: RST out of nowhere")
		}
		return
	}
	if !w.haveS {
		w.fail("to server: data before its SYN/ACK")
		return
	}
	w.timestampsToServer(s)
	w.dataToServer(s)
	w.ackToServer(s)
}

func (w *watch) synToServer(s *segment) {
	if s.sn != w.cISN {
		w.fail("to server: SYN %d, the UE's is %d", s.sn, w.cISN)
	}
	room := w.w.cfg.MTU - 40 - 20
	if w.w.cfg.IPv6 {
		room -= 20
	}
	// The MSS does not count timestamps (RFC 6691), which come out of the same room.
	if s.mss > room || s.mss == 0 {
		w.fail("to server: MSS %d leaves no room for a DSS, MTU %d", s.mss, w.w.cfg.MTU)
	}
	w.outTS, w.outTSSet = s.tsVal, s.hasTS
}

func (w *watch) timestampsToServer(s *segment) {
	if s.hasTS != w.tsOn {
		w.fail("to server: timestamps %v, negotiated %v", s.hasTS, w.tsOn)
		return
	}
	if !s.hasTS {
		return
	}
	if w.outTSSet && int32(s.tsVal-w.outTS) < 0 {
		w.fail("to server: TSval %d after %d", s.tsVal, w.outTS)
	}
	w.outTS, w.outTSSet = s.tsVal, true
	if int32(s.tsEcr-w.srvTS) > 0 {
		w.fail("to server: TSecr %d, its newest TSval is %d", s.tsEcr, w.srvTS)
	}
}

func (w *watch) dataToServer(s *segment) {
	u := expand(w.srvAck, s.sn-w.cISN-1)
	n := int64(len(s.payload))
	if n > 0 && u >= 0 {
		if i := w.p.client.up.differs(u, s.payload); i >= 0 {
			w.fail("to server: byte u=%d is not the client's", u+int64(i))
		}
		if i := w.got.missing(u, u+n); i >= 0 {
			w.fail("to server: byte u=%d, which did not come from the UE", i)
		}
	}
	if n > 1 && u+n > w.srvEdge {
		w.fail("to server: data to u=%d, the right edge is %d", u+n, w.srvEdge)
	}
	if s.has(packet.FIN) && (!w.ueFIN || u+n != w.p.client.wrote) {
		w.fail("to server: FIN at u=%d, DATA_FIN seen %v, the end is %d", u+n, w.ueFIN, w.p.client.wrote)
	}
}

func (w *watch) ackToServer(s *segment) {
	ack := expand(w.outAck, s.ack-w.sISN-1)
	if ack > w.dack {
		w.fail("to server: ACK d=%d, the largest DATA_ACK is %d", ack, w.dack)
	}
	if ack < w.outAck {
		w.fail("to server: ACK d=%d after %d", ack, w.outAck)
	}
	w.outAck = max(w.outAck, ack)
	shift := max(w.wsClient, 0)
	if w.wsServer < 0 {
		shift = 0
	}
	edge := ack + int64(s.window)<<shift
	if edge > w.ueEdge && edge > w.outSrvEnd {
		w.fail("to server: right edge d=%d, the UE's is %d", edge, w.ueEdge)
	}
	if edge+1<<shift <= w.outSrvEnd {
		w.fail("to server: right edge d=%d after %d", edge, w.outSrvEnd)
	}
	w.outSrvEnd = max(w.outSrvEnd, edge)
	for _, b := range s.sacks {
		from, to := expand(ack, b[0]-w.sISN-1), expand(ack, b[1]-w.sISN-1)
		if from <= ack || to <= from {
			w.fail("to server: SACK d=%d-%d with ACK %d", from, to, ack)
			continue
		}
		if i := w.acked.missing(from, to); i >= 0 {
			w.fail("to server: SACK d=%d-%d, but no subflow acknowledged %d", from, to, i)
		}
	}
}

// toUE checks a packet that the proxy sends to the UE.
func (w *watch) toUE(a steer.Access, s *segment) {
	f := w.subs[s.dst]
	if f == nil {
		w.fail("to UE: %v never sent a SYN", s.dst)
		return
	}
	if len(s.unknown) > 0 && !w.plain() {
		w.fail("to UE: TCP options %v", s.unknown)
	}
	if w.plain() {
		if s.mp.any() && !s.has(packet.SYN) {
			w.fail("to UE: MPTCP option to a plain client")
		}
		return
	}
	if a != f.f.access {
		w.fail("to UE: subflow of %v sent over %v", f.f.access, a)
	}
	if s.has(packet.SYN) {
		w.synToUE(f, s)
		return
	}
	if s.has(packet.RST) {
		return
	}
	if !f.haveP {
		// What the server says of an earlier connection, or of a SYN that comes again
		// (RFC 9293 §3.10.7.4: an ACK), is the UE's to answer.
		if !w.w.passing {
			w.fail("to UE: packet before the SYN/ACK")
		}
		return
	}
	w.stats.Down[a] += int64(len(s.payload))
	w.timestampsToUE(f, s)
	w.dssToUE(f, s)
	w.dataToUE(f, s)
	w.ackToUE(f, s)
}

func (w *watch) synToUE(f *subWatch, s *segment) {
	if f.haveP && f.pISN != s.sn && f.spoke {
		w.fail("to UE: SYN/ACK %d, before %d", s.sn, f.pISN)
	}
	f.haveP, f.pISN = true, s.sn
	if f.down == nil {
		f.down = make([]int64, 1)
	}
	syn := f.cISN - uint32(f.inSYN)
	if f.inSYN > 0 {
		syn += uint32(w.synPayload)
	}
	if s.ack != syn+1 {
		w.fail("to UE: SYN/ACK acknowledges %d, the SYN with its payload was %d", s.ack, syn)
	}
	if len(s.payload) > 0 {
		w.fail("to UE: SYN/ACK with payload")
	}
	if c := s.mp.capable; c != nil && len(c.keys) == 1 {
		if w.keyB != 0 && w.keyB != c.keys[0] {
			w.fail("to UE: another key in a repeated SYN/ACK")
		}
		w.keyB = c.keys[0]
		_, w.idsnB = derive(w.keyB)
		w.idsnB += uint64(w.p.client.behind())
	}
	if f.f.join && (s.hasTS != w.tsOn || (s.wscale >= 0) != (w.wsServer >= 0 && f.wsClient >= 0)) {
		w.fail("to UE: a join's SYN/ACK with timestamps %v and window scale %d, the server's: %v, %d", s.hasTS, s.wscale, w.tsOn, w.wsServer)
	}
}

func (w *watch) timestampsToUE(f *subWatch, s *segment) {
	if s.hasTS != (w.tsOn && f.hasTS) {
		w.fail("to UE: timestamps %v, negotiated %v", s.hasTS, w.tsOn)
		return
	}
	if !s.hasTS {
		return
	}
	if int32(s.tsEcr-f.tsVal) > 0 {
		w.fail("to UE: TSecr %d, the subflow's newest TSval is %d", s.tsEcr, f.tsVal)
	}
	if int32(s.tsVal-w.srvTS) > 0 {
		w.fail("to UE: TSval %d, the server's newest is %d", s.tsVal, w.srvTS)
	}
}

func (w *watch) dssToUE(f *subWatch, s *segment) {
	d := s.mp.dss
	if d == nil || !d.hasAck {
		asks := s.sn == f.pISN && s.space() == 0 && w.p.cfg.Client.convert != nil // for the third ACK, with an old SN
		if !w.over && !asks && (s.mp.addAddr == nil || !s.mp.addAddr.echo) {
			w.fail("to UE: no DATA_ACK")
		}
		return
	}
	pos := w.position(d.ack, d.ack8, true)
	if pos > w.srvAck {
		w.fail("to UE: DATA_ACK u=%d, the server's ACK is %d", pos, w.srvAck)
	}
	if pos < w.outDack {
		w.fail("to UE: DATA_ACK u=%d after %d", pos, w.outDack)
	}
	w.outDack = max(w.outDack, pos)
	shift := max(w.wsServer, 0)
	if f.wsClient < 0 {
		shift = 0
	}
	edge := pos + int64(s.window)<<shift
	if edge > w.srvEdge && !w.over {
		w.fail("to UE: right edge u=%d, the server's is %d", edge, w.srvEdge)
	}
	if edge+1<<shift <= w.outEdge && !w.over {
		w.fail("to UE: right edge u=%d after %d", edge, w.outEdge)
	}
	w.outEdge = max(w.outEdge, edge)
}

// dataToUE checks payload and mapping, and notes what each SSN stands for.
func (w *watch) dataToUE(f *subWatch, s *segment) {
	n := int64(len(s.payload))
	d := s.mp.dss
	if d == nil || !d.hasMap {
		if n > 0 {
			w.fail("to UE: %d bytes without mapping", n)
		}
		return
	}
	pos := w.position(d.dsn, d.map8, false)
	length := int64(d.n)
	if d.fin {
		length--
		if w.srvFIN < 0 || pos+length != w.srvFIN {
			w.fail("to UE: DATA_FIN at d=%d, the server's FIN is at %d", pos+length, w.srvFIN)
		}
	}
	if (d.csum != csumNone) != w.p.cfg.Client.checksum {
		w.fail("to UE: DSS checksum")
	}
	if n == 0 {
		if length != 0 || d.ssn != 0 {
			w.fail("to UE: mapping ssn %d of %d bytes without payload", d.ssn, length)
		}
		return
	}
	ssn := expand(f.acked, s.sn-f.pISN)
	if d.ssn != s.sn-f.pISN || length != n {
		w.fail("to UE: mapping ssn %d of %d bytes on segment ssn %d of %d bytes", d.ssn, length, ssn, n)
	}
	if pos+n > w.ueEdge && n > 1 {
		w.fail("to UE: data to d=%d, the right edge is %d", pos+n, w.ueEdge)
	}
	filler := pos+n <= w.dack
	if !filler {
		w.contentToUE(pos, s.payload)
	}
	w.place(f, ssn, pos, n, filler)
}

func (w *watch) contentToUE(pos int64, b []byte) {
	if i := w.p.client.down.differs(pos, b); i >= 0 {
		w.fail("to UE: byte d=%d is not the server's", pos+int64(i))
	}
	if i := w.have.missing(pos, pos+int64(len(b))); i >= 0 {
		w.fail("to UE: byte d=%d, which did not come from the server", i)
	}
}

// place notes that SSNs ssn..ssn+n carry d pos..pos+n: the same SSN never stands for
// another d, unless it fills.
func (w *watch) place(f *subWatch, ssn, pos, n int64, filler bool) {
	changed, old := false, true
	for i := range n {
		was := at(f.down, ssn+i)
		switch {
		case was == pos+i+1:
		case was == 0:
			old = false
			put(&f.down, ssn+i, pos+i+1)
			if !filler && pos+i >= 0 {
				w.moved(f, pos+i)
			}
			if filler {
				f.doubt.set(ssn + i)
				changed = true
			}
		case filler:
			changed = true
			f.doubt.set(ssn + i)
		default:
			w.fail("to UE: ssn %d carries d=%d, before d=%d", ssn+i, pos+i, was-1)
			return
		}
	}
	if changed {
		w.stats.Fillers++
	} else if old && filler {
		w.stats.Solicits++
	}
}

// ackToUE checks subflow ACK and SACK.
func (w *watch) ackToUE(f *subWatch, s *segment) {
	if s.has(packet.FIN) && f.fin == 0 && !w.over {
		w.fail("to UE: FIN on a subflow that the UE did not close")
	}
	ack := expand(f.outAck, s.ack-f.cISN)
	for i := f.outAck; i < ack; i++ {
		if f.fin != 0 && i == f.fin {
			continue
		}
		if !w.mayAck(f, i) {
			w.fail("to UE: subflow ACK %d covers ssn %d (u=%d), server's ACK is %d", ack, i, at(f.up, i)-1, w.srvAck)
			break
		}
	}
	if ack < f.outAck && !w.over {
		w.fail("to UE: subflow ACK %d after %d", ack, f.outAck)
	}
	f.outAck = max(f.outAck, ack)
	for i, b := range s.sacks {
		from, to := expand(ack, b[0]-f.cISN), expand(ack, b[1]-f.cISN)
		if i == 0 && to <= ack {
			continue // D-SACK
		}
		if from <= ack || to <= from {
			w.fail("to UE: SACK ssn %d-%d with ACK %d", from, to, ack)
			continue
		}
		for x := from; x < to; x++ {
			if !w.mayAck(f, x) && x != f.fin {
				w.fail("to UE: SACK %d-%d covers ssn %d (u=%d), which the server has not", from, to, x, at(f.up, x)-1)
				break
			}
		}
	}
}

// mayAck: ssn i of the UE may be acknowledged to it.
func (w *watch) mayAck(f *subWatch, i int64) bool {
	if i < 1 {
		return true // the SYN, and its payload
	}
	u := at(f.up, i) - 1
	return at(f.up, i) != 0 && (u < w.srvAck || w.srvSack.has(u) || f.void.has(i))
}

// moved counts a byte that goes to another subflow than before.
func (w *watch) moved(f *subWatch, d int64) {
	for int64(len(w.placed)) <= d {
		w.placed = append(w.placed, 0)
	}
	if n := w.placed[d]; n != 0 && n != f.number {
		w.stats.Remapped++
	}
	w.placed[d] = f.number
}
