package upf

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

// MaxWorkers is how many workers there can be.
const MaxWorkers = 64

// maxTUNName is what the kernel allows: IFNAMSIZ less the zero.
const maxTUNName = 15

// braidKeys are all keys of the section braid.
var braidKeys = []string{
	"workers", "tun", "heartbeat", "peers", "state", "drain", "echo", "errorIndicationGrace", "ueToUE", "routerAdvertisement",
	"buffer", "reportRate", "nonGPP", "multiAccess", "atsss",
}

func (r *reader) braid(s *section, dnns []DNN) BraidConfig {
	s.only(braidKeys...)
	b := BraidConfig{
		Workers:       s.number("workers", 0, 0, MaxWorkers),
		TUN:           s.text("tun"),
		Heartbeat:     s.duration("heartbeat", 0, 0, time.Hour),
		Peers:         s.prefixes("peers"),
		State:         s.text("state"),
		Drain:         s.duration("drain", 0, 0, time.Hour),
		Echo:          s.duration("echo", time.Minute, 0, time.Hour),
		Grace:         s.duration("errorIndicationGrace", 30*time.Second, 0, time.Hour),
		UEToUE:        s.oneOf("ueToUE", "n6", "n6", "local") == "local",
		RA:            s.boolean("routerAdvertisement", true),
		BufferPackets: s.number("buffer", 64, 1, 10_000),
		ReportRate:    s.number("reportRate", 1000, 1, 1_000_000),
		NonGPP:        s.prefixes("nonGPP"),
		Rules:         r.localRules(s),
	}
	if s.keys["atsss"] != nil {
		b.ATSSS = r.atsss(s.sub("atsss"), dnns)
	}
	if b.TUN == "" {
		b.TUN = "upfgtp"
	}
	if len(b.TUN) > maxTUNName || strings.ContainsAny(b.TUN, "/ :%") {
		_, line, _ := s.scalar("tun")
		r.fail(line, s.path+"tun", "%q, allowed: a device name of 1 to %d letters", b.TUN, maxTUNName)
	}
	return b
}

func (r *reader) localRules(s *section) []LocalRule {
	if n := s.keys["multiAccess"]; n == nil || n.Tag == "!!null" {
		return nil
	}
	var rules []LocalRule
	for _, e := range s.list("multiAccess") {
		rules = append(rules, r.localRule(e))
	}
	return rules
}

// modes are the steering modes by the words of the config, with the keys of each.
var modes = map[string]struct {
	mode steer.Mode
	keys []string
}{
	"active-standby": {steer.ActiveStandby, []string{"active"}},
	"load-balancing": {steer.LoadBalancing, []string{"weights", "autonomous"}},
	"priority-based": {steer.PriorityBased, []string{"high"}},
	"random":         {steer.Random, nil},
	"redundant":      {steer.Redundant, []string{"primary"}},
	"smallest-delay": {steer.SmallestDelay, nil},
	"smallest-rtt":   {steer.SmallestRTTFirst, nil},
}

// modeWords are the words of modes.
var modeWords = strings.Join(slices.Sorted(maps.Keys(modes)), ", ")

func (r *reader) localRule(s *section) LocalRule {
	rule := LocalRule{DNN: s.text("dnn")}
	if s.keys["snssai"] != nil {
		rule.SST, rule.SD = r.snssai(s.sub("snssai"))
	}
	word, line, ok := s.required("mode", modeWords)
	if !ok {
		return rule
	}
	m, known := modes[word]
	if !known {
		r.fail(line, s.path+"mode", "%q, allowed: %s", word, modeWords)
		return rule
	}
	s.only(append([]string{"dnn", "snssai", "mode"}, m.keys...)...)
	rule.Policy = steer.Policy{
		Functionality: steer.MPTCP,
		Mode:          m.mode,
		Priority:      [steer.NumAccesses]steer.Priority{steer.NoStandby, steer.NoStandby},
		Usable:        steer.SetOf(steer.Access3GPP, steer.AccessNon3GPP),
	}
	switch m.mode {
	case steer.ActiveStandby:
		if a, ok := s.access("active", true); ok {
			rule.Policy.Priority = steer.Decision{Access: a}.Priorities()
		}
	case steer.LoadBalancing:
		r.shares(s, &rule.Policy)
	case steer.PriorityBased:
		if a, ok := s.access("high", true); ok {
			rule.Policy.Priority[a], rule.Policy.Priority[a.Other()] = steer.High, steer.Low
		}
	case steer.Redundant:
		if a, ok := s.access("primary", false); ok {
			rule.Policy.Priority = steer.Decision{Access: a, Redundant: true}.Priorities()
		}
	case steer.SmallestDelay, steer.Random, steer.SmallestRTTFirst: // nothing to say
	}
	return rule
}

// shares are the weights of load-balancing; where the UPF sets them itself, those that it
// begins with, which may be left out.
func (r *reader) shares(s *section, p *steer.Policy) {
	if s.boolean("autonomous", false) {
		p.Indicator = steer.Autonomous
		if s.keys["weights"] == nil {
			p.Weight = [steer.NumAccesses]uint8{50, 50}
			return
		}
	}
	p.Weight = r.weights(s.sub("weights"))
}

// access reads the name of an access; ok is false if there is none.
func (s *section) access(key string, must bool) (a steer.Access, ok bool) {
	v, line, ok := s.scalar(key)
	switch {
	case v == steer.Access3GPP.String():
		return steer.Access3GPP, true
	case v == steer.AccessNon3GPP.String():
		return steer.AccessNon3GPP, true
	case ok || must:
		s.r.fail(line, s.path+key, "%q, allowed: 3gpp, non-3gpp", v)
	}
	return 0, false
}

// weights are the percents of both accesses.
func (r *reader) weights(s *section) (w [steer.NumAccesses]uint8) {
	names := [steer.NumAccesses]string{steer.Access3GPP.String(), steer.AccessNon3GPP.String()}
	s.only(names[:]...)
	sum, faults := 0, len(r.faults)
	for a, name := range names {
		if _, _, ok := s.required(name, "percent, a whole number from 0 to 100"); ok {
			n := s.number(name, 0, 0, 100)
			w[a] = uint8(n)
			sum += n
		}
	}
	if len(r.faults) == faults && sum != 100 {
		r.fail(s.line, strings.TrimSuffix(s.path, "."), "the sum is %d, allowed: 100", sum)
	}
	return w
}

// snssai reads a slice's S-NSSAI (TS 23.003 §28.4.2).
func (r *reader) snssai(s *section) (sst uint8, sd string) {
	s.only("sst", "sd")
	if _, _, ok := s.required("sst", "a whole number from 1 to 255"); ok {
		sst = uint8(s.number("sst", 0, 1, 255))
	}
	sd, line, ok := s.scalar("sd")
	if _, err := strconv.ParseUint(sd, 16, 24); ok && (err != nil || len(sd) != 6) {
		r.fail(line, s.path+"sd", "%q, allowed: six hex digits such as 010203", sd)
	}
	return sst, strings.ToLower(sd)
}
