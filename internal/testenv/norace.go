//go:build !race

package testenv

// RaceDetector says whether the test runs under it.
const RaceDetector = false
