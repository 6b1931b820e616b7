//go:build race

package upf

// raceDetector says whether the test runs under it: everything takes more memory and
// more time there.
const raceDetector = true
