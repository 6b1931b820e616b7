package smf

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// Association says how the SMF stands with the UPF.
type Association string

// States of the association.
const (
	Down Association = "down" // none, or not yet
	Up   Association = "up"   // set up, and the UPF answers
	Lost Association = "lost" // set up, but the UPF does not answer heartbeats
)

// State is what the SMF knows, as its state file holds it.
type State struct {
	Association Association    `json:"association"`
	Error       string         `json:"error,omitempty"` // why the association is not up, or the newest policy was not taken
	Sessions    []SessionState `json:"sessions"`        // in the order of the policy
	Generation  int            `json:"generation"`      // policies carried out to their end, refusals included
}

// SessionState is one session of the policy.
type SessionState struct {
	Name   string       `json:"name"`
	UE     []netip.Addr `json:"ue"`               // as the policy has them
	CPSEID string       `json:"cpSEID"`           // of our F-SEID, 0x...
	UPSEID string       `json:"upSEID,omitempty"` // of the UPF's F-SEID, 0x...; empty unless the session is established
	Uplink []Tunnel     `json:"uplink"`           // what the UPF chose, by access; empty unless established
	Error  string       `json:"error,omitempty"`  // why the UPF refused the last thing asked for this session

	ATSSS   *ATSSSParameters `json:"atsss,omitempty"`   // what the UPF answered; nil unless established and asked for
	Reports []AccessReport   `json:"reports,omitempty"` // oldest first; the last [maxReports] since the session was established
}

// ATSSSParameters are the ATSSS Control Parameters that the UPF answered (TS 29.244 Table
// 7.5.3.7-1). A whole SMF gives them to the UE by NAS (TS 24.193 §6.1.5); the lab's UE
// reads them here.
type ATSSSParameters struct {
	MPTCP   *MPTCPParameters `json:"mptcp,omitempty"`
	ATSSSLL bool             `json:"atsssLL"`
	PMF     []PMFParameters  `json:"pmf,omitempty"`
}

// MPTCPParameters say where the MPTCP proxy is and by which addresses the UE reaches it.
type MPTCPParameters struct {
	Proxy        []netip.AddrPort `json:"proxy"`     // one of each IP version
	ProxyType    uint8            `json:"proxyType"` // 1 = transport converter (TS 24.193 §6.1.4)
	LinkSpecific LinkSpecific     `json:"linkSpecific"`
}

// LinkSpecific are the UE's link-specific addresses, one of each IP version on an access.
type LinkSpecific struct {
	TGPP    []netip.Addr `json:"3gpp"`
	NonTGPP []netip.Addr `json:"non-3gpp"`
}

// Of gives those of one access.
func (l *LinkSpecific) Of(a steer.Access) []netip.Addr {
	if a == steer.AccessNon3GPP {
		return l.NonTGPP
	}
	return l.TGPP
}

// PMFParameters say where the performance measurement function of a QoS flow is.
type PMFParameters struct {
	QFI       uint8        `json:"qfi,omitempty"` // 0 = the default QoS flow
	Addresses []netip.Addr `json:"addresses"`     // one of each IP version
	Ports     PMFPorts     `json:"ports"`         // UDP
}

// PMFPorts are the UDP ports by which the UPF tells the accesses apart.
type PMFPorts struct {
	TGPP    uint16 `json:"3gpp"`
	NonTGPP uint16 `json:"non-3gpp"`
}

// Of gives that of one access.
func (p PMFPorts) Of(a steer.Access) uint16 {
	if a == steer.AccessNon3GPP {
		return p.NonTGPP
	}
	return p.TGPP
}

// AccessReport is a UPF's report that an access became available or unavailable.
type AccessReport struct {
	Time      time.Time `json:"time"` // of its receipt
	Access    string    `json:"access"`
	Available bool      `json:"available"`
}

// Tunnel is the UPF's end of an access's uplink tunnel.
type Tunnel struct {
	Access  string `json:"access"`  // 3gpp or non-3gpp
	TEID    string `json:"teid"`    // 0x...
	Address string `json:"address"` // the UPF's N3 address
}

// ReadState reads a state file. The SMF replaces the file in one step, so that a
// reader sees one whole state.
func ReadState(path string) (State, error) {
	var s State
	b, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("smf state: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("smf state %s: %w", path, err)
	}
	return s, nil
}
