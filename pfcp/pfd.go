package pfcp

import (
	"encoding/binary"

	"github.com/wmnsk/go-pfcp/ie"
)

// ApplicationPFDs is an Application ID's PFDs IE (TS 29.244 Table 7.4.3.1-2).
type ApplicationPFDs struct {
	ID   string
	PFDs []PFD // empty = the application's PFDs are to be deleted
}

// PFD is a PFD Contents IE (TS 29.244 §8.2.39) as far as packets can be held
// against it here: by its flow descriptions, one of which must match.
type PFD struct {
	Flows []FlowDescription

	// Other says that the PFD asks for more or for something else: a URL, a domain
	// name, a domain name protocol or custom content.
	Other bool
}

// Flags of the PFD Contents IE that matter here. The fields stand in the order of
// their flags.
const (
	pfdFD   = 1 << 0
	pfdAFD  = 1 << 5
	pfdADNP = 1 << 7
)

// ParseApplicationPFDs reads an Application ID's PFDs IE.
func ParseApplicationPFDs(i *ie.IE) (*ApplicationPFDs, *Error) {
	a := &ApplicationPFDs{}
	err := children(i, func(c *ie.IE) *Error {
		switch c.Type {
		case ie.ApplicationID:
			b, err := octets(c, 1)
			a.ID = string(b)
			return err
		case ie.PFDContext:
			return children(c, func(d *ie.IE) *Error {
				if d.Type != ie.PFDContents {
					return nil
				}
				pfd, err := parsePFD(d)
				return add(&a.PFDs, pfd, err)
			})
		}
		return nil
	})
	if err == nil && a.ID == "" {
		err = missing("Application ID's PFDs", ie.ApplicationID)
	}
	return a, err
}

func parsePFD(i *ie.IE) (PFD, *Error) {
	b, err := octets(i, 2)
	if err != nil {
		return PFD{}, err
	}
	flags, b := b[0], b[2:]
	var p PFD
	for flag := 1; flag <= pfdADNP; flag <<= 1 {
		if int(flags)&flag == 0 {
			continue
		}
		var field []byte
		var ok bool
		if field, b, ok = counted(b); !ok {
			return PFD{}, malformed(i, "field of flag %#02x cut off", flag)
		}
		switch flag {
		case pfdFD:
			err = p.flow(i, field)
		case pfdAFD:
			for len(field) > 0 && err == nil {
				var one []byte
				if one, field, ok = counted(field); !ok {
					return PFD{}, malformed(i, "additional flow description cut off")
				}
				err = p.flow(i, one)
			}
		default:
			p.Other = true
		}
		if err != nil {
			return PFD{}, err
		}
	}
	return p, nil
}

func (p *PFD) flow(i *ie.IE, text []byte) *Error {
	fd, err := ParseFlowDescription(string(text))
	if err != nil {
		return malformed(i, "%v", err)
	}
	p.Flows = append(p.Flows, fd)
	return nil
}

// counted takes a field behind its length in two octets.
func counted(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if n > len(b) {
		return nil, nil, false
	}
	return b[2:n], b[n:], true
}

func appendCounted(b, field []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(field))), field...)
}

// IE encodes a, each PFD with its flow descriptions alone.
func (a *ApplicationPFDs) IE() *ie.IE {
	g := []*ie.IE{ie.New(ie.ApplicationID, []byte(a.ID))}
	for _, p := range a.PFDs {
		g = append(g, ie.NewGroupedIE(ie.PFDContext, p.ie()))
	}
	return ie.NewGroupedIE(ie.ApplicationIDsPFDs, g...)
}

func (p *PFD) ie() *ie.IE {
	b := []byte{bit(len(p.Flows) > 0, pfdFD) | bit(len(p.Flows) > 1, pfdAFD), 0}
	if len(p.Flows) > 0 {
		b = appendCounted(b, []byte(p.Flows[0].String()))
	}
	if len(p.Flows) > 1 {
		var more []byte
		for _, f := range p.Flows[1:] {
			more = appendCounted(more, []byte(f.String()))
		}
		b = appendCounted(b, more)
	}
	return ie.New(ie.PFDContents, b)
}
