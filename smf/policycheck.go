package smf

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// Bounds of the heartbeat interval.
const (
	minHeartbeat = 100 * time.Millisecond
	maxHeartbeat = time.Hour
)

// maxQFI is the largest value of the 6-bit QFI (TS 38.415 §5.5.3.3).
const maxQFI = 63

// Validate checks what the types leave open. Its error is a [*PolicyError].
func (p *Policy) Validate() error {
	if err := p.validate(); err != nil {
		return err
	}
	return nil
}

func (p *Policy) validate() *PolicyError {
	switch {
	case !p.UPF.Addr().IsValid() || p.UPF.Addr().IsUnspecified() || p.UPF.Port() == 0:
		return wrong("upf", "is missing: allowed is an IP address, with or without a port")
	case !p.Node.IsValid() || p.Node.IsUnspecified():
		return wrong("node", "is missing: allowed is an IP address of this host")
	case p.Node.Is4() != p.UPF.Addr().Is4():
		return wrong("node", "%s and upf %s are of different IP versions", p.Node, p.UPF.Addr())
	case p.Heartbeat < minHeartbeat || p.Heartbeat > maxHeartbeat:
		return wrong("heartbeat", "%s: allowed are %s to %s", p.Heartbeat, minHeartbeat, maxHeartbeat)
	}
	names := map[string]int{}
	addrs := map[netip.Addr]int{}
	for i := range p.Sessions {
		s, path := &p.Sessions[i], fmt.Sprintf("sessions[%d]", i)
		if err := s.validate(path); err != nil {
			return err
		}
		if j, seen := names[s.Name]; seen {
			return wrong(path+".name", "%q is the name of sessions[%d] already: allowed are unique names", s.Name, j)
		}
		names[s.Name] = i
		for k, ue := range s.UE {
			if j, seen := addrs[ue]; seen {
				return wrong(fmt.Sprintf("%s.ue[%d]", path, k), "%s is given to sessions[%d] already: allowed are unique addresses", ue, j)
			}
			addrs[ue] = i
		}
	}
	return nil
}

func (s *Session) validate(path string) *PolicyError {
	switch {
	case s.Name == "":
		return wrong(path+".name", "is empty: allowed is any unique text")
	case len(s.UE) == 0:
		return wrong(path+".ue", "is empty: allowed is a list of one IP address or more")
	case s.DNN == "" || len(s.DNN) > 100:
		return wrong(path+".dnn", "%q: allowed are 1 to 100 characters", s.DNN)
	case s.QFI < 1 || s.QFI > maxQFI:
		return wrong(path+".qfi", "%d: allowed are 1 to %d", s.QFI, maxQFI)
	}
	for k, ue := range s.UE {
		if !ue.IsValid() || ue.IsUnspecified() || ue.IsMulticast() {
			return wrong(fmt.Sprintf("%s.ue[%d]", path, k), "%s: allowed is a unicast IP address", ue)
		}
	}
	if err := s.ATSSS.validate(path + ".atsss"); err != nil {
		return err
	}
	if err := s.validateAccesses(path + ".accesses"); err != nil {
		return err
	}
	return s.validateSteering(path)
}

func (s *Session) validateAccesses(path string) *PolicyError {
	count := 0
	for _, a := range accessList {
		if acc := s.Accesses[a]; acc != nil {
			count++
			if err := acc.validate(path + "." + a.String()); err != nil {
				return err
			}
		}
	}
	if count == 0 {
		return wrong(path, "is empty: allowed are 3gpp, non-3gpp or both")
	}
	return nil
}

// validateSteering checks each of the session's MARs, whose accesses are valid.
func (s *Session) validateSteering(path string) *PolicyError {
	if err := s.Steering.validate(path + ".steering"); err != nil {
		return err
	}
	if err := s.mar(mainMAR).validateShares(path + ".accesses"); err != nil {
		return err
	}
	if !s.ATSSS.provides(s.Steering.Functionality) {
		return wrong(path+".steering.functionality", "%[1]s is allowed without atsss, or with atsss.%[1]s: true", functionalityNames[s.Steering.Functionality])
	}
	if s.Other == nil {
		return nil
	}
	path += ".other"
	if s.Steering.Functionality != steer.MPTCP {
		return wrong(path, "is allowed with the functionality mptcp, which leaves other traffic")
	}
	if s.Other.Functionality != steer.ATSSSLL {
		return wrong(path, "functionality %d: allowed is %s", s.Other.Functionality, functionalityNames[steer.ATSSSLL])
	}
	if !s.ATSSS.provides(steer.ATSSSLL) {
		return wrong(path, "is allowed without atsss, or with atsss.%s: true", functionalityNames[steer.ATSSSLL])
	}
	if err := s.Other.validate(path); err != nil {
		return err
	}
	for _, a := range accessList {
		if share := s.Other.Shares[a]; share != nil {
			if err := share.validate(path + "." + a.String()); err != nil {
				return err
			}
		}
	}
	return s.mar(otherMAR).validateShares(path)
}

func (s *Steering) validate(path string) *PolicyError {
	if _, ok := functionalityNames[s.Functionality]; !ok {
		return wrong(path+".functionality", "%d: allowed are %s", s.Functionality, listNames(functionalityNames))
	}
	if _, ok := modeNames[s.Mode]; !ok {
		return wrong(path+".mode", "%d: allowed are %s", s.Mode, listNames(modeNames))
	}
	if _, ok := indicatorNames[s.Indicator]; !ok && s.Indicator != 0 {
		return wrong(path+".indicator", "%d: allowed are %s", s.Indicator, listNames(indicatorNames))
	}
	if s.Indicator != 0 && s.Mode != steer.LoadBalancing {
		return wrong(path+".indicator", "is allowed with the mode load-balancing")
	}
	return s.validateThresholds(path + ".thresholds")
}

// validateThresholds checks them and that the mode has them (TS 23.501 §5.32.8, TS 29.244
// §5.2.7.1).
func (s *Steering) validateThresholds(path string) *PolicyError {
	t := s.Thresholds
	if t == (steer.Thresholds{}) {
		return nil
	}
	rtt := time.Duration(t.RTT) * time.Microsecond
	switch {
	case rtt > maxRTTThreshold || rtt%time.Millisecond != 0:
		return wrong(path+".rtt", "%s: allowed are whole milliseconds up to %s", rtt, maxRTTThreshold)
	case t.PLR > 100 || t.PLR > 0 && !t.HasPLR:
		return wrong(path+".plr", "%d: allowed are 0 to 100", t.PLR)
	}
	switch s.Mode {
	case steer.Redundant:
		if rtt > 0 && t.HasPLR {
			return wrong(path, "rtt and plr: redundant allows one of them")
		}
		return nil
	case steer.PriorityBased:
		return nil
	case steer.LoadBalancing:
		if s.Indicator == 0 {
			return nil
		}
	default:
	}
	return wrong(path, "are allowed with the modes load-balancing without an indicator, priority-based and redundant")
}

// validateShares checks that the mode can rank the accesses.
func (m *mar) validateShares(path string) *PolicyError {
	weights, count := 0, map[steer.Priority]int{}
	for _, s := range m.shares {
		if s != nil {
			weights += int(s.Weight)
			count[s.Priority]++
		}
	}
	switch {
	case m.Mode == steer.LoadBalancing && weights != 100:
		return wrong(path, "the weights sum to %d: load-balancing allows a sum of 100", weights)
	case m.Mode == steer.ActiveStandby && count[steer.Active] != 1:
		return wrong(path, "%d accesses have the priority active: active-standby allows exactly one", count[steer.Active])
	case m.Mode == steer.PriorityBased && count[steer.High] != 1:
		return wrong(path, "%d accesses have the priority high: priority-based allows exactly one", count[steer.High])
	case m.Mode == steer.Redundant && count[steer.Primary] > 1:
		return wrong(path, "%d accesses have the priority primary: redundant allows one", count[steer.Primary])
	}
	return nil
}

func (a *ATSSS) validate(path string) *PolicyError {
	if a.PMF == nil {
		return nil
	}
	seen := map[uint8]bool{}
	for i, q := range a.PMF.QFIs {
		if q < 1 || q > maxQFI || seen[q] {
			return wrong(fmt.Sprintf("%s.pmf.qfis[%d]", path, i), "%d: allowed are 1 to %d, each once", q, maxQFI)
		}
		seen[q] = true
	}
	return nil
}

func (a *Access) validate(path string) *PolicyError {
	switch {
	case !a.Peer.IsValid() || a.Peer.IsUnspecified() || a.Peer.IsMulticast():
		return wrong(path+".peer", "%s: allowed is the unicast IP address of the gNB or N3IWF", a.Peer)
	case a.TEID == 0:
		return wrong(path+".teid", "0: allowed are 0x1 to 0xffffffff")
	}
	return a.share().validate(path)
}

func (s *Share) validate(path string) *PolicyError {
	if s.Weight > 100 {
		return wrong(path+".weight", "%d: allowed are 0 to 100", s.Weight)
	}
	if _, ok := priorityNames[s.Priority]; !ok {
		return wrong(path+".priority", "%d: allowed are %s", s.Priority, listNames(priorityNames))
	}
	return nil
}

func wrong(key, format string, args ...any) *PolicyError {
	return &PolicyError{Key: key, Reason: fmt.Sprintf(format, args...)}
}
