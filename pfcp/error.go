package pfcp

import (
	"fmt"

	"github.com/wmnsk/go-pfcp/ie"
)

// Causes that go-pfcp does not know (TS 29.244 Table 8.2.1-1).
const (
	CauseAllDynamicAddressesOccupied uint8 = 79
	CauseUnknownPredefinedRule       uint8 = 80
	CauseUnknownApplicationID        uint8 = 81
)

// Error is why a request is refused: what the Cause IE and the Offending IE of
// the response say (TS 29.244 §8.2.1, §8.2.22), and words for the log.
type Error struct {
	Cause     uint8  // a rejection cause, 64 and above
	Offending uint16 // type of the offending IE; 0 = none, the response carries no Offending IE
	Rule      RuleID // the rule that could not be made or changed; zero = none
	Text      string
}

// Error gives the words, for whom they are and the cause's number.
func (e *Error) Error() string {
	s := e.Text
	if e.Rule.Kind != 0 || e.Rule.ID != 0 {
		s = e.Rule.String() + ": " + s
	}
	if e.Offending != 0 {
		return fmt.Sprintf("%s (cause %d, offending IE %d)", s, e.Cause, e.Offending)
	}
	return fmt.Sprintf("%s (cause %d)", s, e.Cause)
}

// RuleKind is the rule ID type of a Failed Rule ID IE (TS 29.244 §8.2.80), plus
// one so that the zero value means none.
type RuleKind uint8

// Kinds of rules.
const (
	RulePDR RuleKind = iota + 1
	RuleFAR
	RuleQER
	RuleURR
	RuleBAR
	RuleMAR
	RuleSRR
)

var ruleNames = [...]string{"rule", "PDR", "FAR", "QER", "URR", "BAR", "MAR", "SRR"}

// RuleID names one rule of a session.
type RuleID struct {
	Kind RuleKind
	ID   uint32
}

// String gives the standard's word and the number, such as "MAR 3".
func (r RuleID) String() string {
	if int(r.Kind) >= len(ruleNames) {
		return fmt.Sprintf("rule %d", r.ID)
	}
	return fmt.Sprintf("%s %d", ruleNames[r.Kind], r.ID)
}

// IE is the Failed Rule ID IE that names r (TS 29.244 §8.2.80): the type's octet,
// then an ID as wide as that kind's own ID IE.
func (r RuleID) IE() *ie.IE {
	if r.Kind == 0 {
		return nil
	}
	b := []byte{uint8(r.Kind - 1)}
	switch r.Kind {
	case RulePDR, RuleMAR:
		b = append(b, uint8(r.ID>>8), uint8(r.ID))
	case RuleBAR, RuleSRR:
		b = append(b, uint8(r.ID))
	default:
		b = append(b, uint8(r.ID>>24), uint8(r.ID>>16), uint8(r.ID>>8), uint8(r.ID))
	}
	return ie.New(ie.FailedRuleID, b)
}
