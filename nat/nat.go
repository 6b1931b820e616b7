// Package nat is the source NAT between N6 and a data network (NAT44, traditional
// NAPT of RFC 3022): IPv4 packets of UEs leave an interface with the interface's
// address. It is done by the kernel's nf_tables, on the far side of N6, so that the
// packet path and the TCP proxy know nothing of it.
//
// Left out: NAT of IPv6.
package nat

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
)

// Rule says which packets get an interface's address as their source.
type Rule struct {
	Source    netip.Prefix // of the packets, IPv4
	Interface string       // by which they leave
}

// answer bounds the wait for the kernel's answers to one batch: a kernel that lacks
// a part gives fewer than were asked for.
const answer = 10 * time.Second

// table is the nf_tables table of one UPF; nil is none.
type table nftables.Table

// Open puts rules in force, all or none, in the network namespace of the calling
// thread and in a table of their own, braid-<tun>, where tun is the name of the
// UPF's N6 device. A table of that name, which a killed UPF left, goes, even if there
// are no rules. Close removes the table; connections that are there keep their
// address.
//
// The errors name the interface and what is missing. It needs CAP_NET_ADMIN and a
// kernel with nf_tables if there are rules.
func Open(tun string, rules []Rule) (io.Closer, error) {
	for _, r := range rules {
		if !r.Source.IsValid() || !r.Source.Addr().Is4() {
			return nil, fmt.Errorf("natifname %s: source %v: allowed: an IPv4 address range", r.Interface, r.Source)
		}
		if _, err := net.InterfaceByName(r.Interface); err != nil {
			return nil, fmt.Errorf("natifname %s: no such interface here: %w", r.Interface, err)
		}
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "braid-" + tun}
	c := connect()
	// A kernel without nf_tables says so here, and only here.
	there, err := c.ListTablesOfFamily(t.Family)
	if len(rules) == 0 && !slices.ContainsFunc(there, func(o *nftables.Table) bool { return o.Name == t.Name }) {
		return (*table)(nil), nil
	}
	if err != nil {
		return nil, explain(err)
	}
	c.AddTable(t) // or there may be none to delete
	c.DelTable(t)
	if len(rules) > 0 {
		add(c, t, rules)
	}
	if err := c.Flush(); err != nil {
		return nil, explain(err)
	}
	if len(rules) == 0 {
		t = nil
	}
	return (*table)(t), nil
}

// add makes t with rules.
func add(c *nftables.Conn, t *nftables.Table, rules []Rule) {
	c.AddTable(t)
	chain := c.AddChain(&nftables.Chain{
		Name: "postrouting", Table: t, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	for _, r := range rules {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: r.exprs()})
	}
}

// Close is as [Open] says.
func (t *table) Close() error {
	if t == nil {
		return nil
	}
	c := connect()
	c.DelTable((*nftables.Table)(t))
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nf_tables: remove table %s: %w", t.Name, err)
	}
	return nil
}

// connect makes a connection whose every request has a socket of its own.
func connect() *nftables.Conn {
	c, _ := nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error { // fails to make lasting ones only
		return c.SetReadDeadline(time.Now().Add(answer))
	}))
	return c
}

func explain(err error) error {
	return fmt.Errorf("natifname: NAT needs nf_tables with NAT in the kernel (modules nf_tables, nft_chain_nat, nft_masq) and CAP_NET_ADMIN: %w", err)
}

// exprs is: ip saddr Source oifname Interface masquerade.
func (r *Rule) exprs() []expr.Any {
	const reg, sourceAt, addrLen = 1, 12, 4
	source := r.Source.Masked()
	name := make([]byte, nameLen)
	copy(name, r.Interface)
	return []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: sourceAt, Len: addrLen},
		&expr.Bitwise{
			SourceRegister: reg, DestRegister: reg, Len: addrLen,
			Mask: net.CIDRMask(source.Bits(), source.Addr().BitLen()),
			Xor:  binaryutil.NativeEndian.PutUint32(0),
		},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: source.Addr().AsSlice()},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: name},
		&expr.Masq{},
	}
}

// nameLen is IFNAMSIZ, the length of an interface's name with its zeros.
const nameLen = 16
