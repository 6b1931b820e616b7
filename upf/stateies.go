package upf

import (
	"encoding/binary"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// creates are the rules as the Create IEs of an establishment that would make them
// as they are now.
func (r ruleSet) creates() []*ie.IE {
	var ies []*ie.IE
	for _, p := range r.pdrs {
		ies = append(ies, p.IE(ie.CreatePDR))
	}
	for _, f := range r.fars {
		ies = append(ies, f.IE(ie.CreateFAR))
	}
	for _, q := range r.qers {
		ies = append(ies, q.IE(ie.CreateQER))
	}
	for _, m := range r.mars {
		ies = append(ies, m.IE(ie.CreateMAR))
	}
	for id := range r.urrs {
		ies = append(ies, ie.NewCreateURR(ie.NewURRID(id), ie.New(ie.MeasurementMethod, []byte{2}), ie.New(ie.ReportingTriggers, []byte{0, 0, 0})))
	}
	return ies
}

// establishmentIEs are sess as an establishment would make it.
func (s *session) establishmentIEs() []*ie.IE {
	ies := []*ie.IE{pfcp.NodeIDIE(s.node), s.cp.IE()}
	if s.set != nil {
		ies = append(ies, s.set.IEs()...)
	}
	return append(ies, s.rules.creates()...)
}

// appendChosen appends the F-TEIDs by CHOOSE ID: a count, then the ID and the payload
// of the F-TEID IE behind its length, an octet each.
func appendChosen(b []byte, chosen map[uint8]pfcp.FTEID) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(chosen)))
	for id, f := range chosen {
		p := f.IE().Payload
		b = append(append(b, id, byte(len(p))), p...)
	}
	return b
}

// chosen reads what appendChosen has written.
func (r *stateReader) chosen() map[uint8]pfcp.FTEID {
	m := map[uint8]pfcp.FTEID{}
	for range r.u16() {
		id := r.u8()
		f, err := pfcp.ParseFTEID(ie.New(ie.FTEID, r.octets(int(r.u8()))))
		r.check(err)
		m[id] = f
	}
	return m
}

// names says whether a PDR detects one of the applications.
func (r ruleSet) names(apps map[string]bool) bool {
	for _, p := range r.pdrs {
		if p.PDI != nil && p.PDI.ApplicationID != "" && apps[p.PDI.ApplicationID] {
			return true
		}
	}
	return false
}

// setupIEs are n as an association setup would tell of it.
func (n *node) setupIEs() []*ie.IE {
	ies := []*ie.IE{pfcp.NodeIDIE(n.id), pfcp.RecoveryTimeStampIE(n.recovery)}
	if n.features != 0 {
		ies = append(ies, n.features.IE())
	}
	if n.set != "" {
		ies = append(ies, pfcp.SMFSetIDIE(n.set))
	}
	for i := range n.alternatives {
		ies = append(ies, n.alternatives[i].IE())
	}
	return ies
}

// appIEs are the applications as a PFD Management Request would bring them.
func (a applications) appIEs() []*ie.IE {
	var ies []*ie.IE
	for id, flows := range a.apps {
		ies = append(ies, (&pfcp.ApplicationPFDs{ID: id, PFDs: []pfcp.PFD{{Flows: flows}}}).IE())
	}
	return ies
}
