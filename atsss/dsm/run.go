package dsm

// Run is a maximal piece of a mapping: N consecutive keys from At on map to N
// consecutive values from To on, on one subflow.
//
//	key    At ........ At+N
//	        |           |
//	value  To ........ To+N      of subflow Sub
type Run struct {
	At, To int64
	N      int64
	Sub    uint8
}

// End is the key after the run's last.
func (r Run) End() int64 { return r.At + r.N }

// ToOf is the value of key x, which must lie in the run.
func (r Run) ToOf(x int64) int64 { return r.To + x - r.At }

func (r Run) continues(next Run) bool {
	return r.At+r.N == next.At && r.To+r.N == next.To && r.Sub == next.Sub
}

// first is the first n keys of r.
func (r Run) first(n int64) Run {
	r.N = min(r.N, n)
	return r
}

// after is what of r lies at or after key x.
func (r Run) after(x int64) Run {
	if d := x - r.At; d > 0 {
		d = min(d, r.N)
		r.At, r.To, r.N = r.At+d, r.To+d, r.N-d
	}
	return r
}
