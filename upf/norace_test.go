//go:build !race

package upf

const raceDetector = false
