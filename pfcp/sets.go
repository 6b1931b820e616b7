package pfcp

import (
	"encoding/binary"
	"net/netip"

	"github.com/wmnsk/go-pfcp/ie"
)

// CSID is one PDN connection set (TS 29.244 §8.2.43): the node that has given the
// identifier, and the identifier. An FQ-CSID IE holds up to 15 of one node.
type CSID struct {
	Node string // the node's address octets, behind its type
	ID   uint16
}

// ParseFQCSID reads an FQ-CSID IE. The node type at its end is passed over: an
// address belongs to one node.
func ParseFQCSID(i *ie.IE) ([]CSID, *Error) {
	b, err := octets(i, 1)
	if err != nil {
		return nil, err
	}
	typ, count := b[0]>>4, int(b[0]&0x0f)
	n := 4
	switch typ {
	case 1:
		n = 16
	case 0, 2:
	default:
		return nil, malformed(i, "node ID type %d", typ)
	}
	if len(b) < 1+n+2*count {
		return nil, malformed(i, "%d CSIDs in %d octets", count, len(b))
	}
	node := string(append([]byte{typ}, b[1:1+n]...))
	var ids []CSID
	for k := range count {
		ids = append(ids, CSID{node, binary.BigEndian.Uint16(b[1+n+2*k:])})
	}
	return ids, nil
}

// IE encodes c alone as an FQ-CSID IE.
func (c CSID) IE() *ie.IE {
	b := append([]byte{c.Node[0]<<4 | 1}, c.Node[1:]...)
	return ie.New(ie.FQCSID, binary.BigEndian.AppendUint16(b, c.ID))
}

// SessionSet are the sets of sessions that a session belongs to.
type SessionSet struct {
	CSIDs []CSID
	Group string // Group ID (TS 29.244 §8.2.201); "" = none
}

// maxCSIDs is how many CSIDs of one message are taken: that of each type of node.
const maxCSIDs = 32

// ParseSessionSet reads the FQ-CSID and Group ID IEs of a message's payload, the
// IEs as they stand on the wire: a message may hold more than one FQ-CSID. ok says
// that there was one.
func ParseSessionSet(payload []byte) (s SessionSet, ok bool, err *Error) {
	for len(payload) >= 4 && err == nil {
		typ, n := binary.BigEndian.Uint16(payload), int(binary.BigEndian.Uint16(payload[2:]))
		if 4+n > len(payload) {
			return s, ok, &Error{Cause: ie.CauseMandatoryIEIncorrect, Offending: typ, Text: "IE cut off"}
		}
		i := ie.New(typ, payload[4:4+n])
		payload = payload[4+n:]
		if err = s.take(i); typ == ie.FQCSID || typ == TypeGroupID {
			ok = true
		}
	}
	return s, ok, err
}

// take puts an FQ-CSID or a Group ID into s; other IEs are passed over.
func (s *SessionSet) take(i *ie.IE) *Error {
	switch i.Type {
	case ie.FQCSID:
		ids, err := ParseFQCSID(i)
		if err == nil && len(s.CSIDs)+len(ids) > maxCSIDs {
			err = malformed(i, "more than %d CSIDs", maxCSIDs)
		}
		s.CSIDs = append(s.CSIDs, ids...)
		return err
	case TypeGroupID:
		if len(i.Payload) > 255 {
			return malformed(i, "%d octets, allowed are 255", len(i.Payload))
		}
		s.Group = string(i.Payload)
	}
	return nil
}

// IEs encodes s.
func (s *SessionSet) IEs() []*ie.IE {
	var ies []*ie.IE
	for _, c := range s.CSIDs {
		ies = append(ies, c.IE())
	}
	if s.Group != "" {
		ies = append(ies, ie.New(TypeGroupID, []byte(s.Group)))
	}
	return ies
}

// SessionChange is a PFCP Session Change Info IE (TS 29.244 Table 7.4.7.1-2): the
// sessions that belong to one of the sets, or whose CP F-SEID has one of the
// addresses, have their reports sent to the alternative address from now on.
type SessionChange struct {
	CSIDs       []CSID
	Groups      []string
	CPAddrs     []netip.Addr
	Alternative Alternative
}

// maxSelectors is how many sets and addresses one Session Change Info may name.
const maxSelectors = 256

// ParseSessionChange reads a PFCP Session Change Info IE.
func ParseSessionChange(i *ie.IE) (*SessionChange, *Error) {
	members, err := ParseIEs(i.Payload)
	if err != nil {
		return nil, err
	}
	c := &SessionChange{}
	found := false
	for _, m := range members {
		var err *Error
		switch m.Type {
		case ie.FQCSID:
			var ids []CSID
			ids, err = ParseFQCSID(m)
			c.CSIDs = append(c.CSIDs, ids...)
		case TypeGroupID:
			c.Groups = append(c.Groups, string(m.Payload))
		case TypeCPIPAddress:
			var as []netip.Addr
			as, err = ParseCPAddresses(m)
			c.CPAddrs = append(c.CPAddrs, as...)
		case ie.AlternativeSMFIPAddress:
			found = true
			c.Alternative, err = ParseAlternative(m)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case !found:
		return nil, missing("Session Change Info", ie.AlternativeSMFIPAddress)
	case len(c.CSIDs)+len(c.Groups)+len(c.CPAddrs) > maxSelectors:
		return nil, malformed(i, "more than %d sets and addresses", maxSelectors)
	}
	return c, nil
}
