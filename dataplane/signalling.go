package dataplane

import (
	"net/netip"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/packet"
)

// signalling works on the GTP-U message b that is not a G-PDU; w.gtp describes it.
func (w *worker) signalling(b *packet.Buffer, peer *driver.Peer, local uint8) {
	switch w.gtp.Type {
	case gtpu.EchoRequest:
		w.count.n[echoRequests]++
		w.reply(b, gtpu.AppendEchoResponse(b.Room()[:0], w.gtp.SN), peer, local)
		return
	case gtpu.EchoResponse:
		w.count.n[echoResponses]++
		w.event(&Event{Kind: EchoAnswered, From: peer.AddrPort()})
	case gtpu.EndMarker:
		w.count.n[endMarkersReceived]++
		w.passEndMarker()
	case gtpu.SupportedExtensionHeadersNotification:
		w.count.n[extensionNotificationsReceived]++
	case gtpu.ErrorIndication:
		w.errorIndication(b, peer)
	default:
		w.count.n[dropMessageType]++
	}
	w.pool.Put(b)
}

// errorIndication tells the control side.
func (w *worker) errorIndication(b *packet.Buffer, peer *driver.Peer) {
	var e gtpu.ErrorInd
	if r := gtpu.ParseErrorIndication(b.Bytes(), &w.gtp, &e); r != gtpu.OK {
		w.count.gtpu[r]++
		return
	}
	w.count.n[errorIndicationsReceived]++
	w.event(&Event{Kind: ErrorIndicationReceived, From: peer.AddrPort(), TEID: e.TEID, Peer: e.Peer})
}

// passEndMarker hands an End Marker out of a tunnel from another UPF on to where the
// tunnel's packets go (TS 23.501 §5.8.2.9): behind the last of them.
func (w *worker) passEndMarker() {
	t := w.teids.lookup(w.gtp.TEID)
	if t == nil || !t.down {
		return
	}
	for i := range t.pdrs {
		if f := t.pdrs[i].far; f != nil && f.action == actionTunnel {
			w.endMarker(&f.out)
			return
		}
	}
}

// echo sends an Echo Request.
func (w *worker) echo(peer netip.Addr, local uint8, sn uint16) {
	b := w.pool.Get()
	p := driver.MakePeer(netip.AddrPortFrom(peer, gtpu.Port))
	w.count.n[echoRequestsSent]++
	w.reply(b, gtpu.AppendEchoRequest(b.Room()[:0], sn), w.addPeer(p), local)
}

// endMarker queues an End Marker for the tunnel that e leads to.
func (w *worker) endMarker(e *egress) {
	b := w.pool.Get()
	w.count.n[endMarkersSent]++
	w.reply(b, gtpu.AppendEndMarker(b.Room()[:0], e.teid), w.addPeer(e.peer), e.local)
}

// strangeTEID has a G-PDU whose TEID is not in this worker's table: it goes to its
// owner, or, if nobody has the TEID, back as an Error Indication.
func (w *worker) strangeTEID(b *packet.Buffer, peer *driver.Peer, local uint8, handed bool) {
	if owner, ok := w.plane.teidOwners.get(uint64(w.gtp.TEID), w.gtp.TEID); ok && owner != w.index && !handed {
		w.handOver(owner, b, peer, local)
		return
	}
	w.count.n[dropUnknownTEID]++
	if w.now < w.plane.grace {
		w.pool.Put(b) // the CP function may be about to restore its session (TS 23.527 §4.3)
		return
	}
	// TS 29.281 §7.3.1: none for a TEID of all zeros.
	if w.gtp.TEID == 0 || !w.mayNotify() {
		w.pool.Put(b)
		return
	}
	from := peer.AddrPort()
	m := gtpu.AppendErrorIndication(b.Room()[:0], gtpu.ErrorInd{
		TEID: w.gtp.TEID, Peer: w.plane.n3[local], SrcPort: from.Port(),
	})
	w.count.n[errorIndicationsSent]++
	// §4.4.2.3: to the registered port, whatever port the G-PDU came from.
	w.reply(b, m, w.addPeer(driver.MakePeer(netip.AddrPortFrom(from.Addr(), gtpu.Port))), local)
}

// notifyExtensions answers the message b, which has an extension header that must
// be understood and is not (TS 29.281 §7.2.3). Another notification is not answered,
// lest two that do not understand each other never stop.
func (w *worker) notifyExtensions(b *packet.Buffer, peer *driver.Peer, local uint8) {
	if w.gtp.Type == gtpu.SupportedExtensionHeadersNotification || !w.mayNotify() {
		w.pool.Put(b)
		return
	}
	w.count.n[extensionNotificationsSent]++
	w.reply(b, gtpu.AppendSupportedExtensions(b.Room()[:0], w.gtp.SN), peer, local)
}

// strangeUE has an N6 packet for an address that is not in this worker's table.
func (w *worker) strangeUE(b *packet.Buffer, handed bool) {
	if !handed {
		if owner, ok := w.plane.ueOwner(&w.ip.Dst); ok && owner != w.index {
			w.handOver(owner, b, nil, 0)
			return
		}
	}
	w.drop(b, dropUnknownUE)
}

// reply sends m, which was written to the room of b, to peer in place of b.
func (w *worker) reply(b *packet.Buffer, m []byte, peer *driver.Peer, local uint8) {
	b.Reset()
	b.SetLen(len(m))
	w.tx.N3 = append(w.tx.N3, driver.N3Packet{Buf: b, Peer: peer, Local: local})
}

// addPeer keeps p until tx is sent.
func (w *worker) addPeer(p driver.Peer) *driver.Peer {
	w.peers = append(w.peers, p)
	return &w.peers[len(w.peers)-1]
}

// mayNotify takes a token for a message that somebody else's packet provokes.
func (w *worker) mayNotify() bool {
	if w.limit.take(w.now) {
		return true
	}
	w.count.n[notificationsLimited]++
	return false
}

// limiter is a token bucket.
type limiter struct {
	tokens int64
	filled proxy.Time // when tokens was last brought up to date
}

// Rate and depth of a worker's bucket for messages that others provoke.
const (
	notifyPerSecond = 100
	notifyBurst     = 32
	notifyInterval  = proxy.Time(1e9 / notifyPerSecond)
)

func (l *limiter) take(now proxy.Time) bool {
	if n := int64((now - l.filled) / notifyInterval); n > 0 {
		l.tokens = min(notifyBurst, l.tokens+n)
		l.filled += proxy.Time(n) * notifyInterval
	}
	if l.tokens == 0 {
		return false
	}
	l.tokens--
	return true
}
