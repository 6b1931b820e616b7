package proxy

import "github.com/braid-upf/braid/atsss/mptcp"

// uplinkControl takes the options that manage addresses and priorities. MP_PRIO of the UE
// changes nothing: which access new data take is the policy's to say (TS 23.501 §5.32.8).
// It reports whether g is used up.
func (p *Proxy) uplinkControl(f *Subflow, g *segment) (used bool) {
	c, o := f.conn, &g.opt.mp
	p.strayOptions(f, o)
	if o.Present&mptcp.AddAddr != 0 && !o.AddAddrEcho {
		p.uplinkAddAddr(f, o.AddAddrRaw)
	}
	if o.Present&mptcp.RemoveAddr != 0 {
		c.removeAddrs(o.RemovedIDs[:o.RemovedCount])
	}
	// Nothing fails where there are no checksums.
	return o.Present&mptcp.Fail != 0 && c.checksum && p.mpFail(f, g)
}

// uplinkAddAddr takes an ADD_ADDR, each time it comes: the UE repeats it until it is
// echoed (RFC 8684 §3.4.1). The address itself is of no use: subflows are opened by the
// UE alone.
func (p *Proxy) uplinkAddAddr(f *Subflow, raw []byte) {
	c := f.conn
	if !mptcp.AddAddrAuthentic(raw, c.peer, c.local.Key) {
		p.count.AddAddrBadHMAC++
		return
	}
	p.withOption(f, mptcp.AppendAddAddrEcho(p.scratch[:0], raw), 0)
}

// removeAddrs stops using the subflows from addresses that the UE no longer has
// (RFC 8684 §3.4.2). What it still sends there is taken, so that a forged REMOVE_ADDR
// ends nothing: the UE ends the subflows, or not.
func (c *Conn) removeAddrs(ids []uint8) {
	for _, id := range ids {
		for _, x := range c.subflows {
			if x.peerID == id && x.live() {
				x.state = subflowClosing
			}
		}
	}
	c.refresh()
}
