//go:build race

package testenv

// RaceDetector says whether the test runs under it: everything takes more memory and
// more time there.
const RaceDetector = true
