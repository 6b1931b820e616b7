package smf

import (
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/braid-upf/braid/atsss/steer"
)

// How the multi-access part of a session is read.

func (r *policyReader) steering(n *yaml.Node, path string) (s Steering) {
	r.mapping(n, path, append([]key{
		{"functionality", true, func(n *yaml.Node, path string) { s.Functionality = choice(r, n, path, functionalityNames) }},
	}, r.modeKeys(&s)...))
	return s
}

// modeKeys are the keys of a steering mode.
func (r *policyReader) modeKeys(s *Steering) []key {
	return []key{
		{"mode", true, func(n *yaml.Node, path string) { s.Mode = choice(r, n, path, modeNames) }},
		{"indicator", false, func(n *yaml.Node, path string) { s.Indicator = choice(r, n, path, indicatorNames) }},
		{"thresholds", false, func(n *yaml.Node, path string) { s.Thresholds = r.thresholds(n, path) }},
	}
}

// maxRTTThreshold is what the 16 bits of milliseconds hold (TS 29.244 §8.2.206).
const maxRTTThreshold = 65535 * time.Millisecond

func (r *policyReader) thresholds(n *yaml.Node, path string) (t steer.Thresholds) {
	r.mapping(n, path, []key{
		{"rtt", false, func(n *yaml.Node, path string) {
			d := r.duration(n, path)
			if d < time.Millisecond || d > maxRTTThreshold || d%time.Millisecond != 0 {
				r.fail(n, path, "%s: allowed are whole milliseconds from %s to %s", d, time.Millisecond, maxRTTThreshold)
				return
			}
			t.RTT = uint32(d.Microseconds())
		}},
		{"plr", false, func(n *yaml.Node, path string) { t.PLR, t.HasPLR = uint8(r.number(n, path, 0, 100)), true }},
	})
	if t == (steer.Thresholds{}) {
		r.fail(n, path, "is empty: allowed are rtt, plr or both")
	}
	return t
}

// other reads how the traffic is steered that MPTCP does not carry.
func (r *policyReader) other(n *yaml.Node, path string) *Other {
	o := &Other{Steering: Steering{Functionality: steer.ATSSSLL}}
	keys := r.modeKeys(&o.Steering)
	for _, a := range accessList {
		keys = append(keys, key{a.String(), false, func(n *yaml.Node, path string) { o.Shares[a] = r.share(n, path, a) }})
	}
	r.mapping(n, path, keys)
	return o
}

func (r *policyReader) share(n *yaml.Node, path string, a steer.Access) *Share {
	s := &Share{Priority: usualPriority(a)}
	r.mapping(n, path, []key{
		{"weight", false, func(n *yaml.Node, path string) { s.Weight = uint8(r.number(n, path, 0, 100)) }},
		{"priority", false, func(n *yaml.Node, path string) { s.Priority = choice(r, n, path, priorityNames) }},
	})
	return s
}

// usualPriority is that of an access to which the policy gives none: 3GPP is active,
// non-3GPP stands by.
func usualPriority(a steer.Access) steer.Priority {
	if a == steer.AccessNon3GPP {
		return steer.Standby
	}
	return steer.Active
}

func (r *policyReader) atsss(n *yaml.Node, path string) (a ATSSS) {
	r.mapping(n, path, []key{
		{"mptcp", false, func(n *yaml.Node, path string) { a.MPTCP = r.boolean(n, path) }},
		{"atsss-ll", false, func(n *yaml.Node, path string) { a.ATSSSLL = r.boolean(n, path) }},
		{"pmf", false, func(n *yaml.Node, path string) { a.PMF = r.pmf(n, path) }},
	})
	return a
}

// pmf reads true, false or a mapping with what differs from the usual.
func (r *policyReader) pmf(n *yaml.Node, path string) *PMF {
	if n.Kind != yaml.MappingNode {
		if r.boolean(n, path) {
			return &PMF{}
		}
		return nil
	}
	p := &PMF{}
	r.mapping(n, path, []key{
		{"rtt", false, func(n *yaml.Node, path string) { p.NoRTT = !r.boolean(n, path) }},
		{"qfis", false, func(n *yaml.Node, path string) {
			r.sequence(n, path, func(n *yaml.Node, path string) {
				p.QFIs = append(p.QFIs, uint8(r.number(n, path, 1, maxQFI)))
			})
		}},
	})
	return p
}

func (r *policyReader) reports(n *yaml.Node, path string) (reports Reports) {
	r.sequence(n, path, func(n *yaml.Node, path string) {
		if text := r.text(n, path); text != accessAvailability {
			r.fail(n, path, "%q: allowed is %s", text, accessAvailability)
		}
		reports.AccessAvailability = true
	})
	return reports
}
