package pfcp

import (
	"testing"
	"time"
)

// TestTimer: what a timer's octet says (TS 29.244 §8.2.44), and that it is said so.
func TestTimer(t *testing.T) {
	for octet, want := range map[uint8]time.Duration{
		0: 0, 0x05: 10 * time.Second, 0x25: 5 * time.Minute, 0x44: 40 * time.Minute, 0x65: 5 * time.Hour, 0x9f: 310 * time.Hour,
		0xa3: 3 * time.Minute, 0xff: Forever,
	} {
		got := timer(octet)
		if got != want {
			t.Errorf("%#02x is %v, want %v", octet, got, want)
		}
		if again := timer(timerOctet(got)); again != want {
			t.Errorf("%v is said as %v", want, again)
		}
	}
	if got := timerOctet(1000 * time.Hour); got != 0x9f {
		t.Errorf("a time that is too long is said as %#02x", got)
	}
}
