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
	if _, ok := functionalityNames[s.Steering.Functionality]; !ok {
		return wrong(path+".steering.functionality", "%d: allowed are %s", s.Steering.Functionality, listNames(functionalityNames))
	}
	if _, ok := modeNames[s.Steering.Mode]; !ok {
		return wrong(path+".steering.mode", "%d: allowed are %s", s.Steering.Mode, listNames(modeNames))
	}
	if s.Steering.Mode == steer.Redundant && s.Steering.Functionality != steer.MPTCP {
		return wrong(path+".steering.mode", "redundant is allowed with the functionality mptcp")
	}
	return s.validateAccesses(path + ".accesses")
}

func (s *Session) validateAccesses(path string) *PolicyError {
	count, weights, active, primary := 0, 0, 0, 0
	for _, a := range accessList {
		acc, key := s.Accesses[a], path+"."+a.String()
		if acc == nil {
			continue
		}
		if err := acc.validate(key); err != nil {
			return err
		}
		count++
		weights += int(acc.Weight)
		switch acc.Priority {
		case steer.Active:
			active++
		case steer.Primary:
			primary++
		case steer.Standby, steer.NoStandby, steer.Secondary:
		}
	}
	switch {
	case count == 0:
		return wrong(path, "is empty: allowed are 3gpp, non-3gpp or both")
	case s.Steering.Mode == steer.LoadBalancing && weights != 100:
		return wrong(path, "the weights sum to %d: load-balancing allows a sum of 100", weights)
	case s.Steering.Mode == steer.ActiveStandby && active != 1:
		return wrong(path, "%d accesses have the priority active: active-standby allows exactly one", active)
	case s.Steering.Mode == steer.Redundant && primary > 1:
		return wrong(path, "%d accesses have the priority primary: redundant allows one", primary)
	}
	return nil
}

func (a *Access) validate(path string) *PolicyError {
	switch {
	case !a.Peer.IsValid() || a.Peer.IsUnspecified() || a.Peer.IsMulticast():
		return wrong(path+".peer", "%s: allowed is the unicast IP address of the gNB or N3IWF", a.Peer)
	case a.TEID == 0:
		return wrong(path+".teid", "0: allowed are 0x1 to 0xffffffff")
	case a.Weight > 100:
		return wrong(path+".weight", "%d: allowed are 0 to 100", a.Weight)
	}
	if _, ok := priorityNames[a.Priority]; !ok {
		return wrong(path+".priority", "%d: allowed are %s", a.Priority, listNames(priorityNames))
	}
	return nil
}

func wrong(key, format string, args ...any) *PolicyError {
	return &PolicyError{Key: key, Reason: fmt.Sprintf(format, args...)}
}
