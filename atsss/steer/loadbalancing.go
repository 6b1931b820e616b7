package steer

// loadBalancing cuts the line by weight, or as the UE divides its uplink (TS 29.244
// §8.2.197, UEAI) once it has said so. Without an indicator there may be thresholds: an
// access that is past one gets nothing while the other is not, which TS 23.501 §5.32.8
// leaves to the UPF beside giving it less.
func loadBalancing(p *Policy, s *State, last Split) Split {
	switch {
	case p.Indicator == UEAssistance && s.HasUplink:
		last.Cut = share(s.Uplink)
	case p.Weight == [NumAccesses]uint8{}: // none is given with UEAI
		last.Cut = Points / 2
	default:
		last.Cut = share(p.Weight[Access3GPP])
	}
	if p.Indicator != 0 {
		return last
	}
	p.shun(s, &last)
	for a := range Access(NumAccesses) {
		if last.Shunned == SetOf(a) {
			last.Cut = all(a.Other())
		}
	}
	return last
}
