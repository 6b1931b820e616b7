package steer

// activeStandby leaves everything on the active access; if that cannot be used,
// [Policy.Choose] takes the standby one, unless there is to be none.
func activeStandby(p *Policy, _ *State, last Split) Split {
	last.Cut = all(p.first(Active))
	return last
}
