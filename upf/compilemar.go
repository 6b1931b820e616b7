package upf

import (
	"fmt"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

func (c *compiler) compileMARs() *pfcp.Error {
	return inOrder(c.set.mars, func(m *pfcp.MAR) *pfcp.Error {
		mar, err := c.compileMAR(m)
		c.mars[m.ID] = mar
		return err
	})
}

// steeringModes are the modes of the standard, each with what takes its parameters out
// of a MAR (TS 29.244 §5.2.7.1, Tables 7.5.2.8-1 and 7.5.2.8-2).
var steeringModes = map[steer.Mode]func(*pfcp.MAR, *steer.Policy) *pfcp.Error{
	steer.ActiveStandby: activeStandby,
	steer.SmallestDelay: smallestDelay,
	steer.LoadBalancing: loadBalancing,
	steer.PriorityBased: priorityBased,
	steer.Redundant:     redundant,
}

// compileMAR compiles m (TS 29.244 §5.20).
func (c *compiler) compileMAR(m *pfcp.MAR) (*dataplane.MAR, *pfcp.Error) {
	mar := &dataplane.MAR{ID: m.ID, Policy: steer.Policy{
		Functionality: steer.Functionality(*m.Functionality),
		Mode:          steer.Mode(*m.Mode),
		Priority:      [steer.NumAccesses]steer.Priority{steer.NoStandby, steer.NoStandby},
	}}
	if err := c.negotiated(m, mar.Policy.Functionality); err != nil {
		return nil, err
	}
	if m.Access == [steer.NumAccesses]*pfcp.AccessForwarding{} {
		return nil, absent(ie.CauseConditionalIEMissing, pfcp.RuleMAR, uint32(m.ID), ie.TGPPAccessForwardingActionInformation, "no access forwarding action information")
	}
	for i, a := range m.Access {
		if a == nil {
			continue
		}
		if err := c.marAccess(m, steer.Access(i), a, mar); err != nil {
			return nil, err
		}
	}
	take := steeringModes[mar.Policy.Mode]
	if take == nil {
		return nil, marError(m, ie.SteeringMode, "steering mode %d, known are 0 to 4", mar.Policy.Mode)
	}
	if err := take(m, &mar.Policy); err != nil {
		return nil, err
	}
	return mar, nil
}

// negotiated refuses a steering functionality that we have not, and one that the CP
// function's ATSSS control information does not ask for (TS 29.244 §5.20.2.2, §5.20.3.1).
// A CP function that sends none has agreed with the UE by other means.
func (c *compiler) negotiated(m *pfcp.MAR, f steer.Functionality) *pfcp.Error {
	ask := c.set.atsss
	switch {
	case f != steer.ATSSSLL && f != steer.MPTCP:
		return marError(m, ie.SteeringFunctionality, "steering functionality %d, known are ATSSS-LL (0) and MPTCP (1)", f)
	case ask != nil && f == steer.MPTCP && !ask.MPTCP:
		return marError(m, ie.SteeringFunctionality, "MPTCP, which the ATSSS control information does not ask for")
	case ask != nil && f == steer.ATSSSLL && !ask.ATSSSLL:
		return marError(m, ie.SteeringFunctionality, "ATSSS-LL, which the ATSSS control information does not ask for")
	}
	return nil
}

// marAccess puts the forwarding action information a of one access into mar.
func (c *compiler) marAccess(m *pfcp.MAR, access steer.Access, a *pfcp.AccessForwarding, mar *dataplane.MAR) *pfcp.Error {
	if a.FARID == nil {
		return absent(ie.CauseMandatoryIEMissing, pfcp.RuleMAR, uint32(m.ID), ie.FARID, "no FAR ID for an access that had none")
	}
	far := c.fars[*a.FARID]
	switch {
	case far == nil:
		return marError(m, ie.FARID, "FAR %d not found", *a.FARID)
	case far.Action == dataplane.Forward && far.To != dataplane.ToAccess:
		return marError(m, ie.FARID, "FAR %d does not lead to an access", *a.FARID)
	}
	mar.FAR[access] = far
	var err *pfcp.Error
	if mar.URRs[access], err = c.urrsOf(a.URRIDs, pfcp.RuleMAR, uint32(m.ID)); err != nil {
		return err
	}
	if far.Action == dataplane.Forward && !c.set.unavailable.Has(access) {
		mar.Policy.Usable |= steer.SetOf(access)
	}
	return nil
}

// activeStandby takes the priorities of Active-Standby: of two accesses one is active,
// and the other standby or no standby. One access alone is active, or the standby of one
// that the UE is not registered on.
func activeStandby(m *pfcp.MAR, p *steer.Policy) *pfcp.Error {
	if err := unguided(m, "Active-Standby"); err != nil {
		return err
	}
	if err := priorities(m, p, steer.Active, steer.NoStandby); err != nil {
		return err
	}
	active, standby := 0, 0
	for i, a := range m.Access {
		switch {
		case a == nil:
		case p.Priority[i] == steer.Active:
			active++
		case p.Priority[i] == steer.Standby:
			standby++
		}
	}
	if alone := m.Access[0] == nil || m.Access[1] == nil; active != 1 && !(alone && standby == 1) {
		return marError(m, ie.Priority, "Active-Standby with %d active accesses, needs one", active)
	}
	return nil
}

// smallestDelay has no parameters.
func smallestDelay(m *pfcp.MAR, _ *steer.Policy) *pfcp.Error {
	return unguided(m, "Smallest Delay")
}

// loadBalancing takes the weights, which sum to 100, and either thresholds or an
// indicator of who else may set the weights. Where the UPF may, those of the MAR are the
// default ones (§5.2.7.1): a CP function that gives none gets equal shares, where the
// standard wants them from it (Table 7.5.2.8-2).
func loadBalancing(m *pfcp.MAR, p *steer.Policy) *pfcp.Error {
	if err := indicator(m, p); err != nil {
		return err
	}
	if p.Indicator != 0 && bounded(m) {
		return marError(m, pfcp.TypeThresholds, "thresholds together with a steering mode indicator")
	}
	if err := weights(m, p); err != nil {
		return err
	}
	thresholds(m, p)
	return nil
}

// priorityBased takes priorities, of which two accesses have different ones, and
// thresholds.
func priorityBased(m *pfcp.MAR, p *steer.Policy) *pfcp.Error {
	if err := unindicated(m, "Priority-based"); err != nil {
		return err
	}
	if err := priorities(m, p, steer.High, steer.Low); err != nil {
		return err
	}
	if m.Access[0] != nil && m.Access[1] != nil && p.Priority[0] == p.Priority[1] {
		return marError(m, ie.Priority, "Priority-based with the priority %d twice", p.Priority[0])
	}
	thresholds(m, p)
	return nil
}

// redundant takes the priorities: there may be a primary access, and then the other is
// secondary; and one threshold (§5.2.7.1).
//
// SMFs of the standard do not ask for Redundant under ATSSS-LL, whose receiver drops
// nothing that comes twice. We take it: which traffic bears that is for the CP function
// to say.
func redundant(m *pfcp.MAR, p *steer.Policy) *pfcp.Error {
	if err := unindicated(m, "Redundant"); err != nil {
		return err
	}
	if t := m.Thresholds; t != nil && t.RTT != nil && t.PLR != nil {
		return marError(m, pfcp.TypeThresholds, "Redundant with both thresholds, may have one")
	}
	primary := 0
	for i, a := range m.Access {
		if a == nil || a.Priority == nil {
			continue
		}
		switch r := steer.Priority(*a.Priority); r {
		case steer.Primary, steer.Secondary:
			p.Priority[i] = r
			if r == steer.Primary {
				primary++
			}
		default:
			return marError(m, ie.Priority, "priority %d, Redundant knows 5 and 6", r)
		}
	}
	if primary > 1 {
		return marError(m, ie.Priority, "Redundant with two primary accesses, may have one")
	}
	thresholds(m, p)
	return nil
}

// priorities takes the priority of each access, which must be there, from first to last.
func priorities(m *pfcp.MAR, p *steer.Policy, first, last steer.Priority) *pfcp.Error {
	for i, a := range m.Access {
		if a == nil {
			continue
		}
		if a.Priority == nil {
			return absent(ie.CauseConditionalIEMissing, pfcp.RuleMAR, uint32(m.ID), ie.Priority, fmt.Sprintf("steering mode %d without a Priority", p.Mode))
		}
		if p.Priority[i] = steer.Priority(*a.Priority); p.Priority[i] < first || p.Priority[i] > last {
			return marError(m, ie.Priority, "priority %d, steering mode %d knows %d to %d", *a.Priority, p.Mode, first, last)
		}
	}
	return nil
}

// weights takes the weights of two accesses. One alone carries all, whatever its weight:
// it is what is left when the CP function has taken the other away.
func weights(m *pfcp.MAR, p *steer.Policy) *pfcp.Error {
	sum, given, accesses, only := 0, 0, 0, 0
	for i, a := range m.Access {
		if a == nil {
			continue
		}
		accesses, only = accesses+1, i
		if a.Weight != nil {
			given++
			p.Weight[i] = *a.Weight
			sum += int(*a.Weight)
		}
	}
	switch {
	case accesses == 1:
		p.Weight = [steer.NumAccesses]uint8{}
		p.Weight[only] = 100
	case given == 0 && p.Indicator == steer.Autonomous:
		p.Weight = [steer.NumAccesses]uint8{50, 50}
	case given < accesses:
		return absent(ie.CauseConditionalIEMissing, pfcp.RuleMAR, uint32(m.ID), ie.Weight, "Load-Balancing without a Weight")
	case sum != 100:
		return marError(m, ie.Weight, "weights sum to %d, not to 100", sum)
	}
	return nil
}

// indicator takes the steering mode indicator, of which one flag may be set.
func indicator(m *pfcp.MAR, p *steer.Policy) *pfcp.Error {
	if m.Indicator == nil {
		return nil
	}
	if p.Indicator = steer.Indicator(*m.Indicator); p.Indicator == steer.Autonomous|steer.UEAssistance {
		return marError(m, pfcp.TypeSteeringModeIndicator, "both ALBI and UEAI, may have one")
	}
	return nil
}

// thresholds takes those of m.
func thresholds(m *pfcp.MAR, p *steer.Policy) {
	t := m.Thresholds
	if t == nil {
		return
	}
	if t.RTT != nil {
		p.Thresholds.RTT = uint32(*t.RTT) * 1000
	}
	if t.PLR != nil {
		p.Thresholds.PLR, p.Thresholds.HasPLR = *t.PLR, true
	}
}

// bounded says whether m has a threshold.
func bounded(m *pfcp.MAR) bool {
	return m.Thresholds != nil && (m.Thresholds.RTT != nil || m.Thresholds.PLR != nil)
}

// unguided refuses thresholds and an indicator, which the mode does not know.
func unguided(m *pfcp.MAR, mode string) *pfcp.Error {
	if bounded(m) {
		return marError(m, pfcp.TypeThresholds, "thresholds, which %s does not know", mode)
	}
	return unindicated(m, mode)
}

// unindicated refuses an indicator, which Load-Balancing alone knows; one without a flag
// is none.
func unindicated(m *pfcp.MAR, mode string) *pfcp.Error {
	if m.Indicator != nil && *m.Indicator != 0 {
		return marError(m, pfcp.TypeSteeringModeIndicator, "a steering mode indicator, which %s does not know", mode)
	}
	return nil
}

func marError(m *pfcp.MAR, offending uint16, format string, args ...any) *pfcp.Error {
	return ruleError(pfcp.RuleMAR, uint32(m.ID), offending, fmt.Sprintf(format, args...))
}
