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
	ATSSS    ATSSS        `yaml:"atsss,omitempty"`
	Reports  Reports      `yaml:"reports,omitempty"`
	Steering Steering     `yaml:"steering"`
	Other    *Other       `yaml:"other,omitempty"` // nil = Steering is for all traffic
	Accesses Accesses     `yaml:"accesses"`
}

// Steering is the part of a MAR that concerns both accesses (TS 29.244 §5.20).
type Steering struct {
	Functionality steer.Functionality
	Mode          steer.Mode
	Indicator     steer.Indicator  // of Load-Balancing
	Thresholds    steer.Thresholds // whole milliseconds; of Load-Balancing without indicator, Priority-based, Redundant
}

// Other steers by ATSSS-LL what is not TCP, where Steering steers TCP by MPTCP.
type Other struct {
	Steering                           // its functionality is ATSSS-LL
	Shares   [steer.NumAccesses]*Share // nil = as the access has it
}

// Share is by what a steering mode ranks an access.
type Share struct {
	Weight   uint8          // percent, for Load-Balancing; both accesses sum to 100
	Priority steer.Priority // for Active-Standby, Priority-based and Redundant; see [rank]
}

// ATSSS is what the UPF is asked to provide for the session: the Provide ATSSS Control
// Information (TS 29.244 Table 7.5.2.10-1). What it answers stands in [SessionState].
type ATSSS struct {
	MPTCP   bool // the address of an MPTCP proxy, and the UE's link-specific addresses
	ATSSSLL bool
	PMF     *PMF // nil = no performance measurement
}

// PMF says how performance is measured (TS 23.501 §5.32.5).
type PMF struct {
	NoRTT bool    // round trips are not measured by PMFP
	QFIs  []uint8 // QoS flows that are measured each for itself; empty = the default one alone
}

// Reports is what the UPF is asked to report of the session, by session reporting rules.
type Reports struct {
	AccessAvailability bool // an access becomes available or unavailable
}

// Accesses holds the accesses of a session by [steer.Access]; nil where the
// session has no user plane on that access (yet).
type Accesses [steer.NumAccesses]*Access

// Access is one access: its downlink tunnel, and its share in the MAR.
type Access struct {
	Peer     netip.Addr     // GTP-U address of the gNB or N3IWF
	TEID     uint32         // the peer's TEID for the downlink, non-zero
	Weight   uint8          // as in [Share]
	Priority steer.Priority // as in [Share]
	Down     bool           // the access's FAR drops instead of forwarding
}

// Names that a policy file uses for the values of package steer, by value.
var (
	functionalityNames = map[steer.Functionality]string{steer.MPTCP: "mptcp", steer.ATSSSLL: "atsss-ll"}
	modeNames          = map[steer.Mode]string{
		steer.ActiveStandby: "active-standby", steer.SmallestDelay: "smallest-delay", steer.LoadBalancing: "load-balancing",
		steer.PriorityBased: "priority-based", steer.Redundant: "redundant",
	}
	indicatorNames = map[steer.Indicator]string{steer.Autonomous: "autonomous", steer.UEAssistance: "ue-assistance"}
	priorityNames  = map[steer.Priority]string{
		steer.Active: "active", steer.Standby: "standby", steer.NoStandby: "no-standby",
		steer.High: "high", steer.Low: "low",
		steer.Primary: "primary", steer.Secondary: "secondary",
	}
)

// accessAvailability is the word for [Reports.AccessAvailability].
const accessAvailability = "access-availability"

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
	if s.ATSSS.PMF != nil {
		s.ATSSS.PMF = &PMF{NoRTT: s.ATSSS.PMF.NoRTT, QFIs: slices.Clone(s.ATSSS.PMF.QFIs)}
	}
	if s.Other != nil {
		o := *s.Other
		for a, share := range o.Shares {
			if share != nil {
				c := *share
				o.Shares[a] = &c
			}
		}
		s.Other = &o
	}
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
