package main

import "testing"

func TestShareText(t *testing.T) {
	for text, want := range map[string]float64{"2%": 0.02, "0.02": 0.02, "100%": 1, "0": 0} {
		var s share
		if err := s.UnmarshalText([]byte(text)); err != nil || float64(s) != want {
			t.Errorf("%q is %v, %v; want %v", text, s, err, want)
		}
	}
	for _, text := range []string{"", "%", "2 %", "x", "2%%"} {
		var s share
		if s.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is taken as valid: %v", text, s)
		}
	}
}

func TestBitRateText(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "800000": 800_000, "800kbit": 800_000, "1.5mbit": 1_500_000, "50m": 50_000_000, "1gbit": 1_000_000_000, "9600bit": 9600,
	} {
		var r bitRate
		if err := r.UnmarshalText([]byte(text)); err != nil || uint64(r) != want {
			t.Errorf("%q is %v, %v; want %v", text, r, err, want)
		}
	}
	for _, text := range []string{"", "bit", "m", "-1", "5gk", "1e30", "NaN", "2000gbit"} {
		var r bitRate
		if r.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is taken as valid: %v", text, r)
		}
	}
}
