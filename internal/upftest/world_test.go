package upftest

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
)

// Addresses of the world.
var (
	n3Addr  = addr("10.100.1.1")
	n4Addr  = addr("10.100.4.1")
	smfAddr = addr("10.100.4.2")
	dnAddr  = addr("10.100.6.2")
	dnAddr6 = addr("fd00:100:6::2")
	gnbAddr = [2]netip.Addr{addr("10.100.1.2"), addr("10.100.2.2")}
)

// pools are what dn routes to the UPF, as entries of dnnList.
const pools = "{dnn: " + dnn + ", cidr: 10.60.0.0/16}, {dnn: " + dnn + ", cidr: 'fd00:60::/32'}"

// world is everything around a UPF.
type world struct {
	*testing.T
	upf *upf
	smf *smf
	gnb [2]*gnb
	dn  *host

	sessions uint32
}

// begin makes a world whose UPF's config has these keys in its section braid.
func begin(t *testing.T, braid string) *world {
	t.Helper()
	return beginWith(t, configOf(n4Addr, n3Addr, pools, braid))
}

// beginWith makes a world whose UPF has this config.
func beginWith(t *testing.T, config string) *world {
	t.Helper()
	w := lay(t)
	w.upf = startUPF(w.upf.host, n4Addr, n3Addr, config)
	w.smf.associate(n4Addr)
	return w
}

// lay makes a world whose UPF does not run yet.
func lay(t *testing.T) *world {
	t.Helper()
	if missing != nil {
		t.Skip(missing)
	}
	w := &world{T: t}
	h := newHost(t, "upf")
	smfHost := newHost(t, "smf")
	cable(h, "n4", smfHost, "n4")
	h.addr("n4", "10.100.4.1/24")
	smfHost.addr("n4", "10.100.4.2/24")
	for i, dev := range []string{"n3-1", "n3-2"} {
		g := newHost(t, []string{"gnb1", "gnb2"}[i])
		cable(h, dev, g, "n3")
		h.addr(dev, []string{"10.100.1.1/24", "10.100.2.1/24"}[i])
		g.addr("n3", netip.PrefixFrom(gnbAddr[i], 24).String())
		if i == 1 {
			g.route("10.100.1.1/32", "10.100.2.1", "n3")
		}
		w.gnb[i] = newGNB(g, gnbAddr[i])
	}
	w.dn = newHost(t, "dn")
	cable(h, "n6", w.dn, "n6")
	h.addr("n6", "10.100.6.1/24", "fd00:100:6::1/64")
	w.dn.addr("n6", "10.100.6.2/24", "fd00:100:6::2/64")
	w.dn.route("10.60.0.0/16", "10.100.6.1", "n6")
	w.dn.route("fd00:60::/32", "fd00:100:6::1", "n6")
	w.smf = newSMF(smfHost, smfAddr)
	w.upf = &upf{host: h}
	return w
}

// guest is a UE with its session.
type guest struct {
	*ue
	session *session
	rules   *rules
	addrs   []netip.Addr
	up      tunnel
	down    uint32 // TEID at the gNB
	bearer  *bearer
}

// join brings a UE with these addresses to the first gNB: a session as free5GC makes it,
// with the rules as edit changes them, and the modification after that has the gNB's end.
func (w *world) join(edit func(*rules), addrs ...string) *guest {
	w.Helper()
	g := w.arrive(edit, addrs...)
	g.bearer = g.attach(w.gnb[0], g.up, g.down)
	g.session.modify(g.toGNB(w.gnb[0]))
	return g
}

// arrive makes a UE and its session, before the gNB is known to the UPF.
func (w *world) arrive(edit func(*rules), addrs ...string) *guest {
	w.Helper()
	w.sessions++
	g := &guest{
		ue:   newUE(w.T, fmt.Sprintf("ue%d", w.sessions), addrs...),
		up:   tunnel{teid: 0x1000 + w.sessions, peer: n3Addr, qfi: defaultQFI},
		down: 0x2000 + w.sessions,
	}
	for _, a := range addrs {
		g.addrs = append(g.addrs, addr(a))
	}
	g.rules = free5GCSession(n3Addr, g.up.teid, g.addrs...)
	if edit != nil {
		edit(g.rules)
	}
	g.session = w.smf.establish(n4Addr, g.rules.creates()...)
	return g
}

// toGNB is the Update FAR that names the UE's tunnel at a gNB.
func (g *guest) toGNB(to *gnb) *ie.IE { return toGNB(farDown, to.n3, g.down).IE(ie.UpdateFAR) }
