package upftest

import (
	"testing"
	"time"
)

// await waits for a condition.
func await(t *testing.T, what string, within time.Duration, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}

// eventTime is how long anything may take that takes milliseconds on an idle machine.
const eventTime = 10 * time.Second
