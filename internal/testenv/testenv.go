// Package testenv says what a test needs to know of where it runs, and what becomes of one
// on a machine that lacks what it needs.
package testenv

import (
	"os"
	"testing"
)

// Lacks skips the test for want of what, or fails it where REQUIRE_E2E=1 says that
// nothing may skip.
func Lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("REQUIRE_E2E") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}
