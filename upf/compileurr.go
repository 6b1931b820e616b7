package upf

import (
	"fmt"
	"time"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// quietTime is after how long without a packet traffic has stopped, for a URR whose
// CP function gives no Inactivity Detection Time.
const quietTime = 60 * time.Second

func (c *compiler) compileURRs() *pfcp.Error {
	c.urrs = map[uint32]*dataplane.URR{}
	return inOrder(c.set.urrs, func(u *pfcp.URR) *pfcp.Error {
		urr, err := c.compileURR(u)
		c.urrs[u.ID] = urr
		return err
	})
}

// compileURR compiles what a worker does for u (TS 29.244 §5.2.2.2): volumes. A
// quota that is not of volume and has run out is a volume quota of nothing.
func (c *compiler) compileURR(u *pfcp.URR) (*dataplane.URR, *pfcp.Error) {
	urr := &dataplane.URR{
		ID:         u.ID,
		QuotaGrant: 2 * (u.VolumeGrant + u.TimeGrant + u.EventGrant),
		Start:      watchesTraffic(u),
		BeforeQER:  u.Informed(pfcp.InfoMBQE),
		Paused:     u.Informed(pfcp.InfoINAM),
		Inactive:   time.Duration(u.Inactivity) * time.Second,
	}
	if urr.Start {
		urr.Inactive = quiet(u)
	}
	if v := u.Limits.VolumeThreshold; v != nil && u.Triggered(pfcp.TriggerVOLTH) {
		urr.Threshold = dataplane.Limit(*v)
	}
	if v := u.Limits.VolumeQuota; v != nil {
		urr.Quota = dataplane.Limit(*v)
	}
	if u.Spent {
		urr.Quota = dataplane.Limit{Total: new(uint64)}
		urr.QuotaGrant++
	}
	if id := u.Rare().QuotaFAR; id != nil {
		if urr.Spent = c.fars[*id]; urr.Spent == nil {
			return nil, ruleError(pfcp.RuleURR, u.ID, ie.FARID, fmt.Sprintf("FAR %d not found", *id))
		}
	}
	return urr, nil
}

// watchesTraffic says whether u needs to know when traffic starts: its starts are the
// events of a URR.
func watchesTraffic(u *pfcp.URR) bool {
	return u.Triggered(pfcp.TriggerSTART|pfcp.TriggerSTOPT) || u.Limits.EventThreshold != 0 || u.Limits.EventQuota != nil
}

// quiet is after how long without a packet the traffic of u has stopped.
func quiet(u *pfcp.URR) time.Duration {
	if u.Inactivity == 0 {
		return quietTime
	}
	return time.Duration(u.Inactivity) * time.Second
}

// urrsOf are the URRs that rule kind id names.
func (c *compiler) urrsOf(ids []uint32, kind pfcp.RuleKind, id uint32) ([]*dataplane.URR, *pfcp.Error) {
	var urrs []*dataplane.URR
	for _, u := range ids {
		urr := c.urrs[u]
		if urr == nil {
			return nil, ruleError(kind, id, ie.URRID, fmt.Sprintf("URR %d not found", u))
		}
		urrs = append(urrs, urr)
	}
	return urrs, nil
}
