package pfcp

import "github.com/wmnsk/go-pfcp/ie"

// ParseRuleID reads the ID out of a group that carries little else that matters:
// a Remove PDR, FAR, QER, URR, BAR, MAR or SRR, or a Query URR.
func ParseRuleID(i *ie.IE, kind RuleKind) (uint32, *Error) {
	want := idTypes[kind]
	var id *uint32
	err := children(i, func(c *ie.IE) *Error {
		if c.Type != want {
			return nil
		}
		if kind == RulePDR || kind == RuleMAR {
			v, err := u16(c)
			return set(&id, uint32(v), err)
		}
		if kind == RuleBAR || kind == RuleSRR {
			v, err := u8(c)
			return set(&id, uint32(v), err)
		}
		v, err := u32(c)
		return set(&id, v, err)
	})
	if err != nil {
		return 0, err
	}
	if id == nil {
		return 0, missing(ruleNames[kind], want)
	}
	return *id, nil
}

var idTypes = map[RuleKind]uint16{
	RulePDR: ie.PDRID, RuleFAR: ie.FARID, RuleQER: ie.QERID, RuleURR: ie.URRID, RuleMAR: ie.MARID, RuleBAR: ie.BARID,
	RuleSRR: ie.SRRID,
}
