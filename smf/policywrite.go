package smf

import (
	"fmt"
	"net/netip"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/braid-upf/braid/atsss/steer"
)

// steeringText is a Steering, or the part of an Other, as a policy file has it.
type steeringText struct {
	Functionality string          `yaml:"functionality,omitempty"`
	Mode          string          `yaml:"mode"`
	Indicator     string          `yaml:"indicator,omitempty"`
	Thresholds    *thresholdsText `yaml:"thresholds,omitempty"`
}

type thresholdsText struct {
	RTT time.Duration `yaml:"rtt,omitempty"`
	PLR *uint8        `yaml:"plr,omitempty"`
}

func (s Steering) text() steeringText {
	t := steeringText{functionalityNames[s.Functionality], modeNames[s.Mode], indicatorNames[s.Indicator], nil}
	if s.Thresholds != (steer.Thresholds{}) {
		t.Thresholds = &thresholdsText{RTT: time.Duration(s.Thresholds.RTT) * time.Microsecond}
		if s.Thresholds.HasPLR {
			t.Thresholds.PLR = &s.Thresholds.PLR
		}
	}
	return t
}

// MarshalYAML gives the form that [LoadPolicy] reads.
func (s Steering) MarshalYAML() (any, error) { return s.text(), nil }

// MarshalYAML gives the form that [LoadPolicy] reads.
func (o Other) MarshalYAML() (any, error) {
	t := o.text()
	t.Functionality = ""
	return struct {
		steeringText `yaml:",inline"`
		TGPP         *Share `yaml:"3gpp,omitempty"`
		NonTGPP      *Share `yaml:"non-3gpp,omitempty"`
	}{t, o.Shares[steer.Access3GPP], o.Shares[steer.AccessNon3GPP]}, nil
}

// MarshalYAML gives the form that [LoadPolicy] reads.
func (s Share) MarshalYAML() (any, error) {
	return struct {
		Weight   uint8  `yaml:"weight"`
		Priority string `yaml:"priority"`
	}{s.Weight, priorityNames[s.Priority]}, nil
}

// MarshalYAML gives the form that [LoadPolicy] reads.
func (a ATSSS) MarshalYAML() (any, error) {
	text := struct {
		MPTCP   bool `yaml:"mptcp"`
		ATSSSLL bool `yaml:"atsss-ll"`
		PMF     any  `yaml:"pmf"`
	}{a.MPTCP, a.ATSSSLL, a.PMF != nil}
	if p := a.PMF; p != nil && (p.NoRTT || len(p.QFIs) > 0) {
		qfis := make([]int, len(p.QFIs)) // bytes would be written as numbers, too, but not so that it shows
		for i, q := range p.QFIs {
			qfis[i] = int(q)
		}
		text.PMF = struct {
			RTT  bool  `yaml:"rtt"`
			QFIs []int `yaml:"qfis,flow,omitempty"`
		}{!p.NoRTT, qfis}
	}
	return text, nil
}

// MarshalYAML gives the form that [LoadPolicy] reads.
func (r Reports) MarshalYAML() (any, error) {
	list := []string{}
	if r.AccessAvailability {
		list = append(list, accessAvailability)
	}
	return list, nil
}

// MarshalYAML gives the form that [LoadPolicy] reads.
func (a Accesses) MarshalYAML() (any, error) {
	return struct {
		TGPP    *Access `yaml:"3gpp,omitempty"`
		NonTGPP *Access `yaml:"non-3gpp,omitempty"`
	}{a[steer.Access3GPP], a[steer.AccessNon3GPP]}, nil
}

// MarshalYAML gives the form that [LoadPolicy] reads.
func (a Access) MarshalYAML() (any, error) {
	teid := yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprintf("%#x", a.TEID)}
	return struct {
		Peer     netip.Addr `yaml:"peer"`
		TEID     *yaml.Node `yaml:"teid"`
		Weight   uint8      `yaml:"weight"`
		Priority string     `yaml:"priority"`
		Down     bool       `yaml:"down"`
	}{a.Peer, &teid, a.Weight, priorityNames[a.Priority], a.Down}, nil
}
