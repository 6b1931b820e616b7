package steer

// random is FlexCP's policy of that name: the cut is in the middle, and where a flow lies is
// chance. The points of packet flows are; a proxied connection under this policy draws one.
func random(_ *Policy, _ *State, last Split) Split {
	last.Cut = Points / 2
	return last
}
