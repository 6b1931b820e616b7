package sim

import (
	"math/rand/v2"
	"time"

	"github.com/braid-upf/braid/atsss/mptcp"
	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// middle is what stands between the accesses and the server.
type middle interface {
	uplink(a steer.Access, pkt []byte)
	downlink(pkt []byte)
	tick()
	rules() // the policy changed
	idle() bool
	connections() int
}

// router is a middle that passes everything: for tests of the two endpoints alone.
type router struct{ w *world }

func (r router) uplink(_ steer.Access, pkt []byte) { r.w.sendServer(pkt) }
func (r router) downlink(pkt []byte)               { r.w.sendUE(r.w.accessOf(pkt), pkt) }
func (router) tick()                               {}
func (router) rules()                              {}
func (router) idle() bool                          { return true }
func (router) connections() int                    { return 0 }

// translator is the real proxy.
type translator struct {
	w       *world
	pool    *packet.Pool
	proxy   *proxy.Proxy
	session *proxy.Session
	out     proxy.Out
}

const (
	pdrDown   = 3
	keyPool   = 4 // as many as connections are drawn; a scenario may have more
	maxPacket = 9000
)

func newTranslator(w *world, rng *rand.Rand) *translator {
	random := rng.Uint64
	draw := rng.Uint64
	pool := max(keyPool, len(w.cfg.Conns))
	if n := pool - len(w.cfg.Conns); w.cfg.NearWrap {
		draw = func() uint64 { // the keys drawn last are taken first; it costs time to find one
			if n--; n < 0 && n >= -len(w.cfg.Conns) {
				return keyNearWrap(rng)
			}
			return rng.Uint64()
		}
	}
	keys := mptcp.NewKeyPool(pool, draw, nil)
	keys.Fill(64)
	t := &translator{w: w, pool: packet.NewPool(64, maxPacket)}
	t.proxy = proxy.New(proxy.Config{Pool: t.pool, Keys: keys, Rand: random})
	t.session = &proxy.Session{ID: 7, MTU: uint16(w.cfg.MTU), Converter: converterOf(w)}
	return t
}

// keyNearWrap draws a key whose IDSN's low word is within 2^15 below 2^32.
func keyNearWrap(rng *rand.Rand) uint64 {
	for {
		k := rng.Uint64()
		if _, idsn := derive(k); uint32(idsn) >= 0xffff8000 {
			return k
		}
	}
}

func (t *translator) now() proxy.Time {
	return proxy.Time(t.w.clock.Now() + time.Hour)
}

func (t *translator) rule() proxy.Rule { return proxy.Rule{PDR: pdrDown, Policy: t.w.policy} }

// load puts pkt into a buffer of the pool.
func (t *translator) load(pkt []byte, in *packet.Info) *packet.Buffer {
	if packet.Parse(pkt, in) != packet.OK {
		return nil
	}
	b := t.pool.Get()
	b.SetLen(copy(b.Room(), pkt))
	return b
}

func (t *translator) uplink(a steer.Access, pkt []byte) {
	var in packet.Info
	b := t.load(pkt, &in)
	if b == nil || in.Proto != packet.ProtoTCP || in.Fragment {
		return
	}
	if t.proxy.Uplink(t.now(), t.session, a, t.rule(), b, &in, &t.out) == proxy.NotProxied {
		t.w.passing = true
		t.out.ToN6 = append(t.out.ToN6, b)
	}
	t.flush()
}

func (t *translator) downlink(pkt []byte) {
	var in packet.Info
	b := t.load(pkt, &in)
	if b == nil || in.Proto != packet.ProtoTCP || in.Fragment {
		return
	}
	if t.proxy.Downlink(t.now(), t.session, t.rule(), b, &in, &t.out) == proxy.NotProxied {
		if in.Dst.Netip() == t.w.sessionAddr() { // late, to a converted connection that is forgotten
			t.pool.Put(b)
			return
		}
		t.w.passing = true
		t.out.ToUE = append(t.out.ToUE, proxy.ToUE{Buf: b, Session: t.session, Access: t.w.accessOf(b.Bytes()), PDR: pdrDown})
	}
	t.flush()
}

func (t *translator) tick() {
	t.proxy.Tick(t.now(), &t.out)
	t.flush()
}

func (t *translator) rules() {
	t.proxy.AccessRules(t.now(), t.session, func(uint16) proxy.Rule { return t.rule() }, &t.out)
	t.flush()
}

func (t *translator) idle() bool { return t.proxy.Idle() }

func (t *translator) connections() int { return t.proxy.Connections() }

// flush sends what the proxy gave out and takes the buffers back.
func (t *translator) flush() {
	seen := make(map[*packet.Buffer]bool)
	own := func(b *packet.Buffer) []byte {
		if seen[b] {
			t.w.fail("proxy: one buffer given out twice")
		}
		seen[b] = true
		return append([]byte(nil), b.Bytes()...)
	}
	for _, o := range t.out.ToUE {
		pkt := own(o.Buf)
		if o.Session != t.session || o.PDR != pdrDown {
			t.w.fail("proxy: packet for session %p PDR %d", o.Session, o.PDR)
		}
		t.w.sendUE(o.Access, pkt)
	}
	for _, b := range t.out.ToN6 {
		t.w.sendServer(own(b))
	}
	for b := range seen {
		t.pool.Put(b)
	}
	t.out.Reset()
	t.w.passing = false
	if err := t.proxy.Verify(); err != nil {
		t.w.fail("proxy: %v", err)
	}
}
