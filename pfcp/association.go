package pfcp

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
)

// MaxAlternatives is how many Alternative SMF IP Address IEs of one message are taken.
const MaxAlternatives = 32

// IE types and messages that go-pfcp does not know (TS 29.244 Tables 8.1.2-1 and
// 7.3-1, Rel-17).
const (
	TypeSessionChangeInfo uint16 = 290
	TypeGroupID           uint16 = 291
	TypeCPIPAddress       uint16 = 292

	MsgSessionSetModificationRequest  uint8 = 16
	MsgSessionSetModificationResponse uint8 = 17
)

// Alternative is an Alternative SMF IP Address IE (TS 29.244 §8.2.129).
type Alternative struct {
	Addrs     []netip.Addr // one of each family at most, IPv4 first
	Preferred bool         // PPE: to be taken before the others
}

// ParseAlternative reads an Alternative SMF IP Address IE.
func ParseAlternative(i *ie.IE) (Alternative, *Error) {
	as, err := ParseCPAddresses(i)
	return Alternative{as, err == nil && i.Payload[0]&4 != 0}, err
}

// IE encodes a, which has an address.
func (a Alternative) IE() *ie.IE {
	b := []byte{bit(a.Preferred, 4)}
	for _, x := range a.Addrs {
		b[0] |= bit(x.Is4(), 2) | bit(!x.Is4(), 1)
		b = append(b, x.AsSlice()...)
	}
	return ie.New(ie.AlternativeSMFIPAddress, b)
}

// ParseCPAddresses reads the addresses of an Alternative SMF IP Address, a CP PFCP
// Entity IP Address (§8.2.135) or a CP IP Address IE (§8.2.202): at least one.
func ParseCPAddresses(i *ie.IE) ([]netip.Addr, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return nil, err
	}
	a4, a6, _, err := addresses(i, b[1:], b[0]&2 != 0, b[0]&1 != 0)
	if err != nil {
		return nil, err
	}
	var as []netip.Addr
	for _, a := range []netip.Addr{a4, a6} {
		if a.IsValid() {
			as = append(as, a.Unmap())
		}
	}
	if len(as) == 0 {
		return nil, malformed(i, "neither V4 nor V6")
	}
	return as, nil
}

// CPAddressIE encodes an address as an IE of one of the types of [ParseCPAddresses].
func CPAddressIE(typ uint16, a netip.Addr) *ie.IE {
	return ie.New(typ, append([]byte{bit(a.Is4(), 2) | bit(!a.Is4(), 1)}, a.AsSlice()...))
}

// ParseSMFSetID reads an SMF Set ID IE (TS 29.244 §8.2.131): the name of the set, in
// lower case. The spare octet before it may be left out.
func ParseSMFSetID(i *ie.IE) (string, *Error) {
	b := i.Payload
	if len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	if name, ok := decodeName(b); ok {
		return strings.ToLower(name), nil
	}
	return "", malformed(i, "no FQDN")
}

// SMFSetIDIE encodes the name of an SMF set.
func SMFSetIDIE(name string) *ie.IE {
	return ie.New(ie.SMFSetID, append([]byte{0}, encodeName(name)...))
}

// Retention is a PFCP Session Retention Information IE (TS 29.244 Table 7.4.4.1-2):
// which sessions stay when a CP function associates again.
type Retention struct {
	Entities []netip.Addr // those whose CP F-SEID has one of these; empty = all
}

// Keeps says whether a session with that CP F-SEID stays.
func (r *Retention) Keeps(cp FSEID) bool {
	if r == nil {
		return false
	}
	for _, a := range r.Entities {
		if a == cp.IPv4 || a == cp.IPv6 {
			return true
		}
	}
	return len(r.Entities) == 0
}

// ParseRetention reads a PFCP Session Retention Information IE.
func ParseRetention(i *ie.IE) (*Retention, *Error) {
	r := &Retention{}
	err := children(i, func(c *ie.IE) *Error {
		if c.Type != ie.CPPFCPEntityIPAddress {
			return nil
		}
		as, err := ParseCPAddresses(c)
		r.Entities = append(r.Entities, as...)
		return err
	})
	return r, err
}

// SessionsRetainedIE is the PFCPASRsp-Flags IE that says that sessions were kept
// (PSREI, TS 29.244 §8.2.134).
func SessionsRetainedIE() *ie.IE { return ie.New(ie.PFCPASRspFlags, []byte{1}) }

// AssociationReleaseIE is the PFCP Association Release Request IE by which a UP
// function asks for the release of the association (SARR, TS 29.244 §8.2.77).
func AssociationReleaseIE() *ie.IE { return ie.New(ie.PFCPAssociationReleaseRequest, []byte{1}) }

// GracefulReleasePeriodIE encodes a Graceful Release Period (TS 29.244 §8.2.78): d
// in the finest unit that holds it, rounded up, at least 2 s and at most 310 h.
// 0 or less says that there is no end.
func GracefulReleasePeriodIE(d time.Duration) *ie.IE {
	const infinite = 7 << 5
	units := []time.Duration{2 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 10 * time.Hour}
	octet := byte(infinite)
	if d > 0 {
		for n, unit := range units {
			count := (d + unit - 1) / unit
			if count <= 31 || n == len(units)-1 {
				octet = byte(n)<<5 | byte(min(count, 31))
				break
			}
		}
	}
	return ie.New(ie.GracefulReleasePeriod, []byte{octet})
}

// UEIPPoolIE is a UE IP address Pool Information IE (TS 29.244 Table 7.4.4.1-3) of a
// pool of that identity for a data network.
func UEIPPoolIE(identity, dnn string) *ie.IE {
	id := binary.BigEndian.AppendUint16(nil, uint16(len(identity)))
	return ie.NewGroupedIE(ie.UEIPAddressPoolInformation,
		ie.New(ie.UEIPAddressPoolIdentity, append(id, identity...)), ie.NewNetworkInstance(dnn))
}

// Flags of the Node Report Type IE (TS 29.244 §8.2.69).
const (
	NodeReportUPFR uint8 = 1 << 0 // user plane path failure
	NodeReportUPRR uint8 = 1 << 1 // user plane path recovery
)

// RemoteGTPUPeerIE names the far end of a user plane path (TS 29.244 §8.2.70).
func RemoteGTPUPeerIE(peer netip.Addr) *ie.IE { return CPAddressIE(ie.RemoteGTPUPeer, peer) }
