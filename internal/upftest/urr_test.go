package upftest

import (
	"time"

	"github.com/wmnsk/go-pfcp/ie"
)

// URR IDs of free5GC's session, and what its sample config asks for.
const (
	urrPeriodic, urrVolume = 1, 2
	urrPeriod              = 30 * time.Second
	urrThreshold           = 500_000
)

// Reporting triggers (TS 29.244 §8.2.19), octet 5 first.
var (
	perio = []byte{1 << 0, 0, 0}
	volth = []byte{1 << 1, 0, 0}
	volqu = []byte{0, 1 << 0, 0}
)

// urr is a Create URR that measures volume; it is encoded by the other codec.
func urr(id uint32, triggers []byte, more ...*ie.IE) *ie.IE {
	return ie.NewCreateURR(append([]*ie.IE{ie.NewURRID(id), ie.NewMeasurementMethod(0, 1, 0), ie.New(ie.ReportingTriggers, triggers)}, more...)...)
}

// addURRs gives the session the two URRs that free5GC's has, on every PDR.
func (r *rules) addURRs() {
	r.more = append(r.more,
		urr(urrPeriodic, perio, ie.NewMeasurementPeriod(urrPeriod)),
		urr(urrVolume, volth, ie.NewVolumeThreshold(1, urrThreshold, 0, 0)))
	r.measured(urrPeriodic, urrVolume)
}

// measured has URRs count what each PDR matches.
func (r *rules) measured(urrs ...uint32) {
	for _, pdr := range r.pdrs {
		pdr.URRIDs = append(pdr.URRIDs, urrs...)
	}
}
