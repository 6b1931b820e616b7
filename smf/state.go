package smf

import (
	"encoding/json"
	"fmt"
	"os"
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
	Name   string   `json:"name"`
	CPSEID string   `json:"cpSEID"`           // of our F-SEID, 0x...
	UPSEID string   `json:"upSEID,omitempty"` // of the UPF's F-SEID, 0x...; empty unless the session is established
	Uplink []Tunnel `json:"uplink"`           // what the UPF chose, by access; empty unless established
	Error  string   `json:"error,omitempty"`  // why the UPF refused the last thing asked for this session
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
