package smf

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/braid-upf/braid/atsss/steer"
)

// DefaultHeartbeat is the interval between heartbeat requests when the policy
// names none.
const DefaultHeartbeat = 5 * time.Second

// Policy is what the SMF installs: a UPF and the multi-access sessions on it.
// [LoadPolicy] and [Policy.Save] read and write it as YAML; a Policy made in Go
// must pass [Policy.Validate].
type Policy struct {
	UPF       netip.AddrPort `yaml:"upf"`       // the UPF's N4 address; a file may leave out the port ([pfcp.Port])
	Node      netip.Addr     `yaml:"node"`      // our N4 address, and our Node ID
	Heartbeat time.Duration  `yaml:"heartbeat"` // between our heartbeat requests
	Sessions  []Session      `yaml:"sessions"`
}

// Session is one multi-access PDU session.
type Session struct {
	Name     string       `yaml:"name"` // unique; ties a session to its predecessor when a policy changes
	UE       []netip.Addr `yaml:"ue"`   // UE addresses; all of them may be used over every access
	DNN      string       `yaml:"dnn"`  // Network Instance of both sides
	QFI      uint8        `yaml:"qfi"`  // of the session's one QoS flow, 1 to 63
	Steering Steering     `yaml:"steering"`
	Accesses Accesses     `yaml:"accesses"`
}

// Steering is the part of a MAR that concerns both accesses (TS 29.244 §5.20).
type Steering struct {
	Functionality steer.Functionality
	Mode          steer.Mode
}

// Accesses holds the accesses of a session by [steer.Access]; nil where the
// session has no user plane on that access (yet).
type Accesses [steer.NumAccesses]*Access

// Access is one access: its downlink tunnel, and its share in the MAR.
type Access struct {
	Peer     netip.Addr     // GTP-U address of the gNB or N3IWF
	TEID     uint32         // the peer's TEID for the downlink, non-zero
	Weight   uint8          // percent, for Load-Balancing; both accesses sum to 100
	Priority steer.Priority // for Active-Standby; for Redundant, where all but primary is secondary
	Down     bool           // the access's FAR drops instead of forwarding
}

// Names that a policy file uses for the values of package steer, by value.
var (
	functionalityNames = map[steer.Functionality]string{steer.MPTCP: "mptcp", steer.ATSSSLL: "atsss-ll"}
	modeNames          = map[steer.Mode]string{steer.ActiveStandby: "active-standby", steer.LoadBalancing: "load-balancing", steer.Redundant: "redundant"}
	priorityNames      = map[steer.Priority]string{
		steer.Active: "active", steer.Standby: "standby", steer.NoStandby: "no-standby",
		steer.Primary: "primary", steer.Secondary: "secondary",
	}
)

// accessList is every access in rising order.
var accessList = [steer.NumAccesses]steer.Access{steer.Access3GPP, steer.AccessNon3GPP}

// PolicyError says what is wrong in a policy and where.
type PolicyError struct {
	File   string // empty for a policy that was not read from a file
	Line   int    // 1-based; 0 if unknown
	Key    string // path of the key, such as sessions[0].accesses.3gpp.teid
	Reason string // what is wrong and what is allowed
}

func (e *PolicyError) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	return b.String() + e.Reason
}

// Clone returns a deep copy, so that a changed copy can be compared with p.
func (p *Policy) Clone() *Policy {
	c := *p
	c.Sessions = make([]Session, len(p.Sessions))
	for i, s := range p.Sessions {
		c.Sessions[i] = s.clone()
	}
	return &c
}

func (s Session) clone() Session {
	s.UE = slices.Clone(s.UE)
	for a, acc := range s.Accesses {
		if acc != nil {
			c := *acc
			s.Accesses[a] = &c
		}
	}
	return s
}

// Save writes p to path as YAML that [LoadPolicy] reads back equal. The file is
// replaced in one step: a reader sees the old or the new policy.
func (p *Policy) Save(path string) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("save policy %s: %w", path, err)
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(p); err != nil {
		return fmt.Errorf("save policy %s: %w", path, err)
	}
	if err := enc.Close(); err != nil {
		return fmt.Errorf("save policy %s: %w", path, err)
	}
	return replaceFile(path, b.Bytes())
}

// replaceFile puts data into path by way of a rename.
func replaceFile(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// MarshalYAML gives the form that [LoadPolicy] reads.
func (s Steering) MarshalYAML() (any, error) {
	return struct {
		Functionality string `yaml:"functionality"`
		Mode          string `yaml:"mode"`
	}{functionalityNames[s.Functionality], modeNames[s.Mode]}, nil
}

// MarshalYAML gives the form that [LoadPolicy] reads.
func (a Accesses) MarshalYAML() (any, error) {
	return struct {
		TGPP    *Access `yaml:"3gpp,omitempty"`
		NonTGPP *Access `yaml:"non-3gpp,omitempty"`
	}{a[steer.Access3GPP], a[steer.AccessNon3GPP]}, nil
}

// MarshalYAML gives the form that [LoadPolicy] reads.
func (a Access) MarshalYAML() (any, error) {
	teid := yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprintf("%#x", a.TEID)}
	return struct {
		Peer     netip.Addr `yaml:"peer"`
		TEID     *yaml.Node `yaml:"teid"`
		Weight   uint8      `yaml:"weight"`
		Priority string     `yaml:"priority"`
		Down     bool       `yaml:"down"`
	}{a.Peer, &teid, a.Weight, priorityNames[a.Priority], a.Down}, nil
}
